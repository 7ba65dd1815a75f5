//! A store without a disk, for tests and `--store memory`: it takes everything and gives nothing back after a start.

use std::collections::VecDeque;

use super::{Audit, AuditLines, Each, EachLine, Frozen, Store, StoreError};
use crate::model::id::Revision;

/// How many lines of the audit are kept here, where they take memory.
const MOST_LINES: usize = 10_000;

/// Forgets at once. What the state needs, the state itself holds; the audit's last lines are here.
#[derive(Debug, Default)]
pub struct MemoryStore {
    audit: VecDeque<(u64, Vec<u8>)>,
}

impl Store for MemoryStore {
    fn append(
        &mut self,
        _first: Revision,
        _records: &[Vec<u8>],
        audit: AuditLines<'_>,
    ) -> Result<(), StoreError> {
        self.audit.extend((audit.first..).zip(audit.lines.iter().cloned()));
        let too_many = self.audit.len().saturating_sub(MOST_LINES);
        self.audit.drain(..too_many);
        Ok(())
    }

    fn audit(&mut self) -> Result<Box<dyn Audit>, StoreError> {
        Ok(Box::new(Lines(self.audit.iter().cloned().collect())))
    }

    fn put_snapshot(&mut self, _at: Revision, _part: u32, _bytes: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn seal_snapshot(&mut self, _at: Revision, _parts: u32) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&mut self, _each: &mut Each<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn freeze(&mut self) -> Result<Box<dyn Frozen>, StoreError> {
        Err(StoreError::Io { operation: "copy", why: "it is kept in memory alone".to_owned() })
    }
}

/// The audit, copied.
struct Lines(Vec<(u64, Vec<u8>)>);

impl Audit for Lines {
    fn replay(&self, from: u64, each: &mut EachLine<'_>) -> Result<(), StoreError> {
        let mut wanted = self.0.iter().filter(|(number, _)| *number >= from);
        wanted.try_for_each(|(_, line)| each(line))
    }
}
