//! The master's API against bad input, on the real binary: each mistake has its exact status and code, and is named.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod wire;

use std::net::TcpStream;

use serde_json::{Value, json};
use support::{Cluster, MasterOptions};
use wire::{Client, Reply};

/// One raw request, so that nothing on the way mends it.
fn ask(cluster: &Cluster, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    ask_showing(cluster, &cluster.authorization(), method, path, headers, body)
}

/// The same, by whoever has another token than the administrator's.
fn ask_showing(
    cluster: &Cluster,
    shown: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Reply {
    let mut client = Client::new(TcpStream::connect(cluster.master.address).unwrap());
    let length = body.len();
    client.say(
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{shown}{headers}Content-Length: {length}\r\n\r\n")
            .as_bytes(),
    );
    client.say(body);
    client.reply()
}

const JSON: &str = "Content-Type: application/json\r\n";

/// That a JSON body is refused so, in words that name what is wrong.
#[track_caller]
fn refuses(cluster: &Cluster, path: &str, body: impl AsRef<[u8]>, status: u16, code: &str, says: &str) {
    refuses_to(cluster, &cluster.authorization(), path, body.as_ref(), (status, code, says));
}

/// The same, by whoever has another token than the administrator's.
#[track_caller]
fn refuses_to(
    cluster: &Cluster,
    shown: &str,
    path: &str,
    body: &[u8],
    (status, code, says): (u16, &str, &str),
) {
    let reply = ask_showing(cluster, shown, "POST", path, JSON, body);
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    assert_eq!((reply.status, &reply.json()["code"]), (status, &json!(code)), "{path} {shown}: {reply:?}");
    reply.is_problem(status, code);
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(says), "{path} {shown}: {detail:?} doesn't say {says:?}");
}

/// A task that would be taken, with one more member.
fn with(member: &str) -> String {
    format!(r#"{{"name":"web","image":"nginx",{member}}}"#)
}

#[test]
fn a_bad_task_is_refused_and_what_is_wrong_is_named() {
    let cluster = Cluster::start(MasterOptions::default());
    let tasks = "/api/v1/tasks";
    for body in ["", "{", "nonsense", r#"{"name":"web","image":"nginx"} {}"#, "\u{feff}{}"] {
        refuses(&cluster, tasks, body, 400, "malformed_json", "");
    }
    refuses(&cluster, tasks, b"{\"name\":\"\xff\",\"image\":\"nginx\"}", 400, "malformed_json", "");
    refuses(&cluster, tasks, "[".repeat(100_000), 400, "malformed_json", "");
    let nested = with(&format!(r#""secrets":{}1{}"#, "[".repeat(10_000), "]".repeat(10_000)));
    refuses(&cluster, tasks, nested, 400, "malformed_json", "recursion");
    for (body, says) in [
        ("null".to_owned(), "invalid type: null"),
        ("7".to_owned(), "invalid type: integer"),
        (r#"{"image":"nginx"}"#.to_owned(), "missing field `name`"),
        (r#"{"name":"web"}"#.to_owned(), "missing field `image`"),
        (r#"{"name":7,"image":"nginx"}"#.to_owned(), "name: invalid type: integer"),
        (r#"{"name":"web","name":"web","image":"nginx"}"#.to_owned(), "duplicate field `name`"),
        (r#"{"name":"","image":"nginx"}"#.to_owned(), "name: must match"),
        (r#"{"name":"-web","image":"nginx"}"#.to_owned(), "name: must match"),
        (r#"{"name":"a/b","image":"nginx"}"#.to_owned(), "name: must match"),
        (r#"{"name":"..","image":"nginx"}"#.to_owned(), "name: must match"),
        (format!(r#"{{"name":"{}","image":"nginx"}}"#, "n".repeat(64)), "name: must match"),
        (r#"{"name":"web","image":""}"#.to_owned(), "image: must not be empty"),
        (r#"{"name":"web","image":"a b"}"#.to_owned(), "image: \"a b\""),
        (r#"{"name":"web","image":"-v"}"#.to_owned(), "image: \"-v\""),
        (r#"{"name":"web","image":"a\u0000"}"#.to_owned(), "image: "),
        (with(r#""colour":1"#), "colour: unknown field"),
        (with(r#""command":"sh""#), "command: invalid type: string"),
        (with(r#""command":["a\u0000b"]"#), "command[0]: must not hold NUL"),
        (with(r#""env":null"#), "env: invalid type: null"),
        (with(r#""env":{"A":1}"#), "env.A: invalid type: integer"),
        (with(r#""env":{"A=B":"c"}"#), "env: the name \"A=B\""),
        (with(r#""env":{"A\u0000":"c"}"#), "env: the name \"A\\0\""),
        (with(r#""env":{"":"c"}"#), "env: a variable's name"),
        (with(r#""env":{"A":"\u0000"}"#), "env: the value of \"A\""),
        (with(r#""labels":{"podling.task":"x"}"#), "labels: \"podling.task\""),
        (with(r#""ports":[{"host":0,"container":80}]"#), "ports: a port must be 1 to 65535"),
        (with(r#""ports":[{"host":65536,"container":80}]"#), "ports[0].host: invalid value"),
        (with(r#""ports":[{"host":1,"container":80,"protocol":"sctp"}]"#), "ports[0].protocol"),
        (with(r#""cpu_millis":0"#), "cpu_millis: must be"),
        (with(r#""cpu_millis":-1"#), "cpu_millis: invalid value"),
        (with(r#""memory_bytes":1.5"#), "memory_bytes: invalid type"),
        (with(r#""network":"mars""#), "network: \"mars\""),
        (with(r#""pull":"perhaps""#), "pull: "),
        (with(r#""workdir":"relative""#), "workdir: "),
        (with(r#""user":"-v""#), "user: "),
        (with(r#""pending_timeout_ms":99999999999999"#), "pending_timeout_ms: must be at most"),
        (with(r#""count":0"#), "count: must be 1 to 100000"),
        (with(r#""count":100001"#), "count: must be 1 to 100000"),
        (with(r#""restart":{"policy":"sometimes"}"#), "restart.policy: \"sometimes\""),
        (with(r#""on_node_lost":"pray""#), "on_node_lost: \"pray\""),
        ("[]".to_owned(), "1 to 100000 tasks"),
        (format!("[{}]", with(r#""count":2"#)), "[0].count: "),
        (r#"[{"name":"a","image":"x"},{"name":"b"}]"#.to_owned(), "[1]: missing field `image`"),
    ] {
        refuses(&cluster, tasks, body, 422, "invalid", says);
    }
    refuses(&cluster, tasks, with(r#""network":"host""#), 403, "policy", "network: ");
    refuses(&cluster, tasks, with(r#""secrets":[]"#), 422, "not_supported", "secrets: ");
    assert!(cluster.tasks().is_empty(), "nothing of this made a task");
}

#[test]
fn bodies_have_a_size_and_a_type() {
    let cluster = Cluster::start(MasterOptions::default());
    let created = cluster.create(&json!({"name": "web", "image": "nginx"}));
    let stop = format!("/api/v1/tasks/{}/stop", created.task_id);
    let long = |length: usize| {
        let mut body = with(r#""env":{"A":""}"#);
        let padding = "a".repeat(length - body.len());
        body.insert_str(body.len() - 3, &padding);
        assert_eq!(body.len(), length);
        body
    };
    assert_eq!(ask(&cluster, "POST", "/api/v1/tasks", JSON, long(1 << 20).as_bytes()).status, 201);
    refuses(&cluster, "/api/v1/tasks", long((1 << 20) + 1), 413, "body_too_large", "1048576");
    refuses(&cluster, &stop, vec![b' '; (1 << 20) + 1], 413, "body_too_large", "1048576");
    let valid = br#"{"name":"web","image":"nginx"}"#;
    for (headers, says) in [("", "no Content-Type"), ("Content-Type: text/plain\r\n", "text/plain")] {
        let reply = ask(&cluster, "POST", "/api/v1/tasks", headers, valid);
        reply.is_problem(415, "unsupported_media_type");
        assert!(reply.json()["detail"].as_str().unwrap().contains(says), "{reply:?}");
    }
    assert_eq!(cluster.tasks().len(), 2);
}

#[test]
fn paths_lead_to_a_task_or_nowhere() {
    let cluster = Cluster::start(MasterOptions::default());
    for (path, status, code) in [
        ("/api/v1/tasks/nobody", 404, "task_not_found"),
        ("/api/v1/tasks/nobody/logs", 404, "task_not_found"),
        ("/api/v1/tasks/a/b", 404, "no_such_path"),
        ("/api/v1/tasks/a%2Fb", 404, "task_not_found"),
        ("/api/v1/tasks/..", 404, "task_not_found"),
        ("/api/v1/tasks/%2e%2e", 404, "task_not_found"),
        ("/api/v1/tasks/%2e%2e%2fnodes", 404, "task_not_found"),
        ("/api/v1/tasks/%00", 404, "task_not_found"),
        ("/api/v1/tasks/%ff", 400, "malformed_path"),
        ("/api/v1/tasks/%zz", 400, "malformed_path"),
        ("/api/v1/nodes/..", 404, "node_not_found"),
        ("/api/v1/nodes/a%20b", 404, "node_not_found"),
        ("/nowhere", 404, "no_such_path"),
        ("/api/v1/tasks?limit=0", 422, "invalid"),
        ("/api/v1/tasks?limit=10001", 422, "invalid"),
        ("/api/v1/tasks?limit=-1", 422, "invalid"),
        ("/api/v1/tasks?limit=1&limit=2", 422, "invalid"),
        ("/api/v1/tasks?after=../x", 422, "invalid"),
        ("/api/v1/tasks?status=happy", 422, "invalid"),
        ("/api/v1/tasks?label=x", 422, "invalid"),
        ("/api/v1/tasks?colour=red", 422, "unknown_parameter"),
        ("/api/v1/tasks?limit=%zz", 400, "malformed_query"),
    ] {
        let reply = ask(&cluster, "GET", path, "", b"");
        assert_eq!((reply.status, &reply.json()["code"]), (status, &json!(code)), "{path}: {reply:?}");
        reply.is_problem(status, code);
    }
    for (method, path, allowed) in
        [("PUT", "/api/v1/tasks", "POST"), ("POST", "/healthz", "GET"), ("DELETE", "/api/v1/tasks", "GET")]
    {
        let reply = ask(&cluster, method, path, JSON, b"{}");
        reply.is_problem(405, "method_not_allowed");
        assert!(reply.header("Allow").unwrap().contains(allowed), "{reply:?}");
    }
}

#[test]
fn what_conflicts_with_the_state_of_things_is_refused() {
    let cluster = Cluster::start(MasterOptions::default());
    let web = json!({"name": "web", "image": "nginx"});
    let first = cluster.create(&web).task_id.to_string();
    let second = cluster.create(&web).task_id.to_string();
    let problem = cluster.refusal("DELETE", &format!("/api/v1/tasks/{first}"), None);
    assert_eq!((problem.status, problem.code.as_ref()), (409, "task_lives"));
    // The two were made within moments of each other, so that their ids begin alike.
    let alike = first.chars().zip(second.chars()).take_while(|(a, b)| a == b).count();
    let problem = cluster.refusal("GET", &format!("/api/v1/tasks/{}", &first[..alike]), None);
    assert_eq!((problem.status, problem.code.as_ref()), (409, "ambiguous"));
    assert_eq!(problem.extra["candidates"].as_array().unwrap().len(), 2);
    let newest = cluster.task("web").task_id;
    assert_eq!(newest.as_str(), second, "a name means the newest");

    let post = |key: &str, body: &Value| {
        let headers = format!("{JSON}Idempotency-Key: {key}\r\n");
        ask(&cluster, "POST", "/api/v1/tasks", &headers, body.to_string().as_bytes())
    };
    let made = post("once", &web);
    assert_eq!(made.status, 201);
    assert_eq!(post("once", &web).json()["task_id"], made.json()["task_id"]);
    post("once", &json!({"name": "other", "image": "nginx"})).is_problem(422, "key_reused");
    post(&"k".repeat(256), &web).is_problem(400, "invalid_key");
    assert_eq!(cluster.tasks().len(), 3);
}

#[test]
fn who_is_no_node_is_told_so() {
    let cluster = Cluster::start(MasterOptions::default());
    // Each has joined, and is no node yet.
    let itself = |node: &str| {
        let joined = cluster.ask("POST", "/join", Some(json!({"node_id": node}))).unwrap();
        let token = joined.json::<Value>().unwrap()["node_token"].as_str().unwrap().to_owned();
        format!("Authorization: Bearer {token}\r\n")
    };
    let (ghost, itself) = (itself("ghost"), itself("w"));
    let refuses = |shown: &str, path: &str, body: String, status, code, says| {
        refuses_to(&cluster, shown, path, body.as_bytes(), (status, code, says));
    };
    let beat = json!({"node_id": "ghost", "incarnation": 1, "epoch": 1, "revision": 1, "capacity": 1,
        "ready": true, "running_tasks": []});
    refuses(&ghost, "/api/v1/heartbeat", beat.to_string(), 404, "node_not_found", "ghost");
    let reports = json!({"incarnation": 1, "epoch": 1, "reports": []});
    refuses(&ghost, "/api/v1/nodes/ghost/reports", reports.to_string(), 404, "node_not_found", "ghost");
    let node = |member: &str, value: Value| {
        let mut node = json!({"node_id": "w", "instance_id": "i0000000000000000000000000",
            "start_id": "s0000000000000000000000000", "incarnation": 1, "hostname": "127.0.0.1", "port": 1,
            "capacity": 1, "cpu_millis": 1, "memory_bytes": 1, "engine": "none", "engine_id": "e",
            "heartbeat_ms": 100});
        node[member] = value;
        node.to_string()
    };
    for (member, value) in [
        ("node_id", json!("../w")),
        ("node_id", json!("")),
        ("hostname", json!("a b")),
        ("hostname", json!("")),
        ("port", json!(0)),
        ("capacity", json!(0)),
        ("heartbeat_ms", json!(0)),
        ("colour", json!("red")),
    ] {
        refuses(&itself, "/api/v1/nodes", node(member, value), 422, "invalid", member);
    }
    let foreign = node("cluster_id", json!("c0000000000000000000000000"));
    refuses(&itself, "/api/v1/nodes", foreign, 409, "foreign_cluster", "another cluster");
    assert!(cluster.node("w").is_none());
}
