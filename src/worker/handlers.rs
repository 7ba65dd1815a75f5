//! The worker's API: assignments and stops from the master, and what is to be seen of its attempts.
//!
//! Main type: [`Api`], the worker's [`Service`]. The handler threads never wait: what an assignment leads to is the
//! crew's work, a log is written by a thread of its own, and what the Engine has to be asked for is answered by the
//! threads `images` and `stats`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::api::routes::{self, WorkerRoute};
use crate::api::wire::Page;
use crate::api::wire::agent::{Assignment, StopOrder};
use crate::control::reconcile::Fenced;
use crate::http::{Problem, Request, Responder, Response, Service};
use crate::model::id::{Incarnation, TaskId};
use crate::rest::{self, log::LogQuery, problem_of, read};
use crate::runtime::clock;
use crate::worker::desired::{Desired, NotTaken, view};
use crate::worker::guard::Guard;
use crate::worker::images::Images;
use crate::worker::link::MasterLink;
use crate::worker::logs::Logs;
use crate::worker::stats::Stats;
use crate::worker::watch::EngineWatch;

/// The longest body, in bytes: a batch of assignments.
const MAX_BATCH_BODY: usize = 16 * 1024 * 1024;

/// The longest body of anything else, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// What the gate lets through, by method and path.
pub(super) fn body_limit(method: &str, path: &str) -> usize {
    if method == "POST" && path == routes::TASKS { MAX_BATCH_BODY } else { MAX_BODY }
}

/// The worker's answers.
pub(super) struct Api {
    pub(super) desired: Arc<Desired>,
    pub(super) link: Arc<MasterLink>,
    pub(super) logs: Arc<Logs>,
    pub(super) watch: Arc<EngineWatch>,
    pub(super) images: Arc<Images>,
    pub(super) stats: Arc<Stats>,
    pub(super) is_ready: Arc<AtomicBool>,
    pub(super) guard: Arc<Guard>,
}

impl Service for Api {
    fn call(&self, request: Request, responder: Responder) {
        let found = rest::route(routes::WORKER, &request);
        if let Err(problem) = self.admit(&request, found.as_ref().ok()) {
            return responder.send(problem);
        }
        match found {
            Ok((WorkerRoute::TaskLogs, words)) => self.task_logs(&words, &request, responder),
            Ok((WorkerRoute::PrepareImage, _)) => self.images.ask(&request, responder),
            Ok((WorkerRoute::Stats, _)) => self.stats.ask(responder),
            Ok((WorkerRoute::Assign, _)) => send(responder, self.assign(&request)),
            Ok((WorkerRoute::ListTasks, _)) => {
                responder.send(Response::json(200, &Page { items: self.desired.views(), next: None }));
            }
            Ok((WorkerRoute::GetTask, words)) => send(responder, self.get_task(&words)),
            Ok((WorkerRoute::StopTask, words)) => send(responder, self.stop_task(&words, &request)),
            Ok((WorkerRoute::Healthz, _)) => {
                responder.send(Response::json(200, &serde_json::json!({"status": "ok"})));
            }
            Ok((WorkerRoute::Readyz, _)) => send(responder, self.readyz()),
            Ok((WorkerRoute::OpenApi, _)) => responder.send(rest::openapi::worker(&request)),
            Err(problem) => responder.send(problem),
        }
    }
}

fn send(responder: Responder, result: Result<Response, Problem>) {
    responder.send(result.unwrap_or_else(Response::from));
}

impl Api {
    /// Whether a request may be answered. Order: who isn't let in isn't told either what leads nowhere.
    fn admit(&self, request: &Request, found: Option<&(WorkerRoute, Vec<String>)>) -> Result<(), Problem> {
        let needs = found.map(|(route, _)| routes::needs(routes::WORKER, *route));
        let task = found.and_then(|(_, words)| words.first()).map_or("", String::as_str);
        let attempt = LogQuery::of(request).ok().and_then(|query| query.attempt);
        self.guard.admit(request, needs, (task, attempt), clock::wall())
    }

    /// POST /tasks
    fn assign(&self, request: &Request) -> Result<Response, Problem> {
        let is_array = request.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let assignments: Vec<Assignment> =
            if is_array { read(request)? } else { vec![read::<Assignment>(request)?] };
        let Some(session) = self.link.session() else { return Err(not_ready()) };
        if let Some(other) = assignments.iter().find(|one| one.incarnation != session.incarnation) {
            return Err(foreign_incarnation(other.incarnation, session.incarnation));
        }
        self.desired.push(assignments, clock::now()).map_err(|error| match error {
            NotTaken::NotReady => not_ready(),
            NotTaken::Mistaken(mistake) => problem_of(&mistake),
            NotTaken::Fenced(why) => fenced(why),
        })?;
        Ok(Response::json(202, &serde_json::json!({})))
    }

    /// GET /tasks/:id
    fn get_task(&self, words: &[String]) -> Result<Response, Problem> {
        let found = word(words).parse().ok().and_then(|task| self.desired.find(&task, None));
        let (key, held) = found.ok_or_else(|| task_not_found(word(words)))?;
        Ok(Response::json(200, &view(&key, &held)))
    }

    /// POST /tasks/:id/stop
    fn stop_task(&self, words: &[String], request: &Request) -> Result<Response, Problem> {
        let order: StopOrder = if request.body.is_empty() { StopOrder::default() } else { read(request)? };
        let grace = order.grace().map_err(|mistake| problem_of(&mistake))?;
        let stop = |task| self.desired.stop(&task, order.attempt, grace, clock::now());
        let is_held = word(words).parse().is_ok_and(stop);
        if is_held {
            Ok(Response::json(202, &serde_json::json!({})))
        } else {
            Err(task_not_found(word(words)))
        }
    }

    /// GET /tasks/:id/logs
    fn task_logs(&self, words: &[String], request: &Request, responder: Responder) {
        let task = word(words).parse::<TaskId>().map_err(|_| task_not_found(word(words)));
        match task.and_then(|task| LogQuery::of(request).map(|query| (task, query))) {
            // What it has at its Engine isn't known yet: that it has nothing can't be said.
            Ok((task, query)) if !self.desired.is_open() && self.logs.find(&task, query.attempt).is_err() => {
                responder.send(not_ready());
            }
            Ok((task, query)) => self.logs.serve(&task, query, responder),
            Err(problem) => responder.send(problem),
        }
    }

    /// GET /readyz
    fn readyz(&self) -> Result<Response, Problem> {
        if !self.is_ready.load(Ordering::Acquire) {
            return Err(not_ready());
        }
        if !self.watch.is_ready() {
            return Err(Problem::unavailable("engine", "the container engine does not answer"));
        }
        Ok(Response::json(200, &serde_json::json!({"status": "ready"})))
    }
}

fn word(words: &[String]) -> &str {
    words.first().map_or("", String::as_str)
}

fn task_not_found(reference: &str) -> Problem {
    Problem::not_found("task_not_found", format!("this node holds no task {reference:?}"))
}

fn not_ready() -> Problem {
    Problem::unavailable("not_ready", "this worker has not registered or not looked at its engine yet")
}

fn foreign_incarnation(sent: Incarnation, own: Incarnation) -> Problem {
    Problem::conflict("fenced", format!("this is for the worker's start {sent}, and this is its start {own}"))
}

fn fenced(why: Fenced) -> Problem {
    Problem::conflict(
        "fenced",
        match why {
            Fenced::Epoch => "this comes from an earlier start of the master",
            Fenced::Revision => "a later set of the master does not name this attempt",
        },
    )
}
