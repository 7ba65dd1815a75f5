//! Placement by example: a cluster as text in, a plan as text out.
//!
//! A node is a line `NAME RUNNING/CAPACITY HEARD [WORD…]`, where HEARD is the second at which it was last heard and
//! the words are what an operator or a fault did to it: `cordoned`, `draining`, `offline`, `unready`.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;

use cluster::Cluster;
use podling::control::schedule;

/// Plans `tasks` new tasks on a cluster and compares the plan, one task a line, why the next is stuck at the end.
#[track_caller]
fn check(cluster: &str, tasks: usize, expected: &str) {
    let mut cluster = Cluster::of(cluster);
    cluster.submit(tasks);
    let plan = schedule::plan(&cluster.nodes, &cluster.tasks, 1_000);
    let mut lines: Vec<String> = plan.placements.iter().map(|(_, node)| node.to_string()).collect();
    lines.extend(plan.stuck.map(|why| format!("stuck: {why}")));
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn the_fewest_tasks_win() {
    check("a 2/10 5\nb 1/10 5\nc 3/10 5", 1, "b");
}

#[test]
fn then_the_most_free_places() {
    check("a 1/4 5\nb 1/9 5\nc 1/8 5", 1, "b");
}

#[test]
fn then_the_latest_heartbeat() {
    check("a 1/4 5\nb 1/4 7\nc 1/4 6", 1, "b");
}

#[test]
fn then_the_id() {
    check("c 0/4 5\na 0/4 5\nb 0/4 5", 1, "a");
}

#[test]
fn tasks_spread_evenly() {
    check("a 0/4 5\nb 0/4 5\nc 0/4 5", 7, "a\nb\nc\na\nb\nc\na");
}

#[test]
fn a_plan_counts_what_it_has_given_away() {
    check("a 2/4 5\nb 0/4 5", 5, "b\nb\na\nb\na");
}

#[test]
fn never_over_capacity() {
    // Why nobody fits is told of the nodes as they are, before the plan is carried out.
    check("a 0/2 5\nb 1/2 5\nc 1/1 5", 9, "a\na\nb\nstuck: 1 node is full");
}

#[test]
fn closed_and_silent_nodes_get_nothing() {
    check("a 0/9 5 cordoned\nb 0/9 5 draining\nc 0/9 5 offline\nd 0/9 5 unready\ne 8/9 5", 1, "e");
}

#[test]
fn that_nobody_fits_is_said_with_counts() {
    check("", 1, "stuck: no node is registered");
    check(
        "a 1/1 5\nb 2/2 5\nc 0/9 5 offline\nd 0/9 5 cordoned",
        1,
        "stuck: 1 node is offline, 1 node is cordoned, 2 nodes are full",
    );
}
