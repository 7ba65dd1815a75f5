//! The audit, as whoever runs a cluster reads it: who changed what, and who was not allowed to.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use podling::http::Client;
use serde_json::{Value, json};
use support::part::{LONG, wait_until};
use support::{Cluster, MasterOptions, WorkerOptions, script};

fn lines(cluster: &Cluster) -> Vec<Value> {
    let said = cluster.podling(&["audit", "--verify"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.stderr, format!("podling: {} lines, each follows the one before\n", lines.len()));
    lines
}

fn told(line: &Value) -> (String, Vec<String>, bool) {
    let subjects = line["subjects"].as_array().into_iter().flatten();
    let subjects = subjects.map(|subject| subject.as_str().unwrap().to_owned()).collect();
    (line["action"].as_str().unwrap().to_owned(), subjects, line["allowed"].as_bool().unwrap())
}

#[test]
fn whatever_somebody_changes_is_there_in_order_also_after_the_master_was_killed() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let hollow = WorkerOptions { engine: "hollow", ..WorkerOptions::default() };
    cluster.start_worker("worker-1", hollow);
    let begun = lines(&cluster).len();
    let id = cluster.create(&script("web", "true")).task_id.to_string();
    cluster.stop(&id, 0);
    cluster.wait_for_end(&id);
    cluster.podling_ok(&["node", "cordon", "worker-1"]);
    cluster.podling_ok(&["rm", &id]);
    cluster.create_equals(20, script("many", "true"));

    let stranger = Client::new(&cluster.master.url()).unwrap().with_token("pdl_nobody");
    let refused = stranger.post::<Value>("/api/v1/tasks", &json!({}), LONG, false).unwrap_err();
    assert_eq!(refused.problem().unwrap().status, 401);
    // A refusal changed nothing: nobody waits until it is written down.
    wait_until("the refusal is kept", || lines(&cluster).len() == begun + 6);

    cluster.master.kill9();
    cluster.start_master_again();
    let all = lines(&cluster);
    let new: Vec<_> = all[begun..].iter().map(told).collect();
    let deed = |action: &str, subject: &str| (action.to_owned(), vec![subject.to_owned()], true);
    assert_eq!(new[0], deed("task.create", &id));
    assert_eq!(new[1], deed("task.stop", &id));
    assert_eq!(new[2], deed("node.cordoned", "worker-1"));
    assert_eq!(new[3], deed("task.remove", &id));
    assert_eq!((new[4].0.as_str(), new[4].1[1].as_str()), ("task.create", "20 tasks"));
    assert_eq!(new[5], ("POST /api/v1/tasks".to_owned(), vec![], false));
    let (last, made) = (&all[begun + 5], &all[begun]);
    assert_eq!((&last["actor"], &last["code"]), (&json!("unknown"), &json!("unknown_token")));
    assert!(made["actor"] == "user" && made["token_id"].is_string(), "{made}");
    assert!(made["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{made}");
    assert_eq!(new.len(), 6, "what nodes and the scheduler do is no deed of anybody: {new:#?}");

    let later = cluster.create(&script("later", "true")).task_id.to_string();
    let all = lines(&cluster);
    assert_eq!(told(all.last().unwrap()), deed("task.create", &later), "the chain goes on");
    let number = all.last().unwrap()["number"].as_u64().unwrap();
    assert_eq!(number, all.len() as u64, "without a gap");
}
