//! `podling stop TASK… [-t D]`: asks for each task's end, then waits for all of them.
//!
//! All are asked before any is waited for, so that they end side by side. A task may take its grace (the one that
//! is given, else its own) and half a minute more; what still lives then is named, and the exit code is 1. A task
//! that had ended before is no error.

use std::time::Duration;

use super::{Command, Session};
use crate::api::wire::task::TaskView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::render::text;
use crate::cli::{exit, waiting};
use crate::model::spec::{DEFAULT_STOP_GRACE, LONGEST_WAIT};
use crate::model::time::{Mono, parse_duration};
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// How much longer than its grace a task may take.
const ALLOWANCE: Duration = Duration::from_secs(30);

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    tasks: Vec<String>,
    grace: Option<Duration>,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let grace = words.value(Flag::Both("-t", "--time"), grace)?;
        Ok(Self { tasks: words.some("TASK")?, grace })
    }
}

fn grace(text: &str) -> Result<Duration, String> {
    let grace = parse_duration(text).map_err(|error| error.to_string())?;
    if grace > LONGEST_WAIT { Err("must be a year at most".to_owned()) } else { Ok(grace) }
}

/// A task that was told to stop.
struct Stopping<'a> {
    called: &'a str,
    task: TaskView,
    allowed: Duration,
    deadline: Mono,
}

impl Command for Asked {
    /// Prints what each task was called by once it has ended. What the master says against it makes the exit code 1.
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let mut code = exit::DONE;
        let mut stopping = Vec::new();
        for called in &self.tasks {
            match session.remote.stop(called, self.grace) {
                Ok(task) => stopping.push(Stopping::new(called, task, self.grace)),
                Err(error) => {
                    session.console.say(error);
                    code = exit::FAILED;
                }
            }
        }
        for one in stopping {
            if !one.wait(session)? {
                code = exit::FAILED;
            }
        }
        Ok(code)
    }
}

impl<'a> Stopping<'a> {
    fn new(called: &'a str, task: TaskView, grace: Option<Duration>) -> Self {
        let own = task.spec.stop_grace_ms.map_or(DEFAULT_STOP_GRACE, Duration::from_millis);
        let allowed = grace.unwrap_or(own) + ALLOWANCE;
        Self { called, task, allowed, deadline: clock::mono() + allowed }
    }

    /// Whether it ended in time.
    fn wait(self, session: &mut Session<'_, '_>) -> Result<bool, CliError> {
        match waiting::until_end(&session.remote, self.task, Some(self.deadline), session.console) {
            Ok(task) if task.status.is_terminal() => {
                session.console.line(&text::visible(self.called))?;
                Ok(true)
            }
            Ok(task) => {
                let (called, status) = (self.called, task.status.as_str());
                let after = text::age(self.allowed);
                session
                    .console
                    .say(format_args!("{called} is still {status} {after} after it was told to stop"));
                Ok(false)
            }
            // Somebody removed it meanwhile, which only what has ended can be.
            Err(error) if error.problem_code() == Some("task_not_found") => {
                session.console.line(&text::visible(self.called))?;
                Ok(true)
            }
            Err(error) => {
                session.console.say(error);
                Ok(false)
            }
        }
    }
}
