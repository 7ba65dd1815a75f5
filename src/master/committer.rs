//! The journal thread: makes records durable, all that have come together since its last commit in one transaction.
//!
//! A commit that fails withdraws its changes, and all that were made after them, from the state: whoever waited for
//! them is told, and nobody has seen them. From then on changes are refused until the store takes something again.
//! This thread finds out with what it has to write anyway: in place of each withdrawn record an empty one, which says
//! nothing, so that positions go on without a gap and whatever the failed commit may have left there is replaced.

use std::time::Duration;

use crate::master::journal::Batch;
use crate::master::state::State;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;
use crate::store::{Store, StoreError};

/// How long to wait before the store is tried again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Body of the thread `journal`: commits until it is told to stop and nothing is left.
pub fn run(state: &State, store: &mut dyn Store, stop: &Stop) {
    let journal = state.journal();
    while let Some(batch) = journal.next_batch(stop) {
        match store.append(batch.first, &batch.records) {
            Ok(()) => journal.settle(batch.last()),
            Err(error) => withdraw_and_mend(state, store, batch, &error, stop),
        }
    }
    journal.close();
}

fn withdraw_and_mend(state: &State, store: &mut dyn Store, batch: Batch, error: &StoreError, stop: &Stop) {
    let (since, first) = (clock::mono(), batch.first);
    let positions = state.withdraw(batch);
    let count = positions.clone().count() - 1;
    log::warn!("changes are refused until they can be stored withdrawn={count} because=failed to {error}");
    let nothing = vec![Vec::new(); count + 1];
    let (mut pause, longest) = PAUSES;
    while !stop.wait(pause) {
        match store.append(first, &nothing) {
            Ok(()) => {
                state.mended();
                let seconds = clock::mono().since(since).as_secs_f64();
                log::info!("changes are stored again after_s={seconds:.1}");
                return;
            }
            Err(error) => log::debug!("the store still fails because=failed to {error}"),
        }
        pause = (pause * 2).min(longest);
    }
}

#[cfg(test)]
mod tests;
