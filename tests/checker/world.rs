//! What a history is written from: a cluster in memory that notes whatever happens to it.
//!
//! Main type: [`World`]. Its state is the real one, moved on by `control::change::apply`, so that what clients are shown
//! is what a master would show. It has no will of its own: what happens is up to its caller.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use podling::control::change::{Change, Creation, KeyUse, NewTask, apply};
use podling::control::nodes::Nodes;
use podling::control::tasks::Tasks;
use podling::control::tokens::Tokens;
use podling::model::id::{AttemptKey, ContainerId, Epoch, Incarnation, NodeId, Revision, TaskId};
use podling::model::node::{Availability, NodeAddress, NodeStatus, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::restart::{Restart, RestartPolicy};
use podling::model::spec::{Network, OnNodeLost, PullPolicy, TaskSpec};
use podling::model::task::{
    Ending, Outcome, Placement, Reason, Step, StopIntent, Task, TaskState, TaskStatus,
};
use podling::model::time::{Mono, Now, WallTime};

use crate::checker::history::{Answer, Because, Fault, History, Left, Millis, Seen, Terms, What, Wish};

pub(crate) const TIMEOUT: Millis = 3_000;
pub(crate) const LEASE: Millis = 2_000;

/// The image of every task.
pub(crate) const IMAGE: &str = "podling/busybox";

/// A container, as its Engine has it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) node: NodeId,
    pub(crate) key: AttemptKey,
    pub(crate) leased: bool,
    pub(crate) started_at: WallTime,
    pub(crate) runs: bool,
    /// How it ended, for its worker to tell.
    pub(crate) end: Option<(i32, Option<Reason>)>,
}

/// A cluster in memory, and what happened to it.
pub(crate) struct World {
    pub(crate) history: History,
    pub(crate) now: Millis,
    pub(crate) nodes: Nodes,
    pub(crate) tasks: Tasks,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    specs: HashMap<TaskId, String>,
    position: u64,
    calls: u64,
    made: u64,
}

pub(crate) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let cluster = "c0000000000000000000000000".parse().unwrap();
        let terms =
            Terms { cluster, node_timeout: TIMEOUT, lease: LEASE, healthz: 500, commits_are_timed: true };
        Self {
            history: History::new(terms),
            now: 0,
            nodes: Nodes::default(),
            tasks: Tasks::new(Duration::ZERO),
            containers: BTreeMap::new(),
            specs: HashMap::new(),
            position: 0,
            calls: 0,
            made: 0,
        }
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime::from_unix_millis(1_000_000 + self.now)
    }

    pub(crate) fn push(&mut self, what: What) {
        self.history.push(self.now, what);
    }

    /// Makes a change durable.
    pub(crate) fn commit(&mut self, change: Change) {
        self.position += 1;
        let position = Revision(self.position);
        let now = Now { mono: Mono::from_boot(Duration::from_millis(self.now)), wall: self.wall() };
        apply(&mut self.nodes, &mut self.tasks, &mut Tokens::default(), &change, position, now).unwrap();
        self.push(What::Committed { position, change });
    }

    /// Back-offs that are over by now are over.
    pub(crate) fn release(&mut self) {
        self.tasks.release(Mono::from_boot(Duration::from_millis(self.now)));
    }

    pub(crate) fn advance(&mut self, task: &TaskId, step: Step) {
        self.commit(Change::Advanced { task: task.clone(), step });
    }

    pub(crate) fn master_begins(&mut self, epoch: u64) {
        self.push(What::MasterBegan { epoch: Epoch(epoch) });
        let shown = format!("{} tasks\n{} running", self.tasks.len(), self.tasks.count(TaskStatus::Running));
        self.push(What::Restored { durable: shown.clone(), shown });
    }

    pub(crate) fn worker_begins(&mut self, node: &NodeId, incarnation: u64) {
        self.push(What::WorkerBegan { node: node.clone(), incarnation: Incarnation(incarnation) });
    }

    pub(crate) fn register(&mut self, node: &NodeId, incarnation: u64, capacity: u32) {
        let registration = Registration {
            node_id: node.clone(),
            instance: "i0000000000000000000000000".parse().unwrap(),
            start: format!("s{incarnation:025}").parse().unwrap(),
            address: NodeAddress { host: "127.0.0.1".to_owned(), port: 8081 },
            capacity,
            cpu: CpuMillis(4000),
            memory: MemoryBytes(8 << 30),
            labels: BTreeMap::new(),
            engine: "hollow".to_owned(),
            engine_id: "e".to_owned(),
            heartbeat: Duration::from_millis(500),
        };
        self.commit(Change::Registered { registration, incarnation: Incarnation(incarnation) });
    }

    pub(crate) fn status(&mut self, node: &NodeId, status: NodeStatus) {
        self.commit(Change::Status { node: node.clone(), status });
    }

    pub(crate) fn open_or_close(&mut self, node: &NodeId, availability: Availability) {
        self.commit(Change::Availability { node: node.clone(), availability });
    }

    /// A beat that is taken and answered at once.
    pub(crate) fn beat(&mut self, node: &NodeId) {
        self.push(What::BeatTaken { node: node.clone() });
        self.push(What::BeatAnswered { node: node.clone(), sent: self.now });
    }

    pub(crate) fn broke(&mut self, fault: Fault, subject: &str) {
        self.push(What::Broke { fault, subject: subject.to_owned() });
    }

    pub(crate) fn healed(&mut self, fault: Fault, subject: &str) {
        self.push(What::Healed { fault, subject: subject.to_owned() });
    }

    pub(crate) fn ask(&mut self, client: u32, wish: Wish) -> u64 {
        self.calls += 1;
        self.push(What::Asked { call: self.calls, client, wish });
        self.calls
    }

    pub(crate) fn answer(&mut self, call: u64, answer: Answer) {
        self.push(What::Answered { call, answer });
    }

    /// The specs of some new tasks, as text. What begins with `l` or `a` runs under the lease; what begins with `r` or
    /// `a` is tried again.
    pub(crate) fn create(&mut self, key: &str, specs: &[String]) -> Vec<TaskId> {
        let first = self.made;
        self.made += specs.len() as u64;
        let ids: Vec<TaskId> =
            (first..self.made).map(|number| format!("T{number:025}").parse().unwrap()).collect();
        let tasks = ids.iter().zip(specs).map(|(id, text)| new_task(id, text)).collect();
        self.specs.extend(ids.iter().cloned().zip(specs.iter().cloned()));
        let key = KeyUse { key: key.to_owned(), body_hash: [0; 32] };
        self.commit(Change::Created(Creation {
            at: self.wall(),
            batch: None,
            tasks,
            key: Some(key),
            made_by: None,
        }));
        ids
    }

    pub(crate) fn place(&mut self, task: &TaskId, node: &NodeId) {
        let on = Placement { node: node.clone(), at: self.wall(), revision: Revision(self.position + 1) };
        self.advance(task, Step::Place(on));
    }

    /// An Engine makes the container of a task's attempt, and starts it.
    pub(crate) fn run(&mut self, task: &TaskId, node: &NodeId, by: u64) -> ContainerId {
        let held = Arc::clone(self.tasks.get(task).unwrap());
        let key = AttemptKey { task: task.clone(), attempt: held.attempt };
        let container: ContainerId = format!("c{}a{}", task, held.attempt).parse().unwrap();
        let leased = held.spec.on_node_lost.is_leased();
        let (node, started_at) = (node.clone(), self.wall());
        self.push(What::Made { container: container.clone(), node: node.clone(), key: key.clone(), leased });
        self.push(What::Started { container: container.clone(), by: Some(Incarnation(by)) });
        self.containers
            .insert(container.clone(), Container { node, key, leased, started_at, runs: true, end: None });
        container
    }

    /// The master hears that a container runs.
    pub(crate) fn tell_start(&mut self, container: &ContainerId) {
        let (task, at) = (self.containers[container].key.task.clone(), self.containers[container].started_at);
        self.advance(&task, Step::Start { container: container.clone(), at });
    }

    /// A container ends, and its worker will say why.
    pub(crate) fn end(
        &mut self,
        container: &ContainerId,
        code: i32,
        because: Because,
        reason: Option<Reason>,
    ) {
        let held = self.containers.get_mut(container).unwrap();
        (held.runs, held.end) = (false, Some((code, reason)));
        let oom = reason == Some(Reason::OomKilled);
        self.push(What::Ended { container: container.clone(), exit_code: code, oom, because });
    }

    /// The master hears how it ended.
    pub(crate) fn tell_end(&mut self, container: &ContainerId) {
        let held = self.containers[container].clone();
        let (code, reason) = held.end.unwrap();
        let step = Step::End(Ending {
            at: self.wall(),
            reason,
            exit_code: Some(code),
            error: None,
            container: Some(container.clone()),
            started_at: Some(held.started_at),
        });
        self.advance(&held.key.task, step);
    }

    pub(crate) fn remove(&mut self, container: &ContainerId) {
        self.containers.remove(container);
        self.push(What::Removed { container: container.clone() });
    }

    pub(crate) fn stop(&mut self, task: &TaskId) {
        let intent = StopIntent { requested_at: self.wall(), grace: Duration::from_secs(1) };
        self.advance(task, Step::Stop(intent));
    }

    /// A client reads a task.
    pub(crate) fn read(&mut self, client: u32, task: &TaskId) {
        let what = match self.tasks.get(task) {
            Some(held) => What::Saw { client, seen: self.seen(held) },
            None => What::Missed { client, task: task.clone() },
        };
        self.push(what);
    }

    /// The last entry.
    pub(crate) fn rest(&mut self) {
        let tasks = self.tasks.iter().map(|entry| self.seen(&entry.task)).collect();
        let left = |(container, held): (&ContainerId, &Container)| Left {
            container: container.clone(),
            node: held.node.clone(),
            key: held.key.clone(),
            runs: held.runs,
        };
        let containers = self.containers.iter().map(left).collect();
        self.push(What::Rested { tasks, containers });
    }

    fn seen(&self, task: &Task) -> Seen {
        let mut seen = Seen {
            task: task.id.clone(),
            attempt: task.attempt.0,
            status: task.status(),
            spec: self.specs[&task.id].clone(),
            node: task.placement().map(|on| on.node.clone()),
            container: None,
            started_at: None,
            exit_code: None,
            reason: None,
            detail: None,
        };
        match &task.state {
            TaskState::Pending { detail, .. } => {
                seen.detail = Some(detail.clone().unwrap_or_else(|| "no node has room".to_owned()));
            }
            TaskState::Scheduled { detail, .. } => seen.detail.clone_from(detail),
            TaskState::Running { container, started_at, .. } => {
                (seen.container, seen.started_at) = (Some(container.clone()), Some(*started_at));
            }
            TaskState::Ended(ended) => {
                (seen.container, seen.started_at) = (ended.container.clone(), ended.started_at);
                seen.exit_code = ended.exit_code;
                seen.reason = match ended.outcome {
                    Outcome::Completed => None,
                    Outcome::Failed(reason) => Some(reason),
                    Outcome::Stopped => Some(Reason::Stopped),
                };
            }
        }
        seen
    }
}

fn new_task(id: &TaskId, text: &str) -> NewTask {
    let leased = text.starts_with(['l', 'a']);
    let restart = match text.chars().next() {
        Some('r') => Restart { policy: RestartPolicy::OnFailure, max: Some(1) },
        Some('a') => Restart { policy: RestartPolicy::Always, max: Some(2) },
        _ => Restart::NEVER,
    };
    let spec = TaskSpec {
        cpu: Some(CpuMillis(1000)),
        network: Network::None,
        pull: PullPolicy::Never,
        restart,
        on_node_lost: if leased { OnNodeLost::Reschedule } else { OnNodeLost::Fail },
        ..TaskSpec::of_image(IMAGE.parse().unwrap())
    };
    NewTask { id: id.clone(), name: "t".parse().unwrap(), spec: Arc::new(spec), replica: false }
}
