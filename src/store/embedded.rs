//! The default store: one redb file in the master's data folder.
//!
//! One row per commit, the whole batch in it: `position of the first record → (length, record)*`. A commit is one
//! write transaction with an fsync, so a batch of a thousand costs hardly more than one record.
//!
//! Invariant: rows follow each other without a gap; a file where they don't is refused as damaged.
//! Deliberately absent: snapshots and compaction; the file grows with the history that it holds.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
};

use super::{Each, Store, StoreError};
use crate::model::id::Revision;

const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// What this version writes.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";

/// Bytes of the file that redb may keep in memory: it is read once, at the start.
const CACHE_BYTES: usize = 16 << 20;

/// A redb file.
pub struct EmbeddedStore {
    /// None: it failed. redb takes nothing more then, not even to read, until the file is opened again.
    database: Option<Database>,
    path: PathBuf,
}

impl EmbeddedStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It is in use, damaged, from a later version, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = builder().create(path).map_err(|e| open_error(path, &e))?;
        let mut store = Self { database: Some(database), path: path.to_owned() };
        match store.format()? {
            None => store.write_format()?,
            Some(FORMAT) => {}
            Some(format) => return Err(StoreError::TooNew { path: path.to_owned(), format }),
        }
        Ok(store)
    }

    /// The database; after a failure the file is opened again. Never makes a new one: that would be empty.
    fn database(&mut self) -> Result<&Database, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => builder().open(&self.path).map_err(|e| open_error(&self.path, &e))?,
        };
        Ok(self.database.insert(database))
    }

    fn format(&mut self) -> Result<Option<u64>, StoreError> {
        let read = self.database()?.begin_read().map_err(io("read"))?;
        match read.open_table(META) {
            Ok(meta) => Ok(meta.get(FORMAT_KEY).map_err(io("read"))?.map(|format| format.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(self.damaged(error)),
        }
    }

    fn write_format(&mut self) -> Result<(), StoreError> {
        let write = self.database()?.begin_write().map_err(io("write"))?;
        write.open_table(META).map_err(io("write"))?.insert(FORMAT_KEY, FORMAT).map_err(io("write"))?;
        write.open_table(JOURNAL).map_err(io("write"))?;
        write.commit().map_err(io("write"))
    }

    /// Writes one row. It replaces what a failed attempt may have left under the same position.
    fn write_row(&mut self, first: Revision, row: &[u8]) -> Result<(), StoreError> {
        let mut write = self.database()?.begin_write().map_err(io("write"))?;
        // Opens at once after a crash, whatever the size of the file.
        write.set_quick_repair(true);
        write.open_table(JOURNAL).map_err(io("write"))?.insert(first.0, row).map_err(io("write"))?;
        write.commit().map_err(io("write"))
    }

    fn damaged(&self, why: impl Display) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), why: why.to_string() }
    }
}

impl Store for EmbeddedStore {
    fn append(&mut self, first: Revision, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let written = self.write_row(first, &pack(records));
        if written.is_err() {
            self.database = None;
        }
        written
    }

    fn replay(&mut self, each: &mut Each<'_>) -> Result<(), StoreError> {
        let read = self.database()?.begin_read().map_err(io("read"))?;
        let journal = read.open_table(JOURNAL).map_err(|e| self.damaged(e))?;
        let mut expected: Option<u64> = None;
        for row in journal.iter().map_err(|e| self.damaged(e))? {
            let (first, packed) = row.map_err(|e| self.damaged(e))?;
            let first = first.value();
            if expected.is_some_and(|expected| expected != first) {
                return Err(self.damaged(format_args!("a gap before position {first}")));
            }
            let mut position = first;
            for record in Unpack(packed.value()) {
                let record =
                    record.ok_or_else(|| self.damaged(format_args!("the row at {first} is cut short")))?;
                each(Revision(position), record)?;
                position += 1;
            }
            expected = Some(position);
        }
        Ok(())
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// One row: each record with its length before it, as four bytes, least significant first.
fn pack(records: &[Vec<u8>]) -> Vec<u8> {
    let mut row = Vec::with_capacity(records.iter().map(|record| record.len() + 4).sum());
    for record in records {
        // A record holds one request's worth of tasks at most, and that is bounded by megabytes.
        let length = u32::try_from(record.len()).expect("invariant: a record is smaller than 4 GiB");
        row.extend_from_slice(&length.to_le_bytes());
        row.extend_from_slice(record);
    }
    row
}

/// The records of a row; `None` in place of one that is cut short.
struct Unpack<'a>(&'a [u8]);

impl<'a> Iterator for Unpack<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = self.0.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        self.0 = split.map_or(&[], |(_, rest)| rest);
        Some(split.map(|(record, _)| record))
    }
}

// redb's own enum, which may grow: whatever it says of the file, the file can't be used.
#[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and not exhaustive")]
fn open_error(path: &Path, error: &DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::Io { operation: "open", why: error.to_string() }
        }
        other => StoreError::Damaged { path: path.to_owned(), why: other.to_string() },
    }
}

fn io<E: Display>(operation: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Io { operation, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(store: &mut EmbeddedStore) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        store
            .replay(&mut |at, record| {
                all.push((at.0, record.to_vec()));
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn records_come_back_in_order_after_a_reopen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let mut store = EmbeddedStore::open(&path).unwrap();
        store.append(Revision(1), &[b"a".to_vec(), Vec::new()]).unwrap();
        store.append(Revision(3), &[b"c".to_vec()]).unwrap();
        drop(store);
        let expected = vec![(1, b"a".to_vec()), (2, Vec::new()), (3, b"c".to_vec())];
        assert_eq!(replayed(&mut EmbeddedStore::open(&path).unwrap()), expected);
    }

    #[test]
    fn a_gap_or_a_torn_row_is_damage_and_a_second_user_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let mut store = EmbeddedStore::open(&path).unwrap();
        assert!(matches!(EmbeddedStore::open(&path), Err(StoreError::InUse { .. })));
        store.append(Revision(1), &[b"a".to_vec()]).unwrap();
        store.append(Revision(3), &[b"c".to_vec()]).unwrap();
        assert!(matches!(store.replay(&mut |_, _| Ok(())), Err(StoreError::Damaged { .. })));
        assert_eq!(Unpack(&[2, 0, 0, 0, 9]).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_file_that_is_no_store_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
        let Err(error) = EmbeddedStore::open(&path) else { panic!("opened rubbish") };
        assert!(error.to_string().contains("state.redb is damaged"), "{error}");
    }
}
