//! The tasks that may be placed now, by what they need.
//!
//! Main type: [`Queue`]. It is read oldest first, across all demands ([`Queue::in_order`]); a reader that finds no place
//! for a demand drops all that have it at once. So a look of the scheduler costs no more for ten thousand tasks that
//! can't be placed than for one.

use std::collections::{BTreeMap, BTreeSet, btree_set};

use crate::control::demand::Demand;
use crate::model::id::TaskId;
use crate::model::task::Task;

/// Tasks that wait for a node.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    by_demand: BTreeMap<Demand, BTreeSet<TaskId>>,
}

impl Queue {
    /// Takes up a task.
    pub(super) fn insert(&mut self, task: &Task) {
        self.by_demand.entry(Demand::of(&task.spec)).or_default().insert(task.id.clone());
    }

    /// Takes a task out, if it is there.
    pub(super) fn remove(&mut self, task: &Task) {
        let demand = Demand::of(&task.spec);
        if let Some(ids) = self.by_demand.get_mut(&demand) {
            ids.remove(&task.id);
            if ids.is_empty() {
                self.by_demand.remove(&demand);
            }
        }
    }

    /// Whether a task is there.
    pub fn contains(&self, task: &Task) -> bool {
        self.by_demand.get(&Demand::of(&task.spec)).is_some_and(|ids| ids.contains(&task.id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_demand.values().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_demand.is_empty()
    }

    /// All of them, oldest first.
    pub fn in_order(&self) -> InOrder<'_> {
        let mut heads = BTreeMap::new();
        for (demand, ids) in &self.by_demand {
            let mut rest = ids.iter();
            if let Some(first) = rest.next() {
                heads.insert(first, (demand, rest));
            }
        }
        InOrder { heads }
    }
}

/// Reads a queue oldest first.
#[derive(Debug)]
pub struct InOrder<'a> {
    /// The next of each demand, with the others that have it.
    heads: BTreeMap<&'a TaskId, (&'a Demand, btree_set::Iter<'a, TaskId>)>,
}

impl<'a> Iterator for InOrder<'a> {
    type Item = (&'a TaskId, &'a Demand);

    /// The next one, with what it needs.
    fn next(&mut self) -> Option<Self::Item> {
        let (id, (demand, mut rest)) = self.heads.pop_first()?;
        if let Some(next) = rest.next() {
            self.heads.insert(next, (demand, rest));
        }
        Some((id, demand))
    }
}

impl InOrder<'_> {
    /// Leaves out all that need the same.
    pub fn leave_out(&mut self, demand: &Demand) {
        self.heads.retain(|_, (held, _)| *held != demand);
    }
}
