//! Placement: which waiting task goes to which node.
//!
//! Tasks go oldest first, each to the node with the fewest tasks; among those to the one with the most free places,
//! then to the one heard last, then by id. Equal inputs give equal plans. That no node fits is data in the plan, not
//! an error.
//!
//! A [`Plan`] is made without touching the state: what it has already given away is kept in an overlay of the
//! nodes' own order, so that a thousand placements cost a thousand times the logarithm of the nodes.

use std::collections::BTreeSet;
use std::iter::Peekable;

use crate::control::fit;
use crate::control::nodes::{Nodes, Rank};
use crate::control::tasks::Tasks;
use crate::model::id::{NodeId, TaskId};

/// Who goes where, and whether somebody is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Placements, in the order of the tasks.
    pub placements: Vec<(TaskId, NodeId)>,
    /// Why the next task in line can't be placed, in words. None where all that were looked at could be.
    pub stuck: Option<String>,
}

/// Makes a plan for the oldest waiting tasks, `most` of them at most.
///
/// A task goes to none of the nodes that it avoids (they refused it, or were lost with it), where there is another one
/// that fits; else it tries again.
pub fn plan(nodes: &Nodes, tasks: &Tasks, most: usize) -> Plan {
    let mut places = Places { untouched: nodes.placeable().peekable(), touched: BTreeSet::new() };
    let mut plan = Plan::default();
    for task in tasks.pending().take(most) {
        let avoids = |node: &NodeId| tasks.get(task).is_some_and(|task| task.avoids(node));
        let Some(node) = places.take_best(avoids) else {
            plan.stuck = Some(fit::explain(nodes));
            break;
        };
        plan.placements.push((task.clone(), node));
    }
    plan
}

/// The nodes in the order of their rank, as the plan so far leaves them.
struct Places<'a, I: Iterator<Item = &'a Rank>> {
    untouched: Peekable<I>,
    touched: BTreeSet<Rank>,
}

impl<'a, I: Iterator<Item = &'a Rank>> Places<'a, I> {
    /// Takes a place on the best node that isn't to be avoided, or else on the best one.
    fn take_best(&mut self, avoids: impl Fn(&NodeId) -> bool) -> Option<NodeId> {
        let mut avoided = Vec::new();
        let best = loop {
            match self.next() {
                Some(rank) if avoids(rank.node()) => avoided.push(rank),
                best => break best,
            }
        };
        let mut avoided = avoided.into_iter();
        let best = best.or_else(|| avoided.next())?;
        self.touched.extend(avoided);
        let node = best.node().clone();
        self.touched.extend(best.with_one_more());
        Some(node)
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
