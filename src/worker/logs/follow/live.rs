//! What a reader gets of a container that its Engine still has.
//!
//! Without `follow` that is one read. A follower joins the container's [`Tap`] and draws from it; where that can't
//! give what comes next, because the follower came late or lags, the follower catches up with one read of its own.
//! What came meanwhile waits in the tap. When the tap is over, so is the catching up: the log is about to be collected.
//! A follower that has caught up and finds no place in the tap still waits for the tap to move on, so that a read is
//! never made for nothing more than once.

use std::io;

use crossbeam_channel::select;

use super::{GATHER, LOOK, Passage, Passed};
use crate::engine::{EngineError, LogRecords};
use crate::model::id::ContainerId;
use crate::runtime::clock;
use crate::worker::logs::tap::{News, Next, Outcome, Tap};

type Open<'a> = &'a dyn Fn() -> Result<LogRecords, EngineError>;

impl Passage<'_> {
    /// Passes on what the Engine has.
    pub(super) fn pass_on_live(&mut self, container: &ContainerId) -> io::Result<Passed> {
        let (log, gone) = (self.logs.taps.log(container), self.gone);
        let open = || log.read(gone);
        if let Err(error) = self.find_tail(&open) {
            return Ok(Passed::Broken(error));
        }
        if !self.follow {
            return self.pass_on_once(&open);
        }
        let tap = self.logs.taps.join(&log);
        self.follow_live(&tap, &|| tap.catch_up(gone))
    }

    fn follow_live(&mut self, tap: &Tap, open: Open<'_>) -> io::Result<Passed> {
        loop {
            if let Some(passed) = self.pass_on_tapped(tap)? {
                return Ok(passed);
            }
            self.flush()?;
            let (before, news) = (self.position.records(), tap.news());
            match self.pass_on_once(open)? {
                Passed::Whole if self.position.records() > before => {}
                Passed::Whole if self.await_news(&news) || self.gone.wait(LOOK) => return Ok(Passed::Gone),
                Passed::Whole => {}
                over @ (Passed::Broken(_) | Passed::Gone) => return Ok(over),
            }
        }
    }

    /// Passes on the rest of the log as it is now.
    fn pass_on_once(&mut self, open: Open<'_>) -> io::Result<Passed> {
        match self.resume(open) {
            Ok(records) => self.pass_on(records),
            Err(error) => Ok(Passed::Broken(error)),
        }
    }

    /// Passes on what the tap gives, to its end. None: it can't give what comes next.
    fn pass_on_tapped(&mut self, tap: &Tap) -> io::Result<Option<Passed>> {
        let mut cursor = None;
        while !self.gone.requested() {
            match tap.next(&mut cursor, &self.position) {
                Next::Records(records) => {
                    self.write(&records)?;
                    self.flush_if_due()?;
                }
                Next::Nothing(news) => self.await_more(&news)?,
                Next::Behind => return Ok(None),
                Next::Over(Outcome::Ended) => return Ok(Some(Passed::Whole)),
                Next::Over(Outcome::Broke(error)) => return Ok(Some(Passed::Broken(error))),
            }
        }
        Ok(Some(Passed::Gone))
    }

    /// Sends what was gathered, and waits for more. What was sent lately waits a little first: then more goes at once,
    /// and who follows a flood isn't woken for each line of it.
    fn await_more(&mut self, news: &News) -> io::Result<()> {
        let gather = GATHER.saturating_sub(clock::mono().since(self.flushed_at));
        if gather.is_zero() {
            self.flush()?;
            self.await_news(news);
        } else {
            self.gone.wait(gather);
        }
        Ok(())
    }

    /// Waits for news of the tap. True: the reader is gone.
    fn await_news(&self, news: &News) -> bool {
        select! {
            recv(news) -> _ => false,
            recv(self.gone.channel_ref()) -> _ => true,
        }
    }
}
