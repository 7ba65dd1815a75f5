//! The logs of attempts that have ended, on the worker's disk.
//!
//! A [`LogStore`] holds one file per attempt in a folder of its own (0700, files 0600): what the Engine kept of the
//! log, copied record by record before the container is removed. It keeps the newest part of each log, and of all
//! logs the newest, both within limits. An attempt that wrote nothing has a log too, an empty one, so that "wrote
//! nothing" and "is no longer kept" stay apart.
//!
//! Any thread may call it. Its locks guard the index and the list of what is being collected, for memory work alone: a
//! reader that is slow, or a disk, holds up nobody else. A reader whose log is evicted meanwhile reads on to the end.
//!
//! Invariant: a file with a log's name is whole, and durable before [`LogStore::collect`] returns.

mod draft;
mod frame;
mod index;
mod stored;

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::engine::{EngineError, LogItem, LogRecords};
use crate::model::id::{Attempt, TaskId};

use draft::Draft;
use index::{Index, LogFile};
use stored::StoredLog;

/// How many forgotten tasks are remembered: more than one beat tells of.
const MOST_FORGOTTEN: usize = 4_000;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Of one attempt's log.
    pub per_attempt_bytes: u64,
    /// Of all logs, as they lie on the disk (in whole blocks).
    pub total_bytes: u64,
}

/// The logs of ended attempts.
#[derive(Debug)]
pub struct LogStore {
    folder: PathBuf,
    limits: LogLimits,
    last_number: AtomicU64,
    index: Mutex<Index>,
    collecting: Mutex<Vec<(TaskId, Attempt)>>,
    /// The tasks whose logs were forgotten last: an attempt may still be ending then.
    forgotten: Mutex<VecDeque<TaskId>>,
}

/// A collection that is under way, until this is dropped.
struct Collecting<'a> {
    store: &'a LogStore,
    log: (TaskId, Attempt),
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        let mut collecting = self.store.collecting.lock();
        if let Some(at) = collecting.iter().position(|log| *log == self.log) {
            collecting.swap_remove(at);
        }
    }
}

/// Why a log can't be stored.
#[derive(Debug)]
pub enum LogStoreError {
    /// The disk refuses; perhaps it is full.
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was to be stored can't be read from the Engine.
    Engine {
        /// Whose log.
        task: TaskId,
        /// Of which attempt.
        attempt: Attempt,
        /// Why not.
        source: EngineError,
    },
}

impl LogStoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::Engine { source, .. } => source.is_retryable(),
        }
    }
}

impl fmt::Display for LogStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { operation, path, source } => write!(f, "{operation} {}: {source}", path.display()),
            Self::Engine { task, attempt, source } => {
                write!(f, "read the log of attempt {attempt} at {task}: {source}")
            }
        }
    }
}

impl std::error::Error for LogStoreError {}

impl LogStore {
    /// Opens the store in `folder`, which is made where it isn't there. Removes what an earlier process left
    /// unfinished, and what is more than the limits allow now. Blocks on the disk.
    ///
    /// # Errors
    /// [`LogStoreError::Io`] where the folder can't be made or read.
    pub fn open(folder: &Path, limits: LogLimits) -> Result<Self, LogStoreError> {
        let io = |operation| move |source| LogStoreError::Io { operation, path: folder.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io("make the folder of the logs"))?;
        let (index, superseded) = scan(folder).map_err(io("read the folder of the logs"))?;
        let last_number = AtomicU64::new(index.last_number());
        let store = Self {
            folder: folder.to_owned(),
            limits,
            last_number,
            index: Mutex::new(index),
            collecting: Mutex::default(),
            forgotten: Mutex::default(),
        };
        store.remove(superseded);
        store.evict();
        Ok(store)
    }

    /// Stores what `records` give to their end, in place of what was stored of this attempt before. Then evicts
    /// the logs that were collected longest ago, until the rest fits. Blocks as long as the Engine and the disk
    /// take; holds one record in memory.
    ///
    /// # Errors
    /// The Engine's or the disk's. Nothing of the log is stored then, and what was stored before stays.
    pub fn collect(&self, task: &TaskId, attempt: Attempt, records: LogRecords) -> Result<(), LogStoreError> {
        let _under_way = self.begin(task, attempt);
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let file = LogFile { task: task.clone(), attempt, number };
        let path = self.folder.join(file.name());
        let io = |source| LogStoreError::Io { operation: "store the log", path: path.clone(), source };
        let mut draft = Draft::begin(&path, self.limits.per_attempt_bytes).map_err(io)?;
        for item in records {
            let item =
                item.map_err(|source| LogStoreError::Engine { task: task.clone(), attempt, source })?;
            match item {
                LogItem::Record(record) => draft.push(&record).map_err(io)?,
                LogItem::Quiet => {}
            }
        }
        let bytes = draft.finish(&path).map_err(io)?;
        // The name is durable once the folder is.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        let replaced = self.index.lock().insert(file, bytes);
        self.remove(replaced);
        let is_forgotten = self.forgotten.lock().contains(task);
        if is_forgotten {
            let files = self.index.lock().forget(task);
            self.remove(files);
        }
        self.evict();
        Ok(())
    }

    /// Whether an attempt's log is here. Never blocks on the disk.
    pub fn has(&self, task: &TaskId, attempt: Attempt) -> bool {
        self.index.lock().find(task, attempt).is_some()
    }

    /// Whether an attempt's log is just being collected. Never blocks on the disk.
    pub fn is_collecting(&self, task: &TaskId, attempt: Attempt) -> bool {
        self.collecting.lock().iter().any(|(other, number)| other == task && *number == attempt)
    }

    /// The newest attempt at a task whose log is here. Never blocks on the disk.
    pub fn latest_attempt(&self, task: &TaskId) -> Option<Attempt> {
        self.index.lock().latest_attempt(task)
    }

    /// Reads an attempt's log; none where it isn't here. A log that turns out damaged ends with an error. Reading
    /// blocks on the disk, and goes on after the log was evicted or forgotten.
    pub fn read(&self, task: &TaskId, attempt: Attempt) -> Option<LogRecords> {
        loop {
            let file = self.index.lock().find(task, attempt)?;
            match File::open(self.folder.join(file.name())) {
                Ok(source) => return Some(Box::new(StoredLog::new(source))),
                // Race: between the two it was evicted, forgotten or replaced. Look again, if it was.
                Err(error) if error.kind() == ErrorKind::NotFound && self.is_newest(&file) => {
                    return Some(Box::new(std::iter::once(Err(stored::explain(&error)))));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Some(Box::new(std::iter::once(Err(stored::explain(&error))))),
            }
        }
    }

    /// Removes the logs of all attempts at a task, and those that are collected later in this process, such as that of
    /// an attempt which is still ending because its node was given up before. Blocks on the disk.
    pub fn forget(&self, task: &TaskId) {
        {
            // Order: before the index, so that a collection which ends meanwhile is in one of the two.
            let mut forgotten = self.forgotten.lock();
            if forgotten.len() >= MOST_FORGOTTEN {
                forgotten.pop_front();
            }
            forgotten.push_back(task.clone());
        }
        let files = self.index.lock().forget(task);
        self.remove(files);
    }

    /// What all logs take on the disk, in whole blocks. Never blocks on it.
    pub fn total_bytes(&self) -> u64 {
        self.index.lock().bytes()
    }

    fn begin(&self, task: &TaskId, attempt: Attempt) -> Collecting<'_> {
        let log = (task.clone(), attempt);
        self.collecting.lock().push(log.clone());
        Collecting { store: self, log }
    }

    fn is_newest(&self, file: &LogFile) -> bool {
        self.index.lock().find(&file.task, file.attempt).as_ref() == Some(file)
    }

    fn evict(&self) {
        let evicted = self.index.lock().evict(self.limits.total_bytes);
        if let [first, ..] = evicted.as_slice() {
            log::debug!("logs were evicted count={} task={}", evicted.len(), first.task);
        }
        self.remove(evicted);
    }

    /// Removes the files of logs that the index let go of.
    fn remove(&self, files: impl IntoIterator<Item = LogFile>) {
        for file in files {
            let path = self.folder.join(file.name());
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != ErrorKind::NotFound
            {
                log::warn!("a log can't be removed path={} because={error}", path.display());
            }
        }
    }
}

/// What is in the folder: the logs, and those that a newer one of the same attempt supersedes. Removes drafts.
fn scan(folder: &Path) -> io::Result<(Index, Vec<LogFile>)> {
    let mut index = Index::default();
    let mut superseded = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(draft::SUFFIX) {
            fs::remove_file(entry.path())?;
        } else if let Some(file) = LogFile::parse(name) {
            superseded.extend(index.insert(file, entry.metadata()?.len()));
        }
    }
    Ok((index, superseded))
}
