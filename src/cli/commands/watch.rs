//! `-w`: a list that is looked at again and again, whenever something happened, at most four times a second and every
//! two seconds at least.
//!
//! On a terminal each look is drawn over the one before. Elsewhere the whole list is written once, and then a line for
//! each row that has changed: what only grows older, an age or the time since a beat, is no change. A row that has left
//! the list is written once more as it is then, a task that has ended as `completed`, say.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde_json::Value;
use serde_json::value::RawValue;

use super::Session;
use crate::cli::Console;
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::cli::render::list::{Form, List, Shown};
use crate::cli::render::table::{Columns, shown};
use crate::cli::render::text;
use crate::cli::screen::Screen;
use crate::cli::waiting::Patience;
use crate::cli::watcher::Watcher;
use crate::model::time::WallTime;
use crate::runtime::clock;

/// The column that says how a thing is doing, and what it says of one that is gone.
const STATUS: (&str, &str) = ("STATUS", "removed");

/// What is watched.
pub(super) enum Watched {
    /// A list, by its path.
    List(String),
    /// One thing, by its path.
    One(String),
}

impl Watched {
    /// All of it as it is now.
    fn look(&self, remote: &Remote) -> Result<Vec<Box<RawValue>>, CliError> {
        match self {
            Self::One(path) => Ok(vec![remote.get_raw(path)?]),
            Self::List(path) => {
                let mut rows = Vec::new();
                remote.pages(path, |mut page| {
                    rows.append(&mut page);
                    Ok(())
                })?;
                Ok(rows)
            }
        }
    }

    /// The same, where one thing that was there may be gone.
    fn look_again(&self, remote: &Remote) -> Result<Vec<Box<RawValue>>, CliError> {
        match self.look(remote) {
            Err(error) if is_not_found(&error) => Ok(Vec::new()),
            other => other,
        }
    }
}

fn is_not_found(error: &CliError) -> bool {
    matches!(error.problem_code(), Some("task_not_found" | "node_not_found"))
}

/// Watches until there is nobody to show it to. `path_of` says where one of them is, by its id.
///
/// # Errors
/// The master says no, or hasn't answered for ten minutes; or the output can't be written.
pub(super) fn watch<T: Shown>(
    watched: &Watched,
    path_of: fn(&str) -> String,
    form: Form,
    session: &mut Session<'_, '_>,
) -> Result<u8, CliError> {
    let Session { remote, console, screen } = session;
    let mut rows = watched.look(remote)?;
    let mut view = match screen.take() {
        Some(screen) => View::Screen(screen),
        None => View::Lines(Lines::<T>::new(form, path_of)),
    };
    let watcher = Watcher::start(remote.clone())
        .map_err(|error| CliError::Failed(format!("failed to start a thread: {error}")))?;
    let mut patience = Patience::default();
    loop {
        match view.show(rows, form, remote, console) {
            Ok(()) => patience.answered(),
            Err(error) => patience.bear(error, console)?,
        }
        rows = loop {
            watcher.wait();
            match watched.look_again(remote) {
                Ok(rows) => break rows,
                Err(error) => patience.bear(error, console)?,
            }
        };
    }
}

/// How it is shown.
enum View<T> {
    Screen(Screen),
    Lines(Lines<T>),
}

impl<T: Shown> View<T> {
    fn show(
        &mut self,
        rows: Vec<Box<RawValue>>,
        form: Form,
        remote: &Remote,
        console: &mut Console<'_>,
    ) -> Result<(), CliError> {
        match self {
            Self::Screen(screen) => {
                let text = listed::<T>(&rows, form)?;
                screen.draw(&text, console.out).map_err(CliError::Output)
            }
            Self::Lines(lines) => {
                let path_of = lines.path_of;
                let find = |id: &str| match remote.get_raw(&path_of(id)) {
                    Ok(raw) => Ok(Some(raw)),
                    Err(error) if is_not_found(&error) => Ok(None),
                    Err(error) => Err(error),
                };
                let news = lines.look(rows, clock::wall(), find)?;
                news.iter().try_for_each(|line| console.line(line))?;
                console.out.flush().map_err(CliError::Output)
            }
        }
    }
}

/// The list as it is without `-w`.
fn listed<T: Shown>(rows: &[Box<RawValue>], form: Form) -> Result<String, CliError> {
    let (mut out, mut err) = (Vec::new(), std::io::sink());
    let mut console = Console { out: &mut out, err: &mut err };
    let mut list = List::new::<T>(form, clock::wall());
    rows.iter().try_for_each(|row| list.push::<T>(row, &mut console))?;
    list.finish(&mut console)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// What was written last, row by row.
struct Lines<T> {
    form: Form,
    path_of: fn(&str) -> String,
    columns: Columns,
    /// By id. None before the first look.
    rows: Option<BTreeMap<String, Box<RawValue>>>,
    shown: PhantomData<T>,
}

impl<T: Shown> Lines<T> {
    fn new(form: Form, path_of: fn(&str) -> String) -> Self {
        Self { form, path_of, columns: Columns::default(), rows: None, shown: PhantomData }
    }

    fn is_table(&self) -> bool {
        matches!(self.form, Form::Table | Form::Wide)
    }

    fn header(&self) -> &'static [&'static str] {
        if self.form == Form::Wide { T::WIDE_HEADER } else { T::HEADER }
    }

    /// The lines to write now. `find` looks for a row that has left the list. Where it fails, nothing was seen.
    fn look(
        &mut self,
        rows: Vec<Box<RawValue>>,
        now: WallTime,
        find: impl Fn(&str) -> Result<Option<Box<RawValue>>, CliError>,
    ) -> Result<Vec<String>, CliError> {
        let is_first = self.rows.is_none();
        let before = self.rows.as_ref();
        let (mut after, mut changed) = (BTreeMap::new(), Vec::new());
        for row in rows {
            let id = read::<T>(&row)?.id().to_owned();
            let held = before.and_then(|rows| rows.get(&id));
            if held.map(|held| self.told(held)).transpose()? != Some(self.told(&row)?) {
                changed.push(self.cells(&row, now)?);
            }
            after.insert(id, row);
        }
        for (id, row) in before.into_iter().flatten().filter(|(id, _)| !after.contains_key(*id)) {
            match (find(id)?, self.form) {
                (_, Form::Id | Form::Name) => {}
                (Some(row), _) => changed.push(self.cells(&row, now)?),
                (None, _) => changed.push(self.gone(row, now)?),
            }
        }
        self.rows = Some(after);
        if is_first && self.is_table() {
            changed.insert(0, self.header().iter().map(|title| (*title).to_owned()).collect());
        }
        changed.iter().for_each(|cells| self.columns.make_room(cells));
        Ok(changed.iter().map(|cells| self.columns.line(cells)).collect())
    }

    /// What a row says, apart from what only grows older: rows that say the same are not written again.
    fn told(&self, row: &RawValue) -> Result<Vec<String>, CliError> {
        if self.form != Form::Json {
            return self.cells(row, WallTime::default());
        }
        let mut value: Value = serde_json::from_str(row.get()).map_err(senseless)?;
        if let Some(members) = value.as_object_mut() {
            members.remove("last_heartbeat");
        }
        Ok(vec![value.to_string()])
    }

    /// A row as it is written: a cell alone, where it isn't a table's.
    fn cells(&self, row: &RawValue, now: WallTime) -> Result<Vec<String>, CliError> {
        let item: T = read(row)?;
        Ok(match self.form {
            Form::Table | Form::Wide => shown(item.cells(now, self.form == Form::Wide)),
            Form::Json => vec![text::json(row.get())],
            Form::Name => vec![text::visible(item.name()).into_owned()],
            Form::Id => vec![text::visible(item.id()).into_owned()],
        })
    }

    /// A row that was removed: as it was, and that it is no more.
    fn gone(&self, row: &RawValue, now: WallTime) -> Result<Vec<String>, CliError> {
        if self.form == Form::Json {
            let mut value: Value = serde_json::from_str(row.get()).map_err(senseless)?;
            if let Some(members) = value.as_object_mut() {
                members.insert("removed".to_owned(), Value::Bool(true));
            }
            return Ok(vec![text::json(&value.to_string())]);
        }
        let mut cells = self.cells(row, now)?;
        let status = self.header().iter().position(|title| *title == STATUS.0);
        if let Some(cell) = status.and_then(|column| cells.get_mut(column)) {
            STATUS.1.clone_into(cell);
        }
        Ok(cells)
    }
}

fn read<T: Shown>(row: &RawValue) -> Result<T, CliError> {
    serde_json::from_str(row.get()).map_err(senseless)
}

fn senseless(error: serde_json::Error) -> CliError {
    CliError::Failed(format!("the master's answer makes no sense: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::node::NodeView;
    use crate::api::wire::task::TaskView;
    use crate::cli::render::sample;
    use crate::model::task::TaskStatus;

    fn raw(item: &impl serde::Serialize) -> Box<RawValue> {
        serde_json::value::to_raw_value(item).unwrap()
    }

    fn task(number: u32, status: TaskStatus) -> TaskView {
        let task_id = format!("01JD{number:022}").parse().unwrap();
        TaskView { task_id, name: format!("t{number}").parse().unwrap(), status, ..sample::task() }
    }

    /// What a look writes; rows that left are found as `left` has them.
    fn told<T: Shown>(
        lines: &mut Lines<T>,
        rows: &[Box<RawValue>],
        secs: u64,
        left: &[TaskView],
    ) -> Vec<String> {
        let find = |id: &str| Ok(left.iter().find(|task| task.task_id.as_str() == id).map(raw));
        lines.look(rows.to_vec(), sample::at(secs), find).unwrap()
    }

    #[test]
    fn a_row_is_written_when_it_has_changed() {
        let mut lines = Lines::<TaskView>::new(Form::Table, str::to_owned);
        let (one, two) = (task(1, TaskStatus::Pending), task(2, TaskStatus::Pending));
        let first = told(&mut lines, &[raw(&one), raw(&two)], 1, &[]);
        assert_eq!(
            first,
            [
                "ID                           NAME   IMAGE     STATUS    NODE   AGE",
                "01JD0000000000000000000001   t1     nginx:1   pending   -      1 s",
                "01JD0000000000000000000002   t2     nginx:1   pending   -      1 s",
            ]
        );
        assert_eq!(
            told(&mut lines, &[raw(&one), raw(&two)], 90, &[]),
            [] as [&str; 0],
            "an age is no change"
        );
        let (one, ended) = (task(1, TaskStatus::Running), task(2, TaskStatus::Completed));
        assert_eq!(
            told(&mut lines, &[raw(&one)], 120, &[ended]),
            [
                "01JD0000000000000000000001   t1     nginx:1   running     -      2 m",
                "01JD0000000000000000000002   t2     nginx:1   completed   -      2 m",
            ]
        );
        let gone = told(&mut lines, &[], 120, &[]);
        assert_eq!(gone, ["01JD0000000000000000000001   t1     nginx:1   removed     -      2 m"]);
    }

    #[test]
    fn a_beat_is_no_change_in_any_form() {
        for form in [Form::Table, Form::Wide, Form::Json, Form::Name, Form::Id] {
            let mut lines = Lines::<NodeView>::new(form, str::to_owned);
            let beats = NodeView { last_heartbeat: sample::at(61), ..sample::node() };
            assert!(!told(&mut lines, &[raw(&sample::node())], 60, &[]).is_empty());
            assert_eq!(told(&mut lines, &[raw(&beats)], 62, &[]), [] as [&str; 0], "{form:?}");
        }
    }

    #[test]
    fn ids_and_json_are_lines_too() {
        let one = task(1, TaskStatus::Running);
        let mut ids = Lines::<TaskView>::new(Form::Id, str::to_owned);
        assert_eq!(told(&mut ids, &[raw(&one)], 1, &[]), ["01JD0000000000000000000001"]);
        assert_eq!(told(&mut ids, &[], 1, &[]), [] as [&str; 0]);
        let mut json = Lines::<TaskView>::new(Form::Json, str::to_owned);
        assert_eq!(told(&mut json, &[raw(&one)], 1, &[]), [serde_json::to_string(&one).unwrap()]);
        assert!(told(&mut json, &[], 1, &[])[0].contains("\"removed\":true"));
    }
}
