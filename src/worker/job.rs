//! What the crew is given to do.
//!
//! A [`Job`] is made by [`super::desired`] and taken by [`super::crew`], over a channel that is as long as the crew may
//! ever be behind.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::model::id::AttemptKey;
use crate::worker::hold::Halt;
use crate::worker::leash::Leash;
use crate::worker::walk::What;

/// Jobs that may wait for the crew, which takes them off into a queue of its own as fast as it can. Each place here is
/// memory that is used from the start.
const MOST_JOBS: usize = 1024;

/// What the crew is given to do.
#[derive(Debug)]
pub enum Job {
    /// Walk an attempt to its end.
    Walk(Charge),
    /// Stop a container that runs.
    Halt {
        /// Whose it is.
        key: AttemptKey,
        /// What to do.
        halt: Halt,
        /// Says when it need not be done any more.
        leash: Arc<Leash>,
    },
}

/// An attempt that is given to a monitor.
#[derive(Debug)]
pub struct Charge {
    /// Which one.
    pub key: AttemptKey,
    /// From where in its life.
    pub what: What,
    /// Whether it is to end.
    pub leash: Arc<Leash>,
}

/// Makes the channel that jobs go through.
pub fn channel() -> (Sender<Job>, Receiver<Job>) {
    bounded(MOST_JOBS)
}
