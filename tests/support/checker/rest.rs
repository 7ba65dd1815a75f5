//! The cluster at rest (I3, I8), and what holds throughout (I16, I20).

use std::collections::{HashMap, HashSet};

use podling::model::id::{AttemptKey, TaskId};
use podling::model::task::TaskStatus;

use super::Findings;
use super::facts::{Call, Facts, Rest};
use super::history::{Answer, Fault, Left, Millis, Seen, What, Wish};

/// What keeps a server from answering, or its answer from coming through. Nothing else is an excuse.
const SILENCES: [Fault; 4] = [Fault::Killed, Fault::Paused, Fault::Cut, Fault::Noise];

/// How long after such a fault a server may still be coming back.
const COMES_BACK: Millis = 1_000;

/// Within this time a task that fits is placed.
const PLACED_WITHIN: Millis = 1_000;

/// Beyond it, because who watches looks only so often, and a placement counts only once the disk has it.
const LATE_LOOK: Millis = 500;

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    if let Some(rest) = facts.rest {
        judge_tasks(facts, rest, found);
        judge_containers(rest, found);
    }
    for (moment, what) in facts.entries() {
        if let What::ForeignTouched { container } = what {
            let why = format!("container {container}, which isn't ours, was ended or removed");
            found.add("I8", moment.at, &[container], why);
        } else if let What::Probed { subject, took } = what {
            judge_probe(facts, moment.at, subject, *took, found);
        } else if let What::Unplaced { task, waited } = what
            && *waited > PLACED_WITHIN + LATE_LOOK
        {
            let why = format!("task {task} has waited {waited} ms although a node has room for it");
            found.add("I20", moment.at, &[task], why);
        }
    }
}

/// I3: each task has ended, or runs, or waits with a reason; and what was to stop has ended.
fn judge_tasks(facts: &Facts<'_>, rest: Rest<'_>, found: &mut Findings) {
    let stopped = facts.calls.iter().filter_map(|Call { wish, answer, .. }| match (wish, answer) {
        (Wish::Stop { task }, Some((_, Answer::Done))) => Some(task),
        (Wish::Stop { .. } | Wish::Create { .. } | Wish::Remove { .. }, _) => None,
    });
    let stopped: HashSet<&TaskId> = stopped.collect();
    let mut shown: HashSet<&TaskId> = HashSet::new();
    for seen in rest.tasks {
        let wrong = match seen.status {
            TaskStatus::Pending if seen.detail.is_none() => {
                Some("is pending, and nothing says why".to_owned())
            }
            TaskStatus::Scheduled => Some("is still scheduled".to_owned()),
            TaskStatus::Pending | TaskStatus::Running if stopped.contains(&seen.task) => {
                Some(format!("is {}, and was to stop", seen.status.as_str()))
            }
            TaskStatus::Pending
            | TaskStatus::Running
            | TaskStatus::Completed
            | TaskStatus::Failed
            | TaskStatus::Stopped => (!shown.insert(&seen.task)).then(|| "is there twice".to_owned()),
        };
        if let Some(wrong) = wrong {
            found.add("I3", rest.moment.at, &[&seen.task], format!("at rest task {} {wrong}", seen.task));
        }
    }
}

/// I8: at rest each container is that of a live task, and each task that runs has its one.
fn judge_containers(rest: Rest<'_>, found: &mut Findings) {
    let tasks: HashMap<&TaskId, &Seen> = rest.tasks.iter().map(|seen| (&seen.task, seen)).collect();
    let mut owned: HashSet<&AttemptKey> = HashSet::new();
    for left in rest.containers {
        let Some(wrong) = owner(&tasks, left)
            .err()
            .or_else(|| (!owned.insert(&left.key)).then(|| format!("is not the only one of {}", left.key)))
        else {
            continue;
        };
        let why =
            format!("at rest container {} of {} is on {}, and {wrong}", left.container, left.key, left.node);
        found.add("I8", rest.moment.at, &[&left.key.task, &left.node], why);
    }
    let runs: HashSet<(&TaskId, u32)> = rest
        .containers
        .iter()
        .filter(|left| left.runs && owner(&tasks, left).is_ok())
        .map(|left| (&left.key.task, left.key.attempt.0))
        .collect();
    for seen in rest.tasks.iter().filter(|seen| seen.status == TaskStatus::Running) {
        if !runs.contains(&(&seen.task, seen.attempt)) {
            let why = format!(
                "at rest task {} is running in attempt {}, and no container of it runs",
                seen.task, seen.attempt
            );
            found.add("I8", rest.moment.at, &[&seen.task], why);
        }
    }
}

/// Whether a container belongs to a live task, and if not, why.
fn owner(tasks: &HashMap<&TaskId, &Seen>, left: &Left) -> Result<(), String> {
    let Some(seen) = tasks.get(&left.key.task) else {
        return Err("there is no such task".to_owned());
    };
    if !seen.status.takes_a_place() {
        return Err(format!("the task is {}", seen.status.as_str()));
    }
    if seen.attempt != left.key.attempt.0 {
        return Err(format!("the task is at attempt {}", seen.attempt));
    }
    if seen.node.as_ref() != Some(&left.node) {
        return Err(format!("the task is on {:?}", seen.node));
    }
    match &seen.container {
        Some(other) if *other != left.container => Err(format!("the task's is {other}")),
        Some(_) | None => Ok(()),
    }
}

/// I16: /healthz answers in time, unless its server was stopped, dead, or out of reach.
fn judge_probe(facts: &Facts<'_>, at: Millis, subject: &str, took: Option<Millis>, found: &mut Findings) {
    let most = facts.history.terms.healthz;
    if took.is_some_and(|took| took <= most) {
        return;
    }
    let from = at.saturating_sub(took.unwrap_or(0) + COMES_BACK);
    if facts.faults.touch(&SILENCES, subject, from, at) {
        return;
    }
    let took = took.map_or_else(|| "gave no answer".to_owned(), |took| format!("took {took} ms"));
    found.add("I16", at, &[&subject], format!("/healthz of {subject} {took}, and {most} ms are allowed"));
}
