//! Nodes that fall silent, seen from the state manager: who is judged lost, when, and what becomes of its tasks.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/kept.rs"]
mod kept;

use std::sync::Arc;
use std::time::Duration;

use cluster::{at, spec};
use kept::Kept;
use podling::api::wire::agent::{
    AttemptStatus, Desired, HeartbeatReply, HeartbeatRequest, HeldAttempt, Report, ReportStep,
    ReportsRequest, Verdict,
};
use podling::api::wire::spec::Creation;
use podling::master::committer;
use podling::master::state::{Lost, State, StateSettings};
use podling::model::id::{Attempt, AttemptKey, Epoch, Incarnation, NodeId, Revision, TaskId};
use podling::model::node::{NodeAddress, NodeStatus, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::spec::OnNodeLost;
use podling::model::task::{Reason, Task, TaskStatus};
use podling::model::time::Now;
use podling::runtime::supervise::Stop;

const TIMEOUT_SECS: u64 = 30;
const EPOCH: Epoch = Epoch(7);

/// A master and what its nodes and users say to it.
struct Master {
    state: State,
    store: Kept,
}

fn settings() -> StateSettings {
    StateSettings {
        cluster: "c0000000000000000000000000".parse().unwrap(),
        epoch: EPOCH,
        node_timeout: Duration::from_secs(TIMEOUT_SECS),
        pending_timeout: Duration::from_secs(300),
        retain: Duration::from_secs(86_400),
    }
}

fn name(node: &str) -> NodeId {
    node.parse().unwrap()
}

impl Master {
    /// With these nodes, heard at second 100.
    fn with(nodes: &[&str]) -> Self {
        let mut store = Kept::default();
        let state = State::load(settings(), &mut store, at(100)).unwrap();
        let master = Self { state, store };
        nodes.iter().for_each(|node| master.register(node, at(100)));
        master
    }

    fn register(&self, node: &str, now: Now) {
        let registration = Registration {
            node_id: name(node),
            instance: format!("i{node:0>25}").replace('-', "0").parse().unwrap(),
            start: format!("s{node:0>25}").replace('-', "0").parse().unwrap(),
            address: NodeAddress { host: "127.0.0.1".to_owned(), port: 8081 },
            capacity: 2,
            cpu: CpuMillis(4000),
            memory: MemoryBytes(1 << 30),
            labels: std::collections::BTreeMap::new(),
            engine: "hollow".to_owned(),
            engine_id: "e".to_owned(),
            heartbeat: Duration::from_secs(10),
        };
        self.state.register(registration, Incarnation(0), None, now).unwrap();
    }

    /// Makes one task for each node, and places them: by id, and so in the order of the nodes.
    fn a_task_each(&self, count: usize, on_node_lost: OnNodeLost) -> Vec<TaskId> {
        let mut wanted = spec();
        Arc::make_mut(&mut wanted).on_node_lost = on_node_lost;
        let wish = |number| Creation {
            name: format!("t-{number}").parse().unwrap(),
            spec: Arc::clone(&wanted),
            count: None,
        };
        let created = self.state.create((0..count).map(wish).collect(), false, None, at(100)).unwrap();
        assert_eq!(self.state.schedule(at(100)).0.value.len(), count);
        created.value.tasks.iter().map(|new| new.id.clone()).collect()
    }

    fn beat(&self, node: &str, held: &[(&TaskId, u32)], now: Now) -> HeartbeatReply {
        let held = held.iter().map(|(task, attempt)| HeldAttempt {
            task_id: (*task).clone(),
            attempt: Attempt(*attempt),
            status: AttemptStatus::Running,
        });
        let request = HeartbeatRequest {
            node_id: name(node),
            incarnation: Incarnation(1),
            epoch: EPOCH,
            revision: Revision(0),
            capacity: 2,
            ready: true,
            running_tasks: held.collect(),
        };
        self.state.beat(&request, now).unwrap().value
    }

    /// The master of the next start, at that second: it knows what this one made durable.
    fn started_again(self, secs: u64) -> Self {
        let (mut store, (source, stop)) = (self.store, Stop::channel());
        source.stop();
        committer::run(&self.state, &mut store, &stop);
        let state = State::load(settings(), &mut store, at(secs)).unwrap();
        Self { state, store }
    }

    fn judge(&self, secs: u64) -> Vec<Lost> {
        self.state.judge_silence(at(secs)).value
    }

    fn task(&self, task: &TaskId) -> Arc<Task> {
        self.state.task(task.as_str()).unwrap().unwrap().value
    }

    fn status(&self, task: &TaskId) -> TaskStatus {
        self.task(task).status()
    }

    fn node_status(&self, node: &str) -> NodeStatus {
        self.state.node(&name(node)).unwrap().value.status
    }

    /// The end of attempt 1, as its node tells it.
    fn tell_end(&self, node: &str, task: &TaskId, reason: Option<Reason>, code: i32) -> Verdict {
        let report = Report {
            seq: 1,
            task_id: task.clone(),
            attempt: Attempt(1),
            step: ReportStep::Ended,
            container_id: Some("c0ffee".parse().unwrap()),
            started_at: Some(at(101).wall),
            finished_at: Some(at(102).wall),
            exit_code: Some(code),
            reason,
            error: None,
            detail: None,
        };
        let batch = ReportsRequest { incarnation: Incarnation(1), epoch: EPOCH, reports: vec![report] };
        self.state.report(&name(node), batch, at(103)).unwrap().value[0].verdict
    }
}

#[test]
fn a_lost_nodes_task_runs_elsewhere_as_a_new_attempt_and_its_old_one_is_a_stranger() {
    let master = Master::with(&["worker-1"]);
    let task = master.a_task_each(1, OnNodeLost::Reschedule).remove(0);
    master.register("worker-2", at(120));
    assert!(master.judge(130).is_empty());
    while master.state.work().try_recv().is_ok() {}
    let lost = master.judge(131);
    let second = AttemptKey { task: task.clone(), attempt: Attempt(2) };
    assert_eq!(
        (lost[0].tasks.as_slice(), lost[0].rescheduled.as_slice()),
        (&[task.clone()][..], &[second][..])
    );
    assert!(master.state.work().try_recv().is_ok(), "the scheduler is woken");
    assert_eq!(master.status(&task), TaskStatus::Pending);
    let placed = master.state.schedule(at(131)).0.value.remove(0).task;
    assert_eq!((placed.attempt, placed.placement().unwrap().node.as_str()), (Attempt(2), "worker-2"));

    let set = master.beat("worker-1", &[(&task, 1)], at(140));
    assert!(set.register && set.complete && set.tasks.is_empty(), "its old container is to stop");
    assert_eq!(master.tell_end("worker-1", &task, None, 0), Verdict::Stale);
    assert_eq!((master.status(&task), master.task(&task).attempt), (TaskStatus::Scheduled, Attempt(2)));
}

#[test]
fn a_task_whose_end_was_asked_for_is_stopped_when_its_node_is_lost() {
    let master = Master::with(&["worker-1"]);
    let task = master.a_task_each(1, OnNodeLost::Reschedule).remove(0);
    master.state.stop(task.as_str(), None, at(101)).unwrap().unwrap();
    let lost = master.judge(131);
    assert_eq!((lost[0].tasks.len(), lost[0].rescheduled.len()), (1, 0));
    assert_eq!(master.status(&task), TaskStatus::Stopped);
}

#[test]
fn a_lease_that_ran_out_makes_a_new_attempt_elsewhere_where_another_node_fits() {
    let master = Master::with(&["worker-1"]);
    let task = master.a_task_each(1, OnNodeLost::Reschedule).remove(0);
    assert_eq!(master.tell_end("worker-1", &task, Some(Reason::LeaseExpired), 137), Verdict::Accepted);
    assert_eq!((master.status(&task), master.task(&task).attempt), (TaskStatus::Pending, Attempt(2)));
    assert_eq!(master.tell_end("worker-1", &task, Some(Reason::LeaseExpired), 137), Verdict::Stale);
    master.register("worker-2", at(104));
    let placed = master.state.schedule(at(104)).0.value.remove(0).task;
    assert_eq!(placed.placement().unwrap().node.as_str(), "worker-2");
    let alone = Master::with(&["worker-1"]);
    let task = alone.a_task_each(1, OnNodeLost::Reschedule).remove(0);
    alone.tell_end("worker-1", &task, Some(Reason::LeaseExpired), 0);
    assert_eq!(alone.state.schedule(at(104)).0.value[0].task.id, task, "better there than nowhere");
}

#[test]
fn when_all_of_three_nodes_fall_silent_no_task_is_judged_before_a_beat() {
    let names = ["worker-1", "worker-2", "worker-3"];
    let master = Master::with(&names);
    let tasks = master.a_task_each(3, OnNodeLost::Reschedule);
    let lost = master.judge(131);
    assert!(lost.len() == 3 && lost.iter().all(|lost| lost.is_held && lost.tasks.is_empty()), "{lost:?}");
    assert!(names.iter().all(|node| master.node_status(node) == NodeStatus::Offline));
    assert!(master.judge(200).is_empty(), "told once");
    assert!(tasks.iter().all(|task| master.status(task) == TaskStatus::Scheduled));
    let wish = Creation { name: "next".parse().unwrap(), spec: spec(), count: None };
    master.state.create(vec![wish], false, None, at(201)).unwrap();
    assert!(master.state.schedule(at(201)).0.value.is_empty(), "nothing new goes there");

    let set = master.beat("worker-2", &[(&tasks[1], 1)], at(210));
    assert_eq!((set.register, set.tasks.len()), (true, 1), "it still has its task");
    master.beat("worker-2", &[(&tasks[1], 1)], at(235));
    assert!(master.judge(240).is_empty(), "every node has one full timeout again");
    let lost = master.judge(241);
    assert_eq!(lost.iter().map(|lost| lost.tasks.as_slice()).collect::<Vec<_>>(), [&tasks[..1], &tasks[2..]]);
    assert_eq!(master.status(&tasks[1]), TaskStatus::Scheduled);
}

#[test]
fn a_cluster_that_stays_silent_is_judged_after_ten_timeouts() {
    let master = Master::with(&["worker-1", "worker-2", "worker-3"]);
    let tasks = master.a_task_each(3, OnNodeLost::Fail);
    assert_eq!(master.judge(131).len(), 3);
    assert!(master.judge(431).is_empty());
    assert_eq!(master.judge(432).iter().map(|lost| lost.tasks.len()).sum::<usize>(), 3);
    assert!(tasks.iter().all(|task| master.status(task) == TaskStatus::Failed));
}

#[test]
fn one_of_three_nodes_is_lost_while_the_others_are_heard() {
    let master = Master::with(&["worker-1", "worker-2", "worker-3"]);
    let tasks = master.a_task_each(3, OnNodeLost::Fail);
    master.beat("worker-1", &[(&tasks[0], 1)], at(125));
    master.beat("worker-3", &[(&tasks[2], 1)], at(125));
    let lost = master.judge(131);
    assert_eq!((lost.len(), lost[0].node.as_str()), (1, "worker-2"));
    assert_eq!(master.status(&tasks[1]), TaskStatus::Failed);
}

#[test]
fn a_master_in_quarantine_stops_nothing_that_it_does_not_know_and_says_so() {
    let mut master = Master::with(&["worker-1"]);
    master.state = master.state.in_quarantine();
    let known = master.a_task_each(1, OnNodeLost::Fail).remove(0);
    let unknown: TaskId = "01AAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let held = [(&known, 1), (&unknown, 3)];
    let set = master.beat("worker-1", &held, at(101));
    assert_eq!((set.complete, set.tasks.len()), (false, 1));
    let node = name("worker-1");
    let detail = || master.state.node(&node).unwrap().value.detail;
    assert!(
        detail().unwrap().starts_with("it runs 1 attempts that this master does not know"),
        "{:?}",
        detail()
    );
    let key = AttemptKey { task: unknown.clone(), attempt: Attempt(3) };
    assert_eq!(master.state.news_of_unknown(&node), Some(vec![key]));
    master.beat("worker-1", &held, at(102));
    assert_eq!(master.state.news_of_unknown(&node), None, "told once");

    master.state.stop(known.as_str(), None, at(103)).unwrap().unwrap();
    let set = master.beat("worker-1", &held, at(104));
    assert_eq!((set.complete, set.tasks[0].desired), (false, Desired::Stop), "a user's wish still counts");
    assert_eq!(master.tell_end("worker-1", &known, Some(Reason::Stopped), 143), Verdict::Accepted);
    assert_eq!(master.status(&known), TaskStatus::Stopped);

    assert_eq!(master.judge(135).len(), 1);
    master.beat("worker-1", &[(&unknown, 3)], at(140));
    let next = master.a_task_each(1, OnNodeLost::Fail).remove(0);
    assert_eq!(master.status(&next), TaskStatus::Scheduled, "strangers that stay keep no node from work");
    master.beat("worker-1", &[], at(141));
    assert_eq!((detail(), master.state.news_of_unknown(&node)), (None, Some(Vec::new())));
}

#[test]
fn after_a_start_of_the_master_every_node_has_one_full_timeout() {
    let master = Master::with(&["worker-1"]);
    let task = master.a_task_each(1, OnNodeLost::Reschedule).remove(0);
    let master = master.started_again(1000);
    assert_eq!(master.task(&task).spec.on_node_lost, OnNodeLost::Reschedule);
    assert!(master.judge(1030).is_empty());
    assert_eq!(master.judge(1031).len(), 1);
    let master = master.started_again(2000);
    assert_eq!((master.status(&task), master.task(&task).attempt), (TaskStatus::Pending, Attempt(2)));
    assert!(master.task(&task).avoids(&name("worker-1")));
}

#[test]
fn what_the_brake_held_when_the_master_stopped_is_judged_by_the_next_one() {
    let master = Master::with(&["worker-1", "worker-2", "worker-3"]);
    let tasks = master.a_task_each(3, OnNodeLost::Fail);
    assert_eq!(master.judge(131).len(), 3);
    let master = master.started_again(1000);
    assert!(master.judge(1030).is_empty());
    master.beat("worker-1", &[(&tasks[0], 1)], at(1025));
    let lost = master.judge(1031);
    assert_eq!(
        lost.iter().map(|lost| lost.tasks.as_slice()).collect::<Vec<_>>(),
        [&tasks[1..2], &tasks[2..]]
    );
}

#[test]
fn a_master_judges_nobody_before_the_last_ones_leases_have_ended() {
    let mut master = Master::with(&["worker-1"]);
    master.state = master.state.judging_from(at(160).mono);
    assert!(master.judge(159).is_empty());
    assert_eq!(master.judge(160).len(), 1);
}
