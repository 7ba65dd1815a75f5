//! The master's API, one function per question.
//!
//! [`Remote`] and [`Direct`], a worker that serves a log, are the only parts of the command line that make requests.
//! Every call has a deadline; what is safe to repeat is repeated a few times when a connection broke, so that a
//! master that restarts isn't a failed command. The user's token goes to the master alone.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::api::routes;
use crate::api::wire::log::LogsTicket;
use crate::api::wire::node::{AvailabilityRequest, NodeView};
use crate::api::wire::task::{StopRequest, TaskView};
use crate::api::wire::token::{TokenMade, TokenRequest};
use crate::api::wire::{Page, millis};
use crate::cli::error::CliError;
use crate::cli::feed;
use crate::cli::settings::{Target, check_address};
use crate::cli::waiting;
use crate::http::client::{Call, Reply, Stream};
use crate::http::{Client, ClientError, Trust};
use crate::model::node::Availability;
use crate::runtime::settings::SettingsError;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// After how long a change is asked for again whose answer got lost: five times, in all about six seconds.
const RETRY_AFTER_MS: [u64; 5] = [200, 400, 800, 1_600, 3_200];

/// How long is waited for whether the master is well.
const HEALTH_WITHIN: Duration = Duration::from_secs(5);

/// How many items are asked for at once.
const PAGE: usize = 1_000;

/// The master, as a command sees it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    client: Client,
    insecure: bool,
}

impl Remote {
    /// The master at the address that was given.
    ///
    /// # Errors
    /// The address can't be used.
    pub(crate) fn new(target: Target) -> Result<Self, CliError> {
        let client = Client::trusting(&target.master, &target.trust)
            .map_err(|error| CliError::Usage(SettingsError::of("--master", error)))?;
        let client = match target.token {
            Some(token) => client.with_token(token),
            None => client,
        };
        Ok(Self { client, insecure: target.insecure })
    }

    fn failed(&self, error: ClientError) -> CliError {
        CliError::Call { server: "master", base: self.client.base().to_owned(), error }
    }

    /// The error of a connection that broke.
    pub(crate) fn lost(&self, why: impl Into<String>) -> CliError {
        self.failed(ClientError::Lost(why.into()))
    }

    /// GET of anything.
    ///
    /// # Errors
    /// The master can't be reached or says no.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.get_within(path, ANSWER_WITHIN)
    }

    /// As [`Remote::get`], for somebody who doesn't wait long.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        within: Duration,
    ) -> Result<T, CliError> {
        self.client.get(path, within).map_err(|error| self.failed(error))
    }

    /// GET of a JSON document, as it was written.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn get_raw(&self, path: &str) -> Result<Box<RawValue>, CliError> {
        self.get(path)
    }

    /// One task, by whatever names it.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn task(&self, reference: &str) -> Result<TaskView, CliError> {
        self.get(&routes::task(reference))
    }

    /// Walks through a list, page by page. `path` may have a query.
    ///
    /// # Errors
    /// As [`Remote::get`]; or what `take` says.
    pub(crate) fn pages(
        &self,
        path: &str,
        mut take: impl FnMut(Vec<Box<RawValue>>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.pages_from(path, None, |page| take(page).map(|()| true))
    }

    /// As [`Remote::pages`], beginning behind an id, as long as `take` says that it wants more.
    ///
    /// # Errors
    /// As [`Remote::pages`].
    pub(crate) fn pages_from(
        &self,
        path: &str,
        after: Option<&str>,
        mut take: impl FnMut(Vec<Box<RawValue>>) -> Result<bool, CliError>,
    ) -> Result<(), CliError> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let behind = |id: &str| format!("&after={}", routes::escape(id));
        let mut after = after.map_or_else(String::new, behind);
        loop {
            let page: Page<Box<RawValue>> = self.get(&format!("{path}{joint}limit={PAGE}{after}"))?;
            let wants_more = take(page.items)?;
            match page.next.filter(|_| wants_more) {
                Some(next) => after = behind(&next),
                None => return Ok(()),
            }
        }
    }

    /// Creates tasks. Sent under a key of its own, so that asking again makes nothing twice.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn create<T: DeserializeOwned>(&self, request: &impl Serialize) -> Result<T, CliError> {
        let body = serde_json::to_vec(request)
            .map_err(|error| CliError::Failed(format!("the request can't be written: {error}")))?;
        self.create_under(&Ulid::generate().to_string(), body)
    }

    /// Creates tasks under a key that is given. `body` is the request, written.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn create_under<T: DeserializeOwned>(&self, key: &str, body: Vec<u8>) -> Result<T, CliError> {
        let headers = [("Idempotency-Key", key)];
        let mut call = Call::new("POST", routes::TASKS, ANSWER_WITHIN);
        (call.headers, call.body, call.idempotent) = (&headers, Some(body), true);
        match self.until_sure(&call) {
            (Ok(reply), _) => reply.json().map_err(|error| self.failed(error)),
            (Err(error), may_be_done) => {
                let error = self.failed(error);
                if may_be_done && error.is_retryable() {
                    return Err(CliError::Failed(format!("{error}; it may have been created all the same")));
                }
                Err(error)
            }
        }
    }

    /// Asks for a task's end.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn stop(&self, reference: &str, grace: Option<Duration>) -> Result<TaskView, CliError> {
        let request = StopRequest { grace_ms: grace.map(millis) };
        let path = routes::task_stop(reference);
        self.client.post(&path, &request, ANSWER_WITHIN, true).map_err(|error| self.failed(error))
    }

    /// Forgets a task.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn remove(&self, reference: &str) -> Result<(), CliError> {
        self.delete(&routes::task(reference))
    }

    fn delete(&self, path: &str) -> Result<(), CliError> {
        let call = Call { idempotent: false, ..Call::new("DELETE", path, ANSWER_WITHIN) };
        match self.until_sure(&call) {
            (Ok(_), _) => Ok(()),
            // Gone after an answer got lost: that answer was yes.
            (Err(ClientError::Refused(problem)), true) if problem.status == 404 => Ok(()),
            (Err(error), _) => Err(self.failed(error)),
        }
    }

    /// Opens, closes or empties a node.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn set_availability(
        &self,
        node: &str,
        availability: Availability,
    ) -> Result<NodeView, CliError> {
        let (path, request) = (routes::node_availability(node), AvailabilityRequest { availability });
        self.client.post(&path, &request, ANSWER_WITHIN, true).map_err(|error| self.failed(error))
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn remove_node(&self, node: &str) -> Result<(), CliError> {
        self.delete(&routes::node(node))
    }

    /// Has a token made. Asking again would make another one, so it is asked once.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn make_token(&self, request: &TokenRequest) -> Result<TokenMade, CliError> {
        self.client.post(routes::TOKENS, request, ANSWER_WITHIN, false).map_err(|error| self.failed(error))
    }

    /// Ends a token.
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn end_token(&self, id: &str) -> Result<(), CliError> {
        self.delete(&routes::token(id))
    }

    /// Whether the master says that it lets in everybody.
    pub(crate) fn is_insecure(&self) -> bool {
        let health: Result<serde_json::Value, _> = self.client.get("/healthz", HEALTH_WITHIN);
        health.is_ok_and(|health| health["insecure"] == true)
    }

    /// Asks until there is an answer, a bounded number of times, and tells whether an answer got lost before. Only
    /// then is a master that can't be reached waited for.
    fn until_sure(&self, call: &Call<'_>) -> (Result<Reply, ClientError>, bool) {
        let mut may_be_done = false;
        for millis in RETRY_AFTER_MS {
            match self.client.call(call.clone()) {
                Err(error) if is_worth_another_try(&error, may_be_done) => may_be_done |= error.was_sent(),
                other => return (other, may_be_done),
            }
            waiting::pause(Duration::from_millis(millis));
        }
        (self.client.call(call.clone()), may_be_done)
    }

    /// Opens a task's log at the master. `silence`: see [`Client::stream`].
    ///
    /// # Errors
    /// As [`Remote::get`].
    pub(crate) fn log(&self, path: &str, silence: Duration) -> Result<Stream, CliError> {
        self.client.stream(path, &NDJSON, silence).map_err(|error| self.failed(error))
    }

    /// Opens the master's events. `query` begins with `?` or is empty; `after` is the last event's id, where the line
    /// was open before.
    ///
    /// # Errors
    /// As [`Remote::get`]; or something else came.
    pub(crate) fn events(&self, query: &str, after: Option<&str>) -> Result<Stream, CliError> {
        let path = format!("{}{query}", routes::EVENTS);
        let mut headers = vec![("Accept", EVENT_STREAM)];
        headers.extend(after.map(|id| ("Last-Event-ID", id)));
        let stream =
            self.client.stream(&path, &headers, feed::SILENCE).map_err(|error| self.failed(error))?;
        match stream.content_type() {
            Some(media) if media.starts_with(EVENT_STREAM) => Ok(stream),
            media => {
                let media = media.unwrap_or("something unnamed");
                Err(CliError::Failed(format!("{media} came, which is no stream of events")))
            }
        }
    }

    /// Where a worker serves the log of a task's attempt; without a number of the last.
    ///
    /// # Errors
    /// As [`Remote::get`]; or plain HTTP to it would leave this machine unasked.
    pub(crate) fn log_address(&self, reference: &str, attempt: Option<u32>) -> Result<Direct, CliError> {
        let query = attempt.map_or_else(String::new, |attempt| format!("?attempt={attempt}"));
        let path = routes::logs_ticket(reference) + &query;
        let call = Call { idempotent: true, ..Call::new("POST", &path, ANSWER_WITHIN) };
        let reply = self.client.call(call).map_err(|error| self.failed(error))?;
        let ticket: LogsTicket = reply.json().map_err(|error| self.failed(error))?;
        Direct::new(&ticket, self.insecure)
    }
}

/// What a log is asked for as: the form that keeps stdout and stderr apart.
const NDJSON: [(&str, &str); 1] = [("Accept", "application/x-ndjson")];

/// What events come as.
const EVENT_STREAM: &str = "text/event-stream";

/// A worker that serves one task's log.
#[derive(Debug)]
pub(crate) struct Direct {
    client: Client,
    path: String,
}

impl Direct {
    fn new(ticket: &LogsTicket, insecure: bool) -> Result<Self, CliError> {
        let url = ticket.url.as_str();
        check_address(url, insecure).map_err(|why| CliError::Usage(SettingsError::of("--direct", why)))?;
        let path_at = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
        let (base, path) = url.split_at(path_at);
        let client = match ticket.ca_pem.as_ref().zip(ticket.node_id.as_ref()) {
            Some((ca, node)) => Client::trusting(base, &Trust::node(ca, node)),
            None => Client::new(base),
        };
        let client =
            client.map_err(|error| CliError::Call { server: "worker", base: base.to_owned(), error })?;
        let client = match &ticket.ticket {
            Some(ticket) => client.with_token(ticket.0.clone()),
            None => client,
        };
        Ok(Self { client, path: path.to_owned() })
    }

    fn failed(&self, error: ClientError) -> CliError {
        CliError::Call { server: "worker", base: self.client.base().to_owned(), error }
    }

    /// The error of a connection that broke.
    pub(crate) fn lost(&self, why: impl Into<String>) -> CliError {
        self.failed(ClientError::Lost(why.into()))
    }

    /// Opens the log. The user's token isn't sent.
    ///
    /// # Errors
    /// The worker can't be reached or says no.
    pub(crate) fn log(&self, query: &str, silence: Duration) -> Result<Stream, CliError> {
        let path = format!("{}{query}", self.path);
        self.client.stream(&path, &NDJSON, silence).map_err(|error| self.failed(error))
    }
}

/// Whether a request that failed is sent again.
fn is_worth_another_try(error: &ClientError, may_be_done: bool) -> bool {
    match error {
        ClientError::Lost(_) | ClientError::TimedOut(_) => true,
        ClientError::Unreachable(_) => may_be_done,
        ClientError::Refused(problem) => error.is_retryable() || problem.code == "key_busy",
        ClientError::BadAddress(_) | ClientError::Untrusted(_) | ClientError::Malformed(_) => false,
    }
}
