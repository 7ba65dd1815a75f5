//! How a log is shown that is there as a whole.

use podling::engine::{LogRecord, Stream};
use podling::rest::log::LogQuery;
use podling::worker::logs::{Completeness, Source};

use crate::scripted::{Scripted, container};
use crate::support::{Place, everything, following, lines, log_of, written};

const OUT: Stream = Stream::Stdout;
const ERR: Stream = Stream::Stderr;

/// What is shown of a log: the same from the engine, from the disk, and from a follower.
#[track_caller]
fn shown(records: &[LogRecord], query: &LogQuery) -> String {
    let engine = Scripted::new(records.to_vec());
    engine.change(|script| script.has_ended = true);
    let place = Place::new(engine, Source::Live(container()));
    let (live, completeness) = place.read(query);
    assert_eq!(completeness, Completeness::Whole);
    place.collect(log_of(records.to_vec()));
    assert_eq!(place.read(query), (live.clone(), Completeness::Whole));
    let follow = LogQuery { follow: true, ..query.clone() };
    if query.tail != Some(0) {
        assert_eq!(place.read(&follow), (live.clone(), Completeness::Whole));
    }
    String::from_utf8(live).unwrap()
}

fn sample() -> Vec<LogRecord> {
    vec![
        written(OUT, 1_000_000_000, "one\n"),
        written(ERR, 1_000_000_001, "oh\n"),
        written(OUT, 1_000_000_002, "a long "),
        written(ERR, 1_000_000_003, "no\n"),
        written(OUT, 1_000_000_002, "line\n"),
        written(OUT, 1_000_000_004, "no end"),
    ]
}

#[test]
fn text_is_the_containers_own_bytes() {
    assert_eq!(shown(&sample(), &everything()), "one\noh\na long no\nline\nno end");
    assert_eq!(shown(&[], &everything()), "");
}

#[test]
fn one_stream_can_be_asked_for() {
    let of = |stream: &str| LogQuery { stream: stream.to_owned(), ..everything() };
    assert_eq!(shown(&sample(), &of("stdout")), "one\na long line\nno end");
    assert_eq!(shown(&sample(), &of("stderr")), "oh\nno\n");
}

#[test]
fn a_time_stands_before_each_line_and_not_before_the_rest_of_one() {
    let query = LogQuery { timestamps: true, ..everything() };
    let expected = "1970-01-01T00:00:01.000000000Z one\n\
                    1970-01-01T00:00:01.000000001Z oh\n\
                    1970-01-01T00:00:01.000000002Z a long \
                    1970-01-01T00:00:01.000000003Z no\n\
                    line\n\
                    1970-01-01T00:00:01.000000004Z no end";
    assert_eq!(shown(&sample(), &query), expected);
    let query = LogQuery { stream: "stdout".to_owned(), tail: Some(2), ..query };
    let expected = "1970-01-01T00:00:01.000000002Z a long line\n1970-01-01T00:00:01.000000004Z no end";
    assert_eq!(shown(&sample(), &query), expected);
}

#[test]
fn ndjson_tells_stream_time_and_attempt() {
    let query = LogQuery { as_lines: true, tail: Some(2), ..everything() };
    let records = [&sample()[..2], &[written(ERR, 2_000_000_000, [0xff, b'\n'])]].concat();
    let expected = "{\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:01.000000001Z\",\"line\":\"oh\\n\",\"attempt\":1}\n\
         {\"stream\":\"stderr\",\"time\":\"1970-01-01T00:00:02.000000000Z\",\"line_bytes\":[255,10],\"attempt\":1}\n";
    assert_eq!(shown(&records, &query), expected);
}

#[test]
fn a_tail_is_the_last_lines_of_what_is_chosen() {
    let tail = |lines| LogQuery { tail: Some(lines), ..everything() };
    assert_eq!(shown(&lines(30), &tail(2)), "line 29\nline 30\n");
    assert_eq!(shown(&lines(3), &tail(3)), "line 1\nline 2\nline 3\n");
    assert_eq!(shown(&lines(3), &tail(4)), "line 1\nline 2\nline 3\n");
    assert_eq!(shown(&lines(3), &tail(u64::MAX)), "line 1\nline 2\nline 3\n");
    assert_eq!(shown(&lines(3), &tail(0)), "");
    assert_eq!(shown(&sample(), &tail(1)), "no end", "a line without an end is one");
    let errors = LogQuery { stream: "stderr".to_owned(), ..tail(1) };
    assert_eq!(shown(&sample(), &errors), "no\n");
}

#[test]
fn what_is_not_there_is_said_where_it_is_known() {
    let place = Place::new(Scripted::new(Vec::new()), Source::Waiting);
    assert_eq!(place.read(&everything()), (Vec::new(), Completeness::Whole), "not yet");
    place.put(Source::Stored);
    assert_eq!(place.read(&following()), (Vec::new(), Completeness::Whole), "ended without a container");
    place.put(Source::Live(container()));
    place.engine.remove(&container()).unwrap();
    let query = LogQuery { as_lines: true, ..everything() };
    let (text, completeness) = place.read(&query);
    assert_eq!(completeness, Completeness::Incomplete);
    assert_eq!(String::from_utf8_lossy(&text), "{\"notice\":\"no such container: c1\",\"attempt\":1}\n");
}
