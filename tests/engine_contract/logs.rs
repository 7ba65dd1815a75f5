//! Reading what a container wrote, on every engine.

use std::time::Duration;

use podling::engine::{LogItem, LogRequest, Stream};
use podling::runtime::clock;

use crate::support::{Rig, exits, runs, writes_lines};

crate::on_every_engine!(
    twenty_thousand_lines_come_whole_and_in_order,
    a_follower_reads_to_the_end,
    a_follower_hears_silence,
    a_log_may_be_empty,
    a_log_that_is_let_go_stops,
);

fn twenty_thousand_lines_come_whole_and_in_order(rig: &Rig) {
    let id = rig.run_to_end(writes_lines(20_000, Duration::ZERO));
    let records = rig.records(&id, false);
    assert_eq!(records.len(), 20_000);
    for (record, number) in records.iter().zip(1..) {
        assert_eq!(String::from_utf8_lossy(&record.bytes), format!("line {number}\n"));
        assert_eq!(record.stream, Stream::Stdout);
    }
    assert!(records.windows(2).all(|pair| pair[0].unix_nanos <= pair[1].unix_nanos));
    let age = clock::wall().unix_millis().abs_diff(records[0].unix_nanos / 1_000_000);
    assert!(age < 60_000, "the first line is {age} ms old");
}

fn a_follower_reads_to_the_end(rig: &Rig) {
    let id = rig.run(writes_lines(3, Duration::from_millis(500)));
    let text: Vec<u8> = rig.records(&id, true).into_iter().flat_map(|record| record.bytes).collect();
    assert_eq!(String::from_utf8_lossy(&text), "line 1\nline 2\nline 3\n");
    assert!(
        rig.engine.wait(&id, Duration::from_secs(5)).unwrap(),
        "the log ends when the container has ended"
    );
}

fn a_follower_hears_silence(rig: &Rig) {
    let id = rig.run(runs());
    let began = clock::mono();
    let mut items = rig.engine.logs(&id, LogRequest { follow: true }).unwrap();
    for _ in 0..2 {
        assert_eq!(items.next(), Some(Ok(LogItem::Quiet)));
    }
    let took = clock::mono().since(began);
    assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(8), "{took:?}");
    rig.engine.stop(&id, Duration::from_secs(5)).unwrap();
    assert!(items.all(|item| item == Ok(LogItem::Quiet)), "nothing was written");
}

fn a_log_may_be_empty(rig: &Rig) {
    let id = rig.engine.create(&rig.request(exits(0))).unwrap();
    assert_eq!(rig.records(&id, false), Vec::new(), "before it started");
    rig.engine.start(&id).unwrap();
    assert!(rig.engine.wait(&id, crate::support::LONG).unwrap());
    assert_eq!(rig.records(&id, false), Vec::new());
    assert_eq!(rig.records(&id, true), Vec::new());
}

/// Whoever has read enough drops the log; the engine goes on.
fn a_log_that_is_let_go_stops(rig: &Rig) {
    let id = rig.run(writes_lines(100, Duration::from_secs(60)));
    for follow in [true, false, true] {
        let mut items = rig.engine.logs(&id, LogRequest { follow }).unwrap();
        let first = items.by_ref().find_map(|item| crate::support::record(item.unwrap()));
        assert_eq!(first.map(|record| record.bytes), Some(b"line 1\n".to_vec()));
    }
    assert!(!rig.engine.wait(&id, Duration::ZERO).unwrap());
}
