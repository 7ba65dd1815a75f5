//! Placement, the collections and leases under random histories: what must hold whatever happens, in whatever order.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[path = "support/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::{Cluster, at};
use podling::control::change::Change;
use podling::control::lease::{self, Lease};
use podling::control::schedule;
use podling::model::id::NodeId;
use podling::model::node::{Availability, NodeStatus};
use podling::model::task::{Ending, Step, TaskStatus};
use podling::model::time::Mono;
use proptest::prelude::*;

/// Something that happens to a cluster of nodes `n0` … `n4`.
#[derive(Clone, Debug)]
enum Event {
    Register { node: usize, capacity: u32 },
    Submit(usize),
    Schedule(usize),
    EndOldest { node: usize },
    Cordon { node: usize },
    Open { node: usize },
    GoOffline { node: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..5_usize;
    prop_oneof![
        2 => (node.clone(), 1..6_u32).prop_map(|(node, capacity)| Event::Register { node, capacity }),
        4 => (0..9_usize).prop_map(Event::Submit),
        5 => (0..12_usize).prop_map(Event::Schedule),
        4 => node.clone().prop_map(|node| Event::EndOldest { node }),
        1 => node.clone().prop_map(|node| Event::Cordon { node }),
        1 => node.clone().prop_map(|node| Event::Open { node }),
        1 => node.prop_map(|node| Event::GoOffline { node }),
    ]
}

fn name(node: usize) -> NodeId {
    format!("n{node}").parse().unwrap()
}

fn happen(cluster: &mut Cluster, event: &Event) {
    match *event {
        Event::Register { node, capacity } => {
            let heard = at(100 + node as u64);
            let known =
                cluster.nodes.get(&name(node)).map_or(0, podling::control::nodes::NodeEntry::assigned);
            cluster.register(name(node).as_str(), capacity.max(known), heard);
        }
        Event::Submit(count) => drop(cluster.submit(count)),
        Event::Schedule(most) => drop(cluster.schedule(most)),
        Event::EndOldest { node } => {
            let oldest = cluster.tasks.live_on(&name(node)).next().map(|entry| entry.task.id.clone());
            if let Some(task) = oldest {
                let at = cluster.now.wall;
                let step = Step::End(Ending {
                    at,
                    reason: None,
                    exit_code: Some(0),
                    error: None,
                    container: None,
                    started_at: None,
                });
                cluster.apply(Change::Advanced { task, step });
            }
        }
        Event::Cordon { node } => set(cluster, node, Availability::Cordoned),
        Event::Open { node } => set(cluster, node, Availability::Active),
        Event::GoOffline { node } => go_offline(cluster, node),
    }
}

fn set(cluster: &mut Cluster, node: usize, availability: Availability) {
    if cluster.nodes.get(&name(node)).is_some() {
        cluster.apply(Change::Availability { node: name(node), availability });
    }
}

fn go_offline(cluster: &mut Cluster, node: usize) {
    if cluster.nodes.get(&name(node)).is_none() {
        return;
    }
    cluster.apply(Change::Status { node: name(node), status: NodeStatus::Offline });
    let lost: Vec<_> = cluster.tasks.live_on(&name(node)).map(|entry| entry.task.id.clone()).collect();
    for task in lost {
        let step = Step::Lose { at: cluster.now.wall, why: "silent".to_owned() };
        cluster.apply(Change::Advanced { task, step });
    }
}

/// The plan of someone who looks at every node for every task.
fn naive_plan(cluster: &Cluster, most: usize) -> Vec<NodeId> {
    let mut given: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut plan = Vec::new();
    for _ in cluster.tasks.pending().take(most) {
        let best = cluster
            .nodes
            .iter()
            .filter(|entry| {
                let node = entry.node();
                node.status == NodeStatus::Online
                    && node.availability == Availability::Active
                    && entry.is_ready()
                    && !entry.is_settling()
            })
            .map(|entry| {
                let id = &entry.node().registration.node_id;
                let taken = entry.assigned() + given.get(id).copied().unwrap_or(0);
                let capacity = entry.node().registration.capacity;
                (taken, capacity, entry.heard_at(), id)
            })
            .filter(|(taken, capacity, _, _)| taken < capacity)
            .min_by_key(|(taken, capacity, heard, id)| {
                (*taken, std::cmp::Reverse(capacity - taken), std::cmp::Reverse(*heard), (*id).clone())
            });
        let Some((_, _, _, id)) = best else { break };
        *given.entry(id.clone()).or_default() += 1;
        plan.push(id.clone());
    }
    plan
}

fn check_invariants(cluster: &Cluster) {
    for entry in cluster.nodes.iter() {
        let id = &entry.node().registration.node_id;
        let held = cluster.tasks.live_on(id).count();
        assert_eq!(held, entry.assigned() as usize, "{id} counts what it holds");
        assert!(entry.assigned() <= entry.node().registration.capacity, "{id} is over capacity");
        assert!(entry.node().status == NodeStatus::Online || held == 0, "{id} is lost and holds tasks");
    }
    let counted: usize = TaskStatus::ALL.iter().map(|status| cluster.tasks.count(*status)).sum();
    assert_eq!(counted, cluster.tasks.len(), "each task has one status");
    let placeable: Vec<NodeId> = cluster.nodes.placeable().map(|rank| rank.node().clone()).collect();
    let fitting =
        cluster.nodes.iter().filter(|entry| podling::control::fit::obstacle(entry).is_none()).count();
    assert_eq!(placeable.len(), fitting, "the index holds exactly the nodes that fit");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Beats as (pause before it, way there, way back), in milliseconds. Whenever the master finds the node lost, what
    /// ran under the lease that the worker had then has ended, however long TERM was ignored.
    #[test]
    fn a_node_is_lost_only_after_what_ran_under_its_lease_has_ended(
        timeout in 1_u64..60_000,
        beats in prop::collection::vec((0_u64..30_000, 0_u64..30_000, 0_u64..30_000), 1..20),
    ) {
        let moment = |millis| Mono::from_boot(Duration::from_millis(millis));
        let (timeout, own_grace) = (Duration::from_millis(timeout), Duration::from_secs(86_400));
        let length = lease::of_timeout(timeout);
        let (mut lease, mut now, mut lost_from) = (Lease::default(), 0, None);
        for (pause, there, back) in beats {
            let sent = now + pause;
            let taken = sent + there;
            if let Some(lost) = lost_from.filter(|lost| *lost < moment(taken)) {
                prop_assert!(!lease.is_held(lost));
                prop_assert_eq!(lease.grace_left(own_grace, lost), Duration::ZERO);
            }
            lost_from = Some(moment(taken) + timeout);
            now = taken + back;
            // A worker that hears of it only now has ended what it held before it takes the answer.
            lease.lapse(moment(now));
            lease.renew(moment(sent), length, moment(now));
        }
    }

    #[test]
    fn any_history_keeps_the_books_and_the_plan_is_the_naive_ones(
        events in proptest::collection::vec(event(), 1..60),
        most in 0..20_usize,
    ) {
        let mut cluster = Cluster::of("");
        for event in &events {
            happen(&mut cluster, event);
            check_invariants(&cluster);
        }
        let plan = schedule::plan(&cluster.nodes, &cluster.tasks, most);
        let placed: Vec<NodeId> = plan.placements.iter().map(|(_, node)| node.clone()).collect();
        prop_assert_eq!(&placed, &naive_plan(&cluster, most));
        prop_assert_eq!(plan, schedule::plan(&cluster.nodes, &cluster.tasks, most));
    }

    #[test]
    fn the_order_in_which_nodes_came_does_not_matter(
        capacities in proptest::collection::vec(1..6_u32, 5),
        order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(),
        tasks in 0..30_usize,
    ) {
        let plan_of = |order: &[usize]| {
            let mut cluster = Cluster::of("");
            for node in order {
                cluster.register(name(*node).as_str(), capacities[*node], at(100 + *node as u64 % 2));
            }
            cluster.submit(tasks);
            schedule::plan(&cluster.nodes, &cluster.tasks, 1_000)
        };
        prop_assert_eq!(plan_of(&order), plan_of(&[0, 1, 2, 3, 4]));
    }
}
