//! The heartbeat thread: joins and registers this node, takes up what its Engine already runs, and beats.
//!
//! Main type: [`Heartbeat`]. [`Membership`] decides what is sent and what an answer means; here are the wire, the disk
//! and the waits. Each beat says what this node holds; the reply is the whole set of what it is to run.
//!
//! Order: listen, join, register, take up containers, beat. Until they are taken up the node says that it isn't ready, and
//! replies change nothing. Where the master can't be reached at a start, they are taken up all the same: what runs
//! under a lease must end with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, after, select};

use crate::api::routes;
use crate::api::wire::agent::{HeartbeatReply, RegisterReply};
use crate::api::wire::token::{JoinReply, JoinRequest};
use crate::engine::Owner;
use crate::http::{ClientError, Trust};
use crate::model::id::{ClusterId, Incarnation};
use crate::model::time::Mono;
use crate::model::token::NotAKey;
use crate::pki::PkiError;
use crate::runtime::clock;
use crate::runtime::supervise::{GiveUp, Stop};
use crate::worker::certificates::Showing;
use crate::worker::credentials::{Credentials, Ticket};
use crate::worker::guard::Guard;
use crate::worker::identity::Identity;
use crate::worker::link::MasterLink;
use crate::worker::membership::{Deed, Membership, Session, Turn};
use crate::worker::monitor::Ground;
use crate::worker::offer::{Offer, WorkerStart};
use crate::worker::watch::EngineWatch;

/// How long after a certificate couldn't be renewed it is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// How often it is said that the master refuses this node's token.
const SHUT_OUT_TOLD: Duration = Duration::from_secs(60);

/// The thread's own.
pub(super) struct Heartbeat {
    pub(super) membership: Membership,
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
    /// What this node joins with.
    pub(super) ticket: Option<Ticket>,
    pub(super) guard: Arc<Guard>,
    pub(super) showing: Showing,
    /// When its next certificate may be asked for, if it is due.
    pub(super) renew_from: Mono,
    /// When it was last said that the master refuses this node's token.
    pub(super) told: Option<Mono>,
    pub(super) give_up: GiveUp,
}

impl Heartbeat {
    /// Body of the thread `heartbeat`.
    pub(super) fn run(mut self, stop: &Stop) {
        self.know_owner();
        self.watch.await_first_answer(stop);
        while !stop.requested() {
            self.look_for_ticket();
            self.renew_if_due();
            let turn = self.membership.turn();
            let answer = match &turn {
                Turn::Join => self.join(),
                Turn::Register => self.register().map(|reply| self.membership.registered(reply)),
                Turn::Beat(session) => self
                    .beat(session)
                    .map(|(reply, number, sent)| self.membership.answered(reply, number, sent)),
            };
            let deeds = answer.unwrap_or_else(|error| {
                let deeds = self.membership.failed(error.problem());
                self.complain(&error, &turn);
                deeds
            });
            deeds.into_iter().for_each(|deed| self.carry_out(deed, stop));
        }
    }

    /// A master of this machine may make its token later than this worker looked for it first.
    fn look_for_ticket(&mut self) {
        let is_there = || self.ticket.as_ref().is_some_and(|ticket| ticket.read().is_ok());
        if !self.membership.can_join() && is_there() {
            self.membership.may_join();
        }
    }

    /// Gets a token of its own, and a certificate, and keeps them. Another cluster's are not taken.
    fn join(&mut self) -> Result<Vec<Deed>, ClientError> {
        let ticket = self.ticket.as_ref().ok_or_else(|| ClientError::BadAddress(String::new()))?;
        let (secret, fingerprint) = ticket.read_whole().map_err(ClientError::BadAddress)?;
        if let Some(fingerprint) = fingerprint {
            // The secret goes to nobody but the cluster that made the word.
            self.link.trust(&Trust::master_by_fingerprint(fingerprint), None)?;
        }
        let reply: JoinReply = self.link.post_showing(secret, routes::JOIN, &self.join_request()?)?;
        if let Some(why) = self.membership.foreign(&reply.cluster_id) {
            return Ok(vec![Deed::GiveUp(why)]);
        }
        self.take(&reply)?;
        self.membership.joined();
        log::info!("joined cluster={} master={}", reply.cluster_id, self.link.address());
        Ok(Vec::new())
    }

    /// Gets the next certificate with the token that there is, where it is time to.
    fn renew_if_due(&mut self) {
        let now = clock::now();
        if !self.membership.has_token() || now.mono < self.renew_from || !self.showing.is_due(now.wall) {
            return;
        }
        let renew = || self.link.post(routes::JOIN, &self.join_request()?);
        match renew().and_then(|reply| self.take(&reply)) {
            Ok(()) => log::info!("this node's certificate was renewed"),
            Err(error) => {
                self.renew_from = now.mono + RENEW_AGAIN;
                log::warn!("this node's certificate can't be renewed because={error}");
            }
        }
    }

    fn join_request(&self) -> Result<JoinRequest, ClientError> {
        let csr_pem = self.showing.request().map_err(|error| ClientError::Malformed(error.to_string()))?;
        let (node_id, instance) = (self.offer.node.clone(), self.identity.instance().clone());
        Ok(JoinRequest { node_id, instance_id: Some(instance), csr_pem: Some(csr_pem) })
    }

    /// From now on, this node is what the master says.
    fn take(&mut self, reply: &JoinReply) -> Result<(), ClientError> {
        let malformed = |error: NotAKey| ClientError::Malformed(format!("the node's key {error}"));
        let key = reply.node_key.0.parse().map_err(malformed)?;
        let got = Credentials { token: reply.node_token.0.clone(), key };
        if let (Some(ca), Some(cert)) = (&reply.ca_pem, &reply.cert_pem) {
            let told = |error: PkiError| ClientError::Malformed(error.to_string());
            self.showing.take(ca, cert).map_err(told)?;
            self.link.trust(&Trust::master(ca.as_str()), Some(&got.token))?;
        } else {
            self.link.show(&got.token);
        }
        if let Err(error) = got.keep(self.identity.folder()) {
            log::error!("what this node got when it joined was not kept because={error}");
        }
        self.guard.lock(got.key);
        Ok(())
    }

    fn register(&self) -> Result<RegisterReply, ClientError> {
        let by = WorkerStart {
            instance: self.identity.instance().clone(),
            start: self.identity.start().clone(),
            incarnation: self.identity.incarnation(),
        };
        let engine = self.watch.description();
        let request = self.offer.registration(&by, self.membership.cluster(), engine.as_ref());
        self.link.post(routes::NODES, &request)
    }

    /// One beat: its reply, its number, and when it was sent.
    fn beat(&self, session: &Session) -> Result<(HeartbeatReply, u64, Mono), ClientError> {
        let desired = &self.ground.desired;
        self.take_up_containers();
        self.is_ready.store(desired.is_open(), Ordering::Release);
        let (number, heard, held) = desired.begin_beat();
        let is_ready = self.watch.is_ready() && desired.takes_work();
        let request = self.offer.beat(session.incarnation, heard, held, is_ready);
        let sent = clock::mono();
        self.link.post(routes::HEARTBEAT, &request).map(|reply| (reply, number, sent))
    }

    fn carry_out(&mut self, deed: Deed, stop: &Stop) {
        let ground = &self.ground;
        match deed {
            Deed::Keep(cluster, incarnation) => self.keep(&cluster, incarnation),
            Deed::Open(session) => self.link.open(session),
            Deed::TakeUp => self.take_up_containers(),
            Deed::Forget(tasks) => tasks.iter().for_each(|task| ground.logs.forget(task)),
            Deed::EndLapsed => ground.lease.end_what_lapsed(),
            Deed::Apply(reply, number) => ground.desired.apply(*reply, number, clock::now()),
            Deed::Renew(sent, length) => ground.lease.renew(sent, length),
            Deed::Wait(duration) => self.wait(stop, duration),
            Deed::GiveUp(why) => {
                self.give_up.because(why);
                stop.wait(Duration::MAX);
            }
        }
    }

    /// Until that time has passed, or somebody wants a beat or a registration now.
    fn wait(&mut self, stop: &Stop, duration: Duration) {
        select! {
            recv(self.register) -> _ => self.membership.must_register(),
            recv(self.nudge) -> _ => {}
            recv(after(duration)) -> _ => {}
            recv(stop.channel_ref()) -> _ => {}
        }
    }

    fn keep(&mut self, cluster: &ClusterId, incarnation: Incarnation) {
        if let Err(error) = self.identity.grant(cluster, incarnation) {
            log::error!("what the master granted was not kept because={error}");
        }
        self.know_owner();
        log::info!("registered master={} incarnation={incarnation}", self.link.address());
    }

    /// Whose containers are this node's, once it is known.
    fn know_owner(&self) {
        let Some(cluster) = self.membership.cluster().cloned() else { return };
        // Set before: it is the same cluster.
        let _ = self.ground.owner.set(Owner { cluster, node: self.offer.node.clone() });
    }

    /// Takes up the containers that an earlier process of this node left, as soon as the Engine answers.
    fn take_up_containers(&self) {
        let Some(owner) = self.ground.owner.get().filter(|_| !self.ground.desired.is_open()) else { return };
        match self.ground.engine.list(owner) {
            Ok(found) => {
                if !found.is_empty() {
                    log::info!("took up containers count={}", found.len());
                }
                let signals = self.ground.stops.recall(&found);
                self.ground.desired.adopt(found, self.ground.outbox.waiting(), &signals);
                self.ground.lease.judge_what_was_taken_up();
            }
            Err(error) => log::warn!("the engine can't say what runs because={error}"),
        }
    }

    /// The first failure of several is worth a line; that this node isn't let in any more is worth one a minute.
    fn complain(&mut self, error: &ClientError, turn: &Turn) {
        let is_shut_out = error.problem().is_some_and(|problem| problem.status == 401);
        if is_shut_out && self.membership.has_token() {
            let now = clock::mono();
            if self.told.is_none_or(|told| now.since(told) >= SHUT_OUT_TOLD) {
                self.told = Some(now);
                log::error!(
                    "the master does not take this node's token: its containers stay, and nothing new comes; join it \
                     again by --token-file because={error}"
                );
            }
            return;
        }
        if self.membership.failures() > 1 {
            return;
        }
        match (error.problem(), turn) {
            (None, _) => {
                log::warn!("no answer from the master master={} because={error}", self.link.address());
            }
            // It registers, and says so.
            (Some(problem), Turn::Beat(_)) if problem.status == 404 => {}
            (Some(_), _) => log::warn!("the master did not take it because={error}"),
        }
    }
}
