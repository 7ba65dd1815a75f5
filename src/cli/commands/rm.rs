//! `podling rm TASK…`: forgets tasks that have ended, and with them their logs.
//!
//! One that can't be forgotten, because it lives or nobody knows it, doesn't spare the others: it is named on stderr
//! and makes the exit code 1. What was forgotten is named on stdout as it was named by the user.

use super::{Command, Session};
use crate::cli::args::Words;
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::text;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    tasks: Vec<String>,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        Ok(Self { tasks: words.some("TASK")? })
    }
}

impl Command for Asked {
    /// Prints what each task was called by once it is gone. What the master says against it makes the exit code 1.
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let mut code = exit::DONE;
        for task in &self.tasks {
            match session.remote.remove(task) {
                Ok(()) => session.console.line(&text::visible(task))?,
                Err(error) => {
                    session.console.say(error);
                    code = exit::FAILED;
                }
            }
        }
        Ok(code)
    }
}
