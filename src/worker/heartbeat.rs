//! The heartbeat thread: registers this node, takes up what its Engine already runs, and beats.
//!
//! Each beat says what this node holds; the reply is the whole set of what it is to run, and is applied at once. A beat
//! that fails is tried again sooner than the next one is due. Once a later worker has taken over the node, or the
//! cluster turns out to be another one, the process ends and leaves its containers alone.
//!
//! Order: listen, register, take up containers, beat. Until they are taken up the node says that it isn't ready, and
//! replies change nothing. Where the master can't be reached at a start, they are taken up all the same: what runs
//! under a lease must end with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, after, select};

use crate::api::routes;
use crate::api::wire::agent::{HeartbeatReply, HeartbeatRequest, RegisterReply, RegisterRequest};
use crate::api::wire::millis;
use crate::engine::Owner;
use crate::http::ClientError;
use crate::model::id::NodeId;
use crate::model::node::NodeAddress;
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::runtime::clock;
use crate::runtime::supervise::{GiveUp, Stop};
use crate::worker::identity::Identity;
use crate::worker::link::{MasterLink, Session};
use crate::worker::monitor::Ground;
use crate::worker::watch::EngineWatch;

/// How long is waited after a first failure, and after many.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What this node says of itself at a registration.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) node: NodeId,
    pub(super) address: NodeAddress,
    pub(super) capacity: u32,
    pub(super) cpu: Option<CpuMillis>,
    pub(super) memory: Option<MemoryBytes>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) heartbeat: Duration,
}

/// The thread's own.
pub(super) struct Heartbeat {
    pub(super) offer: Offer,
    pub(super) identity: Identity,
    pub(super) ground: Arc<Ground>,
    pub(super) link: Arc<MasterLink>,
    pub(super) watch: Arc<EngineWatch>,
    /// Somebody heard that this node must register again, or something that the master should hear of soon.
    pub(super) register: Receiver<()>,
    pub(super) nudge: Receiver<()>,
    /// Whether this node is registered and its containers are taken up.
    pub(super) is_ready: Arc<AtomicBool>,
    pub(super) give_up: GiveUp,
}

/// What comes after a failure.
enum Next {
    /// Try again, a pause later.
    Again,
    /// Register first.
    Register,
    /// The process ends.
    End,
}

impl Heartbeat {
    /// Body of the thread `heartbeat`.
    pub(super) fn run(mut self, stop: &Stop) {
        self.know_owner();
        self.watch.await_first_answer(stop);
        let mut must_register = true;
        let mut failures = 0;
        // Beats in a row whose answer was to register.
        let mut sent_back = 0;
        while !stop.requested() {
            let was_registering = must_register;
            let done = if was_registering { self.register() } else { self.beat() };
            match done {
                Ok(true) => {
                    must_register = true;
                    sent_back += 1;
                    if sent_back > 1 {
                        // Registering did not help: not again at once.
                        self.wait(stop, sent_back);
                    }
                }
                Ok(false) if std::mem::take(&mut must_register) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => (failures, sent_back) = (0, 0),
                Err(error) => {
                    failures += 1;
                    self.take_up_containers();
                    match self.after(&error, failures, was_registering) {
                        Next::Again => {}
                        Next::Register => must_register = true,
                        Next::End => {
                            stop.wait(Duration::MAX);
                            return;
                        }
                    }
                }
            }
            if !must_register || failures > 0 {
                must_register |= self.wait(stop, failures);
            }
        }
    }

    /// Until the next beat is due, or somebody wants one now. True: this node must register again.
    fn wait(&self, stop: &Stop, failures: u32) -> bool {
        let interval = self.interval();
        let wait = if failures == 0 { interval } else { interval.min(pause(failures)) };
        select! {
            recv(self.register) -> _ => true,
            recv(self.nudge) -> _ => false,
            recv(after(wait)) -> _ => false,
            recv(stop.channel_ref()) -> _ => false,
        }
    }

    fn interval(&self) -> Duration {
        let lease = self.link.session().map_or(Duration::MAX, |session| session.lease);
        self.offer.heartbeat.min(lease / 3)
    }

    /// Registers, and keeps what was granted. Gives false: there is nothing more to register.
    fn register(&mut self) -> Result<bool, ClientError> {
        let engine = self.watch.description();
        let request = RegisterRequest {
            node_id: self.offer.node.clone(),
            instance_id: self.identity.instance().clone(),
            start_id: self.identity.start().clone(),
            incarnation: self.identity.incarnation(),
            cluster_id: self.identity.cluster().cloned(),
            hostname: self.offer.address.host.clone(),
            port: self.offer.address.port,
            capacity: self.offer.capacity,
            cpu_millis: self.offer.cpu.or(engine.as_ref().map(|engine| engine.cpu)).unwrap_or_default().0,
            memory_bytes: self
                .offer
                .memory
                .or(engine.as_ref().map(|engine| engine.memory))
                .unwrap_or_default()
                .0,
            labels: self.offer.labels.clone(),
            engine: engine.as_ref().map_or_else(|| "unknown".to_owned(), |engine| engine.name.clone()),
            engine_id: engine.map(|engine| engine.id).unwrap_or_default(),
            heartbeat_ms: millis(self.offer.heartbeat),
        };
        let reply: RegisterReply = self.link.post(routes::NODES, &request)?;
        if self.identity.cluster().is_some_and(|cluster| *cluster != reply.cluster_id) {
            self.give_up.because(format!("the master's cluster is {}, not this worker's", reply.cluster_id));
            return Ok(false);
        }
        if let Err(error) = self.identity.grant(&reply.cluster_id, reply.incarnation) {
            log::error!("what the master granted was not kept because={error}");
        }
        self.know_owner();
        log::info!("registered master={} incarnation={}", self.link.address(), reply.incarnation);
        self.link.open(Session {
            cluster: reply.cluster_id,
            epoch: reply.epoch,
            incarnation: reply.incarnation,
            lease: Duration::from_millis(reply.lease_ms),
        });
        Ok(false)
    }

    /// Whose containers are this node's, once it is known.
    fn know_owner(&self) {
        let Some(cluster) = self.identity.cluster().cloned() else { return };
        // Set before: it is the same cluster.
        let _ = self.ground.owner.set(Owner { cluster, node: self.offer.node.clone() });
    }

    /// One beat, and its reply. Gives true: this node must register again.
    fn beat(&self) -> Result<bool, ClientError> {
        self.take_up_containers();
        self.is_ready.store(self.ground.desired.is_open(), Ordering::Release);
        let Some(session) = self.link.session() else { return Ok(true) };
        let (number, heard, running_tasks) = self.ground.desired.begin_beat();
        let request = HeartbeatRequest {
            node_id: self.offer.node.clone(),
            incarnation: session.incarnation,
            epoch: heard.epoch,
            revision: heard.revision,
            capacity: self.offer.capacity,
            ready: self.watch.is_ready() && self.ground.desired.takes_work(),
            running_tasks,
        };
        let sent = clock::mono();
        let reply: HeartbeatReply = self.link.post(routes::HEARTBEAT, &request)?;
        if reply.cluster_id != session.cluster {
            // Nothing of a stranger's set counts.
            return Ok(true);
        }
        self.link.hear_epoch(reply.epoch);
        // A master that was started again may grant another lease: that is heard at a registration.
        let is_new_master = reply.epoch != session.epoch;
        let register = reply.register || is_new_master;
        for task in &reply.forget {
            self.ground.logs.forget(task);
        }
        // Order: what ran out before this answer is over, whatever it says; what it stops must not start under the
        // lease that it renews.
        self.ground.lease.end_what_lapsed();
        self.ground.desired.apply(reply, number, clock::now());
        if !is_new_master {
            self.ground.lease.renew(sent, session.lease);
        }
        Ok(register)
    }

    /// Takes up the containers that an earlier process of this node left, as soon as the Engine answers.
    fn take_up_containers(&self) {
        let Some(owner) = self.ground.owner.get().filter(|_| !self.ground.desired.is_open()) else { return };
        match self.ground.engine.list(owner) {
            Ok(found) => {
                if !found.is_empty() {
                    log::info!("took up containers count={}", found.len());
                }
                self.ground.desired.adopt(found, self.ground.outbox.waiting());
                self.ground.lease.judge_what_was_taken_up();
            }
            Err(error) => log::warn!("the engine can't say what runs because={error}"),
        }
    }

    /// Only what the master says of this node for good ends it: that a later worker has taken over, or that it can't
    /// register.
    fn after(&self, error: &ClientError, failures: u32, was_registering: bool) -> Next {
        let Some(problem) = error.problem() else {
            if failures == 1 {
                log::warn!("no answer from the master master={} because={error}", self.link.address());
            }
            return Next::Again;
        };
        match (problem.status, problem.code.as_ref()) {
            (404, _) if !was_registering => return Next::Register,
            (409, "superseded") => {
                self.give_up.because(format!("a later worker has taken over {}", self.offer.node));
                return Next::End;
            }
            (400 | 403 | 409 | 422, _) if was_registering => {
                self.give_up.because(format!("the master refuses this node: {}", problem.detail));
                return Next::End;
            }
            _ if failures == 1 => log::warn!("the master did not take it because={error}"),
            _ => {}
        }
        Next::Again
    }
}

/// Doubles from the first pause to the longest.
fn pause(failures: u32) -> Duration {
    let (first, longest) = PAUSES;
    first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest)
}
