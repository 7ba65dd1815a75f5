//! This worker's lease, and the thread `lease`, which ends what runs under it when it runs out.
//!
//! Main type: [`LeaseKeeper`]. [`LeaseBook`] decides; here are the clock, the disk and the hands. The
//! heartbeat renews the lease by the answers that it gets; a monitor asks it right before it starts a container. Only
//! attempts of tasks with `on_node_lost: reschedule` are ever ended by it.
//!
//! On disk (`lease.json`) is when it ends, on the machine's clock since boot, with that boot's id: after a reboot it
//! says nothing, and nothing runs then. So it need not outlive a crash of the machine, only one of this process: it
//! is written without waiting for the disk, up to eight times a lease, and may say less than the truth, never more.
//! A disk that takes no more leaves the older, shorter one.

pub mod book;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::api::wire::millis;
use crate::model::time::{Mono, Now};
use crate::runtime::clock;
use crate::runtime::data_dir::{DataDir, replace};
use crate::runtime::supervise::Stop;
use crate::worker::desired::Desired;

use book::{Lapse, LeaseBook, LeaseEntry};

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

/// This worker's lease.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    book: Mutex<LeaseBook>,
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
        let book = Mutex::new(LeaseBook::open(kept(folder, boot_id.as_deref())));
        Self { book, desired, path: folder.file(FILE), boot_id, renewed: bounded(1) }
    }

    /// Whether a container may be started under it now.
    pub(super) fn may_start(&self) -> bool {
        self.book.lock().may_start(clock::now())
    }

    /// A beat that was sent at `sent` was answered, and what it said was applied. Blocks on the disk, for a write that
    /// the system buffers.
    pub(super) fn renew(&self, sent: Mono, length: Duration) {
        let mut book = self.book.lock();
        if let Some(entry) = book.renew(sent, length, clock::now())
            && self.keep(entry)
        {
            book.wrote(entry);
        }
        // Full: the thread is about to look anyway.
        let _ = self.renewed.0.try_send(());
    }

    /// Writes it. False: the disk holds what it held before.
    fn keep(&self, entry: LeaseEntry) -> bool {
        let Some(boot_id) = self.boot_id.clone() else { return false };
        let until_ms = millis(entry.until.since(Mono::default()));
        let kept = Kept { boot_id, until_ms, lease_ms: millis(entry.length) };
        // Ids and numbers: they can always be written as JSON.
        let written = replace(&self.path, &serde_json::to_vec(&kept).unwrap_or_default());
        if let Err(error) = &written {
            log::warn!("the lease was not kept path={} because={error}", self.path.display());
        }
        written.is_ok()
    }

    /// Ends what was taken up, where the lease that it ran under has run out meanwhile.
    pub(super) fn judge_what_was_taken_up(&self) {
        let now = clock::now();
        let lapse = self.book.lock().judge_what_was_taken_up(now);
        self.end_leased(lapse, now);
    }

    /// Ends what runs under the lease, if that has run out since somebody last looked.
    pub(super) fn end_what_lapsed(&self) {
        let now = clock::now();
        let lapse = self.book.lock().lapse(now);
        self.end_leased(lapse, now);
    }

    fn end_leased(&self, lapse: Option<Lapse>, now: Now) {
        let Some(lapse) = lapse else { return };
        let count = self.desired.end_leased(|own| lapse.grace_left(own), now);
        if count > 0 {
            let since = lapse.since().as_millis();
            log::warn!(
                "the lease ran out: what is rescheduled elsewhere ends here count={count} since_ms={since}"
            );
        }
    }

    /// Body of the thread `lease`.
    pub(super) fn run(&self, stop: &Stop) {
        while !stop.requested() {
            let left = self.book.lock().left(clock::now());
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
fn kept(folder: &DataDir, boot_id: Option<&str>) -> Option<LeaseEntry> {
    let bytes = folder.read(FILE).unwrap_or_else(|error| {
        log::warn!("the lease of an earlier start can't be read because={error}");
        None
    });
    let kept = serde_json::from_slice::<Kept>(&bytes?).ok()?;
    let until = Mono::from_boot(Duration::from_millis(kept.until_ms));
    let entry = LeaseEntry { until, length: Duration::from_millis(kept.lease_ms) };
    (Some(kept.boot_id.as_str()) == boot_id).then_some(entry)
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
        let until = first.book.lock().until();
        let second = keeper(&folder);
        assert!(second.may_start());
        assert!(until.since(second.book.lock().until()) < Duration::from_millis(1));
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
        assert!(keeper(&folder).book.lock().until() <= first.book.lock().until());
    }
}
