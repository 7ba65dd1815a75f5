//! Moves off drained nodes (I6): none is committed without a place that is kept elsewhere, off a node that isn't
//! drained, of a task that stays where it is, or before the other node has its image.
//!
//! Main type: [`Drains`], the changes as they come one after another. A stop gives the kept place back, so a task that
//! is to stop has none.

use std::collections::{HashMap, HashSet};

use podling::control::change::Change;
use podling::model::id::{NodeId, TaskId};
use podling::model::node::Availability;
use podling::model::spec::OnNodeLost;
use podling::model::task::Step;

use super::Findings;
use super::facts::Facts;
use super::fold::{Commit, Line, Moment};
use super::history::What;

/// A place that is kept.
#[derive(Clone, Copy, Debug)]
struct Kept<'h> {
    on: &'h NodeId,
    /// The task's node was drained at some time since.
    was_drained: bool,
}

/// Which nodes are drained, and what is kept for whom.
#[derive(Debug, Default)]
struct Drains<'h> {
    drained: HashSet<&'h NodeId>,
    placed: HashMap<&'h TaskId, &'h NodeId>,
    kept: HashMap<&'h TaskId, Kept<'h>>,
}

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    let mut drains = Drains::default();
    let images = Images::of(facts);
    for Commit { moment, change, .. } in &facts.fold.commits {
        match change {
            Change::Availability { node, availability } => drains.set(node, *availability),
            Change::Advanced { task, step: Step::Move { .. } } => {
                let line = facts.fold.tasks.get(task);
                if let Some(why) = line.and_then(|line| drains.wrong(task, line, *moment, &images)) {
                    found.add("I6", moment.at, &[task], format!("task {task} was to be moved, and {why}"));
                }
            }
            Change::Advanced { task, step } => drains.advance(task, step),
            Change::Created(_)
            | Change::Forgotten { .. }
            | Change::Registered { .. }
            | Change::Status { .. }
            | Change::NodeForgotten { .. }
            | Change::TokenMade { .. }
            | Change::TokenEnded { .. } => {}
        }
    }
}

impl<'h> Drains<'h> {
    fn set(&mut self, node: &'h NodeId, availability: Availability) {
        if availability != Availability::Draining {
            self.drained.remove(node);
            return;
        }
        self.drained.insert(node);
        for (task, kept) in &mut self.kept {
            kept.was_drained |= self.placed.get(task) == Some(&node);
        }
    }

    fn advance(&mut self, task: &'h TaskId, step: &'h Step) {
        match step {
            Step::Place(on) => {
                self.placed.insert(task, &on.node);
                self.kept.remove(task);
            }
            Step::Reserve { node } => {
                let was_drained = self.placed.get(task).is_some_and(|on| self.drained.contains(on));
                self.kept.insert(task, Kept { on: node, was_drained });
            }
            Step::Unreserve | Step::Stop(_) => drop(self.kept.remove(task)),
            Step::Progress { .. }
            | Step::Start { .. }
            | Step::End(_)
            | Step::Refuse { .. }
            | Step::Expire { .. }
            | Step::Lose { .. }
            | Step::Move { .. } => {}
        }
    }

    /// Why a task is not to be moved now.
    fn wrong(&self, task: &TaskId, line: &Line<'_>, moment: Moment, images: &Images<'_>) -> Option<String> {
        let Some(kept) = self.kept.get(task) else { return Some("no place was kept for it".to_owned()) };
        if line.spec.on_node_lost != OnNodeLost::Reschedule {
            return Some("it stays where it is".to_owned());
        }
        if !kept.was_drained {
            return Some("its node wasn't drained since its place is kept".to_owned());
        }
        let image = line.spec.image.as_str();
        (!images.may_be(kept.on, image, moment))
            .then(|| format!("{} had not told that it has {image}", kept.on))
    }
}

/// Which nodes told that they have which images, and where first. Empty: nobody recorded that.
struct Images<'h>(HashMap<(&'h NodeId, &'h str), usize>);

impl<'h> Images<'h> {
    fn of(facts: &Facts<'h>) -> Self {
        let mut first = HashMap::new();
        for (moment, what) in facts.entries() {
            if let What::HasImage { node, image } = what {
                first.entry((node, image.as_str())).or_insert(moment.index);
            }
        }
        Self(first)
    }

    fn may_be(&self, node: &NodeId, image: &str, moment: Moment) -> bool {
        self.0.is_empty() || self.0.get(&(node, image)).is_some_and(|told| *told < moment.index)
    }
}
