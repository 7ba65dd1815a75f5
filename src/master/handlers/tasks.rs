//! Tasks: create, list, look at, stop, forget, read the log of.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Answer, Api, MAX_BODY, audit, json, store_full};
use crate::api::routes;
use crate::api::wire::log::LogsTicket;
use crate::api::wire::spec::{Creation as Wanted, MAX_COUNT, TaskRequest};
use crate::api::wire::task::{BatchCreated, BatchItem, StopRequest, TaskView};
use crate::api::wire::token::Secret;
use crate::api::wire::why::{AmountView, BecauseView, NodeFitView, WhyView};
use crate::api::wire::{self, Page, millis};
use crate::control::change::{Creation, KeyUse};
use crate::control::tasks::{Ambiguous, Filter};
use crate::control::why::{Amount, Because, NodeFit, Why};
use crate::http::{Problem, Request, Response};
use crate::master::access::Caller;
use crate::master::journal::Fate;
use crate::master::logs::{self, LogStream};
use crate::master::state::{AsOf, CreateError, ForgetError, StopError};
use crate::model::id::{Attempt, BatchId, NodeId, TaskId, TaskName};
use crate::model::task::{Task, TaskStatus};
use crate::model::time::WallTime;
use crate::rest::log::LogQuery;
use crate::rest::query::Query;
use crate::rest::{self, check_json, problem_of, read, ticket};
use crate::runtime::clock;

/// How many tasks a page holds where the request doesn't say.
const DEFAULT_LIMIT: usize = 1_000;
/// How many it may ask for.
pub(super) const MAX_LIMIT: usize = 10_000;

impl Api {
    /// POST /tasks
    pub(super) fn create_tasks(&self, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        check_json(request)?;
        let key = idempotency_key(request, caller)?;
        let is_array = request.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let wanted = if is_array { wanted_array(&request.body)? } else { vec![wanted_one(request)?] };
        self.check_policy(&wanted, is_array)?;
        let counted = wanted.first().is_some_and(|one| one.count.is_some()) && !is_array;
        if self.state.journal().is_full() {
            return Err(Problem::unavailable("busy", "too many changes wait for the disk"));
        }
        let made_by = caller.token().cloned();
        let by = audit::asked(request, caller);
        let created = self.state.create_by(made_by, wanted, is_array || counted, key, by);
        let created = created.map_err(refused)?;
        for new in &created.value.tasks {
            log::debug!("task created task={} name={}", new.id, new.name);
        }
        let response = if is_array {
            let items: Vec<TaskView> = created.value.new_tasks().map(|task| TaskView::from(&task)).collect();
            located(json(201, &Page { items, next: None }), &created.value)
        } else if counted {
            located(json(201, &counted_reply(&created.value)), &created.value)
        } else {
            created_reply(&created.value)
        };
        Ok(Answer::Reply(AsOf { value: response, at: created.at }))
    }

    /// Whether each of them may be as it asks to be.
    fn check_policy(&self, wanted: &[Wanted], is_array: bool) -> Result<(), Problem> {
        for (index, one) in wanted.iter().enumerate() {
            if let Err(refusal) = self.policy.check(&one.spec) {
                let mistake = wire::Mistake::policy(refusal);
                let mistake = if is_array { mistake.inside(&format!("[{index}]")) } else { mistake };
                return Err(problem_of(&mistake));
            }
        }
        Ok(())
    }

    /// GET /tasks
    pub(super) fn list_tasks(&self, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let mut query = Query::of(request)?;
        let statuses = query.take_all("status", statuses)?;
        let filter = Filter {
            statuses: statuses.into_iter().flatten().collect(),
            node: query.take("node", str::parse::<NodeId>)?,
            name: query.take("name", str::parse::<TaskName>)?,
            batch: query.take("batch", str::parse::<BatchId>)?,
            labels: query.take_all("label", label)?,
        };
        let limit = query.take("limit", limit)?.unwrap_or(DEFAULT_LIMIT);
        let after = query.take("after", str::parse::<TaskId>)?;
        query.finish()?;
        let found = self.state.tasks(&filter, after.as_ref(), limit);
        let (tasks, next) = found.value;
        let mut waits = self.state.waits(&tasks, clock::now());
        let view = |task: &Arc<Task>| {
            let waits = waits.remove(&task.id);
            shown(TaskView::from(&**task), task, caller, waits)
        };
        let items: Vec<TaskView> = tasks.iter().map(view).collect();
        let next = next.map(|id| id.to_string());
        Ok(Answer::Reply(AsOf { value: json(200, &Page { items, next }), at: found.at }))
    }

    /// GET /tasks/:id
    pub(super) fn get_task(&self, reference: &str, caller: &Caller) -> Result<Answer, Problem> {
        let found = self.find_task(reference)?;
        let waits = self.state.waits(std::slice::from_ref(&found.value), clock::now());
        let waits = waits.into_values().next();
        let view = shown(TaskView::whole(&found.value), &found.value, caller, waits);
        Ok(Answer::Reply(AsOf { value: json(200, &view), at: found.at }))
    }

    /// GET /tasks/:id/why
    pub(super) fn why_task(&self, reference: &str) -> Result<Answer, Problem> {
        let found = self.state.why(reference, clock::now()).map_err(|error| ambiguous(reference, &error))?;
        let found = found.ok_or_else(|| task_not_found(reference))?;
        Ok(Answer::Reply(AsOf { value: json(200, &why_view(found.value)), at: found.at }))
    }

    /// POST /tasks/:id/stop
    pub(super) fn stop_task(
        &self,
        reference: &str,
        request: &Request,
        caller: &Caller,
    ) -> Result<Answer, Problem> {
        let asked: StopRequest =
            if request.body.is_empty() { StopRequest::default() } else { read(request)? };
        let grace = asked.grace().map_err(|mistake| problem_of(&mistake))?;
        let own = if caller.is_limited() { Some(self.find_task(reference)?.value) } else { None };
        let reference = check_own(own.as_deref(), reference, caller)?;
        let by = audit::asked(request, caller);
        let stopped = self.state.stop(reference, grace, by).map_err(|error| match error {
            StopError::Ambiguous(error) => ambiguous(reference, &error),
            StopError::StoreFull => store_full(),
        })?;
        let stopped = stopped.ok_or_else(|| task_not_found(reference))?;
        log::info!("stop asked for task={}", stopped.value.task.id);
        if let Some(reach) = stopped.value.reach {
            let (dispatcher, task) = (Arc::clone(&self.dispatcher), Arc::clone(&stopped.value.task));
            self.state.journal().when_settled(stopped.at, move |fate| match fate {
                Fate::Durable => dispatcher.stop(&reach, task.key(), task.grace()),
                Fate::Withdrawn => {}
            });
        }
        let task = &stopped.value.task;
        let view = shown(TaskView::from(&**task), task, caller, None);
        Ok(Answer::Reply(AsOf { value: json(202, &view), at: stopped.at }))
    }

    /// DELETE /tasks/:id
    pub(super) fn delete_task(
        &self,
        reference: &str,
        request: &Request,
        caller: &Caller,
    ) -> Result<Answer, Problem> {
        let own = if caller.is_limited() {
            // What isn't there now must not be found below, where nobody asks whose it is.
            Some(self.find_one_task(reference)?.ok_or_else(|| task_not_found(reference))?)
        } else {
            None
        };
        let reference = check_own(own.as_deref(), reference, caller)?;
        let by = audit::asked(request, caller);
        let forgotten = self.state.forget(reference, by).map_err(|error| match error {
            ForgetError::Ambiguous(error) => ambiguous(reference, &error),
            ForgetError::Lives(task) => {
                let text = format!("{} is {}: stop it first", task.name, task.status().as_str());
                Problem::conflict("task_lives", text)
            }
            ForgetError::StoreFull => store_full(),
        })?;
        let forgotten = forgotten.ok_or_else(|| task_not_found(reference))?;
        log::info!("task removed task={}", forgotten.value.id);
        Ok(Answer::Reply(AsOf { value: Response::empty(204), at: forgotten.at }))
    }

    /// GET /tasks/:id/logs
    pub(super) fn task_logs(&self, reference: &str, request: &Request) -> Result<Answer, Problem> {
        let query = LogQuery::of(request)?;
        let found = self.find_task(reference)?;
        check_attempt(&found.value, query.attempt)?;
        Ok(Answer::Log(LogStream::new(Arc::clone(&self.state), found.value.id.clone(), query)))
    }

    /// POST /tasks/:id/logs-ticket
    pub(super) fn logs_ticket(&self, reference: &str, request: &Request) -> Result<Answer, Problem> {
        let mut query = Query::of(request)?;
        let attempt = query.take("attempt", rest::log::attempt)?;
        query.finish()?;
        let task = self.find_task(reference)?;
        check_attempt(&task.value, attempt)?;
        let keeper = logs::keeper(&task.value, attempt);
        let Some((node, reach)) = keeper.and_then(|node| Some((node, self.state.reach_of(node)?))) else {
            let text = format!("{} has not been placed on a node that is still known", task.value.name);
            return Err(Problem::conflict("not_placed", text));
        };
        let url = reach.base() + &routes::task_logs(task.value.id.as_str());
        let until = WallTime::from_unix_millis(clock::wall().unix_millis() + millis(ticket::LIVES));
        let ticket = reach.key.map(|key| Secret(ticket::make(&key, &task.value.id, attempt, until)));
        let expires_at = ticket.is_some().then_some(until);
        let ca_pem = self.authority.as_ref().map(|authority| authority.ca_pem().to_owned());
        let reply = LogsTicket { url, node_id: Some(node.clone()), ticket, ca_pem, expires_at };
        Ok(Answer::Reply(AsOf { value: json(200, &reply), at: task.at }))
    }

    /// The task that a name means where it means one alone.
    fn find_one_task(&self, reference: &str) -> Result<Option<Arc<Task>>, Problem> {
        self.state.only_task(reference).map_err(|error| ambiguous(reference, &error))
    }

    fn find_task(&self, reference: &str) -> Result<AsOf<Arc<Task>>, Problem> {
        let found = self.state.task(reference).map_err(|error| ambiguous(reference, &error))?;
        found.ok_or_else(|| task_not_found(reference))
    }
}

/// An attempt that was asked for must have been.
fn check_attempt(task: &Task, asked: Option<Attempt>) -> Result<(), Problem> {
    match asked.filter(|attempt| *attempt > task.attempt) {
        None => Ok(()),
        Some(attempt) => {
            let (name, count) = (&task.name, task.attempt);
            let attempts = if count == Attempt::FIRST { "attempt" } else { "attempts" };
            let text = format!("{name} has had {count} {attempts}, there is no attempt {attempt}");
            Err(Problem::not_found("attempt_not_found", text))
        }
    }
}

/// A task that may be ended, by its id: a name may mean another one a moment later.
fn check_own<'a>(own: Option<&'a Task>, reference: &'a str, caller: &Caller) -> Result<&'a str, Problem> {
    let Some(task) = own else { return Ok(reference) };
    caller.check_end(task)?;
    Ok(task.id.as_str())
}

/// A task as this client may see it, with what it waits for as things are now.
fn shown(mut view: TaskView, task: &Task, caller: &Caller, waits: Option<String>) -> TaskView {
    view.detail = waits.or(view.detail);
    if !caller.sees_env(task) {
        view.hide_env();
    }
    view
}

fn why_view(why: Why) -> WhyView {
    let amount = |amount| match amount {
        Amount::Number(number) => AmountView::Number(number),
        Amount::Text(text) => AmountView::Text(text),
    };
    let because = |because: Because| BecauseView {
        code: because.code.to_owned(),
        needs: because.needs.map(amount),
        free: because.free.map(amount),
        held_by: because.held_by,
        text: because.text,
    };
    let fit = |fit: NodeFit| NodeFitView {
        node_id: fit.node,
        fits: fit.reasons.is_empty(),
        reasons: fit.reasons.into_iter().map(because).collect(),
    };
    WhyView {
        task_id: why.task.id.clone(),
        name: why.task.name.to_string(),
        status: why.task.status(),
        since: why.since,
        summary: why.summary,
        looks: why.looks,
        last_look: why.last_look,
        nodes: why.nodes.into_iter().map(fit).collect(),
        nodes_total: why.nodes_total,
        would_run_if: why.would_run_if,
    }
}

fn wanted_one(request: &Request) -> Result<Wanted, Problem> {
    if request.body.len() > MAX_BODY {
        return Err(Problem::too_large(MAX_BODY));
    }
    read::<TaskRequest>(request)?.try_into().map_err(|mistake| problem_of(&mistake))
}

/// Reads an array one element at a time, so that a mistake names the element that it is in.
fn wanted_array(body: &[u8]) -> Result<Vec<Wanted>, Problem> {
    let elements: Vec<&RawValue> = wire::read_borrowed(body).map_err(|mistake| problem_of(&mistake))?;
    if elements.is_empty() || elements.len() > MAX_COUNT as usize {
        return Err(Problem::invalid("invalid", format!("a batch must hold 1 to {MAX_COUNT} tasks")));
    }
    let read_one = |(index, element): (usize, &&RawValue)| {
        let inside = |mistake: wire::Mistake| problem_of(&mistake.inside(&format!("[{index}]")));
        let request: TaskRequest = wire::read(element.get().as_bytes()).map_err(inside)?;
        if request.count.is_some() {
            return Err(inside(wire::Mistake::invalid(
                "count",
                "is for one object only, not inside an array",
            )));
        }
        Wanted::try_from(request).map_err(inside)
    };
    elements.iter().enumerate().map(read_one).collect()
}

fn created_reply(creation: &Creation) -> Response {
    let Some(task) = creation.new_tasks().next() else { return Response::empty(201) };
    let location = routes::task(task.id.as_str());
    json(201, &TaskView::from(&task)).header("Location", location)
}

/// Says where a batch's tasks are to be found.
fn located(response: Response, creation: &Creation) -> Response {
    match &creation.batch {
        Some(batch) => response.header("Location", format!("{}?batch={batch}", routes::TASKS)),
        None => response,
    }
}

fn counted_reply(creation: &Creation) -> BatchCreated {
    let items =
        creation.tasks.iter().zip(0..).map(|(new, index)| BatchItem { task_id: new.id.clone(), index });
    let batch_id = creation.batch.clone().expect("invariant: a count makes a batch");
    BatchCreated { batch_id, items: items.collect() }
}

/// The key under which a retry is recognised, with whose it is, and a hash of what it must be a retry of.
fn idempotency_key(request: &Request, caller: &Caller) -> Result<Option<KeyUse>, Problem> {
    let mut keys = request.headers.all("idempotency-key");
    let Some(key) = keys.next() else { return Ok(None) };
    let is_sound = (1..=255).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_sound || keys.next().is_some() {
        let text = "Idempotency-Key must be one header of 1 to 255 printable ASCII characters";
        return Err(Problem::malformed("invalid_key", text));
    }
    let body_hash = Sha256::digest(&request.body).into();
    let key = caller.token().map_or_else(|| key.to_owned(), |token| format!("{token} {key}"));
    Ok(Some(KeyUse { key, body_hash }))
}

fn refused(error: CreateError) -> Problem {
    match error {
        CreateError::KeyReused => {
            Problem::invalid("key_reused", "this Idempotency-Key was used with another body")
        }
        CreateError::KeyBusy => {
            let text = "the first request with this Idempotency-Key is still being answered";
            Problem::conflict("key_busy", text).retry_after(1)
        }
        CreateError::Gone => {
            let text = "what the first request with this Idempotency-Key made was removed since";
            Problem::new(410, "gone", "Gone", text)
        }
        CreateError::StoreFull => store_full(),
    }
}

fn ambiguous(reference: &str, error: &Ambiguous) -> Problem {
    let candidates: Vec<String> = error.candidates.iter().map(ToString::to_string).collect();
    let text = format!("{reference:?} names several tasks: {}", candidates.join(", "));
    Problem::conflict("ambiguous", text).with("candidates", candidates)
}

fn task_not_found(reference: &str) -> Problem {
    Problem::not_found("task_not_found", format!("there is no task {reference:?}"))
}

/// `running`, or several with commas between.
fn statuses(text: &str) -> Result<HashSet<TaskStatus>, String> {
    let read = |word: &str| {
        let words: Vec<&str> = TaskStatus::ALL.iter().map(|status| status.as_str()).collect();
        TaskStatus::from_word(word).ok_or_else(|| format!("{word:?} must be one of {}", words.join(", ")))
    };
    text.split(',').map(read).collect()
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| format!("{text:?} must be KEY=VALUE"))
}

/// How many items a page is to hold.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse::<usize>().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("{text:?} must be 1 to {MAX_LIMIT}"))
}
