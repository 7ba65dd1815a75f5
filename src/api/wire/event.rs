//! What happened, as followers hear of it: GET /events, one JSON document for each server-sent event.
//!
//! An [`Event`] shows a task or a node right after one durable change. Its [`EventId`] is made of the start of the
//! master that tells it and the journal position of the change, so ids grow, and say where a follower that lost its
//! line goes on. A [`Gap`] says that something can't be told any more.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::time;
use crate::model::id::{Attempt, Epoch, NodeId, Revision, TaskId, TaskName};
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::task::{Outcome, Reason, Task, TaskState, TaskStatus};
use crate::model::time::WallTime;

/// How much of a detail or an error an event holds, in characters. The task itself has all of it.
const TEXT_CHARS: usize = 500;

/// An event's id: `EPOCH-POSITION`, and `-INDEX` for the second and later events of one change (a batch makes many
/// tasks at once).
///
/// ```
/// use podling::api::wire::event::EventId;
///
/// let id: EventId = "1770000000-42-3".parse().unwrap();
/// assert_eq!((id.position.0, id.index, id.to_string().as_str()), (42, 3, "1770000000-42-3"));
/// assert!("1770000000-42".parse::<EventId>().unwrap() < id);
/// assert!("yesterday".parse::<EventId>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// The start of the master that tells it.
    pub epoch: Epoch,
    /// The journal position of its change.
    pub position: Revision,
    /// Which of that change's events.
    pub index: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position)?;
        if self.index > 0 { write!(f, "-{}", self.index) } else { Ok(()) }
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is no event's id");
        let mut parts = text.split('-').map(|part| {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u64>().ok().filter(|_| is_number).ok_or_else(refuse)
        });
        let mut next = || parts.next().transpose();
        let epoch = Epoch(next()?.ok_or_else(refuse)?);
        let position = Revision(next()?.ok_or_else(refuse)?);
        let index = u32::try_from(next()?.unwrap_or_default()).map_err(|_| refuse())?;
        next()?.map_or(Ok(Self { epoch, position, index }), |_| Err(refuse()))
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When it happened, by the master's clock.
    #[serde(with = "time::required")]
    pub time: WallTime,
    /// What it is about, as it was from then on.
    #[serde(flatten)]
    pub subject: Subject,
}

/// What an event is about. The word for its kind is the event's name on the stream, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Subject {
    /// A task.
    Task(TaskNews),
    /// A node.
    Node(NodeNews),
}

impl Subject {
    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Task(_) => "task",
            Self::Node(_) => "node",
        }
    }
}

/// A task right after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskNews {
    /// Which one.
    pub task_id: TaskId,
    /// Its name.
    pub name: TaskName,
    /// Where in its life it is.
    pub status: TaskStatus,
    /// The try that counts now.
    pub attempt: Attempt,
    /// The node that owns, or owned, that try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The Engine's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it ended, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it is busy with, or why it waits again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When its end was first asked for.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub stop_requested_at: Option<WallTime>,
    /// Whether it was forgotten: this is how it was last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// A node right after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNews {
    /// Which one.
    pub node_id: NodeId,
    /// Whether it beats.
    pub status: NodeStatus,
    /// Whether it may get work.
    pub availability: Availability,
    /// Whether it was forgotten: this is how it was last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// Events that can't be told: those after `after`, `id` included. What comes next follows `id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Where it goes on.
    pub id: EventId,
    /// Always [`Gap::KIND`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The last event that the follower has.
    pub after: EventId,
}

impl Gap {
    /// The word for it, which is its name on the stream, too.
    pub const KIND: &'static str = "gap";

    /// Between two ids.
    pub fn between(after: EventId, id: EventId) -> Self {
        Self { id, kind: Self::KIND.to_owned(), after }
    }
}

impl From<&Task> for TaskNews {
    fn from(task: &Task) -> Self {
        let mut news = Self {
            task_id: task.id.clone(),
            name: task.name.clone(),
            status: task.status(),
            attempt: task.attempt,
            node_id: task.placement().map(|on| on.node.clone()),
            exit_code: None,
            reason: None,
            error: None,
            detail: None,
            stop_requested_at: task.stop.map(|stop| stop.requested_at),
            removed: false,
        };
        match &task.state {
            TaskState::Pending { detail, .. } | TaskState::Scheduled { detail, .. } => {
                news.detail = detail.as_deref().map(shortened);
            }
            TaskState::Running { .. } => {}
            TaskState::Ended(ended) => {
                news.exit_code = ended.exit_code;
                news.error = ended.error.as_deref().map(shortened);
                news.reason = match ended.outcome {
                    Outcome::Completed => None,
                    Outcome::Failed(reason) => Some(reason),
                    Outcome::Stopped => Some(Reason::Stopped),
                };
            }
        }
        news
    }
}

impl From<&Node> for NodeNews {
    fn from(node: &Node) -> Self {
        Self {
            node_id: node.registration.node_id.clone(),
            status: node.status,
            availability: node.availability,
            removed: false,
        }
    }
}

/// The beginning of a text, where it is long: then its last character is `…`.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        None => text.to_owned(),
        Some(_) => text.chars().take(TEXT_CHARS - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        text.parse().unwrap()
    }

    #[test]
    fn ids_are_read_as_they_are_written_and_nothing_else_is() {
        for text in ["7-0", "7-42", "7-42-1", "18446744073709551615-18446744073709551615-4294967295"] {
            assert_eq!(id(text).to_string(), text);
        }
        for bad in
            ["", "0", "7", "7-", "-7", "7-+1", "7-1-", "7-1-2-3", "7-x", "7-1-4294967296", " 7-1", "７-1"]
        {
            assert!(bad.parse::<EventId>().is_err(), "{bad:?}");
        }
        let ordered = ["6-99", "7-9", "7-10", "7-10-1", "7-10-2", "7-11"].map(id);
        assert!(ordered.is_sorted());
    }

    #[test]
    fn absent_means_absent() {
        let subject = Subject::Node(NodeNews {
            node_id: "worker-1".parse().unwrap(),
            status: NodeStatus::Offline,
            availability: Availability::Active,
            removed: false,
        });
        let event = Event { id: id("7-42"), time: WallTime::from_unix_millis(1_770_000_000_123), subject };
        let json = r#"{"id":"7-42","time":"2026-02-02T02:40:00.123Z","type":"node","node_id":"worker-1","status":"offline","availability":"active"}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
        let news = r#"{"id":"7-43-1","time":"2026-02-02T02:40:00.123Z","type":"task","task_id":"01JD0000000000000000000001","name":"web","status":"failed","attempt":2,"node_id":"worker-1","exit_code":7,"reason":"exit_code","removed":true}"#;
        let event: Event = serde_json::from_str(news).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), news);
        let gap = serde_json::to_string(&Gap::between(id("7-1"), id("7-9"))).unwrap();
        assert_eq!(gap, r#"{"id":"7-9","type":"gap","after":"7-1"}"#);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shortened(&"ä".repeat(500)), "ä".repeat(500));
        let cut = shortened(&"ä".repeat(501));
        assert_eq!((cut.chars().count(), cut.ends_with("ä…")), (500, true));
    }
}
