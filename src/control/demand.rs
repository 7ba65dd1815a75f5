//! What a task needs of a node: CPU, memory, ports of the host, labels.
//!
//! Tasks with equal demands are alike to the scheduler: where one of them finds no place, none does.

use std::collections::BTreeMap;

use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::spec::{PortMapping, Protocol, TaskSpec};

/// A port of the host. One container at a time can have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// 1 to 65535.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl From<&PortMapping> for HostPort {
    fn from(mapping: &PortMapping) -> Self {
        Self { port: mapping.host, protocol: mapping.protocol }
    }
}

impl std::fmt::Display for HostPort {
    /// `8080`, or `53/udp`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "{}", self.port),
            Protocol::Udp => write!(f, "{}/udp", self.port),
        }
    }
}

/// What a task needs, besides a place. Nothing at all by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Demand {
    /// CPU; zero where it doesn't say.
    pub cpu: CpuMillis,
    /// Memory; zero where it doesn't say.
    pub memory: MemoryBytes,
    /// Ports of the host.
    pub ports: Vec<HostPort>,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
}

impl Demand {
    /// Of a task with this spec.
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            cpu: spec.cpu.unwrap_or_default(),
            memory: spec.memory.unwrap_or_default(),
            ports: spec.ports.as_slice().iter().map(HostPort::from).collect(),
            labels: spec.constraints.as_map().clone(),
        }
    }
}
