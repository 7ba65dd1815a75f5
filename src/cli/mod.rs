//! The command line: `podling run`, `ps`, `logs` and the rest.
//!
//! ```text
//! words ─▶ args (flags, refused by name) ─▶ commands/* ─▶ remote (the master's API) ─▶ render (tables, JSON)
//! ```
//!
//! [`run`] takes the words, the environment and a [`Console`], and gives the exit code, so that a test can be a
//! user. Data goes to stdout, messages to stderr, one line each, beginning with `podling`. Whatever a name, an
//! error or a detail holds is shown with its control characters made visible; log text alone is passed through
//! unchanged. Nothing is coloured; what is watched (`-w`) is drawn over itself, on a terminal alone ([`Screen`]).
//!
//! Exit codes: 0 done; 1 the cluster said no or can't be reached; 2 the command line is wrong; a task's own code
//! where a command waits for one task; see [`exit`].

mod apply;
mod args;
mod commands;
mod completion;
mod error;
pub mod exit;
mod feed;
mod fields;
mod help;
mod interrupt;
mod progress;
mod remote;
mod render;
mod screen;
mod settings;
mod terminal;
mod waiting;
mod watcher;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use crate::cli::args::Words;
use crate::cli::error::CliError;
use crate::cli::render::text;
use crate::runtime::settings::Environment;

pub use screen::Screen;

/// Where a command writes.
pub struct Console<'a> {
    /// Data.
    pub out: &'a mut dyn Write,
    /// Messages.
    pub err: &'a mut dyn Write,
}

impl fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Console")
    }
}

impl Console<'_> {
    /// One line of data.
    fn line(&mut self, line: &str) -> Result<(), CliError> {
        writeln!(self.out, "{line}").map_err(CliError::Output)
    }

    /// One line that would be data, if stdout weren't the container's.
    fn note(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}");
    }

    /// One message, after what was written as data so far.
    ///
    /// Nobody is told of a message that can't be written: there is nowhere left to say it.
    fn say(&mut self, message: impl fmt::Display) {
        let _ = self.out.flush();
        let _ = writeln!(self.err, "podling: {}", text::visible_lines(&message.to_string()));
    }
}

/// Obeys one command line (without the program's name) and gives the exit code. Blocks until it is done.
pub fn run(arguments: Vec<OsString>, environment: Environment, console: &mut Console<'_>) -> u8 {
    run_on(arguments, environment, console, None)
}

/// The same, where the console's `out` is a terminal that can be written over.
pub fn run_on(
    arguments: Vec<OsString>,
    environment: Environment,
    console: &mut Console<'_>,
    screen: Option<Screen>,
) -> u8 {
    if arguments.first().is_some_and(|word| word == completion::ASK) {
        completion::answer(&arguments[1..], environment, console);
        return exit::DONE;
    }
    let mut words = Words::new(arguments);
    let done = commands::obey(&mut words, environment, console, screen);
    let flushed = console.out.flush().map_err(CliError::Output);
    match done.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => code,
        Err(error) => report(&error, words.command(), console),
    }
}

/// Says what went wrong, and how that is told to whoever called.
fn report(error: &CliError, command: Option<&str>, console: &mut Console<'_>) -> u8 {
    match error {
        CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        CliError::Usage(why) => {
            let whose = command.map_or_else(String::new, |command| format!(" {}", text::visible(command)));
            let _ = writeln!(console.err, "podling{whose}: {}", text::visible(&why.to_string()));
        }
        CliError::Output(_) | CliError::Call { .. } | CliError::Failed(_) => console.say(error),
    }
    error.exit_code()
}
