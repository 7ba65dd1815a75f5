//! Logs, passed on from the worker that has them.
//!
//! A reader of a log gets a thread of its own (from the HTTP server's bounded set), which opens the same log at the
//! worker, always as ndjson, and passes it on entry by entry (`logs/reader.rs`). With `follow` it begins before the
//! task is placed, goes on through its attempts, and ends when the task has. A line that breaks is taken up again
//! where it broke. What can't be had is said: as a notice in ndjson, and by the trailer `Podling-Incomplete: 1`.

mod reader;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::api::wire::log::LogLine;
use crate::http::{Responder, StreamHead, StreamWriter};
use crate::master::state::State;
use crate::model::id::{Attempt, TaskId};
use crate::model::task::Task;
use crate::rest::log::LogQuery;

use reader::Reader;

/// How often a follower looks whether its task has moved on, while there is nothing to copy.
const LOOK: Duration = Duration::from_millis(50);

/// How often a follower tries to reach a worker that it can't reach.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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
    Broken(String),
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

    /// The log of one attempt as it is now.
    fn read_once(&self, out: &mut StreamWriter) -> io::Result<()> {
        let Some(task) = self.current() else { return Ok(()) };
        let attempt = self.query.attempt.unwrap_or(task.attempt);
        let Some(placement) = task.placement().filter(|_| attempt == task.attempt) else { return Ok(()) };
        let mut reader = Reader::new(self, attempt);
        match reader.copy(&placement.node, out)? {
            Copied::Whole => Ok(()),
            Copied::Unknown if task.status().is_terminal() && started(&task) => {
                self.notice(out, &format!("{} no longer has this log", placement.node), attempt)
            }
            Copied::Unknown => Ok(()),
            Copied::Broken(why) => self.notice(out, &why, attempt),
        }
    }

    /// All attempts in order, to the task's end.
    fn follow(&self, out: &mut StreamWriter) -> io::Result<()> {
        let mut reader: Option<Reader<'_>> = None;
        let mut done: Option<Attempt> = None;
        while let Some(task) = self.current() {
            let is_over =
                task.status().is_terminal() || self.query.attempt.is_some_and(|only| only < task.attempt);
            let wanted =
                self.query.attempt.is_none_or(|only| only == task.attempt) && done != Some(task.attempt);
            let Some(placement) = task.placement().filter(|_| wanted) else {
                if is_over || out.gone().wait(LOOK) {
                    return Ok(());
                }
                continue;
            };
            let reader = reader.get_or_insert_with(|| Reader::new(self, task.attempt)).at(task.attempt);
            match reader.copy(&placement.node, out)? {
                Copied::Whole => done = Some(task.attempt),
                Copied::Unknown if is_over => done = Some(task.attempt),
                Copied::Unknown => {
                    out.gone().wait(LOOK);
                }
                Copied::Broken(why) if is_over => {
                    done = Some(task.attempt);
                    self.notice(out, &why, task.attempt)?;
                }
                Copied::Broken(why) => {
                    reader.complain_once(&why, out)?;
                    out.gone().wait(TRY_AGAIN);
                }
            }
            if out.gone().requested() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn current(&self) -> Option<Arc<Task>> {
        self.state.task(self.task.as_str()).ok().flatten().map(|found| found.value)
    }

    /// Says that something is missing.
    fn notice(&self, out: &mut StreamWriter, why: &str, attempt: Attempt) -> io::Result<()> {
        out.trailer("1");
        if !self.query.as_lines {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&LogLine::notice(why, Some(attempt.0)))?;
        line.push(b'\n');
        out.send(&line)
    }
}

/// Whether the last attempt ever had a container that ran.
fn started(task: &Task) -> bool {
    crate::api::wire::task::TaskView::from(task).started_at.is_some()
}
