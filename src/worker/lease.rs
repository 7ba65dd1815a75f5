//! This worker's lease, and the thread `lease`, which ends what runs under it when it runs out.
//!
//! Main type: [`LeaseKeeper`]. [`crate::control::lease`] decides; here are the clock, the disk and the hands. The
//! heartbeat renews the lease by the answers that it gets; a monitor asks it right before it starts a container. Only
//! attempts of tasks with `on_node_lost: reschedule` are ever ended by it.
//!
//! On disk (`lease.json`) is when it ends, on the machine's clock since boot, with that boot's id: after a reboot it
//! says nothing, and nothing runs then. So it need not outlive a crash of the machine, only one of this process: it
//! is written without waiting for the disk, up to eight times a lease, and may say less than the truth, never more.
//! A disk that takes no more leaves the older, shorter one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::api::wire::millis;
use crate::control::lease::Lease;
use crate::model::time::{Mono, Now};
use crate::runtime::clock;
use crate::runtime::data_dir::{DataDir, replace};
use crate::runtime::supervise::Stop;
use crate::worker::desired::Desired;

const FILE: &str = "lease.json";

/// A machine that sleeps holds timers up, and not the clock that leases are measured on: so the clock is looked at
/// this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What is kept on disk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    boot_id: String,
    until_ms: u64,
    lease_ms: u64,
}

#[derive(Debug)]
struct Inner {
    lease: Lease,
    /// Until when it lasts, as the disk knows.
    on_disk: Mono,
}

/// This worker's lease.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    inner: Mutex<Inner>,
    desired: Arc<Desired>,
    path: PathBuf,
    /// None: the system doesn't say, and nothing is kept.
    boot_id: Option<String>,
    renewed: (Sender<()>, Receiver<()>),
}

impl LeaseKeeper {
    /// The lease that an earlier process of this worker was given, if it still counts. Blocks on the disk.
    pub(super) fn open(folder: &DataDir, desired: Arc<Desired>) -> Self {
        let boot_id = clock::boot_id();
        let lease = kept(folder, boot_id.as_deref());
        let inner = Mutex::new(Inner { lease, on_disk: lease.until() });
        Self { inner, desired, path: folder.file(FILE), boot_id, renewed: bounded(1) }
    }

    /// Whether a container may be started under it now.
    pub(super) fn may_start(&self) -> bool {
        self.inner.lock().lease.may_start(clock::mono())
    }

    /// A beat that was sent at `sent` was answered, and what it said was applied. Blocks on the disk, for a write that
    /// the system buffers.
    pub(super) fn renew(&self, sent: Mono, length: Duration) {
        let mut inner = self.inner.lock();
        inner.lease.renew(sent, length, clock::mono());
        if inner.lease.is_news(inner.on_disk) {
            self.keep(&mut inner);
        }
        // Full: the thread is about to look anyway.
        let _ = self.renewed.0.try_send(());
    }

    fn keep(&self, inner: &mut Inner) {
        let Some(boot_id) = self.boot_id.clone() else { return };
        let (until, lease) = (inner.lease.until(), inner.lease.length());
        let kept = Kept { boot_id, until_ms: millis(until.since(Mono::default())), lease_ms: millis(lease) };
        // Ids and numbers: they can always be written as JSON.
        match replace(&self.path, &serde_json::to_vec(&kept).unwrap_or_default()) {
            Ok(()) => inner.on_disk = until,
            Err(error) => log::warn!("the lease was not kept path={} because={error}", self.path.display()),
        }
    }

    /// Ends what was taken up, where the lease that it ran under has run out meanwhile.
    pub(super) fn judge_what_was_taken_up(&self) {
        let (lease, now) = (self.inner.lock().lease, clock::now());
        if !lease.is_held(now.mono) {
            self.end_leased(&lease, now);
        }
    }

    /// Ends what runs under the lease, if that has run out since somebody last looked.
    pub(super) fn end_what_lapsed(&self) {
        let now = clock::now();
        let lapsed = {
            let mut inner = self.inner.lock();
            inner.lease.lapse(now.mono).then_some(inner.lease)
        };
        if let Some(lease) = lapsed {
            self.end_leased(&lease, now);
        }
    }

    fn end_leased(&self, lease: &Lease, now: Now) {
        let count = self.desired.end_leased(|own| lease.grace_left(own, now.mono), now);
        if count > 0 {
            let since = now.mono.since(lease.until()).as_millis();
            log::warn!(
                "the lease ran out: what is rescheduled elsewhere ends here count={count} since_ms={since}"
            );
        }
    }

    /// Body of the thread `lease`.
    pub(super) fn run(&self, stop: &Stop) {
        while !stop.requested() {
            let left = self.inner.lock().lease.left(clock::mono());
            let wait = left.map_or(LONGEST_SLEEP, |left| left.min(LONGEST_SLEEP));
            select! {
                recv(self.renewed.1) -> _ => {}
                recv(after(wait)) -> _ => {}
                recv(stop.channel_ref()) -> _ => return,
            }
            self.end_what_lapsed();
        }
    }
}

/// What the disk says. Anything but a lease of this boot of the machine is none.
fn kept(folder: &DataDir, boot_id: Option<&str>) -> Lease {
    let bytes = folder.read(FILE).unwrap_or_else(|error| {
        log::warn!("the lease of an earlier start can't be read because={error}");
        None
    });
    let kept = bytes.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    match kept.filter(|kept| Some(kept.boot_id.as_str()) == boot_id) {
        Some(kept) => {
            let until = Mono::from_boot(Duration::from_millis(kept.until_ms));
            Lease::kept(until, Duration::from_millis(kept.lease_ms))
        }
        None => Lease::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(3600);

    fn keeper(folder: &DataDir) -> LeaseKeeper {
        let ((jobs, _), (events, _)) = (crate::worker::job::channel(), crate::worker::reporter::channel());
        LeaseKeeper::open(folder, Arc::new(Desired::new(jobs, events)))
    }

    #[test]
    fn a_start_of_the_process_finds_the_lease_and_a_boot_of_the_machine_does_not() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("w")).unwrap();
        assert!(!keeper(&folder).may_start(), "a start gives none");
        let first = keeper(&folder);
        first.renew(clock::mono(), LENGTH);
        let until = first.inner.lock().lease.until();
        let second = keeper(&folder);
        assert!(second.may_start());
        assert!(until.since(second.inner.lock().lease.until()) < Duration::from_millis(1));
        let text = String::from_utf8(folder.read(FILE).unwrap().unwrap()).unwrap();
        folder.write(FILE, text.replace(&clock::boot_id().unwrap(), "another").as_bytes()).unwrap();
        assert!(!keeper(&folder).may_start());
        folder.write(FILE, &text.as_bytes()[..text.len() / 2]).unwrap();
        assert!(!keeper(&folder).may_start(), "half a file says nothing");
    }

    #[test]
    fn the_disk_is_written_now_and_then_and_never_says_more_than_is_so() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("w")).unwrap();
        let first = keeper(&folder);
        let sent = clock::mono();
        first.renew(sent, LENGTH);
        let written = folder.read(FILE).unwrap();
        first.renew(sent + LENGTH / 100, LENGTH);
        assert_eq!(folder.read(FILE).unwrap(), written);
        first.renew(sent + LENGTH / 8, LENGTH);
        assert_ne!(folder.read(FILE).unwrap(), written);
        first.renew(sent, LENGTH / 2);
        assert!(keeper(&folder).inner.lock().lease.until() <= first.inner.lock().lease.until());
    }
}
