//! Logs, passed on from the worker that has them.
//!
//! A reader of a log gets a thread of its own (from the HTTP server's bounded set), which opens the same log at the
//! worker and copies. With `follow` it begins before the task is placed, goes on through its attempts, and ends when
//! the task has. A line that breaks is taken up again where it broke. What can't be had is said: as a notice in
//! ndjson, and by the trailer `Podling-Incomplete: 1`.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::api::wire::log::LogLine;
use crate::http::{Client, Responder, StreamHead, StreamWriter};
use crate::master::state::State;
use crate::model::id::{Attempt, NodeId, TaskId};
use crate::model::node::{NodeAddress, NodeStatus};
use crate::model::task::Task;
use crate::rest::log::LogQuery;

/// How often a follower looks whether its task has moved on, while there is nothing to copy.
const LOOK: Duration = Duration::from_millis(50);

/// How often a follower tries to reach a worker that it can't reach.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How long a worker may be silent in the midst of a log that isn't followed.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a worker may be silent while a log is followed: a day, because a container may be.
const FOLLOWED_SILENCE: Duration = Duration::from_secs(86_400);

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

/// Reads one attempt's log, and remembers how much of it was passed on.
struct Reader<'a> {
    log: &'a LogStream,
    attempt: Attempt,
    passed_on: u64,
    has_complained: bool,
}

impl<'a> Reader<'a> {
    const fn new(log: &'a LogStream, attempt: Attempt) -> Self {
        Self { log, attempt, passed_on: 0, has_complained: false }
    }

    /// The same reader, at the beginning of another attempt's log if it isn't at this one's already.
    fn at(&mut self, attempt: Attempt) -> &mut Self {
        if self.attempt != attempt {
            *self = Self::new(self.log, attempt);
        }
        self
    }

    /// Copies what was not passed on yet. Errors are the client's: it is gone.
    fn copy(&mut self, node: &NodeId, out: &mut StreamWriter) -> io::Result<Copied> {
        let mut source = match self.open(node) {
            Ok(source) => source,
            Err(copied) => return Ok(copied),
        };
        let canceller = source.canceller();
        out.when_gone(move || canceller.cancel());
        let mut skip = if self.log.query.tail.is_some() { 0 } else { self.passed_on };
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => return Ok(Copied::Whole),
                Ok(count) => count,
                Err(error) => return Ok(Copied::Broken(format!("the line to {node} broke: {error}"))),
            };
            let skipped = skip.min(count as u64);
            skip -= skipped;
            let news = &buffer[usize::try_from(skipped).unwrap_or(count)..count];
            out.write_all(news)?;
            out.flush()?;
            self.passed_on += news.len() as u64;
        }
    }

    fn open(&self, node: &NodeId) -> Result<crate::http::client::Stream, Copied> {
        let broken = |why: String| Copied::Broken(format!("{node} can't be reached: {why}"));
        let Some(known) = self.log.state.node(node) else { return Err(broken("it was removed".to_owned())) };
        if known.value.status == NodeStatus::Offline {
            return Err(broken("it is offline".to_owned()));
        }
        let address = NodeAddress { host: known.value.hostname, port: known.value.port };
        let query = &self.log.query;
        // With a tail, the log can't be taken up where it broke: only what comes next is.
        let tail = if self.passed_on > 0 { query.tail.map(|_| 0) } else { query.tail };
        let path = query.path(&self.log.task, self.attempt, tail);
        let silence = if query.follow { FOLLOWED_SILENCE } else { SILENCE };
        let opened = Client::new(&format!("http://{address}"))
            .and_then(|client| client.stream(&path, &[("Accept", query.media_type())], silence));
        opened.map_err(|error| {
            let is_unknown = error.problem().is_some_and(|problem| problem.status == 404);
            if is_unknown { Copied::Unknown } else { broken(error.to_string()) }
        })
    }

    fn complain_once(&mut self, why: &str, out: &mut StreamWriter) -> io::Result<()> {
        if self.has_complained {
            return Ok(());
        }
        self.has_complained = true;
        self.log.notice(out, why, self.attempt)
    }
}
