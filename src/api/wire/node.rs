//! A node as clients see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::time;
use crate::model::id::NodeId;
use crate::model::node::{Availability, NodeStatus};
use crate::model::time::WallTime;

/// A node (GET /nodes/:id).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub node_id: NodeId,
    /// Where its API is.
    pub hostname: String,
    /// The port of its API.
    pub port: u16,
    /// Whether it beats.
    pub status: NodeStatus,
    /// Whether it may get work.
    pub availability: Availability,
    /// Places for tasks.
    pub capacity: u32,
    /// Places taken: scheduled or running.
    pub running_tasks: u32,
    /// CPU in all, thousandths of a core.
    pub cpu_millis: u64,
    /// CPU that its tasks asked for.
    pub cpu_used_millis: u64,
    /// Memory in all.
    pub memory_bytes: u64,
    /// Memory that its tasks asked for.
    pub memory_used_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its Engine's name and version.
    pub engine: String,
    /// When it last beat, or registered.
    #[serde(with = "time::required")]
    pub last_heartbeat: WallTime,
    /// What is wrong with it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The body of POST /nodes/:id/availability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvailabilityRequest {
    /// `active`, `cordoned` or `draining`.
    pub availability: Availability,
}
