//! Answers on their way from tiny_http to a client.
//!
//! [`AnswerHead`] is what tiny_http said, [`Relay`] turns the body that follows into what the client understands:
//! counted bytes stay as they are; chunks are decoded and made anew, or, for a client of HTTP/1.0, sent bare and
//! ended by closing. Headers that are about the inner connection stay inside.

use crate::http::backend::OWN_PREFIX;
use crate::http::gate::body::{BadBody, Chunked};
use crate::http::gate::wire::Outbox;
use crate::http::response::reason;
use crate::http::stream::STREAM_HEADER;

/// Our own service's heads are shorter than this, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
const MOST_HEADERS: usize = 128;

/// What tiny_http sent is no answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadAnswer;

impl From<BadBody> for BadAnswer {
    fn from(_: BadBody) -> Self {
        Self
    }
}

/// What the client is like whose request is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// It asked with `HEAD`: there is no body.
    pub(super) head_only: bool,
    pub(super) understands_chunks: bool,
    pub(super) keep_alive: bool,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    status: u16,
    /// The headers that are passed on, each with its CRLF.
    lines: Vec<u8>,
    length: Option<usize>,
    chunked: bool,
    /// The number of the stream that this is, if it is one.
    pub(super) stream: Option<u64>,
}

impl AnswerHead {
    /// Reads the head at the beginning of `bytes`; nothing while it isn't whole. Gives its length too.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadAnswer> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes).map_err(|_| BadAnswer)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if bytes.len() > HEAD_BYTES => return Err(BadAnswer),
            httparse::Status::Partial => return Ok(None),
        };
        let status = response.code.filter(|code| *code >= 200).ok_or(BadAnswer)?;
        let mut head = Self { status, lines: Vec::new(), length: None, chunked: false, stream: None };
        for header in response.headers.iter() {
            head.note(header)?;
        }
        Ok(Some((head, length)))
    }

    fn note(&mut self, header: &httparse::Header<'_>) -> Result<(), BadAnswer> {
        let text = || std::str::from_utf8(header.value).map_err(|_| BadAnswer);
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => self.length = Some(text()?.parse().map_err(|_| BadAnswer)?),
            "transfer-encoding" => self.chunked = true,
            // tiny_http's name is nobody's business.
            "connection" | "keep-alive" | "server" => {}
            STREAM_HEADER => self.stream = text()?.parse().ok(),
            own if own.starts_with(OWN_PREFIX) => {}
            _ => {
                let parts = [header.name.as_bytes(), b": ", header.value, b"\r\n"];
                parts.iter().for_each(|part| self.lines.extend_from_slice(part));
            }
        }
        Ok(())
    }
}

/// A body that is being relayed.
#[derive(Debug)]
pub(super) struct Relay {
    source: Source,
    /// Whether the client gets chunks.
    makes_chunks: bool,
    /// Whether the client's connection lives on afterwards.
    pub(super) keep_alive: bool,
    decoded: Vec<u8>,
}

#[derive(Debug)]
enum Source {
    Counted { left: usize },
    Chunked(Chunked),
    UntilClose,
}

impl Relay {
    /// Writes the client's head, and is ready for the body.
    pub(super) fn begin(head: &AnswerHead, asker: Asker, out: &mut Outbox) -> Self {
        let bodyless = asker.head_only || matches!(head.status, 204 | 304);
        let source = match (bodyless, head.chunked, head.length) {
            (true, _, _) => Source::Counted { left: 0 },
            (false, true, _) => Source::Chunked(Chunked::new()),
            (false, false, Some(left)) => Source::Counted { left },
            (false, false, None) => Source::UntilClose,
        };
        let counted = matches!(source, Source::Counted { .. });
        let makes_chunks = !counted && asker.understands_chunks;
        let keep_alive = asker.keep_alive && (counted || makes_chunks);
        let mut text = format!("HTTP/1.1 {} {}\r\n", head.status, reason(head.status)).into_bytes();
        text.extend_from_slice(&head.lines);
        match head.length {
            Some(length) if !head.chunked && !matches!(head.status, 204 | 304) => {
                text.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
            }
            Some(_) | None if makes_chunks => text.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Some(_) | None => {}
        }
        text.extend_from_slice(match (keep_alive, asker.understands_chunks) {
            (true, true) => b"\r\n",
            (true, false) => b"Connection: keep-alive\r\n\r\n",
            (false, _) => b"Connection: close\r\n\r\n",
        });
        out.push(&text);
        Self { source, makes_chunks, keep_alive, decoded: Vec::new() }
    }

    /// Passes on what came. True once the body is whole; bytes after it are an error.
    pub(super) fn feed(&mut self, bytes: &[u8], out: &mut Outbox) -> Result<bool, BadAnswer> {
        match &mut self.source {
            Source::Counted { left } => {
                *left = left.checked_sub(bytes.len()).ok_or(BadAnswer)?;
                out.push(bytes);
                Ok(*left == 0)
            }
            Source::Chunked(chunked) => {
                let used = chunked.decode(bytes, &mut self.decoded, usize::MAX)?;
                if used < bytes.len() {
                    return Err(BadAnswer);
                }
                let done = chunked.is_done();
                let trailers = done.then(|| std::mem::take(&mut chunked.trailers));
                self.pass_decoded(out);
                if let Some(trailers) = trailers.filter(|_| self.makes_chunks) {
                    out.push(&[b"0\r\n", trailers.as_slice(), b"\r\n"].concat());
                }
                Ok(done)
            }
            Source::UntilClose => {
                self.decoded.extend_from_slice(bytes);
                self.pass_decoded(out);
                Ok(false)
            }
        }
    }

    /// tiny_http closed the connection. True if that is how the body ends.
    pub(super) fn close(&mut self, out: &mut Outbox) -> bool {
        let whole = matches!(self.source, Source::UntilClose);
        if whole && self.makes_chunks {
            out.push(b"0\r\n\r\n");
        }
        whole
    }

    fn pass_decoded(&mut self, out: &mut Outbox) {
        if self.decoded.is_empty() {
            return;
        }
        if self.makes_chunks {
            out.push(format!("{:x}\r\n", self.decoded.len()).as_bytes());
        }
        out.push(&self.decoded);
        if self.makes_chunks {
            out.push(b"\r\n");
        }
        self.decoded.clear();
    }
}
