//! The fold of the committed changes: what became of each task, attempt by attempt.
//!
//! Main type: [`Fold`]. It goes by the positions of the changes, and keeps for each step where in the history it
//! became durable. What a task can't do is kept too, as a [`Misfit`]: it is for `durable` to judge.
//!
//! Deliberately absent: `control::change`. An oracle that called what it judges would agree with it in its mistakes.

use std::collections::HashMap;
use std::time::Duration;

use podling::control::change::{Change, Creation};
use podling::model::id::{NodeId, Revision, TaskId};
use podling::model::restart::{Restart, RestartPolicy};
use podling::model::spec::{OnNodeLost, TaskSpec};
use podling::model::task::{Ending, MAX_REFUSALS, Reason, Step, TaskStatus};
use podling::model::time::WallTime;

use super::history::{Entry, Millis, What};

/// An attempt that ran for so long begins the waits before further tries anew.
const STEADY: Duration = Duration::from_secs(600);

/// Where something stands in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) index: usize,
    pub(super) at: Millis,
}

/// A committed change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit<'h> {
    pub(super) position: Revision,
    pub(super) moment: Moment,
    pub(super) change: &'h Change,
}

/// One attempt, as it was committed.
#[derive(Debug, Default)]
pub(super) struct Attempt<'h> {
    pub(super) placed: Option<(&'h NodeId, Moment)>,
    pub(super) ending: Option<(&'h Ending, Moment)>,
    /// It was to end, so that the next one can run elsewhere.
    pub(super) moved: Option<Moment>,
    /// It ended, was refused, or lost.
    pub(super) over: Option<Moment>,
    /// The next attempt is a further try after it: so many failed in a row, none of which ran for long.
    pub(super) streak: Option<u32>,
    /// When its container started, as its node told.
    started_at: Option<WallTime>,
}

/// One task, as it was committed.
#[derive(Debug)]
pub(super) struct Line<'h> {
    pub(super) spec: &'h TaskSpec,
    pub(super) attempts: Vec<Attempt<'h>>,
    pub(super) stop: Option<Moment>,
    pub(super) forgotten: Option<Moment>,
    /// Each (attempt, status) that it came to, the present one last. Never empty.
    states: Vec<(Moment, u32, TaskStatus)>,
    refusals: usize,
    tries: u32,
    streak: u32,
    /// It ended because its restart policy gives no further try.
    has_no_more_tries: bool,
    /// A place is kept for its next attempt.
    is_reserved: bool,
}

/// A change that what it is about can't take.
#[derive(Debug)]
pub(super) struct Misfit<'h> {
    pub(super) invariant: &'static str,
    pub(super) moment: Moment,
    pub(super) task: &'h TaskId,
    pub(super) why: String,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Fold<'h> {
    /// By position.
    pub(super) commits: Vec<Commit<'h>>,
    pub(super) tasks: HashMap<&'h TaskId, Line<'h>>,
    pub(super) creations: Vec<(Moment, &'h Creation)>,
    pub(super) misfits: Vec<Misfit<'h>>,
    /// Whether a commit stands where it became durable.
    is_timed: bool,
}

impl<'h> Fold<'h> {
    pub(super) fn of(entries: &'h [Entry], is_timed: bool) -> Self {
        let commits = entries.iter().enumerate().filter_map(|(index, Entry { at, what })| {
            let What::Committed { position, change } = what else { return None };
            Some(Commit { position: *position, moment: Moment { index, at: *at }, change })
        });
        let mut commits: Vec<Commit<'_>> = commits.collect();
        commits.sort_by_key(|commit| commit.position);
        let mut fold = Self { is_timed, ..Self::default() };
        for commit in &commits {
            fold.apply(commit.change, commit.moment);
        }
        fold.commits = commits;
        fold
    }

    /// Whether anything is known of what was committed.
    pub(super) fn is_known(&self) -> bool {
        !self.commits.is_empty()
    }

    /// Whether something may have been durable at an entry: it was, or nobody knows when it became so.
    pub(super) fn may_precede(&self, moment: Moment, index: usize) -> bool {
        !self.is_timed || moment.index < index
    }

    /// An attempt as it was committed.
    pub(super) fn attempt(&self, task: &TaskId, attempt: u32) -> Option<&Attempt<'h>> {
        self.tasks.get(task)?.attempts.get(usize::try_from(attempt).ok()?.checked_sub(1)?)
    }

    /// The latest (attempt, status) that may have been durable at an entry. None: the task may not even have been.
    pub(super) fn latest(&self, task: &TaskId, index: usize) -> Option<(u32, TaskStatus)> {
        let states = &self.tasks.get(task)?.states;
        let known = if self.is_timed {
            states.partition_point(|(moment, _, _)| moment.index < index)
        } else {
            states.len()
        };
        known.checked_sub(1).map(|last| (states[last].1, states[last].2))
    }

    fn apply(&mut self, change: &'h Change, moment: Moment) {
        match change {
            Change::Created(creation) => self.create(creation, moment),
            Change::Advanced { task, step } => {
                let taken = self.tasks.get_mut(task).ok_or("I10").and_then(|line| line.advance(step, moment));
                if let Err(invariant) = taken {
                    let state = self.tasks.get(task).map(Line::state);
                    let why = match state {
                        Some((attempt, status)) => format!(
                            "task {task} took {step:?} in attempt {attempt}, which was {}",
                            status.as_str()
                        ),
                        None => format!("task {task} took {step:?}, and there was no such task"),
                    };
                    self.misfits.push(Misfit { invariant, moment, task, why });
                }
            }
            Change::Forgotten { task } => match self.tasks.get_mut(task) {
                Some(line) if line.forgotten.is_none() => line.forgotten = Some(moment),
                Some(_) | None => {
                    let why = format!("task {task} was forgotten, and there was no such task");
                    self.misfits.push(Misfit { invariant: "I10", moment, task, why });
                }
            },
            Change::Registered { .. }
            | Change::Availability { .. }
            | Change::Status { .. }
            | Change::NodeForgotten { .. }
            | Change::TokenMade { .. }
            | Change::TokenEnded { .. } => {}
        }
    }

    fn create(&mut self, creation: &'h Creation, moment: Moment) {
        self.creations.push((moment, creation));
        for new in &creation.tasks {
            let line = Line {
                spec: &new.spec,
                attempts: vec![Attempt::default()],
                stop: None,
                forgotten: None,
                states: vec![(moment, 1, TaskStatus::Pending)],
                refusals: 0,
                tries: 0,
                streak: 0,
                has_no_more_tries: false,
                is_reserved: false,
            };
            if self.tasks.insert(&new.id, line).is_some() {
                let why = format!("task {} was created twice", new.id);
                self.misfits.push(Misfit { invariant: "I2", moment, task: &new.id, why });
            }
        }
    }
}

impl<'h> Line<'h> {
    /// The (attempt, status) that it came to.
    pub(super) fn state(&self) -> (u32, TaskStatus) {
        self.states.last().map_or((1, TaskStatus::Pending), |(_, attempt, status)| (*attempt, *status))
    }

    /// When it came to its end.
    pub(super) fn ended(&self) -> Option<Moment> {
        self.states.last().filter(|(_, _, status)| status.is_terminal()).map(|(moment, _, _)| *moment)
    }

    fn advance(&mut self, step: &'h Step, moment: Moment) -> Result<(), &'static str> {
        let (_, status) = self.state();
        let fits = self.forgotten.is_none()
            && match step {
                Step::Place(_) | Step::Expire { .. } => status == TaskStatus::Pending,
                Step::Progress { .. } | Step::Start { .. } | Step::Refuse { .. } => {
                    status == TaskStatus::Scheduled
                }
                Step::End(_) | Step::Lose { .. } => status.takes_a_place(),
                Step::Stop(_) => !status.is_terminal(),
                Step::Reserve { .. } => status.takes_a_place() && self.stop.is_none(),
                Step::Unreserve => self.is_reserved,
                // Whether there was a reason to is for `moves` to judge.
                Step::Move { .. } => status.takes_a_place(),
            };
        if !fits {
            let is_a_try = matches!(step, Step::Place(_)) && self.has_no_more_tries;
            return Err(if is_a_try { "I21" } else { "I4" });
        }
        self.take(step, moment);
        Ok(())
    }

    fn take(&mut self, step: &'h Step, moment: Moment) {
        match step {
            Step::Place(on) => {
                self.is_reserved = false;
                self.present().placed = Some((&on.node, moment));
                self.come_to(TaskStatus::Scheduled, moment);
            }
            Step::Progress { .. } => {}
            Step::Start { at, .. } => {
                self.present().started_at = Some(*at);
                self.come_to(TaskStatus::Running, moment);
            }
            Step::End(ending) => {
                let present = self.present();
                present.ending = Some((ending, moment));
                present.started_at = present.started_at.or(ending.started_at);
                self.end(ending.reason, ending.exit_code, moment);
            }
            Step::Refuse { .. } => self.refuse(moment),
            Step::Stop(_) => self.ask_to_stop(moment),
            Step::Expire { .. } => self.finish(TaskStatus::Failed, moment),
            Step::Lose { .. } => self.lose(moment),
            Step::Reserve { .. } => self.is_reserved = true,
            Step::Unreserve => self.is_reserved = false,
            Step::Move { .. } => self.present().moved = Some(moment),
        }
    }

    fn end(&mut self, reason: Option<Reason>, code: Option<i32>, moment: Moment) {
        let is_by_itself = matches!(reason, None | Some(Reason::ExitCode | Reason::OomKilled));
        if reason == Some(Reason::LeaseExpired) && self.moves_on() {
            self.start_over(moment);
        } else if is_by_itself && code == Some(0) {
            self.try_again_or(TaskStatus::Completed, None, moment);
        } else if self.ends_by_move(reason) {
            self.start_over(moment);
        } else if self.stop.is_some() || reason == Some(Reason::Stopped) {
            self.finish(TaskStatus::Stopped, moment);
        } else {
            let reason = reason.or(Some(if code.is_some() { Reason::ExitCode } else { Reason::Engine }));
            self.try_again_or(TaskStatus::Failed, reason, moment);
        }
    }

    /// Another try where the restart policy gives one, else the end.
    fn try_again_or(&mut self, status: TaskStatus, reason: Option<Reason>, moment: Moment) {
        let Restart { policy, max } = self.spec.restart;
        let may_help = match reason {
            None => policy == RestartPolicy::Always,
            Some(reason) => {
                matches!(reason.as_str(), "exit_code" | "oom_killed" | "image_pull" | "engine" | "start")
            }
        };
        let is_left = max.is_none_or(|max| self.tries < max);
        if policy != RestartPolicy::Never && may_help && is_left && self.stop.is_none() {
            self.tries += 1;
            self.refusals = 0;
            self.streak = if self.ran() >= STEADY { 1 } else { self.streak + 1 };
            self.present().streak = Some(self.streak);
            self.start_over(moment);
        } else {
            self.has_no_more_tries = policy != RestartPolicy::Never;
            self.finish(status, moment);
        }
    }

    /// For how long its present attempt ran, by its node's clock.
    fn ran(&mut self) -> Duration {
        let present = self.present();
        let ended = present.ending.map(|(ending, _)| ending.at);
        present.started_at.zip(ended).map_or(Duration::ZERO, |(began, ended)| ended.since(began))
    }

    /// Whether its present attempt ended because it was to, so that the next one can run elsewhere. A worker that began
    /// anew knows the code alone of what the one before it had ended.
    fn ends_by_move(&mut self, reason: Option<Reason>) -> bool {
        let may_be = matches!(reason, Some(Reason::Stopped | Reason::ExitCode));
        may_be && self.stop.is_none() && self.present().moved.is_some()
    }

    fn refuse(&mut self, moment: Moment) {
        if self.stop.is_some() {
            self.finish(TaskStatus::Stopped, moment);
        } else if self.refusals >= MAX_REFUSALS {
            self.try_again_or(TaskStatus::Failed, Some(Reason::Engine), moment);
        } else {
            self.refusals += 1;
            self.start_over(moment);
        }
    }

    fn ask_to_stop(&mut self, moment: Moment) {
        self.stop.get_or_insert(moment);
        self.is_reserved = false;
        if self.state().1 == TaskStatus::Pending {
            self.finish(TaskStatus::Stopped, moment);
        }
    }

    fn lose(&mut self, moment: Moment) {
        if self.moves_on() {
            self.start_over(moment);
        } else {
            let is_asked = self.stop.is_some();
            self.finish(if is_asked { TaskStatus::Stopped } else { TaskStatus::Failed }, moment);
        }
    }

    /// Whether it gets another attempt where its node, or the lease, is lost.
    fn moves_on(&self) -> bool {
        self.spec.on_node_lost == OnNodeLost::Reschedule && self.stop.is_none()
    }

    fn start_over(&mut self, moment: Moment) {
        self.present().over = Some(moment);
        self.attempts.push(Attempt::default());
        let attempt = self.state().0.saturating_add(1);
        self.states.push((moment, attempt, TaskStatus::Pending));
    }

    fn finish(&mut self, status: TaskStatus, moment: Moment) {
        self.is_reserved = false;
        self.present().over = Some(moment);
        self.come_to(status, moment);
    }

    fn come_to(&mut self, status: TaskStatus, moment: Moment) {
        let attempt = self.state().0;
        self.states.push((moment, attempt, status));
    }

    fn present(&mut self) -> &mut Attempt<'h> {
        if self.attempts.is_empty() {
            self.attempts.push(Attempt::default());
        }
        let last = self.attempts.len() - 1;
        &mut self.attempts[last]
    }
}
