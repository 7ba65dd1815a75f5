//! A user's day on real Docker: tasks are spread, run, end as their programs did, are stopped, and say why they
//! failed.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use podling::api::wire::task::TaskView;
use podling::model::task::{Reason, TaskStatus};
use podling::runtime::clock;
use serde_json::{Value, json};
use support::docker::{self, IMAGE};
use support::part::wait_until;
use support::registry::{Registry, Tag};
use support::{Cluster, MasterOptions, WorkerOptions, obeys, script};

/// How many of these tasks each node has.
fn by_node(tasks: &[TaskView]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for task in tasks {
        *counts.entry(task.node_id.as_ref().unwrap().to_string()).or_default() += 1;
    }
    counts
}

fn spread(counts: [usize; 3]) -> BTreeMap<String, usize> {
    (1..).map(|number| format!("worker-{number}")).zip(counts).collect()
}

/// How a task ended: status, reason, exit code.
type End = (TaskStatus, Option<Reason>, Option<i32>);

fn end_of(task: &TaskView) -> End {
    (task.status, task.reason, task.exit_code)
}

const fn failed(reason: Reason, code: i32) -> End {
    (TaskStatus::Failed, Some(reason), Some(code))
}

#[test]
fn thirty_tasks_are_spread_evenly_and_the_next_go_where_fewest_run() {
    let cluster = Cluster::with_workers(3);
    let spec = script("web", "echo \"index $PODLING_INDEX\"; trap 'exit 0' TERM; sleep 600 & wait");
    let ids = cluster.create_equals(30, spec);
    let tasks = cluster.wait_for_all(TaskStatus::Running);
    assert_eq!(tasks.len(), 30);
    assert_eq!(by_node(&tasks), spread([10, 10, 10]));
    for number in 1..=3 {
        assert_eq!(cluster.node(&format!("worker-{number}")).unwrap().running_tasks, 10);
    }
    let containers = cluster.containers();
    assert_eq!(containers.len(), 30);
    for container in &containers {
        let task = tasks.iter().find(|task| task.task_id.as_str() == container.task).unwrap();
        assert_eq!(task.container_id.as_ref().unwrap().as_str(), container.id);
        assert_eq!(task.node_id.as_ref().unwrap().as_str(), container.node);
        assert_eq!((container.state.as_str(), container.attempt.as_str()), ("running", "1"));
    }
    assert_eq!(
        (cluster.task("web-17").task_id.as_str(), cluster.log(&ids[17], "")),
        (&*ids[17], "index 17\n".into())
    );

    let on_second = tasks.iter().filter(|task| task.node_id.as_ref().unwrap().as_str() == "worker-2").take(3);
    let stopped: Vec<String> = on_second.map(|task| task.task_id.to_string()).collect();
    for id in &stopped {
        cluster.stop(id, 10_000);
    }
    stopped.iter().for_each(|id| drop(cluster.wait_for_end(id)));
    let next = cluster.create_equals(3, obeys("next", 0));
    let next: Vec<TaskView> = next.iter().map(|id| cluster.wait_for_running(id)).collect();
    assert_eq!(by_node(&next), BTreeMap::from([("worker-2".to_owned(), 3)]));
}

#[test]
fn a_task_ends_as_its_program_did() {
    let cluster = Cluster::with_workers(1);
    let memory = 16 << 20;
    // Its shell lives on for a moment: an Engine that hears of the end before it hears of the want of memory never
    // sets its flag (Docker Engine 20.10).
    let mut eats = script("eats", "tail /dev/zero; code=$?; sleep 1; exit $code");
    eats["memory_bytes"] = json!(memory);
    // The first process of a container can't kill itself, but its child can.
    let killed_inside = script("killed-inside", "sh -c 'kill -9 $$'; exit $?");
    let expected = [
        (script("zero", "exit 0"), (TaskStatus::Completed, None, Some(0))),
        (script("seven", "exit 7"), failed(Reason::ExitCode, 7)),
        (killed_inside, failed(Reason::ExitCode, 137)),
        (eats, failed(Reason::OomKilled, 137)),
    ];
    let ids: Vec<String> =
        expected.iter().map(|(spec, _)| cluster.create(spec).task_id.to_string()).collect();
    for (id, (_, end)) in ids.iter().zip(&expected) {
        let task = cluster.wait_for_end(id);
        assert_eq!(end_of(&task), *end, "{task:?}");
        assert!(task.started_at.unwrap() <= task.finished_at.unwrap(), "{task:?}");
        assert_eq!(task.error.is_some(), task.status == TaskStatus::Failed, "{task:?}");
    }
    let killed = cluster.create(&obeys("killed-outside", 0)).task_id.to_string();
    docker::kill(cluster.wait_for_running(&killed).container_id.unwrap().as_str());
    assert_eq!(end_of(&cluster.wait_for_end(&killed)), failed(Reason::ExitCode, 137));
    wait_until("no container is left", || cluster.containers().is_empty());
}

#[test]
fn a_command_that_can_not_be_started_says_why() {
    let cluster = Cluster::with_workers(1);
    for (command, code, says) in
        [("/no/such/command", 127, "no such file"), ("/etc/passwd", 126, "permission denied")]
    {
        let spec = json!({"name": "t", "image": IMAGE, "command": [command], "network": "none"});
        let task = cluster.wait_for_end(cluster.create(&spec).task_id.as_str());
        assert_eq!(end_of(&task), failed(Reason::Start, code), "{task:?}");
        assert!(task.error.as_ref().is_some_and(|error| error.contains(says)), "{task:?}");
        assert_eq!(task.started_at, None, "{task:?}");
    }
    wait_until("no container is left", || cluster.containers().is_empty());
}

/// A task that runs an image from a registry.
fn of_image(image: &str) -> Value {
    json!({"name": "pulls", "image": image, "command": ["true"], "network": "none"})
}

#[test]
fn an_image_is_fetched_or_the_registrys_own_words_are_told() {
    let cluster = Cluster::with_workers(1);
    let registry = Registry::start();
    let there = registry.push();
    let task = cluster.wait_for_end(cluster.create(&of_image(&there.0)).task_id.as_str());
    assert_eq!(end_of(&task), (TaskStatus::Completed, None, Some(0)), "{task:?}");

    let absent = registry.image("absent");
    let never = Tag(registry.image("never"));
    let mut not_pulled = of_image(&never.0);
    not_pulled["pull"] = json!("never");
    for (spec, says) in [
        (of_image(&absent), "manifest unknown"),
        (of_image("127.0.0.1:1/nobody/listens:1"), "connection refused"),
        (not_pulled, never.0.as_str()),
    ] {
        let task = cluster.wait_for_end(cluster.create(&spec).task_id.as_str());
        assert_eq!((task.status, task.reason), (TaskStatus::Failed, Some(Reason::ImagePull)), "{task:?}");
        assert!(task.error.as_ref().is_some_and(|error| error.contains(says)), "{task:?}");
        assert_eq!((task.exit_code, task.container_id, task.started_at), (None, None, None));
    }
    assert!(cluster.containers().is_empty());
}

#[test]
fn a_program_has_the_environment_user_folder_and_network_that_were_asked_for() {
    let cluster = Cluster::with_workers(1);
    let mut spec = script(
        "looks",
        "id -u; id -g; pwd; echo \"$GREETING\"; ls /sys/class/net; echo \"<$PODLING_INDEX>\"",
    );
    spec["env"] = json!({"GREETING": "a=b c"});
    spec["user"] = json!("1000:2000");
    spec["workdir"] = json!("/tmp");
    let id = cluster.create(&spec).task_id.to_string();
    let task = cluster.wait_for_end(&id);
    assert_eq!(task.status, TaskStatus::Completed, "{task:?}");
    assert_eq!(cluster.log(&id, ""), "1000\n2000\n/tmp\na=b c\nlo\n<>\n");
}

#[test]
fn a_stop_is_obeyed_or_enforced() {
    let cluster = Cluster::with_workers(1);
    let deaf = cluster.create(&script("deaf", "trap '' TERM; while :; do sleep 1; done")).task_id.to_string();
    let obedient = cluster.create(&obeys("obedient", 3)).task_id.to_string();
    [&deaf, &obedient].into_iter().for_each(|id| drop(cluster.wait_for_running(id)));

    let began = clock::mono();
    cluster.podling_ok(&["stop", "-t", "1", &deaf]);
    let took = clock::mono().since(began);
    let task = cluster.task(&deaf);
    assert_eq!(end_of(&task), (TaskStatus::Stopped, Some(Reason::Stopped), Some(137)), "{task:?}");
    assert!(task.stop_requested_at.is_some());
    assert!(took >= Duration::from_secs(1), "it had no second: {took:?}");

    let began = clock::mono();
    cluster.stop(&obedient, 30_000);
    let task = cluster.wait_for_end(&obedient);
    assert_eq!(end_of(&task), (TaskStatus::Stopped, Some(Reason::Stopped), Some(3)), "{task:?}");
    assert!(clock::mono().since(began) < Duration::from_secs(20), "TERM was enough");

    assert_eq!(
        cluster.stop(&obedient, 0).status,
        TaskStatus::Stopped,
        "stopping what is stopped is no error"
    );
    wait_until("no container is left", || cluster.containers().is_empty());
}

#[test]
fn what_does_not_run_yet_is_stopped_before_it_does() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let pending = cluster.create(&script("pending", "true")).task_id.to_string();
    let stopped = cluster.stop(&pending, 0);
    assert_eq!(end_of(&stopped), (TaskStatus::Stopped, Some(Reason::Stopped), None));

    // A registry that takes connections and never says a word keeps a task from running.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    cluster.start_worker("worker-1", WorkerOptions::default());
    let image = format!("{}/silent:1", silent.local_addr().unwrap());
    let scheduled = cluster.create(&of_image(&image)).task_id.to_string();
    let pulls = |task: &TaskView| task.status == TaskStatus::Scheduled && task.detail.is_some();
    cluster.wait_for(&scheduled, "it is scheduled and pulls", pulls);
    cluster.stop(&scheduled, 0);
    let task = cluster.wait_for_end(&scheduled);
    assert_eq!(end_of(&task), (TaskStatus::Stopped, Some(Reason::Stopped), None), "{task:?}");
    assert_eq!(task.started_at, None);

    let after = cluster.create(&script("after", "true")).task_id.to_string();
    assert_eq!(cluster.wait_for_end(&after).status, TaskStatus::Completed);
    assert_eq!(cluster.task(&pending).status, TaskStatus::Stopped);
}

#[test]
fn a_task_that_no_node_takes_fails_in_words() {
    let cluster = Cluster::start(MasterOptions { pending_timeout_ms: 700, ..MasterOptions::default() });
    let id = cluster.create(&script("lonely", "true")).task_id.to_string();
    let waiting = cluster.wait_for(&id, "it says why it waits", |task| task.detail.is_some());
    assert_eq!(waiting.status, TaskStatus::Pending);
    let task = cluster.wait_for_end(&id);
    assert_eq!(end_of(&task), (TaskStatus::Failed, Some(Reason::NoNode), None));
    let error = task.error.unwrap();
    assert!(error.contains("node"), "{error}");
}
