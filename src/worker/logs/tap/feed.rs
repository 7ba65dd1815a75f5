//! The thread that fills a tap.
//!
//! A [`Feed`] follows the log at the Engine, from its oldest record on. An Engine that begins a log anew in the midst
//! of a follow (Docker 20.10, where its files are rotated) is asked again, and read on behind what came: the readers
//! don't notice. Whatever else goes wrong is theirs to judge.
//!
//! Runs in the thread `log-tap`. It only points at its tap, so that it ends when nobody reads that any more.

use std::sync::{Arc, Weak};

use super::{Outcome, Tap};
use crate::engine::{EngineError, LogItem, LogRecord, LogRecords};
use crate::runtime::supervise;
use crate::worker::logs::position::{Position, Resumed};

/// Fills one tap.
pub(super) struct Feed(Weak<Tap>);

/// How taking one record over went.
enum Took {
    Yes,
    /// It was there before; what comes next is behind this.
    Again(Position),
}

impl Feed {
    /// Begins. A thread that can't be had ends the tap.
    pub(super) fn start(tap: &Arc<Tap>) {
        let feed = Self(Arc::downgrade(tap));
        log::debug!("a log is followed container={}", tap.log.container());
        // Dropping the feed tells the tap that it is over.
        if let Err(error) = supervise::spawn("log-tap", move || feed.run()) {
            log::warn!("a log can't be followed container={} because={error}", tap.log.container());
        }
    }

    fn run(self) {
        let outcome = self.follow();
        let Some(tap) = self.0.upgrade() else { return };
        log::debug!("a log is no longer followed container={}", tap.log.container());
        tap.end(match outcome {
            Ok(()) => Outcome::Ended,
            Err(error) => Outcome::Broke(error),
        });
    }

    /// Follows the log until it ends, or until nobody reads any more.
    fn follow(&self) -> Result<(), EngineError> {
        let mut records = self.open()?;
        // What comes next is news, also if the clock was set back.
        let mut is_proven = false;
        while let Some(item) = records.next().transpose()? {
            // Nobody reads any more.
            let Some(tap) = self.0.upgrade() else { return Ok(()) };
            let LogItem::Record(record) = item else { continue };
            match tap.take(record, std::mem::take(&mut is_proven)) {
                Took::Yes => {}
                Took::Again(position) => {
                    drop((tap, records));
                    let resumed = position.resume(&|| self.open())?;
                    (records, is_proven) = self.again(resumed)?;
                }
            }
        }
        Ok(())
    }

    fn again(&self, resumed: Resumed) -> Result<(LogRecords, bool), EngineError> {
        let Resumed { records, has_gap, is_proven } = resumed;
        // Each reader finds out for itself what of it is missing.
        if has_gap { Err(failed("the engine lost a part of the log")) } else { Ok((records, is_proven)) }
    }

    fn open(&self) -> Result<LogRecords, EngineError> {
        let tap = self.0.upgrade().ok_or_else(|| failed("nobody reads it any more"))?;
        tap.log.follow()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // After a panic the readers mustn't wait for ever. Else the outcome is known already.
        if let Some(tap) = self.0.upgrade() {
            tap.end(Outcome::Broke(failed("its reading ended")));
        }
    }
}

impl Tap {
    /// Takes a record over, unless it goes back: then the Engine repeats itself, or a clock was set back. Not so where
    /// the log was just read again up to this record.
    fn take(&self, record: LogRecord, is_proven: bool) -> Took {
        if !is_proven {
            let state = self.state.lock();
            if state.ring.end().goes_back(&record) {
                return Took::Again(state.ring.end().clone());
            }
        }
        self.push(record);
        Took::Yes
    }
}

fn failed(why: &str) -> EngineError {
    EngineError::Failed { operation: "logs", why: why.to_owned() }
}
