//! The end of a run: nothing is broken any more, the cluster comes to rest, and what is left is written down: every
//! task as the master shows it, every container that an Engine has, every change that the store holds.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use podling::api::wire::task::TaskView;
use podling::control::change::Change;
use podling::master::record;
use podling::model::id::TaskId;
use podling::runtime::clock;
use podling::store::embedded::EmbeddedStore;
use podling::store::{Store, Stored};

use crate::applier;
use crate::checker::history::{Left, Millis, Seen, What};
use crate::clients::User;
use crate::faults::Faults;
use crate::plan::Who;
use crate::recorder::Recorder;
use crate::site::RETAIN;
use crate::watch::Watch;
use crate::workload::{self, LONGEST_GRACE_MS};

/// How long the cluster may take, beside the longest grace (I8 of the reliability rules).
const REST: Millis = 20_000;

/// How often it is looked at.
const LOOK: Millis = 250;

/// What is left, and how long it took.
pub(crate) struct Rest {
    pub(crate) tasks: Vec<Seen>,
    /// Those among them that are old enough to be forgotten at any moment.
    due: BTreeSet<TaskId>,
    pub(crate) containers: Vec<Left>,
    pub(crate) took: Millis,
}

/// Stops what runs on, and waits until all has ended and nothing is left; no longer than the cluster may take. Kills the
/// master then, at once.
#[track_caller]
pub(crate) fn wait(faults: &mut Faults<'_>, watches: &[Watch], extra: Millis) -> Rest {
    let recorder = Arc::clone(faults.recorder);
    let user = User::new(0, &recorder, &Arc::<AtomicBool>::default());
    let begun = recorder.now();
    let deadline = begun + REST + LONGEST_GRACE_MS + extra;
    let mut asked: BTreeSet<TaskId> = BTreeSet::new();
    loop {
        // Order: the tasks last, so that nothing becomes of them between this and the end of the master.
        let containers: Vec<Left> = watches.iter().flat_map(|watch| watch.left().unwrap()).collect();
        let tasks = user.list().unwrap_or_default();
        for task in tasks.iter().filter(|task| !task.status.is_terminal() && is_long(task)) {
            if asked.insert(task.task_id.clone()) {
                user.stop(&task.task_id, None);
            }
        }
        let all_ended = !tasks.is_empty() && tasks.iter().all(|task| task.status.is_terminal());
        let now = recorder.now();
        if (all_ended && containers.is_empty()) || now >= deadline {
            faults.site.server(Who::Master).kill();
            let due = tasks.iter().filter(|task| is_due(task)).map(|task| task.task_id.clone()).collect();
            let tasks = tasks.iter().map(workload::seen).collect();
            return Rest { tasks, due, containers, took: now - begun };
        }
        faults.wait_until(now + LOOK);
    }
}

fn is_due(task: &TaskView) -> bool {
    task.finished_at.is_some_and(|ended| clock::wall().since(ended) + Duration::from_secs(1) >= RETAIN)
}

fn is_long(task: &TaskView) -> bool {
    task.spec.command.iter().any(|word| word.contains("sleep 600"))
}

/// Writes down what the store of the dead master holds (what a snapshot stands for is left out), and then what was left.
/// A task that was forgotten after it was read, because of its age, isn't left.
#[track_caller]
pub(crate) fn record(rest: &mut Rest, data: &Path, recorder: &Recorder) {
    let mut store = EmbeddedStore::open(&data.join("state.redb")).unwrap();
    let mut each = |stored: Stored<'_>| {
        // An empty record stands for one that was withdrawn.
        if let Stored::Record(position, bytes) = stored
            && !bytes.is_empty()
        {
            let change = record::decode(bytes).unwrap();
            if let Change::Forgotten { task } = &change
                && rest.due.contains(task)
            {
                rest.tasks.retain(|seen| seen.task != *task);
            }
            applier::note_wish(&change, recorder);
            recorder.put(What::Committed { position, change });
        }
        Ok(())
    };
    store.replay(&mut each).unwrap();
    let (tasks, containers) = (rest.tasks.clone(), rest.containers.clone());
    recorder.put(What::Rested { tasks, containers });
}

/// Lets events that are on their way arrive.
pub(crate) fn let_events_arrive() {
    std::thread::park_timeout(Duration::from_millis(800));
}
