//! A host port that somebody outside of the cluster holds: the node refuses the attempt, leaves nothing behind, and
//! another one tries.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::net::TcpListener;

use serde_json::json;
use support::docker::Api;
use support::events::Events;
use support::part::wait_until;
use support::{Cluster, obeys};

#[test]
fn a_port_that_a_stranger_holds_is_refused_and_tried_elsewhere() {
    let cluster = Cluster::with_workers(2);
    let events = Events::of(&Api::here(), &cluster.id);
    let stranger = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let mut spec = obeys("web", 0);
    spec["network"] = json!("bridge");
    spec["ports"] = json!([{"host": port, "container": 80}]);
    let id = cluster.create(&spec).task_id.to_string();

    let again = cluster.wait_for(&id, "it is tried again", |task| task.attempt.0 >= 2);
    let left = cluster.containers_of(&id);
    assert!(left.iter().all(|container| container.attempt != "1"), "{again:?} {left:?}");
    drop(stranger);

    let runs = cluster.wait_for_running(&id);
    let done = |attempt: &str| events.tally().get(&format!("{id}/{attempt}")).copied().unwrap_or_default();
    wait_until("Docker has told of both", || {
        (done("1").removed, done(&runs.attempt.to_string()).started) == (1, 1)
    });
    assert_eq!((done("1").made, done("1").started), (1, 0));
    assert_eq!(done(&runs.attempt.to_string()).made, 1);
    let took = |worker: &str, attempt: u32| {
        cluster.worker(worker).log().contains(&format!("task taken task={id}/{attempt}"))
    };
    let nodes = ["worker-1", "worker-2"];
    let [first, second] = [1, 2].map(|attempt| nodes.into_iter().find(|node| took(node, attempt)).unwrap());
    assert_ne!(first, second, "another node gets the next attempt");
    let log = cluster.worker(first).log();
    assert!(log.contains("task refused") && log.contains("address already in use"), "{log}");
}
