//! A drain, turn by turn: on a real state, without threads, workers or clocks.

use std::sync::Arc;

use super::*;
use crate::api::wire::agent::{HeartbeatRequest, Report, ReportStep, ReportsRequest};
use crate::api::wire::spec::Creation;
use crate::master::state::StateSettings;
use crate::model::id::{Attempt, ContainerId, Epoch, Incarnation, Revision};
use crate::model::node::{Availability, NodeAddress, Registration};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::spec::{OnNodeLost, TaskSpec};
use crate::model::task::{Reason, Task, TaskStatus};
use crate::model::time::WallTime;
use crate::store::memory::MemoryStore;

fn at(secs: u64) -> Now {
    Now { mono: Mono::from_boot(Duration::from_secs(secs)), wall: WallTime::from_unix_millis(secs * 1000) }
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

struct Master(State);

impl Master {
    fn with_nodes(names: &[&str]) -> Self {
        let settings = StateSettings {
            cluster: "c0000000000000000000000000".parse().unwrap(),
            epoch: Epoch(1),
            node_timeout: Duration::from_secs(30),
            pending_timeout: Duration::ZERO,
            retain: Duration::from_secs(3_600),
        };
        let master = Self(State::load(settings, &mut MemoryStore::default(), at(0)).unwrap());
        names.iter().for_each(|name| master.register(name));
        master
    }

    fn register(&self, name: &str) {
        let registration = Registration {
            node_id: id(name),
            instance: "i0000000000000000000000000".parse().unwrap(),
            start: "s0000000000000000000000000".parse().unwrap(),
            address: NodeAddress { host: name.to_owned(), port: 1 },
            capacity: 2,
            cpu: CpuMillis(1000),
            memory: MemoryBytes(1 << 30),
            labels: BTreeMap::new(),
            engine: "hollow".to_owned(),
            engine_id: name.to_owned(),
            heartbeat: Duration::from_secs(10),
        };
        self.0.register(registration, Incarnation(1), None, at(0)).unwrap();
    }

    /// A task that runs; where.
    fn run(&self, name: &str, on_node_lost: OnNodeLost) -> (TaskId, NodeId) {
        let spec = TaskSpec { on_node_lost, ..TaskSpec::of_image("a".parse().unwrap()) };
        let wanted = Creation { name: name.parse().unwrap(), spec: Arc::new(spec), count: None };
        let created = self.0.create(vec![wanted], false, None, at(1)).unwrap();
        let task = created.value.tasks[0].id.clone();
        let node = self.place(&task);
        self.report(&task, ReportStep::Running, None);
        (task, node)
    }

    fn place(&self, task: &TaskId) -> NodeId {
        self.0.schedule(at(1));
        self.task(task).placement().unwrap().node.clone()
    }

    fn report(&self, task: &TaskId, step: ReportStep, reason: Option<Reason>) {
        let now = self.task(task);
        let node = now.placement().unwrap().node.clone();
        let container: ContainerId = format!("{task}a{}", now.attempt).parse().unwrap();
        let report = Report {
            seq: 1,
            task_id: task.clone(),
            attempt: now.attempt,
            step,
            container_id: Some(container),
            started_at: Some(at(2).wall),
            finished_at: (step == ReportStep::Ended).then(|| at(3).wall),
            exit_code: (step == ReportStep::Ended).then_some(143),
            reason,
            error: None,
            detail: None,
        };
        let batch = ReportsRequest { incarnation: Incarnation(1), epoch: Epoch(1), reports: vec![report] };
        self.0.report(&node, batch, at(3)).unwrap();
    }

    fn drain(&self, name: &str) {
        self.0.set_availability(&id(name), Availability::Draining, at(2)).unwrap();
    }

    fn task(&self, id: &TaskId) -> Arc<Task> {
        self.0.task(id.as_str()).unwrap().unwrap().value
    }

    fn running_on(&self, name: &str) -> u32 {
        self.0.node(&id(name)).unwrap().value.running_tasks
    }

    fn is_told_to_stop(&self, name: &str) -> bool {
        let beat = HeartbeatRequest {
            node_id: id(name),
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            revision: Revision(0),
            capacity: 2,
            ready: true,
            running_tasks: Vec::new(),
        };
        let set = self.0.beat(&beat, at(2)).unwrap().value;
        set.tasks.iter().any(|one| one.grace_ms.is_some())
    }
}

#[test]
fn an_attempt_ends_only_once_another_node_is_ready_for_the_next() {
    let (master, mut mover) = (Master::with_nodes(&["a", "b"]), Mover::default());
    let (task, from) = master.run("web", OnNodeLost::Reschedule);
    let to = if from == id("a") { "b" } else { "a" };
    assert!(!master.0.has_drains() && mover.keep(&master.0, at(2)).is_empty());
    master.drain(from.as_str());
    let asked = mover.keep(&master.0, at(2));
    assert_eq!((asked.len(), asked[0].node.as_str(), master.running_on(to)), (1, to, 1), "a place is kept");
    let busy = Ok(Prepared::Pulling { detail: "pulling".to_owned() });
    assert!(mover.take(&master.0, &asked[0], busy, at(3)).is_none());
    assert!(!master.is_told_to_stop(from.as_str()));
    assert_eq!(mover.keep(&master.0, at(4)).len(), 1, "it is asked again");
    let ended = mover.take(&master.0, &asked[0], Ok(Prepared::Present), at(4)).unwrap();
    assert_eq!(ended.value.reach.address.host, from.as_str());
    assert!(master.is_told_to_stop(from.as_str()));
    assert!(mover.keep(&master.0, at(4)).is_empty(), "nobody needs to be asked any more");
    master.report(&task, ReportStep::Ended, Some(Reason::Stopped));
    assert_eq!(master.task(&task).status(), TaskStatus::Pending);
    assert_eq!(master.running_on(to), 1, "its place is still kept");
    assert_eq!(master.place(&task), id(to));
    assert_eq!((master.running_on(from.as_str()), master.running_on(to)), (0, 1));
    let moved = master.task(&task);
    assert_eq!(
        (moved.attempt, moved.past.len(), moved.past[0].reason),
        (Attempt(2), 1, Some(Reason::Stopped))
    );
}

#[test]
fn what_may_not_run_elsewhere_is_waited_for() {
    let (master, mut mover) = (Master::with_nodes(&["a", "b"]), Mover::default());
    let (task, from) = master.run("db", OnNodeLost::Fail);
    master.drain(from.as_str());
    assert!(mover.keep(&master.0, at(2)).is_empty());
    assert!(!master.is_told_to_stop(from.as_str()));
    assert_eq!(master.task(&task).reserved, None);
}

#[test]
fn a_node_that_can_not_have_the_image_is_left_out_and_another_one_keeps_the_place() {
    let (master, mut mover) = (Master::with_nodes(&["a", "b", "c"]), Mover::default());
    let (_, from) = master.run("web", OnNodeLost::Reschedule);
    master.drain(from.as_str());
    let first = mover.keep(&master.0, at(2)).remove(0);
    assert!(
        mover.take(&master.0, &first, Err(NotPrepared::Failed("no such image".to_owned())), at(3)).is_none()
    );
    // The first place is given back in one turn, and the next one is kept in the same or the following.
    mover.keep(&master.0, at(3));
    let second = mover.keep(&master.0, at(3)).remove(0);
    assert_ne!(second.node, first.node);
    assert!(mover.take(&master.0, &first, Ok(Prepared::Present), at(3)).is_none(), "its place is gone");
}

#[test]
fn an_open_node_keeps_what_it_has() {
    let (master, mut mover) = (Master::with_nodes(&["a", "b"]), Mover::default());
    let (task, from) = master.run("web", OnNodeLost::Reschedule);
    master.drain(from.as_str());
    let asked = mover.keep(&master.0, at(2)).remove(0);
    master.0.set_availability(&from, Availability::Active, at(3)).unwrap();
    assert!(mover.keep(&master.0, at(3)).is_empty());
    assert!(mover.take(&master.0, &asked, Ok(Prepared::Present), at(3)).is_none());
    assert_eq!(master.task(&task).reserved, None);
    assert_eq!(master.running_on(asked.node.as_str()), 0);
}

#[test]
fn whoever_is_asked_to_stop_is_not_moved() {
    let (master, mut mover) = (Master::with_nodes(&["a", "b"]), Mover::default());
    let (task, from) = master.run("web", OnNodeLost::Reschedule);
    master.drain(from.as_str());
    let asked = mover.keep(&master.0, at(2)).remove(0);
    let moved = mover.take(&master.0, &asked, Ok(Prepared::Present), at(3));
    assert!(moved.is_some_and(|moved| moved.at > Revision(0)));
    master.0.stop(task.as_str(), None, at(3)).unwrap();
    assert_eq!(master.running_on(asked.node.as_str()), 0, "nobody will need the place");
    master.report(&task, ReportStep::Ended, Some(Reason::Stopped));
    assert_eq!(master.task(&task).status(), TaskStatus::Stopped);
}
