//! Nodes that die and come back, masters that forget, on real Docker: what runs goes on where it may, nothing runs
//! twice, and nobody's containers are touched but one's own.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::time::Duration;

use podling::api::wire::Page;
use podling::api::wire::agent::AttemptView;
use podling::http::Client;
use podling::model::node::NodeStatus;
use podling::model::task::{Reason, TaskStatus};
use podling::runtime::clock;
use serde_json::{Value, json};
use support::docker::{self, Container, Stranger};
use support::part::{LONG, wait_until, within};
use support::{Cluster, MasterOptions, WorkerOptions, obeys, script};

/// A cluster that gives a silent node up after two seconds.
fn impatient(workers: &[&str]) -> Cluster {
    let mut cluster = Cluster::start(MasterOptions { node_timeout_ms: 2000, ..MasterOptions::default() });
    workers.iter().for_each(|id| cluster.start_worker(id, WorkerOptions::default()));
    cluster
}

fn docker_started_at(container: &str) -> Value {
    docker::inspect(container).expect("it is still there")["State"]["StartedAt"].clone()
}

fn of_node(containers: &[Container], node: &str) -> Vec<Container> {
    containers.iter().filter(|container| container.node == node).cloned().collect()
}

#[test]
fn a_dead_workers_tasks_are_lost_and_it_comes_back_clean() {
    let mut cluster = impatient(&["worker-1", "worker-2"]);
    let ids = cluster.create_equals(6, obeys("t", 0));
    let tasks = cluster.wait_for_all(TaskStatus::Running);
    let before = cluster.containers();
    let (orphans, others) = (of_node(&before, "worker-1"), of_node(&before, "worker-2"));
    assert_eq!((orphans.len(), others.len()), (3, 3));

    cluster.worker_mut("worker-1").kill9();
    cluster.wait_for_node("worker-1", NodeStatus::Offline);
    for task in &tasks {
        let now = cluster.task(task.task_id.as_str());
        if task.node_id.as_ref().unwrap().as_str() == "worker-1" {
            assert_eq!((now.status, now.reason), (TaskStatus::Failed, Some(Reason::NodeLost)), "{now:?}");
            assert_eq!(now.attempt.0, 1, "never a second attempt");
            assert!(now.error.is_some_and(|error| error.contains("worker-1")));
        } else {
            assert_eq!(now.status, TaskStatus::Running, "{now:?}");
        }
    }
    let after = cluster.create(&script("after", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&after).node_id.unwrap().as_str(), "worker-2");

    cluster.start_worker_again("worker-1");
    cluster.wait_for_node("worker-1", NodeStatus::Online);
    wait_until("its orphans are gone", || of_node(&cluster.containers(), "worker-1").is_empty());
    assert_eq!(cluster.containers(), others, "the other worker's containers are as they were");
    wait_until("the master knows that they are", || cluster.node("worker-1").unwrap().detail.is_none());
    let again = cluster.create_equals(2, obeys("again", 0));
    let again: Vec<_> = again.iter().map(|id| cluster.wait_for_running(id).node_id.unwrap()).collect();
    assert!(again.iter().all(|node| node.as_str() == "worker-1"), "it has fewest: {again:?}");
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_worker_that_is_back_in_time_finds_its_containers_and_their_ends() {
    let mut cluster = Cluster::with_workers(1);
    let goes_on = cluster.create(&obeys("goes-on", 5)).task_id.to_string();
    let ends = cluster.create(&script("ends-unseen", "sleep 3; exit 6")).task_id.to_string();
    let [goes_on, ends] = [goes_on, ends].map(|id| cluster.wait_for_running(&id));
    let (going, ending) = (goes_on.container_id.as_ref().unwrap(), ends.container_id.as_ref().unwrap());
    let started = docker_started_at(going.as_str());

    for way in ["kill -9", "TERM"] {
        if way == "TERM" {
            assert_eq!(cluster.worker_mut("worker-1").terminate().code(), Some(0));
        } else {
            cluster.worker_mut("worker-1").kill9();
            wait_until("one ends while nobody looks", || {
                docker::inspect(ending.as_str()).is_some_and(|seen| seen["State"]["Running"] == json!(false))
            });
        }
        assert_eq!(docker_started_at(going.as_str()), started, "its worker's end by {way} is not its own");
        cluster.start_worker_again("worker-1");
        let unseen = cluster.wait_for_end(ends.task_id.as_str());
        assert_eq!((unseen.status, unseen.exit_code), (TaskStatus::Failed, Some(6)), "{unseen:?}");
        wait_until("the worker says that it runs", || {
            let client = cluster.client_of("worker-1");
            let held: Page<AttemptView> = client.get("/api/v1/tasks", LONG).unwrap();
            held.items.iter().any(|held| held.container_id.as_ref() == Some(going))
        });
        let task = cluster.task(goes_on.task_id.as_str());
        assert_eq!((task.status, task.attempt.0), (TaskStatus::Running, 1), "{task:?}");
        assert_eq!((task.container_id.as_ref(), task.started_at), (Some(going), goes_on.started_at));
        assert_eq!(docker_started_at(going.as_str()), started);
    }
    cluster.stop(goes_on.task_id.as_str(), 30_000);
    assert_eq!(cluster.wait_for_end(goes_on.task_id.as_str()).exit_code, Some(5));
    wait_until("no container is left", || cluster.containers().is_empty());
}

#[test]
fn a_master_that_comes_back_finds_all_as_it_was() {
    let mut cluster = Cluster::with_workers(1);
    let goes_on = cluster.create(&obeys("goes-on", 0)).task_id.to_string();
    let ends = cluster.create(&script("ends-unseen", "sleep 3; exit 6")).task_id.to_string();
    let [goes_on, ends] = [goes_on, ends].map(|id| cluster.wait_for_running(&id));
    let (going, ending) = (goes_on.container_id.as_ref().unwrap(), ends.container_id.as_ref().unwrap());
    let started = docker_started_at(going.as_str());
    cluster.master.kill9();
    wait_until("one ends while nobody can be told", || {
        docker::inspect(ending.as_str()).is_none_or(|seen| seen["State"]["Running"] == json!(false))
    });
    cluster.start_master_again();
    let unseen = cluster.wait_for_end(ends.task_id.as_str());
    assert_eq!((unseen.status, unseen.exit_code), (TaskStatus::Failed, Some(6)), "{unseen:?}");
    let next = cluster.create(&script("next", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&next).status, TaskStatus::Completed);
    let task = cluster.task(goes_on.task_id.as_str());
    assert_eq!((task.status, task.container_id.as_ref()), (TaskStatus::Running, Some(going)));
    assert_eq!(docker_started_at(going.as_str()), started);
}

#[test]
fn a_master_that_forgot_its_nodes_gets_them_back() {
    let mut cluster = Cluster::start(MasterOptions { store: "memory", ..MasterOptions::default() });
    cluster.start_worker("worker-1", WorkerOptions::default());
    let before = cluster.create(&script("before", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&before).status, TaskStatus::Completed);
    cluster.master.kill9();
    cluster.start_master_again();
    assert_eq!(cluster.refusal("GET", &format!("/api/v1/tasks/{before}"), None).code, "task_not_found");
    cluster.wait_for_node("worker-1", NodeStatus::Online);
    let after = cluster.create(&script("after", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&after).status, TaskStatus::Completed);
}

#[test]
fn other_peoples_containers_are_left_alone() {
    let mut cluster = impatient(&["worker-1"]);
    let labels = |cluster: &str, node: &str| {
        json!({"podling.cluster": cluster, "podling.node": node,
        "podling.task": "01AAAAAAAAAAAAAAAAAAAAAAAA", "podling.attempt": "1"})
    };
    let strangers = [
        Stranger::start(&json!({})),
        Stranger::start(&json!({"podling.node": "worker-1"})),
        Stranger::start(&labels("01BBBBBBBBBBBBBBBBBBBBBBBB", "worker-1")),
        Stranger::start(&labels(&cluster.id, "worker-9")),
    ];
    let before = strangers.each_ref().map(Stranger::started_at);
    let lost = cluster.create(&obeys("lost", 0)).task_id.to_string();
    let lost = cluster.wait_for_running(&lost).container_id.unwrap();
    cluster.worker_mut("worker-1").kill9();
    cluster.wait_for_node("worker-1", NodeStatus::Offline);
    let unknown = Stranger::start(&labels(&cluster.id, "worker-1"));
    cluster.start_worker_again("worker-1");
    // What is its own goes: so it has looked, and could have taken the others for its own as well.
    for own in [lost.as_str(), unknown.id.as_str()] {
        wait_until("what is its own and no live task's goes", || docker::inspect(own).is_none());
    }
    let next = cluster.create(&script("next", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&next).status, TaskStatus::Completed);
    assert_eq!(strangers.each_ref().map(Stranger::started_at), before);
}

/// What the worker says of its tasks.
fn held(worker: &Client) -> Vec<AttemptView> {
    worker.get::<Page<AttemptView>>("/api/v1/tasks", LONG).unwrap().items
}

#[test]
fn an_assignment_that_comes_twice_changes_nothing_and_a_wrong_one_is_fenced_off() {
    let cluster = Cluster::with_workers(1);
    let spec = obeys("t", 0);
    let id = cluster.create(&spec).task_id.to_string();
    let task = cluster.wait_for_running(&id);
    let ended = cluster.create(&script("ended", "true")).task_id.to_string();
    cluster.wait_for_end(&ended);
    wait_until("one container is left", || cluster.containers().len() == 1);
    let before = cluster.containers();

    let epoch = cluster.epoch();
    let order = |task_id: &str, change: Value| {
        let mut order = json!({"epoch": epoch, "incarnation": 1, "revision": 1, "attempt": 1,
            "task": {"task_id": task_id, "name": "t", "image": spec["image"], "command": spec["command"],
                "network": "none", "pull": "never"}});
        order.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        order
    };
    let worker = cluster.client_of("worker-1");
    let push = |body: &Value| {
        let call = podling::http::client::Call {
            body: Some(body.to_string().into_bytes()),
            ..podling::http::client::Call::new("POST", "/api/v1/tasks", LONG)
        };
        match worker.call(call) {
            Ok(reply) => reply.status,
            Err(error) => error.problem().map(|problem| problem.status).unwrap_or_else(|| panic!("{error}")),
        }
    };
    let same = order(&id, json!({}));
    assert_eq!(push(&same), 202);
    assert_eq!(push(&json!([same, same])), 202);
    assert_eq!(push(&order(&id, json!({"revision": 1_000_000}))), 202);

    let unknown = "01AAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(
        push(&order(unknown, json!({"revision": 0}))),
        409,
        "older than the set, which doesn't name it"
    );
    for fenced in [json!({"epoch": epoch - 1}), json!({"incarnation": 2}), json!({"incarnation": 0})] {
        assert_eq!(push(&order(unknown, fenced)), 409);
    }
    // Ended is ended, whatever the answer.
    push(&order(&ended, json!({})));

    // What comes after it, and goes the same way, has been and gone: so would what these had made.
    let last = cluster.create(&script("last", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&last).status, TaskStatus::Completed);
    within(LONG, "nothing new is left", || (cluster.containers() == before).then_some(()));
    let now = cluster.task(&id);
    assert_eq!(
        (now.status, now.container_id, now.started_at),
        (task.status, task.container_id, task.started_at)
    );
    assert!(held(&worker).iter().any(|held| held.task_id.as_str() == id));
    assert!(held(&worker).iter().all(|held| held.task_id.as_str() != unknown));
    assert_eq!(cluster.task(&ended).attempt.0, 1);
}

/// The Engine's own deadline is ten seconds: a worker that waited for it would be as late.
#[test]
fn a_worker_whose_engine_hangs_listens_registers_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let _never_answers = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let host = Box::leak(format!("unix://{}", socket.display()).into_boxed_str());
    let mut cluster = Cluster::start(MasterOptions::default());
    let start = clock::mono();
    cluster.start_worker("worker-1", WorkerOptions { engine_host: Some(host), ..WorkerOptions::default() });
    let took = clock::mono().since(start);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let worker = cluster.client_of("worker-1");
    assert!(worker.get::<Value>("/healthz", LONG).is_ok());
    let refused = worker.get::<Value>("/readyz", LONG).unwrap_err();
    assert_eq!(refused.problem().map(|problem| problem.status), Some(503));
    wait_until("the master knows", || {
        let detail = cluster.node("worker-1").unwrap().detail;
        detail.is_some_and(|detail| detail.contains("engine does not answer"))
    });
}
