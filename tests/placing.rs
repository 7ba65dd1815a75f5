//! Placement by what tasks need: CPU, memory, ports of the host, labels; and why a task waits, in words.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[path = "support/cluster.rs"]
mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, at, registration};
use podling::control::change::Change;
use podling::control::why::{self, Why};
use podling::control::{drain, schedule};
use podling::model::id::{NodeId, TaskId};
use podling::model::node::{Availability, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::restart::{Restart, RestartPolicy};
use podling::model::spec::{Labels, OnNodeLost, PortMapping, Ports, Protocol, TaskSpec};
use podling::model::task::{Ending, Reason, Step, Task, TaskStatus};
use proptest::prelude::*;

fn spec() -> TaskSpec {
    TaskSpec::of_image("app:1".parse().unwrap())
}

fn ports(hosts: &[u16]) -> Ports {
    let port = |host: &u16| PortMapping { host: *host, container: 80, protocol: Protocol::Tcp };
    Ports::new(hosts.iter().map(port).collect()).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn one(cluster: &mut Cluster, name: &str, spec: TaskSpec) -> TaskId {
    cluster.submit_all(vec![(name.to_owned(), Arc::new(spec))]).remove(0)
}

fn node_of(cluster: &Cluster, task: &TaskId) -> Option<String> {
    cluster.tasks.get(task)?.holds_place_on().map(ToString::to_string)
}

fn why(cluster: &Cluster, task: &TaskId) -> Why {
    why::why(&cluster.nodes, &cluster.tasks, cluster.tasks.entry(task).unwrap(), cluster.now)
}

fn because(cluster: &Cluster, task: &TaskId) -> Vec<String> {
    let line = |fit: why::NodeFit| {
        let texts: Vec<String> = fit.reasons.into_iter().map(|one| one.text).collect();
        format!("{} {}", fit.node, texts.join("; "))
    };
    why(cluster, task).nodes.into_iter().map(line).collect()
}

fn end(cluster: &mut Cluster, task: &TaskId, exit_code: i32, reason: Option<Reason>) {
    let at = cluster.now.wall;
    let ending =
        Ending { at, reason, exit_code: Some(exit_code), error: None, container: None, started_at: None };
    cluster.apply(Change::Advanced { task: task.clone(), step: Step::End(ending) });
}

#[test]
fn what_does_not_fit_waits_and_holds_up_nobody() {
    let mut cluster = Cluster::of("a 0/9 5");
    let big = one(&mut cluster, "big", TaskSpec { memory: Some(MemoryBytes(9 << 30)), ..spec() });
    let small = one(&mut cluster, "small", spec());
    assert_eq!(cluster.schedule(10), 1);
    assert_eq!((node_of(&cluster, &big), node_of(&cluster, &small)), (None, Some("a".to_owned())));
    assert_eq!(because(&cluster, &big), ["a memory: needs 9 GiB, 8 GiB free"]);
    assert_eq!(why(&cluster, &big).would_run_if, ["a had 1 GiB more free"]);
}

#[test]
fn what_is_given_back_is_given_to_the_next() {
    let mut cluster = Cluster::of("a 0/9 5");
    let db = one(&mut cluster, "db", TaskSpec { cpu: Some(CpuMillis(3000)), ..spec() });
    let web = one(&mut cluster, "web", TaskSpec { cpu: Some(CpuMillis(1500)), ..spec() });
    assert_eq!(cluster.schedule(10), 1);
    assert_eq!(because(&cluster, &web), ["a cpu: needs 1.5, 1 free (db holds 3)"]);
    assert_eq!(why(&cluster, &web).would_run_if, ["a had 0.5 more cpu free"]);
    end(&mut cluster, &db, 0, None);
    assert_eq!(cluster.schedule(10), 1);
    assert_eq!(node_of(&cluster, &web).as_deref(), Some("a"));
}

#[test]
fn a_port_is_taken_on_every_node_of_its_engine() {
    let mut cluster = Cluster::of("");
    for name in ["a", "b"] {
        let shared = Registration { engine_id: "same".to_owned(), ..registration(name, 9) };
        cluster.register_as(shared, at(5));
    }
    let proxy = one(&mut cluster, "proxy", TaskSpec { ports: ports(&[8080]), ..spec() });
    let web = one(&mut cluster, "web", TaskSpec { ports: ports(&[80, 8080]), ..spec() });
    assert_eq!(cluster.schedule(10), 1, "not in one plan either");
    assert_eq!(
        because(&cluster, &web),
        ["b port 8080 is taken by proxy", "a port 8080 is taken by proxy"],
        "the emptier node comes first"
    );
    cluster.register_as(registration("c", 9), at(5));
    assert_eq!(cluster.schedule(10), 1);
    assert_eq!(node_of(&cluster, &web).as_deref(), Some("c"));
    end(&mut cluster, &proxy, 0, None);
    let other = one(&mut cluster, "other", TaskSpec { ports: ports(&[8080]), ..spec() });
    cluster.schedule(10);
    assert!(node_of(&cluster, &other).is_some_and(|node| node != "c"));
}

#[test]
fn constraints_are_node_labels() {
    let mut cluster = Cluster::of("a 0/9 5");
    let slow = Registration { labels: labels(&[("disk", "hdd")]), ..registration("b", 9) };
    cluster.register_as(slow, at(5));
    let constraints = Labels::new(labels(&[("disk", "ssd")])).unwrap();
    let web = one(&mut cluster, "web", TaskSpec { constraints, ..spec() });
    assert_eq!(cluster.schedule(10), 0);
    assert_eq!(
        because(&cluster, &web),
        ["a constraint: needs disk=ssd, has no label disk", "b constraint: needs disk=ssd, has disk=hdd"]
    );
    let fast = Registration { labels: labels(&[("disk", "ssd")]), ..registration("b", 9) };
    cluster.register_as(fast, at(6));
    assert_eq!(cluster.schedule(10), 1);
    assert_eq!(node_of(&cluster, &web).as_deref(), Some("b"));
}

#[test]
fn closed_nodes_and_everything_else_that_stands_in_the_way_are_named() {
    let mut cluster =
        Cluster::of("a 1/1 90\nb 0/1 90 cordoned\nc 0/1 90 draining\nd 0/1 58 offline\ne 0/1 90 unready");
    let web = one(&mut cluster, "web", spec());
    cluster.tasks.note_look(cluster.now.wall);
    cluster.schedule(10);
    assert_eq!(
        because(&cluster, &web),
        [
            "b cordoned",
            "c draining",
            "d offline for 42 s",
            "e its engine does not answer",
            "a capacity: 1 of 1 places are taken"
        ]
    );
    let why = why(&cluster, &web);
    assert_eq!((why.summary.as_str(), why.looks, why.nodes_total), ("no node fits", 1, 5));
    assert_eq!(why.would_run_if.first().map(String::as_str), Some("a had a free place"));
    let no_node = Cluster::of("");
    assert_eq!(schedule::plan(&no_node.nodes, &no_node.tasks, 1).placements, []);
}

#[test]
fn a_try_that_failed_waits_longer_each_time_and_is_told() {
    let mut cluster = Cluster::of("a 0/9 5");
    let restart = Restart::new(RestartPolicy::OnFailure, Some(2)).unwrap();
    let task = one(&mut cluster, "web", TaskSpec { restart, ..spec() });
    for (failed, longest) in [(1, 1), (2, 2)] {
        assert_eq!(cluster.schedule(10), 1);
        end(&mut cluster, &task, 137, Some(Reason::OomKilled));
        let told = why(&cluster, &task).summary;
        assert_eq!(told, format!("backoff {longest}s (exit 137, oom, try {failed})"));
        cluster.tasks.release(cluster.now.mono);
        assert_eq!(cluster.schedule(10), 0, "it waits");
        assert_eq!(why(&cluster, &task).nodes[0].reasons[0].code, "backoff");
        let due = cluster.tasks.next_release().unwrap();
        assert!(due.since(cluster.now.mono) <= Duration::from_secs(longest));
        cluster.now.mono = due;
        cluster.tasks.release(due);
    }
    assert_eq!(cluster.schedule(10), 1);
    end(&mut cluster, &task, 3, Some(Reason::ExitCode));
    let ended = cluster.tasks.get(&task).unwrap();
    assert_eq!((ended.status(), ended.tries, ended.past.len()), (TaskStatus::Failed, 2, 2));
    assert_eq!(why(&cluster, &task).summary, "it failed (exit_code), exit code 3, after 2 further tries");
}

#[test]
fn the_code_of_an_end_is_told_once() {
    let mut cluster = Cluster::of("a 0/9 5");
    for (error, told) in [
        ("the command ended with exit code 7", "it failed (exit_code): the command ended with exit code 7"),
        ("exit code 71", "it failed (exit_code), exit code 7: exit code 71"),
    ] {
        let task = one(&mut cluster, "build", spec());
        assert_eq!(cluster.schedule(10), 1);
        let ending = Ending {
            at: cluster.now.wall,
            reason: Some(Reason::ExitCode),
            exit_code: Some(7),
            error: Some(error.to_owned()),
            container: None,
            started_at: None,
        };
        cluster.apply(Change::Advanced { task: task.clone(), step: Step::End(ending) });
        assert_eq!(why(&cluster, &task).summary, told);
    }
}

#[test]
fn its_pending_timeout_begins_after_the_backoff() {
    let mut cluster = Cluster::of("a 0/9 5");
    let restart = Restart::new(RestartPolicy::Always, None).unwrap();
    let pending_timeout = Some(Duration::from_secs(10));
    let task = one(&mut cluster, "web", TaskSpec { restart, pending_timeout, ..spec() });
    cluster.schedule(10);
    end(&mut cluster, &task, 0, None);
    let due = cluster.tasks.next_release().unwrap();
    assert!(cluster.tasks.overdue(due + Duration::from_millis(9_999)).is_empty());
    assert_eq!(cluster.tasks.overdue(due + Duration::from_secs(10)), [task]);
}

#[test]
fn a_kept_place_is_nobody_elses_and_is_gone_to_first() {
    let mut cluster = Cluster::of("a 0/1 5\nb 0/1 4");
    let web = one(&mut cluster, "web", TaskSpec { on_node_lost: OnNodeLost::Reschedule, ..spec() });
    cluster.schedule(10);
    let from = node_of(&cluster, &web).unwrap();
    let node: NodeId = from.parse().unwrap();
    cluster.apply(Change::Availability { node, availability: Availability::Draining });
    for (task, step) in drain::plan(&cluster.nodes, &cluster.tasks, |_, _| false) {
        cluster.apply(Change::Advanced { task, step });
    }
    let other = one(&mut cluster, "other", spec());
    assert_eq!(cluster.schedule(10), 0, "the only place is kept");
    let at = cluster.now.wall;
    cluster.apply(Change::Advanced { task: web.clone(), step: Step::Move { at } });
    end(&mut cluster, &web, 143, Some(Reason::Stopped));
    assert_eq!(cluster.schedule(10), 1);
    assert!(node_of(&cluster, &web).is_some_and(|to| to != from) && node_of(&cluster, &other).is_none());
    assert!(drain::plan(&cluster.nodes, &cluster.tasks, |_, _| false).is_empty());
}

/// What a random task needs.
#[derive(Clone, Debug)]
struct Wish {
    cpu: u64,
    memory: u64,
    port: Option<u16>,
    wants_ssd: bool,
}

impl Wish {
    fn spec(&self) -> Arc<TaskSpec> {
        let constraints = if self.wants_ssd { labels(&[("disk", "ssd")]) } else { BTreeMap::new() };
        Arc::new(TaskSpec {
            cpu: (self.cpu > 0).then_some(CpuMillis(self.cpu * 500)),
            memory: (self.memory > 0).then_some(MemoryBytes(self.memory << 30)),
            ports: ports(&self.port.into_iter().collect::<Vec<_>>()),
            constraints: Labels::new(constraints).unwrap(),
            ..spec()
        })
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    let port = prop::option::weighted(0.3, 8080..8083_u16);
    (0..5_u64, 0..5_u64, port, prop::bool::weighted(0.3)).prop_map(|(cpu, memory, port, wants_ssd)| Wish {
        cpu,
        memory,
        port,
        wants_ssd,
    })
}

fn node() -> impl Strategy<Value = (u32, bool, usize)> {
    (1..6_u32, any::<bool>(), 0..3_usize)
}

/// No node holds more than it has, no port of an Engine is held twice, no label is missing.
fn check(cluster: &Cluster) {
    let mut taken: BTreeSet<(String, u16)> = BTreeSet::new();
    for entry in cluster.nodes.iter() {
        let said = &entry.node().registration;
        let held: Vec<&Arc<Task>> = cluster.tasks.live_on(&said.node_id).map(|entry| &entry.task).collect();
        assert!(held.len() <= said.capacity as usize, "{} is over capacity", said.node_id);
        let cpu: u64 = held.iter().map(|task| task.spec.cpu.map_or(0, |cpu| cpu.0)).sum();
        let memory: u64 = held.iter().map(|task| task.spec.memory.map_or(0, |memory| memory.0)).sum();
        assert!(cpu <= said.cpu.0 && memory <= said.memory.0, "{} is overcommitted", said.node_id);
        assert_eq!((CpuMillis(cpu), MemoryBytes(memory)), (entry.cpu_used(), entry.memory_used()));
        for task in held {
            let missing =
                task.spec.constraints.as_map().iter().find(|(k, v)| said.labels.get(*k) != Some(*v));
            assert_eq!(missing, None, "{} lacks a label", said.node_id);
            for port in task.spec.ports.as_slice() {
                assert!(taken.insert((said.engine_id.clone(), port.host)), "port {} twice", port.host);
            }
        }
    }
}

/// Whether any node has room for a task, looked at one by one.
fn fits_somewhere(cluster: &Cluster, task: &Task) -> bool {
    let has_port = |engine: &str, port: u16| {
        cluster.nodes.iter().filter(|entry| entry.node().registration.engine_id == engine).any(|entry| {
            let held = cluster.tasks.live_on(&entry.node().registration.node_id);
            held.flat_map(|entry| entry.task.spec.ports.as_slice()).any(|held| held.host == port)
        })
    };
    cluster.nodes.iter().any(|entry| {
        let said = &entry.node().registration;
        let spec = &task.spec;
        entry.assigned() < said.capacity
            && entry.cpu_used().0 + spec.cpu.map_or(0, |cpu| cpu.0) <= said.cpu.0
            && entry.memory_used().0 + spec.memory.map_or(0, |memory| memory.0) <= said.memory.0
            && spec.constraints.as_map().iter().all(|(k, v)| said.labels.get(k) == Some(v))
            && !spec.ports.as_slice().iter().any(|port| has_port(&said.engine_id, port.host))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is asked for, nothing is overcommitted, and whoever still waits fits nowhere; also after some have ended.
    #[test]
    fn a_plan_gives_all_that_there_is_and_no_more(
        nodes in prop::collection::vec(node(), 1..6),
        wishes in prop::collection::vec(wish(), 1..60),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut cluster = Cluster::of("");
        for (number, (capacity, is_ssd, engine)) in nodes.iter().enumerate() {
            let disk = if *is_ssd { "ssd" } else { "hdd" };
            let said = Registration {
                labels: labels(&[("disk", disk)]),
                engine_id: format!("e{engine}"),
                ..registration(&format!("n{number}"), *capacity)
            };
            cluster.register_as(said, at(5));
        }
        let wanted = wishes.iter().map(|wish| ("t".to_owned(), wish.spec())).collect();
        let mut made = cluster.submit_all(wanted);
        cluster.schedule(1_000);
        check(&cluster);
        for index in ends.iter().filter(|_| !wishes.is_empty()) {
            let task = made[index.index(made.len())].clone();
            if node_of(&cluster, &task).is_some() {
                end(&mut cluster, &task, 0, None);
            }
        }
        cluster.schedule(1_000);
        check(&cluster);
        made.retain(|task| cluster.tasks.get(task).is_some_and(|task| task.status() == TaskStatus::Pending));
        for task in made {
            let task = cluster.tasks.get(&task).unwrap();
            prop_assert!(!fits_somewhere(&cluster, task), "{} waits for nothing", task.id);
        }
    }
}
