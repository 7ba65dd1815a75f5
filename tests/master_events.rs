//! The master's events over HTTP, on a disk that the test holds in its hands: nothing is seen before it is durable,
//! nothing that was withdrawn is ever seen, and who doesn't read is dropped.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/faulty_store.rs"]
mod faulty_store;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/master.rs"]
mod master;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/sse.rs"]
mod sse;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod wire;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use cluster::at;
use faulty_store::Fault;
use master::Master;
use podling::api::routes;
use podling::api::wire::agent::ReportStep;
use podling::http::{self, Client, ServeSettings};
use podling::master::access::Access;
use podling::master::dispatch::Dispatcher;
use podling::master::events::MOST_KEPT;
use podling::master::handlers::Api;
use podling::master::journal::Fate;
use podling::master::stats::StatsDesk;
use podling::model::id::Epoch;
use podling::model::task::TaskStatus;
use podling::runtime::clock;
use podling::runtime::supervise::Supervisor;
use sse::{Follower, Told, ids, kept};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A master's API in this process.
struct Stage {
    master: Master,
    client: Client,
    address: SocketAddr,
    _supervisor: Supervisor,
    _folder: TempDir,
}

impl Stage {
    /// With a node that has room for two.
    fn set(stalled_write: Duration) -> Self {
        let (master, folder) = (Master::start(), TempDir::new().unwrap());
        let mut supervisor = Supervisor::default();
        let dispatcher = Arc::new(Dispatcher::new(Epoch(7)));
        let stats = Arc::new(StatsDesk::default());
        let access = Arc::new(Access::open());
        let api = Api::new(Arc::clone(&master.state), dispatcher, stats, access, supervisor.stop());
        let mut settings = ServeSettings::new("test", "127.0.0.1:0".parse().unwrap(), folder.path());
        settings.deadlines.stalled_write = stalled_write;
        let address = http::serve(settings, Arc::new(api), &mut supervisor).unwrap();
        let client = Client::new(&format!("http://{address}")).unwrap();
        master.register("worker-1").unwrap();
        assert_eq!(master.fate(), Fate::Durable);
        Self { master, client, address, _supervisor: supervisor, _folder: folder }
    }

    /// Makes so many tasks in one change, and waits until they are durable.
    fn create(&self, count: usize) {
        self.master.create(&vec!["t"; count], None).unwrap();
        assert_eq!(self.master.fate(), Fate::Durable);
    }

    /// A follower who has read the head, and reads no more.
    fn deaf(&self) -> wire::Client {
        let mut client = wire::Client::new(TcpStream::connect(self.address).unwrap());
        client.say(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", routes::EVENTS).as_bytes());
        assert_eq!(client.head().status, 200);
        client
    }

    #[track_caller]
    fn wait_for_followers(&self, count: usize) {
        let end = clock::mono() + PATIENCE;
        while self.master.state.events().followers() != count {
            assert!(clock::mono() < end, "{} follow", self.master.state.events().followers());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn statuses(told: &[Told]) -> Vec<TaskStatus> {
    told.iter().filter_map(|told| told.task().map(|task| task.status)).collect()
}

#[test]
fn nothing_is_seen_before_it_is_durable() {
    let stage = Stage::set(PATIENCE);
    let mut follower = Follower::open(&stage.client, "", None);
    let before = kept(&stage.client);
    // While the disk is held, nothing gets durable.
    let disk = stage.master.store.disk();
    let tasks = stage.master.create(&["a"], None).unwrap();
    stage.master.state.schedule(at(101));
    let fate = stage.master.wait();
    assert_eq!(kept(&stage.client), before);
    drop(disk);
    assert_eq!(fate.recv_timeout(PATIENCE).unwrap(), Fate::Durable);
    assert_eq!(statuses(&follower.take(2)), [TaskStatus::Pending, TaskStatus::Scheduled]);
    stage.master.tell(&tasks[0], ReportStep::Ended);
    let told = follower.take(2);
    assert_eq!(statuses(&told), [TaskStatus::Running, TaskStatus::Completed]);
    assert_eq!(told[1].task().unwrap().exit_code, Some(0));
}

#[test]
fn what_was_withdrawn_is_never_seen() {
    let stage = Stage::set(PATIENCE);
    let mut follower = Follower::open(&stage.client, "", None);
    stage.create(1);
    let before = kept(&stage.client);
    let fate = stage.master.fail_with(Fault::LandsAndFails, |master| {
        master.create(&["lost"], None).unwrap();
        master.state.schedule(at(101));
    });
    assert_eq!(fate, Fate::Withdrawn);
    assert_eq!(kept(&stage.client), before);
    stage.master.mend();
    stage.master.create(&["kept"], None).unwrap();
    assert_eq!(stage.master.fate(), Fate::Durable);
    let names: Vec<String> =
        follower.take(2).iter().map(|told| told.task().unwrap().name.to_string()).collect();
    assert_eq!(names, ["t", "kept"]);
    assert_eq!(kept(&stage.client).len(), before.len() + 1);
}

#[test]
fn who_does_not_read_is_dropped_and_holds_up_nobody() {
    const AT_ONCE: usize = 1_000;
    let stage = Stage::set(Duration::from_millis(1500));
    let mut listens = Follower::open(&stage.client, "", None);
    let mut deaf = stage.deaf();
    stage.wait_for_followers(2);
    let mut rounds = 0;
    let end = clock::mono() + PATIENCE;
    // Far more than fits between the two, and until it is given up.
    while rounds < 15 || stage.master.state.events().followers() > 1 {
        assert!(clock::mono() < end, "it is not given up");
        stage.create(AT_ONCE);
        let told = listens.take(AT_ONCE);
        assert!(told.iter().all(|told| told.task().is_some()), "no gap for who keeps up");
        rounds += 1;
    }
    let got = deaf.rest();
    let got = String::from_utf8_lossy(&got).matches("event: task").count();
    assert!(got < rounds * AT_ONCE, "{got} of {rounds} times {AT_ONCE}");
}

#[test]
fn who_falls_behind_is_told_so_and_goes_on() {
    let stage = Stage::set(PATIENCE);
    let mut slow = stage.deaf();
    for _ in 0..5 {
        stage.create(MOST_KEPT / 2 + 1);
    }
    let all = kept(&stage.client);
    assert_eq!((all.len(), statuses(&all).len()), (MOST_KEPT, MOST_KEPT));
    // What it reads now begins with what was on its way, and ends with all that is kept.
    let last = format!("id: {}\n", all.last().unwrap().id());
    let mut text = String::new();
    while !text.contains(&last) {
        text.push_str(&String::from_utf8(slow.chunk().unwrap()).unwrap());
    }
    assert_eq!(text.matches("event: gap").count(), 1);
    let (_, after_gap) = text.split_once("event: gap").unwrap();
    assert_eq!(after_gap.matches("event: task").count(), MOST_KEPT);
}

#[test]
fn a_stream_begins_where_it_is_asked_to() {
    let stage = Stage::set(PATIENCE);
    stage.create(5);
    let all = kept(&stage.client);
    assert_eq!(all.len(), 6);
    let from = |query: &str, header: Option<&str>| Follower::open(&stage.client, query, header).rest();
    let third = all[2].id().to_string();
    assert_eq!(from(&format!("?follow=false&after={third}"), None), all[3..]);
    assert_eq!(from("?follow=false", Some(&third)), all[3..]);
    assert_eq!(from("?follow=false&after=0", Some(&third)), all[3..], "the header wins");
    assert_eq!(from("?follow=false", Some("0")), all);
    assert_eq!(from("?follow=false", None), [], "nothing has happened from now on");
    // An earlier start of the master, or a later one, or what never was: whatever is there may be news.
    for strange in ["6-2", "8-2", "7-999"] {
        let told = from(&format!("?follow=false&after={strange}"), None);
        let Told::Gap(gap) = &told[0] else { panic!("{strange}: {told:?}") };
        assert_eq!((gap.after.to_string().as_str(), &told[1..]), (strange, &all[..]));
    }
    // Where it begins is known before anything happens.
    let mut follower = Follower::open(&stage.client, "", None);
    stage.create(1);
    assert_eq!(follower.take(1).len(), 1);
    assert_eq!(ids(&from("?follow=false", Some(&follower.last_id))), []);
}

#[test]
fn what_can_not_be_read_is_named() {
    let stage = Stage::set(PATIENCE);
    let get = |query: &str, headers: &str| {
        let mut client = wire::Client::new(TcpStream::connect(stage.address).unwrap());
        client.say(format!("GET {}{query} HTTP/1.1\r\nHost: x\r\n{headers}\r\n", routes::EVENTS).as_bytes());
        client.reply()
    };
    get("?after=yesterday", "").is_problem(422, "invalid");
    get("?after=7-1&after=7-2", "").is_problem(422, "invalid");
    get("?follow=maybe", "").is_problem(422, "invalid");
    get("?types=task", "").is_problem(422, "unknown_parameter");
    let refused = get("", "Last-Event-ID: 7-x\r\n");
    refused.is_problem(400, "invalid_event_id");
    assert_eq!(refused.json()["field"], "Last-Event-ID");
    get("", "Last-Event-ID: 7-1\r\nLast-Event-ID: 7-1\r\n").is_problem(400, "invalid_event_id");
    stage.wait_for_followers(0);
}
