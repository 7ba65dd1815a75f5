//! What Docker says of a cluster's containers while it happens: how often each attempt's container was made, started and
//! removed. The Engine remembers a few hundred events only, so they are followed from the beginning.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use parking_lot::Mutex;
use podling::engine::{LABEL_ATTEMPT, LABEL_TASK};
use podling::runtime::supervise;
use serde_json::Value;

use super::docker::{Api, labelled};

/// How often something was done to an attempt's container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) made: u32,
    pub(crate) started: u32,
    pub(crate) removed: u32,
}

/// By `task/attempt`.
pub(crate) type Tally = BTreeMap<String, Done>;

/// Follows until it is dropped.
pub(crate) struct Events {
    line: UnixStream,
    tally: Arc<Mutex<Tally>>,
}

impl Events {
    /// Of a cluster that has no containers yet.
    pub(crate) fn of(engine: &Api, cluster: &str) -> Self {
        let head = format!("GET /events?filters={} HTTP/1.0\r\n", labelled(cluster));
        let line = engine.open(&head, b"").unwrap();
        line.set_read_timeout(None).unwrap();
        let mut lines = BufReader::new(line.try_clone().unwrap()).lines();
        let has_begun = lines.by_ref().any(|line| line.unwrap().is_empty());
        assert!(has_begun, "the Engine tells no events");
        let tally = Arc::new(Mutex::new(Tally::new()));
        let kept = Arc::clone(&tally);
        let follow = move || {
            for event in lines.map_while(Result::ok) {
                note(&mut kept.lock(), &serde_json::from_str(&event).unwrap());
            }
        };
        supervise::spawn("events", follow).unwrap();
        Self { line, tally }
    }

    /// What was done so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.line.shutdown(Shutdown::Both);
    }
}

fn note(tally: &mut Tally, event: &Value) {
    let label = |label: &str| event["Actor"]["Attributes"][label].as_str().unwrap_or_default().to_owned();
    let done = tally.entry(format!("{}/{}", label(LABEL_TASK), label(LABEL_ATTEMPT))).or_default();
    match event["Action"].as_str() {
        Some("create") => done.made += 1,
        Some("start") => done.started += 1,
        Some("destroy") => done.removed += 1,
        Some(_) | None => {}
    }
}
