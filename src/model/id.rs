//! Ids: one type each, so that no two can be mixed up.
//!
//! Names that people choose ([`NodeId`], [`TaskName`]) share one alphabet, `[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}`:
//! nothing in it is special to a path, a URL, a shell or the Docker Engine, and no id can be `.` or `..`. Ids that
//! the program makes ([`TaskId`], [`ClusterId`] …) are letters and digits alone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text isn't an id. `Display` is a fragment that follows the field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdError(&'static str);

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for IdError {}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $valid:ident, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if $valid(text) { Ok(Self(text.into())) } else { Err(IdError($rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        // An id's invariant is its alphabet, so reading one checks it.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id! {
    /// A task. Made by the master; sorts by the time of creation.
    TaskId, is_made_id, "must be 20 to 32 letters and digits"
}
text_id! {
    /// A batch of tasks that were created together, all or none.
    BatchId, is_made_id, "must be 20 to 32 letters and digits"
}
text_id! {
    /// A token, or a join word. Made by the master; no secret.
    TokenId, is_made_id, "must be 20 to 32 letters and digits"
}
text_id! {
    /// A cluster. Made once by the master, kept in its data folder, carried by every container as a label.
    ClusterId, is_made_id, "must be 20 to 32 letters and digits"
}
text_id! {
    /// A worker's data folder. Tells two workers that claim the same node id apart.
    InstanceId, is_made_id, "must be 20 to 32 letters and digits"
}
text_id! {
    /// One run of a worker's process. Tells a retried registration from a new one.
    StartId, is_made_id, "must be 20 to 32 letters and digits"
}
text_id! {
    /// A node: a machine, or a part of one, with a worker. Chosen by its operator.
    NodeId, is_name, "must match [a-zA-Z0-9][a-zA-Z0-9._-]{0,62}"
}
text_id! {
    /// What a user calls a task. Need not be unique.
    TaskName, is_name, "must match [a-zA-Z0-9][a-zA-Z0-9._-]{0,62}"
}
text_id! {
    /// A container, as the Engine calls it.
    ContainerId, is_container_id, "must be 1 to 128 letters and digits"
}

fn is_made_id(text: &str) -> bool {
    (20..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_container_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 63
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// One try at a task, counted from 1: at most one container, ever, in the whole cluster.
    Attempt, u32
}
counter! {
    /// Grows at each start of the master, so that what an earlier master said can be told from what this one says.
    Epoch, u64
}
counter! {
    /// Grows at each start of a worker, so that an earlier process's reports can be told from this one's.
    Incarnation, u64
}
counter! {
    /// A position in the master's journal: how much of the state's history a set or a placement has seen.
    Revision, u64
}

impl Attempt {
    /// The first try.
    pub const FIRST: Self = Self(1);
}

/// One try at one task: what a node runs, and what a container is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// The task.
    pub task: TaskId,
    /// The attempt at it.
    pub attempt: Attempt,
}

impl fmt::Display for AttemptKey {
    /// As the log writes it: `01JD…/1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_special() {
        for good in ["a", "web", "worker-1", "A.b_c-9", "9", &"x".repeat(63)] {
            assert!(good.parse::<TaskName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-x", "_x", "a/b", "a b", "ä", "a\0", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn made_ids_are_letters_and_digits() {
        assert!("01JD0000000000000000000000".parse::<TaskId>().is_ok());
        for bad in ["", "01JD", "../../../etc/passwd-and-more", &"0".repeat(19), &"0".repeat(33)] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
    }
}
