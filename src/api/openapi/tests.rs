//! Each schema against its type: samples of the type fit the schema, and both know the same fields and words.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::schemas;
use crate::api::wire::agent::{
    Assignment, AttemptView, DesiredAttempt, HeartbeatReply, HeartbeatRequest, HeldAttempt, RegisterReply,
    RegisterRequest, Report, ReportVerdict, ReportsReply, ReportsRequest, StopOrder, TaskOrder,
};
use crate::api::wire::audit::AuditLine;
use crate::api::wire::event::{Event, Gap};
use crate::api::wire::image::{ImageReply, ImageRequest};
use crate::api::wire::log::{LogLine, LogsTicket};
use crate::api::wire::node::{AvailabilityRequest, NodeView};
use crate::api::wire::spec::{Creation, PortWire, RestartWire, TaskRequest};
use crate::api::wire::stats::{NodeStats, TaskStats};
use crate::api::wire::task::{BatchCreated, BatchItem, PastView, StopRequest, TaskView};
use crate::api::wire::token::{JoinReply, JoinRequest, TokenMade, TokenRequest, TokenView};
use crate::api::wire::why::{BecauseView, NodeFitView, WhyView};
use crate::api::wire::{Page, read};

const TASK: &str = "01JD0000000000000000000001";
const NODE: &str = "worker-1";
const TIME: &str = "2026-02-02T02:40:00.123Z";
const CONTAINER: &str = "4f66ad9a0b2e";

fn all() -> BTreeMap<&'static str, Value> {
    schemas::all().into_iter().map(|(name, schema)| (name, schema.into())).collect()
}

/// A validator that refuses what no schema names.
fn validator(name: &str) -> jsonschema::Validator {
    let mut all = json!(all());
    close(&mut all);
    let whole = json!({"$ref": format!("#/components/schemas/{name}"), "components": {"schemas": all}});
    jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap()
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let names_fields = members.contains_key("properties") && members.contains_key("type");
            if names_fields && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

fn required(schema: &Value) -> BTreeSet<String> {
    let names = schema["required"].as_array().into_iter().flatten();
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Holds a schema against its type. `full` has every field that the type has; whatever the schema doesn't require can
/// be left out of it, and then is not written either.
#[track_caller]
fn fits<T: Serialize + DeserializeOwned>(name: &str, full: &Value) {
    let (schema, validator) =
        (all().remove(name).unwrap_or_else(|| panic!("no schema {name}")), validator(name));
    let written =
        |json: &Value| serde_json::to_value(read::<T>(json.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(&written(full), full, "{name}: the type keeps all of the sample");
    validator.validate(full).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(keys(full), keys(&schema["properties"]), "{name}: the sample has every field of the schema");
    let required = required(&schema);
    for field in keys(full) {
        let mut without = full.clone();
        without.as_object_mut().unwrap().remove(&field);
        let taken = read::<T>(without.to_string().as_bytes());
        assert_eq!(taken.is_err(), required.contains(&field), "{name} without {field}");
        assert_eq!(validator.is_valid(&without), !required.contains(&field), "{name} without {field}");
    }
    let mut least = full.clone();
    least.as_object_mut().unwrap().retain(|field, _| required.contains(field));
    let least = written(&least);
    validator.validate(&least).unwrap_or_else(|error| panic!("{name}, the least of it: {error}"));
    assert!(validator.is_valid(&least) && !validator.is_valid(&with(full, "colour", json!("red"))));
}

/// The same for a request: its type refuses what the schema doesn't name, and what the type names is in the schema, but
/// for what isn't built.
#[track_caller]
fn fits_request<T: Serialize + DeserializeOwned>(name: &str, full: &Value, unbuilt: &[&str]) {
    fits::<T>(name, full);
    let schema = all().remove(name).unwrap();
    assert_eq!(schema["additionalProperties"], false, "{name} is closed");
    let refusal =
        read::<T>(with(full, "colour", json!("red")).to_string().as_bytes()).err().unwrap().to_string();
    let mut known = words(&refusal);
    assert!(known.remove("colour"), "{refusal}");
    unbuilt.iter().for_each(|field| assert!(known.remove(*field), "{name}: {field} is not in the type"));
    assert_eq!(known, keys(&schema["properties"]), "{name}");
}

fn with(value: &Value, field: &str, is: Value) -> Value {
    let mut value = value.clone();
    value[field] = is;
    value
}

/// What stands between backticks.
fn words(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// That a field's words are the type's: serde's refusal of another names them.
#[track_caller]
fn knows_words<T: DeserializeOwned>(schema: &str, field: &str, full: &Value) {
    let listed = &all()[schema]["properties"][field]["enum"];
    let listed: BTreeSet<String> = serde_json::from_value(listed.clone()).unwrap();
    let strange = with(full, field, json!("strange")).to_string();
    let mut known = words(&read::<T>(strange.as_bytes()).err().unwrap().to_string());
    known.remove("strange");
    assert_eq!(listed, known, "{schema}.{field}");
}

fn spec_into(mut value: Value) -> Value {
    let spec = json!({
        "image": "nginx:1", "command": ["a", ""], "env": {"K": "V"}, "labels": {"tier": "web"},
        "ports": [port()], "cpu_millis": 500, "memory_bytes": 268_435_456, "network": "bridge",
        "pull": "always", "user": "1000:1000", "workdir": "/srv", "constraints": {"disk": "ssd"}, "restart": restart(),
        "on_node_lost": "reschedule", "pending_timeout_ms": 0, "stop_grace_ms": 31_536_000_000_u64, "mounts": [mount()],
        "capabilities": ["NET_ADMIN"],
    });
    value.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    value
}

fn mount() -> Value {
    json!({"source": "/srv/data", "target": "/data", "read_only": true})
}

fn port() -> Value {
    json!({"host": 8080, "container": 80, "protocol": "udp"})
}

fn restart() -> Value {
    json!({"policy": "on-failure", "max": 2})
}

fn past() -> Value {
    json!({"attempt": 1, "node_id": NODE, "container_id": CONTAINER, "scheduled_at": TIME, "started_at": TIME,
        "finished_at": TIME, "exit_code": -1, "reason": "exit_code", "error": "it ended with code 7"})
}

fn task() -> Value {
    spec_into(json!({
        "task_id": TASK, "name": "web", "status": "failed", "attempt": 2, "node_id": NODE, "container_id": CONTAINER,
        "created_at": TIME, "scheduled_at": TIME, "started_at": TIME, "finished_at": TIME, "stop_requested_at": TIME,
        "exit_code": 137, "reason": "oom_killed", "error": "out of memory", "detail": "pulling", "moving_to": "worker-2",
        "attempts": [past()], "batch_id": TASK, "index": 0,
    }))
}

fn order() -> Value {
    spec_into(json!({"task_id": TASK, "name": "web", "index": 3}))
}

fn request() -> Value {
    spec_into(json!({"name": "web", "count": 3}))
}

#[test]
fn tokens_and_what_a_node_gets_that_joins() {
    let request = json!({"scope": "submit", "join": true, "expires_ms": 1, "label": "ci"});
    fits_request::<TokenRequest>("TokenRequest", &request, &[]);
    knows_words::<TokenRequest>("TokenRequest", "scope", &request);
    fits::<TokenMade>(
        "TokenMade",
        &json!({"token_id": TASK, "token": "pdl_x", "scope": "read", "expires_at": TIME}),
    );
    let token = json!({
        "token_id": TASK, "kind": "user", "scope": "admin", "node_id": NODE, "label": "ci", "created_at": TIME,
        "expires_at": TIME, "made_by": TASK,
    });
    fits::<TokenView>("Token", &token);
    fits::<Page<TokenView>>("TokenList", &json!({"items": [token], "next": TASK}));
    let request = json!({"node_id": NODE, "instance_id": TASK, "csr_pem": "-----BEGIN"});
    fits_request::<JoinRequest>("JoinRequest", &request, &[]);
    let reply = json!({
        "cluster_id": TASK, "node_token": "pdl_x", "node_key": "pdlk_x", "ca_pem": "-----BEGIN",
        "cert_pem": "-----BEGIN",
    });
    fits::<JoinReply>("JoinReply", &reply);
    let hash = "0123456789abcdef".repeat(4);
    let line = json!({
        "number": 7, "time": TIME, "actor": "user", "token_id": TASK, "node_id": NODE, "address": "127.0.0.1:9",
        "action": "task.stop", "subjects": [TASK], "allowed": false, "code": "scope", "previous": hash, "hash": hash,
    });
    fits::<AuditLine>("AuditLine", &line);
}

#[test]
fn what_is_asked_for_fits() {
    fits_request::<TaskRequest>("TaskRequest", &request(), &["secrets"]);
    let mut one = request();
    one.as_object_mut().unwrap().remove("count");
    fits_request::<TaskRequest>("TaskInArray", &one, &["secrets", "count"]);
    fits_request::<RestartWire>("Restart", &restart(), &[]);
    fits_request::<StopRequest>("StopRequest", &json!({"grace_ms": 0}), &[]);
    let availability = json!({"availability": "draining"});
    fits_request::<AvailabilityRequest>("AvailabilityRequest", &availability, &[]);
    knows_words::<AvailabilityRequest>("AvailabilityRequest", "availability", &availability);
    fits_request::<ImageRequest>("ImageRequest", &json!({"image": "a/b:1", "pull": "never"}), &[]);
}

/// `protocol` may be left out, and then is written all the same.
#[test]
fn a_port_fits() {
    let (schema, validator) = (all().remove("Port").unwrap(), validator("Port"));
    assert_eq!(keys(&schema["properties"]), keys(&port()));
    for json in [port(), json!({"host": 1, "container": 65535})] {
        validator.validate(&json).unwrap();
        let written = serde_json::to_value(read::<PortWire>(json.to_string().as_bytes()).unwrap()).unwrap();
        validator.validate(&written).unwrap();
    }
    for wrong in
        [json!({"host": 0, "container": 1}), json!({"host": 1}), with(&port(), "protocol", json!("sctp"))]
    {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
}

#[test]
fn tasks_fit() {
    fits::<TaskView>("Task", &task());
    fits::<PastView>("PastAttempt", &past());
    knows_words::<PastView>("PastAttempt", "reason", &past());
    fits::<Page<TaskView>>("TaskList", &json!({"items": [task()], "next": TASK}));
    let item = json!({"task_id": TASK, "index": 0});
    fits::<BatchItem>("BatchItem", &item);
    fits::<BatchCreated>("BatchCreated", &json!({"batch_id": TASK, "items": [item]}));
}

#[test]
fn why_fits() {
    let because =
        json!({"code": "port", "needs": 8080, "free": "disk=ssd", "held_by": "web", "text": "it is taken"});
    let fit = json!({"node_id": NODE, "fits": false, "reasons": [because]});
    fits::<BecauseView>("Because", &because);
    fits::<NodeFitView>("NodeFit", &fit);
    let why = json!({"task_id": TASK, "name": "web", "status": "pending", "since": TIME, "summary": "it waits", "looks": 1,
        "last_look": TIME, "nodes": [fit], "nodes_total": 1, "would_run_if": ["a port were free"]});
    fits::<WhyView>("Why", &why);
    knows_words::<WhyView>("Why", "status", &why);
}

#[test]
fn logs_fit() {
    let line = json!({"stream": "stdout", "time": "2026-01-31T12:00:00.000000001Z", "line": "a\n", "line_bytes": [255, 10],
        "notice": "it is offline", "attempt": 1});
    fits::<LogLine>("LogLine", &line);
    knows_words::<LogLine>("LogLine", "stream", &line);
    let ticket = json!({
        "url": "http://127.0.0.1:8081/api/v1/tasks/x/logs", "node_id": NODE, "ticket": "pdlt_x", "ca_pem": "-----BEGIN",
        "expires_at": TIME,
    });
    fits::<LogsTicket>("LogsTicket", &ticket);
}

#[test]
fn nodes_fit() {
    let node = json!({"node_id": NODE, "hostname": "::1", "port": 8081, "status": "online", "availability": "active",
        "capacity": 10, "running_tasks": 3, "cpu_millis": 4000, "cpu_used_millis": 500, "memory_bytes": u64::MAX,
        "memory_used_bytes": 0, "labels": {"disk": "ssd"}, "engine": "docker 20.10.24", "last_heartbeat": TIME,
        "detail": "its engine does not answer"});
    fits::<NodeView>("Node", &node);
    knows_words::<NodeView>("Node", "status", &node);
    knows_words::<NodeView>("Node", "availability", &node);
    fits::<Page<NodeView>>("NodeList", &json!({"items": [node], "next": NODE}));
    let one = json!({"task_id": TASK, "attempt": 1, "name": "web", "cpu_millis": 1, "memory_bytes": 2});
    fits::<TaskStats>("TaskStats", &one);
    let stats = json!({"tasks": [one], "cpu_millis": 1, "memory_bytes": 2, "unmeasured": 1});
    fits::<NodeStats>("NodeStats", &stats);
    let image = json!({"image": "a", "status": "pulling", "detail": "pulling a"});
    fits::<ImageReply>("ImageReply", &image);
    knows_words::<ImageReply>("ImageReply", "status", &image);
}

#[test]
fn what_workers_say_fits() {
    let held = json!({"task_id": TASK, "attempt": 1, "status": "ended"});
    fits_request::<HeldAttempt>("HeldAttempt", &held, &[]);
    knows_words::<HeldAttempt>("HeldAttempt", "status", &held);
    let beat = json!({"node_id": NODE, "incarnation": 1, "epoch": 2, "revision": 3, "capacity": 10, "ready": true,
        "running_tasks": [held]});
    fits_request::<HeartbeatRequest>("HeartbeatRequest", &beat, &[]);
    let report = json!({"seq": 1, "task_id": TASK, "attempt": 1, "step": "ended", "container_id": CONTAINER,
        "started_at": TIME, "finished_at": TIME, "exit_code": 1, "reason": "exit_code", "error": "a", "detail": "b"});
    fits_request::<Report>("Report", &report, &[]);
    knows_words::<Report>("Report", "step", &report);
    let reports = json!({"incarnation": 1, "epoch": 1, "reports": [report]});
    fits_request::<ReportsRequest>("ReportsRequest", &reports, &[]);
    let stop = json!({"attempt": 1, "grace_ms": 5});
    fits_request::<StopOrder>("StopOrder", &stop, &[]);
    let attempt = json!({"task_id": TASK, "name": "web", "attempt": 1, "status": "running", "detail": "a",
        "container_id": CONTAINER});
    fits::<AttemptView>("Attempt", &attempt);
    fits::<Page<AttemptView>>("AttemptList", &json!({"items": [attempt], "next": TASK}));
}

/// `labels` may be left out, and then are written all the same.
#[test]
fn a_registration_fits() {
    let node = json!({"node_id": NODE, "instance_id": TASK, "start_id": TASK, "incarnation": 1, "cluster_id": TASK,
        "hostname": "127.0.0.1", "port": 1, "capacity": 1, "cpu_millis": 1, "memory_bytes": 1, "labels": {"a": "b"},
        "engine": "none", "engine_id": "e", "heartbeat_ms": 100});
    fits_request::<RegisterRequest>("RegisterRequest", &node, &[]);
    let reply =
        json!({"cluster_id": TASK, "epoch": 1, "incarnation": 1, "node_timeout_ms": 1, "lease_ms": 1});
    fits::<RegisterReply>("RegisterReply", &reply);
}

#[test]
fn what_the_master_says_fits() {
    fits::<TaskOrder>("TaskOrder", &order());
    let desired = json!({"task_id": TASK, "attempt": 1, "status": "scheduled", "desired": "stop", "grace_ms": 1,
        "task": order()});
    fits::<DesiredAttempt>("DesiredAttempt", &desired);
    knows_words::<DesiredAttempt>("DesiredAttempt", "desired", &desired);
    let set = json!({"cluster_id": TASK, "epoch": 1, "revision": 1, "complete": true, "register": false,
        "tasks": [desired], "forget": [TASK]});
    fits::<HeartbeatReply>("HeartbeatReply", &set);
    let assignment = json!({"epoch": 1, "incarnation": 1, "revision": 1, "attempt": 1, "task": order()});
    fits_request::<Assignment>("Assignment", &assignment, &[]);
    let verdict = json!({"seq": 1, "verdict": "accepted"});
    fits::<ReportVerdict>("ReportVerdict", &verdict);
    knows_words::<ReportVerdict>("ReportVerdict", "verdict", &verdict);
    fits::<ReportsReply>("ReportsReply", &json!({"verdicts": [verdict]}));
}

#[test]
fn events_fit() {
    let task = json!({"id": "7-43-1", "time": TIME, "type": "task", "task_id": TASK, "name": "web", "status": "failed",
        "attempt": 2, "node_id": NODE, "exit_code": 7, "reason": "exit_code", "error": "a", "detail": "b",
        "stop_requested_at": TIME, "removed": true});
    fits::<Event>("TaskEvent", &task);
    let node = json!({"id": "7-42", "time": TIME, "type": "node", "node_id": NODE, "status": "offline",
        "availability": "active", "removed": true});
    fits::<Event>("NodeEvent", &node);
    let gap = json!({"id": "7-9", "type": "gap", "after": "7-1"});
    fits::<Gap>("Gap", &gap);
    for event in [task, node, gap] {
        validator("Event").validate(&event).unwrap();
    }
}

/// That the schema of a request takes a task with this field if the server takes it.
#[track_caller]
fn agrees(validator: &jsonschema::Validator, field: &str, value: Value) {
    let asked = with(&json!({"name": "web", "image": "nginx"}), field, value);
    let taken = read::<TaskRequest>(asked.to_string().as_bytes()).and_then(Creation::try_from);
    assert_eq!(validator.is_valid(&asked), taken.is_ok(), "{asked}: {taken:?}");
}

fn long(count: usize) -> String {
    "a".repeat(count)
}

#[test]
fn images_are_the_servers() {
    let validator = validator("TaskRequest");
    let digest = format!("a@sha256:{}", "0aF".repeat(20));
    let (longest, longer) = (long(512), long(513));
    for image in [
        "localhost/x",
        "LOCALHOST:80/x",
        "a.b:65535/x",
        "a.b:65536/x",
        "a.b:0080/x",
        "a:+80/x",
        "a:/x",
        "127.0.0.1:5055/a/b:1",
        "a__b/c.d-e:T.1-_",
        &digest,
        "a@sha256:00",
        "A",
        "a/",
        "a:b:c",
        "Reg.io/a",
        ".io/a",
        "a..b",
        "",
        &longest,
        &longer,
    ] {
        agrees(&validator, "image", json!(image));
    }
}

/// What the schema of a request takes and what the server takes, where JSON Schema can say it.
#[test]
fn limits_are_the_servers() {
    let validator = validator("TaskRequest");
    for (field, value) in [
        ("name", json!(long(63))),
        ("name", json!(long(64))),
        ("name", json!("-a")),
        ("name", json!("a\n")),
        ("command", json!(["a\0"])),
        ("command", json!([])),
        ("env", json!({"": "a"})),
        ("env", json!({"A=": "a"})),
        ("env", json!({"A b\n": "a\n=ä"})),
        ("env", json!({"A": "\0"})),
        ("labels", json!({"podling.a": "b"})),
        ("labels", json!({"podlinga": "b"})),
        ("labels", json!({"a=b": "b"})),
        ("labels", json!({"a": "b\u{85}"})),
        ("labels", json!({long(256): ""})),
        ("labels", json!({long(255): long(4096)})),
        ("labels", json!({"a": long(4097)})),
        ("cpu_millis", json!(0)),
        ("cpu_millis", json!(1_000_000_000)),
        ("cpu_millis", json!(1_000_000_001)),
        ("memory_bytes", json!(1_u64 << 62)),
        ("memory_bytes", json!((1_u64 << 62) + 1)),
        ("network", json!("none")),
        ("network", json!("node")),
        ("pull", json!("often")),
        ("user", json!("a:b")),
        ("user", json!("a:b:c")),
        ("user", json!("-a")),
        ("user", json!(long(65))),
        ("workdir", json!("a")),
        ("workdir", json!("/\n")),
        ("restart", json!({"policy": "always", "max": 0})),
        ("restart", json!({"policy": "always"})),
        ("restart", json!({"policy": "never"})),
        ("restart", json!({"policy": "never", "max": 1})),
        ("restart", json!({"policy": "maybe"})),
        ("on_node_lost", json!("pray")),
        ("pending_timeout_ms", json!(31_536_000_000_u64)),
        ("stop_grace_ms", json!(31_536_000_001_u64)),
        ("stop_grace_ms", json!(-1)),
        ("count", json!(0)),
        ("count", json!(100_000)),
        ("count", json!(100_001)),
        ("index", json!(1)),
        ("name", Value::Null),
    ] {
        agrees(&validator, field, value);
    }
}

#[test]
fn no_schema_is_forgotten() {
    let listed = schemas::all();
    let names: BTreeSet<&str> = listed.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), listed.len(), "no name twice");
    let named = |document: &str| {
        let document: Value = serde_json::from_str(document).unwrap();
        keys(&document["components"]["schemas"])
    };
    let mut used = named(super::master_document());
    used.extend(named(super::worker_document()));
    assert_eq!(names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), used);
}

#[test]
fn no_code_is_listed_twice() {
    let codes: BTreeSet<&str> = super::problems::CODES.iter().map(|one| one.code).collect();
    assert_eq!(codes.len(), super::problems::CODES.len());
}
