//! What follows when an attempt ends: the task's own end, or another attempt.
//!
//! A task that somebody asked to stop gets none. Otherwise the loss of its node, or of its lease, is answered by
//! `on_node_lost`; the end of an attempt that is being moved by the next one; every other end by the restart policy.
//!
//! Invariant: whatever the answer, the attempt that ended is in [`Task::past`] or in the task's own [`Ended`].

use std::time::Duration;

use super::{Ended, MOST_PAST, Outcome, Past, Reason, Task, TaskState};
use crate::model::restart::{self, STEADY};
use crate::model::spec::OnNodeLost;

/// What follows the end of an attempt.
enum Next {
    /// Nothing: it is the task's end.
    Nothing,
    /// Another attempt at once, better on another node. It counts against nothing. In words.
    Elsewhere(String),
    /// A further try, after a wait.
    Again,
}

impl Task {
    /// The attempt that counts now has ended.
    pub(super) fn end_attempt(&mut self, ended: Ended) {
        match self.next(&ended) {
            Next::Nothing => self.finish(ended),
            Next::Elsewhere(why) => {
                if ended.outcome != Outcome::Stopped {
                    self.lost_on = ended.on.as_ref().map(|on| on.node.clone());
                }
                self.start_over(ended, why, None);
            }
            Next::Again => self.try_again(ended),
        }
    }

    fn next(&self, ended: &Ended) -> Next {
        if self.stop.is_some() {
            return Next::Nothing;
        }
        let node = ended.on.as_ref().map_or("", |on| on.node.as_str());
        let moves = self.spec.on_node_lost == OnNodeLost::Reschedule;
        match ended.outcome {
            Outcome::Failed(Reason::LeaseExpired) if moves => {
                Next::Elsewhere(format!("the lease of {node} ran out, which ended attempt {}", self.attempt))
            }
            // Nobody can tell from here whether the node's worker and its Engine still obey the lease.
            Outcome::Failed(Reason::NodeLost) if moves => {
                let why = ended.error.as_deref().unwrap_or("its node was lost");
                Next::Elsewhere(format!(
                    "{why}; the container of attempt {} may still run there",
                    self.attempt
                ))
            }
            // A worker that began anew knows the exit code alone of what the one before it had ended.
            Outcome::Stopped | Outcome::Failed(Reason::ExitCode) if self.moving.is_some() => {
                Next::Elsewhere(format!("attempt {} was ended to move it off {node}", self.attempt))
            }
            outcome if self.spec.restart.follows(reason(outcome), self.tries) => Next::Again,
            Outcome::Completed | Outcome::Failed(_) | Outcome::Stopped => Next::Nothing,
        }
    }

    fn try_again(&mut self, ended: Ended) {
        let ran = ended.started_at.map_or(Duration::ZERO, |start| ended.finished_at.since(start));
        self.streak = if ran >= STEADY { 1 } else { self.streak.saturating_add(1) };
        let wait = restart::backoff(&self.key(), self.streak);
        self.tries = self.tries.saturating_add(1);
        let detail = told(&ended, wait, self.tries);
        self.refused_by.clear();
        self.lost_on = None;
        self.start_over(ended, detail, Some(wait));
    }

    /// Waits for a node again.
    pub(super) fn start_over(&mut self, ended: Ended, why: String, backoff: Option<Duration>) {
        let since = ended.finished_at;
        self.remember(ended);
        self.attempt = self.attempt.next();
        self.moving = None;
        self.state = TaskState::Pending { since, detail: Some(why), backoff };
    }

    fn remember(&mut self, ended: Ended) {
        let Some(on) = ended.on else { return };
        if self.past.len() >= MOST_PAST {
            self.past.remove(0);
        }
        self.past.push(Past {
            attempt: self.attempt,
            on,
            container: ended.container,
            started_at: ended.started_at,
            finished_at: ended.finished_at,
            exit_code: ended.exit_code,
            reason: reason(ended.outcome),
            error: ended.error,
        });
    }

    /// It comes to its end, and keeps no place anywhere.
    pub(super) fn finish(&mut self, ended: Ended) {
        (self.reserved, self.moving) = (None, None);
        self.state = TaskState::Ended(ended);
    }
}

/// Why an attempt ended. None: with exit code 0.
const fn reason(outcome: Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Completed => None,
        Outcome::Failed(reason) => Some(reason),
        Outcome::Stopped => Some(Reason::Stopped),
    }
}

/// `backoff 16s (exit 137, oom, try 5)`: how long it waits, after what, in which try that happened.
fn told(ended: &Ended, wait: Duration, failed_try: u32) -> String {
    let seconds = ((wait.as_millis() + 500) / 1000).max(1);
    let code = ended.exit_code.map(|code| format!("exit {code}"));
    let word = match ended.outcome {
        Outcome::Failed(Reason::OomKilled) => Some("oom".to_owned()),
        Outcome::Failed(Reason::ExitCode) | Outcome::Completed => None,
        Outcome::Failed(reason) => Some(reason.as_str().to_owned()),
        Outcome::Stopped => Some(Reason::Stopped.as_str().to_owned()),
    };
    let after: Vec<String> = code.into_iter().chain(word).collect();
    format!("backoff {seconds}s ({}, try {failed_try})", after.join(", "))
}
