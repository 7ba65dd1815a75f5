//! The hold on one attempt, shared between the threads that it concerns.
//!
//! Main type: [`Leash`]: a [`Hold`], which decides, behind a mutex; a word for whoever waits for something else while
//! an order comes; and a stop for whoever waits to halt an attempt that is over meanwhile.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::model::id::ContainerId;
use crate::model::time::Now;
use crate::runtime::supervise::{Stop, StopSource};
use crate::worker::hold::{Cause, Halt, Hold, Signal};

/// The hold on one attempt.
#[derive(Debug)]
pub struct Leash {
    hold: Mutex<Hold>,
    pulled: (Sender<()>, Receiver<()>),
    over: Stop,
    /// Gone once the attempt is over.
    until_over: Mutex<Option<StopSource>>,
}

impl Default for Leash {
    fn default() -> Self {
        Self::new()
    }
}

impl Leash {
    /// A loose one.
    pub fn new() -> Self {
        let (source, over) = Stop::channel();
        Self { hold: Mutex::default(), pulled: bounded(1), over, until_over: Mutex::new(Some(source)) }
    }

    /// Takes an order to stop. The earlier of two deadlines counts.
    pub fn order(&self, cause: Cause, grace: Duration, now: Now) -> Option<Halt> {
        let halt = self.hold.lock().order(cause, grace, now);
        // Full: whoever waits for it will see it.
        let _ = self.pulled.0.try_send(());
        halt
    }

    /// The container runs: an order that came before is to be carried out now.
    pub fn runs(&self, container: &ContainerId, now: Now) -> Option<Halt> {
        self.hold.lock().runs(container, now)
    }

    /// Who wanted it to end first. None: nobody does.
    pub fn cause(&self) -> Option<Cause> {
        self.hold.lock().cause()
    }

    /// What this process has sent the container.
    pub fn signal(&self) -> Option<Signal> {
        self.hold.lock().signal()
    }

    /// An earlier process sent this signal, or was about to.
    pub fn recall(&self, signal: Signal) {
        self.hold.lock().recall(signal);
    }

    /// What an earlier process had sent it.
    pub fn earlier(&self) -> Option<Signal> {
        self.hold.lock().earlier()
    }

    /// Ready when an order came, for whoever waits for something else meanwhile.
    pub(super) const fn pulled(&self) -> &Receiver<()> {
        &self.pulled.1
    }

    /// The attempt is over: whoever still waits to stop it need not.
    pub fn let_go(&self) {
        self.until_over.lock().take();
    }

    /// Fires when the attempt is over.
    pub const fn over(&self) -> &Stop {
        &self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_wakes_who_waits_for_something_else() {
        let leash = Leash::new();
        assert!(leash.pulled().try_recv().is_err());
        leash.order(Cause::Asked, Duration::ZERO, Now::default());
        assert!(leash.pulled().try_recv().is_ok() && leash.cause().is_some());
    }

    #[test]
    fn letting_go_frees_who_waits() {
        let leash = Leash::new();
        assert!(!leash.over().requested());
        leash.let_go();
        assert!(leash.over().requested());
    }
}
