//! What draining does: a place is kept elsewhere, its node is made ready, and only then is an attempt ended.

use std::sync::Arc;
use std::time::Duration;

use super::{AsOf, State};
use crate::control::change::Change;
use crate::control::drain;
use crate::master::reach::Reach;
use crate::model::id::{AttemptKey, NodeId, TaskId};
use crate::model::node::Availability;
use crate::model::task::{Step, Task};
use crate::model::time::Now;

/// A node that keeps a place for a task, and is to have its image.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// The attempt that is to be moved.
    pub attempt: AttemptKey,
    /// The task.
    pub task: Arc<Task>,
    /// The node that keeps the place.
    pub node: NodeId,
    /// How it is reached.
    pub reach: Reach,
}

/// An attempt that its node is to end now, so that the next one can run elsewhere.
#[derive(Clone, Debug)]
pub struct Move {
    /// Which one.
    pub attempt: AttemptKey,
    /// How its node is reached.
    pub reach: Reach,
    /// Between TERM and KILL.
    pub grace: Duration,
}

/// Whether what is noted of a task's move may still be of use.
fn may_still_move(task: &Task) -> bool {
    task.moving.is_none() && task.holds_place_on().is_some()
}

impl State {
    /// Keeps places for the tasks that are to leave their nodes, and gives those back that are of no use. Returns what is
    /// to be made ready. Changes nothing while the store fails.
    ///
    /// `failed` says that a node was found unable to run a task lately.
    pub fn keep_places(&self, failed: impl Fn(&TaskId, &NodeId) -> bool, now: Now) -> AsOf<Vec<Preparation>> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        let steps = if self.journal.is_failing() { Vec::new() } else { drain::plan(&nodes, &tasks, failed) };
        if !steps.is_empty() {
            // A place that is given back may be what somebody waits for.
            self.wake_scheduler();
        }
        for (task, step) in steps {
            // A plan is made of what the locks hold, so each of its steps fits.
            let _ = self.commit(&mut nodes, &mut tasks, Change::Advanced { task, step }, now);
        }
        self.move_notes.lock().retain(|id, _| tasks.get(id).is_some_and(|task| may_still_move(task)));
        let waits_for_it = tasks
            .reserved()
            .filter(|entry| entry.task.moving.is_none() && entry.task.holds_place_on().is_some());
        let preparation = |task: &Arc<Task>| {
            let node = task.reserved.clone()?;
            let reach = self.reach(nodes.get(&node)?.node());
            let attempt = task.key();
            Some(Preparation { attempt, task: Arc::clone(task), node, reach })
        };
        let found = waits_for_it.filter_map(|entry| preparation(&entry.task)).collect();
        AsOf { value: found, at: self.position(&*tasks) }
    }

    /// Whether a node is being drained, or a place kept: whether [`State::keep_places`] might do anything.
    pub fn has_drains(&self) -> bool {
        let (nodes, tasks) = self.locks.read_both();
        let mut all = nodes.iter().map(|entry| entry.node().availability);
        tasks.reserved().next().is_some() || all.any(|is| is == Availability::Draining)
    }

    /// Remembers how far the preparations of a move have come, to show it.
    pub(in crate::master) fn note_move(&self, task: &TaskId, note: String) {
        self.move_notes.lock().insert(task.clone(), note);
    }

    /// Ends an attempt so that the next one can run on `ready`, which keeps a place for it and has its image. None: that
    /// is not so any more.
    pub fn move_off(&self, attempt: &AttemptKey, ready: &NodeId, now: Now) -> Option<AsOf<Move>> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        let task = tasks.get(&attempt.task)?;
        let is_so = task.attempt == attempt.attempt && task.reserved.as_ref() == Some(ready);
        if !is_so || self.journal.is_failing() {
            return None;
        }
        let owner = nodes.get(task.holds_place_on()?)?;
        let reach = self.reach(owner.node());
        let grace = task.grace();
        let change = Change::Advanced { task: attempt.task.clone(), step: Step::Move { at: now.wall } };
        let at = self.commit(&mut nodes, &mut tasks, change, now).ok()?;
        Some(AsOf { value: Move { attempt: attempt.clone(), reach, grace }, at })
    }
}
