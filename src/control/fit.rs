//! Whether a node can take one more task, and if not, why.

use std::collections::BTreeMap;
use std::fmt;

use crate::control::nodes::{NodeEntry, Nodes};
use crate::model::node::{Availability, NodeStatus};

/// Why a node can't take a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Obstacle {
    /// It is silent.
    Offline,
    /// It was silent, and hasn't yet ended what it must no longer run.
    Settling,
    /// Its Engine doesn't answer.
    Engine,
    /// An operator closed it.
    Cordoned,
    /// An operator empties it.
    Draining,
    /// All its places are taken.
    Capacity,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "offline",
            Self::Settling => "ending what it must no longer run",
            Self::Engine => "without an answering engine",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Capacity => "full",
        })
    }
}

/// What keeps a node from taking one more task: the first that counts. None: it fits.
pub fn obstacle(entry: &NodeEntry) -> Option<Obstacle> {
    match (entry.node().status, entry.node().availability) {
        (NodeStatus::Offline, _) => Some(Obstacle::Offline),
        (NodeStatus::Online, Availability::Cordoned) => Some(Obstacle::Cordoned),
        (NodeStatus::Online, Availability::Draining) => Some(Obstacle::Draining),
        (NodeStatus::Online, Availability::Active) if !entry.is_ready() => Some(Obstacle::Engine),
        (NodeStatus::Online, Availability::Active) if entry.is_settling() => Some(Obstacle::Settling),
        (NodeStatus::Online, Availability::Active) if entry.free_places() == 0 => Some(Obstacle::Capacity),
        (NodeStatus::Online, Availability::Active) => None,
    }
}

/// Why no node takes a task, counted and in words: `2 nodes are full, 1 node is offline`.
pub fn explain(nodes: &Nodes) -> String {
    let mut counts: BTreeMap<Obstacle, u32> = BTreeMap::new();
    for found in nodes.iter().filter_map(obstacle) {
        *counts.entry(found).or_default() += 1;
    }
    if counts.is_empty() {
        return "no node is registered".to_owned();
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(obstacle, count)| match count {
            1 => format!("1 node is {obstacle}"),
            _ => format!("{count} nodes are {obstacle}"),
        })
        .collect();
    parts.join(", ")
}
