//! The thread `stats`: measures, when asked, what the containers of this node's attempts use.
//!
//! Main type: [`Stats`], behind GET /stats. A sample is taken of every container that runs, on threads for that one
//! purpose, and compared with the one before ([`Meter`]); of those that have none yet a second one is taken a moment
//! later, for all of them at once. Everybody who asks meanwhile gets the same answer.
//!
//! Invariant: nothing is measured unless somebody asks, and an answer comes within [`ANSWER_WITHIN`] or so: what the
//! Engine gave no figures of by then is counted, and where that is everything, the answer is 503.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::api::wire::agent::{AttemptStatus, AttemptView};
use crate::api::wire::stats::{NodeStats, TaskStats};
use crate::engine::{EngineError, Usage};
use crate::http::{Problem, Responder, Response};
use crate::model::id::ContainerId;
use crate::model::resources::CpuMillis;
use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;
use crate::worker::errands::Errands;
use crate::worker::meter::{Meter, Sample};
use crate::worker::monitor::Ground;
use crate::worker::watch::EngineWatch;

/// Requests that may wait for one measurement.
const MOST_ASKING: usize = 64;

/// Containers that the Engine is asked about at a time. Docker 20.10 answers all of them at its collector's next tick,
/// however many; so the fewer there are at a time, the more ticks it takes.
const AT_ONCE: usize = 64;

/// How long a measurement may take. Less than the master waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// How far apart the two samples are of a container that has none yet.
const APART: Duration = Duration::from_millis(250);

/// How long a measurement is good enough for whoever asks next.
const FRESH: Duration = Duration::from_millis(500);

/// How long an end waits for an Engine that hangs.
const END_WITHIN: Duration = Duration::from_secs(8);

/// Measures.
pub(super) struct Stats {
    ground: Arc<Ground>,
    watch: Arc<EngineWatch>,
    asking: (Sender<Responder>, Receiver<Responder>),
}

/// The thread's own.
struct Measuring {
    errands: Errands,
    meter: Meter,
    last: Option<(Mono, NodeStats)>,
}

/// The Engine gives no figures.
struct NoFigures;

impl Stats {
    /// Nothing measured yet.
    pub(super) fn new(ground: Arc<Ground>, watch: Arc<EngineWatch>) -> Self {
        Self { ground, watch, asking: bounded(MOST_ASKING) }
    }

    /// GET /stats. Never blocks: the answer comes later.
    pub(super) fn ask(&self, responder: Responder) {
        if !self.watch.is_ready() {
            return responder.send(no_figures());
        }
        if let Err(refused) = self.asking.0.try_send(responder) {
            let problem = Problem::unavailable("busy", "as many as may wait for figures do wait");
            refused.into_inner().send(problem);
        }
    }

    /// Body of the thread `stats`.
    pub(super) fn run(&self, stop: &Stop) {
        let errands = Errands::new("stats", AT_ONCE);
        let mut measuring = Measuring { errands, meter: Meter::default(), last: None };
        loop {
            select! {
                recv(self.asking.1) -> first => {
                    let asking: Vec<Responder> = first.into_iter().chain(self.asking.1.try_iter()).collect();
                    let response = match measuring.figures(&self.ground) {
                        Ok(stats) => Response::json(200, &stats),
                        Err(NoFigures) => no_figures().into(),
                    };
                    asking.into_iter().for_each(|responder| responder.send(response.clone()));
                }
                recv(stop.channel_ref()) -> _ => break,
            }
        }
        measuring.errands.end(END_WITHIN);
    }
}

impl Measuring {
    fn figures(&mut self, ground: &Ground) -> Result<NodeStats, NoFigures> {
        let began = clock::mono();
        if let Some((at, stats)) = &self.last
            && began.since(*at) < FRESH
        {
            return Ok(stats.clone());
        }
        let stats = self.measure(ground, began + ANSWER_WITHIN)?;
        self.last = Some((clock::mono(), stats.clone()));
        Ok(stats)
    }

    fn measure(&mut self, ground: &Ground, until: Mono) -> Result<NodeStats, NoFigures> {
        let mut running = running(ground);
        self.meter.keep(|container| running.contains_key(container));
        let mut stats = NodeStats::default();
        let first = self.sample(ground, running.keys().cloned().collect(), until).ok_or(NoFigures)?;
        let alone = self.take(first, &mut running, &mut stats);
        if !alone.is_empty()
            && !ground.stop.wait(APART)
            && let Some(second) = self.sample(ground, alone, until)
        {
            self.take(second, &mut running, &mut stats);
        }
        if stats.tasks.is_empty() && !running.is_empty() {
            return Err(NoFigures);
        }
        stats.unmeasured = running.len();
        stats.tasks.sort_by(|one, other| (&one.task_id, one.attempt).cmp(&(&other.task_id, other.attempt)));
        Ok(stats)
    }

    /// Asks the Engine about all of these, as far as there is time. A container without a sample is gone. None: the
    /// Engine hasn't answered what it was asked before.
    fn sample(
        &mut self,
        ground: &Ground,
        containers: Vec<ContainerId>,
        until: Mono,
    ) -> Option<Vec<(ContainerId, Option<Sample>)>> {
        let engine = Arc::clone(&ground.engine);
        let look = move |container: &ContainerId| match engine.stats(container) {
            Ok(usage) => Some((container.clone(), Some(Sample { at: clock::mono(), usage }))),
            Err(EngineError::NotFound { .. }) => Some((container.clone(), None)),
            Err(error) => {
                log::debug!("the engine gives no figures container={container} because={error}");
                None
            }
        };
        let found = self.errands.run(containers, until.since(clock::mono()), look)?;
        Some(found.into_iter().flatten().collect())
    }

    /// Moves what was measured from those that run to the answer. Gives those whose first sample this was.
    fn take(
        &mut self,
        found: Vec<(ContainerId, Option<Sample>)>,
        running: &mut HashMap<ContainerId, AttemptView>,
        stats: &mut NodeStats,
    ) -> Vec<ContainerId> {
        let mut alone = Vec::new();
        for (container, sample) in found {
            let cpu = sample.map(|sample| (sample, self.meter.note(&container, sample)));
            match cpu {
                Some((_, None)) => alone.push(container),
                Some((sample, Some(cpu))) => {
                    if let Some(attempt) = running.remove(&container) {
                        add(stats, attempt, cpu, sample.usage);
                    }
                }
                None => drop(running.remove(&container)),
            }
        }
        alone
    }
}

/// The attempts whose container runs.
fn running(ground: &Ground) -> HashMap<ContainerId, AttemptView> {
    let views = ground.desired.views().into_iter().filter(|view| view.status == AttemptStatus::Running);
    views.filter_map(|view| Some((view.container_id.clone()?, view))).collect()
}

fn add(stats: &mut NodeStats, attempt: AttemptView, cpu: CpuMillis, usage: Usage) {
    let task = TaskStats {
        task_id: attempt.task_id,
        attempt: attempt.attempt,
        name: attempt.name,
        cpu_millis: cpu.0,
        memory_bytes: usage.memory.0,
    };
    stats.cpu_millis = stats.cpu_millis.saturating_add(task.cpu_millis);
    stats.memory_bytes = stats.memory_bytes.saturating_add(task.memory_bytes);
    stats.tasks.push(task);
}

fn no_figures() -> Problem {
    Problem::unavailable("engine", "the container engine gives no figures")
}
