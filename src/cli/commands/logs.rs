//! `podling logs TASK`: what a task wrote, by way of the master, or straight from its worker.
//!
//! A followed log is read to the task's end, attempt after attempt, with a heading on stderr where another one begins.
//! Its line may break before: then it is opened again and goes on where it broke. Silence isn't a break, because a container may be silent; but a master that died without a word is silent
//! too, so after a while of silence it is asked whether it is still there.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::time::Duration;

use super::{Command, Session};
use crate::api::routes;
use crate::cli::args::{Flag, Words};
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::remote::{Direct, Remote};
use crate::cli::render::log::Demux;
use crate::cli::waiting::{Outlook, Pace, Patience};
use crate::http::client::Stream;
use crate::runtime::settings::SettingsError;

/// How long a log that isn't followed may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a followed log may be silent before the master is asked whether it is there.
const FOLLOWED_SILENCE: Duration = Duration::from_secs(15);

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    task: String,
    follow: bool,
    tail: Option<u64>,
    timestamps: bool,
    attempt: Option<u32>,
    direct: bool,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(super) fn read(words: &mut Words) -> Result<Self, SettingsError> {
        let tail = words.value(Flag::Long("--tail"), number)?;
        let attempt = words.value(Flag::Long("--attempt"), attempt)?;
        let follow = words.switch(Flag::Both("-f", "--follow"));
        let timestamps = words.switch(Flag::Long("--timestamps"));
        let direct = words.switch(Flag::Long("--direct"));
        Ok(Self { task: words.one("TASK")?, follow, tail, timestamps, attempt, direct })
    }

    /// All of a task's log, to its end.
    pub(super) fn followed(task: impl Into<String>) -> Self {
        Self { task: task.into(), follow: true, tail: None, timestamps: false, attempt: None, direct: false }
    }

    /// The question as the API knows it. Times come with every entry, asked for or not.
    fn query(&self, tail: Option<u64>) -> String {
        let mut query = format!("?follow={}", self.follow);
        // Writing to a String can't fail.
        if let Some(tail) = tail {
            let _ = write!(query, "&tail={tail}");
        }
        if let Some(attempt) = self.attempt {
            let _ = write!(query, "&attempt={attempt}");
        }
        query
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of lines"))
}

fn attempt(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} must be a number from 1"))
}

impl Command for Asked {
    /// 1 where a part of the log can't be had.
    fn obey(&self, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
        // By its id from here on: the name may come to mean another task.
        let task = session.remote.task(&self.task)?.task_id.to_string();
        let source = if self.direct {
            Source::Worker(session.remote.log_address(&task, self.attempt)?)
        } else {
            Source::Master
        };
        let is_whole = Reader::new(self, &task, source).read(session)?;
        Ok(if is_whole { exit::DONE } else { exit::FAILED })
    }
}

/// Who is asked for the log.
enum Source {
    Master,
    Worker(Direct),
}

/// One log on its way to the console.
struct Reader<'a> {
    asked: &'a Asked,
    task: &'a str,
    source: Source,
    demux: Demux,
    outlook: Outlook,
}

impl<'a> Reader<'a> {
    fn new(asked: &'a Asked, task: &'a str, source: Source) -> Self {
        Self { asked, task, source, demux: Demux::new(asked.timestamps), outlook: Outlook::new() }
    }

    /// Reads it to its end. True if nothing is missing.
    fn read(mut self, session: &mut Session<'_, '_>) -> Result<bool, CliError> {
        let (mut pace, mut patience) = (Pace::new(), Patience::default());
        loop {
            let before = self.demux.count();
            let copied = self.open(session).and_then(|stream| self.copy(stream, session));
            if self.demux.count() > before {
                patience.answered();
                pace = Pace::new();
            }
            match copied {
                Ok(()) if self.is_over(session)? => return Ok(!self.demux.is_incomplete()),
                Ok(()) => patience.answered(),
                Err(error) if self.asked.follow => patience.bear(error, session.console)?,
                Err(error) => return Err(error),
            }
            pace.wait(None);
            self.rewind(session);
        }
    }

    fn broken(&self, session: &Session<'_, '_>, why: impl Into<String>) -> CliError {
        match &self.source {
            Source::Master => session.remote.lost(why),
            Source::Worker(worker) => worker.lost(why),
        }
    }

    /// Gets ready for the log to be opened again.
    fn rewind(&mut self, session: &mut Session<'_, '_>) {
        if self.asked.tail.is_none() || !self.demux.has_written() {
            self.demux.begin_again();
            return;
        }
        if !self.demux.is_incomplete() {
            session.console.say("the line broke: what was written meanwhile may be missing");
        }
        self.demux.go_on_from_here();
    }

    fn open(&self, session: &Session<'_, '_>) -> Result<Stream, CliError> {
        let silence = if self.asked.follow { FOLLOWED_SILENCE } else { SILENCE };
        // With a tail, only what comes next can be asked for again.
        let tail = if self.demux.has_written() { self.asked.tail.map(|_| 0) } else { self.asked.tail };
        let query = self.asked.query(tail);
        let stream = match &self.source {
            Source::Master => {
                session.remote.log(&format!("{}{query}", routes::task_logs(self.task)), silence)?
            }
            Source::Worker(worker) => worker.log(&query, silence)?,
        };
        match stream.content_type() {
            Some(media) if media.starts_with("application/x-ndjson") => Ok(stream),
            media => {
                let media = media.unwrap_or("something unnamed");
                Err(CliError::Failed(format!("{media} came, which is not a log with its streams apart")))
            }
        }
    }

    /// Copies until whoever serves the log ends it.
    fn copy(&mut self, mut stream: Stream, session: &mut Session<'_, '_>) -> Result<(), CliError> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) if self.demux.is_between_entries() => return Ok(()),
                Ok(0) => return Err(self.broken(session, "it ended in the midst of an entry")),
                Ok(count) => {
                    let (asked, task, source) = (self.asked, self.task, &self.source);
                    let mut heading = |attempt| heading(asked, task, source, attempt, &session.remote);
                    self.demux.feed(&buffer[..count], &mut heading, session.console)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && self.asked.follow => {
                    self.ask_whether_it_is_there(session)?;
                }
                Err(error) => return Err(self.broken(session, error.to_string())),
            }
        }
    }

    /// After a silence: of a container that has nothing to say, or of a master that is gone.
    fn ask_whether_it_is_there(&mut self, session: &mut Session<'_, '_>) -> Result<(), CliError> {
        let task = session.remote.task(self.task)?;
        if task.status.is_terminal() {
            return Err(self.broken(session, "its task has ended, but it has not"));
        }
        self.outlook.look(&task, session.console);
        Ok(())
    }

    /// Whether a log that ended has nothing more to come.
    fn is_over(&self, session: &Session<'_, '_>) -> Result<bool, CliError> {
        if !self.asked.follow || matches!(self.source, Source::Worker(_)) {
            return Ok(true);
        }
        match session.remote.task(self.task) {
            Ok(task) => {
                let is_earlier = self.asked.attempt.is_some_and(|attempt| attempt < task.attempt.0);
                Ok(task.status.is_terminal() || is_earlier)
            }
            Err(error) if error.problem_code() == Some("task_not_found") => Ok(true),
            // A master that stops ends its streams; it may come back.
            Err(error) if error.is_retryable() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What stands above an attempt's log where several attempts may come. None where it is the only one so far.
fn heading(asked: &Asked, task: &str, source: &Source, attempt: u32, remote: &Remote) -> Option<String> {
    let may_be_several = asked.follow && asked.attempt.is_none() && matches!(source, Source::Master);
    if !may_be_several {
        return None;
    }
    // A heading without a node is better than none.
    let Ok(task) = remote.task(task) else { return Some(format!("--- attempt {attempt} ---")) };
    if attempt == 1 && task.attempt.0 == 1 {
        return None;
    }
    let past = task.attempts.iter().find(|past| past.attempt.0 == attempt).map(|past| &past.node_id);
    let node = past.or(task.node_id.as_ref().filter(|_| task.attempt.0 == attempt));
    let on = node.map_or_else(String::new, |node| format!(" on {node}"));
    Some(format!("--- attempt {attempt}{on} ---"))
}

/// Shows all of a task's log, to its end. What is missing is said.
///
/// # Errors
/// The master doesn't know the task or can't be reached, or the output can't be written.
pub(super) fn follow(task: &str, session: &mut Session<'_, '_>) -> Result<(), CliError> {
    let asked = Asked::followed(task);
    Reader::new(&asked, task, Source::Master).read(session).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
        Asked::read(&mut words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_question_is_the_apis() {
        let query = |line: &str| {
            let asked = asked(line).unwrap();
            asked.query(asked.tail)
        };
        assert_eq!(query("web"), "?follow=false");
        assert_eq!(query("-f web --tail 5 --attempt 2 --timestamps"), "?follow=true&tail=5&attempt=2");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, says) in [
            ("", "TASK is missing"),
            ("web --tail all", "--tail: \"all\" is not a number of lines"),
            ("web --attempt 0", "--attempt: \"0\" must be a number from 1"),
            ("web --since 5m", "unknown flag --since"),
            ("web db", "unexpected argument \"db\""),
        ] {
            assert_eq!(asked(line).expect_err(line), says);
        }
    }
}
