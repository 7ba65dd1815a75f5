//! The thread `engine-watch`: asks the Engine who it is, once a beat, so that the master hears when it doesn't answer.
//!
//! An Engine that doesn't answer gets no new work; what runs there is left alone. It is asked on a thread of its own,
//! because an Engine that hangs holds the question up for as long as its deadline, and beats must go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::RwLock;

use crate::engine::{Description, Engine};
use crate::runtime::supervise::Stop;

/// How often an Engine that doesn't answer is asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

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
}

impl EngineWatch {
    /// Asks once, so that a node whose Engine answers registers with what it has. Blocks for its answer.
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        every: Duration,
        register: Sender<()>,
        nudge: Sender<()>,
    ) -> Self {
        let watch = Self {
            engine,
            every,
            is_ready: AtomicBool::new(false),
            description: RwLock::new(None),
            register,
            nudge,
        };
        watch.ask();
        watch
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
