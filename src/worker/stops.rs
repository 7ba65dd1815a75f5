//! Which containers were sent a signal so that they end, and why, on this worker's disk until the master knows the end.
//!
//! Main type: [`Stops`]. Of a container that obeyed TERM the Engine tells an exit code, which may be 0, and nothing of
//! the signal. A worker that was killed in between would leave the next one to call such an attempt completed. So the
//! signal is written to `stops/<task>-<attempt>.json` before it is sent.
//!
//! Nothing here waits for the disk: it is for the end of the process, not of the machine, which ends its containers
//! too. A file that can't be written or read is said so in the log, and the exit code alone decides, as without it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::Listed;
use crate::model::id::{Attempt, AttemptKey, TaskId};
use crate::model::time::{Mono, Now, WallTime};
use crate::runtime::data_dir;
use crate::worker::hold::{Cause, Signal};

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    task: TaskId,
    attempt: Attempt,
    cause: Cause,
    at: WallTime,
    /// The same moment, as the time since the machine booted. After another boot it fits nothing, and the exit code
    /// decides.
    since_boot: Duration,
    grace: Duration,
}

/// The folder of the signals that were sent.
#[derive(Debug)]
pub(super) struct Stops {
    folder: PathBuf,
}

impl Stops {
    /// In this folder, which is made where it isn't there. Blocks on the disk.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    /// Keeps what is about to be sent to an attempt's container.
    pub(super) fn keep(&self, key: &AttemptKey, signal: &Signal) {
        let entry = Entry {
            task: key.task.clone(),
            attempt: key.attempt,
            cause: signal.cause,
            at: signal.at.wall,
            since_boot: signal.at.mono.since(Mono::default()),
            grace: signal.grace,
        };
        // Ids, words and numbers: they can always be written as JSON.
        let bytes = serde_json::to_vec(&entry).unwrap_or_default();
        if let Err(error) = data_dir::replace(&self.path(key), &bytes) {
            log::warn!("a signal was not kept task={key} because={error}");
        }
    }

    /// The master knows how the attempt ended. One that wasn't kept is no error.
    pub(super) fn remove(&self, key: &AttemptKey) {
        remove(&self.path(key));
    }

    /// What earlier processes of this worker had sent the containers that are still there. What is kept of others is
    /// of no use any more, and removed. Blocks on the disk.
    pub(super) fn recall(&self, found: &[Listed]) -> BTreeMap<AttemptKey, Signal> {
        let files = fs::read_dir(&self.folder).map(|files| files.flatten().map(|file| file.path()).collect());
        let paths: Vec<PathBuf> = files.unwrap_or_else(|error| {
            log::error!(
                "signals that were sent can't be read path={} because={error}",
                self.folder.display()
            );
            Vec::new()
        });
        let is_there = |key: &AttemptKey| {
            found.iter().any(|one| one.key.task == key.task && one.key.attempt == key.attempt)
        };
        let mut signals = BTreeMap::new();
        for path in paths {
            match read(&path) {
                Some((key, signal)) if is_there(&key) => {
                    signals.insert(key, signal);
                }
                Some(_) | None => remove(&path),
            }
        }
        signals
    }

    fn path(&self, key: &AttemptKey) -> PathBuf {
        // Ids have a fixed alphabet, so they are names of files.
        self.folder.join(format!("{}-{}.json", key.task, key.attempt))
    }
}

fn read(path: &Path) -> Option<(AttemptKey, Signal)> {
    let bytes = fs::read(path).map_err(|error| error.to_string());
    let entry =
        bytes.and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).map_err(|error| error.to_string()));
    match entry {
        Ok(Entry { task, attempt, cause, at, since_boot, grace }) => {
            let at = Now { mono: Mono::from_boot(since_boot), wall: at };
            Some((AttemptKey { task, attempt }, Signal { cause, at, grace }))
        }
        Err(why) => {
            log::warn!("a signal that was sent can't be read path={} because={why}", path.display());
            None
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // The next start removes it.
        Err(error) => log::warn!("a signal stays kept path={} because={error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ContainerKey, Owner, Phase};

    fn key(attempt: u32) -> AttemptKey {
        AttemptKey { task: "01JD0000000000000000000000".parse().unwrap(), attempt: Attempt(attempt) }
    }

    fn found(attempt: u32) -> Listed {
        let owner =
            Owner { cluster: "01JD0000000000000000000000".parse().unwrap(), node: "n1".parse().unwrap() };
        Listed {
            id: "a1".parse().unwrap(),
            key: ContainerKey { owner, task: key(attempt).task, attempt: Attempt(attempt) },
            phase: Phase::Running,
            is_leased: false,
        }
    }

    #[test]
    fn what_was_sent_is_recalled_for_the_containers_that_are_there() {
        let outer = tempfile::tempdir().unwrap();
        let open = || Stops::open(outer.path().join("stops")).unwrap();
        let at =
            Now { mono: Mono::from_boot(Duration::from_millis(7)), wall: WallTime::from_unix_millis(1_009) };
        let signal = Signal { cause: Cause::Lease, at, grace: Duration::from_millis(1_500) };
        let first = open();
        (1..=3).for_each(|attempt| first.keep(&key(attempt), &signal));
        first.remove(&key(2));
        first.remove(&key(2));
        fs::write(outer.path().join("stops/broken.json"), "{").unwrap();
        assert_eq!(open().recall(&[found(1), found(2)]), BTreeMap::from([(key(1), signal)]));
        let left: Vec<_> = fs::read_dir(outer.path().join("stops")).unwrap().collect();
        assert_eq!(left.len(), 1, "what is of no use is gone: {left:?}");
    }
}
