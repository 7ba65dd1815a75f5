//! A container's log at its Engine, as those who read it here share it.
//!
//! Fifty reads of one log at a time cost the Engine fifty times what one does, and starve the very thing that writes
//! the log down. So readers take turns, [`READS`] at a time (`pieces.rs`). One that is blocked in writing keeps a
//! connection on which the Engine waits, which costs that nothing.
//!
//! The one reader that follows takes no turn (`tap/feed.rs`), and neither does the monitor that collects the log.

use std::sync::Arc;

use super::pieces::Turns;
use crate::engine::{Engine, EngineError, LogRecords, LogRequest};
use crate::model::id::ContainerId;
use crate::runtime::supervise::Stop;
use crate::worker::slots::Slots;

/// How many readers of one log may be reading it from the Engine at a time.
const READS: usize = 2;

/// One container's log.
pub(super) struct EngineLog {
    engine: Arc<dyn Engine>,
    container: ContainerId,
    slots: Arc<Slots>,
}

impl EngineLog {
    pub(super) fn new(engine: Arc<dyn Engine>, container: ContainerId) -> Self {
        Self { engine, container, slots: Arc::new(Slots::new(READS)) }
    }

    pub(super) const fn container(&self) -> &ContainerId {
        &self.container
    }

    /// Reads the log from its oldest record to where it is now. Blocks until it is this reader's turn, and until the
    /// Engine answers; so does reading on, piece by piece.
    ///
    /// # Errors
    /// The Engine's; or `gone` fired.
    pub(super) fn read(&self, gone: &Stop) -> Result<LogRecords, EngineError> {
        let open = || self.engine.logs(&self.container, LogRequest { follow: false });
        Turns::new(&self.slots, gone).read(open)
    }

    /// Follows the log from its oldest record. Blocks until the Engine answers.
    ///
    /// # Errors
    /// The Engine's.
    pub(super) fn follow(&self) -> Result<LogRecords, EngineError> {
        self.engine.logs(&self.container, LogRequest { follow: true })
    }
}
