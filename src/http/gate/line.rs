//! A client's line: its socket, with or without TLS around what is said on it.
//!
//! Where TLS is served the first byte decides: 0x16 begins a TLS handshake, anything else is plain HTTP. It is only
//! looked at, so that what follows reads it again. (Where none is served a handshake is malformed HTTP.) Above the line everything is plain bytes, and everything that holds
//! for a plain client (deadlines, caps, budgets, back-pressure) holds for one over TLS.
//!
//! Bounds: rustls keeps one record of ours at most that the socket didn't take ([`RECORD_BYTES`]: the next is made only
//! once it did), and what of the client's isn't a whole record yet (64 KiB during a handshake, 18 KiB after it).

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::event::epoll::EventFlags;
use rustls::ServerConnection;

use crate::http::gate::wire::{Broken, Got, Peek, Sink, Wire};
use crate::http::tls::TlsAcceptor;

/// The first byte of a TLS handshake (RFC 8446, 5.1). No method begins with it.
const HANDSHAKE: u8 = 0x16;
/// So much of what is to be said goes into one record.
const RECORD_BYTES: usize = 16 * 1024;

/// What may be spoken here.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) tls: Option<TlsAcceptor>,
    /// Whether plain HTTP is taken too.
    pub(crate) plain: bool,
}

/// How far a new line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeted {
    /// It can carry HTTP.
    Ready,
    /// Bytes came, and more have to.
    Moved,
    /// Nothing came.
    Wait,
    /// It speaks plain HTTP, which isn't taken here.
    NoPlain,
    /// It is gone, or what came is no TLS.
    End,
}

enum Layer {
    /// No byte has come.
    Unknown,
    Plain,
    Tls(Box<ServerConnection>),
}

/// A client's socket and what is spoken on it.
pub(super) struct Line {
    wire: Wire<TcpStream>,
    layer: Layer,
    /// What was said has no end: none is said either.
    cut: bool,
}

impl Line {
    /// Over a new socket.
    pub(super) fn new(socket: TcpStream, entry: &Entry) -> Self {
        let is_known = entry.tls.is_none() && entry.plain;
        let layer = if is_known { Layer::Plain } else { Layer::Unknown };
        Self { wire: Wire::new(socket), layer, cut: false }
    }

    /// Remembers what epoll said.
    pub(super) fn note(&mut self, flags: EventFlags) {
        self.wire.note(flags);
    }

    /// Whether the peer sends no more.
    pub(super) fn has_ended(&self) -> bool {
        self.wire.has_ended()
    }

    /// Whether the connection is gone in both directions.
    pub(super) fn is_broken(&self) -> bool {
        self.wire.is_broken()
    }

    /// Whether it can't carry HTTP yet.
    pub(super) fn is_greeting(&self) -> bool {
        match &self.layer {
            Layer::Unknown => true,
            Layer::Plain => false,
            Layer::Tls(tls) => tls.is_handshaking(),
        }
    }

    /// Whether it is TLS that is spoken, on a connection that isn't gone.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.layer, Layer::Tls(_)) && !self.is_broken()
    }

    /// Takes one step towards carrying HTTP.
    pub(super) fn greet(&mut self, entry: &Entry) -> Greeted {
        match &mut self.layer {
            Layer::Plain => Greeted::Ready,
            Layer::Unknown => self.decide(entry),
            Layer::Tls(tls) => {
                let taken = take_records(tls, &mut self.wire);
                match taken {
                    Got::Bytes(_) if !tls.is_handshaking() => Greeted::Ready,
                    Got::Bytes(_) => Greeted::Moved,
                    Got::Nothing => Greeted::Wait,
                    Got::End => Greeted::End,
                }
            }
        }
    }

    fn decide(&mut self, entry: &Entry) -> Greeted {
        let first = match self.wire.peek() {
            Peek::Byte(first) => first,
            Peek::Nothing => return Greeted::Wait,
            Peek::End => return Greeted::End,
        };
        match &entry.tls {
            Some(acceptor) if first == HANDSHAKE => {
                let Ok(tls) = acceptor.accept() else {
                    return Greeted::End;
                };
                self.layer = Layer::Tls(Box::new(tls));
                Greeted::Moved
            }
            Some(_) | None => {
                self.layer = Layer::Plain;
                if entry.plain { Greeted::Ready } else { Greeted::NoPlain }
            }
        }
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Got {
        match &mut self.layer {
            Layer::Unknown => Got::Nothing,
            Layer::Plain => self.wire.read(buffer),
            Layer::Tls(tls) => {
                let waiting = take_plain(tls, buffer);
                if waiting != Got::Nothing {
                    return waiting;
                }
                let came = take_records(tls, &mut self.wire);
                if !matches!(came, Got::Bytes(_)) {
                    return came;
                }
                let got = take_plain(tls, buffer);
                if got == Got::Nothing { Got::Bytes(0) } else { got }
            }
        }
    }

    /// Reads once what nobody wants to understand.
    pub(super) fn discard(&mut self, buffer: &mut [u8]) -> Got {
        self.wire.read(buffer)
    }

    /// Whether something that was said is still here.
    pub(super) fn owes(&self) -> bool {
        match &self.layer {
            Layer::Tls(tls) => tls.wants_write(),
            Layer::Unknown | Layer::Plain => false,
        }
    }

    /// Writes what is still here. True if the socket took something.
    pub(super) fn flush(&mut self) -> Result<bool, Broken> {
        match &mut self.layer {
            Layer::Tls(tls) => send_records(tls, &mut self.wire),
            Layer::Unknown | Layer::Plain => Ok(false),
        }
    }

    /// An answer ended before its end. The peer has to see that.
    pub(super) fn cut_off(&mut self) {
        self.cut = true;
    }

    /// Says, over TLS, that nothing more comes, unless something should have. Again changes nothing.
    pub(super) fn say_goodbye(&mut self) -> Result<(), Broken> {
        if let Layer::Tls(tls) = &mut self.layer
            && !tls.is_handshaking()
            && !self.cut
        {
            tls.send_close_notify();
            send_records(tls, &mut self.wire)?;
        }
        Ok(())
    }

    /// Sends no more, once everything was sent.
    pub(super) fn shut(&self) {
        // It fails where the connection is gone, which the next read finds.
        let _ = self.wire.socket.shutdown(Shutdown::Write);
    }
}

impl Sink for Line {
    /// Takes nothing while nobody knows how to say it.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        match &mut self.layer {
            Layer::Unknown => Ok(0),
            Layer::Plain => self.wire.write(&[IoSlice::new(bytes)]),
            Layer::Tls(tls) => {
                send_records(tls, &mut self.wire)?;
                if tls.is_handshaking() || tls.wants_write() {
                    return Ok(0);
                }
                let taken = tls.writer().write(&bytes[..bytes.len().min(RECORD_BYTES)]);
                let taken = taken.map_err(|_| Broken)?;
                send_records(tls, &mut self.wire)?;
                Ok(taken)
            }
        }
    }
}

/// Plain bytes that rustls has.
fn take_plain(tls: &mut ServerConnection, buffer: &mut [u8]) -> Got {
    match tls.reader().read(buffer) {
        Ok(0) => Got::End,
        Ok(count) => Got::Bytes(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Nothing,
        Err(_) => Got::End,
    }
}

/// Reads once, and has rustls make of it what it can. What it answers by itself (handshakes, alerts) is sent.
fn take_records(tls: &mut ServerConnection, wire: &mut Wire<TcpStream>) -> Got {
    match tls.read_tls(&mut Raw(wire)) {
        Ok(0) => Got::End,
        Ok(count) => {
            let understood = tls.process_new_packets();
            let sent = send_records(tls, wire);
            match understood {
                Ok(_) if sent.is_ok() => Got::Bytes(count),
                Ok(_) => Got::End,
                Err(error) => {
                    log::debug!("a client's TLS was refused because={error}");
                    Got::End
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Got::Nothing,
        Err(_) => Got::End,
    }
}

/// Writes records until there are none or the socket is full.
fn send_records(tls: &mut ServerConnection, wire: &mut Wire<TcpStream>) -> Result<bool, Broken> {
    let mut moved = false;
    while tls.wants_write() {
        match tls.write_tls(&mut Raw(wire)) {
            Ok(_) => moved = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return Err(Broken),
        }
    }
    Ok(moved)
}

/// A wire as rustls wants it: a socket that says when it would block.
struct Raw<'a>(&'a mut Wire<TcpStream>);

impl Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Got::Bytes(count) => Ok(count),
            Got::Nothing => Err(ErrorKind::WouldBlock.into()),
            Got::End => Ok(0),
        }
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0.write(parts) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            Ok(count) => Ok(count),
            Err(Broken) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
