//! Requests at tiny_http, and their answers on the way back.
//!
//! An ordinary answer is taken off tiny_http as fast as it comes, whatever its client does, so that the thread
//! that writes it never waits; [`Limits::buffered_answers_bytes`] bounds that. A stream gets back-pressure instead:
//! while its client owes 64 KiB, nothing more is read. It leaves the pool with its connection, which is closed at
//! its end.
//!
//! [`Limits::buffered_answers_bytes`]: crate::http::gate::Limits::buffered_answers_bytes

use std::net::Shutdown;

use rustix::event::epoll::{self, EventFlags};

use crate::http::gate::answer::{AnswerHead, BadAnswer, Relay};
use crate::http::gate::connection::Phase;
use crate::http::gate::intake::Step;
use crate::http::gate::pool::RETRY_AFTER;
use crate::http::gate::upstream::{Exchange, Job, WholeRequest};
use crate::http::gate::wire::Got;
use crate::http::gate::{Gate, STEPS_A_TURN, Token, event_data};
use crate::http::problem::Problem;

/// A stream's client that owes so much gets no more until it took some, in bytes.
pub(super) const STREAM_WINDOW_BYTES: usize = 64 * 1024;

/// What came of feeding an answer's bytes.
enum Fed {
    More,
    Done,
    /// The answer is a stream, and there are descriptors for no more.
    NoRoom {
        stream: u64,
    },
}

impl Gate {
    /// Gives a whole request to a free connection, or has it wait for one.
    pub(super) fn pass_on(&mut self, client: Token, request: WholeRequest) -> Step {
        if let Some(upstream) = self.pool.idle.pop() {
            self.start(upstream, client, request);
            return Step::Wait;
        }
        if self.queue.len() >= self.settings.limits.queue {
            return self.refuse(client, &Problem::unavailable("queue_full", "too many requests wait"));
        }
        self.queue.push_back((client, request));
        Step::Wait
    }

    fn start(&mut self, upstream: Token, client: Token, request: WholeRequest) {
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.phase = Phase::Answering { upstream, began: false, stream: false };
        }
        if let Some(entry) = self.upstreams.get_mut(&upstream) {
            entry.job = Job::Serve(Exchange::new(Some(client), request));
        }
        // Not read from here: its answer comes as an event, and this may have been called from one.
        if !self.send_request(upstream) {
            self.upstream_ended(upstream);
        }
    }

    /// Serves who has waited longest.
    pub(super) fn serve_queue(&mut self) {
        while !self.queue.is_empty() {
            let Some(upstream) = self.pool.idle.pop() else {
                return;
            };
            match self.next_queued() {
                Some((client, request)) => self.start(upstream, client, request),
                None => self.pool.idle.push(upstream),
            }
        }
    }

    pub(super) fn next_queued(&mut self) -> Option<(Token, WholeRequest)> {
        while let Some((client, request)) = self.queue.pop_front() {
            let waits =
                |token| self.clients.get(token).is_some_and(|entry| matches!(entry.phase, Phase::Queued));
            if waits(&client) {
                return Some((client, request));
            }
        }
        None
    }

    /// Takes one connection to tiny_http as far as it goes.
    pub(super) fn drive_upstream(&mut self, token: Token) {
        if !self.send_request(token) {
            return self.upstream_ended(token);
        }
        for _ in 0..STEPS_A_TURN {
            if self.is_held_back(token) {
                return;
            }
            let Some(upstream) = self.upstreams.get_mut(&token) else {
                return;
            };
            match upstream.wire.read(&mut self.scratch) {
                Got::Bytes(count) => self.take_answer(token, count),
                Got::Nothing => return,
                Got::End => return self.upstream_ended(token),
            }
        }
        self.again.push(token);
    }

    /// Writes what is left of the request. False if the connection broke.
    pub(super) fn send_request(&mut self, token: Token) -> bool {
        let Some(upstream) = self.upstreams.get_mut(&token) else {
            return true;
        };
        let (Job::Serve(exchange) | Job::Probe(exchange)) = &mut upstream.job else {
            return true;
        };
        if exchange.send(&mut upstream.wire).is_err() {
            return false;
        }
        if upstream.wire.is_clogged() && !upstream.watches_writes {
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            let socket = &upstream.wire.socket;
            upstream.watches_writes = epoll::modify(&self.epoll, socket, event_data(token), interest).is_ok();
        }
        true
    }

    /// Whether a stream's client has to take some bytes first.
    fn is_held_back(&self, token: Token) -> bool {
        let Some(Job::Serve(exchange)) = self.upstreams.get(&token).map(|upstream| &upstream.job) else {
            return false;
        };
        let client = exchange.client.filter(|_| exchange.stream.is_some());
        client
            .and_then(|client| self.clients.get(&client))
            .is_some_and(|c| c.outbox.len() >= STREAM_WINDOW_BYTES)
    }

    /// Lets a stream go on whose client took some bytes.
    pub(super) fn resume_stream(&mut self, client: Token) {
        if let Some(entry) = self.clients.get(&client)
            && let Phase::Answering { upstream, stream: true, .. } = entry.phase
            && entry.outbox.len() < STREAM_WINDOW_BYTES
        {
            self.again.push(upstream);
        }
    }

    /// Takes `count` bytes of an answer that are in the scratch buffer.
    fn take_answer(&mut self, token: Token, count: usize) {
        let client = self.client_of(token);
        match self.feed(token, count) {
            Ok(Fed::More) => self.write_answer(client),
            Ok(Fed::Done) => {
                self.end_exchange(token);
                self.write_answer(client);
            }
            Ok(Fed::NoRoom { stream }) => {
                self.backend.streams.gone(stream);
                self.close_upstream(token);
                let problem =
                    Problem::unavailable("streams_full", "there are descriptors for no more streams");
                self.refuse_answering(client, &problem);
            }
            Err(BadAnswer) => self.upstream_ended(token),
        }
    }

    fn client_of(&self, upstream: Token) -> Option<Token> {
        match &self.upstreams.get(&upstream)?.job {
            Job::Serve(exchange) => exchange.client,
            Job::Probe(_) | Job::Idle => None,
        }
    }

    fn feed(&mut self, token: Token, count: usize) -> Result<Fed, BadAnswer> {
        let has_room = self.has_room_for(2);
        let bytes = &self.scratch[..count];
        let upstream = self.upstreams.get_mut(&token).ok_or(BadAnswer)?;
        let (Job::Serve(exchange) | Job::Probe(exchange)) = &mut upstream.job else {
            // An answer to nothing.
            return Err(BadAnswer);
        };
        let mut client = exchange.client.and_then(|client| self.clients.get_mut(&client));
        if let Some(relay) = &mut exchange.relay {
            let out = client.map_or(&mut self.nowhere, |client| &mut client.outbox);
            return relay.feed(bytes, out).map(|done| if done { Fed::Done } else { Fed::More });
        }
        upstream.inbox.extend_from_slice(bytes);
        let Some((head, length)) = AnswerHead::parse(&upstream.inbox)? else {
            return Ok(Fed::More);
        };
        if let Some(stream) = head.stream.filter(|_| !has_room) {
            return Ok(Fed::NoRoom { stream });
        }
        if let Some(client) = &mut client
            && let Phase::Answering { began, stream, .. } = &mut client.phase
        {
            (*began, *stream) = (true, head.stream.is_some());
        }
        let out = client.map_or(&mut self.nowhere, |client| &mut client.outbox);
        let mut asker = exchange.request.asker;
        asker.keep_alive &= self.stopping_since.is_none();
        let mut relay = Relay::begin(&head, asker, out);
        let done = relay.feed(&upstream.inbox[length..], out)?;
        upstream.inbox.clear();
        exchange.relay = Some(relay);
        if let Some(number) = head.stream {
            exchange.stream = Some(number);
            self.begin_stream(token);
        }
        Ok(if done { Fed::Done } else { Fed::More })
    }

    /// Takes a connection out of the pool whose answer has no end.
    fn begin_stream(&mut self, token: Token) {
        if let Some(upstream) = self.upstreams.get(&token) {
            // tiny_http's reading thread sees the end and is free; the answer's writer is not touched by it.
            let _ = upstream.wire.socket.shutdown(Shutdown::Write);
        }
        self.streams += 1;
        self.pool.members -= 1;
    }

    /// Writes what an answer added, and keeps the budget of all answers.
    fn write_answer(&mut self, client: Option<Token>) {
        self.nowhere.clear();
        if let Some(client) = client
            && self.flush_client(client)
        {
            self.settle(client);
            self.keep_answer_budget();
        }
    }

    /// The answer was whole: the client goes on, and so does the connection.
    fn end_exchange(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get_mut(&token) else {
            return;
        };
        let (Job::Serve(exchange) | Job::Probe(exchange)) = std::mem::replace(&mut upstream.job, Job::Idle)
        else {
            return;
        };
        if let Some(client) = exchange.client {
            self.answered(client, exchange.relay.as_ref().is_some_and(|relay| relay.keep_alive));
        }
        if exchange.stream.is_some() {
            self.streams -= 1;
            self.forget_upstream(token);
        } else if exchange.is_sent() {
            self.release(token);
        } else {
            // Answered before it was read whole: what follows on this connection would be misread.
            self.close_upstream(token);
        }
    }

    /// A client has its whole answer in its outbox.
    fn answered(&mut self, client: Token, keep_alive: bool) {
        self.forget_body(client);
        if keep_alive {
            self.next_request(client);
        } else {
            self.enter(client, Phase::Closing);
            self.again.push(client);
        }
    }

    /// tiny_http closed a connection, or what it said makes no sense.
    fn upstream_ended(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get_mut(&token) else {
            return;
        };
        let job = std::mem::replace(&mut upstream.job, Job::Idle);
        let Job::Serve(mut exchange) = job else {
            return self.close_upstream(token);
        };
        let nothing_came = upstream.inbox.is_empty();
        self.count_out(&exchange);
        self.forget_upstream(token);
        let Some(client) = exchange.client else {
            return;
        };
        match exchange.relay.take() {
            None if nothing_came && exchange.request.retryable => self.retry(client, exchange.request),
            None => self.refuse_answering(Some(client), &no_answer()),
            Some(mut relay) => {
                if let Some(entry) = self.clients.get_mut(&client) {
                    // Where this isn't the end, the client's closing connection says that something is missing.
                    if !relay.close(&mut entry.outbox) {
                        entry.line.cut_off();
                    }
                }
                self.answered(client, false);
            }
        }
    }

    fn retry(&mut self, client: Token, mut request: WholeRequest) {
        request.retryable = false;
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.phase = Phase::Queued;
        }
        self.queue.push_front((client, request));
        self.serve_queue();
    }

    /// Takes a connection that is about to be forgotten out of the counts.
    fn count_out(&mut self, exchange: &Exchange) {
        match exchange.stream {
            Some(number) => {
                self.streams -= 1;
                self.backend.streams.gone(number);
            }
            None => self.pool.members -= 1,
        }
    }

    /// Gives up a connection, whatever it does.
    pub(super) fn close_upstream(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get_mut(&token) else {
            return;
        };
        match std::mem::replace(&mut upstream.job, Job::Idle) {
            Job::Serve(exchange) => self.count_out(&exchange),
            Job::Probe(_) | Job::Idle => self.pool.members -= 1,
        }
        self.pool.idle.retain(|other| *other != token);
        self.forget_upstream(token);
    }

    fn forget_upstream(&mut self, token: Token) {
        if self.pool.opening == Some(token) {
            self.pool.opening = None;
            self.pool.retry_at = self.now + RETRY_AFTER;
        }
        if let Some(upstream) = self.upstreams.remove(&token) {
            self.timers.disarm(upstream.armed, token);
        }
        self.fill_pool();
    }

    /// Refuses a client whose request was passed on, unless its answer has begun.
    pub(super) fn refuse_answering(&mut self, client: Option<Token>, problem: &Problem) {
        if let Some(client) = client {
            let began = self
                .clients
                .get(&client)
                .is_some_and(|entry| matches!(entry.phase, Phase::Answering { began: true, .. }));
            if began {
                self.close_client(client);
            } else {
                self.refuse(client, problem);
                self.again.push(client);
            }
        }
    }
}

/// Nothing came back.
pub(super) fn no_answer() -> Problem {
    Problem::unavailable("no_answer", "the server did not answer this request in time")
}
