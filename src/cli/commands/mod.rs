//! The commands, one file each; this one finds the one that was asked for.
//!
//! A command reads its flags into a struct first, whole, so that a wrong command line changes nothing; then it
//! runs against the master and gives the exit code.

mod inspect;
mod logs;
mod nodes;
mod ps;
mod rm;
mod run;
mod stop;
mod wait;

use crate::cli::args::{Flag, Words, nearest};
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::cli::settings::Shared;
use crate::cli::{Console, exit, help};
use crate::runtime::settings::{Environment, SettingsError};

/// Part of the contract, and of a later version.
const TO_COME: &[&str] = &["why", "node", "events", "apply", "top", "story", "audit", "token", "completion"];

/// What a command works with.
pub(crate) struct Session<'a, 'c> {
    /// The master.
    pub(crate) remote: Remote,
    /// Where it writes.
    pub(crate) console: &'a mut Console<'c>,
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
    if shared.help {
        let text = help::of(&command).ok_or_else(|| unknown_command(&command))?;
        return print(&text, console);
    }
    match command.as_str() {
        "help" => explain(words, console),
        "version" => {
            words.rest().and_then(|rest| nothing_more(&rest))?;
            console.line(concat!("podling ", env!("CARGO_PKG_VERSION")))?;
            Ok(exit::DONE)
        }
        "run" => {
            let asked = run::Asked::read(words, environment)?;
            run::run(&asked, &mut Session::open(shared, environment, console)?)
        }
        "ps" => {
            let asked = ps::Asked::read(words)?;
            ps::run(&asked, &mut Session::open(shared, environment, console)?)
        }
        "nodes" => {
            let asked = nodes::Asked::read(words)?;
            nodes::run(&asked, &mut Session::open(shared, environment, console)?)
        }
        "logs" => {
            let asked = logs::Asked::read(words)?;
            logs::run(&asked, &mut Session::open(shared, environment, console)?)
        }
        "stop" => {
            let asked = stop::Asked::read(words)?;
            stop::run(&asked, &mut Session::open(shared, environment, console)?)
        }
        "rm" => {
            let tasks = words.some("TASK")?;
            rm::run(&tasks, &mut Session::open(shared, environment, console)?)
        }
        "wait" => {
            let asked = wait::Asked::read(words)?;
            wait::run(&asked, &mut Session::open(shared, environment, console)?)
        }
        "inspect" => {
            let what = words.one("TASK or NODE")?;
            inspect::run(&what, &mut Session::open(shared, environment, console)?)
        }
        other => Err(unknown_command(other)),
    }
}

impl<'a, 'c> Session<'a, 'c> {
    fn open(
        shared: Shared,
        environment: Environment,
        console: &'a mut Console<'c>,
    ) -> Result<Self, CliError> {
        Ok(Self { remote: Remote::new(shared.resolve(environment)?)?, console })
    }
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
