//! A request as a [`Service`](crate::http::Service) sees it: whole, checked by the gate, and plain values.
//!
//! Path and query stay as they came; [`Request::segments`] and [`Request::query_pairs`] decode them. Which
//! parameters exist, and whether one may come twice, is for the caller to say: nothing is dropped or merged here.

use std::fmt;
use std::net::SocketAddr;

use crate::model::time::Mono;

/// A request's method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`: answer as if it were `GET`; the body is left out on the way.
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other token.
    Other(String),
}

impl Method {
    /// From the word in the request line. Methods are case-sensitive (RFC 9110, 9.1).
    pub fn parse(word: &str) -> Self {
        match word {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word in the request line.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Headers in the order in which they came. Values are ASCII without control characters: the gate saw to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// From names and values.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The first value under a name, whatever the case of the name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every value under a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// One whole request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The path, percent-encoded as it came, without the query.
    pub path: String,
    /// What follows the `?`, as it came; empty where there is none.
    pub query: String,
    /// The client's headers without those that concern one connection only.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
    /// Who asks.
    pub peer: Option<SocketAddr>,
    /// When the last byte of the request was read from the client, on the machine's clock since boot.
    pub received_at: Mono,
}

impl Request {
    /// The path's segments, percent-decoded. `/tasks/a%2Fb` is `["tasks", "a/b"]`; `/` has none; a trailing slash
    /// adds an empty one.
    ///
    /// # Errors
    /// An escape that is none, or bytes that aren't UTF-8.
    pub fn segments(&self) -> Result<Vec<String>, BadEncoding> {
        path_segments(&self.path)
    }

    /// The query's parameters, decoded, in the order in which they came.
    ///
    /// # Errors
    /// An escape that is none, or bytes that aren't UTF-8.
    pub fn query_pairs(&self) -> Result<Vec<(String, String)>, BadEncoding> {
        query_pairs(&self.query)
    }
}

/// Why a path or a query can't be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEncoding(String);

impl fmt::Display for BadEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not percent-encoded UTF-8", self.0)
    }
}

impl std::error::Error for BadEncoding {}

/// Splits a path and decodes each segment. The split comes first, so that `%2F` never makes a segment.
///
/// # Errors
/// See [`Request::segments`].
///
/// ```
/// use podling::http::path_segments;
///
/// assert_eq!(path_segments("/tasks/a%2Fb"), Ok(vec!["tasks".to_owned(), "a/b".to_owned()]));
/// assert_eq!(path_segments("/"), Ok(vec![]));
/// assert!(path_segments("/%zz").is_err());
/// ```
pub fn path_segments(path: &str) -> Result<Vec<String>, BadEncoding> {
    match path.strip_prefix('/').unwrap_or(path) {
        "" => Ok(Vec::new()),
        rest => rest.split('/').map(percent_decode).collect(),
    }
}

/// Reads `a=1&b=2`. As in HTML forms, `+` is a space; a parameter without `=` has an empty value; empty ones
/// between two `&` are skipped.
///
/// # Errors
/// See [`Request::query_pairs`].
///
/// ```
/// use podling::http::query_pairs;
///
/// let pairs = query_pairs("label=a%3Db&label=c+d&follow").unwrap();
/// let expected = [("label", "a=b"), ("label", "c d"), ("follow", "")];
/// assert!(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(expected));
/// assert!(query_pairs("a=%f").is_err());
/// ```
pub fn query_pairs(query: &str) -> Result<Vec<(String, String)>, BadEncoding> {
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Resolves `%41`. Text without escapes comes back as it is.
fn percent_decode(text: &str) -> Result<String, BadEncoding> {
    let refuse = || BadEncoding(text.chars().take(100).collect());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or_else(refuse)?;
        let high = hex_digit(digits[0]).ok_or_else(refuse)?;
        let low = hex_digit(digits[1]).ok_or_else(refuse)?;
        bytes.push(high << 4 | low);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| refuse())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_escapes_are_refused() {
        for bad in ["%", "%1", "%g1", "%1g", "%+1", "%ff", "a%", "%c3"] {
            assert!(percent_decode(bad).is_err(), "{bad}");
        }
        assert_eq!(percent_decode("%C3%a9%00").as_deref(), Ok("é\0"));
    }

    #[test]
    fn nothing_is_merged_or_dropped() {
        let pairs = query_pairs("&&a=1&a=&b=x=y&").unwrap();
        let texts: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(texts, [("a", "1"), ("a", ""), ("b", "x=y")]);
        assert_eq!(path_segments("/a//b/").unwrap(), ["a", "", "b", ""]);
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let headers =
            Headers::new(vec![("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())]);
        assert_eq!(headers.get("x-A"), Some("1"));
        assert_eq!(headers.all("X-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers.get("y"), None);
    }
}
