//! Pushing assignments to workers, in batches over kept-alive connections.
//!
//! A push is a hint that makes things quick: if it is lost, the node's next beat brings the same assignment. So a
//! push that fails is dropped, and its node gets no further pushes until it is heard again. The threads
//! `dispatch-N` take one node at a time, and send all that has gathered for it in one request.
//!
//! Invariant: what is pushed is durable; its caller saw to that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;
use serde_json::Value;

use crate::api::routes;
use crate::api::wire::agent::{Assignment, StopOrder, TaskOrder};
use crate::http::{Client, ClientError};
use crate::master::reach::Reach;
use crate::master::state::Placed;
use crate::model::id::{AttemptKey, Epoch};
use crate::model::node::NodeAddress;
use crate::runtime::supervise::Stop;

/// How many threads push. A worker that doesn't answer holds one of them up for [`PUSH_DEADLINE`], once a beat.
pub const THREADS: usize = 4;

/// How long a worker may take to answer a push.
const PUSH_DEADLINE: Duration = Duration::from_secs(3);

/// Assignments that gather for one node at most. More would be told by its beat anyway.
const MOST_GATHERED: usize = 10_000;

/// Assignments in one request.
const MOST_AT_ONCE: usize = 500;

/// Nodes that may wait for a thread.
const MOST_NODES: usize = 65_536;

/// Something to tell a node.
#[derive(Debug)]
enum Push {
    Assign(Box<Assignment>),
    Stop { attempt: AttemptKey, grace: Duration },
}

/// What has gathered for one node.
#[derive(Default)]
struct Gathered {
    pushes: Vec<Push>,
    /// A thread has it, or is to have it.
    is_taken: bool,
    /// The last push failed: wait until the node is heard.
    is_paused: bool,
    reach: Option<Reach>,
    client: Option<Client>,
}

/// Gathers what nodes are to be told, and tells them.
pub struct Dispatcher {
    epoch: Epoch,
    nodes: Mutex<HashMap<String, Gathered>>,
    ready: (Sender<String>, Receiver<String>),
}

impl Dispatcher {
    /// For the master's current start.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, nodes: Mutex::new(HashMap::new()), ready: bounded(MOST_NODES) }
    }

    /// Tells a node of an attempt that is its own. Never blocks.
    pub fn assign(&self, placed: Placed) {
        let assignment = Assignment {
            epoch: self.epoch,
            incarnation: placed.incarnation,
            revision: placed.revision,
            attempt: placed.task.attempt,
            task: TaskOrder::from(&*placed.task),
        };
        self.gather(&placed.reach, Push::Assign(Box::new(assignment)));
    }

    /// Tells a node to stop an attempt. Never blocks.
    pub fn stop(&self, reach: &Reach, attempt: AttemptKey, grace: Duration) {
        self.gather(reach, Push::Stop { attempt, grace });
    }

    /// A node was heard: it may be pushed to again.
    pub fn heard(&self, address: &NodeAddress) {
        if let Some(gathered) = self.nodes.lock().get_mut(&address.to_string()) {
            gathered.is_paused = false;
        }
    }

    fn gather(&self, reach: &Reach, push: Push) {
        let address = reach.address.to_string();
        let mut nodes = self.nodes.lock();
        let gathered = nodes.entry(address.clone()).or_default();
        if gathered.reach.as_ref() != Some(reach) {
            // It is new, or has joined again and got another key.
            gathered.client = None;
            gathered.reach = Some(reach.clone());
        }
        if gathered.is_paused || gathered.pushes.len() >= MOST_GATHERED {
            return;
        }
        gathered.pushes.push(push);
        if !gathered.is_taken {
            // Full: the node's beat will tell it.
            gathered.is_taken = self.ready.0.try_send(address).is_ok();
        }
    }

    /// Body of the threads `dispatch-N`.
    pub fn run(&self, stop: &Stop) {
        loop {
            select! {
                recv(self.ready.1) -> address => match address {
                    Ok(address) => self.serve(&address),
                    Err(_) => return,
                },
                recv(stop.channel_ref()) -> _ => return,
            }
        }
    }

    /// Sends until nothing is left for this node.
    fn serve(&self, address: &str) {
        while let Some((client, pushes)) = self.take(address) {
            if let Err(why) = send(&client, pushes) {
                log::debug!("push failed, the next beat will tell address={address} because={why}");
                if let Some(gathered) = self.nodes.lock().get_mut(address) {
                    gathered.is_paused = true;
                    gathered.pushes.clear();
                }
            }
        }
    }

    /// What is to be sent next. None: nothing, and the node is free for another thread.
    fn take(&self, address: &str) -> Option<(Client, Vec<Push>)> {
        let mut nodes = self.nodes.lock();
        let gathered = nodes.get_mut(address)?;
        if gathered.pushes.is_empty() {
            gathered.is_taken = false;
            return None;
        }
        if gathered.client.is_none() {
            gathered.client = gathered.reach.as_ref().and_then(|reach| reach.client().ok());
        }
        let count = gathered.pushes.len().min(MOST_AT_ONCE);
        let pushes = gathered.pushes.drain(..count).collect();
        gathered.client.clone().map(|client| (client, pushes))
    }
}

/// Sends assignments in one request, then stops one by one.
fn send(client: &Client, pushes: Vec<Push>) -> Result<(), String> {
    let mut assignments = Vec::new();
    let mut stops = Vec::new();
    for push in pushes {
        match push {
            Push::Assign(assignment) => assignments.push(*assignment),
            Push::Stop { attempt, grace } => stops.push((attempt, grace)),
        }
    }
    if !assignments.is_empty() {
        // The same assignment again changes nothing, so trying twice is safe.
        let sent = client.post::<Value>(routes::TASKS, &assignments, PUSH_DEADLINE, true);
        sent.map_err(|error| error.to_string())?;
    }
    for (AttemptKey { task, attempt }, grace) in stops {
        let order = StopOrder { attempt: Some(attempt), grace_ms: Some(crate::api::wire::millis(grace)) };
        match client.post::<Value>(&routes::task_stop(task.as_str()), &order, PUSH_DEADLINE, true) {
            // It has ended meanwhile, or was not heard of yet.
            Err(ClientError::Refused(problem)) if problem.status == 404 => {}
            sent => drop(sent.map_err(|error| error.to_string())?),
        }
    }
    Ok(())
}

/// The dispatcher's threads, named and numbered.
pub fn start(
    dispatcher: &Arc<Dispatcher>,
    supervisor: &mut crate::runtime::supervise::Supervisor,
) -> std::io::Result<()> {
    (1..=THREADS).try_for_each(|number| {
        let dispatcher = Arc::clone(dispatcher);
        supervisor.vital(format!("dispatch-{number}"), move |stop| dispatcher.run(&stop))
    })
}
