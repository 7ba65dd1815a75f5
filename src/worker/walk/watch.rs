//! The middle of a walk: look at the container, say that it runs, and wait until it doesn't.

use std::time::Duration;

use super::launch::{MOST_TRIES, SECOND_LOOK, Starting};
use super::{Answer, Ask, Facts, Note, Place, Walk, observe};
use crate::canary::{Canary, sings};
use crate::engine::{EngineError, Observed};
use crate::model::id::ContainerId;
use crate::model::task::{Ending, Reason};
use crate::worker::step::Step;

/// How long one wait at the Engine lasts. A container may run for longer: then the next wait begins.
const ONE_WAIT: Duration = Duration::from_secs(3600);

/// A look at the container.
#[derive(Clone, Debug)]
pub(super) struct Look {
    starting: Starting,
    purpose: Purpose,
    /// How often it was not there.
    misses: u32,
}

/// Why the container is looked at.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// An earlier process made it, and may have asked for its start.
    FirstLook,
    /// It is to be started, if it never was.
    BeforeStart,
    /// It was started.
    AfterStart,
    /// It may have been started.
    AfterBreak,
    /// It was not started, in the Engine's words.
    AfterFailure(String),
    /// An earlier process started it.
    Found,
    /// It ended, or the wait for that broke off.
    AfterWait,
}

impl Look {
    pub(super) const fn of(starting: Starting, purpose: Purpose) -> Self {
        Self { starting, purpose, misses: 0 }
    }

    /// The same, of a container that the Engine lists and doesn't know by its id: it is still making it (Docker Engine
    /// 20.10), for a process that is gone. None: it is none of that sort, or has been so for too long.
    fn after_a_miss(mut self) -> Option<Self> {
        self.misses += 1;
        (matches!(self.purpose, Purpose::FirstLook) && self.misses < MOST_TRIES).then_some(self)
    }

    pub(super) const fn found(container: ContainerId) -> Self {
        Self::of(Starting { container, by_another: true }, Purpose::Found)
    }
}

impl Walk {
    /// Looks at the container, however long it takes until the Engine answers.
    pub(super) fn look(&mut self, look: Look) -> Ask {
        let inspect = Ask::Inspect(look.starting.container.to_string());
        self.go(Place::Looking(look), inspect)
    }

    pub(super) fn look_again(&mut self, look: Look, facts: &Facts) -> Ask {
        if facts.is_leaving { Ask::Leave } else { self.look(look) }
    }

    pub(super) fn looked(&mut self, look: Look, answer: Answer, facts: &Facts) -> Ask {
        let Answer::Inspected(seen) = answer else { return Ask::Leave };
        let seen = match seen {
            Ok(seen) => seen,
            Err(EngineError::NotFound { .. }) => {
                return match look.after_a_miss() {
                    Some(look) => self.pause(Place::LookAgain(look)),
                    None => self.vanished(None, facts),
                };
            }
            Err(_) => return self.pause(Place::LookAgain(look)),
        };
        let Look { starting, purpose, .. } = look;
        let is_fresh = observe::is_fresh(&seen) || (sings(Canary::StartsAgain) && !observe::runs(&seen));
        match purpose {
            Purpose::FirstLook if is_fresh => self.go(Place::SecondLook(starting), Ask::Pause(SECOND_LOOK)),
            Purpose::BeforeStart if is_fresh => self.take_slot(starting, facts),
            Purpose::AfterBreak if is_fresh => self.before_start(starting, facts),
            Purpose::FirstLook | Purpose::BeforeStart | Purpose::AfterBreak => {
                self.started_or_broken(seen, facts)
            }
            Purpose::AfterFailure(why) if !observe::runs(&seen) => self.failed_start(&seen, why, facts),
            Purpose::AfterStart | Purpose::AfterFailure(_) | Purpose::Found => self.live(seen, facts),
            Purpose::AfterWait => self.wait(seen, facts),
        }
    }

    /// The container was started: says that it runs, if it still does.
    pub(super) fn live(&mut self, seen: Observed, facts: &Facts) -> Ask {
        if !observe::runs(&seen) {
            return self.wait(seen, facts);
        }
        let id = seen.id.clone();
        let running = Step::Running(id.clone(), seen.started_at.unwrap_or(facts.now.wall));
        let wait = Ask::Wait(id.clone(), ONE_WAIT);
        let place = Place::Waiting(Box::new(seen));
        self.go_after(Ask::Note(Note::Running(id)), [Ask::Tell(running), wait], place)
    }

    /// Waits while the container runs; then the attempt has ended.
    fn wait(&mut self, seen: Observed, facts: &Facts) -> Ask {
        if observe::runs(&seen) {
            let wait = Ask::Wait(seen.id.clone(), ONE_WAIT);
            return self.go(Place::Waiting(Box::new(seen)), wait);
        }
        self.over(Step::Ended(observe::ending(&seen, facts)))
    }

    pub(super) fn waited(&mut self, seen: &Observed, answer: Answer, facts: &Facts) -> Ask {
        let Answer::Waited(waited) = answer else { return Ask::Leave };
        let starting = Starting { container: seen.id.clone(), by_another: true };
        let look = Look::of(starting, Purpose::AfterWait);
        match waited {
            Ok(true) => self.look(look),
            Ok(false) => self.wait(seen.clone(), facts),
            Err(EngineError::NotFound { .. }) => self.vanished(Some(seen), facts),
            Err(_) => self.pause(Place::LookAgain(look)),
        }
    }

    /// The container is gone, and not by our doing.
    pub(super) fn vanished(&mut self, last_seen: Option<&Observed>, facts: &Facts) -> Ask {
        self.over(Step::Ended(Ending {
            at: facts.now.wall,
            reason: Some(Reason::Engine),
            exit_code: None,
            error: Some("container vanished".to_owned()),
            container: last_seen.map(|seen| seen.id.clone()),
            started_at: last_seen.and_then(|seen| seen.started_at),
        }))
    }

    /// Nobody watched the container, if there is one: it is killed.
    pub(super) fn kill(&mut self, why: String, answer: Answer, facts: &Facts) -> Ask {
        match answer {
            Answer::Inspected(Ok(seen)) if seen.key.as_ref() == Some(&self.key) => {
                self.go(Place::Killing(why), Ask::Kill(seen.id))
            }
            Answer::Inspected(_) => self.abandoned(why, facts),
            Answer::Done
            | Answer::Pull(_)
            | Answer::Created(_)
            | Answer::Started(_)
            | Answer::Waited(_)
            | Answer::Killed(_)
            | Answer::Removed(_)
            | Answer::Collected(_)
            | Answer::Verdict(_)
            | Answer::Gone => Ask::Leave,
        }
    }

    pub(super) fn abandoned(&mut self, why: String, facts: &Facts) -> Ask {
        self.failed(Reason::Engine, why, facts)
    }
}
