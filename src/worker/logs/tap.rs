//! One followed log per container, for all who follow it.
//!
//! A follow stream costs the Engine a decode and a write for each line. So all who follow a container share a [`Tap`]:
//! a thread, `log-tap`, follows the log at the Engine and puts each record into a [`Ring`], from which the readers
//! draw. It never waits for a reader. One that lags, so that the ring no longer has its place, reads the log
//! itself up to where it is now (`engine_log.rs`), and comes back.
//!
//! Lives as long as its readers: [`Taps`] and the thread only point at it. When the last lets go of it, the next
//! reader gets a new one at once, and the thread ends at the Engine's next word, which comes within a second or so.
//! Nobody joins it; it holds nothing but its connection. A tap whose log ended or broke says so to all its readers,
//! once they have drawn what it had, and the next who comes gets a new one.
//!
//! Invariant: the lock is held for memory work alone; a reader holds none while it writes.

mod feed;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::engine_log::EngineLog;
use super::position::Position;
use super::ring::{Cursor, Found, Ring};
use crate::engine::{Engine, EngineError, LogRecord, LogRecords};
use crate::model::id::ContainerId;
use crate::runtime::supervise::Stop;

use feed::Feed;

/// How much of a followed log is kept in memory.
pub(super) const RING_BYTES: usize = 1 << 20;

/// The logs at the Engine that somebody reads here, and their taps.
pub(super) struct Taps {
    engine: Arc<dyn Engine>,
    ring_bytes: usize,
    read: Mutex<HashMap<ContainerId, Read>>,
}

/// A log that is read, as long as it is.
struct Read {
    log: Weak<EngineLog>,
    tap: Weak<Tap>,
}

/// A container's log as those who follow it share it.
pub(super) struct Tap {
    log: Arc<EngineLog>,
    state: Mutex<State>,
}

struct State {
    ring: Ring,
    outcome: Option<Outcome>,
    news: Bell,
}

/// How following a log ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The Engine ended it.
    Ended,
    /// It broke, or can't be had.
    Broke(EngineError),
}

/// Gets disconnected when there is news. Never gives anything.
pub(super) type News = Receiver<Infallible>;

/// What a tap has for a reader.
pub(super) enum Next {
    /// What comes next. Never empty.
    Records(Vec<Arc<LogRecord>>),
    /// Nothing, until there is news.
    Nothing(News),
    /// Nothing: what comes next isn't here any more. The reader has to read the log itself.
    Behind,
    /// Nothing any more.
    Over(Outcome),
}

impl Taps {
    /// None yet; each is to keep so much in memory.
    pub(super) fn new(engine: Arc<dyn Engine>, ring_bytes: usize) -> Self {
        Self { engine, ring_bytes, read: Mutex::default() }
    }

    /// A container's log, the same for all who read it at the same time. Never blocks.
    pub(super) fn log(&self, container: &ContainerId) -> Arc<EngineLog> {
        let mut read = self.read.lock();
        read.retain(|_, read| read.log.strong_count() > 0);
        if let Some(log) = read.get(container).and_then(|read| read.log.upgrade()) {
            return log;
        }
        let log = Arc::new(EngineLog::new(Arc::clone(&self.engine), container.clone()));
        read.insert(container.clone(), Read { log: Arc::downgrade(&log), tap: Weak::new() });
        log
    }

    /// The tap of a log: the one that others read, or a new one. Doesn't wait for the Engine.
    pub(super) fn join(&self, log: &Arc<EngineLog>) -> Arc<Tap> {
        let mut read = self.read.lock();
        let tap = read.get(log.container()).and_then(|read| read.tap.upgrade());
        // Order: a tap's own lock comes after this one.
        if let Some(tap) = tap.filter(|tap| !tap.is_over()) {
            return tap;
        }
        let tap = Arc::new(Tap::new(Arc::clone(log), self.ring_bytes));
        let (log, weak) = (Arc::downgrade(log), Arc::downgrade(&tap));
        read.insert(tap.log.container().clone(), Read { log, tap: weak });
        drop(read);
        Feed::start(&tap);
        tap
    }
}

impl Tap {
    fn new(log: Arc<EngineLog>, ring_bytes: usize) -> Self {
        let (ring, news) = (Ring::new(ring_bytes), Bell::new());
        Self { log, state: Mutex::new(State { ring, outcome: None, news }) }
    }

    /// What comes next for a reader: at its cursor, or, where it has none, at its position. Never blocks.
    pub(super) fn next(&self, cursor: &mut Option<Cursor>, position: &Position) -> Next {
        let mut state = self.state.lock();
        if cursor.is_none() {
            match state.ring.find(position) {
                Found::At(found) => *cursor = Some(found),
                Found::Ahead => return state.nothing(),
                Found::Behind => return state.outcome.clone().map_or(Next::Behind, Next::Over),
            }
        }
        match cursor.as_mut().and_then(|cursor| state.ring.draw(cursor)) {
            Some(records) if records.is_empty() => state.nothing(),
            Some(records) => Next::Records(records),
            None => state.outcome.clone().map_or(Next::Behind, Next::Over),
        }
    }

    /// What gets disconnected when there is more here than now.
    pub(super) fn news(&self) -> News {
        self.state.lock().news.listen()
    }

    /// Reads the log beside the tap, to where it is now, or until the tap is over: the Engine is not to give fifty
    /// readers what it is about to give to whoever collects it. Blocks as [`EngineLog::read`] does.
    ///
    /// # Errors
    /// The Engine's; or `gone` fired.
    pub(super) fn catch_up(self: &Arc<Self>, gone: &Stop) -> Result<LogRecords, EngineError> {
        let (records, tap) = (self.log.read(gone)?, Arc::clone(self));
        Ok(Box::new(records.take_while(move |_| !tap.is_over())))
    }

    fn push(&self, record: LogRecord) {
        let mut state = self.state.lock();
        state.ring.push(record);
        let heard = state.news.ring();
        drop(state);
        // Order: who is woken finds the lock free.
        drop(heard);
    }

    /// The first outcome counts.
    fn end(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        state.outcome.get_or_insert(outcome);
        state.news.ring();
    }

    fn is_over(&self) -> bool {
        self.state.lock().outcome.is_some()
    }
}

impl State {
    fn nothing(&mut self) -> Next {
        match &self.outcome {
            Some(outcome) => Next::Over(outcome.clone()),
            None => Next::Nothing(self.news.listen()),
        }
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").field("ring_bytes", &self.ring_bytes).finish_non_exhaustive()
    }
}

/// Wakes whoever listens, all at once, and beside other channels.
struct Bell {
    line: (Sender<Infallible>, News),
    is_heard: bool,
}

impl Bell {
    fn new() -> Self {
        Self { line: bounded(0), is_heard: false }
    }

    fn listen(&mut self) -> News {
        self.is_heard = true;
        self.line.1.clone()
    }

    /// Rings for those who listen, as soon as what it gives is dropped.
    fn ring(&mut self) -> Option<Sender<Infallible>> {
        std::mem::take(&mut self.is_heard).then(|| std::mem::replace(&mut self.line, bounded(0)).0)
    }
}
