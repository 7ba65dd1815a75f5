//! One reader of one attempt's log: asks its worker for the entries, and passes on those that were not passed on yet.
//!
//! The worker is always asked for ndjson, whatever the client wants: an entry says its output and its time, which text
//! does not, and something that is missing comes as an entry too. A log that is opened again is read on behind what
//! was passed on: by counting where it begins as it did before, else by the times of the two outputs.
//!
//! Invariant: no entry is passed on twice.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::time::Duration;

use super::{Broken, Copied, LogStream};
use crate::api::wire::log::{LineStarts, LogLine, LogStream as Output};
use crate::http::{StreamWriter, client::Stream};
use crate::master::reach::Reach;
use crate::model::id::{Attempt, NodeId};
use crate::model::node::NodeStatus;

/// How long a worker may be silent in the midst of a log that isn't followed.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a worker may be silent while a log is followed, before is looked whether its node is still there. A
/// container may be silent for as long as it likes.
const FOLLOWED_SILENCE: Duration = Duration::from_secs(5);

/// How much is read at once.
const READ_BYTES: usize = 32 * 1024;

/// What the worker is asked for.
const MEDIA_TYPE: &str = "application/x-ndjson";

/// Reads one attempt's log, and remembers how much of it was passed on.
pub(super) struct Reader<'a> {
    log: &'a LogStream,
    attempt: Attempt,
    /// Only the last so many lines of what is there when it is opened first.
    tail: Option<u64>,
    passed: Passed,
    starts: LineStarts,
    has_complained: bool,
}

/// What was passed on, as far as it takes to go on behind it.
#[derive(Default)]
struct Passed {
    entries: u64,
    /// The very first entry; none where the log was read from its last lines on.
    first: Option<Vec<u8>>,
    /// The time of each output's last entry, as the wire writes it: these sort as text.
    newest: [String; 2],
}

/// How entries are found that were passed on before.
enum Skip {
    Nothing,
    Entries(u64),
    UpTo([String; 2]),
}

impl<'a> Reader<'a> {
    pub(super) fn new(log: &'a LogStream, attempt: Attempt) -> Self {
        let (passed, starts) = (Passed::default(), LineStarts::default());
        Self { log, attempt, tail: log.query.tail, passed, starts, has_complained: false }
    }

    /// The same from its beginning, whatever the client wants: it has seen the end of what was there, and this came after.
    #[must_use]
    pub(super) fn without_tail(self) -> Self {
        Self { tail: None, ..self }
    }

    pub(super) const fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// How many entries were passed on.
    pub(super) const fn passed_on(&self) -> u64 {
        self.passed.entries
    }

    /// Copies what was not passed on yet. Errors are the client's: it is gone.
    pub(super) fn copy(&mut self, node: &NodeId, out: &mut StreamWriter) -> io::Result<Copied> {
        let source = match self.open(node) {
            Ok(source) => source,
            Err(copied) => return Ok(copied),
        };
        let canceller = source.canceller();
        out.when_gone(move || canceller.cancel());
        let mut source = BufReader::with_capacity(READ_BYTES, source);
        let (mut entry, mut skip) = (Vec::new(), None);
        loop {
            entry.clear();
            match self.read_entry(&mut source, &mut entry, node) {
                Ok(true) => {}
                Ok(false) => return out.flush().map(|()| Copied::Whole),
                Err(broken) => return Ok(Copied::Broken(broken)),
            }
            let Ok(line) = serde_json::from_slice::<LogLine>(&entry) else {
                return Ok(Copied::Broken(broke(node, &"it holds what is no entry")));
            };
            let skip = skip.get_or_insert_with(|| self.passed.skip(&entry));
            if !skip.takes(&line) {
                self.pass_on(&entry, &line, out)?;
            }
            if source.buffer().is_empty() {
                out.flush()?;
            }
        }
    }

    /// Reads one entry. False: the log has ended.
    fn read_entry(
        &self,
        source: &mut impl BufRead,
        entry: &mut Vec<u8>,
        node: &NodeId,
    ) -> Result<bool, Broken> {
        loop {
            match source.read_until(b'\n', entry) {
                Ok(_) if entry.last() == Some(&b'\n') => return Ok(true),
                Ok(_) if entry.is_empty() => return Ok(false),
                Ok(_) => return Err(broke(node, &"it ended inside an entry")),
                // A worker that is gone without a word is silent as well: what the master knows of it decides.
                Err(error) if error.kind() == ErrorKind::TimedOut && self.log.query.follow => {
                    self.reach(node)?;
                }
                Err(error) => return Err(broke(node, &error)),
            }
        }
    }

    fn pass_on(&mut self, entry: &[u8], line: &LogLine, out: &mut StreamWriter) -> io::Result<()> {
        let Some(output) = line.stream else {
            out.trailer("1");
            return if self.log.query.as_lines { out.write_all(entry) } else { Ok(()) };
        };
        self.passed.note(entry, line, output, self.tail.is_none());
        if self.log.query.as_lines {
            return out.write_all(entry);
        }
        let begins_line = self.starts.note(output, line.bytes());
        if let Some(time) = line.time.as_ref().filter(|_| begins_line && self.log.query.timestamps) {
            write!(out, "{time} ")?;
        }
        out.write_all(line.bytes())
    }

    fn open(&self, node: &NodeId) -> Result<Stream, Copied> {
        let reach = self.reach(node).map_err(Copied::Broken)?;
        let query = &self.log.query;
        // What was passed on already is left out here, not there: the last lines are others by now.
        let tail = self.tail.filter(|_| self.passed.entries == 0);
        let path = query.path(&self.log.task, self.attempt, tail);
        let silence = if query.follow { FOLLOWED_SILENCE } else { SILENCE };
        let opened =
            reach.client().and_then(|client| client.stream(&path, &[("Accept", MEDIA_TYPE)], silence));
        opened.map_err(|error| {
            let is_unknown = error.problem().is_some_and(|problem| problem.status == 404);
            if is_unknown { Copied::Unknown } else { Copied::Broken(out_of_reach(node, &error, true)) }
        })
    }

    /// How a node is to be reached, which an offline one is not.
    fn reach(&self, node: &NodeId) -> Result<Reach, Broken> {
        let known = self.log.state.node(node).zip(self.log.state.reach_of(node));
        let Some((known, reach)) = known else {
            return Err(out_of_reach(node, &"it was removed", false));
        };
        if known.value.status == NodeStatus::Offline {
            return Err(out_of_reach(node, &"it is offline", false));
        }
        Ok(reach)
    }

    pub(super) fn complain_once(&mut self, why: &str, out: &mut StreamWriter) -> io::Result<()> {
        if self.has_complained {
            return Ok(());
        }
        self.has_complained = true;
        self.log.notice(out, why, Some(self.attempt))
    }
}

fn out_of_reach(node: &NodeId, why: &dyn Display, may_heal: bool) -> Broken {
    Broken { why: format!("{node} can't be reached: {why}"), may_heal }
}

fn broke(node: &NodeId, why: &dyn Display) -> Broken {
    Broken { why: format!("the line to {node} broke: {why}"), may_heal: true }
}

impl Passed {
    fn note(&mut self, entry: &[u8], line: &LogLine, output: Output, is_from_beginning: bool) {
        if self.entries == 0 && is_from_beginning {
            self.first = Some(entry.to_vec());
        }
        self.entries += 1;
        if let Some(time) = &line.time {
            time.clone_into(&mut self.newest[index(output)]);
        }
    }

    /// How to go on in a log that begins with this entry.
    fn skip(&self, first: &[u8]) -> Skip {
        match &self.first {
            _ if self.entries == 0 => Skip::Nothing,
            Some(held) if held == first => Skip::Entries(self.entries),
            Some(_) | None => {
                // An output that wrote nothing so far begins with what comes after the other's last entry.
                let latest = self.newest.iter().max().cloned().unwrap_or_default();
                let or_latest = |time: &String| if time.is_empty() { latest.clone() } else { time.clone() };
                Skip::UpTo(self.newest.each_ref().map(or_latest))
            }
        }
    }
}

impl Skip {
    /// Whether an entry was passed on before. Notices are news.
    fn takes(&mut self, line: &LogLine) -> bool {
        let Some(output) = line.stream else { return false };
        match self {
            Self::Nothing | Self::Entries(0) => false,
            Self::Entries(left) => {
                *left -= 1;
                true
            }
            Self::UpTo(newest) => line.time.as_ref().is_some_and(|time| *time <= newest[index(output)]),
        }
    }
}

const fn index(output: Output) -> usize {
    match output {
        Output::Stdout => 0,
        Output::Stderr => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(numbers: std::ops::RangeInclusive<u32>) -> Vec<(Vec<u8>, LogLine)> {
        let one = |number: u32| {
            let output = if number.is_multiple_of(3) { Output::Stderr } else { Output::Stdout };
            let time = format!("2026-01-31T12:00:00.{number:09}Z");
            let line = LogLine::written(output, time, format!("{number}\n").as_bytes(), 1);
            (serde_json::to_vec(&line).unwrap(), line)
        };
        numbers.map(one).collect()
    }

    fn passed(numbers: std::ops::RangeInclusive<u32>, is_from_beginning: bool) -> Passed {
        let mut passed = Passed::default();
        for (entry, line) in entries(numbers) {
            passed.note(&entry, &line, line.stream.unwrap(), is_from_beginning);
        }
        passed
    }

    fn news(passed: &Passed, log: &[(Vec<u8>, LogLine)]) -> Vec<String> {
        let mut skip = passed.skip(&log[0].0);
        log.iter().filter(|(_, line)| !skip.takes(line)).filter_map(|(_, line)| line.line.clone()).collect()
    }

    #[test]
    fn a_log_goes_on_behind_what_was_passed_on() {
        assert_eq!(news(&Passed::default(), &entries(1..=3)), ["1\n", "2\n", "3\n"]);
        assert_eq!(news(&passed(1..=5, true), &entries(1..=7)), ["6\n", "7\n"]);
        // Its beginning was dropped since.
        assert_eq!(news(&passed(1..=5, true), &entries(3..=7)), ["6\n", "7\n"]);
        // It was read from its last lines on.
        assert_eq!(news(&passed(4..=5, false), &entries(1..=7)), ["6\n", "7\n"]);
    }

    #[test]
    fn a_notice_is_always_news() {
        let mut skip = passed(1..=5, true).skip(&entries(1..=1)[0].0);
        assert!(!skip.takes(&LogLine::notice("the oldest part was dropped", Some(1))));
    }
}
