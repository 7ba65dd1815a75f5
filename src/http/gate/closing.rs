//! How clients are refused, closed, given up, and told goodbye.
//!
//! A refused client gets its answer, then the end of what we send, and then for a moment its bytes are thrown
//! away: closing at once would reset the connection, and the reset would overtake the answer.

use std::time::Duration;

use crate::http::gate::connection::{Phase, refusal};
use crate::http::gate::exchange::{STREAM_WINDOW_BYTES, no_answer};
use crate::http::gate::intake::Step;
use crate::http::gate::timers::Armed;
use crate::http::gate::upstream::Job;
use crate::http::gate::wire::Got;
use crate::http::gate::{Gate, Token};
use crate::http::problem::Problem;

/// How much of what a refused client still sends is thrown away before it is cut off, in bytes.
const DRAIN_BYTES: usize = 1024 * 1024;
/// How long streams may take to end by themselves once the program stops.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(1);

impl Gate {
    /// Answers a request with a problem, and ends the connection.
    pub(super) fn refuse(&mut self, token: Token, problem: &Problem) -> Step {
        self.forget_body(token);
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        log::debug!("refused peer={} problem={problem}", client.peer);
        client.inbox.clear();
        client.outbox.push(&refusal(problem, client.head_only));
        self.enter(token, Phase::Closing);
        Step::Again
    }

    /// A client sends no more, and has all its answers. Over TLS it is told the end, which may have to wait for room.
    pub(super) fn part(&mut self, token: Token) -> Step {
        let is_told = self.clients.get(&token).is_some_and(|client| client.line.is_tls());
        if is_told {
            self.enter(token, Phase::Closing);
            return Step::Again;
        }
        self.close_client(token);
        Step::Gone
    }

    /// Says that nothing more is sent, once everything was.
    pub(super) fn begin_linger(&mut self, token: Token) -> Step {
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        if client.owes() {
            return Step::Wait;
        }
        client.inbox = Vec::new();
        if client.line.say_goodbye().is_err() {
            self.close_client(token);
            return Step::Gone;
        }
        if client.line.owes() {
            return Step::Wait;
        }
        client.line.shut();
        self.enter(token, Phase::Lingering { drained: 0 });
        Step::Again
    }

    /// Throws away what a client still sends, up to a bound.
    pub(super) fn drain(&mut self, token: Token) -> Step {
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        let Phase::Lingering { drained } = &mut client.phase else {
            return Step::Again;
        };
        match client.line.discard(&mut self.scratch) {
            Got::Bytes(count) if *drained + count <= DRAIN_BYTES => {
                *drained += count;
                Step::Again
            }
            Got::Nothing => Step::Wait,
            Got::Bytes(_) | Got::End => {
                self.close_client(token);
                Step::Gone
            }
        }
    }

    /// Writes what waits for a client. False if there is no such client any more.
    pub(super) fn flush_client(&mut self, token: Token) -> bool {
        let Some(client) = self.clients.get_mut(&token) else {
            return false;
        };
        let (outbox, line) = (&mut client.outbox, &mut client.line);
        match line.flush().and_then(|moved| Ok(outbox.flush(line)? || moved)) {
            Ok(moved) => {
                if moved || !client.owes() {
                    client.moved_at = self.now;
                }
                true
            }
            Err(_) => {
                self.close_client(token);
                false
            }
        }
    }

    /// Brings the deadline and the budgets in step with a client's state.
    pub(super) fn settle(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if let Some(at) = client.deadline(&self.settings.deadlines) {
            self.timers.arm(&mut client.armed, token, at);
        }
        self.answers = self.answers - client.answer_counted + client.outbox.len();
        client.answer_counted = client.outbox.len();
        match (client.slow_since, client.outbox.len() > STREAM_WINDOW_BYTES) {
            (None, true) => {
                client.slow_since = Some(self.now);
                self.slow.insert((self.now, token));
            }
            (Some(since), false) => {
                client.slow_since = None;
                self.slow.remove(&(since, token));
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Closes who has owed much for the longest time, while all together owe too much.
    pub(super) fn keep_answer_budget(&mut self) {
        while self.answers > self.settings.limits.buffered_answers_bytes {
            let Some((_, slowest)) = self.slow.first().copied() else {
                return;
            };
            log::warn!("a slow client was closed: answers that nobody takes fill the budget");
            self.close_client(slowest);
        }
    }

    /// A client's deadline may have passed.
    pub(super) fn client_due(&mut self, token: Token) {
        let deadlines = &self.settings.deadlines;
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        client.armed = Armed::default();
        match client.deadline(deadlines) {
            None => return,
            Some(at) if at > self.now => return self.timers.arm(&mut client.armed, token, at),
            Some(_) => {}
        }
        // Who hasn't finished its handshake can't be told anything.
        if client.line.is_greeting() || client.stalls_at(deadlines).is_some_and(|at| at <= self.now) {
            return self.close_client(token);
        }
        let problem = match client.phase {
            Phase::Head { began: Some(_), .. } => too_slow("head_too_slow", "the head was not whole in time"),
            Phase::Body(_) => too_slow("body_too_slow", "the body was not whole in time"),
            Phase::Queued => no_answer(),
            Phase::Answering { upstream, .. } => {
                self.close_upstream(upstream);
                no_answer()
            }
            Phase::Head { began: None, .. } | Phase::Closing | Phase::Lingering { .. } => {
                return self.close_client(token);
            }
        };
        self.refuse(token, &problem);
        self.drive_client(token);
    }

    /// Takes a client's body out of the budget.
    pub(super) fn forget_body(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(&token) {
            self.bodies -= client.body_counted;
            client.body_counted = 0;
        }
    }

    /// Closes a client at once, and gives up what is done for it.
    pub(super) fn close_client(&mut self, token: Token) {
        self.forget_body(token);
        let Some(mut client) = self.clients.remove(&token) else {
            return;
        };
        // An end that is said is an end of what was to be said: an answer that is cut off ends without.
        if !client.owes() && !matches!(client.phase, Phase::Answering { .. }) {
            let _ = client.line.say_goodbye();
        }
        self.timers.disarm(client.armed, token);
        self.answers -= client.answer_counted;
        if let Some(since) = client.slow_since {
            self.slow.remove(&(since, token));
        }
        if let Some(since) = client.headless_since {
            self.census.unmark(client.peer.ip(), since, token);
        }
        self.census.leave(client.peer.ip());
        if let Phase::Answering { upstream, .. } = client.phase {
            self.abandon(upstream);
        }
    }

    /// Nobody waits for this answer any more. A stream's producer is told; an ordinary answer is read to its end,
    /// which is cheaper than a new connection.
    fn abandon(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get_mut(&token) else {
            return;
        };
        let Job::Serve(exchange) = &mut upstream.job else {
            return;
        };
        if exchange.stream.is_some() {
            return self.close_upstream(token);
        }
        exchange.client = None;
        let deadline = self.now + self.settings.deadlines.answer;
        upstream.deadline = Some(deadline);
        self.timers.arm(&mut upstream.armed, token, deadline);
    }

    /// The program stops: the port is closed, producers of streams are told, and who has no request under way
    /// is closed.
    pub(super) fn begin_stop(&mut self) {
        self.stopping_since = Some(self.now);
        self.stop_accepting();
        self.backend.streams.close();
        let idle = |phase: &Phase| matches!(phase, Phase::Head { .. });
        let idle: Vec<Token> =
            self.clients.iter().filter(|(_, client)| idle(&client.phase)).map(|(token, _)| *token).collect();
        idle.into_iter().for_each(|token| self.close_client(token));
    }

    /// Closes streams that did not end by themselves.
    pub(super) fn cut_streams_when_stopping(&mut self) {
        let late = self.stopping_since.is_some_and(|since| self.now.since(since) >= STREAMS_END_WITHIN);
        if !late || self.streams == 0 {
            return;
        }
        let streams = |phase: &Phase| matches!(phase, Phase::Answering { stream: true, .. });
        let tokens: Vec<Token> = self
            .clients
            .iter()
            .filter(|(_, client)| streams(&client.phase))
            .map(|(token, _)| *token)
            .collect();
        tokens.into_iter().for_each(|token| self.close_client(token));
    }

    /// Whether there is nothing left to do, or no time.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopping_since.is_some_and(|since| {
            self.clients.is_empty() || self.now.since(since) >= self.settings.deadlines.stop
        })
    }
}

fn too_slow(code: &'static str, detail: &str) -> Problem {
    Problem::new(408, code, "Too slow", detail)
}
