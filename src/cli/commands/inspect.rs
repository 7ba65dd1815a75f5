//! `podling inspect TASK|NODE`: all that the master tells of it, as JSON, its members in the master's order.
//!
//! A task is looked for before a node. Whatever fields a later master adds are shown: the document isn't read into
//! types of this program's. Its control characters are written as JSON escapes, which changes nothing of what it says.

use super::{Command, Session};
use crate::api::routes;
use crate::cli::args::Words;
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::text;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    what: String,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        Ok(Self { what: words.one("TASK or NODE")? })
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let (remote, what) = (&session.remote, &self.what);
        let found = match remote.get_raw(&routes::task(what)) {
            Err(error) if error.problem_code() == Some("task_not_found") => {
                remote.get_raw(&routes::node(what)).map_err(|error| match error.problem_code() {
                    Some("node_not_found") => {
                        CliError::Failed(format!("there is no task and no node {what:?}"))
                    }
                    Some(_) | None => error,
                })
            }
            other => other,
        }?;
        session.console.line(&text::pretty_json(found.get()))?;
        Ok(exit::DONE)
    }
}
