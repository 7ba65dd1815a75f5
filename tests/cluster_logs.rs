//! Logs on real Docker, by the API and by the command line: whole, in order, kept apart, followed to the end, there
//! when container and worker are gone, and gone when the task is.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod wire;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use podling::api::routes;
use podling::api::wire::log::{LogLine, LogStream};
use podling::model::node::NodeStatus;
use podling::model::task::TaskStatus;
use podling::runtime::clock;
use support::part::{wait_until, within};
use support::{Cluster, MasterOptions, Said, WorkerOptions, script};

/// I16 of the reliability rules.
const HEALTHZ_WITHIN: Duration = Duration::from_millis(500);

/// What a script that counts to `last` writes.
fn lines(first: u32, last: u32) -> String {
    (first..=last).fold(String::new(), |mut text, number| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "line {number}");
        text
    })
}

fn counts_to(last: u32) -> String {
    format!("seq 1 {last} | sed 's/^/line /'")
}

/// A long text is compared in one piece, and told in a few words.
#[track_caller]
fn is_text(what: &str, text: &str, expected: &str) {
    if text != expected {
        let differs = text.lines().zip(expected.lines()).position(|(is, should)| is != should);
        let (is, should) = (text.lines().count(), expected.lines().count());
        let at = differs.unwrap_or(is.min(should));
        let near: Vec<&str> = text.lines().skip(at.saturating_sub(1)).take(3).collect();
        panic!("{what}: {is} lines instead of {should}; they differ from line {at} on: {near:?}");
    }
}

#[track_caller]
fn is_whole(what: &str, said: &Said, expected: &str) {
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{what}");
    is_text(what, &said.stdout, expected);
}

/// Asks for a log of 20,000 lines in every way there is.
fn reads_in_every_way(cluster: &Cluster, id: &str, last: u32) {
    let whole = lines(1, last);
    is_text("the API", &cluster.log(id, ""), &whole);
    is_text("the API's tail", &cluster.log(id, "?tail=7"), &lines(last - 6, last));
    is_whole("logs", &cluster.podling(&["logs", id]), &whole);
    is_whole("--tail", &cluster.podling(&["logs", "--tail", "10", id]), &lines(last - 9, last));
    is_whole("--tail 0", &cluster.podling(&["logs", "--tail", "0", id]), "");
    is_whole("--direct", &cluster.podling(&["logs", "--direct", id]), &whole);
    let dated = cluster.podling_ok(&["logs", "--timestamps", id]);
    let (mut without, mut times) = (String::new(), Vec::new());
    for line in dated.lines() {
        let (time, rest) = line.split_once(' ').unwrap();
        times.push(time.to_owned());
        without.push_str(rest);
        without.push('\n');
    }
    is_text("--timestamps", &without, &whole);
    assert!(times.is_sorted(), "times go forwards");
    let today = podling::api::wire::format_time(clock::wall());
    assert!(times.iter().all(|time| time.starts_with(&today[..5]) && time.ends_with('Z')), "{}", times[0]);
}

#[test]
fn twenty_thousand_lines_are_whole_while_it_runs_and_when_container_and_worker_are_gone() {
    const LAST: u32 = 20_000;
    let mut cluster = Cluster::with_workers(1);
    let writes = format!("{}; trap 'exit 0' TERM; sleep 600 & wait", counts_to(LAST));
    let id = cluster.create(&script("writes", &writes)).task_id.to_string();
    cluster.wait_for_running(&id);
    within(Duration::from_secs(30), "it has written all", || {
        (cluster.log(&id, "?tail=1") == lines(LAST, LAST)).then_some(())
    });
    reads_in_every_way(&cluster, &id, LAST);

    // Three follow to its end. One of them has read all that there is while the task still runs.
    let path = format!("{}?follow=true", routes::task_logs(&id));
    let mut follower = cluster.client.stream(&path, &[], Duration::from_secs(60)).unwrap();
    let mut read = vec![0; lines(1, LAST).len()];
    follower.read_exact(&mut read).unwrap();
    is_text("follow", &String::from_utf8(read).unwrap(), &lines(1, LAST));
    assert_eq!(cluster.task(&id).status, TaskStatus::Running);
    let [by_master, direct] = std::thread::scope(|scope| {
        let by_master = scope.spawn(|| cluster.podling(&["logs", "-f", &id]));
        let direct = scope.spawn(|| cluster.podling(&["logs", "-f", "--direct", &id]));
        cluster.stop(&id, 30_000);
        [by_master.join().unwrap(), direct.join().unwrap()]
    });
    assert_eq!(follower.read(&mut [0]).unwrap(), 0, "it ends with its task");
    is_whole("-f", &by_master, &lines(1, LAST));
    is_whole("-f --direct", &direct, &lines(1, LAST));

    assert_eq!(cluster.wait_for_end(&id).status, TaskStatus::Stopped);
    wait_until("its container is gone", || cluster.containers().is_empty());
    reads_in_every_way(&cluster, &id, LAST);
    is_whole("-f of what has ended", &cluster.podling(&["logs", "-f", &id]), &lines(1, LAST));

    cluster.worker_mut("worker-1").kill9();
    cluster.start_worker_again("worker-1");
    // Its new start, at its new address, is what the master must know first.
    let port = cluster.worker("worker-1").address.port();
    wait_until("it is known again", || cluster.node("worker-1").is_some_and(|node| node.port == port));
    cluster.wait_for_node("worker-1", NodeStatus::Online);
    reads_in_every_way(&cluster, &id, LAST);
}

#[test]
fn a_follower_that_comes_before_the_task_starts_sees_all_and_ends_by_itself() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let slow = "for i in 1 2 3 4 5 6 7 8; do echo \"line $i\"; usleep 200000; done; exit 3";
    let id = cluster.create(&script("writes", slow)).task_id.to_string();
    assert_eq!(cluster.log(&id, ""), "", "there is none yet");
    let client = cluster.client.clone();
    std::thread::scope(|scope| {
        let path = format!("{}?follow=true", routes::task_logs(&id));
        let raw = scope.spawn(move || {
            let mut text = String::new();
            let mut stream = client.stream(&path, &[], Duration::from_secs(60)).unwrap();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let (master, id) = (cluster.master.url(), &id);
        let said = {
            let follower = cluster.podling_command(&master, &["logs", "-f", id]);
            scope.spawn(move || Said::of(follower))
        };
        cluster.start_worker("worker-1", WorkerOptions::default());
        is_text("the API", &raw.join().unwrap(), &lines(1, 8));
        is_whole("-f", &said.join().unwrap(), &lines(1, 8));
    });
    assert_eq!(cluster.task(&id).exit_code, Some(3), "a log ends when its task has");
}

#[test]
fn stdout_and_stderr_are_told_apart() {
    let cluster = Cluster::with_workers(1);
    let both = "echo out 1; echo err 1 >&2; echo out 2; printf 'err 2' >&2";
    let id = cluster.create(&script("both", both)).task_id.to_string();
    cluster.wait_for_end(&id);
    let said = cluster.podling(&["logs", &id]);
    assert_eq!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()),
        (Some(0), "out 1\nout 2\n", "err 1\nerr 2")
    );
    assert_eq!(cluster.log(&id, "?stream=stdout"), "out 1\nout 2\n");
    assert_eq!(cluster.log(&id, "?stream=stderr"), "err 1\nerr 2");
    let accept = [("Accept", "application/x-ndjson")];
    let mut stream =
        cluster.client.stream(&routes::task_logs(&id), &accept, Duration::from_secs(20)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let told: BTreeSet<(&str, Vec<u8>)> = text
        .lines()
        .map(|line| serde_json::from_str::<LogLine>(line).unwrap())
        .map(|line| (line.stream.map_or("none", LogStream::as_str), line.bytes().to_vec()))
        .collect();
    let expected = [("stderr", "err 1\n"), ("stderr", "err 2"), ("stdout", "out 1\n"), ("stdout", "out 2\n")];
    assert_eq!(told, expected.map(|(stream, line)| (stream, line.as_bytes().to_vec())).into());
}

/// Whether any file in a folder is named after a task, or holds its words.
fn keeps(folder: &Path, task: &str, words: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let holds = |bytes: Vec<u8>| bytes.windows(words.len()).any(|window| window == words.as_bytes());
        name.contains(task) || keeps(&path, task, words) || std::fs::read(&path).is_ok_and(holds)
    })
}

#[test]
fn a_removed_tasks_log_is_gone_at_once_and_from_the_workers_disk_soon() {
    let cluster = Cluster::with_workers(1);
    let [kept, removed] = ["kept", "removed"].map(|name| {
        let id = cluster.create(&script(name, &format!("echo the {name} words"))).task_id.to_string();
        assert_eq!(cluster.wait_for_end(&id).status, TaskStatus::Completed);
        id
    });
    wait_until("their containers are gone", || cluster.containers().is_empty());
    let data = cluster.data_of("worker-1");
    let words = "the removed words";
    assert!(keeps(&data, &removed, words), "the worker keeps it");
    assert_eq!(cluster.log(&removed, ""), "the removed words\n");

    cluster.podling_ok(&["rm", &removed]);
    let problem = cluster.refusal("GET", &routes::task_logs(&removed), None);
    assert_eq!((problem.status, problem.code.as_ref()), (404, "task_not_found"));
    assert_eq!(cluster.podling(&["logs", &removed]).code, Some(1));
    wait_until("it is gone from the disk", || !keeps(&data, &removed, words));
    assert_eq!(cluster.log(&kept, ""), "the kept words\n");
}

#[test]
fn fifty_followers_that_never_read_slow_nobody() {
    const LAST: u32 = 150_000;
    let mut cluster = Cluster::start(MasterOptions::default());
    let id = cluster.create(&script("writes-a-lot", &counts_to(LAST))).task_id.to_string();
    let shown = cluster.authorization();
    let follow = format!("GET {}?follow=true HTTP/1.1\r\nHost: x\r\n{shown}\r\n", routes::task_logs(&id));
    let mut deaf: Vec<wire::Client> =
        (0..50).map(|_| wire::Client::new(TcpStream::connect(cluster.master.address).unwrap())).collect();
    for client in &mut deaf {
        client.say(follow.as_bytes());
        assert_eq!(client.head().status, 200);
    }
    // Enough for the Engine to keep all of it: what it drops, no follower can have.
    cluster.start_worker("worker-1", WorkerOptions { log_max: "64Mi", ..WorkerOptions::default() });
    let addresses = [cluster.master.address, cluster.worker("worker-1").address];
    let done = AtomicBool::new(false);
    let slowest = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::SeqCst) {
                for address in addresses {
                    let start = clock::mono();
                    let reply = wire::Client::new(TcpStream::connect(address).unwrap()).get("/healthz");
                    slowest = slowest.max(clock::mono().since(start));
                    assert_eq!(reply.status, 200);
                }
                std::thread::park_timeout(Duration::from_millis(10));
            }
            slowest
        });
        let said = cluster.podling(&["logs", "-f", &id]);
        let end = cluster.wait_for_end(&id);
        done.store(true, Ordering::SeqCst);
        is_whole("-f beside the fifty", &said, &lines(1, LAST));
        assert_eq!(end.status, TaskStatus::Completed);
        watch.join().unwrap()
    });
    println!("slowest /healthz: {slowest:?}");
    assert!(slowest <= HEALTHZ_WITHIN, "{slowest:?}");
    is_text("afterwards", &cluster.log(&id, ""), &lines(1, LAST));
    drop(deaf);
}
