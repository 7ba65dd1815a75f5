//! The state manager: tasks, nodes and tokens, and every operation on them.
//!
//! Main type: [`State`]. An operation takes the locks, decides by what `control` says, applies [`Change`]s, queues
//! their records with the journal while it still holds the locks, and returns its result with the journal position
//! that the result rests on, [`AsOf`]. Whoever shows the result waits for that position. No operation blocks on
//! anything but the locks.
//!
//! Order: nodes before tasks before tokens, see `locks`. Nothing is logged, sent or written with a lock held.

mod cluster;
mod deeds;
mod drain;
mod quarantine;
mod silence;
mod submit;
mod tokens;
mod why;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::api::wire::audit::Chain;
use crate::canary::{Canary, sings};
use crate::control::change::{self, Change, Misfit};
use crate::control::demand::Demand;
use crate::control::nodes::Nodes;
use crate::control::snapshot::Snapshot;
use crate::control::tasks::{Ambiguous, Filter, Found, Tasks};
use crate::control::tokens::Tokens;
use crate::control::undo::Undo;
use crate::control::{fit, schedule};
use crate::master::events::{self, Events};
use crate::master::ids::Ids;
use crate::master::journal::{Batch, Journal};
use crate::master::locks::Locks;
use crate::master::reach::Reach;
use crate::master::record;
use crate::master::record::snapshot::Parts;
use crate::model::audit::{Asked, Deed};
use crate::model::id::{ClusterId, Epoch, Revision, TaskId};
use crate::model::task::{Placement, Step, Task, TaskStatus};
use crate::model::time::{Mono, Now};
use crate::store::{Store, StoreError, Stored};

pub use cluster::{BeatError, ForgetNodeError, RegisterError, Registered, ReportError};
pub use drain::{Move, Preparation};
pub use silence::Lost;
pub use submit::{CreateError, ForgetError, StopError, StopOutcome};
pub use tokens::{JoinError, Joining, MOST_TOKENS, NotMade};

/// How many tasks one look of the scheduler places at most, so that nobody waits long for the locks.
const PLACED_AT_ONCE: usize = 1_000;

/// How many expired tasks one look forgets at most.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// A value, and the journal position that must be durable before anyone may see it.
#[derive(Clone, Debug)]
pub struct AsOf<T> {
    /// What was read or done.
    pub value: T,
    /// What it rests on.
    pub at: Revision,
}

/// Why a change was not made: the store takes nothing just now. It may be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFull;

/// What can only be had while its lock is held.
trait UnderLock {}

impl UnderLock for Nodes {}

impl UnderLock for Tasks {}

/// What stays the same while a master runs.
#[derive(Clone, Debug)]
pub struct StateSettings {
    /// The cluster.
    pub cluster: ClusterId,
    /// This start of the master.
    pub epoch: Epoch,
    /// How long a node may be silent.
    pub node_timeout: Duration,
    /// How long a task may wait for a node, where it doesn't say. Zero: for ever.
    pub pending_timeout: Duration,
    /// How long a task is kept after its end.
    pub retain: Duration,
}

/// Tasks, nodes and tokens, and everything that may be done with them.
pub struct State {
    locks: Locks,
    journal: Arc<Journal>,
    events: Arc<Events>,
    settings: StateSettings,
    is_quarantined: bool,
    judge_from: Mono,
    ids: Ids,
    /// The certificate of the cluster's CA, by which nodes prove who they are. None: there is none.
    ca: Option<String>,
    /// The end of the audit as the store had it at the start.
    audited: Chain,
    /// How many records the store gave back beside its snapshot.
    replayed: u64,
    wake: (Sender<()>, Receiver<()>),
    /// How far preparations of moves have come, in words. Order: after the locks.
    move_notes: Mutex<BTreeMap<TaskId, String>>,
}

/// A placement that is to be pushed to its node.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The task, as placed.
    pub task: Arc<Task>,
    /// How its node is reached.
    pub reach: Reach,
    /// The start of the node's worker.
    pub incarnation: crate::model::id::Incarnation,
    /// The journal position of the placement.
    pub revision: Revision,
}

impl State {
    /// Reads the store back, and makes the journal that goes on from there.
    ///
    /// # Errors
    /// The store can't be read, or holds what doesn't fit.
    pub fn load(settings: StateSettings, store: &mut dyn Store, now: Now) -> Result<Self, StoreError> {
        let (mut nodes, mut tasks) = (Nodes::default(), Tasks::new(settings.pending_timeout));
        let mut tokens = Tokens::default();
        let (mut last, mut replayed, ids) = (Revision(0), 0, Ids::default());
        let refuse = |why: String| StoreError::Io { operation: "make sense of", why };
        store.replay(&mut |stored| {
            let (at, bytes) = match stored {
                Stored::Part(at, part) => {
                    let latest = record::snapshot::restore(part, &mut nodes, &mut tasks, &mut tokens, now)
                        .map_err(|why| refuse(format!("the snapshot at {at}: {why}")))?;
                    ids.after(latest.unwrap_or_default());
                    last = at;
                    return Ok(());
                }
                Stored::Record(at, bytes) => (at, bytes),
            };
            (last, replayed) = (at, replayed + 1);
            if bytes.is_empty() {
                // It stands for one that was withdrawn.
                return Ok(());
            }
            let change = record::decode(bytes).map_err(|why| refuse(format!("record {at}: {why}")))?;
            if let Change::Created(creation) = &change {
                ids.after(creation.at);
            }
            if let Change::TokenMade { token } = &change {
                ids.after(token.created_at);
            }
            change::apply(&mut nodes, &mut tasks, &mut tokens, &change, at, now)
                .map_err(|misfit| refuse(format!("record {at}: {misfit}")))
        })?;
        let audited = store.last_audited()?.map_or_else(|| Ok(Chain::default()), |line| Chain::after(&line));
        let audited = audited.map_err(|error| refuse(format!("the last line of the audit: {error}")))?;
        let journal = Arc::new(Journal::new(last));
        let events = Events::new(settings.epoch, last);
        let locks = Locks::new(nodes, tasks, tokens);
        Ok(Self {
            locks,
            journal,
            events,
            settings,
            is_quarantined: false,
            judge_from: now.mono,
            ids,
            ca: None,
            audited,
            replayed,
            wake: bounded(1),
            move_notes: Mutex::default(),
        })
    }

    /// Counts ids instead of drawing them, so that the same run makes the same ones.
    #[must_use]
    pub fn counting_ids(self) -> Self {
        self.ids.count(self.settings.epoch);
        self
    }

    /// Of a cluster with this CA.
    #[must_use]
    pub fn with_ca(self, ca_pem: &str) -> Self {
        Self { ca: Some(ca_pem.to_owned()), ..self }
    }

    /// The journal that makes its changes durable.
    pub const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What happened of late.
    pub const fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// What stays the same.
    pub const fn settings(&self) -> &StateSettings {
        &self.settings
    }

    /// Ready whenever there may be something to place. The scheduler waits on it.
    pub const fn work(&self) -> &Receiver<()> {
        &self.wake.1
    }

    /// How many records the store gave back at the start, beside its snapshot.
    pub(super) const fn replayed(&self) -> u64 {
        self.replayed
    }

    /// The end of the audit as the store had it at the start.
    pub(super) const fn audited(&self) -> &Chain {
        &self.audited
    }

    /// Has the audit keep what somebody was refused.
    pub fn note_refused(&self, deed: Deed) {
        self.journal.note(deed);
    }

    /// How many nodes and tasks there are.
    pub(super) fn size(&self) -> u64 {
        let (nodes, tasks) = self.locks.read_both();
        u64::try_from(nodes.iter().count() + tasks.len()).unwrap_or(u64::MAX)
    }

    /// All that is remembered, and the position that it is the fold of. Holds the locks while pointers are copied.
    pub(super) fn snapshot(&self) -> (Revision, Parts) {
        let (nodes, tasks) = self.locks.read_both();
        let at = self.position(&*tasks);
        let copy = Snapshot::of(&nodes, &tasks, &self.locks.read_tokens());
        drop((nodes, tasks));
        (at, Parts::new(copy, self.ids.latest()))
    }

    /// Finds the task that a person means.
    ///
    /// # Errors
    /// Several are meant.
    pub fn task(&self, reference: &str) -> Result<Option<AsOf<Arc<Task>>>, Ambiguous> {
        let tasks = self.locks.read_tasks();
        Ok(match tasks.resolve(reference)? {
            Found::Task(entry) => Some(AsOf { value: Arc::clone(&entry.task), at: entry.changed }),
            Found::Nothing => None,
        })
    }

    /// Finds the task that a person means who is about to remove it: one name must mean one task.
    ///
    /// # Errors
    /// Several are meant.
    pub fn only_task(&self, reference: &str) -> Result<Option<Arc<Task>>, Ambiguous> {
        let tasks = self.locks.read_tasks();
        Ok(match tasks.resolve_one(reference)? {
            Found::Task(entry) => Some(Arc::clone(&entry.task)),
            Found::Nothing => None,
        })
    }

    /// A page of the tasks that a filter admits, and the id to go on after, where more follow.
    pub fn tasks(
        &self,
        filter: &Filter,
        after: Option<&TaskId>,
        most: usize,
    ) -> AsOf<(Vec<Arc<Task>>, Option<TaskId>)> {
        let tasks = self.locks.read_tasks();
        let (page, more) = tasks.list(filter, after, most);
        let page: Vec<Arc<Task>> = page.into_iter().map(|entry| Arc::clone(&entry.task)).collect();
        let next = page.last().filter(|_| more).map(|task| task.id.clone());
        AsOf { value: (page, next), at: self.position(&*tasks) }
    }

    /// How many tasks have a status.
    pub fn count(&self, status: TaskStatus) -> usize {
        self.locks.read_tasks().count(status)
    }

    /// Places what waits, a bounded number at once; nothing while the store fails. True: there may be more to place
    /// right away.
    pub fn schedule(&self, now: Now) -> (AsOf<Vec<Placed>>, bool) {
        let (mut nodes, mut tasks) = self.locks.write_both();
        // Also while the store fails: a back-off that is over must not be waited for again and again.
        tasks.release(now.mono);
        if self.journal.is_failing() {
            return (AsOf { value: Vec::new(), at: self.position(&*tasks) }, false);
        }
        tasks.note_look(now.wall);
        let plan = schedule::plan(&nodes, &tasks, PLACED_AT_ONCE);
        let more = plan.placements.len() == PLACED_AT_ONCE;
        let mut placed = Vec::with_capacity(plan.placements.len());
        for (id, node) in plan.placements {
            let revision = self.journal.next_position();
            let on = Placement { node: node.clone(), at: now.wall, revision };
            let step = Step::Place(on);
            // A plan is made of what the locks hold, so each of its placements fits.
            if self.commit(&mut nodes, &mut tasks, Change::Advanced { task: id.clone(), step }, now).is_err()
            {
                continue;
            }
            if let (Some(task), Some(entry)) = (tasks.get(&id), nodes.get(&node)) {
                let (reach, incarnation) = (self.reach(entry.node()), entry.node().incarnation);
                placed.push(Placed { task: Arc::clone(task), reach, incarnation, revision });
            }
        }
        (AsOf { value: placed, at: self.position(&*tasks) }, more)
    }

    /// When a task's back-off is over that may not be placed before.
    pub fn next_release(&self) -> Option<Mono> {
        self.locks.read_tasks().next_release()
    }

    /// Fails the tasks that waited for a node as long as they may; none while the store fails.
    pub fn expire_waiting(&self, now: Now) -> AsOf<Vec<TaskId>> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        if self.journal.is_failing() {
            return AsOf { value: Vec::new(), at: self.position(&*tasks) };
        }
        let overdue = tasks.overdue(now.mono);
        for task in &overdue {
            let demand = tasks.get(task).map_or_else(Demand::default, |task| Demand::of(&task.spec));
            let why = format!("no node took it in time: {}", fit::explain(&nodes, &demand));
            let step = Step::Expire { at: now.wall, why };
            let _ = self.commit(&mut nodes, &mut tasks, Change::Advanced { task: task.clone(), step }, now);
        }
        AsOf { value: overdue, at: self.position(&*tasks) }
    }

    /// Forgets tasks that ended longer ago than they are kept, a bounded number. Returns how many.
    pub fn forget_old(&self, now: Now) -> usize {
        let kept_since =
            now.wall.unix_millis().saturating_sub(crate::api::wire::millis(self.settings.retain));
        let before = crate::model::time::WallTime::from_unix_millis(kept_since);
        let (mut nodes, mut tasks) = self.locks.write_both();
        if self.journal.is_failing() {
            return 0;
        }
        let old = tasks.ended_before(before, FORGOTTEN_AT_ONCE);
        for task in &old {
            let _ = self.commit(&mut nodes, &mut tasks, Change::Forgotten { task: task.clone() }, now);
        }
        old.len()
    }

    /// Takes back a batch that could not be written, and all that was changed since: nobody has seen any of it. Until
    /// [`State::mended`] nothing is changed. Gives the positions that are void, the last of them never used.
    pub(super) fn withdraw(&self, failed: Batch) -> RangeInclusive<u64> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        let mut tokens = self.locks.write_tokens();
        let withdrawal = self.journal.withdraw(failed);
        for undo in withdrawal.undos.into_iter().rev().filter(|_| !sings(Canary::KeepsWhatFailed)) {
            undo.revert(&mut nodes, &mut tasks, &mut tokens);
        }
        self.events.withdraw(Revision(*withdrawal.positions.start()));
        drop((nodes, tasks, tokens));
        self.journal.tell(withdrawal.waiters);
        withdrawal.positions
    }

    /// Everything up to `last` is durable: it can be seen, and whoever waited for it is let go. In this order, so that
    /// whoever has an answer finds the event of it.
    pub(super) fn settle(&self, last: Revision) {
        self.events.settle(last);
        self.journal.settle(last);
    }

    /// The store takes changes again.
    pub(super) fn mended(&self) {
        self.journal.mended();
        self.wake_scheduler();
    }

    /// The position that whatever was read or done under a lock rests on. It takes what the lock guards, because it must
    /// be read before the lock is let go: whoever waits for the lock may be about to withdraw these very changes, and
    /// the positions after those are soon durable.
    fn position(&self, _held: &impl UnderLock) -> Revision {
        self.journal.last_position()
    }

    /// Whether changes can be stored. Means something only while both locks are held.
    fn check_store(&self) -> Result<(), StoreFull> {
        if self.journal.is_failing() { Err(StoreFull) } else { Ok(()) }
    }

    /// Applies a change that nobody asked for, and queues its record. Both locks are held, so the journal's order is
    /// the state's.
    fn commit(
        &self,
        nodes: &mut Nodes,
        tasks: &mut Tasks,
        change: Change,
        now: Now,
    ) -> Result<Revision, Misfit> {
        self.commit_for(&now.into(), nodes, tasks, change)
    }

    /// The same, of a change that somebody may have asked for: then the audit keeps it.
    fn commit_for(
        &self,
        asked: &Asked,
        nodes: &mut Nodes,
        tasks: &mut Tasks,
        change: Change,
    ) -> Result<Revision, Misfit> {
        let now = asked.now;
        debug_assert!(!self.journal.is_failing(), "a change while the store fails");
        let at = self.journal.next_position();
        let mut tokens = self.locks.write_tokens();
        let undo = Undo::of(nodes, tasks, &tokens, &change);
        let removed = events::removed_by(&change, nodes, tasks);
        change::apply(nodes, tasks, &mut tokens, &change, at, now)?;
        drop(tokens);
        self.events.note(at, now.wall, &change, removed, (nodes, tasks));
        let deed = asked.by.as_ref().and_then(|by| deeds::of(&change, by, now.wall));
        Ok(self.journal.append(record::encode(&change), undo, deed))
    }

    /// Tells the scheduler that there may be something to place.
    fn wake_scheduler(&self) {
        // Full: it has been told already.
        let _ = self.wake.0.try_send(());
    }
}
