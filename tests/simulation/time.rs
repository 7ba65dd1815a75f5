//! Virtual time: one clock for the world, and what each machine makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use podling::model::time::{Mono, Now, WallTime};

/// Microseconds since the run began.
pub(crate) type Micros = u64;

pub(crate) const MS: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// When a run begins, on the wall clock.
const BEGIN_WALL_MS: i64 = 1_700_000_000_000;

pub(crate) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4)
}

/// The world's clock. Its clones show the same time.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorldClock(Arc<AtomicU64>);

impl WorldClock {
    pub(crate) fn now(&self) -> Micros {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, now: Micros) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// One machine's clocks. Each was booted at another moment, and its wall clock may be set.
#[derive(Clone, Debug)]
pub(crate) struct MachineClock {
    world: WorldClock,
    booted_before: Duration,
    wall_off_ms: Arc<AtomicI64>,
}

impl MachineClock {
    pub(crate) fn new(world: &WorldClock, booted_before: Duration) -> Self {
        Self { world: world.clone(), booted_before, wall_off_ms: Arc::default() }
    }

    pub(crate) fn now(&self) -> Now {
        let world = self.world.now();
        let off = self.wall_off_ms.load(Ordering::Relaxed);
        let wall = BEGIN_WALL_MS + off + i64::try_from(world / MS).unwrap_or(i64::MAX / 2);
        Now {
            mono: Mono::from_boot(self.booted_before + Duration::from_micros(world)),
            wall: WallTime::from_unix_millis(wall.unsigned_abs()),
        }
    }

    /// Somebody sets the wall clock: so far off.
    pub(crate) fn set_wall(&self, off_ms: i64) {
        self.wall_off_ms.store(off_ms, Ordering::Relaxed);
    }

    /// When the world shows what this machine calls `mono`.
    pub(crate) fn world_at(&self, mono: Mono) -> Micros {
        micros(mono.since(Mono::from_boot(self.booted_before)))
    }
}
