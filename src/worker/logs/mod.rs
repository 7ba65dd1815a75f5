//! What containers wrote: kept, and shown to whoever asks.
//!
//! While a container exists, its Engine holds its log. When it has ended, its monitor copies the log into the
//! [`LogStore`], and only after that is the container removed. [`Logs`] answers requests from whichever of the two
//! has the log, and follows it from the one to the other. A container is followed once at its Engine, however many
//! follow it here, and not at all unless somebody does.
//!
//! Each answer is written by a stream's thread of its own (`http/stream.rs`); each followed container has one more,
//! which reads the Engine for all of them (`tap.rs`) into a short memory (`ring.rs`). Deliberately absent: an index
//! by line, log rotation of our own, shipping logs elsewhere.

mod digest;
mod engine_log;
mod follow;
mod format;
mod pieces;
mod position;
mod ring;
mod store;
mod tap;

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use crate::engine::Engine;
use crate::http::{Problem, Responder, StreamHead};
use crate::model::id::{Attempt, ContainerId, TaskId};
use crate::rest::log::LogQuery;
use crate::runtime::supervise::Stop;
use crate::worker::slots::Slots;

use follow::Passage;
pub use store::{LogLimits, LogStore, LogStoreError};
use tap::{RING_BYTES, Taps};

/// The trailer that says that something is missing.
const INCOMPLETE: &str = "Podling-Incomplete";

/// How many readers at a time read the disk, or work out what they write: more would only be in each other's way.
const BUSY_READERS: usize = 2;

/// Where the log of an attempt is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This worker doesn't know the attempt, or not any more.
    Unknown,
    /// The attempt is taken; no container of it was started yet.
    Waiting,
    /// The Engine has it: the container was started, and its log isn't collected.
    Live(ContainerId),
    /// It was collected; or the attempt ended without a container.
    Stored,
}

/// Says where an attempt's log is. Must not block.
pub type SourceOf = Arc<dyn Fn(&TaskId, Attempt) -> Source + Send + Sync>;

/// Says which attempt at a task is the newest that this worker knows. Must not block.
pub type NewestAttempt = Arc<dyn Fn(&TaskId) -> Option<Attempt> + Send + Sync>;

/// Whether a reader got everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Everything, as far as it wanted to read.
    Whole,
    /// Something is missing.
    Incomplete,
}

/// The logs of all attempts that this worker knows.
pub struct Logs {
    engine: Arc<dyn Engine>,
    taps: Taps,
    /// For readers that have much to read from the disk, or to write.
    slots: Arc<Slots>,
    store: Arc<LogStore>,
    source_of: SourceOf,
    newest_attempt: NewestAttempt,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Logs {
    /// Over an Engine and a store, between which `source_of` tells.
    pub fn new(
        engine: Arc<dyn Engine>,
        store: Arc<LogStore>,
        source_of: SourceOf,
        newest_attempt: NewestAttempt,
    ) -> Self {
        let taps = Taps::new(Arc::clone(&engine), RING_BYTES);
        Self { engine, taps, slots: Arc::new(Slots::new(BUSY_READERS)), store, source_of, newest_attempt }
    }

    /// Keeps so much of each followed log in memory, rather than 1 MiB. Who lags by more reads the Engine again.
    #[must_use]
    pub fn keep_in_memory(mut self, bytes: usize) -> Self {
        self.taps = Taps::new(Arc::clone(&self.engine), bytes);
        self
    }

    /// Answers a request for a task's log: 404, or a stream. Doesn't block; the stream has its own thread.
    pub fn serve(self: &Arc<Self>, task: &TaskId, query: LogQuery, responder: Responder) {
        let attempt = match self.find(task, query.attempt) {
            Ok(attempt) => attempt,
            Err(problem) => return responder.send(problem),
        };
        let head = StreamHead::new(200, query.media_type()).trailer(INCOMPLETE);
        let (logs, task) = (Arc::clone(self), task.clone());
        responder.stream(head, move |out| {
            let gone = out.gone().clone();
            match logs.write(&task, attempt, &query, out, &gone)? {
                // A worker that stops cuts the answer off: an orderly end would say that nothing more comes.
                _ if gone.requested() => return Err(io::Error::other("the log was left in the midst")),
                Completeness::Whole => {}
                Completeness::Incomplete => out.trailer("1"),
            }
            Ok(())
        });
    }

    /// The attempt that is meant: the one that was asked for, or the newest.
    ///
    /// # Errors
    /// 404 `task_not_found` or `attempt_not_found`, where this worker has nothing of it.
    pub fn find(&self, task: &TaskId, asked: Option<Attempt>) -> Result<Attempt, Problem> {
        let newest = (self.newest_attempt)(task).max(self.store.latest_attempt(task));
        let is_known =
            |attempt| (self.source_of)(task, attempt) != Source::Unknown || self.store.has(task, attempt);
        match (asked.or(newest).filter(|attempt| is_known(*attempt)), newest.and(asked)) {
            (Some(attempt), _) => Ok(attempt),
            (None, Some(attempt)) => {
                let detail = format!("this node has no log of attempt {attempt} at task {task}");
                Err(Problem::not_found("attempt_not_found", detail))
            }
            (None, None) => {
                Err(Problem::not_found("task_not_found", format!("this node has no log of task {task}")))
            }
        }
    }

    /// Writes an attempt's log to `out`, flushing it whenever nothing more is to be had at once. Blocks: with
    /// `follow` until the attempt is over, or until `gone` fires.
    ///
    /// # Errors
    /// The writer's alone. A log that can't be had is a matter of [`Completeness`].
    pub fn write(
        &self,
        task: &TaskId,
        attempt: Attempt,
        query: &LogQuery,
        out: &mut dyn Write,
        gone: &Stop,
    ) -> io::Result<Completeness> {
        Passage::new(self, (task, attempt), query, out, gone).run()
    }
}
