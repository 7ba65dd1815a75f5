//! What tests of logs share: a log that is where the test says, and readers whose text the test can wait for.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use podling::engine::{Engine, LogItem, LogRecord, LogRecords, Stream};
use podling::model::id::{Attempt, TaskId};
use podling::model::time::Mono;
use podling::rest::log::LogQuery;
use podling::runtime::clock;
use podling::runtime::supervise::{Stop, StopSource};
use podling::worker::logs::{Completeness, LogLimits, LogStore, Logs, Source};
use tempfile::TempDir;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Limits that nothing here reaches.
pub(crate) const AMPLE: LogLimits = LogLimits { per_attempt_bytes: 10 << 20, total_bytes: 1 << 30 };

/// The logs of a worker that knows one attempt.
pub(crate) struct Place {
    pub(crate) logs: Arc<Logs>,
    pub(crate) store: Arc<LogStore>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) task: TaskId,
    source: Arc<Mutex<Source>>,
    _folder: TempDir,
}

impl Place {
    pub(crate) fn new(engine: Arc<dyn Engine>, source: Source) -> Self {
        Self::of(engine, source, |logs| logs)
    }

    /// One whose logs are set up so.
    pub(crate) fn of(engine: Arc<dyn Engine>, source: Source, set_up: impl FnOnce(Logs) -> Logs) -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(LogStore::open(&folder.path().join("logs"), AMPLE).unwrap());
        let task = task(1);
        let source = Arc::new(Mutex::new(source));
        let (current, known) = (Arc::clone(&source), task.clone());
        let source_of = move |task: &TaskId, attempt: Attempt| {
            let is_known = *task == known && attempt == Attempt::FIRST;
            if is_known { current.lock().clone() } else { Source::Unknown }
        };
        let (current, known) = (Arc::clone(&source), task.clone());
        let newest = move |task: &TaskId| {
            (*task == known && *current.lock() != Source::Unknown).then_some(Attempt::FIRST)
        };
        let logs = Logs::new(Arc::clone(&engine), Arc::clone(&store), Arc::new(source_of), Arc::new(newest));
        Self { logs: Arc::new(set_up(logs)), store, engine, task, source, _folder: folder }
    }

    /// Says where the log is from now on.
    pub(crate) fn put(&self, source: Source) {
        *self.source.lock() = source;
    }

    /// Copies a log from the Engine to the disk, as a monitor does.
    pub(crate) fn collect(&self, records: LogRecords) {
        self.store.collect(&self.task, Attempt::FIRST, records).unwrap();
        self.put(Source::Stored);
    }

    /// What a reader gets, in one go.
    pub(crate) fn read(&self, query: &LogQuery) -> (Vec<u8>, Completeness) {
        let reader = Reader::new();
        let completeness = reader.run(self, query);
        (reader.text(), completeness)
    }
}

/// The id of the test's n-th task.
pub(crate) fn task(number: u32) -> TaskId {
    format!("{number:026}").parse().unwrap()
}

/// A log that gives these records.
pub(crate) fn log_of(records: Vec<LogRecord>) -> LogRecords {
    Box::new(records.into_iter().map(|record| Ok(LogItem::Record(record))))
}

/// A record.
pub(crate) fn written(stream: Stream, unix_nanos: u64, bytes: impl Into<Vec<u8>>) -> LogRecord {
    LogRecord { stream, unix_nanos, bytes: bytes.into() }
}

/// Lines of stdout, one a record: `line 1` to `line N`.
pub(crate) fn lines(count: u64) -> Vec<LogRecord> {
    (1..=count).map(|number| written(Stream::Stdout, number, format!("line {number}\n"))).collect()
}

/// Asks for everything there is, as text.
pub(crate) fn everything() -> LogQuery {
    LogQuery {
        follow: false,
        tail: None,
        timestamps: false,
        stream: "both".to_owned(),
        attempt: None,
        as_lines: false,
    }
}

/// Asks for everything there is and will be, as text.
pub(crate) fn following() -> LogQuery {
    LogQuery { follow: true, ..everything() }
}

/// Somebody who reads. What isn't flushed hasn't reached them.
#[derive(Clone)]
pub(crate) struct Reader {
    got: Arc<(Mutex<Got>, Condvar)>,
    gone: Stop,
    source: Arc<Mutex<Option<StopSource>>>,
}

/// Lets a reader go, after a panic too.
struct Leaver(Reader);

impl Drop for Leaver {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[derive(Default)]
struct Got {
    text: Vec<u8>,
    unsent: Vec<u8>,
    sent_at: Vec<Mono>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let (source, gone) = Stop::channel();
        Self { got: Arc::default(), gone, source: Arc::new(Mutex::new(Some(source))) }
    }

    /// Reads to the end. Blocks.
    pub(crate) fn run(&self, place: &Place, query: &LogQuery) -> Completeness {
        let mut sink = self.clone();
        place.logs.write(&place.task, Attempt::FIRST, query, &mut sink, &self.gone).unwrap()
    }

    /// Has the reader go away when this is dropped.
    pub(crate) fn leaves_when_dropped(&self) -> impl Drop + use<> {
        Leaver(self.clone())
    }

    /// Goes away.
    pub(crate) fn leave(&self) {
        self.source.lock().take();
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        self.got.0.lock().text.clone()
    }

    /// How often something was sent.
    pub(crate) fn sends(&self) -> usize {
        self.got.0.lock().sent_at.len()
    }

    /// Waits to see that nothing comes.
    pub(crate) fn await_nothing(&self, at_most: Duration) {
        let (got, changed) = &*self.got;
        let mut got = got.lock();
        let deadline = clock::mono() + at_most;
        while clock::mono() < deadline {
            changed.wait_for(&mut got, deadline.since(clock::mono()));
        }
        assert!(got.text.is_empty(), "{:?}", String::from_utf8_lossy(&got.text));
    }

    /// Waits for a text that ends so. Says when it was sent.
    #[track_caller]
    pub(crate) fn await_end(&self, end: &str) -> Mono {
        let (got, changed) = &*self.got;
        let mut got = got.lock();
        let deadline = clock::mono() + PATIENCE;
        while !got.text.ends_with(end.as_bytes()) {
            let left = deadline.since(clock::mono());
            assert!(!left.is_zero(), "{end:?} didn't come, only {:?}", String::from_utf8_lossy(&got.text));
            changed.wait_for(&mut got, left);
        }
        got.sent_at.last().copied().unwrap_or_default()
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.got.0.lock().unsent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut got = self.got.0.lock();
        if !got.unsent.is_empty() {
            let unsent = std::mem::take(&mut got.unsent);
            got.text.extend(unsent);
            got.sent_at.push(clock::mono());
        }
        self.got.1.notify_all();
        Ok(())
    }
}
