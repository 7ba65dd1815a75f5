//! An Engine that is killed, hangs or isn't there yet: what ran is reported as the Engine itself tells it afterwards,
//! what is new waits, and everything runs once. On a second Docker Engine, because the machine's own has others to serve.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::path::Path;
use std::time::SystemTime;

use podling::api::wire::task::TaskView;
use podling::model::task::{Reason, TaskStatus};
use podling::model::time::WallTime;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::dockerd::Dockerd;
use support::events::Events;
use support::part::wait_until;
use support::{Cluster, MasterOptions, WorkerOptions, obeys, script};

/// A cluster with one node, on this Engine.
fn cluster_on(engine: &Dockerd) -> Cluster {
    let mut cluster = Cluster::start(MasterOptions::default());
    let options = WorkerOptions { engine_host: Some(engine.host()), ..WorkerOptions::default() };
    cluster.start_worker("worker-1", options);
    cluster
}

fn running(cluster: &Cluster, spec: &Value) -> TaskView {
    cluster.wait_for_running(cluster.create(spec).task_id.as_str())
}

fn inspect(engine: &Dockerd, task: &TaskView) -> Value {
    engine.api().inspect(task.container_id.as_ref().unwrap().as_str()).expect("it is still there")
}

/// The node's only flaw, in words.
fn flaw(cluster: &Cluster) -> Option<String> {
    cluster.node("worker-1").unwrap().detail
}

fn wait_for_flaw(cluster: &Cluster) {
    wait_until("the master knows that the engine does not answer", || {
        flaw(cluster).as_deref() == Some("its engine does not answer")
    });
}

/// That a task waits for a node, and says so.
fn wait_while_pending(cluster: &Cluster, id: &str) {
    let task = cluster.wait_for(id, "it says why it waits", |task| task.detail.is_some());
    assert_eq!((task.status, task.node_id), (TaskStatus::Pending, None));
}

/// When the Engine says that a container ended, to the millisecond.
fn finished_at(state: &Value) -> WallTime {
    let at = humantime::parse_rfc3339(state["FinishedAt"].as_str().unwrap()).unwrap();
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    WallTime::from_unix_millis(since_1970.as_millis().try_into().unwrap())
}

/// That each of these runs, at its first attempt, in its only container.
fn each_runs_once(cluster: &Cluster, engine: &Dockerd, ids: &[&str]) {
    for id in ids {
        let task = cluster.wait_for_running(id);
        assert_eq!(task.attempt.0, 1, "{task:?}");
        let containers = engine.api().containers_of(&cluster.id);
        let own: Vec<_> = containers.iter().filter(|container| container.task == *id).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(own[0].id, task.container_id.unwrap().as_str());
        assert_eq!(own[0].state, "running");
    }
}

/// A task whose first process ends with this code once it gets USR1.
fn ends_on_usr1(name: &str, code: i32) -> Value {
    script(name, &format!("trap 'exit {code}' USR1; while :; do usleep 20000; done"))
}

#[test]
fn an_engine_that_is_killed_says_afterwards_what_became_of_its_containers() {
    let mut engine = Dockerd::with_image();
    let cluster = cluster_on(&engine);
    // It ignores TERM: an Engine that starts again ends what it finds running as a stop does.
    let deaf = running(&cluster, &script("deaf", "while :; do usleep 50000; done"));
    let obedient = running(&cluster, &obeys("obedient", 5));
    let ends = running(&cluster, &ends_on_usr1("ends", 7));
    let first = Pid::from_raw(inspect(&engine, &ends)["State"]["Pid"].as_i64().unwrap().try_into().unwrap());
    let first = first.unwrap();

    engine.kill9();
    let at_once = cluster.create(&obeys("at-once", 0)).task_id.to_string();
    wait_until("one ends while there is no Engine", || {
        let _ = kill_process(first, Signal::USR1);
        !Path::new(&format!("/proc/{}", first.as_raw_nonzero())).exists()
    });
    wait_for_flaw(&cluster);
    let later = cluster.create(&obeys("later", 0)).task_id.to_string();
    wait_while_pending(&cluster, &later);
    for task in [&deaf, &obedient, &ends] {
        let now = cluster.task(task.task_id.as_str());
        assert_eq!(now.status, TaskStatus::Running, "nobody can know better: {now:?}");
    }

    // The worker stands still until the Engine was asked: it removes what has ended.
    cluster.worker("worker-1").stand_still();
    engine.start();
    let events = Events::of(&engine.api(), &cluster.id);
    let told = [&deaf, &obedient, &ends].map(|task| inspect(&engine, task)["State"].clone());
    cluster.worker("worker-1").go_on();
    assert_eq!((&told[0]["ExitCode"], &told[2]["ExitCode"]), (&json!(137), &json!(7)), "{told:?}");
    for (task, told) in [&deaf, &obedient, &ends].into_iter().zip(&told) {
        let end = cluster.wait_for_end(task.task_id.as_str());
        assert_eq!((end.status, end.reason), (TaskStatus::Failed, Some(Reason::ExitCode)), "{end:?}");
        assert_eq!(json!(end.exit_code), told["ExitCode"], "{end:?}");
        assert_eq!((end.attempt.0, end.finished_at), (1, Some(finished_at(told))), "{end:?}");
    }
    each_runs_once(&cluster, &engine, &[&at_once, &later]);
    wait_until("the master knows that it answers", || flaw(&cluster).is_none());
    let tally = events.tally();
    for id in [&at_once, &later] {
        let done = tally[&format!("{id}/1")];
        assert_eq!((done.made, done.started), (1, 1), "{id}: {done:?}");
    }
}

#[test]
fn an_engine_that_hangs_gets_nothing_new_and_loses_nothing() {
    let engine = Dockerd::with_image();
    let cluster = cluster_on(&engine);
    let events = Events::of(&engine.api(), &cluster.id);
    let runs = running(&cluster, &obeys("runs", 5));
    let started_at = inspect(&engine, &runs)["State"]["StartedAt"].clone();

    engine.stand_still();
    // It may be placed before anybody knows: then its creation is what hangs.
    let at_once = cluster.create(&obeys("at-once", 0)).task_id.to_string();
    wait_for_flaw(&cluster);
    let later = cluster.create(&obeys("later", 0)).task_id.to_string();
    wait_while_pending(&cluster, &later);
    for id in [runs.task_id.as_str(), &at_once] {
        assert!(!cluster.task(id).status.is_terminal(), "{:?}", cluster.task(id));
    }

    engine.go_on();
    each_runs_once(&cluster, &engine, &[runs.task_id.as_str(), &at_once, &later]);
    wait_until("the master knows that it answers", || flaw(&cluster).is_none());
    let now = cluster.task(runs.task_id.as_str());
    assert_eq!((&now.container_id, now.started_at), (&runs.container_id, runs.started_at));
    assert_eq!(inspect(&engine, &runs)["State"]["StartedAt"], started_at);
    assert!(events.tally().values().all(|done| (done.made, done.started) == (1, 1)), "{:?}", events.tally());
    cluster.stop(runs.task_id.as_str(), 30_000);
    let end = cluster.wait_for_end(runs.task_id.as_str());
    assert_eq!((end.status, end.exit_code), (TaskStatus::Stopped, Some(5)), "{end:?}");
}

#[test]
fn an_engine_that_is_not_there_yet_is_waited_for() {
    let mut engine = Dockerd::with_image();
    engine.kill9();
    let cluster = cluster_on(&engine);
    wait_for_flaw(&cluster);
    assert_eq!(cluster.node("worker-1").unwrap().engine, "unknown");
    assert!(cluster.worker("worker-1").log().contains("the engine does not answer"));
    let early = cluster.create(&obeys("early", 0)).task_id.to_string();
    wait_while_pending(&cluster, &early);

    engine.start();
    each_runs_once(&cluster, &engine, &[&early]);
    wait_until("the node tells which Engine it has", || {
        cluster.node("worker-1").unwrap().engine.starts_with("docker ")
    });
    assert_eq!(flaw(&cluster), None);
}
