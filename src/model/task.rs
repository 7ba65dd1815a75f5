//! A task and its life: what a user asked to run, and the only way it moves on.
//!
//! A [`Task`] is an id, a spec, the number of its current attempt and a [`TaskState`]. Everything that ever happens
//! to it is a [`Step`], and [`Task::advance`] (in `task/advance.rs`) is the one function that applies it. Late, doubled
//! and backward steps are refused as data: the caller decides whether that is news or noise.
//!
//! An attempt that ends may be followed by another one (`task/again.rs`): as the restart policy says, because its node
//! was lost, or because it is moved off a node that is drained. Each one that was is kept in [`Task::past`].
//!
//! Invariant: (attempt, state) never decreases. `completed` means exit code 0; `failed` never has it.
//! Deliberately absent: clocks, nodes' health, placement. A step carries all that it needs, so that replaying the
//! same steps gives the same task.

mod advance;
mod again;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::id::{
    Attempt, AttemptKey, BatchId, ContainerId, NodeId, Revision, TaskId, TaskName, TokenId,
};
use crate::model::spec::TaskSpec;
use crate::model::time::WallTime;

/// How often nodes may refuse a task's attempts before it fails.
pub const MAX_REFUSALS: usize = 5;

/// How many past attempts of a task are kept, the latest.
pub const MOST_PAST: usize = 100;

/// What a user asked to run, and how far it has come.
#[derive(Clone, Debug)]
pub struct Task {
    /// Made by the master.
    pub id: TaskId,
    /// Chosen by the user; need not be unique.
    pub name: TaskName,
    /// How its container is made. Shared by the tasks of a batch.
    pub spec: Arc<TaskSpec>,
    /// Its place in a batch.
    pub batch: Option<BatchMember>,
    /// When it was accepted.
    pub created_at: WallTime,
    /// The token with which it was asked for. None: without one, or before there were tokens.
    pub made_by: Option<TokenId>,
    /// The try that counts now.
    pub attempt: Attempt,
    /// The nodes that refused an attempt at it, in order; the same one may stand there again.
    pub refused_by: Vec<NodeId>,
    /// The node that was lost with its last attempt, or whose lease on it ran out: better not there again.
    pub lost_on: Option<NodeId>,
    /// How many further tries its restart policy has given it.
    pub tries: u32,
    /// How many of the last attempts failed in a row, none of which ran for long.
    pub streak: u32,
    /// The attempts before this one, oldest first, the latest [`MOST_PAST`] of them.
    pub past: Vec<Past>,
    /// A node that keeps a place for its next attempt, besides the one that it holds.
    pub reserved: Option<NodeId>,
    /// Since when its attempt is being ended so that the next one can run where a place is reserved.
    pub moving: Option<WallTime>,
    /// A user's wish that it end.
    pub stop: Option<StopIntent>,
    /// Where in its life it is.
    pub state: TaskState,
}

/// A task's place among the tasks that were created with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMember {
    /// The batch.
    pub id: BatchId,
    /// From 0, in the order that was asked for.
    pub index: u32,
    /// Whether the task is one of `count` equals, and so is told its index.
    pub replica: bool,
}

/// A user's wish that a task end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopIntent {
    /// When it was first asked for.
    pub requested_at: WallTime,
    /// Between TERM and KILL: the shortest that was asked for.
    pub grace: Duration,
}

/// The placement of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The node that owns the attempt.
    pub node: NodeId,
    /// When it was placed.
    pub at: WallTime,
    /// The journal position at which it was placed.
    pub revision: Revision,
}

/// An attempt that ended, and was followed by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Which one.
    pub attempt: Attempt,
    /// Where it was placed.
    pub on: Placement,
    /// Its container, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
    /// When that started, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub finished_at: WallTime,
    /// The Engine's exit code, where a container ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended; none: with exit code 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The end in words, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where in its life a task is, with what is known there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for a node.
    Pending {
        /// Since when.
        since: WallTime,
        /// The last words about why it still waits.
        detail: Option<String>,
        /// How long it waits before it is to be placed at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backoff: Option<Duration>,
    },
    /// A node owns it; its container doesn't run yet.
    Scheduled {
        /// The owner.
        on: Placement,
        /// What the node is busy with, such as a pull.
        detail: Option<String>,
    },
    /// Its container runs.
    Running {
        /// The owner.
        on: Placement,
        /// The Engine's id of its container.
        container: ContainerId,
        /// The Engine's time of the start.
        started_at: WallTime,
    },
    /// It came to its end and never leaves it.
    Ended(Ended),
}

/// The end of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Where its last attempt was placed, if it was.
    pub on: Option<Placement>,
    /// The container of its last attempt, if there was one.
    pub container: Option<ContainerId>,
    /// When that container started, if it did.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub finished_at: WallTime,
    /// The Engine's exit code, where a container ended.
    pub exit_code: Option<i32>,
    /// The end in words, where there is something to say.
    pub error: Option<String>,
}

/// The three kinds of end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Exit code 0.
    Completed,
    /// Any other end that nobody asked for.
    Failed(Reason),
    /// A user asked for it.
    Stopped,
}

/// Why an attempt ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The command ended with another code than 0.
    ExitCode,
    /// The kernel killed it for want of memory.
    OomKilled,
    /// It was told to stop.
    Stopped,
    /// The image couldn't be had.
    ImagePull,
    /// The Engine failed, or lost the container.
    Engine,
    /// The command can't be started (126, 127).
    Start,
    /// The Engine calls the spec wrong.
    InvalidSpec,
    /// No node took it within its pending timeout.
    NoNode,
    /// Its node fell silent.
    NodeLost,
    /// Its node could not renew its lease.
    LeaseExpired,
    /// The policy forbids it.
    Policy,
}

impl Reason {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExitCode => "exit_code",
            Self::OomKilled => "oom_killed",
            Self::Stopped => "stopped",
            Self::ImagePull => "image_pull",
            Self::Engine => "engine",
            Self::Start => "start",
            Self::InvalidSpec => "invalid_spec",
            Self::NoNode => "no_node",
            Self::NodeLost => "node_lost",
            Self::LeaseExpired => "lease_expired",
            Self::Policy => "policy",
        }
    }
}

/// The status words of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Waits for a node.
    Pending,
    /// A node owns it.
    Scheduled,
    /// Its container runs.
    Running,
    /// Ended with exit code 0.
    Completed,
    /// Ended otherwise.
    Failed,
    /// Ended because a user asked for it.
    Stopped,
}

impl TaskStatus {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Scheduled, Self::Running, Self::Completed, Self::Failed, Self::Stopped];

    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether a task never leaves it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Stopped)
    }

    /// Whether a task in it takes up a place on a node.
    pub const fn takes_a_place(self) -> bool {
        matches!(self, Self::Scheduled | Self::Running)
    }

    /// The status that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Something that happens to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The scheduler found a node.
    Place(Placement),
    /// The node says what it is busy with.
    Progress {
        /// In words.
        detail: String,
    },
    /// The container runs.
    Start {
        /// The Engine's id.
        container: ContainerId,
        /// The Engine's time.
        at: WallTime,
    },
    /// The attempt ended.
    End(Ending),
    /// The node never made and never will make a container for this attempt.
    Refuse {
        /// When.
        at: WallTime,
        /// In words.
        why: String,
    },
    /// A user asked for its end.
    Stop(StopIntent),
    /// It waited for a node longer than it may.
    Expire {
        /// When.
        at: WallTime,
        /// Why no node took it, in words.
        why: String,
    },
    /// Its node is gone.
    Lose {
        /// When.
        at: WallTime,
        /// In words.
        why: String,
    },
    /// A place for its next attempt is kept on another node, so that it can be moved there.
    Reserve {
        /// That node.
        node: NodeId,
    },
    /// That place is given back.
    Unreserve,
    /// Its attempt is to end, so that the next one can run where a place is kept.
    Move {
        /// When that was decided.
        at: WallTime,
    },
}

/// How an attempt ended, as its node tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When.
    pub at: WallTime,
    /// Why; none where the command ended with 0 by itself.
    pub reason: Option<Reason>,
    /// The Engine's exit code, where a container ended.
    pub exit_code: Option<i32>,
    /// In words.
    pub error: Option<String>,
    /// The container, where there was one.
    pub container: Option<ContainerId>,
    /// When it started, where it did.
    pub started_at: Option<WallTime>,
}

/// Why a step was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The task is there already: the step was taken before.
    AlreadySo,
    /// The task is past it.
    Backward,
}

impl Task {
    /// A new task, which waits for a node.
    pub fn new(
        id: TaskId,
        name: TaskName,
        spec: Arc<TaskSpec>,
        batch: Option<BatchMember>,
        created_at: WallTime,
    ) -> Self {
        let state = TaskState::Pending { since: created_at, detail: None, backoff: None };
        Self {
            id,
            name,
            spec,
            batch,
            created_at,
            made_by: None,
            attempt: Attempt::FIRST,
            refused_by: Vec::new(),
            lost_on: None,
            tries: 0,
            streak: 0,
            past: Vec::new(),
            reserved: None,
            moving: None,
            stop: None,
            state,
        }
    }

    /// The word for where it is.
    pub const fn status(&self) -> TaskStatus {
        match &self.state {
            TaskState::Pending { .. } => TaskStatus::Pending,
            TaskState::Scheduled { .. } => TaskStatus::Scheduled,
            TaskState::Running { .. } => TaskStatus::Running,
            TaskState::Ended(ended) => match ended.outcome {
                Outcome::Completed => TaskStatus::Completed,
                Outcome::Failed(_) => TaskStatus::Failed,
                Outcome::Stopped => TaskStatus::Stopped,
            },
        }
    }

    /// Where its current (or last) attempt was placed.
    pub const fn placement(&self) -> Option<&Placement> {
        match &self.state {
            TaskState::Pending { .. } => None,
            TaskState::Scheduled { on, .. } | TaskState::Running { on, .. } => Some(on),
            TaskState::Ended(ended) => ended.on.as_ref(),
        }
    }

    /// The node whose place it takes up now.
    pub fn holds_place_on(&self) -> Option<&NodeId> {
        match &self.state {
            TaskState::Scheduled { on, .. } | TaskState::Running { on, .. } => Some(&on.node),
            TaskState::Pending { .. } | TaskState::Ended(_) => None,
        }
    }

    /// The nodes on which it takes up a place: the one that owns its attempt, and the one that keeps a place for the next.
    pub fn places(&self) -> impl Iterator<Item = &NodeId> {
        self.holds_place_on().into_iter().chain(&self.reserved)
    }

    /// How long it waits before it is to be placed at all, from when it began to wait.
    pub fn backoff(&self) -> Duration {
        match &self.state {
            TaskState::Pending { backoff, .. } => backoff.unwrap_or_default(),
            TaskState::Scheduled { .. } | TaskState::Running { .. } | TaskState::Ended(_) => Duration::ZERO,
        }
    }

    /// Whether its node is to end it: a user asked for that, or it is being moved.
    pub const fn is_to_end(&self) -> bool {
        self.stop.is_some() || self.moving.is_some()
    }

    /// Whether its next attempt should go elsewhere, where another node fits.
    pub fn avoids(&self, node: &NodeId) -> bool {
        self.refused_by.contains(node) || self.lost_on.as_ref() == Some(node)
    }

    /// Its index, where it is one of `count` equals: what it is told as `PODLING_INDEX`.
    pub fn replica_index(&self) -> Option<u32> {
        self.batch.as_ref().filter(|batch| batch.replica).map(|batch| batch.index)
    }

    /// The attempt that counts now.
    pub fn key(&self) -> AttemptKey {
        AttemptKey { task: self.id.clone(), attempt: self.attempt }
    }

    /// Between TERM and KILL when it is told to stop.
    pub fn grace(&self) -> Duration {
        self.stop.map_or(self.spec.stop_grace, |stop| stop.grace)
    }
}

#[cfg(test)]
mod tests;
