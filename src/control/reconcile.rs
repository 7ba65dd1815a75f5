//! Desired against observed, on a worker: what the master wants of its attempts, what they are at, and what is to be
//! done about the difference.
//!
//! Main type: [`Ledger`], the attempts that a worker holds. The master's wishes come as a [`DesiredSet`] (the reply to
//! a beat: the whole truth, as of a [`Mark`]) or as one pushed [`Order`] (a hint that is quicker). Both are fenced:
//! what is older than what was heard before changes nothing. The ledger answers with [`Action`]s and does none itself.
//!
//! Invariant: an attempt is launched at most once. One that ended stays known as ended until a set that was read
//! after its end was acknowledged no longer names it; a push that comes later than that is below the set's mark.
//! Deliberately absent: containers, threads, clocks, the wire.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::canary::{Canary, sings};
use crate::model::id::{AttemptKey, ContainerId, Epoch, Revision, TaskId, TaskName};
use crate::model::spec::{DEFAULT_STOP_GRACE, TaskSpec};

/// A point in the cluster's history: a position in the journal, as a start of the master told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The master's start.
    pub epoch: Epoch,
    /// The position.
    pub revision: Revision,
}

/// How far an attempt has come on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Taken; its container doesn't run yet.
    Scheduled,
    /// Its container runs.
    Running,
    /// It ended.
    Ended,
}

/// What is needed to run an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which one.
    pub key: AttemptKey,
    /// What the user calls the task.
    pub name: TaskName,
    /// The task's index among its equals.
    pub index: Option<u32>,
    /// How its container is made.
    pub spec: Arc<TaskSpec>,
}

/// What the master wants of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// It is to run.
    Run,
    /// It is to end.
    Stop {
        /// Between TERM and KILL.
        grace: Duration,
    },
}

/// One attempt of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which one.
    pub key: AttemptKey,
    /// How far it has come, as the master knows.
    pub stage: Stage,
    /// What is to become of it.
    pub wish: Wish,
    /// How to run it; only where the beat didn't name it.
    pub order: Option<Order>,
}

/// What the master wants of a node, as of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSet {
    /// What it has seen.
    pub at: Mark,
    /// Whether what it doesn't name is to end.
    pub complete: bool,
    /// The beat that it answers, as [`Ledger::begin_beat`] numbered it.
    pub beat: u64,
    /// The attempts.
    pub wanted: Vec<Wanted>,
}

/// What a worker is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Walk a new attempt through its life.
    Launch(Order),
    /// Go on with a container that an earlier process made and did not start.
    Resume(AttemptKey),
    /// End an attempt. Asked again, the earlier of two deadlines counts.
    Stop {
        /// Which one.
        key: AttemptKey,
        /// Between TERM and KILL.
        grace: Duration,
    },
    /// Report the end of an attempt that was to stop and never ran here.
    ReportNeverRan(AttemptKey),
    /// Report the end of an attempt that ran, as the master knows, and whose container is gone.
    ReportVanished(AttemptKey),
}

/// Why a push was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// By an earlier start of the master.
    Epoch,
    /// Placed before the last set was read, which doesn't name it: it is no longer wanted.
    Revision,
}

/// An attempt that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What the user calls the task; unknown of a container that was found.
    pub name: Option<TaskName>,
    /// How far it has come.
    pub stage: Stage,
    /// Its container, once there is one.
    pub container: Option<ContainerId>,
    /// What it is busy with.
    pub detail: Option<String>,
    /// Between TERM and KILL where nobody says otherwise.
    pub stop_grace: Duration,
    /// It runs under the node's lease.
    is_leased: bool,
    /// What brought it: a set of an earlier mark knows nothing of it.
    brought_at: Mark,
    /// A container that was found made and not started: nothing happens to it before a set names it.
    is_parked: bool,
    /// Its end was acknowledged after so many beats had begun.
    acknowledged: Option<u64>,
    /// Nothing is left of it but this entry.
    is_released: bool,
}

/// The attempts that a worker holds.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    heard: Mark,
    named: HashSet<AttemptKey>,
    held: BTreeMap<AttemptKey, Held>,
    beats: u64,
}

impl Ledger {
    /// The mark of the last set that was applied.
    pub const fn heard(&self) -> Mark {
        self.heard
    }

    /// One attempt.
    pub fn get(&self, key: &AttemptKey) -> Option<&Held> {
        self.held.get(key)
    }

    /// The newest attempt at a task.
    pub fn newest(&self, task: &TaskId) -> Option<(&AttemptKey, &Held)> {
        self.held.iter().rev().find(|(key, _)| key.task == *task)
    }

    /// Every attempt of which something is left, by task and attempt.
    pub fn unreleased(&self) -> impl Iterator<Item = (&AttemptKey, &Held)> {
        self.held.iter().filter(|(_, held)| !held.is_released)
    }

    /// Counts a beat that is about to be sent, and gives its number. A set that answers it was read later than
    /// everything that was acknowledged before.
    pub const fn begin_beat(&mut self) -> u64 {
        self.beats += 1;
        self.beats
    }

    /// Takes up a container that was found. `was_started`: it runs, or ran; if not, it waits until a set names it.
    pub fn adopt(&mut self, key: AttemptKey, container: ContainerId, was_started: bool) {
        let held = Held {
            name: None,
            stage: if was_started { Stage::Running } else { Stage::Scheduled },
            container: Some(container),
            detail: None,
            stop_grace: DEFAULT_STOP_GRACE,
            is_leased: false,
            brought_at: Mark::default(),
            is_parked: !was_started,
            acknowledged: None,
            is_released: false,
        };
        self.held.entry(key).or_insert(held);
    }

    /// Takes up an end that the master may not have heard of. What it was is never launched again.
    pub fn adopt_end(&mut self, key: &AttemptKey) {
        self.end_unseen(Mark::default(), key);
    }

    /// An attempt that was found runs under the node's lease. Its own grace is not known.
    pub fn observe_lease(&mut self, key: &AttemptKey) {
        self.update(key, |held| held.is_leased = true);
    }

    /// Whether an attempt runs under the node's lease.
    pub fn is_leased(&self, key: &AttemptKey) -> bool {
        self.held.get(key).is_some_and(|held| held.is_leased)
    }

    /// The attempts that run under the node's lease and haven't ended, with their own graces.
    pub fn leased(&self) -> impl Iterator<Item = (&AttemptKey, Duration)> {
        let live = self.held.iter().filter(|(_, held)| held.stage != Stage::Ended && !held.is_released);
        live.filter(|(_, held)| held.is_leased).map(|(key, held)| (key, held.stop_grace))
    }

    /// Takes a push. None: it is known already.
    ///
    /// # Errors
    /// It is fenced off; nothing changed.
    pub fn push(&mut self, at: Mark, order: Order) -> Result<Option<Action>, Fenced> {
        if at.epoch < self.heard.epoch {
            return Err(Fenced::Epoch);
        }
        if let Some(held) = self.held.get_mut(&order.key) {
            held.brought_at = held.brought_at.max(at);
            return Ok(None);
        }
        let is_late = at <= self.heard && !self.named.contains(&order.key);
        if is_late && !sings(Canary::TakesLatePushes) {
            return Err(Fenced::Revision);
        }
        Ok(Some(self.launch(at, order)))
    }

    /// Applies a set, unless a later one was applied before.
    pub fn apply(&mut self, set: DesiredSet) -> Vec<Action> {
        if set.at < self.heard {
            return Vec::new();
        }
        self.heard = set.at;
        self.named = set.wanted.iter().map(|wanted| wanted.key.clone()).collect();
        let mut actions = if set.complete { self.drop_unnamed(set.at, set.beat) } else { Vec::new() };
        for wanted in set.wanted {
            self.reconcile(set.at, wanted, &mut actions);
        }
        actions
    }

    /// Ends what a whole set doesn't name, and forgets what it shows to be settled.
    fn drop_unnamed(&mut self, at: Mark, beat: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let named = &self.named;
        self.held.retain(|key, held| {
            // A push that the set is too old to have seen stays.
            if named.contains(key) || held.brought_at > at {
                return true;
            }
            if held.stage == Stage::Ended {
                return !held.is_released || held.acknowledged.is_none_or(|began| began >= beat);
            }
            actions.push(Action::Stop { key: key.clone(), grace: held.stop_grace });
            if std::mem::take(&mut held.is_parked) {
                actions.push(Action::Resume(key.clone()));
            }
            true
        });
        actions
    }

    fn reconcile(&mut self, at: Mark, wanted: Wanted, actions: &mut Vec<Action>) {
        let key = wanted.key;
        if let Some(held) = self.held.get_mut(&key) {
            held.brought_at = held.brought_at.max(at);
            if held.stage == Stage::Ended {
                return;
            }
            if let Wish::Stop { grace } = wanted.wish {
                actions.push(Action::Stop { key: key.clone(), grace });
            }
            if std::mem::take(&mut held.is_parked) {
                actions.push(Action::Resume(key));
            }
            return;
        }
        match (wanted.stage, wanted.wish, wanted.order) {
            (Stage::Scheduled, Wish::Run, Some(order)) => actions.push(self.launch(at, order)),
            // The beat named it and it was released since: the next beat doesn't, and brings the order.
            (Stage::Scheduled, Wish::Run, None) | (Stage::Ended, _, _) => {}
            (Stage::Scheduled, Wish::Stop { .. }, _) => {
                self.end_unseen(at, &key);
                actions.push(Action::ReportNeverRan(key));
            }
            (Stage::Running, Wish::Run | Wish::Stop { .. }, _) => {
                self.end_unseen(at, &key);
                actions.push(Action::ReportVanished(key));
            }
        }
    }

    fn launch(&mut self, at: Mark, order: Order) -> Action {
        let held = Held {
            name: Some(order.name.clone()),
            stage: Stage::Scheduled,
            container: None,
            detail: None,
            stop_grace: order.spec.stop_grace,
            is_leased: order.spec.on_node_lost.is_leased(),
            brought_at: at,
            is_parked: false,
            acknowledged: None,
            is_released: false,
        };
        self.held.insert(order.key.clone(), held);
        Action::Launch(order)
    }

    /// An attempt that was never seen here ends at once: it must not start any more.
    fn end_unseen(&mut self, at: Mark, key: &AttemptKey) {
        let held = Held {
            name: None,
            stage: Stage::Ended,
            container: None,
            detail: None,
            stop_grace: DEFAULT_STOP_GRACE,
            is_leased: false,
            brought_at: at,
            is_parked: false,
            acknowledged: None,
            is_released: false,
        };
        self.held.insert(key.clone(), held);
    }

    /// What an attempt is busy with.
    pub fn observe_progress(&mut self, key: &AttemptKey, detail: String) {
        self.update(key, |held| held.detail = Some(detail));
    }

    /// An attempt's container was made.
    pub fn observe_container(&mut self, key: &AttemptKey, container: ContainerId) {
        self.update(key, |held| held.container = Some(container));
    }

    /// An attempt's container runs.
    pub fn observe_running(&mut self, key: &AttemptKey) {
        self.update(key, |held| {
            held.detail = None;
            if held.stage == Stage::Scheduled {
                held.stage = Stage::Running;
            }
        });
    }

    /// An attempt ended.
    pub fn observe_end(&mut self, key: &AttemptKey) {
        self.update(key, |held| {
            held.detail = None;
            held.stage = Stage::Ended;
        });
    }

    /// The master has acknowledged an attempt's end.
    pub fn acknowledge(&mut self, key: &AttemptKey) {
        let beats = self.beats;
        self.update(key, |held| held.acknowledged = Some(beats));
    }

    /// Nothing is left of an attempt: neither a container nor a report.
    pub fn release(&mut self, key: &AttemptKey) {
        self.update(key, |held| {
            held.container = None;
            held.is_released = true;
        });
        if sings(Canary::ForgetsEnded) {
            self.held.remove(key);
        }
    }

    fn update(&mut self, key: &AttemptKey, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.held.get_mut(key) {
            change(held);
        }
    }
}

#[cfg(test)]
mod tests;
