//! Durable before visible: the journal takes records in, makes them durable, and lets go whoever waits for that.
//!
//! Main type: [`Journal`]. A caller appends a record while it holds the state's locks, so the journal's order is the
//! state's order, and gets a position back. Whatever rests on that record (a reply, a push to a worker) is handed in
//! as a closure by [`Journal::when_durable`] and runs once the position is on disk; a reply that only *shows* state
//! waits the same way for the position that it has seen. The thread `journal` commits all that has come together
//! since its last commit in one transaction; the thread `replies` runs the closures, so that writing answers and
//! writing to disk overlap.
//!
//! A commit that fails ends the process: nothing of it was shown, and the next start reads back what is durable.
//! Deliberately absent: going on with a full disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use crate::model::id::Revision;
use crate::runtime::supervise::Stop;
use crate::store::Store;

/// Records that may wait for the disk before new requests are turned away.
const MOST_WAITING: usize = 50_000;

/// Batches of closures that may wait for the thread `replies` before the journal waits for it.
const MOST_BATCHES: usize = 64;

/// How often the journal looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// What is to happen once a position is durable.
type Waiter = Box<dyn FnOnce() + Send>;

/// Takes records in, and says when they are durable.
pub struct Journal {
    inner: Mutex<Inner>,
    wake: Condvar,
    durable: AtomicU64,
    batches: (Sender<Vec<Waiter>>, Receiver<Vec<Waiter>>),
}

struct Inner {
    /// The position of the first record in `records`.
    first: Revision,
    records: Vec<Vec<u8>>,
    /// By position, then in the order in which they came.
    waiters: BTreeMap<(Revision, u64), Waiter>,
    next_waiter: u64,
}

impl Journal {
    /// Goes on after `last`, the position of the last record that the store gave back.
    pub fn new(last: Revision) -> Self {
        let inner =
            Inner { first: last.next(), records: Vec::new(), waiters: BTreeMap::new(), next_waiter: 0 };
        Self {
            inner: Mutex::new(inner),
            wake: Condvar::new(),
            durable: AtomicU64::new(last.0),
            batches: bounded(MOST_BATCHES),
        }
    }

    /// Whether so many records wait for the disk that new requests are better turned away.
    pub fn is_full(&self) -> bool {
        self.inner.lock().records.len() >= MOST_WAITING
    }

    /// The position that the next record gets. Means something only while the state's locks are held.
    pub fn next_position(&self) -> Revision {
        let inner = self.inner.lock();
        position(&inner)
    }

    /// The position of the last record that was appended.
    pub fn last_position(&self) -> Revision {
        Revision(self.next_position().0 - 1)
    }

    /// Queues a record. Called with the state's locks held, so that positions follow the state's order. Never blocks
    /// on the disk.
    pub fn append(&self, record: Vec<u8>) -> Revision {
        let mut inner = self.inner.lock();
        let at = position(&inner);
        inner.records.push(record);
        self.wake.notify_one();
        at
    }

    /// Whether everything up to a position is on disk.
    pub fn is_durable(&self, at: Revision) -> bool {
        self.durable.load(Ordering::Acquire) >= at.0
    }

    /// Runs `then` once everything up to `at` is durable: here and now if it is already, else on the thread
    /// `replies`. If the journal stops before that, `then` is dropped.
    pub fn when_durable(&self, at: Revision, then: impl FnOnce() + Send + 'static) {
        if self.is_durable(at) {
            return then();
        }
        let mut inner = self.inner.lock();
        // Race: the commit may have come in between; its thread looks for waiters under this lock.
        if self.is_durable(at) {
            drop(inner);
            return then();
        }
        let order = inner.next_waiter;
        inner.next_waiter += 1;
        inner.waiters.insert((at, order), Box::new(then));
    }

    /// Body of the thread `journal`: commits until it is told to stop and nothing is left.
    ///
    /// # Panics
    /// The store fails: the process must end, because memory is ahead of the disk.
    pub fn run(&self, store: &mut dyn Store, stop: &Stop) {
        while let Some((first, records)) = self.next_batch(stop) {
            if let Err(error) = store.append(first, &records) {
                panic!("failed to {error}");
            }
            let last = first.0 + u64::try_from(records.len()).unwrap_or(u64::MAX) - 1;
            self.let_go(Revision(last));
        }
        // Whoever came too late to be committed is dropped, and so answered 503.
        self.inner.lock().waiters.clear();
    }

    /// Body of the thread `replies`.
    pub fn run_replies(&self, stop: &Stop) {
        loop {
            match self.batches.1.recv_timeout(STOP_CHECK) {
                Ok(batch) => batch.into_iter().for_each(|then| then()),
                Err(RecvTimeoutError::Timeout) if stop.requested() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Blocks until there are records. None: it is time to stop, and none are left.
    fn next_batch(&self, stop: &Stop) -> Option<(Revision, Vec<Vec<u8>>)> {
        let mut inner = self.inner.lock();
        while inner.records.is_empty() {
            if stop.requested() {
                return None;
            }
            self.wake.wait_for(&mut inner, STOP_CHECK);
        }
        let first = inner.first;
        let next = position(&inner);
        inner.first = next;
        Some((first, std::mem::take(&mut inner.records)))
    }

    /// Marks everything up to `last` durable, and hands on those who waited for it.
    fn let_go(&self, last: Revision) {
        let ready = {
            let mut inner = self.inner.lock();
            self.durable.store(last.0, Ordering::Release);
            let later = inner.waiters.split_off(&(last.next(), 0));
            std::mem::replace(&mut inner.waiters, later)
        };
        if !ready.is_empty() {
            // The receiver lives as long as this journal: sending only ever waits.
            let _ = self.batches.0.send(ready.into_values().collect());
        }
    }
}

/// The position of the next record.
fn position(inner: &Inner) -> Revision {
    Revision(inner.first.0 + u64::try_from(inner.records.len()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runtime::supervise;
    use crate::store::{Each, StoreError};

    /// A store whose commits wait until the test lets them.
    struct Gated(Receiver<()>, Sender<Vec<u64>>);

    impl Store for Gated {
        fn append(&mut self, first: Revision, records: &[Vec<u8>]) -> Result<(), StoreError> {
            self.0.recv().unwrap();
            let positions = (first.0..).take(records.len()).collect();
            self.1.send(positions).unwrap();
            Ok(())
        }

        fn replay(&mut self, _: &mut Each<'_>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_let_go_before_its_record_is_on_disk_and_waiting_records_share_a_commit() {
        let journal = Arc::new(Journal::new(Revision(10)));
        let (allow, gate) = bounded(8);
        let (commits, committed) = bounded(8);
        let (source, stop) = Stop::channel();
        let threads = [
            supervise::spawn("journal", {
                let (journal, stop) = (Arc::clone(&journal), stop.clone());
                move || journal.run(&mut Gated(gate, commits), &stop)
            }),
            supervise::spawn("replies", {
                let (journal, stop) = (Arc::clone(&journal), stop.clone());
                move || journal.run_replies(&stop)
            }),
        ];
        let (told, tells) = bounded(8);
        for name in ["a", "b", "c"] {
            let at = journal.append(name.into());
            let told = told.clone();
            journal.when_durable(at, move || told.send(name).unwrap());
        }
        assert_eq!(journal.last_position(), Revision(13));
        assert!(!journal.is_durable(Revision(11)));
        assert!(tells.try_recv().is_err());
        let patience = Duration::from_secs(10);
        let mut positions = Vec::new();
        while positions.len() < 3 {
            allow.send(()).unwrap();
            positions.extend(committed.recv_timeout(patience).unwrap());
        }
        assert_eq!(positions, [11, 12, 13]);
        let order: Vec<_> = (0..3).map(|_| tells.recv_timeout(patience).unwrap()).collect();
        assert_eq!(order, ["a", "b", "c"]);
        source.stop();
        threads.into_iter().for_each(|thread| assert!(thread.unwrap().join()));
    }
}
