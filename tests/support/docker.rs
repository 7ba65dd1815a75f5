//! The Docker Engine of this machine, asked directly: for what an [`Engine`](podling::engine::Engine) doesn't say or
//! do, and for looking at what a cluster did without asking the cluster.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use podling::api::routes::escape;
use podling::engine::docker::{Deadlines, DockerEngine};
use podling::engine::{Engine, LABEL_ATTEMPT, LABEL_CLUSTER, LABEL_NODE, LABEL_TASK};
use serde_json::{Value, json};

/// The image that every test runs.
pub(crate) const IMAGE: &str = "podling/busybox:latest";

/// How long an Engine may be silent in the middle of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// An Engine, asked directly over its unix socket. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    socket: PathBuf,
}

impl Api {
    /// The tests' Docker Engine.
    pub(crate) fn here() -> Self {
        let host = docker_host().unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let socket = host.strip_prefix("unix://").expect("these tests want Docker on a unix socket");
        Self::at(Path::new(socket))
    }

    /// One that listens at `socket`.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Sends one plain request, and gives the connection on which the answer comes, to its end: HTTP/1.0 knows no
    /// chunks.
    pub(crate) fn open(&self, head: &str, body: &[u8]) -> io::Result<UnixStream> {
        let mut socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(socket, "{head}Host: localhost\r\nContent-Length: {length}\r\n\r\n")?;
        socket.write_all(body)?;
        Ok(socket)
    }

    /// One plain request, and its answer: status line and body. `headers` each end with a line feed.
    pub(crate) fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<(String, Vec<u8>)> {
        let mut answer = Vec::new();
        self.open(&format!("{method} {path} HTTP/1.0\r\n{headers}"), body)?.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&answer[..end]);
        Ok((head.lines().next().unwrap_or_default().to_owned(), answer.split_off(end + 4)))
    }

    /// The same, as text, of an Engine that answers.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (String, String) {
        let (status, body) = self.try_ask(method, path, headers, body).unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// A request that must succeed; the body of its answer.
    #[track_caller]
    pub(crate) fn does(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let (status, body) = self.try_ask(method, path, headers, body).unwrap();
        assert!(status.contains(" 20"), "{method} {path}: {status} {}", String::from_utf8_lossy(&body));
        body
    }

    /// Whether it answers now.
    pub(crate) fn answers(&self) -> bool {
        self.try_ask("GET", "/_ping", "", b"").is_ok_and(|(status, _)| status.contains(" 200 "))
    }

    /// Every container of a cluster, running or not, by id.
    pub(crate) fn containers_of(&self, cluster: &str) -> Vec<Container> {
        let body =
            self.does("GET", &format!("/containers/json?all=1&filters={}", labelled(cluster)), "", b"");
        let rows: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let mut found: Vec<Container> = rows.iter().map(Container::of).collect();
        found.sort();
        found
    }

    /// All that it knows of a container; none where there is no such container.
    pub(crate) fn inspect(&self, id: &str) -> Option<Value> {
        let (status, body) = self.ask("GET", &format!("/containers/{id}/json"), "", b"");
        if status.contains(" 404 ") {
            return None;
        }
        assert!(status.contains(" 200 "), "{status} {body}");
        Some(serde_json::from_str(&body).unwrap())
    }

    /// Sends a signal to a container's first process, as an operator might. False: it doesn't run any more.
    pub(crate) fn signal(&self, id: &str, signal: &str) -> bool {
        let (status, body) = self.ask("POST", &format!("/containers/{id}/kill?signal={signal}"), "", b"");
        assert!([" 204 ", " 404 ", " 409 "].iter().any(|known| status.contains(known)), "{status} {body}");
        status.contains(" 204 ")
    }

    /// Makes a container as `body` says; its id.
    pub(crate) fn create(&self, body: &Value) -> String {
        let body = body.to_string();
        let answer =
            self.does("POST", "/containers/create", "Content-Type: application/json\r\n", body.as_bytes());
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["Id"].as_str().unwrap().to_owned()
    }

    /// Removes a container, whatever it does; whether it is gone.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let (status, _) = self.ask("DELETE", &format!("/containers/{id}?force=1&v=1"), "", b"");
        status.contains(" 204 ") || status.contains(" 404 ")
    }
}

/// The API's filter for what carries a cluster's label, as it stands in a query.
pub(crate) fn labelled(cluster: &str) -> String {
    escape(&json!({ "label": [format!("{LABEL_CLUSTER}={cluster}")] }).to_string())
}

/// One plain request to the tests' Docker Engine: status line and body.
pub(crate) fn ask_docker(method: &str, path: &str, headers: &str) -> (String, String) {
    Api::here().ask(method, path, headers, b"")
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

impl Container {
    /// A row of the Engine's list.
    fn of(row: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            id: text(&row["Id"]),
            node: text(&row["Labels"][LABEL_NODE]),
            task: text(&row["Labels"][LABEL_TASK]),
            attempt: text(&row["Labels"][LABEL_ATTEMPT]),
            state: text(&row["State"]),
        }
    }
}

/// Every container of a cluster on the tests' Engine.
pub(crate) fn containers_of(cluster: &str) -> Vec<Container> {
    Api::here().containers_of(cluster)
}

/// All that the tests' Engine knows of a container.
pub(crate) fn inspect(id: &str) -> Option<Value> {
    Api::here().inspect(id)
}

/// Sends KILL to a container's first process.
pub(crate) fn kill(id: &str) {
    assert!(Api::here().signal(id, "KILL"), "it runs");
}

/// Removes a container from the tests' Engine; whether it is gone.
pub(crate) fn remove(id: &str) -> bool {
    Api::here().remove(id)
}

/// A container that somebody else made, running until the value is dropped.
pub(crate) struct Stranger {
    pub(crate) id: String,
}

impl Stranger {
    pub(crate) fn start(labels: &Value) -> Self {
        let stranger = Self {
            id: Api::here().create(&json!({
                "Image": IMAGE, "Cmd": ["sleep", "600"], "Labels": labels, "HostConfig": {"NetworkMode": "none"},
            })),
        };
        Api::here().does("POST", &format!("/containers/{}/start", stranger.id), "", b"");
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
