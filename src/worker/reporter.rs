//! The reporter thread: tells the master what happened to attempts, in order, until it has answered.
//!
//! Monitors send [`Event`]s over a channel; [`Pending`] numbers them and says what is sent when; the reporter sends it
//! and hands each verdict back to whoever waits for it. While the master doesn't answer, events wait there and the
//! channel fills up, which holds the monitors back; nothing is dropped.

pub mod pending;

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::api::routes;
use crate::api::wire::agent::{ReportsReply, Verdict};
use crate::http::ClientError;
use crate::model::id::{AttemptKey, NodeId};
use crate::runtime::supervise::{GiveUp, Stop};
use crate::worker::link::MasterLink;
use crate::worker::step::Step;

use pending::{Pending, Refusal};

/// Events that may wait in the channel before monitors wait.
const MOST_WAITING: usize = 1024;

/// How often it looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// Something to report, and who waits for the verdict.
#[derive(Debug)]
pub struct Event {
    /// The attempt.
    pub key: AttemptKey,
    /// What happened.
    pub step: Step,
    /// Told once the master has answered for good.
    pub answer: Option<Sender<Verdict>>,
}

/// Makes the channel that events go through.
pub fn channel() -> (Sender<Event>, Receiver<Event>) {
    bounded(MOST_WAITING)
}

/// The thread's own.
pub(super) struct Reporter {
    pub(super) node: NodeId,
    pub(super) link: Arc<MasterLink>,
    pub(super) events: Receiver<Event>,
    /// Tells the heartbeat that this node must register again.
    pub(super) register: Sender<()>,
    pub(super) give_up: GiveUp,
}

impl Reporter {
    /// Body of the thread `reporter`.
    pub(super) fn run(&self, stop: &Stop) {
        let mut pending = Pending::default();
        while !stop.requested() {
            self.gather(&mut pending);
            if pending.is_empty() {
                continue;
            }
            match self.send(&pending) {
                Ok(reply) => pending.settle(&reply).into_iter().for_each(answer),
                Err(error) => {
                    let refusal = pending.fail(error.problem());
                    self.heed(refusal, &error, pending.failures());
                }
            }
            if let Some(pause) = pending.pause() {
                stop.wait(pause);
            }
        }
    }

    /// Takes what has come. Blocks for a moment where nothing waits.
    fn gather(&self, pending: &mut Pending) {
        if pending.is_empty() {
            match self.events.recv_timeout(STOP_CHECK) {
                Ok(event) => pending.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
        while !pending.is_full() {
            let Ok(event) = self.events.try_recv() else { return };
            pending.push(event);
        }
    }

    fn send(&self, pending: &Pending) -> Result<ReportsReply, ClientError> {
        let Some(session) = self.link.session() else {
            return Err(ClientError::Unreachable("this node isn't registered yet".to_owned()));
        };
        self.link.post(&routes::node_reports(self.node.as_str()), &pending.batch(&session))
    }

    fn heed(&self, refusal: Refusal, error: &ClientError, failures: u32) {
        match refusal {
            Refusal::Again => {}
            Refusal::Register => {
                // Full: the heartbeat is about to hear of it.
                let _ = self.register.try_send(());
            }
            Refusal::Superseded => {
                self.give_up.because(format!("a later worker has taken over {}", self.node));
            }
        }
        if failures == 1 {
            log::warn!("reports wait for the master because={error}");
        }
    }
}

/// Hands a verdict to whoever waits for it.
fn answer((event, verdict): (Event, Verdict)) {
    if let Some(answer) = event.answer {
        // Whoever waited may have ended: the process stops.
        let _ = answer.try_send(verdict);
    }
}
