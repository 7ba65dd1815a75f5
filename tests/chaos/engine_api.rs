//! A Docker Engine that may be dead or hung when it is asked, and then gives an error instead of an end to the test.
//!
//! Main type: [`EngineApi`].

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podling::api::routes::escape;
use podling::engine::{LABEL_ATTEMPT, LABEL_NODE, LABEL_TASK};
use podling::model::id::{Attempt, AttemptKey, ContainerId, NodeId};
use serde_json::{Value, json};

use crate::docker::{Api, docker_host};

/// Where an Engine listens.
#[derive(Clone, Debug)]
pub(crate) struct EngineApi {
    socket: PathBuf,
    api: Api,
}

/// A container that carries a label.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) id: ContainerId,
    /// None: it is no node's.
    pub(crate) node: Option<NodeId>,
    /// None: it is no attempt's.
    pub(crate) key: Option<AttemptKey>,
    pub(crate) runs: bool,
}

impl EngineApi {
    /// At an address as `DOCKER_HOST` writes it.
    #[track_caller]
    pub(crate) fn at(host: &str) -> Self {
        let socket = Path::new(host.strip_prefix("unix://").expect("chaos wants Docker on a unix socket"));
        Self { socket: socket.to_owned(), api: Api::at(socket) }
    }

    /// The machine's own.
    #[track_caller]
    pub(crate) fn of_machine() -> Self {
        Self::at(&docker_host().unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned()))
    }

    /// Its address.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Its events since a moment, with the head of the answer before them; `silence` is how long a read may take.
    pub(crate) fn events(&self, since_nanos: u64, label: &str, silence: Duration) -> io::Result<UnixStream> {
        let filters = escape(&json!({"type": ["container"], "label": [label]}).to_string());
        let since = format!("{}.{:09}", since_nanos / 1_000_000_000, since_nanos % 1_000_000_000);
        let line =
            self.api.open(&format!("GET /events?since={since}&filters={filters} HTTP/1.0\r\n"), b"")?;
        line.set_read_timeout(Some(silence))?;
        Ok(line)
    }

    /// All that the Engine knows of a container. None: there is no such container.
    pub(crate) fn inspect(&self, id: &ContainerId) -> io::Result<Option<Value>> {
        let (status, body) = self.api.try_ask("GET", &format!("/containers/{id}/json"), "", b"")?;
        match status.split(' ').nth(1) {
            Some("200") => Ok(Some(serde_json::from_slice(&body)?)),
            Some("404") => Ok(None),
            _ => Err(io::Error::other(format!("inspect: {status}"))),
        }
    }

    /// Every container that carries this label, running or not.
    pub(crate) fn containers(&self, label: &str) -> io::Result<Vec<Listed>> {
        let filters = escape(&json!({ "label": [label] }).to_string());
        let path = format!("/containers/json?all=1&filters={filters}");
        let (status, body) = self.api.try_ask("GET", &path, "", b"")?;
        if !status.contains(" 200 ") {
            return Err(io::Error::other(format!("list: {status}")));
        }
        let rows: Vec<Value> = serde_json::from_slice(&body)?;
        Ok(rows.iter().filter_map(listed).collect())
    }

    pub(crate) fn remove(&self, id: &ContainerId) {
        // Whether it worked shows in the next listing.
        let _ = self.api.try_ask("DELETE", &format!("/containers/{id}?force=1&v=1"), "", b"");
    }
}

fn listed(row: &Value) -> Option<Listed> {
    let label = |name: &str| row["Labels"][name].as_str();
    Some(Listed {
        id: row["Id"].as_str()?.parse().ok()?,
        node: label(LABEL_NODE).and_then(|node| node.parse().ok()),
        key: key(label(LABEL_TASK), label(LABEL_ATTEMPT)),
        runs: row["State"] == json!("running"),
    })
}

/// The attempt that two labels name.
pub(crate) fn key(task: Option<&str>, attempt: Option<&str>) -> Option<AttemptKey> {
    Some(AttemptKey { task: task?.parse().ok()?, attempt: Attempt(attempt?.parse().ok()?) })
}
