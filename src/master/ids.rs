//! Where ids come from: ULIDs, which sort by the time of their making.
//!
//! A generator is a value with its own source of randomness, so that a test can make the same ids twice. Ids made in
//! the same millisecond still grow; a wall clock that is set back makes ids that grow from the last one.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;
use ulid::{Generator, Ulid};

use crate::model::id::{BatchId, ClusterId, Epoch, TaskId, TokenId};
use crate::model::time::WallTime;

/// Makes ids that only ever grow.
pub struct Ids {
    generator: Mutex<(Source, WallTime)>,
}

/// What follows the time in an id.
enum Source {
    /// Chance.
    Drawn(Generator),
    /// The start of the master, and how many ids it made.
    Counted(Epoch, u64),
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self { generator: Mutex::new((Source::Drawn(Generator::new()), WallTime::default())) }
    }
}

impl Ids {
    /// An id for a task.
    pub fn task(&self, now: WallTime) -> TaskId {
        self.next(now).parse().expect("invariant: a ULID is 26 letters and digits")
    }

    /// An id for a batch.
    pub fn batch(&self, now: WallTime) -> BatchId {
        self.next(now).parse().expect("invariant: a ULID is 26 letters and digits")
    }

    /// An id for a token.
    pub fn token(&self, now: WallTime) -> TokenId {
        self.next(now).parse().expect("invariant: a ULID is 26 letters and digits")
    }

    /// An id for a cluster.
    pub fn cluster(&self, now: WallTime) -> ClusterId {
        self.next(now).parse().expect("invariant: a ULID is 26 letters and digits")
    }

    /// Counts from now on, in that start of the master: no two starts make the same ids, and each makes the same again.
    pub fn count(&self, start: Epoch) {
        self.generator.lock().0 = Source::Counted(start, 0);
    }

    /// Makes sure that every id to come is later than one that was made before a restart: from the next millisecond
    /// on, because within one the ids of two generators come in any order.
    pub fn after(&self, latest: WallTime) {
        let mut held = self.generator.lock();
        held.1 = held.1.max(WallTime::from_unix_millis(latest.unix_millis().saturating_add(1)));
    }

    /// The time of the latest id, for [`Ids::after`] at the next start.
    pub fn latest(&self) -> WallTime {
        self.generator.lock().1
    }

    fn next(&self, now: WallTime) -> String {
        let mut held = self.generator.lock();
        held.1 = held.1.max(now);
        let at = held.1.unix_millis();
        let id = match &mut held.0 {
            Source::Drawn(generator) => {
                match generator.generate_from_datetime(UNIX_EPOCH + Duration::from_millis(at)) {
                    Ok(id) => id,
                    Err(overflow) => overflow.commit_overflow_increment(),
                }
            }
            Source::Counted(start, made) => {
                *made += 1;
                Ulid::from_parts(at, u128::from(start.0) << 40 | u128::from(*made))
            }
        };
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_also_when_the_clock_goes_back() {
        let ids = Ids::default();
        let times = [5, 5, 9, 2, 9].map(WallTime::from_unix_millis);
        let made: Vec<TaskId> = times.into_iter().map(|now| ids.task(now)).collect();
        assert!(made.is_sorted());
        ids.after(WallTime::from_unix_millis(100));
        assert!(ids.task(WallTime::from_unix_millis(9)).as_str() > made[4].as_str());
    }

    #[test]
    fn counted_ids_grow_and_come_again() {
        let make = |start| {
            let ids = Ids::default();
            ids.count(Epoch(start));
            [5, 5, 9, 2, 9].map(WallTime::from_unix_millis).map(|now| ids.task(now))
        };
        assert!(make(1).is_sorted());
        assert_eq!(make(1), make(1));
        assert!(make(1).iter().zip(&make(2)).all(|(one, other)| one < other));
    }

    #[test]
    fn ids_grow_across_restarts_within_one_millisecond() {
        let now = WallTime::from_unix_millis(100);
        let before = Ids::default().task(now);
        for _ in 0..20 {
            let ids = Ids::default();
            ids.after(now);
            assert!(ids.task(now) > before);
        }
    }
}
