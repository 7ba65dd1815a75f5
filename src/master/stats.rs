//! The threads `stats-1` to `stats-8`: pass on what a node's tasks use, as its worker measures it.
//!
//! Main type: [`StatsDesk`], behind GET /nodes/:id/stats. However many ask about a node, its worker is asked once at a
//! time, and all get that answer; so a worker that doesn't answer holds up one thread, for [`ANSWER_WITHIN`]. Nothing is
//! kept: the master knows what tasks asked for, and only passes on what they use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use crate::api::routes;
use crate::http::client::Call;
use crate::http::{ClientError, Problem, Responder, Response};
use crate::master::reach::Reach;
use crate::model::id::NodeId;
use crate::runtime::supervise::{Stop, Supervisor};

/// How many threads ask.
const THREADS: usize = 8;

/// How long a worker may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The longest answer, in bytes: tens of thousands of tasks.
const MAX_ANSWER: u64 = 8 * 1024 * 1024;

/// Nodes that may wait for a thread.
const MOST_NODES: usize = 4096;

/// Requests that may wait for one node.
const MOST_ASKING: usize = 64;

/// Who waits for which node's figures.
pub struct StatsDesk {
    asking: Mutex<HashMap<NodeId, Vec<Responder>>>,
    turns: (Sender<Turn>, Receiver<Turn>),
}

/// A node that is to be asked.
struct Turn {
    node: NodeId,
    reach: Reach,
}

impl Default for StatsDesk {
    fn default() -> Self {
        Self { asking: Mutex::default(), turns: bounded(MOST_NODES) }
    }
}

impl StatsDesk {
    /// Has a node's worker asked. Never blocks: the answer comes later.
    pub fn ask(&self, node: NodeId, reach: Reach, responder: Responder) {
        let refused = {
            let mut asking = self.asking.lock();
            match asking.get_mut(&node) {
                Some(others) if others.len() >= MOST_ASKING => Some(responder),
                Some(others) => {
                    others.push(responder);
                    None
                }
                None => match self.turns.0.try_send(Turn { node: node.clone(), reach }) {
                    Ok(()) => {
                        asking.insert(node, vec![responder]);
                        None
                    }
                    Err(_) => Some(responder),
                },
            }
        };
        if let Some(responder) = refused {
            responder.send(Problem::unavailable("busy", "as many as may wait for figures do wait"));
        }
    }

    /// Body of the threads `stats-N`.
    pub fn run(&self, stop: &Stop) {
        loop {
            select! {
                recv(self.turns.1) -> turn => match turn {
                    Ok(turn) => self.serve(&turn),
                    Err(_) => return,
                },
                recv(stop.channel_ref()) -> _ => return,
            }
        }
    }

    fn serve(&self, turn: &Turn) {
        let response = match figures(&turn.reach) {
            Ok(body) => Response::new(200, "application/json", body),
            Err(error) => unreachable(&turn.node, &error.to_string()).into(),
        };
        // Race: whoever comes after this has the worker asked again.
        let asking = self.asking.lock().remove(&turn.node).unwrap_or_default();
        asking.into_iter().for_each(|responder| responder.send(response.clone()));
    }
}

/// Asks a worker. Blocks for [`ANSWER_WITHIN`] at most.
fn figures(reach: &Reach) -> Result<Vec<u8>, ClientError> {
    let call = Call {
        idempotent: false,
        max_reply_bytes: MAX_ANSWER,
        ..Call::new("GET", routes::STATS, ANSWER_WITHIN)
    };
    reach.client()?.call(call).map(|reply| reply.body)
}

/// The problem of a node that gives no figures.
pub fn unreachable(node: &NodeId, why: &str) -> Problem {
    Problem::unavailable("node_unreachable", format!("{node} gives no figures: {why}"))
}

/// Starts the desk's threads.
///
/// # Errors
/// The operating system refuses one.
pub fn start(desk: &Arc<StatsDesk>, supervisor: &mut Supervisor) -> std::io::Result<()> {
    (1..=THREADS).try_for_each(|number| {
        let desk = Arc::clone(desk);
        supervisor.vital(format!("stats-{number}"), move |stop| desk.run(&stop))
    })
}
