//! A store in memory whose disk the test holds in its hands: it can be slow, refuse, or write and still say that it
//! failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use podling::model::id::Revision;
use podling::store::{AuditLines, Each, Frozen, Store, StoreError, Stored};

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
    /// Parts that are not sealed, or that are, with the position of those.
    pub(crate) parts: BTreeMap<(u64, u32), Vec<u8>>,
    pub(crate) sealed: Option<(u64, u32)>,
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

impl FaultyStore {
    fn write(&self, what: impl FnOnce(&mut Disk)) -> Result<(), StoreError> {
        let mut disk = self.disk();
        if disk.fault != Fault::Refuses {
            what(&mut disk);
        }
        if disk.fault == Fault::None {
            return Ok(());
        }
        disk.failures += 1;
        Err(StoreError::Io { operation: "write", why: "no space left on device".to_owned() })
    }
}

impl Store for FaultyStore {
    fn append(
        &mut self,
        first: Revision,
        records: &[Vec<u8>],
        _audit: AuditLines<'_>,
    ) -> Result<(), StoreError> {
        self.write(|disk| drop(disk.rows.insert(first.0, records.to_vec())))
    }

    fn put_snapshot(&mut self, at: Revision, part: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(|disk| {
            let sealed = disk.sealed.map(|(at, _)| at);
            disk.parts.retain(|(of, _), _| part > 0 || sealed == Some(*of));
            disk.parts.insert((at.0, part), bytes.to_vec());
        })
    }

    fn seal_snapshot(&mut self, at: Revision, parts: u32) -> Result<(), StoreError> {
        self.write(|disk| {
            disk.sealed = Some((at.0, parts));
            disk.parts.retain(|(of, _), _| *of == at.0);
            disk.rows.retain(|first, records| first + records.len() as u64 > at.0 + 1);
        })
    }

    fn replay(&mut self, each: &mut Each<'_>) -> Result<(), StoreError> {
        let disk = self.disk();
        let (at, parts) = disk.sealed.unwrap_or_default();
        for part in 0..parts {
            each(Stored::Part(Revision(at), &disk.parts[&(at, part)]))?;
        }
        let mut expected = disk.rows.keys().next().copied().unwrap_or(at + 1);
        assert!(expected <= at + 1, "a gap after the snapshot");
        for (first, records) in &disk.rows {
            assert_eq!(*first, expected, "a gap, or two rows for one position");
            for record in records {
                if expected > at {
                    each(Stored::Record(Revision(expected), record))?;
                }
                expected += 1;
            }
        }
        Ok(())
    }
    fn freeze(&mut self) -> Result<Box<dyn Frozen>, StoreError> {
        Err(StoreError::Io { operation: "copy", why: "it is kept in memory alone".to_owned() })
    }
}
