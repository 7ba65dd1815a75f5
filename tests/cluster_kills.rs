//! Masters and workers that are killed again and again: nothing acknowledged is lost, nothing is made twice, and
//! containers don't notice. Prints what it counted and measured; the goals are printed, and what is asserted of times
//! leaves room for a busy machine.
//!
//! A few kills each, or as many as `PODLING_KILLS` says of the master, and half as many of the worker.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "what was measured is what these are for")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use podling::api::routes;
use podling::api::wire::Page;
use podling::api::wire::agent::{AttemptStatus, AttemptView};
use podling::api::wire::task::TaskView;
use podling::http::client::Call;
use podling::http::{Client, ClientError};
use podling::model::task::{Reason, TaskStatus};
use podling::runtime::clock;
use serde_json::{Value, json};
use support::docker::{self, Api};
use support::events::{Done, Events};
use support::part::{LONG, wait_until, within};
use support::{Cluster, MasterOptions, WorkerOptions, script};

/// How long a master may take from its start to its first answer, with 10,000 tasks in its store.
const MASTER_GOAL: Duration = Duration::from_secs(2);

/// How long a worker may take from its start until it has its containers again.
const WORKER_GOAL: Duration = Duration::from_secs(3);

/// A busy machine may be so many times slower than the goals.
const ROOM: u32 = 5;

/// How many clients submit tasks at the same time.
const CLIENTS: u32 = 4;

/// How many containers run while their worker is killed.
const COUNTERS: u32 = 4;

/// How often something is killed: what `PODLING_KILLS` says, by `share`, or `few`.
fn kills(share: u32, few: u32) -> u32 {
    let said = std::env::var("PODLING_KILLS").ok();
    said.map_or(few, |said| (said.parse::<u32>().expect("PODLING_KILLS is a number") / share).max(1))
}

/// `median 120 ms, worst 310 ms`.
fn spread(times: &mut [Duration]) -> String {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    format!("median {} ms, worst {} ms", median.as_millis(), worst.as_millis())
}

/// Starts the killed master again; how long it took until it answered a request.
fn until_first_answer(cluster: &mut Cluster) -> Duration {
    let start = clock::mono();
    cluster.start_master_again();
    within(LONG, "the master answers", || cluster.ask("GET", "/api/v1/tasks?limit=1", None).ok());
    clock::mono().since(start)
}

fn hollow_worker() -> WorkerOptions {
    WorkerOptions { engine: "hollow", capacity: 100_000, ..WorkerOptions::default() }
}

/// A task that ends at once, and that no other is like.
fn one_of_its_kind(name: &str) -> Value {
    json!({"name": name, "image": "hollow/task", "network": "none", "command": ["run", name], "env": {"WHO": name}})
}

/// That a task is the one that [`one_of_its_kind`] asks for.
#[track_caller]
fn is_as_asked(task: &TaskView, name: &str) {
    let held = serde_json::to_value(task).unwrap();
    for (field, asked) in one_of_its_kind(name).as_object().unwrap() {
        assert_eq!(held[field], *asked, "{task:?}");
    }
}

// --------------------------------------------------------------------------------------------------- submissions

/// Clients that submit, each one task after the other, until they are told that it is over.
struct Submissions {
    http: Client,
    is_over: AtomicBool,
    /// Requests whose outcome nobody knows, or that were turned away for the moment.
    repeated: AtomicU64,
    /// Told of each acknowledgement.
    acknowledged: Sender<()>,
}

impl Submissions {
    /// Body of a client: the name of each task that it asked for, with the id that it was told.
    fn go_on(&self, client: u32) -> Vec<(String, String)> {
        let http = self.http.clone();
        let mut told = Vec::new();
        while !self.is_over.load(Ordering::Acquire) {
            let name = format!("client-{client}-task-{}", told.len());
            let id = self.submit(&http, &name);
            told.push((name, id));
            let _ = self.acknowledged.send(());
        }
        told
    }

    /// Asks for a task, with its name as the key, until somebody says what became of it.
    fn submit(&self, http: &Client, name: &str) -> String {
        within(LONG, "a submission is answered", || {
            let body = Some(one_of_its_kind(name).to_string().into_bytes());
            let headers = [("Idempotency-Key", name)];
            let call = Call { headers: &headers, body, ..Call::new("POST", routes::TASKS, LONG) };
            match http.call(call) {
                Ok(reply) => {
                    assert_eq!(reply.status, 201);
                    let task: TaskView = reply.json().unwrap();
                    is_as_asked(&task, name);
                    Some(task.task_id.to_string())
                }
                Err(error) => {
                    let is_in_the_making = error.problem().is_some_and(|problem| problem.status == 409);
                    assert!(error.is_retryable() || is_in_the_making, "{name}: {error}");
                    self.repeated.fetch_add(1, Ordering::Relaxed);
                    None
                }
            }
        })
    }
}

/// Ends the submissions with the test, after a panic too.
struct Over<'a>(&'a Submissions);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

#[test]
fn a_master_that_is_killed_again_and_again_loses_nothing() {
    let kills = kills(1, 8);
    let mut cluster = Cluster::start(MasterOptions::default());
    for number in 1..=2 {
        cluster.start_worker(&format!("worker-{number}"), hollow_worker());
    }
    let (tell, acknowledged) = crossbeam_channel::unbounded();
    let submissions = Submissions {
        http: cluster.client.clone(),
        is_over: AtomicBool::new(false),
        repeated: AtomicU64::new(0),
        acknowledged: tell,
    };
    let mut times = Vec::new();
    let told: Vec<(String, String)> = std::thread::scope(|scope| {
        let over = Over(&submissions);
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                let submissions = &submissions;
                scope.spawn(move || submissions.go_on(number))
            })
            .collect();
        for kill in 0..kills {
            // Sometimes at the first acknowledgement, sometimes in the middle of many.
            for _ in 0..=(kill * 137 % 200) {
                acknowledged.recv_timeout(LONG).expect("submissions go on");
            }
            cluster.master.kill9();
            times.push(until_first_answer(&mut cluster));
            acknowledged.try_iter().for_each(drop);
        }
        drop(over);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });

    let tasks = cluster.tasks();
    let ids: BTreeSet<&str> = tasks.iter().map(|task| task.task_id.as_str()).collect();
    let by_name: BTreeSet<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let asked: BTreeSet<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    let lost = told.iter().filter(|(_, id)| !ids.contains(id.as_str())).count();
    let doubled = tasks.len() - by_name.len();
    let unasked = by_name.difference(&asked).count();
    println!(
        "master killed {kills} times: {} acknowledged, {lost} lost, {doubled} doubled, {unasked} that nobody asked for; {} \
         requests repeated; from restart to first answer: {} (goal {} ms)",
        told.len(),
        submissions.repeated.load(Ordering::Relaxed),
        spread(&mut times),
        MASTER_GOAL.as_millis(),
    );
    assert_eq!((lost, doubled, unasked), (0, 0, 0));
    wait_until("all have ended", || cluster.all_ended());
    let ended = cluster.tasks();
    let by_id: BTreeMap<&str, &TaskView> = ended.iter().map(|task| (task.task_id.as_str(), task)).collect();
    let http = submissions.http.clone();
    for (name, id) in &told {
        let task = by_id[id.as_str()];
        is_as_asked(task, name);
        assert_eq!((task.status, task.attempt.0), (TaskStatus::Completed, 1), "{task:?}");
        assert_eq!(submissions.submit(&http, name), *id, "its key is still known");
    }
    assert_eq!(cluster.tasks().len(), tasks.len(), "and made nothing again");
    assert!(times.iter().all(|time| *time < MASTER_GOAL * ROOM), "{times:?}");
}

#[test]
fn a_master_with_ten_thousand_tasks_answers_soon_after_it_was_killed() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let mut ids = BTreeMap::new();
    for batch in 0..10 {
        let names: Vec<String> = (0..1000).map(|number| format!("task-{batch}-{number}")).collect();
        let body: Vec<Value> = names.iter().map(|name| one_of_its_kind(name)).collect();
        let created: Page<TaskView> = cluster.client.post(routes::TASKS, &body, LONG, false).unwrap();
        ids.extend(created.items.into_iter().map(|task| task.task_id.to_string()).zip(names));
    }
    assert_eq!(ids.len(), 10_000);
    cluster.master.kill9();
    let took = until_first_answer(&mut cluster);
    println!(
        "first answer {} ms after a restart with 10,000 tasks (goal {} ms)",
        took.as_millis(),
        MASTER_GOAL.as_millis()
    );
    let tasks = cluster.tasks();
    assert_eq!(tasks.len(), ids.len());
    tasks.iter().for_each(|task| is_as_asked(task, &ids[task.task_id.as_str()]));
    assert!(took < MASTER_GOAL * ROOM, "{took:?}");
}

// ---------------------------------------------------------------------------------------------------- containers

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Worker,
    Both,
}

/// A task that counts in its log, line by line, and when its container started.
struct Counter {
    task: TaskView,
    started_at: Value,
    lines: usize,
}

/// A cluster of one worker with counters on it.
struct Counting {
    cluster: Cluster,
    events: Events,
    counters: Vec<Counter>,
    /// How long the worker took, each time, from its start until it had its containers again.
    adoptions: Vec<Duration>,
    /// Every task there ever was.
    all: BTreeSet<String>,
}

fn container_of(task: &TaskView) -> &str {
    task.container_id.as_ref().unwrap().as_str()
}

fn state_of(container: &str) -> Value {
    docker::inspect(container).expect("it is still there")["State"].clone()
}

impl Counting {
    fn begin() -> Self {
        let mut cluster = Cluster::start(MasterOptions::default());
        let events = Events::of(&Api::here(), &cluster.id);
        cluster.start_worker("worker-1", WorkerOptions::default());
        let counts = "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo $i; usleep 100000; done";
        let ids = cluster.create_equals(COUNTERS, script("counts", counts));
        let of = |id: &String| {
            let task = cluster.wait_for_running(id);
            let started_at = state_of(container_of(&task))["StartedAt"].clone();
            Counter { task, started_at, lines: 0 }
        };
        let counters = ids.iter().map(of).collect();
        Self { cluster, events, counters, adoptions: Vec::new(), all: ids.into_iter().collect() }
    }

    fn create(&mut self, spec: &Value) -> String {
        let id = self.cluster.create(spec).task_id.to_string();
        self.all.insert(id.clone());
        id
    }

    /// Kills, lets one container end meanwhile, starts again, and holds what is there against what was.
    fn kill(&mut self, who: Who, number: u32) {
        let code = i32::try_from(number % 100 + 1).unwrap();
        let ends = format!("trap 'exit {code}' USR1; while :; do usleep 20000; done");
        let ends = self.create(&script("ends-unseen", &ends));
        let ends = self.cluster.wait_for_running(&ends);
        // At whatever point of their way these are.
        let under_way: Vec<String> = (0..2).map(|_| self.create(&script("under-way", "exit 3"))).collect();
        self.cluster.worker_mut("worker-1").kill9();
        if who == Who::Both {
            self.cluster.master.kill9();
        }
        wait_until("one ends while nobody looks", || {
            Api::here().signal(container_of(&ends), "USR1");
            state_of(container_of(&ends))["Running"] == json!(false)
        });
        self.start_again(who, number);
        for counter in &mut self.counters {
            counter.is_unharmed(&self.cluster);
        }
        let end = self.cluster.wait_for_end(ends.task_id.as_str());
        let seen = (end.status, end.reason, end.exit_code, end.attempt.0);
        assert_eq!(seen, (TaskStatus::Failed, Some(Reason::ExitCode), Some(code), 1), "{end:?}");
        for id in under_way {
            let end = self.cluster.wait_for_end(&id);
            assert_eq!((end.exit_code, end.attempt.0), (Some(3), 1), "{end:?}");
        }
    }

    /// Starts what was killed, now the one first and now the other, until the worker has its counters again.
    fn start_again(&mut self, who: Who, number: u32) {
        let is_master_first = number.is_multiple_of(2);
        if who == Who::Both && is_master_first {
            self.cluster.start_master_again();
        }
        let start = clock::mono();
        self.cluster.start_worker_again("worker-1");
        let worker = self.cluster.client_of("worker-1");
        within(LONG, "the worker has its containers again", || {
            let held: Result<Page<AttemptView>, ClientError> = worker.get("/api/v1/tasks", LONG);
            let held = held.unwrap().items;
            let is_held = |counter: &Counter| {
                held.iter().any(|held| {
                    held.task_id == counter.task.task_id
                        && held.status == AttemptStatus::Running
                        && held.container_id == counter.task.container_id
                })
            };
            self.counters.iter().all(is_held).then_some(())
        });
        self.adoptions.push(clock::mono().since(start));
        if who == Who::Both && !is_master_first {
            self.cluster.start_master_again();
        }
    }

    /// Ends the counters, and sees that there was one container for each task, ever.
    fn end(mut self, what: &str, kills: u32) {
        for counter in &mut self.counters {
            self.cluster.stop(counter.task.task_id.as_str(), 30_000);
        }
        for counter in &mut self.counters {
            let end = self.cluster.wait_for_end(counter.task.task_id.as_str());
            assert_eq!((end.status, end.exit_code), (TaskStatus::Stopped, Some(0)), "{end:?}");
            wait_until("its container is gone", || docker::inspect(container_of(&counter.task)).is_none());
            counter.has_an_unbroken_log(&self.cluster);
        }
        wait_until("no container is left", || self.cluster.containers().is_empty());
        let once = Done { made: 1, started: 1, removed: 1 };
        wait_until("Docker has told of every removal", || {
            self.events.tally().values().all(|done| done.removed == done.made)
        });
        let tally = self.events.tally();
        let odd: Vec<_> = tally.iter().filter(|(_, done)| **done != once).collect();
        let lines: usize = self.counters.iter().map(|counter| counter.lines).sum();
        println!(
            "{what} killed {kills} times: {} containers, {} of them not made, started and removed once; {lines} lines \
             without a gap; from the worker's start until it had its containers again: {} (goal {} ms)",
            tally.len(),
            odd.len(),
            spread(&mut self.adoptions),
            WORKER_GOAL.as_millis(),
        );
        assert!(odd.is_empty(), "{odd:?}");
        assert_eq!(
            tally.into_keys().collect::<BTreeSet<_>>(),
            self.all.iter().map(|id| format!("{id}/1")).collect()
        );
        assert!(self.adoptions.iter().all(|time| *time < WORKER_GOAL * ROOM), "{:?}", self.adoptions);
    }
}

impl Counter {
    /// That it runs in the container in which it began, and that nothing of its log is missing.
    fn is_unharmed(&mut self, cluster: &Cluster) {
        let now = cluster.task(self.task.task_id.as_str());
        assert_eq!((now.status, now.attempt), (TaskStatus::Running, self.task.attempt), "{now:?}");
        assert_eq!((&now.container_id, now.started_at), (&self.task.container_id, self.task.started_at));
        let state = state_of(container_of(&self.task));
        assert_eq!((&state["Running"], &state["StartedAt"]), (&json!(true), &self.started_at));
        self.has_an_unbroken_log(cluster);
    }

    /// That its log, which a node of the cluster must be able to give, counts from 1 on, further than the last time.
    fn has_an_unbroken_log(&mut self, cluster: &Cluster) {
        let log = within(LONG, "its node gives its log", || {
            let log = cluster.log(self.task.task_id.as_str(), "");
            (!log.is_empty()).then_some(log)
        });
        let lines: Vec<&str> = log.lines().collect();
        let broken = lines.iter().zip(1..).find(|(line, number)| **line != number.to_string());
        assert_eq!(broken, None, "of {} lines", lines.len());
        assert!(lines.len() > self.lines, "{} lines, and then {}", self.lines, lines.len());
        self.lines = lines.len();
    }
}

#[test]
fn a_worker_that_is_killed_again_and_again_keeps_its_containers() {
    let kills = kills(2, 5);
    let mut counting = Counting::begin();
    (0..kills).for_each(|number| counting.kill(Who::Worker, number));
    counting.end("worker", kills);
}

#[test]
fn master_and_worker_killed_together_keep_tasks_and_containers() {
    let kills = kills(4, 2);
    let mut counting = Counting::begin();
    (0..kills).for_each(|number| counting.kill(Who::Both, number));
    counting.end("master and worker", kills);
}
