//! The commands, one file each; this one finds the one that was asked for.
//!
//! A command reads its flags into a struct first, whole, so that a wrong command line changes nothing; then it
//! runs against the master and gives the exit code. Commands that the contract has and this version has not are
//! known by name, and say so.

mod apply;
mod audit;
mod completion;
mod events;
mod inspect;
mod logs;
mod node;
mod nodes;
mod ps;
mod rm;
mod run;
mod stop;
mod token;
mod top;
mod wait;
mod watch;
mod why;

use crate::cli::args::{Flag, Words, nearest};
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::cli::settings::Shared;
use crate::cli::{Console, Screen, exit, help};
use crate::runtime::settings::{Environment, SettingsError};

/// Part of the contract, and of a later version.
const TO_COME: &[&str] = &["story"];

/// What other programs call the commands of this one.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["ls", "list", "get", "status", "tasks"], "ps"),
    (&["kill", "down"], "stop"),
    (&["delete", "remove", "del"], "rm"),
    (&["start", "create", "submit"], "run"),
    (&["describe", "show"], "inspect"),
    (&["up", "deploy"], "apply"),
];

/// What a command works with.
pub(crate) struct Session<'a, 'c> {
    /// The master.
    pub(crate) remote: Remote,
    /// Where it writes.
    pub(crate) console: &'a mut Console<'c>,
    /// Where it can write over what it wrote.
    pub(crate) screen: Option<Screen>,
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
    screen: Option<Screen>,
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
        "completion" => print(completion::read(words)?, console),
        "version" => {
            words.rest().and_then(|rest| nothing_more(&rest))?;
            print(concat!("podling ", env!("CARGO_PKG_VERSION"), "\n"), console)
        }
        other => {
            let command = read(other, words, environment)?;
            let remote = Remote::new(shared.resolve(environment)?)?;
            command.obey(&mut Session { remote, console, screen })
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
        "events" => Box::new(events::Asked::read(words)?),
        "top" => Box::new(top::Asked::read(words)?),
        "audit" => Box::new(audit::Asked::read(words)?),
        "apply" => Box::new(apply::Asked::read(words)?),
        "inspect" => Box::new(inspect::Asked::read(words)?),
        "why" => Box::new(why::Asked::read(words)?),
        "node" => Box::new(node::Asked::read(words)?),
        "token" => Box::new(token::Asked::read(words)?),
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
    let meant = ELSEWHERE.iter().find(|(words, _)| words.contains(&command)).map(|(_, here)| *here);
    let guess = meant.or_else(|| nearest(command, help::names()));
    let guess = guess.map_or_else(String::new, |guess| format!(": did you mean {guess}?"));
    usage(format!("there is no such command{guess}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::completion as shell;

    /// What a shell offers and what a person reads is what a command takes.
    #[test]
    fn the_help_has_the_flags_that_are_taken_and_no_others() {
        for name in help::names().filter(|name| !matches!(*name, "completion" | "version" | "help")) {
            let mut words = Words::new(Vec::new());
            Shared::take(&mut words).unwrap();
            let _ = read(name, &mut words, |_| None);
            let taken: BTreeSet<&str> = words.known().iter().copied().collect();
            let told: BTreeSet<&str> =
                shell::flags(name).into_iter().flat_map(|flag| flag.spellings).collect();
            assert_eq!(taken, told, "podling {name}");
        }
    }

    #[test]
    fn what_other_programs_call_a_command_is_guessed() {
        for (word, here) in
            [("ls", "ps"), ("kill", "stop"), ("rnu", "run"), ("pss", "ps"), ("insp", "inspect")]
        {
            assert!(unknown_command(word).to_string().ends_with(&format!("did you mean {here}?")), "{word}");
        }
        assert_eq!(unknown_command("fly").to_string(), "there is no such command");
    }
}
