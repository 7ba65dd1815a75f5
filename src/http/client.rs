//! Requests to a master or a worker: ureq with deadlines, bounded replies and errors that can be told apart.
//!
//! A [`Client`] keeps connections alive and may be shared between threads; every call blocks until its reply was
//! read whole or its deadline passed. A [`Stream`] is read as it comes and can be cancelled from another thread.
//!
//! Proxy variables in the environment are ignored: what Podling talks to is never behind one, and a variable set
//! for something else must not send tokens there. Over `https://` nothing leaves before the peer has proved who it
//! is: [`Trust`] says who that has to be. Trailers can't be read: ureq drops them; who needs to know whether logs were
//! complete asks for `application/x-ndjson` and looks for its notices.

mod error;
mod fault;
mod tls;
mod trust;

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};

pub use error::ClientError;
use tls::{Secured, TlsConnector};
pub use trust::{PeerName, Roots, Trust};

use crate::http::problem::Problem;

/// The longest reply that is read whole, in bytes, unless a [`Call`] says otherwise.
const MAX_REPLY_BYTES: u64 = 64 * 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an idle connection is kept. Less than the gate keeps it, so that ours is the side that closes.
const KEEP_IDLE: Duration = Duration::from_secs(30);

/// Talks to one server.
#[derive(Clone)]
pub struct Client {
    base: String,
    token: Option<String>,
    secured: Option<Secured>,
    agent: ureq::Agent,
}

/// Without the token, which belongs in no log.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// Path and query, percent-encoded, beginning with `/`.
    pub path: &'a str,
    /// Headers beside `Authorization` and `Content-Type`.
    pub headers: &'a [(&'a str, &'a str)],
    /// A JSON body, already written.
    pub body: Option<Vec<u8>>,
    /// From looking up the name to the last byte of the reply.
    pub deadline: Duration,
    /// Whether doing it twice is the same as doing it once. Then a connection that the server had dropped is
    /// tried again, once.
    pub idempotent: bool,
    /// The longest reply that is read, in bytes.
    pub max_reply_bytes: u64,
}

impl<'a> Call<'a> {
    /// A call without a body; idempotent unless it is a POST or a PATCH.
    pub fn new(method: &'a str, path: &'a str, deadline: Duration) -> Self {
        let idempotent = !matches!(method, "POST" | "PATCH");
        let max_reply_bytes = MAX_REPLY_BYTES;
        Self { method, path, headers: &[], body: None, deadline, idempotent, max_reply_bytes }
    }
}

/// A successful (2xx) reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers that can be read as text.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first value under a name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON. No body counts as `null`.
    ///
    /// # Errors
    /// [`ClientError::Malformed`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        let body: &[u8] = if self.body.is_empty() { b"null" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| ClientError::Malformed(error.to_string()))
    }
}

impl Client {
    /// For the server at `base`, such as `http://127.0.0.1:7070`; at `https://` it is whoever this system trusts.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`]; or this system's authorities can't be read.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        Self::trusting(base, &Trust::system())
    }

    /// As [`Client::new`], with `trust` for a server at `https://`. Without effect on `http://`.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`]; or the authorities can't be read.
    pub fn trusting(base: &str, trust: &Trust) -> Result<Self, ClientError> {
        let base = check_base(base)?;
        let secured = base.starts_with("https://").then(|| Secured::new(trust)).transpose();
        let secured = secured.map_err(|error| ClientError::BadAddress(format!("{base}: {error}")))?;
        Ok(Self { base: base.to_owned(), token: None, agent: new_agent(secured.clone()), secured })
    }

    /// With a bearer token on every request.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The server's address as it was given.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// GET, reading JSON.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get<T: DeserializeOwned>(&self, path: &str, deadline: Duration) -> Result<T, ClientError> {
        self.call(Call::new("GET", path, deadline))?.json()
    }

    /// POST of JSON, reading JSON. `idempotent`: see [`Call::idempotent`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        deadline: Duration,
        idempotent: bool,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Malformed(error.to_string()))?;
        let call = Call { body: Some(body), idempotent, ..Call::new("POST", path, deadline) };
        self.call(call)?.json()
    }

    /// DELETE.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete(&self, path: &str, deadline: Duration) -> Result<Reply, ClientError> {
        self.call(Call::new("DELETE", path, deadline))
    }

    /// Any request. Blocks for [`Call::deadline`] at most, twice that if it is tried again.
    ///
    /// # Errors
    /// See [`ClientError`]. A status outside 2xx is [`ClientError::Refused`].
    pub fn call(&self, call: Call<'_>) -> Result<Reply, ClientError> {
        match self.attempt(&call) {
            Err(ClientError::Lost(why)) if call.idempotent => {
                log::debug!("trying again method={} path={} because={why}", call.method, call.path);
                self.attempt(&call)
            }
            other => other,
        }
    }

    fn attempt(&self, call: &Call<'_>) -> Result<Reply, ClientError> {
        let mut request = self.request(call.method, call.path, call.headers)?;
        if call.body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let response = match &call.body {
            Some(body) => self.run(request.body(body.as_slice()), call.deadline),
            // A body of length zero: a POST without any length is refused (411).
            None if matches!(call.method, "POST" | "PUT" | "PATCH") => {
                self.run(request.body(&[] as &[u8]), call.deadline)
            }
            None => self.run(request.body(()), call.deadline),
        }?;
        read_reply(response, call.max_reply_bytes)
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<http::request::Builder, ClientError> {
        if !path.starts_with('/') {
            return Err(ClientError::BadAddress(format!("the path {path:?} does not begin with a slash")));
        }
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        Ok(request)
    }

    fn run<S: ureq::AsSendBody>(
        &self,
        request: Result<http::Request<S>, http::Error>,
        deadline: Duration,
    ) -> Result<http::Response<ureq::Body>, ClientError> {
        let request = request.map_err(|error| ClientError::BadAddress(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(deadline)).build();
        self.agent.run(request).map_err(ClientError::from)
    }

    /// GET of a reply that is read as it comes. `silence` is how long may pass without a byte, the head included.
    ///
    /// # Errors
    /// See [`ClientError`]. Once it is open, reads give [`io::Error`]s.
    pub fn stream(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        silence: Duration,
    ) -> Result<Stream, ClientError> {
        // Cancelling shuts an agent down with all its connections: each stream has one of its own.
        let agent = new_agent(self.secured.clone());
        let request = self.request("GET", path, headers)?.body(());
        let request = request.map_err(|error| ClientError::BadAddress(error.to_string()))?;
        let request = agent.configure_request(request).timeout_per_read(Some(silence)).build();
        let response = agent.run(request)?;
        if !response.status().is_success() {
            return Err(match read_reply(response, MAX_REPLY_BYTES) {
                Ok(reply) => ClientError::Malformed(format!("status {} changed its mind", reply.status)),
                Err(error) => error,
            });
        }
        let (parts, body) = response.into_parts();
        let headers = text_headers(&parts.headers);
        Ok(Stream { status: parts.status.as_u16(), headers, reader: Box::new(body.into_reader()), agent })
    }
}

/// A reply that is read as it comes. Dropping it closes its connection.
pub struct Stream {
    /// The HTTP status.
    pub status: u16,
    /// The headers that can be read as text.
    pub headers: Vec<(String, String)>,
    reader: Box<dyn Read + Send>,
    agent: ureq::Agent,
}

impl Stream {
    /// `Content-Type`, where it was told.
    pub fn content_type(&self) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        found.map(|(_, value)| value.as_str())
    }

    /// What ends this stream from another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.agent.clone())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Read for Stream {
    /// Silence is [`ErrorKind::TimedOut`], after which reading may go on.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
            let is_silence = matches!(inner, Some(ureq::Error::Timeout(_)));
            if is_silence { io::Error::new(ErrorKind::TimedOut, error) } else { error }
        })
    }
}

/// Ends a [`Stream`]: a read that blocks returns an error at once.
#[derive(Clone, Debug)]
pub struct Canceller(ureq::Agent);

impl Canceller {
    /// Ends it. Again changes nothing.
    pub fn cancel(&self) {
        self.0.clone().shutdown();
    }
}

/// Reads a server's address: `http://` or `https://`, and a host. Gives it without slashes at its end.
///
/// # Errors
/// [`ClientError::BadAddress`].
pub fn check_base(base: &str) -> Result<&str, ClientError> {
    let base = base.trim_end_matches('/');
    let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
    if rest.is_none_or(str::is_empty) {
        let why = format!("{base:?} does not begin with http:// or https:// and a host");
        return Err(ClientError::BadAddress(why));
    }
    Ok(base)
}

fn new_agent(secured: Option<Secured>) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        // A reply that isn't 2xx has a problem document, which would be lost in an error.
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT_WITHIN))
        .max_idle_age(KEEP_IDLE)
        .user_agent(concat!("podling/", env!("CARGO_PKG_VERSION")))
        .build();
    let connector = TcpConnector::default().chain(TlsConnector(secured));
    ureq::Agent::with_parts(config, connector, DefaultResolver::default())
}

/// Reads a reply whole: what is left unread would cost the connection.
fn read_reply(response: http::Response<ureq::Body>, limit: u64) -> Result<Reply, ClientError> {
    let (parts, mut body) = response.into_parts();
    let body = body.with_config().limit(limit).read_to_vec()?;
    let status = parts.status.as_u16();
    if !parts.status.is_success() {
        return Err(ClientError::Refused(Box::new(problem_of(status, &parts.headers, &body))));
    }
    Ok(Reply { status, headers: text_headers(&parts.headers), body })
}

fn problem_of(status: u16, headers: &http::HeaderMap, body: &[u8]) -> Problem {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut problem = Problem::from_reply(status, body);
    problem.retry_after_secs = text("retry-after").and_then(|seconds| seconds.parse().ok());
    problem.allow = text("allow").map(Box::from);
    problem
}

fn text_headers(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        value.to_str().ok().map(|value| (name.as_str().to_owned(), value.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}
