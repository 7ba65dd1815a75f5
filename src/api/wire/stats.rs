//! What the tasks of a node use, as its worker has just measured it (GET /stats on the worker, GET /nodes/:id/stats).

use serde::{Deserialize, Serialize};

use crate::model::id::{Attempt, TaskId, TaskName};

/// What a node's tasks use, all of them together and each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStats {
    /// Those whose container runs.
    pub tasks: Vec<TaskStats>,
    /// CPU of all of them, thousandths of a core.
    pub cpu_millis: u64,
    /// Memory of all of them.
    pub memory_bytes: u64,
    /// How many more run that the Engine gave no figures of in time.
    #[serde(default, skip_serializing_if = "is_none")]
    pub unmeasured: usize,
}

/// What one attempt's container uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStats {
    /// The task.
    pub task_id: TaskId,
    /// The attempt at it.
    pub attempt: Attempt,
    /// What the user calls it; unknown of a container that an earlier process of the worker left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TaskName>,
    /// CPU between the last two samples, thousandths of a core.
    pub cpu_millis: u64,
    /// Memory that it needs: without files that could be dropped from the cache.
    pub memory_bytes: u64,
}

const fn is_none(count: &usize) -> bool {
    *count == 0
}
