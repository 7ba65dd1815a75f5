//! An answer, and the one-shot right to give it.
//!
//! A [`Responder`] may travel: the thread that takes a request off the wire hands it on, and whoever knows the
//! answer sends it, from any thread. That is how two handler threads serve thousands of requests that each wait
//! for the disk.
//!
//! Invariant: every request is answered exactly once. A responder that is dropped, by mistake or by a panic,
//! answers 503 `unanswered`; a client never hangs on a lost one.

use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::Serialize;

use crate::http::problem::{PROBLEM_JSON, Problem};
use crate::http::stream::{Place, StreamWriter, Streams, head_bytes};
use crate::runtime::supervise::panic_message;

/// A body: owned, or shared with whoever keeps a prepared answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// Made for this answer.
    Owned(Vec<u8>),
    /// Made once, sent often.
    Shared(Arc<[u8]>),
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

impl From<Arc<[u8]>> for Body {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}

/// A whole answer. Its length is always told.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, where there is a body.
    pub content_type: Option<String>,
    /// Further headers. `Content-Length`, `Date` and whatever concerns the connection are not the caller's.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

impl Response {
    /// Any bytes.
    pub fn new(status: u16, content_type: impl Into<String>, body: impl Into<Body>) -> Self {
        Self { status, content_type: Some(content_type.into()), headers: Vec::new(), body: body.into() }
    }

    /// A value as JSON. A value that can't be JSON is a mistake in this program: it is logged, and answered 503.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self::new(status, "application/json", bytes),
            Err(error) => {
                log::error!("an answer can't be written as JSON because={error}");
                Problem::unavailable("unserialisable", "the answer can't be written as JSON").into()
            }
        }
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// No body: 204, or a status that says it all.
    pub fn empty(status: u16) -> Self {
        Self { status, content_type: None, headers: Vec::new(), body: Body::Owned(Vec::new()) }
    }

    /// A problem document with its headers.
    pub fn problem(problem: &Problem) -> Self {
        let mut response = Self::new(problem.status, PROBLEM_JSON, problem.to_json());
        for (name, value) in problem.headers() {
            response = response.header(name, value);
        }
        response
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        Self::problem(&problem)
    }
}

/// The head of an answer that is streamed.
#[derive(Clone, Debug)]
pub struct StreamHead {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) trailer: Option<&'static str>,
}

impl StreamHead {
    /// A head without further headers.
    pub fn new(status: u16, content_type: impl Into<String>) -> Self {
        Self { status, content_type: content_type.into(), headers: Vec::new(), trailer: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        if is_header(&name, &value) {
            self.headers.push((name, value));
        } else {
            log::error!("a header that can't be sent was left out name={name:?}");
        }
        self
    }

    /// Declares the one trailer that [`StreamWriter::trailer`] may set.
    #[must_use]
    pub fn trailer(mut self, name: &'static str) -> Self {
        self.trailer = Some(name);
        self
    }
}

/// The right, and the duty, to answer one request.
pub struct Responder {
    pending: Option<tiny_http::Request>,
    streams: Arc<Streams>,
}

impl Responder {
    /// For a request whose body has been read.
    pub(crate) fn new(request: tiny_http::Request, streams: Arc<Streams>) -> Self {
        Self { pending: Some(request), streams }
    }

    /// Answers. Blocks only as long as the gate takes to absorb the bytes, never on the client.
    pub fn send(mut self, response: impl Into<Response>) {
        if let Some(request) = self.pending.take() {
            respond(request, response.into());
        }
    }

    /// Answers with a stream, whose body is written by a thread of its own. Where all streams are taken the answer
    /// is 503 `streams_full`, and `body` isn't called. For `HEAD` only the head is sent.
    ///
    /// `body` returning an error, or panicking, cuts the answer off, so that the client sees it is incomplete.
    pub fn stream<F>(mut self, head: StreamHead, body: F)
    where
        F: FnOnce(&mut StreamWriter) -> io::Result<()> + Send + 'static,
    {
        if self.pending.as_ref().is_some_and(|request| *request.method() == tiny_http::Method::Head) {
            return self.send_stream_head(&head);
        }
        let streams = Arc::clone(&self.streams);
        let Some(place) = streams.reserve() else {
            return self.send(Problem::unavailable("streams_full", "as many streams as may run do run"));
        };
        let id = place.id;
        let run = move || {
            if let Some(request) = self.pending.take() {
                run_stream(request, &head, place, body);
            }
        };
        // Where no thread can be had, `run` is dropped, and with it this responder: 503.
        if let Err(error) = streams.start(id, run) {
            log::warn!("failed to start a stream because={error}");
        }
    }

    fn send_stream_head(&mut self, head: &StreamHead) {
        if let Some(request) = self.pending.take() {
            let mut out = request.into_writer();
            // A client that left needs no answer.
            let _ = out.write_all(&head_bytes(head, None)).and_then(|()| out.flush());
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(request) = self.pending.take() {
            log::error!("a request was left unanswered url={}", request.url().escape_default());
            let problem = Problem::unavailable("unanswered", "the server could not answer this request");
            respond(request, problem.into());
        }
    }
}

fn run_stream<F>(request: tiny_http::Request, head: &StreamHead, place: Place, body: F)
where
    F: FnOnce(&mut StreamWriter) -> io::Result<()>,
{
    let Ok(mut writer) = StreamWriter::begin(request.into_writer(), head, place) else {
        return;
    };
    match catch_unwind(AssertUnwindSafe(|| body(&mut writer))) {
        Ok(Ok(())) => {
            let _ = writer.finish();
        }
        Ok(Err(error)) => log::debug!("a stream was cut off because={error}"),
        Err(payload) => log::error!("a stream panicked message={}", panic_message(payload.as_ref())),
    }
}

/// Hands an answer to tiny_http. An error means that the gate has closed the connection: nobody waits any more.
fn respond(request: tiny_http::Request, response: Response) {
    let length = response.body.as_ref().len();
    let content_type = response.content_type.map(|value| ("Content-Type".to_owned(), value));
    let headers = response.headers.into_iter().chain(content_type).filter_map(to_header).collect();
    let body = Cursor::new(response.body);
    let status = tiny_http::StatusCode(response.status);
    let answer = tiny_http::Response::new(status, headers, body, Some(length), None)
        // A threshold that is never reached: every ordinary answer tells its length.
        .with_chunked_threshold(usize::MAX);
    if let Err(error) = request.respond(answer) {
        log::debug!("an answer was not taken because={error}");
    }
}

fn to_header((name, value): (String, String)) -> Option<tiny_http::Header> {
    let header = if is_header(&name, &value) {
        tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()).ok()
    } else {
        None
    };
    if header.is_none() {
        log::error!("a header that can't be sent was left out name={name:?}");
    }
    header
}

/// Whether this may stand in a head: nothing that ends a line early.
fn is_header(name: &str, value: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty()
        && name.bytes().all(token)
        && value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

/// The reason phrase of a status.
pub(crate) fn reason(status: u16) -> &'static str {
    tiny_http::StatusCode(status).default_reason_phrase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_can_not_split_an_answer() {
        assert!(is_header("Location", "/api/v1/tasks/01J"));
        for (name, value) in [("A", "b\r\nSet-Cookie: c"), ("A:", "b"), ("", "b"), ("A b", ""), ("A", "é")] {
            assert!(!is_header(name, value), "{name:?} {value:?}");
        }
    }
}
