//! A user who applies one file of tasks after the other, each until the command says that all is as it should be.
//!
//! Main type: [`Applier`]. Each file has names of its own, so that a task which is created twice shows: its name stands
//! twice in the store. The tasks end with 0 whatever happens to their nodes, so that no apply has a reason to create one
//! again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use podling::api::wire::spec::SpecWire;
use podling::control::change::{Change, NewTask};
use podling::runtime::clock;
use podling::runtime::supervise::{self, Thread};

use crate::checker::history::{History, What, Wish};
use crate::docker::IMAGE;
use crate::recorder::Recorder;
use crate::settings::Times;
use crate::site::master_url;
use crate::workload;

/// How many tasks a file has.
const TASKS: u32 = 2;

/// How long a file is applied again and again before it counts as one that can't be, beside two node timeouts: a
/// master may be away for so long.
const PATIENCE: Duration = Duration::from_secs(24);

/// Between two files.
const BETWEEN: Duration = Duration::from_secs(8);

const PAUSE: Duration = Duration::from_millis(400);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Files that were applied to their end.
    pub(crate) files: u32,
    /// What the command said where it never came to an end.
    pub(crate) stuck: Vec<String>,
}

/// The thread.
pub(crate) struct Applier {
    is_over: Arc<AtomicBool>,
    applied: Arc<Mutex<Applied>>,
    thread: Thread,
}

impl Applier {
    pub(crate) fn begin(folder: &Path, times: Times) -> Self {
        let patience = PATIENCE + Duration::from_millis(2 * times.node_timeout);
        let (is_over, applied) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Applied>>::default());
        let (over, sum, file) = (Arc::clone(&is_over), Arc::clone(&applied), folder.join("tasks.toml"));
        let run = move || {
            for round in 1.. {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                std::fs::write(&file, tasks(round)).unwrap();
                match apply(&file, patience) {
                    Ok(()) => sum.lock().files += 1,
                    Err(said) => sum.lock().stuck.push(said),
                }
                std::thread::park_timeout(BETWEEN);
            }
        };
        Self { is_over, applied, thread: supervise::spawn("applier".to_owned(), run).unwrap() }
    }

    /// Waits until the last file is applied.
    #[track_caller]
    pub(crate) fn end(self) -> Applied {
        self.is_over.store(true, Ordering::SeqCst);
        assert!(self.thread.join(), "the applier's thread panicked");
        std::mem::take(&mut *self.applied.lock())
    }
}

fn tasks(round: u32) -> String {
    let task = |number: u32| {
        format!(
            "[[task]]\nname = \"a{round}-{number}\"\nimage = \"{IMAGE}\"\ncommand = [\"true\"]\nnetwork = \"none\"\n\
             pull = \"never\"\nrestart = \"on-failure\"\non_node_lost = \"reschedule\"\n\n"
        )
    };
    (1..=TASKS).map(task).collect()
}

/// Applies a file until that is done, and once more. What the command said where it never was.
fn apply(file: &PathBuf, patience: Duration) -> Result<(), String> {
    let once = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podling"));
        command.args(["apply", "--insecure", "--master", &master_url()]).arg(file).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = || String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(()) } else { Err(said()) }
    };
    let until = clock::mono() + patience;
    loop {
        match once() {
            // Again, at once: it changes nothing.
            Ok(()) => return once().or(Ok(())),
            Err(said) if clock::mono() >= until => return Err(said),
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}

/// The wish behind a creation that the command asked for, under a key of its own making.
pub(crate) fn note_wish(change: &Change, recorder: &Recorder) {
    let Change::Created(creation) = change else { return };
    let Some(used) = creation.key.as_ref().filter(|used| used.key.starts_with("apply-")) else { return };
    let spec = |new: &NewTask| workload::told(new.name.as_str(), &SpecWire::from(&*new.spec));
    let wish = Wish::Create { key: used.key.clone(), specs: creation.tasks.iter().map(spec).collect() };
    recorder.asked_some_time(wish);
}

/// The names of applied tasks that the store holds more than once.
pub(crate) fn doubled(history: &History) -> Vec<String> {
    let creations = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Committed { change: Change::Created(creation), .. } => Some(creation),
        _ => None,
    });
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    let all = creations.flat_map(|creation| creation.tasks.iter().map(|new| new.name.as_str()));
    all.filter(|name| name.starts_with('a')).for_each(|name| *names.entry(name).or_default() += 1);
    let more = names.into_iter().filter(|(_, count)| *count > 1);
    more.map(|(name, count)| format!("{name}, {count} times")).collect()
}
