//! `podling ps`: the tasks that live, those that are asked for, or one of them in full.
//!
//! As with `docker ps`, what has ended is listed only with `--all`, or with a `--status` that names it. The filters
//! are the API's own, so that a long list is cut down where it is kept. `--task` shows one task line by line; with
//! `-o`, `-q` or `-w` it is a list of one. `-w` is in `watch.rs`.

use super::watch::{Watched, watch};
use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::task::TaskView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::list::{Form, List};
use crate::cli::render::task;
use crate::cli::terminal;
use crate::model::id::NodeId;
use crate::model::task::TaskStatus;
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    which: Which,
    /// None: a table, or one task in full.
    form: Option<Form>,
    watch: bool,
}

/// Which tasks.
#[derive(Debug)]
enum Which {
    /// One.
    One(String),
    /// A list, as the API is asked for it.
    List(String),
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let one = words.value(Flag::Long("--task"), |text| Ok::<_, String>(text.to_owned()))?;
        let statuses = words.values(Flag::Long("--status"), statuses)?.concat();
        let node = words.value(Flag::Long("--node"), str::parse::<NodeId>)?;
        let labels = words.values(Flag::Both("-l", "--label"), label)?;
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?;
        let all = words.switch(Flag::Long("--all"));
        let quiet = words.switch(Flag::Both("-q", "--quiet"));
        let watch = words.switch(Flag::Both("-w", "--watch"));
        if let Some(word) = words.rest()?.first() {
            return Err(SettingsError::new(format!("unexpected argument {word:?}: one task is --task ID")));
        }
        if quiet && form.is_some() {
            return Err(SettingsError::of("-q", "not together with -o"));
        }
        let which = match one {
            Some(_) if !statuses.is_empty() || node.is_some() || !labels.is_empty() => {
                return Err(SettingsError::of("--task", "not together with a filter"));
            }
            Some(task) => Which::One(task),
            None => Which::List(path(&statuses, all, node.as_ref(), &labels)),
        };
        Ok(Self { which, form: if quiet { Some(Form::Id) } else { form }, watch })
    }
}

/// One status, or several with commas between.
fn statuses(text: &str) -> Result<Vec<TaskStatus>, String> {
    let read = |word: &str| {
        let words = TaskStatus::ALL.map(TaskStatus::as_str).join(", ");
        TaskStatus::from_word(word).ok_or_else(|| format!("{word:?} must be one of {words}"))
    };
    text.split(',').map(read).collect()
}

/// `KEY=VALUE`, as it was written.
fn label(text: &str) -> Result<String, String> {
    let is_sound = text.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    if is_sound { Ok(text.to_owned()) } else { Err(format!("{text:?} must be KEY=VALUE")) }
}

/// The question as the API knows it.
fn path(statuses: &[TaskStatus], all: bool, node: Option<&NodeId>, labels: &[String]) -> String {
    let living = TaskStatus::ALL.into_iter().filter(|status| !status.is_terminal());
    let statuses: Vec<TaskStatus> = match statuses {
        [] if all => Vec::new(),
        [] => living.collect(),
        asked => asked.to_vec(),
    };
    let mut terms = Vec::new();
    if !statuses.is_empty() {
        let words: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
        terms.push(format!("status={}", words.join(",")));
    }
    terms.extend(node.map(|node| format!("node={}", routes::escape(node.as_str()))));
    terms.extend(labels.iter().map(|label| format!("label={}", routes::escape(label))));
    if terms.is_empty() { routes::TASKS.to_owned() } else { format!("{}?{}", routes::TASKS, terms.join("&")) }
}

impl Asked {
    fn watch(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let watched = match &self.which {
            Which::List(path) => Watched::List(path.clone()),
            // By its id: the name may come to mean another task.
            Which::One(reference) => {
                Watched::One(routes::task(session.remote.task(reference)?.task_id.as_str()))
            }
        };
        watch::<TaskView>(&watched, routes::task, self.form.unwrap_or_default(), session)
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        if self.watch {
            return self.watch(session);
        }
        let Session { remote, console, .. } = session;
        let now = clock::wall();
        let list = List::new::<TaskView>(self.form.unwrap_or_default(), now);
        let mut list = list.on_terminal::<TaskView>(terminal::width());
        match (&self.which, self.form) {
            (Which::One(reference), None) => {
                let shown = task::details(&remote.task(reference)?, now);
                write!(console.out, "{shown}").map_err(CliError::Output)?;
                return Ok(exit::DONE);
            }
            (Which::One(reference), Some(_)) => {
                list.push::<TaskView>(&remote.get_raw(&routes::task(reference))?, console)?;
            }
            (Which::List(path), _) => remote
                .pages(path, |page| page.iter().try_for_each(|task| list.push::<TaskView>(task, console)))?,
        }
        list.finish(console)?;
        Ok(exit::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
        Asked::read(&mut words).map_err(|error| error.to_string())
    }

    fn asks_for(line: &str) -> String {
        match asked(line).unwrap().which {
            Which::One(task) => task,
            Which::List(path) => path,
        }
    }

    #[test]
    fn what_lives_is_listed_unless_more_is_asked_for() {
        assert_eq!(asks_for(""), "/api/v1/tasks?status=pending,scheduled,running");
        assert_eq!(asks_for("--all"), "/api/v1/tasks");
        assert_eq!(asks_for("--all --status failed"), "/api/v1/tasks?status=failed");
        assert_eq!(
            asks_for("--status failed,stopped --status pending -q"),
            "/api/v1/tasks?status=failed,stopped,pending"
        );
        assert_eq!(
            asks_for("--all --node w.1 -l team=a&b --label x="),
            "/api/v1/tasks?node=w.1&label=team%3Da%26b&label=x%3D"
        );
        assert_eq!(asks_for("--task web"), "web");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, says) in [
            ("--status dead", "--status: \"dead\" must be one of pending, scheduled,"),
            ("--node /", "--node: must match"),
            ("-l x", "-l: \"x\" must be KEY=VALUE"),
            ("-o yaml", "-o: \"yaml\" must be table, wide, json or name"),
            ("-q -o json", "-q: not together with -o"),
            ("web", "unexpected argument \"web\": one task is --task ID"),
            ("--task web --status failed", "--task: not together with a filter"),
            ("--al", "unknown flag --al: did you mean --all?"),
        ] {
            let error = asked(line).expect_err(line);
            assert!(error.starts_with(says), "{line}: {error}");
        }
    }
}
