//! The walk of one attempt through its life: pull, create, start, wait, tell, collect, remove. Pure.
//!
//! Main type: [`Walk`]. It says what is to be done next, one [`Ask`] at a time, and goes on by the [`Answer`]; who
//! carries that out decides nothing. It has two halves: the first, up to the end of the attempt, is in `launch.rs`
//! (make it and start it) and `watch.rs` (until it ends); the second, in `farewell.rs`, tells the master, keeps the log,
//! and removes the container once the master has acknowledged.
//!
//! Invariant: a container that ran is removed only after its attempt's end was acknowledged and its log was collected or
//! given up. One that the Engine could not start for want of a port goes before its attempt is refused. A walk that is
//! dropped at any point loses nothing: what the Engine holds and what was kept on disk say where a later one goes on.
//! Deliberately absent: threads, channels, clocks, disks, the Engine itself.

mod ask;
mod farewell;
mod launch;
mod observe;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use crate::api::wire::agent::Verdict;
use crate::control::reconcile::Order;
use crate::engine::{ContainerKey, Observed};
use crate::model::id::ContainerId;
use crate::worker::step::Step;

pub use ask::{Answer, Ask, Facts, LogFailure, Note, PullNews};
use launch::{Making, Starting};
use watch::Look;

/// How long a walk pauses before it asks an Engine that didn't answer again.
pub const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Where in its life an attempt is when its walk begins.
#[derive(Clone, Debug)]
pub enum What {
    /// At the beginning.
    New(Order),
    /// An earlier process made its container and did not start it.
    Made(ContainerId),
    /// An earlier process started its container.
    Found(ContainerId),
    /// At its end, which the master is to hear.
    Over(Box<Step>),
}

/// The walk of one attempt.
#[derive(Debug)]
pub struct Walk {
    key: ContainerKey,
    log_max_bytes: u64,
    /// The container, once it is known.
    container: Option<ContainerId>,
    place: Place,
    /// What comes before the place's own ask: its answers say nothing.
    queue: VecDeque<Ask>,
}

/// Which answer a walk waits for.
#[derive(Debug)]
enum Place {
    /// It has not begun.
    Unbegun(What),
    /// The image's.
    Pulling(Box<Making>),
    /// The creation's.
    Creating(Box<Making>),
    /// A pause's, before the next creation.
    CreateAgain(Box<Making>),
    /// What the Engine holds under this attempt's name.
    TakingUp(Box<Making>),
    /// A pause's, before that is asked again.
    TakeUpAgain(Box<Making>),
    /// The ledger's, which knows the container now.
    Made(Starting),
    /// A pause's, before a container that an earlier process made is looked at again.
    SecondLook(Starting),
    /// The slot's.
    TakingSlot(Starting),
    /// The lease's.
    AwaitingLease(Starting),
    /// The start's.
    Starting(Starting),
    /// What the container is like.
    Looking(Look),
    /// A pause's, before that is asked (again).
    LookAgain(Look),
    /// The removal's, of a container that can't be started here.
    TakingBack(ContainerId, String),
    /// A pause's, before that is tried again.
    TakeBackAgain(ContainerId, String),
    /// The end's.
    Waiting(Box<Observed>),
    /// What there is to kill, after nobody watched.
    Abandoning(String),
    /// The kill's.
    Killing(String),
    /// The log's, tried so often.
    Collecting(u32),
    /// A pause's, before the log is tried again.
    CollectAgain(u32),
    /// The verdict.
    AwaitingVerdict,
    /// What there is to remove.
    Finding(Verdict),
    /// The removal's.
    Removing(Verdict),
    /// A pause's, before the removal is tried again.
    RemoveAgain(Verdict),
    /// None: the walk ended.
    Over,
}

impl Walk {
    /// Of one attempt, from where it is. `log_max_bytes`: how much of its log the Engine is to keep.
    pub const fn new(key: ContainerKey, from: What, log_max_bytes: u64) -> Self {
        Self { key, log_max_bytes, container: None, place: Place::Unbegun(from), queue: VecDeque::new() }
    }

    /// Begins: the first thing to do.
    pub fn begin(&mut self, facts: &Facts) -> Ask {
        match mem::replace(&mut self.place, Place::Over) {
            Place::Unbegun(What::New(order)) => self.make(&order, facts),
            Place::Unbegun(What::Made(container)) => {
                self.container = Some(container.clone());
                self.start_what_was_made(container)
            }
            Place::Unbegun(What::Found(container)) => {
                self.container = Some(container.clone());
                self.look(Look::found(container))
            }
            Place::Unbegun(What::Over(step)) => self.over(*step),
            Place::Pulling(_)
            | Place::Creating(_)
            | Place::CreateAgain(_)
            | Place::TakingUp(_)
            | Place::TakeUpAgain(_)
            | Place::Made(_)
            | Place::SecondLook(_)
            | Place::TakingSlot(_)
            | Place::AwaitingLease(_)
            | Place::Starting(_)
            | Place::Looking(_)
            | Place::LookAgain(_)
            | Place::TakingBack(..)
            | Place::TakeBackAgain(..)
            | Place::Waiting(_)
            | Place::Abandoning(_)
            | Place::Killing(_)
            | Place::Collecting(_)
            | Place::CollectAgain(_)
            | Place::AwaitingVerdict
            | Place::Finding(_)
            | Place::Removing(_)
            | Place::RemoveAgain(_)
            | Place::Over => Ask::Leave,
        }
    }

    /// Goes on by the answer to the last ask. One that doesn't fit it says that nobody is there to answer: the walk
    /// is left.
    pub fn advance(&mut self, answer: Answer, facts: &Facts) -> Ask {
        if let Some(next) = self.queue.pop_front() {
            return next;
        }
        match mem::replace(&mut self.place, Place::Over) {
            Place::Pulling(making) => self.pulled(making, answer, facts),
            Place::Creating(making) => self.created(making, answer, facts),
            Place::CreateAgain(making) => self.create(making, facts),
            Place::TakingUp(making) => self.taken_up(making, answer, facts),
            Place::TakeUpAgain(making) => self.take_up_again(making, facts),
            Place::Made(starting) => self.before_start(starting, facts),
            Place::SecondLook(starting) => self.before_start(starting, facts),
            Place::TakingSlot(starting) => self.start(starting, facts),
            Place::AwaitingLease(starting) => self.await_lease(starting, facts),
            Place::Starting(starting) => self.started(starting, answer, facts),
            Place::Looking(look) => self.looked(look, answer, facts),
            Place::LookAgain(look) => self.look_again(look, facts),
            Place::TakingBack(container, why) => self.taken_back(container, why, &answer, facts),
            Place::TakeBackAgain(container, why) => self.take_back_again(container, why, facts),
            Place::Waiting(seen) => self.waited(&seen, answer, facts),
            Place::Abandoning(why) => self.kill(why, answer, facts),
            Place::Killing(why) => self.abandoned(why, facts),
            Place::Collecting(tries) => self.collected(tries, answer),
            Place::CollectAgain(tries) => self.collect_again(tries, facts),
            Place::AwaitingVerdict => self.acknowledged(&answer),
            Place::Finding(verdict) => self.remove_what_was_found(verdict, answer),
            Place::Removing(verdict) => self.removed(verdict, &answer),
            Place::RemoveAgain(verdict) => self.remove_again(verdict, facts),
            Place::Unbegun(_) | Place::Over => Ask::Leave,
        }
    }

    /// The first half broke off: nothing may be left running that nobody watches. None: the second half has begun.
    pub fn abandon(&mut self, why: String) -> Option<Ask> {
        let has_ended = match self.place {
            Place::Collecting(_)
            | Place::CollectAgain(_)
            | Place::AwaitingVerdict
            | Place::Finding(_)
            | Place::Removing(_)
            | Place::RemoveAgain(_) => true,
            Place::Unbegun(_)
            | Place::Pulling(_)
            | Place::Creating(_)
            | Place::CreateAgain(_)
            | Place::TakingUp(_)
            | Place::TakeUpAgain(_)
            | Place::Made(_)
            | Place::SecondLook(_)
            | Place::TakingSlot(_)
            | Place::AwaitingLease(_)
            | Place::Starting(_)
            | Place::Looking(_)
            | Place::LookAgain(_)
            | Place::TakingBack(..)
            | Place::TakeBackAgain(..)
            | Place::Waiting(_)
            | Place::Abandoning(_)
            | Place::Killing(_)
            | Place::Over => false,
        };
        if has_ended {
            return None;
        }
        self.queue.clear();
        Some(self.go(Place::Abandoning(why), Ask::Inspect(self.key.container_name())))
    }

    /// Asks, and waits for the answer at that place.
    fn go(&mut self, place: Place, ask: Ask) -> Ask {
        self.place = place;
        ask
    }

    /// Asks for several things, of which the last one's answer counts.
    fn go_after<const N: usize>(&mut self, first: Ask, then: [Ask; N], place: Place) -> Ask {
        self.place = place;
        self.queue.extend(then);
        first
    }

    fn pause(&mut self, place: Place) -> Ask {
        self.go(place, Ask::Pause(TRY_AGAIN))
    }
}
