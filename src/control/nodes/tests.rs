//! The indexes, and the clock that silence is measured on.

use super::*;
use crate::model::id::Incarnation;
use crate::model::node::{NodeAddress, Registration};

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
    nodes.forgive(Duration::from_secs(60));
    assert!(nodes.silent(Duration::from_secs(30), now(190).mono).is_empty());
    assert_eq!(nodes.silent(Duration::from_secs(30), now(191).mono).len(), 1);
    nodes.beat(&id("a"), beat(1), now(191)).unwrap();
    assert!(nodes.silent(Duration::from_secs(30), now(221).mono).is_empty());
    assert_eq!(nodes.silent(Duration::from_secs(30), now(222).mono).len(), 1);
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
