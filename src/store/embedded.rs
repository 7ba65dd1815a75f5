//! The default store: one redb file in the master's data folder.
//!
//! One row per commit, the whole batch in it: `position of the first record → (length, record)*`. A commit is one
//! write transaction with an fsync, so a batch of a thousand costs hardly more than one record. A snapshot is rows of
//! its own, `(position, part) → bytes`, that count once `meta` names their position; the records that it stands for
//! go in the same transaction. redb uses their room again; much of it is given back at the next start.
//!
//! Invariant: rows follow each other and the snapshot without a gap; a file where they don't is refused as damaged.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError, WriteTransaction,
};

use super::{Each, Frozen, Store, StoreError, Stored};
use crate::model::id::Revision;

const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
const SNAPSHOT: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("snapshot");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// What this version writes: 2 has snapshots, and empty records in place of withdrawn ones.
const FORMAT: u64 = 2;
/// The oldest that it takes up.
const OLDEST_FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";
/// The position of the snapshot that counts, and the number of its parts.
const SNAPSHOT_KEY: &str = "snapshot";
const PARTS_KEY: &str = "snapshot_parts";

/// Bytes of the file that redb may keep in memory: it is read once, at the start.
const CACHE_BYTES: usize = 16 << 20;

/// A file that is smaller than this, or not this many times bigger than what is in it, isn't worth compacting.
const COMPACT: (u64, u64) = (64 << 20, 4);

/// A redb file.
pub struct EmbeddedStore {
    /// None: it failed. redb takes nothing more then, not even to read, until the file is opened again.
    database: Option<Database>,
    path: PathBuf,
}

impl EmbeddedStore {
    /// Opens the file, or makes it. A file of an earlier format is taken up.
    ///
    /// # Errors
    /// It is in use, damaged, from a later version, or the disk refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // All pages are checked: a changed byte is told, not believed.
        let database =
            builder().set_check_integrity_on_open(true).create(path).map_err(|e| open_error(path, &e))?;
        let mut store = Self { database: Some(database), path: path.to_owned() };
        match store.format()? {
            Some(FORMAT) => {}
            Some(format) if !(OLDEST_FORMAT..=FORMAT).contains(&format) => {
                return Err(StoreError::TooNew { path: path.to_owned(), format });
            }
            earlier => {
                store.write(|write| {
                    write
                        .open_table(META)
                        .map_err(io("write"))?
                        .insert(FORMAT_KEY, FORMAT)
                        .map_err(io("write"))?;
                    write.open_table(JOURNAL).map_err(io("write"))?;
                    write.open_table(SNAPSHOT).map(drop).map_err(io("write"))
                })?;
                if let Some(format) = earlier {
                    log::info!(
                        "store migrated file={} from_format={format} to_format={FORMAT}",
                        path.display()
                    );
                }
            }
        }
        Ok(store)
    }

    /// The database; after a failure the file is opened again. Never makes a new one: that would be empty.
    fn database(&mut self) -> Result<&mut Database, StoreError> {
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
            Err(error) => Err(unreadable(&self.path)(error)),
        }
    }

    /// Writes something, whole or not at all.
    fn write(
        &mut self,
        what: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let attempt = || {
            let mut write = self.database()?.begin_write().map_err(io("write"))?;
            // Opens at once after a crash, whatever the size of the file.
            write.set_quick_repair(true);
            what(&write)?;
            write.commit().map_err(io("write"))
        };
        let written = attempt();
        if written.is_err() {
            self.database = None;
        }
        written
    }

    /// Gives back a file's unused room, where there is much. A failure is told, and hurts nobody.
    fn compact_if_sparse(&mut self, used: u64) {
        let size = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        if size < COMPACT.0 || size / COMPACT.1 < used {
            return;
        }
        match self.database().map(Database::compact) {
            Ok(Ok(_)) => {
                let left = std::fs::metadata(&self.path).map_or(0, |file| file.len());
                log::info!("store compacted file={} bytes={size} bytes_left={left}", self.path.display());
            }
            Ok(Err(error)) => {
                self.database = None;
                log::warn!("the store was not compacted file={} because={error}", self.path.display());
            }
            Err(error) => log::warn!("the store was not compacted because=failed to {error}"),
        }
    }
}

impl Store for EmbeddedStore {
    fn append(&mut self, first: Revision, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let row = pack(records);
        self.write(|write| {
            let mut journal = write.open_table(JOURNAL).map_err(io("write"))?;
            // Replaces what a failed attempt may have left there.
            journal.insert(first.0, row.as_slice()).map(drop).map_err(io("write"))
        })
    }

    fn put_snapshot(&mut self, at: Revision, part: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(|write| {
            let mut parts = write.open_table(SNAPSHOT).map_err(io("write"))?;
            if part == 0 {
                let sealed = meta(write)?;
                parts.retain(|(of, _), _| sealed == Some(of)).map_err(io("write"))?;
            }
            parts.insert((at.0, part), bytes).map(drop).map_err(io("write"))
        })
    }

    fn seal_snapshot(&mut self, at: Revision, parts: u32) -> Result<(), StoreError> {
        self.write(|write| {
            let mut meta = write.open_table(META).map_err(io("write"))?;
            meta.insert(SNAPSHOT_KEY, at.0).map_err(io("write"))?;
            meta.insert(PARTS_KEY, u64::from(parts)).map_err(io("write"))?;
            let mut kept = write.open_table(SNAPSHOT).map_err(io("write"))?;
            kept.retain(|(of, _), _| of == at.0).map_err(io("write"))?;
            let mut journal = write.open_table(JOURNAL).map_err(io("write"))?;
            // The last row that begins by then may hold later records too.
            let last = journal.range(..=at.0).map_err(io("read"))?.next_back();
            let last = last.transpose().map_err(io("read"))?.map_or(0, |(first, _)| first.value());
            journal.retain_in(..last, |_, _| false).map_err(io("write"))
        })
    }

    fn replay(&mut self, each: &mut Each<'_>) -> Result<(), StoreError> {
        let read = self.database()?.begin_read().map_err(io("read"))?;
        let used = replay(&read, &self.path, each)?;
        drop(read);
        self.compact_if_sparse(used);
        Ok(())
    }

    fn freeze(&mut self) -> Result<Box<dyn Frozen>, StoreError> {
        let read = self.database()?.begin_read().map_err(io("read"))?;
        Ok(Box::new(Moment { read, path: self.path.clone() }))
    }
}

/// What the file held at one moment. redb doesn't use the room of that again as long as this lives.
struct Moment {
    read: ReadTransaction,
    path: PathBuf,
}

impl Frozen for Moment {
    fn replay(&self, each: &mut Each<'_>) -> Result<(), StoreError> {
        replay(&self.read, &self.path, each).map(drop)
    }
}

/// The position of the snapshot that counts.
fn meta(write: &WriteTransaction) -> Result<Option<u64>, StoreError> {
    let meta = write.open_table(META).map_err(io("write"))?;
    let sealed = meta.get(SNAPSHOT_KEY).map_err(io("read"))?;
    Ok(sealed.map(|at| at.value()))
}

/// Gives everything back, and says how many bytes that was.
fn replay(read: &ReadTransaction, path: &Path, each: &mut Each<'_>) -> Result<u64, StoreError> {
    let (at, mut used) = replay_snapshot(read, path, each)?;
    let journal = read.open_table(JOURNAL).map_err(unreadable(path))?;
    let mut expected = at.map(|at| at + 1);
    for row in journal.iter().map_err(unreadable(path))? {
        let (first, packed) = row.map_err(unreadable(path))?;
        let mut position = first.value();
        // Only the first row may begin with records that the snapshot stands for already.
        if expected
            .is_some_and(|expected| position > expected || (position < expected && at != Some(expected - 1)))
        {
            return Err(damaged(path, format_args!("a gap before position {position}")));
        }
        used += u64::try_from(packed.value().len()).unwrap_or(0);
        for record in Unpack(packed.value()) {
            let record = record
                .ok_or_else(|| damaged(path, format_args!("the row at {} is cut short", first.value())))?;
            if at.is_none_or(|at| position > at) {
                each(Stored::Record(Revision(position), record))?;
            }
            position += 1;
        }
        expected = Some(position.max(at.map_or(0, |at| at + 1)));
    }
    Ok(used)
}

/// Gives the parts of the snapshot back, its position, and how many bytes they are.
fn replay_snapshot(
    read: &ReadTransaction,
    path: &Path,
    each: &mut Each<'_>,
) -> Result<(Option<u64>, u64), StoreError> {
    let meta = read.open_table(META).map_err(unreadable(path))?;
    let number = |key| Ok(meta.get(key).map_err(io("read"))?.map(|number| number.value()));
    let (Some(at), Some(count)) = (number(SNAPSHOT_KEY)?, number(PARTS_KEY)?) else { return Ok((None, 0)) };
    let parts = read.open_table(SNAPSHOT).map_err(unreadable(path))?;
    let mut used = 0;
    for part in 0..u32::try_from(count).unwrap_or(u32::MAX) {
        let bytes = parts.get((at, part)).map_err(unreadable(path))?;
        let bytes =
            bytes.ok_or_else(|| damaged(path, format_args!("part {part} of the snapshot is missing")))?;
        used += u64::try_from(bytes.value().len()).unwrap_or(0);
        each(Stored::Part(Revision(at), bytes.value()))?;
    }
    Ok((Some(at), used))
}

fn damaged(path: &Path, why: impl Display) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), why: why.to_string() }
}

/// What could not be read is damaged, unless the disk or a failure before is to blame.
fn unreadable<E: Into<redb::Error>>(path: &Path) -> impl FnOnce(E) -> StoreError {
    move |error| {
        let error = error.into();
        let is_disk =
            matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed);
        if is_disk { io("read")(error) } else { damaged(path, error) }
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
            .replay(&mut |stored| {
                let (Stored::Part(at, bytes) | Stored::Record(at, bytes)) = stored;
                all.push((at.0, bytes.to_vec()));
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
        assert!(matches!(store.replay(&mut |_| Ok(())), Err(StoreError::Damaged { .. })));
        assert_eq!(Unpack(&[2, 0, 0, 0, 9]).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_snapshot_stands_for_what_was_before_it_and_only_once_it_is_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let mut store = EmbeddedStore::open(&path).unwrap();
        let record = |number: u64| (number, vec![u8::try_from(number).unwrap()]);
        for first in [1, 3, 5] {
            store.append(Revision(first), &[record(first).1, record(first + 1).1]).unwrap();
        }
        // A draft that is never sealed, and one that is, in the middle of a row.
        store.put_snapshot(Revision(2), 0, b"draft").unwrap();
        assert_eq!(replayed(&mut store), (1..=6).map(record).collect::<Vec<_>>());
        store.put_snapshot(Revision(3), 0, b"x").unwrap();
        store.put_snapshot(Revision(3), 1, b"y").unwrap();
        store.seal_snapshot(Revision(3), 2).unwrap();
        let expected = [vec![(3, b"x".to_vec()), (3, b"y".to_vec())], (4..=6).map(record).collect()].concat();
        assert_eq!(replayed(&mut store), expected);
        let frozen = store.freeze().unwrap();
        store.put_snapshot(Revision(6), 0, b"z").unwrap();
        assert_eq!(replayed(&mut store), expected);
        store.seal_snapshot(Revision(6), 1).unwrap();
        store.append(Revision(7), &[record(7).1]).unwrap();
        assert_eq!(
            replayed(&mut EmbeddedStore { database: store.database.take(), path: path.clone() }),
            [(6, b"z".to_vec()), record(7)]
        );
        let mut count = 0;
        let given = frozen.replay(&mut |_| {
            count += 1;
            Ok(())
        });
        assert!(given.is_err() || count == 5, "as it was, or not at all once the file is closed");
    }

    #[test]
    fn no_changed_byte_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let mut store = EmbeddedStore::open(&path).unwrap();
        store.put_snapshot(Revision(1), 0, &[7; 9_000]).unwrap();
        store.seal_snapshot(Revision(1), 1).unwrap();
        for first in 2..12 {
            store.append(Revision(first), &[vec![9; 1_000]]).unwrap();
        }
        let all = replayed(&mut store);
        drop(store);
        let sound = std::fs::read(&path).unwrap();
        let mut refusals = 0;
        for at in (0..sound.len()).step_by(1_021) {
            let mut changed = sound.clone();
            changed[at] ^= 0x40;
            std::fs::write(&path, &changed).unwrap();
            let opened = EmbeddedStore::open(&path);
            match opened {
                Ok(mut store) => assert_eq!(replayed(&mut store), all, "byte {at}"),
                Err(error) => {
                    assert!(error.to_string().contains("state.redb"), "byte {at}: {error}");
                    refusals += 1;
                }
            }
        }
        assert!(refusals > 5, "{refusals}");
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
