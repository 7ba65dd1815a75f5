//! The wire under ureq: a unix or loopback socket on which every step has a deadline.
//!
//! ureq speaks HTTP over whatever implements its `Transport`; [`SocketConnector`] makes ours. Two things are
//! different from a plain stream. Connecting has a deadline too: an Engine that is stopped (SIGSTOP) no longer
//! accepts, and once its backlog is full a `connect` would block for ever. And ureq's `timeout_per_read` counts
//! only once an answer has begun, so that a stream may notice a second of silence while the answer's head has
//! a longer deadline of its own.
//!
//! ureq's `unversioned` module may change with any minor release: `Cargo.toml` pins `~3.5`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send,
    socket_with,
};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::address::Address;

/// Opens sockets to one Engine, whatever the URL says.
#[derive(Debug)]
pub(super) struct SocketConnector(pub(super) Address);

impl Connector for SocketConnector {
    type Out = SocketTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<SocketTransport>, ureq::Error> {
        let socket = open(&self.0, details.timeout.not_zero().map(|d| *d)).map_err(|errno| match errno {
            Errno::AGAIN | Errno::INPROGRESS | Errno::TIMEDOUT => {
                ureq::Error::Timeout(details.timeout.reason)
            }
            other => ureq::Error::Io(other.into()),
        })?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(SocketTransport { socket, buffers, answering: false }))
    }
}

/// A connected socket. The send timeout bounds `connect` as well (socket(7), `SO_SNDTIMEO`).
fn open(address: &Address, at_most: Option<Duration>) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        Address::Unix(_) => AddressFamily::UNIX,
        Address::Loopback(SocketAddr::V4(_)) => AddressFamily::INET,
        Address::Loopback(SocketAddr::V6(_)) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, at_most)?;
    match address {
        Address::Unix(path) => connect(&socket, &SocketAddrUnix::new(path)?)?,
        Address::Loopback(address) => {
            set_tcp_nodelay(&socket, true)?;
            connect(&socket, address)?;
        }
    }
    Ok(socket)
}

/// One connection to the Engine.
#[derive(Debug)]
pub(super) struct SocketTransport {
    socket: OwnedFd,
    buffers: LazyBuffers,
    /// Whether the first byte of the answer to the last request has come.
    answering: bool,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.answering = false;
        let timeout = timeout.for_write();
        set_socket_timeout(&self.socket, Timeout::Send, timeout.not_zero().map(|d| *d))
            .map_err(io::Error::from)?;
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            let sent = retry_on_intr(|| send(&self.socket, rest, SendFlags::NOSIGNAL))
                .map_err(|errno| explain(errno, timeout))?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let timeout = if self.answering { timeout.for_read() } else { timeout };
        set_socket_timeout(&self.socket, Timeout::Recv, timeout.not_zero().map(|d| *d))
            .map_err(io::Error::from)?;
        let input = self.buffers.input_append_buf();
        let (received, _) = retry_on_intr(|| recv(&self.socket, &mut *input, RecvFlags::empty()))
            .map_err(|errno| explain(errno, timeout))?;
        self.buffers.input_appended(received);
        self.answering |= received > 0;
        Ok(received > 0)
    }

    /// Open means: nothing to read, and no end either. Bytes that nobody asked for make it unfit as well.
    fn is_open(&mut self) -> bool {
        let peeked = recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(Errno::AGAIN))
    }
}

fn explain(errno: Errno, timeout: NextTimeout) -> ureq::Error {
    match errno {
        Errno::AGAIN => ureq::Error::Timeout(timeout.reason),
        other => ureq::Error::Io(other.into()),
    }
}

/// The address is the connector's business: there is nothing to look up.
#[derive(Debug)]
pub(super) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(addresses)
    }
}
