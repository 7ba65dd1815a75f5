//! A store without a disk, for tests and `--store memory`: it takes everything and gives nothing back after a start.

use super::{Each, Frozen, Store, StoreError};
use crate::model::id::Revision;

/// Forgets at once. What the state needs, the state itself holds.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn append(&mut self, _first: Revision, _records: &[Vec<u8>]) -> Result<(), StoreError> {
        Ok(())
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
