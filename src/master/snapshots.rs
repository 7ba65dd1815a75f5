//! Now and then the journal thread writes the state down as one snapshot, and drops the records that it stands for: so
//! the store holds what there is, not all that ever was.
//!
//! Main type: [`Snapshots`]. The state is copied out in one moment, as pointers; then one part of it is encoded and
//! written between two commits, so that nobody waits for long; the last step makes it count. A snapshot is begun while
//! records before it still wait for the disk, and sealed when they are durable: one that is withdrawn takes the
//! snapshot with it. A failure here loses nothing: the records are still there.

use crate::master::record::snapshot::Parts;
use crate::master::state::State;
use crate::model::id::Revision;
use crate::store::{Store, StoreError};

/// Counts records, and makes snapshots. The journal thread's own.
pub(super) struct Snapshots {
    after: u64,
    /// Records in the store beside the last snapshot.
    records: u64,
    /// Not before there are this many.
    due: u64,
    draft: Option<Draft>,
}

/// A snapshot under way.
struct Draft {
    at: Revision,
    parts: Parts,
    written: u32,
    /// Records that were committed since it was begun, some of which it may hold.
    records: u64,
}

impl Snapshots {
    /// `records` are in the store beside its snapshot.
    pub(super) const fn new(after: u64, records: u64) -> Self {
        Self { after, records, due: after, draft: None }
    }

    /// Whether a snapshot is under way: then whoever commits doesn't wait for records.
    pub(super) const fn is_busy(&self) -> bool {
        self.draft.is_some()
    }

    /// Counts records that were committed.
    pub(super) fn count(&mut self, committed: usize) {
        let committed = u64::try_from(committed).unwrap_or(u64::MAX);
        self.records = self.records.saturating_add(committed);
        if let Some(draft) = &mut self.draft {
            draft.records = draft.records.saturating_add(committed);
        }
    }

    /// Drops the snapshot that is under way: it holds what was withdrawn.
    pub(super) fn abandon(&mut self) {
        self.draft = None;
    }

    /// Begins a snapshot that is due, or takes the next step of one. Blocks for one write at most. `is_stopping`: no
    /// snapshot is worth waiting for any more.
    pub(super) fn go_on(&mut self, state: &State, store: &mut dyn Store, is_stopping: bool) {
        if is_stopping {
            self.draft = None;
        } else if let Some(draft) = self.draft.take() {
            match step(draft, state, store) {
                Ok(Next::Part(draft)) => self.draft = Some(draft),
                Ok(Next::Done { at, parts, records }) => {
                    log::info!(
                        "snapshot made position={at} parts={parts} records_dropped={}",
                        self.records - records
                    );
                    (self.records, self.due) = (records, self.after);
                }
                Err(error) => {
                    log::warn!("no snapshot was made because=failed to {error}");
                    self.due = self.records.saturating_add(self.after);
                }
            }
        } else if self.is_due(state) {
            let (at, parts) = state.snapshot();
            self.draft = Some(Draft { at, parts, written: 0, records: 0 });
        }
    }

    fn is_due(&mut self, state: &State) -> bool {
        if self.records < self.due {
            return false;
        }
        self.due = self.due.max(state.size().saturating_mul(2));
        self.records >= self.due
    }
}

/// What a step came to.
enum Next {
    Part(Draft),
    Done { at: Revision, parts: u32, records: u64 },
}

fn step(mut draft: Draft, state: &State, store: &mut dyn Store) -> Result<Next, StoreError> {
    match draft.parts.next() {
        Some(part) => {
            store.put_snapshot(draft.at, draft.written, &part)?;
            draft.written += 1;
            Ok(Next::Part(draft))
        }
        // What it holds was queued when it was begun, so the next commit takes it.
        None if !state.journal().is_settled(draft.at) => Ok(Next::Part(draft)),
        None => {
            store.seal_snapshot(draft.at, draft.written)?;
            Ok(Next::Done { at: draft.at, parts: draft.written, records: draft.records })
        }
    }
}
