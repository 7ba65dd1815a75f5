//! What tasks use, as a user sees it with `podling top` and a program through the API: measured by the workers on real
//! Docker, passed on by the master.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::time::Duration;

use podling::api::routes;
use podling::api::wire::stats::{NodeStats, TaskStats};
use podling::model::node::NodeStatus;
use podling::runtime::clock;
use serde_json::{Value, json};
use support::dockerd::Dockerd;
use support::part::{LONG, wait_until, within};
use support::{Cluster, MasterOptions, WorkerOptions, obeys, script};

/// Less than the worker waits for its Engine, and more than it keeps whoever asks waiting.
const SOONER: Duration = Duration::from_secs(8);

/// A task that keeps a processor busy until it is told to end.
fn works(name: &str) -> Value {
    script(name, "trap 'exit 0' TERM; while :; do :; done")
}

/// A cluster that gives a silent node up after two seconds.
fn impatient() -> Cluster {
    Cluster::start(MasterOptions { node_timeout_ms: 2000, ..MasterOptions::default() })
}

fn stats(cluster: &Cluster, node: &str) -> NodeStats {
    cluster.ask("GET", &routes::node_stats(node), None).unwrap().json().unwrap()
}

fn of<'a>(stats: &'a NodeStats, name: &str) -> &'a TaskStats {
    let found = stats.tasks.iter().find(|task| task.name.as_ref().is_some_and(|n| n.as_str() == name));
    found.unwrap_or_else(|| panic!("{name} is not in {stats:?}"))
}

/// The cells of the line that begins with a word.
fn line<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let found = text.lines().find(|line| line.split_whitespace().next() == Some(first));
    let cells = found.unwrap_or_else(|| panic!("{first} has no line: {text}")).split("   ");
    cells.map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_busy_task_shows_above_an_idle_one_and_an_offline_node_as_such() {
    let mut cluster = impatient();
    cluster.start_worker("worker-1", WorkerOptions::default());
    cluster.start_worker("worker-2", WorkerOptions { capacity: 5, ..WorkerOptions::default() });
    let ids = [works("busy"), obeys("idle", 0)].map(|spec| cluster.create(&spec).task_id.to_string());
    let nodes = ids.each_ref().map(|id| cluster.wait_for_running(id).node_id.unwrap());

    let (first, second) = (stats(&cluster, nodes[0].as_str()), stats(&cluster, nodes[1].as_str()));
    let (busy, idle) = (of(&first, "busy"), of(&second, "idle"));
    assert!(busy.cpu_millis > idle.cpu_millis, "{busy:?} {idle:?}");
    assert!(busy.memory_bytes > 0 && idle.memory_bytes > 0, "{busy:?} {idle:?}");
    assert_eq!((busy.task_id.as_str(), busy.attempt.0), (ids[0].as_str(), 1));
    assert!(first.cpu_millis >= busy.cpu_millis && first.memory_bytes >= busy.memory_bytes, "{first:?}");

    cluster.worker_mut("worker-2").kill9();
    cluster.wait_for_node("worker-2", NodeStatus::Offline);
    let problem = cluster.refusal("GET", &routes::node_stats("worker-2"), None);
    assert_eq!((problem.status, problem.code.as_ref()), (503, "node_unreachable"), "{problem}");
    assert!(problem.detail.ends_with("it is offline"), "{problem}");
    let problem = cluster.refusal("GET", &routes::node_stats("nobody"), None);
    assert_eq!((problem.status, problem.code.as_ref()), (404, "node_not_found"), "{problem}");

    let still = cluster.create(&works("works-on")).task_id.to_string();
    let lives = cluster.create(&obeys("waits-on", 0)).task_id.to_string();
    for id in [&still, &lives] {
        assert_eq!(cluster.wait_for_running(id).node_id.unwrap().as_str(), "worker-1");
    }
    let shown = cluster.podling_ok(&["top"]);
    assert_eq!(line(&shown, "worker-2")[1..3], ["offline", "[..........] 0/5"], "{shown}");
    assert!(line(&shown, "worker-2")[3].contains("] -/"), "{shown}");
    assert_eq!(line(&shown, "worker-1")[1], "online", "{shown}");
    assert!(line(&shown, "worker-1")[3].starts_with("[#"), "{shown}");
    let row = |name: &str| shown.lines().position(|line| line.starts_with(name)).unwrap();
    assert!(row("works-on") < row("waits-on"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");

    let listed: Vec<Value> = serde_json::from_str(&cluster.podling_ok(&["top", "-o", "json"])).unwrap();
    assert_eq!(listed[1]["error"], json!("worker-2 is offline"));
    let tasks = listed[0]["stats"]["tasks"].as_array().unwrap();
    assert!(tasks.iter().any(|task| task["name"] == "works-on"), "{listed:?}");
}

#[test]
fn a_node_that_does_not_answer_holds_nobody_up() {
    let mut cluster = Cluster::with_workers(2);
    let id = cluster.create(&works("busy")).task_id.to_string();
    let node = cluster.wait_for_running(&id).node_id.unwrap();
    let other = if node.as_str() == "worker-1" { "worker-2" } else { "worker-1" };
    cluster.worker(other).stand_still();
    let began = clock::mono();
    let shown = cluster.podling_ok(&["top", "--once"]);
    let took = clock::mono().since(began);
    cluster.worker(other).go_on();
    assert!(shown.contains(&format!("{other} gives no figures: ")), "{shown}");
    assert_eq!(line(&shown, "busy")[1], node.as_str(), "{shown}");
    assert!(took < LONG / 2, "{took:?}");
    assert!(cluster.worker_mut(other).terminate().success(), "and it ends in order");
}

#[test]
fn an_engine_that_hangs_gives_no_figures_and_an_image_is_not_waited_for() {
    let engine = Dockerd::with_image();
    let mut cluster = Cluster::start(MasterOptions::default());
    let options = WorkerOptions { engine_host: Some(engine.host()), ..WorkerOptions::default() };
    cluster.start_worker("worker-1", options);
    let id = cluster.create(&works("busy")).task_id.to_string();
    cluster.wait_for_running(&id);
    assert!(of(&stats(&cluster, "worker-1"), "busy").cpu_millis > 0);

    let worker = cluster.client_of("worker-1");
    engine.stand_still();
    // Before and after the worker knows that it hangs.
    for _ in 0..2 {
        // The figures of a moment ago are still given.
        let silent = within(LONG, "it gives no figures", || worker.get::<Value>(routes::STATS, SOONER).err());
        let (image, wanted) = (json!({"image": "a/b"}), (503, "engine", Some(1)));
        let none = worker.post::<Value>(routes::IMAGES, &image, SOONER, false).unwrap_err();
        for error in [&silent, &none] {
            let problem = error.problem().unwrap_or_else(|| panic!("{error}"));
            assert_eq!((problem.status, problem.code.as_ref(), problem.retry_after_secs), wanted);
        }
        let problem = cluster.refusal("GET", &routes::node_stats("worker-1"), None);
        assert_eq!((problem.status, problem.code.as_ref()), (503, "node_unreachable"), "{problem}");
        wait_until("the master knows that the engine does not answer", || {
            cluster.node("worker-1").unwrap().detail.is_some()
        });
    }
    engine.go_on();
    let again = within(LONG, "it gives figures again", || {
        cluster.ask("GET", &routes::node_stats("worker-1"), None).ok()
    });
    assert_eq!(again.json::<NodeStats>().unwrap().tasks.len(), 1);
}
