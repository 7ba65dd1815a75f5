//! The end of a walk: the master hears of it, the log goes to the worker's disk, the container goes.
//!
//! Order: what no container tells is kept on disk before it is reported; the container goes after the acknowledgement;
//! the ledger lets go after the container.

use super::{Answer, Ask, Facts, Note, Place, Walk};
use crate::api::wire::agent::Verdict;
use crate::canary::{Canary, sings};
use crate::engine::EngineError;
use crate::worker::step::Step;
use crate::worker::walk::LogFailure;

/// How often a log is tried to be stored: a disk that is full may have room again.
pub(super) const MOST_TRIES: u32 = 5;

impl Walk {
    /// The attempt is over: says so, and keeps that where nothing else tells it.
    pub(super) fn over(&mut self, step: Step) -> Ask {
        let has_run = match &step {
            Step::Ended(ending) => ending.started_at.is_some(),
            Step::Refused(..) => false,
            Step::Progress(_) | Step::Running(..) => return Ask::Leave,
        };
        if !step.is_told_by_a_container() {
            self.queue.push_back(Ask::KeepEnd(step.clone()));
        }
        let next = match self.container.clone().filter(|_| has_run) {
            Some(container) => {
                self.place = Place::Collecting(0);
                Ask::CollectLog(container)
            }
            None => {
                self.place = Place::AwaitingVerdict;
                Ask::AwaitVerdict
            }
        };
        self.queue.extend([Ask::TellEnd(step), next]);
        Ask::Note(Note::Ended)
    }

    /// An Engine that doesn't answer is asked again; a log that can't be had, or can't be stored, is given up and said
    /// to be so.
    pub(super) fn collected(&mut self, tries: u32, answer: Answer) -> Ask {
        let Answer::Collected(collected) = answer else { return Ask::Leave };
        if sings(Canary::RemovesUnheard) {
            return self.acknowledged(&Answer::Verdict(Verdict::Accepted));
        }
        let (why, may_try_again) = match collected {
            Ok(()) => return self.go(Place::AwaitingVerdict, Ask::AwaitVerdict),
            Err(LogFailure::Engine(error)) => (error.to_string(), error.is_retryable()),
            Err(LogFailure::Store { why, is_retryable }) => (why, is_retryable && tries < MOST_TRIES),
        };
        if may_try_again {
            return self.pause(Place::CollectAgain(tries.saturating_add(1)));
        }
        self.go_after(Ask::MissLog(why), [Ask::AwaitVerdict], Place::AwaitingVerdict)
    }

    pub(super) fn collect_again(&mut self, tries: u32, facts: &Facts) -> Ask {
        match self.container.clone().filter(|_| !facts.is_leaving) {
            Some(container) => self.go(Place::Collecting(tries), Ask::CollectLog(container)),
            None => Ask::Leave,
        }
    }

    /// The master has answered for good.
    pub(super) fn acknowledged(&mut self, answer: &Answer) -> Ask {
        let Answer::Verdict(verdict) = answer else { return Ask::Leave };
        let remove = self.remove(*verdict);
        self.queue.extend([Ask::DropEnd, remove]);
        Ask::Note(Note::Acknowledged)
    }

    /// Removes the container. One that was made by a call whose answer was lost is found by its name, if it is this
    /// attempt's: somebody else's of that name is none of ours.
    fn remove(&mut self, verdict: Verdict) -> Ask {
        match self.container.clone() {
            Some(container) => self.go(Place::Removing(verdict), Ask::Remove(container)),
            None => self.go(Place::Finding(verdict), Ask::Inspect(self.key.container_name())),
        }
    }

    pub(super) fn remove_what_was_found(&mut self, verdict: Verdict, answer: Answer) -> Ask {
        let Answer::Inspected(found) = answer else { return Ask::Leave };
        match found {
            Ok(found) if found.key.as_ref() == Some(&self.key) => {
                self.go(Place::Removing(verdict), Ask::Remove(found.id))
            }
            Ok(_) | Err(EngineError::NotFound { .. }) => self.release(verdict),
            Err(_) => self.pause(Place::RemoveAgain(verdict)),
        }
    }

    pub(super) fn removed(&mut self, verdict: Verdict, answer: &Answer) -> Ask {
        let Answer::Removed(removed) = answer else { return Ask::Leave };
        match removed {
            Ok(()) => self.release(verdict),
            Err(_) => self.pause(Place::RemoveAgain(verdict)),
        }
    }

    pub(super) fn remove_again(&mut self, verdict: Verdict, facts: &Facts) -> Ask {
        if facts.is_leaving { Ask::Leave } else { self.remove(verdict) }
    }

    /// Nothing is left. Where a stranger is gone, a master that waits for that is to hear of it now.
    fn release(&mut self, verdict: Verdict) -> Ask {
        match verdict {
            Verdict::Stale | Verdict::Unknown => self.queue.extend([Ask::Nudge, Ask::Finish]),
            Verdict::Accepted | Verdict::Known | Verdict::Retry => self.queue.push_back(Ask::Finish),
        }
        Ask::Note(Note::Released)
    }
}
