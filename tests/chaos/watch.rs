//! What an Engine did with the containers of a cluster: its events as they come, and after a gap what it says is there.
//!
//! Main type: [`Watch`], one thread for each Engine. Events are lost while an Engine is dead; what it then lists and
//! inspects stands for them. How a container ended is told by what came before: a signal that the Engine was asked to
//! send, the end of the Engine itself, or neither.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use podling::engine::{LABEL_ATTEMPT, LABEL_CLUSTER, LABEL_LEASE, LABEL_NODE, LABEL_TASK};
use podling::model::id::{ClusterId, ContainerId};
use podling::runtime::supervise::{self, Thread};
use serde_json::{Value, json};

use crate::checker::history::{Because, Left, Millis, What};
use crate::engine_api::{EngineApi, Listed, key};
use crate::recorder::Recorder;

/// How long a read may take before the thread looks around.
const LOOK: Duration = Duration::from_millis(200);

/// What is known of one container.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    is_made: bool,
    started: Option<Millis>,
    has_ended: bool,
    is_removed: bool,
    /// When the Engine was first asked to send it a signal, in nanoseconds of the wall clock.
    signalled: Option<u64>,
    was_oom: bool,
}

/// What the threads share.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    killed: Arc<AtomicU64>,
    /// How often it was asked what is there.
    looks: AtomicU64,
}

/// A recording of one Engine.
pub(crate) struct Watch {
    engine: EngineApi,
    label: String,
    shared: Arc<Shared>,
    _thread: Thread,
}

impl Watch {
    /// `killed`: when the Engine was killed last; 0: never.
    pub(crate) fn begin(
        engine: EngineApi,
        killed: Arc<AtomicU64>,
        cluster: &ClusterId,
        recorder: &Arc<Recorder>,
    ) -> Self {
        let shared = Arc::new(Shared { killed, ..Shared::default() });
        let label = format!("{LABEL_CLUSTER}={cluster}");
        let mut seer = Seer {
            engine: engine.clone(),
            label: label.clone(),
            recorder: Arc::clone(recorder),
            shared: Arc::clone(&shared),
            latest: recorder.began_wall_nanos(),
            tracks: HashMap::new(),
        };
        let thread = supervise::spawn("watch", move || seer.run()).unwrap();
        Self { engine, label, shared, _thread: thread }
    }

    /// The containers that are there now.
    ///
    /// # Errors
    /// The Engine doesn't say.
    pub(crate) fn left(&self) -> io::Result<Vec<Left>> {
        let listed = self.engine.containers(&self.label)?.into_iter();
        let left = |listed: Listed| {
            Some(Left { container: listed.id, node: listed.node?, key: listed.key?, runs: listed.runs })
        };
        Ok(listed.filter_map(left).collect())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

/// What the thread has.
struct Seer {
    engine: EngineApi,
    label: String,
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
    /// The time of the latest event, in nanoseconds of the wall clock.
    latest: u64,
    tracks: HashMap<ContainerId, Track>,
}

impl Seer {
    fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::SeqCst)
    }

    fn run(&mut self) {
        while !self.is_over() {
            // An Engine that is dead or just coming back: again.
            let _ = self.follow();
            std::thread::park_timeout(LOOK);
        }
    }

    /// Reads events until the Engine ends the connection.
    fn follow(&mut self) -> io::Result<()> {
        let mut socket = self.engine.events(self.latest, &self.label, LOOK)?;
        let (mut text, mut piece) = (Vec::new(), [0; 16 * 1024]);
        let mut has_looked = false;
        while !self.is_over() {
            match socket.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => text.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    // Silence: what it had to say of the past has been said.
                    if !has_looked && !text.is_empty() {
                        self.look()?;
                        has_looked = true;
                    }
                }
                Err(error) => return Err(error),
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                // The head's lines aren't JSON.
                if let Ok(event) = serde_json::from_slice::<Value>(&line) {
                    self.event(&event);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Value) {
        let nanos = event["timeNano"].as_u64().unwrap_or_default();
        if nanos <= self.latest {
            return;
        }
        self.latest = nanos;
        let at = self.recorder.at_wall_nanos(nanos);
        let Some(id) = event["Actor"]["ID"].as_str().and_then(|id| id.parse().ok()) else { return };
        let attributes = &event["Actor"]["Attributes"];
        match event["Action"].as_str().unwrap_or_default() {
            "create" => self.made(&id, at, attributes),
            "start" => self.started(&id, at),
            "kill" => {
                self.tracks.entry(id).or_default().signalled.get_or_insert(nanos);
            }
            "oom" => self.tracks.entry(id).or_default().was_oom = true,
            "die" => {
                let code = attributes["exitCode"].as_str().and_then(|code| code.parse().ok());
                self.forget_late_signal(&id);
                self.ended(&id, at, code.unwrap_or_default(), false);
            }
            "destroy" => self.removed(&id, at),
            _ => {}
        }
    }

    fn made(&mut self, id: &ContainerId, at: Millis, labels: &Value) {
        let label = |name: &str| labels[name].as_str();
        let key = key(label(LABEL_TASK), label(LABEL_ATTEMPT));
        let node = label(LABEL_NODE).and_then(|node| node.parse().ok());
        let (Some(key), Some(node)) = (key, node) else { return };
        let track = self.tracks.entry(id.clone()).or_default();
        if !std::mem::replace(&mut track.is_made, true) {
            let leased = label(LABEL_LEASE).is_some();
            self.recorder.put_at(at, What::Made { container: id.clone(), node, key, leased });
        }
    }

    fn started(&mut self, id: &ContainerId, at: Millis) {
        let track = self.tracks.entry(id.clone()).or_default();
        (track.started, track.has_ended) = (Some(at), false);
        self.recorder.put_at(at, What::Started { container: id.clone(), by: None });
    }

    /// The Engine also tells of a signal that came when the process was over and it hadn't noticed yet.
    fn forget_late_signal(&mut self, id: &ContainerId) {
        let Some(track) = self.tracks.get_mut(id).filter(|track| track.signalled.is_some()) else { return };
        let seen = self.engine.inspect(id).ok().flatten();
        let finished = seen.and_then(|seen| wall_nanos(&seen["State"]["FinishedAt"]));
        track.signalled = track.signalled.filter(|signalled| finished.is_none_or(|end| end >= *signalled));
    }

    /// `is_late`: it ended at some time before that.
    fn ended(&mut self, id: &ContainerId, at: Millis, exit_code: i32, is_late: bool) {
        let killed = self.shared.killed.load(Ordering::SeqCst);
        let track = self.tracks.entry(id.clone()).or_default();
        if std::mem::replace(&mut track.has_ended, true) {
            return;
        }
        let outlived_its_engine = killed > 0 && track.started.is_none_or(|started| started <= killed);
        let because = match (track.signalled.is_some(), outlived_its_engine || is_late) {
            (_, true) if exit_code == 137 && !track.was_oom => Because::Engine,
            (_, true) => Because::Unknown,
            (true, false) => Because::Signal,
            (false, false) => Because::Itself,
        };
        let (container, oom) = (id.clone(), track.was_oom);
        self.recorder.put_at(at, What::Ended { container, exit_code, oom, because });
    }

    fn removed(&mut self, id: &ContainerId, at: Millis) {
        let track = self.tracks.entry(id.clone()).or_default();
        if !std::mem::replace(&mut track.is_removed, true) {
            self.recorder.put_at(at, What::Removed { container: id.clone() });
        }
    }

    /// Makes up for events that nobody heard.
    fn look(&mut self) -> io::Result<()> {
        let looks = self.shared.looks.fetch_add(1, Ordering::SeqCst);
        if looks == 0 {
            return Ok(());
        }
        let listed = self.engine.containers(&self.label)?;
        let now = self.recorder.now();
        for one in &listed {
            if let Some(seen) = self.engine.inspect(&one.id)? {
                self.take_up(&one.id, &seen, now);
            }
        }
        let is_gone = |id: &&ContainerId| !listed.iter().any(|one| one.id == **id);
        let known = self.tracks.iter().filter(|(_, track)| track.is_made && !track.is_removed);
        let gone: Vec<ContainerId> = known.map(|(id, _)| id).filter(is_gone).cloned().collect();
        gone.iter().for_each(|id| self.removed(id, now));
        Ok(())
    }

    fn take_up(&mut self, id: &ContainerId, seen: &Value, now: Millis) {
        let state = &seen["State"];
        let moment = |value: &Value| wall_nanos(value).map(|nanos| self.recorder.at_wall_nanos(nanos));
        let (created, started) = (moment(&seen["Created"]), moment(&state["StartedAt"]));
        let finished = moment(&state["FinishedAt"]);
        self.made(id, created.unwrap_or(now), &seen["Config"]["Labels"]);
        let known = self.tracks.get(id).copied().unwrap_or_default();
        if let Some(started) = started
            && known.started.is_none()
        {
            self.started(id, started);
        }
        let has_ended = state["Status"] == json!("exited") || state["Status"] == json!("dead");
        if has_ended {
            let track = self.tracks.entry(id.clone()).or_default();
            track.was_oom |= state["OOMKilled"] == json!(true);
            let code = state["ExitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
            self.ended(id, finished.unwrap_or(now), code.unwrap_or_default(), true);
        }
    }
}

/// A time as Docker writes it. None: never, which it writes as year 1.
fn wall_nanos(value: &Value) -> Option<u64> {
    let time = humantime::parse_rfc3339_weak(value.as_str()?).ok()?;
    u64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()).ok()
}
