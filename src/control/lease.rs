//! The lease: for how long a worker that doesn't hear from the master may run what can be rescheduled.
//!
//! Main type: [`Lease`], a worker's. It runs from the moment at which an answered beat was *sent*, so that the master,
//! which counts a node's silence from the moment at which it took that beat, always waits longer: a lease lasts two
//! thirds of the node timeout, what runs under it is ended within a quarter of the lease more, and only after the
//! whole timeout is the node lost.
//!
//! Invariant: a lease that ran out stays so for what was held then, whatever is heard later. Renewing it covers only
//! what starts afterwards. Deliberately absent: clocks, disks, containers.

use std::time::Duration;

use crate::canary::{Canary, sings};
use crate::model::time::Mono;

/// A container's start takes time: none begins in the last part of a lease, one in so many.
const START_MARGIN: u32 = 8;

/// How long a lease lasts where nodes may be silent for so long.
///
/// ```
/// use std::time::Duration;
/// use podling::control::lease;
///
/// let (timeout, own_grace) = (Duration::from_secs(30), Duration::from_secs(600));
/// let lease = lease::of_timeout(timeout);
/// assert_eq!(lease, Duration::from_secs(20));
/// assert!(lease + lease::grace(own_grace, lease) < timeout);
/// ```
pub fn of_timeout(node_timeout: Duration) -> Duration {
    if sings(Canary::LongLease) { node_timeout * 2 } else { node_timeout * 2 / 3 }
}

/// Between TERM and KILL for a container that a lease ends: its own grace, a quarter of the lease at most.
pub fn grace(own: Duration, lease: Duration) -> Duration {
    own.min(lease / 4)
}

/// A worker's lease. The default is none: it has run out, and never was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    until: Mono,
    length: Duration,
    /// It hasn't been seen to run out yet.
    is_live: bool,
}

impl Lease {
    /// One that an earlier process of this worker was given. A start renews nothing: it ends when it would have.
    pub const fn kept(until: Mono, length: Duration) -> Self {
        Self { until, length, is_live: true }
    }

    /// When it runs out, or ran out.
    pub const fn until(&self) -> Mono {
        self.until
    }

    /// How long it was when it was last renewed.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// Whether what runs under it may go on.
    pub fn is_held(&self, now: Mono) -> bool {
        self.is_live && now < self.until
    }

    /// Whether a container may be started under it now.
    pub fn may_start(&self, now: Mono) -> bool {
        self.is_held(now + self.length / START_MARGIN)
    }

    /// A beat that was sent at `sent` has been answered. An answer that took longer than the lease renews nothing.
    pub fn renew(&mut self, sent: Mono, length: Duration, now: Mono) {
        let until = sent + length;
        if now < until {
            *self = Self { until, length, is_live: true };
        }
    }

    /// Whether it has run out since this was last asked: what was held then is to end. True once for each lease.
    pub fn lapse(&mut self, now: Mono) -> bool {
        let has_lapsed = self.is_live && !self.is_held(now);
        self.is_live &= !has_lapsed;
        has_lapsed
    }

    /// How long it still lasts. None: it was seen to have run out.
    pub fn left(&self, now: Mono) -> Option<Duration> {
        self.is_live.then(|| self.until.since(now))
    }

    /// How much of its grace a container still gets that this lease, which ran out, ends. It counts from the end of the
    /// lease, however late that is noticed.
    pub fn grace_left(&self, own: Duration, now: Mono) -> Duration {
        (self.until + grace(own, self.length)).since(now)
    }

    /// Whether the disk should hear of it, where it last heard that the lease ends at `kept`. What the disk holds is
    /// never later than the truth, and an eighth of a lease earlier at most.
    pub fn is_news(&self, kept: Mono) -> bool {
        self.until < kept || self.until.since(kept) >= self.length / START_MARGIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Mono {
        Mono::from_boot(Duration::from_millis(millis))
    }

    /// Of 8 s, renewed by a beat that was sent at second 10.
    fn lease() -> Lease {
        let mut lease = Lease::default();
        lease.renew(at(10_000), 8000 * MS, at(10_100));
        lease
    }

    #[test]
    fn a_node_is_lost_only_after_its_lease_and_what_ran_under_it_have_ended() {
        for timeout_ms in [1, 2, 3, 7, 30, 1000, 29_999, 30_000, 86_400_000] {
            let timeout = timeout_ms * MS;
            let lease = of_timeout(timeout);
            assert!(lease + grace(Duration::MAX, lease) < timeout, "{timeout:?}");
            assert!(lease + lease / 4 <= timeout * 5 / 6, "{timeout:?}");
        }
        assert_eq!(grace(3 * MS, 12 * MS), 3 * MS);
        assert_eq!(grace(4 * MS, 12 * MS), 3 * MS);
        assert_eq!(grace(2 * MS, 12 * MS), 2 * MS);
    }

    #[test]
    fn it_is_held_until_the_moment_it_ends() {
        let lease = lease();
        assert!(lease.is_held(at(17_999)) && !lease.is_held(at(18_000)) && !lease.is_held(at(18_001)));
        assert!(lease.may_start(at(16_999)) && !lease.may_start(at(17_000)));
        assert_eq!(lease.left(at(17_999)), Some(MS));
        assert!(!Lease::default().is_held(at(0)) && !Lease::default().may_start(at(0)));
    }

    #[test]
    fn it_lapses_once_and_renewing_it_later_does_not_undo_that() {
        let mut lease = lease();
        assert!(!lease.lapse(at(17_999)));
        assert!(lease.lapse(at(18_000)));
        assert!(!lease.lapse(at(18_001)), "once");
        assert_eq!(lease.left(at(18_001)), None);
        lease.renew(at(19_000), 8000 * MS, at(19_010));
        assert!(lease.is_held(at(26_999)) && !lease.lapse(at(26_999)) && lease.lapse(at(27_000)));
        assert!(!Lease::default().lapse(at(99_000)), "what never was can't run out");
    }

    #[test]
    fn an_answer_that_took_as_long_as_the_lease_renews_nothing() {
        let mut held = lease();
        held.renew(at(12_000), 8000 * MS, at(20_000));
        assert_eq!(held, lease());
        held.renew(at(12_000), 8000 * MS, at(19_999));
        assert_eq!(held.until(), at(20_000));
    }

    #[test]
    fn a_master_with_a_shorter_timeout_shortens_it() {
        let mut lease = lease();
        lease.renew(at(11_000), 2000 * MS, at(11_010));
        assert_eq!((lease.until(), lease.length()), (at(13_000), 2000 * MS));
        assert!(lease.is_news(at(18_000)), "the disk must not believe in the longer one");
    }

    #[test]
    fn the_grace_counts_from_the_end_of_the_lease() {
        let mut lease = lease();
        assert!(lease.lapse(at(18_500)));
        let own = 10_000 * MS;
        assert_eq!(lease.grace_left(own, at(18_000)), 2000 * MS);
        assert_eq!(lease.grace_left(own, at(18_500)), 1500 * MS);
        assert_eq!(lease.grace_left(own, at(20_000)), Duration::ZERO);
        assert_eq!(lease.grace_left(own, at(90_000)), Duration::ZERO);
        assert_eq!(lease.grace_left(700 * MS, at(18_500)), 200 * MS);
    }

    #[test]
    fn the_disk_hears_of_it_eight_times_a_lease_at_most() {
        let lease = lease();
        assert!(!lease.is_news(at(18_000)) && !lease.is_news(at(17_001)) && lease.is_news(at(17_000)));
    }

    #[test]
    fn a_start_of_the_worker_renews_nothing() {
        let mut kept = Lease::kept(at(18_000), 8000 * MS);
        assert!(kept.is_held(at(17_999)));
        assert!(kept.lapse(at(18_000)) && !kept.may_start(at(18_000)));
    }
}
