//! The indexes, and the clock that silence is measured on.

use super::*;
use crate::model::id::Incarnation;
use crate::model::node::{NodeAddress, Registration};
use crate::model::spec::TaskSpec;

fn now(secs: u64) -> Now {
    Now { mono: Mono::from_boot(Duration::from_secs(secs)), wall: WallTime::from_unix_millis(secs * 1000) }
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn node(name: &str, capacity: u32) -> Node {
    let registration = Registration {
        node_id: id(name),
        instance: "i0000000000000000000000000".parse().unwrap(),
        start: "s0000000000000000000000000".parse().unwrap(),
        address: NodeAddress { host: "127.0.0.1".to_owned(), port: 8081 },
        capacity,
        cpu: CpuMillis(1000),
        memory: MemoryBytes(1 << 30),
        labels: BTreeMap::new(),
        engine: "hollow".to_owned(),
        engine_id: "e".to_owned(),
        heartbeat: Duration::from_secs(10),
    };
    let (incarnation, availability) = (Incarnation(1), Availability::Active);
    Node { registration, incarnation, availability, status: NodeStatus::Online }
}

fn spec() -> TaskSpec {
    TaskSpec::of_image("busybox".parse().unwrap())
}

fn task() -> TaskId {
    "01JD0000000000000000000000".parse().unwrap()
}

fn beat(capacity: u32) -> Beat {
    Beat { capacity, ready: true, applied: Revision(0), has_strangers: false }
}

fn best(nodes: &Nodes) -> Option<String> {
    nodes.placeable().next().map(|rank| rank.node().to_string())
}

#[test]
fn silence_counts_from_the_last_beat_and_only_beyond_the_timeout() {
    let mut nodes = Nodes::default();
    nodes.register(node("a", 1), now(100));
    let timeout = Duration::from_secs(30);
    assert!(nodes.silent(timeout, now(130).mono).is_empty());
    assert_eq!(nodes.silent(timeout, now(131).mono), [(id("a"), Duration::from_secs(31))]);
    nodes.beat(&id("a"), beat(1), now(131)).unwrap();
    assert!(nodes.silent(timeout, now(161).mono).is_empty());
}

#[test]
fn what_the_master_slept_through_is_nobodys_silence() {
    let mut nodes = Nodes::default();
    nodes.register(node("a", 1), now(100));
    nodes.forgive(Duration::from_secs(60), now(161).mono);
    assert!(nodes.silent(Duration::from_secs(30), now(190).mono).is_empty());
    assert_eq!(nodes.silent(Duration::from_secs(30), now(191).mono).len(), 1);
    nodes.beat(&id("a"), beat(1), now(191)).unwrap();
    assert!(nodes.silent(Duration::from_secs(30), now(221).mono).is_empty());
    assert_eq!(nodes.silent(Duration::from_secs(30), now(222).mono).len(), 1);
}

#[test]
fn what_is_heard_before_or_after_a_stall_is_known_is_heard_at_its_end_at_the_latest() {
    let timeout = Duration::from_secs(30);
    let mut nodes = Nodes::default();
    nodes.register(node("early", 1), now(100));
    nodes.register(node("waited", 1), now(100));
    // The master stood still from 101 to 161. One beat came in before anybody knew, one was read before it.
    nodes.beat(&id("early"), beat(1), now(161)).unwrap();
    nodes.forgive(Duration::from_secs(60), now(161).mono);
    nodes.beat(&id("waited"), beat(1), now(101)).unwrap();
    let silent = |nodes: &Nodes, at| nodes.silent(timeout, now(at).mono).into_iter().map(|(id, _)| id);
    assert!(silent(&nodes, 190).eq([]), "nobody is blamed for the stall");
    assert!(silent(&nodes, 191).eq([id("waited")]), "it was last heard when it registered");
    assert!(silent(&nodes, 192).eq([id("waited"), id("early")]), "nor is anybody given more than a timeout");
}

fn three() -> Nodes {
    let mut nodes = Nodes::default();
    for (name, at) in [("a", 100), ("b", 103), ("c", 106)] {
        nodes.register(node(name, 1), now(at));
        nodes.reserve(&id(name), &task(), &spec());
    }
    nodes
}

/// Who is judged at a second: lost `-`, or only held `=`; in capitals who was online.
fn judged(nodes: &mut Nodes, at: u64) -> String {
    let judged = nodes.judge(Duration::from_secs(30), now(at).mono);
    for one in judged.iter().filter(|one| one.was_online) {
        nodes.set_status(&one.node, NodeStatus::Offline).unwrap();
    }
    for one in judged.iter().filter(|one| !one.is_held) {
        nodes.release(&one.node, &task(), &spec());
    }
    let word = |one: &Silent| {
        let name = if one.was_online { one.node.as_str().to_uppercase() } else { one.node.to_string() };
        format!("{}{name}", if one.is_held { '=' } else { '-' })
    };
    judged.iter().map(word).collect()
}

#[test]
fn three_nodes_that_fall_silent_together_are_offline_and_keep_their_tasks_for_ten_timeouts() {
    let mut nodes = three();
    assert_eq!(judged(&mut nodes, 130), "");
    assert_eq!(judged(&mut nodes, 131), "=A");
    assert_eq!(judged(&mut nodes, 134), "=a=B");
    assert_eq!(judged(&mut nodes, 137), "=a=b=C");
    assert!(nodes.is_braked());
    assert_eq!(judged(&mut nodes, 431), "=a=b=c");
    assert_eq!(judged(&mut nodes, 432), "-a-b-c");
    assert!(!nodes.is_braked());
    assert_eq!(judged(&mut nodes, 999), "", "they hold nothing any more");
}

#[test]
fn a_beat_lets_go_of_the_brake_and_gives_everyone_a_full_timeout() {
    let mut nodes = three();
    assert_eq!(judged(&mut nodes, 137), "=A=B=C");
    nodes.set_status(&id("b"), NodeStatus::Online).unwrap();
    nodes.beat(&id("b"), beat(1), now(140)).unwrap();
    assert!(!nodes.is_braked());
    nodes.beat(&id("b"), beat(1), now(165)).unwrap();
    assert_eq!(judged(&mut nodes, 170), "");
    assert_eq!(judged(&mut nodes, 171), "-a-c");
}

#[test]
fn one_silent_node_among_three_is_lost_at_once() {
    let mut nodes = three();
    for name in ["b", "c"] {
        nodes.beat(&id(name), beat(1), now(125)).unwrap();
    }
    assert_eq!(judged(&mut nodes, 131), "-A");
}

#[test]
fn a_closed_full_unready_or_offline_node_is_no_place() {
    let mut nodes = Nodes::default();
    nodes.register(node("a", 1), now(1));
    assert_eq!(best(&nodes).as_deref(), Some("a"));
    nodes.set_availability(&id("a"), Availability::Cordoned).unwrap();
    assert_eq!(best(&nodes), None);
    nodes.set_availability(&id("a"), Availability::Active).unwrap();
    nodes.beat(&id("a"), Beat { ready: false, ..beat(1) }, now(2)).unwrap();
    assert_eq!(best(&nodes), None);
    nodes.beat(&id("a"), beat(0), now(3)).unwrap();
    assert_eq!(best(&nodes), None);
    nodes.beat(&id("a"), beat(1), now(4)).unwrap();
    assert_eq!(best(&nodes).as_deref(), Some("a"));
    nodes.set_status(&id("a"), NodeStatus::Offline).unwrap();
    assert_eq!(best(&nodes), None);
}

#[test]
fn a_node_that_was_offline_gets_nothing_until_it_lists_no_stranger() {
    let mut nodes = Nodes::default();
    nodes.register(node("a", 1), now(1));
    nodes.set_status(&id("a"), NodeStatus::Offline).unwrap();
    nodes.set_status(&id("a"), NodeStatus::Online).unwrap();
    nodes.beat(&id("a"), Beat { has_strangers: true, ..beat(1) }, now(2)).unwrap();
    assert_eq!(best(&nodes), None);
    nodes.register(node("a", 1), now(3));
    assert_eq!(best(&nodes), None);
    nodes.beat(&id("a"), beat(1), now(4)).unwrap();
    assert_eq!(best(&nodes).as_deref(), Some("a"));
}

#[test]
fn a_removed_tasks_log_is_named_until_a_later_set_was_applied() {
    let mut nodes = Nodes::default();
    nodes.register(node("a", 1), now(1));
    let task: TaskId = "01JD0000000000000000000000".parse().unwrap();
    nodes.forget_log(&id("a"), &task, Revision(7));
    nodes.beat(&id("a"), Beat { applied: Revision(6), ..beat(1) }, now(2)).unwrap();
    assert_eq!(nodes.logs_to_forget(&id("a")), [task]);
    nodes.beat(&id("a"), Beat { applied: Revision(7), ..beat(1) }, now(3)).unwrap();
    assert!(nodes.logs_to_forget(&id("a")).is_empty());
}
