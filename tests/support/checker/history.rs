//! What happened in a run, as its recorder saw it: what clients asked and were told, what became durable, what the
//! Engines did, and which faults were put in. The simulation and the runs of real processes both write it; the checker
//! reads it.
//!
//! Main type: [`History`], entries in the order of their moments. A recorder that can't know something leaves it out;
//! the checker then judges less, and never more.

use std::fmt;

use podling::control::change::Change;
use podling::model::id::{AttemptKey, ClusterId, ContainerId, Epoch, Incarnation, NodeId, Revision, TaskId};
use podling::model::task::{Reason, TaskStatus};
use podling::model::time::WallTime;

/// Milliseconds since the recording began.
pub(crate) type Millis = u64;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Millis,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A client sent a request.
    Asked { call: u64, client: u32, wish: Wish },
    /// It was answered. A call without an answer has an unknown outcome.
    Answered { call: u64, answer: Answer },
    /// A client read a task.
    Saw { client: u32, seen: Seen },
    /// A client read that there is no such task.
    Missed { client: u32, task: TaskId },

    /// A master has opened its store; its epoch is durable.
    MasterBegan { epoch: Epoch },
    /// That master is no more: killed, or stopped.
    MasterEnded { epoch: Epoch },
    /// What a master that has just opened its store shows, and what the durable records come to by themselves.
    Restored { shown: String, durable: String },
    /// A change became durable.
    Committed { position: Revision, change: Change },
    /// The master took a beat off the wire.
    BeatTaken { node: NodeId },
    /// A task that fits waits although there is room for it: so long by now.
    Unplaced { task: TaskId, waited: Millis },

    /// A worker's process began, and has raised its incarnation.
    WorkerBegan { node: NodeId, incarnation: Incarnation },
    /// It is no more.
    WorkerEnded { node: NodeId },
    /// A worker heard the answer to a beat that it had sent at `sent`.
    BeatAnswered { node: NodeId, sent: Millis },

    /// A worker told the master that its Engine has an image.
    HasImage { node: NodeId, image: String },

    /// An Engine made a container of ours. `leased`: it runs under its node's lease.
    Made { container: ContainerId, node: NodeId, key: AttemptKey, leased: bool },
    /// It began to run. `by`: the worker that asked for it, where that is known.
    Started { container: ContainerId, by: Option<Incarnation> },
    /// It ended.
    Ended { container: ContainerId, exit_code: i32, oom: bool, because: Because },
    /// It was removed.
    Removed { container: ContainerId },
    /// A container that isn't ours is gone or ended, and nobody but us could have done it.
    ForeignTouched { container: ContainerId },

    /// A fault began.
    Broke { fault: Fault, subject: String },
    /// It is over.
    Healed { fault: Fault, subject: String },
    /// How long /healthz took, asked while its server ran. None: no answer at all.
    Probed { subject: String, took: Option<Millis> },

    /// All faults are over and the cluster has come to rest. The last entry.
    Rested { tasks: Vec<Seen>, containers: Vec<Left> },
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `POST /api/v1/tasks`. `specs`: each task's spec as text, as [`Seen::spec`] shows it.
    Create { key: String, specs: Vec<String> },
    /// `POST /api/v1/tasks/:id/stop`.
    Stop { task: TaskId },
    /// `DELETE /api/v1/tasks/:id`.
    Remove { task: TaskId },
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 201 (or the repeated answer of the same key).
    Created(Vec<TaskId>),
    /// Another 2xx.
    Done,
    /// An error: its status, and whether it came as a problem document.
    Refused { status: u16, is_problem: bool },
}

/// A task as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    pub(crate) status: TaskStatus,
    /// Name, image, command and so on: everything that was asked for, and nothing that changes.
    pub(crate) spec: String,
    pub(crate) node: Option<NodeId>,
    pub(crate) container: Option<ContainerId>,
    pub(crate) started_at: Option<WallTime>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<Reason>,
    /// Why it is where it is, in words.
    pub(crate) detail: Option<String>,
}

/// A container with our cluster's label that was there at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) container: ContainerId,
    pub(crate) node: NodeId,
    pub(crate) key: AttemptKey,
    pub(crate) runs: bool,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// By itself, or by the kernel.
    Itself,
    /// A signal that a worker had the Engine send.
    Signal,
    /// Its Engine was killed.
    Engine,
    /// The recorder can't tell.
    Unknown,
}

/// What was broken on purpose. The subject says whose: a node, `master`, or two ends of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// kill -9 of a process.
    Killed,
    /// SIGSTOP of a process.
    Paused,
    /// Nothing passes between master and a node, in one direction or both.
    Cut,
    /// Messages are lost, doubled, late, out of order.
    Noise,
    /// Disk full, write errors, torn writes.
    Disk,
    /// A wall clock was set.
    Clock,
    /// An Engine was killed or restarted.
    EngineKilled,
    /// An Engine gives no answer.
    EngineHung,
    /// An Engine answers oddly: an answer lost after the deed, an error without one.
    EngineOdd,
    /// A pull failed, hung or crawled.
    Pull,
}

/// What holds for the whole run.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) cluster: ClusterId,
    /// After how much silence a node is offline.
    pub(crate) node_timeout: Millis,
    /// How long a worker's lease lasts.
    pub(crate) lease: Millis,
    /// How long /healthz may take.
    pub(crate) healthz: Millis,
    /// Whether `Committed` stands where the change became durable. If not, only the order of positions counts.
    pub(crate) commits_are_timed: bool,
}

/// Everything that was recorded of one run.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) terms: Terms,
    pub(crate) entries: Vec<Entry>,
}

impl History {
    pub(crate) const fn new(terms: Terms) -> Self {
        Self { terms, entries: Vec::new() }
    }

    pub(crate) fn push(&mut self, at: Millis, what: What) {
        self.entries.push(Entry { at, what });
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  {:?}", self.at, self.what)
    }
}
