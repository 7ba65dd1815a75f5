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
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, never, select};

use crate::engine::{EngineError, LogItem, LogRecords};
use crate::runtime::supervise::{self, Stop, Thread};

/// How many records are read before the first of them is taken.
const RECORDS_AHEAD: usize = 64;

/// A log that is being read.
pub(super) struct ReadAhead {
    items: Receiver<Result<LogItem, EngineError>>,
    thread: Option<Thread>,
}

/// What waiting for a log gave.
pub(super) enum Next {
    /// What the log gave.
    Item(Result<LogItem, EngineError>),
    /// The log's end.
    Over,
    /// Nothing, as long as was waited.
    Nothing,
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

    /// What comes next, if it comes soon enough. Never waits for what is there.
    pub(super) fn within(&self, at_most: Duration) -> Next {
        match self.items.recv_timeout(at_most) {
            Ok(item) => Next::Item(item),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Over,
        }
    }

    /// What comes next, unless `gone` fires before.
    pub(super) fn unless(&self, gone: &Stop) -> Next {
        select! {
            recv(self.items) -> item => item.map_or(Next::Over, Next::Item),
            recv(gone.channel_ref()) -> _ => Next::Nothing,
        }
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
