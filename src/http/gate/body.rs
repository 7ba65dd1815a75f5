//! Bodies as they come in: counted, or decoded from chunks (RFC 9112, 7.1).
//!
//! [`Chunked`] serves both directions. It is strict: sizes are hexadecimal digits and nothing else, every line
//! ends in CRLF, and what may be endless (extensions, trailers) has a bound. Extensions are dropped; trailers are
//! kept as they came, for whoever passes them on.

/// The longest chunk-size line, extensions included, in bytes.
const SIZE_LINE_BYTES: usize = 256;
/// More digits than this are no size that anybody takes.
const SIZE_DIGITS: usize = 15;
/// The longest trailers, in bytes.
const TRAILER_BYTES: usize = 8 * 1024;

/// What is wrong with a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadBody {
    /// It isn't chunked as the standard says.
    Malformed(&'static str),
    /// It is longer than the reader takes.
    TooLong,
}

/// A decoder of chunks, between two reads.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of the current size line.
    line: usize,
    /// The trailers' lines, each with its CRLF.
    pub(super) trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { value: usize, digits: usize },
    Extension { size: usize },
    SizeLf { size: usize },
    Data { left: usize },
    DataCr,
    DataLf,
    Trailer { line_start: bool },
    TrailerLf { last: bool },
    Done,
}

const NEXT_CHUNK: State = State::Size { value: 0, digits: 0 };

impl Chunked {
    /// At the beginning of a body.
    pub(super) fn new() -> Self {
        Self { state: NEXT_CHUNK, line: 0, trailers: Vec::new() }
    }

    /// Whether the body was whole.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes from `input` to `out` until the input or the body ends. Gives how much of the input that was.
    ///
    /// `out` may grow to `most` bytes.
    pub(super) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, most: usize) -> Result<usize, BadBody> {
        let mut at = 0;
        while at < input.len() && !self.is_done() {
            if let State::Data { left } = self.state {
                let taken = left.min(input.len() - at);
                out.extend_from_slice(&input[at..at + taken]);
                at += taken;
                self.state = if taken == left { State::DataCr } else { State::Data { left: left - taken } };
                continue;
            }
            self.state = self.after(input[at])?;
            at += 1;
            // The size alone is enough to refuse: what it announces isn't waited for.
            if let State::Data { left } = self.state
                && left > most.saturating_sub(out.len())
            {
                return Err(BadBody::TooLong);
            }
        }
        Ok(at)
    }

    /// The state after one byte that isn't data.
    fn after(&mut self, byte: u8) -> Result<State, BadBody> {
        self.line += 1;
        match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0) as usize;
                if digits == SIZE_DIGITS {
                    return Err(BadBody::TooLong);
                }
                Ok(State::Size { value: value << 4 | digit, digits: digits + 1 })
            }
            (State::Size { digits: 0, .. }, _) => Err(BadBody::Malformed("a chunk has no size")),
            (State::Size { value: size, .. } | State::Extension { size }, b'\r') => {
                Ok(State::SizeLf { size })
            }
            (State::Size { value: size, .. }, b';' | b' ' | b'\t') => Ok(State::Extension { size }),
            (State::Size { .. }, _) => Err(BadBody::Malformed("a chunk's size is not hexadecimal")),
            (State::Extension { size }, b'\t' | b' '..=b'~') if self.line <= SIZE_LINE_BYTES => {
                Ok(State::Extension { size })
            }
            (State::Extension { .. }, _) => Err(BadBody::Malformed("a chunk's extension can't be read")),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::Trailer { line_start: true }),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line = 0;
                Ok(NEXT_CHUNK)
            }
            (State::Trailer { line_start: true }, b'\r') => Ok(State::TrailerLf { last: true }),
            (State::Trailer { .. }, b'\r' | b'\t' | b' '..=b'~') => self.keep_trailer(byte),
            (State::TrailerLf { last: true }, b'\n') => Ok(State::Done),
            (State::TrailerLf { last: false }, b'\n') => self.keep_trailer(byte),
            (State::SizeLf { .. } | State::DataCr | State::DataLf | State::TrailerLf { .. }, _) => {
                Err(BadBody::Malformed("a chunk does not end in CRLF"))
            }
            (State::Trailer { .. }, _) => Err(BadBody::Malformed("a trailer can't be read")),
            (State::Data { .. } | State::Done, _) => Ok(self.state),
        }
    }

    fn keep_trailer(&mut self, byte: u8) -> Result<State, BadBody> {
        if self.trailers.len() >= TRAILER_BYTES {
            return Err(BadBody::Malformed("the trailers are too long"));
        }
        self.trailers.push(byte);
        Ok(match byte {
            b'\r' => State::TrailerLf { last: false },
            b'\n' => State::Trailer { line_start: true },
            _ => State::Trailer { line_start: false },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str, most: usize) -> Result<(String, usize, bool), BadBody> {
        let whole = {
            let (mut chunked, mut out) = (Chunked::new(), Vec::new());
            let used = chunked.decode(text.as_bytes(), &mut out, most)?;
            (String::from_utf8(out).unwrap(), used, chunked.is_done())
        };
        // However it is cut up, it has to read the same.
        let (mut chunked, mut out, mut used) = (Chunked::new(), Vec::new(), 0);
        for byte in text.as_bytes() {
            used += chunked.decode(std::slice::from_ref(byte), &mut out, most)?;
        }
        assert_eq!((String::from_utf8(out).unwrap(), used, chunked.is_done()), whole);
        Ok(whole)
    }

    #[test]
    fn good_bodies() {
        assert_eq!(decode("3\r\nabc\r\n0\r\n\r\nGET", 9), Ok(("abc".to_owned(), 13, true)));
        assert_eq!(decode("0\r\n\r\n", 0), Ok((String::new(), 5, true)));
        let extended = "00a;x=\"y\"\r\n0123456789\r\n0 \r\nA: b\r\nC: d\r\n\r\n";
        assert_eq!(decode(extended, 10), Ok(("0123456789".to_owned(), extended.len(), true)));
        assert_eq!(decode("3\r\nab", 9), Ok(("ab".to_owned(), 5, false)));
    }

    #[test]
    fn trailers_are_kept_as_they_came() {
        let (mut chunked, mut out) = (Chunked::new(), Vec::new());
        chunked.decode(b"0\r\nA: b\r\nC: d\r\n\r\n", &mut out, 0).unwrap();
        assert_eq!(chunked.trailers, b"A: b\r\nC: d\r\n");
    }

    #[test]
    fn bad_bodies() {
        for bad in [
            "\r\n",
            "g\r\n",
            "+3\r\nabc\r\n",
            "0x3\r\n",
            "-1\r\n",
            "3\nabc\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "3\rabc",
            "3;\0\r\n",
            "0\r\n\r\r",
            "0\r\nA: b\n\r\n",
            "0\r\nA: \0\r\n",
        ] {
            assert!(matches!(decode(bad, 100), Err(BadBody::Malformed(_))), "{bad:?}");
        }
        let long = format!("1;{}\r\n", "x".repeat(SIZE_LINE_BYTES));
        assert!(matches!(decode(&long, 100), Err(BadBody::Malformed(_))));
        let long = format!("0\r\nA: {}\r\n", "x".repeat(TRAILER_BYTES));
        assert!(matches!(decode(&long, 100), Err(BadBody::Malformed(_))));
    }

    #[test]
    fn a_size_beyond_the_limit_is_refused_before_its_data() {
        assert_eq!(decode("4\r\n", 3), Err(BadBody::TooLong));
        assert_eq!(decode("3\r\nabc\r\n1\r\n", 3), Err(BadBody::TooLong));
        assert_eq!(decode("ffffffffffffffff\r\n", 3), Err(BadBody::TooLong));
        assert_eq!(decode("fffffffffffffff\r\n", 3), Err(BadBody::TooLong));
    }
}
