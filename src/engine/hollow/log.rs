//! The log of a hollow container: numbered lines, all written when it started.
//!
//! [`HollowLog`] makes each line as it is read. A follower blocks on the engine's condition in its own thread
//! until the container's run is over, and says so about every second.

use std::sync::Arc;
use std::time::Duration;

use super::{Life, Shared};
use crate::engine::{EngineError, LogItem, LogRecord, LogRequest, Stream};
use crate::model::id::ContainerId;

/// How long a follower waits before it hears that nothing came.
const QUIET_AFTER: Duration = Duration::from_secs(1);

/// A log that is being read.
pub(super) struct HollowLog {
    shared: Arc<Shared>,
    id: ContainerId,
    request: LogRequest,
    /// The number of the next line, from 1.
    line: u64,
    over: bool,
}

impl HollowLog {
    pub(super) fn new(shared: Arc<Shared>, id: ContainerId, request: LogRequest) -> Self {
        Self { shared, id, request, line: 1, over: false }
    }

    fn advance(&mut self) -> Result<Option<LogItem>, EngineError> {
        let mut world = self.shared.world("logs")?;
        let now = self.shared.mono();
        let container = match world.find(&self.id, now) {
            Ok(container) => container,
            // Removed while it was read: nothing more comes.
            Err(EngineError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Life::Started(run) = container.life else { return Ok(None) };
        if self.line <= container.behaviour.log_lines {
            let written_at = run.began.wall.unix_millis().saturating_mul(1_000_000).saturating_add(self.line);
            let bytes = format!("line {}\n", self.line).into_bytes();
            self.line += 1;
            return Ok(Some(LogItem::Record(LogRecord {
                stream: Stream::Stdout,
                unix_nanos: written_at,
                bytes,
            })));
        }
        drop(world);
        if !self.request.follow {
            return Ok(None);
        }
        match self.shared.await_end("logs", &self.id, now + QUIET_AFTER) {
            Ok(false) => Ok(Some(LogItem::Quiet)),
            Ok(true) | Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Iterator for HollowLog {
    type Item = Result<LogItem, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let item = self.advance().transpose();
        self.over = !matches!(item, Some(Ok(_)));
        item
    }
}
