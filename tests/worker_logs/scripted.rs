//! An engine with one container, whose log is what the test says and breaks where the test says.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use podling::engine::{
    ContainerRequest, Description, Engine, EngineError, Listed, LogItem, LogRecord, LogRecords, LogRequest,
    Observed, Owner, Phase, PullProgress, Usage,
};
use podling::model::id::ContainerId;
use podling::model::spec::ImageRef;
use podling::runtime::clock;

use crate::support::PATIENCE;

/// The engine.
#[derive(Default)]
pub(crate) struct Scripted(Arc<(Mutex<Script>, Condvar)>);

/// What its container wrote, and how its log behaves.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) records: Vec<LogRecord>,
    /// How many of the oldest the engine no longer has.
    pub(crate) dropped: usize,
    pub(crate) has_ended: bool,
    pub(crate) is_removed: bool,
    /// After how many records each of the next logs breaks.
    pub(crate) breaks: Vec<usize>,
    /// After how many records a followed log ends, as if the container had ended.
    pub(crate) follower_ends_after: Option<usize>,
    /// The first followed log that comes to that record goes on with this one instead, once.
    pub(crate) jumps: Option<(usize, usize)>,
    /// Where a log that isn't followed is cut short, as if its container had been removed, and what happens then; once.
    pub(crate) cut: Option<(usize, Box<dyn FnOnce() + Send>)>,
    /// How many logs were opened.
    pub(crate) opened: usize,
    /// How many that aren't followed were read to the end.
    pub(crate) read_to_end: usize,
    /// How many were opened to be followed.
    pub(crate) followed: usize,
    /// How many are being followed.
    pub(crate) following: usize,
    /// How many records the log that was followed last has given.
    pub(crate) fed: usize,
}

/// The id of its container.
pub(crate) fn container() -> ContainerId {
    "c1".parse().unwrap()
}

impl Scripted {
    pub(crate) fn new(records: Vec<LogRecord>) -> Arc<Self> {
        let engine = Self::default();
        engine.change(|script| script.records = records);
        Arc::new(engine)
    }

    /// Waits until the script has come so far.
    #[track_caller]
    pub(crate) fn await_that(&self, what: &str, has_come: impl Fn(&Script) -> bool) {
        let deadline = clock::mono() + PATIENCE;
        while !has_come(&self.0.0.lock()) {
            assert!(clock::mono() < deadline, "it never came to this: {what}");
            std::thread::yield_now();
        }
    }

    /// Changes the script, for logs that are being read too.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let result = change(&mut self.0.0.lock());
        self.0.1.notify_all();
        result
    }
}

struct ScriptedLog {
    shared: Arc<(Mutex<Script>, Condvar)>,
    next: usize,
    follow: bool,
    breaks_at: Option<usize>,
}

impl Iterator for ScriptedLog {
    type Item = Result<LogItem, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut script = self.shared.0.lock();
        loop {
            if script.is_removed {
                return None;
            }
            self.next = self.next.max(script.dropped);
            if self.breaks_at.is_some_and(|at| self.next >= at) {
                return Some(Err(broken()));
            }
            if self.follow && script.follower_ends_after.is_some_and(|end| self.next >= end) {
                return None;
            }
            if let Some((_, removed)) = script.cut.take_if(|(at, _)| !self.follow && self.next == *at) {
                removed();
                return None;
            }
            if let Some((_, back_to)) = script.jumps.take_if(|(at, _)| self.follow && self.next == *at) {
                self.next = back_to;
            }
            if let Some(record) = script.records.get(self.next).cloned() {
                self.next += 1;
                if self.follow {
                    script.fed += 1;
                }
                return Some(Ok(LogItem::Record(record)));
            }
            if !self.follow || script.has_ended {
                script.read_to_end += usize::from(!self.follow);
                return None;
            }
            if self.shared.1.wait_for(&mut script, Duration::from_secs(1)).timed_out() {
                return Some(Ok(LogItem::Quiet));
            }
        }
    }
}

impl Drop for ScriptedLog {
    fn drop(&mut self) {
        if self.follow {
            self.shared.0.lock().following -= 1;
        }
    }
}

fn broken() -> EngineError {
    EngineError::Unreachable { operation: "logs", why: "the line broke".to_owned() }
}

impl Engine for Scripted {
    fn logs(&self, id: &ContainerId, request: LogRequest) -> Result<LogRecords, EngineError> {
        let mut script = self.0.0.lock();
        if script.is_removed {
            return Err(EngineError::NotFound { subject: id.to_string() });
        }
        script.opened += 1;
        if request.follow {
            (script.followed, script.following, script.fed) = (script.followed + 1, script.following + 1, 0);
        }
        let breaks_at = (!script.breaks.is_empty()).then(|| script.breaks.remove(0));
        let (shared, follow) = (Arc::clone(&self.0), request.follow);
        Ok(Box::new(ScriptedLog { shared, next: 0, follow, breaks_at }))
    }

    fn inspect(&self, _: &str) -> Result<Observed, EngineError> {
        let phase = if self.0.0.lock().has_ended { Phase::Exited } else { Phase::Running };
        Ok(Observed {
            id: container(),
            key: None,
            phase,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: None,
            finished_at: None,
        })
    }

    fn describe(&self) -> Result<Description, EngineError> {
        unreachable!("logs need no more")
    }

    fn has_image(&self, _: &ImageRef) -> Result<bool, EngineError> {
        unreachable!("logs need no more")
    }

    fn pull(&self, _: &ImageRef, _: &mut dyn FnMut(PullProgress)) -> Result<(), EngineError> {
        unreachable!("logs need no more")
    }

    fn create(&self, _: &ContainerRequest) -> Result<ContainerId, EngineError> {
        unreachable!("logs need no more")
    }

    fn start(&self, _: &ContainerId) -> Result<(), EngineError> {
        unreachable!("logs need no more")
    }

    fn wait(&self, _: &ContainerId, _: Duration) -> Result<bool, EngineError> {
        unreachable!("logs need no more")
    }

    fn stop(&self, _: &ContainerId, _: Duration) -> Result<(), EngineError> {
        unreachable!("logs need no more")
    }

    fn remove(&self, _: &ContainerId) -> Result<(), EngineError> {
        self.change(|script| script.is_removed = true);
        Ok(())
    }

    fn list(&self, _: &Owner) -> Result<Vec<Listed>, EngineError> {
        unreachable!("logs need no more")
    }

    fn stats(&self, _: &ContainerId) -> Result<Usage, EngineError> {
        unreachable!("logs need no more")
    }

    fn close(&self) {}
}
