//! What the Engines did: one container for an attempt (I5), which nothing but a reason ends (I6), attempts that don't
//! overlap (I7), and starts by those alone who may (I12).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use podling::control::change::Change;
use podling::model::id::{ContainerId, Incarnation, NodeId, TaskId};
use podling::model::time::WallTime;

use super::Findings;
use super::facts::Facts;
use super::fold::{Commit, Moment};
use super::history::{Because, Fault, Millis, What};
use super::lives::{End, Life};

/// What lets a leased container outlive its lease: nobody was there to end it.
const LETS_OUTLIVE: [Fault; 4] = [Fault::Killed, Fault::Paused, Fault::EngineKilled, Fault::EngineHung];

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    judge_counts(facts, found);
    judge_identities(facts, found);
    judge_signals(facts, found);
    judge_overlaps(facts, found);
    judge_starts(facts, found);
}

/// I5: one attempt, one container that was started, once.
fn judge_counts(facts: &Facts<'_>, found: &mut Findings) {
    for (key, lives) in facts.lives.by_attempt() {
        let mut started: Vec<&Life<'_>> = lives.into_iter().filter(|life| life.started.is_some()).collect();
        started.sort_by_key(|life| life.started.map(|(moment, _)| moment.index));
        let Some((first, rest)) = started.split_first() else { continue };
        for life in rest {
            let why = format!(
                "{key} was started a second time: as container {} on {} at {:?} ms, and as {} on {}",
                first.id,
                first.node,
                first.began().unwrap_or_default(),
                life.id,
                life.node
            );
            found.add("I5", life.began().unwrap_or_default(), &[&key.task, life.node], why);
        }
        for life in started {
            if let Some(again) = life.started_again {
                let why = format!("container {} of {key} was started again after it had ended", life.id);
                found.add("I5", again.at, &[&key.task, life.node], why);
            }
        }
    }
}

/// I6: the container and the start of an attempt stay what they were once shown.
fn judge_identities(facts: &Facts<'_>, found: &mut Findings) {
    let mut containers: HashMap<(&TaskId, u32), &ContainerId> = HashMap::new();
    let mut starts: HashMap<(&TaskId, u32), WallTime> = HashMap::new();
    for (moment, seen) in facts.sights() {
        let attempt = (&seen.task, seen.attempt);
        let mut blame = |what: String| {
            let why = format!("attempt {} of task {} was shown with {what}", seen.attempt, seen.task);
            found.add("I6", moment.at, &[&seen.task], why);
        };
        if let Some(container) = &seen.container
            && let Some(before) = other(&mut containers, attempt, container)
        {
            blame(format!("container {before}, and then with {container}"));
        }
        if let Some(started) = seen.started_at
            && let Some(before) = other(&mut starts, attempt, started)
        {
            let (before, started) = (before.unix_millis(), started.unix_millis());
            blame(format!("the start {before}, and then with {started}"));
        }
    }
}

/// What was first known under a key, if it was something else.
fn other<K: Eq + std::hash::Hash, V: PartialEq + Copy>(
    known: &mut HashMap<K, V>,
    key: K,
    value: V,
) -> Option<V> {
    match known.entry(key) {
        Slot::Occupied(first) => Some(*first.get()).filter(|first| *first != value),
        Slot::Vacant(slot) => {
            slot.insert(value);
            None
        }
    }
}

/// I6: no container is told to end without a reason. A lost node is one that only the changes tell of.
fn judge_signals(facts: &Facts<'_>, found: &mut Findings) {
    if !facts.fold.is_known() {
        return;
    }
    let closed = closed_nodes(facts);
    for life in facts.lives.iter() {
        let Some(end) = life.end.filter(|end| end.because == Because::Signal) else { continue };
        let task = &life.key.task;
        let was_closed =
            closed.get(life.node).is_some_and(|at| facts.fold.may_precede(*at, end.moment.index));
        if was_asked(facts, task, end)
            || was_over(facts, life, end)
            || was_moved(facts, life, end)
            || was_closed
        {
            continue;
        }
        let from = life.began().unwrap_or(life.made.at);
        if life.leased && facts.lease_was_out(life.node, from, end.moment.at) {
            continue;
        }
        let why = format!(
            "container {} of {} was told to end on {}, and nobody had asked for it",
            life.id, life.key, life.node
        );
        found.add("I6", end.moment.at, &[task, life.node], why);
    }
}

/// A user had asked for the end of the task, or for its removal.
pub(super) fn was_asked(facts: &Facts<'_>, task: &TaskId, end: End) -> bool {
    let before = |asked: Option<&usize>| asked.is_some_and(|asked| *asked < end.moment.index);
    before(facts.stops.get(task)) || before(facts.removals.get(task))
}

/// The attempt was over, or its task forgotten, before the container was.
fn was_over(facts: &Facts<'_>, life: &Life<'_>, end: End) -> bool {
    let fold = &facts.fold;
    let attempt = fold.attempt(&life.key.task, life.key.attempt.0);
    let forgotten = fold.tasks.get(&life.key.task).and_then(|line| line.forgotten);
    let over = attempt.and_then(|attempt| attempt.over);
    [over, forgotten].into_iter().flatten().any(|moment| fold.may_precede(moment, end.moment.index))
}

/// The attempt was to end, so that the next one can run where a place is kept for it.
pub(super) fn was_moved(facts: &Facts<'_>, life: &Life<'_>, end: End) -> bool {
    let attempt = facts.fold.attempt(&life.key.task, life.key.attempt.0);
    let moved = attempt.and_then(|attempt| attempt.moved);
    moved.is_some_and(|moment| facts.fold.may_precede(moment, end.moment.index))
}

/// Nodes whose operator took them out, since when.
fn closed_nodes<'h>(facts: &Facts<'h>) -> HashMap<&'h NodeId, Moment> {
    let mut closed = HashMap::new();
    for Commit { moment, change, .. } in &facts.fold.commits {
        match change {
            Change::NodeForgotten { node } => {
                closed.entry(node).or_insert(*moment);
            }
            Change::Availability { .. }
            | Change::Created(_)
            | Change::Advanced { .. }
            | Change::Forgotten { .. }
            | Change::Registered { .. }
            | Change::Status { .. }
            | Change::TokenMade { .. }
            | Change::TokenEnded { .. } => {}
        }
    }
    closed
}

/// I7: attempts of one task don't overlap in time.
fn judge_overlaps(facts: &Facts<'_>, found: &mut Findings) {
    let mut by_task: HashMap<&TaskId, Vec<&Life<'_>>> = HashMap::new();
    for life in facts.lives.iter().filter(|life| life.started.is_some()) {
        by_task.entry(&life.key.task).or_default().push(life);
    }
    for mut lives in by_task.into_values() {
        lives.sort_by_key(|life| life.started.map(|(moment, _)| moment.index));
        let mut running: Vec<(&Life<'_>, Millis)> = Vec::new();
        for life in lives {
            let began = life.began().unwrap_or_default();
            running.retain(|(_, until)| *until > began);
            for (older, until) in &running {
                if older.key.attempt != life.key.attempt && !may_overlap(facts, older, began, *until) {
                    blame_overlap(older, life, *until, found);
                }
            }
            running.extend(runs_until(facts, life).map(|until| (life, until)));
        }
    }
}

/// Until when a container ran. None: it ended at a moment that nobody saw.
fn runs_until(facts: &Facts<'_>, life: &Life<'_>) -> Option<Millis> {
    let may_run = !life.is_removed && (facts.rest.is_none() || facts.still_run.contains(life.id));
    life.end.map(|end| end.moment.at).or(may_run.then_some(Millis::MAX))
}

/// Whether nobody could have ended the older container in time: it ran under a lease, and since that was last renewed
/// its worker or its Engine was stopped, hung, or dead.
fn may_overlap(facts: &Facts<'_>, older: &Life<'_>, began: Millis, until: Millis) -> bool {
    let heard = facts.leases.get(older.node).and_then(|lease| lease.last_heard(began)).unwrap_or(0);
    let from = heard.saturating_sub(facts.history.terms.lease);
    older.leased && facts.faults.touch(&LETS_OUTLIVE, older.node.as_str(), from, until)
}

fn blame_overlap(older: &Life<'_>, newer: &Life<'_>, until: Millis, found: &mut Findings) {
    let began = newer.began().unwrap_or_default();
    let until = if until == Millis::MAX { "still runs".to_owned() } else { format!("ran until {until} ms") };
    let why = format!(
        "{} began on {} in container {}, while {} {until} on {} in container {}",
        newer.key, newer.node, newer.id, older.key, older.node, older.id
    );
    found.add("I7", began, &[&newer.key.task, newer.node, older.node], why);
}

/// I12: what runs under a lease is started while that is held, and by the node's newest worker.
fn judge_starts(facts: &Facts<'_>, found: &mut Findings) {
    let mut newest: HashMap<&NodeId, Incarnation> = HashMap::new();
    for (moment, what) in facts.entries() {
        if let What::WorkerBegan { node, incarnation } = what {
            newest.insert(node, *incarnation);
            continue;
        }
        let What::Started { container, by } = what else { continue };
        let Some(life) = facts.lives.get(container) else { continue };
        let until = facts.leases.get(life.node).and_then(|lease| lease.until(moment.index));
        let is_known = !facts.leases.is_empty();
        if life.leased && is_known && until.is_none_or(|until| until <= moment.at) {
            let until =
                until.map_or_else(|| "was never given".to_owned(), |until| format!("ended at {until} ms"));
            let why = format!(
                "container {container} of {} was started, and the lease of {} {until}",
                life.key, life.node
            );
            found.add("I12", moment.at, &[&life.key.task, life.node], why);
        }
        let Some((by, now)) = by.zip(newest.get(life.node).copied()).filter(|(by, now)| by != now) else {
            continue;
        };
        let why = format!(
            "container {container} of {} was started by incarnation {by} of {}, which was at {now}",
            life.key, life.node
        );
        found.add("I12", moment.at, &[&life.key.task, life.node], why);
    }
}
