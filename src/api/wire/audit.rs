//! The audit as it is kept and shown: one line of JSON for each deed, each bound to the one before it.
//!
//! Main types: [`AuditLine`], and [`Chain`], which makes the next line and checks a run of them. A line ends with its
//! `hash`: the SHA-256 of all that stands before `,"hash":"` in it, and that begins with the number and holds the hash of
//! the line before. So nobody takes a line out, puts one in or changes one without all later ones showing it; whoever
//! keeps the last hash elsewhere can tell that the end is missing. Any program can check that: see `docs/SECURITY.md`.

use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::time;
use crate::model::audit::{Actor, Deed};
use crate::model::id::{NodeId, TokenId};
use crate::model::time::WallTime;

/// What stands between a line's own hash and all that it is made of.
const HASH: &str = ",\"hash\":\"";

/// The hash before the first line.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One line, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// From 1, without a gap.
    pub number: u64,
    /// When.
    #[serde(with = "time::required")]
    pub time: WallTime,
    /// `user`, `node`, `join`, `unchecked` (tokens are turned off), `unknown`.
    pub actor: String,
    /// The id of the token that was shown, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// The node, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The other end of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What: `task.create`, …; of what was refused, method and path.
    pub action: String,
    /// To what: ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Whether it was done.
    pub allowed: bool,
    /// The code of the problem that it was refused with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The hash of the line before.
    pub previous: String,
    /// This line's own.
    pub hash: String,
}

/// The end of the audit, to which the next line is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    last: String,
}

impl Default for Chain {
    /// Before the first line.
    fn default() -> Self {
        Self { next: 1, last: NO_HASH.to_owned() }
    }
}

/// Why a line doesn't follow the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is no line of an audit.
    Unreadable {
        /// Where a line was expected.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// Lines are missing, or come twice.
    Number {
        /// The number that was expected.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// It is bound to another line than the one before it.
    Previous(u64),
    /// It was changed.
    Hash(u64),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { number, why } => write!(f, "line {number} can't be read: {why}"),
            Self::Number { expected, found } => {
                write!(f, "line {expected} is missing: line {found} comes instead")
            }
            Self::Previous(number) => write!(f, "line {number} does not follow the line before it"),
            Self::Hash(number) => write!(f, "line {number} was changed"),
        }
    }
}

impl std::error::Error for Broken {}

impl Chain {
    /// After this line, which is taken at its word.
    ///
    /// # Errors
    /// It is no line of an audit.
    pub fn after(line: &[u8]) -> Result<Self, serde_json::Error> {
        let line: AuditLine = serde_json::from_slice(line)?;
        Ok(Self { next: line.number + 1, last: line.hash })
    }

    /// Before this line, so that it can be checked as the first of those that are left.
    ///
    /// # Errors
    /// It is no line of an audit.
    pub fn before(line: &[u8]) -> Result<Self, serde_json::Error> {
        let line: AuditLine = serde_json::from_slice(line)?;
        Ok(Self { next: line.number, last: line.previous })
    }

    /// The number of the next line.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Makes the next line.
    pub fn link(&mut self, deed: &Deed) -> Vec<u8> {
        let (actor, token_id, node_id) = parts(&deed.by.actor);
        let line = AuditLine {
            number: self.next,
            time: deed.at,
            actor: actor.to_owned(),
            token_id,
            node_id,
            address: deed.by.address.map(|address| address.to_string()),
            action: deed.action.clone(),
            subjects: deed.subjects.clone(),
            allowed: deed.refused.is_none(),
            code: deed.refused.clone(),
            previous: std::mem::take(&mut self.last),
            hash: String::new(),
        };
        // Texts, numbers and lists of them: they can always be written as JSON.
        let unhashed = serde_json::to_string(&line).unwrap_or_default();
        let text = unhashed.rsplit_once(HASH).map_or("", |(text, _)| text);
        self.last = hash(text);
        self.next += 1;
        format!("{text}{HASH}{}\"}}", self.last).into_bytes()
    }

    /// Takes up the next line, if it is that.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&mut self, line: &[u8]) -> Result<(), Broken> {
        let unreadable = |why: String| Broken::Unreadable { number: self.next, why };
        let read: AuditLine = serde_json::from_slice(line).map_err(|error| unreadable(error.to_string()))?;
        let text = std::str::from_utf8(line).map_err(|error| unreadable(error.to_string()))?;
        if read.number != self.next {
            return Err(Broken::Number { expected: self.next, found: read.number });
        }
        if read.previous != self.last {
            return Err(Broken::Previous(read.number));
        }
        let hashed = text.trim_end().rsplit_once(HASH).filter(|(text, _)| hash(text) == read.hash);
        if hashed.is_none_or(|(_, end)| end != format!("{}\"}}", read.hash)) {
            return Err(Broken::Hash(read.number));
        }
        (self.next, self.last) = (read.number + 1, read.hash);
        Ok(())
    }
}

fn parts(actor: &Actor) -> (&'static str, Option<TokenId>, Option<NodeId>) {
    match actor {
        Actor::User(token) => ("user", Some(token.clone()), None),
        Actor::Node(node, token) => ("node", Some(token.clone()), Some(node.clone())),
        Actor::Joiner(token) => ("join", Some(token.clone()), None),
        Actor::Unchecked => ("unchecked", None, None),
        Actor::Unknown => ("unknown", None, None),
    }
}

/// SHA-256, in hexadecimal digits.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::By;

    fn deed(action: &str) -> Deed {
        let token = "01JD0000000000000000000007".parse().unwrap();
        Deed {
            at: WallTime::from_unix_millis(1_000),
            by: By { actor: Actor::User(token), address: "127.0.0.1:9".parse().ok() },
            action: action.to_owned(),
            subjects: vec![",\"hash\":\"x\"}".to_owned()],
            refused: None,
        }
    }

    fn lines() -> Vec<Vec<u8>> {
        let mut chain = Chain::default();
        ["task.create", "task.stop", "task.remove", "token.end"]
            .map(|action| chain.link(&deed(action)))
            .into()
    }

    fn check(lines: &[Vec<u8>]) -> Result<u64, Broken> {
        let mut chain = Chain::before(&lines[0]).unwrap();
        lines.iter().try_for_each(|line| chain.check(line))?;
        Ok(chain.next())
    }

    #[test]
    fn what_was_linked_follows_also_after_a_start_and_from_any_line_on() {
        let mut lines = lines();
        let mut again = Chain::after(lines.last().unwrap()).unwrap();
        lines.push(again.link(&Deed { refused: Some("scope".to_owned()), ..deed("DELETE /x") }));
        assert_eq!(check(&lines), Ok(6));
        assert_eq!(check(&lines[2..]), Ok(6));
        let first: AuditLine = serde_json::from_slice(&lines[0]).unwrap();
        assert_eq!((first.number, first.previous.as_str(), first.allowed), (1, NO_HASH, true));
    }

    #[test]
    fn whatever_is_changed_shows() {
        let lines = lines();
        let with = |at: usize, from: &str, to: &str| {
            let mut changed = lines.clone();
            let text = String::from_utf8(changed[at].clone()).unwrap();
            assert!(text.contains(from), "{text}");
            changed[at] = text.replacen(from, to, 1).into_bytes();
            check(&changed)
        };
        assert_eq!(with(1, "task.stop", "task.stopp"), Err(Broken::Hash(2)));
        assert_eq!(with(1, "1970", "1971"), Err(Broken::Hash(2)));
        assert_eq!(with(2, "\"number\":3", "\"number\":2"), Err(Broken::Number { expected: 3, found: 2 }));
        assert_eq!(with(0, "\"}", "\" }"), Err(Broken::Hash(1)));
        let mut without = lines.clone();
        without.remove(1);
        assert_eq!(check(&without), Err(Broken::Number { expected: 2, found: 3 }));
        let mut swapped = lines.clone();
        // Somebody who changes a line and hashes it anew is found at the next one.
        let mut forger = Chain::after(&swapped[0]).unwrap();
        swapped[1] = forger.link(&deed("task.create"));
        assert_eq!(check(&swapped), Err(Broken::Previous(3)));
        let mut cut = lines;
        cut[3].truncate(20);
        assert!(matches!(check(&cut), Err(Broken::Unreadable { number: 4, .. })));
    }
}
