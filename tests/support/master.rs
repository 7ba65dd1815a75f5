//! A master's state with its journal's threads, over a disk that the test holds in its hands.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use podling::api::wire::agent::{
    HeartbeatReply, HeartbeatRequest, Report, ReportStep, ReportsRequest, Verdict,
};
use podling::api::wire::spec::Creation;
use podling::control::change::KeyUse;
use podling::control::tasks::Filter;
use podling::master::committer;
use podling::master::journal::Fate;
use podling::master::state::{CreateError, RegisterError, ReportError, State, StateSettings};
use podling::model::id::{Attempt, Epoch, Incarnation, Revision, TaskId};
use podling::model::node::{NodeAddress, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::task::TaskStatus;
use podling::model::time::Now;
use podling::runtime::supervise::{self, Stop, StopSource, Thread};
use podling::store::Store;

use super::cluster::{at, spec};
use super::faulty_store::{Fault, FaultyStore};

const EPOCH: Epoch = Epoch(7);
const PATIENCE: Duration = Duration::from_secs(20);

/// A state with its journal's threads, over a disk that the test holds.
pub(crate) struct Master {
    pub(crate) state: Arc<State>,
    pub(crate) store: FaultyStore,
    threads: Vec<Thread>,
    stop: Option<StopSource>,
}

pub(crate) fn load(store: &mut dyn Store) -> State {
    let settings = StateSettings {
        cluster: "c0000000000000000000000000".parse().unwrap(),
        epoch: EPOCH,
        node_timeout: Duration::from_secs(30),
        pending_timeout: Duration::from_secs(300),
        retain: Duration::from_secs(86_400),
    };
    State::load(settings, store, at(100)).unwrap()
}

/// Everything that clients can see, but what isn't journaled: when nodes were heard, and what they are busy with.
pub(crate) fn shown(state: &State) -> String {
    let tasks = state.tasks(&Filter::default(), None, 1000).value;
    let mut nodes = state.nodes(None, 1000).value;
    nodes.0.iter_mut().for_each(|node| (node.last_heartbeat, node.detail) = (at(0).wall, None));
    format!("{tasks:#?}\n{nodes:#?}\n{:#?}", state.tokens().value)
}

/// Creates tasks as a batch.
pub(crate) fn create_in(
    state: &State,
    names: &[&str],
    key: Option<&str>,
) -> Result<(Vec<TaskId>, Revision), CreateError> {
    let wish = |name: &&str| Creation { name: name.parse().unwrap(), spec: spec(), count: None };
    let key = key.map(|key| KeyUse { key: key.to_owned(), body_hash: [1; 32] });
    let created = state.create(names.iter().map(wish).collect(), true, key, at(100))?;
    Ok((created.value.tasks.iter().map(|new| new.id.clone()).collect(), created.at))
}

/// A beat of a node that holds nothing and has applied no set.
pub(crate) fn beat_at(state: &State, node: &str, now: Now) -> HeartbeatReply {
    let request = HeartbeatRequest {
        node_id: node.parse().unwrap(),
        incarnation: Incarnation(1),
        epoch: EPOCH,
        revision: Revision(0),
        capacity: 2,
        ready: true,
        running_tasks: Vec::new(),
    };
    state.beat(&request, now).unwrap().value
}

/// A report of one attempt.
pub(crate) fn tell_as(
    state: &State,
    node: &str,
    task: &TaskId,
    attempt: Attempt,
    step: ReportStep,
) -> Result<Verdict, ReportError> {
    let is_end = step == ReportStep::Ended;
    let report = Report {
        seq: 1,
        task_id: task.clone(),
        attempt,
        step,
        container_id: Some("c0ffee".parse().unwrap()),
        started_at: Some(at(101).wall),
        finished_at: is_end.then(|| at(102).wall),
        exit_code: is_end.then_some(0),
        reason: None,
        error: None,
        detail: None,
    };
    let batch = ReportsRequest { incarnation: Incarnation(1), epoch: EPOCH, reports: vec![report] };
    Ok(state.report(&node.parse().unwrap(), batch, at(103))?.value[0].verdict)
}

impl Master {
    pub(crate) fn start() -> Self {
        Self::start_with(committer::SNAPSHOT_AFTER)
    }

    /// With another number of records before a snapshot.
    pub(crate) fn start_with(snapshot_after: u64) -> Self {
        let mut store = FaultyStore::default();
        let state = Arc::new(load(&mut store));
        let (source, stop) = Stop::channel();
        let journal = {
            let (state, stop, mut store) = (Arc::clone(&state), stop.clone(), store.clone());
            supervise::spawn("journal", move || {
                committer::run_with(&state, &mut store, &stop, snapshot_after)
            })
            .unwrap()
        };
        let replies = {
            let journal = Arc::clone(state.journal());
            supervise::spawn("replies", move || journal.run_replies(&stop)).unwrap()
        };
        Self { state, store, threads: vec![journal, replies], stop: Some(source) }
    }

    /// One node with room for two, and tasks `a` to `d`: one runs, one is placed, two wait. All of it durable.
    pub(crate) fn with_tasks() -> (Self, Vec<TaskId>) {
        let master = Self::start();
        master.register("worker-1").unwrap();
        let tasks = master.create(&["a", "b", "c", "d"], None).unwrap();
        assert_eq!(master.state.schedule(at(101)).0.value.len(), 2);
        assert_eq!(master.tell(&tasks[0], ReportStep::Running), Verdict::Accepted);
        assert_eq!(master.fate(), Fate::Durable);
        (master, tasks)
    }

    pub(crate) fn create(&self, names: &[&str], key: Option<&str>) -> Result<Vec<TaskId>, CreateError> {
        self.create_at(names, key).map(|(ids, _)| ids)
    }

    pub(crate) fn create_at(
        &self,
        names: &[&str],
        key: Option<&str>,
    ) -> Result<(Vec<TaskId>, Revision), CreateError> {
        create_in(&self.state, names, key)
    }

    pub(crate) fn register(&self, name: &str) -> Result<(), RegisterError> {
        self.register_at(name, at(100))
    }

    pub(crate) fn register_at(&self, name: &str, now: Now) -> Result<(), RegisterError> {
        let registration = Registration {
            node_id: name.parse().unwrap(),
            instance: "i0000000000000000000000000".parse().unwrap(),
            start: "s0000000000000000000000000".parse().unwrap(),
            address: NodeAddress { host: "127.0.0.1".to_owned(), port: 8081 },
            capacity: 2,
            cpu: CpuMillis(4000),
            memory: MemoryBytes(1 << 30),
            labels: std::collections::BTreeMap::new(),
            engine: "hollow".to_owned(),
            engine_id: "e".to_owned(),
            heartbeat: Duration::from_secs(10),
        };
        self.state.register(registration, Incarnation(0), None, now).map(drop)
    }

    pub(crate) fn beat(&self, secs: u64) -> HeartbeatReply {
        beat_at(&self.state, "worker-1", at(secs))
    }

    pub(crate) fn tell(&self, task: &TaskId, step: ReportStep) -> Verdict {
        tell_as(&self.state, "worker-1", task, Attempt(1), step).unwrap()
    }

    /// Will hold what becomes of all that was done until now.
    pub(crate) fn wait(&self) -> Receiver<Fate> {
        let (told, fate) = bounded(1);
        let journal = self.state.journal();
        journal.when_settled(journal.last_position(), move |fate| told.send(fate).unwrap());
        fate
    }

    pub(crate) fn fate(&self) -> Fate {
        self.wait().recv_timeout(PATIENCE).unwrap()
    }

    /// Makes `changes` while the disk is slow, and then lets the disk fail. Gives what became of them.
    pub(crate) fn fail_with(&self, fault: Fault, changes: impl FnOnce(&Self)) -> Fate {
        let mut disk = self.store.disk();
        changes(self);
        let fate = self.wait();
        disk.fault = fault;
        drop(disk);
        fate.recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn mend(&self) {
        self.store.disk().fault = Fault::None;
        let end = podling::runtime::clock::mono() + PATIENCE;
        while self.state.journal().is_failing() {
            assert!(podling::runtime::clock::mono() < end, "it did not recover");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub(crate) fn status(&self, task: &TaskId) -> TaskStatus {
        self.state.task(task.as_str()).unwrap().unwrap().value.status()
    }

    #[track_caller]
    pub(crate) fn shows_what_is_durable(&self) {
        assert_eq!(shown(&self.state), shown(&load(&mut self.store.clone())));
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(self.stop.take());
        let all_well = self.threads.drain(..).all(Thread::join);
        assert!(all_well || std::thread::panicking());
    }
}
