//! The only file that reads a clock.
//!
//! Decisions take a [`Now`] as a value, so that a test can run a cluster through an hour in a millisecond.
//! What decides anything compares [`Mono`], the machine's time since boot; [`WallTime`] is for showing only,
//! because people and NTP move it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::time::{Mono, Now, WallTime};

/// Both clocks, read together.
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// Time since the machine booted, suspended time included (`CLOCK_BOOTTIME`).
///
/// The same value means the same instant to every process on this machine, which is what lets a lease outlive
/// the worker that took it.
pub fn mono() -> Mono {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanos = u32::try_from(t.tv_nsec).unwrap_or(0);
    Mono::from_boot(Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), nanos))
}

/// Which boot of the machine [`mono`] counts from. None: the system doesn't say. Blocks for a read that needs no disk.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// The wall clock, cut to milliseconds. A clock set before 1970 reads as 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
