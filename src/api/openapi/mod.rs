//! The servers' OpenAPI 3.1 documents, made from their route tables, so that they can't drift from what is served.
//!
//! [`master_document`] and [`worker_document`] are made once, and served at `/openapi.json`. Each row of
//! [`routes::MASTER`] and [`routes::WORKER`] has its entry by an exhaustive match ([`master`], [`worker`]); its `needs`
//! become `security` and `x-podling-scope`. [`schemas`] holds a schema for each type of [`crate::api::wire`], and
//! [`problems`] every problem code. Deliberately absent: anything that knows a socket.

mod master;
mod operation;
pub mod problems;
mod schema;
mod schemas;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::api::routes::{self, Route};
use operation::{Operation, Refusals};
use schema::Schema;

/// The master's document, as JSON.
///
/// ```
/// use podling::api::openapi::master_document;
///
/// assert!(master_document().starts_with(r#"{"openapi":"3.1.0""#));
/// ```
pub fn master_document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| document("Podling master", routes::MASTER, master::entry))
}

/// The worker's document, as JSON.
pub fn worker_document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| document("Podling worker", routes::WORKER, worker::entry))
}

/// Written member by member, so that it begins with what it is.
fn document<R: Copy>(title: &str, table: &[Route<R>], entry: fn(R) -> Operation) -> String {
    let mut refusals = Refusals::new();
    let paths = paths(table, entry, &mut refusals);
    let members = [
        ("openapi", "3.1.0".into()),
        ("info", info(title)),
        ("servers", json!([{"url": "/"}])),
        ("components", components(&paths, refusals)),
        ("paths", paths),
    ];
    let members = members.map(|(name, value): (&str, Value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.join(","))
}

fn info(title: &str) -> Value {
    let description = "Bodies are JSON. Times are RFC 3339 in UTC with milliseconds, durations are milliseconds, sizes are \
                       bytes. What is absent is left out: no `null`, no empty text for it. A request's unknown fields are \
                       refused (422); an answer may grow fields. `HEAD` is answered wherever `GET` is. Problems are RFC \
                       9457 documents, whose `code` programs compare.";
    let licence = json!({"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"});
    json!({"title": title, "version": env!("CARGO_PKG_VERSION"), "description": description, "license": licence})
}

fn paths<R: Copy>(table: &[Route<R>], entry: fn(R) -> Operation, refusals: &mut Refusals) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in table {
        let rendered = entry(route.to).render(route.method, route.needs, refusals);
        paths.entry(path(route.pattern)).or_default().insert(route.method.to_ascii_lowercase(), rendered);
    }
    json!(paths)
}

/// `/api/v1/tasks/:id` as OpenAPI writes it: `/api/v1/tasks/{id}`.
///
/// ```
/// assert_eq!(podling::api::openapi::path("/api/v1/tasks/:id/why"), "/api/v1/tasks/{id}/why");
/// ```
pub fn path(pattern: &str) -> String {
    let part = |part: &str| match part.strip_prefix(':') {
        Some(word) => format!("{{{word}}}"),
        None => part.to_owned(),
    };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// What the paths name, and what that names.
fn components(paths: &Value, refusals: Refusals) -> Value {
    let all: BTreeMap<&str, Value> =
        schemas::all().into_iter().map(|(name, schema)| (name, schema.into())).collect();
    let responses = json!(refusals);
    let (mut named, mut open) = (BTreeSet::new(), Vec::new());
    names(paths, &mut open);
    names(&responses, &mut open);
    while let Some(name) = open.pop() {
        if let Some(schema) = all.get(name.as_str()).filter(|_| named.insert(name.clone())) {
            names(schema, &mut open);
        }
    }
    let schemas: BTreeMap<&str, Value> = all.into_iter().filter(|(name, _)| named.contains(*name)).collect();
    json!({"schemas": schemas, "responses": responses, "securitySchemes": security_schemes()})
}

/// Collects the names of the schemas that a value refers to.
fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str);
            found.extend(name.and_then(|name| name.strip_prefix("#/components/schemas/")).map(str::to_owned));
            members.values().for_each(|member| names(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn security_schemes() -> Value {
    let bearer = |text: &str| json!({"type": "http", "scheme": "bearer", "description": text});
    json!({
        "token": bearer("A token of one of the scopes `read`, `submit`, `operate`, `admin`; each includes those before."),
        "nodeToken": bearer("The token of the very node that speaks."),
        "joinSecret": bearer("The secret of a join word."),
        "nodeKey": bearer("The key that the master and this node share."),
        "logsTicket": bearer("A ticket for this log, from the master's logs-ticket."),
    })
}

fn healthz() -> Operation {
    Operation::new("healthz", "Is the process alive?", "It says nothing of what it can do.").answers(
        200,
        "It is.",
        Schema::named("Status"),
    )
}

fn readyz(codes: &[&'static str]) -> Operation {
    Operation::new("readyz", "Can it serve?", "For whoever sends it clients.")
        .answers(200, "It can.", Schema::named("Status"))
        .refuses(codes)
}

fn openapi() -> Operation {
    Operation::new("openapi", "This document", "OpenAPI 3.1, made from the routes that are served.")
        .header("If-None-Match", "The `ETag` of what the client has.", Schema::text())
        .answers(200, "The document.", Schema::object())
        .answers_empty(304, "The client has it.")
        .tells("ETag", "Changes with the document.")
}

/// What of a log may be asked for, and how it is answered.
fn log_parameters(operation: Operation) -> Operation {
    let streams = Schema::words(&["stdout", "stderr", "both"]).default("both");
    let lines = ("application/x-ndjson", Schema::text(), Some(Schema::named("LogLine")));
    operation
        .query("follow", "Whether to go on to the task's end.", Schema::flag().default(false))
        .query("tail", "Only the last so many lines.", Schema::count())
        .query("timestamps", "Whether each line begins with its time.", Schema::flag().default(false))
        .query("stream", "Which of the container's outputs.", streams)
        .query("attempt", "Only this attempt's.", schemas::attempt_asked())
        .streams("The log.", &[("text/plain", Schema::text(), None), lines])
        .refuses(&["attempt_not_found"])
}
