//! How a log is shown: which of its records, from which line on, as text or as ndjson.
//!
//! As text it is the container's own bytes, with a time before each line where that is asked for; as ndjson it is
//! one [`LogLine`] per record. [`Format`] remembers where lines begin: the Engine gives a long line in several
//! records, and only the first of them begins a line.
//!
//! Invariant: what is written depends on the records and on the query alone. Reading the same records again, from
//! the Engine or from the disk, gives the same bytes, which is what lets a reader whose line broke take it up again.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use crate::api::wire::log::{LineStarts, LogLine, LogStream};
use crate::engine::{LogRecord, Stream};
use crate::model::id::Attempt;
use crate::rest::log::LogQuery;

/// Writes records as one reader wants them.
#[derive(Clone, Debug)]
pub(super) struct Format {
    attempt: Attempt,
    as_lines: bool,
    timestamps: bool,
    /// None: both.
    only: Option<Stream>,
    /// How many lines are still to be left out before the first that is shown.
    skip_lines: u64,
    starts: LineStarts,
}

impl Format {
    /// What a query wants of an attempt's log.
    pub(super) fn new(query: &LogQuery, attempt: Attempt) -> Self {
        let only = match query.stream.as_str() {
            "stdout" => Some(Stream::Stdout),
            "stderr" => Some(Stream::Stderr),
            _ => None,
        };
        let (as_lines, timestamps) = (query.as_lines, query.timestamps);
        Self { attempt, as_lines, timestamps, only, skip_lines: 0, starts: LineStarts::default() }
    }

    /// Leaves out the next `lines` lines.
    pub(super) const fn skip(&mut self, lines: u64) {
        self.skip_lines = lines;
    }

    /// Whether a record is among those that are shown.
    pub(super) fn shows(&self, record: &LogRecord) -> bool {
        self.only.is_none_or(|only| only == record.stream)
    }

    /// Takes note of a record that isn't to be written. True if it begins a line.
    pub(super) fn note(&mut self, record: &LogRecord) -> bool {
        self.starts.note(on_the_wire(record.stream), &record.bytes)
    }

    /// Writes a record, if it is among those that are shown.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn write(&mut self, record: &LogRecord, out: &mut dyn Write) -> io::Result<()> {
        let begins_line = self.note(record);
        if !self.shows(record) {
            return Ok(());
        }
        let bytes = self.cut(&record.bytes);
        let is_cut = bytes.len() < record.bytes.len();
        if is_cut && bytes.is_empty() {
            return Ok(());
        }
        if self.as_lines {
            return self.write_line(record, bytes, out);
        }
        if self.timestamps && (begins_line || is_cut) && !bytes.is_empty() {
            write!(out, "{} ", time(record.unix_nanos))?;
        }
        out.write_all(bytes)
    }

    /// Writes something about the log itself, where the format has a way to say it.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn write_notice(&self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        if !self.as_lines {
            return Ok(());
        }
        write_json(&LogLine::notice(text, Some(self.attempt.0)), out)
    }

    fn write_line(&self, record: &LogRecord, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let stream = on_the_wire(record.stream);
        write_json(&LogLine::written(stream, time(record.unix_nanos), bytes, self.attempt.0), out)
    }

    /// What of a record comes after the lines that are to be left out.
    fn cut<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while self.skip_lines > 0 {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return &[] };
            rest = &rest[end + 1..];
            self.skip_lines -= 1;
        }
        rest
    }
}

const fn on_the_wire(stream: Stream) -> LogStream {
    match stream {
        Stream::Stdout => LogStream::Stdout,
        Stream::Stderr => LogStream::Stderr,
    }
}

fn write_json(line: &LogLine, out: &mut dyn Write) -> io::Result<()> {
    let mut json = serde_json::to_vec(line)?;
    json.push(b'\n');
    out.write_all(&json)
}

/// RFC 3339 in UTC with nanoseconds.
fn time(unix_nanos: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(unix_nanos)).to_string()
}

/// Counts lines: each line feed ends one, and what comes after the last is one too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines {
    ended: u64,
    is_open: bool,
}

impl Lines {
    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.ended += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.is_open = *last != b'\n';
    }

    /// How many there are.
    pub(super) fn count(self) -> u64 {
        self.ended + u64::from(self.is_open)
    }
}
