//! How attempts ended: what is said of it is what the Engine says (I9).

use podling::model::id::{Attempt, AttemptKey};
use podling::model::task::{Ending, Reason, TaskStatus};

use super::Findings;
use super::containers::{was_asked, was_moved};
use super::facts::Facts;
use super::fold::Moment;
use super::history::{Because, Fault, Millis, Seen};
use super::lives::{End, Life};

/// What Docker calls an end that it doesn't remember.
const FORGOTTEN: i32 = 255;

/// For how long an Engine may not have written down an end that it told of.
const UNWRITTEN: Millis = 2_000;

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    judge_committed(facts, found);
    for (moment, seen) in facts.sights() {
        judge_shown(facts, moment, seen, found);
    }
}

/// The end of an attempt's only container. None: there was none, or nobody saw it end, or there are several (I5).
fn end_of<'f, 'h>(facts: &'f Facts<'h>, key: &AttemptKey) -> Option<(&'f Life<'h>, End)> {
    let mut lives = facts.lives.of_attempt(key);
    let life = lives.next()?;
    if lives.next().is_some() {
        return None;
    }
    life.end.map(|end| (life, end))
}

fn judge_committed(facts: &Facts<'_>, found: &mut Findings) {
    for (task, line) in &facts.fold.tasks {
        for (attempt, number) in line.attempts.iter().zip(1..) {
            let Some((ending, moment)) = attempt.ending else { continue };
            let key = AttemptKey { task: (*task).clone(), attempt: Attempt(number) };
            judge_vanished(facts, &key, ending, moment, found);
            let Some((life, end)) = end_of(facts, &key) else { continue };
            let Some(code) = ending.exit_code else { continue };
            let reasons = Reasons { facts, life, end, told: moment };
            if is_forgotten(facts, life, end, code) {
                continue;
            }
            if code != end.exit_code {
                let why =
                    format!("{key} ended with {code} as it was committed, and with {end} at the Engine");
                found.add("I9", moment.at, &[task, life.node], why);
            } else if !reasons.allow(ending) {
                let reason = ending.reason.map_or("no reason", Reason::as_str);
                let why =
                    format!("{key} ended for {reason} as it was committed, and with {end} at the Engine");
                found.add("I9", moment.at, &[task, life.node], why);
            }
        }
    }
}

/// Whether an Engine may have forgotten an end: killed just after it told of one, Docker hasn't written that down, and
/// calls it 255 when it is back. That code is its own then.
fn is_forgotten(facts: &Facts<'_>, life: &Life<'_>, end: End, code: i32) -> bool {
    let (from, to) = (end.moment.at, end.moment.at.saturating_add(UNWRITTEN));
    code == FORGOTTEN && facts.faults.touch(&[Fault::EngineKilled], life.node.as_str(), from, to)
}

/// A container that is said to have vanished doesn't run then.
fn judge_vanished(facts: &Facts<'_>, key: &AttemptKey, ending: &Ending, told: Moment, found: &mut Findings) {
    let is_said = ending.exit_code.is_none() && ending.reason == Some(Reason::Engine);
    if !is_said || !facts.history.terms.commits_are_timed {
        return;
    }
    for life in facts.lives.of_attempt(key) {
        let had_begun = life.started.is_some_and(|(began, _)| began.index < told.index);
        let ends_later = life.end.is_some_and(|end| end.moment.index > told.index);
        if had_begun && ends_later {
            let why = format!("{key} was said to be over without an exit code, and {} ran", life.id);
            found.add("I9", told.at, &[&key.task, life.node], why);
        }
    }
}

/// What an end may be said to come from.
struct Reasons<'f, 'h> {
    facts: &'f Facts<'h>,
    life: &'f Life<'h>,
    end: End,
    told: Moment,
}

impl Reasons<'_, '_> {
    fn allow(&self, ending: &Ending) -> bool {
        let reason = ending.reason;
        match self.end.because {
            // The Engine may not know any more what became of it.
            Because::Engine if reason == Some(Reason::Engine) => true,
            Because::Itself | Because::Engine => {
                self.is_by_code(reason) || self.is_by_order(reason, self.was_to_end())
            }
            Because::Signal => {
                self.is_by_order(reason, true) || (self.is_by_code(reason) && self.has_blind_worker())
            }
            Because::Unknown => true,
        }
    }

    /// A user wanted its end, or it was to be moved.
    fn was_to_end(&self) -> bool {
        let end = self.as_it_may_seem();
        was_asked(self.facts, &self.life.key.task, end) || was_moved(self.facts, self.life, end)
    }

    /// The end, as late as its worker may think that it was: where a wall clock was set, a code that a signal leaves
    /// is taken for that signal's, whichever came first.
    fn as_it_may_seem(&self) -> End {
        if matches!(self.end.exit_code, 137 | 143) && self.was_touched_by(&[Fault::Clock]) {
            End { moment: self.when_told(), ..self.end }
        } else {
            self.end
        }
    }

    /// As the code and the OOM flag say.
    fn is_by_code(&self, reason: Option<Reason>) -> bool {
        match (self.end.exit_code, self.end.oom) {
            (0, _) => reason.is_none(),
            (_, true) => reason == Some(Reason::OomKilled),
            (126 | 127, false) => matches!(reason, Some(Reason::ExitCode | Reason::Start)),
            (_, false) => reason == Some(Reason::ExitCode),
        }
    }

    /// As somebody wanted it, a user or the lease.
    fn is_by_order(&self, reason: Option<Reason>, is_asked: bool) -> bool {
        match reason {
            Some(Reason::Stopped) => is_asked,
            Some(Reason::LeaseExpired) => {
                let from = self.life.began().unwrap_or(self.life.made.at);
                self.life.leased
                    && self.facts.lease_was_out(self.life.node, from, self.as_it_may_seem().moment.at)
            }
            Some(
                Reason::ExitCode
                | Reason::OomKilled
                | Reason::ImagePull
                | Reason::Engine
                | Reason::Start
                | Reason::InvalidSpec
                | Reason::NoNode
                | Reason::NodeLost
                | Reason::Policy,
            )
            | None => false,
        }
    }

    /// Whether the worker that tells of the end may not know of the signal: it could not be written down for the next
    /// process, or the clocks that say which came first were set.
    fn has_blind_worker(&self) -> bool {
        self.was_touched_by(&[Fault::Disk, Fault::Clock])
    }

    /// Whether the node had such a fault while its end may have been judged.
    fn was_touched_by(&self, faults: &[Fault]) -> bool {
        let (node, made) = (self.life.node, self.life.made);
        self.facts.faults.touch(faults, node.as_str(), made.at, self.when_told().at)
    }

    /// When the end was committed, at the latest.
    fn when_told(&self) -> Moment {
        let Facts { history, end, .. } = self.facts;
        if history.terms.commits_are_timed {
            self.told
        } else {
            Moment { index: history.entries.len(), at: *end }
        }
    }
}

/// The code that is shown is the Engine's, and fits the status.
fn judge_shown(facts: &Facts<'_>, moment: Moment, seen: &Seen, found: &mut Findings) {
    let Some(code) = seen.exit_code else { return };
    let is_odd = match seen.status {
        TaskStatus::Completed => code != 0,
        TaskStatus::Failed => code == 0,
        TaskStatus::Stopped => false,
        TaskStatus::Pending | TaskStatus::Scheduled | TaskStatus::Running => true,
    };
    if is_odd {
        let why = format!("task {} was shown {} with exit code {code}", seen.task, seen.status.as_str());
        found.add("I9", moment.at, &[&seen.task], why);
        return;
    }
    let key = AttemptKey { task: seen.task.clone(), attempt: Attempt(seen.attempt) };
    let differs =
        |(life, end): &(&Life<'_>, End)| end.exit_code != code && !is_forgotten(facts, life, *end, code);
    if let Some((life, end)) = end_of(facts, &key).filter(differs) {
        let why = format!("{key} was shown with exit code {code}, and it ended with {end} at the Engine");
        found.add("I9", moment.at, &[&seen.task, life.node], why);
    }
}
