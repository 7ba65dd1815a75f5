//! Who has been silent for too long, on the master's own clock.
//!
//! Silence is measured in the master's *running* time: [`Nodes::forgive`] takes out of it what the master itself slept
//! through, so that a master that was stopped for a minute does not hold that minute against anyone.
//!
//! Invariant: no node is heard in the future of the running time, so that none is given more than one timeout.

use std::time::Duration;

use super::{NodeEntry, Nodes};
use crate::control::brake::View;
use crate::model::id::NodeId;
use crate::model::node::NodeStatus;
use crate::model::time::Mono;

/// A node that has been silent for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Which one.
    pub node: NodeId,
    /// For how long.
    pub silence: Duration,
    /// Whether it is only now seen to be offline.
    pub was_online: bool,
    /// Whether its tasks are to be left as they are: the brake is on.
    pub is_held: bool,
}

impl Nodes {
    /// Takes time during which the master itself stood still out of every node's silence. What was heard since it goes
    /// on was heard now, not later than that.
    pub fn forgive(&mut self, stall: Duration, now: Mono) {
        self.stalled = self.stalled.saturating_add(stall);
        let running = self.running_time(now);
        self.reset_heard(|heard| heard.min(running));
    }

    /// Watched nodes that weren't heard for longer than `timeout`, longest silent first, with their silence.
    pub fn silent(&self, timeout: Duration, now: Mono) -> Vec<(NodeId, Duration)> {
        let running = self.running_time(now);
        self.heard
            .iter()
            .map(|(heard, id)| (id.clone(), running.since(*heard)))
            .take_while(|(_, silence)| *silence > timeout)
            .collect()
    }

    /// Judges the silent ones: whether they are to be lost, or only to be shown as offline.
    pub fn judge(&mut self, timeout: Duration, now: Mono) -> Vec<Silent> {
        let silent = self.silent(timeout, now);
        let (Some((first, _)), Some((last, _))) = (self.heard.first(), self.heard.last()) else {
            return Vec::new();
        };
        if silent.is_empty() {
            return Vec::new();
        }
        let nodes = self.heard.len();
        let view = View { nodes, first: *first, last: *last, timeout, now: self.running_time(now) };
        let is_held = self.brake.holds(view);
        let is_online = |entry: &NodeEntry| entry.node.status == NodeStatus::Online;
        silent
            .into_iter()
            .map(|(node, silence)| {
                let was_online = self.get(&node).is_some_and(is_online);
                Silent { node, silence, was_online, is_held }
            })
            .collect()
    }

    /// Whether the brake is on: nodes are offline, and their tasks are left as they are.
    pub const fn is_braked(&self) -> bool {
        self.brake.is_on()
    }

    /// A beat came in: where the brake was on, every node has one full timeout again.
    pub(super) fn release_brake(&mut self, now: Mono) {
        if self.brake.release() {
            let running = self.running_time(now);
            self.reset_heard(|heard| heard.max(running));
        }
    }

    /// The clock that silence is measured on: time since boot, less the time that the master stood still.
    pub(super) fn running_time(&self, now: Mono) -> Mono {
        Mono::from_boot(now.since(Mono::from_boot(self.stalled)))
    }

    fn reset_heard(&mut self, reset: impl Fn(Mono) -> Mono) {
        let changed = |entry: &&NodeEntry| reset(entry.heard) != entry.heard;
        let ids: Vec<NodeId> =
            self.iter().filter(changed).map(|entry| entry.node.registration.node_id.clone()).collect();
        for id in ids {
            self.update(&id, |entry| entry.heard = reset(entry.heard));
        }
    }
}
