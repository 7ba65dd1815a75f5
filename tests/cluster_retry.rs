//! Trying again, as its user sees it: the back-off, what was tried before, and the logs of all attempts, wherever they
//! are and whoever died meanwhile.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use podling::api::routes;
use podling::api::wire::task::TaskView;
use podling::model::node::NodeStatus;
use podling::model::task::{Reason, TaskStatus};
use serde_json::{Value, json};
use support::docker;
use support::part::{LONG, wait_until};
use support::{Cluster, MasterOptions, Said, WorkerOptions, obeys, script};

/// A task that is tried again, and writes a word that nothing else ever writes, in each try.
fn tries(name: &str, policy: Value, then: &str) -> Value {
    let mut spec = script(name, &format!("cat /proc/sys/kernel/random/uuid; echo tried >&2; {then}"));
    spec["restart"] = policy;
    spec
}

fn on_failure(max: u32) -> Value {
    json!({"policy": "on-failure", "max": max})
}

/// `podling logs -f`, beside the test. What it says fits a pipe.
struct Follower {
    child: Child,
    out: BufReader<ChildStdout>,
    shown: String,
}

impl Follower {
    fn of(cluster: &Cluster, id: &str) -> Self {
        let mut command = cluster.podling_command(&cluster.master.url(), &["logs", "-f", id]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, shown: String::new() }
    }

    /// Waits until it has shown one line more, or ended.
    fn shows_a_line(&mut self) {
        self.out.read_line(&mut self.shown).unwrap();
    }

    /// Waits for its end.
    fn said(mut self) -> Said {
        self.out.read_to_string(&mut self.shown).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Said { code: output.status.code(), stdout: self.shown, stderr }
    }
}

/// What stands on stderr where these attempts were tried on these nodes.
fn told(nodes: &[&str]) -> String {
    let one = |(attempt, node): (usize, &&str)| format!("--- attempt {attempt} on {node} ---\ntried\n");
    (1..).zip(nodes).map(one).collect()
}

/// The same of a follower who may have seen the first attempt while it was the only one, and so without a heading.
fn told_live(stderr: &str, nodes: &[&str]) -> bool {
    let whole = told(nodes);
    let (_, without_first) = whole.split_once('\n').unwrap();
    [whole.as_str(), without_first].contains(&stderr)
}

#[track_caller]
fn waits_again(cluster: &Cluster, id: &str, attempt: u32) -> TaskView {
    cluster.wait_for(id, "it waits for its next try", |task| {
        task.status == TaskStatus::Pending && task.attempt.0 == attempt
    })
}

/// The lines of the table of what was tried before, in words.
fn table(cluster: &Cluster, id: &str) -> Vec<Vec<String>> {
    let sheet = cluster.podling_ok(&["ps", "--task", id]);
    let (_, table) = sheet.split_once("\n\n").unwrap_or_else(|| panic!("no table: {sheet}"));
    table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn each_try_is_kept_with_its_log_and_the_wait_for_the_next_is_shown() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let id = cluster.create(&tries("fails", on_failure(2), "exit 7")).task_id.to_string();
    let follower = Follower::of(&cluster, &id);
    cluster.start_worker("worker-1", WorkerOptions::default());
    for says in ["pending: backoff 1s (exit 7, try 1)", "pending: backoff 2s (exit 7, try 2)"] {
        wait_until("ps shows the back-off", || cluster.podling_ok(&["ps"]).contains(says));
        assert!(cluster.podling_ok(&["ps", "--task", &id]).contains(says), "in full as well");
    }
    let while_it_waits = cluster.podling(&["logs", &id]);
    assert_eq!(cluster.podling(&["wait", &id]).code, Some(7), "the last try's code");
    let end = cluster.task(&id);
    assert_eq!((end.status, end.reason, end.attempt.0), (TaskStatus::Failed, Some(Reason::ExitCode), 3));

    let live = follower.said();
    assert!(live.code == Some(0) && told_live(&live.stderr, &["worker-1"; 3]), "{live:?}");
    let words: Vec<&str> = live.stdout.lines().collect();
    assert_eq!(words.len(), 3, "{words:?}");
    let line = |attempt: usize| format!("{}\n", words[attempt - 1]);
    assert_eq!((while_it_waits.code, while_it_waits.stdout), (Some(0), line(2)), "the last that has one");

    wait_until("its containers are gone", || cluster.containers().is_empty());
    let after = cluster.podling(&["logs", "-f", &id]);
    assert_eq!((after.code, after.stdout), (Some(0), live.stdout.clone()));
    assert_eq!(after.stderr, told(&["worker-1"; 3]));
    assert_eq!(cluster.podling_ok(&["logs", &id]), line(3));
    assert_eq!(cluster.podling_ok(&["logs", "-f", "--tail", "2", &id]), line(3), "the last attempt's alone");
    for attempt in 1..=3 {
        let number = attempt.to_string();
        for flags in
            [&["--attempt", &*number][..], &["-f", "--attempt", &number], &["--direct", "--attempt", &number]]
        {
            let said = cluster.podling(&[&["logs", &*id], flags].concat());
            assert_eq!(
                (said.code, said.stdout, said.stderr.as_str()),
                (Some(0), line(attempt), "tried\n"),
                "{flags:?}"
            );
        }
    }
    let never = cluster.podling(&["logs", "--attempt", "4", &id]);
    assert!(never.code == Some(1) && never.stderr.contains("there is no attempt 4"), "{never:?}");
    let problem = cluster.refusal("GET", &format!("{}?attempt=4", routes::task_logs(&id)), None);
    assert_eq!((problem.status, problem.code.as_ref()), (404, "attempt_not_found"));

    let lines = table(&cluster, &id);
    assert_eq!(lines[0].join(" "), "ATTEMPT NODE STARTED ENDED EXIT REASON");
    let short: Vec<String> =
        lines[1..].iter().map(|line| format!("{} {} {} {}", line[0], line[1], line[4], line[5])).collect();
    assert_eq!(short, ["1 worker-1 7 exit_code", "2 worker-1 7 exit_code"]);
    let inspected: Value = serde_json::from_str(&cluster.podling_ok(&["inspect", &id])).unwrap();
    assert_eq!(inspected["attempts"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_is_always_tried_again_ends_when_it_is_told_to() {
    let cluster = Cluster::with_workers(1);
    let always = json!({"policy": "always"});
    let id = cluster.create(&tries("again", always, "exit 0")).task_id.to_string();
    let follower = Follower::of(&cluster, &id);
    waits_again(&cluster, &id, 3);
    assert_eq!(cluster.podling(&["stop", &id]).code, Some(0));
    let end = cluster.wait_for_end(&id);
    assert_eq!((end.status, end.attempts.len() >= 2), (TaskStatus::Stopped, true), "{end:?}");
    let said = follower.said();
    assert_eq!((said.code, said.stdout.lines().count()), (Some(0), end.attempts.len()), "{said:?}");
}

#[test]
fn a_try_that_ran_out_of_memory_says_so() {
    let cluster = Cluster::with_workers(1);
    // Its shell lives on for a moment, as in tests/cluster_day.rs.
    let mut eats = script("eats", "tail /dev/zero; code=$?; sleep 1; exit $code");
    eats["memory_bytes"] = json!(16 << 20);
    eats["restart"] = on_failure(1);
    let id = cluster.create(&eats).task_id.to_string();
    let waits = waits_again(&cluster, &id, 2);
    assert_eq!(waits.detail.as_deref(), Some("backoff 1s (exit 137, oom, try 1)"));
    assert_eq!(cluster.podling(&["wait", &id]).code, Some(137));
    assert_eq!(table(&cluster, &id)[1][4..], ["137", "oom_killed"]);
}

#[test]
fn a_worker_that_is_killed_between_two_tries_loses_no_log() {
    let mut cluster = Cluster::with_workers(1);
    let id = cluster.create(&tries("fails", on_failure(2), "exit 3")).task_id.to_string();
    let follower = Follower::of(&cluster, &id);
    waits_again(&cluster, &id, 2);
    cluster.worker_mut("worker-1").kill9();
    cluster.start_worker_again("worker-1");
    let end = cluster.wait_for_end(&id);
    assert_eq!((end.attempt.0, end.exit_code), (3, Some(3)), "{end:?}");
    let (live, after) = (follower.said(), cluster.podling(&["logs", "-f", &id]));
    assert!(live.code == Some(0) && told_live(&live.stderr, &["worker-1"; 3]), "{live:?}");
    assert_eq!((after.code, after.stderr), (Some(0), told(&["worker-1"; 3])));
    assert_eq!((live.stdout.lines().count(), &live.stdout), (3, &after.stdout));
}

/// The whole answer to a GET, as it came.
fn raw(cluster: &Cluster, path: &str) -> String {
    let mut socket = TcpStream::connect(cluster.master.address).unwrap();
    let accept = "Accept: application/x-ndjson\r\nConnection: close\r\n";
    let shown = cluster.authorization();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n{shown}{accept}\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_is_on_a_node_that_is_away_is_named_and_the_rest_is_shown() {
    let mut cluster = Cluster::with_workers(1);
    let id = cluster.create(&tries("moves", on_failure(1), "exit 3")).task_id.to_string();
    let cordoned = routes::node("worker-1") + "/availability";
    waits_again(&cluster, &id, 2);
    cluster.ask("POST", &cordoned, Some(json!({"availability": "cordoned"}))).unwrap();
    cluster.start_worker("worker-2", WorkerOptions::default());
    let end = cluster.wait_for_end(&id);
    assert_eq!(end.attempts[0].node_id.as_str(), "worker-1");
    let second = end.node_id.unwrap();
    let both = cluster.podling(&["logs", "-f", &id]);
    assert_eq!((both.code, both.stderr), (Some(0), told(&["worker-1", second.as_str()])));
    assert_eq!(second.as_str(), "worker-2");
    let line = |number: usize| both.stdout.lines().nth(number - 1).unwrap().to_owned() + "\n";

    assert!(cluster.worker_mut("worker-1").terminate().success());
    let said = cluster.podling(&["logs", "-f", &id]);
    assert_eq!((said.code, said.stdout), (Some(1), line(2)), "{}", said.stderr);
    let (first, rest) = said.stderr.split_once("podling: worker-1 can't be reached: ").unwrap();
    assert_eq!(first, "--- attempt 1 on worker-1 ---\n");
    assert!(rest.ends_with("\n--- attempt 2 on worker-2 ---\ntried\n"), "{rest}");
    assert_eq!(cluster.podling_ok(&["logs", &id]), line(2), "the last one is there");
    let said = cluster.podling(&["logs", "--attempt", "1", &id]);
    assert!(
        said.code == Some(1) && said.stderr.starts_with("podling: worker-1 can't be reached: "),
        "{said:?}"
    );

    let answer = raw(&cluster, &format!("{}?attempt=1", routes::task_logs(&id)));
    assert!(answer.contains("{\"notice\":\"worker-1 can't be reached: "), "{answer}");
    assert!(answer.contains(",\"attempt\":1}\n"), "{answer}");
    assert!(answer.ends_with("0\r\nPodling-Incomplete: 1\r\n\r\n"), "{answer}");
}

/// Whether a worker keeps a log of a task.
fn keeps(data: &Path, task: &str) -> bool {
    let files = std::fs::read_dir(data.join("logs")).unwrap();
    files.flatten().any(|file| file.file_name().to_string_lossy().contains(task))
}

#[test]
fn a_lost_nodes_attempt_has_its_log_there_until_the_task_is_removed() {
    // Short enough to be waited for, long enough for a busy machine: the second worker must not be lost.
    let mut cluster = Cluster::start(MasterOptions { node_timeout_ms: 5_000, ..MasterOptions::default() });
    cluster.start_worker("worker-1", WorkerOptions::default());
    let mut spec = script("moves", "cat /proc/sys/kernel/random/uuid; trap 'exit 0' TERM; sleep 600 & wait");
    spec["on_node_lost"] = json!("reschedule");
    let id = cluster.create(&spec).task_id.to_string();
    cluster.wait_for_running(&id);
    wait_until("it has written", || !cluster.log(&id, "").is_empty());
    let first = cluster.log(&id, "");
    let mut follower = Follower::of(&cluster, &id);
    follower.shows_a_line();
    cluster.start_worker("worker-2", WorkerOptions::default());
    cluster.worker_mut("worker-1").kill9();
    cluster
        .wait_for(&id, "it runs elsewhere", |task| task.attempt.0 == 2 && task.status == TaskStatus::Running);
    let away = cluster.podling(&["logs", "--attempt", "1", &id]);
    assert_eq!(
        (away.code, away.stderr.as_str()),
        (Some(1), "podling: worker-1 can't be reached: it is offline\n")
    );

    cluster.start_worker_again("worker-1");
    cluster.wait_for_node("worker-1", NodeStatus::Online);
    wait_until("its log has come to the disk", || keeps(&cluster.data_of("worker-1"), &id));
    assert_eq!(cluster.log(&id, "?attempt=1"), first);
    cluster.stop(&id, 10_000);
    cluster.wait_for_end(&id);
    let said = cluster.podling(&["logs", "-f", &id]);
    assert_eq!(
        (said.code, said.stderr.as_str()),
        (Some(0), "--- attempt 1 on worker-1 ---\n--- attempt 2 on worker-2 ---\n")
    );
    assert!(said.stdout.starts_with(&first) && said.stdout.lines().count() == 2, "{}", said.stdout);
    let live = follower.said();
    assert_eq!(live.stdout, said.stdout, "each line once: {}", live.stderr);

    wait_until("both have it", || {
        ["worker-1", "worker-2"].iter().all(|node| keeps(&cluster.data_of(node), &id))
    });
    cluster.podling_ok(&["rm", &id]);
    wait_until("neither has it", || {
        ["worker-1", "worker-2"].iter().all(|node| !keeps(&cluster.data_of(node), &id))
    });
}

#[test]
fn an_order_that_comes_late_ends_no_later_attempt() {
    let cluster = Cluster::with_workers(1);
    let mut spec = obeys("again", 0);
    spec["restart"] = on_failure(2);
    let id = cluster.create(&spec).task_id.to_string();
    let worker = cluster.client_of("worker-1");
    let order = |attempt: u32| {
        let body = json!({"attempt": attempt, "grace_ms": 0});
        worker.post::<Value>(&routes::task_stop(&id), &body, LONG, false).map_err(|error| error.to_string())
    };
    let runs = |number| {
        let is_it = |task: &TaskView| task.attempt.0 == number && task.status == TaskStatus::Running;
        cluster.wait_for(&id, "it runs", is_it).container_id.unwrap()
    };
    docker::kill(runs(1).as_str());
    let second = runs(2);
    // It knows of the first one, or doesn't any more; either way there is nothing to end.
    let told = order(1);
    assert!(told.as_ref().map_or_else(|why| why.contains("holds no task"), |_| true), "{told:?}");
    docker::kill(second.as_str());
    runs(3);
    order(3).unwrap();
    let end = cluster.wait_for_end(&id);
    let reasons: Vec<_> = end.attempts.iter().map(|past| past.reason).collect();
    assert_eq!((reasons, end.reason), (vec![Some(Reason::ExitCode); 2], Some(Reason::Stopped)));
}
