//! Stretches of time: when faults were in force, when a lease was out, and a clock that stands still meanwhile.
//!
//! Main types: [`Faults`], [`Gaps`] and [`Clock`]. All of them answer by binary search.

use std::collections::HashMap;

use super::history::{Entry, Fault, Millis, What};

/// Stretches in the order of their beginnings, each with the latest end so far.
#[derive(Debug, Default)]
struct Spans(Vec<(Millis, Millis)>);

impl Spans {
    fn of(mut spans: Vec<(Millis, Millis)>) -> Self {
        spans.sort_unstable();
        let mut latest = 0;
        for (_, end) in &mut spans {
            latest = latest.max(*end);
            *end = latest;
        }
        Self(spans)
    }

    fn touch(&self, from: Millis, to: Millis) -> bool {
        let begun = self.0.partition_point(|(begin, _)| *begin <= to);
        begun.checked_sub(1).is_some_and(|last| self.0[last].1 >= from)
    }
}

/// When which fault was in force. One that was never healed is in force to the end; a killed process is no longer dead
/// once it has begun anew.
#[derive(Debug, Default)]
pub(super) struct Faults<'h>(HashMap<(Fault, &'h str), Spans>);

impl<'h> Faults<'h> {
    /// A worker that has ended counts as killed, whoever ended it.
    pub(super) fn of(entries: &'h [Entry]) -> Self {
        let mut open: HashMap<(Fault, &str), Vec<Millis>> = HashMap::new();
        let mut closed: HashMap<(Fault, &str), Vec<(Millis, Millis)>> = HashMap::new();
        for Entry { at, what } in entries {
            if let Some(begun) = begun_by(what) {
                open.entry(begun).or_default().push(*at);
            }
            if let Some(over) = ended_by(what) {
                let begun = open.remove(&over).unwrap_or_default();
                closed.entry(over).or_default().extend(begun.into_iter().map(|from| (from, *at)));
            }
        }
        for (which, begun) in open {
            closed.entry(which).or_default().extend(begun.into_iter().map(|from| (from, Millis::MAX)));
        }
        Self(closed.into_iter().map(|(which, spans)| (which, Spans::of(spans))).collect())
    }

    /// Whether one of some faults was in force on a subject at any moment from `from` to `to`.
    pub(super) fn touch(&self, faults: &[Fault], subject: &'h str, from: Millis, to: Millis) -> bool {
        faults.iter().any(|fault| self.0.get(&(*fault, subject)).is_some_and(|spans| spans.touch(from, to)))
    }

    /// The stretches of a fault, whoever `is_meant`.
    pub(super) fn of_kind(&self, kind: Fault, is_meant: impl Fn(&str) -> bool) -> Vec<(Millis, Millis)> {
        let meant = self.0.iter().filter(|((fault, subject), _)| *fault == kind && is_meant(subject));
        meant.flat_map(|(_, spans)| spans.0.iter().copied()).collect()
    }
}

fn begun_by(what: &What) -> Option<(Fault, &str)> {
    if let What::Broke { fault, subject } = what {
        return Some((*fault, subject));
    }
    if let What::WorkerEnded { node } = what { Some((Fault::Killed, node.as_str())) } else { None }
}

fn ended_by(what: &What) -> Option<(Fault, &str)> {
    if let What::Healed { fault, subject } = what {
        return Some((*fault, subject));
    }
    if let What::WorkerBegan { node, .. } = what {
        return Some((Fault::Killed, node.as_str()));
    }
    if let What::MasterBegan { .. } = what { Some((Fault::Killed, "master")) } else { None }
}

/// A clock that stands still during some stretches.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Disjoint, in order, each with how long the clock had stood still before it.
    holes: Vec<(Millis, Millis, Millis)>,
}

impl Clock {
    pub(super) fn without(mut stretches: Vec<(Millis, Millis)>) -> Self {
        stretches.sort_unstable();
        let mut holes: Vec<(Millis, Millis, Millis)> = Vec::new();
        for (from, to) in stretches {
            match holes.last_mut() {
                Some((_, end, _)) if from <= *end => *end = to.max(*end),
                Some((begin, end, stood)) => {
                    let stood = *stood + (*end - *begin);
                    holes.push((from, to.max(from), stood));
                }
                None => holes.push((from, to.max(from), 0)),
            }
        }
        Self { holes }
    }

    /// What it shows at a moment.
    pub(super) fn read(&self, at: Millis) -> Millis {
        let begun = self.holes.partition_point(|(from, _, _)| *from <= at);
        let Some(last) = begun.checked_sub(1) else { return at };
        let (from, to, stood) = self.holes[last];
        at - stood - (at.min(to) - from)
    }

    /// How much of the time from one moment to another it counts.
    pub(super) fn between(&self, from: Millis, to: Millis) -> Millis {
        self.read(to).saturating_sub(self.read(from))
    }
}

/// A node's lease, as the answers to its beats make it.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// For each answer: where it stands in the history, when it was heard, and until when the lease lasted then.
    heard: Vec<(usize, Millis, Millis)>,
}

impl Lease {
    pub(super) fn renew(&mut self, index: usize, at: Millis, until: Millis) {
        let until = self.heard.last().map_or(until, |(_, _, before)| until.max(*before));
        self.heard.push((index, at, until));
    }

    /// The end of the lease as it was known at an entry. None: no beat was ever answered.
    pub(super) fn until(&self, index: usize) -> Option<Millis> {
        let before = self.heard.partition_point(|(heard, _, _)| *heard < index);
        before.checked_sub(1).map(|last| self.heard[last].2)
    }

    /// When the last answer before a moment was heard.
    pub(super) fn last_heard(&self, at: Millis) -> Option<Millis> {
        let before = self.heard.partition_point(|(_, heard, _)| *heard <= at);
        before.checked_sub(1).map(|last| self.heard[last].1)
    }

    /// Whether there was a moment from `from` to `to` at which the lease was out.
    pub(super) fn was_out(&self, from: Millis, to: Millis, slack: Millis) -> bool {
        // Answers are heard in order, and the end of a lease never moves back: both ends of the gaps are in order.
        let first = self.heard.partition_point(|(_, heard, _)| *heard <= from);
        let began =
            |gap: usize| gap.checked_sub(1).map_or(0, |last| self.heard[last].2.saturating_sub(slack));
        let ended = |gap: usize| self.heard.get(gap).map_or(Millis::MAX, |(_, heard, _)| *heard);
        (first..=self.heard.len()).take_while(|gap| began(*gap) <= to).any(|gap| began(gap) < ended(gap))
    }
}
