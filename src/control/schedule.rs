//! Placement: which waiting task goes to which node.
//!
//! Tasks go oldest first, each to the node with the fewest tasks among those that have what it needs; among equals to
//! the one with the most free places, then to the one heard last, then by id. A task for which a place was kept goes
//! there first. Equal inputs give equal plans. That no node fits is data in the plan, not an error, and holds up no task
//! that needs something else.
//!
//! A [`Plan`] is made without touching the state: what it has already given away is kept in an overlay of the
//! nodes' own order, so that a thousand placements cost a thousand times the logarithm of the nodes, where all fit.

use std::collections::BTreeSet;
use std::iter::Peekable;

use crate::control::demand::Demand;
use crate::control::fit::{self, Given, Obstacle};
use crate::control::nodes::{NodeEntry, Nodes, Rank};
use crate::control::tasks::Tasks;
use crate::model::id::{NodeId, TaskId};
use crate::model::node::Availability;
use crate::model::task::{Task, TaskStatus};

/// Who goes where, and whether somebody is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Placements: those with a kept place first, then in the order of the tasks.
    pub placements: Vec<(TaskId, NodeId)>,
    /// Why the first task that can't be placed can't be, in words. None where all that were looked at could be.
    pub stuck: Option<String>,
}

/// Makes a plan for the oldest tasks in the queue, `most` placements at most.
///
/// A task goes to none of the nodes that it avoids (they refused it, or were lost with it), where there is another one
/// that fits; else it tries again.
pub fn plan(nodes: &Nodes, tasks: &Tasks, most: usize) -> Plan {
    let mut plan = Plan { placements: kept_places(nodes, tasks, most), stuck: None };
    let kept: BTreeSet<TaskId> = plan.placements.iter().map(|(task, _)| task.clone()).collect();
    let mut places = Places::of(nodes);
    let mut queue = tasks.queue().in_order();
    while plan.placements.len() < most
        && let Some((id, demand)) = queue.next()
    {
        let Some(task) = tasks.get(id).filter(|_| !kept.contains(id)) else { continue };
        match places.take_best(demand, |node| task.avoids(node), |_| true) {
            Some(node) => plan.placements.push((id.clone(), node)),
            None => {
                plan.stuck.get_or_insert_with(|| fit::explain(nodes, demand));
                if places.is_empty() {
                    break;
                }
                queue.leave_out(demand);
            }
        }
    }
    plan
}

/// Waiting tasks for which a node keeps a place, where that node still takes tasks.
fn kept_places(nodes: &Nodes, tasks: &Tasks, most: usize) -> Vec<(TaskId, NodeId)> {
    let waits = |task: &Task| task.status() == TaskStatus::Pending && tasks.queue().contains(task);
    let ready = tasks.reserved().map(|entry| &entry.task).filter(|task| waits(task));
    let placed = ready.filter_map(|task| {
        let node = task.reserved.as_ref()?;
        nodes
            .get(node)
            .is_some_and(|entry| keeps_its_word(entry, task))
            .then(|| (task.id.clone(), node.clone()))
    });
    placed.take(most).collect()
}

/// Whether a node still takes the task that it keeps a place for. It may have registered with other labels since.
pub(super) fn keeps_its_word(entry: &NodeEntry, task: &Task) -> bool {
    entry.node().availability == Availability::Active
        && fit::has_labels(entry, &task.spec.constraints)
        && fit::obstacle(entry).is_none_or(|obstacle| obstacle == Obstacle::Capacity)
}

/// The nodes in the order of their rank, as the plan so far leaves them.
pub(super) struct Places<'a, I: Iterator<Item = &'a Rank>> {
    nodes: &'a Nodes,
    untouched: Peekable<I>,
    touched: BTreeSet<Rank>,
    given: Given,
}

impl<'a> Places<'a, Box<dyn Iterator<Item = &'a Rank> + 'a>> {
    pub(super) fn of(nodes: &'a Nodes) -> Self {
        let untouched: Box<dyn Iterator<Item = &'a Rank> + 'a> = Box::new(nodes.placeable());
        Self { nodes, untouched: untouched.peekable(), touched: BTreeSet::new(), given: Given::default() }
    }
}

impl<'a, I: Iterator<Item = &'a Rank>> Places<'a, I> {
    /// Takes a place on the best node with room that isn't to be avoided, or else on the best one with room; only among
    /// those that `may` be it.
    pub(super) fn take_best(
        &mut self,
        demand: &Demand,
        avoids: impl Fn(&NodeId) -> bool,
        may: impl Fn(&NodeId) -> bool,
    ) -> Option<NodeId> {
        let (mut avoided, mut passed) = (Vec::new(), Vec::new());
        let best = loop {
            match self.next() {
                Some(rank) if !may(rank.node()) || !self.has_room(&rank, demand) => passed.push(rank),
                Some(rank) if avoids(rank.node()) => avoided.push(rank),
                best => break best,
            }
        };
        self.touched.extend(passed);
        let mut avoided = avoided.into_iter();
        let best = best.or_else(|| avoided.next());
        self.touched.extend(avoided);
        let best = best?;
        let node = best.node().clone();
        self.given.give(&node, demand);
        self.touched.extend(best.with_one_more());
        Some(node)
    }

    /// Whether no place is left at all.
    fn is_empty(&mut self) -> bool {
        self.touched.is_empty() && self.untouched.peek().is_none()
    }

    fn has_room(&self, rank: &Rank, demand: &Demand) -> bool {
        let entry = self.nodes.get(rank.node());
        entry.is_some_and(|entry| fit::has_room(self.nodes, entry, demand, &self.given))
    }

    /// Takes out the rank that is best now.
    fn next(&mut self) -> Option<Rank> {
        let touched_is_better = match (self.touched.first(), self.untouched.peek()) {
            (Some(touched), Some(untouched)) => touched < *untouched,
            (touched, _) => touched.is_some(),
        };
        if touched_is_better { self.touched.pop_first() } else { self.untouched.next().cloned() }
    }
}
