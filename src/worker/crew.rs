//! The crew: places for monitors, a queue for those that wait for one, and the threads that stop containers.
//!
//! The thread `crew` owns every thread that walks with an attempt. It starts a monitor when a place is free, in the
//! order in which attempts came, and learns from the monitor itself that it has ended, so that a place is refilled at
//! once and nothing is polled. When the process stops it closes the Engine's line, which ends what waits there.
//!
//! Invariant: no more monitors than places. A monitor that ends, however it ends, gives its place back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select, unbounded};

use crate::engine::EngineError;
use crate::model::id::{AttemptKey, ContainerId};
use crate::runtime::clock;
use crate::runtime::supervise::{self, Stop, Thread};
use crate::worker::hold::Halt;
use crate::worker::job::{Charge, Job};
use crate::worker::leash::Leash;
use crate::worker::monitor::{Ground, Monitor};

/// How long an order to stop waits before it tries an Engine that doesn't answer again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How long the crew waits for its threads when the process stops.
const JOIN_WITHIN: Duration = Duration::from_secs(5);

/// The thread's own.
pub(super) struct Crew {
    ground: Arc<Ground>,
    jobs: Receiver<Job>,
    places: usize,
    queue: VecDeque<Charge>,
    monitors: HashMap<u64, Thread>,
    halts: Vec<Thread>,
    last_number: u64,
    /// Bounded by the monitors: each sends once.
    ended: (Sender<u64>, Receiver<u64>),
}

impl Crew {
    /// With so many places.
    pub(super) fn new(ground: Arc<Ground>, jobs: Receiver<Job>, places: usize) -> Self {
        Self {
            ground,
            jobs,
            places,
            queue: VecDeque::new(),
            monitors: HashMap::new(),
            halts: Vec::new(),
            last_number: 0,
            ended: unbounded(),
        }
    }

    /// Body of the thread `crew`.
    pub(super) fn run(mut self, stop: &Stop) {
        let jobs = self.jobs.clone();
        let ended = self.ended.1.clone();
        while !stop.requested() {
            select! {
                recv(jobs) -> job => match job {
                    Ok(Job::Walk(charge)) => self.queue.push_back(charge),
                    Ok(Job::Halt { key, halt, leash }) => self.halt(&key, halt, &leash),
                    Err(_) => break,
                },
                recv(ended) -> number => self.reap(number.unwrap_or_default()),
                recv(stop.channel_ref()) -> _ => break,
            }
            self.fill_places();
        }
        self.end();
    }

    fn fill_places(&mut self) {
        while self.monitors.len() < self.places {
            let Some(charge) = self.queue.pop_front() else { return };
            self.start(charge);
        }
    }

    fn start(&mut self, charge: Charge) {
        self.last_number += 1;
        let number = self.last_number;
        let end = Ended(number, self.ended.0.clone());
        let name = thread_name("task", &charge.key);
        let monitor = Monitor::new(Arc::clone(&self.ground), charge);
        let spare = monitor.clone();
        let started = supervise::spawn(name, move || {
            let _end = end;
            monitor.run();
        });
        match started {
            Ok(thread) => {
                self.monitors.insert(number, thread);
            }
            // Nothing ran yet, so the attempt can go elsewhere. The report needs no thread: its answer is not awaited.
            Err(error) => spare.refuse_for_want_of_a_thread(&error),
        }
    }

    /// Joins a monitor that is about to end.
    fn reap(&mut self, number: u64) {
        if let Some(thread) = self.monitors.remove(&number) {
            thread.join();
        }
    }

    /// Starts a thread that stops a container: stopping blocks for as long as the grace.
    fn halt(&mut self, key: &AttemptKey, halt: Halt, leash: &Arc<Leash>) {
        self.halts.retain(|thread| !thread.is_finished());
        let (ground, leash, attempt) = (Arc::clone(&self.ground), Arc::clone(leash), key.clone());
        let (container, wait, grace) = match halt {
            Halt::Term(container, grace) => (container, Duration::ZERO, grace),
            Halt::KillAfter(container, wait) => (container, wait, Duration::ZERO),
        };
        log::info!("stopping task={key} grace_ms={}", grace.as_millis());
        let body = move || {
            if leash.over().wait(wait) {
                return;
            }
            if let Some(signal) = leash.signal() {
                // Order: before it is sent, so that a later process knows why the container ended.
                ground.stops.keep(&attempt, &signal);
            }
            stop_container(&ground, &container, grace, &leash);
        };
        match supervise::spawn(thread_name("stop", key), body) {
            Ok(thread) => self.halts.push(thread),
            Err(error) => log::error!("no thread to stop with task={key} because={error}"),
        }
    }

    /// Lets everybody end. Containers go on; whoever is late is named.
    fn end(mut self) {
        self.ground.engine.close();
        let deadline = clock::mono() + JOIN_WITHIN;
        while !self.monitors.is_empty() {
            let left = deadline.since(clock::mono());
            let Ok(number) = self.ended.1.recv_timeout(left) else { break };
            self.reap(number);
        }
        self.halts.retain(|thread| !thread.is_finished());
        let late = self.monitors.values().chain(&self.halts).map(Thread::name);
        let late: Vec<&str> = late.collect();
        if !late.is_empty() {
            log::warn!("threads did not stop in time threads={}", late.join(","));
        }
    }
}

/// Tells the crew that a monitor ends, also when it panics.
struct Ended(u64, Sender<u64>);

impl Drop for Ended {
    fn drop(&mut self) {
        // The crew has ended: nobody waits for it.
        let _ = self.1.send(self.0);
    }
}

/// Stops a container, again and again while the Engine doesn't answer, until its attempt is over.
fn stop_container(ground: &Ground, container: &ContainerId, grace: Duration, leash: &Leash) {
    let mut grace = grace;
    loop {
        match ground.engine.stop(container, grace) {
            Ok(()) | Err(EngineError::NotFound { .. }) => return,
            Err(error) if ground.stop.requested() => {
                log::debug!("a stop was left undone container={container} because={error}");
                return;
            }
            Err(error) => {
                log::warn!("a stop failed and is tried again container={container} because={error}")
            }
        }
        if leash.over().wait(TRY_AGAIN) {
            return;
        }
        grace = grace.saturating_sub(TRY_AGAIN);
    }
}

/// Linux shows fifteen characters of a thread's name: a word and the end of the task's id, which is the random part.
fn thread_name(word: &str, key: &AttemptKey) -> String {
    let id = key.task.as_str();
    format!("{word}-{}", &id[id.len().saturating_sub(8)..])
}
