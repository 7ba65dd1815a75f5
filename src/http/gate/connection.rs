//! One client's connection: its bytes, and where in a request it is.
//!
//! The phases go round: [`Phase::Head`] → [`Phase::Body`] → [`Phase::Queued`] → [`Phase::Answering`] →
//! [`Phase::Head`]; or end with [`Phase::Closing`] → [`Phase::Lingering`]. Lingering is what keeps a refused
//! client from losing the answer: closing a socket that holds unread bytes resets the connection, and a reset
//! overtakes the answer.

use std::net::SocketAddr;

use crate::http::gate::Token;
use crate::http::gate::body::Chunked;
use crate::http::gate::head::{Head, Scan};
use crate::http::gate::limits::Deadlines;
use crate::http::gate::line::Line;
use crate::http::gate::timers::Armed;
use crate::http::gate::wire::Outbox;
use crate::http::problem::{PROBLEM_JSON, Problem};
use crate::http::response::reason;
use crate::model::time::Mono;

/// Where in a request a client is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Between requests, or a head is coming in.
    Head { scan: Scan, began: Option<Mono> },
    /// The head was good; the body is coming in.
    Body(Box<Incoming>),
    /// The request is whole and waits for a free connection to tiny_http.
    Queued,
    /// The request was passed on.
    Answering { upstream: Token, began: bool, stream: bool },
    /// What is left to write is written, then nothing more is sent.
    Closing,
    /// Nothing more is sent; what still comes is thrown away.
    Lingering { drained: usize },
}

/// A request whose body is coming in.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    pub(super) coding: Coding,
    /// The longest body that is taken.
    pub(super) limit: usize,
    /// When it has to be whole.
    pub(super) by: Mono,
}

/// How the body is delimited, and how far it is.
#[derive(Debug)]
pub(super) enum Coding {
    Counted { left: usize },
    Chunked(Chunked),
}

/// A client.
pub(super) struct Connection {
    pub(super) line: Line,
    pub(super) peer: SocketAddr,
    pub(super) inbox: Vec<u8>,
    pub(super) outbox: Outbox,
    pub(super) phase: Phase,
    /// When the phase began.
    pub(super) since: Mono,
    /// When the client last took bytes, or had taken all.
    pub(super) moved_at: Mono,
    /// The request that is being served is `HEAD`.
    pub(super) head_only: bool,
    pub(super) armed: Armed,
    /// Since when it stands in the census as without a whole head.
    pub(super) headless_since: Option<Mono>,
    /// Since when it owes the gate's budget more than a stream may.
    pub(super) slow_since: Option<Mono>,
    /// What of its body counts against the budget of bodies.
    pub(super) body_counted: usize,
    /// What of its outbox is counted in the budget of answers.
    pub(super) answer_counted: usize,
}

impl Connection {
    pub(super) fn new(line: Line, peer: SocketAddr, now: Mono) -> Self {
        Self {
            line,
            peer,
            inbox: Vec::new(),
            outbox: Outbox::default(),
            phase: Phase::Head { scan: Scan::default(), began: None },
            since: now,
            moved_at: now,
            head_only: false,
            armed: Armed::default(),
            headless_since: None,
            slow_since: None,
            body_counted: 0,
            answer_counted: 0,
        }
    }

    /// Whether it has no whole head: it is the first to go when there are too many.
    pub(super) fn is_headless(&self) -> bool {
        match self.phase {
            Phase::Head { .. } | Phase::Closing | Phase::Lingering { .. } => true,
            Phase::Body(_) | Phase::Queued | Phase::Answering { .. } => false,
        }
    }

    /// When something has to have happened; nothing where only the client's reading counts and it reads.
    pub(super) fn deadline(&self, deadlines: &Deadlines) -> Option<Mono> {
        let of_phase = match &self.phase {
            Phase::Head { began: None, .. } => Some(self.since + deadlines.idle),
            Phase::Head { began: Some(began), .. } => Some(*began + deadlines.head),
            Phase::Body(incoming) => Some(incoming.by),
            Phase::Queued | Phase::Answering { began: false, .. } => Some(self.since + deadlines.answer),
            // It waits for its refusal, which can't be said yet.
            Phase::Closing if self.line.is_greeting() => Some(self.since + deadlines.head),
            Phase::Answering { began: true, .. } | Phase::Closing => None,
            Phase::Lingering { .. } => Some(self.since + deadlines.linger),
        };
        of_phase.into_iter().chain(self.stalls_at(deadlines)).min()
    }

    /// Whether it has not taken all that was said to it.
    pub(super) fn owes(&self) -> bool {
        !self.outbox.is_empty() || self.line.owes()
    }

    /// When the client will have taken nothing for too long.
    pub(super) fn stalls_at(&self, deadlines: &Deadlines) -> Option<Mono> {
        self.owes().then(|| self.moved_at + deadlines.stalled_write)
    }
}

/// The whole answer by which the gate itself refuses a request.
pub(super) fn refusal(problem: &Problem, head_only: bool) -> Vec<u8> {
    let body = problem.to_json();
    let mut text = format!("HTTP/1.1 {} {}\r\n", problem.status, reason(problem.status));
    text.push_str(&format!("Content-Type: {PROBLEM_JSON}\r\nContent-Length: {}\r\n", body.len()));
    for (name, value) in problem.headers() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    let mut bytes = text.into_bytes();
    if !head_only {
        bytes.extend_from_slice(&body);
    }
    bytes
}
