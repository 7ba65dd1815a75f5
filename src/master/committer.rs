//! The journal thread: makes records durable, all that have come together since its last commit in one transaction.
//!
//! A commit that fails withdraws its changes, and all that were made after them, from the state: whoever waited for
//! them is told, and nobody has seen them. From then on changes are refused until the store takes something again.
//! This thread finds out with what it has to write anyway: in place of each withdrawn record an empty one, which says
//! nothing, so that positions go on without a gap and whatever the failed commit may have left there is replaced.
//!
//! Main type: [`Committer`], one turn of which writes at most once and never waits; [`run`] is the thread around it.

use std::time::Duration;

use crate::api::wire::audit::Chain;
use crate::master::journal::{Ask, Batch};
use crate::master::snapshots::Snapshots;
use crate::master::state::State;
use crate::model::id::Revision;
use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;
use crate::store::{AuditLines, Store, StoreError};

/// How long to wait before the store is tried again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A store that fails again sooner than this after it was mended is tried less often than before: a disk with room for
/// a little is full again at once.
const STEADY: Duration = Duration::from_secs(10);

/// A snapshot is due when this many records stand after the last one, and twice as many as there are nodes and tasks.
pub const SNAPSHOT_AFTER: u64 = 50_000;

/// Body of the thread `journal`: commits until it is told to stop and nothing is left.
pub fn run(state: &State, store: &mut dyn Store, stop: &Stop) {
    run_with(state, store, stop, SNAPSHOT_AFTER);
}

/// The same, with another number of records before a snapshot.
pub fn run_with(state: &State, store: &mut dyn Store, stop: &Stop, snapshot_after: u64) {
    let mut committer = Committer::new(state, snapshot_after);
    // Nothing is written any more once a store that fails is told to stop.
    let mut pause = None;
    while !pause.is_some_and(|pause| stop.wait(pause)) {
        let Some(batch) = committer.next_batch(state, stop) else { break };
        pause = committer.turn(state, store, batch, clock::mono);
        if pause.is_none() {
            committer.copy_out(state, store);
            committer.snapshots.go_on(state, store, stop.requested());
        }
    }
    state.journal().close();
}

/// What is committed, and how a store that fails is brought back. It waits for nothing itself.
pub struct Committer {
    /// Before the store is tried the next time.
    pause: Duration,
    failure: Option<Failure>,
    mended: Option<Mono>,
    snapshots: Snapshots,
    /// The end of the audit.
    chain: Chain,
}

/// A store that takes nothing just now.
struct Failure {
    since: Mono,
    first: Revision,
    /// What stands for the withdrawn records, and for the withdrawal.
    nothing: Vec<Vec<u8>>,
}

impl Committer {
    /// For a state that was just loaded.
    pub fn new(state: &State, snapshot_after: u64) -> Self {
        let snapshots = Snapshots::new(snapshot_after, state.replayed());
        Self { pause: PAUSES.0, failure: None, mended: None, snapshots, chain: state.audited().clone() }
    }

    /// Commits what is queued by now, goes on with a snapshot that is due, or tries a store that failed once more.
    /// Gives how long to wait before the next try; none where nothing failed. Blocks on the disk alone.
    pub fn commit_now(&mut self, state: &State, store: &mut dyn Store, now: Mono) -> Option<Duration> {
        let batch = state.journal().batch_now();
        let pause = self.turn(state, store, batch, || now);
        if pause.is_none() {
            self.snapshots.go_on(state, store, false);
        }
        pause
    }

    /// What is to be committed next; it may be nothing, and is where a snapshot is to go on, or a store is to be tried,
    /// meanwhile. None: it is time to stop.
    fn next_batch(&self, state: &State, stop: &Stop) -> Option<Batch> {
        let must_not_wait = self.snapshots.is_busy() || self.failure.is_some();
        if must_not_wait { Some(state.journal().batch_now()) } else { state.journal().next_batch(stop) }
    }

    fn turn(
        &mut self,
        state: &State,
        store: &mut dyn Store,
        batch: Batch,
        now: impl Fn() -> Mono,
    ) -> Option<Duration> {
        if let Some(failure) = self.failure.take() {
            return self.mend(state, store, failure, now());
        }
        if batch.records.is_empty() && batch.deeds.is_empty() {
            return None;
        }
        // Order: the lines are made here, where it is known which one comes after which.
        let mut chain = self.chain.clone();
        let lines: Vec<Vec<u8>> = batch.deeds.iter().map(|deed| chain.link(deed)).collect();
        let first = if lines.is_empty() { 0 } else { self.chain.next() };
        match store.append(batch.first, &batch.records, AuditLines { first, lines: &lines }) {
            Ok(()) => {
                self.chain = chain;
                self.snapshots.count(batch.records.len());
                state.settle(batch.last());
                None
            }
            Err(error) => Some(self.withdraw(state, batch, &error, now())),
        }
    }

    fn withdraw(&mut self, state: &State, batch: Batch, error: &StoreError, now: Mono) -> Duration {
        self.snapshots.abandon();
        if self.mended.is_none_or(|mended| now.since(mended) > STEADY) {
            self.pause = PAUSES.0;
        }
        let first = batch.first;
        let positions = state.withdraw(batch).count();
        log::warn!(
            "changes are refused until they can be stored withdrawn={} because=failed to {error}",
            positions - 1
        );
        self.failure = Some(Failure { since: now, first, nothing: vec![Vec::new(); positions] });
        self.next_pause()
    }

    /// Tries the store once more.
    fn mend(
        &mut self,
        state: &State,
        store: &mut dyn Store,
        failure: Failure,
        now: Mono,
    ) -> Option<Duration> {
        // What the failed commit may have left in the audit goes as well.
        let audit = AuditLines { first: self.chain.next(), lines: &[] };
        match store.append(failure.first, &failure.nothing, audit) {
            Ok(()) => {
                state.mended();
                self.mended = Some(now);
                let seconds = now.since(failure.since).as_secs_f64();
                log::info!("changes are stored again after_s={seconds:.1}");
                None
            }
            Err(error) => {
                log::debug!("the store still fails because=failed to {error}");
                self.failure = Some(failure);
                Some(self.next_pause())
            }
        }
    }

    /// Gives a copy of the store to whoever asked for one.
    fn copy_out(&self, state: &State, store: &mut dyn Store) {
        // Whoever asked may have given up.
        match state.journal().asks().try_recv() {
            Ok(Ask::Store(answer)) => drop(answer.try_send(store.freeze())),
            Ok(Ask::Audit(answer)) => drop(answer.try_send(store.audit())),
            Err(_) => {}
        }
    }

    fn next_pause(&mut self) -> Duration {
        let longer = (self.pause * 2).min(PAUSES.1);
        std::mem::replace(&mut self.pause, longer)
    }
}

#[cfg(test)]
mod tests;
