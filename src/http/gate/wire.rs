//! The one place where the gate's bytes meet a socket.
//!
//! A [`Wire`] is a non-blocking socket with what edge-triggered epoll said about it last. Edge-triggered means
//! that a socket is registered once and that its readiness is told once; so it has to be remembered here until a
//! read or a write finds it used up. That saves a system call per request, and is what lets the gate simply not
//! read from somebody for a while. Between a client's wire and its users is a [`Line`](super::line::Line), which may
//! speak TLS.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;

use rustix::event::epoll::EventFlags;

/// A non-blocking socket and its readiness.
pub(super) struct Wire<S> {
    pub(super) socket: S,
    /// A read may find something.
    readable: bool,
    writable: bool,
    /// The peer sends no more. There may still be something to read before that.
    ended: bool,
    /// The connection is gone in both directions.
    broken: bool,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes. None, where what came over TLS carries nothing.
    Bytes(usize),
    /// None now.
    Nothing,
    /// The peer sends no more, or the connection broke.
    End,
}

/// What a look at the next byte found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// This one.
    Byte(u8),
    /// None now.
    Nothing,
    /// The peer sends no more, or the connection broke.
    End,
}

/// Whatever takes bytes without waiting.
pub(super) trait Sink {
    /// How many bytes were taken, 0 where it would have to wait.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken>;
}

/// The connection broke while it was written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

impl<S: Read + Write> Wire<S> {
    /// Over a new socket: writable until a write says otherwise, readable once epoll says so.
    pub(super) fn new(socket: S) -> Self {
        Self { socket, readable: false, writable: true, ended: false, broken: false }
    }

    /// Remembers what epoll said.
    pub(super) fn note(&mut self, flags: EventFlags) {
        let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        self.broken |= broken;
        self.ended |= broken || flags.contains(EventFlags::RDHUP);
        self.readable |= self.ended || flags.contains(EventFlags::IN);
        self.writable |= broken || flags.contains(EventFlags::OUT);
    }

    /// Whether the peer sends no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the connection is gone in both directions.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether a write would have to wait.
    pub(super) fn is_clogged(&self) -> bool {
        !self.writable
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Got {
        if !self.readable {
            return Got::Nothing;
        }
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Got::End,
                Ok(count) => {
                    // A short read has emptied the socket: whatever comes next is told again. The end of what a
                    // peer sends is told only once, so after that it is read until it is found.
                    self.readable = count == buffer.len() || self.ended;
                    return Got::Bytes(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Got::Nothing;
                }
                Err(_) => return Got::End,
            }
        }
    }

    /// Writes once: how many bytes were taken, 0 where a write would have to wait.
    pub(super) fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Broken> {
        while self.writable {
            match self.socket.write_vectored(parts) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return Err(Broken),
            }
        }
        Ok(0)
    }
}

impl Wire<TcpStream> {
    /// Looks at the next byte, which stays.
    pub(super) fn peek(&mut self) -> Peek {
        let mut byte = [0];
        while self.readable {
            match self.socket.peek(&mut byte) {
                Ok(0) => return Peek::End,
                Ok(_) => return Peek::Byte(byte[0]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return Peek::End,
            }
        }
        Peek::Nothing
    }
}

impl<S: Read + Write> Sink for Wire<S> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        Wire::write(self, &[IoSlice::new(bytes)])
    }
}

/// Bytes that wait to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    segments: VecDeque<Vec<u8>>,
    /// How much of the first segment was written.
    sent: usize,
    bytes: usize,
}

impl Outbox {
    /// Small additions share a segment of up to so many bytes.
    const SEGMENT_BYTES: usize = 64 * 1024;

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Whether none wait.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        match self.segments.back_mut() {
            Some(last) if last.len() + bytes.len() <= Self::SEGMENT_BYTES => last.extend_from_slice(bytes),
            Some(_) | None if bytes.is_empty() => {}
            Some(_) | None => self.segments.push_back(bytes.to_vec()),
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes as much as is taken. True if that was something.
    pub(super) fn flush(&mut self, sink: &mut impl Sink) -> Result<bool, Broken> {
        let mut moved = false;
        while let Some(first) = self.segments.front() {
            let count = sink.write(&first[self.sent..])?;
            if count == 0 {
                break;
            }
            moved = true;
            self.bytes -= count;
            self.sent += count;
            if self.sent == first.len() {
                self.segments.pop_front();
                self.sent = 0;
            }
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Wire<UnixStream>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Wire::new(ours), theirs)
    }

    #[test]
    fn an_outbox_keeps_order_through_a_full_socket() {
        let (mut wire, mut theirs) = pair();
        let mut outbox = Outbox::default();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        sent.chunks(7_001).for_each(|chunk| outbox.push(chunk));
        assert_eq!(outbox.len(), sent.len());
        let mut received = vec![0; sent.len()];
        let mut at = 0;
        while at < received.len() {
            outbox.flush(&mut wire).unwrap();
            at += theirs.read(&mut received[at..]).unwrap();
            wire.note(EventFlags::OUT);
        }
        assert!(outbox.is_empty() && received == sent);
    }

    #[test]
    fn the_end_is_found_after_the_bytes_before_it() {
        let (mut wire, mut theirs) = pair();
        let mut buffer = [0; 16];
        assert_eq!(wire.read(&mut buffer), Got::Nothing);
        theirs.write_all(b"last").unwrap();
        drop(theirs);
        wire.note(EventFlags::IN | EventFlags::RDHUP);
        assert_eq!(wire.read(&mut buffer), Got::Bytes(4));
        assert_eq!(wire.read(&mut buffer), Got::End);
    }
}
