//! How a log lies in a file: a mark, one frame per record, and a frame that says that this is all.
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | `podlog1\n`, once, at the beginning |
//! | 1 | a frame's kind: 1 stdout, 2 stderr, 3 the end |
//! | 8 | when the record was written, in nanoseconds since 1970; of the end: how many records there are |
//! | 4 | the length of what the container wrote |
//! | 4 | a check over all of this and the container's bytes |
//! | … | the container's bytes |
//!
//! Numbers are big-endian. Invariant: a file that was cut anywhere, or zeroed from anywhere on, is noticed: its
//! last frame breaks, or the end is missing. A frame is smaller than the Engine's own for the same record, so
//! what an Engine keeps within a limit fits into a file of that limit.

use std::io::{self, BufReader, ErrorKind, Read, Seek, Write};

use crate::engine::{LogRecord, Stream};
use crate::worker::logs::digest::Digest;

/// What every file begins with.
pub(super) const MARK: &[u8; 8] = b"podlog1\n";

/// A frame's bytes beside the container's own.
pub(super) const HEAD_BYTES: u64 = 17;

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const END: u8 = 3;

/// A frame that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A record.
    Record(LogRecord),
    /// The log ends here, whole.
    End {
        /// How many records came before.
        records: u64,
    },
}

/// The beginning of a frame.
struct Head {
    kind: u8,
    number: u64,
    length: u32,
}

impl Head {
    fn bytes(&self) -> [u8; 13] {
        let mut bytes = [0; 13];
        bytes[0] = self.kind;
        bytes[1..9].copy_from_slice(&self.number.to_be_bytes());
        bytes[9..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    fn check(&self, content: &[u8]) -> [u8; 4] {
        let mut digest = Digest::default();
        digest.add(&self.bytes());
        digest.add(content);
        digest.folded()
    }

    fn write(&self, content: &[u8], out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.bytes())?;
        out.write_all(&self.check(content))?;
        out.write_all(content)
    }

    fn read(source: &mut impl Read) -> io::Result<(Self, [u8; 4])> {
        let mut bytes = [0; 17];
        source.read_exact(&mut bytes)?;
        let [kind, n0, n1, n2, n3, n4, n5, n6, n7, l0, l1, l2, l3, check @ ..] = bytes;
        let number = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
        Ok((Self { kind, number, length: u32::from_be_bytes([l0, l1, l2, l3]) }, check))
    }
}

/// How many bytes a record takes.
pub(super) fn size(record: &LogRecord) -> u64 {
    HEAD_BYTES + record.bytes.len() as u64
}

/// Writes a record's frame.
///
/// # Errors
/// The system's; a record of 4 GiB or more.
pub(super) fn write_record(record: &LogRecord, out: &mut impl Write) -> io::Result<()> {
    let kind = match record.stream {
        Stream::Stdout => STDOUT,
        Stream::Stderr => STDERR,
    };
    let length = u32::try_from(record.bytes.len()).map_err(io::Error::other)?;
    Head { kind, number: record.unix_nanos, length }.write(&record.bytes, out)
}

/// Writes the last frame.
///
/// # Errors
/// The system's.
pub(super) fn write_end(records: u64, out: &mut impl Write) -> io::Result<()> {
    Head { kind: END, number: records, length: 0 }.write(&[], out)
}

/// Reads the mark at the beginning.
///
/// # Errors
/// It isn't there (`InvalidData`); the system's.
pub(super) fn read_mark(source: &mut impl Read) -> io::Result<()> {
    let mut mark = [0; 8];
    source.read_exact(&mut mark)?;
    if mark == *MARK { Ok(()) } else { Err(broken("it doesn't begin as a log does")) }
}

/// Reads the next frame.
///
/// # Errors
/// The file ends inside it or before it (`UnexpectedEof`); it is damaged (`InvalidData`); the system's.
pub(super) fn read(source: &mut impl Read) -> io::Result<Frame> {
    let (head, check) = Head::read(source)?;
    let mut content = Vec::new();
    // Not all at once: a length that is wrong must not take memory that the file doesn't fill.
    let read = source.by_ref().take(u64::from(head.length)).read_to_end(&mut content)?;
    if read < usize::try_from(head.length).unwrap_or(usize::MAX) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if head.check(&content) != check {
        return Err(broken("a frame's check is wrong"));
    }
    let stream = match head.kind {
        STDOUT => Stream::Stdout,
        STDERR => Stream::Stderr,
        END => return Ok(Frame::End { records: head.number }),
        _ => return Err(broken("a frame of no known kind")),
    };
    Ok(Frame::Record(LogRecord { stream, unix_nanos: head.number, bytes: content }))
}

/// Passes over a frame unread, and says how many bytes it took.
///
/// # Errors
/// The system's.
pub(super) fn skip(source: &mut BufReader<impl Read + Seek>) -> io::Result<u64> {
    let (head, _) = Head::read(source)?;
    source.seek_relative(i64::from(head.length))?;
    Ok(HEAD_BYTES + u64::from(head.length))
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let record = LogRecord { stream: Stream::Stderr, unix_nanos: 7, bytes: b"abc\n".to_vec() };
        let mut bytes = Vec::new();
        write_record(&record, &mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, size(&record));
        assert_eq!(read(&mut bytes.as_slice()).unwrap(), Frame::Record(record));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&mut changed.as_slice()).is_err(), "byte {at}");
        }
        assert!(read(&mut [0; 100].as_slice()).is_err(), "zeros");
    }
}
