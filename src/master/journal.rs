//! Durable before visible: the journal takes records in, and lets go whoever waits for them.
//!
//! Main type: [`Journal`]. A caller appends a record while it holds the state's locks, so the journal's order is the
//! state's order, and gets a position back. Whatever rests on that record (a reply, a push to a worker) is handed in
//! as a closure by [`Journal::when_settled`] and runs once the position's [`Fate`] is known; a reply that only *shows*
//! state waits the same way for the position that it has seen. The thread `journal` (`committer`) makes records
//! durable; the thread `replies` runs the closures, so that writing answers and writing to disk overlap.
//!
//! Invariant: a position is settled once and for good, durable or withdrawn, and never used again. While the store
//! fails nothing is appended: whoever holds the state's locks asks [`Journal::is_failing`] first.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use crate::canary::{Canary, sings};
use crate::control::undo::Undo;
use crate::model::audit::Deed;
use crate::model::id::Revision;
use crate::runtime::supervise::Stop;
use crate::store::{Audit, Frozen, StoreError};

/// Records that may wait for the disk before new requests are turned away.
const MOST_WAITING: usize = 50_000;

/// Deeds that may wait for the disk before refusals are no longer noted.
const MOST_NOTED: usize = 1_000;

/// Batches of closures that may wait for the thread `replies` before the journal waits for it.
const MOST_BATCHES: usize = 64;

/// How often the journal looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// How long a copy of the store is waited for.
const FREEZE: Duration = Duration::from_secs(5);

/// What became of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on disk, with all before it.
    Durable,
    /// Its record could not be written, and the state is as if it had never been.
    Withdrawn,
}

/// What is to happen once a position is settled.
type Waiter = Box<dyn FnOnce(Fate) + Send>;

/// Those who waited for positions that are settled now.
#[must_use = "they wait until they are told"]
pub(super) struct Waiters(Vec<Waiter>, Fate);

/// Somebody who wants a copy of the store.
pub(super) enum Ask {
    /// All of it.
    Store(Answer<dyn Frozen>),
    /// The audit.
    Audit(Answer<dyn Audit>),
}

/// Where a copy goes.
type Answer<T> = Sender<Result<Box<T>, StoreError>>;

/// Records that are to become durable together.
pub(super) struct Batch {
    /// The position of the first one.
    pub(super) first: Revision,
    pub(super) records: Vec<Vec<u8>>,
    /// What takes them back, in the same order.
    pub(super) undos: Vec<Undo>,
    /// What the audit is to keep of them, and of what was refused meanwhile.
    pub(super) deeds: Vec<Deed>,
}

/// Changes that are taken back.
pub(super) struct Withdrawal {
    /// What takes them back, oldest first.
    pub(super) undos: Vec<Undo>,
    pub(super) waiters: Waiters,
    /// Their positions and one more, which stands for the withdrawal itself.
    pub(super) positions: RangeInclusive<u64>,
}

/// Takes records in, and says what became of them.
pub struct Journal {
    inner: Mutex<Inner>,
    wake: Condvar,
    /// Everything up to here is durable or withdrawn.
    settled: AtomicU64,
    /// The highest position that was ever withdrawn.
    last_withdrawn: AtomicU64,
    is_failing: AtomicBool,
    batches: (Sender<Waiters>, Receiver<Waiters>),
    asks: (Sender<Ask>, Receiver<Ask>),
}

struct Inner {
    /// The position of the first record in `records`.
    first: Revision,
    records: Vec<Vec<u8>>,
    undos: Vec<Undo>,
    deeds: Vec<Deed>,
    /// By position, then in the order in which they came.
    waiters: BTreeMap<(Revision, u64), Waiter>,
    next_waiter: u64,
    /// Positions that were withdrawn, one range for each time that the store failed.
    withdrawn: Vec<RangeInclusive<u64>>,
}

impl Journal {
    /// Goes on after `last`, the position of the last record that the store gave back.
    pub fn new(last: Revision) -> Self {
        let inner = Inner {
            first: last.next(),
            records: Vec::new(),
            undos: Vec::new(),
            deeds: Vec::new(),
            waiters: BTreeMap::new(),
            next_waiter: 0,
            withdrawn: Vec::new(),
        };
        Self {
            inner: Mutex::new(inner),
            wake: Condvar::new(),
            settled: AtomicU64::new(last.0),
            last_withdrawn: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            batches: bounded(MOST_BATCHES),
            asks: bounded(1),
        }
    }

    /// Whether the store takes nothing just now. Changes only while both of the state's locks are held, or from true
    /// to false.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    /// Whether so many records wait for the disk that new requests are better turned away.
    pub fn is_full(&self) -> bool {
        self.inner.lock().records.len() >= MOST_WAITING
    }

    /// The highest position that was ever withdrawn. Whoever reads the state, and finds this unchanged afterwards, has
    /// read nothing that was withdrawn meanwhile.
    pub(super) fn last_withdrawn(&self) -> u64 {
        self.last_withdrawn.load(Ordering::Acquire)
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

    /// Queues a record, with what takes its change back, and what the audit keeps of it. Called with the state's locks held, so that positions follow
    /// the state's order. Never blocks on the disk.
    pub fn append(&self, record: Vec<u8>, undo: Undo, deed: Option<Deed>) -> Revision {
        let mut inner = self.inner.lock();
        let at = position(&inner);
        inner.records.push(record);
        inner.undos.push(undo);
        inner.deeds.extend(deed);
        self.wake.notify_one();
        at
    }

    /// Queues what was refused, for the audit alone. While the store fails, or where very much waits already, it is
    /// dropped: a refusal changed nothing, and whoever makes many of them must not keep others from the disk.
    pub fn note(&self, refused: Deed) {
        let mut inner = self.inner.lock();
        if inner.deeds.len() < MOST_NOTED && !self.is_failing() {
            inner.deeds.push(refused);
            self.wake.notify_one();
        }
    }

    /// Whether everything up to a position is durable or withdrawn. What the state shows is not withdrawn: so for a
    /// position that was read from the state under the same lock, this means durable.
    pub fn is_settled(&self, at: Revision) -> bool {
        self.settled.load(Ordering::Acquire) >= at.0
    }

    /// Runs `then` once it is known what became of `at` and all before it: here and now if that is known already,
    /// else on the thread `replies`. If the journal stops before that, `then` is dropped.
    pub fn when_settled(&self, at: Revision, then: impl FnOnce(Fate) + Send + 'static) {
        if sings(Canary::AnswersBeforeCommit) {
            return then(Fate::Durable);
        }
        // Order: settled first. Whoever sees that a withdrawal settled a position, sees that it was withdrawn.
        if self.is_settled(at) && at.0 > self.last_withdrawn() {
            return then(Fate::Durable);
        }
        let mut inner = self.inner.lock();
        if self.is_settled(at) {
            let is_withdrawn = inner.withdrawn.iter().any(|range| range.contains(&at.0));
            drop(inner);
            return then(if is_withdrawn { Fate::Withdrawn } else { Fate::Durable });
        }
        let order = inner.next_waiter;
        inner.next_waiter += 1;
        inner.waiters.insert((at, order), Box::new(then));
    }

    /// The store as it is once all that is acknowledged by now is in it. Blocks until the thread `journal` gives it.
    ///
    /// # Errors
    /// The store keeps nothing, can't be read, or takes nothing just now.
    pub(super) fn freeze(&self) -> Result<Box<dyn Frozen>, StoreError> {
        self.copy(Ask::Store)
    }

    /// The audit as it is once all that is acknowledged by now is in it. Blocks until the thread `journal` gives it.
    ///
    /// # Errors
    /// The store keeps none, can't be read, or takes nothing just now.
    pub(super) fn audit(&self) -> Result<Box<dyn Audit>, StoreError> {
        self.copy(Ask::Audit)
    }

    fn copy<T: ?Sized>(&self, of: impl FnOnce(Answer<T>) -> Ask) -> Result<Box<T>, StoreError> {
        let (ask, answer) = bounded(1);
        let busy = || StoreError::Io { operation: "copy", why: "it takes nothing just now".to_owned() };
        self.asks.0.send_timeout(of(ask), FREEZE).map_err(|_| busy())?;
        answer.recv_timeout(FREEZE).unwrap_or_else(|_| Err(busy()))
    }

    /// Who wants a copy of the store.
    pub(super) const fn asks(&self) -> &Receiver<Ask> {
        &self.asks.1
    }

    /// Body of the thread `replies`.
    pub fn run_replies(&self, stop: &Stop) {
        loop {
            match self.batches.1.recv_timeout(STOP_CHECK) {
                Ok(Waiters(waiters, fate)) => waiters.into_iter().for_each(|then| then(fate)),
                Err(RecvTimeoutError::Timeout) if stop.requested() => break,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// What `run_replies` does, once, with what is settled by now. Never waits.
    pub fn reply_now(&self) {
        while let Ok(Waiters(waiters, fate)) = self.batches.1.try_recv() {
            waiters.into_iter().for_each(|then| then(fate));
        }
    }

    /// Blocks until there are records, or for a moment: then the batch is empty. None: it is time to stop, and none
    /// are left.
    pub(super) fn next_batch(&self, stop: &Stop) -> Option<Batch> {
        let mut inner = self.inner.lock();
        if inner.records.is_empty() && inner.deeds.is_empty() {
            if stop.requested() {
                return None;
            }
            self.wake.wait_for(&mut inner, STOP_CHECK);
        }
        Some(take(&mut inner))
    }

    /// What is queued; it may be nothing.
    pub(super) fn batch_now(&self) -> Batch {
        take(&mut self.inner.lock())
    }

    /// Everything up to `last` is durable: lets go whoever waited for it. Blocks while `replies` is far behind.
    pub(super) fn settle(&self, last: Revision) {
        let mut inner = self.inner.lock();
        let ready = self.take_waiters(&mut inner, last);
        drop(inner);
        self.tell(Waiters(ready, Fate::Durable));
    }

    /// Withdraws a batch that could not be written and all that was queued after it. Called with both of the state's
    /// locks held; the caller takes the changes back before it frees them, and tells the waiters after that.
    pub(super) fn withdraw(&self, failed: Batch) -> Withdrawal {
        let mut inner = self.inner.lock();
        self.is_failing.store(true, Ordering::Release);
        let mut undos = failed.undos;
        undos.append(&mut take(&mut inner).undos);
        // One more position than was used: what reads the state from now on, rests on that one.
        let last = inner.first;
        inner.first = last.next();
        self.last_withdrawn.store(last.0 - 1, Ordering::Release);
        inner.withdrawn.push(failed.first.0..=last.0 - 1);
        let waiters = Waiters(self.take_waiters(&mut inner, last), Fate::Withdrawn);
        Withdrawal { undos, waiters, positions: failed.first.0..=last.0 }
    }

    /// The store works again.
    pub(super) fn mended(&self) {
        self.is_failing.store(false, Ordering::Release);
    }

    /// Hands those who waited to the thread `replies`. Blocks while that is far behind.
    pub(super) fn tell(&self, waiters: Waiters) {
        if !waiters.0.is_empty() {
            // The receiver lives as long as this journal: sending only ever waits.
            let _ = self.batches.0.send(waiters);
        }
    }

    /// Drops whoever still waits, which answers them 503: nothing is committed any more.
    pub(super) fn close(&self) {
        self.inner.lock().waiters.clear();
    }

    /// Settles everything up to `last`, and gives those who waited for it.
    fn take_waiters(&self, inner: &mut Inner, last: Revision) -> Vec<Waiter> {
        self.settled.store(last.0, Ordering::Release);
        let later = inner.waiters.split_off(&(last.next(), 0));
        std::mem::replace(&mut inner.waiters, later).into_values().collect()
    }
}

/// Takes out what is queued.
fn take(inner: &mut Inner) -> Batch {
    let first = inner.first;
    inner.first = position(inner);
    Batch {
        first,
        records: std::mem::take(&mut inner.records),
        undos: std::mem::take(&mut inner.undos),
        deeds: std::mem::take(&mut inner.deeds),
    }
}

impl Batch {
    /// The position of the last record.
    pub(super) fn last(&self) -> Revision {
        Revision((self.first.0 + u64::try_from(self.records.len()).unwrap_or(u64::MAX)).saturating_sub(1))
    }
}

/// The position of the next record.
fn position(inner: &Inner) -> Revision {
    Revision(inner.first.0 + u64::try_from(inner.records.len()).unwrap_or(u64::MAX))
}
