//! This node's membership in the cluster: what it sends the master next, and what an answer means. Pure.
//!
//! Main type: [`Membership`]. It says whose [`Turn`] it is, a registration's or a beat's, and answers what came of that
//! with [`Deed`]s, to be carried out in their order. A beat that fails is tried again sooner than the next one is due.
//! Once a later worker has taken over the node, or the cluster turns out to be another one, the worker gives up and
//! leaves its containers alone.
//!
//! Order: of a reply, what ran out before it is ended first, whatever it says: what that stops must not start under the
//! lease that it renews. Then the set is applied, and only then the lease is renewed. Invariant: nothing of a foreign
//! cluster's set counts, and a master that was started again renews no lease before the node has registered with it.

use std::time::Duration;

use crate::api::wire::agent::{HeartbeatReply, RegisterReply};
use crate::http::Problem;
use crate::model::id::{ClusterId, Epoch, Incarnation, NodeId, TaskId};
use crate::model::time::Mono;

/// The pause after a first failure, and after many.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a registration granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The cluster.
    pub cluster: ClusterId,
    /// The master's start.
    pub epoch: Epoch,
    /// This worker's start.
    pub incarnation: Incarnation,
    /// How long this node may run what can be rescheduled without hearing from the master.
    pub lease: Duration,
}

/// What is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// What this node joins with, for a token of its own.
    Join,
    /// A registration.
    Register,
    /// A beat.
    Beat(Session),
}

/// What is to be done about an answer, in the order in which it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Keep on disk what was granted.
    Keep(ClusterId, Incarnation),
    /// From now on, reports and pushes go by this.
    Open(Session),
    /// Take up the containers that an earlier process left, where that wasn't done yet.
    TakeUp,
    /// Let the logs of these tasks go.
    Forget(Vec<TaskId>),
    /// End what runs under a lease that has run out.
    EndLapsed,
    /// Apply what the master wants, as the reply to the beat of that number.
    Apply(Box<HeartbeatReply>, u64),
    /// Renew the lease, from when the beat was sent, by so much.
    Renew(Mono, Duration),
    /// Wait so long, until somebody wants a beat or a registration, or the process stops.
    Wait(Duration),
    /// End the process, for that reason.
    GiveUp(String),
}

/// This node's membership in the cluster.
#[derive(Clone, Debug)]
pub struct Membership {
    node: NodeId,
    heartbeat: Duration,
    cluster: Option<ClusterId>,
    session: Option<Session>,
    must_register: bool,
    /// Failures in a row.
    failures: u32,
    /// Beats in a row whose answer was to register.
    sent_back: u32,
    /// Whether it has a token of its own, and something to get one with.
    has_token: bool,
    can_join: bool,
    must_join: bool,
}

impl Membership {
    /// Of a node that is not registered yet, which means to beat so often. `cluster`: the one that it belongs to, where
    /// it is known from an earlier start.
    pub const fn new(node: NodeId, heartbeat: Duration, cluster: Option<ClusterId>) -> Self {
        Self {
            node,
            heartbeat,
            cluster,
            session: None,
            must_register: true,
            failures: 0,
            sent_back: 0,
            has_token: false,
            can_join: false,
            must_join: false,
        }
    }

    /// With a token of its own, kept by an earlier start, or with something to get one with.
    #[must_use]
    pub const fn showing(mut self, has_token: bool, can_join: bool) -> Self {
        (self.has_token, self.can_join) = (has_token, can_join);
        self.must_join = can_join && !has_token;
        self
    }

    /// Whether it has a token of its own.
    pub const fn has_token(&self) -> bool {
        self.has_token
    }

    /// Whether it has something to get a token with.
    pub const fn can_join(&self) -> bool {
        self.can_join
    }

    /// It has found something to get a token with.
    pub const fn may_join(&mut self) {
        (self.can_join, self.must_join) = (true, self.must_join || !self.has_token);
    }

    /// It has got a token of its own: it registers at once.
    pub const fn joined(&mut self) {
        (self.has_token, self.must_join, self.must_register, self.failures) = (true, false, true, 0);
    }

    /// What is to be sent now.
    pub fn turn(&self) -> Turn {
        if self.must_join {
            return Turn::Join;
        }
        match self.session.clone().filter(|_| !self.must_register) {
            Some(session) => Turn::Beat(session),
            None => Turn::Register,
        }
    }

    /// The cluster, once it is known.
    pub const fn cluster(&self) -> Option<&ClusterId> {
        self.cluster.as_ref()
    }

    /// How often in a row the master did not answer, or refused.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Somebody heard that this node must register again.
    pub const fn must_register(&mut self) {
        self.must_register = true;
    }

    /// Why nothing of this cluster may be taken: this node belongs to another one.
    pub fn foreign(&self, cluster: &ClusterId) -> Option<String> {
        let is_foreign = self.cluster.as_ref().is_some_and(|own| own != cluster);
        is_foreign.then(|| format!("the master's cluster is {cluster}, not this worker's"))
    }

    /// A registration was granted: a beat follows at once.
    pub fn registered(&mut self, reply: RegisterReply) -> Vec<Deed> {
        if let Some(why) = self.foreign(&reply.cluster_id) {
            return vec![Deed::GiveUp(why)];
        }
        let session = Session {
            cluster: reply.cluster_id,
            epoch: reply.epoch,
            incarnation: reply.incarnation,
            lease: Duration::from_millis(reply.lease_ms),
        };
        (self.must_register, self.failures) = (false, 0);
        self.cluster = Some(session.cluster.clone());
        self.session = Some(session.clone());
        vec![Deed::Keep(session.cluster.clone(), session.incarnation), Deed::Open(session)]
    }

    /// A beat was answered. `number` is the one that it was given, and `sent` when it was sent.
    pub fn answered(&mut self, mut reply: HeartbeatReply, number: u64, sent: Mono) -> Vec<Deed> {
        self.failures = 0;
        let Some(session) = self.session.as_mut().filter(|session| session.cluster == reply.cluster_id)
        else {
            // Nothing of a stranger's set counts.
            return self.send_back();
        };
        let mut deeds = Vec::new();
        // A master that was started again may grant another lease: that is heard at a registration.
        let is_new_master = reply.epoch != session.epoch;
        if reply.epoch > session.epoch {
            session.epoch = reply.epoch;
            deeds.push(Deed::Open(session.clone()));
        }
        let lease = session.lease;
        if !reply.forget.is_empty() {
            deeds.push(Deed::Forget(std::mem::take(&mut reply.forget)));
        }
        let must_register = reply.register || is_new_master;
        deeds.extend([Deed::EndLapsed, Deed::Apply(Box::new(reply), number)]);
        if !is_new_master {
            deeds.push(Deed::Renew(sent, lease));
        }
        if must_register {
            deeds.extend(self.send_back());
        } else {
            self.sent_back = 0;
            deeds.push(Deed::Wait(self.interval()));
        }
        deeds
    }

    /// A registration or a beat was not answered, or was refused with a problem. Only what the master says of this node
    /// for good ends it: that a later worker has taken over, or that it can't register or join. A node that was let in
    /// once and isn't any more waits: somebody may see to it, and its containers stay.
    pub fn failed(&mut self, problem: Option<&Problem>) -> Vec<Deed> {
        self.failures = self.failures.saturating_add(1);
        let turn = self.turn();
        let next = if turn == Turn::Join {
            self.failed_to_join(problem)
        } else {
            self.was_refused(problem, turn == Turn::Register)
        };
        vec![Deed::TakeUp, next]
    }

    fn failed_to_join(&mut self, problem: Option<&Problem>) -> Deed {
        let refusal = problem.filter(|problem| matches!(problem.status, 400 | 401 | 403 | 404 | 409 | 422));
        match refusal {
            Some(problem) if !self.has_token => {
                Deed::GiveUp(format!("the master does not let this node join: {}", problem.detail))
            }
            Some(_) | None => {
                // Whoever has a token of its own tries that again first.
                self.must_join = !self.has_token;
                Deed::Wait(self.pause(self.failures))
            }
        }
    }

    fn was_refused(&mut self, problem: Option<&Problem>, was_registering: bool) -> Deed {
        let answer = problem.map(|problem| (problem.status, problem.code.as_ref(), &problem.detail));
        match answer {
            Some((401, _, _)) if was_registering && !self.has_token => Deed::GiveUp(
                "the master lets nobody join without a token: `podling token create --join` makes a word for it, \
                 and --token-file names the file that holds it"
                    .to_owned(),
            ),
            Some((401, _, _)) => {
                self.must_join = self.can_join;
                Deed::Wait(self.pause(self.failures))
            }
            Some((404, _, _)) if !was_registering => {
                self.must_register = true;
                Deed::Wait(self.pause(self.failures))
            }
            Some((409, "superseded", _)) => {
                Deed::GiveUp(format!("a later worker has taken over {}", self.node))
            }
            Some((400 | 403 | 409 | 422, _, detail)) if was_registering => {
                Deed::GiveUp(format!("the master refuses this node: {detail}"))
            }
            Some(_) | None => Deed::Wait(self.pause(self.failures)),
        }
    }

    /// The answer was to register. Where registering did not help, not again at once.
    fn send_back(&mut self) -> Vec<Deed> {
        self.must_register = true;
        self.sent_back = self.sent_back.saturating_add(1);
        if self.sent_back > 1 { vec![Deed::Wait(self.pause(self.sent_back))] } else { Vec::new() }
    }

    /// From one beat to the next.
    fn interval(&self) -> Duration {
        self.session.as_ref().map_or(self.heartbeat, |session| self.heartbeat.min(session.lease / 3))
    }

    /// Doubles from the first pause to the longest, and is never longer than a beat.
    fn pause(&self, failures: u32) -> Duration {
        let (first, longest) = PAUSES;
        let pause = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(longest);
        pause.min(self.interval())
    }
}

#[cfg(test)]
mod tests;
