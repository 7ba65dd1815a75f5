//! Lists, in the form that was asked for: `-o table|wide|json|name`, `-q`.
//!
//! A [`List`] takes pages as they come. Lines of ids, names and JSON are written at once; a table is held until its
//! columns are known. JSON is an array of the API's own objects, one a line, as the master wrote them, so that fields
//! which this program doesn't know come through.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::cli::Console;
use crate::cli::error::CliError;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::model::time::WallTime;

/// The form of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// A table as wide as a terminal usually is.
    #[default]
    Table,
    /// A table with everything.
    Wide,
    /// A JSON array of the API's objects, one a line.
    Json,
    /// A name a line.
    Name,
    /// An id a line.
    Id,
}

impl Form {
    /// Reads the word after `-o`.
    ///
    /// # Errors
    /// It is none of them.
    pub(crate) fn from_word(word: &str) -> Result<Self, String> {
        match word {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "name" => Ok(Self::Name),
            other => Err(format!("{other:?} must be table, wide, json or name")),
        }
    }
}

/// What can be shown in a list.
pub(crate) trait Shown: DeserializeOwned {
    /// The titles of a table's columns.
    const HEADER: &'static [&'static str];
    /// The titles of a wide table's columns.
    const WIDE_HEADER: &'static [&'static str];

    /// What tells it from all others.
    fn id(&self) -> &str;
    /// What people call it.
    fn name(&self) -> &str;
    /// The column that is shortened where the terminal is narrow.
    const ELASTIC: Option<usize> = None;

    /// As many cells as the header has titles.
    fn cells(&self, now: WallTime, is_wide: bool) -> Vec<String>;
}

/// A list that is being written.
#[derive(Debug)]
pub(crate) struct List {
    form: Form,
    now: WallTime,
    table: Table,
    count: usize,
    /// The column that gives way, and how long a line may be.
    fit: Option<(usize, usize)>,
}

impl List {
    /// Of things of one kind, as they are `now`.
    pub(crate) fn new<T: Shown>(form: Form, now: WallTime) -> Self {
        let header = if form == Form::Wide { T::WIDE_HEADER } else { T::HEADER };
        Self { form, now, table: Table::new(header), count: 0, fit: None }
    }

    /// The same, for a terminal so wide. A wide table stays as it is.
    #[must_use]
    pub(crate) fn on_terminal<T: Shown>(self, width: Option<usize>) -> Self {
        let fit = T::ELASTIC.zip(width).filter(|_| self.form == Form::Table);
        Self { fit, ..self }
    }

    /// Adds one of them, as the master wrote it.
    ///
    /// # Errors
    /// The master wrote something else; or stdout can't be written to.
    pub(crate) fn push<T: Shown>(
        &mut self,
        raw: &RawValue,
        console: &mut Console<'_>,
    ) -> Result<(), CliError> {
        self.count += 1;
        if self.form == Form::Json {
            let lead = if self.count == 1 { "[\n" } else { ",\n" };
            return write!(console.out, "{lead}{}", text::json(raw.get())).map_err(CliError::Output);
        }
        let item: T = serde_json::from_str(raw.get())
            .map_err(|error| CliError::Failed(format!("the master's answer makes no sense: {error}")))?;
        match self.form {
            Form::Table | Form::Wide => {
                self.table.push(item.cells(self.now, self.form == Form::Wide));
                Ok(())
            }
            Form::Name => console.line(&text::visible(item.name())),
            Form::Id | Form::Json => console.line(&text::visible(item.id())),
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Stdout can't be written to.
    pub(crate) fn finish(mut self, console: &mut Console<'_>) -> Result<(), CliError> {
        if let Some((column, width)) = self.fit {
            self.table.fit(column, width);
        }
        match self.form {
            Form::Table | Form::Wide => {
                write!(console.out, "{}", self.table.finish()).map_err(CliError::Output)
            }
            Form::Json if self.count == 0 => console.line("[]"),
            Form::Json => console.line("\n]"),
            Form::Name | Form::Id => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::node::NodeView;
    use crate::api::wire::task::TaskView;
    use crate::cli::render::sample;
    use crate::model::node::{Availability, NodeStatus};
    use crate::model::task::{Reason, TaskStatus};

    fn listed<T: Shown + serde::Serialize>(form: Form, items: &[T]) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err };
        let mut list = List::new::<T>(form, sample::at(60));
        for item in items {
            let raw = serde_json::value::to_raw_value(item).unwrap();
            list.push::<T>(&raw, &mut console).unwrap();
        }
        list.finish(&mut console).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn tasks() -> [TaskView; 2] {
        let failed = TaskView {
            task_id: "01JD0000000000000000000002".parse().unwrap(),
            name: "batch-0".parse().unwrap(),
            status: TaskStatus::Failed,
            reason: Some(Reason::ExitCode),
            exit_code: Some(7),
            node_id: Some("worker-1".parse().unwrap()),
            ..sample::task()
        };
        [sample::task(), failed]
    }

    #[test]
    fn tasks_as_people_know_them() {
        assert_eq!(
            listed(Form::Table, &tasks()),
            "\
ID                           NAME      IMAGE     STATUS            NODE       AGE
01JD0000000000000000000001   web       nginx:1   pending           -          1 m
01JD0000000000000000000002   batch-0   nginx:1   failed (exit 7)   worker-1   1 m
"
        );
        assert_eq!(
            listed(Form::Wide, &tasks()[..1]),
            "\
ID                           NAME   IMAGE     STATUS    NODE   AGE   ATTEMPT   COMMAND   PORTS   CONTAINER
01JD0000000000000000000001   web    nginx:1   pending   -      1 m   1         -         -       -
"
        );
        assert_eq!(listed::<TaskView>(Form::Table, &[]), "ID   NAME   IMAGE   STATUS   NODE   AGE\n");
    }

    #[test]
    fn nodes_as_people_know_them() {
        let cordoned = NodeView {
            node_id: "w2".parse().unwrap(),
            status: NodeStatus::Offline,
            availability: Availability::Cordoned,
            detail: Some("its engine doesn't answer".to_owned()),
            ..sample::node()
        };
        assert_eq!(
            listed(Form::Wide, &[sample::node(), cordoned]),
            "\
NODE       STATUS             TASKS   CPU     MEMORY          ENGINE            HEARTBEAT   ADDRESS          LABELS     DETAIL
worker-1   online             3/10    0.5/4   256 MiB/8 GiB   docker 20.10.24   2 s ago     127.0.0.1:8081   disk=ssd   -
w2         offline,cordoned   3/10    0.5/4   256 MiB/8 GiB   docker 20.10.24   2 s ago     127.0.0.1:8081   disk=ssd   its engine doesn't answer
"
        );
    }

    #[test]
    fn ids_and_names_are_for_scripts() {
        assert_eq!(listed(Form::Id, &tasks()), "01JD0000000000000000000001\n01JD0000000000000000000002\n");
        assert_eq!(listed(Form::Name, &tasks()), "web\nbatch-0\n");
        assert_eq!(listed::<TaskView>(Form::Id, &[]), "");
    }

    #[test]
    fn json_is_an_array_of_the_apis_objects() {
        assert_eq!(listed::<TaskView>(Form::Json, &[]), "[]\n");
        for count in [1, 2] {
            let text = listed(Form::Json, &tasks()[..count]);
            let array: Vec<TaskView> = serde_json::from_str(&text).unwrap();
            assert_eq!(array.len(), count, "{text}");
            assert!(text.starts_with("[\n{\"task_id\":\"01JD") && text.ends_with("}\n]\n"), "{text}");
        }
    }
}
