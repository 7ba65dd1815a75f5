//! The beginning of a walk: have the image, make the container, start it.
//!
//! Invariant: a container is made under a name that is made of cluster, task and attempt, so the Engine itself refuses
//! a second one; what it holds under that name is taken up if it is this attempt's. `start` is asked for only on a
//! container that never ran. An attempt is refused (and so tried elsewhere) only where no start was ever asked for, or
//! the Engine said that it did not start.

use std::sync::Arc;
use std::time::Duration;

use super::observe::{self, FailedStart};
use super::watch::{Look, Purpose};
use super::{Answer, Ask, Facts, Note, Place, PullNews, Walk};
use crate::control::reconcile::Order;
use crate::engine::{ContainerRequest, EngineError, Observed};
use crate::model::id::ContainerId;
use crate::model::spec::PullPolicy;
use crate::model::task::{Ending, Reason};
use crate::worker::hold::Cause;
use crate::worker::step::Step;

/// How often a creation is tried at an Engine that doesn't answer, a pause apart, before another node may try.
pub(super) const MOST_TRIES: u32 = 20;

/// How often an image is fetched for one attempt: it may be removed again before the container is made.
const MOST_PULLS: u32 = 3;

/// A container that an earlier process made is looked at twice, so far apart, before it is started: that process may
/// have asked for its start.
pub(super) const SECOND_LOOK: Duration = Duration::from_secs(1);

/// How often a walk that waits for a lease looks whether there is one.
const LEASE_LOOK: Duration = Duration::from_millis(100);

/// A container that is being made.
#[derive(Debug)]
pub(super) struct Making {
    request: ContainerRequest,
    tries: u32,
    pulls: u32,
}

/// A container that is to be started.
#[derive(Clone, Debug)]
pub(super) struct Starting {
    pub(super) container: ContainerId,
    /// Another process made it, or may have.
    pub(super) by_another: bool,
}

impl Walk {
    /// Makes the container, fetching the image where that is needed.
    pub(super) fn make(&mut self, order: &Order, facts: &Facts) -> Ask {
        let request = ContainerRequest {
            key: self.key.clone(),
            spec: Arc::clone(&order.spec),
            index: order.index,
            log_max_bytes: self.log_max_bytes,
        };
        let making = Box::new(Making { request, tries: 0, pulls: 0 });
        match order.spec.pull {
            PullPolicy::Always => self.pull(making),
            PullPolicy::Missing | PullPolicy::Never => self.create(making, facts),
        }
    }

    fn pull(&mut self, making: Box<Making>) -> Ask {
        let detail = format!("pulling {}", making.request.spec.image);
        self.busy_with(detail, making)
    }

    /// Says what the attempt is busy with, and pulls on.
    fn busy_with(&mut self, detail: String, making: Box<Making>) -> Ask {
        let pull = Ask::Pull(making.request.spec.image.clone());
        let tell = Ask::Tell(Step::Progress(detail.clone()));
        self.go_after(Ask::Note(Note::Progress(detail)), [tell, pull], Place::Pulling(making))
    }

    pub(super) fn pulled(&mut self, making: Box<Making>, answer: Answer, facts: &Facts) -> Ask {
        let Answer::Pull(news) = answer else { return Ask::Leave };
        match news {
            PullNews::Done(Ok(())) => self.create(making, facts),
            PullNews::Done(Err(error @ EngineError::Pull { .. })) => {
                self.failed(Reason::ImagePull, error.to_string(), facts)
            }
            PullNews::Done(Err(EngineError::Forbidden { why })) => self.failed(Reason::Policy, why, facts),
            PullNews::Done(Err(error)) => self.refuse(error.to_string(), facts),
            PullNews::Progress(_) | PullNews::None if self.must_end(facts) => self.end_unstarted(facts),
            PullNews::Progress(progress) => self.busy_with(format!("pulling {progress}"), making),
            PullNews::None => {
                let pull = Ask::Pull(making.request.spec.image.clone());
                self.go(Place::Pulling(making), pull)
            }
        }
    }

    pub(super) fn create(&mut self, making: Box<Making>, facts: &Facts) -> Ask {
        if self.must_end(facts) {
            return self.end_unstarted(facts);
        }
        let create = Ask::Create(Box::new(making.request.clone()));
        self.go(Place::Creating(making), create)
    }

    pub(super) fn created(&mut self, mut making: Box<Making>, answer: Answer, facts: &Facts) -> Ask {
        let Answer::Created(created) = answer else { return Ask::Leave };
        let spec = &making.request.spec;
        match created {
            Ok(container) => self.made(container, false),
            Err(EngineError::NameTaken { .. }) => self.take_up(making),
            Err(EngineError::ImageMissing { image }) if spec.pull == PullPolicy::Never => {
                let why = format!("{image} is not on this node, and it is never to be pulled");
                self.failed(Reason::ImagePull, why, facts)
            }
            Err(EngineError::ImageMissing { .. }) if making.pulls < MOST_PULLS => {
                making.pulls += 1;
                self.pull(making)
            }
            Err(EngineError::Rejected { why, .. }) => self.failed(Reason::InvalidSpec, why, facts),
            Err(EngineError::Forbidden { why }) => self.failed(Reason::Policy, why, facts),
            Err(error) if error.is_retryable() && making.tries < MOST_TRIES => {
                making.tries += 1;
                self.pause(Place::CreateAgain(making))
            }
            Err(error) => self.refuse(error.to_string(), facts),
        }
    }

    /// The container is there. `by_another`: it is to be looked at before it is started.
    fn made(&mut self, container: ContainerId, by_another: bool) -> Ask {
        self.container = Some(container.clone());
        let note = Ask::Note(Note::Container(container.clone()));
        self.go(Place::Made(Starting { container, by_another }), note)
    }

    /// The Engine holds a container under this attempt's name: it is this attempt's, made by a call whose answer was
    /// lost, or it is somebody else's.
    fn take_up(&mut self, making: Box<Making>) -> Ask {
        self.go(Place::TakingUp(making), Ask::Inspect(self.key.container_name()))
    }

    pub(super) fn take_up_again(&mut self, making: Box<Making>, facts: &Facts) -> Ask {
        if facts.is_leaving { Ask::Leave } else { self.take_up(making) }
    }

    pub(super) fn taken_up(&mut self, mut making: Box<Making>, answer: Answer, facts: &Facts) -> Ask {
        let Answer::Inspected(seen) = answer else { return Ask::Leave };
        match seen {
            Ok(seen) if seen.key.as_ref() == Some(&self.key) => {
                let may_have_run = !observe::is_fresh(&seen);
                self.made(seen.id, may_have_run)
            }
            Ok(_) => {
                let name = self.key.container_name();
                self.refuse(format!("somebody else's container is called {name}"), facts)
            }
            Err(error) if error.is_retryable() => self.pause(Place::TakeUpAgain(making)),
            // The Engine keeps the name for a container that it is still making, or it has just gone.
            Err(EngineError::NotFound { .. }) if making.tries < MOST_TRIES => {
                making.tries += 1;
                self.pause(Place::CreateAgain(making))
            }
            Err(error) => self.refuse(error.to_string(), facts),
        }
    }

    /// An earlier process made the container: it is looked at, and once more after a while.
    pub(super) fn start_what_was_made(&mut self, container: ContainerId) -> Ask {
        let starting = Starting { container, by_another: true };
        self.look(Look::of(starting, Purpose::FirstLook))
    }

    /// What comes before every start: a look, where somebody else may have asked for it already.
    pub(super) fn before_start(&mut self, starting: Starting, facts: &Facts) -> Ask {
        if facts.is_leaving {
            return Ask::Leave;
        }
        if starting.by_another || facts.pulled.is_some() {
            return self.look(Look::of(starting, Purpose::BeforeStart));
        }
        self.take_slot(starting, facts)
    }

    pub(super) fn take_slot(&mut self, starting: Starting, facts: &Facts) -> Ask {
        if self.must_end(facts) {
            return self.end_unstarted(facts);
        }
        self.go(Place::TakingSlot(starting), Ask::Slot)
    }

    /// Order: the slot first, because waiting for one may take longer than the lease lasts; and what ran out meanwhile
    /// doesn't start under the next lease.
    pub(super) fn start(&mut self, starting: Starting, facts: &Facts) -> Ask {
        if self.must_end(facts) {
            return self.before_start(starting, facts);
        }
        if !facts.may_start {
            return self.go(Place::AwaitingLease(starting), Ask::AwaitLease(LEASE_LOOK));
        }
        let start = Ask::Start(starting.container.clone());
        self.go(Place::Starting(starting), start)
    }

    /// Waits until the lease is renewed, or the attempt is to end: because the lease ran out meanwhile, or a set
    /// doesn't name it any more.
    pub(super) fn await_lease(&mut self, starting: Starting, facts: &Facts) -> Ask {
        if facts.is_leaving {
            return Ask::Leave;
        }
        if facts.may_start || facts.pulled.is_some() {
            return self.before_start(starting, facts);
        }
        self.go(Place::AwaitingLease(starting), Ask::AwaitLease(LEASE_LOOK))
    }

    pub(super) fn started(&mut self, starting: Starting, answer: Answer, facts: &Facts) -> Ask {
        let Answer::Started(started) = answer else { return Ask::Leave };
        match started {
            Ok(()) => self.look(Look::of(starting, Purpose::AfterStart)),
            Err(EngineError::NotFound { .. }) => self.vanished(None, facts),
            Err(EngineError::Forbidden { why }) => self.failed(Reason::Policy, why, facts),
            Err(EngineError::Failed { why, .. } | EngineError::Rejected { why, .. }) => {
                self.look(Look::of(starting, Purpose::AfterFailure(why)))
            }
            // It may have started for all we know: look, as often as it takes.
            Err(_) => self.pause(Place::LookAgain(Look::of(starting, Purpose::AfterBreak))),
        }
    }

    /// What was seen of a container that isn't fresh any more.
    pub(super) fn started_or_broken(&mut self, seen: Observed, facts: &Facts) -> Ask {
        if seen.started_at.is_some() {
            return self.live(seen, facts);
        }
        let why = seen.error.clone();
        self.failed_start(&seen, why, facts)
    }

    pub(super) fn failed_start(&mut self, seen: &Observed, why: String, facts: &Facts) -> Ask {
        let (reason, exit_code) = match observe::failed_start(&why, seen.exit_code) {
            FailedStart::Port => return self.take_back(seen.id.clone(), why),
            FailedStart::Command(code) => (Reason::Start, Some(code)),
            FailedStart::Engine => (Reason::Engine, None),
        };
        self.over(Step::Ended(Ending {
            at: facts.now.wall,
            reason: Some(reason),
            exit_code,
            error: Some(why),
            container: Some(seen.id.clone()),
            started_at: None,
        }))
    }

    /// A port is taken by somebody else: the container goes before the attempt is refused, so that nothing is left of
    /// it here when another node gets the next one.
    fn take_back(&mut self, container: ContainerId, why: String) -> Ask {
        let remove = Ask::Remove(container.clone());
        self.go(Place::TakingBack(container, why), remove)
    }

    pub(super) fn taken_back(
        &mut self,
        container: ContainerId,
        why: String,
        answer: &Answer,
        facts: &Facts,
    ) -> Ask {
        let Answer::Removed(removed) = answer else { return Ask::Leave };
        if removed.is_err() {
            return self.pause(Place::TakeBackAgain(container, why));
        }
        self.container = None;
        self.refuse(why, facts)
    }

    pub(super) fn take_back_again(&mut self, container: ContainerId, why: String, facts: &Facts) -> Ask {
        if facts.is_leaving { Ask::Leave } else { self.take_back(container, why) }
    }

    fn must_end(&self, facts: &Facts) -> bool {
        facts.is_leaving || facts.pulled.is_some()
    }

    /// Ends the attempt here and now: nothing of it runs yet. Leaves it where the process stops.
    fn end_unstarted(&mut self, facts: &Facts) -> Ask {
        match facts.pulled.filter(|_| !facts.is_leaving) {
            None => Ask::Leave,
            Some(Cause::Lease) => {
                self.failed(Reason::LeaseExpired, "the node's lease ran out before it ran".to_owned(), facts)
            }
            Some(Cause::Asked) => {
                self.failed(Reason::Stopped, "it was to stop before it ran".to_owned(), facts)
            }
        }
    }

    /// The end of an attempt that never had a container that ran.
    pub(super) fn failed(&mut self, reason: Reason, why: String, facts: &Facts) -> Ask {
        self.over(Step::Ended(Ending {
            at: facts.now.wall,
            reason: Some(reason),
            exit_code: None,
            error: Some(why),
            container: None,
            started_at: None,
        }))
    }

    /// No container was started, and none will be: another node may try.
    fn refuse(&mut self, why: String, facts: &Facts) -> Ask {
        self.over(Step::Refused(why, facts.now.wall))
    }
}
