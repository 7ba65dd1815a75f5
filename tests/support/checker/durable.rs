//! What became durable: it goes forwards (I4), is there before anybody is told (I10), is written by one master at a
//! time (I13), and comes from the node that owns the attempt (I15).

use std::collections::{HashMap, HashSet};

use podling::control::change::Change;
use podling::model::id::{AttemptKey, ContainerId, Epoch, Revision, TaskId};
use podling::model::task::Step;

use super::Findings;
use super::clients::rank;
use super::facts::{Call, Facts};
use super::fold::{Commit, Moment};
use super::history::{Answer, What, Wish};

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    for misfit in &facts.fold.misfits {
        found.add(misfit.invariant, misfit.moment.at, &[misfit.task], misfit.why.clone());
    }
    judge_restores(facts, found);
    if facts.fold.is_known() {
        judge_acknowledged(facts, found);
        judge_shown(facts, found);
        judge_rest(facts, found);
        judge_places(facts, found);
    }
    judge_masters(facts, found);
}

/// I10: a master that begins shows what the durable records come to.
fn judge_restores(facts: &Facts<'_>, found: &mut Findings) {
    for (moment, what) in facts.entries() {
        let What::Restored { shown, durable } = what else { continue };
        if shown != durable {
            let (mut shown, mut durable) = (shown.lines(), durable.lines());
            let other = loop {
                match (shown.next(), durable.next()) {
                    (Some(shown), Some(durable)) if shown == durable => {}
                    other => break other,
                }
            };
            let why = format!(
                "a master shows {:?} where the durable records say {:?}",
                other.0.unwrap_or_default(),
                other.1.unwrap_or_default()
            );
            found.add("I10", moment.at, &[&"master"], why);
        }
    }
}

/// I10: whatever was acknowledged had become durable before.
fn judge_acknowledged(facts: &Facts<'_>, found: &mut Findings) {
    let fold = &facts.fold;
    let mut created: HashMap<&TaskId, Moment> = HashMap::new();
    for (moment, creation) in &fold.creations {
        created.extend(creation.tasks.iter().map(|new| (&new.id, *moment)));
    }
    for Call { wish, answer, .. } in &facts.calls {
        let Some((answered, answer)) = answer else { continue };
        let was_durable =
            |moment: Option<Moment>| moment.is_some_and(|moment| fold.may_precede(moment, answered.index));
        let mut blame = |task: &TaskId, what: &str| {
            let why = format!("{what} of task {task} was acknowledged and is not durable");
            found.add("I10", answered.at, &[task], why);
        };
        match (wish, answer) {
            (Wish::Create { .. }, Answer::Created(ids)) => {
                for id in ids.iter().filter(|id| !was_durable(created.get(id).copied())) {
                    blame(id, "the creation");
                }
            }
            (Wish::Stop { task }, Answer::Done) => {
                let line = fold.tasks.get(task);
                let stop = line.and_then(|line| line.stop);
                let end = line.and_then(super::fold::Line::ended);
                if !was_durable(stop) && !was_durable(end) {
                    blame(task, "the stop");
                }
            }
            (Wish::Remove { task }, Answer::Done) => {
                if !was_durable(fold.tasks.get(task).and_then(|line| line.forgotten)) {
                    blame(task, "the removal");
                }
            }
            (Wish::Create { .. }, Answer::Done | Answer::Refused { .. })
            | (Wish::Stop { .. } | Wish::Remove { .. }, Answer::Created(_) | Answer::Refused { .. }) => {}
        }
    }
}

/// I10: nothing was shown of a task that wasn't durable, and at rest it is what the changes come to.
fn judge_shown(facts: &Facts<'_>, found: &mut Findings) {
    let rest = facts.rest.map(|rest| rest.moment.index);
    for (moment, seen) in facts.sights() {
        if !facts.fold.tasks.contains_key(&seen.task) {
            continue;
        }
        let shown = (seen.attempt, rank(seen.status));
        let durable = facts.fold.latest(&seen.task, moment.index);
        let is_ahead = durable.is_none_or(|(attempt, status)| shown > (attempt, rank(status)));
        let is_other = rest == Some(moment.index) && durable != Some((seen.attempt, seen.status));
        if is_ahead || is_other {
            let durable = durable.map_or_else(
                || "nothing".to_owned(),
                |(attempt, status)| format!("{} in attempt {attempt}", status.as_str()),
            );
            let why = format!(
                "task {} was shown {} in attempt {}, and {durable} was durable",
                seen.task,
                seen.status.as_str(),
                seen.attempt
            );
            found.add("I10", moment.at, &[&seen.task], why);
        }
    }
}

/// I10: at rest the tasks are those that the changes come to, and no others. What was promised is I1's to miss.
fn judge_rest(facts: &Facts<'_>, found: &mut Findings) {
    let Some(rest) = facts.rest else { return };
    let shown: HashSet<&TaskId> = rest.tasks.iter().map(|seen| &seen.task).collect();
    let answered = facts.calls.iter().filter_map(|call| match call.answer {
        Some((_, Answer::Created(ids))) => Some(ids),
        Some((_, Answer::Done | Answer::Refused { .. })) | None => None,
    });
    let promised: HashSet<&TaskId> = answered.flatten().collect();
    for (task, line) in &facts.fold.tasks {
        let wrong = match (shown.contains(task), line.forgotten) {
            (true, Some(_)) => "is there, and was durably forgotten",
            (false, None) if !promised.contains(task) => "isn't there, and was durably created",
            (true, None) | (false, _) => continue,
        };
        found.add("I10", rest.moment.at, &[task], format!("at rest task {task} {wrong}"));
    }
}

/// I13: one master at a time, and its epoch is higher than any before.
fn judge_masters(facts: &Facts<'_>, found: &mut Findings) {
    let mut running: HashSet<Epoch> = HashSet::new();
    let mut highest: Option<Epoch> = None;
    for (moment, what) in facts.entries() {
        if let What::MasterBegan { epoch } = what {
            if let Some(other) = running.iter().max() {
                let why = format!("master {epoch} opened its store while master {other} had it");
                found.add("I13", moment.at, &[&"master"], why);
            }
            if let Some(before) = highest.filter(|before| before >= epoch) {
                let why = format!("master {epoch} began after master {before}");
                found.add("I13", moment.at, &[&"master"], why);
            }
            running.insert(*epoch);
            highest = highest.max(Some(*epoch));
        } else if let What::MasterEnded { epoch } = what {
            running.remove(epoch);
        }
    }
    let mut last: Option<Revision> = None;
    for Commit { position, moment, change } in &facts.fold.commits {
        if last == Some(*position) {
            let why = format!("position {position} was written twice, again with {change:?}");
            found.add("I13", moment.at, &[&"master"], why);
        }
        last = Some(*position);
    }
}

/// I15: a container is on the node that its attempt was placed on, and what is said of an attempt is about its own
/// container.
fn judge_places(facts: &Facts<'_>, found: &mut Findings) {
    for life in facts.lives.iter() {
        let attempt = facts.fold.attempt(&life.key.task, life.key.attempt.0);
        let placed = attempt.and_then(|attempt| attempt.placed);
        let wrong = match placed {
            None => "was placed nowhere".to_owned(),
            Some((node, _)) if node != life.node => format!("was placed on {node}"),
            Some((_, moment)) if !facts.fold.may_precede(moment, life.made.index) => {
                "was placed only later".to_owned()
            }
            Some(_) => continue,
        };
        let why = format!("container {} was made on {} for {}, which {wrong}", life.id, life.node, life.key);
        found.add("I15", life.made.at, &[&life.key.task, life.node], why);
    }
    judge_reports(facts, found);
}

fn judge_reports(facts: &Facts<'_>, found: &mut Findings) {
    let mut attempts: HashMap<&TaskId, u32> = HashMap::new();
    for Commit { moment, change, .. } in &facts.fold.commits {
        let Change::Advanced { task, step } = change else { continue };
        if let Step::Place(_) = step {
            *attempts.entry(task).or_default() += 1;
        }
        let Some(container) = reported(step) else { continue };
        let Some(life) = facts.lives.get(container) else { continue };
        let attempt = attempts.get(task).copied().unwrap_or(0);
        let key = AttemptKey { task: task.clone(), attempt: podling::model::id::Attempt(attempt) };
        if *life.key != key {
            let why = format!(
                "of {key} it was taken what container {container} of {} on {} did",
                life.key, life.node
            );
            found.add("I15", moment.at, &[task, life.node], why);
        }
    }
}

fn reported(step: &Step) -> Option<&ContainerId> {
    match step {
        Step::Start { container, .. } => Some(container),
        Step::End(ending) => ending.container.as_ref(),
        Step::Place(_)
        | Step::Progress { .. }
        | Step::Refuse { .. }
        | Step::Stop(_)
        | Step::Expire { .. }
        | Step::Lose { .. }
        | Step::Reserve { .. }
        | Step::Unreserve
        | Step::Move { .. } => None,
    }
}
