//! The API: from a request to an operation on the state, and from its result to a reply.
//!
//! Main type: [`Api`], the master's [`Service`]. The handler threads never wait: a reply that rests on a change is
//! handed to the journal, which sends it once that change is durable.

mod agents;
mod nodes;
pub(crate) mod query;
mod tasks;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::routes::{self, Found, MasterRoute};
use crate::api::wire::{self, Mistake, MistakeKind};
use crate::http::{Problem, Request, Responder, Response, Service};
use crate::master::dispatch::Dispatcher;
use crate::master::logs;
use crate::master::state::{AsOf, State};
use crate::runtime::supervise::Stop;

/// The longest body of a request that isn't a batch, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// The longest body of a batch, in bytes.
const MAX_BATCH_BODY: usize = 16 * 1024 * 1024;

/// What the gate lets through, by method and path. Where a batch may come, the handler looks again.
pub fn body_limit(method: &str, path: &str) -> usize {
    let takes_batches = path == routes::TASKS || path.ends_with("/reports") || path == routes::HEARTBEAT;
    if method == "POST" && takes_batches { MAX_BATCH_BODY } else { MAX_BODY }
}

/// The master's answers.
pub struct Api {
    state: Arc<State>,
    dispatcher: Arc<Dispatcher>,
    stop: Stop,
}

impl Api {
    /// Answers from this state.
    pub const fn new(state: Arc<State>, dispatcher: Arc<Dispatcher>, stop: Stop) -> Self {
        Self { state, dispatcher, stop }
    }

    /// The handler of each route. A route without one doesn't compile.
    fn answer(&self, route: MasterRoute, words: &[String], request: &Request) -> Result<Answer, Problem> {
        let word = words.first().map_or("", String::as_str);
        match route {
            MasterRoute::CreateTasks => self.create_tasks(request),
            MasterRoute::ListTasks => self.list_tasks(request),
            MasterRoute::GetTask => self.get_task(word),
            MasterRoute::StopTask => self.stop_task(word, request),
            MasterRoute::DeleteTask => self.delete_task(word),
            MasterRoute::TaskLogs => self.task_logs(word, request),
            MasterRoute::LogsTicket => self.logs_ticket(word),
            MasterRoute::Register => self.register(request),
            MasterRoute::ListNodes => self.list_nodes(request),
            MasterRoute::GetNode => self.get_node(word),
            MasterRoute::SetAvailability => self.set_availability(word, request),
            MasterRoute::DeleteNode => self.delete_node(word),
            MasterRoute::Heartbeat => self.heartbeat(request),
            MasterRoute::Reports => self.reports(word, request),
            MasterRoute::Healthz => Ok(Answer::now(json(200, &serde_json::json!({"status": "ok"})))),
            MasterRoute::Readyz => Ok(self.readyz()),
        }
    }

    fn readyz(&self) -> Answer {
        if self.stop.requested() {
            return Answer::now(Problem::unavailable("stopping", "this master is stopping").into());
        }
        Answer::now(json(200, &serde_json::json!({"status": "ready"})))
    }
}

/// What a handler comes to.
pub(crate) enum Answer {
    /// A reply, once what it shows is durable.
    Reply(AsOf<Response>),
    /// A log, on a thread of its own.
    Log(logs::LogStream),
}

impl Answer {
    /// A reply that rests on nothing.
    fn now(response: Response) -> Self {
        Self::Reply(AsOf { value: response, at: crate::model::id::Revision(0) })
    }
}

impl Service for Api {
    fn call(&self, request: Request, responder: Responder) {
        match self.find(&request).and_then(|(route, words)| self.answer(route, &words, &request)) {
            Ok(Answer::Reply(reply)) => {
                self.state.journal().when_durable(reply.at, move || responder.send(reply.value));
            }
            Ok(Answer::Log(log)) => log.serve(responder),
            Err(problem) => responder.send(problem),
        }
    }
}

impl Api {
    fn find(&self, request: &Request) -> Result<(MasterRoute, Vec<String>), Problem> {
        let segments = request.segments().map_err(|e| Problem::malformed("malformed_path", e.to_string()))?;
        match routes::find(routes::MASTER, request.method.as_str(), &segments) {
            Found::Route(route, words) => Ok((route, words)),
            Found::OtherMethods(methods) => {
                Err(Problem::method_not_allowed(request.method.as_str(), methods.join(", ")))
            }
            Found::Nothing => {
                Err(Problem::not_found("no_such_path", format!("{} leads nowhere", request.path)))
            }
        }
    }
}

/// Reads a request's JSON.
pub(crate) fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Problem> {
    check_json(request)?;
    wire::read(&request.body).map_err(|mistake| problem_of(&mistake))
}

/// Refuses a body that doesn't claim to be JSON.
fn check_json(request: &Request) -> Result<(), Problem> {
    let claims = request.headers.get("content-type");
    let media = claims.and_then(|claim| claim.split(';').next()).map(str::trim);
    match media {
        Some(media) if media.eq_ignore_ascii_case("application/json") => Ok(()),
        Some(media) => Err(Problem::unsupported_media_type(format!("{media:?} is not application/json"))),
        None => {
            Err(Problem::unsupported_media_type("the request has no Content-Type; application/json is taken"))
        }
    }
}

/// The problem document of a mistake in a body.
pub(crate) fn problem_of(mistake: &Mistake) -> Problem {
    let text = mistake.to_string();
    let problem = match mistake.kind {
        MistakeKind::Malformed => Problem::malformed("malformed_json", text),
        MistakeKind::Invalid => Problem::invalid("invalid", text),
        MistakeKind::NotSupported => Problem::invalid("not_supported", text),
        MistakeKind::Policy => Problem::new(403, "policy", "The policy does not allow it", text),
    };
    if mistake.field.is_empty() { problem } else { problem.with("field", mistake.field.as_str()) }
}

/// A JSON reply.
fn json(status: u16, value: &impl Serialize) -> Response {
    Response::json(status, value)
}
