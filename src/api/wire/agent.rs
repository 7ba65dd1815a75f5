//! What master and worker say to each other: registration, beats, assignments, reports.
//!
//! The rules that these fields serve are in `docs/ARCHITECTURE.md`, "Between master and worker"; in short: a set or
//! an assignment counts only with a fitting epoch, incarnation and revision, and a report only from the attempt's
//! owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::spec::{self, SpecWire};
use super::{Mistake, millis, present, time};
use crate::model::id::{
    Attempt, ClusterId, ContainerId, Epoch, Incarnation, InstanceId, NodeId, Revision, StartId, TaskId,
    TaskName,
};
use crate::model::node::{NodeAddress, Registration};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::spec::TaskSpec;
use crate::model::task::{Reason, Task};
use crate::model::time::WallTime;

/// The body of POST /tasks/:id/stop on a worker; it may be empty altogether.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// Which attempt is meant; the newest where absent. The master always says: an order that comes late must not end
    /// a later attempt.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Between TERM and KILL; the task's own where absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

impl StopOrder {
    /// The grace that was asked for.
    ///
    /// # Errors
    /// It is longer than a year.
    pub fn grace(self) -> Result<Option<Duration>, Mistake> {
        spec::wait("grace_ms", self.grace_ms)
    }
}

/// The body of POST /nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The node's name.
    pub node_id: NodeId,
    /// The worker's data folder.
    pub instance_id: InstanceId,
    /// The worker's process.
    pub start_id: StartId,
    /// The last incarnation that the worker knows of.
    pub incarnation: Incarnation,
    /// The cluster that the worker belongs to, once it knows.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<ClusterId>,
    /// Where its API is reached.
    pub hostname: String,
    /// The port of its API.
    pub port: u16,
    /// Places for tasks.
    pub capacity: u32,
    /// CPU in all, thousandths of a core.
    pub cpu_millis: u64,
    /// Memory in all.
    pub memory_bytes: u64,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its Engine's name and version.
    pub engine: String,
    /// Its Engine's own id.
    pub engine_id: String,
    /// How often it means to beat.
    pub heartbeat_ms: u64,
}

impl TryFrom<RegisterRequest> for Registration {
    type Error = Mistake;

    fn try_from(request: RegisterRequest) -> Result<Self, Mistake> {
        let host_is_sound = (1..=253).contains(&request.hostname.len())
            && request
                .hostname
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_'));
        if !host_is_sound {
            return Err(Mistake::invalid("hostname", "must be a host name or an IP address"));
        }
        if request.port == 0 {
            return Err(Mistake::invalid("port", "must be 1 to 65535"));
        }
        if !(1..=1_000_000).contains(&request.capacity) {
            return Err(Mistake::invalid("capacity", "must be 1 to 1000000"));
        }
        if !(1..=86_400_000).contains(&request.heartbeat_ms) {
            return Err(Mistake::invalid("heartbeat_ms", "must be 1 to 86400000"));
        }
        Ok(Self {
            node_id: request.node_id,
            instance: request.instance_id,
            start: request.start_id,
            address: NodeAddress { host: request.hostname, port: request.port },
            capacity: request.capacity,
            cpu: CpuMillis(request.cpu_millis),
            memory: MemoryBytes(request.memory_bytes),
            labels: request.labels,
            engine: request.engine,
            engine_id: request.engine_id,
            heartbeat: Duration::from_millis(request.heartbeat_ms),
        })
    }
}

/// The reply to POST /nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterReply {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The master's start.
    pub epoch: Epoch,
    /// This worker's start.
    pub incarnation: Incarnation,
    /// How long a node may be silent.
    pub node_timeout_ms: u64,
    /// How long the node may run tasks that can be rescheduled without an answer from the master.
    pub lease_ms: u64,
}

/// Where an attempt is, as worker and master tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    /// Taken; its container doesn't run yet.
    Scheduled,
    /// Its container runs.
    Running,
    /// It ended; container or report are still there.
    Ended,
}

/// The body of POST /heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatRequest {
    /// The node.
    pub node_id: NodeId,
    /// Its worker's start.
    pub incarnation: Incarnation,
    /// The epoch of the last set that it applied.
    pub epoch: Epoch,
    /// The revision of the last set that it applied.
    pub revision: Revision,
    /// Places for tasks.
    pub capacity: u32,
    /// Whether it can take work: its Engine answers.
    pub ready: bool,
    /// Every attempt that it hasn't released yet.
    pub running_tasks: Vec<HeldAttempt>,
}

/// One attempt that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldAttempt {
    /// The task.
    pub task_id: TaskId,
    /// The attempt at it.
    pub attempt: Attempt,
    /// Where it is.
    pub status: AttemptStatus,
}

/// The reply to POST /heartbeat: what the node is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The master's start.
    pub epoch: Epoch,
    /// The journal position at which the set was read.
    pub revision: Revision,
    /// Whether `tasks` is the whole set, so that what it doesn't name must stop.
    pub complete: bool,
    /// Whether the node was offline and must register again.
    pub register: bool,
    /// The set.
    pub tasks: Vec<DesiredAttempt>,
    /// Tasks that a user removed: their logs go from the node's disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<TaskId>,
}

/// What the master wants of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredAttempt {
    /// The task.
    pub task_id: TaskId,
    /// The attempt at it.
    pub attempt: Attempt,
    /// Where the master knows it to be.
    pub status: AttemptStatus,
    /// Run it, or stop it.
    pub desired: Desired,
    /// With `stop`: between TERM and KILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// How to make its container; only where the beat didn't name the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskOrder>,
}

/// What is to become of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// It is to run.
    Run,
    /// It is to stop.
    Stop,
}

/// The body of a worker's POST /tasks: one assignment, or an array of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The master's start.
    pub epoch: Epoch,
    /// The worker's start that the master knows.
    pub incarnation: Incarnation,
    /// The journal position of the placement.
    pub revision: Revision,
    /// The attempt.
    pub attempt: Attempt,
    /// How to make its container.
    pub task: TaskOrder,
}

/// A task as a worker needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOrder {
    /// The task.
    pub task_id: TaskId,
    /// What the user calls it.
    pub name: TaskName,
    /// Its place among its equals, told to it as `PODLING_INDEX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// How its container is made.
    #[serde(flatten)]
    pub spec: SpecWire,
}

impl From<&Task> for TaskOrder {
    fn from(task: &Task) -> Self {
        Self {
            task_id: task.id.clone(),
            name: task.name.clone(),
            index: task.replica_index(),
            spec: SpecWire::from(&*task.spec),
        }
    }
}

impl TaskOrder {
    /// The spec, checked again: a worker trusts no one's word for it.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn spec(&self) -> Result<Arc<TaskSpec>, Mistake> {
        TaskSpec::try_from(self.spec.clone()).map(Arc::new)
    }
}

/// The body of POST /nodes/:id/reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportsRequest {
    /// The worker's start.
    pub incarnation: Incarnation,
    /// The epoch that the worker knows.
    pub epoch: Epoch,
    /// In the order in which they happened.
    pub reports: Vec<Report>,
}

/// What happened to one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Grows with each report of one worker process; names the verdict's report.
    pub seq: u64,
    /// The task.
    pub task_id: TaskId,
    /// The attempt at it.
    pub attempt: Attempt,
    /// What happened.
    pub step: ReportStep,
    /// The container, once there is one.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<ContainerId>,
    /// When it started.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<WallTime>,
    /// When it ended.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<WallTime>,
    /// The Engine's exit code.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why, in words.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// With `progress`: what the worker is busy with.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The kinds of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportStep {
    /// The worker says what it is busy with.
    Progress,
    /// The container runs.
    Running,
    /// The attempt ended.
    Ended,
    /// The worker never made and never will make a container for it.
    Refused,
}

/// The reply to POST /nodes/:id/reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportsReply {
    /// One for each report, in the same order.
    pub verdicts: Vec<ReportVerdict>,
}

/// What became of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportVerdict {
    /// Which report.
    pub seq: u64,
    /// What became of it.
    pub verdict: Verdict,
}

/// What can become of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Recorded.
    Accepted,
    /// It was so already.
    Known,
    /// Not the owner, not the current attempt, or backwards.
    Stale,
    /// No such task.
    Unknown,
    /// It can't be stored now: send it again.
    Retry,
}

/// An attempt as a worker shows it (GET /tasks on the worker).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// The task.
    pub task_id: TaskId,
    /// What the user calls it; unknown of a container that an earlier process of the worker left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TaskName>,
    /// The attempt at it.
    pub attempt: Attempt,
    /// Where it is.
    pub status: AttemptStatus,
    /// What it is busy with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its container, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<ContainerId>,
}

/// A grace as the wire writes it.
pub fn grace_ms(grace: Duration) -> Option<u64> {
    Some(millis(grace))
}
