//! The worker's logs over a real Docker Engine: what a container wrote is shown while it runs, is collected, and is
//! shown the same when the container is gone. Without Docker this fails; it doesn't skip.
#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is told")]

#[expect(dead_code, reason = "shared with tests that use the rest")]
#[path = "support/engine.rs"]
mod engine;
#[expect(dead_code, reason = "shared with tests that use the rest")]
#[path = "support/logs.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use podling::engine::LogRequest;
use podling::model::id::ContainerId;
use podling::model::spec::TaskSpec;
use podling::rest::log::LogQuery;
use podling::worker::logs::{Completeness, Source};

use engine::{LONG, Rig, program, writes_lines};
use support::{Place, Reader, everything, following};

/// Runs a program with two followers, lets a monitor end it as soon as it can, and gives what one follower got.
fn followed(rig: &Rig, spec: TaskSpec) -> (Place, ContainerId, String) {
    let id = rig.run(spec);
    let place = Place::new(Arc::clone(&rig.engine), Source::Live(id.clone()));
    let readers = [Reader::new(), Reader::new()];
    std::thread::scope(|scope| {
        let follow = |reader: &Reader| reader.run(&place, &following());
        let followers = readers.each_ref().map(|reader| scope.spawn(move || follow(reader)));
        assert!(rig.engine.wait(&id, LONG).unwrap());
        let before: Vec<_> = queries().iter().map(|query| place.read(query)).collect();
        place.collect(rig.engine.logs(&id, LogRequest::default()).unwrap());
        rig.engine.remove(&id).unwrap();
        let after: Vec<_> = queries().iter().map(|query| place.read(query)).collect();
        assert!(before == after, "the engine's log and the stored one are the same, byte for byte");
        for follower in followers {
            assert_eq!(follower.join().unwrap(), Completeness::Whole);
        }
    });
    let [one, two] = readers.map(|reader| reader.text());
    assert!(one == two);
    assert!(one == place.read(&everything()).0, "followed or not");
    (place, id, String::from_utf8(one).unwrap())
}

fn queries() -> Vec<LogQuery> {
    let stderr = LogQuery { stream: "stderr".to_owned(), ..everything() };
    let timestamps = LogQuery { timestamps: true, tail: Some(100), ..everything() };
    vec![everything(), stderr, timestamps, LogQuery { as_lines: true, ..everything() }]
}

#[test]
fn twenty_thousand_lines_are_followed_collected_and_shown_again() {
    let rig = Rig::docker();
    let (place, _, text) = followed(&rig, writes_lines(20_000, Duration::ZERO));
    let expected: String = (1..=20_000).map(|number| format!("line {number}\n")).collect();
    assert!(text == expected);
    let tail = LogQuery { tail: Some(2), ..everything() };
    assert_eq!(place.read(&tail).0, b"line 19999\nline 20000\n");
}

#[test]
fn both_streams_a_long_line_and_an_open_end() {
    let rig = Rig::docker();
    // A line of 40,000 bytes, and an end without a line feed.
    let script = "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; usleep 100000; \
                  echo err again >&2; usleep 100000; printf 'no end'";
    let (place, _, text) = followed(&rig, program(script, &[]));
    let of = |stream: &str| {
        let query = LogQuery { stream: stream.to_owned(), ..everything() };
        String::from_utf8(place.read(&query).0).unwrap()
    };
    let long = "x".repeat(40_000);
    assert_eq!(of("stderr"), "err\nerr again\n");
    assert_eq!(of("stdout"), format!("out\n{long}\nno end"));
    assert_eq!(text.len(), of("stdout").len() + of("stderr").len());
    let stamped = LogQuery { stream: "stdout".to_owned(), timestamps: true, ..everything() };
    let stamped = String::from_utf8(place.read(&stamped).0).unwrap();
    // `2026-01-31T12:00:00.000000000Z ` is 31 bytes: one for each of three lines, none inside the long one.
    assert_eq!(stamped.len(), of("stdout").len() + 3 * 31);
    assert!(stamped.contains(&format!("Z {long}\n")));
}

/// A container that somebody else removes while it is followed. What it wrote before its silence has come by then.
#[test]
fn a_container_that_vanishes_ends_its_log() {
    let rig = Rig::docker();
    let id = rig.run(writes_lines(3, Duration::from_secs(60)));
    let place = Place::new(Arc::clone(&rig.engine), Source::Live(id.clone()));
    let reader = Reader::new();
    let completeness = std::thread::scope(|scope| {
        let follower = scope.spawn(|| reader.run(&place, &following()));
        let leaver = reader.leaves_when_dropped();
        reader.await_end("line 3\n");
        rig.engine.remove(&id).unwrap();
        place.put(Source::Stored);
        std::mem::forget(leaver);
        follower.join().unwrap()
    });
    assert_eq!(completeness, Completeness::Incomplete, "nobody knows what it wrote last");
    assert_eq!(reader.text(), b"line 1\nline 2\nline 3\n");
}
