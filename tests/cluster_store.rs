//! A real master whose disk runs full, is killed, and comes back: nothing acknowledged is lost, reads and heartbeats go
//! on, and changes are taken again by themselves.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;
#[path = "support/tmpfs.rs"]
mod tmpfs;

use std::collections::BTreeSet;
use std::time::Duration;

use podling::api::routes;
use podling::http::ClientError;
use podling::model::node::NodeStatus;
use podling::model::task::TaskStatus;
use podling::runtime::clock;
use serde_json::{Value, json};
use support::part::{LONG, wait_until, within};
use support::{Cluster, MasterOptions, WorkerOptions};
use tmpfs::{Filler, Tmpfs};

/// A hollow task with something in its environment, so that a disk is soon full.
fn task(run_ms: u64, bytes: usize) -> Value {
    let env = json!({"HOLLOW_RUN_MS": run_ms.to_string(), "FILL": "x".repeat(bytes)});
    json!({"name": "t", "image": "hollow/task", "network": "none", "env": env})
}

/// Creates a task; its id, or the problem that came instead.
fn create(cluster: &Cluster, spec: &Value) -> Result<String, (u16, String)> {
    match cluster.ask("POST", routes::TASKS, Some(spec.clone())) {
        Ok(reply) => Ok(reply.json::<Value>().unwrap()["task_id"].as_str().unwrap().to_owned()),
        Err(ClientError::Refused(problem)) => Err((problem.status, problem.code.into_owned())),
        Err(error) => panic!("{error}"),
    }
}

/// Creates tasks, big ones and small ones, until the disk has taken none for longer than the master waits before it
/// tries again. Whatever becomes free meanwhile is taken: a store that failed may give some room back.
fn create_until_full(cluster: &Cluster, filler: &Filler, acknowledged: &mut BTreeSet<String>) {
    let mut refusals = 0;
    for number in 0.. {
        match create(cluster, &task(0, if number % 2 == 0 { 8_000 } else { 0 })) {
            Ok(id) => {
                acknowledged.insert(id);
                refusals = 0;
            }
            Err(refused) => {
                assert_eq!(refused, (507, "store_full".to_owned()));
                refusals += 1;
                filler.take_what_is_left();
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        if refusals >= 130 {
            return;
        }
        assert!(number < 20_000, "the disk never ran full");
    }
}

fn ids(cluster: &Cluster) -> BTreeSet<String> {
    cluster.tasks().iter().map(|task| task.task_id.to_string()).collect()
}

#[test]
fn a_full_disk_refuses_changes_keeps_all_else_going_and_heals_by_itself() {
    let disk = Tmpfs::mount("8m");
    let options = MasterOptions { node_timeout_ms: 1_500, ..MasterOptions::default() };
    let mut cluster = Cluster::start_where(options, |data| {
        std::os::unix::fs::symlink(disk.path(), data).unwrap();
    });
    cluster.start_worker("worker-1", WorkerOptions { engine: "hollow", ..WorkerOptions::default() });
    let ends_meanwhile = create(&cluster, &task(2_000, 0)).unwrap();
    let runs_on = create(&cluster, &task(600_000, 0)).unwrap();
    let mut acknowledged = BTreeSet::from([ends_meanwhile.clone(), runs_on.clone()]);
    cluster.wait_for_running(&ends_meanwhile);
    cluster.wait_for_running(&runs_on);

    let filler = disk.fill();
    create_until_full(&cluster, &filler, &mut acknowledged);
    let (since, mut refusals) = (clock::mono(), 0);
    while clock::mono().since(since) < Duration::from_millis(3_500) {
        assert_eq!(cluster.ask("GET", "/healthz", None).unwrap().status, 200);
        assert_eq!(ids(&cluster), acknowledged);
        assert_eq!(cluster.node("worker-1").unwrap().status, NodeStatus::Online);
        filler.take_what_is_left();
        match create(&cluster, &task(0, 0)) {
            Ok(id) => drop(acknowledged.insert(id)),
            Err(refused) => {
                assert_eq!(refused, (507, "store_full".to_owned()));
                refusals += 1;
            }
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(refusals > 20, "{refusals}");

    drop(filler);
    let made = within(LONG, "changes are taken again", || create(&cluster, &task(0, 0)).ok());
    acknowledged.insert(made);
    wait_until("all but one have ended", || {
        cluster.tasks().iter().filter(|task| !task.status.is_terminal()).count() == 1
    });
    assert_eq!(cluster.task(&ends_meanwhile).status, TaskStatus::Completed);
    assert_eq!(cluster.task(&runs_on).status, TaskStatus::Running, "its node was never lost");
    let said = |words: &str| cluster.master.log().matches(words).count();
    let (begun, ended) = (said("changes are refused until they can"), said("changes are stored again"));
    assert!(begun == ended && (1..20).contains(&begun), "said {begun} and {ended} times");

    cluster.master.kill9();
    cluster.start_master_again();
    assert_eq!(ids(&cluster), acknowledged);
    assert_eq!(cluster.task(&ends_meanwhile).status, TaskStatus::Completed);
}

#[test]
fn a_master_killed_while_its_disk_is_full_has_all_that_it_acknowledged() {
    let disk = Tmpfs::mount("8m");
    let mut cluster = Cluster::start_where(MasterOptions::default(), |data| {
        std::os::unix::fs::symlink(disk.path(), data).unwrap();
    });
    let mut acknowledged = BTreeSet::from([create(&cluster, &task(0, 0)).unwrap()]);
    let filler = disk.fill();
    create_until_full(&cluster, &filler, &mut acknowledged);
    cluster.master.kill9();
    drop(filler);
    cluster.start_master_again();
    assert_eq!(ids(&cluster), acknowledged);
}
