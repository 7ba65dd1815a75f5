//! Logs on the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use podling::engine::{EngineError, LogItem, LogRecord, Stream};
use podling::model::id::Attempt;
use podling::worker::logs::{LogLimits, LogStore, LogStoreError};
use tempfile::TempDir;

use crate::support::{AMPLE, lines, log_of, task, written};

const ONE: Attempt = Attempt(1);
const TWO: Attempt = Attempt(2);

/// What a store has of an attempt, and the error that ended it.
fn read(store: &LogStore, number: u32, attempt: Attempt) -> (Vec<LogRecord>, Option<EngineError>) {
    let mut records = Vec::new();
    for item in store.read(&task(number), attempt).unwrap() {
        match item {
            Ok(LogItem::Record(record)) => records.push(record),
            Ok(LogItem::Quiet) => panic!("a file is never quiet"),
            Err(error) => return (records, Some(error)),
        }
    }
    (records, None)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_was_collected_is_read_back_also_by_the_next_process() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().join("logs");
    let store = LogStore::open(&folder, AMPLE).unwrap();
    store.collect(&task(1), ONE, log_of(lines(3))).unwrap();
    store.collect(&task(1), TWO, log_of(Vec::new())).unwrap();
    store.collect(&task(2), ONE, log_of(lines(1))).unwrap();
    store.collect(&task(2), ONE, log_of(lines(2))).unwrap();
    for store in [store, LogStore::open(&folder, AMPLE).unwrap()] {
        assert_eq!(read(&store, 1, ONE), (lines(3), None));
        assert_eq!(read(&store, 1, TWO), (Vec::new(), None), "an empty log is a log");
        assert_eq!(read(&store, 2, ONE), (lines(2), None), "the later collection counts");
        assert_eq!(store.latest_attempt(&task(1)), Some(TWO));
        assert!(!store.has(&task(2), TWO) && store.read(&task(2), TWO).is_none());
        assert_eq!((files(&folder).len(), store.total_bytes()), (3, 3 * 4096));
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert!(files(&folder).iter().all(|file| mode(file) == 0o600));
}

#[test]
fn a_task_is_forgotten_with_all_its_attempts() {
    let folder = TempDir::new().unwrap();
    let store = LogStore::open(folder.path(), AMPLE).unwrap();
    for (number, attempt) in [(1, ONE), (1, TWO), (2, ONE)] {
        store.collect(&task(number), attempt, log_of(lines(1))).unwrap();
    }
    store.forget(&task(1));
    store.forget(&task(3));
    assert_eq!((store.latest_attempt(&task(1)), store.latest_attempt(&task(2))), (None, Some(ONE)));
    assert_eq!((files(folder.path()).len(), store.total_bytes()), (1, 4096));
}

#[test]
fn a_log_that_comes_after_its_task_was_forgotten_is_not_kept() {
    let folder = TempDir::new().unwrap();
    let store = LogStore::open(folder.path(), AMPLE).unwrap();
    store.forget(&task(1));
    for number in 1..=2 {
        store.collect(&task(number), ONE, log_of(lines(1))).unwrap();
    }
    assert_eq!((store.has(&task(1), ONE), store.has(&task(2), ONE)), (false, true));
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn the_oldest_collections_make_room() {
    let folder = TempDir::new().unwrap();
    let limits = LogLimits { total_bytes: 3 * 4096, ..AMPLE };
    let store = LogStore::open(folder.path(), limits).unwrap();
    for number in 1..=3 {
        store.collect(&task(number), ONE, log_of(lines(2))).unwrap();
    }
    // The first is the youngest now; the second is being read.
    store.collect(&task(1), ONE, log_of(lines(3))).unwrap();
    let mut reading = store.read(&task(2), ONE).unwrap();
    assert!(reading.next().is_some());
    store.collect(&task(4), ONE, log_of(lines(4))).unwrap();
    let held = |store: &LogStore| (1..=4).filter(|number| store.has(&task(*number), ONE)).collect::<Vec<_>>();
    assert_eq!(held(&store), [1, 3, 4]);
    assert_eq!(reading.map(Result::unwrap).count(), 1, "who reads an evicted log reads on");
    assert_eq!((files(folder.path()).len(), store.total_bytes()), (3, 3 * 4096));
    let smaller = LogStore::open(folder.path(), LogLimits { total_bytes: 2 * 4096, ..AMPLE }).unwrap();
    assert_eq!(
        held(&smaller),
        [1, 4],
        "limits are kept when the store is opened, in the order of collection"
    );
}

#[test]
fn of_one_log_the_newest_records_that_fit_are_kept() {
    let folder = TempDir::new().unwrap();
    // A record takes 17 bytes more than it holds.
    let limits = LogLimits { per_attempt_bytes: 100, ..AMPLE };
    let store = LogStore::open(folder.path(), limits).unwrap();
    let record = |nanos: u64, length| written(Stream::Stderr, nanos, vec![b'x'; length]);
    for count in 1..200 {
        let records: Vec<LogRecord> = (1..=count).map(|nanos| record(nanos, 8)).collect();
        store.collect(&task(1), ONE, log_of(records.clone())).unwrap();
        let kept = records.len().min(100 / 25);
        assert_eq!(read(&store, 1, ONE), (records[records.len() - kept..].to_vec(), None));
    }
    store.collect(&task(1), ONE, log_of(vec![record(1, 8), record(2, 84)])).unwrap();
    assert_eq!(read(&store, 1, ONE), (Vec::new(), None), "one that is too long itself");
    store.collect(&task(1), ONE, log_of(vec![record(1, 8), record(2, 83)])).unwrap();
    assert_eq!(read(&store, 1, ONE), (vec![record(2, 83)], None), "one that just fits");
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_file_that_is_cut_or_zeroed_is_noticed_wherever_it_is() {
    let folder = TempDir::new().unwrap();
    let store = LogStore::open(folder.path(), AMPLE).unwrap();
    store.collect(&task(1), ONE, log_of(lines(3))).unwrap();
    let [file] = &files(folder.path())[..] else { panic!("one file") };
    let whole = fs::read(file).unwrap();
    for end in 0..whole.len() {
        let zeros = vec![0; whole.len() - end];
        for bytes in [whole[..end].to_vec(), [&whole[..end], &zeros].concat()] {
            fs::write(file, &bytes).unwrap();
            let (records, error) = read(&store, 1, ONE);
            assert!(lines(3).starts_with(&records), "{end}");
            if bytes != whole {
                assert!(matches!(error, Some(EngineError::Malformed { .. })), "{end}: {error:?}");
            }
        }
    }
    fs::write(file, [&whole, b"more".as_slice()].concat()).unwrap();
    assert_eq!(read(&store, 1, ONE), (lines(3), None), "what comes after the end isn't read");
}

#[test]
fn an_engine_that_fails_leaves_nothing_and_spoils_nothing() {
    let folder = TempDir::new().unwrap();
    let store = LogStore::open(folder.path(), AMPLE).unwrap();
    let failing = || {
        let error = EngineError::Unreachable { operation: "logs", why: "gone".to_owned() };
        Box::new(log_of(lines(2)).chain([Err(error)]))
    };
    let error = store.collect(&task(1), ONE, failing()).unwrap_err();
    assert!(matches!(error, LogStoreError::Engine { .. }) && error.is_retryable(), "{error}");
    assert_eq!((files(folder.path()).len(), store.has(&task(1), ONE)), (0, false));
    store.collect(&task(1), ONE, log_of(lines(5))).unwrap();
    store.collect(&task(1), ONE, failing()).unwrap_err();
    assert_eq!(read(&store, 1, ONE), (lines(5), None));
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_disk_that_refuses_is_an_error() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("logs");
    let store = LogStore::open(&inner, AMPLE).unwrap();
    store.collect(&task(1), ONE, log_of(lines(1))).unwrap();
    fs::remove_dir_all(&inner).unwrap();
    let error = store.collect(&task(1), TWO, log_of(lines(1))).unwrap_err();
    assert!(matches!(error, LogStoreError::Io { .. }), "{error}");
    assert!(matches!(read(&store, 1, ONE), (_, Some(EngineError::Failed { .. }))));
    assert!(!store.has(&task(1), TWO));
}

#[test]
fn what_a_killed_process_left_is_cleared_away() {
    let folder = TempDir::new().unwrap();
    let name = |text: &str| folder.path().join(text);
    let store = LogStore::open(folder.path(), AMPLE).unwrap();
    store.collect(&task(1), ONE, log_of(lines(1))).unwrap();
    store.collect(&task(1), ONE, log_of(lines(2))).unwrap();
    drop(store);
    // Killed before the older collection was removed, and in the midst of a third.
    fs::copy(name(&format!("{}-1-2.log", task(1))), name(&format!("{}-1-1.log", task(1)))).unwrap();
    fs::write(name(&format!("{}-1-3.log.draft", task(1))), b"podlog1\n").unwrap();
    fs::write(name("notes"), b"somebody else's").unwrap();
    let store = LogStore::open(folder.path(), AMPLE).unwrap();
    assert_eq!(read(&store, 1, ONE), (lines(2), None));
    let mut left = files(folder.path());
    left.sort();
    assert_eq!(left, [name(&format!("{}-1-2.log", task(1))), name("notes")]);
}

#[test]
fn many_threads_collect_read_and_forget_at_once() {
    let folder = TempDir::new().unwrap();
    let store = LogStore::open(folder.path(), LogLimits { total_bytes: 8 * 4096, ..AMPLE }).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..40_u32 {
                    let number = (thread + round) % 5;
                    store.collect(&task(number), ONE, log_of(lines(u64::from(round)))).unwrap();
                    for item in store.read(&task((number + 1) % 5), ONE).into_iter().flatten() {
                        item.unwrap();
                    }
                    if round % 7 == 0 {
                        store.forget(&task(number));
                    }
                }
            });
        }
    });
    let held = (0..5).filter(|number| store.has(&task(*number), ONE)).count();
    assert_eq!(files(folder.path()).len(), held, "no file without an entry, no entry without a file");
    assert_eq!(store.total_bytes(), 4096 * held as u64);
}
