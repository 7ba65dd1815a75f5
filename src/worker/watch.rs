//! The thread `engine-watch`: asks the Engine who it is, once a beat, so that the master hears when it doesn't answer.
//! Now and then it also asks what containers of this node there are: one may turn up long after the call that made it
//! was given up, and nobody else would look for it.
//!
//! An Engine that doesn't answer gets no new work; what runs there is left alone. It is asked on a thread of its own,
//! because an Engine that hangs holds the question up for as long as its deadline, and beats must go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use parking_lot::RwLock;

use crate::engine::Description;
use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;
use crate::worker::monitor::Ground;

/// How often an Engine that doesn't answer is asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long the first registration waits for the Engine's first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// How often containers that turned up late are looked for, at most.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// What is known of the Engine.
pub(super) struct EngineWatch {
    ground: Arc<Ground>,
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
    pub(super) fn new(ground: Arc<Ground>, every: Duration, register: Sender<()>, nudge: Sender<()>) -> Self {
        Self {
            ground,
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
        let mut looked_around = clock::mono();
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
            self.look_around(&mut looked_around);
        }
    }

    /// Takes up containers of this node that nobody here knows, where that wasn't done a moment ago.
    fn look_around(&self, last: &mut Mono) {
        let now = clock::mono();
        let Some(owner) = self.ground.owner.get().filter(|_| self.is_ready()) else { return };
        if now.since(*last) < LOOK_AROUND {
            return;
        }
        *last = now;
        match self.ground.engine.list(owner).map(|found| self.ground.desired.take_up_late(found)) {
            Ok(0) => {}
            Ok(count) => log::warn!("took up containers that turned up late count={count}"),
            Err(error) => log::debug!("the engine can't say what there is because={error}"),
        }
    }

    /// Asks, and keeps the answer. True: it is another Engine than before, or the first.
    fn ask(&self) -> bool {
        match self.ground.engine.describe() {
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
