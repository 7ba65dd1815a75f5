//! The way back: from a backup to a store, in place of what the data folder holds.
//!
//! Order: all of the backup is read and tried before anything is replaced; the marker `quarantine` is durable before
//! the store is; the store is replaced in one step, and the old one has another name by then. Wherever this is cut
//! short, doing it again ends well.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use super::{BackupError, Contents, check, format, told};
use crate::master::STORE_FILE;
use crate::master::identity::{self, Identity};
use crate::master::quarantine;
use crate::master::state::{State, StateSettings};
use crate::model::id::{Epoch, Revision};
use crate::runtime::clock;
use crate::runtime::data_dir::{DataDir, DataDirError};
use crate::store::embedded::EmbeddedStore;
use crate::store::{AuditLines, Store, StoreError, Stored};

/// Bytes of records that are written in one commit.
const COMMIT_BYTES: usize = 1 << 20;

/// Puts what `source` holds in the place of all that a data folder's master remembers. Blocks until it is on disk.
/// Says to `out` what it did.
///
/// # Errors
/// The file is no sound backup, a master runs there, or the disk refuses. Nothing was replaced then.
pub fn restore(data_dir: &Path, source: &Path, out: &mut dyn Write) -> Result<(), BackupError> {
    let at_file =
        |operation| move |error| BackupError::File { operation, path: source.to_owned(), source: error };
    let mut file = File::open(source).map_err(at_file("open"))?;
    let found = check(&mut file, source)?;
    let folder = DataDir::open(data_dir).map_err(BackupError::DataDir)?;
    file.rewind().map_err(at_file("read"))?;
    let draft = Draft(folder.file(&format!("{STORE_FILE}.restore")));
    fill(&draft.0, &mut file, source, &found)?;
    let aside = replace(&folder, &draft, source, &found).map_err(BackupError::DataDir)?;
    // A reader that went away doesn't undo what is done.
    let _ = writeln!(out, "{}: restored {found}", folder.path().display());
    if let Some(aside) = aside {
        let _ = writeln!(out, "what was there before is {}", aside.display());
    }
    Ok(())
}

/// A store that isn't anybody's yet.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it has its own name there is none of this name.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes a store of a backup, and a state of that store, to see that it can be.
fn fill(draft: &Path, file: &mut File, source: &Path, found: &Contents) -> Result<(), BackupError> {
    // Of a restore that was cut short.
    let _ = fs::remove_file(draft);
    let mut store = EmbeddedStore::open(draft).map_err(BackupError::Store)?;
    let mut filling = Filling { store: &mut store, parts: 0, sealed: Revision(0), waiting: None, bytes: 0 };
    format::read(file, &mut |stored| filling.take(stored)).map_err(|error| told(source, error))?;
    filling.finish().map_err(BackupError::Store)?;
    let settings = StateSettings {
        cluster: found.who.cluster_id.clone(),
        epoch: found.who.epoch,
        node_timeout: std::time::Duration::ZERO,
        pending_timeout: std::time::Duration::ZERO,
        retain: std::time::Duration::MAX,
    };
    let state = State::load(settings, &mut store, clock::now());
    let misfit = |error: StoreError| BackupError::Damaged { path: source.to_owned(), why: error.to_string() };
    state.map(drop).map_err(misfit)
}

/// A store that is being filled.
struct Filling<'a> {
    store: &'a mut EmbeddedStore,
    parts: u32,
    sealed: Revision,
    /// Records that go into one commit, and the position of the first one.
    waiting: Option<(Revision, Vec<Vec<u8>>)>,
    bytes: usize,
}

impl Filling<'_> {
    fn take(&mut self, stored: Stored<'_>) -> Result<(), StoreError> {
        match stored {
            Stored::Part(at, bytes) => {
                self.store.put_snapshot(at, self.parts, bytes)?;
                (self.parts, self.sealed) = (self.parts + 1, at);
                Ok(())
            }
            Stored::Record(at, bytes) => {
                self.waiting.get_or_insert((at, Vec::new())).1.push(bytes.to_vec());
                self.bytes += bytes.len();
                if self.bytes < COMMIT_BYTES { Ok(()) } else { self.commit() }
            }
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.waiting
            .take()
            .map_or(Ok(()), |(first, records)| self.store.append(first, &records, AuditLines::default()))
    }

    fn finish(mut self) -> Result<(), StoreError> {
        self.commit()?;
        if self.parts > 0 { self.store.seal_snapshot(self.sealed, self.parts) } else { Ok(()) }
    }
}

/// Puts the draft in the place of the store. Gives where the old one is, if there was one.
fn replace(
    folder: &DataDir,
    draft: &Draft,
    source: &Path,
    found: &Contents,
) -> Result<Option<PathBuf>, DataDirError> {
    let why = format!("restored from {}: {found}\n", source.display());
    folder.write(quarantine::FILE, why.as_bytes())?;
    let now_secs = clock::wall().unix_millis() / 1000;
    let held = identity::read(folder)?.map_or(0, |held| held.epoch.0);
    let epoch = Epoch(found.who.epoch.0.max(held).max(now_secs));
    identity::write(folder, &Identity { cluster_id: found.who.cluster_id.clone(), epoch })?;
    let store = folder.file(STORE_FILE);
    let aside = folder.file(&format!("{STORE_FILE}.before-{now_secs}"));
    let io = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| DataDirError::Io { operation, path, source }
    };
    let had_one = store.is_file();
    if had_one {
        fs::hard_link(&store, &aside).map_err(io("keep the old store as", &aside))?;
    }
    fs::rename(&draft.0, &store).map_err(io("replace", &store))?;
    File::open(folder.path()).and_then(|folder| folder.sync_all()).map_err(io("write", folder.path()))?;
    Ok(had_one.then_some(aside))
}
