//! A node: a machine (or a part of one) with a worker and a Docker Engine.
//!
//! Two separate axes: [`NodeStatus`] is what the master observes (does it beat?), [`Availability`] is what an
//! operator wants (may it get work?). What takes up a node's places is counted by the collection that holds it,
//! `control::nodes`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::id::{Incarnation, InstanceId, NodeId, StartId};
use crate::model::resources::{CpuMillis, MemoryBytes};

/// What a worker says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The node's name.
    pub node_id: NodeId,
    /// The worker's data folder.
    pub instance: InstanceId,
    /// The worker's process.
    pub start: StartId,
    /// Where its API is reached.
    pub address: NodeAddress,
    /// How many tasks it takes at a time, 1 or more.
    pub capacity: u32,
    /// Its CPU, in all.
    pub cpu: CpuMillis,
    /// Its memory, in all.
    pub memory: MemoryBytes,
    /// Labels, for constraints.
    pub labels: BTreeMap<String, String>,
    /// Its Engine's name and version.
    pub engine: String,
    /// Its Engine's own id: two nodes with the same one share host ports.
    pub engine_id: String,
    /// How often it means to beat.
    pub heartbeat: Duration,
}

/// Where a node's API is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// A host name or an IP address.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Whether a node beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// A beat came within the node timeout.
    Online,
    /// Silent for longer.
    Offline,
}

impl NodeStatus {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// Whether a node may get work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It may.
    #[default]
    Active,
    /// Nothing new.
    Cordoned,
    /// Nothing new, and what runs is moved or awaited.
    Draining,
}

impl Availability {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

impl FromStr for Availability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "active" => Ok(Self::Active),
            "cordoned" => Ok(Self::Cordoned),
            "draining" => Ok(Self::Draining),
            other => Err(format!("{other:?} must be active, cordoned or draining")),
        }
    }
}

/// A registered node, as far as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it said of itself.
    pub registration: Registration,
    /// How often its worker was started, as far as the master knows.
    pub incarnation: Incarnation,
    /// What the operator wants.
    pub availability: Availability,
    /// What the master observed.
    pub status: NodeStatus,
}
