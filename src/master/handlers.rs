//! The API: from a request to an operation on the state, and from its result to a reply.
//!
//! Main type: [`Api`], the master's [`Service`]. Whoever asks is looked at first ([`Access`]). The handler threads never wait: a reply that rests on a change is
//! handed to the journal, which sends it once that change is durable. If it is withdrawn instead, whoever asked for
//! a change is told 507, and whoever only saw it is answered anew, from the state as it is then.

mod agents;
mod audit;
mod events;
mod nodes;
mod tasks;
mod tokens;

use std::sync::Arc;

use serde::Serialize;

use crate::api::routes::{self, MasterRoute};
use crate::http::{Problem, Request, Responder, Response, Service};
use crate::master::access::{Access, Caller};
use crate::master::dispatch::Dispatcher;
use crate::master::events::EventStream;
use crate::master::journal::Fate;
use crate::master::logs;
use crate::master::reach::Reach;
use crate::master::state::{AsOf, State};
use crate::master::stats::StatsDesk;
use crate::model::id::NodeId;
use crate::model::policy::Policy;
use crate::pki::Authority;
use crate::rest;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

use audit::AuditStream;

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
#[derive(Clone)]
pub struct Api {
    state: Arc<State>,
    dispatcher: Arc<Dispatcher>,
    stats: Arc<StatsDesk>,
    access: Arc<Access>,
    policy: Arc<Policy>,
    authority: Option<Arc<Authority>>,
    stop: Stop,
}

impl Api {
    /// Answers from this state to those who are let in, under the built-in policy.
    pub fn new(
        state: Arc<State>,
        dispatcher: Arc<Dispatcher>,
        stats: Arc<StatsDesk>,
        access: Arc<Access>,
        stop: Stop,
    ) -> Self {
        Self { state, dispatcher, stats, access, policy: Arc::default(), authority: None, stop }
    }

    /// The same, of a cluster whose nodes have certificates by this CA.
    #[must_use]
    pub fn signing(self, authority: Arc<Authority>) -> Self {
        Self { authority: Some(authority), ..self }
    }

    /// The same, under this policy.
    #[must_use]
    pub fn under(self, policy: Policy) -> Self {
        Self { policy: Arc::new(policy), ..self }
    }

    /// The handler of each route. A route without one doesn't compile.
    fn answer(
        &self,
        route: MasterRoute,
        words: &[String],
        request: &Request,
        caller: &Caller,
    ) -> Result<Answer, Problem> {
        let word = words.first().map_or("", String::as_str);
        match route {
            MasterRoute::CreateTasks => self.create_tasks(request, caller),
            MasterRoute::ListTasks => self.list_tasks(request, caller),
            MasterRoute::GetTask => self.get_task(word, caller),
            MasterRoute::StopTask => self.stop_task(word, request, caller),
            MasterRoute::DeleteTask => self.delete_task(word, request, caller),
            MasterRoute::WhyTask => self.why_task(word),
            MasterRoute::TaskLogs => self.task_logs(word, request),
            MasterRoute::LogsTicket => self.logs_ticket(word, request),
            MasterRoute::Register => self.register(request, caller),
            MasterRoute::ListNodes => self.list_nodes(request),
            MasterRoute::GetNode => self.get_node(word),
            MasterRoute::SetAvailability => self.set_availability(word, request, caller),
            MasterRoute::NodeStats => self.node_stats(word),
            MasterRoute::DeleteNode => self.delete_node(word, request, caller),
            MasterRoute::Heartbeat => self.heartbeat(request, caller),
            MasterRoute::Reports => self.reports(word, request, caller),
            MasterRoute::Events => self.events(request),
            MasterRoute::MakeToken => self.make_token(request, caller),
            MasterRoute::ListTokens => self.list_tokens(request),
            MasterRoute::EndToken => self.end_token(word, request, caller),
            MasterRoute::Join | MasterRoute::JoinAtRoot => self.join(request, caller),
            MasterRoute::Audit => self.audit(request),
            MasterRoute::Healthz => Ok(self.healthz()),
            MasterRoute::Readyz => Ok(self.readyz()),
            MasterRoute::OpenApi => Ok(Answer::now(rest::openapi::master(request))),
        }
    }

    fn healthz(&self) -> Answer {
        let mut health = serde_json::json!({"status": "ok"});
        if self.access.is_open() {
            health["insecure"] = true.into();
        }
        Answer::now(json(200, &health))
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
    /// What a node's worker says, once it has said it.
    Stats(NodeId, Reach),
    /// What happens, on a thread of its own.
    Events(EventStream),
    /// Who changed what, on a thread of its own.
    Audit(AuditStream),
}

impl Answer {
    /// A reply that rests on nothing.
    fn now(response: Response) -> Self {
        Self::Reply(AsOf { value: response, at: crate::model::id::Revision(0) })
    }
}

impl Service for Api {
    fn call(&self, request: Request, responder: Responder) {
        let found = rest::route(routes::MASTER, &request);
        // Order: who isn't let in isn't told either what leads nowhere.
        let needs = found.as_ref().ok().map(|(route, _)| routes::needs(routes::MASTER, *route));
        let caller = match self.access.admit(&self.state, &request, needs, clock::now()) {
            Ok(caller) => caller,
            Err(problem) => {
                self.note_refused(&request, None, &problem);
                return responder.send(problem);
            }
        };
        let (route, words) = match found {
            Ok(found) => found,
            Err(problem) => return responder.send(problem),
        };
        let withdrawn = self.state.journal().last_withdrawn();
        let (at, response) = match self.answer(route, &words, &request, &caller) {
            Ok(Answer::Reply(reply)) => (reply.at, reply.value),
            Ok(Answer::Log(log)) => return log.serve(responder),
            Ok(Answer::Stats(node, reach)) => return self.stats.ask(node, reach, responder),
            Ok(Answer::Events(events)) => return events.serve(responder),
            Ok(Answer::Audit(audit)) => return audit.serve(responder),
            Err(problem) if rests_on_state(&problem) => {
                let at = self.state.journal().last_position();
                // It changed nothing, and may rest on what is withdrawn by now: it is answered anew.
                if self.state.journal().last_withdrawn() != withdrawn {
                    return self.call(request, responder);
                }
                (at, problem.into())
            }
            Err(problem) => {
                self.note_refused(&request, Some(&caller), &problem);
                return responder.send(problem);
            }
        };
        let again = may_be_answered_anew(route).then(|| (self.clone(), request));
        self.state.journal().when_settled(at, move |fate| match (fate, again) {
            (Fate::Durable, _) => responder.send(response),
            (Fate::Withdrawn, Some((api, request))) => api.call(request, responder),
            (Fate::Withdrawn, None) => responder.send(store_full()),
        });
    }
}

/// Whether a problem tells something of the state, such as that a task isn't there.
const fn rests_on_state(problem: &Problem) -> bool {
    matches!(problem.status, 404 | 409 | 410 | 422)
}

/// Whether asking again changes nothing that asking once would not: reads, and what nodes repeat anyway.
const fn may_be_answered_anew(route: MasterRoute) -> bool {
    match route {
        MasterRoute::ListTasks
        | MasterRoute::GetTask
        | MasterRoute::WhyTask
        | MasterRoute::TaskLogs
        | MasterRoute::LogsTicket
        | MasterRoute::ListNodes
        | MasterRoute::GetNode
        | MasterRoute::NodeStats
        | MasterRoute::Heartbeat
        | MasterRoute::Reports
        | MasterRoute::Events
        | MasterRoute::ListTokens
        | MasterRoute::Audit
        | MasterRoute::Healthz
        | MasterRoute::Readyz
        | MasterRoute::OpenApi => true,
        MasterRoute::CreateTasks
        | MasterRoute::StopTask
        | MasterRoute::DeleteTask
        | MasterRoute::Register
        | MasterRoute::SetAvailability
        | MasterRoute::DeleteNode
        | MasterRoute::MakeToken
        | MasterRoute::EndToken
        | MasterRoute::Join
        | MasterRoute::JoinAtRoot => false,
    }
}

/// What a change is answered with while the store takes none.
fn store_full() -> Problem {
    Problem::store_full("this can't be stored now: nothing was changed, try again")
}

/// A JSON reply.
fn json(status: u16, value: &impl Serialize) -> Response {
    Response::json(status, value)
}
