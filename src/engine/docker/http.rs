//! Requests to the Engine's HTTP API, each with a deadline, over connections that are kept.
//!
//! [`Client`] agrees with the Engine on a version of the API at the first request, and anew whenever a
//! connection broke: the Engine that answers next may be another one. Bodies are always read to their end,
//! because one that isn't costs its connection. A request that changes nothing is sent again, once, where its
//! kept connection turns out to be dead.
//!
//! Nothing in here knows what a container is.

use std::io::{self, Read};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use ureq::http::Response;
use ureq::{Agent, Body, BodyReader, RequestBuilder};

use super::address::Address;
use super::socket::{NoLookup, SocketConnector};
use super::version::ApiVersion;
use crate::engine::EngineError;

/// The longest answer that is read: a list of tens of thousands of containers.
const LONGEST_ANSWER_BYTES: u64 = 256 << 20;

/// Connections kept while nobody uses them.
const IDLE_CONNECTIONS: usize = 16;

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// What it is for, as errors call it.
    pub(super) operation: &'static str,
    /// What is done.
    pub(super) method: Method<'a>,
    /// The path after the version, with its leading slash.
    pub(super) path: &'a str,
    /// The query, not yet percent-encoded.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// How long is waited for what.
    pub(super) patience: Patience,
}

/// What a request does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method<'a> {
    /// Changes nothing, so it may be sent twice.
    Get,
    /// Changes something; with a JSON body where there is one.
    Post(&'a [u8]),
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// All of it, from connecting to the last byte.
    Whole(Duration),
    /// The head, and then each pause between two pieces of a stream without end.
    Stream {
        /// Until the head is there.
        head: Duration,
        /// The longest silence after that.
        silence: Duration,
    },
}

impl Patience {
    /// The time that is named when it ran out before the answer began.
    const fn until_head(self) -> Duration {
        match self {
            Self::Whole(duration) | Self::Stream { head: duration, .. } => duration,
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether the Engine did what it was asked.
    pub(super) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The Engine's words about what went wrong.
    pub(super) fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        serde_json::from_slice(&self.body).map_or_else(
            |_| format!("status {}: {}", self.status, String::from_utf8_lossy(&self.body).trim()),
            |Refusal { message }| message.trim().to_owned(),
        )
    }

    /// The body as JSON.
    pub(super) fn json<T: for<'de> Deserialize<'de>>(
        &self,
        operation: &'static str,
    ) -> Result<T, EngineError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| EngineError::Malformed { operation, why: error.to_string() })
    }

    /// What a refusal means where it means nothing special. `subject` is the container that was asked about.
    pub(super) fn refusal(&self, operation: &'static str, subject: &str) -> EngineError {
        let why = self.message();
        match self.status {
            404 => EngineError::NotFound { subject: subject.to_owned() },
            400 => EngineError::Rejected { operation, why },
            _ => EngineError::Failed { operation, why },
        }
    }
}

/// An answer that is read as it comes, or a refusal.
pub(super) enum Opened {
    /// The body, piece by piece.
    Stream(StreamBody),
    /// The Engine said no.
    Refused(Answer),
}

/// The body of a stream. A silence longer than agreed is an error of the kind `TimedOut`, after which reading
/// may go on: no byte is lost. Dropping it closes its connection.
pub(super) struct StreamBody(BodyReader<'static>);

impl Read for StreamBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let error = ureq::Error::from(error);
            let is_silence = matches!(error, ureq::Error::Timeout(_));
            if is_silence { io::ErrorKind::TimedOut.into() } else { error.into_io() }
        })
    }
}

/// Speaks HTTP with one Engine. Shared by all threads.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    /// What was agreed on. None: nothing yet, or a connection broke since.
    version: Mutex<Option<ApiVersion>>,
    negotiation: Duration,
}

impl Client {
    /// For the Engine at an address. Doesn't connect yet.
    pub(super) fn new(address: Address, negotiation: Duration) -> Self {
        let config = Agent::config_builder()
            // Else `HTTP_PROXY` in the environment would take the Engine's requests elsewhere.
            .proxy(None)
            // Else the Engine's words are lost with the body.
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .user_agent(concat!("podling/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(config, SocketConnector(address), NoLookup);
        Self { agent, version: Mutex::new(None), negotiation }
    }

    /// Asks and reads the whole answer.
    pub(super) fn fetch(&self, ask: &Ask<'_>) -> Result<Answer, EngineError> {
        let answer = self.again_if_safe(ask, || self.read_whole(ask, self.send(ask)?))?;
        if answer.status == 400 && answer.message().contains("client version") {
            // The Engine was exchanged under a connection that still looked good. It did nothing yet.
            self.forget_version();
            return self.read_whole(ask, self.send(ask)?);
        }
        Ok(answer)
    }

    /// Asks and hands over the answer's body as it comes.
    pub(super) fn open(&self, ask: &Ask<'_>) -> Result<Opened, EngineError> {
        let response = self.again_if_safe(ask, || self.send(ask))?;
        if response.status().is_success() {
            let body = response.into_body().into_with_config().limit(u64::MAX).reader();
            Ok(Opened::Stream(StreamBody(body)))
        } else {
            self.read_whole(ask, response).map(Opened::Refused)
        }
    }

    /// Does it, and once more where the connection broke and the request changes nothing.
    fn again_if_safe<T>(
        &self,
        ask: &Ask<'_>,
        attempt: impl Fn() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match (attempt(), ask.method) {
            (Err(EngineError::Unreachable { .. }), Method::Get) => attempt(),
            (result, Method::Get | Method::Post(_)) => result,
        }
    }

    fn send(&self, ask: &Ask<'_>) -> Result<Response<Body>, EngineError> {
        let version = self.agreed_version()?;
        self.send_to(ask, &format!("http://localhost/v{version}{}", ask.path))
    }

    fn send_to(&self, ask: &Ask<'_>, url: &str) -> Result<Response<Body>, EngineError> {
        let sent = match ask.method {
            Method::Get => configured(self.agent.get(url), ask).call(),
            Method::Post([]) => configured(self.agent.post(url), ask).send_empty(),
            Method::Post(json) => {
                configured(self.agent.post(url).content_type("application/json"), ask).send(json)
            }
        };
        sent.map_err(|error| self.explain(ask, error))
    }

    fn read_whole(&self, ask: &Ask<'_>, response: Response<Body>) -> Result<Answer, EngineError> {
        let status = response.status().as_u16();
        let body = response.into_body().into_with_config().limit(LONGEST_ANSWER_BYTES).read_to_vec();
        Ok(Answer { status, body: body.map_err(|error| self.explain(ask, error))? })
    }

    fn explain(&self, ask: &Ask<'_>, error: ureq::Error) -> EngineError {
        let operation = ask.operation;
        if matches!(error, ureq::Error::Timeout(_)) {
            return EngineError::TimedOut { operation, after: ask.patience.until_head() };
        }
        self.forget_version();
        if let ureq::Error::Io(why) = error {
            EngineError::Unreachable { operation, why: why.to_string() }
        } else {
            EngineError::Malformed { operation, why: error.to_string() }
        }
    }

    /// The version to speak. Asks for it where none is agreed on; several threads may do so at once, harmlessly.
    fn agreed_version(&self) -> Result<ApiVersion, EngineError> {
        let held = *self.version.lock();
        if let Some(version) = held {
            return Ok(version);
        }
        let version = self.negotiate()?;
        *self.version.lock() = Some(version);
        Ok(version)
    }

    fn negotiate(&self) -> Result<ApiVersion, EngineError> {
        let operation = "ping";
        let patience = Patience::Whole(self.negotiation);
        let ask = Ask { operation, method: Method::Get, path: "/_ping", query: &[], patience };
        let response = self.send_to(&ask, "http://localhost/_ping")?;
        let offered = response.headers().get("Api-Version").and_then(|value| value.to_str().ok());
        let offered = offered.map(str::to_owned);
        let answer = self.read_whole(&ask, response)?;
        if !answer.is_success() {
            return Err(answer.refusal(operation, "engine"));
        }
        ApiVersion::agree(offered.as_deref())
    }

    fn forget_version(&self) {
        *self.version.lock() = None;
    }
}

fn configured<B>(builder: RequestBuilder<B>, ask: &Ask<'_>) -> RequestBuilder<B> {
    let config = builder.query_pairs(ask.query.iter().copied()).config();
    match ask.patience {
        Patience::Whole(duration) => config.timeout_global(Some(duration)),
        Patience::Stream { head, silence } => config
            .timeout_connect(Some(head))
            .timeout_send_request(Some(head))
            .timeout_recv_response(Some(head))
            .timeout_per_read(Some(silence)),
    }
    .build()
}
