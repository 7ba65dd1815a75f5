//! Who may do what, with the real binaries: each token against each route, tokens that end, nodes that join, nodes that
//! claim to be others, and a worker that takes orders from nobody but its master.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod wire;

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use podling::api::routes::{self, MASTER, MasterRoute, WORKER};
use podling::api::wire::log::LogsTicket;
use podling::api::wire::token::{JoinReply, TokenMade};
use podling::http::{Client, ClientError};
use podling::model::access::{Needs, Scope};
use podling::model::node::NodeStatus;
use podling::pki::Authority;
use podling::runtime::clock;
use serde_json::{Value, json};
use support::part::{LONG, wait_until};
use support::proxy::Proxy;
use support::{Cluster, MasterOptions, WorkerOptions};
use wire::Reply;

const HOLLOW: WorkerOptions = WorkerOptions {
    engine: "hollow",
    capacity: 100,
    concurrency: 4,
    log_max: "10Mi",
    engine_host: None,
    token_file: None,
    more: &[],
};

/// A token that is made for a test.
fn made(cluster: &Cluster, wanted: &Value) -> TokenMade {
    cluster.client.post(routes::TOKENS, wanted, LONG, false).unwrap()
}

fn scoped(cluster: &Cluster, scope: Scope) -> String {
    made(cluster, &json!({"scope": scope})).token.0
}

fn word(cluster: &Cluster) -> String {
    made(cluster, &json!({"join": true})).token.0
}

/// What of a join word is sent.
fn secret_of(word: &str) -> String {
    word.rsplit_once('_').unwrap().0.to_owned()
}

fn join(cluster: &Cluster, node: &str) -> JoinReply {
    cluster.client.post(routes::JOIN, &json!({"node_id": node}), LONG, false).unwrap()
}

fn client(cluster: &Cluster, token: &str) -> Client {
    Client::new(&cluster.master.url()).unwrap().with_token(token)
}

/// The status and the code of a refusal; 0 where it was none.
fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (u16, String) {
    match answer {
        Err(ClientError::Refused(problem)) => (problem.status, problem.code.into_owned()),
        Ok(_) => (0, String::new()),
        Err(error) => panic!("{error}"),
    }
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A task that runs for a while, on no Engine.
fn lasting(name: &str) -> Value {
    json!({"name": name, "image": "hollow/task", "network": "none", "env": {"HOLLOW_RUN_MS": "600000"}})
}

/// A raw request without a body.
fn raw(address: SocketAddr, method: &str, path: &str, token: Option<&str>) -> Reply {
    let shown = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let mut client = wire::Client::new(TcpStream::connect(address).unwrap());
    client.say(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{shown}Content-Length: 0\r\n\r\n").as_bytes());
    client.reply()
}

fn code(reply: &Reply) -> String {
    match serde_json::from_slice::<Value>(&reply.body) {
        Ok(body) => body["code"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

/// A path that fits a pattern.
fn path_of(pattern: &str) -> String {
    let path = pattern.replace(":id", "nobody");
    if path == routes::EVENTS { path + "?follow=false" } else { path }
}

/// Whether it is for who asks to be told more than that they may not.
fn is_let_in(reply: &Reply) -> bool {
    !matches!(reply.status, 401 | 403)
}

// --------------------------------------------------------------------------------------------------------- routes

#[test]
fn each_route_of_the_master_asks_for_what_its_row_says() {
    let cluster = Cluster::start(MasterOptions { store: "memory", ..MasterOptions::default() });
    let scopes = Scope::ALL.map(|scope| (scope, scoped(&cluster, scope)));
    let (node, word) = (join(&cluster, "nobody").node_token.0, secret_of(&word(&cluster)));
    let address = cluster.master.address;
    for row in MASTER {
        let ask = |token: Option<&str>| raw(address, row.method, &path_of(row.pattern), token);
        let what = format!("{} {}", row.method, row.pattern);
        let bare = ask(None);
        if row.needs == Needs::Nothing {
            assert!(is_let_in(&bare), "{what}: {bare:?}");
            continue;
        }
        assert_eq!((bare.status, code(&bare).as_str()), (401, "no_token"), "{what}");
        assert_eq!(bare.header("WWW-Authenticate"), Some("Bearer"), "{what}");
        for (scope, token) in &scopes {
            let (reply, shown) = (ask(Some(token)), format!("{what} with {scope}"));
            let (may, otherwise) = match row.needs {
                Needs::Scope(needed) => (*scope >= needed, "scope"),
                Needs::Join => (*scope == Scope::Admin, "scope"),
                Needs::Node => (false, "foreign_node"),
                Needs::Nothing | Needs::Master | Needs::MasterOrTicket => unreachable!("{what}"),
            };
            assert_eq!(is_let_in(&reply), may, "{shown}: {reply:?}");
            assert!(may || (reply.status, code(&reply).as_str()) == (403, otherwise), "{shown}: {reply:?}");
        }
        let is_nodes = matches!(row.needs, Needs::Node | Needs::Join);
        assert_eq!(is_let_in(&ask(Some(&node))), is_nodes, "{what} with a node's token");
        assert_eq!(is_let_in(&ask(Some(&word))), row.needs == Needs::Join, "{what} with a join word");
    }
    assert!(
        MASTER.iter().filter(|row| row.needs == Needs::Nothing).all(|row| {
            matches!(row.to, MasterRoute::Healthz | MasterRoute::Readyz | MasterRoute::OpenApi)
        })
    );
}

#[test]
fn who_is_not_known_is_told_nothing_and_who_guesses_is_slowed_down() {
    let cluster = Cluster::start(MasterOptions { store: "memory", ..MasterOptions::default() });
    let (address, token) = (cluster.master.address, cluster.admin_token());
    for (method, path) in [("GET", "/nowhere"), ("PUT", "/api/v1/tasks"), ("GET", "/api/v1/%zz")] {
        assert_eq!(code(&raw(address, method, path, None)), "no_token", "{method} {path}");
    }
    let status = |method, path| raw(address, method, path, Some(&token)).status;
    assert_eq!((status("GET", "/nowhere"), status("PUT", "/api/v1/tasks")), (404, 405));
    let unknown = token.replace("pdl_", "pdl_0");
    let other = format!("{}0", &token[..token.len() - 1]);
    let other = if other == token { format!("{}1", &token[..token.len() - 1]) } else { other };
    for wrong in ["x", &unknown, &other, "pdl__"] {
        let reply = raw(address, "GET", routes::TASKS, Some(wrong));
        reply.is_problem(401, "unknown_token");
    }
    let many = || (0..60).map(|_| raw(address, "GET", routes::TASKS, Some("x")).status).max();
    wait_until("who guesses fast is slowed down", || many() == Some(429));
    assert_eq!(status("GET", routes::TASKS), 200, "who knows is not");
}

#[test]
fn each_route_of_a_worker_asks_for_the_masters_key() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", HOLLOW);
    let (address, key) = (cluster.worker("worker-1").address, cluster.key_of("worker-1"));
    let others = [cluster.admin_token(), join(&cluster, "worker-2").node_key.0];
    wait_until("it is ready", || raw(address, "GET", "/readyz", None).status == 200);
    for row in WORKER {
        let ask = |token: Option<&str>| raw(address, row.method, &path_of(row.pattern), token);
        let what = format!("{} {}", row.method, row.pattern);
        if row.needs == Needs::Nothing {
            assert!(is_let_in(&ask(None)), "{what}");
            continue;
        }
        assert_eq!(code(&ask(None)), "no_token", "{what}");
        assert!(others.iter().all(|other| code(&ask(Some(other))) == "unknown_token"), "{what}");
        assert!(is_let_in(&ask(Some(&key))), "{what}");
    }
    assert_eq!(code(&raw(address, "GET", "/nowhere", None)), "no_token");
}

// ------------------------------------------------------------------------------------------------------- what is seen

#[test]
fn who_may_submit_sees_and_ends_its_own_tasks_alone() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", HOLLOW);
    let [one, other, reader] =
        [Scope::Submit, Scope::Submit, Scope::Read].map(|scope| client(&cluster, &scoped(&cluster, scope)));
    let spec =
        json!({"name": "web", "image": "hollow/task", "network": "none", "env": {"K": "s3cret"}, "count": 1});
    let made: Value = one.post(routes::TASKS, &spec, LONG, false).unwrap();
    let id = made["items"][0]["task_id"].as_str().unwrap();
    let env = |client: &Client, path: &str| {
        let found: Value = client.get(path, LONG).unwrap();
        let task = found.get("items").map_or(&found, |items| &items[0]);
        (
            task["env"]["K"].as_str().unwrap().to_owned(),
            task["env"]["PODLING_INDEX"].as_str().unwrap().to_owned(),
        )
    };
    for path in [routes::task(id), routes::TASKS.to_owned()] {
        for (who, shown) in [(&one, "s3cret"), (&other, "***"), (&reader, "***"), (&cluster.client, "s3cret")]
        {
            assert_eq!(env(who, &path), (shown.to_owned(), "0".to_owned()), "{path}");
        }
    }
    let stop = |client: &Client, by: &str| {
        refusal(client.post::<Value>(&routes::task_stop(by), &json!({}), LONG, false))
    };
    for by in [id, "web-0", &id[..20]] {
        assert_eq!(stop(&other, by), refused(403, "scope"));
        assert_eq!(stop(&reader, by), refused(403, "scope"));
        assert_eq!(refusal(other.delete(&routes::task(by), LONG)), refused(403, "scope"));
    }
    assert_eq!(stop(&other, "nothing"), refused(404, "task_not_found"));
    assert_eq!(stop(&one, id), (0, String::new()));
    cluster.wait_for_end(id);
    assert_eq!(refusal(one.delete(&routes::task(id), LONG)), (0, String::new()));
    let key = |client: &Client| {
        let task = json!({"name": "once", "image": "hollow/task", "network": "none"});
        let body = Some(task.to_string().into_bytes());
        let headers = [("Idempotency-Key", "k")];
        let call = podling::http::client::Call {
            headers: &headers,
            body,
            ..podling::http::client::Call::new("POST", routes::TASKS, LONG)
        };
        client.call(call).unwrap().json::<Value>().unwrap()["task_id"].as_str().unwrap().to_owned()
    };
    let (first, again, another) = (key(&one), key(&one), key(&other));
    assert_eq!(first, again);
    assert_ne!(first, another, "a key is its token's");
}

#[test]
fn apply_says_that_it_can_not_compare_what_it_may_not_see() {
    let cluster = Cluster::start(MasterOptions { store: "memory", ..MasterOptions::default() });
    let file = cluster.data_of_master().with_file_name("tasks.toml");
    let text = "[[task]]\nname = \"web\"\nimage = \"hollow/task\"\nenv = { K = \"s3cret\" }\n";
    std::fs::write(&file, text).unwrap();
    let apply = ["apply", file.to_str().unwrap()];
    cluster.podling_ok(&apply);
    assert_eq!(cluster.podling(&apply).code, Some(0), "the administrator sees that it is so");
    let said = podling_as(&cluster, &scoped(&cluster, Scope::Submit), &apply);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("env can't be compared"), "{said:?}");
    assert!(!said.stdout.contains("s3cret") && !said.stderr.contains("s3cret"), "{said:?}");
}

/// Runs the command line with another token.
fn podling_as(cluster: &Cluster, token: &str, words: &[&str]) -> support::Said {
    let file = kept(cluster, "token", token);
    let mut command = cluster.podling_command(&cluster.master.url(), words);
    command.env("PODLING_TOKEN_FILE", file);
    support::Said::of(command)
}

/// A text in a file of its own.
fn kept(cluster: &Cluster, name: &str, text: &str) -> PathBuf {
    let file = cluster.data_of_master().with_file_name(name);
    std::fs::write(&file, format!("{text}\n")).unwrap();
    file
}

// --------------------------------------------------------------------------------------------------- life of a token

#[test]
fn tokens_live_over_a_crash_and_end_when_they_are_told_to_or_their_time_is_over() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let (lives, ends) = (scoped(&cluster, Scope::Read), made(&cluster, &json!({"scope": "read"})));
    cluster.master.kill9();
    cluster.start_master_again();
    let tasks = |token: &str| refusal(client(&cluster, token).get::<Value>(routes::TASKS, LONG));
    assert_eq!((tasks(&lives), tasks(&ends.token.0)), (refused(0, ""), refused(0, "")));
    let listed: Value = cluster.client.get(routes::TOKENS, LONG).unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "the first administrator's, too");
    assert!(!listed.to_string().contains("hash") && !listed.to_string().contains("pdl_"));
    cluster.client.delete(&routes::token(ends.token_id.as_str()), LONG).unwrap();
    assert_eq!((tasks(&lives), tasks(&ends.token.0)), (refused(0, ""), refused(401, "unknown_token")));
    let gone = cluster.client.delete(&routes::token(ends.token_id.as_str()), LONG);
    assert_eq!(refusal(gone), refused(404, "token_not_found"));
    let brief = made(&cluster, &json!({"scope": "read", "expires_ms": 1_500})).token.0;
    assert_eq!(tasks(&brief), refused(0, ""));
    wait_until("its time is over", || tasks(&brief) == refused(401, "token_expired"));
    assert_eq!(tasks(&lives), refused(0, ""));
}

#[test]
fn the_first_token_is_its_owners_alone_and_is_made_anew_where_it_was_revoked() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let (file, first) = (cluster.admin_token_file(), cluster.admin_token());
    let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&cluster.data_of_master().join("state.redb"))), (0o600, 0o600));
    assert!(cluster.master.terminate().success());
    cluster.start_master_again();
    assert_eq!(cluster.admin_token(), first, "it stays");
    let id = first.split('_').nth(1).unwrap();
    cluster.client.delete(&routes::token(id), LONG).unwrap();
    assert_eq!(refusal(cluster.client.get::<Value>(routes::TASKS, LONG)), refused(401, "unknown_token"));
    assert!(cluster.master.terminate().success());
    cluster.start_master_again();
    assert_ne!(cluster.admin_token(), first);
    assert!(client(&cluster, &cluster.admin_token()).get::<Value>(routes::TASKS, LONG).is_ok());
    assert_eq!(refusal(cluster.client.get::<Value>(routes::TASKS, LONG)), refused(401, "unknown_token"));
    // Somebody else may have read it: it starts no more.
    assert!(cluster.master.terminate().success());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let said = master_at(&cluster.data_of_master());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("admin.token has the mode 0640; it must be 0600"), "{said:?}");
}

/// Starts a master on a data folder, for the moment that it takes to refuse it.
fn master_at(data: &Path) -> support::Said {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "20", env!("CARGO_BIN_EXE_podling-master"), "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(data).env_clear();
    support::Said::of(command)
}

#[test]
fn the_command_line_makes_lists_and_ends_tokens_and_says_what_to_do_without() {
    let cluster = Cluster::start(MasterOptions { store: "memory", ..MasterOptions::default() });
    let said = cluster.podling(&["token", "create", "--scope", "submit", "--expires", "1h", "--label", "CI"]);
    assert_eq!((said.code, said.stdout.lines().count()), (Some(0), 1), "{said:?}");
    let token = said.stdout.trim();
    assert!(token.starts_with("pdl_") && !said.stderr.contains(token), "{said:?}");
    let table = cluster.podling_ok(&["token", "list"]);
    let id = token.split('_').nth(1).unwrap();
    let line = table.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line.contains("submit") && line.ends_with("CI"), "{table}");
    assert!(cluster.podling_ok(&["token", "list", "-o", "name"]).lines().any(|line| line == id));
    let may_not = podling_as(&cluster, token, &["token", "list"]);
    assert_eq!((may_not.code, may_not.stderr.lines().count()), (Some(1), 1), "{may_not:?}");
    assert!(may_not.stderr.contains("podling token create --scope admin"), "{may_not:?}");
    assert_eq!(cluster.podling_ok(&["token", "rm", id]), format!("{id}\n"));
    let ended = podling_as(&cluster, token, &["ps"]);
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr.contains("--token-file"), "{ended:?}");
    let mut without = cluster.podling_command(&cluster.master.url(), &["ps"]);
    let without = support::Said::of({
        without.env_remove("PODLING_TOKEN_FILE");
        without
    });
    assert_eq!((without.code, without.stderr.lines().count()), (Some(1), 1), "{without:?}");
    assert!(without.stderr.contains("--token-file"), "{without:?}");
    let word = cluster.podling_ok(&["token", "create", "--join"]);
    let (folder, id) = (cluster.data_of_master(), cluster.id.parse().unwrap());
    let ca = Authority::create_or_open(&folder, &id, clock::wall()).unwrap();
    assert!(word.starts_with("pdlj_") && word.trim_end().ends_with(ca.fingerprint()), "{word}");
}

// -------------------------------------------------------------------------------------------------------------- nodes

/// A worker that joins with a word.
fn with_word(file: &Path) -> WorkerOptions {
    WorkerOptions { token_file: Some(Box::leak(file.display().to_string().into_boxed_str())), ..HOLLOW }
}

#[test]
fn a_word_adds_one_node_which_needs_nothing_more_after_that() {
    let mut cluster = Cluster::start(MasterOptions { node_timeout_ms: 1_500, ..MasterOptions::default() });
    let file = kept(&cluster, "word", &word(&cluster));
    cluster.start_worker("worker-1", with_word(&file));
    // Used up: by nobody else, nor by the same node again.
    let said = worker_at(&cluster, "worker-2", &file);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("does not let this node join"), "{said:?}");
    std::fs::remove_file(&file).unwrap();
    let data = cluster.data_of("worker-1");
    for name in ["node.token", "node.key"] {
        assert_eq!(std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    cluster.worker_mut("worker-1").kill9();
    cluster.start_worker_again("worker-1");
    cluster.wait_for_node("worker-1", NodeStatus::Online);
    // Removed: what it has is worth nothing.
    let token = std::fs::read_to_string(data.join("node.token")).unwrap().trim().to_owned();
    cluster.worker_mut("worker-1").terminate();
    cluster.wait_for_node("worker-1", NodeStatus::Offline);
    cluster.podling_ok(&["node", "rm", "worker-1"]);
    let beat = client(&cluster, &token).post::<Value>(routes::HEARTBEAT, &json!({}), LONG, false);
    assert_eq!(refusal(beat), refused(401, "unknown_token"));
    cluster.start_worker_again("worker-1");
    let worker = cluster.worker("worker-1");
    wait_until("it says so", || worker.log().contains("does not take this node's token"));
    assert!(cluster.node("worker-1").is_none());
    // Another word, in the same place: it joins again by itself.
    kept(&cluster, "word", &word(&cluster));
    cluster.wait_for_node("worker-1", NodeStatus::Online);
}

/// Runs a worker that is expected to end by itself.
fn worker_at(cluster: &Cluster, node: &str, token_file: &Path) -> support::Said {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "20", env!("CARGO_BIN_EXE_podling-worker"), "--listen", "127.0.0.1:0"]);
    command.args(["--engine", "hollow", "--node-id", node, "--master", &cluster.master.url()]);
    command.arg("--data-dir").arg(cluster.data_of(&format!("{node}-alone"))).env_clear();
    if token_file.as_os_str() != "" {
        command.arg("--token-file").arg(token_file);
    }
    command.env("HOME", cluster.data_of_master());
    support::Said::of(command)
}

#[test]
fn without_a_token_a_worker_says_what_it_needs_and_ends() {
    let cluster = Cluster::start(MasterOptions { store: "memory", ..MasterOptions::default() });
    let said = worker_at(&cluster, "worker-1", Path::new(""));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("podling token create --join"), "{said:?}");
    let named = worker_at(&cluster, "worker-1", Path::new("/nowhere/word"));
    assert_eq!(named.code, Some(2), "{named:?}");
    assert!(named.stderr.contains("--token-file: /nowhere/word: "), "{named:?}");
    let reader = kept(&cluster, "reader", &scoped(&cluster, Scope::Operate));
    let may_not = worker_at(&cluster, "worker-1", &reader);
    assert_eq!(may_not.code, Some(1), "{may_not:?}");
    assert!(may_not.stderr.contains("needs a token with the scope admin"), "{may_not:?}");
}

#[test]
fn a_worker_finds_the_token_of_a_master_of_this_machine_also_if_that_comes_later() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let (way, folder) = (Proxy::to(cluster.master.address), cluster.data_of_master());
    let (folder, own) = (folder.parent().unwrap(), cluster.admin_token_file());
    let at_home = folder.join("home/.local/share/podling/master");
    way.shut();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let log = || std::fs::read_to_string(folder.join("worker-1.log")).unwrap_or_default();
            wait_until("it has asked in vain", || log().contains("no answer from the master"));
            std::fs::create_dir_all(&at_home).unwrap();
            std::fs::copy(&own, at_home.join("admin.token")).unwrap();
            way.open();
        });
        cluster.start_worker_at("worker-1", WorkerOptions { token_file: Some(""), ..HOLLOW }, &way.url());
    });
    assert!(cluster.data_of("worker-1").join("node.key").exists());
}

#[test]
fn a_node_speaks_for_itself_alone() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", HOLLOW);
    let stranger = client(&cluster, &join(&cluster, "worker-2").node_token.0);
    let id = cluster.create(&lasting("web")).task_id;
    cluster.wait_for_running(id.as_str());
    let before = cluster.task(id.as_str());
    let node: Value = cluster.client.get(&routes::node("worker-1"), LONG).unwrap();
    let reports = json!({"incarnation": 1, "epoch": cluster.epoch(), "reports": [
        {"seq": 1, "task_id": id, "attempt": 1, "step": "ended", "exit_code": 0}]});
    let beat = json!({"node_id": "worker-1", "incarnation": 1, "epoch": cluster.epoch(), "revision": 0,
        "capacity": 1, "ready": true, "running_tasks": []});
    let registration = json!({"node_id": "worker-1", "instance_id": "i0000000000000000000000000",
        "start_id": "s0000000000000000000000000", "incarnation": 9, "hostname": "127.0.0.1", "port": 1,
        "capacity": 2, "cpu_millis": 4000, "memory_bytes": 8_589_934_592_u64, "engine": "hollow 1",
        "engine_id": "e", "heartbeat_ms": 10_000});
    for who in [&stranger, &cluster.client] {
        for (path, body) in [
            (routes::node_reports("worker-1"), &reports),
            (routes::HEARTBEAT.to_owned(), &beat),
            (routes::NODES.to_owned(), &registration),
        ] {
            let answer = who.post::<Value>(&path, body, LONG, false);
            assert_eq!(refusal(answer), refused(403, "foreign_node"), "{path}");
        }
    }
    let after = cluster.task(id.as_str());
    assert_eq!((after.status, after.exit_code), (before.status, None), "{after:?}");
    let now: Value = cluster.client.get(&routes::node("worker-1"), LONG).unwrap();
    assert_eq!((&now["port"], &now["capacity"]), (&node["port"], &node["capacity"]));
    // Nor does anybody join under the name of a node that is there.
    let taken = cluster.client.post::<Value>(routes::JOIN, &json!({"node_id": "worker-1"}), LONG, false);
    assert_eq!(refusal(taken), refused(409, "node_id_in_use"));
}

#[test]
fn a_ticket_opens_one_log_for_a_while() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", HOLLOW);
    let [one, other] = ["one", "other"].map(|name| {
        let id = cluster.create(&lasting(name)).task_id.to_string();
        cluster.wait_for_running(&id);
        id
    });
    let reader = client(&cluster, &scoped(&cluster, Scope::Read));
    let told: LogsTicket =
        reader.post(&(routes::logs_ticket(&one) + "?attempt=1"), &json!({}), LONG, true).unwrap();
    let ticket = told.ticket.unwrap().0;
    assert!(told.expires_at.is_some());
    let address = cluster.worker("worker-1").address;
    let open = |task: &str, query: &str| {
        raw(address, "GET", &format!("{}{query}", routes::task_logs(task)), Some(&ticket)).status
    };
    assert_eq!(open(&one, "?attempt=1"), 200);
    assert_eq!((open(&one, ""), open(&one, "?attempt=2"), open(&other, "?attempt=1")), (401, 401, 401));
    assert_eq!(raw(address, "GET", routes::TASKS, Some(&ticket)).status, 401, "it opens nothing else");
    assert_eq!(cluster.podling(&["logs", "--direct", &one]).code, Some(0));
}

// ------------------------------------------------------------------------------------------------------------ secrets

#[test]
fn no_secret_is_in_a_log_or_on_a_command_line() {
    let mut cluster = Cluster::start(MasterOptions::default());
    let word = word(&cluster);
    let file = kept(&cluster, "word", &word);
    cluster.start_worker("worker-1", with_word(&file));
    let reader = scoped(&cluster, Scope::Read);
    let _ = client(&cluster, &reader).get::<Value>(routes::TOKENS, LONG);
    let _ = client(&cluster, &format!("{reader}0")).get::<Value>(routes::TASKS, LONG);
    let id = cluster.create(&lasting("web")).task_id;
    cluster.wait_for_running(id.as_str());
    let token = std::fs::read_to_string(cluster.data_of("worker-1").join("node.token")).unwrap();
    let secrets = [cluster.admin_token(), word, reader, token, cluster.key_of("worker-1")];
    let secrets = secrets.map(|text| text.trim().split('_').nth(2).unwrap_or(text.trim()).to_owned());
    let shown = [&cluster.master, cluster.worker("worker-1")].map(|part| {
        let line = std::fs::read(format!("/proc/{}/cmdline", part.pid().as_raw_nonzero())).unwrap();
        format!("{}\n{}", part.log(), String::from_utf8_lossy(&line))
    });
    let listed = cluster.podling_ok(&["token", "list", "-o", "json"]);
    for secret in &secrets {
        assert_eq!(secret.len(), 64);
        assert!(!shown.iter().chain([&listed]).any(|text| text.contains(secret)));
    }
    assert!(shown[0].contains("token made") && shown[0].contains("node joined"), "{}", shown[0]);
}

#[test]
fn without_tokens_everybody_may_do_everything_and_is_told_so() {
    let mut cluster = Cluster::start(MasterOptions { insecure: true, ..MasterOptions::default() });
    let anybody = Client::new(&cluster.master.url()).unwrap();
    let health: Value = anybody.get("/healthz", LONG).unwrap();
    assert_eq!(health, json!({"status": "ok", "insecure": true}));
    assert!(anybody.get::<Value>(routes::TOKENS, LONG).is_ok());
    assert!(!cluster.admin_token_file().exists());
    cluster.start_worker("worker-1", HOLLOW);
    assert!(!cluster.data_of("worker-1").join("node.key").exists());
    let worker = cluster.worker("worker-1").address;
    assert_eq!(raw(worker, "GET", routes::TASKS, None).status, 200);
    let said = cluster.podling(&["nodes"]);
    assert_eq!((said.code, said.stderr.lines().count()), (Some(0), 1), "{said:?}");
    assert!(said.stderr.contains("insecure"), "{said:?}");
    assert!(cluster.master.log().contains("insecure"));
}
