//! `podling inspect TASK|NODE`: all that the master tells of it, as JSON, its members in the master's order.
//!
//! A task is looked for before a node. Whatever fields a later master adds are shown: the document isn't read into
//! types of this program's. Its control characters are written as JSON escapes, which changes nothing of what it says.
//! With `-o` it is a list of one, as `ps` and `nodes` have it.

use serde_json::value::RawValue;

use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::node::NodeView;
use crate::api::wire::task::TaskView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::list::{Form, List, Shown};
use crate::cli::render::text;
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    what: String,
    form: Form,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?;
        Ok(Self { what: words.one("TASK or NODE")?, form: form.unwrap_or(Form::Json) })
    }

    fn show<T: Shown>(&self, found: &RawValue, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        if self.form == Form::Json {
            session.console.line(&text::pretty_json(found.get()))?;
            return Ok(exit::DONE);
        }
        let mut list = List::new::<T>(self.form, clock::wall());
        list.push::<T>(found, session.console)?;
        list.finish(session.console)?;
        Ok(exit::DONE)
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let (remote, what) = (&session.remote, &self.what);
        match remote.get_raw(&routes::task(what)) {
            Ok(task) => self.show::<TaskView>(&task, session),
            Err(error) if error.problem_code() == Some("task_not_found") => {
                let node = remote.get_raw(&routes::node(what)).map_err(|error| match error.problem_code() {
                    Some("node_not_found") => {
                        CliError::Failed(format!("there is no task and no node {what:?}"))
                    }
                    Some(_) | None => error,
                });
                self.show::<NodeView>(&node?, session)
            }
            Err(error) => Err(error),
        }
    }
}
