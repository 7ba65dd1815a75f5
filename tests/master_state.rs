//! The state manager without threads, sockets or disks: what each operation answers, and what it leaves behind.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kept.rs"]
mod kept;

use std::time::Duration;

use cluster::{at, spec};
use kept::Kept;
use podling::api::wire::agent::{
    AttemptStatus, Desired, HeartbeatReply, HeartbeatRequest, HeldAttempt, Report, ReportStep,
    ReportsRequest, Verdict,
};
use podling::api::wire::spec::Creation;
use podling::control::change::KeyUse;
use podling::control::tasks::Filter;
use podling::master::state::{
    BeatError, CreateError, ForgetError, RegisterError, ReportError, State, StateSettings,
};
use podling::model::id::{Attempt, Epoch, Incarnation, NodeId, Revision, TaskId};
use podling::model::node::{NodeAddress, NodeStatus, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::task::{Reason, TaskStatus};
use podling::model::time::Now;
use podling::store::memory::MemoryStore;

const TIMEOUT: Duration = Duration::from_secs(30);
const EPOCH: Epoch = Epoch(7);

fn settings() -> StateSettings {
    StateSettings {
        cluster: "c0000000000000000000000000".parse().unwrap(),
        epoch: EPOCH,
        node_timeout: TIMEOUT,
        pending_timeout: Duration::from_secs(300),
        retain: Duration::from_secs(86_400),
    }
}

fn state() -> State {
    State::load(settings(), &mut MemoryStore::default(), at(100)).unwrap()
}

fn registration(name: &str, start: &str) -> Registration {
    Registration {
        node_id: name.parse().unwrap(),
        instance: format!("i{name:0>25}").replace('-', "0").parse().unwrap(),
        start: format!("s{start:0>25}").parse().unwrap(),
        address: NodeAddress { host: "127.0.0.1".to_owned(), port: 8081 },
        capacity: 2,
        cpu: CpuMillis(4000),
        memory: MemoryBytes(1 << 30),
        labels: std::collections::BTreeMap::new(),
        engine: "hollow".to_owned(),
        engine_id: "e".to_owned(),
        heartbeat: Duration::from_secs(10),
    }
}

fn register(state: &State, name: &str, now: Now) -> Incarnation {
    state.register(registration(name, "1"), Incarnation(0), None, now).unwrap().value.incarnation
}

fn create(state: &State, names: &[&str], now: Now) -> Vec<TaskId> {
    let wish = |name: &&str| Creation { name: name.parse().unwrap(), spec: spec(), count: None };
    let created = state.create(names.iter().map(wish).collect(), false, None, now).unwrap();
    created.value.tasks.iter().map(|new| new.id.clone()).collect()
}

type Held<'a> = (&'a TaskId, u32, AttemptStatus);

fn beat(state: &State, name: &str, held: &[Held<'_>], now: Now) -> Result<HeartbeatReply, BeatError> {
    let running_tasks = held
        .iter()
        .map(|(task, attempt, status)| HeldAttempt {
            task_id: (*task).clone(),
            attempt: Attempt(*attempt),
            status: *status,
        })
        .collect();
    let request = HeartbeatRequest {
        node_id: name.parse().unwrap(),
        incarnation: Incarnation(1),
        epoch: EPOCH,
        revision: Revision(0),
        capacity: 2,
        ready: true,
        running_tasks,
    };
    state.beat(&request, now).map(|set| set.value)
}

fn report(task: &TaskId, attempt: u32, step: ReportStep) -> Report {
    let started = matches!(step, ReportStep::Running | ReportStep::Ended);
    Report {
        seq: 1,
        task_id: task.clone(),
        attempt: Attempt(attempt),
        step,
        container_id: started.then(|| "c0ffee".parse().unwrap()),
        started_at: started.then(|| at(101).wall),
        finished_at: (step == ReportStep::Ended).then(|| at(102).wall),
        exit_code: (step == ReportStep::Ended).then_some(0),
        reason: None,
        error: None,
        detail: None,
    }
}

fn tell(state: &State, node: &str, report: Report) -> Verdict {
    let batch = ReportsRequest { incarnation: Incarnation(1), epoch: EPOCH, reports: vec![report] };
    state.report(&node.parse().unwrap(), batch, at(103)).unwrap().value[0].verdict
}

fn status(state: &State, task: &TaskId) -> TaskStatus {
    state.task(task.as_str()).unwrap().unwrap().value.status()
}

/// A state with one node and one task placed on it.
fn placed() -> (State, TaskId) {
    let state = state();
    register(&state, "worker-1", at(100));
    let task = create(&state, &["web"], at(100)).remove(0);
    assert_eq!(state.schedule(at(100)).0.value.len(), 1);
    (state, task)
}

#[test]
fn a_task_goes_from_submit_to_its_end() {
    let (state, task) = placed();
    assert_eq!(status(&state, &task), TaskStatus::Scheduled);
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Running)), Verdict::Accepted);
    assert_eq!(status(&state, &task), TaskStatus::Running);
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Running)), Verdict::Known);
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Ended)), Verdict::Accepted);
    assert_eq!(status(&state, &task), TaskStatus::Completed);
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Ended)), Verdict::Known);
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Running)), Verdict::Stale);
    let node = state.node(&"worker-1".parse().unwrap()).unwrap().value;
    assert_eq!(node.running_tasks, 0);
}

#[test]
fn an_end_tells_the_start_that_was_never_told() {
    let (state, task) = placed();
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Ended)), Verdict::Accepted);
    let view = podling::api::wire::task::TaskView::from(&*state.task(task.as_str()).unwrap().unwrap().value);
    assert_eq!(view.started_at, Some(at(101).wall));
    assert_eq!(view.container_id.unwrap().as_str(), "c0ffee");
}

#[test]
fn a_report_counts_only_from_the_owner_for_the_current_attempt() {
    let (state, task) = placed();
    register(&state, "worker-2", at(100));
    assert_eq!(tell(&state, "worker-2", report(&task, 1, ReportStep::Ended)), Verdict::Stale);
    assert_eq!(tell(&state, "worker-1", report(&task, 2, ReportStep::Ended)), Verdict::Stale);
    let nobody = "01JD0000000000000000000000".parse().unwrap();
    assert_eq!(tell(&state, "worker-1", report(&nobody, 1, ReportStep::Ended)), Verdict::Unknown);
    assert_eq!(status(&state, &task), TaskStatus::Scheduled);
    let foreign: NodeId = "worker-9".parse().unwrap();
    let empty = |incarnation| ReportsRequest { incarnation, epoch: EPOCH, reports: Vec::new() };
    assert_eq!(state.report(&foreign, empty(Incarnation(1)), at(1)).unwrap_err(), ReportError::Unknown);
    let owner: NodeId = "worker-1".parse().unwrap();
    assert_eq!(state.report(&owner, empty(Incarnation(0)), at(1)).unwrap_err(), ReportError::Superseded);
}

#[test]
fn a_refused_attempt_goes_elsewhere() {
    let (state, task) = placed();
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Refused)), Verdict::Accepted);
    let again = state.task(task.as_str()).unwrap().unwrap().value;
    assert_eq!((again.status(), again.attempt), (TaskStatus::Pending, Attempt(2)));
    register(&state, "worker-2", at(100));
    let (placed, _) = state.schedule(at(104));
    let on = placed.value[0].task.placement().unwrap().node.clone();
    assert_eq!(on.as_str(), "worker-2");
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Refused)), Verdict::Stale);
}

#[test]
fn a_beats_reply_is_the_whole_set_with_specs_for_what_it_did_not_list() {
    let (state, task) = placed();
    let set = beat(&state, "worker-1", &[], at(101)).unwrap();
    assert!(set.complete && !set.register);
    assert_eq!(set.tasks.len(), 1);
    assert_eq!((set.tasks[0].desired, set.tasks[0].status), (Desired::Run, AttemptStatus::Scheduled));
    assert_eq!(set.tasks[0].task.as_ref().unwrap().task_id, task);
    let set = beat(&state, "worker-1", &[(&task, 1, AttemptStatus::Scheduled)], at(101)).unwrap();
    assert!(set.tasks[0].task.is_none());
    state.stop(task.as_str(), Some(Duration::from_secs(3)), at(102)).unwrap().unwrap();
    let set = beat(&state, "worker-1", &[(&task, 1, AttemptStatus::Scheduled)], at(103)).unwrap();
    assert_eq!((set.tasks[0].desired, set.tasks[0].grace_ms), (Desired::Stop, Some(3000)));
    assert_eq!(beat(&state, "worker-2", &[], at(103)).unwrap_err(), BeatError::Unknown);
}

#[test]
fn a_silent_node_is_lost_with_its_tasks_and_told_to_register_when_it_is_back() {
    let (state, task) = placed();
    assert!(state.judge_silence(at(130)).value.is_empty());
    let lost = state.judge_silence(at(131)).value;
    assert_eq!((lost[0].node.as_str(), lost[0].tasks.as_slice()), ("worker-1", [task.clone()].as_slice()));
    let ended = state.task(task.as_str()).unwrap().unwrap().value;
    let view = podling::api::wire::task::TaskView::from(&*ended);
    assert_eq!((view.status, view.reason), (TaskStatus::Failed, Some(Reason::NodeLost)));
    assert!(state.judge_silence(at(200)).value.is_empty(), "it is judged once");
    let other = create(&state, &["next"], at(200)).remove(0);
    let set = beat(&state, "worker-1", &[(&task, 1, AttemptStatus::Running)], at(201)).unwrap();
    assert!(set.register && set.complete && set.tasks.is_empty());
    assert!(state.schedule(at(201)).0.value.is_empty(), "nothing new while a stranger runs there");
    assert_eq!(tell(&state, "worker-1", report(&task, 1, ReportStep::Ended)), Verdict::Stale);
    let set = beat(&state, "worker-1", &[], at(202)).unwrap();
    assert!(!set.register);
    assert_eq!(state.schedule(at(202)).0.value[0].task.id, other);
    assert_eq!(status(&state, &task), TaskStatus::Failed);
}

#[test]
fn registrations_are_told_apart() {
    let state = state();
    let first = state.register(registration("worker-1", "1"), Incarnation(0), None, at(100)).unwrap().value;
    assert!(first.is_new);
    let retried = state.register(registration("worker-1", "1"), Incarnation(0), None, at(100)).unwrap().value;
    assert_eq!((retried.is_new, retried.incarnation), (false, first.incarnation));
    let restarted =
        state.register(registration("worker-1", "2"), Incarnation(9), None, at(101)).unwrap().value;
    assert_eq!(restarted.incarnation, Incarnation(9));
    let mut other = registration("worker-1", "3");
    other.instance = "iother00000000000000000000".parse().unwrap();
    let refused = state.register(other.clone(), Incarnation(0), None, at(102)).unwrap_err();
    assert_eq!(refused, RegisterError::NodeIdInUse);
    state.judge_silence(at(200));
    let taken_over = state.register(other, Incarnation(0), None, at(201)).unwrap().value;
    assert_eq!(taken_over.incarnation, Incarnation(10));
    let elsewhere = "c9999999999999999999999999".parse().unwrap();
    let foreign = state.register(registration("worker-2", "1"), Incarnation(0), Some(&elsewhere), at(202));
    assert_eq!(foreign.unwrap_err(), RegisterError::ForeignCluster);
    assert_eq!(beat(&state, "worker-1", &[], at(202)).unwrap_err(), BeatError::Superseded);
}

#[test]
fn a_task_without_a_node_fails_after_its_time() {
    let state = state();
    let task = create(&state, &["web"], at(100)).remove(0);
    assert!(state.expire_waiting(at(399)).value.is_empty());
    assert_eq!(state.expire_waiting(at(400)).value, std::slice::from_ref(&task));
    let view = podling::api::wire::task::TaskView::from(&*state.task(task.as_str()).unwrap().unwrap().value);
    assert_eq!((view.status, view.reason), (TaskStatus::Failed, Some(Reason::NoNode)));
    assert_eq!(view.error.as_deref(), Some("no node took it in time: no node is registered"));
}

#[test]
fn stopping_is_at_once_where_nothing_runs_and_an_intent_where_something_does() {
    let state = state();
    let waiting = create(&state, &["web"], at(100)).remove(0);
    let stopped = state.stop(waiting.as_str(), None, at(101)).unwrap().unwrap().value;
    assert_eq!(stopped.task.status(), TaskStatus::Stopped);
    assert!(state.stop(waiting.as_str(), None, at(102)).unwrap().is_some(), "again is no error");
    assert!(state.stop("nobody", None, at(102)).unwrap().is_none());

    let (state, task) = placed();
    tell(&state, "worker-1", report(&task, 1, ReportStep::Running));
    let asked = state.stop("web", None, at(101)).unwrap().unwrap().value;
    assert_eq!(asked.task.status(), TaskStatus::Running);
    assert_eq!(asked.reach.unwrap().address.port, 8081);
    let mut end = report(&task, 1, ReportStep::Ended);
    (end.exit_code, end.reason) = (Some(143), Some(Reason::Stopped));
    tell(&state, "worker-1", end);
    assert_eq!(status(&state, &task), TaskStatus::Stopped);
}

#[test]
fn names_prefixes_and_ids_find_tasks() {
    let state = state();
    let tasks = create(&state, &["web", "web", "db"], at(100));
    let found =
        |reference: &str| state.task(reference).map(|found| found.map(|found| found.value.id.clone()));
    assert_eq!(found(tasks[0].as_str()), Ok(Some(tasks[0].clone())));
    assert_eq!(found("web"), Ok(Some(tasks[1].clone())), "the newest");
    state.stop(tasks[1].as_str(), None, at(101)).unwrap();
    assert_eq!(found("web"), Ok(Some(tasks[0].clone())), "the newest that lives");
    assert_eq!(found("db"), Ok(Some(tasks[2].clone())));
    assert_eq!(found("nobody"), Ok(None));
    assert_eq!(found(&tasks[0].as_str()[..3]), Ok(None), "three characters are too few");
    let shared = &tasks[0].as_str()[..10];
    assert_eq!(found(shared).unwrap_err().candidates, tasks);
    assert!(matches!(state.forget("web", at(102)), Err(ForgetError::Ambiguous(_))), "rm wants one");
    assert!(matches!(state.forget("db", at(102)), Err(ForgetError::Lives(_))));
    assert!(state.forget(tasks[1].as_str(), at(102)).unwrap().is_some());
    assert!(state.forget(tasks[1].as_str(), at(102)).unwrap().is_none());
}

#[test]
fn lists_are_paged_in_a_stable_order() {
    let state = state();
    let tasks = create(&state, &["a", "b", "a", "a", "b"], at(100));
    let filter = Filter { name: Some("a".parse().unwrap()), ..Filter::default() };
    let (page, next) = state.tasks(&filter, None, 2).value;
    let ids: Vec<_> = page.iter().map(|task| task.id.clone()).collect();
    assert_eq!((ids, next.clone()), (vec![tasks[0].clone(), tasks[2].clone()], Some(tasks[2].clone())));
    let (page, next) = state.tasks(&filter, next.as_ref(), 2).value;
    assert_eq!((page.len(), next), (1, None));
    let (all, next) = state.tasks(&Filter::default(), None, 5).value;
    assert_eq!((all.len(), next), (5, None));
}

#[test]
fn several_statuses_are_one_list_in_order() {
    let state = state();
    let tasks = create(&state, &["a", "b", "c", "d", "e"], at(100));
    for name in ["b", "d"] {
        state.stop(name, None, at(101)).unwrap();
    }
    let statuses = vec![TaskStatus::Stopped, TaskStatus::Pending, TaskStatus::Stopped, TaskStatus::Running];
    let filter = Filter { statuses, ..Filter::default() };
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = state.tasks(&filter, after.as_ref(), 2).value;
        seen.extend(page.iter().map(|task| task.id.clone()));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, tasks);
    let filter = Filter { statuses: vec![TaskStatus::Running], ..Filter::default() };
    assert!(state.tasks(&filter, None, 2).value.0.is_empty());
}

#[test]
fn a_key_makes_one_creation() {
    let state = state();
    let key = |body: u8| Some(KeyUse { key: "k".to_owned(), body_hash: [body; 32] });
    let wish = || vec![Creation { name: "web".parse().unwrap(), spec: spec(), count: Some(3) }];
    let first = state.create(wish(), true, key(1), at(100)).unwrap();
    assert_eq!(state.create(wish(), true, key(1), at(100)).unwrap_err(), CreateError::KeyBusy);
    // Its record becomes durable: the journal thread would do this.
    let (source, stop) = podling::runtime::supervise::Stop::channel();
    source.stop();
    podling::master::committer::run(&state, &mut MemoryStore::default(), &stop);
    let again = state.create(wish(), true, key(1), at(101)).unwrap();
    assert_eq!(again.at, first.at);
    let names: Vec<String> = again.value.tasks.iter().map(|new| new.name.to_string()).collect();
    assert_eq!(names, ["web-0", "web-1", "web-2"]);
    assert_eq!(state.create(wish(), true, key(2), at(101)).unwrap_err(), CreateError::KeyReused);
    for new in &first.value.tasks {
        state.stop(new.id.as_str(), None, at(102)).unwrap();
        state.forget(new.id.as_str(), at(102)).unwrap();
    }
    assert_eq!(state.create(wish(), true, key(1), at(103)).unwrap_err(), CreateError::Gone);
    let later = at(100 + 86_401);
    state.create(wish(), true, Some(KeyUse { key: "other".to_owned(), body_hash: [0; 32] }), later).unwrap();
    assert!(state.create(wish(), true, key(2), later).is_ok(), "a day later the key is free");
}

#[test]
fn old_ends_are_forgotten() {
    let state = state();
    let task = create(&state, &["web"], at(100)).remove(0);
    state.stop(task.as_str(), None, at(200)).unwrap();
    assert_eq!(state.forget_old(at(200 + 86_400)), 0);
    assert_eq!(state.forget_old(at(201 + 86_400)), 1);
    assert!(state.task(task.as_str()).unwrap().is_none());
}

#[test]
fn what_was_made_durable_comes_back_as_it_was() {
    let mut store = Kept::default();
    let state = State::load(settings(), &mut store, at(100)).unwrap();
    register(&state, "worker-1", at(100));
    let tasks = create(&state, &["a", "b", "c", "d"], at(100));
    state.schedule(at(101));
    tell(&state, "worker-1", report(&tasks[0], 1, ReportStep::Ended));
    tell(&state, "worker-1", report(&tasks[1], 1, ReportStep::Running));
    state.stop("d", None, at(104)).unwrap();
    let cordoned = podling::model::node::Availability::Cordoned;
    state.set_availability(&"worker-1".parse().unwrap(), cordoned, at(104)).unwrap().unwrap();
    let (source, stop) = podling::runtime::supervise::Stop::channel();
    source.stop();
    podling::master::committer::run(&state, &mut store, &stop);

    let back = State::load(settings(), &mut store, at(500)).unwrap();
    let all = |state: &State| format!("{:?}", state.tasks(&Filter::default(), None, 100).value);
    assert_eq!(all(&back), all(&state));
    let node = back.node(&"worker-1".parse().unwrap()).unwrap().value;
    assert_eq!((node.running_tasks, node.availability.as_str()), (1, "cordoned"));
    assert_eq!(node.status, NodeStatus::Online);
    assert_eq!(back.journal().last_position(), state.journal().last_position());
    assert!(back.judge_silence(at(530)).value.is_empty(), "a full timeout after the start");
    let next = create(&back, &["e"], at(99)).remove(0);
    assert!(next > tasks[3], "ids go on growing though the clock was set back");
}
