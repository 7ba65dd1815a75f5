//! Finding tasks: by whatever a person calls one, and page by page.

use std::collections::{BTreeSet, btree_set};
use std::iter::Peekable;
use std::ops::Bound::{Excluded, Unbounded};

use super::{TaskEntry, Tasks};
use crate::model::id::{BatchId, NodeId, TaskId, TaskName};
use crate::model::task::TaskStatus;

/// A prefix of an id must have this many characters to name a task.
const SHORTEST_PREFIX: usize = 4;

/// How many candidates an ambiguous reference lists.
const MOST_CANDIDATES: usize = 20;

/// What a reference names.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// One task.
    Task(&'a TaskEntry),
    /// Nothing.
    Nothing,
}

/// A reference that names several tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// Their ids, oldest first; a bounded number.
    pub candidates: Vec<TaskId>,
}

/// Which tasks a list is to hold. All conditions must be met.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these statuses; empty: any.
    pub statuses: Vec<TaskStatus>,
    /// Last placed on this node.
    pub node: Option<NodeId>,
    /// With this name.
    pub name: Option<TaskName>,
    /// Of this batch.
    pub batch: Option<BatchId>,
    /// With all these labels.
    pub labels: Vec<(String, String)>,
}

impl Filter {
    fn admits(&self, entry: &TaskEntry) -> bool {
        let task = &entry.task;
        (self.statuses.is_empty() || self.statuses.contains(&task.status()))
            && self.node.as_ref().is_none_or(|node| task.placement().is_some_and(|on| on.node == *node))
            && self.name.as_ref().is_none_or(|name| task.name == *name)
            && self.batch.as_ref().is_none_or(|id| task.batch.as_ref().is_some_and(|batch| batch.id == *id))
            && self.labels.iter().all(|(key, value)| task.spec.labels.has(key, value))
    }
}

impl Tasks {
    /// Finds the task that a person means: a whole id; else a name (its newest live task, else its newest); else a
    /// prefix, of at least four characters, of one task's id.
    ///
    /// # Errors
    /// Several ids begin so.
    pub fn resolve(&self, reference: &str) -> Result<Found<'_>, Ambiguous> {
        if let Some(entry) = self.by_whole_id(reference) {
            return Ok(Found::Task(entry));
        }
        let mut of_that_name = self.by_exact_name(reference).rev().peekable();
        if let Some(newest) = of_that_name.peek().copied() {
            let live = of_that_name.find(|entry| !entry.task.status().is_terminal());
            return Ok(Found::Task(live.unwrap_or(newest)));
        }
        self.by_prefix(reference)
    }

    /// Finds the task that is meant to be removed: as [`Tasks::resolve`], but a name counts only where one task
    /// has it.
    ///
    /// # Errors
    /// Several tasks have that name, or several ids begin so.
    pub fn resolve_one(&self, reference: &str) -> Result<Found<'_>, Ambiguous> {
        if let Some(entry) = self.by_whole_id(reference) {
            return Ok(Found::Task(entry));
        }
        let mut of_that_name = self.by_exact_name(reference);
        match (of_that_name.next(), of_that_name.next()) {
            (None, _) => self.by_prefix(reference),
            (Some(only), None) => Ok(Found::Task(only)),
            (Some(_), Some(_)) => Err(Ambiguous { candidates: candidates(self.by_exact_name(reference)) }),
        }
    }

    /// The tasks that a filter admits after `after`, by id, `most` at most; and whether more follow.
    pub fn list(&self, filter: &Filter, after: Option<&TaskId>, most: usize) -> (Vec<&TaskEntry>, bool) {
        let admitted = |entry: &&TaskEntry| filter.admits(entry);
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        let mut page: Vec<&TaskEntry> = match self.smallest_index(filter) {
            Some(sets) => {
                let ranges = sets.iter().map(|ids| ids.range::<TaskId, _>(from).peekable()).collect();
                let entries = InOrder(ranges).filter_map(|id| self.by_id.get(id));
                entries.filter(admitted).take(most + 1).collect()
            }
            None => {
                let entries = self.by_id.range::<TaskId, _>(from).map(|(_, entry)| entry);
                entries.filter(admitted).take(most + 1).collect()
            }
        };
        let more = page.len() > most;
        page.truncate(most);
        (page, more)
    }

    /// The sets that hold all that a filter can admit, and little else. None: all tasks.
    fn smallest_index(&self, filter: &Filter) -> Option<Vec<&BTreeSet<TaskId>>> {
        fn one(set: Option<&BTreeSet<TaskId>>) -> Vec<&BTreeSet<TaskId>> {
            set.into_iter().collect()
        }
        let of_statuses = || filter.statuses.iter().filter_map(|status| self.by_status.get(status)).collect();
        let candidates: [Option<Vec<&BTreeSet<TaskId>>>; 4] = [
            (!filter.statuses.is_empty()).then(of_statuses),
            filter.node.as_ref().map(|node| one(self.placed_on.get(node))),
            filter.name.as_ref().map(|name| one(self.by_name.get(name))),
            filter.batch.as_ref().map(|batch| one(self.by_batch.get(batch))),
        ];
        let size = |sets: &Vec<&BTreeSet<TaskId>>| sets.iter().map(|ids| ids.len()).sum::<usize>();
        candidates.into_iter().flatten().min_by_key(size)
    }

    fn by_whole_id(&self, reference: &str) -> Option<&TaskEntry> {
        self.by_id.get(&reference.parse::<TaskId>().ok()?)
    }

    fn by_exact_name(&self, reference: &str) -> impl DoubleEndedIterator<Item = &TaskEntry> {
        let name = reference.parse::<TaskName>().ok();
        let ids = name.and_then(|name| self.by_name.get(&name));
        ids.into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }

    fn by_prefix(&self, reference: &str) -> Result<Found<'_>, Ambiguous> {
        let is_prefix = (SHORTEST_PREFIX..=32).contains(&reference.len())
            && reference.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_prefix {
            return Ok(Found::Nothing);
        }
        // No id can be shorter than 20 characters: padded with the least one, a prefix is where its ids begin.
        let Ok(from) = format!("{reference:0<20}").parse::<TaskId>() else { return Ok(Found::Nothing) };
        let range = || {
            let entries = self.by_id.range(from.clone()..).map(|(_, entry)| entry);
            entries.take_while(|entry| entry.task.id.as_str().starts_with(reference))
        };
        let mut first_two = range().take(2);
        match (first_two.next(), first_two.next()) {
            (None, _) => Ok(Found::Nothing),
            (Some(only), None) => Ok(Found::Task(only)),
            (Some(_), Some(_)) => Err(Ambiguous { candidates: candidates(range()) }),
        }
    }
}

/// Several ordered sets of ids as one, in order.
struct InOrder<'a>(Vec<Peekable<btree_set::Range<'a, TaskId>>>);

impl<'a> Iterator for InOrder<'a> {
    type Item = &'a TaskId;

    fn next(&mut self) -> Option<&'a TaskId> {
        let first = self.0.iter_mut().filter_map(|ids| ids.peek().copied()).min()?;
        // A set that was named twice counts once.
        self.0.iter_mut().for_each(|ids| while ids.next_if_eq(&first).is_some() {});
        Some(first)
    }
}

fn candidates<'a>(entries: impl Iterator<Item = &'a TaskEntry>) -> Vec<TaskId> {
    entries.take(MOST_CANDIDATES).map(|entry| entry.task.id.clone()).collect()
}
