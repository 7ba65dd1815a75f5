//! The journal thread: makes records durable, all that have come together since its last commit in one transaction.
//!
//! A commit that fails withdraws its changes, and all that were made after them, from the state: whoever waited for
//! them is told, and nobody has seen them. From then on changes are refused until the store takes something again.
//! This thread finds out with what it has to write anyway: in place of each withdrawn record an empty one, which says
//! nothing, so that positions go on without a gap and whatever the failed commit may have left there is replaced.

use std::time::Duration;

use crate::master::journal::Batch;
use crate::master::snapshots::Snapshots;
use crate::master::state::State;
use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;
use crate::store::{Store, StoreError};

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
    let mut committer = Committer {
        state,
        store,
        stop,
        pause: PAUSES.0,
        mended: None,
        snapshots: Snapshots::new(snapshot_after, state.replayed()),
    };
    while let Some(batch) = committer.next() {
        if !batch.records.is_empty() {
            committer.commit(batch);
        }
        if let Ok(ask) = state.journal().asks().try_recv() {
            // Whoever asked may have given up.
            let _ = ask.try_send(committer.store.freeze());
        }
        committer.snapshots.go_on(state, committer.store, stop);
    }
    state.journal().close();
}

/// The journal thread's own.
struct Committer<'a> {
    state: &'a State,
    store: &'a mut dyn Store,
    stop: &'a Stop,
    /// Before the store is tried the next time.
    pause: Duration,
    mended: Option<Mono>,
    snapshots: Snapshots,
}

impl Committer<'_> {
    /// What is to be committed next; it may be nothing, and is where a snapshot is to go on meanwhile. None: it is time
    /// to stop.
    fn next(&self) -> Option<Batch> {
        let journal = self.state.journal();
        if self.snapshots.is_busy() { Some(journal.batch_now()) } else { journal.next_batch(self.stop) }
    }

    fn commit(&mut self, batch: Batch) {
        match self.store.append(batch.first, &batch.records) {
            Ok(()) => {
                self.snapshots.count(batch.records.len());
                self.state.journal().settle(batch.last());
            }
            Err(error) => {
                self.snapshots.abandon();
                self.withdraw_and_mend(batch, &error);
            }
        }
    }

    /// Blocks until the store works again, or it is time to stop.
    fn withdraw_and_mend(&mut self, batch: Batch, error: &StoreError) {
        let (since, first) = (clock::mono(), batch.first);
        if self.mended.is_none_or(|mended| since.since(mended) > STEADY) {
            self.pause = PAUSES.0;
        }
        let positions = self.state.withdraw(batch);
        let count = positions.count() - 1;
        log::warn!(
            "changes are refused until they can be stored withdrawn={count} because=failed to {error}"
        );
        let nothing = vec![Vec::new(); count + 1];
        while !self.stop.wait(self.next_pause()) {
            match self.store.append(first, &nothing) {
                Ok(()) => {
                    self.state.mended();
                    self.mended = Some(clock::mono());
                    let seconds = clock::mono().since(since).as_secs_f64();
                    log::info!("changes are stored again after_s={seconds:.1}");
                    return;
                }
                Err(error) => log::debug!("the store still fails because=failed to {error}"),
            }
        }
    }

    fn next_pause(&mut self) -> Duration {
        let longer = (self.pause * 2).min(PAUSES.1);
        std::mem::replace(&mut self.pause, longer)
    }
}

#[cfg(test)]
mod tests;
