//! Request heads: found byte by byte, then judged.
//!
//! [`Scan`] looks at each byte once, as it comes, so that a client that sends one byte at a time costs no more
//! than one that doesn't; it refuses what can't become a head as soon as that is sure. [`Head::parse`] then reads
//! the whole head with httparse and decides on framing. Where two readings are possible the request is refused:
//! a request that gate and tiny_http read differently is how requests are smuggled (RFC 9112, 11.2).

use crate::http::backend::OWN_PREFIX;
use crate::http::gate::limits::Limits;
use crate::http::problem::Problem;

/// More headers than this can't be configured.
const MOST_HEADERS: usize = 256;

/// How far into a head the bytes have been looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// The next byte to look at.
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// Where the headers begin, once the request line was seen.
    headers_at: Option<usize>,
    headers: usize,
}

impl Scan {
    /// Looks at what is new in `bytes`. Gives the head's length once its last byte is there.
    pub(super) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Problem> {
        while let Some(&byte) = bytes.get(self.at) {
            let after_return = self.at > self.line && bytes[self.at - 1] == b'\r';
            self.at += 1;
            match byte {
                b'\n' if after_return => {
                    if self.end_line(bytes, limits)? {
                        return Ok(Some(self.at));
                    }
                }
                b'\n' => return Err(malformed("a line ends in LF without CR")),
                _ if after_return => return Err(malformed("a CR is not followed by LF")),
                b'\r' | b'\t' | b' '..=b'~' => self.check_size(limits)?,
                _ => return Err(malformed("a byte that isn't visible ASCII stands in the head")),
            }
        }
        Ok(None)
    }

    /// Ends the line before `self.at`. True if it was the empty one after the headers.
    fn end_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, Problem> {
        let line = &bytes[self.line..self.at - 2];
        // One empty line before a request is skipped: some clients end a body with one (RFC 9112, 2.2).
        let skipped = self.headers_at.is_none() && line.is_empty() && self.line == 0;
        self.line = self.at;
        if skipped {
            return Ok(false);
        }
        if self.headers_at.is_none() {
            judge_request_line(line)?;
            self.headers_at = Some(self.at);
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.headers += 1;
        if self.headers > limits.headers.min(MOST_HEADERS) {
            return Err(headers_too_large(format!("more than {} headers", limits.headers)));
        }
        Ok(false)
    }

    fn check_size(&self, limits: &Limits) -> Result<(), Problem> {
        match self.headers_at {
            // The CR that ends a line of exactly the limit is one byte more.
            None if self.at - self.line > limits.request_line_bytes + 1 => Err(Problem::new(
                414,
                "request_line_too_long",
                "Request line too long",
                format!("the request line is longer than {} bytes", limits.request_line_bytes),
            )),
            Some(start) if self.at - start > limits.header_bytes => {
                Err(headers_too_large(format!("the headers are longer than {} bytes", limits.header_bytes)))
            }
            None | Some(_) => Ok(()),
        }
    }
}

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; without a body none.
    Length(usize),
    /// In chunks.
    Chunked,
}

/// A head that was found good.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: String,
    /// The path without the query.
    pub(super) path: String,
    pub(super) framing: Framing,
    /// Whether the client speaks HTTP/1.1, and so understands chunks.
    pub(super) understands_chunks: bool,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    /// What is passed on: request line and headers, without framing and without the empty line.
    pub(super) forward: Vec<u8>,
}

impl Head {
    /// Reads a whole head, as [`Scan`] delimited it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(malformed("the head ends too early")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(headers_too_large("too many headers".to_owned()));
            }
            Err(error) => return Err(malformed(format!("the head can't be read: {error}"))),
        }
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(malformed("the request line is not METHOD TARGET VERSION"));
        };
        let is_1_1 = request.version == Some(1);
        let target = origin_form(method, target)?;
        let facts = Facts::gather(request.headers, is_1_1)?;
        let framing = facts.framing(method, is_1_1)?;
        let mut forward = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        request.headers.iter().filter(|h| facts.passes(h.name)).for_each(|h| push_header(&mut forward, h));
        Ok(Self {
            method: method.to_owned(),
            path: target.split('?').next().unwrap_or_default().to_owned(),
            framing,
            understands_chunks: is_1_1,
            keep_alive: !facts.close && (is_1_1 || facts.keep_alive),
            expects_continue: facts.expects_continue && is_1_1,
            forward,
        })
    }
}

/// What the headers say that concerns the gate.
#[derive(Debug, Default)]
struct Facts<'a> {
    lengths: Vec<&'a str>,
    codings: Vec<&'a str>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    /// Headers that `Connection` declares to be about this connection only.
    nominated: Vec<&'a str>,
}

impl<'a> Facts<'a> {
    fn gather(headers: &[httparse::Header<'a>], is_1_1: bool) -> Result<Self, Problem> {
        let mut facts = Self::default();
        let mut hosts = 0;
        for header in headers {
            let value = std::str::from_utf8(header.value).map_err(|_| malformed("a header isn't ASCII"))?;
            match header.name.to_ascii_lowercase().as_str() {
                "host" => {
                    hosts += 1;
                    check_host(value)?;
                }
                "content-length" => facts.lengths.push(value),
                "transfer-encoding" => facts.codings.push(value),
                "connection" => facts.note_connection(value),
                "expect" if value.eq_ignore_ascii_case("100-continue") => facts.expects_continue = true,
                "expect" => {
                    return Err(Problem::malformed("bad_expect", format!("can't meet Expect: {value}")));
                }
                _ => {}
            }
        }
        if hosts > 1 || (hosts == 0 && is_1_1) {
            let detail = format!("HTTP/1.1 wants one Host header, and there are {hosts}");
            return Err(Problem::malformed("bad_host", detail));
        }
        Ok(facts)
    }

    fn note_connection(&mut self, value: &'a str) {
        for option in value.split(',').map(str::trim) {
            self.close |= option.eq_ignore_ascii_case("close");
            self.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
            self.nominated.push(option);
        }
    }

    fn framing(&self, method: &str, is_1_1: bool) -> Result<Framing, Problem> {
        match (self.lengths.as_slice(), self.codings.as_slice()) {
            ([], []) if matches!(method, "POST" | "PUT" | "PATCH") => {
                let detail = format!("{method} needs Content-Length or Transfer-Encoding: chunked");
                Err(Problem::new(411, "length_required", "Length required", detail))
            }
            ([], []) => Ok(Framing::Length(0)),
            ([length], []) => parse_length(length).map(Framing::Length),
            ([], [coding]) => judge_coding(coding, is_1_1).map(|()| Framing::Chunked),
            ([_, ..], [_, ..]) => Err(ambiguous("Content-Length and Transfer-Encoding exclude each other")),
            ([_, _, ..], []) => Err(ambiguous("Content-Length came more than once")),
            ([], [_, _, ..]) => Err(ambiguous("Transfer-Encoding came more than once")),
        }
    }

    /// Whether a header is passed on: not about this connection only, not framing, none of our own.
    fn passes(&self, name: &str) -> bool {
        const NOT_PASSED: [&str; 11] = [
            "connection",
            "content-length",
            "expect",
            "http2-settings",
            "keep-alive",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let same = |other: &&str| other.eq_ignore_ascii_case(name);
        let ours = name.get(..OWN_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_PREFIX));
        // `Connection: host` must not take the Host away that was just checked.
        let nominated = self.nominated.iter().any(same) && !name.eq_ignore_ascii_case("host");
        !ours && !nominated && !NOT_PASSED.iter().any(same)
    }
}

fn push_header(out: &mut Vec<u8>, header: &httparse::Header<'_>) {
    out.extend_from_slice(header.name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(header.value);
    out.extend_from_slice(b"\r\n");
}

/// Refuses what isn't `METHOD TARGET HTTP/1.x`, before any header was read: a client of another version may
/// never send what an HTTP/1.1 head ends with.
fn judge_request_line(line: &[u8]) -> Result<(), Problem> {
    let text = std::str::from_utf8(line).map_err(|_| malformed("the request line isn't ASCII"))?;
    let words: Vec<&str> = text.split(' ').collect();
    let [_, _, version] = words.as_slice() else {
        return Err(malformed("the request line is not METHOD TARGET VERSION"));
    };
    let is_version = |text: &str| {
        let number =
            |part: &str| !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        text.strip_prefix("HTTP/").is_some_and(|rest| rest.split('.').all(number))
    };
    match *version {
        "HTTP/1.0" | "HTTP/1.1" => Ok(()),
        other if is_version(other) => Err(Problem::new(
            505,
            "unsupported_version",
            "Unsupported HTTP version",
            format!("{other} is not spoken here, HTTP/1.1 and HTTP/1.0 are"),
        )),
        _ => Err(malformed("the request line does not end in an HTTP version")),
    }
}

/// The target as a path and a query. The authority of an absolute one is dropped (RFC 9112, 3.2.2).
fn origin_form<'a>(method: &str, target: &'a str) -> Result<std::borrow::Cow<'a, str>, Problem> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) || target.contains('#') {
        return Err(malformed("the target has bytes that don't belong into one"));
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(target.into());
    }
    let scheme = |name: &str| {
        target
            .get(..name.len())
            .filter(|start| start.eq_ignore_ascii_case(name))
            .map(|_| &target[name.len()..])
    };
    let Some(rest) = scheme("http://").or_else(|| scheme("https://")) else {
        return Err(malformed("the target is neither a path nor an http address"));
    };
    match rest.find(['/', '?']) {
        Some(0) => Err(malformed("the target's address has no host")),
        Some(at) if rest[at..].starts_with('/') => Ok(rest[at..].into()),
        Some(at) => Ok(format!("/{}", &rest[at..]).into()),
        None if rest.is_empty() => Err(malformed("the target's address has no host")),
        None => Ok("/".into()),
    }
}

fn check_host(value: &str) -> Result<(), Problem> {
    let odd = |byte: u8| !byte.is_ascii_graphic() || b",/@?#\\".contains(&byte);
    if value.bytes().any(odd) {
        return Err(Problem::malformed("bad_host", "the Host header is no host"));
    }
    Ok(())
}

fn parse_length(text: &str) -> Result<usize, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::malformed("bad_length", format!("Content-Length {text:?} is not a number")));
    }
    // More digits than a number has is a number all the same, and one beyond every limit.
    Ok(text.parse().unwrap_or(usize::MAX))
}

fn judge_coding(coding: &str, is_1_1: bool) -> Result<(), Problem> {
    if !is_1_1 {
        return Err(ambiguous("HTTP/1.0 knows no Transfer-Encoding"));
    }
    if coding.eq_ignore_ascii_case("chunked") {
        return Ok(());
    }
    if coding.is_empty()
        || coding.split(',').filter(|one| one.trim().eq_ignore_ascii_case("chunked")).count() > 1
    {
        return Err(ambiguous("Transfer-Encoding is not one coding"));
    }
    let detail = format!("the transfer coding {coding:?} is not known, chunked is");
    Err(Problem::new(501, "unknown_transfer_coding", "Unknown transfer coding", detail))
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::malformed("malformed_request", detail)
}

fn ambiguous(detail: &str) -> Problem {
    Problem::malformed("ambiguous_length", detail)
}

fn headers_too_large(detail: String) -> Problem {
    Problem::new(431, "headers_too_large", "Headers too large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans byte by byte, then parses.
    fn judge(text: &str) -> Result<Head, (u16, String)> {
        let (mut scan, limits) = (Scan::default(), Limits::default());
        let say = |problem: Problem| (problem.status, problem.code.into_owned());
        for end in 1..=text.len() {
            if let Some(length) = scan.advance(&text.as_bytes()[..end], &limits).map_err(say)? {
                assert_eq!(length, text.len());
                return Head::parse(text.as_bytes()).map_err(say);
            }
        }
        Err((0, "unfinished".to_owned()))
    }

    #[track_caller]
    fn refused(text: &str, status: u16, code: &str) {
        let outcome = judge(text).map(|head| head.path);
        assert_eq!(outcome, Err((status, code.to_owned())), "{text:?}");
    }

    #[test]
    fn a_good_head_is_passed_on_without_what_concerns_the_connection() {
        let head = judge(
            "\r\nPOST http://x:1/a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-A: b \r\nTE: trailers\r\n\
             Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nPodling-Peer: forged\r\nExpect: 100-Continue\r\n\r\n",
        )
        .unwrap();
        assert_eq!(String::from_utf8(head.forward).unwrap(), "POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-A: b\r\n");
        assert_eq!((head.method.as_str(), head.path.as_str()), ("POST", "/a"));
        assert_eq!(head.framing, Framing::Length(5));
        assert!(head.keep_alive && head.expects_continue && head.understands_chunks);
    }

    #[test]
    fn whether_a_connection_lives_on() {
        let alive = |text: &str| judge(text).unwrap().keep_alive;
        assert!(alive("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(!alive("GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n"));
        assert!(!alive("GET / HTTP/1.0\r\n\r\n"));
        assert!(alive("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn targets() {
        let path = |target: &str| {
            judge(&format!("OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n")).map(|head| head.path)
        };
        assert_eq!(path("*").unwrap(), "*");
        assert_eq!(path("HTTPS://h").unwrap(), "/");
        assert_eq!(path("http://h?q=1").unwrap(), "/");
        for bad in ["h:443", "a", "ftp://h/", "http:///a", "http://", "/a#b", ""] {
            assert_eq!(path(bad), Err((400, "malformed_request".to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn request_lines() {
        for bad in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 x",
            "GET / http/1.1",
            "G@T / HTTP/1.1",
            " GET / HTTP/1.1",
        ] {
            refused(&format!("{bad}\r\nHost: x\r\n\r\n"), 400, "malformed_request");
        }
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3", "HTTP/1.10"] {
            refused(&format!("GET / {version}\r\nHost: x\r\n\r\n"), 505, "unsupported_version");
        }
        let target = |bytes: usize| format!("/{}", "a".repeat(bytes - "GET / HTTP/1.1".len()));
        judge(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target(8192))).unwrap();
        refused(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target(8193)), 414, "request_line_too_long");
    }

    #[test]
    fn lengths_and_codings() {
        let with = |headers: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        refused(&with(""), 411, "length_required");
        for bad in ["+5", "3x", "", "-1", "0x5", "5,5", "1 2", "５"] {
            let code = if bad == "５" { "malformed_request" } else { "bad_length" };
            refused(&with(&format!("Content-Length: {bad}\r\n")), 400, code);
        }
        refused(&with("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "ambiguous_length");
        refused(&with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "ambiguous_length");
        refused(
            &with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            400,
            "ambiguous_length",
        );
        refused(&with("Transfer-Encoding: chunked, chunked\r\n"), 400, "ambiguous_length");
        for unknown in ["gzip", "identity", "gzip, chunked", "xchunked", "chunked;a=b", "\x0bchunked"] {
            let (status, code) = match unknown {
                "\x0bchunked" => (400, "malformed_request"),
                _ => (501, "unknown_transfer_coding"),
            };
            refused(&with(&format!("Transfer-Encoding: {unknown}\r\n")), status, code);
        }
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "ambiguous_length");
        let huge = judge(&with("Content-Length: 99999999999999999999999\r\n")).unwrap();
        assert_eq!(huge.framing, Framing::Length(usize::MAX));
    }

    #[test]
    fn headers() {
        let with = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}\r\n");
        refused(&with(""), 400, "bad_host");
        refused(&with("Host: a\r\nHost: a\r\n"), 400, "bad_host");
        refused(&with("Host: a/b\r\n"), 400, "bad_host");
        refused(&with("Host: a\r\nExpect: tea\r\n"), 400, "bad_expect");
        for bad in [
            "NoColon",
            "Space : a",
            " folded: a",
            "A: b\r\n folded",
            ": empty",
            "A: b\0",
            "A: \u{e9}",
            "A: b\rc",
        ] {
            refused(&with(&format!("Host: a\r\n{bad}\r\n")), 400, "malformed_request");
        }
        refused("GET / HTTP/1.1\nHost: a\n\n", 400, "malformed_request");
        let many = |count: usize| with(&format!("Host: a\r\n{}", "A: b\r\n".repeat(count - 1)));
        judge(&many(128)).unwrap();
        refused(&many(129), 431, "headers_too_large");
        refused(&with(&format!("Host: a\r\nA: {}\r\n", "b".repeat(32 * 1024))), 431, "headers_too_large");
    }
}
