//! `podling-master backup FILE` and `restore FILE`: a copy of all that the master remembers, and the way back.
//!
//! A backup is taken from the running master through a socket in its data folder (`admin`), or from the folder itself
//! where none runs. Either way it is the store as it was at one moment: everything acknowledged before is in it.
//! A restore checks all of FILE first, then replaces the store in one step and keeps the old one aside. It leaves the
//! file `quarantine` in the data folder, one line that says why: the state that comes back is older than what the nodes
//! run, so the master that starts next must not take anything unknown for wrong.

mod admin;
mod file;
mod format;
mod restore;

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::master::{STORE_FILE, identity};
use crate::runtime::data_dir::{DataDir, DataDirError};
use crate::store::embedded::EmbeddedStore;
use crate::store::{Store, StoreError, Stored};

pub(in crate::master) use admin::Admin;
use file::Draft;
use format::FormatError;
pub use restore::restore;

/// Why there is no backup, or nothing was restored.
#[derive(Debug)]
pub enum BackupError {
    /// The data folder holds no store.
    NoStore(PathBuf),
    /// A file can't be written or read.
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no backup.
    Foreign(PathBuf),
    /// A later version wrote it.
    TooNew {
        /// The file.
        path: PathBuf,
        /// The format that it says it has.
        format: u64,
    },
    /// The file was changed or cut short.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The master that runs gives none.
    Refused {
        /// Its data folder.
        folder: PathBuf,
        /// Why not.
        why: String,
    },
    /// The data folder can't be used.
    DataDir(DataDirError),
    /// The store can't be used.
    Store(StoreError),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStore(folder) => write!(f, "{} holds no master's state", folder.display()),
            Self::File { operation, path, source } => {
                write!(f, "failed to {operation} {}: {source}", path.display())
            }
            Self::Foreign(path) => write!(f, "{} is not a backup of a master", path.display()),
            Self::TooNew { path, format } => {
                write!(f, "{} has the format {format}, which a later version wrote", path.display())
            }
            Self::Damaged { path, why } => write!(f, "{} is damaged: {why}", path.display()),
            Self::Refused { folder, why } => {
                write!(f, "the master that runs on {} gives no backup: {why}", folder.display())
            }
            Self::DataDir(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BackupError {}

/// Writes all that the master of a data folder remembers to `target`, which must not be there. Blocks until it is on
/// disk. Says to `out` what it holds.
///
/// # Errors
/// There is no backup then, and no file.
pub fn backup(data_dir: &Path, target: &Path, out: &mut dyn Write) -> Result<(), BackupError> {
    let at_file = |operation| move |source| BackupError::File { operation, path: target.to_owned(), source };
    if !data_dir.is_dir() {
        return Err(BackupError::NoStore(data_dir.to_owned()));
    }
    let mut draft = Draft::create(target).map_err(at_file("create"))?;
    match DataDir::open(data_dir) {
        Ok(folder) => copy_from_folder(&folder, &mut draft.file, target)?,
        Err(DataDirError::InUse(_)) => copy_from_master(data_dir, &mut draft.file, target)?,
        Err(error) => return Err(BackupError::DataDir(error)),
    }
    draft.file.rewind().map_err(at_file("read"))?;
    let found = check(&mut draft.file, target)?;
    draft.finish().map_err(at_file("write"))?;
    // A reader that went away doesn't undo the backup.
    let _ = writeln!(out, "{}: {found}", target.display());
    Ok(())
}

fn copy_from_folder(folder: &DataDir, file: &mut File, target: &Path) -> Result<(), BackupError> {
    let store = folder.file(STORE_FILE);
    let who = identity::read(folder).map_err(BackupError::DataDir)?.filter(|_| store.is_file());
    let who = who.ok_or_else(|| BackupError::NoStore(folder.path().to_owned()))?;
    let mut store = EmbeddedStore::open(&store).map_err(BackupError::Store)?;
    let frozen = store.freeze().map_err(BackupError::Store)?;
    format::write(&mut BufWriter::new(file), &who, frozen.as_ref()).map_err(|error| told(target, error))
}

fn copy_from_master(data_dir: &Path, file: &mut File, target: &Path) -> Result<(), BackupError> {
    let refused = |why: String| BackupError::Refused { folder: data_dir.to_owned(), why };
    let mut master = admin::connect(data_dir).map_err(|error| refused(error.to_string()))?;
    let mut start = Vec::new();
    let asked = (&mut master).take(admin::ERROR.len() as u64).read_to_end(&mut start);
    asked.map_err(|error| refused(error.to_string()))?;
    if start == admin::ERROR.as_bytes() {
        let mut why = String::new();
        let _ = master.read_to_string(&mut why);
        return Err(refused(why.trim().to_owned()));
    }
    let copied = file.write_all(&start).and_then(|()| io::copy(&mut master, file));
    copied.map(drop).map_err(|source| BackupError::File {
        operation: "write",
        path: target.to_owned(),
        source,
    })
}

/// What a backup holds.
struct Contents {
    who: identity::Identity,
    position: u64,
    records: u64,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, position, records } = self;
        write!(f, "cluster {} at position {position}, {records} records beside the snapshot", who.cluster_id)
    }
}

/// Reads a backup to its end.
fn check(file: &mut File, path: &Path) -> Result<Contents, BackupError> {
    let (mut position, mut records) = (0, 0);
    let who = format::read(file, &mut |stored| {
        match stored {
            Stored::Part(at, _) => position = at.0,
            Stored::Record(at, _) => (position, records) = (at.0, records + 1),
        }
        Ok(())
    });
    Ok(Contents { who: who.map_err(|error| told(path, error))?, position, records })
}

/// Names the file that something is wrong with.
fn told(path: &Path, error: FormatError) -> BackupError {
    let path = path.to_owned();
    match error {
        FormatError::Foreign => BackupError::Foreign(path),
        FormatError::TooNew(format) => BackupError::TooNew { path, format },
        FormatError::Damaged(why) => BackupError::Damaged { path, why },
        FormatError::Io(source) => BackupError::File { operation: "copy", path, source },
        FormatError::Store(error) => BackupError::Store(error),
    }
}
