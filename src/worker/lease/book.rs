//! What a worker knows of its lease, and what its disk does. Pure.
//!
//! Main type: [`LeaseBook`]: the [`Lease`], which [`crate::control::lease`] decides, and until when it lasts as far as
//! the disk knows. What is on disk may say less than the truth, never more.

use std::time::Duration;

use crate::canary::{Canary, sings};
use crate::control::lease::Lease;
use crate::model::time::{Mono, Now};

/// A lease as the disk is to hold it, of this boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseEntry {
    /// When it ends.
    pub until: Mono,
    /// How long it was when it was last renewed.
    pub length: Duration,
}

/// A lease that ran out: what runs under it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse {
    lease: Lease,
    now: Now,
}

impl Lapse {
    /// How much of its own grace a container still gets.
    pub fn grace_left(&self, own: Duration) -> Duration {
        self.lease.grace_left(own, self.now.mono)
    }

    /// How long ago it ran out.
    pub fn since(&self) -> Duration {
        self.now.mono.since(self.lease.until())
    }
}

/// A worker's lease, and what its disk knows of it. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseBook {
    lease: Lease,
    /// Until when it lasts, as the disk knows.
    on_disk: Mono,
}

impl LeaseBook {
    /// What an earlier process left on the disk, of this boot of the machine. A start renews nothing.
    pub fn open(kept: Option<LeaseEntry>) -> Self {
        let lease = kept.map_or_else(Lease::default, |kept| Lease::kept(kept.until, kept.length));
        Self { lease, on_disk: lease.until() }
    }

    /// Whether a container may be started under it now.
    pub fn may_start(&self, now: Now) -> bool {
        self.lease.may_start(now.mono) || sings(Canary::StartsUnleased)
    }

    /// When it runs out, or ran out.
    pub const fn until(&self) -> Mono {
        self.lease.until()
    }

    /// How long it still lasts. None: it was seen to have run out.
    pub fn left(&self, now: Now) -> Option<Duration> {
        self.lease.left(now.mono)
    }

    /// A beat that was sent at `sent` was answered, and what it said was applied. Gives what the disk is to hold, where
    /// it should hear of it.
    pub fn renew(&mut self, sent: Mono, length: Duration, now: Now) -> Option<LeaseEntry> {
        self.lease.renew(sent, length, now.mono);
        let entry = LeaseEntry { until: self.lease.until(), length: self.lease.length() };
        self.lease.is_news(self.on_disk).then_some(entry)
    }

    /// The disk has taken it. Until then the next renewal asks for it again.
    pub const fn wrote(&mut self, entry: LeaseEntry) {
        self.on_disk = entry.until;
    }

    /// Whether it has run out since somebody last looked: what runs under it is to end. Once for each lease.
    pub fn lapse(&mut self, now: Now) -> Option<Lapse> {
        let has_lapsed = self.lease.lapse(now.mono) && !sings(Canary::IgnoresLapse);
        has_lapsed.then_some(Lapse { lease: self.lease, now })
    }

    /// Containers were taken up: whether the lease that they ran under is over, so that they are to end.
    pub fn judge_what_was_taken_up(&self, now: Now) -> Option<Lapse> {
        (!self.lease.is_held(now.mono)).then_some(Lapse { lease: self.lease, now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(80);

    fn at(secs: u64) -> Now {
        Now { mono: Mono::from_boot(Duration::from_secs(secs)), ..Now::default() }
    }

    #[test]
    fn a_start_finds_what_the_disk_holds_and_renews_nothing() {
        assert!(!LeaseBook::open(None).may_start(at(100)));
        let entry = LeaseEntry { until: at(180).mono, length: LENGTH };
        let book = LeaseBook::open(Some(entry));
        assert!(book.may_start(at(169)) && !book.may_start(at(170)));
        assert_eq!(book.judge_what_was_taken_up(at(179)), None);
        let lapse = book.judge_what_was_taken_up(at(181)).unwrap();
        assert_eq!(lapse.since(), Duration::from_secs(1));
        assert_eq!(lapse.grace_left(Duration::from_secs(600)), Duration::from_secs(19));
    }

    #[test]
    fn the_disk_hears_of_it_now_and_then_and_again_until_it_has_taken_it() {
        let mut book = LeaseBook::default();
        let first = book.renew(at(100).mono, LENGTH, at(101)).unwrap();
        assert_eq!(first, LeaseEntry { until: at(180).mono, length: LENGTH });
        assert!(book.renew(at(101).mono, LENGTH, at(101)).is_some(), "it was not written");
        book.wrote(first);
        assert_eq!(book.renew(at(109).mono, LENGTH, at(109)), None);
        assert!(book.renew(at(110).mono, LENGTH, at(110)).is_some());
        assert!(book.renew(at(111).mono, LENGTH / 2, at(111)).is_some(), "a shorter one at once");
    }

    #[test]
    fn it_runs_out_once() {
        let mut book = LeaseBook::default();
        assert_eq!(book.lapse(at(1)), None);
        book.renew(at(100).mono, LENGTH, at(100));
        assert_eq!(book.lapse(at(179)), None);
        assert!(book.lapse(at(180)).is_some());
        assert_eq!(book.lapse(at(181)), None);
        assert_eq!(book.left(at(181)), None);
    }
}
