//! The thread `engine-watch`: asks the Engine who it is, once a beat, so that the master hears when it doesn't answer.
//!
//! An Engine that doesn't answer gets no new work; what runs there is left alone. It is asked on a thread of its own,
//! because an Engine that hangs holds the question up for as long as its deadline, and beats must go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use parking_lot::RwLock;

use crate::engine::{Description, Engine};
use crate::runtime::supervise::Stop;

/// How often an Engine that doesn't answer is asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long the first registration waits for the Engine's first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// What is known of the Engine.
pub(super) struct EngineWatch {
    engine: Arc<dyn Engine>,
    every: Duration,
    is_ready: AtomicBool,
    description: RwLock<Option<Description>>,
    /// Somebody else learnt of a different Engine: the node must register again.
    register: Sender<()>,
    /// The master should hear of it now.
    nudge: Sender<()>,
    /// Told once the Engine was asked for the first time.
    first: (Sender<()>, Receiver<()>),
    /// Somebody waited for that, and went on without.
    was_late: AtomicBool,
}

impl EngineWatch {
    /// Asks nothing yet: an Engine that hangs must not keep a worker from listening.
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        every: Duration,
        register: Sender<()>,
        nudge: Sender<()>,
    ) -> Self {
        Self {
            engine,
            every,
            is_ready: AtomicBool::new(false),
            description: RwLock::new(None),
            register,
            nudge,
            first: bounded(1),
            was_late: AtomicBool::new(false),
        }
    }

    /// Blocks until the Engine was asked for the first time, for [`FIRST_ANSWER`] at most: a node whose Engine answers
    /// registers with what it has. One whose Engine doesn't registers again when it does.
    pub(super) fn await_first_answer(&self, stop: &Stop) {
        select! {
            recv(self.first.1) -> _ => {}
            recv(stop.channel_ref()) -> _ => {}
            recv(after(FIRST_ANSWER)) -> _ => self.was_late.store(true, Ordering::Release),
        }
    }

    /// Whether the Engine answered when it was last asked.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// What the Engine last said of itself.
    pub(super) fn description(&self) -> Option<Description> {
        self.description.read().clone()
    }

    /// Body of the thread `engine-watch`.
    pub(super) fn run(&self, stop: &Stop) {
        let has_answered = self.ask();
        // There is room for the one word.
        let _ = self.first.0.try_send(());
        if has_answered && self.was_late.load(Ordering::Acquire) {
            let _ = self.register.try_send(());
        }
        loop {
            let wait = if self.is_ready() { self.every } else { self.every.min(ASK_AGAIN) };
            if stop.wait(wait) {
                return;
            }
            let was_ready = self.is_ready();
            let has_changed = self.ask();
            // Full: it was told already.
            if has_changed {
                let _ = self.register.try_send(());
            }
            if was_ready != self.is_ready() {
                let _ = self.nudge.try_send(());
            }
        }
    }

    /// Asks, and keeps the answer. True: it is another Engine than before, or the first.
    fn ask(&self) -> bool {
        match self.engine.describe() {
            Ok(description) => {
                if !self.is_ready.swap(true, Ordering::AcqRel) {
                    log::info!("the engine answers engine={:?}", description.name);
                }
                let mut held = self.description.write();
                let has_changed = held.as_ref() != Some(&description);
                *held = Some(description);
                has_changed
            }
            Err(error) => {
                if self.is_ready.swap(false, Ordering::AcqRel) || self.description.read().is_none() {
                    log::warn!("the engine does not answer because={error}");
                }
                false
            }
        }
    }
}
