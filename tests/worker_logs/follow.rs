//! Following a log that grows, breaks and moves.

use std::sync::Arc;
use std::time::Duration;

use podling::engine::{Engine, LogItem, LogRecord, LogRequest, Stream};
use podling::model::id::{Attempt, ContainerId};
use podling::rest::log::LogQuery;
use podling::runtime::clock;
use podling::worker::logs::{Completeness, Source};

use crate::engine::{Rig, writes_lines};
use crate::scripted::{Scripted, container};
use crate::support::{PATIENCE, Place, Reader, everything, following, lines, log_of, written};

fn text_of(records: &[LogRecord]) -> String {
    records.iter().map(|record| String::from_utf8_lossy(&record.bytes)).collect()
}

/// A container that runs and has written these records.
fn live(records: &[LogRecord]) -> (Arc<Scripted>, Place) {
    let engine = Scripted::new(records.to_vec());
    let place = Place::new(Arc::<Scripted>::clone(&engine), Source::Live(container()));
    (engine, place)
}

/// Follows in a thread while `test` runs; then gives what came, and whether it was all.
fn while_following(place: &Place, query: &LogQuery, test: impl FnOnce(&Reader)) -> (String, Completeness) {
    let reader = Reader::new();
    let completeness = std::thread::scope(|scope| {
        let follower = scope.spawn(|| reader.run(place, query));
        // Else a failed test would wait for a follower that waits for more.
        let leaver = reader.leaves_when_dropped();
        test(&reader);
        std::mem::forget(leaver);
        follower.join().unwrap()
    });
    (String::from_utf8(reader.text()).unwrap(), completeness)
}

#[test]
fn a_follower_sees_a_task_through() {
    let (engine, place) = live(&[]);
    place.put(Source::Waiting);
    let (text, completeness) = while_following(&place, &following(), |reader| {
        place.put(Source::Live(container()));
        engine.change(|script| script.records = lines(2));
        reader.await_end("line 2\n");
        engine.change(|script| script.records = lines(3));
        reader.await_end("line 3\n");
        engine.change(|script| (script.records, script.has_ended) = (lines(5), true));
        place.collect(log_of(lines(5)));
    });
    assert_eq!((text, completeness), (text_of(&lines(5)), Completeness::Whole));
}

/// As Docker Engine 20.10 does it where a log's files are rotated while it is followed.
#[test]
fn what_the_engine_gives_twice_is_passed_on_once() {
    let (engine, place) = live(&[]);
    engine.change(|script| script.jumps = Some((5, 2)));
    let (text, completeness) = while_following(&place, &following(), |_| {
        engine.change(|script| (script.records, script.has_ended) = (lines(8), true));
        place.collect(log_of(lines(8)));
    });
    assert_eq!((text, completeness), (text_of(&lines(8)), Completeness::Whole));
}

#[test]
fn a_clock_that_was_set_back_loses_no_line() {
    let mut log = lines(6);
    log.iter_mut().skip(3).for_each(|record| record.unix_nanos -= 3);
    let (engine, place) = live(&[]);
    let (text, completeness) = while_following(&place, &following(), |reader| {
        engine.change(|script| script.records = log.clone());
        reader.await_end(&text_of(&log));
        engine.change(|script| script.has_ended = true);
        place.collect(log_of(log.clone()));
    });
    assert_eq!((text, completeness), (text_of(&log), Completeness::Whole));
}

/// The container is gone in the midst of its log, after each possible record.
#[test]
fn each_line_comes_once_and_in_order_wherever_the_log_moves_to_the_disk() {
    let mut log = lines(6);
    log.iter_mut().for_each(|record| record.unix_nanos *= 10);
    // The pieces of one line share their time; the streams' times needn't agree.
    log.splice(3..3, vec![written(Stream::Stdout, 35, vec![b'x'; 100]); 3]);
    log.insert(5, written(Stream::Stderr, 31, "late\n"));
    for seen in 0..=log.len() {
        for dropped in [0, seen.saturating_sub(1).min(2)] {
            let (engine, place) = live(&log[..seen]);
            let (text, completeness) = while_following(&place, &following(), |reader| {
                reader.await_end(&text_of(&log[..seen]));
                // The records that the store has no room for were passed on.
                place.collect(log_of(log[dropped..].to_vec()));
                engine.remove(&container()).unwrap();
            });
            assert_eq!(text, text_of(&log), "seen {seen}, dropped {dropped}");
            assert_eq!(completeness, Completeness::Whole, "seen {seen}, dropped {dropped}");
        }
    }
}

#[test]
fn what_was_dropped_before_it_was_read_is_missed_and_said() {
    let (engine, place) = live(&lines(2));
    let (text, completeness) = while_following(&place, &following(), |reader| {
        reader.await_end("line 2\n");
        place.collect(log_of(lines(9).split_off(5)));
        engine.change(|script| script.has_ended = true);
    });
    let shown = [&lines(2)[..], &lines(9)[5..]].concat();
    assert_eq!((text, completeness), (text_of(&shown), Completeness::Incomplete));
}

#[test]
fn a_log_that_breaks_is_taken_up_where_it_broke() {
    let (engine, place) = live(&lines(9));
    engine.change(|script| (script.breaks, script.has_ended) = (vec![4, 7, 2], true));
    let (text, completeness) = while_following(&place, &following(), |reader| {
        reader.await_end("line 9\n");
        assert!(reader.sends() >= 3, "what came before a break is sent");
        place.collect(log_of(lines(9)));
    });
    assert_eq!((text, completeness), (text_of(&lines(9)), Completeness::Whole));
}

#[test]
fn a_log_that_stays_broken_ends_with_a_notice() {
    let (engine, place) = live(&lines(9));
    engine.change(|script| script.breaks = vec![4; 100]);
    let query = LogQuery { as_lines: true, ..everything() };
    let (text, completeness) = place.read(&query);
    let text = String::from_utf8(text).unwrap();
    assert_eq!((text.lines().count(), completeness), (5, Completeness::Incomplete));
    assert!(text.ends_with("out of reach: the line broke\",\"attempt\":1}\n"), "{text}");
}

/// Docker 20.10 may end a followed log before its last lines.
#[test]
fn lines_that_the_engine_kept_from_its_followers_come_from_the_collected_log() {
    let (engine, place) = live(&lines(9));
    engine.change(|script| script.follower_ends_after = Some(6));
    let (text, completeness) = while_following(&place, &following(), |reader| {
        reader.await_end("line 6\n");
        engine.change(|script| script.has_ended = true);
        place.collect(log_of(lines(9)));
    });
    assert_eq!((text, completeness), (text_of(&lines(9)), Completeness::Whole));
}

#[test]
fn an_ended_container_whose_log_can_not_be_collected_is_read_to_its_end() {
    let (engine, place) = live(&lines(9));
    engine.change(|script| (script.follower_ends_after, script.has_ended) = (Some(6), true));
    assert_eq!(place.read(&following()), (text_of(&lines(9)).into_bytes(), Completeness::Whole));
}

/// The Engine is busy enough with giving it once.
#[test]
fn the_end_of_a_log_is_not_read_from_the_engine_while_it_is_collected() {
    let (engine, place) = live(&lines(9));
    engine.change(|script| (script.follower_ends_after, script.has_ended) = (Some(6), true));
    let (text, completeness) = while_following(&place, &following(), |reader| {
        let slowly = log_of(lines(9)).inspect(|_| {
            let _ = crossbeam_channel::after(Duration::from_millis(400)).recv();
        });
        reader.await_end("line 6\n");
        place.collect(Box::new(slowly));
    });
    assert_eq!((text, completeness), (text_of(&lines(9)), Completeness::Whole));
    assert_eq!(engine.change(|script| script.opened), 1);
}

/// The Engine says nothing of it where a container is removed while its log is read.
#[test]
fn a_log_that_is_cut_short_by_the_removal_of_its_container_goes_on_from_the_disk() {
    for follow in [true, false] {
        let (engine, place) = live(&lines(9));
        let place = Arc::new(place);
        let collected = Arc::clone(&place);
        engine.change(|script| {
            (script.follower_ends_after, script.has_ended) = (Some(6), true);
            script.cut = Some((8, Box::new(move || collected.collect(log_of(lines(9))))));
        });
        let read = place.read(&LogQuery { follow, ..following() });
        assert_eq!(read, (text_of(&lines(9)).into_bytes(), Completeness::Whole));
    }
}

#[test]
fn a_tail_is_of_what_is_there_and_then_everything_comes() {
    for (tail, first) in [(0, 3), (2, 1), (9, 0)] {
        let (engine, place) = live(&lines(3));
        let query = LogQuery { tail: Some(tail), ..following() };
        let (text, _) = while_following(&place, &query, |reader| {
            reader.await_end(&text_of(&lines(3)[first..]));
            while engine.change(|script| script.opened) < 2 {
                std::thread::yield_now();
            }
            engine.change(|script| (script.records, script.has_ended) = (lines(5), true));
            place.collect(log_of(lines(5)));
        });
        assert_eq!(text, text_of(&lines(5)[first..]), "tail {tail}");
    }
    let (engine, place) = live(&lines(3));
    place.put(Source::Waiting);
    let query = LogQuery { tail: Some(0), ..following() };
    let (text, _) = while_following(&place, &query, |reader| {
        // Long enough for the follower to have seen that nothing is there.
        reader.await_nothing(Duration::from_millis(200));
        engine.change(|script| script.has_ended = true);
        place.collect(log_of(lines(3)));
    });
    assert_eq!(text, text_of(&lines(3)), "of what wasn't there yet, everything is new");
}

#[test]
fn a_line_before_a_silence_comes_at_once() {
    let (engine, place) = live(&[]);
    let mut took = Vec::new();
    let (_, completeness) = while_following(&place, &following(), |reader| {
        for count in 1..=21 {
            // Each time two lines in quick succession: the second mustn't wait for a third.
            engine.change(|script| script.records = lines(2 * count - 1));
            reader.await_end(&format!("line {}\n", 2 * count - 1));
            let wrote_at = clock::mono();
            engine.change(|script| script.records = lines(2 * count));
            took.push(reader.await_end(&format!("line {}\n", 2 * count)).since(wrote_at));
        }
        reader.leave();
    });
    // On a busy machine any one of them may be late.
    took.sort();
    assert!(took[10] < Duration::from_millis(100), "{took:?}");
    assert_eq!(completeness, Completeness::Whole);
}

#[test]
fn a_reader_that_leaves_is_let_go_soon() {
    for source in [Source::Live(container()), Source::Waiting] {
        let (_engine, place) = live(&lines(1));
        place.put(source);
        let began = clock::mono();
        while_following(&place, &following(), |reader| reader.leave());
        assert!(clock::mono().since(began) < Duration::from_secs(3));
    }
}

#[test]
fn many_lines_come_whole_in_order_and_in_few_pieces() {
    let rig = Rig::hollow();
    let id = rig.run(writes_lines(20_000, Duration::from_millis(1500)));
    let place = Place::new(Arc::clone(&rig.engine), Source::Live(id.clone()));
    let (text, completeness) = while_following(&place, &following(), |reader| {
        reader.await_end("line 20000\n");
        assert!(reader.sends() < 2_000, "{} pieces", reader.sends());
        end_as_a_monitor(&rig, &place, &id);
    });
    assert_eq!((text, completeness), (text_of(&lines(20_000)), Completeness::Whole));
    let (again, _) = place.read(&following());
    assert!(again == text_of(&lines(20_000)).into_bytes());
}

fn end_as_a_monitor(rig: &Rig, place: &Place, id: &ContainerId) {
    assert!(rig.engine.wait(id, PATIENCE).unwrap());
    place.collect(rig.engine.logs(id, LogRequest::default()).unwrap());
    rig.engine.remove(id).unwrap();
    let items = place.store.read(&place.task, Attempt::FIRST).unwrap();
    assert!(items.map(Result::unwrap).all(|item| matches!(item, LogItem::Record(_))));
}
