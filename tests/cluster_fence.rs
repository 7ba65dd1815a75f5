//! Nodes that stand still or are cut off, masters that stand still or forget, on real Docker: what may run elsewhere
//! does, nothing runs twice that could have been ended, and nobody is blamed for the master's own sleep.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::time::Duration;

use podling::api::wire::task::TaskView;
use podling::model::node::NodeStatus;
use podling::model::task::{Reason, TaskStatus};
use podling::runtime::clock;
use serde_json::{Value, json};
use support::docker;
use support::part::{LONG, wait_until, within};
use support::proxy::Proxy;
use support::{Cluster, MasterOptions, WorkerOptions, obeys, script};

/// A cluster whose nodes may be silent for so long, without workers.
fn patient_for(node_timeout_ms: u64) -> Cluster {
    Cluster::start(MasterOptions { node_timeout_ms, ..MasterOptions::default() })
}

/// The same task, which is tried elsewhere when its node is lost.
fn rescheduled(mut spec: Value) -> Value {
    spec["on_node_lost"] = json!("reschedule");
    spec
}

fn running(cluster: &Cluster, spec: &Value) -> TaskView {
    cluster.wait_for_running(cluster.create(spec).task_id.as_str())
}

fn container_of(task: &TaskView) -> &str {
    task.container_id.as_ref().unwrap().as_str()
}

/// Whether a container runs. One that is gone doesn't.
fn runs(container: &str) -> bool {
    docker::inspect(container).is_some_and(|seen| seen["State"]["Running"] == json!(true))
}

/// The attempts at a task that have a container now, each once.
fn attempts(cluster: &Cluster, task: &TaskView) -> Vec<String> {
    let mut attempts: Vec<String> =
        cluster.containers_of(task.task_id.as_str()).into_iter().map(|found| found.attempt).collect();
    attempts.sort();
    let count = attempts.len();
    attempts.dedup();
    assert_eq!(attempts.len(), count, "an attempt has one container at most");
    attempts
}

#[test]
fn a_worker_that_stood_still_finds_its_tasks_elsewhere_and_ends_its_own() {
    let mut cluster = patient_for(6000);
    cluster.start_worker("worker-1", WorkerOptions::default());
    let moves = running(&cluster, &rescheduled(obeys("moves", 0)));
    let fails = running(&cluster, &obeys("fails", 0));
    let label = &docker::inspect(container_of(&moves)).unwrap()["Config"]["Labels"]["podling.lease"];
    assert_eq!(*label, json!("1"));
    cluster.start_worker("worker-2", WorkerOptions::default());

    cluster.worker("worker-1").stand_still();
    cluster.wait_for_node("worker-1", NodeStatus::Offline);
    let ended = cluster.wait_for_end(fails.task_id.as_str());
    assert_eq!(
        (ended.status, ended.reason, ended.attempt.0),
        (TaskStatus::Failed, Some(Reason::NodeLost), 1)
    );
    let second = cluster.wait_for(moves.task_id.as_str(), "attempt 2 runs", |task| {
        (task.status, task.attempt.0) == (TaskStatus::Running, 2)
    });
    assert_eq!(second.node_id.as_ref().unwrap().as_str(), "worker-2");
    assert_eq!(attempts(&cluster, &moves), ["1", "2"]);
    assert!(runs(container_of(&moves)), "a worker that stands still can't end it");
    assert!(cluster.master.log().contains("its old container may still run there"));

    cluster.worker("worker-1").go_on();
    wait_until("its own containers are gone", || {
        cluster.containers().iter().all(|container| container.node == "worker-2")
    });
    wait_until("it may take work again", || {
        cluster
            .node("worker-1")
            .is_some_and(|node| node.status == NodeStatus::Online && node.detail.is_none())
    });
    assert_eq!(attempts(&cluster, &moves), ["2"]);
    let now = cluster.task(moves.task_id.as_str());
    assert_eq!(
        (now.status, now.attempt, &now.container_id),
        (second.status, second.attempt, &second.container_id)
    );
    let now = cluster.task(fails.task_id.as_str());
    assert_eq!((now.status, now.reason, now.finished_at), (ended.status, ended.reason, ended.finished_at));
}

#[test]
fn a_worker_that_is_cut_off_ends_what_its_lease_covers_and_nothing_else() {
    let timeout = Duration::from_secs(15);
    let mut cluster = patient_for(15_000);
    let way = Proxy::to(cluster.master.address);
    cluster.start_worker_at("worker-1", WorkerOptions::default(), &way.url());
    let leased = running(&cluster, &rescheduled(script("leased", "trap '' TERM; sleep 600 & wait; wait")));
    let stays = running(&cluster, &obeys("stays", 0));
    let started_at = docker::inspect(container_of(&stays)).unwrap()["State"]["StartedAt"].clone();

    way.shut();
    let cut_at = clock::mono();
    wait_until("the lease runs out", || cluster.worker("worker-1").log().contains("the lease ran out"));
    // The master doesn't know yet, and can still reach the worker: what it pushes now must wait.
    let late = cluster.create(&rescheduled(obeys("late", 0)));
    let taken = format!("task taken task={}/1", late.task_id);
    wait_until("the worker has it", || cluster.worker("worker-1").log().contains(&taken));
    wait_until("the lease ends it, though it ignores TERM", || !runs(container_of(&leased)));
    let after = clock::mono().since(cut_at);
    assert!(after >= timeout / 2 && after < timeout, "ended {after:?} after the cut");
    assert!(runs(container_of(&stays)));
    let of_late = cluster.containers_of(late.task_id.as_str());
    assert!(
        of_late.iter().all(|container| container.state == "created"),
        "none starts without it: {of_late:?}"
    );
    assert_eq!(attempts(&cluster, &leased), ["1"], "it is kept until the master knows of its end");

    way.open();
    let second = cluster.wait_for(leased.task_id.as_str(), "attempt 2 runs", |task| {
        (task.status, task.attempt.0) == (TaskStatus::Running, 2)
    });
    assert_ne!(second.container_id, leased.container_id);
    let now = cluster.task(stays.task_id.as_str());
    assert_eq!((now.status, now.attempt.0, &now.container_id), (TaskStatus::Running, 1, &stays.container_id));
    assert_eq!(docker::inspect(container_of(&stays)).unwrap()["State"]["StartedAt"], started_at);
    wait_until("the first attempt's container is gone", || attempts(&cluster, &leased) == ["2"]);
    assert_eq!(cluster.wait_for_running(late.task_id.as_str()).attempt.0, 1, "it was only held up");
}

#[test]
fn a_start_of_the_worker_renews_no_lease() {
    let mut cluster = patient_for(15_000);
    let way = Proxy::to(cluster.master.address);
    cluster.start_worker_at("worker-1", WorkerOptions::default(), &way.url());
    let leased = running(&cluster, &rescheduled(obeys("leased", 0)));
    let stays = running(&cluster, &obeys("stays", 0));

    way.shut();
    let cut_at = clock::mono();
    cluster.worker_mut("worker-1").kill9();
    cluster.start_worker_again("worker-1");
    assert!(runs(container_of(&leased)), "its lease lasts, as the disk tells");
    wait_until("the lease ends it", || !runs(container_of(&leased)));
    let after = clock::mono().since(cut_at);
    assert!(after < Duration::from_secs(15), "ended {after:?} after the cut");
    assert!(runs(container_of(&stays)));
    way.open();
    let second = cluster.wait_for(leased.task_id.as_str(), "attempt 2 runs", |task| {
        (task.status, task.attempt.0) == (TaskStatus::Running, 2)
    });
    assert_ne!(second.container_id, leased.container_id);
}

#[test]
fn a_master_that_forgot_everything_stops_nothing_until_it_is_told_that_this_is_right() {
    let mut cluster = patient_for(20_000);
    cluster.start_worker("worker-1", WorkerOptions::default());
    let forgotten = running(&cluster, &obeys("forgotten", 0));
    cluster.master.kill9();
    std::fs::remove_file(cluster.data_of_master().join("state.redb")).unwrap();
    cluster.start_master_again();
    assert_eq!(
        cluster.refusal("GET", &format!("/api/v1/tasks/{}", forgotten.task_id), None).code,
        "task_not_found"
    );
    let detail = within(LONG, "the node says what it runs", || cluster.node("worker-1")?.detail);
    assert!(detail.starts_with("it runs 1 attempts that this master does not know"), "{detail}");
    // A new task goes all the way there and back, so beats were answered meanwhile: that stopped nothing.
    let next = cluster.create(&script("next", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&next).status, TaskStatus::Completed);
    let stops = running(&cluster, &obeys("stops", 0));
    cluster.stop(stops.task_id.as_str(), 10_000);
    assert_eq!(cluster.wait_for_end(stops.task_id.as_str()).status, TaskStatus::Stopped);
    assert!(runs(container_of(&forgotten)));
    assert!(cluster.master.log().contains(&format!("first={}/1", forgotten.task_id)));

    cluster.master.kill9();
    cluster.start_master_again();
    within(LONG, "it is still so", || cluster.node("worker-1")?.detail);
    assert!(runs(container_of(&forgotten)), "a start without a word doesn't end it");

    cluster.master.kill9();
    cluster.master.also("--accept-state");
    cluster.start_master_again();
    wait_until("what nobody knows is gone", || docker::inspect(container_of(&forgotten)).is_none());
    assert!(cluster.node("worker-1").unwrap().detail.is_none());
}

#[test]
fn a_master_that_stood_still_blames_nobody() {
    let mut cluster = patient_for(2500);
    let way = Proxy::to(cluster.master.address);
    cluster.start_worker("worker-1", WorkerOptions::default());
    cluster.start_worker_at("worker-2", WorkerOptions::default(), &way.url());
    let ids = cluster.create_equals(4, obeys("t", 0));
    let before = cluster.wait_for_all(TaskStatus::Running);

    cluster.master.stand_still();
    // One worker's beats wait to be read, and the other's are lost, and those of the first moments afterwards too.
    way.shut();
    std::thread::park_timeout(Duration::from_secs(8));
    cluster.master.go_on();
    std::thread::park_timeout(Duration::from_millis(500));
    way.open();
    let went_on = clock::wall();
    for worker in ["worker-1", "worker-2"] {
        wait_until("it has been heard for two timeouts since", || {
            let node = cluster.node(worker).unwrap();
            assert_eq!(node.status, NodeStatus::Online, "{node:?}");
            node.last_heartbeat.since(went_on) > Duration::from_secs(5)
        });
    }
    assert!(!cluster.master.log().contains("node offline"));
    assert!(cluster.master.log().contains("this master stood still"));
    for (id, task) in ids.iter().zip(&before) {
        let now = cluster.task(id);
        assert_eq!(
            (now.status, now.attempt, now.container_id),
            (task.status, task.attempt, task.container_id.clone())
        );
    }
}

#[test]
fn an_end_without_a_container_outlives_the_worker() {
    let mut cluster = patient_for(60_000);
    let way = Proxy::to(cluster.master.address);
    cluster.start_worker_at("worker-1", WorkerOptions::default(), &way.url());
    let worker = cluster.client_of("worker-1");
    wait_until("it takes pushes", || worker.get::<Value>("/readyz", LONG).is_ok());
    way.shut();
    let spec = json!({"name": "fails", "image": "127.0.0.1:1/podling/none:1", "network": "none"});
    let task = cluster.create(&spec).task_id.to_string();
    let outbox = cluster.data_of("worker-1").join("outbox");
    let kept =
        || std::fs::read_dir(&outbox).unwrap().flatten().map(|file| file.file_name()).collect::<Vec<_>>();
    wait_until("its end is on the worker's disk", || {
        kept().iter().any(|name| name.to_string_lossy() == format!("{task}-1.json"))
    });
    cluster.worker_mut("worker-1").kill9();
    cluster.start_worker_again("worker-1");
    assert_eq!(cluster.task(&task).status, TaskStatus::Scheduled, "the master can't know yet");
    way.open();
    let ended = cluster.wait_for_end(&task);
    assert_eq!((ended.status, ended.reason), (TaskStatus::Failed, Some(Reason::ImagePull)), "{ended:?}");
    wait_until("it is acknowledged", || kept().is_empty());
    let taken = cluster.worker("worker-1").log().matches(&format!("task taken task={task}")).count();
    assert_eq!(taken, 1, "and was never launched again");
}
