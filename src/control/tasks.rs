//! The tasks, by id, status, node, name, batch and deadline; and those that wait for a node, by what they need.
//!
//! Main type: [`Tasks`]. Each index is kept in step with every change, so that no question scans what it isn't
//! about. A task is held in an `Arc`: a reader takes a pointer under the lock and builds its reply outside.
//!
//! Invariant: a task is in exactly one status index, and in `waiting` if and only if it is pending and may not wait
//! for ever. A pending task is in `held_back` or in `queue`: the first until its back-off is over, which
//! [`Tasks::release`] looks after. [`change::apply`](crate::control::change::apply) is the only caller of what changes anything.

mod find;
mod keys;
mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::model::id::{BatchId, NodeId, Revision, TaskId, TaskName};
use crate::model::task::{Refused, Step, Task, TaskState, TaskStatus};
use crate::model::time::{Mono, WallTime};

pub use find::{Ambiguous, Filter, Found};
pub use keys::{KeyRecord, Keys};
pub use queue::{InOrder, Queue};

/// A task with the position of its last change.
#[derive(Clone, Debug)]
pub struct TaskEntry {
    /// The task.
    pub task: Arc<Task>,
    /// Where in the journal it changed last: no reply may show it before that is durable.
    pub changed: Revision,
    /// Since when it has waited for a node, where it does.
    waiting_since: Mono,
    /// How many looks for a place there had been before that.
    looks_before: u64,
}

impl TaskEntry {
    /// For how long it has waited for a node, its back-off included, where it does.
    pub fn waited(&self, now: Mono) -> Duration {
        now.since(self.waiting_since)
    }

    /// When its back-off is over.
    fn due(&self) -> Mono {
        self.waiting_since + self.task.backoff()
    }
}

/// All tasks.
#[derive(Debug)]
pub struct Tasks {
    by_id: BTreeMap<TaskId, TaskEntry>,
    by_status: HashMap<TaskStatus, BTreeSet<TaskId>>,
    /// By the node of the last placement, ended ones too.
    placed_on: BTreeMap<NodeId, BTreeSet<TaskId>>,
    /// By the node whose place they hold.
    live_on: BTreeMap<NodeId, BTreeSet<TaskId>>,
    by_name: BTreeMap<TaskName, BTreeSet<TaskId>>,
    by_batch: BTreeMap<BatchId, BTreeSet<TaskId>>,
    /// By the node that keeps a place for their next attempt.
    reserved_on: BTreeMap<NodeId, BTreeSet<TaskId>>,
    /// Pending tasks that may be placed.
    queue: Queue,
    /// Pending tasks that may not be placed yet, by when they may.
    held_back: BTreeSet<(Mono, TaskId)>,
    /// How often a place was looked for, and when last.
    looks: (u64, Option<WallTime>),
    /// Pending tasks by when they have waited long enough.
    waiting: BTreeSet<(Mono, TaskId)>,
    /// Ended tasks by when they ended.
    ended: BTreeSet<(WallTime, TaskId)>,
    keys: Keys,
    /// How long a task may wait where it doesn't say. Zero: for ever.
    pending_timeout: Duration,
}

impl Tasks {
    /// No tasks yet. `pending_timeout` is how long a task may wait where it doesn't say; zero is for ever.
    pub fn new(pending_timeout: Duration) -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_status: HashMap::new(),
            placed_on: BTreeMap::new(),
            live_on: BTreeMap::new(),
            reserved_on: BTreeMap::new(),
            queue: Queue::default(),
            held_back: BTreeSet::new(),
            looks: (0, None),
            by_name: BTreeMap::new(),
            by_batch: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ended: BTreeSet::new(),
            keys: Keys::default(),
            pending_timeout,
        }
    }

    /// One task.
    pub fn get(&self, id: &TaskId) -> Option<&Arc<Task>> {
        self.by_id.get(id).map(|entry| &entry.task)
    }

    /// One task, with the position of its last change.
    pub fn entry(&self, id: &TaskId) -> Option<&TaskEntry> {
        self.by_id.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &TaskEntry> {
        self.by_id.values()
    }

    /// How many there are in all.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many have a status.
    pub fn count(&self, status: TaskStatus) -> usize {
        self.by_status.get(&status).map_or(0, BTreeSet::len)
    }

    /// Those that wait for a node, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &TaskId> {
        self.by_status.get(&TaskStatus::Pending).into_iter().flatten()
    }

    /// Those of them that may be placed now.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Lets those into the queue whose back-off is over.
    pub fn release(&mut self, now: Mono) {
        while let Some((due, id)) = self.held_back.first().cloned() {
            if due > now {
                return;
            }
            self.held_back.pop_first();
            if let Some(entry) = self.by_id.get(&id) {
                self.queue.insert(&entry.task);
            }
        }
    }

    /// When the next back-off is over.
    pub fn next_release(&self) -> Option<Mono> {
        self.held_back.first().map(|(due, _)| *due)
    }

    /// A place is looked for.
    pub fn note_look(&mut self, at: WallTime) {
        self.looks = (self.looks.0 + 1, Some(at));
    }

    /// How often a place was looked for since a task began to wait, and when last.
    pub const fn looks(&self, entry: &TaskEntry) -> (u64, Option<WallTime>) {
        (self.looks.0.saturating_sub(entry.looks_before), self.looks.1)
    }

    /// Those for whose next attempt a place is kept somewhere, by node.
    pub fn reserved(&self) -> impl Iterator<Item = &TaskEntry> {
        self.reserved_on.values().flatten().filter_map(|id| self.by_id.get(id))
    }

    /// Those for whose next attempt a node keeps a place.
    pub fn reserved_on(&self, node: &NodeId) -> impl Iterator<Item = &TaskEntry> {
        self.reserved_on.get(node).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }

    /// Those that hold a place on a node, oldest first.
    pub fn live_on(&self, node: &NodeId) -> impl Iterator<Item = &TaskEntry> {
        self.live_on.get(node).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }

    /// Those that have waited for a node as long as they may, longest first.
    pub fn overdue(&self, now: Mono) -> Vec<TaskId> {
        self.waiting.iter().take_while(|(deadline, _)| *deadline <= now).map(|(_, id)| id.clone()).collect()
    }

    /// Those that ended before `before`, oldest end first, `most` at most.
    pub fn ended_before(&self, before: WallTime, most: usize) -> Vec<TaskId> {
        self.ended.iter().take_while(|(end, _)| *end < before).take(most).map(|(_, id)| id.clone()).collect()
    }

    /// The idempotency keys in use.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The idempotency keys in use, to change them.
    pub const fn keys_mut(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Takes up a new task.
    pub(super) fn insert(&mut self, task: Task, at: Revision, now: Mono) {
        let looks_before = self.looks.0;
        self.put_back(TaskEntry { task: Arc::new(task), changed: at, waiting_since: now, looks_before });
    }

    /// Takes up a task as it was before. None of its id is there.
    pub(super) fn put_back(&mut self, entry: TaskEntry) {
        let task = &entry.task;
        self.by_name.entry(task.name.clone()).or_default().insert(task.id.clone());
        if let Some(batch) = &task.batch {
            self.by_batch.entry(batch.id.clone()).or_default().insert(task.id.clone());
        }
        self.index(&entry);
        self.by_id.insert(entry.task.id.clone(), entry);
    }

    /// Moves a task on. None: no such task.
    pub(super) fn advance(
        &mut self,
        id: &TaskId,
        step: Step,
        at: Revision,
        now: Mono,
    ) -> Option<Result<Arc<Task>, Refused>> {
        let entry = self.by_id.get(id)?;
        let mut moved = Task::clone(&entry.task);
        if let Err(refused) = moved.advance(step) {
            return Some(Err(refused));
        }
        let before = entry.clone();
        self.unindex(&before);
        let (waiting_since, looks_before) = if moved.attempt == before.task.attempt {
            (before.waiting_since, before.looks_before)
        } else {
            (now, self.looks.0)
        };
        let after = TaskEntry { task: Arc::new(moved), changed: at, waiting_since, looks_before };
        self.index(&after);
        let task = Arc::clone(&after.task);
        self.by_id.insert(id.clone(), after);
        Some(Ok(task))
    }

    /// Forgets a task. None: no such task.
    pub(super) fn remove(&mut self, id: &TaskId) -> Option<Arc<Task>> {
        let entry = self.by_id.remove(id)?;
        self.unindex(&entry);
        drop_from(&mut self.by_name, &entry.task.name, id);
        if let Some(batch) = &entry.task.batch {
            drop_from(&mut self.by_batch, &batch.id, id);
        }
        Some(entry.task)
    }

    /// Spends the key of a task that was removed for good, where it was the last of its creation.
    pub(super) fn spend_key(&mut self, gone: &Task) {
        if gone.batch.as_ref().is_none_or(|batch| !self.by_batch.contains_key(&batch.id)) {
            self.keys.spend(gone);
        }
    }

    fn index(&mut self, entry: &TaskEntry) {
        let task = &entry.task;
        self.by_status.entry(task.status()).or_default().insert(task.id.clone());
        if let Some(on) = task.placement() {
            self.placed_on.entry(on.node.clone()).or_default().insert(task.id.clone());
        }
        if let Some(node) = task.holds_place_on() {
            self.live_on.entry(node.clone()).or_default().insert(task.id.clone());
        }
        if let Some(node) = &task.reserved {
            self.reserved_on.entry(node.clone()).or_default().insert(task.id.clone());
        }
        if task.status() == TaskStatus::Pending && task.backoff().is_zero() {
            self.queue.insert(task);
        } else if task.status() == TaskStatus::Pending {
            self.held_back.insert((entry.due(), task.id.clone()));
        }
        if let Some(deadline) = self.deadline(entry) {
            self.waiting.insert((deadline, task.id.clone()));
        }
        if let TaskState::Ended(ended) = &task.state {
            self.ended.insert((ended.finished_at, task.id.clone()));
        }
    }

    fn unindex(&mut self, entry: &TaskEntry) {
        let task = &entry.task;
        if let Some(ids) = self.by_status.get_mut(&task.status()) {
            ids.remove(&task.id);
        }
        if let Some(on) = task.placement() {
            drop_from(&mut self.placed_on, &on.node, &task.id);
        }
        if let Some(node) = task.holds_place_on() {
            drop_from(&mut self.live_on, node, &task.id);
        }
        if let Some(node) = &task.reserved {
            drop_from(&mut self.reserved_on, node, &task.id);
        }
        if task.status() == TaskStatus::Pending {
            self.queue.remove(task);
            self.held_back.remove(&(entry.due(), task.id.clone()));
        }
        if let Some(deadline) = self.deadline(entry) {
            self.waiting.remove(&(deadline, task.id.clone()));
        }
        if let TaskState::Ended(ended) = &task.state {
            self.ended.remove(&(ended.finished_at, task.id.clone()));
        }
    }

    /// When a pending task has waited long enough; that begins after its back-off. None: it isn't pending, or may wait
    /// for ever.
    fn deadline(&self, entry: &TaskEntry) -> Option<Mono> {
        let timeout = entry.task.spec.pending_timeout.unwrap_or(self.pending_timeout);
        let waits = entry.task.status() == TaskStatus::Pending && !timeout.is_zero();
        waits.then(|| entry.due() + timeout)
    }
}

fn drop_from<K: Ord + Clone>(index: &mut BTreeMap<K, BTreeSet<TaskId>>, key: &K, id: &TaskId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
