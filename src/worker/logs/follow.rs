//! One reader of one attempt's log, from wherever the log is at the moment.
//!
//! A [`Passage`] asks again and again where the log is, and passes on what comes next there: from the Engine while
//! the container exists (`follow/live.rs`), from the disk afterwards. A followed container is followed once, by the
//! tap that all its readers share (`tap.rs`). From one to the next, and across everything that breaks, it keeps its
//! [`Position`]. It ends when the attempt is over and all is passed on, when the reader is gone, or when it has
//! tried for long enough; without `follow`, when what is there now is passed on.
//!
//! Runs in the reader's own thread. It takes turns with others at reading (`pieces.rs`) and at working out what
//! it writes, and has neither a turn nor a lock while it writes: a reader that never reads blocks itself,
//! and costs nobody anything. What is followed goes out at once after a pause, and every [`GATHER`] while more keeps
//! coming.

mod live;

use std::borrow::Borrow;
use std::io::{self, Write};
use std::time::Duration;

use super::format::{Format, Lines};
use super::pieces::Turns;
use super::position::{Position, Resumed};
use super::{Completeness, Logs, Source};
use crate::engine::{EngineError, LogItem, LogRecord, LogRecords, Phase};
use crate::model::id::{Attempt, ContainerId, TaskId};
use crate::model::time::Mono;
use crate::rest::log::LogQuery;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

/// How often is looked whether a log has moved on.
const LOOK: Duration = Duration::from_millis(50);

/// How long lines are gathered while more keeps coming.
const GATHER: Duration = Duration::from_millis(20);

/// How much is written in one turn, about.
const PAGE_BYTES: usize = 16 << 10;
const PAGE_RECORDS: usize = 256;

/// How long the end of a container's log may lie before the beginning of its collection. After that the Engine is
/// asked.
const SETTLE: Duration = Duration::from_secs(2);

/// How long is waited after a failure.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often in a row a log may fail without a new record, where it is followed and where not.
const FOLLOW_TRIES: u32 = 30;
const READ_TRIES: u32 = 3;

/// One reader.
pub(super) struct Passage<'a> {
    logs: &'a Logs,
    task: &'a TaskId,
    attempt: Attempt,
    follow: bool,
    /// The lines that are wanted of what is there already. None: all, or they are found.
    tail: Option<u64>,
    format: Format,
    position: Position,
    out: &'a mut dyn Write,
    gone: &'a Stop,
    flushed_at: Mono,
    has_gap: bool,
    failures: Failures,
}

/// Why passing on from one source ended.
enum Passed {
    /// The source ended.
    Whole,
    /// It broke, or can't be had.
    Broken(EngineError),
    /// The reader is gone.
    Gone,
}

impl<'a> Passage<'a> {
    pub(super) fn new(
        logs: &'a Logs,
        (task, attempt): (&'a TaskId, Attempt),
        query: &LogQuery,
        out: &'a mut dyn Write,
        gone: &'a Stop,
    ) -> Self {
        Self {
            logs,
            task,
            attempt,
            follow: query.follow,
            tail: query.tail,
            format: Format::new(query, attempt),
            position: Position::default(),
            out,
            gone,
            flushed_at: Mono::default(),
            has_gap: false,
            failures: Failures::default(),
        }
    }

    /// Passes the log on. Errors are the reader's: it is gone.
    pub(super) fn run(mut self) -> io::Result<Completeness> {
        if self.tail == Some(0) && !self.follow {
            return Ok(Completeness::Whole);
        }
        loop {
            match self.source() {
                Source::Waiting => {
                    // Nothing is there now, so that everything comes later.
                    self.tail = None;
                    if !self.follow || self.pause(LOOK)? {
                        return Ok(Completeness::Whole);
                    }
                }
                Source::Live(container) => {
                    if let Some(end) = self.try_live(&container)? {
                        return Ok(end);
                    }
                }
                Source::Stored | Source::Unknown => return self.pass_on_stored(),
            }
        }
    }

    /// Passes on what the Engine has. None: it is time to ask again where the log is.
    fn try_live(&mut self, container: &ContainerId) -> io::Result<Option<Completeness>> {
        let why = match self.pass_on_live(container)? {
            Passed::Gone => return Ok(Some(Completeness::Whole)),
            // Race: a container that was removed meanwhile has cut its log short without a word. It was collected
            // first.
            Passed::Whole if !self.follow && self.source() != Source::Live(container.clone()) => {
                return Ok(None);
            }
            Passed::Whole if !self.follow => return self.finish(None).map(Some),
            Passed::Whole => {
                if self.await_collection(container)? || self.has_ended(container) {
                    return Ok(None);
                }
                "the engine ended the log of a container that runs".to_owned()
            }
            Passed::Broken(error) => {
                self.await_move(container, TRY_AGAIN)?;
                error.to_string()
            }
        };
        if self.gone.requested() {
            return Ok(Some(Completeness::Whole));
        }
        let tries = if self.follow { FOLLOW_TRIES } else { READ_TRIES };
        if self.failures.count(self.position.records()) < tries {
            return Ok(None);
        }
        self.finish(Some(&why)).map(Some)
    }

    fn source(&self) -> Source {
        (self.logs.source_of)(self.task, self.attempt)
    }

    /// The rest of the log, from the disk; the end.
    fn pass_on_stored(&mut self) -> io::Result<Completeness> {
        let (store, task, attempt) = (&self.logs.store, self.task, self.attempt);
        let gone = || EngineError::NotFound { subject: format!("attempt {attempt} at {task}") };
        let turns = Turns::new(&self.logs.slots, self.gone);
        let open = || turns.clone().read(|| store.read(task, attempt).ok_or_else(gone));
        if !store.has(task, attempt) {
            let was_there = self.position.records() > 0;
            return self.finish(was_there.then_some("the log is no longer kept"));
        }
        // Of a damaged log, the lines before the damage count.
        let undamaged = || open().map(|records| Box::new(records.take_while(Result::is_ok)) as LogRecords);
        let passed = match self.find_tail(&undamaged).and_then(|()| self.resume(&open)) {
            Ok(records) => self.pass_on(records)?,
            Err(error) => Passed::Broken(error),
        };
        match passed {
            Passed::Broken(_) if self.gone.requested() => Ok(Completeness::Whole),
            Passed::Whole => self.finish(None),
            Passed::Broken(error) => self.finish(Some(&error.to_string())),
            Passed::Gone => Ok(Completeness::Whole),
        }
    }

    /// Says what is missing, if anything is, and sends what was gathered.
    fn finish(&mut self, missing: Option<&str>) -> io::Result<Completeness> {
        let gap = self.has_gap.then_some("the oldest part of the log was dropped while it was read");
        let Some(missing) = missing.or(gap) else {
            self.out.flush()?;
            return Ok(Completeness::Whole);
        };
        log::debug!("a log is incomplete task={} attempt={} because={missing}", self.task, self.attempt);
        self.format.write_notice(missing, self.out)?;
        self.out.flush()?;
        Ok(Completeness::Incomplete)
    }

    /// Finds where the last lines begin of what is there now, if that isn't done yet.
    ///
    /// Race: what is written between this and the pass that shows the lines comes on top of them; nothing is lost.
    fn find_tail(&mut self, open: &dyn Fn() -> Result<LogRecords, EngineError>) -> Result<(), EngineError> {
        let Some(tail) = self.tail else { return Ok(()) };
        let (mut lines, mut format, mut position) =
            (Lines::default(), self.format.clone(), Position::default());
        for item in open()? {
            let LogItem::Record(record) = item? else { continue };
            if format.shows(&record) {
                lines.add(&record.bytes);
            }
            format.note(&record);
            position.pass(&record);
        }
        if tail == 0 {
            // An open line counts as a line, but has no end yet by which it could be skipped.
            (self.format, self.position) = (format, position);
        } else {
            self.format.skip(lines.count().saturating_sub(tail));
        }
        self.tail = None;
        Ok(())
    }

    fn resume(
        &mut self,
        open: &dyn Fn() -> Result<LogRecords, EngineError>,
    ) -> Result<LogRecords, EngineError> {
        let Resumed { records, has_gap, is_proven: _ } = self.position.resume(open)?;
        self.has_gap |= has_gap;
        Ok(records)
    }

    fn pass_on(&mut self, mut records: LogRecords) -> io::Result<Passed> {
        while !self.gone.requested() {
            let (some, end) = take_some(&mut records);
            self.write(&some)?;
            if self.follow {
                self.flush_if_due()?;
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Ok(Passed::Gone)
    }

    /// Writes records. Where many readers have much to write, they take turns at working out what; none has its turn
    /// while it is blocked in writing. If the reader goes before its turn comes, nothing is written.
    fn write(&mut self, records: &[impl Borrow<LogRecord>]) -> io::Result<()> {
        let mut page = Vec::new();
        {
            let Some(_turn) = self.logs.slots.take_unless(self.gone) else { return Ok(()) };
            for record in records {
                self.format.write(record.borrow(), &mut page)?;
                self.position.pass(record.borrow());
            }
        }
        self.out.write_all(&page)
    }

    fn flush_if_due(&mut self) -> io::Result<()> {
        if clock::mono().since(self.flushed_at) < GATHER { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.flushed_at = clock::mono();
        Ok(())
    }

    /// Sends what was gathered, and waits. True: the reader is gone.
    fn pause(&mut self, duration: Duration) -> io::Result<bool> {
        self.flush()?;
        Ok(self.gone.wait(duration))
    }

    /// Waits until the log isn't at a container any more: true; or for `at_most`, or until the reader is gone.
    fn await_move(&mut self, container: &ContainerId, at_most: Duration) -> io::Result<bool> {
        let end = clock::mono() + at_most;
        loop {
            if self.source() != Source::Live(container.clone()) {
                return Ok(true);
            }
            if clock::mono() >= end || self.pause(LOOK)? {
                return Ok(false);
            }
        }
    }

    /// Waits for the log to be collected: true; or until nobody is about to, or the reader is gone. One collection is
    /// less for the Engine than a read for each follower.
    fn await_collection(&mut self, container: &ContainerId) -> io::Result<bool> {
        loop {
            if self.await_move(container, SETTLE)? {
                return Ok(true);
            }
            if self.gone.requested() || !self.logs.store.is_collecting(self.task, self.attempt) {
                return Ok(false);
            }
        }
    }

    /// Whether a container has ended though its log isn't collected. If so, what it wrote is read once more to its
    /// end, because a follower may miss the last lines (Docker Engine 20.10), and that is all.
    fn has_ended(&mut self, container: &ContainerId) -> bool {
        let has_ended = match self.logs.engine.inspect(container.as_str()).map(|observed| observed.phase) {
            Ok(Phase::Exited | Phase::Dead) => true,
            Ok(Phase::Created | Phase::Running) | Err(_) => false,
        };
        self.follow &= !has_ended;
        has_ended
    }
}

/// Takes a few records from a log; says how it ended, if it did.
fn take_some(records: &mut LogRecords) -> (Vec<LogRecord>, Option<Passed>) {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES && some.len() < PAGE_RECORDS {
        match records.next() {
            Some(Ok(LogItem::Record(record))) => {
                bytes += record.bytes.len();
                some.push(record);
            }
            Some(Ok(LogItem::Quiet)) => {}
            Some(Err(error)) => return (some, Some(Passed::Broken(error))),
            None => return (some, Some(Passed::Whole)),
        }
    }
    (some, None)
}

/// How often a log failed in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    at_record: u64,
}

impl Failures {
    /// Counts one more; begins anew where the log has come on since the last.
    fn count(&mut self, record: u64) -> u32 {
        if std::mem::replace(&mut self.at_record, record) != record {
            self.count = 0;
        }
        self.count += 1;
        self.count
    }
}
