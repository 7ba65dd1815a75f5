//! The outbox: ends that no container in the Engine tells, on this worker's disk until the master has acknowledged
//! them.
//!
//! Main type: [`Outbox`]. An attempt whose container ran is known by that container as long as the master hasn't heard
//! of its end. One whose pull failed, or that was refused, or was to stop before it ran, leaves nothing: so its end
//! is written to `outbox/<task>-<attempt>.json` before it is reported, and removed once it was acknowledged. At a start
//! of the worker what is still there is reported again, and such an attempt is never launched.
//!
//! A disk that refuses is said so in the log; the end is reported all the same, and lost only if the process ends
//! first.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::id::{Attempt, AttemptKey, TaskId};
use crate::model::task::Ending;
use crate::model::time::WallTime;
use crate::runtime::data_dir;
use crate::worker::step::Step;

/// The end of an attempt.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Ended(Ending),
    Refused { why: String, at: WallTime },
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    task: TaskId,
    attempt: Attempt,
    end: End,
}

/// The folder of the ends that wait.
#[derive(Debug)]
pub(super) struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    /// In this folder, which is made where it isn't there. Blocks on the disk.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder })
    }

    /// Keeps the end of an attempt, durably. Blocks on the disk.
    pub(super) fn keep(&self, key: &AttemptKey, step: &Step) {
        let end = match step {
            Step::Ended(ending) => End::Ended(ending.clone()),
            Step::Refused(why, at) => End::Refused { why: why.clone(), at: *at },
            Step::Progress(_) | Step::Running(..) => return,
        };
        let entry = Entry { task: key.task.clone(), attempt: key.attempt, end };
        // Ids, numbers and texts: they can always be written as JSON.
        let bytes = serde_json::to_vec(&entry).unwrap_or_default();
        if let Err(error) = data_dir::write(&self.path(key), &bytes) {
            log::warn!("an end was not kept until the master knows it task={key} because={error}");
        }
    }

    /// The master has acknowledged it. One that wasn't kept is no error.
    pub(super) fn remove(&self, key: &AttemptKey) {
        match fs::remove_file(self.path(key)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It is reported once more after the next start, and that changes nothing.
            Err(error) => log::warn!("an end stays in the outbox task={key} because={error}"),
        }
    }

    /// What an earlier process of this worker left. Blocks on the disk.
    pub(super) fn waiting(&self) -> Vec<(AttemptKey, Step)> {
        let files = fs::read_dir(&self.folder).map(|files| files.flatten().map(|file| file.path()).collect());
        let mut paths: Vec<PathBuf> = files.unwrap_or_else(|error| {
            log::error!("the outbox can't be read path={} because={error}", self.folder.display());
            Vec::new()
        });
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths.iter().filter_map(|path| read(path)).collect()
    }

    fn path(&self, key: &AttemptKey) -> PathBuf {
        // Ids have a fixed alphabet, so they are names of files.
        self.folder.join(format!("{}-{}.json", key.task, key.attempt))
    }
}

fn read(path: &Path) -> Option<(AttemptKey, Step)> {
    let bytes = fs::read(path).map_err(|error| error.to_string());
    let entry =
        bytes.and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).map_err(|error| error.to_string()));
    match entry {
        Ok(Entry { task, attempt, end }) => {
            let step = match end {
                End::Ended(ending) => Step::Ended(ending),
                End::Refused { why, at } => Step::Refused(why, at),
            };
            Some((AttemptKey { task, attempt }, step))
        }
        Err(why) => {
            log::error!("an end in the outbox can't be read path={} because={why}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task::Reason;

    #[test]
    fn what_is_kept_waits_for_the_next_start_until_it_is_removed() {
        let outer = tempfile::tempdir().unwrap();
        let open = || Outbox::open(outer.path().join("outbox")).unwrap();
        let key = |attempt| AttemptKey {
            task: "01JD0000000000000000000000".parse().unwrap(),
            attempt: Attempt(attempt),
        };
        let ending = Ending {
            at: WallTime::from_unix_millis(7),
            reason: Some(Reason::ImagePull),
            exit_code: None,
            error: Some("manifest unknown".to_owned()),
            container: None,
            started_at: None,
        };
        let (ended, refused) =
            (Step::Ended(ending), Step::Refused("full".to_owned(), WallTime::from_unix_millis(9)));
        let first = open();
        first.keep(&key(1), &ended);
        first.keep(&key(2), &refused);
        first.keep(&key(2), &refused);
        first.keep(&key(3), &Step::Progress("pulling".to_owned()));
        fs::write(outer.path().join("outbox/broken.json"), "{").unwrap();
        fs::write(outer.path().join("outbox/01JD-1.json.new"), "{").unwrap();
        assert_eq!(open().waiting(), [(key(1), ended), (key(2), refused.clone())]);
        open().remove(&key(1));
        open().remove(&key(1));
        assert_eq!(open().waiting(), [(key(2), refused)]);
    }
}
