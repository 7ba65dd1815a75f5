//! A log as it comes over the wire (one JSON entry a line), taken apart: stdout to stdout, stderr to stderr, byte
//! for byte; notices as messages.
//!
//! Main type: [`Demux`]. It counts what it wrote of each attempt, so that a log that is opened again, because its
//! line broke, goes on where it broke. Where another attempt's log begins, a heading on stderr may say so.
//!
//! Order: stdout is flushed before anything goes to stderr, so that on a terminal the two stand as they were written.

use std::collections::BTreeMap;
use std::io::Write;

use crate::api::wire::log::{LogLine, LogStream};
use crate::cli::Console;
use crate::cli::error::CliError;

/// The longest entry that is taken; the wire has none that comes near.
const LONGEST_ENTRY_BYTES: usize = 64 * 1024 * 1024;

/// What stands above an attempt's log, if anything does.
pub(crate) type Heading<'a> = &'a mut dyn FnMut(u32) -> Option<String>;

/// Takes a log apart.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    timestamps: bool,
    /// The beginning of an entry whose end hasn't come yet.
    pending: Vec<u8>,
    /// How many lines of each attempt were written.
    written: BTreeMap<u32, u64>,
    /// How many more of each attempt come that were written before.
    again: BTreeMap<u32, u64>,
    /// The last notice about each attempt, which comes again as well.
    notices: BTreeMap<u32, String>,
    /// The attempt whose log is being written.
    current: Option<u32>,
    /// Whether what was last written to stdout and stderr didn't end its line.
    is_mid_line: [bool; 2],
    /// Whether something was missing.
    is_incomplete: bool,
}

impl Demux {
    /// `timestamps`: whether each line begins with its time.
    pub(crate) fn new(timestamps: bool) -> Self {
        Self { timestamps, ..Self::default() }
    }

    /// The log begins anew: what was written before will come again.
    pub(crate) fn begin_again(&mut self) {
        self.pending.clear();
        self.again.clone_from(&self.written);
    }

    /// The log goes on with what is new; what lies between is missing.
    pub(crate) fn go_on_from_here(&mut self) {
        self.pending.clear();
        self.again.clear();
        self.is_incomplete = true;
    }

    /// How many lines were written.
    pub(crate) fn count(&self) -> u64 {
        self.written.values().sum()
    }

    /// Whether anything was written.
    pub(crate) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Whether something was missing.
    pub(crate) const fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Whether the last entry came whole.
    pub(crate) const fn is_between_entries(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes what came whole, and keeps the rest. `heading` is asked once for each attempt that begins.
    ///
    /// # Errors
    /// It can't be written, or is no log.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        heading: Heading<'_>,
        console: &mut Console<'_>,
    ) -> Result<(), CliError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if self.pending.is_empty() {
                self.entry(line, heading, console)?;
            } else {
                let mut whole = std::mem::take(&mut self.pending);
                whole.extend_from_slice(line);
                self.entry(&whole, heading, console)?;
            }
        }
        if self.pending.len() + rest.len() > LONGEST_ENTRY_BYTES {
            return Err(CliError::Failed("the log holds an entry that never ends".to_owned()));
        }
        self.pending.extend_from_slice(rest);
        console.out.flush().map_err(CliError::Output)
    }

    fn entry(
        &mut self,
        json: &[u8],
        heading: Heading<'_>,
        console: &mut Console<'_>,
    ) -> Result<(), CliError> {
        if json.is_empty() {
            return Ok(());
        }
        let entry: LogLine = serde_json::from_slice(json).map_err(|error| {
            CliError::Failed(format!("the log holds an entry that makes no sense: {error}"))
        })?;
        let attempt = entry.attempt.unwrap_or(0);
        if let Some(notice) = &entry.notice {
            self.is_incomplete = true;
            if self.notices.get(&attempt) != Some(notice) {
                self.notices.insert(attempt, notice.clone());
                self.begin(entry.attempt, heading, console)?;
                console.say(notice);
            }
            return Ok(());
        }
        if let Some(again) = self.again.get_mut(&attempt).filter(|again| **again > 0) {
            *again -= 1;
            return Ok(());
        }
        *self.written.entry(attempt).or_default() += 1;
        self.begin(entry.attempt, heading, console)?;
        self.write(&entry, console).map_err(CliError::Output)
    }

    /// Begins an attempt's log, if it isn't the one that is being written.
    fn begin(
        &mut self,
        attempt: Option<u32>,
        heading: Heading<'_>,
        console: &mut Console<'_>,
    ) -> Result<(), CliError> {
        let Some(attempt) = attempt.filter(|attempt| self.current != Some(*attempt)) else { return Ok(()) };
        self.current = Some(attempt);
        let is_mid_line = std::mem::take(&mut self.is_mid_line);
        if let Some(heading) = heading(attempt) {
            console.out.flush().map_err(CliError::Output)?;
            // The log's last line had no end: the heading is a line of its own all the same.
            if is_mid_line.contains(&true) {
                console.note("");
            }
            console.note(&heading);
        }
        Ok(())
    }

    fn write(&mut self, entry: &LogLine, console: &mut Console<'_>) -> std::io::Result<()> {
        let bytes = entry.bytes();
        let (out, is_mid_line): (&mut dyn Write, _) = match entry.stream {
            Some(LogStream::Stderr) => {
                console.out.flush()?;
                (console.err, &mut self.is_mid_line[1])
            }
            Some(LogStream::Stdout) | None => (console.out, &mut self.is_mid_line[0]),
        };
        if let Some(time) = entry.time.as_ref().filter(|_| self.timestamps && !*is_mid_line) {
            write!(out, "{time} ")?;
        }
        *is_mid_line = !bytes.ends_with(b"\n");
        out.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds pieces of a log and gives what was written.
    fn fed(demux: &mut Demux, pieces: &[&[u8]]) -> (Vec<u8>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err };
        for piece in pieces {
            demux.feed(piece, &mut |_| None, &mut console).unwrap();
        }
        (out, String::from_utf8(err).unwrap())
    }

    fn entry(stream: LogStream, bytes: &[u8], attempt: u32) -> Vec<u8> {
        let mut json = serde_json::to_vec(&LogLine::written(stream, "T", bytes, attempt)).unwrap();
        json.push(b'\n');
        json
    }

    #[test]
    fn stdout_and_stderr_stay_apart_byte_for_byte() {
        let all: Vec<u8> = (0..=255).collect();
        let log = [
            entry(LogStream::Stdout, &all, 1),
            entry(LogStream::Stderr, b"oops\r\n", 1),
            entry(LogStream::Stdout, "\u{1b}[31m no line feed".as_bytes(), 1),
        ]
        .concat();
        let expected =
            ([all.as_slice(), "\u{1b}[31m no line feed".as_bytes()].concat(), "oops\r\n".to_owned());
        assert_eq!(fed(&mut Demux::new(false), &[&log]), expected);
        let bytes: Vec<&[u8]> = log.chunks(1).collect();
        assert_eq!(fed(&mut Demux::new(false), &bytes), expected, "one byte at a time");
    }

    #[test]
    fn times_stand_at_the_beginning_of_lines() {
        let log = [
            entry(LogStream::Stdout, b"long ", 1),
            entry(LogStream::Stderr, b"e\n", 1),
            entry(LogStream::Stdout, b"line\n", 1),
            entry(LogStream::Stdout, b"next\n", 1),
        ]
        .concat();
        let (out, err) = fed(&mut Demux::new(true), &[&log]);
        assert_eq!((out, err), (b"T long line\nT next\n".to_vec(), "T e\n".to_owned()));
    }

    #[test]
    fn notices_are_messages_and_make_a_log_incomplete() {
        let mut demux = Demux::new(false);
        let log = "{\"notice\":\"worker-1 is \\u001b[5m offline\",\"attempt\":1}\n".as_bytes();
        let (out, err) = fed(&mut demux, &[log]);
        assert_eq!((out, err), (Vec::new(), "podling: worker-1 is \\u{1b}[5m offline\n".to_owned()));
        assert!(demux.is_incomplete() && !demux.has_written());
    }

    #[test]
    fn a_log_that_is_opened_again_goes_on_where_it_broke() {
        let lines = [
            entry(LogStream::Stdout, b"1\n", 1),
            entry(LogStream::Stdout, b"2\n", 2),
            entry(LogStream::Stderr, b"3\n", 2),
            entry(LogStream::Stdout, b"4\n", 2),
        ];
        for cut in 0..=3 {
            let mut demux = Demux::new(false);
            let half = &lines[cut][..lines[cut].len() / 2];
            let before = fed(&mut demux, &[&lines[..cut].concat(), half]);
            assert!(!demux.is_between_entries());
            demux.begin_again();
            let after = fed(&mut demux, &[&lines.concat()]);
            assert_eq!([before.0, after.0].concat(), b"1\n2\n4\n", "cut at {cut}");
            assert_eq!([before.1, after.1].concat(), "3\n", "cut at {cut}");
            assert!(demux.is_between_entries() && !demux.is_incomplete());
        }
        // The log of an earlier attempt may be left out when it is opened again.
        let mut demux = Demux::new(false);
        fed(&mut demux, &[&lines[..3].concat()]);
        demux.begin_again();
        assert_eq!(fed(&mut demux, &[&lines[1..].concat()]).0, b"4\n");
    }

    #[test]
    fn another_attempt_has_a_heading_and_begins_its_own_lines() {
        let notice = b"{\"notice\":\"worker-1 is offline\",\"attempt\":2}\n".to_vec();
        let log = [
            entry(LogStream::Stdout, b"1\n", 1),
            notice,
            entry(LogStream::Stdout, b"no line feed", 3),
            entry(LogStream::Stdout, b"4\n", 4),
        ];
        let mut demux = Demux::new(true);
        let mut both = |log: &[u8]| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut console = Console { out: &mut out, err: &mut err };
            let mut heading = |attempt| (attempt > 1).then(|| format!("- {attempt} -"));
            demux.feed(log, &mut heading, &mut console).unwrap();
            demux.begin_again();
            [out, err].map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let [out, err] = both(&log.concat());
        assert_eq!(out, "T 1\nT no line feedT 4\n");
        assert_eq!(err, "- 2 -\npodling: worker-1 is offline\n- 3 -\n\n- 4 -\n");
        let [out, err] = both(&[log.concat(), entry(LogStream::Stdout, b"5\n", 4)].concat());
        assert_eq!((out.as_str(), err.as_str()), ("T 5\n", ""), "what comes again has no heading");
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err };
        assert!(Demux::new(false).feed(b"plain text\n", &mut |_| None, &mut console).is_err());
    }
}
