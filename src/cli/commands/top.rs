//! `podling top`: what each node's tasks use of it, and the tasks that use most.
//!
//! On a terminal it is drawn anew every two seconds; elsewhere, with `--once` or as JSON, it is written once. The nodes
//! are asked side by side (`top/gauges.rs`), so that one that doesn't answer is shown as such and holds up nobody. How
//! it looks is in `render/top.rs`.

mod gauges;

use std::time::Duration;

use super::{Command, Session};
use crate::api::routes;
use crate::api::wire::node::NodeView;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::remote::Remote;
use crate::cli::render::top::{Gauge, json, picture};
use crate::cli::waiting::{Patience, pause};
use crate::runtime::clock;
use crate::runtime::settings::SettingsError;

use gauges::Gauges;

/// Between two pictures.
const EVERY: Duration = Duration::from_secs(2);

/// How long whoever wants one picture alone waits for the figures: longer than the master does.
const PATIENCE: Duration = Duration::from_secs(8);

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    as_json: bool,
    once: bool,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let as_json = words.value(Flag::Both("-o", "--output"), is_json)?.unwrap_or(false);
        let once = words.switch(Flag::Long("--once"));
        match words.rest()?.first() {
            Some(word) => Err(SettingsError::new(format!("unexpected argument {word:?}"))),
            None => Ok(Self { as_json, once }),
        }
    }
}

fn is_json(word: &str) -> Result<bool, String> {
    match word {
        "table" => Ok(false),
        "json" => Ok(true),
        other => Err(format!("{other:?} must be table or json")),
    }
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        let mut gauges = Gauges::start(&session.remote)
            .map_err(|error| CliError::Failed(format!("no thread can be had: {error}")))?;
        let screen = session.screen.take().filter(|_| !self.once && !self.as_json);
        let Some(mut screen) = screen else {
            let shown = read(&mut gauges, &session.remote, PATIENCE)?;
            let text = if self.as_json { json(&shown) } else { picture(&shown) };
            write!(session.console.out, "{text}").map_err(CliError::Output)?;
            return Ok(exit::DONE);
        };
        let mut patience = Patience::default();
        loop {
            let next = clock::mono() + EVERY;
            match read(&mut gauges, &session.remote, EVERY) {
                Ok(shown) => {
                    patience.answered();
                    screen.draw(&picture(&shown), session.console.out).map_err(CliError::Output)?;
                }
                Err(error) => patience.bear(error, session.console)?,
            }
            pause(next.since(clock::mono()));
        }
    }
}

/// The nodes as they are, each with its figures as far as they come within a time.
fn read(gauges: &mut Gauges, remote: &Remote, at_most: Duration) -> Result<Vec<(NodeView, Gauge)>, CliError> {
    let mut nodes: Vec<NodeView> = Vec::new();
    remote.pages(routes::NODES, |page| {
        for node in page {
            let node = serde_json::from_str(node.get());
            nodes.push(
                node.map_err(|error| {
                    CliError::Failed(format!("the master's answer makes no sense: {error}"))
                })?,
            );
        }
        Ok(())
    })?;
    let read = gauges.read(&nodes, at_most);
    Ok(nodes.into_iter().zip(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let asked = |line: &str| {
            let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
            Asked::read(&mut words)
                .map(|asked| (asked.as_json, asked.once))
                .map_err(|error| error.to_string())
        };
        assert_eq!(asked(""), Ok((false, false)));
        assert_eq!(asked("--once -o json"), Ok((true, true)));
        assert_eq!(asked("-o wide"), Err("-o: \"wide\" must be table or json".to_owned()));
        assert_eq!(asked("web"), Err("unexpected argument \"web\"".to_owned()));
    }
}
