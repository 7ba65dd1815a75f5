//! `podling why TASK`: why a task is where it is.
//!
//! The master knows; here its answer is laid out: a line that says it, a line for each node, and what would help.

use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::why::WhyView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::list::Form;
use crate::cli::render::{text, why};
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    task: String,
    is_json: bool,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let form = words.value(Flag::Both("-o", "--output"), Form::from_word)?.unwrap_or_default();
        if form == Form::Name {
            return Err(SettingsError::of("-o", "must be table or json"));
        }
        Ok(Self { task: words.one("TASK")?, is_json: form == Form::Json })
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let Session { remote, console, .. } = session;
        let path = routes::task_why(&self.task);
        let shown = if self.is_json {
            text::pretty_json(remote.get_raw(&path)?.get()) + "\n"
        } else {
            why::page(&remote.get::<WhyView>(&path)?, clock::wall())
        };
        write!(console.out, "{shown}").map_err(CliError::Output)?;
        Ok(exit::DONE)
    }
}
