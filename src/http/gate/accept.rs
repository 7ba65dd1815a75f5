//! New clients, and what happens when there are too many.
//!
//! The newcomer is let in as long as anybody can make room: the connection that has been without a whole request
//! head for the longest time. Only where all are busy is it refused. When descriptors run out, the listener
//! pauses and one connection makes room; nothing spins and nothing dies.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::net::sockopt;

use crate::http::gate::census::Census;
use crate::http::gate::connection::{Connection, refusal};
use crate::http::gate::limits::Room;
use crate::http::gate::line::Line;
use crate::http::gate::{Gate, LOOK_EVERY, Phase, Token, event_data};
use crate::http::problem::Problem;
use crate::model::time::Mono;

/// How many clients are accepted before the others get their turn.
const ACCEPTS_A_TURN: usize = 64;
/// How many clients may wait to be accepted.
const BACKLOG: i32 = 1024;
/// What the system holds of answers that a client doesn't take (it doubles this for its own books). Left to itself
/// it goes up to megabytes, and whoever writes a log to a client that doesn't read goes on for as long.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// When the kernel asks a silent client's machine whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// The listening socket.
pub(super) struct Listening {
    /// `None` once the program stops.
    listener: Option<TcpListener>,
    /// Until when nothing is accepted, because descriptors ran out.
    paused_until: Option<Mono>,
}

impl Listening {
    /// Sets what accepted sockets inherit, and has epoll watch it.
    pub(super) fn new(listener: TcpListener, epoll: &OwnedFd) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES)?;
        sockopt::set_socket_keepalive(&listener, true)?;
        sockopt::set_tcp_keepidle(&listener, KEEPALIVE_AFTER)?;
        // std listens with a backlog of 128; again changes only that.
        rustix::net::listen(&listener, BACKLOG)?;
        epoll::add(epoll, &listener, event_data(Token::LISTENER), EventFlags::IN)?;
        Ok(Self { listener: Some(listener), paused_until: None })
    }
}

impl Gate {
    /// Accepts some of those who wait. What is left is told again.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_A_TURN {
            let Some(listener) = &self.listening.listener else {
                return;
            };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::acceptfrom_with(listener, flags) {
                Ok((socket, peer)) => {
                    if let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
                        self.admit(TcpStream::from(socket), peer);
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    return self.pause_accepting(error);
                }
                // The client left before it was accepted, or the like.
                Err(error) => log::debug!("a client was not accepted because={error}"),
            }
        }
    }

    /// Lets a client in, if need be in somebody else's place.
    fn admit(&mut self, socket: TcpStream, peer: SocketAddr) {
        let mut refused = None;
        let is_one_too_many = self.census.count(peer.ip()) >= self.room.per_address;
        if is_one_too_many && !self.close_oldest(Some(peer.ip())) {
            refused = Some(address_is_full(self.room.per_address));
        }
        if refused.is_none() && self.is_full() && !self.close_oldest(None) {
            refused = Some(Problem::unavailable("connections_full", "as many clients as may are served"));
        }
        let token = Token::client(self.next_number());
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if epoll::add(&self.epoll, &socket, event_data(token), interest).is_err() {
            return;
        }
        let mut client = Connection::new(Line::new(socket, &self.settings.entry), peer, self.now);
        if let Some(problem) = refused {
            client.outbox.push(&refusal(&problem, false));
            client.phase = Phase::Closing;
        }
        self.census.enter(peer.ip());
        self.clients.insert(token, client);
        self.update_census(token);
        self.drive_client(token);
    }

    /// Closes the client that has been without a whole head for the longest time, among those of one address or
    /// among all. False: nobody is.
    ///
    /// Race: its head may have come since its last turn. So it gets another one before it is judged.
    pub(super) fn close_oldest(&mut self, of: Option<IpAddr>) -> bool {
        let find = |census: &Census| match of {
            Some(address) => census.oldest_of(address),
            None => census.oldest(),
        };
        while let Some(oldest) = find(&self.census) {
            let before = self.clients.len();
            if let Some(client) = self.clients.get_mut(&oldest) {
                client.line.note(EventFlags::IN);
            }
            self.drive_client(oldest);
            if self.clients.len() < before {
                return true;
            }
            if find(&self.census) == Some(oldest) {
                self.close_client(oldest);
                return true;
            }
        }
        false
    }

    /// Whether one more client, or stream, is one too many.
    pub(super) fn is_full(&self) -> bool {
        self.clients.len() >= self.room.connections || !self.has_room_for(1)
    }

    /// Whether so many descriptors more are within the limit of open files. A stream has two beside its client's:
    /// ours and tiny_http's end of its connection.
    pub(super) fn has_room_for(&self, descriptors: usize) -> bool {
        self.clients.len() + 2 * self.streams + descriptors <= self.room.descriptors
    }

    fn pause_accepting(&mut self, error: Errno) {
        log::warn!("descriptors ran out: a client makes room clients={} because={error}", self.clients.len());
        self.look_at_room();
        self.close_oldest(None);
        if let Some(listener) = &self.listening.listener
            && epoll::delete(&self.epoll, listener).is_ok()
        {
            self.listening.paused_until = Some(self.now + LOOK_EVERY);
        }
    }

    /// Accepts again when a pause is over.
    pub(super) fn resume_accepting(&mut self) {
        if self.listening.paused_until.is_none_or(|until| self.now < until) {
            return;
        }
        if let Some(listener) = &self.listening.listener {
            let added = epoll::add(&self.epoll, listener, event_data(Token::LISTENER), EventFlags::IN);
            // No memory for it now: the next turn tries again.
            if added.is_ok() {
                self.listening.paused_until = None;
            }
        }
    }

    /// Closes the port.
    pub(super) fn stop_accepting(&mut self) {
        self.listening.listener = None;
        self.listening.paused_until = None;
    }

    /// Looks up how many files may be open now. Where that has become less, clients and connections make room.
    pub(super) fn look_at_room(&mut self) {
        self.room_looked_at = self.now;
        let room = Room::now(&self.settings.caps);
        if room == self.room {
            return;
        }
        log::warn!(
            "the limit of open files changed: connections={} upstreams={}",
            room.connections,
            room.upstreams
        );
        self.room = room;
        self.shrink_pool();
        while self.clients.len() > self.room.connections || !self.has_room_for(0) {
            if !self.close_oldest(None) {
                break;
            }
        }
    }
}

fn address_is_full(most: usize) -> Problem {
    let detail = format!("{most} connections from one address are served, and all of them are busy");
    Problem::too_many("too_many_connections", detail)
}
