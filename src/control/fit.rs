//! Whether a node can take one more task, and if not, why.
//!
//! [`obstacle`] asks the node alone, and is what the index of open nodes rests on; [`unfit`] asks for all that keeps a
//! task with a [`Demand`] off it. A plan that has given something away and not yet booked it passes that as [`Given`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::canary::{Canary, sings};
use crate::control::demand::{Demand, HostPort};
use crate::control::nodes::{NodeEntry, Nodes};
use crate::model::id::{NodeId, TaskId};
use crate::model::node::{Availability, NodeStatus};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::spec::Labels;

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
    /// It lacks a label that the task asks for.
    Constraint,
    /// Too little CPU is left.
    Cpu,
    /// Too little memory is left.
    Memory,
    /// A port that the task asks for is taken.
    Port,
}

impl Obstacle {
    /// The code for it on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Offline | Self::Settling => "offline",
            Self::Engine => "engine",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Capacity => "capacity",
            Self::Constraint => "constraint",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Port => "port",
        }
    }

    /// `2 nodes are full`.
    fn counted(self, count: u32) -> String {
        let (nodes, is, has, lacks) =
            if count == 1 { ("node", "is", "has", "lacks") } else { ("nodes", "are", "have", "lack") };
        match self {
            Self::Constraint => format!("{count} {nodes} {lacks} a label that it asks for"),
            Self::Cpu => format!("{count} {nodes} {has} too little cpu free"),
            Self::Memory => format!("{count} {nodes} {has} too little memory free"),
            Self::Port => format!("{count} {nodes} {has} no free port of those that it asks for"),
            Self::Offline
            | Self::Settling
            | Self::Engine
            | Self::Cordoned
            | Self::Draining
            | Self::Capacity => format!("{count} {nodes} {is} {self}"),
        }
    }
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
            Self::Constraint => "without the label",
            Self::Cpu => "short of cpu",
            Self::Memory => "short of memory",
            Self::Port => "without the port",
        })
    }
}

/// What keeps a task off a node, with the figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The node takes nothing, whatever it be.
    Closed(Obstacle),
    /// It lacks a label.
    Constraint {
        /// The label's key.
        key: String,
        /// The value that it must have.
        needs: String,
        /// The value that it has.
        has: Option<String>,
    },
    /// Too little CPU is left.
    Cpu {
        /// What the task asks for.
        needs: CpuMillis,
        /// What is left.
        free: CpuMillis,
    },
    /// Too little memory is left.
    Memory {
        /// What the task asks for.
        needs: MemoryBytes,
        /// What is left.
        free: MemoryBytes,
    },
    /// A port is taken.
    Port {
        /// Which one.
        port: HostPort,
        /// Who has it. None: the plan has just given it away.
        held_by: Option<TaskId>,
    },
}

impl Unfit {
    /// What kind of obstacle it is.
    pub const fn obstacle(&self) -> Obstacle {
        match self {
            Self::Closed(obstacle) => *obstacle,
            Self::Constraint { .. } => Obstacle::Constraint,
            Self::Cpu { .. } => Obstacle::Cpu,
            Self::Memory { .. } => Obstacle::Memory,
            Self::Port { .. } => Obstacle::Port,
        }
    }
}

/// What a plan has given away so far, and nobody has booked yet.
#[derive(Clone, Debug, Default)]
pub struct Given {
    amounts: BTreeMap<NodeId, (CpuMillis, MemoryBytes)>,
    /// By the node that each was given on.
    ports: BTreeSet<(HostPort, NodeId)>,
}

impl Given {
    /// Gives a node's share away.
    pub fn give(&mut self, node: &NodeId, demand: &Demand) {
        let amounts = self.amounts.entry(node.clone()).or_default();
        amounts.0.0 += demand.cpu.0;
        amounts.1.0 += demand.memory.0;
        self.ports.extend(demand.ports.iter().map(|port| (*port, node.clone())));
    }

    fn of(&self, node: &NodeId) -> (CpuMillis, MemoryBytes) {
        self.amounts.get(node).copied().unwrap_or_default()
    }

    /// Whether a port was given away on a node, or on another one of its Engine.
    fn has_port(&self, nodes: &Nodes, entry: &NodeEntry, port: HostPort) -> bool {
        let said = &entry.node().registration;
        let shares = |node: &NodeId| {
            *node == said.node_id
                || !said.engine_id.is_empty()
                    && nodes
                        .get(node)
                        .is_some_and(|other| other.node().registration.engine_id == said.engine_id)
        };
        let given = self.ports.iter().filter(|(given, _)| *given == port);
        given.map(|(_, node)| node).any(shares)
    }
}

/// What keeps a node from taking one more task, whatever it asks for: the first that counts. None: nothing.
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

/// All that keeps a task with this demand off a node.
pub fn unfit(nodes: &Nodes, entry: &NodeEntry, demand: &Demand, given: &Given) -> Vec<Unfit> {
    let mut found: Vec<Unfit> = obstacle(entry).map(Unfit::Closed).into_iter().collect();
    found.extend(lacking(nodes, entry, demand, given));
    found
}

/// Whether a node that takes tasks takes one with this demand.
pub fn has_room(nodes: &Nodes, entry: &NodeEntry, demand: &Demand, given: &Given) -> bool {
    lacking(nodes, entry, demand, given).next().is_none()
}

/// Whether a node has all labels that are asked for.
pub(super) fn has_labels(entry: &NodeEntry, asked: &Labels) -> bool {
    let has = &entry.node().registration.labels;
    asked.as_map().iter().all(|(key, value)| has.get(key) == Some(value)) || sings(Canary::OverlooksLabels)
}

/// What an open node lacks for this demand.
fn lacking<'a>(
    nodes: &'a Nodes,
    entry: &'a NodeEntry,
    demand: &'a Demand,
    given: &'a Given,
) -> impl Iterator<Item = Unfit> + 'a {
    let said = &entry.node().registration;
    let (cpu, memory) = given.of(&said.node_id);
    let labels = demand.labels.iter().filter_map(move |(key, needs)| {
        let has = said.labels.get(key);
        let lacks = has != Some(needs) && !sings(Canary::OverlooksLabels);
        lacks.then(|| Unfit::Constraint { key: key.clone(), needs: needs.clone(), has: has.cloned() })
    });
    let free = CpuMillis(entry.cpu_free().0.saturating_sub(cpu.0));
    let cpu = (demand.cpu > free).then_some(Unfit::Cpu { needs: demand.cpu, free });
    let free = MemoryBytes(entry.memory_free().0.saturating_sub(memory.0));
    let memory = (demand.memory > free).then_some(Unfit::Memory { needs: demand.memory, free });
    let ports = demand.ports.iter().filter_map(move |port| {
        let held_by = nodes.port_holder(entry, *port).cloned();
        let is_taken = held_by.is_some() || given.has_port(nodes, entry, *port);
        is_taken.then_some(Unfit::Port { port: *port, held_by })
    });
    labels.chain(cpu).chain(memory).chain(ports)
}

/// Why no node takes a task with this demand, counted and in words: `2 nodes are full, 1 node is offline`.
pub fn explain(nodes: &Nodes, demand: &Demand) -> String {
    let given = Given::default();
    let mut counts: BTreeMap<Obstacle, u32> = BTreeMap::new();
    for entry in nodes.iter() {
        if let Some(first) = obstacle(entry)
            .or_else(|| lacking(nodes, entry, demand, &given).next().map(|unfit| unfit.obstacle()))
        {
            *counts.entry(first).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return "no node is registered".to_owned();
    }
    let parts: Vec<String> = counts.iter().map(|(obstacle, count)| obstacle.counted(*count)).collect();
    parts.join(", ")
}
