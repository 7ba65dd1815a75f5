//! What happens, as those who follow it see it: the stream, `podling events`, and `-w`, with the real binaries.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[path = "support/sse.rs"]
mod sse;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod wire;

use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};

use podling::api::routes;
use podling::api::wire::event::{Event, NodeNews, Subject};
use podling::model::node::{Availability, NodeStatus};
use podling::model::task::{Reason, TaskStatus};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sse::{Follower, Told, ids, kept};
use support::part::{LONG, wait_until, within};
use support::{Cluster, MasterOptions, obeys, script};
use tempfile::TempDir;

const PODLING: &str = env!("CARGO_BIN_EXE_podling");

/// A command line that goes on until it is ended.
struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    _folder: TempDir,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (out, err) = (folder.path().join("out"), folder.path().join("err"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err, _folder: folder }
    }

    fn podling(cluster: &Cluster, words: &[&str]) -> Self {
        Self::start(cluster.podling_command(&cluster.master.url(), words))
    }

    fn out(&self) -> String {
        String::from_utf8(std::fs::read(&self.out).unwrap()).unwrap()
    }

    fn err(&self) -> String {
        String::from_utf8(std::fs::read(&self.err).unwrap()).unwrap()
    }

    /// Waits until it has written something.
    #[track_caller]
    fn writes(&mut self, what: &str) {
        let seen = support::part::poll(LONG, || self.out().contains(what).then_some(()));
        let ended = self.child.try_wait().unwrap();
        assert!(seen.is_some(), "{what:?}: {ended:?}\n{}\n{}", self.out(), self.err());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            // Whatever runs it passes this on.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// How many streams a master serves.
fn streams(cluster: &Cluster) -> usize {
    let threads = format!("/proc/{}/task", cluster.master.pid().as_raw_nonzero());
    let name =
        |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
    std::fs::read_dir(threads).unwrap().flatten().map(name).filter(|n| n.starts_with("stream-")).count()
}

fn quiet() -> Cluster {
    Cluster::start(MasterOptions::default())
}

/// What was told of one task: its statuses in order, each once.
fn statuses(told: &[Told], id: &str) -> Vec<TaskStatus> {
    let of_it = told.iter().filter_map(Told::task).filter(|task| task.task_id.as_str() == id);
    let mut statuses: Vec<TaskStatus> = of_it.map(|task| task.status).collect();
    statuses.dedup();
    statuses
}

fn node(told: &Told) -> Option<&NodeNews> {
    match told {
        Told::Event(Event { subject: Subject::Node(node), .. }) => Some(node),
        Told::Event(_) | Told::Gap(_) => None,
    }
}

#[test]
fn the_life_of_a_task_is_told_in_order() {
    let cluster = Cluster::with_workers(1);
    let mut follower = Follower::open(&cluster.client, "", None);
    let fails = cluster.create(&script("fails", "exit 7")).task_id.to_string();
    cluster.wait_for_end(&fails);
    cluster.podling_ok(&["rm", &fails]);
    let told = follower.until(|told| told.task().is_some_and(|task| task.removed));
    let whole = [TaskStatus::Pending, TaskStatus::Scheduled, TaskStatus::Running, TaskStatus::Failed];
    assert_eq!(statuses(&told, &fails), whole);
    let last = told.last().and_then(Told::task).unwrap();
    assert_eq!(
        (last.name.as_str(), last.node_id.as_ref().unwrap().as_str(), last.exit_code, last.reason),
        ("fails", "worker-1", Some(7), Some(Reason::ExitCode))
    );

    let stops = cluster.create(&obeys("stops", 0)).task_id.to_string();
    cluster.wait_for_running(&stops);
    cluster.stop(&stops, 10_000);
    let told = follower.until(|told| told.task().is_some_and(|task| task.status == TaskStatus::Stopped));
    assert_eq!(statuses(&told, &stops), [&whole[..3], &[TaskStatus::Stopped]].concat());
    let asked = told.iter().filter_map(Told::task).filter(|task| task.stop_requested_at.is_some());
    assert_eq!(asked.map(|task| task.status).collect::<Vec<_>>(), [TaskStatus::Running, TaskStatus::Stopped]);

    let path = routes::node_availability("worker-1");
    cluster.ask("POST", &path, Some(json!({"availability": "cordoned"}))).unwrap();
    let told = follower.until(|told| node(told).is_some());
    let cordoned = told.last().and_then(node).unwrap();
    assert_eq!(
        (cordoned.node_id.as_str(), cordoned.status, cordoned.availability),
        ("worker-1", NodeStatus::Online, Availability::Cordoned)
    );
    let all = kept(&cluster.client);
    assert!(ids(&all).is_sorted_by(|a, b| a < b));
    assert!(all.iter().any(|told| node(told).is_some_and(|node| node.availability == Availability::Active)));
}

#[test]
fn a_line_that_is_taken_up_again_misses_and_doubles_nothing() {
    let cluster = quiet();
    let mut follower = Follower::open(&cluster.client, "", None);
    let mut told = Vec::new();
    for round in 0..4 {
        cluster.create_equals(25, script(&format!("r{round}"), "true"));
        // It breaks in the midst of a batch, and of a chunk.
        told.extend(follower.take(17));
        let last_id = follower.last_id.clone();
        drop(follower);
        cluster.create(&script(&format!("s{round}"), "true"));
        follower = Follower::open(&cluster.client, "", Some(&last_id));
    }
    told.extend(follower.take(4 * 26 - 4 * 17));
    assert_eq!(ids(&told), ids(&kept(&cluster.client)));
    assert!(told.iter().all(|told| told.task().is_some()));
}

#[test]
fn a_follower_that_never_reads_holds_up_nobody() {
    const BATCH: u32 = 5_000;
    let mut cluster = quiet();
    let mut listens = Follower::open(&cluster.client, "", None);
    let mut deaf: Vec<wire::Client> =
        (0..20).map(|_| wire::Client::new(TcpStream::connect(cluster.master.address).unwrap())).collect();
    for client in &mut deaf {
        let shown = cluster.authorization();
        client.say(format!("GET {} HTTP/1.1\r\nHost: x\r\n{shown}\r\n", routes::EVENTS).as_bytes());
        assert_eq!(client.head().status, 200);
    }
    for round in 0..4 {
        cluster.create_equals(BATCH, script(&format!("b{round}"), "true"));
        let told = listens.take(BATCH as usize);
        assert!(told.iter().all(|told| told.task().is_some()), "no gap for who keeps up");
    }
    assert_eq!(streams(&cluster), 21);
    // Nor does it hold up the master's end, which those who listen hear of.
    assert!(cluster.master.terminate().success());
    assert_eq!(listens.next(), None);
}

#[test]
fn events_are_printed_and_followed_through_the_masters_death() {
    let mut cluster = quiet();
    cluster.create(&script("first", "true"));
    let printed = cluster.podling_ok(&["events"]);
    assert!(printed.contains("   first      pending     -          -\n"), "{printed}");
    let printed = cluster.podling_ok(&["events", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Event>(&printed).unwrap().id, kept(&cluster.client)[0].id());

    let mut follows = Running::podling(&cluster, &["events", "-f"]);
    let mut as_json = Running::podling(&cluster, &["events", "-f", "-o", "json"]);
    wait_until("both follow", || streams(&cluster) == 2);
    cluster.create(&script("second", "true"));
    follows.writes("   second     pending ");
    as_json.writes("\"second\"");
    cluster.master.kill9();
    wait_until("they have noticed", || follows.err().contains("trying again"));
    cluster.start_master_again();
    wait_until("both follow again", || streams(&cluster) == 2);
    cluster.create(&script("third", "true"));
    follows.writes("   third      pending ");
    as_json.writes("\"third\"");
    let err = follows.err();
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(
        lines[1].starts_with("podling: what happened after ") && lines[1].contains(" isn't known"),
        "{err}"
    );
    assert!(!follows.out().contains("first"), "from then on");
    let out = as_json.out();
    let kinds: Vec<String> = out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["task", "gap", "task"]);
}

#[test]
fn a_watched_list_prints_what_changes() {
    let cluster = Cluster::with_workers(1);
    let mut tasks = Running::podling(&cluster, &["ps", "-w"]);
    let mut ids = Running::podling(&cluster, &["ps", "-w", "-q", "-l", "team=a"]);
    let mut nodes = Running::podling(&cluster, &["nodes", "-w", "-o", "json"]);
    tasks.writes("ID   NAME   IMAGE   STATUS   NODE   AGE\n");
    nodes.writes("\"availability\":\"active\"");
    wait_until("all three follow", || streams(&cluster) == 3);
    let mut labelled = obeys("web", 0);
    labelled["labels"] = json!({"team": "a"});
    let web = cluster.create(&labelled).task_id.to_string();
    cluster.create(&obeys("db", 0));
    tasks.writes("running 0 s");
    ids.writes(&web);
    cluster.stop(&web, 10_000);
    tasks.writes("stopped (exit 0)");
    cluster
        .ask("POST", &routes::node_availability("worker-1"), Some(json!({"availability": "cordoned"})))
        .unwrap();
    nodes.writes("\"availability\":\"cordoned\"");
    assert_eq!(ids.out(), format!("{web}\n"), "the other one has no such label");
    assert!(!tasks.out().contains('\u{1b}'), "no terminal");
    assert_eq!((tasks.err(), nodes.err()), (String::new(), String::new()));
}

/// `podling` on a terminal of this kind.
fn on_a_terminal(cluster: &Cluster, words: &str, term: &str) -> Running {
    let mut command = Command::new("timeout");
    command.args([
        "60",
        "script",
        "--quiet",
        "--return",
        "--command",
        &format!("{PODLING} {words}"),
        "/dev/null",
    ]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", term);
    command.env("PODLING_TOKEN_FILE", cluster.admin_token_file());
    command.env("PODLING_MASTER", cluster.master.url()).stdin(std::process::Stdio::null());
    Running::start(command)
}

#[test]
fn on_a_terminal_a_watched_list_is_drawn_over_itself() {
    let cluster = quiet();
    let mut tasks = on_a_terminal(&cluster, "ps -w", "xterm");
    let mut dumb = on_a_terminal(&cluster, "ps -w", "dumb");
    // Wiped once, then drawn from the corner on.
    tasks.writes("\u{1b}[2J\u{1b}[HID   NAME   IMAGE   STATUS   NODE   AGE\u{1b}[K\r\n\u{1b}[J");
    dumb.writes("ID   NAME");
    cluster.create(&script("web", "true"));
    within(LONG, "the list is drawn again", || {
        let out = tasks.out();
        let last = out.rsplit("\u{1b}[H").next().unwrap_or_default();
        (last.starts_with("ID ") && last.contains("   web ")).then_some(())
    });
    assert_eq!(tasks.out().matches("\u{1b}[2J").count(), 1);
    dumb.writes("   web ");
    assert!(!dumb.out().contains('\u{1b}'), "{:?}", dumb.out());
    // Ages go on without anything that happens.
    let frames = |running: &Running| running.out().matches("\u{1b}[H").count();
    let before = frames(&tasks);
    wait_until("it is drawn again", || frames(&tasks) > before + 1);
    drop(tasks);
    wait_until("nobody follows but the dumb one", || streams(&cluster) <= 1);
}
