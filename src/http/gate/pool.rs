//! Keeping the connections to tiny_http: how many, and that each works.
//!
//! See [`Pool`](crate::http::gate::upstream::Pool) for why they are opened one at a time. When nobody listens on
//! the inner socket any more, tiny_http has given up accepting (it does so for good at its first error), and is
//! replaced.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};

use crate::http::backend::PROBE_HEADER;
use crate::http::gate::answer::Asker;
use crate::http::gate::connection::{Connection, Phase};
use crate::http::gate::limits::PER_UPSTREAM;
use crate::http::gate::timers::Armed;
use crate::http::gate::upstream::{Exchange, Job, Upstream, WholeRequest};
use crate::http::gate::wire::Wire;
use crate::http::gate::{Gate, Token, event_data};
use crate::http::problem::Problem;

/// How long after a failure the next connection is tried.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long a new connection may take to prove itself.
const PROVE_WITHIN: Duration = Duration::from_secs(2);
/// Descriptors that have to be free before one is opened. tiny_http takes two in a place where it panics or ends
/// when it can't have them; the others are for threads that open something at the same moment.
const FREE_DESCRIPTORS: usize = PER_UPSTREAM + 5;

impl Gate {
    /// Opens the next connection, if one is missing and it is time.
    pub(super) fn fill_pool(&mut self) {
        let wants = self.pool.members < self.room.upstreams && self.pool.opening.is_none();
        if !wants || self.now < self.pool.retry_at {
            return;
        }
        if let Err(error) = self.open_upstream() {
            self.pool.retry_at = self.now + RETRY_AFTER;
            log::debug!("no connection to tiny_http was opened because={error}");
            if self.pool.members == 0 {
                self.make_room_for_a_connection();
            }
        }
    }

    /// Nobody can be served: those who wait, and have closed already, go; where nobody has, whoever has waited longest.
    /// Otherwise they would hold the descriptors without which they can't be served.
    fn make_room_for_a_connection(&mut self) {
        let has_left = |client: &Connection| matches!(client.phase, Phase::Queued) && client.line.has_ended();
        let left = self.clients.iter().filter(|(_, client)| has_left(client)).map(|(token, _)| *token);
        let left: Vec<Token> = left.collect();
        if left.is_empty()
            && !self.close_oldest(None)
            && let Some((client, _)) = self.next_queued()
        {
            self.refuse(
                client,
                &Problem::unavailable("descriptors_full", "there are descriptors for nobody"),
            );
            self.again.push(client);
        }
        left.into_iter().for_each(|client| self.close_client(client));
    }

    fn open_upstream(&mut self) -> io::Result<()> {
        self.check_free_descriptors()?;
        let socket = match self.backend.connect() {
            Ok(socket) => socket,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                self.renew_backend()?;
                self.backend.connect()?
            }
            Err(error) => return Err(error),
        };
        let token = Token::upstream(self.next_number());
        let interest = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &socket, event_data(token), interest)?;
        let mut upstream = self.new_upstream(socket);
        let deadline = self.now + PROVE_WITHIN;
        upstream.deadline = Some(deadline);
        self.timers.arm(&mut upstream.armed, token, deadline);
        self.upstreams.insert(token, upstream);
        self.pool.members += 1;
        self.pool.opening = Some(token);
        self.send_request(token);
        Ok(())
    }

    fn new_upstream(&self, socket: UnixStream) -> Upstream {
        Upstream {
            wire: Wire::new(socket),
            inbox: Vec::new(),
            job: Job::Probe(Exchange::new(None, probe())),
            armed: Armed::default(),
            deadline: None,
            watches_writes: false,
            generation: self.pool.generation,
        }
    }

    /// Opens some descriptors and closes them again. Somebody else may take them before tiny_http does; then it
    /// ends, and is replaced.
    fn check_free_descriptors(&self) -> io::Result<()> {
        let free: io::Result<Vec<OwnedFd>> = (0..FREE_DESCRIPTORS).map(|_| self.epoll.try_clone()).collect();
        free.map(drop)
    }

    /// Puts a new tiny_http in the old one's place. Connections to the old one serve what they have and end.
    fn renew_backend(&mut self) -> io::Result<()> {
        self.backend.renew()?;
        self.pool.generation += 1;
        for token in std::mem::take(&mut self.pool.idle) {
            self.pool.members -= 1;
            self.upstreams.remove(&token);
        }
        Ok(())
    }

    /// A connection has done what it had to do: it is free for the next request, or not needed any more.
    pub(super) fn release(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get_mut(&token) else {
            return;
        };
        upstream.deadline = None;
        let stale = upstream.generation != self.pool.generation || upstream.wire.has_ended();
        if self.pool.opening == Some(token) {
            self.pool.opening = None;
        }
        if stale || self.pool.members > self.room.upstreams {
            return self.close_upstream(token);
        }
        self.pool.idle.push(token);
        self.serve_queue();
        self.fill_pool();
    }

    /// Closes free connections that are more than there may be.
    pub(super) fn shrink_pool(&mut self) {
        while self.pool.members > self.room.upstreams {
            match self.pool.idle.first() {
                Some(token) => self.close_upstream(*token),
                // The rest is busy, and closed when it is released.
                None => break,
            }
        }
    }

    /// A connection took too long: to prove itself, or with an answer that nobody waits for any more.
    pub(super) fn upstream_due(&mut self, token: Token) {
        let Some(upstream) = self.upstreams.get_mut(&token) else {
            return;
        };
        upstream.armed = Armed::default();
        match upstream.deadline {
            None => {}
            Some(deadline) if deadline > self.now => self.timers.arm(&mut upstream.armed, token, deadline),
            Some(_) => {
                log::warn!("a connection to tiny_http was given up");
                self.close_upstream(token);
            }
        }
    }
}

fn probe() -> WholeRequest {
    let head = format!("GET / HTTP/1.1\r\nHost: gate\r\n{PROBE_HEADER}: 1\r\n\r\n").into_bytes();
    let asker = Asker { head_only: false, understands_chunks: true, keep_alive: true };
    WholeRequest { head, body: Vec::new(), asker, retryable: false }
}
