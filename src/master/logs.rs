//! Logs, passed on from the workers that have them.
//!
//! A task's log is the logs of its attempts, each of which is at the node that owned it (`logs/course.rs`). A reader
//! gets a thread of its own (from the HTTP server's bounded set), which opens one after the other at the workers, always
//! as ndjson, and passes them on entry by entry (`logs/reader.rs`). With `follow` it begins with the first attempt that
//! is known, or waits for that, and ends when the task has; without, it shows the last attempt that wrote something. A
//! line that breaks is taken up again where it broke. What can't be had is said: as a notice in ndjson, and by the
//! trailer `Podling-Incomplete: 1`; what comes after it is shown all the same.
//!
//! Invariant: for an attempt that is over nobody waits for ever: a node that can't be reached is borne with for
//! [`PATIENCE`] tries without a new line, whatever number of attempts is there.

mod course;
mod reader;

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::api::wire::log::LogLine;
use crate::http::{Responder, StreamHead, StreamWriter};
use crate::master::state::State;
use crate::model::id::{Attempt, TaskId};
use crate::model::task::Task;
use crate::rest::log::LogQuery;

pub use course::keeper;
use course::{Chapter, Next, Stage};
use reader::Reader;

/// How often a follower looks whether its task has moved on, while there is nothing to copy.
const LOOK: Duration = Duration::from_millis(50);

/// How often a follower tries to reach a worker that it can't reach.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often a follower tries in a row before it says that something can't be had: a worker may just be restarted.
const PATIENCE: u32 = 5;

/// The trailer that says that something is missing.
const INCOMPLETE: &str = "Podling-Incomplete";

/// One reader of one task's log.
pub struct LogStream {
    state: Arc<State>,
    task: TaskId,
    query: LogQuery,
}

/// Why copying one attempt's log ended.
enum Copied {
    /// The worker ended it.
    Whole,
    /// The worker knows nothing of this attempt (yet, or any more).
    Unknown,
    /// The worker can't be reached, or was lost in the midst.
    Broken(Broken),
}

/// Why a log broke.
struct Broken {
    why: String,
    /// Whether trying again is of use.
    may_heal: bool,
}

impl LogStream {
    /// For a task that exists.
    pub const fn new(state: Arc<State>, task: TaskId, query: LogQuery) -> Self {
        Self { state, task, query }
    }

    /// Answers on a thread of its own.
    pub fn serve(self, responder: Responder) {
        let head = StreamHead::new(200, self.query.media_type()).trailer(INCOMPLETE);
        responder
            .stream(head, move |out| if self.query.follow { self.follow(out) } else { self.read_once(out) });
    }

    /// The log of one attempt as it is now: the one that was asked for, or the last one that has one.
    fn read_once(&self, out: &mut StreamWriter) -> io::Result<()> {
        let Some(task) = self.current() else { return Ok(()) };
        let is_wanted = |chapter: &Chapter| self.query.attempt.is_none_or(|only| only == chapter.attempt);
        if let Some(only) = self.query.attempt {
            self.pass_too_old(only, &task, out)?;
        }
        for chapter in course::chapters(&task).rev().filter(is_wanted) {
            if chapter.stage == Stage::Empty {
                continue;
            }
            let mut reader = Reader::new(self, chapter.attempt);
            match (reader.copy(&chapter.node, out)?, chapter.stage) {
                // It hasn't begun: the one before is the last that has a log.
                (Copied::Whole | Copied::Unknown, Stage::Awaited) if reader.passed_on() == 0 => {}
                (Copied::Whole, _) => return Ok(()),
                (Copied::Unknown, _) => return self.tell_gone(&chapter, out),
                (Copied::Broken(broken), _) => return self.notice(out, &broken.why, Some(chapter.attempt)),
            }
        }
        Ok(())
    }

    /// All attempts in order, to the task's end. With a tail: the end of what there is now, and what comes.
    fn follow(&self, out: &mut StreamWriter) -> io::Result<()> {
        let Some(task) = self.current() else { return Ok(()) };
        let first = match (self.query.attempt, self.query.tail) {
            (Some(only), _) => only,
            (None, Some(_)) => course::last(&task),
            (None, None) => Attempt::FIRST,
        };
        let mut follower = Follower { log: self, from: first, first, patience: PATIENCE, reader: None };
        while let Some(task) = self.current().filter(|_| !out.gone().requested()) {
            if !follower.go_on(&task, out)? {
                break;
            }
        }
        Ok(())
    }

    fn current(&self) -> Option<Arc<Task>> {
        self.state.task(self.task.as_str()).ok().flatten().map(|found| found.value)
    }

    /// Says which attempts from `from` on are too long ago to be known, and gives the one to go on with.
    fn pass_too_old(&self, from: Attempt, task: &Task, out: &mut StreamWriter) -> io::Result<Attempt> {
        let known = course::first_known(task);
        let until = if self.query.attempt.is_some() { known.min(from.next()) } else { known };
        if let Some(old) = course::too_old(from, until) {
            self.notice(out, &no_longer_known(old), self.query.attempt)?;
        }
        Ok(from.max(until))
    }

    /// Its worker knows nothing of an attempt. That is news where it ran.
    fn tell_gone(&self, chapter: &Chapter, out: &mut StreamWriter) -> io::Result<()> {
        match chapter.stage {
            Stage::Closed | Stage::Growing => {
                let why = format!("{} no longer has this log", chapter.node);
                self.notice(out, &why, Some(chapter.attempt))
            }
            Stage::Awaited | Stage::Empty => Ok(()),
        }
    }

    /// Says that something is missing.
    fn notice(&self, out: &mut StreamWriter, why: &str, attempt: Option<Attempt>) -> io::Result<()> {
        out.trailer("1");
        if !self.query.as_lines {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&LogLine::notice(why, attempt.map(|attempt| attempt.0)))?;
        line.push(b'\n');
        out.send(&line)
    }
}

fn no_longer_known(attempts: RangeInclusive<u32>) -> String {
    let (first, last) = attempts.into_inner();
    if first == last {
        format!("attempt {first} was too long ago: its log is no longer known")
    } else {
        format!("attempts {first} to {last} were too long ago: their logs are no longer known")
    }
}

/// One follower, and how far it has come.
struct Follower<'a> {
    log: &'a LogStream,
    /// The attempt that it began with. A tail is of this one's log alone.
    first: Attempt,
    /// The first attempt that isn't passed on.
    from: Attempt,
    /// How often it still tries before it gives something up.
    patience: u32,
    reader: Option<Reader<'a>>,
}

impl<'a> Follower<'a> {
    /// Passes on what comes next. False: there is no more.
    fn go_on(&mut self, task: &Task, out: &mut StreamWriter) -> io::Result<bool> {
        let next = course::next(task, self.log.query.attempt, self.from);
        if !matches!(next, Next::Wait) {
            self.from = self.log.pass_too_old(self.from, task, out)?;
        }
        match next {
            Next::Read(chapter) => {
                self.read(&chapter, out)?;
                Ok(true)
            }
            Next::Wait => Ok(!out.gone().wait(LOOK)),
            Next::Over => Ok(false),
        }
    }

    /// Copies one attempt's log, as far as it can be had now.
    fn read(&mut self, chapter: &Chapter, out: &mut StreamWriter) -> io::Result<()> {
        if chapter.stage == Stage::Empty {
            self.pass(chapter);
            return Ok(());
        }
        let (before, copied) = {
            let reader = self.reader_of(chapter.attempt);
            (reader.passed_on(), reader.copy(&chapter.node, out)?)
        };
        if self.reader_of(chapter.attempt).passed_on() > before {
            self.patience = PATIENCE;
        }
        match copied {
            Copied::Whole => self.pass(chapter),
            Copied::Unknown if chapter.stage.is_over() => {
                self.log.tell_gone(chapter, out)?;
                self.pass(chapter);
            }
            Copied::Unknown => {
                out.gone().wait(LOOK);
            }
            Copied::Broken(broken) => self.bear(chapter, &broken, out)?,
        }
        Ok(())
    }

    /// A log can't be had just now: it is tried again, and given up where its attempt is over and patience is.
    fn bear(&mut self, chapter: &Chapter, broken: &Broken, out: &mut StreamWriter) -> io::Result<()> {
        if chapter.stage.is_over() && (self.patience == 0 || !broken.may_heal) {
            self.reader_of(chapter.attempt).complain_once(&broken.why, out)?;
            self.pass(chapter);
            return Ok(());
        }
        if self.patience == 0 {
            self.reader_of(chapter.attempt).complain_once(&broken.why, out)?;
        }
        self.patience = self.patience.saturating_sub(1);
        out.gone().wait(TRY_AGAIN);
        Ok(())
    }

    fn pass(&mut self, chapter: &Chapter) {
        self.from = chapter.attempt.next();
    }

    fn reader_of(&mut self, attempt: Attempt) -> &mut Reader<'a> {
        let (log, wants_tail) = (self.log, attempt == self.first);
        let reader = self.reader.take().filter(|reader| reader.attempt() == attempt);
        self.reader.insert(reader.unwrap_or_else(|| {
            let reader = Reader::new(log, attempt);
            if wants_tail { reader } else { reader.without_tail() }
        }))
    }
}
