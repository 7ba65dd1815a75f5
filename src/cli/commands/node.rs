//! `podling node cordon|uncordon|drain|rm NODE`: opens, closes, empties or forgets a node.
//!
//! All but the drain are one question to the master. The drain is watched until the node is empty (`node/drain.rs`);
//! who stops watching, by Ctrl-C say, stops nothing: the master goes on draining.

mod drain;

use std::time::Duration;

use super::{Command, Session};
use crate::cli::args::{Flag, Words, nearest};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::model::node::Availability;
use crate::model::time::parse_duration;
use crate::runtime::settings::SettingsError;

const DEEDS: [&str; 4] = ["cordon", "uncordon", "drain", "rm"];

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    deed: Deed,
    node: String,
}

#[derive(Debug)]
enum Deed {
    Set(Availability),
    Drain { deadline: Option<Duration>, is_rehearsal: bool },
    Remove,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let deadline = words.value(Flag::Long("--deadline"), parse_duration)?;
        let is_rehearsal = words.switch(Flag::Long("--dry-run"));
        let mut rest = words.rest()?.into_iter();
        let deed =
            rest.next().ok_or_else(|| SettingsError::new(format!("{} is missing", DEEDS.join("|"))))?;
        let deed = match deed.as_str() {
            "cordon" => Deed::Set(Availability::Cordoned),
            "uncordon" => Deed::Set(Availability::Active),
            "drain" => Deed::Drain { deadline, is_rehearsal },
            "rm" => Deed::Remove,
            other => return Err(unknown(other)),
        };
        if !matches!(deed, Deed::Drain { .. }) && (deadline.is_some() || is_rehearsal) {
            let flag = if is_rehearsal { "--dry-run" } else { "--deadline" };
            return Err(SettingsError::of(flag, "only with drain"));
        }
        let node = rest.next().ok_or_else(|| SettingsError::new("NODE is missing"))?;
        match rest.next() {
            Some(more) => Err(SettingsError::new(format!("unexpected argument {more:?}"))),
            None => Ok(Self { deed, node }),
        }
    }
}

fn unknown(deed: &str) -> SettingsError {
    let guess = nearest(deed, DEEDS.into_iter());
    let guess = guess.map_or_else(String::new, |guess| format!(": did you mean {guess}?"));
    SettingsError::new(format!("{deed:?} must be {}{guess}", DEEDS.join(", ")))
}

impl Command for Asked {
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        match &self.deed {
            Deed::Set(availability) => {
                let set = session.remote.set_availability(&self.node, *availability)?;
                session.console.line(&format!("{} is {}", set.node_id, set.availability.as_str()))?;
                Ok(exit::DONE)
            }
            Deed::Drain { is_rehearsal: true, .. } => drain::rehearse(&self.node, session),
            Deed::Drain { deadline, .. } => drain::drain(&self.node, *deadline, session),
            Deed::Remove => {
                session.remote.remove_node(&self.node)?;
                session.console.line(&format!("{} is forgotten", self.node))?;
                Ok(exit::DONE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let asked = |line: &str| {
            let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
            Asked::read(&mut words).map_err(|error| error.to_string())
        };
        for (line, says) in [
            ("", "cordon|uncordon|drain|rm is missing"),
            ("drain", "NODE is missing"),
            ("drian n1", "\"drian\" must be cordon, uncordon, drain, rm: did you mean drain?"),
            ("cordon n1 n2", "unexpected argument \"n2\""),
            ("cordon n1 --dry-run", "--dry-run: only with drain"),
            ("rm n1 --deadline 5", "--deadline: only with drain"),
            ("drain n1 --deadline soon", "--deadline: \"soon\""),
            ("drain n1 --dryrun", "unknown flag --dryrun: did you mean --dry-run?"),
        ] {
            let error = asked(line).expect_err(line);
            assert!(error.starts_with(says), "{line}: {error}");
        }
        assert!(matches!(
            asked("drain n1 --deadline 5m").unwrap().deed,
            Deed::Drain { is_rehearsal: false, .. }
        ));
    }
}
