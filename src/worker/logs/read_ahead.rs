//! A followed log, read by a thread of its own.
//!
//! Whoever follows a log has to know when there is nothing more at the moment: then what was gathered has to go out.
//! An Engine's log blocks instead of saying so. [`ReadAhead`] reads it in a thread, `log-reader`, into a short
//! channel, on which one can wait with a deadline and beside other things. A reader that is slow fills the channel,
//! and then nothing more is read.
//!
//! Invariant: the thread doesn't outlive the [`ReadAhead`]; dropping that waits for it, for the second or so in
//! which a followed log says that it is quiet.

use std::io;

use crossbeam_channel::{Receiver, bounded, never};

use crate::engine::{EngineError, LogItem, LogRecords};
use crate::runtime::supervise::{self, Thread};

/// How many records are read before the first of them is taken.
const RECORDS_AHEAD: usize = 64;

/// A log that is being read.
pub(super) struct ReadAhead {
    items: Receiver<Result<LogItem, EngineError>>,
    thread: Option<Thread>,
}

impl ReadAhead {
    /// Begins to read.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(super) fn start(records: LogRecords) -> io::Result<Self> {
        let (sender, items) = bounded(RECORDS_AHEAD);
        let thread = supervise::spawn("log-reader", move || {
            for item in records {
                if sender.send(item).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { items, thread: Some(thread) })
    }

    /// What was read, in order. Disconnected at the end of the log.
    pub(super) const fn items(&self) -> &Receiver<Result<LogItem, EngineError>> {
        &self.items
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        // Order: the thread ends because nobody takes what it reads any more.
        self.items = never();
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}
