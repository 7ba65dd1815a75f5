//! A container's log, taken out of the frames that the Engine sends it in.
//!
//! Each write of the container comes as one frame: a byte for the stream, three of padding, four of length, and
//! then a time, a space and the container's own bytes (Docker Engine API, "Attach to a container", stream
//! format). [`Log`] reads them off any source. A source that is silent for a while gives [`LogItem::Quiet`] and
//! loses nothing: what was read of a frame waits for its rest.
//!
//! One repair: the Engine's log driver `local` (seen in 20.10) loses the line feed of a line that it had to cut
//! into pieces, which would run two lines together. [`LongLines`] puts it back.
//!
//! Runs in the caller's thread; no thread of its own.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use super::observe::unix_nanos;
use crate::engine::{EngineError, LogItem, LogRecord, Stream};

const OPERATION: &str = "logs";

/// Length of a frame's header.
const HEADER_BYTES: usize = 8;

/// The Engine cuts lines into pieces of this length.
const PIECE_BYTES: usize = 16 << 10;

/// A frame much longer than a piece is none.
const LONGEST_FRAME_BYTES: usize = 8 << 20;

/// How much is read at once.
const READ_BYTES: usize = 16 << 10;

/// Whether a source's silence is news or a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The container has nothing to say: tell the caller.
    Quiet,
    /// What is asked for is there already: the Engine hangs. It was waited for this long.
    TimedOut(Duration),
}

/// A log that is being read.
pub(super) struct Log<R> {
    source: R,
    silence: Silence,
    /// What was read and isn't taken out yet; frames before `taken` are.
    held: Vec<u8>,
    taken: usize,
    long_lines: LongLines,
    /// Nothing comes any more: the log ended, or broke.
    over: bool,
}

impl<R: Read> Log<R> {
    /// Over a source of frames whose silence is an error of the kind `TimedOut`.
    pub(super) fn new(source: R, silence: Silence) -> Self {
        Self { source, silence, held: Vec::new(), taken: 0, long_lines: LongLines::default(), over: false }
    }

    /// The next item; none at the end.
    fn advance(&mut self) -> Result<Option<LogItem>, EngineError> {
        loop {
            if let Some(record) = self.take_frame()? {
                return Ok(Some(LogItem::Record(record)));
            }
            self.held.drain(..self.taken);
            self.taken = 0;
            match self.read_more() {
                Ok(0) if self.held.is_empty() => return Ok(None),
                Ok(0) => return Err(malformed("it ends inside a frame")),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return self.silent(),
                Err(error) => {
                    return Err(EngineError::Unreachable { operation: OPERATION, why: error.to_string() });
                }
            }
        }
    }

    fn silent(&self) -> Result<Option<LogItem>, EngineError> {
        match self.silence {
            Silence::Quiet => Ok(Some(LogItem::Quiet)),
            Silence::TimedOut(after) => Err(EngineError::TimedOut { operation: OPERATION, after }),
        }
    }

    fn read_more(&mut self) -> std::io::Result<usize> {
        let before = self.held.len();
        self.held.resize(before + READ_BYTES, 0);
        let read = self.source.read(&mut self.held[before..]);
        self.held.truncate(before + read.as_ref().map_or(0, |bytes| *bytes));
        read
    }

    /// Takes a frame out of what was read, if a whole one is there.
    fn take_frame(&mut self) -> Result<Option<LogRecord>, EngineError> {
        let rest = &self.held[self.taken..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [kind, 0, 0, 0, length @ ..] = *header else {
            return Err(malformed("no frame begins where one should"));
        };
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST_FRAME_BYTES {
            return Err(malformed("a frame too long to be one"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        self.taken += HEADER_BYTES + length;
        let mut record = record(kind, payload)?;
        self.long_lines.mend(&mut record);
        Ok(Some(record))
    }
}

impl<R: Read> Iterator for Log<R> {
    type Item = Result<LogItem, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let item = self.advance().transpose();
        self.over = !matches!(item, Some(Ok(_)));
        item
    }
}

/// Which of the two outputs is inside a line that was cut.
///
/// A piece of full length without a line feed has a rest, and the rest ends the line. A program whose last line
/// is so long and ends without a line feed is given one: the Engine's answer doesn't tell the two apart.
#[derive(Debug, Default)]
struct LongLines {
    stdout: bool,
    stderr: bool,
}

impl LongLines {
    fn mend(&mut self, record: &mut LogRecord) {
        let is_inside = match record.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let ends_line = record.bytes.ends_with(b"\n");
        if record.bytes.len() == PIECE_BYTES && !ends_line {
            *is_inside = true;
        } else if std::mem::take(is_inside) && !ends_line {
            record.bytes.push(b'\n');
        }
    }
}

fn record(kind: u8, payload: &[u8]) -> Result<LogRecord, EngineError> {
    let stream = match kind {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        // The Engine's own words about why it can't go on.
        3 => {
            let why = String::from_utf8_lossy(payload).trim().to_owned();
            return Err(EngineError::Failed { operation: OPERATION, why });
        }
        _ => return Err(malformed("a frame of neither stdout nor stderr")),
    };
    let (time, bytes) = split_time(payload).ok_or_else(|| malformed("a record without a time"))?;
    Ok(LogRecord { stream, unix_nanos: time, bytes: bytes.to_vec() })
}

fn split_time(payload: &[u8]) -> Option<(u64, &[u8])> {
    let space = payload.iter().position(|byte| *byte == b' ')?;
    let time = std::str::from_utf8(&payload[..space]).ok()?;
    Some((unix_nanos(time)?, &payload[space + 1..]))
}

fn malformed(why: &str) -> EngineError {
    EngineError::Malformed { operation: OPERATION, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use super::*;

    /// Gives one piece a read; an empty piece is a silence.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.pop_front() {
                None => Ok(0),
                Some(piece) if piece.is_empty() => Err(ErrorKind::TimedOut.into()),
                Some(mut piece) => {
                    let rest = piece.split_off(piece.len().min(buffer.len()));
                    if !rest.is_empty() {
                        self.0.push_front(rest);
                    }
                    buffer[..piece.len()].copy_from_slice(&piece);
                    Ok(piece.len())
                }
            }
        }
    }

    fn frame(kind: u8, text: &[u8]) -> Vec<u8> {
        let payload = [b"1970-01-01T00:00:01.000000007Z ", text].concat();
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], &payload].concat()
    }

    fn read(
        pieces: impl IntoIterator<Item = Vec<u8>>,
        silence: Silence,
    ) -> Vec<Result<LogItem, EngineError>> {
        Log::new(Pieces(pieces.into_iter().collect()), silence).collect()
    }

    fn written(stream: Stream, bytes: &[u8]) -> Result<LogItem, EngineError> {
        Ok(LogItem::Record(LogRecord { stream, unix_nanos: 1_000_000_007, bytes: bytes.to_vec() }))
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let bytes = [frame(1, b"out\n"), frame(2, b"\xff\0 err"), frame(1, b"")].concat();
        let expected = [
            written(Stream::Stdout, b"out\n"),
            written(Stream::Stderr, b"\xff\0 err"),
            written(Stream::Stdout, b""),
        ];
        for size in 1..bytes.len() {
            let pieces = bytes.chunks(size).map(<[u8]>::to_vec);
            assert_eq!(read(pieces, Silence::Quiet), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_silence_inside_a_frame_loses_nothing() {
        let bytes = frame(1, b"late\n");
        let (one, two) = bytes.split_at(5);
        let pieces = [one.to_vec(), vec![], two[..9].to_vec(), vec![], two[9..].to_vec()];
        let expected = [Ok(LogItem::Quiet), Ok(LogItem::Quiet), written(Stream::Stdout, b"late\n")];
        assert_eq!(read(pieces.clone(), Silence::Quiet), expected);
        let after = Duration::from_secs(10);
        let refused = [Err(EngineError::TimedOut { operation: OPERATION, after })];
        assert_eq!(read(pieces, Silence::TimedOut(after)), refused, "and then the log is over");
    }

    #[test]
    fn a_line_that_was_cut_gets_its_line_feed_back() {
        let piece = vec![b'x'; PIECE_BYTES];
        let full_line = [&piece[1..], b"\n"].concat();
        let frames = [
            frame(1, &piece),
            frame(2, b"between"),
            frame(1, &piece),
            frame(1, b"rest"),
            frame(1, &piece),
            frame(1, b""),
            frame(1, &full_line),
            frame(1, b"end"),
        ];
        let items = read(frames, Silence::Quiet).into_iter().map(|item| match item {
            Ok(LogItem::Record(record)) => record.bytes,
            other => panic!("{other:?}"),
        });
        let expected: Vec<Vec<u8>> = vec![
            piece.clone(),
            b"between".to_vec(),
            piece.clone(),
            b"rest\n".to_vec(),
            piece,
            b"\n".to_vec(),
            full_line,
            b"end".to_vec(),
        ];
        assert!(items.eq(expected));
    }

    #[test]
    fn what_is_no_log_is_an_error_and_the_end() {
        let cut = frame(1, b"cut")[..20].to_vec();
        let no_header = b"HTTP/1.1 200 OK\r\n".to_vec();
        let huge = [1, 0, 0, 0, 0xff, 0, 0, 0].to_vec();
        let stdin = frame(0, b"x");
        let no_time = [&[1, 0, 0, 0, 0, 0, 0, 4][..], b"abcd"].concat();
        for bytes in [cut, no_header, huge, stdin, no_time] {
            let items = read([bytes.clone()], Silence::Quiet);
            assert!(matches!(items[..], [Err(EngineError::Malformed { .. })]), "{bytes:?}: {items:?}");
        }
        let words = [&[3, 0, 0, 0, 0, 0, 0, 5][..], b"gone\n"].concat();
        let failed = EngineError::Failed { operation: OPERATION, why: "gone".to_owned() };
        assert_eq!(read([words], Silence::Quiet), [Err(failed)]);
    }
}
