//! The Docker Engine, spoken to over its socket.
//!
//! [`DockerEngine`] puts two ways of talking side by side: dockworker for start, stop, kill, wait and remove
//! (`blocking.rs`), and the Engine's HTTP API itself, through ureq, for everything that dockworker can't do
//! soundly (`http.rs`; the reasons stand in `blocking.rs`). What is said and what is heard is plain data in
//! `create.rs`, `observe.rs`, `stats.rs`, `logs.rs` and `pull.rs`.
//!
//! Every call blocks its caller and has a deadline; any number of threads may call at once. Nothing is cached
//! about containers: the Engine is asked each time. An Engine that is down makes calls fail, never the
//! constructor, and the next call tries again.

mod address;
mod blocking;
mod create;
mod http;
mod logs;
mod observe;
mod pull;
mod socket;
mod stats;
mod version;

use std::time::Duration;

use serde::Deserialize;

use crate::engine::{
    ContainerRequest, Description, Engine, EngineError, LABEL_CLUSTER, LABEL_NODE, LABEL_TASK, Listed,
    LogRecords, LogRequest, Observed, Owner, Phase, PullProgress, Usage,
};
use crate::model::id::ContainerId;
use crate::model::spec::ImageRef;

use address::Address;
use blocking::{Dockworker, Started};
use http::{Answer, Ask, Client, Method, Opened, Patience};
use logs::{Log, Silence};

/// How long a log that is followed may be silent before its reader hears of it.
const QUIET_AFTER: Duration = Duration::from_secs(1);

/// How long the Engine is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For what only looks: inspect, list, describe, the head of a log.
    pub look: Duration,
    /// For what changes something: create, start, remove, and a container's end after KILL.
    pub change: Duration,
    /// For a pull in which nothing moves.
    pub pull_stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(10),
            change: Duration::from_secs(30),
            pull_stall: Duration::from_secs(60),
        }
    }
}

/// A Docker Engine. Share it among threads behind an `Arc`.
#[derive(Debug)]
pub struct DockerEngine {
    client: Client,
    dockworker: Dockworker,
    deadlines: Deadlines,
}

impl DockerEngine {
    /// For the Engine at `host`, a value of `DOCKER_HOST` (`unix:///path` or `tcp://127.0.0.1:port`); none is the
    /// local socket. Doesn't connect: an Engine that is down at the moment is no error.
    ///
    /// # Errors
    /// [`EngineError::Rejected`] for an address that isn't on this machine; [`EngineError::Failed`] where the
    /// operating system refuses threads.
    pub fn connect(host: Option<&str>, deadlines: Deadlines) -> Result<Self, EngineError> {
        let address = Address::parse(host)?;
        let dockworker = Dockworker::new(&address)?;
        Ok(Self { client: Client::new(address, deadlines.look), dockworker, deadlines })
    }

    fn look(
        &self,
        operation: &'static str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, EngineError> {
        let patience = Patience::Whole(self.deadlines.look);
        self.client.fetch(&Ask { operation, method: Method::Get, path, query, patience })
    }
}

impl Engine for DockerEngine {
    /// Docker Engine API, `GET /info`.
    fn describe(&self) -> Result<Description, EngineError> {
        let answer = self.look("describe", "/info", &[])?;
        if !answer.is_success() {
            return Err(answer.refusal("describe", "engine"));
        }
        answer.json("describe").map(observe::Info::description)
    }

    /// Docker Engine API, `GET /images/{name}/json`.
    fn has_image(&self, image: &ImageRef) -> Result<bool, EngineError> {
        let answer = self.look("image", &format!("/images/{image}/json"), &[])?;
        match answer.status {
            404 => Ok(false),
            _ if answer.is_success() => Ok(true),
            _ => Err(answer.refusal("image", image.as_str())),
        }
    }

    /// Docker Engine API, `POST /images/create`.
    fn pull(&self, image: &ImageRef, progress: &mut dyn FnMut(PullProgress)) -> Result<(), EngineError> {
        let source = pull::Source::of(image);
        let stall = self.deadlines.pull_stall;
        let opened = self.client.open(&Ask {
            operation: "pull",
            method: Method::Post(&[]),
            path: "/images/create",
            query: &[("fromImage", source.repository), ("tag", source.version)],
            // The head comes with the registry's first word, so that it is a matter of the registry's too.
            patience: Patience::Stream { head: stall, silence: stall },
        });
        let failed = |why| EngineError::Pull { image: image.to_string(), why };
        match opened {
            Ok(Opened::Stream(body)) => pull::follow(image, body, stall, progress),
            Ok(Opened::Refused(answer)) => Err(failed(answer.message())),
            Err(EngineError::TimedOut { operation: "pull", .. }) => Err(failed(pull::stalled(stall))),
            Err(error) => Err(error),
        }
    }

    /// Docker Engine API, `POST /containers/create`.
    fn create(&self, request: &ContainerRequest) -> Result<ContainerId, EngineError> {
        const OPERATION: &str = "create";
        let malformed = |why: String| EngineError::Malformed { operation: OPERATION, why };
        let name = request.key.container_name();
        let body = serde_json::to_vec(&create::Body::of(request)).map_err(|e| malformed(e.to_string()))?;
        let answer = self.client.fetch(&Ask {
            operation: OPERATION,
            method: Method::Post(&body),
            path: "/containers/create",
            query: &[("name", &name)],
            patience: Patience::Whole(self.deadlines.change),
        })?;
        match answer.status {
            404 if answer.message().contains("No such image") => {
                Err(EngineError::ImageMissing { image: request.spec.image.to_string() })
            }
            409 => Err(EngineError::NameTaken { name }),
            _ if answer.is_success() => {
                let Created { id } = answer.json(OPERATION)?;
                id.parse().map_err(|error| malformed(format!("the id {id:?} {error}")))
            }
            _ => Err(answer.refusal(OPERATION, &name)),
        }
    }

    /// Docker Engine API, `POST /containers/{id}/start`.
    fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        match self.dockworker.start(id, self.deadlines.change)? {
            Started::Yes => Ok(()),
            Started::EmptyAnswer => match self.inspect(id.as_str())?.phase {
                Phase::Running | Phase::Exited => Ok(()),
                Phase::Created | Phase::Dead => {
                    Err(EngineError::Failed { operation: "start", why: "it did not start".to_owned() })
                }
            },
        }
    }

    /// Docker Engine API, `POST /containers/{id}/wait`.
    fn wait(&self, id: &ContainerId, at_most: Duration) -> Result<bool, EngineError> {
        self.dockworker.wait(id, at_most)
    }

    /// Docker Engine API, `GET /containers/{id}/json`.
    fn inspect(&self, id_or_name: &str) -> Result<Observed, EngineError> {
        let sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        // What no container can be called must not become part of a path.
        if !id_or_name.bytes().all(sound) || matches!(id_or_name, "" | "." | "..") {
            return Err(EngineError::NotFound { subject: id_or_name.to_owned() });
        }
        let answer = self.look("inspect", &format!("/containers/{id_or_name}/json"), &[])?;
        if !answer.is_success() {
            return Err(answer.refusal("inspect", id_or_name));
        }
        answer.json::<observe::Inspected>("inspect")?.observed()
    }

    /// Docker Engine API, `POST /containers/{id}/stop`, and `/kill` where the grace isn't whole seconds.
    fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        // The Engine counts in seconds. It is told the next whole one, and we are the ones to be exact.
        let whole = Duration::from_secs(grace.as_secs() + u64::from(grace.subsec_nanos() > 0));
        match self.dockworker.stop(id, whole, grace) {
            Err(EngineError::TimedOut { .. }) => {}
            other => return other,
        }
        let after = self.deadlines.change;
        self.dockworker.kill(id, after)?;
        if self.wait(id, after)? { Ok(()) } else { Err(EngineError::TimedOut { operation: "stop", after }) }
    }

    /// Docker Engine API, `DELETE /containers/{id}?force=1&v=1`.
    fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.dockworker.remove(id, self.deadlines.change)
    }

    /// Docker Engine API, `GET /containers/json`, filtered by labels.
    fn list(&self, owner: &Owner) -> Result<Vec<Listed>, EngineError> {
        let labels = [
            format!("{LABEL_CLUSTER}={}", owner.cluster),
            format!("{LABEL_NODE}={}", owner.node),
            LABEL_TASK.into(),
        ];
        let filters = serde_json::json!({ "label": labels }).to_string();
        let answer = self.look("list", "/containers/json", &[("all", "1"), ("filters", &filters)])?;
        if !answer.is_success() {
            return Err(answer.refusal("list", "engine"));
        }
        let rows: Vec<observe::Row> = answer.json("list")?;
        Ok(rows.iter().filter_map(observe::Row::listed).collect())
    }

    /// Docker Engine API, `GET /containers/{id}/logs`. Dropping the records closes their connection.
    fn logs(&self, id: &ContainerId, request: LogRequest) -> Result<LogRecords, EngineError> {
        let look = self.deadlines.look;
        let (follow, silence, quiet) = if request.follow {
            ("1", QUIET_AFTER, Silence::Quiet)
        } else {
            ("0", look, Silence::TimedOut(look))
        };
        let opened = self.client.open(&Ask {
            operation: "logs",
            method: Method::Get,
            path: &format!("/containers/{id}/logs"),
            query: &[("stdout", "1"), ("stderr", "1"), ("timestamps", "1"), ("follow", follow)],
            patience: Patience::Stream { head: look, silence },
        })?;
        match opened {
            Opened::Stream(body) => Ok(Box::new(Log::new(body, quiet))),
            Opened::Refused(answer) => Err(answer.refusal("logs", id.as_str())),
        }
    }

    /// Docker Engine API, `GET /containers/{id}/stats`. `one-shot` (from API 1.41, the oldest that is spoken) spares the
    /// second sample, which the Engine would take a second later.
    fn stats(&self, id: &ContainerId) -> Result<Usage, EngineError> {
        let query = [("stream", "false"), ("one-shot", "true")];
        let answer = self.look("stats", &format!("/containers/{id}/stats"), &query)?;
        if !answer.is_success() {
            return Err(answer.refusal("stats", id.as_str()));
        }
        answer.json::<stats::Stats>("stats").map(stats::Stats::usage)
    }

    fn close(&self) {
        self.dockworker.close();
    }
}

/// The answer of `POST /containers/create`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}
