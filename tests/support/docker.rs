//! The Docker Engine of this machine, asked directly: for what an [`Engine`](podling::engine::Engine) doesn't say or
//! do, and for looking at what a cluster did without asking the cluster.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use podling::api::routes::escape;
use podling::engine::docker::{Deadlines, DockerEngine};
use podling::engine::{Engine, LABEL_ATTEMPT, LABEL_CLUSTER, LABEL_NODE, LABEL_TASK};
use serde_json::{Value, json};

/// The image that every test runs.
pub(crate) const IMAGE: &str = "podling/busybox:latest";

/// Where the tests' Docker Engine listens; none is the local socket.
pub(crate) fn docker_host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok()
}

/// The Engine, with the image in it. Without it a test fails and says what to do.
pub(crate) fn engine() -> DockerEngine {
    let engine = DockerEngine::connect(docker_host().as_deref(), Deadlines::default()).unwrap();
    if let Err(error) = engine.describe() {
        panic!("no Docker Engine answers ({error}): run scripts/engine, or scripts/test which runs it first");
    }
    if !engine.has_image(&IMAGE.parse().unwrap()).unwrap() {
        make_image();
    }
    engine
}

fn make_image() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/image");
    assert!(script.exists(), "the image {IMAGE} is missing, and so is scripts/image, which makes it");
    let status = Command::new(&script).status().unwrap();
    assert!(status.success(), "scripts/image could not make {IMAGE}");
}

/// One plain request to Docker: status line and body.
pub(crate) fn ask_docker(method: &str, path: &str, headers: &str) -> (String, String) {
    ask_with(method, path, headers, "")
}

fn ask_with(method: &str, path: &str, headers: &str, body: &str) -> (String, String) {
    let host = docker_host().unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let path_of_socket = host.strip_prefix("unix://").expect("these tests want Docker on a unix socket");
    let mut socket = UnixStream::connect(path_of_socket).unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

/// A container that carries a cluster's label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) node: String,
    pub(crate) task: String,
    pub(crate) attempt: String,
    /// `created`, `running`, `exited` …
    pub(crate) state: String,
}

/// Every container of a cluster, running or not, by id.
pub(crate) fn containers_of(cluster: &str) -> Vec<Container> {
    let filters = json!({ "label": [format!("{LABEL_CLUSTER}={cluster}")] }).to_string();
    let (status, body) =
        ask_docker("GET", &format!("/containers/json?all=1&filters={}", escape(&filters)), "");
    assert!(status.contains(" 200 "), "{status} {body}");
    let rows: Vec<Value> = serde_json::from_str(&body).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<Container> = rows
        .iter()
        .map(|row| Container {
            id: text(&row["Id"]),
            node: text(&row["Labels"][LABEL_NODE]),
            task: text(&row["Labels"][LABEL_TASK]),
            attempt: text(&row["Labels"][LABEL_ATTEMPT]),
            state: text(&row["State"]),
        })
        .collect();
    found.sort();
    found
}

/// All that Docker knows of a container; none where there is no such container.
pub(crate) fn inspect(id: &str) -> Option<Value> {
    let (status, body) = ask_docker("GET", &format!("/containers/{id}/json"), "");
    if status.contains(" 404 ") {
        return None;
    }
    assert!(status.contains(" 200 "), "{status} {body}");
    Some(serde_json::from_str(&body).unwrap())
}

/// Sends KILL to a container's first process, as an operator might.
pub(crate) fn kill(id: &str) {
    let (status, body) = ask_docker("POST", &format!("/containers/{id}/kill?signal=KILL"), "");
    assert!(status.contains(" 204 "), "{status} {body}");
}

/// Removes a container, whatever it does; whether it is gone.
pub(crate) fn remove(id: &str) -> bool {
    let (status, _) = ask_docker("DELETE", &format!("/containers/{id}?force=1&v=1"), "");
    status.contains(" 204 ") || status.contains(" 404 ")
}

/// A container that somebody else made, running until the value is dropped.
pub(crate) struct Stranger {
    pub(crate) id: String,
}

impl Stranger {
    pub(crate) fn start(labels: &Value) -> Self {
        let body = json!({
            "Image": IMAGE, "Cmd": ["sleep", "600"], "Labels": labels, "HostConfig": {"NetworkMode": "none"},
        });
        let (status, answer) =
            ask_with("POST", "/containers/create", "Content-Type: application/json\r\n", &body.to_string());
        assert!(status.contains(" 201 "), "{status} {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let stranger = Self { id: answer["Id"].as_str().unwrap().to_owned() };
        let (status, body) = ask_docker("POST", &format!("/containers/{}/start", stranger.id), "");
        assert!(status.contains(" 204 "), "{status} {body}");
        stranger
    }

    /// The start that it had; it changes where somebody restarted it.
    pub(crate) fn started_at(&self) -> String {
        let seen = inspect(&self.id).expect("it is still there");
        assert_eq!(seen["State"]["Running"], json!(true), "it still runs");
        seen["State"]["StartedAt"].as_str().unwrap().to_owned()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        remove(&self.id);
    }
}
