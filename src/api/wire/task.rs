//! A task as clients see it, and the replies that hold tasks.

use serde::{Deserialize, Serialize};

use super::spec::SpecWire;
use super::{Mistake, present, spec, time};
use crate::model::id::{Attempt, BatchId, ContainerId, NodeId, TaskId, TaskName};
use crate::model::task::{Outcome, Past, Reason, Task, TaskState, TaskStatus};
use crate::model::time::WallTime;

/// What stands for a value of the environment that whoever asks may not see.
pub const HIDDEN: &str = "***";

/// Where in its environment one of several equals finds its number, which is no secret.
const INDEX: &str = "PODLING_INDEX";

/// A task (GET /tasks/:id).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskView {
    /// Made by the master.
    pub task_id: TaskId,
    /// Chosen by the user.
    pub name: TaskName,
    /// Where in its life it is.
    pub status: TaskStatus,
    /// The try that counts now.
    pub attempt: Attempt,
    /// The node that owns, or owned, that try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The container of that try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<ContainerId>,
    /// When it was accepted.
    #[serde(with = "time::required")]
    pub created_at: WallTime,
    /// When that try was placed.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<WallTime>,
    /// When its container started.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<WallTime>,
    /// When it ended.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<WallTime>,
    /// When its end was first asked for.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub stop_requested_at: Option<WallTime>,
    /// The Engine's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it is busy with or waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The node that keeps a place for its next attempt, while it is moved off a node that is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<NodeId>,
    /// The attempts before this one, oldest first, the latest hundred; only where one task is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<PastView>,
    /// The batch that it was created in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<BatchId>,
    /// Its place in that batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// How its container is made.
    #[serde(flatten)]
    pub spec: SpecWire,
}

impl From<&Task> for TaskView {
    fn from(task: &Task) -> Self {
        let mut view = Self {
            task_id: task.id.clone(),
            name: task.name.clone(),
            status: task.status(),
            attempt: task.attempt,
            node_id: task.placement().map(|on| on.node.clone()),
            container_id: None,
            created_at: task.created_at,
            scheduled_at: task.placement().map(|on| on.at),
            started_at: None,
            finished_at: None,
            stop_requested_at: task.stop.map(|stop| stop.requested_at),
            exit_code: None,
            reason: None,
            error: None,
            detail: None,
            moving_to: task.reserved.clone(),
            attempts: Vec::new(),
            batch_id: task.batch.as_ref().map(|batch| batch.id.clone()),
            index: task.batch.as_ref().map(|batch| batch.index),
            spec: SpecWire::from(&*task.spec),
        };
        if let Some(index) = task.replica_index() {
            view.spec.env.insert(INDEX.to_owned(), index.to_string());
        }
        view.take_state(&task.state);
        view
    }
}

impl TaskView {
    /// A task with the attempts that it had before.
    pub fn whole(task: &Task) -> Self {
        Self { attempts: task.past.iter().map(PastView::from).collect(), ..Self::from(task) }
    }

    /// Leaves the names of the environment, and takes away its values.
    pub fn hide_env(&mut self) {
        let hidden = self.spec.env.iter_mut().filter(|(name, _)| *name != INDEX);
        hidden.for_each(|(_, value)| HIDDEN.clone_into(value));
    }

    fn take_state(&mut self, state: &TaskState) {
        match state {
            TaskState::Pending { detail, .. } | TaskState::Scheduled { detail, .. } => {
                self.detail.clone_from(detail);
            }
            TaskState::Running { container, started_at, .. } => {
                self.container_id = Some(container.clone());
                self.started_at = Some(*started_at);
            }
            TaskState::Ended(ended) => {
                self.container_id.clone_from(&ended.container);
                self.started_at = ended.started_at;
                self.finished_at = Some(ended.finished_at);
                self.exit_code = ended.exit_code;
                self.error.clone_from(&ended.error);
                self.reason = match ended.outcome {
                    Outcome::Completed => None,
                    Outcome::Failed(reason) => Some(reason),
                    Outcome::Stopped => Some(Reason::Stopped),
                };
            }
        }
    }
}

/// An attempt that ended, and was followed by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastView {
    /// Which one.
    pub attempt: Attempt,
    /// The node that owned it.
    pub node_id: NodeId,
    /// Its container, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<ContainerId>,
    /// When it was placed.
    #[serde(with = "time::required")]
    pub scheduled_at: WallTime,
    /// When its container started, if it did.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<WallTime>,
    /// When it ended.
    #[serde(with = "time::required")]
    pub finished_at: WallTime,
    /// The Engine's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended, as a code; absent: with exit code 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it ended, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<&Past> for PastView {
    fn from(past: &Past) -> Self {
        Self {
            attempt: past.attempt,
            node_id: past.on.node.clone(),
            container_id: past.container.clone(),
            scheduled_at: past.on.at,
            started_at: past.started_at,
            finished_at: past.finished_at,
            exit_code: past.exit_code,
            reason: past.reason,
            error: past.error.clone(),
        }
    }
}

/// The reply to POST /tasks with `count`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCreated {
    /// The batch.
    pub batch_id: BatchId,
    /// Its tasks, by index.
    pub items: Vec<BatchItem>,
}

/// One task of a new batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem {
    /// The task.
    pub task_id: TaskId,
    /// Its place.
    pub index: u32,
}

/// The body of POST /tasks/:id/stop; it may be empty altogether.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Between TERM and KILL; the task's own where absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

impl StopRequest {
    /// The grace that was asked for.
    ///
    /// # Errors
    /// It is longer than a year.
    pub fn grace(self) -> Result<Option<std::time::Duration>, Mistake> {
        spec::wait("grace_ms", self.grace_ms)
    }
}
