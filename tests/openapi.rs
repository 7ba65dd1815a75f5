//! The OpenAPI documents against the route tables, the sources, and what a master and a worker really answer.
//!
//! The answers come from real processes with the hollow engine. Each is looked up in the document by its route and its
//! status, and must fit the schema there, every field named. In the end every route must have been asked.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[path = "openapi/document.rs"]
mod document;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod wire;

use std::collections::BTreeSet;

use document::{Asked, Document, sources};
use podling::api::openapi::problems::CODES;
use podling::api::openapi::{master_document, path, worker_document};
use podling::api::routes::{MASTER, Route, WORKER};
use podling::model::node::NodeStatus;
use serde_json::{Value, json};
use support::part::wait_until;
use support::{Cluster, MasterOptions, WorkerOptions};

fn rows<R: Copy>(table: &[Route<R>]) -> BTreeSet<String> {
    table.iter().map(|row| format!("{} {}", row.method, path(row.pattern))).collect()
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    assert_eq!(
        Document::of(master_document()).operations().into_keys().collect::<BTreeSet<_>>(),
        rows(MASTER)
    );
    assert_eq!(
        Document::of(worker_document()).operations().into_keys().collect::<BTreeSet<_>>(),
        rows(WORKER)
    );
}

/// Clients are made from these names: one that changes breaks them.
#[test]
fn operations_keep_their_names() {
    let names = |text| Document::of(text).operations().into_values().collect::<BTreeSet<_>>();
    let master = "audit createTasks deleteNode deleteTask endToken events getNode getTask healthz heartbeat joinNode \
                  joinNodeAtRoot listNodes listTasks listTokens logsTicket makeToken nodeStats openapi readyz registerNode \
                  reportAttempts setAvailability stopTask taskLogs whyTask";
    let worker =
        "assign attemptLogs getAttempt healthz listAttempts openapi prepareImage readyz stats stopAttempt";
    assert_eq!(names(master_document()), master.split_whitespace().map(str::to_owned).collect());
    assert_eq!(names(worker_document()), worker.split_whitespace().map(str::to_owned).collect());
}

#[test]
fn the_documents_are_sound() {
    for text in [master_document(), worker_document()] {
        let document = Document::of(text);
        document.check_references();
        document.check_schemas();
        document.check_paths();
    }
}

#[test]
fn what_a_route_needs_is_its_security() {
    let document = Document::of(master_document());
    let create = document.operation("POST", "/api/v1/tasks");
    assert_eq!(
        (&create["security"], &create["x-podling-scope"]),
        (&json!([{"token": ["submit"]}]), &json!("submit"))
    );
    let beat = document.operation("POST", "/api/v1/heartbeat");
    assert_eq!((&beat["security"], &beat["x-podling-scope"]), (&json!([{"nodeToken": []}]), &json!("node")));
    let health = document.operation("GET", "/healthz");
    assert_eq!((&health["security"], &health["x-podling-scope"]), (&json!([]), &json!("nothing")));
    assert!(create["responses"]["401"].is_object() && health["responses"]["401"].is_null());
}

#[test]
fn every_problem_code_of_the_sources_is_listed() {
    let sources = sources();
    let (listed, said) =
        (CODES.iter().map(|one| one.code.to_owned()).collect(), document::codes_said(&sources));
    assert!(said.len() > 40, "{said:?}");
    let unlisted: Vec<_> = said.difference(&listed).collect();
    assert!(unlisted.is_empty(), "not in src/api/openapi/problems.rs: {unlisted:?}");
    let unsaid: Vec<_> = listed.iter().filter(|code| !sources.contains(&format!("\"{code}\""))).collect();
    assert!(unsaid.is_empty(), "nobody says {unsaid:?}");
}

const TASKS: &str = "/api/v1/tasks";
const TASK: &str = "/api/v1/tasks/{id}";
const JSON: &str = "Content-Type: application/json\r\n";

fn web() -> Value {
    json!({"name": "web", "image": "nginx", "labels": {"tier": "web"}, "ports": [{"host": 8080, "container": 80}],
        "env": {"HOLLOW_RUN_MS": "600000", "HOLLOW_LOG_LINES": "3"}})
}

/// A task that no node fits.
fn stuck(name: &str) -> Value {
    json!({"name": name, "image": "nginx", "constraints": {"disk": "ssd"}})
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions { engine: "hollow", ..WorkerOptions::default() });
    cluster
}

fn create_some(master: &Asked<'_>) -> String {
    let made = master.fits("POST", TASKS, &web(), 201);
    let equals = json!({"name": "many", "image": "nginx", "count": 2, "constraints": {"disk": "ssd"}});
    master.fits("POST", TASKS, &equals, 201);
    master.fits("POST", TASKS, &json!([stuck("one"), stuck("two")]), 201);
    let key = format!("{JSON}Idempotency-Key: once\r\n");
    master.ask("POST", TASKS, "", &key, stuck("once").to_string().as_bytes(), 201);
    master.ask("POST", TASKS, "", &key, stuck("other").to_string().as_bytes(), 422);
    master.ask("POST", TASKS, "", &format!("{JSON}Idempotency-Key: \r\n"), b"{}", 400);
    for (headers, body, status) in [
        (JSON, "{", 400),
        ("", "{}", 415),
        (JSON, "{}", 422),
        (JSON, r#"{"name":"a","image":"b","count":0}"#, 422),
    ] {
        master.ask("POST", TASKS, "", headers, body.as_bytes(), status);
    }
    for (more, status) in [(r#""network":"host""#, 403), (r#""secrets":[]"#, 422)] {
        let body = format!(r#"{{"name":"a","image":"b",{more}}}"#);
        master.ask("POST", TASKS, "", JSON, body.as_bytes(), status);
    }
    let long = format!(r#"{{"name":"a","image":"b","env":{{"A":"{}"}}}}"#, "a".repeat(1 << 20));
    master.ask("POST", TASKS, "", JSON, long.as_bytes(), 413);
    made["task_id"].as_str().unwrap().to_owned()
}

fn look_at(master: &Asked<'_>, id: &str) {
    for (query, status) in [
        ("", 200),
        ("?status=running,pending&status=failed&label=tier=web&limit=1", 200),
        ("?name=web&node=worker-1&after=01JD0000000000000000000001", 200),
        ("?limit=1", 200),
        ("?limit=0", 422),
        ("?colour=red", 422),
        ("?limit=%zz", 400),
    ] {
        master.get(TASKS, query, status);
    }
    // Ids that were made within moments of each other begin alike.
    for (task, status) in [(id, 200), ("web", 200), ("nobody", 404), ("%ff", 400), (&id[..6], 409)] {
        for path in [TASK, "/api/v1/tasks/{id}/why"] {
            master.get_of(path, task, "", status);
        }
    }
    let logs = "/api/v1/tasks/{id}/logs";
    for (query, status) in
        [("", 200), ("?tail=1&timestamps=true", 200), ("?attempt=9", 404), ("?tail=x", 422)]
    {
        master.get_of(logs, id, query, status);
    }
    master.ask_of("GET", logs, id, "Accept: application/x-ndjson\r\n", b"", 200);
    master.ask_of("POST", "/api/v1/tasks/{id}/logs-ticket", id, "", b"", 200);
    master.ask_of("POST", "/api/v1/tasks/{id}/logs-ticket", "one", "", b"", 409);
}

fn end(cluster: &Cluster, master: &Asked<'_>, id: &str) {
    let stop = "/api/v1/tasks/{id}/stop";
    master.ask_of("DELETE", TASK, id, "", b"", 409);
    master.ask_of("POST", stop, id, "", b"", 202);
    master.ask_of("POST", stop, id, JSON, br#"{"grace_ms":0}"#, 202);
    for (task, headers, body, status) in [
        ("nobody", "", "", 404),
        (id, "", "{}", 415),
        (id, JSON, "[", 400),
        (id, JSON, r#"{"grace_ms":-1}"#, 422),
    ] {
        master.ask_of("POST", stop, task, headers, body.as_bytes(), status);
    }
    wait_until("it has ended", || cluster.task(id).finished_at.is_some());
    master.get_of(TASK, id, "", 200);
    master.get_of("/api/v1/tasks/{id}/why", id, "", 200);
    master.ask_of("DELETE", TASK, id, "", b"", 204);
    master.ask_of("DELETE", TASK, id, "", b"", 404);
}

fn nodes(cluster: &Cluster, master: &Asked<'_>) {
    let (nodes, node, availability) =
        ("/api/v1/nodes", "/api/v1/nodes/{id}", "/api/v1/nodes/{id}/availability");
    master.get(nodes, "", 200);
    master.get(nodes, "?limit=1&after=a", 200);
    master.get(nodes, "?limit=10001", 422);
    for (id, status) in [("worker-1", 200), ("ghost", 404)] {
        master.get_of(node, id, "", status);
        master.get_of("/api/v1/nodes/{id}/stats", id, "", status);
        master.ask_of("POST", availability, id, JSON, br#"{"availability":"active"}"#, status);
    }
    master.ask_of("POST", availability, "worker-1", JSON, br#"{"availability":"up"}"#, 422);
    master.ask_of("DELETE", node, "worker-1", "", b"", 409);
    master.ask_of("DELETE", node, "ghost", "", b"", 404);
    assert_eq!(cluster.node("worker-1").unwrap().status, NodeStatus::Online);
}

/// What a node says for itself, with its own token.
fn as_a_node(master: &Asked<'_>) {
    let nodes = "/api/v1/nodes";
    let joined = master.fits("POST", "/api/v1/join", &json!({"node_id": "w"}), 200);
    let admin = master.shows(joined["node_token"].as_str().unwrap().to_owned());
    let mut registration = json!({"node_id": "w", "instance_id": "i0000000000000000000000000",
        "start_id": "s0000000000000000000000000", "incarnation": 1, "hostname": "127.0.0.1", "port": 1, "capacity": 1,
        "cpu_millis": 1, "memory_bytes": 1, "engine": "none", "engine_id": "e", "heartbeat_ms": 100});
    let told = master.fits("POST", nodes, &registration, 201);
    master.fits("POST", nodes, &registration, 200);
    let reports = json!({"incarnation": told["incarnation"], "epoch": told["epoch"], "reports": [{"seq": 1,
        "task_id": "01JD0000000000000000000001", "attempt": 1, "step": "running", "container_id": "a"}]});
    master.ask_of("POST", "/api/v1/nodes/{id}/reports", "w", JSON, reports.to_string().as_bytes(), 200);
    master.ask_of("POST", "/api/v1/nodes/{id}/reports", "ghost", JSON, reports.to_string().as_bytes(), 403);
    let mut beat = json!({"node_id": "w", "incarnation": told["incarnation"], "epoch": told["epoch"], "revision": 0,
        "capacity": 1, "ready": false, "running_tasks": []});
    master.fits("POST", "/api/v1/heartbeat", &beat, 200);
    beat["incarnation"] = json!(0);
    master.fits("POST", "/api/v1/heartbeat", &beat, 409);
    registration["cluster_id"] = json!("c0000000000000000000000000");
    master.fits("POST", nodes, &registration, 409);
    master.ask("POST", nodes, "", JSON, b"{}", 422);
    // One that joined, and that nobody has registered.
    master.shows(admin);
    let joined = master.fits("POST", "/join", &json!({"node_id": "ghost"}), 200);
    let admin = master.shows(joined["node_token"].as_str().unwrap().to_owned());
    beat["node_id"] = json!("ghost");
    master.fits("POST", "/api/v1/heartbeat", &beat, 404);
    master.ask_of("POST", "/api/v1/nodes/{id}/reports", "ghost", JSON, reports.to_string().as_bytes(), 404);
    master.ask("GET", nodes, "", "", b"", 403);
    master.shows(admin);
    master.fits("POST", "/join", &json!({"node_id": "worker-1"}), 409);
}

fn tokens(master: &Asked<'_>) {
    let (tokens, token) = ("/api/v1/tokens", "/api/v1/tokens/{id}");
    master.fits("POST", tokens, &json!({"join": true}), 201);
    let made =
        master.fits("POST", tokens, &json!({"scope": "read", "expires_ms": 60_000, "label": "ci"}), 201);
    master.ask("POST", tokens, "", JSON, br#"{"scope":"root"}"#, 422);
    let admin = master.shows(made["token"].as_str().unwrap().to_owned());
    master.get(TASKS, "", 200);
    master.get(tokens, "", 403);
    master.shows("pdl_unknown".to_owned());
    master.get(TASKS, "", 401);
    master.shows(admin);
    master.get(tokens, "", 200);
    master.get(tokens, "?limit=1", 200);
    let id = made["token_id"].as_str().unwrap();
    master.ask_of("DELETE", token, id, "", b"", 204);
    master.ask_of("DELETE", token, id, "", b"", 404);
    master.get("/api/v1/audit", "", 200);
    master.get("/api/v1/audit", "?after=1", 200);
    master.get("/api/v1/audit", "?after=x", 422);
}

fn at_the_root(server: &Asked<'_>) {
    server.get("/healthz", "", 200);
    server.get("/readyz", "", 200);
    let reply = server.ask("GET", "/openapi.json", "", "", b"", 200);
    assert_eq!(reply.json(), server.document.value, "what is served is the document");
    let etag = reply.header("ETag").unwrap().to_owned();
    for (tags, status) in [(etag.as_str(), 304), ("*", 304), ("\"other\"", 200)] {
        server.ask("GET", "/openapi.json", "", &format!("If-None-Match: {tags}\r\n"), b"", status);
    }
    server.ask("GET", "/openapi.json", "", &format!("If-None-Match: \"a\", W/{etag}\r\n"), b"", 304);
}

#[test]
fn a_master_answers_as_its_document_says() {
    let cluster = cluster();
    let document = Document::of(master_document());
    let master = Asked::new(cluster.master.address, &document, cluster.admin_token());
    let id = create_some(&master);
    cluster.wait_for_running(&id);
    look_at(&master, &id);
    nodes(&cluster, &master);
    as_a_node(&master);
    tokens(&master);
    end(&cluster, &master, &id);
    for (query, status) in
        [("?follow=false&after=0", 200), ("?follow=false&after=1-1", 200), ("?after=x", 422)]
    {
        master.get("/api/v1/events", query, status);
    }
    master.ask("GET", "/api/v1/events", "", "Last-Event-ID: x\r\n", b"", 400);
    at_the_root(&master);
    master.every_route_was_asked();
}

#[test]
fn a_worker_answers_as_its_document_says() {
    let cluster = cluster();
    let id = cluster.create(&web()).task_id.to_string();
    cluster.wait_for_running(&id);
    let document = Document::of(worker_document());
    let worker = Asked::new(cluster.worker("worker-1").address, &document, cluster.key_of("worker-1"));
    worker.get(TASKS, "", 200);
    let (stranger, logs) = ("01JD0000000000000000000001", "/api/v1/tasks/{id}/logs");
    for (task, status) in [(id.as_str(), 200), (stranger, 404)] {
        worker.get_of(TASK, task, "", status);
        worker.get_of(logs, task, "", status);
    }
    worker.get_of(logs, &id, "?attempt=9", 404);
    worker.get_of(logs, &id, "?tail=x", 422);
    worker.ask_of("GET", logs, &id, "Accept: application/x-ndjson\r\n", b"", 200);
    let foreign = json!({"epoch": 1, "incarnation": 999, "revision": 1, "attempt": 1,
        "task": {"task_id": stranger, "name": "web", "image": "nginx"}});
    worker.fits("POST", TASKS, &foreign, 409);
    worker.fits("POST", TASKS, &json!([foreign]), 409);
    worker.fits("POST", TASKS, &json!([]), 202);
    worker.ask("POST", TASKS, "", JSON, b"{}", 422);
    worker.ask("POST", TASKS, "", "", b"{}", 415);
    worker.fits("POST", "/api/v1/images", &json!({"image": "nginx"}), 200);
    worker.ask("POST", "/api/v1/images", "", JSON, br#"{"image":""}"#, 422);
    worker.get("/api/v1/stats", "", 200);
    worker.ask_of("POST", "/api/v1/tasks/{id}/stop", stranger, "", b"", 404);
    worker.ask_of("POST", "/api/v1/tasks/{id}/stop", &id, JSON, br#"{"attempt":1,"grace_ms":0}"#, 202);
    at_the_root(&worker);
    worker.every_route_was_asked();
}
