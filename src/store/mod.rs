//! The ground that the journal stands on: where records become durable, and come back from after a start.
//!
//! [`Store`] is opaque to what it holds: positions and bytes. It has two implementations, [`memory::MemoryStore`]
//! (tests, `--store memory`) and [`embedded::EmbeddedStore`] (the default). The journal thread is the only caller
//! once the master runs, so a store needs no lock of its own.

pub mod embedded;
pub mod memory;

use std::fmt;
use std::path::PathBuf;

use crate::model::id::Revision;

/// Keeps records in the order of their positions.
pub trait Store: Send {
    /// Makes records durable, all or none, at `first` and the positions after it, and lines of the audit with them.
    /// Either may be none. Blocks until they are on disk.
    ///
    /// # Errors
    /// The caller counts none of them as durable then, and its next call is for the same `first`, with at least as many
    /// records: they replace whatever was left by the one that failed, as do the lines of the audit, however many they
    /// are. A store that failed works again by itself.
    fn append(
        &mut self,
        first: Revision,
        records: &[Vec<u8>],
        audit: AuditLines<'_>,
    ) -> Result<(), StoreError>;

    /// The last line of the audit. None: there is none.
    ///
    /// # Errors
    /// The store can't be read.
    fn last_audited(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    /// The audit as it is now, to be read by another thread. Never blocks on what is read.
    ///
    /// # Errors
    /// It keeps none, or can't be read.
    fn audit(&mut self) -> Result<Box<dyn Audit>, StoreError> {
        Err(StoreError::Io { operation: "read the audit of", why: "it keeps none".to_owned() })
    }

    /// Keeps one part of a snapshot of what the records up to `at` come to. Parts are numbered from 0. They count only
    /// once they are sealed, and may never be: part 0 of another snapshot drops them. Blocks until they are on disk.
    ///
    /// # Errors
    /// The part isn't kept. What was sealed before still counts.
    fn put_snapshot(&mut self, at: Revision, part: u32, bytes: &[u8]) -> Result<(), StoreError>;

    /// From now on the `parts` of the snapshot at `at` stand for all records up to there, which are dropped with the
    /// snapshot before. All of those records are durable by now. Blocks until that is on disk.
    ///
    /// # Errors
    /// The snapshot doesn't count, and nothing was dropped.
    fn seal_snapshot(&mut self, at: Revision, parts: u32) -> Result<(), StoreError>;

    /// Gives the snapshot back, where there is one, and then every record after it, oldest first. Ends with the first
    /// error that `each` returns.
    ///
    /// # Errors
    /// The store can't be read, or `each` refused something.
    fn replay(&mut self, each: &mut Each<'_>) -> Result<(), StoreError>;

    /// What it holds now, to be copied. Never blocks on what is copied.
    ///
    /// # Errors
    /// It keeps nothing, or can't be read.
    fn freeze(&mut self) -> Result<Box<dyn Frozen>, StoreError>;
}

/// How many lines of the audit are kept, the last ones.
pub const MOST_AUDITED: u64 = 200_000;

/// Lines of the audit, numbered from `first` on, in the place of whatever stands there. The default is none, which
/// leaves the audit as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditLines<'a> {
    /// The number of the first one. 0: there are none.
    pub first: u64,
    /// The lines.
    pub lines: &'a [Vec<u8>],
}

/// What is called with each line of the audit that is given back.
pub type EachLine<'a> = dyn FnMut(&[u8]) -> Result<(), StoreError> + 'a;

/// The audit at one moment.
pub trait Audit: Send {
    /// Gives the lines back that are kept, from this number on, oldest first.
    ///
    /// # Errors
    /// The store can't be read, or `each` refused something.
    fn replay(&self, from: u64, each: &mut EachLine<'_>) -> Result<(), StoreError>;
}

/// What a store held at one moment. Another thread may read it while the store goes on.
pub trait Frozen: Send {
    /// Gives everything back as [`Store::replay`] would have then.
    ///
    /// # Errors
    /// The store can't be read, or `each` refused something.
    fn replay(&self, each: &mut Each<'_>) -> Result<(), StoreError>;
}

/// Something that is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored<'a> {
    /// The next part of the snapshot at this position.
    Part(Revision, &'a [u8]),
    /// The record at this position.
    Record(Revision, &'a [u8]),
}

/// What is called with each thing that is given back.
pub type Each<'a> = dyn FnMut(Stored<'_>) -> Result<(), StoreError> + 'a;

/// Why a store failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Somebody else has it open.
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// What is in it can't be right.
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It was written by a later version.
    TooNew {
        /// Its file.
        path: PathBuf,
        /// The format that it says it has.
        format: u64,
    },
    /// The disk refuses.
    Io {
        /// What was tried.
        operation: &'static str,
        /// In the system's words.
        why: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => write!(f, "{} is in use by another process", path.display()),
            Self::Damaged { path, why } => write!(f, "{} is damaged: {why}", path.display()),
            Self::TooNew { path, format } => {
                write!(f, "{} has the format {format}, which a later version wrote", path.display())
            }
            Self::Io { operation, why } => write!(f, "{operation} the store: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}
