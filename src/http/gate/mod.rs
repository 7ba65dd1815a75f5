//! The gate: every byte that a client sends comes past here first.
//!
//! tiny_http must never meet a client directly: a big `Content-Length` aborts the process, HTTP/2.0 leaks a thread,
//! one failed accept ends it for good, and nothing is bounded. So one thread, `gate`, owns all clients' sockets,
//! reads whole requests, judges them strictly, and passes only good ones on, over connections to tiny_http's unix
//! socket that were opened one at a time and have proved to work. Slow or silent clients cost a socket, no thread.
//!
//! The loop is here; what it does is in [`accept`], [`greet`] (TLS handshakes), [`intake`] (clients' requests), [`exchange`] (requests and
//! answers at tiny_http), [`pool`] (connections to it) and [`closing`]. The rest are values without sockets.
//!
//! Invariant: nothing in the loop blocks, and no event costs work in proportion to the number of connections.

mod accept;
mod answer;
mod body;
mod census;
mod closing;
mod connection;
mod exchange;
mod greet;
mod head;
mod intake;
mod limits;
mod line;
mod pool;
mod timers;
mod upstream;
mod wire;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::http::backend::Backend;
use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

use accept::Listening;
use census::Census;
use connection::{Connection, Phase};
use limits::Room;
pub use limits::{BodyLimit, Caps, Deadlines, Limits};
pub(crate) use line::Entry;
use timers::Timers;
use upstream::{Pool, Upstream, WholeRequest};
use wire::Outbox;

/// How often the loop looks around when nothing happens: whether to stop, whether it may accept again.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the limit of open files is looked up.
const LOOK_AT_ROOM_EVERY: Duration = Duration::from_secs(1);
/// How many events are taken from epoll at a time.
const EVENTS: usize = 256;
/// How many bytes are read at a time.
const READ_BYTES: usize = 64 * 1024;
/// How many steps one socket may take before the others get their turn.
const STEPS_A_TURN: usize = 16;

/// A socket's name. Never given to another one, so that a late event finds nobody instead of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Token(u64);

impl Token {
    const LISTENER: Self = Self(0);

    const fn client(number: u64) -> Self {
        Self(number * 2)
    }

    const fn upstream(number: u64) -> Self {
        Self(number * 2 + 1)
    }

    const fn is_client(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// What the gate needs to know.
#[derive(Clone, Debug)]
pub(crate) struct GateSettings {
    pub(crate) limits: Limits,
    pub(crate) deadlines: Deadlines,
    pub(crate) caps: Caps,
    pub(crate) body_limit: BodyLimit,
    pub(crate) entry: Entry,
}

/// The gate: all sockets, and what is known about them. Belongs to the thread `gate`.
pub(crate) struct Gate {
    settings: GateSettings,
    backend: Arc<Backend>,
    epoll: OwnedFd,
    listening: Listening,
    clients: HashMap<Token, Connection>,
    upstreams: HashMap<Token, Upstream>,
    pool: Pool,
    /// Whole requests that wait for a free connection. Those of clients that have gone are skipped.
    queue: VecDeque<(Token, WholeRequest)>,
    timers: Timers,
    census: Census,
    room: Room,
    room_looked_at: Mono,
    /// Streams that run, each on a connection of its own.
    streams: usize,
    /// Bytes of bodies that count, see [`Limits::buffered_bodies_bytes`].
    bodies: usize,
    /// Bytes of answers that clients have not taken yet.
    answers: usize,
    /// Clients that owe much, longest first.
    slow: BTreeSet<(Mono, Token)>,
    /// Who has something left to do that no event will tell.
    again: Vec<Token>,
    last_number: u64,
    /// When this turn of the loop began.
    now: Mono,
    scratch: Vec<u8>,
    /// Where answers go that nobody waits for any more.
    nowhere: Outbox,
    stopping_since: Option<Mono>,
}

impl Gate {
    /// Gets ready to serve a listener that is bound. Starts nothing.
    ///
    /// # Errors
    /// The operating system refuses an option of the listener or an epoll.
    pub(crate) fn new(
        listener: TcpListener,
        settings: GateSettings,
        backend: Arc<Backend>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let listening = Listening::new(listener, &epoll)?;
        let now = clock::mono();
        let room = Room::now(&settings.caps);
        Ok(Self {
            settings,
            backend,
            epoll,
            listening,
            clients: HashMap::new(),
            upstreams: HashMap::new(),
            pool: Pool::default(),
            queue: VecDeque::new(),
            timers: Timers::default(),
            census: Census::default(),
            room,
            room_looked_at: now,
            streams: 0,
            bodies: 0,
            answers: 0,
            slow: BTreeSet::new(),
            again: Vec::new(),
            last_number: 0,
            now,
            scratch: vec![0; READ_BYTES],
            nowhere: Outbox::default(),
            stopping_since: None,
        })
    }

    /// The loop. Returns after a stop, once requests under way were answered or their time was up.
    pub(crate) fn run(&mut self, stop: &Stop) {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.has_stopped() {
            self.wait(&mut events);
            self.now = clock::mono();
            let mut newcomers = false;
            for event in events.drain(..) {
                let token = Token(event.data.u64());
                if token == Token::LISTENER {
                    newcomers = true;
                } else {
                    self.dispatch(token, event.flags);
                }
            }
            // Last, so that whoever has a whole head by now isn't closed for a newcomer.
            if newcomers {
                self.accept();
            }
            for token in std::mem::take(&mut self.again) {
                self.drive(token);
            }
            while let Some(token) = self.timers.pop_due(self.now) {
                self.fall_due(token);
            }
            self.look_around(stop);
        }
    }

    /// Blocks until something happens or falls due.
    fn wait(&self, events: &mut Vec<epoll::Event>) {
        let patience = match self.timers.next() {
            _ if !self.again.is_empty() => Duration::ZERO,
            Some(next) => next.since(self.now).min(LOOK_EVERY),
            None => LOOK_EVERY,
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Only a mistake in the arguments can do this; going on would be a loop at full speed.
            Err(error) => panic!("epoll can't be waited for: {error}"),
        }
    }

    fn dispatch(&mut self, token: Token, flags: EventFlags) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.line.note(flags);
        } else if let Some(upstream) = self.upstreams.get_mut(&token) {
            upstream.wire.note(flags);
        }
        self.drive(token);
    }

    /// Takes one socket as far as it goes.
    fn drive(&mut self, token: Token) {
        if token.is_client() { self.drive_client(token) } else { self.drive_upstream(token) }
    }

    fn fall_due(&mut self, token: Token) {
        if token.is_client() { self.client_due(token) } else { self.upstream_due(token) }
    }

    /// What isn't told by an event.
    fn look_around(&mut self, stop: &Stop) {
        self.resume_accepting();
        if self.now.since(self.room_looked_at) >= LOOK_AT_ROOM_EVERY {
            self.look_at_room();
        }
        self.fill_pool();
        if self.stopping_since.is_none() && stop.requested() {
            self.begin_stop();
        }
        self.cut_streams_when_stopping();
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

/// The `data` by which epoll names a socket.
fn event_data(token: Token) -> EventData {
    EventData::new_u64(token.0)
}
