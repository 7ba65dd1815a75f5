//! The threads `top-1` to `top-8`: ask the master what the nodes' tasks use, several nodes at a time.
//!
//! Main type: [`Gauges`]. A node that doesn't answer keeps one thread busy, and is not asked again until that thread is
//! back; nobody waits for it longer than for a picture. What it said last is shown meanwhile, for a while. The threads
//! end once the gauges are dropped, each after the question under way.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::api::routes;
use crate::api::wire::node::NodeView;
use crate::api::wire::stats::NodeStats;
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::cli::render::top::Gauge;
use crate::model::id::NodeId;
use crate::model::node::NodeStatus;
use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::{self, Thread};

/// How many nodes are asked at a time.
const THREADS: usize = 8;

/// Nodes that may wait for a thread, and answers for whoever reads them.
const MOST_NODES: usize = 4096;

/// How long one answer may take: longer than the master waits for the worker.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);

/// How long figures are shown while the next ones don't come.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// What came of asking about a node.
type Answer = (NodeId, Result<NodeStats, CliError>);

/// Asks about nodes, on threads of its own.
pub(super) struct Gauges {
    ask: Option<Sender<NodeId>>,
    answers: Receiver<Answer>,
    threads: Vec<Thread>,
    /// Those that haven't answered yet.
    awaited: HashSet<NodeId>,
    /// What each said last, and when that came.
    last: HashMap<NodeId, (Mono, Gauge)>,
}

impl Gauges {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system refuses one.
    pub(super) fn start(remote: &Remote) -> io::Result<Self> {
        let ((ask, next), (tell, answers)) = (bounded(MOST_NODES), bounded(MOST_NODES));
        let (awaited, last) = (HashSet::new(), HashMap::new());
        let mut gauges = Self { ask: Some(ask), answers, threads: Vec::new(), awaited, last };
        for number in 1..=THREADS {
            let (remote, next, tell) = (remote.clone(), next.clone(), tell.clone());
            let thread = supervise::spawn(format!("top-{number}"), move || serve(&remote, &next, &tell))?;
            gauges.threads.push(thread);
        }
        Ok(gauges)
    }

    /// What each node says within a time, or said a moment ago, in the nodes' order.
    pub(super) fn read(&mut self, nodes: &[NodeView], at_most: Duration) -> Vec<Gauge> {
        let until = clock::mono() + at_most;
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer);
        }
        for node in nodes.iter().filter(|node| node.status == NodeStatus::Online) {
            let is_new = !self.awaited.contains(&node.node_id);
            // Full: it is asked for the next picture.
            if is_new && self.ask.as_ref().is_some_and(|ask| ask.try_send(node.node_id.clone()).is_ok()) {
                self.awaited.insert(node.node_id.clone());
            }
        }
        while !self.awaited.is_empty()
            && let Ok(answer) = self.answers.recv_timeout(until.since(clock::mono()))
        {
            self.take(answer);
        }
        let now = clock::mono();
        self.last.retain(|_, (at, _)| now.since(*at) <= GOOD_FOR);
        nodes.iter().map(|node| self.gauge(node)).collect()
    }

    fn take(&mut self, (node, answer): Answer) {
        self.awaited.remove(&node);
        let gauge = answer.map_or_else(|error| Gauge::Silent(why(&node, &error)), Gauge::Read);
        self.last.insert(node, (clock::mono(), gauge));
    }

    fn gauge(&self, node: &NodeView) -> Gauge {
        match self.last.get(&node.node_id) {
            _ if node.status == NodeStatus::Offline => Gauge::Offline,
            Some((_, gauge)) => gauge.clone(),
            None => Gauge::Silent(format!("{} gives no figures: no answer in time", node.node_id)),
        }
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.ask = None;
        for thread in self.threads.drain(..) {
            thread.join();
        }
    }
}

/// In a sentence that names the node. The master's own does.
fn why(node: &NodeId, error: &CliError) -> String {
    match error.problem_code() {
        Some("node_unreachable") => error.to_string(),
        Some(_) | None => format!("{node} gives no figures: {error}"),
    }
}

/// Body of the threads.
fn serve(remote: &Remote, next: &Receiver<NodeId>, tell: &Sender<Answer>) {
    while let Ok(node) = next.recv() {
        let answer = remote.get_within(&routes::node_stats(node.as_str()), ANSWER_WITHIN);
        if tell.send((node, answer)).is_err() {
            return;
        }
    }
}
