//! Waiting for many tasks at once, without asking for each of them again and again.
//!
//! A [`Roll`] knows who is waited for and what became of whom. Each look asks one [`Question`]: a few tasks one by
//! one; those of one batch as a list; any others by the list of all that live, where whoever is missing has ended
//! and is asked for once. Lists come in pages, from the oldest that is still waited for. A look is followed by a
//! pause that grows to a second, and is never shorter than four times what the look took: waiting takes a fifth of
//! one connection at most, however many there are.
//!
//! Invariant: a task is either waited for or has one fate, and a fate never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::{Outlook, Patience, pause};
use crate::api::routes;
use crate::api::wire::task::TaskView;
use crate::cli::Console;
use crate::cli::error::CliError;
use crate::cli::progress::Progress;
use crate::cli::remote::Remote;
use crate::model::id::{BatchId, TaskId};
use crate::model::task::TaskStatus;
use crate::model::time::Mono;
use crate::runtime::clock;

/// So many tasks are asked for one by one.
const FEW: usize = 8;
/// Between the first two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks that take no time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many times what a look took is paused after it.
const REST_PER_LOOK: u32 = 4;
/// As much of an id as its time takes up.
const TIME_OF_ID: usize = 10;

/// What there is to say of a task that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Its name.
    pub(crate) name: String,
    /// How it ended. None: somebody removed it before that could be seen.
    pub(crate) status: Option<TaskStatus>,
    /// The Engine's exit code.
    pub(crate) exit_code: Option<i32>,
    /// Why it failed, in words.
    pub(crate) error: Option<String>,
}

/// A task as far as waiting goes.
#[derive(Clone, Debug, Deserialize)]
struct Seen {
    task_id: TaskId,
    name: String,
    status: TaskStatus,
    exit_code: Option<i32>,
    error: Option<String>,
    detail: Option<String>,
}

impl From<TaskView> for Seen {
    fn from(task: TaskView) -> Self {
        let (name, status, exit_code) = (task.name.to_string(), task.status, task.exit_code);
        Self { task_id: task.task_id, name, status, exit_code, error: task.error, detail: task.detail }
    }
}

/// Who is waited for, and what became of whom.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    /// By id, with the last that was seen of each.
    living: BTreeMap<TaskId, (String, TaskStatus)>,
    ended: BTreeMap<TaskId, Fate>,
    /// All of them were made in this one.
    batch: Option<BatchId>,
}

/// What one look asks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    /// Nothing: nobody is waited for.
    Nothing,
    /// Each of these.
    Each(Vec<TaskId>),
    /// A list that names all who are waited for, unless they were removed.
    Batch(Stretch),
    /// A list that names those who live.
    Living(Stretch),
}

/// The part of a list that those who are waited for are in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    path: String,
    /// It begins behind this id. None: with the first.
    after: Option<String>,
    /// It ends with this id.
    last: TaskId,
}

impl Roll {
    /// Waits for these.
    pub(crate) fn of(tasks: &[TaskView]) -> Self {
        let mut batches: Vec<&Option<BatchId>> = tasks.iter().map(|task| &task.batch_id).collect();
        batches.dedup();
        let batch = if let [Some(batch)] = batches.as_slice() { Some(batch.clone()) } else { None };
        let mut roll = Self { batch, ..Self::default() };
        for task in tasks {
            roll.living.insert(task.task_id.clone(), (task.name.to_string(), task.status));
        }
        tasks.iter().for_each(|task| roll.note(task.clone().into()));
        roll
    }

    /// Waits for a batch that was just made.
    pub(crate) fn of_batch(batch: BatchId, tasks: impl Iterator<Item = (TaskId, String)>) -> Self {
        let living = tasks.map(|(id, name)| (id, (name, TaskStatus::Pending))).collect();
        Self { living, batch: Some(batch), ..Self::default() }
    }

    /// What became of a task; none while it is waited for.
    pub(crate) fn fate(&self, task: &TaskId) -> Option<&Fate> {
        self.ended.get(task)
    }

    /// A task that is still waited for: its name, and what was last seen of it.
    pub(crate) fn still(&self, task: &TaskId) -> Option<(&str, TaskStatus)> {
        self.living.get(task).map(|(name, status)| (name.as_str(), *status))
    }

    /// Whether nobody is waited for any more.
    pub(crate) fn is_over(&self) -> bool {
        self.living.is_empty()
    }

    /// How many ended otherwise than they should.
    pub(crate) fn failures(&self) -> usize {
        self.ended.values().filter(|fate| fate.status != Some(TaskStatus::Completed)).count()
    }

    /// `212 of 500 ended, 3 failed`.
    pub(crate) fn summary(&self) -> String {
        let (ended, failures) = (self.ended.len(), self.failures());
        let all = ended + self.living.len();
        let failed = if failures == 0 { String::new() } else { format!(", {failures} failed") };
        format!("{ended} of {all} ended{failed}")
    }

    fn note(&mut self, seen: Seen) {
        let Some(living) = self.living.get_mut(&seen.task_id) else { return };
        if !seen.status.is_terminal() {
            living.1 = seen.status;
            return;
        }
        self.living.remove(&seen.task_id);
        let Seen { task_id, name, status, exit_code, error, .. } = seen;
        self.ended.insert(task_id, Fate { name, status: Some(status), exit_code, error });
    }

    fn removed(&mut self, task: &TaskId) {
        if let Some((name, _)) = self.living.remove(task) {
            self.ended.insert(task.clone(), Fate { name, status: None, exit_code: None, error: None });
        }
    }

    fn question(&self) -> Question {
        let (Some(first), Some(last)) = (self.living.keys().next(), self.living.keys().next_back()) else {
            return Question::Nothing;
        };
        if self.living.len() <= FEW {
            return Question::Each(self.living.keys().cloned().collect());
        }
        let stretch = |path| Stretch { path, after: before(first), last: last.clone() };
        match &self.batch {
            Some(batch) => Question::Batch(stretch(format!("{}?batch={batch}", routes::TASKS))),
            None => Question::Living(stretch(format!("{}?status=pending,scheduled,running", routes::TASKS))),
        }
    }
}

/// An id that sorts before a task's, and after those of all tasks that were made a millisecond earlier or more.
fn before(id: &TaskId) -> Option<String> {
    let (time, rest) = id.as_str().split_at_checked(TIME_OF_ID)?;
    let before = format!("{time}{}", "0".repeat(rest.len()));
    (before.as_str() < id.as_str()).then_some(before)
}

/// Waits until all have ended or the deadline has passed. What goes wrong with the master is said; false if it is
/// gone for good.
pub(crate) fn until_all(
    remote: &Remote,
    roll: &mut Roll,
    deadline: Option<Mono>,
    console: &mut Console<'_>,
) -> bool {
    let (mut patience, mut outlook) = (Patience::default(), Outlook::new());
    let mut progress = Progress::new(clock::mono());
    let mut rest = SHORTEST_PAUSE;
    loop {
        let began = clock::mono();
        match look(remote, roll) {
            Ok(waiting) => {
                patience.answered();
                if let Some((name, detail)) = waiting {
                    progress.clear(console);
                    outlook.tell(&name, &detail, console);
                }
            }
            Err(error) => {
                progress.clear(console);
                if let Err(error) = patience.bear(error, console) {
                    console.say(error);
                    return false;
                }
            }
        }
        let now = clock::mono();
        if roll.is_over() || deadline.is_some_and(|deadline| deadline <= now) {
            progress.clear(console);
            return true;
        }
        progress.show(&roll.summary(), now, console);
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.since(now));
        pause(rest.max(now.since(began) * REST_PER_LOOK).min(left));
        rest = (rest * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Asks once. Gives one that is pending, and why.
fn look(remote: &Remote, roll: &mut Roll) -> Result<Option<(String, String)>, CliError> {
    let mut waiting = None;
    let mut see = |roll: &mut Roll, seen: Seen| {
        if seen.status == TaskStatus::Pending && waiting.is_none() && roll.living.contains_key(&seen.task_id)
        {
            waiting = seen.detail.clone().map(|detail| (seen.name.clone(), detail));
        }
        roll.note(seen);
    };
    match roll.question() {
        Question::Nothing => {}
        Question::Each(tasks) => {
            for task in tasks {
                match ask(remote, &task)? {
                    Some(seen) => see(roll, seen),
                    None => roll.removed(&task),
                }
            }
        }
        Question::Batch(stretch) => {
            let missing = list(remote, &stretch, roll, &mut see)?;
            missing.iter().for_each(|task| roll.removed(task));
        }
        Question::Living(stretch) => {
            for task in list(remote, &stretch, roll, &mut see)? {
                match ask(remote, &task)? {
                    Some(seen) => see(roll, seen),
                    None => roll.removed(&task),
                }
            }
        }
    }
    Ok(waiting)
}

/// One task. None: it was removed.
fn ask(remote: &Remote, task: &TaskId) -> Result<Option<Seen>, CliError> {
    match remote.get(&routes::task(task.as_str())) {
        Ok(seen) => Ok(Some(seen)),
        Err(error) if error.problem_code() == Some("task_not_found") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a stretch of a list, and gives those who are waited for and aren't in it.
fn list(
    remote: &Remote,
    stretch: &Stretch,
    roll: &mut Roll,
    mut see: impl FnMut(&mut Roll, Seen),
) -> Result<BTreeSet<TaskId>, CliError> {
    let mut missing: BTreeSet<TaskId> = roll.living.keys().cloned().collect();
    remote.pages_from(&stretch.path, stretch.after.as_deref(), |page| {
        let mut wants_more = true;
        for raw in page {
            let seen: Seen = serde_json::from_str(raw.get())
                .map_err(|error| CliError::Failed(format!("the master's answer makes no sense: {error}")))?;
            wants_more = seen.task_id < stretch.last;
            missing.remove(&seen.task_id);
            see(roll, seen);
        }
        Ok(wants_more)
    })?;
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;

    fn id(number: usize) -> TaskId {
        format!("01JD00{number:04}AAAAAAAAAAAAAAAA").parse().unwrap()
    }

    fn task(number: usize, batch: Option<&str>, status: TaskStatus) -> TaskView {
        let name = format!("job-{number}").parse().unwrap();
        let batch_id = batch.map(|batch| batch.parse().unwrap());
        TaskView { task_id: id(number), name, batch_id, status, ..sample::task() }
    }

    fn roll(count: usize, batch: Option<&str>) -> Roll {
        let tasks: Vec<TaskView> =
            (0..count).map(|number| task(number, batch, TaskStatus::Pending)).collect();
        Roll::of(&tasks)
    }

    const BATCH: &str = "01JDBBBBBBBBBBBBBBBBBBBBBB";

    #[test]
    fn few_are_asked_for_one_by_one_and_many_as_a_list() {
        assert_eq!(roll(0, None).question(), Question::Nothing);
        assert_eq!(roll(FEW, None).question(), Question::Each((0..FEW).map(id).collect()));
        let stretch = |query: &str| Stretch {
            path: format!("/api/v1/tasks?{query}"),
            after: Some("01JD0000000000000000000000".to_owned()),
            last: id(FEW),
        };
        let many = |batch| roll(FEW + 1, batch).question();
        assert_eq!(many(Some(BATCH)), Question::Batch(stretch(&format!("batch={BATCH}"))));
        assert_eq!(many(None), Question::Living(stretch("status=pending,scheduled,running")));
        let mut mixed: Vec<TaskView> =
            (0..FEW).map(|number| task(number, Some(BATCH), TaskStatus::Running)).collect();
        mixed.push(task(FEW, None, TaskStatus::Running));
        assert!(matches!(Roll::of(&mixed).question(), Question::Living(..)), "not all are of the batch");
    }

    #[test]
    fn a_list_begins_with_the_oldest_that_is_waited_for() {
        let mut roll = roll(30, Some(BATCH));
        for number in 0..20 {
            roll.note(task(number, Some(BATCH), TaskStatus::Completed).into());
        }
        let Question::Batch(stretch) = roll.question() else { panic!("{:?}", roll.question()) };
        let after: TaskId = stretch.after.unwrap().parse().unwrap();
        assert!(after > id(19) && after < id(20), "{after}");
    }

    #[test]
    fn an_end_is_final_and_counted() {
        let mut roll = roll(3, None);
        roll.note(task(0, None, TaskStatus::Running).into());
        assert_eq!(roll.still(&id(0)), Some(("job-0", TaskStatus::Running)));
        assert_eq!(roll.summary(), "0 of 3 ended");
        roll.note(task(0, None, TaskStatus::Completed).into());
        roll.note(task(0, None, TaskStatus::Failed).into());
        roll.note(task(9, None, TaskStatus::Failed).into());
        roll.removed(&id(0));
        assert_eq!(roll.fate(&id(0)).unwrap().status, Some(TaskStatus::Completed));
        assert_eq!(roll.summary(), "1 of 3 ended");
        roll.note(task(1, None, TaskStatus::Failed).into());
        roll.removed(&id(2));
        assert_eq!((roll.summary().as_str(), roll.is_over()), ("3 of 3 ended, 2 failed", true));
        assert_eq!(roll.question(), Question::Nothing);
    }

    #[test]
    fn who_had_ended_before_is_not_waited_for() {
        let roll = Roll::of(&[task(0, None, TaskStatus::Stopped), task(1, None, TaskStatus::Running)]);
        assert_eq!((roll.summary().as_str(), roll.is_over()), ("1 of 2 ended, 1 failed", false));
    }

    #[test]
    fn an_id_before_another_is_an_id_or_is_not_needed() {
        let first = before(&id(7)).unwrap();
        assert!(first.parse::<TaskId>().unwrap() < id(7));
        assert_eq!(before(&"01JD0000000000000000000000".parse().unwrap()), None);
    }
}
