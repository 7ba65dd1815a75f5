//! The default store: one redb file in the master's data folder.
//!
//! One row per commit, the whole batch in it: `position of the first record → (length, record)*`. A commit is one
//! write transaction with an fsync, so a batch of a thousand costs hardly more than one record. A snapshot is rows of
//! its own, `(position, part) → bytes`, that count once `meta` names their position; the records that it stands for
//! go in the same transaction. The audit is a table of its own, `number → line`, the last ones of it; a line is written
//! in the transaction of its change. redb uses their room again; much of it is given back at the next start.
//!
//! Invariant: rows follow each other and the snapshot without a gap; a file where they don't is refused as damaged.

mod rows;

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError, WriteTransaction,
};

use super::{Audit, AuditLines, Each, EachLine, Frozen, MOST_AUDITED, Store, StoreError};
use crate::model::id::Revision;

use rows::{pack, replay};

const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
const SNAPSHOT: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("snapshot");
const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// What this version writes: 2 has snapshots, and empty records in place of withdrawn ones.
const FORMAT: u64 = 2;
/// The oldest that it takes up.
const OLDEST_FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";
/// The position of the snapshot that counts, and the number of its parts.
const SNAPSHOT_KEY: &str = "snapshot";
const PARTS_KEY: &str = "snapshot_parts";

/// Bytes of the file that redb may keep in memory. It is read once, at the start: what is kept of it then is of no use,
/// and would only grow with the file.
const CACHE_BYTES: usize = 1 << 20;

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
        // It holds the keys of nodes: it is its owner's alone, wherever it may be copied to.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io("close to others"))?;
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
        let size = fs::metadata(&self.path).map_or(0, |file| file.len());
        if size < COMPACT.0 || size / COMPACT.1 < used {
            return;
        }
        match self.database().map(Database::compact) {
            Ok(Ok(_)) => {
                let left = fs::metadata(&self.path).map_or(0, |file| file.len());
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
    fn append(
        &mut self,
        first: Revision,
        records: &[Vec<u8>],
        audit: AuditLines<'_>,
    ) -> Result<(), StoreError> {
        let row = pack(records);
        self.write(|write| {
            if audit.first > 0 {
                put_audit(write, audit)?;
            }
            if records.is_empty() {
                return Ok(());
            }
            let mut journal = write.open_table(JOURNAL).map_err(io("write"))?;
            // Replaces what a failed attempt may have left there.
            journal.insert(first.0, row.as_slice()).map(drop).map_err(io("write"))
        })
    }

    fn last_audited(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database()?.begin_read().map_err(io("read"))?;
        let table = match read.open_table(AUDIT) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(unreadable(&self.path)(error)),
        };
        let last = table.last().map_err(unreadable(&self.path))?;
        Ok(last.map(|(_, line)| line.value().to_vec()))
    }

    fn audit(&mut self) -> Result<Box<dyn Audit>, StoreError> {
        let read = self.database()?.begin_read().map_err(io("read"))?;
        Ok(Box::new(Moment { read, path: self.path.clone() }))
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

impl Audit for Moment {
    fn replay(&self, from: u64, each: &mut EachLine<'_>) -> Result<(), StoreError> {
        let table = match self.read.open_table(AUDIT) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(unreadable(&self.path)(error)),
        };
        for row in table.range(from..).map_err(unreadable(&self.path))? {
            let (_, line) = row.map_err(unreadable(&self.path))?;
            each(line.value())?;
        }
        Ok(())
    }
}

/// Writes lines of the audit in the place of what a failed attempt may have left there, and drops the oldest where there
/// are too many.
fn put_audit(write: &WriteTransaction, audit: AuditLines<'_>) -> Result<(), StoreError> {
    let mut table = write.open_table(AUDIT).map_err(io("write"))?;
    table.retain_in(audit.first.., |_, _| false).map_err(io("write"))?;
    for (number, line) in (audit.first..).zip(audit.lines) {
        table.insert(number, line.as_slice()).map_err(io("write"))?;
    }
    let end = audit.first + u64::try_from(audit.lines.len()).unwrap_or(u64::MAX);
    table.retain_in(..end.saturating_sub(MOST_AUDITED), |_, _| false).map_err(io("write"))
}

/// The position of the snapshot that counts.
fn meta(write: &WriteTransaction) -> Result<Option<u64>, StoreError> {
    let meta = write.open_table(META).map_err(io("write"))?;
    let sealed = meta.get(SNAPSHOT_KEY).map_err(io("read"))?;
    Ok(sealed.map(|at| at.value()))
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
mod tests;
