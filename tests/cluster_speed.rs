//! How fast a cluster is, held against the Engine itself in the same run: the two take turns, so that whatever else
//! the machine does slows both. The goals are printed; what is asserted leaves room for a busy machine.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "what was measured is what these are for")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use podling::api::wire::spec::SpecWire;
use podling::engine::docker::DockerEngine;
use podling::engine::{ContainerKey, ContainerRequest, Engine, Owner};
use podling::model::id::{Attempt, ContainerId};
use podling::model::task::TaskStatus;
use podling::runtime::clock;
use serde_json::Value;
use support::part::{LONG, poll, wait_until};
use support::{Cluster, docker, obeys, script};
use ulid::Ulid;

/// How many calls to the Engine may be under way at once, here as in the worker.
const CONCURRENCY: u32 = 4;

fn took(work: impl FnOnce()) -> Duration {
    let start = clock::mono();
    work();
    clock::mono().since(start)
}

fn a_second(count: u32, time: Duration) -> f64 {
    f64::from(count) / time.as_secs_f64()
}

/// The Engine without a cluster. Its containers bear the cluster's label, for the clean end, but no node's.
struct Raw {
    engine: DockerEngine,
    owner: Owner,
}

impl Raw {
    fn beside(cluster: &Cluster) -> Self {
        let owner = Owner { cluster: cluster.id.parse().unwrap(), node: "raw".parse().unwrap() };
        Self { engine: docker::engine(), owner }
    }

    /// Makes and starts what the same words make of a task.
    fn run(&self, task: &Value) -> ContainerId {
        let mut spec = task.clone();
        spec.as_object_mut().unwrap().remove("name");
        let spec: SpecWire = serde_json::from_value(spec).unwrap();
        let task = Ulid::generate().to_string().parse().unwrap();
        let request = ContainerRequest {
            key: ContainerKey { owner: self.owner.clone(), task, attempt: Attempt::FIRST },
            spec: Arc::new(spec.try_into().unwrap()),
            index: None,
            log_max_bytes: 10 << 20,
        };
        let id = self.engine.create(&request).unwrap();
        self.engine.start(&id).unwrap();
        id
    }

    /// A plain loop over the Engine's API, by as many threads as the worker may use.
    fn run_many(&self, count: u32) {
        let next = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CONCURRENCY {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::SeqCst) < count {
                        let id = self.run(&ends_at_once());
                        assert!(self.engine.wait(&id, LONG).unwrap());
                        assert_eq!(self.engine.inspect(id.as_str()).unwrap().exit_code, 0);
                        self.engine.remove(&id).unwrap();
                    }
                });
            }
        });
    }
}

fn ends_at_once() -> Value {
    script("t", "true")
}

/// The same as tasks of a cluster, to the last container's end.
fn through_the_cluster(cluster: &Cluster, count: u32) {
    cluster.create_equals(count, ends_at_once());
    poll(LONG * 2, || cluster.all_ended().then_some(())).expect("all end");
    wait_until("no container is left", || cluster.containers().is_empty());
}

#[test]
fn three_hundred_tasks_cost_little_more_than_their_containers_and_leave_nothing() {
    const ROUNDS: u32 = 3;
    const RAW: u32 = 60;
    const TASKS: u32 = 100;
    let cluster = Cluster::with_workers(1);
    let raw_engine = Raw::beside(&cluster);
    through_the_cluster(&cluster, 8);
    let worker = cluster.worker("worker-1");
    let baseline = [worker.at_rest(), cluster.master.at_rest()];

    let (mut raw, mut tasks) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        raw += took(|| raw_engine.run_many(RAW));
        tasks += took(|| through_the_cluster(&cluster, TASKS));
    }
    let (raw, tasks) = (a_second(RAW * ROUNDS, raw), a_second(TASKS * ROUNDS, tasks));
    let ratio = tasks / raw;
    println!("tasks a second: {tasks:.2}; the Engine alone: {raw:.2}; ratio {ratio:.2}, the goal is 0.90");
    worker.comes_back_to(baseline[0]);
    cluster.master.comes_back_to(baseline[1]);
    let tasks = cluster.tasks();
    assert_eq!(tasks.len(), 308);
    assert!(tasks.iter().all(|task| task.status == TaskStatus::Completed));
    assert!(ratio >= 0.5, "{ratio:.2} of the Engine's own rate");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn a_task_on_an_idle_cluster_runs_nearly_as_soon_as_a_container_can() {
    const TIMES: u32 = 9;
    let cluster = Cluster::with_workers(1);
    let raw_engine = Raw::beside(&cluster);
    let run_one = |number: u32| {
        let mut id = String::new();
        let time = took(|| {
            id = cluster.create(&obeys(&format!("t-{number}"), 0)).task_id.to_string();
            while cluster.task(&id).status != TaskStatus::Running {
                std::thread::park_timeout(Duration::from_millis(1));
                assert!(!cluster.task(&id).status.is_terminal());
            }
        });
        cluster.stop(&id, 0);
        cluster.wait_for_end(&id);
        wait_until("no container is left", || cluster.containers().is_empty());
        time
    };
    let run_raw = || {
        let mut made = None;
        let time = took(|| made = Some(raw_engine.run(&obeys("raw", 0))));
        raw_engine.engine.remove(&made.unwrap()).unwrap();
        time
    };
    // Once beforehand: the first of each opens connections.
    run_one(0);
    run_raw();
    let (tasks, raw): (Vec<_>, Vec<_>) = (1..=TIMES).map(|number| (run_one(number), run_raw())).unzip();
    let (task, raw) = (median(tasks), median(raw));
    let more = task.saturating_sub(raw);
    println!("running after {task:?}; create and start alone {raw:?}; {more:?} more, the goal is 50 ms");
    assert!(task <= raw * 2, "{task:?} is more than twice {raw:?}");
}
