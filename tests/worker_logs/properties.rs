//! Whatever a container writes, and however the Engine cuts it.

use podling::engine::{LogItem, LogRecord, Stream};
use podling::model::id::Attempt;
use podling::rest::log::LogQuery;
use podling::worker::logs::{Completeness, LogLimits, LogStore, Source};
use proptest::prelude::*;
use tempfile::TempDir;

use podling::api::wire::log::LogLine;

use crate::scripted::{Scripted, container};
use crate::support::{AMPLE, Place, everything, log_of, task, written};

/// Bytes with many line feeds, in pieces of both streams.
fn records() -> impl Strategy<Value = Vec<LogRecord>> {
    let byte = prop_oneof![3 => Just(b'\n'), 5 => b'a'..=b'c', 1 => any::<u8>()];
    let bytes = proptest::collection::vec(byte, 0..8);
    let record = (any::<bool>(), 0_u64..3, bytes);
    proptest::collection::vec(record, 0..30).prop_map(|parts| {
        let mut now = 0;
        let record = |(is_out, step, bytes): (bool, u64, Vec<u8>)| {
            now += step;
            written(if is_out { Stream::Stdout } else { Stream::Stderr }, now, bytes)
        };
        parts.into_iter().map(record).collect()
    })
}

fn query() -> impl Strategy<Value = LogQuery> {
    let stream = prop_oneof!["stdout", "stderr", "both"];
    let tail = proptest::option::of(0_u64..12);
    (stream, tail, any::<bool>(), any::<bool>()).prop_map(|(stream, tail, timestamps, as_lines)| LogQuery {
        stream,
        tail,
        timestamps,
        as_lines,
        ..everything()
    })
}

/// What the query's streams wrote, and of that the last lines.
fn expected(records: &[LogRecord], query: &LogQuery) -> Vec<u8> {
    let word = |stream| match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let is_chosen = |record: &&LogRecord| query.stream == "both" || query.stream == word(record.stream);
    let text: Vec<u8> = records.iter().filter(is_chosen).flat_map(|record| record.bytes.clone()).collect();
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let tail = query.tail.map_or(lines.len(), |tail| usize::try_from(tail).unwrap());
    lines[lines.len().saturating_sub(tail)..].concat()
}

fn from_ndjson(bytes: &[u8]) -> Vec<u8> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| serde_json::from_slice::<LogLine>(line).unwrap().bytes().to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_collected_is_read_back(records in records(), per_attempt_bytes in 0_u64..600) {
        let folder = TempDir::new().unwrap();
        let store = LogStore::open(folder.path(), LogLimits { per_attempt_bytes, ..AMPLE }).unwrap();
        store.collect(&task(1), Attempt::FIRST, log_of(records.clone())).unwrap();
        let items = store.read(&task(1), Attempt::FIRST).unwrap().map(Result::unwrap);
        let read: Vec<LogRecord> = items.filter_map(|item| match item {
            LogItem::Record(record) => Some(record),
            LogItem::Quiet => None,
        }).collect();
        let size = |records: &[LogRecord]| records.iter().map(|record| record.bytes.len() as u64 + 17).sum::<u64>();
        let fits = |from: &usize| size(&records[*from..]) <= per_attempt_bytes;
        let first = (0..=records.len()).find(fits).unwrap();
        prop_assert_eq!(&read[..], &records[first..]);
    }

    #[test]
    fn what_is_shown_is_what_was_written(records in records(), query in query()) {
        let engine = Scripted::new(records.clone());
        let place = Place::new(engine, Source::Live(container()));
        let (live, completeness) = place.read(&query);
        prop_assert_eq!(completeness, Completeness::Whole);
        if query.as_lines {
            prop_assert_eq!(from_ndjson(&live), expected(&records, &query));
        } else if !query.timestamps {
            prop_assert_eq!(&live, &expected(&records, &query));
        }
        place.collect(log_of(records.clone()));
        prop_assert_eq!(place.read(&query), (live, completeness), "from the disk it is byte for byte the same");
    }
}
