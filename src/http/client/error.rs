//! Why a request to a master or a worker has no good reply, and what may be done about it.
//!
//! Two questions count, and their answers differ: whether the same request may succeed later, and whether the server
//! may have done what it was asked.

use std::fmt;
use std::io::ErrorKind;

use super::fault::Fault;
use crate::http::problem::Problem;

/// Why there is no reply, or not the one that was hoped for.
#[derive(Debug)]
pub enum ClientError {
    /// The address, the path or a header can't be used. Nothing was sent.
    BadAddress(String),
    /// No connection could be made. Nothing was sent.
    Unreachable(String),
    /// Who answered has not proved to be the right one, or speaks no TLS. Nothing was sent but a ClientHello.
    Untrusted(String),
    /// The deadline passed. What was asked may have been done.
    TimedOut(String),
    /// The connection ended before the reply did. What was asked may have been done.
    Lost(String),
    /// The server answered, and not with success.
    Refused(Box<Problem>),
    /// The server's answer can't be understood.
    Malformed(String),
}

impl ClientError {
    /// Whether the same request may succeed later. Whether it may be sent again is another question: see
    /// [`ClientError::was_sent`].
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Lost(_) => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 429 | 503 | 507),
            Self::BadAddress(_) | Self::Untrusted(_) | Self::Malformed(_) => false,
        }
    }

    /// Whether the server may have done what it was asked.
    pub fn was_sent(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::Lost(_) | Self::Malformed(_) => true,
            Self::BadAddress(_) | Self::Unreachable(_) | Self::Untrusted(_) | Self::Refused(_) => false,
        }
    }

    /// The problem that the server answered with, if it answered.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::BadAddress(_)
            | Self::Unreachable(_)
            | Self::Untrusted(_)
            | Self::TimedOut(_)
            | Self::Lost(_)
            | Self::Malformed(_) => None,
        }
    }
}

impl From<ureq::Error> for ClientError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and it may grow")]
    fn from(error: ureq::Error) -> Self {
        let text = error.to_string();
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TlsRequired => {
                Self::BadAddress(text)
            }
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                Self::Unreachable(text)
            }
            ureq::Error::Timeout(_) => Self::TimedOut(text),
            ureq::Error::Io(error) => Self::of_io(error.kind(), text),
            ureq::Error::Other(error) if error.is::<Fault>() => Self::Untrusted(error.to_string()),
            // ureq's list of errors may grow; what isn't named here is an answer that makes no sense.
            _ => Self::Malformed(text),
        }
    }
}

impl ClientError {
    fn of_io(kind: ErrorKind, text: String) -> Self {
        if kind == ErrorKind::TimedOut || kind == ErrorKind::WouldBlock {
            return Self::TimedOut(text);
        }
        // A record of TLS that makes no sense, or an alert, after the handshake.
        let lost = [
            ErrorKind::InvalidData,
            ErrorKind::BrokenPipe,
            ErrorKind::ConnectionAborted,
            ErrorKind::ConnectionReset,
            ErrorKind::UnexpectedEof,
        ];
        if lost.contains(&kind) { Self::Lost(text) } else { Self::Unreachable(text) }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress(why) => write!(f, "use the address: {why}"),
            Self::Unreachable(why) => write!(f, "connect: {why}"),
            Self::Untrusted(why) => write!(f, "trust who answered: {why}"),
            Self::TimedOut(why) => write!(f, "get an answer in time: {why}"),
            Self::Lost(why) => write!(f, "get a whole answer: {why}"),
            Self::Refused(problem) => write!(f, "be answered with success: {problem}"),
            Self::Malformed(why) => write!(f, "understand the answer: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}
