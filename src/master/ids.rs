//! Where ids come from: ULIDs, which sort by the time of their making.
//!
//! A generator is a value with its own source of randomness, so that a test can make the same ids twice. Ids made in
//! the same millisecond still grow; a wall clock that is set back makes ids that grow from the last one.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;
use ulid::Generator;

use crate::model::id::{BatchId, ClusterId, TaskId};
use crate::model::time::WallTime;

/// Makes ids that only ever grow.
pub struct Ids {
    generator: Mutex<(Generator, WallTime)>,
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self { generator: Mutex::new((Generator::new(), WallTime::default())) }
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

    /// An id for a cluster.
    pub fn cluster(&self, now: WallTime) -> ClusterId {
        self.next(now).parse().expect("invariant: a ULID is 26 letters and digits")
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
        let moment = UNIX_EPOCH + Duration::from_millis(held.1.unix_millis());
        let id = match held.0.generate_from_datetime(moment) {
            Ok(id) => id,
            Err(overflow) => overflow.commit_overflow_increment(),
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
