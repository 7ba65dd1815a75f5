//! A store that holds what it was given, in memory, and gives it back. It takes no snapshots.

use podling::model::id::Revision;
use podling::store::{AuditLines, Each, Frozen, Store, StoreError, Stored};

/// The records, with their positions.
#[derive(Default)]
pub(crate) struct Kept(Vec<(Revision, Vec<u8>)>);

impl Store for Kept {
    fn append(
        &mut self,
        first: Revision,
        records: &[Vec<u8>],
        _audit: AuditLines<'_>,
    ) -> Result<(), StoreError> {
        let positions = (first.0..).map(Revision);
        self.0.extend(positions.zip(records.iter().cloned()));
        Ok(())
    }

    fn put_snapshot(&mut self, _: Revision, _: u32, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn seal_snapshot(&mut self, _: Revision, _: u32) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&mut self, each: &mut Each<'_>) -> Result<(), StoreError> {
        self.0.iter().try_for_each(|(at, record)| each(Stored::Record(*at, record)))
    }

    fn freeze(&mut self) -> Result<Box<dyn Frozen>, StoreError> {
        Err(StoreError::Io { operation: "copy", why: "it is kept in memory alone".to_owned() })
    }
}
