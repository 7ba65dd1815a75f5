//! `podling wait TASK… [--timeout D]`: waits for tasks to end, and says how each did.

use std::time::Duration;

use super::Session;
use crate::api::wire::task::TaskView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::render::text::age;
use crate::cli::{exit, waiting};
use crate::model::time::parse_duration;
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    tasks: Vec<String>,
    timeout: Option<Duration>,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let timeout = words.value(Flag::Long("--timeout"), parse_duration)?;
        Ok(Self { tasks: words.some("TASK")?, timeout })
    }
}

/// Waits for each task, in the order that they were named in, and prints a line for each.
///
/// # Errors
/// A task isn't known, the master can't be reached, or stdout can't be written to.
pub(super) fn run(asked: &Asked, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
    let deadline = asked.timeout.map(|timeout| clock::mono() + timeout);
    let tasks: Vec<TaskView> =
        asked.tasks.iter().map(|task| session.remote.task(task)).collect::<Result<_, CliError>>()?;
    let mut last = Vec::with_capacity(tasks.len());
    for task in tasks {
        let task = waiting::until_end(&session.remote, task, deadline, session.console)?;
        session.console.line(&line(&task))?;
        if !task.status.is_terminal() {
            let after = age(asked.timeout.unwrap_or_default());
            session.console.say(format_args!(
                "{} is still {} after {after}",
                task.name,
                task.status.as_str()
            ));
        }
        last.push(task);
    }
    if last.iter().all(|task| task.status.is_terminal()) {
        Ok(exit::of_tasks(&last))
    } else {
        Ok(exit::TIMED_OUT)
    }
}

/// Id, name, status, exit code or `-`.
fn line(task: &TaskView) -> String {
    let code = task.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    format!("{} {} {} {code}", task.task_id, task.name, task.status.as_str())
}
