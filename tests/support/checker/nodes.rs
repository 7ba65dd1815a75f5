//! Nodes: a silent one is offline in time, and none that was heard (I11).
//!
//! Main type: [`Watch`], one node as the master sees it. Silence counts from the last beat, and from the start of the
//! master at the earliest, on a clock that stands still while the master does. Judged only where the moments at which
//! changes became durable are known, and the beats that were taken.

use std::collections::BTreeMap;

use podling::control::change::Change;
use podling::model::id::NodeId;
use podling::model::node::NodeStatus;

use super::facts::Facts;
use super::history::{Fault, Millis, What};
use super::spans::Clock;
use super::{Findings, SLACK};

/// A node that is silent for longer than its timeout is seen to be offline within so much more.
const SEEN_WITHIN: Millis = 1_500;

/// Of so many nodes it is more likely the master that is cut off, when all fall silent together.
const BRAKED_NODES: usize = 3;

/// The longest that a master sleeps between two looks at its nodes. It can't tell that from a stop, where it is shorter.
const LONGEST_LOOK: Millis = 500;

/// The longest stop that a master doesn't notice. Both are a tenth of the node timeout at most.
const LONGEST_UNNOTICED: Millis = 1_000;

/// One node, as the master sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// When it was last heard: a beat, or a change that says that it is there.
    heard: Millis,
    is_online: bool,
    /// Since when it has one full timeout again: the brake was released.
    spared: Millis,
    /// Whether this silence was found to be too long already.
    is_blamed: bool,
}

/// The master's clocks.
struct Clocks {
    /// Stands still while the master does.
    running: Clock,
    /// Stands still also while nobody can be judged, and for as long after it as a judgement may take.
    judging: Clock,
    timeout: Millis,
    lease: Millis,
    /// Since when a master runs. None: none does.
    since: Option<Millis>,
}

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    let knows_beats = facts.entries().any(|(_, what)| matches!(what, What::BeatTaken { .. }));
    if !facts.history.terms.commits_are_timed || !knows_beats {
        return;
    }
    let mut clocks = Clocks::of(facts);
    let mut nodes: BTreeMap<&NodeId, Watch> = BTreeMap::new();
    for (moment, what) in facts.entries() {
        let at = moment.at;
        if let What::MasterBegan { .. } = what {
            clocks.since = Some(at);
        } else if let What::MasterEnded { .. } = what {
            nodes.iter_mut().for_each(|(node, watch)| watch.judge_silence(node, &clocks, at, found));
            clocks.since = None;
        } else if let What::BeatTaken { node } = what {
            release_brake(&mut nodes, &clocks, at, found);
            if let Some(watch) = nodes.get_mut(node) {
                watch.judge_silence(node, &clocks, at, found);
                (watch.heard, watch.is_blamed) = (at, false);
            }
        } else if let What::Committed { change, .. } = what {
            observe(&mut nodes, change, &clocks, at, found);
        }
    }
    nodes.iter_mut().for_each(|(node, watch)| watch.judge_silence(node, &clocks, facts.end, found));
}

/// Where all of three or more nodes had fallen silent together, a beat gives every node one full timeout again (R10).
fn release_brake(nodes: &mut BTreeMap<&NodeId, Watch>, clocks: &Clocks, at: Millis, found: &mut Findings) {
    if !may_have_held(nodes, clocks, at) {
        return;
    }
    for (node, watch) in nodes {
        watch.judge_silence(node, clocks, at, found);
        watch.spared = at;
    }
}

/// Whether the brake may have been on. An offline node that holds no task counts for nothing, and which ones hold any
/// isn't known here: so any of those may be left out that were heard first.
fn may_have_held(nodes: &BTreeMap<&NodeId, Watch>, clocks: &Clocks, at: Millis) -> bool {
    let mut counted: Vec<&Watch> = nodes.values().collect();
    counted.sort_by_key(|watch| watch.heard);
    let Some(last) = counted.last().map(|watch| watch.heard) else { return false };
    let together = |first: Millis| {
        clocks.running.between(first, at) > clocks.timeout && last <= first.saturating_add(clocks.lease)
    };
    let mut rest = counted.as_slice();
    while let [first, later @ ..] = rest
        && rest.len() >= BRAKED_NODES
    {
        if together(first.heard) {
            return true;
        }
        if first.is_online {
            break;
        }
        rest = later;
    }
    false
}

fn observe<'h>(
    nodes: &mut BTreeMap<&'h NodeId, Watch>,
    change: &'h Change,
    clocks: &Clocks,
    at: Millis,
    found: &mut Findings,
) {
    match change {
        Change::Registered { registration, .. } => {
            let watch = nodes.entry(&registration.node_id).or_default();
            watch.judge_silence(&registration.node_id, clocks, at, found);
            *watch = Watch { heard: at, is_online: true, ..Watch::default() };
        }
        Change::Status { node, status: NodeStatus::Online } => {
            nodes.insert(node, Watch { heard: at, is_online: true, ..Watch::default() });
        }
        Change::Status { node, status: NodeStatus::Offline } => {
            let watch = nodes.entry(node).or_default();
            watch.judge_silence(node, clocks, at, found);
            watch.judge_offline(node, clocks, at, found);
            watch.is_online = false;
        }
        Change::NodeForgotten { node } => {
            nodes.remove(node);
        }
        Change::Created(_)
        | Change::Advanced { .. }
        | Change::Forgotten { .. }
        | Change::Availability { .. }
        | Change::TokenMade { .. }
        | Change::TokenEnded { .. } => {}
    }
}

/// The part of each stop of the master that it is certain to notice, and to hold against nobody.
fn noticed(pauses: &[(Millis, Millis)], timeout: Millis) -> Vec<(Millis, Millis)> {
    let look = LONGEST_LOOK.min(timeout / 10);
    let least = look + LONGEST_UNNOTICED.min(timeout / 10);
    let long = pauses.iter().filter(|(from, to)| to.saturating_sub(*from) > least);
    long.map(|(from, to)| (from.saturating_add(look), *to)).collect()
}

impl Clocks {
    fn of(facts: &Facts<'_>) -> Self {
        let timeout = facts.history.terms.node_timeout;
        let pauses = facts.faults.of_kind(Fault::Paused, |subject| subject == "master");
        // A worker's disk is its own affair; any other one is the store's.
        let is_workers = |subject: &str| facts.leases.keys().any(|node| node.as_str() == subject);
        let mut unfit = facts.faults.of_kind(Fault::Disk, |subject| !is_workers(subject));
        unfit.extend(&pauses);
        for (_, until) in &mut unfit {
            *until = until.saturating_add(SEEN_WITHIN);
        }
        Self {
            running: Clock::without(noticed(&pauses, timeout)),
            judging: Clock::without(unfit),
            timeout,
            lease: facts.history.terms.lease,
            since: None,
        }
    }
}

impl Watch {
    /// A node that is offline was silent for the whole timeout.
    fn judge_offline(&self, node: &NodeId, clocks: &Clocks, at: Millis, found: &mut Findings) {
        let heard = self.heard.max(clocks.since.unwrap_or(0));
        let silence = clocks.running.between(heard, at);
        if silence.saturating_add(SLACK) < clocks.timeout {
            let why = format!(
                "{node} was found offline after {silence} ms of the master's running time; the timeout is {} ms",
                clocks.timeout
            );
            found.add("I11", at, &[node, &"master"], why);
        }
    }

    /// A node that has been silent for too long isn't online any more.
    fn judge_silence(&mut self, node: &NodeId, clocks: &Clocks, at: Millis, found: &mut Findings) {
        let Some(since) = clocks.since.filter(|_| self.is_online && !self.is_blamed) else { return };
        let silence = clocks.judging.between(self.heard.max(self.spared).max(since), at);
        if silence > clocks.timeout.saturating_add(SEEN_WITHIN) {
            let why = format!(
                "{node} was still online after {silence} ms without a beat; the timeout is {} ms",
                clocks.timeout
            );
            self.is_blamed = true;
            found.add("I11", at, &[node, &"master"], why);
        }
    }
}
