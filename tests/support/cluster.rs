//! A cluster without processes: the master's collections, filled from text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use podling::control::change::{Change, Creation, NewTask, apply};
use podling::control::nodes::{Beat, Nodes};
use podling::control::schedule;
use podling::control::tasks::Tasks;
use podling::control::tokens::Tokens;
use podling::model::id::{Incarnation, NodeId, Revision, TaskId};
use podling::model::node::{Availability, NodeAddress, NodeStatus, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::spec::{Network, PullPolicy, TaskSpec};
use podling::model::task::{Placement, Step};
use podling::model::time::{Mono, Now, WallTime};

/// The master's nodes and tasks, and a clock that stands still unless it is moved.
pub(crate) struct Cluster {
    pub(crate) nodes: Nodes,
    pub(crate) tasks: Tasks,
    pub(crate) tokens: Tokens,
    pub(crate) now: Now,
    position: u64,
}

pub(crate) fn at(secs: u64) -> Now {
    Now { mono: Mono::from_boot(Duration::from_secs(secs)), wall: WallTime::from_unix_millis(secs * 1000) }
}

pub(crate) fn spec() -> Arc<TaskSpec> {
    Arc::new(TaskSpec {
        command: vec!["true".to_owned()],
        network: Network::None,
        pull: PullPolicy::Never,
        ..TaskSpec::of_image("podling/busybox".parse().unwrap())
    })
}

pub(crate) fn registration(name: &str, capacity: u32) -> Registration {
    Registration {
        node_id: name.parse().unwrap(),
        instance: "i0000000000000000000000000".parse().unwrap(),
        start: "s0000000000000000000000000".parse().unwrap(),
        address: NodeAddress { host: "127.0.0.1".to_owned(), port: 8081 },
        capacity,
        cpu: CpuMillis(4000),
        memory: MemoryBytes(8 << 30),
        labels: BTreeMap::new(),
        engine: "hollow".to_owned(),
        engine_id: name.to_owned(),
        heartbeat: Duration::from_secs(10),
    }
}

impl Cluster {
    /// Nodes as `tests/scheduling.rs` describes them; their running tasks are made, and ran before.
    pub(crate) fn of(text: &str) -> Self {
        let (nodes, tasks) = (Nodes::default(), Tasks::new(Duration::from_secs(300)));
        let mut cluster = Self { nodes, tasks, tokens: Tokens::default(), now: at(100), position: 0 };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            cluster.add_node(line);
        }
        cluster
    }

    fn add_node(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let (running, capacity) = words.next().unwrap().split_once('/').unwrap();
        let heard = words.next().unwrap().parse().unwrap();
        let capacity = capacity.parse().unwrap();
        self.register(name, capacity, at(heard));
        for _ in 0..running.parse().unwrap() {
            let task = self.submit(1).remove(0);
            self.place(&task, name);
        }
        for word in words {
            self.mark(name, word, capacity, at(heard));
        }
    }

    fn mark(&mut self, name: &str, word: &str, capacity: u32, heard: Now) {
        let node: NodeId = name.parse().unwrap();
        match word {
            "cordoned" => self.apply(Change::Availability { node, availability: Availability::Cordoned }),
            "draining" => self.apply(Change::Availability { node, availability: Availability::Draining }),
            "offline" => self.apply(Change::Status { node, status: NodeStatus::Offline }),
            "unready" => {
                let beat = Beat { capacity, ready: false, applied: Revision(0), has_strangers: false };
                self.nodes.beat(&node, beat, heard).unwrap();
            }
            other => panic!("{other:?} is no word for a node"),
        }
    }

    pub(crate) fn register(&mut self, name: &str, capacity: u32, heard: Now) {
        self.register_as(registration(name, capacity), heard);
    }

    pub(crate) fn register_as(&mut self, registration: Registration, heard: Now) {
        let held = std::mem::replace(&mut self.now, heard);
        self.apply(Change::Registered { registration, incarnation: Incarnation(1) });
        self.now = held;
    }

    /// New tasks, oldest first.
    pub(crate) fn submit(&mut self, count: usize) -> Vec<TaskId> {
        self.submit_all((0..count).map(|_| ("t".to_owned(), spec())).collect())
    }

    /// New tasks with these names and specs, oldest first.
    pub(crate) fn submit_all(&mut self, wanted: Vec<(String, Arc<TaskSpec>)>) -> Vec<TaskId> {
        let id = |n: usize| format!("{:013}{n:013}", self.position).parse().unwrap();
        let new = |(n, (name, spec)): (usize, (String, Arc<TaskSpec>))| NewTask {
            id: id(n),
            name: name.parse().unwrap(),
            spec,
            replica: false,
        };
        let tasks: Vec<NewTask> = wanted.into_iter().enumerate().map(new).collect();
        let made = tasks.iter().map(|new| new.id.clone()).collect();
        let made_by = None;
        self.apply(Change::Created(Creation { at: self.now.wall, batch: None, tasks, key: None, made_by }));
        made
    }

    pub(crate) fn place(&mut self, task: &TaskId, node: &str) {
        let (node, revision) = (node.parse().unwrap(), Revision(self.position + 1));
        let on = Placement { node, at: self.now.wall, revision };
        self.apply(Change::Advanced { task: task.clone(), step: Step::Place(on) });
    }

    /// Plans and places as the scheduler does.
    pub(crate) fn schedule(&mut self, most: usize) -> usize {
        let plan = schedule::plan(&self.nodes, &self.tasks, most);
        for (task, node) in &plan.placements {
            self.place(task, node.as_str());
        }
        plan.placements.len()
    }

    pub(crate) fn apply(&mut self, change: Change) {
        self.position += 1;
        let (nodes, tasks, tokens) = (&mut self.nodes, &mut self.tasks, &mut self.tokens);
        apply(nodes, tasks, tokens, &change, Revision(self.position), self.now).unwrap();
    }
}
