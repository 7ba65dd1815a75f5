//! The gate's settings: how big, how long, how many.
//!
//! [`Limits`] are about one request, [`Deadlines`] about time, [`Caps`] about all clients together. [`Room`] is
//! what the operating system leaves of the caps: it is worked out again and again, because the limit of open files
//! can be changed while the process runs.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// The longest body, in bytes, that a method and a path (without the query) take.
pub type BodyLimit = fn(method: &str, path: &str) -> usize;

/// How big a request may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The request line, in bytes without its end; longer is 414.
    pub request_line_bytes: usize,
    /// All headers together, in bytes; more is 431.
    pub header_bytes: usize,
    /// How many headers; more is 431.
    pub headers: usize,
    /// Bodies of all clients together that are being read or wait to be passed on, in bytes; more is 503. The
    /// first 16 KiB of each body don't count, so that small requests get through when big ones fill it.
    pub buffered_bodies_bytes: usize,
    /// Answers of all clients together that were taken from the handlers and not yet by the clients, in bytes.
    /// Beyond it the client that has taken nothing for the longest time is closed.
    pub buffered_answers_bytes: usize,
    /// Whole requests that wait for a free connection to tiny_http; more is 503.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_line_bytes: 8 * 1024,
            header_bytes: 32 * 1024,
            headers: 128,
            buffered_bodies_bytes: 256 * 1024 * 1024,
            buffered_answers_bytes: 256 * 1024 * 1024,
            queue: 1024,
        }
    }
}

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Deadlines {
    /// From a head's first byte to its last; later is 408.
    pub head: Duration,
    /// From the head to the body's last byte, for a small body; later is 408. A second more for each 512 KiB.
    pub body: Duration,
    /// Between two requests on one connection, and before the first.
    pub idle: Duration,
    /// From a whole request to the beginning of its answer, queueing included; later is 503.
    pub answer: Duration,
    /// A client that takes no byte of its answer for this long is closed.
    pub stalled_write: Duration,
    /// How long a client that was refused may still send what nobody reads.
    pub linger: Duration,
    /// How long requests under way may still take once the program stops.
    pub stop: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            answer: Duration::from_secs(60),
            stalled_write: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            stop: Duration::from_secs(5),
        }
    }
}

impl Deadlines {
    /// How long a body of this many bytes may take.
    pub(crate) fn for_body(&self, bytes: usize) -> Duration {
        const BYTES_A_SECOND: usize = 512 * 1024;
        self.body + Duration::from_secs((bytes / BYTES_A_SECOND) as u64)
    }
}

/// How many there may be.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Client connections in all.
    pub connections: usize,
    /// Client connections from one address.
    pub per_address: usize,
    /// Connections to tiny_http. Each costs it a thread.
    pub upstreams: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { connections: 4096, per_address: 1024, upstreams: 64 }
    }
}

/// Descriptors left to everything else in the process.
const SPARE: usize = 32;
/// What one connection to tiny_http costs in descriptors: our end, and its end twice.
pub(crate) const PER_UPSTREAM: usize = 3;

/// The caps as far as the limit of open files allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Descriptors for clients, and for streams beside the pool.
    pub(crate) descriptors: usize,
    /// Client connections in all.
    pub(crate) connections: usize,
    /// Client connections from one address.
    pub(crate) per_address: usize,
    /// Connections to tiny_http.
    pub(crate) upstreams: usize,
}

impl Room {
    /// For the limit that holds now.
    pub(crate) fn now(caps: &Caps) -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        Self::within(caps, limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// For a given limit of open files. A quarter of what is left after the spare ones goes to tiny_http.
    fn within(caps: &Caps, open_files: usize) -> Self {
        let usable = open_files.saturating_sub(SPARE);
        let upstreams = caps.upstreams.min(usable / 4 / PER_UPSTREAM).max(1);
        let descriptors = usable.saturating_sub(upstreams * PER_UPSTREAM).max(1);
        Self {
            descriptors,
            connections: caps.connections.min(descriptors),
            per_address: caps.per_address.min(descriptors),
            upstreams,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_leave_descriptors_to_spare() {
        let caps = Caps::default();
        for open_files in [64, 128, 256, 1024, 4096, 65_536] {
            let room = Room::within(&caps, open_files);
            let used = room.descriptors + room.upstreams * PER_UPSTREAM;
            assert!(used + SPARE <= open_files, "{open_files}: {room:?}");
            assert!(room.connections <= room.descriptors && room.per_address <= room.connections);
            assert!(room.upstreams >= 1 && room.connections >= 1);
        }
        let room = Room::within(&caps, 65_536);
        assert_eq!((room.connections, room.per_address, room.upstreams), (4096, 1024, 64));
        assert_eq!(Room::within(&caps, 3).connections, 1);
    }

    #[test]
    fn big_bodies_get_more_time() {
        let deadlines = Deadlines::default();
        assert_eq!(deadlines.for_body(1024), Duration::from_secs(30));
        assert_eq!(deadlines.for_body(16 * 1024 * 1024), Duration::from_secs(62));
    }
}
