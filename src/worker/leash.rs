//! The hold on one attempt: whether it is to end, and by when.
//!
//! Orders to stop come at any time, again and again: before the container is made, while it starts, twice with
//! different graces. A [`Leash`] keeps the earliest deadline and says who has to act on it: the monitor, as long as
//! nothing runs, or a thread that talks to the Engine, told once to send TERM and at most [`MOST_KILLS`] times to
//! send KILL sooner.
//!
//! Invariant: TERM is sent once per container, and never before the container runs.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::model::id::ContainerId;
use crate::model::time::{Mono, Now, WallTime};
use crate::runtime::supervise::{Stop, StopSource};

/// How often a deadline that was brought forward gets a thread of its own. Later ones change nothing.
const MOST_KILLS: u32 = 8;

/// What somebody has to do about a container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Send TERM, and KILL after the grace.
    Term(ContainerId, Duration),
    /// Send KILL after that time, if it still runs.
    KillAfter(ContainerId, Duration),
}

/// Who wants an attempt to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The master, or this worker's operator.
    Asked,
    /// The node's lease, which ran out.
    Lease,
}

/// The hold on one attempt.
#[derive(Debug)]
pub(super) struct Leash {
    held: Mutex<Held>,
    pulled: (Sender<()>, Receiver<()>),
    over: Stop,
}

#[derive(Debug)]
struct Held {
    deadline: Option<Mono>,
    /// Who was first.
    cause: Option<Cause>,
    running: Option<ContainerId>,
    signalled_at: Option<WallTime>,
    kills: u32,
    /// Gone once the attempt is over.
    until_over: Option<StopSource>,
}

impl Leash {
    /// A loose one.
    pub(super) fn new() -> Self {
        let (source, over) = Stop::channel();
        let held = Held {
            deadline: None,
            cause: None,
            running: None,
            signalled_at: None,
            kills: 0,
            until_over: Some(source),
        };
        Self { held: Mutex::new(held), pulled: bounded(1), over }
    }

    /// Takes an order to stop. The earlier of two deadlines counts.
    pub(super) fn order(&self, cause: Cause, grace: Duration, now: Now) -> Option<Halt> {
        let mut held = self.held.lock();
        let deadline = now.mono + grace;
        if held.deadline.is_some_and(|earlier| earlier <= deadline) {
            return None;
        }
        held.deadline = Some(deadline);
        held.cause = held.cause.or(Some(cause));
        // Full: whoever waits for it will see it.
        let _ = self.pulled.0.try_send(());
        held.halt(now)
    }

    /// The container runs: an order that came before is to be carried out now.
    pub(super) fn runs(&self, container: &ContainerId, now: Now) -> Option<Halt> {
        let mut held = self.held.lock();
        held.running = Some(container.clone());
        held.halt(now)
    }

    /// Whether the attempt is to end.
    pub(super) fn is_pulled(&self) -> bool {
        self.held.lock().deadline.is_some()
    }

    /// Who wanted it to end first. None: nobody does.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.held.lock().cause
    }

    /// When the container was first sent a signal.
    pub(super) fn signalled_at(&self) -> Option<WallTime> {
        self.held.lock().signalled_at
    }

    /// Ready when an order came, for whoever waits for something else meanwhile.
    pub(super) const fn pulled(&self) -> &Receiver<()> {
        &self.pulled.1
    }

    /// The attempt is over: whoever still waits to stop it need not.
    pub(super) fn let_go(&self) {
        self.held.lock().until_over = None;
    }

    /// Fires when the attempt is over.
    pub(super) const fn over(&self) -> &Stop {
        &self.over
    }
}

impl Held {
    fn halt(&mut self, now: Now) -> Option<Halt> {
        let (container, deadline) = (self.running.clone()?, self.deadline?);
        let left = deadline.since(now.mono);
        if self.signalled_at.is_none() {
            self.signalled_at = Some(now.wall);
            return Some(Halt::Term(container, left));
        }
        self.kills += 1;
        (self.kills <= MOST_KILLS).then_some(Halt::KillAfter(container, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Now {
        let mono = Mono::from_boot(Duration::from_secs(secs));
        Now { mono, wall: WallTime::from_unix_millis(secs * 1000) }
    }

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_order_before_the_start_is_carried_out_once_it_runs() {
        let (leash, container) = (Leash::new(), "c1".parse().unwrap());
        assert_eq!(leash.order(Cause::Asked, secs(10), at(100)), None);
        assert!(leash.is_pulled() && leash.pulled().try_recv().is_ok());
        assert_eq!(leash.runs(&container, at(104)), Some(Halt::Term(container, secs(6))));
        assert_eq!(leash.signalled_at(), Some(at(104).wall));
    }

    #[test]
    fn term_once_and_the_earlier_deadline() {
        let (leash, container) = (Leash::new(), "c1".parse::<ContainerId>().unwrap());
        assert_eq!(leash.runs(&container, at(100)), None);
        assert_eq!(
            leash.order(Cause::Asked, secs(10), at(100)),
            Some(Halt::Term(container.clone(), secs(10)))
        );
        assert_eq!(leash.order(Cause::Asked, secs(10), at(100)), None);
        assert_eq!(leash.order(Cause::Asked, secs(60), at(101)), None);
        assert_eq!(leash.order(Cause::Asked, secs(3), at(101)), Some(Halt::KillAfter(container, secs(3))));
        assert_eq!(leash.signalled_at(), Some(at(100).wall));
    }

    #[test]
    fn the_first_cause_counts_and_the_earlier_deadline() {
        let (leash, container) = (Leash::new(), "c1".parse::<ContainerId>().unwrap());
        leash.runs(&container, at(100));
        assert_eq!(leash.cause(), None);
        let term = leash.order(Cause::Lease, secs(5), at(100));
        assert_eq!(term, Some(Halt::Term(container.clone(), secs(5))));
        assert_eq!(leash.order(Cause::Asked, secs(5), at(101)), None);
        assert_eq!(leash.order(Cause::Asked, secs(1), at(101)), Some(Halt::KillAfter(container, secs(1))));
        assert_eq!(leash.cause(), Some(Cause::Lease));
    }

    #[test]
    fn a_flood_of_orders_is_bounded() {
        let (leash, container) = (Leash::new(), "c1".parse().unwrap());
        leash.runs(&container, at(100));
        let halts =
            (0..100).rev().filter_map(|grace| leash.order(Cause::Asked, secs(grace), at(100))).count();
        assert_eq!(halts, 1 + MOST_KILLS as usize);
    }

    #[test]
    fn letting_go_frees_who_waits() {
        let leash = Leash::new();
        assert!(!leash.over().requested());
        leash.let_go();
        assert!(leash.over().requested());
    }
}
