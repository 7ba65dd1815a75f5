//! Why a task is where it is, as clients see it (GET /tasks/:id/why).

use serde::{Deserialize, Serialize};

use super::time;
use crate::model::id::{NodeId, TaskId};
use crate::model::task::TaskStatus;
use crate::model::time::WallTime;

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyView {
    /// The task.
    pub task_id: TaskId,
    /// What the user calls it.
    pub name: String,
    /// Where in its life it is.
    pub status: TaskStatus,
    /// Since when.
    #[serde(with = "time::required")]
    pub since: WallTime,
    /// In one line.
    pub summary: String,
    /// How often a place was looked for since it waits; 0 where it doesn't wait.
    pub looks: u64,
    /// When that was done last.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub last_look: Option<WallTime>,
    /// What each node says to it, best first, a hundred at most; empty where it has ended.
    pub nodes: Vec<NodeFitView>,
    /// How many nodes there are.
    pub nodes_total: usize,
    /// Single things that would let it run.
    pub would_run_if: Vec<String>,
}

/// Whether a node fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFitView {
    /// The node.
    pub node_id: NodeId,
    /// Whether the task could be placed there.
    pub fits: bool,
    /// What stands in the way.
    pub reasons: Vec<BecauseView>,
}

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BecauseView {
    /// `offline cordoned draining capacity cpu memory port constraint engine backoff`.
    pub code: String,
    /// What is needed: thousandths of a core, bytes, a port, places; or `key=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<AmountView>,
    /// What there is of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<AmountView>,
    /// The name of the task that has it, or most of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// In words.
    pub text: String,
}

/// A number, or a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AmountView {
    /// Thousandths of a core, bytes, a port, or places.
    Number(u64),
    /// `disk=ssd`.
    Text(String),
}
