//! The lines between the parts: messages are late, lost, doubled, out of order, and lines are cut, each way alone.

use std::collections::BTreeSet;

use podling::api::wire::agent::{
    Assignment, HeartbeatReply, HeartbeatRequest, RegisterReply, RegisterRequest, ReportsReply,
    ReportsRequest,
};
use podling::model::id::{AttemptKey, NodeId, TaskId};
use podling::model::node::Availability;
use podling::model::spec::ImageRef;

use super::images::Readiness;
use super::rng::Rng;
use super::time::{MS, Micros};
use crate::checker::history::Seen;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Party {
    Master,
    Node(usize),
    Client(usize),
    Operator,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Register(Box<RegisterRequest>),
    Beat(Box<HeartbeatRequest>),
    Reports(ReportsRequest),
    Create {
        key: String,
        wanted: Vec<podling::api::wire::spec::Creation>,
    },
    Stop {
        task: TaskId,
        grace_ms: u64,
    },
    Remove {
        task: TaskId,
    },
    Get {
        task: TaskId,
    },
    List,
    Availability {
        node: NodeId,
        availability: Availability,
    },
    /// To a node: it is to have an image.
    Prepare(ImageRef),
    /// To a node.
    Assign(Vec<Assignment>),
    /// To a node.
    StopThere {
        attempt: AttemptKey,
        grace_ms: u64,
    },
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Registered(RegisterReply),
    Set(Box<HeartbeatReply>),
    Verdicts(ReportsReply),
    Created(Vec<TaskId>),
    Done,
    Task(Box<Seen>),
    Tasks(Vec<Seen>),
    /// How an image stands with a node.
    Image(Readiness),
    /// A problem document: its status and its code.
    Problem(u16, &'static str),
}

/// What goes over a line.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Ask(u64, Request),
    Answer(u64, Reply),
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: Party,
    pub(crate) to: Party,
    pub(crate) message: Message,
}

/// The lines.
#[derive(Debug, Default)]
pub(crate) struct Net {
    cut: BTreeSet<(Party, Party)>,
    /// How often, in a thousand, a message is lost, doubled, or late by seconds.
    pub(crate) noise: u64,
    pub(crate) last_call: u64,
}

impl Net {
    pub(crate) const fn next_call(&mut self) -> u64 {
        self.last_call += 1;
        self.last_call
    }

    pub(crate) fn cut(&mut self, from: Party, to: Party) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self, from: Party, to: Party) {
        self.cut.remove(&(from, to));
    }

    /// After how long a message arrives: never, once, or twice.
    pub(crate) fn arrivals(&self, from: Party, to: Party, rng: &mut Rng) -> Vec<Micros> {
        if self.cut.contains(&(from, to)) || rng.permille(self.noise) {
            return Vec::new();
        }
        let delay = |rng: &mut Rng| {
            let is_late = rng.permille(self.noise);
            if is_late { rng.within(100 * MS, 12_000 * MS) } else { rng.within(MS / 5, 4 * MS) }
        };
        let mut all = vec![delay(rng)];
        if rng.permille(self.noise) {
            all.push(delay(rng));
        }
        all
    }
}
