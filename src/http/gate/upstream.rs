//! One connection to tiny_http, and the pool of them.
//!
//! Invariant: connections are opened one at a time, and each has answered a probe before it serves anybody or the
//! next is opened. tiny_http hands a second new connection to a thread that is already taken when two arrive
//! within microseconds, and that connection is then never served.

use std::os::unix::net::UnixStream;

use std::io::IoSlice;

use crate::http::gate::Token;
use crate::http::gate::answer::{Asker, Relay};
use crate::http::gate::timers::Armed;
use crate::http::gate::wire::{Broken, Wire};
use crate::model::time::Mono;

/// A request that is whole and checked.
#[derive(Debug)]
pub(super) struct WholeRequest {
    /// Request line and headers with the empty line.
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) asker: Asker,
    /// Whether it may be sent again when its connection dies without an answer.
    pub(super) retryable: bool,
}

/// A request at tiny_http.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Nobody, once the client has gone: the answer is then read and thrown away.
    pub(super) client: Option<Token>,
    pub(super) request: WholeRequest,
    /// How much of the request was written.
    pub(super) sent: usize,
    /// The answer, once its head was read.
    pub(super) relay: Option<Relay>,
    /// The number of the stream that the answer is.
    pub(super) stream: Option<u64>,
}

impl Exchange {
    pub(super) fn new(client: Option<Token>, request: WholeRequest) -> Self {
        Self { client, request, sent: 0, relay: None, stream: None }
    }

    /// Whether the whole request was written.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.request.head.len() + self.request.body.len()
    }

    /// Writes as much of the request as the wire takes.
    pub(super) fn send(&mut self, wire: &mut Wire<UnixStream>) -> Result<(), Broken> {
        let (head, body) = (&self.request.head, &self.request.body);
        while !self.is_sent() {
            let from_head = &head[self.sent.min(head.len())..];
            let from_body = &body[self.sent.saturating_sub(head.len())..];
            let count = wire.write(&[IoSlice::new(from_head), IoSlice::new(from_body)])?;
            if count == 0 {
                break;
            }
            self.sent += count;
        }
        Ok(())
    }
}

/// What a connection to tiny_http is doing.
#[derive(Debug)]
pub(super) enum Job {
    /// It is new and has to prove itself.
    Probe(Exchange),
    /// It waits for a request.
    Idle,
    /// It serves one.
    Serve(Exchange),
}

/// One connection to tiny_http.
pub(super) struct Upstream {
    pub(super) wire: Wire<UnixStream>,
    /// The beginning of an answer's head.
    pub(super) inbox: Vec<u8>,
    pub(super) job: Job,
    pub(super) armed: Armed,
    pub(super) deadline: Option<Mono>,
    /// Whether epoll was asked to tell when it can be written to. Rarely: each reading by tiny_http would wake us.
    pub(super) watches_writes: bool,
    /// Which life of tiny_http it belongs to.
    pub(super) generation: u32,
}

/// The connections to tiny_http that are not streams.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Free ones; the one used last comes first, its thread is still warm.
    pub(super) idle: Vec<Token>,
    /// The one that has to prove itself.
    pub(super) opening: Option<Token>,
    /// All of them, the opening one included.
    pub(super) members: usize,
    /// Not before this is the next one opened.
    pub(super) retry_at: Mono,
    pub(super) generation: u32,
}
