//! Draining: which tasks leave a node, and where a place is kept for them first.
//!
//! A task that may run elsewhere (`on_node_lost: reschedule`) is moved: a place is reserved on another node, that node
//! fetches the image, and only then is the attempt ended; the next one starts when the end of this one is known, so that
//! the two never overlap. All other tasks are waited for. Nothing is ended for which no place is kept.
//!
//! [`plan`] says what is to change about the places; it is asked again and again, and changes nothing where all is as it
//! should be.

use crate::canary::{Canary, sings};
use crate::control::demand::Demand;
use crate::control::nodes::Nodes;
use crate::control::schedule::{self, Places};
use crate::control::tasks::{TaskEntry, Tasks};
use crate::model::id::{NodeId, TaskId};
use crate::model::node::Availability;
use crate::model::task::{Step, Task, TaskStatus};

/// How many tasks of one node are on the move at a time, so that others find places too.
pub const MOVES_AT_ONCE: usize = 4;

/// What is to change about the places that are kept: at most one step for a task.
///
/// `failed` says that a node was found unable to run a task lately, for instance because it can't have the image.
pub fn plan(nodes: &Nodes, tasks: &Tasks, failed: impl Fn(&TaskId, &NodeId) -> bool) -> Vec<(TaskId, Step)> {
    let mut steps: Vec<(TaskId, Step)> = tasks
        .reserved()
        .filter(|entry| is_void(nodes, &entry.task) || is_refused(&entry.task, &failed))
        .map(|entry| (entry.task.id.clone(), Step::Unreserve))
        .collect();
    let mut places = Places::of(nodes);
    let draining = nodes.iter().filter(|entry| entry.node().availability == Availability::Draining);
    for node in draining.map(|entry| &entry.node().registration.node_id) {
        let on_the_move = tasks.live_on(node).filter(|entry| entry.task.reserved.is_some()).count();
        let left = MOVES_AT_ONCE.saturating_sub(on_the_move);
        let may_go = tasks.live_on(node).filter(|entry| may_go(entry)).take(left);
        for task in may_go.map(|entry| &entry.task) {
            let demand = Demand::of(&task.spec);
            let place = places.take_best(&demand, |node| task.avoids(node), |node| !failed(&task.id, node));
            steps.extend(place.map(|node| (task.id.clone(), Step::Reserve { node })));
        }
    }
    steps
}

/// Whether a task can be moved off its node, and isn't on the move yet.
fn may_go(entry: &TaskEntry) -> bool {
    let task = &entry.task;
    let may_leave = task.spec.on_node_lost.is_leased() || sings(Canary::MovesAnybody);
    may_leave && !task.is_to_end() && task.reserved.is_none()
}

/// Whether a kept place is of no use any more: the node that keeps it takes nothing now, or the one that the task runs
/// on isn't drained any more. One whose attempt is being ended needs its place whatever becomes of the drain.
fn is_void(nodes: &Nodes, task: &Task) -> bool {
    let Some(node) = &task.reserved else { return false };
    let is_open = nodes.get(node).is_some_and(|entry| schedule::keeps_its_word(entry, task));
    let is_drained = task
        .holds_place_on()
        .and_then(|node| nodes.get(node))
        .is_some_and(|entry| entry.node().availability == Availability::Draining);
    let is_under_way = task.moving.is_some() || task.status() == TaskStatus::Pending;
    !is_open || !(is_drained || is_under_way)
}

fn is_refused(task: &Task, failed: impl Fn(&TaskId, &NodeId) -> bool) -> bool {
    task.moving.is_none() && task.reserved.as_ref().is_some_and(|node| failed(&task.id, node))
}
