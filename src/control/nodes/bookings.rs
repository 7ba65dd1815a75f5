//! What tasks hold on a node: a place, CPU, memory, ports of the host.
//!
//! A host's ports belong to its Engine: where several nodes share one, a port that is taken on one of them is taken on
//! all. A node whose Engine told no id shares with nobody.

use std::collections::BTreeSet;

use super::{NodeEntry, Nodes};
use crate::canary::{Canary, sings};
use crate::control::demand::HostPort;
use crate::model::id::{NodeId, TaskId};
use crate::model::spec::TaskSpec;

impl Nodes {
    /// Books what a task holds. A node that isn't there (any more) has nothing to book.
    pub fn reserve(&mut self, id: &NodeId, task: &TaskId, spec: &TaskSpec) {
        self.update(id, |entry| {
            entry.assigned += 1;
            entry.cpu_used.0 += spec.cpu.map_or(0, |cpu| cpu.0);
            entry.memory_used.0 += spec.memory.map_or(0, |memory| memory.0);
            entry.ports.extend(spec.ports.as_slice().iter().map(|port| (port.into(), task.clone())));
        });
    }

    /// Gives that back.
    pub fn release(&mut self, id: &NodeId, task: &TaskId, spec: &TaskSpec) {
        self.update(id, |entry| {
            entry.assigned = entry.assigned.saturating_sub(1);
            entry.cpu_used.0 = entry.cpu_used.0.saturating_sub(spec.cpu.map_or(0, |cpu| cpu.0));
            entry.memory_used.0 =
                entry.memory_used.0.saturating_sub(spec.memory.map_or(0, |memory| memory.0));
            for port in spec.ports.as_slice() {
                entry.ports.remove(&(port.into(), task.clone()));
            }
        });
    }

    /// Who has a port of a node's host.
    pub fn port_holder(&self, entry: &NodeEntry, port: HostPort) -> Option<&TaskId> {
        if sings(Canary::ForgetsPorts) {
            return None;
        }
        let of_port = |(held, _): &&(HostPort, TaskId)| *held == port;
        let on = |node: &NodeId| {
            let (_, task) = self.by_id.get(node)?.ports.iter().find(of_port)?;
            Some(task)
        };
        match self.engines.get(&entry.node.registration.engine_id) {
            Some(sharing) => sharing.iter().find_map(on),
            None => on(&entry.node.registration.node_id),
        }
    }

    pub(super) fn join_engine(&mut self, entry: &NodeEntry) {
        let said = &entry.node.registration;
        if !said.engine_id.is_empty() {
            self.engines.entry(said.engine_id.clone()).or_default().insert(said.node_id.clone());
        }
    }

    pub(super) fn leave_engine(&mut self, entry: &NodeEntry) {
        let said = &entry.node.registration;
        if let Some(sharing) = self.engines.get_mut(&said.engine_id) {
            sharing.remove(&said.node_id);
            if BTreeSet::is_empty(sharing) {
                self.engines.remove(&said.engine_id);
            }
        }
    }
}
