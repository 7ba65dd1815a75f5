//! From a client's bytes to a whole request.
//!
//! A client is taken as far as it goes ([`Gate::drive_client`]): what waits is written, then its phase takes a
//! step, until there is nothing to read. A body is read and checked to its end before anything is passed on: what
//! tiny_http gets is always whole.

use crate::http::backend::{PEER_HEADER, RECEIVED_HEADER};
use crate::http::gate::answer::Asker;
use crate::http::gate::body::{BadBody, Chunked};
use crate::http::gate::connection::{Coding, Connection, Incoming, Phase};
use crate::http::gate::head::{Framing, Head, Scan};
use crate::http::gate::upstream::WholeRequest;
use crate::http::gate::wire::Got;
use crate::http::gate::{Gate, STEPS_A_TURN, Token};
use crate::http::problem::Problem;
use crate::model::time::Mono;

/// So much of each body doesn't count against the budget of all bodies.
const FREE_BODY_BYTES: usize = 16 * 1024;

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next can be taken at once.
    Again,
    /// Something has to come first.
    Wait,
    /// There is no such client any more.
    Gone,
}

impl Gate {
    /// Takes one client as far as it goes.
    pub(super) fn drive_client(&mut self, token: Token) {
        for _ in 0..STEPS_A_TURN {
            if !self.flush_client(token) {
                return;
            }
            match self.step(token) {
                Step::Again => {}
                Step::Wait => return self.settle(token),
                Step::Gone => return,
            }
        }
        self.settle(token);
        self.again.push(token);
    }

    fn step(&mut self, token: Token) -> Step {
        let Some(client) = self.clients.get(&token) else {
            return Step::Gone;
        };
        if client.line.is_greeting() {
            return self.greet(token);
        }
        match client.phase {
            Phase::Head { .. } => self.read_head(token),
            Phase::Body(_) => self.read_body(token),
            Phase::Queued | Phase::Answering { .. } => self.watch_asker(token),
            Phase::Closing => self.begin_linger(token),
            Phase::Lingering { .. } => self.drain(token),
        }
    }

    fn read_head(&mut self, token: Token) -> Step {
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        // A client that pipelines takes its answers before its next request is looked at; so does one that has
        // stopped sending, whose end is found when it is.
        if client.owes() {
            return Step::Wait;
        }
        let Phase::Head { scan, began } = &mut client.phase else {
            return Step::Again;
        };
        match scan.advance(&client.inbox, &self.settings.limits) {
            Err(problem) => self.refuse(token, &problem),
            Ok(Some(length)) => self.take_head(token, length),
            Ok(None) => match client.line.read(&mut self.scratch) {
                Got::Bytes(0) => Step::Again,
                Got::Bytes(count) => {
                    began.get_or_insert(self.now);
                    client.inbox.extend_from_slice(&self.scratch[..count]);
                    Step::Again
                }
                Got::Nothing => Step::Wait,
                Got::End => self.part(token),
            },
        }
    }

    /// Judges a whole head: it is refused, or its body comes next.
    fn take_head(&mut self, token: Token, length: usize) -> Step {
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        let head = Head::parse(&client.inbox[..length]);
        client.inbox.drain(..length);
        let head = match head {
            Ok(head) => head,
            Err(problem) => return self.refuse(token, &problem),
        };
        client.head_only = head.method == "HEAD";
        let limit = (self.settings.body_limit)(&head.method, &head.path);
        let (coding, expected) = match head.framing {
            Framing::Length(length) if length > limit => {
                return self.refuse(token, &Problem::too_large(limit));
            }
            Framing::Length(length) => (Coding::Counted { left: length }, length),
            Framing::Chunked => (Coding::Chunked(Chunked::new()), limit),
        };
        // Said only where the client may wait for it.
        if head.expects_continue && expected > 0 && client.inbox.is_empty() {
            client.outbox.push(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let by = self.now + self.settings.deadlines.for_body(expected);
        let incoming = Incoming { head, body: Vec::new(), coding, limit, by };
        self.enter(token, Phase::Body(Box::new(incoming)));
        Step::Again
    }

    fn read_body(&mut self, token: Token) -> Step {
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        match take_body(client) {
            Err(problem) => return self.refuse(token, &problem),
            Ok(true) => return self.submit(token),
            Ok(false) => {}
        }
        if !self.count_body(token) {
            return self
                .refuse(token, &Problem::unavailable("bodies_full", "too many bodies are being read"));
        }
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        match client.line.read(&mut self.scratch) {
            Got::Bytes(count) => {
                client.inbox.extend_from_slice(&self.scratch[..count]);
                Step::Again
            }
            Got::Nothing => Step::Wait,
            Got::End => {
                self.close_client(token);
                Step::Gone
            }
        }
    }

    /// Counts what was read of a body. False where the budget of all bodies is used up.
    fn count_body(&mut self, token: Token) -> bool {
        let Some(client) = self.clients.get_mut(&token) else {
            return true;
        };
        if let Phase::Body(incoming) = &client.phase {
            let counted = incoming.body.len().saturating_sub(FREE_BODY_BYTES);
            self.bodies = self.bodies - client.body_counted + counted;
            client.body_counted = counted;
        }
        client.body_counted == 0 || self.bodies <= self.settings.limits.buffered_bodies_bytes
    }

    /// Hands a whole request on.
    fn submit(&mut self, token: Token) -> Step {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        let Phase::Body(incoming) = std::mem::replace(&mut client.phase, Phase::Queued) else {
            return Step::Again;
        };
        let request = whole_request(*incoming, client, now);
        client.since = now;
        self.update_census(token);
        self.pass_on(token, request)
    }

    /// While a request is under way nothing is read; only the client's leaving is noticed.
    fn watch_asker(&mut self, token: Token) -> Step {
        let Some(client) = self.clients.get(&token) else {
            return Step::Gone;
        };
        // Half-closing after an ordinary request is the client's right. Who follows a stream and closes is gone.
        let streams = matches!(client.phase, Phase::Answering { stream: true, .. });
        if client.line.is_broken() || (streams && client.line.has_ended()) {
            self.close_client(token);
            return Step::Gone;
        }
        self.resume_stream(token);
        Step::Wait
    }

    /// Begins a phase.
    pub(super) fn enter(&mut self, token: Token, phase: Phase) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.phase = phase;
            client.since = self.now;
        }
        self.update_census(token);
    }

    /// Back to waiting for a head. Bytes that came too early are the beginning of the next.
    pub(super) fn next_request(&mut self, token: Token) {
        let has_bytes = self.clients.get(&token).is_some_and(|client| !client.inbox.is_empty());
        let began = has_bytes.then_some(self.now);
        self.enter(token, Phase::Head { scan: Scan::default(), began });
        self.again.push(token);
    }

    /// Keeps the census in step with a client's phase.
    pub(super) fn update_census(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let address = client.peer.ip();
        match (client.headless_since, client.is_headless()) {
            (None, true) => {
                client.headless_since = Some(self.now);
                self.census.mark(address, self.now, token);
            }
            (Some(since), false) => {
                client.headless_since = None;
                self.census.unmark(address, since, token);
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

/// Moves what belongs to the body out of the inbox. True once the body is whole.
fn take_body(client: &mut Connection) -> Result<bool, Problem> {
    let Phase::Body(incoming) = &mut client.phase else {
        return Ok(false);
    };
    match &mut incoming.coding {
        Coding::Counted { left } => {
            let taken = client.inbox.len().min(*left);
            incoming.body.extend(client.inbox.drain(..taken));
            *left -= taken;
            Ok(*left == 0)
        }
        Coding::Chunked(chunked) => {
            let used =
                chunked.decode(&client.inbox, &mut incoming.body, incoming.limit).map_err(
                    |bad| match bad {
                        BadBody::Malformed(why) => Problem::malformed("malformed_chunk", why),
                        BadBody::TooLong => Problem::too_large(incoming.limit),
                    },
                )?;
            client.inbox.drain(..used);
            Ok(chunked.is_done())
        }
    }
}

/// The request as tiny_http gets it.
fn whole_request(incoming: Incoming, client: &Connection, now: Mono) -> WholeRequest {
    let Incoming { head, body, .. } = incoming;
    let received = now.since(Mono::default()).as_nanos();
    let mut bytes = head.forward;
    let own = format!(
        "{PEER_HEADER}: {}\r\n{RECEIVED_HEADER}: {received}\r\nContent-Length: {}\r\n\r\n",
        client.peer,
        body.len()
    );
    bytes.extend_from_slice(own.as_bytes());
    let asker = Asker {
        head_only: client.head_only,
        understands_chunks: head.understands_chunks,
        keep_alive: head.keep_alive,
    };
    let retryable = matches!(head.method.as_str(), "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS");
    WholeRequest { head: bytes, body, asker, retryable }
}
