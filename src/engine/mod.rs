//! What a worker needs of a container engine, and nothing more.
//!
//! [`Engine`] has two implementations that pass one contract suite (`tests/engine_contract.rs`): `docker`, and
//! `hollow`, which runs no containers and behaves as a task's environment tells it to. All calls block; each has
//! a deadline of its own, except [`Engine::wait`], whose caller sets it, and [`Engine::pull`], which ends when
//! nothing moves any more.
//!
//! Invariant: whatever an engine is asked to list, stop or remove carries our cluster's and our node's labels.
//! Deliberately absent: restart policies (the Engine's own is always `no`), volumes, exec, prune.

pub mod docker;
pub mod hollow;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::id::{Attempt, ClusterId, ContainerId, NodeId, TaskId};
use crate::model::resources::{CpuMillis, MemoryBytes, transferred};
use crate::model::spec::{ImageRef, TaskSpec};
use crate::model::time::WallTime;

/// The container label that holds the cluster's id.
pub const LABEL_CLUSTER: &str = "podling.cluster";
/// The container label that holds the node's id.
pub const LABEL_NODE: &str = "podling.node";
/// The container label that holds the task's id.
pub const LABEL_TASK: &str = "podling.task";
/// The container label that holds the attempt's number.
pub const LABEL_ATTEMPT: &str = "podling.attempt";
/// The container label of a task that is rescheduled when its node is lost: the node's lease ends it. Its value is `1`;
/// that it is there is all that counts, because how long a lease lasts may change with each registration.
pub const LABEL_LEASE: &str = "podling.lease";

/// A container engine.
pub trait Engine: Send + Sync + 'static {
    /// Who it is. Also the way to ask whether it answers at all.
    ///
    /// # Errors
    /// It doesn't answer within a few seconds.
    fn describe(&self) -> Result<Description, EngineError>;

    /// Whether it holds an image.
    ///
    /// # Errors
    /// It doesn't answer in time.
    fn has_image(&self, image: &ImageRef) -> Result<bool, EngineError>;

    /// Fetches an image from its registry. Blocks as long as bytes move; gives up once none did for a minute.
    ///
    /// # Errors
    /// [`EngineError::Pull`] with the registry's own words.
    fn pull(&self, image: &ImageRef, progress: &mut dyn FnMut(PullProgress)) -> Result<(), EngineError>;

    /// Makes a container. It doesn't run yet.
    ///
    /// # Errors
    /// [`EngineError::NameTaken`] where this attempt's container exists already; [`EngineError::ImageMissing`];
    /// [`EngineError::Rejected`] where the Engine calls the spec wrong.
    fn create(&self, request: &ContainerRequest) -> Result<ContainerId, EngineError>;

    /// Starts a container. Starting one that runs already is success.
    ///
    /// # Errors
    /// [`EngineError::Failed`] with the Engine's words, for a command that can't be run or a port that is taken.
    fn start(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Blocks until a started container ends: true; or until `at_most` has passed: false. For started containers
    /// alone: one that was never started doesn't run either, so it is true at once.
    ///
    /// # Errors
    /// The container is unknown, or the Engine went away.
    fn wait(&self, id: &ContainerId, at_most: Duration) -> Result<bool, EngineError>;

    /// Looks at a container, by id or by name.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where there is none.
    fn inspect(&self, id_or_name: &str) -> Result<Observed, EngineError>;

    /// Sends TERM (or what the image names instead), then KILL after `grace`; KILL at once where that is zero.
    /// Blocks until the container ended, `grace` and a little more at most. Stopping one that ended already, or
    /// never started, is success.
    ///
    /// # Errors
    /// The container is unknown, or did not end.
    fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError>;

    /// Removes a container with its log, by force. Removing one that is gone is success.
    ///
    /// # Errors
    /// The Engine doesn't answer, or fails.
    fn remove(&self, id: &ContainerId) -> Result<(), EngineError>;

    /// Every container, running or not, that carries both labels of `owner`.
    ///
    /// # Errors
    /// The Engine doesn't answer. An error never means "none".
    fn list(&self, owner: &Owner) -> Result<Vec<Listed>, EngineError>;

    /// Reads what a container wrote, from the oldest record that is kept. Following one that doesn't run ends at
    /// once. Dropping the records lets go of the log.
    ///
    /// # Errors
    /// The container is unknown, or the Engine doesn't answer.
    fn logs(&self, id: &ContainerId, request: LogRequest) -> Result<LogRecords, EngineError>;

    /// What a container has used of the processor, and holds of memory. One that doesn't run: nothing. Some Engines
    /// take a second for it (Docker 20.10 waits for its collector's next tick), so whoever asks about many asks at once.
    ///
    /// # Errors
    /// The container is unknown, or the Engine doesn't answer.
    fn stats(&self, id: &ContainerId) -> Result<Usage, EngineError>;

    /// Ends the waits and stops that block, and makes further ones fail as unreachable: for a process that ends.
    /// Containers go on. Never blocks.
    fn close(&self);
}

/// What an Engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Name and version: `docker 20.10.24`.
    pub name: String,
    /// Its own id, the same for all who use it.
    pub id: String,
    /// The machine's CPU, in all.
    pub cpu: CpuMillis,
    /// The machine's memory, in all.
    pub memory: MemoryBytes,
}

/// Whose containers are meant: those of one node of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// Which attempt a container belongs to. Its name and its labels are made of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerKey {
    /// The node of the cluster that owns it.
    pub owner: Owner,
    /// The task.
    pub task: TaskId,
    /// The attempt at it.
    pub attempt: Attempt,
}

impl ContainerKey {
    /// The container's name: the same attempt can't have two.
    pub fn container_name(&self) -> String {
        format!("podling-{}-{}-{}", self.owner.cluster, self.task, self.attempt)
    }
}

/// A container to be made.
#[derive(Clone, Debug)]
pub struct ContainerRequest {
    /// Whose it is.
    pub key: ContainerKey,
    /// What the user asked for.
    pub spec: Arc<TaskSpec>,
    /// The task's index among its equals, told to it as `PODLING_INDEX`.
    pub index: Option<u32>,
    /// How much of its log the Engine keeps, in bytes.
    pub log_max_bytes: u64,
}

/// How far a pull has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes that came so far.
    pub current_bytes: u64,
    /// Bytes in all, as far as the registry has said.
    pub total_bytes: u64,
}

/// `412 MiB of 1.1 GiB`.
impl fmt::Display for PullProgress {
    /// `412 MB of 1.1 GB`: in powers of 1000, as everybody counts what comes over a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [current, total] = [self.current_bytes, self.total_bytes].map(transferred);
        if self.total_bytes == 0 { write!(f, "{current}") } else { write!(f, "{current} of {total}") }
    }
}

/// A container as the Engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The Engine's id.
    pub id: ContainerId,
    /// Which attempt its labels name. None: it isn't ours.
    pub key: Option<ContainerKey>,
    /// Where in its life it is.
    pub phase: Phase,
    /// The exit code; 0 where it didn't end yet.
    pub exit_code: i32,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// The Engine's own words about what went wrong; often empty.
    pub error: String,
    /// When it started, if it ever did.
    pub started_at: Option<WallTime>,
    /// When it ended, if it did.
    pub finished_at: Option<WallTime>,
}

/// Where in its life a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Made, never started (or its start failed).
    Created,
    /// Running, paused or restarting.
    Running,
    /// Ended.
    Exited,
    /// Half removed; the Engine can't say more.
    Dead,
}

/// A row of the Engine's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The Engine's id.
    pub id: ContainerId,
    /// Which attempt its labels name.
    pub key: ContainerKey,
    /// Where in its life it is.
    pub phase: Phase,
    /// Whether it runs under its node's lease.
    pub is_leased: bool,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on processors since it started, of all of them together, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory that it needs: without files that could be dropped from the cache.
    pub memory: MemoryBytes,
}

/// Which of a container's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What is read of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Whether to wait for more until the container ends.
    pub follow: bool,
}

/// One write of a container: usually a line with its line feed. A long line comes in several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it was written to.
    pub stream: Stream,
    /// When, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// The container's own bytes.
    pub bytes: Vec<u8>,
}

/// What reading a log gives next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    /// A record.
    Record(LogRecord),
    /// Nothing was written for about a second. A follower uses the moment to see whether it is still wanted.
    Quiet,
}

/// A log as it is read. Ends with the log; with `follow`, when the container has ended.
pub type LogRecords = Box<dyn Iterator<Item = Result<LogItem, EngineError>> + Send>;

/// Why a call to an Engine failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// Nobody answers at its address, or the connection broke.
    Unreachable {
        /// What was asked.
        operation: &'static str,
        /// In the system's words.
        why: String,
    },
    /// No answer in time.
    TimedOut {
        /// What was asked.
        operation: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// No such container.
    NotFound {
        /// Its id or name.
        subject: String,
    },
    /// A container of that name exists.
    NameTaken {
        /// The name.
        name: String,
    },
    /// The Engine doesn't hold the image.
    ImageMissing {
        /// The image.
        image: String,
    },
    /// The image couldn't be fetched.
    Pull {
        /// The image.
        image: String,
        /// In the registry's words.
        why: String,
    },
    /// The Engine calls the request wrong.
    Rejected {
        /// What was asked.
        operation: &'static str,
        /// In the Engine's words.
        why: String,
    },
    /// The Engine tried and failed.
    Failed {
        /// What was asked.
        operation: &'static str,
        /// In the Engine's words.
        why: String,
    },
    /// This node's policy doesn't allow it, so the engine wasn't asked.
    Forbidden {
        /// What is refused, and by which rule.
        why: String,
    },
    /// The answer makes no sense.
    Malformed {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with the answer.
        why: String,
    },
}

impl EngineError {
    /// Whether the same call may succeed later without anything else changing.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::NotFound { .. }
            | Self::NameTaken { .. }
            | Self::ImageMissing { .. }
            | Self::Pull { .. }
            | Self::Rejected { .. }
            | Self::Failed { .. }
            | Self::Forbidden { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { operation, why } => {
                write!(f, "{operation}: the engine is out of reach: {why}")
            }
            Self::TimedOut { operation, after } => {
                write!(f, "{operation}: the engine gave no answer within {after:?}")
            }
            Self::NotFound { subject } => write!(f, "no such container: {subject}"),
            Self::NameTaken { name } => write!(f, "the container name {name} is taken"),
            Self::ImageMissing { image } => write!(f, "no such image: {image}"),
            Self::Pull { image, why } => write!(f, "pull {image}: {why}"),
            Self::Rejected { why, .. } | Self::Forbidden { why } => f.write_str(why),
            Self::Failed { operation, why } => write!(f, "{operation}: {why}"),
            Self::Malformed { operation, why } => {
                write!(f, "{operation}: an answer that makes no sense: {why}")
            }
        }
    }
}

impl std::error::Error for EngineError {}
