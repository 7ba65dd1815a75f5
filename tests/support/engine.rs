//! What tests of engines share: an engine with an owner of its own, programs to run on it, and a clean end.
//!
//! A [`Rig`] makes every container under a cluster id that nobody else has, and removes them all when it is
//! dropped, after a panic too. So tests can share one Docker Engine with each other and with people.

#[expect(dead_code, reason = "tests of clusters use the rest of it")]
pub(crate) mod docker;
#[expect(dead_code, reason = "tests of clusters use the rest of it")]
pub(crate) mod proxy;
pub(crate) mod registry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use podling::engine::hollow::HollowEngine;
use podling::engine::{
    ContainerKey, ContainerRequest, Engine, EngineError, LogItem, LogRecord, LogRequest, Owner,
};
use podling::model::id::{Attempt, ContainerId};
use podling::model::resources::MemoryBytes;
use podling::model::spec::{Network, TaskSpec, Variables};
use ulid::Ulid;

pub(crate) use docker::IMAGE;

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// An engine, and whose containers are made on it.
pub(crate) struct Rig {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) owner: Owner,
    /// Everyone who has containers to be removed at the end.
    owners: Mutex<Vec<Owner>>,
}

impl Rig {
    /// On the Docker Engine of this machine.
    pub(crate) fn docker() -> Self {
        Self::on(Arc::new(docker::engine()))
    }

    /// On a hollow engine.
    pub(crate) fn hollow() -> Self {
        Self::on(Arc::new(HollowEngine::new()))
    }

    /// On any engine.
    pub(crate) fn on(engine: Arc<dyn Engine>) -> Self {
        let owner = Owner { cluster: fresh_id().parse().unwrap(), node: "worker-1".parse().unwrap() };
        Self { engine, owners: Mutex::new(vec![owner.clone()]), owner }
    }

    /// A request for a new task's first attempt, by the rig's owner.
    pub(crate) fn request(&self, spec: TaskSpec) -> ContainerRequest {
        self.request_of(&self.owner, spec)
    }

    /// The same by another owner, whose containers are removed at the end as well.
    pub(crate) fn request_of(&self, owner: &Owner, spec: TaskSpec) -> ContainerRequest {
        self.owners.lock().push(owner.clone());
        let key =
            ContainerKey { owner: owner.clone(), task: fresh_id().parse().unwrap(), attempt: Attempt::FIRST };
        ContainerRequest { key, spec: Arc::new(spec), index: None, log_max_bytes: 10 << 20 }
    }

    /// Makes and starts a container.
    pub(crate) fn run(&self, spec: TaskSpec) -> ContainerId {
        let id = self.engine.create(&self.request(spec)).unwrap();
        self.engine.start(&id).unwrap();
        id
    }

    /// Makes and starts a container, and waits for its end.
    pub(crate) fn run_to_end(&self, spec: TaskSpec) -> ContainerId {
        let id = self.run(spec);
        assert!(self.engine.wait(&id, LONG).unwrap(), "it did not end");
        id
    }

    /// What a container wrote, without silences.
    pub(crate) fn records(&self, id: &ContainerId, follow: bool) -> Vec<LogRecord> {
        let items = self.engine.logs(id, LogRequest { follow }).unwrap();
        items.filter_map(|item| record(item.unwrap())).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for owner in self.owners.lock().iter() {
            for listed in self.engine.list(owner).unwrap_or_default() {
                let _ = self.engine.remove(&listed.id);
            }
        }
    }
}

/// The record of an item that is one.
pub(crate) fn record(item: LogItem) -> Option<LogRecord> {
    match item {
        LogItem::Record(record) => Some(record),
        LogItem::Quiet => None,
    }
}

/// A new id, as a cluster or a task has it.
pub(crate) fn fresh_id() -> String {
    Ulid::generate().to_string()
}

/// A spec that runs a script in Docker, and behaves as `hollow` says elsewhere.
pub(crate) fn program(script: &str, hollow: &[(&str, &str)]) -> TaskSpec {
    let env: BTreeMap<String, String> =
        hollow.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    TaskSpec {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Variables::new(env).unwrap(),
        network: Network::None,
        ..TaskSpec::of_image(IMAGE.parse().unwrap())
    }
}

/// Ends at once with a code.
pub(crate) fn exits(code: i32) -> TaskSpec {
    program(&format!("exit {code}"), &[("HOLLOW_EXIT_CODE", &code.to_string())])
}

/// Runs until it is told to end, and does as told.
pub(crate) fn runs() -> TaskSpec {
    program("trap 'exit 143' TERM; sleep 600 & wait", &[("HOLLOW_RUN_MS", "600000")])
}

/// Runs on when it is told to end.
pub(crate) fn runs_on() -> TaskSpec {
    let hollow = [("HOLLOW_RUN_MS", "600000"), ("HOLLOW_IGNORE_TERM", "1")];
    program("trap '' TERM; while true; do sleep 1; done", &hollow)
}

/// Runs for about this long.
pub(crate) fn runs_for(time: Duration) -> TaskSpec {
    let script = format!("usleep {}", time.as_micros());
    program(&script, &[("HOLLOW_RUN_MS", &time.as_millis().to_string())])
}

/// Takes memory until there is none.
pub(crate) fn eats_memory() -> TaskSpec {
    let spec = program("exec tail /dev/zero", &[("HOLLOW_OOM", "1"), ("HOLLOW_EXIT_CODE", "137")]);
    TaskSpec { memory: Some(MemoryBytes(16 << 20)), ..spec }
}

/// Names a command that isn't there.
pub(crate) fn cannot_start() -> TaskSpec {
    let spec = program("", &[("HOLLOW_FAIL", "start")]);
    TaskSpec { command: vec!["/no/such/command".to_owned()], ..spec }
}

/// Writes `line 1` and so on to stdout, then runs for a while.
pub(crate) fn writes_lines(lines: u32, then: Duration) -> TaskSpec {
    let script = format!(
        "seq -f 'line %.0f' {lines} 2>/dev/null || seq {lines} | sed 's/^/line /'; usleep {}",
        then.as_micros()
    );
    let (lines, then) = (lines.to_string(), then.as_millis().to_string());
    program(&script, &[("HOLLOW_LOG_LINES", &lines), ("HOLLOW_RUN_MS", &then)])
}

/// Whether an error says that nobody answers.
pub(crate) fn is_unreachable<T>(result: &Result<T, EngineError>) -> bool {
    matches!(result, Err(EngineError::Unreachable { .. }))
}

/// Whether an error says that no answer came in time.
pub(crate) fn is_timed_out<T>(result: &Result<T, EngineError>) -> bool {
    matches!(result, Err(EngineError::TimedOut { .. }))
}
