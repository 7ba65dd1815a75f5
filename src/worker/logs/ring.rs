//! The newest part of a log, in memory: what all who follow one container read on from.
//!
//! A [`Ring`] takes each record once, numbers it from the oldest that the Engine gave, and keeps the digest of
//! everything up to it. What is more than its limit of bytes goes, oldest first. A reader finds its place in it by
//! its [`Position`]: where count and digest agree, that is proven; else by the times of the records, as
//! `position.rs` does. Then it reads on by number, with a [`Cursor`].
//!
//! Plain data: no lock, no thread, no clock; `tap.rs` has those.
//!
//! Invariant: a ring never says [`Found::At`] where a record between the reader's position and what it then draws
//! may be missing.

use std::collections::VecDeque;
use std::sync::Arc;

use super::digest::Digest;
use super::position::{Position, Seen};
use crate::engine::LogRecord;

/// What a record costs beside its own bytes: its place here, the record itself, the counters of its `Arc`.
const OVERHEAD_BYTES: usize = size_of::<Kept>() + size_of::<LogRecord>() + 2 * size_of::<usize>();

/// How much is drawn at once, about.
const BATCH_BYTES: usize = 16 << 10;

/// The newest records of a log.
#[derive(Debug)]
pub(super) struct Ring {
    most_bytes: usize,
    bytes: usize,
    kept: VecDeque<Kept>,
    /// Of what came before the oldest kept record.
    before: Digest,
    /// Behind the newest record.
    end: Position,
}

#[derive(Debug)]
struct Kept {
    record: Arc<LogRecord>,
    /// Of everything up to this record.
    after: Digest,
}

/// What of a ring a reader draws next.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    next: u64,
    /// Leaves out what was read before, where the place was found by time.
    seen: Option<Seen>,
}

/// Where a reader's position is in a ring.
#[derive(Debug)]
pub(super) enum Found {
    /// Here.
    At(Cursor),
    /// Behind all that came so far: the log is just being read to there.
    Ahead,
    /// Before the oldest record that is kept, or it may be.
    Behind,
}

impl Ring {
    /// An empty one, for about so many bytes. The newest record stays, however long it is.
    pub(super) fn new(most_bytes: usize) -> Self {
        let (kept, end) = (VecDeque::new(), Position::default());
        Self { most_bytes, bytes: 0, kept, before: Digest::default(), end }
    }

    /// Takes the next record of the log.
    pub(super) fn push(&mut self, record: LogRecord) {
        self.end.pass(&record);
        self.bytes += cost(&record);
        self.kept.push_back(Kept { record: Arc::new(record), after: self.end.digest() });
        while self.bytes > self.most_bytes && self.kept.len() > 1 {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= cost(&oldest.record);
            self.before = oldest.after;
        }
    }

    /// The position behind the newest record.
    pub(super) const fn end(&self) -> &Position {
        &self.end
    }

    /// Finds a reader's place.
    pub(super) fn find(&self, position: &Position) -> Found {
        let next = position.records();
        if !position.begins_as(&self.end) {
            return self.find_by_time(position);
        }
        if next > self.end.records() {
            return Found::Ahead;
        }
        match self.digest_before(next) {
            None => Found::Behind,
            Some(digest) if digest == position.digest() => Found::At(Cursor { next, seen: None }),
            Some(_) => self.find_by_time(position),
        }
    }

    /// Draws what comes next, if anything does. None: it isn't kept any more.
    pub(super) fn draw(&self, cursor: &mut Cursor) -> Option<Vec<Arc<LogRecord>>> {
        let mut from = self.offset(cursor.next)?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(kept) = self.kept.get(from).filter(|_| bytes < BATCH_BYTES) {
            from += 1;
            cursor.next += 1;
            if !cursor.seen.as_mut().is_some_and(|seen| seen.has(&kept.record)) {
                bytes += cost(&kept.record);
                batch.push(Arc::clone(&kept.record));
            }
        }
        Some(batch)
    }

    fn find_by_time(&self, position: &Position) -> Found {
        match self.kept.front() {
            None => Found::Ahead,
            Some(oldest) if position.reaches(&oldest.record) => {
                Found::At(Cursor { next: self.oldest(), seen: Some(position.seen()) })
            }
            Some(_) => Found::Behind,
        }
    }

    /// Of everything before a record. None: that isn't known any more.
    fn digest_before(&self, number: u64) -> Option<Digest> {
        match self.offset(number)? {
            0 => Some(self.before),
            offset => self.kept.get(offset - 1).map(|kept| kept.after),
        }
    }

    fn offset(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.oldest())?).ok()
    }

    /// The number of the oldest record that is kept.
    fn oldest(&self) -> u64 {
        self.end.records() - self.kept.len() as u64
    }
}

const fn cost(record: &LogRecord) -> usize {
    OVERHEAD_BYTES + record.bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::Stream;

    fn record(number: u64) -> LogRecord {
        let stream = if number.is_multiple_of(3) { Stream::Stderr } else { Stream::Stdout };
        LogRecord { stream, unix_nanos: 10 + number, bytes: vec![b'x'; 10] }
    }

    fn log(numbers: std::ops::Range<u64>) -> Vec<LogRecord> {
        numbers.map(record).collect()
    }

    /// A ring for three records.
    fn ring(records: &[LogRecord]) -> Ring {
        let mut ring = Ring::new(3 * (OVERHEAD_BYTES + 10));
        records.iter().cloned().for_each(|record| ring.push(record));
        ring
    }

    fn behind(records: &[LogRecord]) -> Position {
        let mut position = Position::default();
        records.iter().for_each(|record| position.pass(record));
        position
    }

    /// What a reader draws that has read these; the word where it can't.
    fn drawn(ring: &Ring, read: &[LogRecord]) -> Result<Vec<LogRecord>, &'static str> {
        match ring.find(&behind(read)) {
            Found::At(mut cursor) => {
                let batch = ring.draw(&mut cursor).ok_or("lost")?;
                Ok(batch.iter().map(|record| LogRecord::clone(record)).collect())
            }
            Found::Ahead => Err("ahead"),
            Found::Behind => Err("behind"),
        }
    }

    #[test]
    fn a_reader_goes_on_where_it_was_as_far_back_as_the_ring_reaches() {
        let ring = ring(&log(0..5));
        for read in 0..=7 {
            let expected = match read {
                0 | 1 => Err("behind"),
                2..=5 => Ok(log(read..5)),
                _ => Err("ahead"),
            };
            assert_eq!(drawn(&ring, &log(0..read)), expected, "read {read}");
        }
    }

    #[test]
    fn a_ring_that_has_lost_nothing_has_all_for_a_reader_without_a_past() {
        assert_eq!(drawn(&ring(&[]), &[]), Ok(Vec::new()));
        assert_eq!(drawn(&ring(&log(0..3)), &[]), Ok(log(0..3)));
        assert_eq!(drawn(&ring(&log(0..4)), &[]), Err("behind"));
    }

    #[test]
    fn a_reader_that_counts_from_elsewhere_goes_on_by_time() {
        // The Engine dropped two records between the reader's beginning and the ring's.
        assert_eq!(drawn(&ring(&[]), &log(0..3)), Err("ahead"));
        let ring = ring(&log(2..9));
        for (read, expected) in [
            (5, Err("behind")),
            (6, Err("behind")),
            (7, Ok(log(7..9))),
            (8, Ok(log(8..9))),
            (9, Ok(Vec::new())),
            // What it has read already hasn't come here yet.
            (11, Ok(Vec::new())),
        ] {
            assert_eq!(drawn(&ring, &log(0..read)), expected, "read {read}");
        }
    }

    #[test]
    fn what_a_reader_read_before_it_came_here_is_not_drawn_when_it_comes() {
        let mut ring = ring(&log(2..9));
        let Found::At(mut cursor) = ring.find(&behind(&log(0..10))) else { panic!("it overlaps") };
        assert_eq!(ring.draw(&mut cursor), Some(Vec::new()));
        ring.push(record(9));
        ring.push(record(10));
        assert_eq!(ring.draw(&mut cursor), Some(vec![Arc::new(record(10))]));
    }

    #[test]
    fn the_newest_record_stays_however_long_it_is_and_a_reader_that_lags_learns_of_it() {
        let mut ring = ring(&log(0..1));
        let Found::At(mut cursor) = ring.find(&Position::default()) else { panic!("it is all there") };
        let long = LogRecord { bytes: vec![b'y'; 10_000], ..record(1) };
        ring.push(long.clone());
        assert_eq!(ring.draw(&mut cursor), None);
        assert_eq!(drawn(&ring, &log(0..1)), Ok(vec![long]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// Records come, and a reader now draws, now reads the log itself; some time, the log loses its beginning.
        #[test]
        fn whatever_happens_a_reader_gets_each_record_once_and_in_order(
            steps in proptest::collection::vec((0_u64..6, any::<bool>()), 1..40),
            dropped in 0_u64..20,
            own_cursor in any::<bool>(),
        ) {
            let (mut ring, mut written, mut read, mut position) = (ring(&[]), dropped, 0, Position::default());
            // What the reader read before the ring began.
            while read < dropped {
                position.pass(&record(read));
                read += 1;
            }
            let mut cursor = None;
            for (count, draws) in steps {
                log(written..written + count).into_iter().for_each(|record| ring.push(record));
                written += count;
                let found = match cursor.take().filter(|_| own_cursor) {
                    Some(cursor) => Found::At(cursor),
                    None => ring.find(&position),
                };
                let batch = match found {
                    Found::At(mut at) => ring.draw(&mut at).inspect(|_| cursor = Some(at)),
                    Found::Ahead => Some(Vec::new()),
                    Found::Behind => None,
                };
                // One that lags, or likes to, reads the log itself, and a little more than the ring has.
                let batch = batch.filter(|_| draws).unwrap_or_else(|| {
                    cursor = None;
                    log(read..written + 1).into_iter().map(Arc::new).collect()
                });
                for drawn in batch {
                    prop_assert_eq!(&*drawn, &record(read));
                    position.pass(&drawn);
                    read += 1;
                }
                if draws {
                    let is_there = matches!(ring.find(&position), Found::At(_) | Found::Ahead);
                    prop_assert!(read < written || is_there, "who has read all has a place");
                }
            }
        }
    }
}
