//! One monitor thread per attempt: it walks its container through pull, create, start, wait, collect and remove, and
//! reports each step.
//!
//! Main type: [`Monitor`]. The walk has two halves. The first, up to the end of the attempt, is in `monitor/launch.rs`
//! (make it and start it) and here (wait for it); it comes to an [`Outcome`]. The second, [`Monitor::finish`], tells
//! the master, collects the log, and removes the container once the master has acknowledged.
//!
//! Invariant: a container is removed only after its attempt's end was acknowledged and its log was collected. A monitor
//! that panics ends its own attempt and no other.

mod collect;
mod launch;
mod observe;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, select};

use crate::api::wire::agent::Verdict;
use crate::engine::{ContainerKey, Engine, EngineError, Observed, Owner};
use crate::model::id::{AttemptKey, ContainerId};
use crate::model::task::{Ending, Reason};
use crate::runtime::clock;
use crate::runtime::supervise::{Stop, panic_message};
use crate::worker::crew::{Walk, What};
use crate::worker::desired::Desired;
use crate::worker::lease::LeaseKeeper;
use crate::worker::leash::Leash;
use crate::worker::logs::LogStore;
use crate::worker::outbox::Outbox;
use crate::worker::pulls::Pulls;
use crate::worker::reporter::{Event, Step};
use crate::worker::slots::Slots;

/// How long one wait at the Engine lasts. A container may run for longer: then the next wait begins.
const ONE_WAIT: Duration = Duration::from_secs(3600);

/// How long a monitor pauses before it asks an Engine that didn't answer again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What all monitors stand on.
pub(super) struct Ground {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) slots: Slots,
    pub(super) pulls: Arc<Pulls>,
    pub(super) logs: Arc<LogStore>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) desired: Arc<Desired>,
    pub(super) lease: Arc<LeaseKeeper>,
    /// Set by the registration, before anything is launched.
    pub(super) owner: OnceLock<Owner>,
    pub(super) log_max_bytes: u64,
    /// Has a beat sent now.
    pub(super) nudge: Sender<()>,
    pub(super) stop: Stop,
}

/// How the first half of a walk ends.
#[derive(Debug)]
enum Outcome {
    /// The attempt ended.
    Ended(Ending),
    /// No container was started, and none will be: another node may try.
    Refused(String),
    /// The process stops. What runs goes on running.
    Left,
}

/// Walks with one attempt.
#[derive(Clone)]
pub(super) struct Monitor {
    ground: Arc<Ground>,
    walk: Arc<Walk>,
}

impl Monitor {
    /// For one attempt.
    pub(super) fn new(ground: Arc<Ground>, walk: Walk) -> Self {
        Self { ground, walk: Arc::new(walk) }
    }

    /// Body of a monitor's thread.
    pub(super) fn run(&self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.walk())).unwrap_or_else(|payload| {
            let why = format!("its monitor panicked: {}", panic_message(payload.as_ref()));
            log::error!("a monitor panicked task={} because={why}", self.key());
            self.abandon(why)
        });
        self.finish(outcome);
        self.leash().let_go();
    }

    /// The attempt goes elsewhere, because there is no thread to walk with it.
    pub(super) fn refuse_for_want_of_a_thread(&self, error: &std::io::Error) {
        log::error!("no thread for a task task={} because={error}", self.key());
        let step = Step::Refused(format!("no thread can be had: {error}"), clock::wall());
        self.ground.desired.observe_end(self.key());
        self.ground.desired.report(Event { key: self.key().clone(), step, answer: None });
        self.ground.desired.acknowledge(self.key());
        self.ground.desired.release(self.key());
    }

    fn key(&self) -> &AttemptKey {
        &self.walk.key
    }

    fn leash(&self) -> &Leash {
        &self.walk.leash
    }

    fn container_key(&self) -> Result<ContainerKey, Outcome> {
        let owner = self.ground.owner.get().cloned().ok_or(Outcome::Left)?;
        Ok(ContainerKey { owner, task: self.key().task.clone(), attempt: self.key().attempt })
    }

    /// A call that takes a slot.
    fn with_slot<T>(
        &self,
        call: impl FnOnce(&dyn Engine) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let _slot = self.ground.slots.take();
        call(&*self.ground.engine)
    }

    /// Pauses before the Engine is asked again.
    ///
    /// # Errors
    /// The process stops.
    fn pause(&self) -> Result<(), Outcome> {
        if self.ground.stop.wait(TRY_AGAIN) { Err(Outcome::Left) } else { Ok(()) }
    }

    /// The first half: to the end of the attempt.
    fn walk(&self) -> Outcome {
        let ended = match &self.walk.what {
            What::New(order) => self.make(order).and_then(|container| self.start(&container, false)),
            What::Made(container) => self.start(container, true),
            What::Found(container) => self.look(container),
            What::Over(step) => return over(step),
        };
        ended.and_then(|observed| self.await_end(observed)).unwrap_or_else(|outcome| outcome)
    }

    /// Says that the container runs, and waits until it doesn't.
    fn await_end(&self, mut observed: Observed) -> Result<Outcome, Outcome> {
        if observe::runs(&observed) {
            self.tell_running(&observed);
        }
        while observe::runs(&observed) {
            match self.ground.engine.wait(&observed.id, ONE_WAIT) {
                Ok(true) => observed = self.look(&observed.id)?,
                Ok(false) => {}
                Err(EngineError::NotFound { .. }) => return Err(self.vanished(Some(&observed))),
                Err(error) => {
                    log::debug!("a wait broke off task={} because={error}", self.key());
                    self.pause()?;
                    observed = self.look(&observed.id)?;
                }
            }
        }
        Ok(Outcome::Ended(observe::ending(&observed, self.leash(), clock::wall())))
    }

    /// Looks at the container, however long it takes until the Engine answers.
    fn look(&self, container: &ContainerId) -> Result<Observed, Outcome> {
        loop {
            match self.with_slot(|engine| engine.inspect(container.as_str())) {
                Ok(observed) => return Ok(observed),
                Err(EngineError::NotFound { .. }) => return Err(self.vanished(None)),
                Err(error) => {
                    log::debug!("the engine can't say task={} because={error}", self.key());
                    self.pause()?;
                }
            }
        }
    }

    /// The container is gone, and not by our doing.
    fn vanished(&self, last_seen: Option<&Observed>) -> Outcome {
        Outcome::Ended(Ending {
            at: clock::wall(),
            reason: Some(Reason::Engine),
            exit_code: None,
            error: Some("container vanished".to_owned()),
            container: last_seen.map(|observed| observed.id.clone()),
            started_at: last_seen.and_then(|observed| observed.started_at),
        })
    }

    fn tell_running(&self, observed: &Observed) {
        let started_at = observed.started_at.unwrap_or_else(clock::wall);
        log::info!("task runs task={} container={}", self.key(), short(&observed.id));
        self.ground.desired.observe_running(self.key(), &observed.id, &self.walk.leash);
        self.tell(Step::Running(observed.id.clone(), started_at));
    }

    fn tell(&self, step: Step) {
        self.ground.desired.report(Event { key: self.key().clone(), step, answer: None });
    }

    /// After a panic: nothing may be left running that nobody watches.
    fn abandon(&self, why: String) -> Outcome {
        if let Ok(key) = self.container_key()
            && let Ok(observed) = self.ground.engine.inspect(&key.container_name())
            && let Err(error) = self.ground.engine.stop(&observed.id, Duration::ZERO)
        {
            log::error!("an abandoned container was not stopped task={} because={error}", self.key());
        }
        Outcome::Ended(Ending {
            at: clock::wall(),
            reason: Some(Reason::Engine),
            exit_code: None,
            error: Some(why),
            container: None,
            started_at: None,
        })
    }

    /// The second half: tell the master, keep the log, and remove the container once the master knows.
    fn finish(&self, outcome: Outcome) {
        let (step, has_run) = match outcome {
            Outcome::Left => return,
            Outcome::Refused(why) => {
                log::warn!("task refused task={} because={why}", self.key());
                (Step::Refused(why, clock::wall()), false)
            }
            Outcome::Ended(ending) => {
                let reason = ending.reason.map_or("-", Reason::as_str);
                let code = ending.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
                log::info!("task ended task={} exit_code={code} reason={reason}", self.key());
                let has_run = ending.started_at.is_some();
                (Step::Ended(ending), has_run)
            }
        };
        self.ground.desired.observe_end(self.key());
        self.leash().let_go();
        if !is_told_by_a_container(&step) {
            self.ground.outbox.keep(self.key(), &step);
        }
        let (answer, answered) = bounded(1);
        self.ground.desired.report(Event { key: self.key().clone(), step, answer: Some(answer) });
        let kept = if has_run { self.collect_log() } else { Ok(()) };
        let verdict = select! {
            recv(answered) -> verdict => verdict,
            recv(self.ground.stop.channel_ref()) -> _ => return,
        };
        self.ground.desired.acknowledge(self.key());
        self.ground.outbox.remove(self.key());
        if kept.and_then(|()| self.remove()).is_ok() {
            self.ground.desired.release(self.key());
            if matches!(verdict, Ok(Verdict::Stale | Verdict::Unknown)) {
                // A stranger is gone: a master that waits for that is to hear of it now.
                let _ = self.ground.nudge.try_send(());
            }
        }
    }
}

/// Whether the Engine holds a container that would tell this end again.
const fn is_told_by_a_container(step: &Step) -> bool {
    match step {
        Step::Ended(ending) => ending.started_at.is_some() && ending.exit_code.is_some(),
        Step::Refused(..) | Step::Progress(_) | Step::Running(..) => false,
    }
}

/// The outcome of an attempt that was over before it came here.
fn over(step: &Step) -> Outcome {
    match step {
        Step::Ended(ending) => Outcome::Ended(ending.clone()),
        Step::Refused(why, _) => Outcome::Refused(why.clone()),
        Step::Progress(_) | Step::Running(..) => Outcome::Left,
    }
}

/// As people know container ids.
fn short(id: &ContainerId) -> &str {
    id.as_str().get(..12).unwrap_or(id.as_str())
}
