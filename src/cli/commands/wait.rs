//! `podling wait TASK… [--timeout D]`: waits for tasks to end, and says how each did.
//!
//! All of them are looked up before any is waited for, so that a misspelled name doesn't come out at the end. One is
//! waited for closely; of several, how many have ended is shown on stderr meanwhile (see [`crate::cli::waiting::many`]).
//! What came of them is printed at the end, in the order that they were named in. The exit code is that of the one
//! task; of several 0 if all completed, else 1; 124 once the timeout ran out for any.

use std::time::Duration;

use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::task::TaskView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::render::list::{Form, List};
use crate::cli::render::text::{age, visible};
use crate::cli::waiting::many::{self, Roll};
use crate::cli::{exit, waiting};
use crate::model::id::TaskId;
use crate::model::task::TaskStatus;
use crate::model::time::{Mono, parse_duration};
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    tasks: Vec<String>,
    timeout: Option<Duration>,
    /// None: a line for each task.
    form: Option<Form>,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let timeout = words.value(Flag::Long("--timeout"), parse_duration)?;
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?;
        Ok(Self { tasks: words.some("TASK")?, timeout, form })
    }
}

impl Command for Asked {
    /// Waits for all, then prints a line for each, in the order that they were named in.
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let deadline = self.timeout.map(|timeout| clock::mono() + timeout);
        let tasks = self.tasks.iter().map(|task| session.remote.task(task));
        let mut tasks: Vec<TaskView> = tasks.collect::<Result<_, CliError>>()?;
        if tasks.len() == 1 {
            return self.wait_for_one(tasks.remove(0), deadline, session);
        }
        let mut roll = Roll::of(&tasks);
        let is_known = many::until_all(&session.remote, &mut roll, deadline, session.console);
        let ids: Vec<TaskId> = tasks.into_iter().map(|task| task.task_id).collect();
        print(&ids, &roll, self.form, session)?;
        let after = self.timeout.unwrap_or_default();
        for (name, status) in ids.iter().filter_map(|id| roll.still(id)).filter(|_| is_known) {
            still(name, status, after, session);
        }
        Ok(match (is_known, roll.is_over()) {
            (true, false) => exit::TIMED_OUT,
            (true, true) if roll.failures() == 0 => exit::DONE,
            (_, _) => exit::FAILED,
        })
    }
}

impl Asked {
    /// Waits for one task, and gives the exit code that stands for its end.
    fn wait_for_one(
        &self,
        task: TaskView,
        deadline: Option<Mono>,
        session: &mut Session<'_, '_>,
    ) -> Result<u8, CliError> {
        let Some(task) = waiting::until_known(&session.remote, task, deadline, session.console)? else {
            return Ok(exit::NO_CODE);
        };
        match self.form {
            Some(form) => list(std::slice::from_ref(&task.task_id), form, session)?,
            None => session.console.line(&line(
                &task.task_id,
                task.name.as_str(),
                task.status.as_str(),
                task.exit_code,
            ))?,
        }
        if task.status.is_terminal() {
            return Ok(exit::of_task(&task));
        }
        still(task.name.as_str(), task.status, self.timeout.unwrap_or_default(), session);
        Ok(exit::TIMED_OUT)
    }
}

fn still(name: &str, status: TaskStatus, after: Duration, session: &mut Session<'_, '_>) {
    session.console.say(format_args!("{name} is still {} after {}", status.as_str(), age(after)));
}

/// Prints what came of tasks that were waited for, in this order: a line for each, or in the form that was asked for.
///
/// # Errors
/// The output can't be written; or, with a form, the master can't be reached.
pub(super) fn print(
    tasks: &[TaskId],
    roll: &Roll,
    form: Option<Form>,
    session: &mut Session<'_, '_>,
) -> Result<(), CliError> {
    if let Some(form) = form {
        return list(tasks, form, session);
    }
    for task in tasks {
        let printed = match (roll.fate(task), roll.still(task)) {
            (Some(fate), _) => {
                let status = fate.status.map_or("removed", TaskStatus::as_str);
                line(task, &fate.name, status, fate.exit_code)
            }
            (None, Some((name, status))) => line(task, name, status.as_str(), None),
            (None, None) => continue,
        };
        session.console.line(&printed)?;
    }
    Ok(())
}

/// Lists tasks as they are now. One that was removed meanwhile isn't in the list.
///
/// # Errors
/// The master can't be reached, or the output can't be written.
pub(super) fn list(tasks: &[TaskId], form: Form, session: &mut Session<'_, '_>) -> Result<(), CliError> {
    let mut list = List::new::<TaskView>(form, clock::wall());
    for task in tasks {
        match session.remote.get_raw(&routes::task(task.as_str())) {
            Ok(raw) => list.push::<TaskView>(&raw, session.console)?,
            Err(error) if error.problem_code() == Some("task_not_found") => {}
            Err(error) => return Err(error),
        }
    }
    list.finish(session.console)
}

/// Id, name, status, exit code or `-`.
fn line(id: &TaskId, name: &str, status: &str, code: Option<i32>) -> String {
    let code = code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    format!("{id} {} {status} {code}", visible(name))
}
