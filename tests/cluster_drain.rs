//! Nodes that are closed and emptied, and tasks that say what they wait for: the real binaries on real Docker, as a user
//! types it.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]
#![expect(clippy::disallowed_methods, reason = "threads are joined where they are started")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use podling::api::wire::task::TaskView;
use podling::api::wire::why::WhyView;
use podling::model::node::{Availability, NodeStatus};
use podling::model::task::{Reason, TaskStatus};
use serde_json::{Value, json};
use support::docker;
use support::part::{LONG, wait_until, within};
use support::{Cluster, MasterOptions, Said, WorkerOptions, obeys, script};

fn movable(name: &str) -> Value {
    let mut spec = obeys(name, 0);
    spec["on_node_lost"] = json!("reschedule");
    spec
}

fn running(cluster: &Cluster, spec: &Value) -> TaskView {
    cluster.wait_for_running(cluster.create(spec).task_id.as_str())
}

fn node_of(task: &TaskView) -> &str {
    task.node_id.as_ref().unwrap().as_str()
}

fn why(cluster: &Cluster, task: &str) -> WhyView {
    cluster.ask("GET", &format!("/api/v1/tasks/{task}/why"), None).unwrap().json().unwrap()
}

/// A task that was moved: its first attempt had ended before its second one began, and each had one container.
#[track_caller]
fn assert_moved(cluster: &Cluster, reference: &str, from: &str, to: &str) -> TaskView {
    let task = cluster.wait_for(reference, "it runs where it moved to", |task| {
        task.status == TaskStatus::Running && task.attempt.0 == 2
    });
    let past = &task.attempts[0];
    assert_eq!((past.node_id.as_str(), node_of(&task)), (from, to));
    assert_eq!((past.reason, task.attempts.len()), (Some(Reason::Stopped), 1));
    assert!(past.finished_at <= task.started_at.unwrap(), "attempts overlap: {task:?}");
    task
}

#[test]
fn a_drained_node_is_left_by_what_may_run_elsewhere_and_waits_for_the_rest() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions::default());
    let web = running(&cluster, &movable("web"));
    let db = running(&cluster, &obeys("db", 0));
    cluster.start_worker("worker-2", WorkerOptions::default());

    let would = cluster.podling_ok(&["node", "drain", "worker-1", "--dry-run"]);
    assert!(
        would.contains(&format!("web ({}) would move, to worker-2 as things are now", web.task_id)),
        "{would}"
    );
    assert!(
        would.contains(&format!("db ({}) would be waited for (on_node_lost is fail)", db.task_id)),
        "{would}"
    );
    assert_eq!(cluster.node("worker-1").unwrap().availability, Availability::Active, "that changed nothing");

    let said = cluster.podling(&["node", "drain", "worker-1", "--deadline", "6s"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stdout.contains(&format!("web ({}): now on worker-2, attempt 2\n", web.task_id)),
        "{said:?}"
    );
    let left = format!("after 6 s worker-1 still has: db ({}), its node is drained", db.task_id);
    assert!(said.stderr.contains(&left), "{said:?}");
    assert_moved(&cluster, "web", "worker-1", "worker-2");
    assert_eq!(cluster.task("db").status, TaskStatus::Running, "nothing is killed");
    assert_eq!(cluster.node("worker-1").unwrap().availability, Availability::Draining);

    let third = running(&cluster, &obeys("third", 0));
    assert_eq!(node_of(&third), "worker-2", "a drained node gets nothing new");
    cluster.stop("db", 1000);
    let said = cluster.podling(&["node", "drain", "worker-1"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.ends_with("worker-1 is empty\n"), "{said:?}");
}

#[test]
fn nothing_is_stopped_before_there_is_a_place_for_it() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions::default());
    let web = running(&cluster, &movable("web"));
    cluster.start_worker("worker-2", WorkerOptions { capacity: 1, ..WorkerOptions::default() });
    let other = running(&cluster, &obeys("other", 0));
    assert_eq!((node_of(&web), node_of(&other)), ("worker-1", "worker-2"));

    let command = cluster.podling_command(&cluster.master.url(), &["node", "drain", "worker-1"]);
    let drain = std::thread::spawn(move || Said::of(command));
    cluster.wait_for("web", "it says what it waits for", |task| {
        task.detail.as_deref()
            == Some("its node is drained: no node fits: 1 node is draining, 1 node is full")
    });
    assert_eq!(cluster.task("web").attempt.0, 1, "it runs on");
    cluster.stop("other", 0);
    let said = drain.join().unwrap();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_moved(&cluster, "web", "worker-1", "worker-2");
}

#[test]
fn a_drain_outlives_the_master_and_both_workers() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions::default());
    let tasks: Vec<TaskView> = (0..8).map(|n| running(&cluster, &movable(&format!("web-{n}")))).collect();
    cluster.start_worker("worker-2", WorkerOptions::default());
    let command = cluster.podling_command(&cluster.master.url(), &["node", "drain", "worker-1"]);
    let drain = std::thread::spawn(move || Said::of(command));
    let moved = |cluster: &Cluster| cluster.tasks().iter().filter(|task| task.attempt.0 == 2).count();
    wait_until("something has moved", || moved(&cluster) > 0);
    cluster.master.kill9();
    cluster.start_master_again();
    wait_until("more has moved", || moved(&cluster) > 3);
    for worker in ["worker-1", "worker-2"] {
        cluster.worker_mut(worker).kill9();
        cluster.start_worker_again(worker);
    }
    let said = drain.join().unwrap();
    assert_eq!(said.code, Some(0), "{said:?}");
    for task in &tasks {
        assert_moved(&cluster, task.task_id.as_str(), "worker-1", "worker-2");
        let made = cluster.containers_of(task.task_id.as_str());
        assert!(made.iter().filter(|one| one.attempt == "2").count() == 1 && made.len() <= 2, "{made:?}");
    }
}

#[test]
fn an_end_between_two_starts_of_a_worker_is_known_by_the_signal_that_was_sent() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions::default());
    let mut moves = script("moves", "trap 'echo told; sleep 3; exit 0' TERM; while :; do sleep 0.1; done");
    moves["on_node_lost"] = json!("reschedule");
    let moves = running(&cluster, &moves);
    let stops = running(&cluster, &obeys("stops", 0));
    cluster.start_worker("worker-2", WorkerOptions::default());
    let drain = cluster.podling_command(&cluster.master.url(), &["node", "drain", "worker-1"]);
    let drain = std::thread::spawn(move || Said::of(drain));
    wait_until("it was told", || cluster.podling_ok(&["logs", "moves"]).contains("told"));
    cluster.worker_mut("worker-1").kill9();
    let container = moves.container_id.unwrap();
    wait_until("it has ended, and no worker saw it", || {
        docker::inspect(container.as_str()).unwrap()["State"]["Status"] == "exited"
    });
    cluster.start_worker_again("worker-1");
    assert_moved(&cluster, "moves", "worker-1", "worker-2");
    cluster.stop(stops.task_id.as_str(), 0);
    assert_eq!(drain.join().unwrap().code, Some(0));
    let kept = std::fs::read_dir(cluster.data_of("worker-1").join("stops")).unwrap().count();
    assert_eq!(kept, 0, "nothing stays behind");
}

#[test]
fn nodes_are_closed_opened_and_forgotten() {
    let mut cluster = Cluster::start(MasterOptions { node_timeout_ms: 3_000, ..MasterOptions::default() });
    cluster.start_worker("worker-1", WorkerOptions::default());
    cluster.start_worker("worker-2", WorkerOptions::default());
    assert_eq!(cluster.podling_ok(&["node", "cordon", "worker-1"]), "worker-1 is cordoned\n");
    assert_eq!(node_of(&running(&cluster, &obeys("a", 0))), "worker-2");
    assert_eq!(node_of(&running(&cluster, &obeys("b", 0))), "worker-2");
    assert_eq!(cluster.podling_ok(&["node", "uncordon", "worker-1"]), "worker-1 is active\n");
    assert_eq!(node_of(&running(&cluster, &obeys("c", 0))), "worker-1");

    let said = cluster.podling(&["node", "rm", "worker-1"]);
    assert!(said.code == Some(1) && said.stderr.contains("worker-1 is online"), "{said:?}");
    let said = cluster.podling(&["node", "cordon", "nowhere"]);
    assert!(said.code == Some(1) && said.stderr.contains("there is no node \"nowhere\""), "{said:?}");
    cluster.stop("c", 0);
    cluster.wait_for_end("c");
    cluster.worker_mut("worker-1").terminate();
    cluster.wait_for_node("worker-1", NodeStatus::Offline);
    assert_eq!(cluster.podling_ok(&["node", "rm", "worker-1"]), "worker-1 is forgotten\n");
    assert!(cluster.node("worker-1").is_none());
}

#[test]
fn a_task_that_waits_says_why_and_is_placed_once_that_is_gone() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let small = WorkerOptions {
        more: &["--memory", "1Gi", "--cpu", "2", "--label", "disk=hdd"],
        ..WorkerOptions::default()
    };
    cluster.start_worker("worker-1", small);
    let sized = |name: &str, memory: u64| {
        let mut spec = obeys(name, 0);
        spec["memory_bytes"] = json!(memory);
        spec
    };
    running(&cluster, &sized("db", 700 << 20));
    let web = cluster.create(&sized("web", 512 << 20));
    wait_until("it was looked at", || why(&cluster, "web").looks > 0);
    let said = cluster.podling_ok(&["why", "web"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("web is pending for ") && lines[0].contains(": no node fits ("), "{said}");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["NODE", "FITS", "BECAUSE"]);
    assert!(lines[2].ends_with("memory: needs 512 MiB, 324 MiB free (db holds 700 MiB)"), "{said}");
    assert_eq!(lines[3], "would run if: worker-1 had 188 MiB more free");
    let shown = cluster.task("web").detail.unwrap();
    assert_eq!(shown, "no node fits: 1 node has too little memory free");
    assert!(cluster.podling_ok(&["ps"]).contains("no node fits"), "ps says it too");

    let mut fast = script("fast", "true");
    fast["constraints"] = json!({"disk": "ssd"});
    cluster.create(&fast);
    assert_eq!(why(&cluster, "fast").nodes[0].reasons[0].code, "constraint");

    cluster.stop("db", 0);
    let placed = cluster.wait_for_running(web.task_id.as_str());
    assert_eq!((node_of(&placed), placed.attempt.0), ("worker-1", 1));
    let ssd = WorkerOptions { more: &["--label", "disk=ssd"], ..WorkerOptions::default() };
    cluster.start_worker("worker-2", ssd);
    assert_eq!(node_of(&cluster.wait_for_end("fast")), "worker-2");
}

#[test]
fn a_port_is_had_by_one_task_at_a_time_whichever_node_of_the_engine_it_is_on() {
    let cluster = Cluster::with_workers(2);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let publishes = |name: &str| {
        let mut spec = obeys(name, 0);
        (spec["network"], spec["ports"]) = (json!("bridge"), json!([{"host": port, "container": 80}]));
        spec
    };
    let proxy = running(&cluster, &publishes("proxy"));
    let web = cluster.create(&publishes("web"));
    let told = within(LONG, "why", || Some(why(&cluster, "web")).filter(|why| why.looks > 0));
    for fit in &told.nodes {
        assert_eq!(fit.reasons[0].text, format!("port {port} is taken by proxy"));
        assert_eq!(fit.reasons[0].held_by.as_deref(), Some("proxy"));
    }
    assert_eq!((told.nodes.len(), proxy.attempt.0), (2, 1));
    assert_eq!(told.would_run_if, [format!("proxy had ended, which has port {port}")], "once");
    cluster.stop("proxy", 0);
    let placed = cluster.wait_for_running(web.task_id.as_str());
    assert_eq!(placed.attempt.0, 1, "no try was wasted");
}
