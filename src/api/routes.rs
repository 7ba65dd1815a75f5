//! Every method and path that the servers answer, as tables.
//!
//! A table names each route by a value of an enum, and a handler matches on that enum: a route that nobody handles
//! doesn't compile. Each row says what whoever asks must show ([`Needs`]); one that doesn't, doesn't compile either.
//! Paths for clients are made here too, so that a path is spelled in one file only.

use std::fmt::Write as _;

use crate::model::access::{Needs, Scope};

/// One row: a method, a pattern whose `:words` stand for one segment, and what it leads to.
#[derive(Clone, Copy, Debug)]
pub struct Route<R> {
    /// `GET`, `POST` or `DELETE`. `HEAD` is answered wherever `GET` is.
    pub method: &'static str,
    /// `/api/v1/tasks/:id`.
    pub pattern: &'static str,
    /// What whoever asks must show.
    pub needs: Needs,
    /// Its name.
    pub to: R,
}

/// What a method and a path lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<R> {
    /// A route, with the segments that its pattern's words stand for.
    Route(R, Vec<String>),
    /// The path is known, but not with this method. Holds those that it takes.
    OtherMethods(Vec<&'static str>),
    /// Nobody lives there.
    Nothing,
}

/// The master's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MasterRoute {
    /// Create one task, or a batch.
    CreateTasks,
    /// List tasks.
    ListTasks,
    /// One task.
    GetTask,
    /// Ask for a task's end.
    StopTask,
    /// Forget a task that ended.
    DeleteTask,
    /// Why a task is where it is.
    WhyTask,
    /// A task's log.
    TaskLogs,
    /// Register a node.
    Register,
    /// List nodes.
    ListNodes,
    /// One node.
    GetNode,
    /// Cordon, drain or reopen a node.
    SetAvailability,
    /// What a node's tasks use.
    NodeStats,
    /// Forget an offline node.
    DeleteNode,
    /// A node's beat.
    Heartbeat,
    /// A node's reports.
    Reports,
    /// Where a worker serves a task's log directly.
    LogsTicket,
    /// What happens.
    Events,
    /// Make a token, or a join word.
    MakeToken,
    /// List tokens.
    ListTokens,
    /// End a token.
    EndToken,
    /// Take a node into the cluster.
    Join,
    /// The same, beside the API's own paths.
    JoinAtRoot,
    /// Who changed what.
    Audit,
    /// Is the process alive?
    Healthz,
    /// Can it serve?
    Readyz,
    /// The OpenAPI document.
    OpenApi,
}

const fn row<R: Copy>(method: &'static str, pattern: &'static str, needs: Needs, to: R) -> Route<R> {
    Route { method, pattern, needs, to }
}

const READ: Needs = Needs::Scope(Scope::Read);
const SUBMIT: Needs = Needs::Scope(Scope::Submit);
const OPERATE: Needs = Needs::Scope(Scope::Operate);
const ADMIN: Needs = Needs::Scope(Scope::Admin);

/// The master's table.
pub const MASTER: &[Route<MasterRoute>] = &[
    row("POST", "/api/v1/tasks", SUBMIT, MasterRoute::CreateTasks),
    row("GET", "/api/v1/tasks", READ, MasterRoute::ListTasks),
    row("GET", "/api/v1/tasks/:id", READ, MasterRoute::GetTask),
    row("POST", "/api/v1/tasks/:id/stop", SUBMIT, MasterRoute::StopTask),
    row("DELETE", "/api/v1/tasks/:id", SUBMIT, MasterRoute::DeleteTask),
    row("GET", "/api/v1/tasks/:id/why", READ, MasterRoute::WhyTask),
    row("GET", "/api/v1/tasks/:id/logs", READ, MasterRoute::TaskLogs),
    row("POST", "/api/v1/tasks/:id/logs-ticket", READ, MasterRoute::LogsTicket),
    row("POST", "/api/v1/nodes", Needs::Node, MasterRoute::Register),
    row("GET", "/api/v1/nodes", READ, MasterRoute::ListNodes),
    row("GET", "/api/v1/nodes/:id", READ, MasterRoute::GetNode),
    row("POST", "/api/v1/nodes/:id/availability", OPERATE, MasterRoute::SetAvailability),
    row("GET", "/api/v1/nodes/:id/stats", READ, MasterRoute::NodeStats),
    row("DELETE", "/api/v1/nodes/:id", ADMIN, MasterRoute::DeleteNode),
    row("POST", "/api/v1/heartbeat", Needs::Node, MasterRoute::Heartbeat),
    row("POST", "/api/v1/nodes/:id/reports", Needs::Node, MasterRoute::Reports),
    row("GET", "/api/v1/events", READ, MasterRoute::Events),
    row("POST", "/api/v1/tokens", ADMIN, MasterRoute::MakeToken),
    row("GET", "/api/v1/tokens", ADMIN, MasterRoute::ListTokens),
    row("DELETE", "/api/v1/tokens/:id", ADMIN, MasterRoute::EndToken),
    row("POST", "/api/v1/join", Needs::Join, MasterRoute::Join),
    row("POST", "/join", Needs::Join, MasterRoute::JoinAtRoot),
    row("GET", "/api/v1/audit", ADMIN, MasterRoute::Audit),
    row("GET", "/healthz", Needs::Nothing, MasterRoute::Healthz),
    row("GET", "/readyz", Needs::Nothing, MasterRoute::Readyz),
    row("GET", "/openapi.json", Needs::Nothing, MasterRoute::OpenApi),
];

/// The worker's routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkerRoute {
    /// Take assignments.
    Assign,
    /// What it runs.
    ListTasks,
    /// One of them.
    GetTask,
    /// A task's log.
    TaskLogs,
    /// Stop a task now.
    StopTask,
    /// Have an image ready.
    PrepareImage,
    /// What its tasks use.
    Stats,
    /// Is the process alive?
    Healthz,
    /// Can it serve?
    Readyz,
    /// The OpenAPI document.
    OpenApi,
}

/// The worker's table.
pub const WORKER: &[Route<WorkerRoute>] = &[
    row("POST", "/api/v1/tasks", Needs::Master, WorkerRoute::Assign),
    row("GET", "/api/v1/tasks", Needs::Master, WorkerRoute::ListTasks),
    row("GET", "/api/v1/tasks/:id", Needs::Master, WorkerRoute::GetTask),
    row("GET", "/api/v1/tasks/:id/logs", Needs::MasterOrTicket, WorkerRoute::TaskLogs),
    row("POST", "/api/v1/tasks/:id/stop", Needs::Master, WorkerRoute::StopTask),
    row("POST", "/api/v1/images", Needs::Master, WorkerRoute::PrepareImage),
    row("GET", "/api/v1/stats", Needs::Master, WorkerRoute::Stats),
    row("GET", "/healthz", Needs::Nothing, WorkerRoute::Healthz),
    row("GET", "/readyz", Needs::Nothing, WorkerRoute::Readyz),
    row("GET", "/openapi.json", Needs::Nothing, WorkerRoute::OpenApi),
];

/// Looks a request up in a table. `segments` are the path's, percent-decoded.
///
/// ```
/// use podling::api::routes::{Found, MASTER, MasterRoute, find};
///
/// let path = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
/// let found = find(MASTER, "GET", &path("/api/v1/tasks/web"));
/// assert_eq!(found, Found::Route(MasterRoute::GetTask, vec!["web".to_owned()]));
/// assert_eq!(find(MASTER, "PUT", &path("/readyz")), Found::OtherMethods(vec!["GET", "HEAD"]));
/// assert_eq!(find(MASTER, "GET", &path("/nowhere")), Found::Nothing);
/// ```
pub fn find<R: Copy>(table: &[Route<R>], method: &str, segments: &[String]) -> Found<R> {
    let method = if method == "HEAD" { "GET" } else { method };
    let mut others = Vec::new();
    for route in table {
        let Some(words) = matches(route.pattern, segments) else { continue };
        if route.method == method {
            return Found::Route(route.to, words);
        }
        others.push(route.method);
        if route.method == "GET" {
            others.push("HEAD");
        }
    }
    if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
}

/// What a route of a table needs.
///
/// ```
/// use podling::api::routes::{MASTER, MasterRoute, needs};
/// use podling::model::access::Needs;
///
/// assert_eq!(needs(MASTER, MasterRoute::Heartbeat), Needs::Node);
/// ```
pub fn needs<R: Copy + PartialEq>(table: &[Route<R>], to: R) -> Needs {
    // A route that no row leads to can't be found by a request; nobody gets that far.
    table.iter().find(|row| row.to == to).map_or(Needs::Scope(Scope::Admin), |row| row.needs)
}

fn matches(pattern: &str, segments: &[String]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = segments.iter();
    for part in pattern.split('/').skip(1) {
        let segment = rest.next()?;
        if part.starts_with(':') {
            words.push(segment.clone());
        } else if part != segment {
            return None;
        }
    }
    if rest.next().is_none() { Some(words) } else { None }
}

/// The collection of tasks.
pub const TASKS: &str = "/api/v1/tasks";
/// The collection of nodes.
pub const NODES: &str = "/api/v1/nodes";
/// A worker's images.
pub const IMAGES: &str = "/api/v1/images";
/// What a worker's tasks use.
pub const STATS: &str = "/api/v1/stats";
/// What happens.
pub const EVENTS: &str = "/api/v1/events";
/// The collection of tokens.
pub const TOKENS: &str = "/api/v1/tokens";
/// Where nodes join.
pub const JOIN: &str = "/join";
/// Who changed what.
pub const AUDIT: &str = "/api/v1/audit";
/// Where beats go.
pub const HEARTBEAT: &str = "/api/v1/heartbeat";

/// One task, by whatever names it.
pub fn task(reference: &str) -> String {
    format!("{TASKS}/{}", escape(reference))
}

/// Why a task is where it is.
pub fn task_why(reference: &str) -> String {
    format!("{TASKS}/{}/why", escape(reference))
}

/// A task's log.
pub fn task_logs(reference: &str) -> String {
    format!("{TASKS}/{}/logs", escape(reference))
}

/// A ticket for a task's log.
pub fn logs_ticket(reference: &str) -> String {
    format!("{TASKS}/{}/logs-ticket", escape(reference))
}

/// Where a task's end is asked for.
pub fn task_stop(reference: &str) -> String {
    format!("{TASKS}/{}/stop", escape(reference))
}

/// One node.
pub fn node(id: &str) -> String {
    format!("{NODES}/{}", escape(id))
}

/// One token.
pub fn token(id: &str) -> String {
    format!("{TOKENS}/{}", escape(id))
}

/// What a node's tasks use.
pub fn node_stats(id: &str) -> String {
    format!("{NODES}/{}/stats", escape(id))
}

/// Where a node's reports go.
pub fn node_reports(id: &str) -> String {
    format!("{NODES}/{}/reports", escape(id))
}

/// Where a node's availability is set.
pub fn node_availability(id: &str) -> String {
    format!("{NODES}/{}/availability", escape(id))
}

/// Percent-encodes whatever isn't unreserved in RFC 3986: a segment or a query's value.
pub fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_can_not_leave_its_segment() {
        assert_eq!(task("../nodes/a b?x=1"), "/api/v1/tasks/..%2Fnodes%2Fa%20b%3Fx%3D1");
    }

    #[test]
    fn no_two_rows_are_alike() {
        let mut rows: Vec<String> =
            MASTER.iter().map(|row| format!("{} {}", row.method, row.pattern)).collect();
        rows.extend(WORKER.iter().map(|row| format!("worker {} {}", row.method, row.pattern)));
        let count = rows.len();
        rows.sort();
        rows.dedup();
        assert_eq!(rows.len(), count);
    }
}
