//! The nodes, by id, by how good a place they are, and by when they were last heard.
//!
//! Main type: [`Nodes`]. Two indexes are kept in step with every change: `placeable` holds exactly the nodes that
//! could take one more task, best first; `heard` holds those that may be judged by their silence (the online ones, and
//! offline ones that still hold tasks), longest silent first. So the scheduler looks at one node and the reaper at the
//! silent ones alone, however many there are.
//!
//! Invariant: a node is in `placeable` if and only if [`fit::obstacle`] finds nothing. No node holds more tasks
//! than its capacity by our doing.
//!
//! Silence is measured in the master's *running* time, see `nodes/silence.rs`.

mod bookings;
mod silence;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::canary::{Canary, sings};
use crate::control::brake::Brake;
use crate::control::demand::HostPort;
use crate::control::fit;
use crate::model::id::{AttemptKey, NodeId, Revision, TaskId};
use crate::model::node::{Availability, Node, NodeStatus};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::time::{Mono, Now, WallTime};

/// How many removed tasks' logs a node is told to drop in one beat.
const FORGET_AT_ONCE: usize = 1_000;

pub use silence::Silent;

/// A node with what the master counts and observes of it.
#[derive(Clone, Debug)]
pub struct NodeEntry {
    node: Node,
    /// Tasks that are scheduled or running there.
    assigned: u32,
    cpu_used: CpuMillis,
    memory_used: MemoryBytes,
    /// Ports of its host that its tasks have.
    ports: BTreeSet<(HostPort, TaskId)>,
    /// When it was last heard, in the master's running time.
    heard: Mono,
    heard_at: WallTime,
    ready: bool,
    settling: bool,
    /// What it runs unknown to a master in quarantine, and whether nobody was told yet.
    unknown: (Vec<AttemptKey>, bool),
    /// Removed tasks whose logs it may still hold, with the position of the removal.
    forget: BTreeMap<TaskId, Revision>,
}

impl NodeEntry {
    /// The node itself.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Tasks that are scheduled or running there.
    pub const fn assigned(&self) -> u32 {
        self.assigned
    }

    /// Places that are left.
    pub fn free_places(&self) -> u32 {
        let one_more = u32::from(sings(Canary::OverfillsNodes));
        self.node.registration.capacity.saturating_add(one_more).saturating_sub(self.assigned)
    }

    /// CPU that its tasks asked for.
    pub const fn cpu_used(&self) -> CpuMillis {
        self.cpu_used
    }

    /// Memory that its tasks asked for.
    pub const fn memory_used(&self) -> MemoryBytes {
        self.memory_used
    }

    /// CPU that nobody asked for.
    pub fn cpu_free(&self) -> CpuMillis {
        CpuMillis(self.node.registration.cpu.0.saturating_sub(self.cpu_used.0))
    }

    /// Memory that nobody asked for.
    pub fn memory_free(&self) -> MemoryBytes {
        MemoryBytes(self.node.registration.memory.0.saturating_sub(self.memory_used.0))
    }

    /// When it was last heard, for showing.
    pub const fn heard_at(&self) -> WallTime {
        self.heard_at
    }

    /// Whether its Engine answers, as far as its last beat told.
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether it was offline and hasn't shown yet that it runs nothing that it must not.
    pub const fn is_settling(&self) -> bool {
        self.settling
    }

    /// What it runs unknown to a master in quarantine.
    pub fn unknown(&self) -> &[AttemptKey] {
        &self.unknown.0
    }

    /// Whether its silence means anything: it is online, or holds tasks that nobody has judged yet.
    fn is_watched(&self) -> bool {
        self.node.status == NodeStatus::Online || self.assigned > 0
    }

    /// Removed tasks whose logs it may still hold, with the position of the removal.
    pub const fn logs_to_forget(&self) -> &BTreeMap<TaskId, Revision> {
        &self.forget
    }

    fn rank(&self) -> Rank {
        Rank {
            assigned: self.assigned,
            free: Reverse(self.free_places()),
            heard: Reverse(self.heard),
            id: self.node.registration.node_id.clone(),
        }
    }
}

/// How good a place a node is: fewest tasks, then most free places, then latest heard, then id. Least is best.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    assigned: u32,
    free: Reverse<u32>,
    heard: Reverse<Mono>,
    id: NodeId,
}

impl Rank {
    /// Whose rank it is.
    pub const fn node(&self) -> &NodeId {
        &self.id
    }

    /// The rank after one more placement; none where that takes its last place.
    #[must_use]
    pub fn with_one_more(self) -> Option<Self> {
        let free = self.free.0.checked_sub(1).filter(|left| *left > 0)?;
        Some(Self { assigned: self.assigned + 1, free: Reverse(free), ..self })
    }
}

/// What a beat says, apart from the attempts that it lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Places for tasks.
    pub capacity: u32,
    /// Whether the node's Engine answers.
    pub ready: bool,
    /// The last revision whose set the node applied.
    pub applied: Revision,
    /// Whether it lists an attempt that isn't in its set.
    pub has_strangers: bool,
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    by_id: BTreeMap<NodeId, NodeEntry>,
    placeable: BTreeSet<Rank>,
    heard: BTreeSet<(Mono, NodeId)>,
    /// By Engine, where it has an id: those that share one share the ports of their host.
    engines: BTreeMap<String, BTreeSet<NodeId>>,
    /// How long the master itself stood still, all told.
    stalled: Duration,
    brake: Brake,
}

impl Nodes {
    /// One node.
    pub fn get(&self, id: &NodeId) -> Option<&NodeEntry> {
        self.by_id.get(id)
    }

    /// All nodes, by id.
    pub fn iter(&self) -> impl Iterator<Item = &NodeEntry> {
        self.by_id.values()
    }

    /// The nodes after `after`, by id.
    pub fn after<'a>(&'a self, after: Option<&NodeId>) -> impl Iterator<Item = &'a NodeEntry> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |id| Excluded(id.clone()));
        self.by_id.range((from, Unbounded)).map(|(_, entry)| entry)
    }

    /// The ranks of the nodes that could take one more task, best first.
    pub fn placeable(&self) -> impl Iterator<Item = &Rank> {
        self.placeable.iter()
    }

    /// Takes up a node, or what it says of itself now.
    pub fn register(&mut self, node: Node, now: Now) {
        let id = node.registration.node_id.clone();
        if self.by_id.contains_key(&id) {
            let heard = self.running_time(now.mono);
            self.update(&id, |entry| {
                entry.settling |= entry.node.status == NodeStatus::Offline;
                entry.node = node;
                (entry.heard, entry.heard_at) = (heard.max(entry.heard), now.wall);
            });
            return;
        }
        self.restore(node, false, BTreeMap::new(), now);
    }

    /// Takes up a node that holds no task yet, as if it were heard now.
    pub(super) fn restore(
        &mut self,
        node: Node,
        settling: bool,
        forget: BTreeMap<TaskId, Revision>,
        now: Now,
    ) {
        let entry = NodeEntry {
            node,
            assigned: 0,
            cpu_used: CpuMillis::default(),
            memory_used: MemoryBytes::default(),
            ports: BTreeSet::new(),
            heard: self.running_time(now.mono),
            heard_at: now.wall,
            ready: true,
            settling,
            unknown: (Vec::new(), false),
            forget,
        };
        self.index(&entry);
        self.by_id.insert(entry.node.registration.node_id.clone(), entry);
    }

    /// Takes up a beat. None: no such node.
    pub fn beat(&mut self, id: &NodeId, beat: Beat, now: Now) -> Option<()> {
        self.release_brake(now.mono);
        let heard = self.running_time(now.mono);
        self.update(id, |entry| {
            entry.node.registration.capacity = beat.capacity;
            entry.ready = beat.ready;
            entry.settling &= beat.has_strangers;
            // A beat that waited while this master stood still is older than that: it makes nobody more silent.
            (entry.heard, entry.heard_at) = (heard.max(entry.heard), now.wall);
            entry.forget.retain(|_, removed_at| *removed_at > beat.applied);
        })
    }

    /// Something else than a beat shows that a node is there. None: no such node.
    pub fn hear(&mut self, id: &NodeId, now: Now) -> Option<()> {
        let heard = self.running_time(now.mono);
        self.update(id, |entry| (entry.heard, entry.heard_at) = (heard.max(entry.heard), now.wall))
    }

    /// Sets what the operator wants. None: no such node.
    pub fn set_availability(&mut self, id: &NodeId, availability: Availability) -> Option<()> {
        self.update(id, |entry| entry.node.availability = availability)
    }

    /// Sets what is observed. None: no such node.
    pub fn set_status(&mut self, id: &NodeId, status: NodeStatus) -> Option<()> {
        self.update(id, |entry| {
            entry.settling |= status == NodeStatus::Offline;
            entry.node.status = status;
        })
    }

    /// Forgets a node. None: no such node.
    pub fn remove(&mut self, id: &NodeId) -> Option<()> {
        let entry = self.by_id.remove(id)?;
        self.unindex(&entry);
        Some(())
    }

    /// Remembers what a node runs unknown to a master in quarantine.
    pub fn note_unknown(&mut self, id: &NodeId, unknown: Vec<AttemptKey>) {
        if let Some(entry) = self.by_id.get_mut(id).filter(|entry| entry.unknown.0 != unknown) {
            entry.unknown = (unknown, true);
        }
    }

    /// What a node runs unknown to a master in quarantine, once for each change.
    pub fn news_of_unknown(&mut self, id: &NodeId) -> Option<Vec<AttemptKey>> {
        let entry = self.by_id.get_mut(id)?;
        std::mem::take(&mut entry.unknown.1).then(|| entry.unknown.0.clone())
    }

    /// Remembers that a node may drop a removed task's log.
    pub fn forget_log(&mut self, id: &NodeId, task: &TaskId, at: Revision) {
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.forget.insert(task.clone(), at);
        }
    }

    /// Takes that back: the task wasn't removed after all.
    pub(super) fn keep_log(&mut self, id: &NodeId, task: &TaskId) {
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.forget.remove(task);
        }
    }

    /// Puts a node back as the journal knows it. What is counted and observed of it stays as it is now.
    pub(super) fn put_back(&mut self, id: &NodeId, before: Option<NodeEntry>) {
        let Some(before) = before else {
            self.remove(id);
            return;
        };
        if self.by_id.contains_key(id) {
            self.update(id, |entry| {
                entry.node = before.node;
                entry.settling = before.settling;
            });
        } else {
            self.index(&before);
            self.by_id.insert(id.clone(), before);
        }
    }

    /// Removed tasks whose logs a node may drop, oldest ids first, a bounded number.
    pub fn logs_to_forget(&self, id: &NodeId) -> Vec<TaskId> {
        self.by_id
            .get(id)
            .map(|entry| entry.forget.keys().take(FORGET_AT_ONCE).cloned().collect())
            .unwrap_or_default()
    }

    /// Changes one entry and keeps both indexes in step.
    fn update(&mut self, id: &NodeId, change: impl FnOnce(&mut NodeEntry)) -> Option<()> {
        let mut entry = self.by_id.remove(id)?;
        self.unindex(&entry);
        change(&mut entry);
        self.index(&entry);
        self.by_id.insert(id.clone(), entry);
        Some(())
    }

    fn index(&mut self, entry: &NodeEntry) {
        if fit::obstacle(entry).is_none() {
            self.placeable.insert(entry.rank());
        }
        if entry.is_watched() {
            self.heard.insert((entry.heard, entry.node.registration.node_id.clone()));
        }
        self.join_engine(entry);
    }

    fn unindex(&mut self, entry: &NodeEntry) {
        self.placeable.remove(&entry.rank());
        self.heard.remove(&(entry.heard, entry.node.registration.node_id.clone()));
        self.leave_engine(entry);
    }
}

#[cfg(test)]
mod tests;
