//! The commands, one file each; this one finds the one that was asked for.
//!
//! A command reads its flags into a struct first, whole, so that a wrong command line changes nothing; then it
//! runs against the master and gives the exit code. Commands that the contract has and this version has not are
//! known by name, and say so.

mod inspect;
mod logs;
mod node;
mod nodes;
mod ps;
mod rm;
mod run;
mod stop;
mod wait;
mod why;

use crate::cli::args::{Flag, Words, nearest};
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::cli::settings::Shared;
use crate::cli::{Console, exit, help};
use crate::runtime::settings::{Environment, SettingsError};

/// Part of the contract, and of a later version.
const TO_COME: &[&str] = &["events", "apply", "top", "story", "audit", "token", "completion"];

/// What a command works with.
pub(crate) struct Session<'a, 'c> {
    /// The master.
    pub(crate) remote: Remote,
    /// Where it writes.
    pub(crate) console: &'a mut Console<'c>,
}

/// A command line that was read whole and found right.
trait Command {
    /// Does it, and gives the exit code. Blocks until it is done.
    ///
    /// # Errors
    /// See [`CliError`].
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError>;
}

/// Finds the command and obeys it.
///
/// # Errors
/// See [`CliError`].
pub(crate) fn obey(
    words: &mut Words,
    environment: Environment,
    console: &mut Console<'_>,
) -> Result<u8, CliError> {
    let shared = Shared::take(words)?;
    let is_version = words.switch(Flag::Both("-V", "--version"));
    let command = match words.take_command()? {
        Some(command) => command,
        None if is_version => "version".to_owned(),
        None if shared.help => "help".to_owned(),
        None => return Err(usage("no command: podling help lists them")),
    };
    if TO_COME.contains(&command.as_str()) {
        return Err(usage("not supported yet"));
    }
    match command.as_str() {
        _ if shared.help && command != "help" => {
            print(&help::of(&command).ok_or_else(|| unknown_command(&command))?, console)
        }
        "help" => explain(words, console),
        "version" => {
            words.rest().and_then(|rest| nothing_more(&rest))?;
            print(concat!("podling ", env!("CARGO_PKG_VERSION"), "\n"), console)
        }
        other => {
            let command = read(other, words, environment)?;
            let remote = Remote::new(shared.resolve(environment)?)?;
            command.obey(&mut Session { remote, console })
        }
    }
}

/// Reads the flags of the commands that ask the master.
fn read(command: &str, words: &mut Words, environment: Environment) -> Result<Box<dyn Command>, CliError> {
    Ok(match command {
        "run" => Box::new(run::Asked::read(words, environment)?),
        "ps" => Box::new(ps::Asked::read(words)?),
        "nodes" => Box::new(nodes::Asked::read(words)?),
        "logs" => Box::new(logs::Asked::read(words)?),
        "stop" => Box::new(stop::Asked::read(words)?),
        "rm" => Box::new(rm::Asked::read(words)?),
        "wait" => Box::new(wait::Asked::read(words)?),
        "inspect" => Box::new(inspect::Asked::read(words)?),
        "why" => Box::new(why::Asked::read(words)?),
        "node" => Box::new(node::Asked::read(words)?),
        other => return Err(unknown_command(other)),
    })
}

fn explain(words: &mut Words, console: &mut Console<'_>) -> Result<u8, CliError> {
    match words.at_most_one()? {
        None => print(&help::overview(), console),
        Some(command) if TO_COME.contains(&command.as_str()) => {
            Err(usage(format!("{command} is not supported yet")))
        }
        Some(command) => {
            let text = help::of(&command).ok_or_else(|| unknown_command(&command))?;
            print(&text, console)
        }
    }
}

fn print(text: &str, console: &mut Console<'_>) -> Result<u8, CliError> {
    write!(console.out, "{text}").map_err(CliError::Output)?;
    Ok(exit::DONE)
}

fn nothing_more(rest: &[String]) -> Result<(), SettingsError> {
    rest.first().map_or(Ok(()), |word| Err(SettingsError::new(format!("unexpected argument {word:?}"))))
}

fn usage(text: impl Into<String>) -> CliError {
    CliError::Usage(SettingsError::new(text))
}

fn unknown_command(command: &str) -> CliError {
    let guess = nearest(command, help::names());
    let guess = guess.map_or_else(String::new, |guess| format!(": did you mean {guess}?"));
    usage(format!("there is no such command{guess}"))
}
