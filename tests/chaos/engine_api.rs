//! A Docker Engine, asked directly over its socket, with a deadline on every read: one of the Engines here is hung on
//! purpose now and then.
//!
//! Main type: [`EngineApi`].

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use podling::api::routes::escape;
use podling::engine::{LABEL_ATTEMPT, LABEL_NODE, LABEL_TASK};
use podling::model::id::{Attempt, AttemptKey, ContainerId, NodeId};
use serde_json::{Value, json};

use crate::docker;

/// How long it may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where an Engine listens.
#[derive(Clone, Debug)]
pub(crate) struct EngineApi {
    socket: PathBuf,
}

/// A container that carries a cluster's label.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: ContainerId,
    pub(crate) node: NodeId,
    /// None: it is no attempt's.
    pub(crate) key: Option<AttemptKey>,
    pub(crate) runs: bool,
}

impl EngineApi {
    pub(crate) const fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The machine's own.
    #[track_caller]
    pub(crate) fn of_machine() -> Self {
        let host = docker::docker_host().unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let socket = host.strip_prefix("unix://").expect("chaos wants Docker on a unix socket");
        Self::at(PathBuf::from(socket))
    }

    /// As `DOCKER_HOST` writes it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// One request; status and body.
    pub(crate) fn ask(&self, method: &str, path: &str) -> io::Result<(u16, String)> {
        let mut answer = Vec::new();
        self.send(method, path, PATIENCE)?.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let odd = || io::Error::other(format!("an odd answer: {answer}"));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(odd)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(odd)?;
        Ok((status, body.to_owned()))
    }

    /// The same, read as it comes. HTTP/1.0: no chunks, and the end of the answer is the end of the connection.
    pub(crate) fn send(&self, method: &str, path: &str, silence: Duration) -> io::Result<UnixStream> {
        let mut socket = UnixStream::connect(&self.socket)?;
        socket.set_read_timeout(Some(silence))?;
        socket.set_write_timeout(Some(silence))?;
        write!(socket, "{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Length: 0\r\n\r\n")?;
        Ok(socket)
    }

    /// All that the Engine knows of a container. None: there is no such container.
    pub(crate) fn inspect(&self, id: &ContainerId) -> io::Result<Option<Value>> {
        match self.ask("GET", &format!("/containers/{id}/json"))? {
            (200, body) => Ok(Some(serde_json::from_str(&body)?)),
            (404, _) => Ok(None),
            (status, body) => Err(io::Error::other(format!("inspect: {status} {body}"))),
        }
    }

    /// Every container that carries this label, running or not.
    pub(crate) fn containers(&self, label: &str, value: &str) -> io::Result<Vec<Listed>> {
        let filters = escape(&json!({ "label": [format!("{label}={value}")] }).to_string());
        let (status, body) = self.ask("GET", &format!("/containers/json?all=1&filters={filters}"))?;
        if status != 200 {
            return Err(io::Error::other(format!("list: {status} {body}")));
        }
        let rows: Vec<Value> = serde_json::from_str(&body)?;
        Ok(rows.iter().filter_map(listed).collect())
    }

    pub(crate) fn remove(&self, id: &ContainerId) {
        // Whether it worked shows in the next listing.
        let _ = self.ask("DELETE", &format!("/containers/{id}?force=1&v=1"));
    }
}

fn listed(row: &Value) -> Option<Listed> {
    let label = |name: &str| row["Labels"][name].as_str();
    Some(Listed {
        id: row["Id"].as_str()?.parse().ok()?,
        node: label(LABEL_NODE)?.parse().ok()?,
        key: key(label(LABEL_TASK), label(LABEL_ATTEMPT)),
        runs: row["State"] == json!("running"),
    })
}

/// The attempt that two labels name.
pub(crate) fn key(task: Option<&str>, attempt: Option<&str>) -> Option<AttemptKey> {
    Some(AttemptKey { task: task?.parse().ok()?, attempt: Attempt(attempt?.parse().ok()?) })
}
