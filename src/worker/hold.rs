//! Whether an attempt is to end, by when, and who has to act on it. Pure.
//!
//! Orders to stop come at any time, again and again: before the container is made, while it starts, twice with
//! different graces. A [`Hold`] keeps the earliest deadline and answers with a [`Halt`] where somebody has to talk to
//! the Engine: once to send TERM, and at most [`MOST_KILLS`] times to send KILL sooner. As long as nothing runs there is
//! nothing to halt, and the walk itself ends the attempt.
//!
//! Invariant: one process sends TERM once per container, and never before the container runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::id::ContainerId;
use crate::model::time::{Mono, Now};

/// How often a deadline that was brought forward is acted on. Later ones change nothing.
pub const MOST_KILLS: u32 = 8;

/// What somebody has to do about a container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Send TERM, and KILL after the grace.
    Term(ContainerId, Duration),
    /// Send KILL after that time, if it still runs.
    KillAfter(ContainerId, Duration),
}

/// Who wants an attempt to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The master, or this worker's operator.
    Asked,
    /// The node's lease, which ran out.
    Lease,
}

/// The first signal that a container was sent so that it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Who wants it to end.
    pub cause: Cause,
    /// When it was sent.
    pub at: Now,
    /// Between it and KILL.
    pub grace: Duration,
}

/// The hold on one attempt. The default is a loose one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    deadline: Option<Mono>,
    /// Who was first.
    cause: Option<Cause>,
    running: Option<ContainerId>,
    signal: Option<Signal>,
    /// What an earlier process had sent, or was about to send, when it ended.
    earlier: Option<Signal>,
    kills: u32,
}

impl Hold {
    /// Takes an order to stop. The earlier of two deadlines counts.
    pub fn order(&mut self, cause: Cause, grace: Duration, now: Now) -> Option<Halt> {
        let deadline = now.mono + grace;
        if self.deadline.is_some_and(|earlier| earlier <= deadline) {
            return None;
        }
        self.deadline = Some(deadline);
        self.cause = self.cause.or(Some(cause));
        self.halt(now)
    }

    /// The container runs: an order that came before is to be carried out now.
    pub fn runs(&mut self, container: &ContainerId, now: Now) -> Option<Halt> {
        self.running = Some(container.clone());
        self.halt(now)
    }

    /// Who wanted it to end first. None: nobody does.
    pub const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// What this process has sent the container.
    pub const fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// An earlier process sent this signal, or was about to. It orders nothing: whoever wants the attempt to end says
    /// so again.
    pub const fn recall(&mut self, signal: Signal) {
        self.earlier = Some(signal);
    }

    /// What an earlier process had sent it.
    pub const fn earlier(&self) -> Option<Signal> {
        self.earlier
    }

    fn halt(&mut self, now: Now) -> Option<Halt> {
        let (container, deadline, cause) = (self.running.clone()?, self.deadline?, self.cause?);
        let left = deadline.since(now.mono);
        if self.signal.is_none() {
            self.signal = Some(Signal { cause, at: now, grace: left });
            return Some(Halt::Term(container, left));
        }
        self.kills += 1;
        (self.kills <= MOST_KILLS).then_some(Halt::KillAfter(container, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::WallTime;

    fn at(secs: u64) -> Now {
        let mono = Mono::from_boot(Duration::from_secs(secs));
        Now { mono, wall: WallTime::from_unix_millis(secs * 1000) }
    }

    fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_order_before_the_start_is_carried_out_once_it_runs() {
        let (mut hold, container) = (Hold::default(), "c1".parse().unwrap());
        assert_eq!(hold.order(Cause::Asked, secs(10), at(100)), None);
        assert_eq!(hold.cause(), Some(Cause::Asked));
        assert_eq!(hold.runs(&container, at(104)), Some(Halt::Term(container, secs(6))));
        assert_eq!(hold.signal(), Some(Signal { cause: Cause::Asked, at: at(104), grace: secs(6) }));
    }

    #[test]
    fn term_once_and_the_earlier_deadline() {
        let (mut hold, container) = (Hold::default(), "c1".parse::<ContainerId>().unwrap());
        assert_eq!(hold.runs(&container, at(100)), None);
        let term = hold.order(Cause::Asked, secs(10), at(100));
        assert_eq!(term, Some(Halt::Term(container.clone(), secs(10))));
        assert_eq!(hold.order(Cause::Asked, secs(10), at(100)), None);
        assert_eq!(hold.order(Cause::Asked, secs(60), at(101)), None);
        assert_eq!(hold.order(Cause::Asked, secs(3), at(101)), Some(Halt::KillAfter(container, secs(3))));
        assert_eq!(hold.signal().unwrap().at, at(100));
    }

    #[test]
    fn the_first_cause_counts_and_the_earlier_deadline() {
        let (mut hold, container) = (Hold::default(), "c1".parse::<ContainerId>().unwrap());
        hold.runs(&container, at(100));
        assert_eq!(hold.cause(), None);
        let term = hold.order(Cause::Lease, secs(5), at(100));
        assert_eq!(term, Some(Halt::Term(container.clone(), secs(5))));
        assert_eq!(hold.order(Cause::Asked, secs(5), at(101)), None);
        assert_eq!(hold.order(Cause::Asked, secs(1), at(101)), Some(Halt::KillAfter(container, secs(1))));
        assert_eq!(hold.cause(), Some(Cause::Lease));
    }

    #[test]
    fn what_an_earlier_process_sent_orders_nothing_and_is_sent_again() {
        let (mut hold, container) = (Hold::default(), "c1".parse::<ContainerId>().unwrap());
        let earlier = Signal { cause: Cause::Lease, at: at(90), grace: secs(5) };
        hold.recall(earlier);
        assert_eq!((hold.runs(&container, at(100)), hold.cause(), hold.signal()), (None, None, None));
        let term = hold.order(Cause::Asked, secs(10), at(101));
        assert_eq!(term, Some(Halt::Term(container, secs(10))));
        assert_eq!((hold.earlier(), hold.signal().unwrap().cause), (Some(earlier), Cause::Asked));
    }

    #[test]
    fn a_flood_of_orders_is_bounded() {
        let (mut hold, container) = (Hold::default(), "c1".parse().unwrap());
        hold.runs(&container, at(100));
        let halts = (0..100).rev().filter_map(|grace| hold.order(Cause::Asked, secs(grace), at(100))).count();
        assert_eq!(halts, 1 + MOST_KILLS as usize);
    }
}
