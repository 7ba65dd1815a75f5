//! What clients were told: promises that are kept (I1), keys that mean one thing (I2), reads that go forwards (I4),
//! and refusals that say why (I17).

use std::collections::{BTreeSet, HashMap, HashSet};

use podling::model::id::TaskId;
use podling::model::task::TaskStatus;

use super::Findings;
use super::facts::{Call, Facts};
use super::fold::Moment;
use super::history::{Answer, Seen, What, Wish};

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    let promises = Promises::of(facts, found);
    promises.judge(facts, found);
    judge_keys(facts, found);
    judge_origins(facts, found);
    judge_specs(facts, &promises, found);
    judge_reads(facts, found);
    judge_refusals(facts, found);
}

/// The tasks whose creation was answered 201, with when, and what was asked for.
struct Promises<'h>(HashMap<&'h TaskId, (Moment, &'h str)>);

impl<'h> Promises<'h> {
    fn of(facts: &Facts<'h>, found: &mut Findings) -> Self {
        let mut promises: HashMap<&TaskId, (Moment, &str)> = HashMap::new();
        for Call { wish, answer, .. } in &facts.calls {
            let (Wish::Create { key, specs }, Some((moment, Answer::Created(ids)))) = (wish, answer) else {
                continue;
            };
            if ids.len() != specs.len() {
                let why = format!("key {key:?} asked for {} tasks, and {} were made", specs.len(), ids.len());
                found.add("I1", moment.at, &[key], why);
            }
            for (id, spec) in ids.iter().zip(specs) {
                promises.entry(id).or_insert((*moment, spec));
            }
        }
        Self(promises)
    }

    /// I1: what was promised is there, until it is removed.
    fn judge(&self, facts: &Facts<'h>, found: &mut Findings) {
        for (moment, what) in facts.entries() {
            let What::Missed { client, task } = what else { continue };
            let Some((promised, _)) = self.0.get(task).filter(|(at, _)| at.index < moment.index) else {
                continue;
            };
            if !facts.may_be_gone(task, moment.index) {
                let why = format!(
                    "client {client} found no task {task}, whose creation was answered at {} ms",
                    promised.at
                );
                found.add("I1", moment.at, &[task], why);
            }
        }
        let Some(rest) = facts.rest else { return };
        let shown: HashSet<&TaskId> = rest.tasks.iter().map(|seen| &seen.task).collect();
        for (task, (promised, _)) in &self.0 {
            if !shown.contains(task) && !facts.may_be_gone(task, rest.moment.index) {
                let why = format!(
                    "at rest there is no task {task}, whose creation was answered at {} ms",
                    promised.at
                );
                found.add("I1", rest.moment.at, &[task], why);
            }
        }
    }
}

/// I2: one key, one list of tasks, in the answers and in what was committed.
fn judge_keys(facts: &Facts<'_>, found: &mut Findings) {
    let mut lists: HashMap<&str, Vec<&TaskId>> = HashMap::new();
    let mut committed: HashSet<&str> = HashSet::new();
    let mut agree = |key, ids: Vec<_>, moment: Moment, found: &mut Findings| {
        let first = lists.entry(key).or_insert_with(|| ids.clone());
        if *first != ids {
            let why = format!("key {key:?} stands for {first:?} and for {ids:?}");
            found.add("I2", moment.at, &[&ids.first().map_or(key, |id| id.as_str())], why);
        }
    };
    for (moment, creation) in &facts.fold.creations {
        let Some(key) = creation.key.as_ref().map(|used| used.key.as_str()) else { continue };
        if committed.insert(key) {
            agree(key, creation.tasks.iter().map(|new| &new.id).collect(), *moment, found);
        } else {
            let why = format!("a second creation with key {key:?} was committed");
            let about: Vec<&dyn std::fmt::Display> = creation.tasks.iter().map(|new| &new.id as _).collect();
            found.add("I2", moment.at, &about, why);
        }
    }
    for Call { wish, answer, .. } in &facts.calls {
        if let (Wish::Create { key, .. }, Some((moment, Answer::Created(ids)))) = (wish, answer)
            && !key.is_empty()
        {
            agree(key, ids.iter().collect(), *moment, found);
        }
    }
}

/// I2: nothing was made that nobody asked for.
fn judge_origins(facts: &Facts<'_>, found: &mut Findings) {
    let mut asked: HashMap<(&str, usize), usize> = HashMap::new();
    for Call { wish, asked: moment, .. } in &facts.calls {
        if let Wish::Create { key, specs } = wish {
            asked.entry((key, specs.len())).or_insert(moment.index);
        }
    }
    for (moment, creation) in &facts.fold.creations {
        let key = creation.key.as_ref().map_or("", |used| used.key.as_str());
        let wish = asked.get(&(key, creation.tasks.len()));
        let is_timed = facts.history.terms.commits_are_timed;
        if wish.is_none_or(|wish| is_timed && *wish > moment.index) {
            let why = format!("nobody had asked for {} tasks with key {key:?}", creation.tasks.len());
            let about: Vec<&dyn std::fmt::Display> = creation.tasks.iter().map(|new| &new.id as _).collect();
            found.add("I2", moment.at, &about, why);
        }
    }
    if !facts.fold.is_known() {
        return;
    }
    let mut told = HashSet::new();
    for (moment, seen) in facts.sights() {
        if !facts.fold.tasks.contains_key(&seen.task) && told.insert(&seen.task) {
            let why = format!("task {} was shown, and no creation of it was committed", seen.task);
            found.add("I2", moment.at, &[&seen.task], why);
        }
    }
}

/// I1: a task is what was asked for.
fn judge_specs(facts: &Facts<'_>, promises: &Promises<'_>, found: &mut Findings) {
    let mut wishes: HashMap<&str, Vec<&[String]>> = HashMap::new();
    for Call { wish, .. } in &facts.calls {
        if let Wish::Create { key, specs } = wish {
            wishes.entry(key).or_default().push(specs);
        }
    }
    let mut asked: HashMap<&TaskId, BTreeSet<&str>> = HashMap::new();
    for (_, creation) in &facts.fold.creations {
        let key = creation.key.as_ref().map_or("", |used| used.key.as_str());
        for (nth, new) in creation.tasks.iter().enumerate() {
            let all = wishes.get(key).into_iter().flatten();
            asked.insert(&new.id, all.filter_map(|specs| specs.get(nth)).map(String::as_str).collect());
        }
    }
    for (task, (_, spec)) in &promises.0 {
        asked.insert(task, BTreeSet::from([*spec]));
    }
    for (moment, seen) in facts.sights() {
        let Some(specs) = asked.get(&seen.task).filter(|specs| !specs.is_empty()) else { continue };
        if !specs.contains(seen.spec.as_str()) {
            let why = format!("task {} is {:?}, and {specs:?} was asked for", seen.task, seen.spec);
            found.add("I1", moment.at, &[&seen.task], why);
        }
    }
}

/// How far a task has come within its attempt.
pub(super) const fn rank(status: TaskStatus) -> u8 {
    match status {
        TaskStatus::Pending => 0,
        TaskStatus::Scheduled => 1,
        TaskStatus::Running => 2,
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Stopped => 3,
    }
}

/// I4: what one client reads of a task never goes back, and an end stays what it was. Rest is every client's last read.
fn judge_reads(facts: &Facts<'_>, found: &mut Findings) {
    let mut last: HashMap<(u32, &TaskId), &Seen> = HashMap::new();
    let mut gone: HashSet<(u32, &TaskId)> = HashSet::new();
    for (moment, what) in facts.entries() {
        if let What::Saw { client, seen } = what {
            let reader = (*client, &seen.task);
            if gone.contains(&reader) {
                let why = format!("client {client} saw task {}, after it had found it gone", seen.task);
                found.add("I4", moment.at, &[&seen.task], why);
            }
            if let Some(before) = last.insert(reader, seen) {
                compare(*client, before, seen, moment, found);
            }
        } else if let What::Missed { client, task } = what
            && last.contains_key(&(*client, task))
        {
            gone.insert((*client, task));
        }
    }
    let Some(rest) = facts.rest else { return };
    let shown: HashMap<&TaskId, &Seen> = rest.tasks.iter().map(|seen| (&seen.task, seen)).collect();
    for ((client, task), before) in last {
        if let Some(seen) = shown.get(task) {
            compare(client, before, seen, rest.moment, found);
        }
    }
}

fn compare(client: u32, before: &Seen, after: &Seen, moment: Moment, found: &mut Findings) {
    let key = |seen: &Seen| (seen.attempt, rank(seen.status));
    let words = |seen: &Seen| {
        format!("{} in attempt {} ({})", seen.status.as_str(), seen.attempt, end_in_words(seen))
    };
    let has_ended = before.status.is_terminal();
    let is_other_end = has_ended
        && (after.attempt, after.status, after.exit_code, after.reason)
            != (before.attempt, before.status, before.exit_code, before.reason);
    if key(after) < key(before) || is_other_end {
        let why =
            format!("client {client} saw task {} {}, and then {}", after.task, words(before), words(after));
        found.add("I4", moment.at, &[&after.task], why);
    }
}

fn end_in_words(seen: &Seen) -> String {
    match (seen.exit_code, seen.reason) {
        (None, None) => "no end".to_owned(),
        (Some(code), None) => format!("exit code {code}"),
        (None, Some(reason)) => reason.as_str().to_owned(),
        (Some(code), Some(reason)) => format!("exit code {code}, {}", reason.as_str()),
    }
}

/// I17: no answer blames the server, and each that blames the client is a problem document.
fn judge_refusals(facts: &Facts<'_>, found: &mut Findings) {
    for Call { wish, answer, .. } in &facts.calls {
        let Some((moment, Answer::Refused { status, is_problem })) = answer else { continue };
        if matches!(status, 500 | 502 | 504) {
            found.add("I17", moment.at, &[], format!("{wish:?} was answered {status}"));
        } else if (400..500).contains(status) && !is_problem {
            found.add(
                "I17",
                moment.at,
                &[],
                format!("{wish:?} was answered {status} without a problem document"),
            );
        }
    }
}
