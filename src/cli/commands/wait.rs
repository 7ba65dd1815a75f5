//! `podling wait TASK… [--timeout D]`: waits for tasks to end, and says how each did.
//!
//! All of them are looked up before any is waited for, so that a misspelled name doesn't come out at the end. They
//! are waited for in the order that they were named in, which takes as long as the longest. The exit code is that
//! of the one task; of several 0 if all completed, else 1; 124 once the timeout ran out for any.

use std::time::Duration;

use super::{Command, Session};
use crate::api::wire::task::TaskView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::render::text::age;
use crate::cli::{exit, waiting};
use crate::model::time::{Mono, parse_duration};
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

impl Command for Asked {
    /// Waits for each task, in the order that they were named in, and prints a line for each.
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let deadline = self.timeout.map(|timeout| clock::mono() + timeout);
        let tasks = self.tasks.iter().map(|task| session.remote.task(task));
        let tasks: Vec<TaskView> = tasks.collect::<Result<_, CliError>>()?;
        let is_only_one = tasks.len() == 1;
        let mut code = exit::DONE;
        for task in tasks {
            let one = self.wait(task, deadline, session)?;
            code = match (code, one) {
                (_, one) if is_only_one => one,
                (exit::TIMED_OUT, _) | (_, exit::TIMED_OUT) => exit::TIMED_OUT,
                (exit::DONE, exit::DONE) => exit::DONE,
                (_, _) => exit::FAILED,
            };
        }
        Ok(code)
    }
}

impl Asked {
    /// Waits for one task, and gives the exit code that stands for its end.
    fn wait(
        &self,
        task: TaskView,
        deadline: Option<Mono>,
        session: &mut Session<'_, '_>,
    ) -> Result<u8, CliError> {
        let Some(task) = waiting::until_known(&session.remote, task, deadline, session.console)? else {
            return Ok(exit::NO_CODE);
        };
        session.console.line(&line(&task))?;
        if task.status.is_terminal() {
            return Ok(exit::of_task(&task));
        }
        let after = age(self.timeout.unwrap_or_default());
        session.console.say(format_args!("{} is still {} after {after}", task.name, task.status.as_str()));
        Ok(exit::TIMED_OUT)
    }
}

/// Id, name, status, exit code or `-`.
pub(super) fn line(task: &TaskView) -> String {
    let code = task.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    format!("{} {} {} {code}", task.task_id, task.name, task.status.as_str())
}
