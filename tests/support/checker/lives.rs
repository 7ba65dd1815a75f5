//! The lives of containers, as their Engines told them.
//!
//! Main type: [`Lives`]. Of a container whose making nobody saw nothing is known, and its entries are left out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use podling::model::id::{AttemptKey, ContainerId, Incarnation, NodeId};

use super::fold::Moment;
use super::history::{Because, Entry, Millis, What};

/// How a container ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) moment: Moment,
    pub(super) exit_code: i32,
    pub(super) oom: bool,
    pub(super) because: Because,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let oom = if self.oom { ", out of memory" } else { "" };
        let because = match self.because {
            Because::Itself => "by itself",
            Because::Signal => "by a signal",
            Because::Engine => "with its Engine",
            Because::Unknown => "unseen",
        };
        write!(f, "{} {because}{oom}", self.exit_code)
    }
}

/// One container.
#[derive(Debug)]
pub(super) struct Life<'h> {
    pub(super) id: &'h ContainerId,
    pub(super) node: &'h NodeId,
    pub(super) key: &'h AttemptKey,
    pub(super) leased: bool,
    pub(super) made: Moment,
    pub(super) started: Option<(Moment, Option<Incarnation>)>,
    /// It was started after it had ended.
    pub(super) started_again: Option<Moment>,
    pub(super) end: Option<End>,
    pub(super) removed: Option<Millis>,
}

impl Life<'_> {
    /// When it began to run.
    pub(super) fn began(&self) -> Option<Millis> {
        self.started.map(|(moment, _)| moment.at)
    }

    /// Since when it certainly doesn't run.
    pub(super) fn over(&self) -> Option<Millis> {
        self.end.map(|end| end.moment.at).or(self.removed)
    }
}

/// All containers of ours, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Lives<'h> {
    all: Vec<Life<'h>>,
    by_id: HashMap<&'h ContainerId, usize>,
    by_key: BTreeMap<&'h AttemptKey, Vec<usize>>,
}

impl<'h> Lives<'h> {
    pub(super) fn of(entries: &'h [Entry]) -> Self {
        let mut lives = Self::default();
        for (index, Entry { at, what }) in entries.iter().enumerate() {
            lives.observe(Moment { index, at: *at }, what);
        }
        lives
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Life<'h>> {
        self.all.iter()
    }

    pub(super) fn get(&self, id: &ContainerId) -> Option<&Life<'h>> {
        self.by_id.get(id).map(|at| &self.all[*at])
    }

    /// The containers of each attempt, by task and attempt.
    pub(super) fn by_attempt(&self) -> impl Iterator<Item = (&'h AttemptKey, Vec<&Life<'h>>)> {
        self.by_key.iter().map(|(key, at)| (*key, at.iter().map(|at| &self.all[*at]).collect()))
    }

    /// The containers of one attempt.
    pub(super) fn of_attempt(&self, key: &AttemptKey) -> impl Iterator<Item = &Life<'h>> {
        self.by_key.get(key).into_iter().flatten().map(|at| &self.all[*at])
    }

    fn observe(&mut self, moment: Moment, what: &'h What) {
        if let What::Made { container, node, key, leased } = what {
            self.make(Life {
                id: container,
                node,
                key,
                leased: *leased,
                made: moment,
                started: None,
                started_again: None,
                end: None,
                removed: None,
            });
        } else if let What::Started { container, by } = what {
            if let Some(life) = self.get_mut(container) {
                if life.end.is_some() {
                    life.started_again.get_or_insert(moment);
                }
                life.started.get_or_insert((moment, *by));
            }
        } else if let What::Ended { container, exit_code, oom, because } = what {
            if let Some(life) = self.get_mut(container) {
                let end = End { moment, exit_code: *exit_code, oom: *oom, because: *because };
                life.end.get_or_insert(end);
            }
        } else if let What::Removed { container } = what
            && let Some(life) = self.get_mut(container)
        {
            life.removed.get_or_insert(moment.at);
        }
    }

    fn make(&mut self, life: Life<'h>) {
        if self.by_id.contains_key(life.id) {
            return;
        }
        self.by_id.insert(life.id, self.all.len());
        self.by_key.entry(life.key).or_default().push(self.all.len());
        self.all.push(life);
    }

    fn get_mut(&mut self, id: &ContainerId) -> Option<&mut Life<'h>> {
        self.by_id.get(id).map(|at| &mut self.all[*at])
    }
}
