//! A store in memory whose disk the test holds in its hands: it can be slow, refuse, or write and still say that it
//! failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use podling::model::id::Revision;
use podling::store::{Each, Store, StoreError};

/// What the disk does with a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes it.
    #[default]
    None,
    /// It is full.
    Refuses,
    /// It takes it, but the writer is told that it didn't.
    LandsAndFails,
}

/// What is on the disk, and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) rows: BTreeMap<u64, Vec<Vec<u8>>>,
    pub(crate) fault: Fault,
    /// Writes that were told that they failed.
    pub(crate) failures: u32,
}

/// Its clones share one disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyStore(Arc<Mutex<Disk>>);

impl FaultyStore {
    /// The disk. While the guard lives, every write waits.
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock()
    }
}

impl Store for FaultyStore {
    fn append(&mut self, first: Revision, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut disk = self.disk();
        if disk.fault != Fault::Refuses {
            disk.rows.insert(first.0, records.to_vec());
        }
        if disk.fault == Fault::None {
            return Ok(());
        }
        disk.failures += 1;
        Err(StoreError::Io { operation: "write", why: "no space left on device".to_owned() })
    }

    fn replay(&mut self, each: &mut Each<'_>) -> Result<(), StoreError> {
        let disk = self.disk();
        let mut expected = disk.rows.keys().next().copied().unwrap_or_default();
        for (first, records) in &disk.rows {
            assert_eq!(*first, expected, "a gap, or two rows for one position");
            for record in records {
                each(Revision(expected), record)?;
                expected += 1;
            }
        }
        Ok(())
    }
}
