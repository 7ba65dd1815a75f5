//! One followed log per container, however many read it, and however slowly.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, bounded};
use podling::engine::LogRecord;
use podling::model::id::Attempt;
use podling::rest::log::LogQuery;
use podling::runtime::supervise::Stop;
use podling::worker::logs::{Completeness, Logs, Source};
use proptest::prelude::*;

use crate::scripted::{Scripted, container};
use crate::support::{Place, Reader, everything, following, lines, log_of};

/// Less than a handful of lines.
const TINY_RING_BYTES: usize = 600;

fn text_of(records: &[LogRecord]) -> Vec<u8> {
    records.iter().flat_map(|record| record.bytes.clone()).collect()
}

/// A container that runs and has written so many lines; of its log the tap keeps so much.
fn live(count: u64, ring_bytes: usize) -> (Arc<Scripted>, Place) {
    let engine = Scripted::new(lines(count));
    let shared: Arc<Scripted> = Arc::clone(&engine);
    let place = Place::of(shared, Source::Live(container()), |logs: Logs| logs.keep_in_memory(ring_bytes));
    (engine, place)
}

/// Waits until each reader has a text that ends so.
#[track_caller]
fn await_all(readers: &[Reader], end: &str) {
    for reader in readers {
        reader.await_end(end);
    }
}

/// The container ends having written so many lines, and its log is collected.
fn end(engine: &Scripted, place: &Place, count: u64) {
    engine.change(|script| (script.records, script.has_ended) = (lines(count), true));
    place.collect(log_of(lines(count)));
}

/// Somebody who takes so many bytes, and then none until they are let on.
struct Deaf {
    takes: usize,
    text: Vec<u8>,
    let_on: Receiver<()>,
    blocked: Arc<AtomicUsize>,
}

impl Write for Deaf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= self.takes {
            self.takes = usize::MAX;
            self.blocked.fetch_add(1, Ordering::SeqCst);
            let _ = self.let_on.recv();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn fifty_followers_are_one_to_the_engine() {
    let (engine, place) = live(3, 1 << 20);
    let readers: Vec<Reader> = (0..50).map(|_| Reader::new()).collect();
    std::thread::scope(|scope| {
        for reader in &readers {
            let place = &place;
            scope.spawn(move || reader.run(place, &following()));
        }
        let leavers: Vec<_> = readers.iter().map(Reader::leaves_when_dropped).collect();
        await_all(&readers, "line 3\n");
        engine.change(|script| script.records = lines(200));
        await_all(&readers, "line 200\n");
        let opened = engine.change(|script| (script.followed, script.opened));
        assert_eq!(opened, (1, 1), "nobody had to read the log by himself either");
        end(&engine, &place, 300);
        std::mem::forget(leavers);
    });
    assert!(readers.iter().all(|reader| reader.text() == text_of(&lines(300))));
    assert_eq!(engine.change(|script| script.followed), 1);
}

/// Deaf readers hold up neither the Engine nor whoever reads. When they hear again, they get every line.
#[test]
fn deaf_readers_hold_nobody_up_and_miss_nothing() {
    const LAST: u64 = 30_000;
    let (engine, place) = live(0, 64 << 10);
    let (blocked, fast) = (Arc::new(AtomicUsize::new(0)), Reader::new());
    let (let_on, wait) = bounded::<()>(0);
    std::thread::scope(|scope| {
        let deaf: Vec<_> = (0..20)
            .map(|number| {
                let (place, let_on) = (&place, wait.clone());
                // They go deaf here and there: drawing from the tap, or in the midst of a read of their own.
                let (takes, blocked) = (1 + number * 10_000, Arc::clone(&blocked));
                let mut sink = Deaf { takes, text: Vec::new(), let_on, blocked };
                scope.spawn(move || {
                    let (_source, gone) = Stop::channel();
                    let all = place.logs.write(&place.task, Attempt::FIRST, &following(), &mut sink, &gone);
                    (sink.text, all.unwrap())
                })
            })
            .collect();
        let follower = scope.spawn(|| fast.run(&place, &following()));
        let leaver = fast.leaves_when_dropped();
        engine.await_that("it is followed", |script| script.followed == 1);
        engine.change(|script| script.records = lines(LAST));
        fast.await_end(&format!("line {LAST}\n"));
        while blocked.load(Ordering::SeqCst) < deaf.len() {
            std::thread::yield_now();
        }
        engine.await_that("all was followed", |script| script.fed == 30_000);
        engine.change(|script| script.records = lines(LAST + 5));
        fast.await_end(&format!("line {}\n", LAST + 5));
        assert_eq!(engine.change(|script| script.followed), 1);
        end(&engine, &place, LAST + 9);
        assert_eq!(follower.join().unwrap(), Completeness::Whole);
        assert!(fast.text() == text_of(&lines(LAST + 9)));
        std::mem::forget(leaver);
        drop(let_on);
        for reader in deaf {
            let (text, completeness) = reader.join().unwrap();
            assert_eq!(completeness, Completeness::Whole);
            assert!(text == text_of(&lines(LAST + 9)));
        }
    });
}

#[test]
fn the_last_reader_that_leaves_ends_the_tap_and_the_next_gets_a_new_one() {
    let (engine, place) = live(1, 1 << 20);
    let readers = [Reader::new(), Reader::new(), Reader::new()];
    std::thread::scope(|scope| {
        let follow = |reader: &Reader| {
            let reader = reader.clone();
            let place = &place;
            scope.spawn(move || reader.run(place, &following()))
        };
        let _leavers = readers.each_ref().map(Reader::leaves_when_dropped);
        let [one, two] = [follow(&readers[0]), follow(&readers[1])];
        await_all(&readers[..2], "line 1\n");
        readers[0].leave();
        one.join().unwrap();
        engine.change(|script| script.records = lines(2));
        readers[1].await_end("line 2\n");
        readers[1].leave();
        two.join().unwrap();
        let three = follow(&readers[2]);
        readers[2].await_end("line 2\n");
        assert_eq!(engine.change(|script| script.followed), 2);
        engine.await_that("the first tap has ended", |script| script.following == 1);
        readers[2].leave();
        three.join().unwrap();
        engine.await_that("the second has ended too", |script| script.following == 0);
    });
}

/// When the container has ended, its log is collected once; nobody goes on reading it from the Engine.
#[test]
fn who_catches_up_lets_go_of_the_engine_when_the_container_ends() {
    const LAST: u64 = 30_000;
    let (engine, place) = live(LAST, TINY_RING_BYTES);
    let (blocked, fast) = (Arc::new(AtomicUsize::new(0)), Reader::new());
    let (let_on, wait) = bounded::<()>(0);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| fast.run(&place, &following()));
        let leaver = fast.leaves_when_dropped();
        fast.await_end(&format!("line {LAST}\n"));
        let mut sink = Deaf { takes: 1, text: Vec::new(), let_on: wait, blocked: Arc::clone(&blocked) };
        let shared = &place;
        let deaf = scope.spawn(move || {
            let (_source, gone) = Stop::channel();
            let all = shared.logs.write(&shared.task, Attempt::FIRST, &following(), &mut sink, &gone);
            (sink.text, all.unwrap())
        });
        while blocked.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let read = engine.change(|script| script.read_to_end);
        end(&engine, &place, LAST);
        assert_eq!(follower.join().unwrap(), Completeness::Whole);
        drop(let_on);
        let (text, completeness) = deaf.join().unwrap();
        assert_eq!(completeness, Completeness::Whole);
        assert!(text == text_of(&lines(LAST)));
        assert_eq!(engine.change(|script| script.read_to_end), read);
        std::mem::forget(leaver);
    });
}

/// Somebody who reads a log without following it, and never ends, is no reason to follow it.
#[test]
fn who_only_reads_keeps_no_tap() {
    let (engine, place) = live(50, 1 << 20);
    let (let_on, wait) = bounded::<()>(0);
    let (follower, blocked) = (Reader::new(), Arc::new(AtomicUsize::new(0)));
    std::thread::scope(|scope| {
        let mut sink = Deaf { takes: 1, text: Vec::new(), let_on: wait, blocked };
        let place = &place;
        scope.spawn(move || {
            let (_source, gone) = Stop::channel();
            place.logs.write(&place.task, Attempt::FIRST, &everything(), &mut sink, &gone).unwrap();
        });
        engine.await_that("it is read", |script| script.opened == 1);
        scope.spawn(|| follower.run(place, &following()));
        let leaver = follower.leaves_when_dropped();
        follower.await_end("line 50\n");
        drop(leaver);
        engine.await_that("the tap has ended", |script| script.following == 0);
        drop(let_on);
    });
}

#[test]
fn a_tap_that_breaks_is_taken_up_again_by_one_for_all() {
    let (engine, place) = live(9, 1 << 20);
    engine.change(|script| script.breaks = vec![4, 7]);
    let readers: Vec<Reader> = (0..10).map(|_| Reader::new()).collect();
    std::thread::scope(|scope| {
        for reader in &readers {
            let place = &place;
            scope.spawn(move || reader.run(place, &following()));
        }
        let leavers: Vec<_> = readers.iter().map(Reader::leaves_when_dropped).collect();
        await_all(&readers, "line 9\n");
        end(&engine, &place, 9);
        std::mem::forget(leavers);
    });
    assert!(readers.iter().all(|reader| reader.text() == text_of(&lines(9))));
    let followed = engine.change(|script| script.followed);
    assert!((3..10).contains(&followed), "{followed}: a late one may have met the end of a tap");
}

/// The Engine drops the oldest part of a log while it is read: what is left goes on by time.
#[test]
fn a_lagging_reader_of_a_log_that_loses_its_beginning_goes_on() {
    let (engine, place) = live(40, TINY_RING_BYTES);
    let reader = Reader::new();
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| reader.run(&place, &following()));
        let leaver = reader.leaves_when_dropped();
        for count in (41..120).step_by(7) {
            reader.await_end(&format!("line {}\n", if count == 41 { 40 } else { count - 7 }));
            // More than the tap keeps comes at once.
            engine.change(|script| {
                (script.records, script.dropped) = (lines(count), usize::try_from(count).unwrap() - 20);
            });
        }
        reader.await_end("line 118\n");
        end(&engine, &place, 118);
        std::mem::forget(leaver);
        assert_eq!(follower.join().unwrap(), Completeness::Whole);
    });
    assert_eq!(String::from_utf8(reader.text()).unwrap().into_bytes(), text_of(&lines(118)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever comes when, and however little the tap keeps.
    #[test]
    fn a_lagging_reader_gets_every_line_once_and_in_order(
        ring_bytes in 1_usize..4_000,
        there in 0_u64..200,
        bursts in proptest::collection::vec(1_u64..300, 1..8),
        tail in proptest::option::of(0_u64..50),
    ) {
        let (engine, place) = live(there, ring_bytes);
        let (early, late) = (Reader::new(), Reader::new());
        let (mut count, query) = (there, LogQuery { tail, ..following() });
        std::thread::scope(|scope| {
            scope.spawn(|| early.run(&place, &following()));
            let leavers = [early.leaves_when_dropped(), late.leaves_when_dropped()];
            if there > 0 {
                early.await_end(&format!("line {there}\n"));
            }
            for burst in bursts {
                for _ in 0..burst {
                    count += 1;
                    engine.change(|script| script.records.push(lines(count).pop().unwrap()));
                }
            }
            scope.spawn(|| late.run(&place, &query));
            early.await_end(&format!("line {count}\n"));
            end(&engine, &place, count);
            std::mem::forget(leavers);
        });
        prop_assert_eq!(early.text(), text_of(&lines(count)));
        let skipped = tail.map_or(0, |tail| count.saturating_sub(tail));
        prop_assert_eq!(late.text(), text_of(&lines(count)[usize::try_from(skipped).unwrap()..]));
    }
}
