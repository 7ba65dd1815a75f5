//! The master's state over a store that fails: what is answered meanwhile, and that nothing is shown, kept or lost
//! that should not be.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/faulty_store.rs"]
mod faulty_store;

use std::sync::Arc;
use std::time::Duration;

use cluster::{at, spec};
use crossbeam_channel::{Receiver, bounded};
use faulty_store::{Fault, FaultyStore};
use podling::api::wire::agent::{
    HeartbeatReply, HeartbeatRequest, Report, ReportStep, ReportsRequest, Verdict,
};
use podling::api::wire::spec::Creation;
use podling::control::change::KeyUse;
use podling::control::tasks::Filter;
use podling::master::committer;
use podling::master::journal::Fate;
use podling::master::state::{
    CreateError, ForgetError, ForgetNodeError, RegisterError, State, StateSettings, StopError, StoreFull,
};
use podling::model::id::{Attempt, Epoch, Incarnation, Revision, TaskId};
use podling::model::node::{Availability, NodeAddress, NodeStatus, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::task::TaskStatus;
use podling::runtime::supervise::{self, Stop, StopSource, Thread};

const EPOCH: Epoch = Epoch(7);
const PATIENCE: Duration = Duration::from_secs(20);

/// A state with its journal's threads, over a disk that the test holds.
struct Master {
    state: Arc<State>,
    store: FaultyStore,
    threads: Vec<Thread>,
    stop: Option<StopSource>,
}

fn load(store: &mut FaultyStore) -> State {
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
fn shown(state: &State) -> String {
    let tasks = state.tasks(&Filter::default(), None, 1000).value;
    let mut nodes = state.nodes(None, 1000).value;
    nodes.0.iter_mut().for_each(|node| (node.last_heartbeat, node.detail) = (at(0).wall, None));
    format!("{tasks:#?}\n{nodes:#?}")
}

impl Master {
    fn start() -> Self {
        let mut store = FaultyStore::default();
        let state = Arc::new(load(&mut store));
        let (source, stop) = Stop::channel();
        let journal = {
            let (state, stop, mut store) = (Arc::clone(&state), stop.clone(), store.clone());
            supervise::spawn("journal", move || committer::run(&state, &mut store, &stop)).unwrap()
        };
        let replies = {
            let journal = Arc::clone(state.journal());
            supervise::spawn("replies", move || journal.run_replies(&stop)).unwrap()
        };
        Self { state, store, threads: vec![journal, replies], stop: Some(source) }
    }

    /// One node with room for two, and tasks `a` to `d`: one runs, one is placed, two wait. All of it durable.
    fn with_tasks() -> (Self, Vec<TaskId>) {
        let master = Self::start();
        master.register("worker-1").unwrap();
        let tasks = master.create(&["a", "b", "c", "d"], None).unwrap();
        assert_eq!(master.state.schedule(at(101)).0.value.len(), 2);
        assert_eq!(master.tell(&tasks[0], ReportStep::Running), Verdict::Accepted);
        assert_eq!(master.fate(), Fate::Durable);
        (master, tasks)
    }

    fn create(&self, names: &[&str], key: Option<&str>) -> Result<Vec<TaskId>, CreateError> {
        self.create_at(names, key).map(|(ids, _)| ids)
    }

    fn create_at(&self, names: &[&str], key: Option<&str>) -> Result<(Vec<TaskId>, Revision), CreateError> {
        let wish = |name: &&str| Creation { name: name.parse().unwrap(), spec: spec(), count: None };
        let key = key.map(|key| KeyUse { key: key.to_owned(), body_hash: [1; 32] });
        let created = self.state.create(names.iter().map(wish).collect(), true, key, at(100))?;
        Ok((created.value.tasks.iter().map(|new| new.id.clone()).collect(), created.at))
    }

    fn register(&self, name: &str) -> Result<(), RegisterError> {
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
        self.state.register(registration, Incarnation(0), None, at(100)).map(drop)
    }

    fn beat(&self, secs: u64) -> HeartbeatReply {
        let request = HeartbeatRequest {
            node_id: "worker-1".parse().unwrap(),
            incarnation: Incarnation(1),
            epoch: EPOCH,
            revision: Revision(0),
            capacity: 2,
            ready: true,
            running_tasks: Vec::new(),
        };
        self.state.beat(&request, at(secs)).unwrap().value
    }

    fn tell(&self, task: &TaskId, step: ReportStep) -> Verdict {
        let is_end = step == ReportStep::Ended;
        let report = Report {
            seq: 1,
            task_id: task.clone(),
            attempt: Attempt(1),
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
        self.state.report(&"worker-1".parse().unwrap(), batch, at(103)).unwrap().value[0].verdict
    }

    /// Will hold what becomes of all that was done until now.
    fn wait(&self) -> Receiver<Fate> {
        let (told, fate) = bounded(1);
        let journal = self.state.journal();
        journal.when_settled(journal.last_position(), move |fate| told.send(fate).unwrap());
        fate
    }

    fn fate(&self) -> Fate {
        self.wait().recv_timeout(PATIENCE).unwrap()
    }

    /// Makes `changes` while the disk is slow, and then lets the disk fail. Gives what became of them.
    fn fail_with(&self, fault: Fault, changes: impl FnOnce(&Self)) -> Fate {
        let mut disk = self.store.disk();
        changes(self);
        let fate = self.wait();
        disk.fault = fault;
        drop(disk);
        fate.recv_timeout(PATIENCE).unwrap()
    }

    fn mend(&self) {
        self.store.disk().fault = Fault::None;
        let end = podling::runtime::clock::mono() + PATIENCE;
        while self.state.journal().is_failing() {
            assert!(podling::runtime::clock::mono() < end, "it did not recover");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn status(&self, task: &TaskId) -> TaskStatus {
        self.state.task(task.as_str()).unwrap().unwrap().value.status()
    }

    #[track_caller]
    fn shows_what_is_durable(&self) {
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

#[test]
fn while_the_store_fails_changes_are_refused_and_the_rest_goes_on() {
    let (master, tasks) = Master::with_tasks();
    let before = shown(&master.state);
    let fate = master.fail_with(Fault::Refuses, |master| drop(master.create(&["e"], None).unwrap()));
    assert_eq!(fate, Fate::Withdrawn);
    assert_eq!(shown(&master.state), before);

    let state = &master.state;
    assert_eq!(master.create(&["e"], None), Err(CreateError::StoreFull));
    assert_eq!(master.register("worker-2"), Err(RegisterError::StoreFull));
    assert_eq!(state.stop("a", None, at(104)).unwrap_err(), StopError::StoreFull);
    assert_eq!(master.tell(&tasks[1], ReportStep::Running), Verdict::Retry);
    assert_eq!(master.tell(&tasks[0], ReportStep::Ended), Verdict::Retry);
    let node = "worker-1".parse().unwrap();
    assert_eq!(state.set_availability(&node, Availability::Cordoned, at(104)).unwrap_err(), StoreFull);
    assert!(state.schedule(at(104)).0.value.is_empty());
    assert!(state.judge_silence(at(900)).value.is_empty(), "nobody is judged");
    assert!(state.expire_waiting(at(900)).value.is_empty());
    assert_eq!(state.forget_old(at(900_000)), 0);
    let set = master.beat(105);
    assert!(set.complete && set.tasks.len() == 2);
    assert_eq!(master.fate(), Fate::Durable, "what is read now can be shown now");
    assert_eq!(shown(&master.state), before);
    assert!(master.store.disk().failures >= 1);

    master.mend();
    assert!(state.judge_silence(at(106)).value.is_empty(), "its beats were taken all along");
    assert_eq!(master.tell(&tasks[0], ReportStep::Ended), Verdict::Accepted);
    assert_eq!(master.tell(&tasks[1], ReportStep::Running), Verdict::Accepted);
    let placed = state.schedule(at(104)).0.value;
    assert_eq!(placed.len(), 1);
    let made = master.create(&["e"], None).unwrap().remove(0);
    assert_eq!(master.fate(), Fate::Durable);
    assert_eq!(master.status(&made), TaskStatus::Pending);
    assert_eq!(master.status(&tasks[0]), TaskStatus::Completed);
    master.shows_what_is_durable();
}

#[test]
fn every_kind_of_change_is_taken_back() {
    for fault in [Fault::Refuses, Fault::LandsAndFails] {
        let (master, tasks) = Master::with_tasks();
        let state = &master.state;
        state.stop("d", None, at(101)).unwrap();
        assert_eq!(master.fate(), Fate::Durable);
        let before = shown(state);
        let fate = master.fail_with(fault, |master| {
            let node = "worker-1".parse().unwrap();
            master.create(&["e", "f"], Some("key")).unwrap();
            master.register("worker-2").unwrap();
            assert_eq!(state.schedule(at(104)).0.value.len(), 2);
            assert_eq!(master.tell(&tasks[0], ReportStep::Ended), Verdict::Accepted);
            assert_eq!(master.tell(&tasks[1], ReportStep::Running), Verdict::Accepted);
            state.forget("d", at(104)).unwrap().unwrap();
            state.set_availability(&node, Availability::Draining, at(104)).unwrap().unwrap();
            assert_eq!(state.judge_silence(at(900)).value.len(), 2);
            state.expire_waiting(at(900));
            state.stop("c", None, at(901)).unwrap();
            state.forget_node(&node, at(901)).unwrap().unwrap();
        });
        assert_eq!(fate, Fate::Withdrawn);
        assert_eq!(shown(state), before, "{fault:?}");
        master.mend();
        master.shows_what_is_durable();
        assert_eq!(shown(state), before, "{fault:?}");
        let again = master.create(&["e"], Some("key")).unwrap();
        assert_eq!(again.len(), 1, "the key is free: its first use did not happen");
        assert_eq!(master.fate(), Fate::Durable);
        assert_eq!(master.create(&["e"], Some("key")).unwrap(), again);
        master.shows_what_is_durable();
    }
}

#[test]
fn a_node_that_comes_back_while_the_store_fails_is_online_with_the_first_beat_after() {
    let (master, _) = Master::with_tasks();
    assert_eq!(master.state.judge_silence(at(200)).value.len(), 1);
    assert_eq!(master.fate(), Fate::Durable);
    master.fail_with(Fault::Refuses, |master| drop(master.create(&["e"], None).unwrap()));
    let node = "worker-1".parse().unwrap();
    let status = || master.state.node(&node).unwrap().value.status;
    assert!(master.beat(201).register);
    assert_eq!(status(), NodeStatus::Offline);
    let busy = master.state.forget_node(&node, at(201)).unwrap_err();
    assert_eq!(busy, ForgetNodeError::StoreFull);
    assert!(matches!(master.state.forget("a", at(201)), Err(ForgetError::StoreFull)));
    master.mend();
    master.beat(202);
    assert_eq!(status(), NodeStatus::Online);
    assert_eq!(master.fate(), Fate::Durable);
    master.shows_what_is_durable();
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_store_fails() {
    let (master, _) = Master::with_tasks();
    let (told, tells) = bounded(1000);
    for round in 0..3 {
        for number in 0..40 {
            if number == 20 {
                assert_eq!(master.fate(), Fate::Durable);
                master.store.disk().fault = if round == 1 { Fault::LandsAndFails } else { Fault::Refuses };
            }
            let Ok((ids, at)) = master.create_at(&["a", "b"], None) else { continue };
            let told = told.clone();
            master.state.journal().when_settled(at, move |fate| told.send((ids, fate)).unwrap());
        }
        master.fate();
        assert!(master.store.disk().failures > round);
        master.mend();
    }
    assert_eq!(master.fate(), Fate::Durable);
    master.shows_what_is_durable();
    let back = load(&mut master.store.clone());
    let (mut kept, mut withdrawn) = (0, 0);
    while let Ok((ids, fate)) = tells.try_recv() {
        for id in ids {
            let is_there = back.task(id.as_str()).unwrap().is_some();
            assert_eq!(is_there, fate == Fate::Durable, "{id}: {fate:?}");
            *(if is_there { &mut kept } else { &mut withdrawn }) += 1;
        }
    }
    assert!(kept >= 3 * 20 * 2 && withdrawn > 0, "{kept} kept, {withdrawn} withdrawn");
}
