//! What clients want run: tasks that end well, badly or not by themselves, with all that they may ask of a node.

use std::collections::BTreeMap;
use std::time::Duration;

use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::restart::{Restart, RestartPolicy};
use podling::model::spec::{Labels, Network, OnNodeLost, PortMapping, Ports, Protocol, TaskSpec, Variables};

use super::rng::Rng;

/// A task of one kind or another.
pub(crate) fn spec(rng: &mut Rng) -> TaskSpec {
    let image = match rng.within(0, 12) {
        0 => "a/missing/b",
        1 | 2 => "a/remote/b",
        _ => "a/b",
    };
    let env = Variables::new(behaviour(rng)).expect("they are variables");
    let on_node_lost = if rng.permille(550) { OnNodeLost::Reschedule } else { OnNodeLost::Fail };
    let ports = ports(rng);
    TaskSpec {
        env,
        // Whoever has a network of its own has no port of the host.
        network: if ports.as_slice().is_empty() { Network::None } else { Network::Bridge },
        ports,
        cpu: rng.permille(400).then(|| CpuMillis(250 * rng.within(1, 8))),
        memory: rng.permille(300).then(|| MemoryBytes(rng.within(1, 9) << 28)),
        constraints: constraints(rng),
        restart: restart(rng),
        on_node_lost,
        stop_grace: Duration::from_millis(rng.within(0, 8_000)),
        ..TaskSpec::of_image(image.parse().expect("it is an image"))
    }
}

/// How its container goes.
fn behaviour(rng: &mut Rng) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let run_ms = match rng.within(0, 10) {
        0..4 => rng.within(0, 50),
        4..8 => rng.within(500, 15_000),
        _ => rng.within(20_000, 70_000),
    };
    env.insert("HOLLOW_RUN_MS".to_owned(), run_ms.to_string());
    match rng.within(0, 12) {
        0 | 1 => drop(env.insert("HOLLOW_EXIT_CODE".to_owned(), rng.within(1, 126).to_string())),
        2 => drop(env.insert("HOLLOW_OOM".to_owned(), "1".to_owned())),
        3 => drop(env.insert("HOLLOW_FAIL".to_owned(), "start".to_owned())),
        4 => drop(env.insert("HOLLOW_FAIL".to_owned(), "create".to_owned())),
        5 | 6 => drop(env.insert("HOLLOW_IGNORE_TERM".to_owned(), "1".to_owned())),
        _ => {}
    }
    env
}

/// After which ends it is tried again. One that never ends by itself is stopped at the end.
fn restart(rng: &mut Rng) -> Restart {
    let (policy, max) = match rng.within(0, 20) {
        0..3 => (RestartPolicy::OnFailure, Some(rng.within(1, 4))),
        3 => (RestartPolicy::OnFailure, None),
        4 => (RestartPolicy::Always, Some(rng.within(1, 4))),
        5 => (RestartPolicy::Always, None),
        _ => return Restart::NEVER,
    };
    Restart { policy, max: max.and_then(|max| u32::try_from(max).ok()) }
}

/// Few ports, so that they collide.
fn ports(rng: &mut Rng) -> Ports {
    let mut ports = Vec::new();
    if rng.permille(200) {
        let host = if rng.permille(600) { 8080 } else { 8081 };
        let protocol = if rng.permille(800) { Protocol::Tcp } else { Protocol::Udp };
        ports.push(PortMapping { host, container: 80, protocol });
    }
    Ports::new(ports).expect("they are ports")
}

fn constraints(rng: &mut Rng) -> Labels {
    let mut labels = BTreeMap::new();
    match rng.within(0, 60) {
        0..5 => drop(labels.insert("zone".to_owned(), "a".to_owned())),
        5..8 => drop(labels.insert("zone".to_owned(), "b".to_owned())),
        8 => drop(labels.insert("disk".to_owned(), "ssd".to_owned())),
        // Nobody has that.
        9 => drop(labels.insert("zone".to_owned(), "c".to_owned())),
        _ => {}
    }
    Labels::new(labels).expect("they are labels")
}
