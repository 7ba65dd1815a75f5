//! A task's log on the wire: `application/x-ndjson`, one [`LogLine`] a line.
//!
//! A log is bytes, and JSON can't carry bytes that aren't UTF-8. A line that is text travels as `line`, any other
//! as the numbers of its bytes in `line_bytes`, so that a log leaves the last program exactly as it left the
//! container. [`LogLine::written`] chooses, [`LogLine::bytes`] gives back.
//!
//! Invariant: an entry holds one of `line`, `line_bytes` and `notice`, and `stream` beside either of the first two.

use super::time;
use super::token::Secret;
use crate::model::id::NodeId;
use crate::model::time::WallTime;
use serde::{Deserialize, Serialize};

/// Which of a container's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl LogStream {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One entry of a log as `application/x-ndjson`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where the container wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LogStream>,
    /// When: RFC 3339 with nanoseconds, as the Engine noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What it wrote, where that is UTF-8. Holds its line feed, where the container wrote one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What it wrote, where that isn't UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_bytes: Option<Vec<u8>>,
    /// Instead of a line: something about the log itself, such as a part that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// The attempt that wrote it, or that the notice is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

impl LogLine {
    /// A line that a container wrote.
    ///
    /// ```
    /// use podling::api::wire::log::{LogLine, LogStream};
    ///
    /// let line = LogLine::written(LogStream::Stdout, "2026-01-31T12:00:00.000000001Z", b"hello\n", 1);
    /// assert_eq!(line.line.as_deref(), Some("hello\n"));
    /// let binary = LogLine::written(LogStream::Stdout, "2026-01-31T12:00:00.000000001Z", &[0xff, b'\n'], 1);
    /// assert_eq!(binary.line_bytes, Some(vec![0xff, b'\n']));
    /// ```
    pub fn written(stream: LogStream, time: impl Into<String>, bytes: &[u8], attempt: u32) -> Self {
        let (line, line_bytes) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(bytes.to_vec())),
        };
        let (stream, time, attempt) = (Some(stream), Some(time.into()), Some(attempt));
        Self { stream, time, line, line_bytes, notice: None, attempt }
    }

    /// Something about the log itself: a part that can't be had.
    pub fn notice(text: impl Into<String>, attempt: Option<u32>) -> Self {
        Self { notice: Some(text.into()), attempt, ..Self::default() }
    }

    /// The container's own bytes; empty for a notice.
    pub fn bytes(&self) -> &[u8] {
        match (&self.line, &self.line_bytes) {
            (Some(text), _) => text.as_bytes(),
            (None, Some(bytes)) => bytes,
            (None, None) => &[],
        }
    }
}

/// Where lines begin: whether each of the two outputs was left in the middle of a line by what it wrote last. A long
/// line comes in several entries, and only the first of them begins a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStarts {
    is_open: [bool; 2],
}

impl LineStarts {
    /// Takes note of what an output wrote. True if that begins a line.
    ///
    /// ```
    /// use podling::api::wire::log::{LineStarts, LogStream};
    ///
    /// let mut starts = LineStarts::default();
    /// assert!(starts.note(LogStream::Stdout, b"one half, "));
    /// assert!(starts.note(LogStream::Stderr, b"a whole line\n"));
    /// assert!(!starts.note(LogStream::Stdout, b"the other half\n"));
    /// assert!(starts.note(LogStream::Stdout, b"next"));
    /// ```
    pub fn note(&mut self, stream: LogStream, bytes: &[u8]) -> bool {
        let is_open = match stream {
            LogStream::Stdout => &mut self.is_open[0],
            LogStream::Stderr => &mut self.is_open[1],
        };
        let stays_open = bytes.last().map_or(*is_open, |last| *last != b'\n');
        !std::mem::replace(is_open, stays_open)
    }
}

/// The reply to POST /tasks/:id/logs-ticket: where a worker serves the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsTicket {
    /// The worker's URL for this task's log.
    pub url: String,
    /// The node: over TLS the worker proves to be that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// What the worker wants to be shown there; absent where its node never joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Secret>,
    /// The cluster's CA, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Until when the ticket is good.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WallTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_wire() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [b"text\r\n".as_slice(), b"", "\u{1b}[31mrot\u{2028}".as_bytes(), &all] {
            let line = LogLine::written(LogStream::Stderr, "2026-01-31T12:00:00Z", bytes, 2);
            let json = serde_json::to_string(&line).unwrap();
            assert!(!json.contains('\n'), "{json}");
            assert_eq!(serde_json::from_str::<LogLine>(&json).unwrap().bytes(), bytes);
        }
    }

    #[test]
    fn absent_means_absent() {
        let notice = serde_json::to_string(&LogLine::notice("worker-1 is offline", Some(1))).unwrap();
        assert_eq!(notice, r#"{"notice":"worker-1 is offline","attempt":1}"#);
        let line = serde_json::to_string(&LogLine::written(LogStream::Stderr, "t", b"x", 1)).unwrap();
        assert_eq!(line, r#"{"stream":"stderr","time":"t","line":"x","attempt":1}"#);
    }
}
