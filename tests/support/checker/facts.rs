//! What the families judge by: the history, with what several of them look up in it gathered once.
//!
//! Main type: [`Facts`].

use std::collections::{HashMap, HashSet};

use podling::model::id::{ContainerId, NodeId, TaskId};

use super::fold::{Fold, Moment};
use super::history::{Answer, Entry, History, Left, Millis, Seen, What, Wish};
use super::lives::Lives;
use super::spans::{Faults, Lease};

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'h> {
    pub(super) asked: Moment,
    pub(super) wish: &'h Wish,
    pub(super) answer: Option<(Moment, &'h Answer)>,
}

/// The cluster at rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'h> {
    pub(super) moment: Moment,
    pub(super) tasks: &'h [Seen],
    pub(super) containers: &'h [Left],
}

/// The history, and what is looked up in it.
pub(super) struct Facts<'h> {
    pub(super) history: &'h History,
    /// In the order in which they were sent.
    pub(super) calls: Vec<Call<'h>>,
    pub(super) fold: Fold<'h>,
    pub(super) lives: Lives<'h>,
    pub(super) faults: Faults<'h>,
    pub(super) leases: HashMap<&'h NodeId, Lease>,
    pub(super) rest: Option<Rest<'h>>,
    /// The containers that ran at rest.
    pub(super) still_run: HashSet<&'h ContainerId>,
    /// Where a user first asked that a task be stopped, or removed.
    pub(super) stops: HashMap<&'h TaskId, usize>,
    pub(super) removals: HashMap<&'h TaskId, usize>,
    pub(super) end: Millis,
}

impl<'h> Facts<'h> {
    pub(super) fn of(history: &'h History) -> Self {
        let entries = history.entries.as_slice();
        let calls = calls(entries);
        let (mut stops, mut removals) = (HashMap::new(), HashMap::new());
        for call in &calls {
            match call.wish {
                Wish::Create { .. } => {}
                Wish::Stop { task } => drop(stops.entry(task).or_insert(call.asked.index)),
                Wish::Remove { task } => drop(removals.entry(task).or_insert(call.asked.index)),
            }
        }
        let rest = rest(entries);
        let left = rest.map_or(&[][..], |rest| rest.containers);
        Self {
            history,
            calls,
            fold: Fold::of(entries, history.terms.commits_are_timed),
            lives: Lives::of(entries),
            faults: Faults::of(entries),
            leases: leases(history),
            rest,
            still_run: left.iter().filter(|left| left.runs).map(|left| &left.container).collect(),
            stops,
            removals,
            end: entries.iter().map(|entry| entry.at).max().unwrap_or(0),
        }
    }

    /// All entries, with where they stand.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Moment, &'h What)> + use<'h> {
        let entries = self.history.entries.iter().enumerate();
        entries.map(|(index, entry)| (Moment { index, at: entry.at }, &entry.what))
    }

    /// Everything that was shown of tasks, to clients and at rest.
    pub(super) fn sights(&self) -> impl Iterator<Item = (Moment, &'h Seen)> + use<'h> {
        self.entries().flat_map(|(moment, what)| {
            let shown = if let What::Saw { seen, .. } = what {
                std::slice::from_ref(seen)
            } else if let What::Rested { tasks, .. } = what {
                tasks.as_slice()
            } else {
                &[]
            };
            shown.iter().map(move |seen| (moment, seen))
        })
    }

    /// Whether a task may be gone at an entry: its removal was asked for before, or is known to have become durable.
    pub(super) fn may_be_gone(&self, task: &TaskId, index: usize) -> bool {
        let is_forgotten = self.fold.tasks.get(task).is_some_and(|line| line.forgotten.is_some());
        is_forgotten || self.removals.get(task).is_some_and(|asked| *asked < index)
    }

    /// Whether a node's lease was out at any moment from `from` to `to`. True also where nothing is known of it.
    pub(super) fn lease_was_out(&self, node: &NodeId, from: Millis, to: Millis) -> bool {
        self.leases.get(node).is_none_or(|lease| lease.was_out(from, to, super::SLACK))
    }
}

fn calls(entries: &[Entry]) -> Vec<Call<'_>> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut by_number: HashMap<u64, usize> = HashMap::new();
    for (index, Entry { at, what }) in entries.iter().enumerate() {
        let moment = Moment { index, at: *at };
        if let What::Asked { call, wish, .. } = what {
            by_number.insert(*call, calls.len());
            calls.push(Call { asked: moment, wish, answer: None });
        } else if let What::Answered { call, answer } = what
            && let Some(asked) = by_number.get(call)
        {
            calls[*asked].answer.get_or_insert((moment, answer));
        }
    }
    calls
}

fn leases(history: &History) -> HashMap<&NodeId, Lease> {
    let mut leases: HashMap<&NodeId, Lease> = HashMap::new();
    for (index, Entry { at, what }) in history.entries.iter().enumerate() {
        if let What::BeatAnswered { node, sent } = what {
            let until = sent.saturating_add(history.terms.lease);
            leases.entry(node).or_default().renew(index, *at, until);
        }
    }
    leases
}

fn rest(entries: &[Entry]) -> Option<Rest<'_>> {
    entries.iter().enumerate().rev().find_map(|(index, Entry { at, what })| {
        let What::Rested { tasks, containers } = what else { return None };
        Some(Rest { moment: Moment { index, at: *at }, tasks, containers })
    })
}
