//! `podling events`: what happened of late; with `-f`, what happens from now on.
//!
//! A followed line that breaks is opened again and goes on where it broke, for as long as `podling logs -f` would.
//! What the master can't tell any more is said on stderr, and as JSON, in its place among the events.

use super::{Command, Session};
use crate::api::wire::event::{Event, Gap};
use crate::cli::Console;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::feed::{Feed, Message};
use crate::cli::render::event::EventLines;
use crate::cli::render::text;
use crate::cli::waiting::{Pace, Patience};
use crate::runtime::settings::SettingsError;

/// All that the master has kept.
const KEPT: &str = "?after=0&follow=false";

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    follow: bool,
    as_json: bool,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let form = |word: &str| match word {
            "table" => Ok(false),
            "json" => Ok(true),
            other => Err(format!("{other:?} must be table or json")),
        };
        let as_json = words.value(Flag::Both("-o", "--output"), form)?.unwrap_or_default();
        let follow = words.switch(Flag::Both("-f", "--follow"));
        words.rest().and_then(|rest| super::nothing_more(&rest))?;
        Ok(Self { follow, as_json })
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let Session { remote, console, .. } = session;
        let mut printer = Printer { as_json: self.as_json, lines: EventLines::new() };
        let mut feed = Feed::default();
        if !self.follow {
            let stream = remote.events(KEPT, None)?;
            feed.read(stream, remote, |message| printer.print(&message, console))?;
            return Ok(exit::DONE);
        }
        let mut stream = remote.events("", None)?;
        let mut patience = Patience::default();
        loop {
            // Nothing ends such a line in order but a master that stops; it may come back.
            let read = feed.read(stream, remote, |message| printer.print(&message, console));
            let mut broken = read.err().unwrap_or_else(|| remote.lost("the master ended it"));
            let mut pace = Pace::new();
            stream = loop {
                patience.bear(broken, console)?;
                pace.wait(None);
                match remote.events("", feed.last_id()) {
                    Ok(stream) => break stream,
                    Err(error) => broken = error,
                }
            };
            patience.answered();
        }
    }
}

/// Writes events as they come.
struct Printer {
    as_json: bool,
    lines: EventLines,
}

impl Printer {
    fn print(&mut self, message: &Message, console: &mut Console<'_>) -> Result<(), CliError> {
        let senseless = |error| CliError::Failed(format!("the master's event makes no sense: {error}"));
        if self.as_json {
            console.line(&text::json(&message.data))?;
        }
        match message.kind.as_str() {
            Gap::KIND => {
                let gap: Gap = serde_json::from_str(&message.data).map_err(senseless)?;
                let (after, id) = (gap.after, gap.id);
                console.say(format_args!("what happened after {after} isn't known: it goes on after {id}"));
            }
            "task" | "node" if !self.as_json => {
                let event: Event = serde_json::from_str(&message.data).map_err(senseless)?;
                console.line(&self.lines.line(&event))?;
            }
            // A kind of a later master's, or written above.
            _ => {}
        }
        console.out.flush().map_err(CliError::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for (line, says) in [
            ("-o wide", "-o: \"wide\" must be table or json"),
            ("web", "unexpected argument \"web\""),
            ("--folow", "unknown flag --folow: did you mean --follow?"),
        ] {
            let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
            assert_eq!(Asked::read(&mut words).map_err(|error| error.to_string()).expect_err(line), says);
        }
    }
}
