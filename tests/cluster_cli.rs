//! The command line on a real cluster: what scripts rely on, its exit codes and what it prints where.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::net::TcpListener;

use podling::model::task::TaskStatus;
use serde_json::Value;
use support::docker::IMAGE;
use support::part::wait_until;
use support::{Cluster, MasterOptions};

/// `podling run` of a script, with more flags.
fn run<'a>(name: &'a str, flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    let mut words = vec!["run", name, "--image", IMAGE, "--network", "none"];
    words.extend(flags);
    words.extend(["--", "sh", "-c", script]);
    words
}

#[test]
fn a_run_that_waits_ends_with_the_tasks_exit_code() {
    let cluster = Cluster::with_workers(1);
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("sh -c 'kill -9 $$'; exit $?", 137)] {
        let said = cluster.podling(&run("t", &["--wait"], script));
        assert_eq!(said.code, Some(code), "{script}: {said:?}");
        assert!(said.stdout.contains("Task created: "), "{said:?}");
    }
    for (command, code) in [("/no/such/command", 127), ("/etc/passwd", 126)] {
        let words = ["run", "t", "--image", IMAGE, "--network", "none", "--wait", "--", command];
        assert_eq!(cluster.podling(&words).code, Some(code), "{command}");
    }
    let missing = ["run", "t", "--image", "127.0.0.1:1/nobody/listens:1", "--wait"];
    let said = cluster.podling(&missing);
    assert_eq!(said.code, Some(125), "{said:?}");
    assert!(said.stderr.contains("connection refused"), "{said:?}");
    let said = cluster.podling(&run("t", &["--follow"], "echo out; echo err >&2; exit 4"));
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.stdout.contains("out\n") && said.stderr.contains("err\n"), "{said:?}");
}

#[test]
fn a_task_is_run_listed_looked_at_stopped_and_removed() {
    let cluster = Cluster::with_workers(1);
    let flags =
        ["-e", "K=a=b", "-l", "team=a", "-u", "65534", "-w", "/tmp", "--memory", "64Mi", "--cpu", "500m"];
    let script = "echo \"$K $(id -u) $(pwd)\"; trap 'exit 3' TERM; sleep 600 & wait";
    let said = cluster.podling_ok(&run("web", &flags, script));
    let id = said.lines().find_map(|line| line.strip_prefix("Task created: ")).unwrap().trim().to_owned();
    let task = cluster.wait_for_running("web");
    assert_eq!(task.task_id.as_str(), id);
    assert_eq!((task.spec.cpu_millis, task.spec.memory_bytes), (Some(500), Some(64 << 20)));
    wait_until("it has said who it is", || cluster.podling_ok(&["logs", "web"]) == "a=b 65534 /tmp\n");

    assert_eq!(cluster.podling_ok(&["ps", "-q"]), format!("{id}\n"));
    assert_eq!(cluster.podling_ok(&["ps", "-q", "-l", "team=b"]), "");
    assert_eq!(
        cluster.podling_ok(&["ps", "-q", "--node", "worker-1", "--status", "running"]),
        format!("{id}\n")
    );
    let listed = cluster.podling_ok(&["ps"]);
    assert!(["web", "running", "worker-1"].iter().all(|word| listed.contains(word)), "{listed}");
    assert!(!listed.contains('\u{1b}'), "no colour where there is no terminal: {listed:?}");
    let nodes = cluster.podling_ok(&["nodes"]);
    assert!(["worker-1", "online"].iter().all(|word| nodes.contains(word)), "{nodes}");
    let seen: Value = serde_json::from_str(&cluster.podling_ok(&["inspect", "web"])).unwrap();
    assert_eq!((&seen["task_id"], &seen["status"]), (&Value::from(id.as_str()), &"running".into()));

    assert_eq!(cluster.podling(&["wait", "--timeout", "300ms", &id]).code, Some(124));
    assert_eq!(cluster.podling(&["rm", &id]).code, Some(1), "it lives");
    cluster.podling_ok(&["stop", &id]);
    assert_eq!(cluster.task(&id).status, TaskStatus::Stopped, "a stop waits for the end");
    assert_eq!(cluster.podling(&["wait", &id]).code, Some(3), "the Engine's own code");
    assert_eq!(cluster.podling_ok(&["ps", "-q", "--all"]), format!("{id}\n"));
    cluster.podling_ok(&["rm", "web"]);
    assert_eq!(cluster.podling_ok(&["ps", "-q", "--all"]), "");
    let said = cluster.podling(&["inspect", &id]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.stderr.contains(&id), "it names what it didn't find: {said:?}");
}

#[test]
fn a_batch_is_waited_for_as_one() {
    let cluster = Cluster::with_workers(1);
    let said = cluster.podling(&run("good", &["--count", "3", "--wait"], "echo \"$PODLING_INDEX\""));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(cluster.podling_ok(&["logs", "good-2"]), "2\n");
    let said = cluster.podling(&run("mixed", &["--count", "3", "--wait"], "exit $PODLING_INDEX"));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(cluster.podling(&["wait", "mixed-2"]).code, Some(2));
    assert_eq!(cluster.podling(&["wait", "mixed-0", "good-1"]).code, Some(0));
    assert_eq!(cluster.podling(&["wait", "mixed-0", "mixed-1"]).code, Some(1));
}

#[test]
fn what_can_not_be_done_is_1_and_what_can_not_be_read_is_2() {
    let cluster = Cluster::start(MasterOptions::default());
    for (words, says) in [
        (vec!["fly"], "fly"),
        (vec!["ps", "--colour"], "--colour"),
        (vec!["run", "web"], "--image"),
        (vec!["run", "web", "--image", IMAGE, "--memory", "lots"], "lots"),
        (vec!["stop"], ""),
        (vec!["wait", "--timeout", "soon", "web"], "soon"),
    ] {
        let said = cluster.podling(&words);
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{words:?}: {said:?}");
        assert!(!said.stderr.is_empty() && said.stderr.contains(says), "{words:?}: {said:?}");
    }
    for words in
        [vec!["logs", "nobody"], vec!["stop", "nobody"], vec!["rm", "nobody"], vec!["wait", "nobody"]]
    {
        let said = cluster.podling(&words);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{words:?}: {said:?}");
        assert!(said.stderr.contains("nobody"), "{words:?}: {said:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = cluster.podling_at(&format!("http://{nobody}"), &["ps"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.stderr.contains(&nobody.to_string()), "{said:?}");
    assert!(cluster.tasks().is_empty());
}
