//! How far a log was read, so that another source of the same log can be read on from there.
//!
//! A container's log moves while it is read: from the Engine to the disk, when the container ends. A [`Position`]
//! says what was read in a way that holds for both: how many records, and a digest of them all. A source that begins
//! with the same records is read on behind them. One that doesn't has lost its beginning (the Engine or the store
//! dropped the oldest part, to stay within its limit); then the time of each stream's last record decides, because
//! each stream's times never go back.
//!
//! Invariant: no record is passed on twice. One that the source has is left out only where the source lost its
//! beginning and either the clock was set back, or the beginning ended between two records of one moment (which
//! counts as a gap).

use super::digest::Digest;
use crate::engine::{EngineError, LogItem, LogRecord, LogRecords, Stream};

/// How far a log was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    records: u64,
    digest: Digest,
    /// The digest of the first record alone.
    first: Digest,
    newest: Newest,
}

/// The newest records of both streams.
#[derive(Clone, Debug, Default)]
struct Newest {
    stdout: Moment,
    stderr: Moment,
}

/// The last moment at which a stream wrote, and how many records it wrote then: the pieces of a long line share
/// their time.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    unix_nanos: u64,
    records: u64,
}

/// A source, behind what was read of it.
pub(super) struct Resumed {
    /// What comes next.
    pub(super) records: LogRecords,
    /// Whether something between what was read and what comes next may be lost.
    pub(super) has_gap: bool,
    /// Whether all that was read was read again, so that what comes next is news whatever its time.
    pub(super) is_proven: bool,
}

impl Position {
    /// Moves behind a record that was read.
    pub(super) fn pass(&mut self, record: &LogRecord) {
        self.records += 1;
        self.digest.add(&[stream_byte(record.stream)]);
        self.digest.add(&record.unix_nanos.to_be_bytes());
        self.digest.add(&(record.bytes.len() as u64).to_be_bytes());
        self.digest.add(&record.bytes);
        if self.records == 1 {
            self.first = self.digest;
        }
        self.newest.pass(record);
    }

    /// Whether a record is older than one of its stream that was read. An Engine that begins a rotated log anew in
    /// the midst of a follow does so (Docker Engine 20.10), and so does a clock that was set back.
    pub(super) fn goes_back(&self, record: &LogRecord) -> bool {
        record.unix_nanos < self.newest.at(record.stream).unix_nanos
    }

    /// How many records were read.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    /// The digest of all that was read.
    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether another reading began with the same record, as far as both have begun. Two that did count alike.
    pub(super) fn begins_as(&self, other: &Self) -> bool {
        self.records == 0 || other.records == 0 || self.first == other.first
    }

    /// Whether, by time, nothing can be missing between what was read and a source that begins with this record.
    pub(super) fn reaches(&self, first: &LogRecord) -> bool {
        self.newest.covers(first) && !self.newest.tears(first)
    }

    /// What tells, by time, which records of a source were read before.
    pub(super) fn seen(&self) -> Seen {
        Seen { newest: self.newest.clone(), again: Newest::default() }
    }

    /// Opens a source of the log, and leads it behind what was read. Blocks while it reads that again.
    ///
    /// # Errors
    /// The source's, as far as it is read here.
    pub(super) fn resume(
        &self,
        open: &dyn Fn() -> Result<LogRecords, EngineError>,
    ) -> Result<Resumed, EngineError> {
        let mut records = open()?;
        if self.is_beginning_of(&mut records)? {
            return Ok(Resumed { records, has_gap: false, is_proven: true });
        }
        drop(records);
        self.resume_by_time(open()?)
    }

    /// Reads as many records as were read before. Whether they are the same.
    fn is_beginning_of(&self, records: &mut LogRecords) -> Result<bool, EngineError> {
        let mut read = Self::default();
        while read.records < self.records {
            match records.next().transpose()? {
                Some(LogItem::Record(record)) => read.pass(&record),
                // It is shorter than what was read.
                Some(LogItem::Quiet) | None => return Ok(false),
            }
        }
        Ok(read.digest == self.digest)
    }

    fn resume_by_time(&self, mut records: LogRecords) -> Result<Resumed, EngineError> {
        let mut seen = self.seen();
        let first = records.next().transpose()?;
        let has_gap = match &first {
            Some(LogItem::Record(record)) => !self.reaches(record),
            Some(LogItem::Quiet) | None => false,
        };
        let rest = first.map(Ok).into_iter().chain(records);
        let news = rest.filter(move |item| match item {
            Ok(LogItem::Record(record)) => !seen.has(record),
            Ok(LogItem::Quiet) | Err(_) => true,
        });
        Ok(Resumed { records: Box::new(news), has_gap, is_proven: false })
    }
}

impl Newest {
    const fn at(&self, stream: Stream) -> Moment {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    fn of(&mut self, stream: Stream) -> &mut Moment {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn pass(&mut self, record: &LogRecord) {
        let moment = self.of(record.stream);
        if moment.unix_nanos != record.unix_nanos {
            *moment = Moment { unix_nanos: record.unix_nanos, records: 0 };
        }
        moment.records += 1;
    }

    /// Whether a record is as old as one that was passed.
    fn covers(&self, record: &LogRecord) -> bool {
        let moment = self.at(record.stream);
        moment.records > 0 && record.unix_nanos <= moment.unix_nanos
    }

    /// Whether a log that begins with this record may lack others of its moment that were passed.
    fn tears(&self, first: &LogRecord) -> bool {
        let moment = self.at(first.stream);
        moment.records > 1 && first.unix_nanos == moment.unix_nanos
    }
}

/// Tells, by time, which records were read before. It has to see all records of a source, in order.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    newest: Newest,
    /// The same of what is read now.
    again: Newest,
}

impl Seen {
    /// Whether the next record was read before.
    pub(super) fn has(&mut self, record: &LogRecord) -> bool {
        self.again.pass(record);
        let (again, newest) = (self.again.at(record.stream).records, self.newest.at(record.stream));
        self.newest.covers(record) && (record.unix_nanos < newest.unix_nanos || again <= newest.records)
    }
}

const fn stream_byte(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: Stream, unix_nanos: u64, text: &str) -> LogRecord {
        LogRecord { stream, unix_nanos, bytes: text.as_bytes().to_vec() }
    }

    fn written() -> Vec<LogRecord> {
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        vec![
            record(out, 1, "a"),
            record(err, 1, "b"),
            record(out, 5, "piece"),
            record(out, 5, "piece"),
            // The streams' clocks don't agree: stderr was written down late.
            record(err, 4, "c"),
            record(out, 5, "piece"),
            record(out, 9, "d"),
        ]
    }

    fn resumed(read: usize, log: &[LogRecord]) -> (Vec<LogRecord>, bool) {
        let mut position = Position::default();
        written()[..read].iter().for_each(|record| position.pass(record));
        let open = || -> Result<LogRecords, EngineError> {
            let items: Vec<_> = log.iter().cloned().map(|record| Ok(LogItem::Record(record))).collect();
            Ok(Box::new(items.into_iter()))
        };
        let Resumed { records, has_gap, is_proven: _ } = position.resume(&open).unwrap();
        let rest = records.map(|item| match item {
            Ok(LogItem::Record(record)) => record,
            other => panic!("{other:?}"),
        });
        (rest.collect(), has_gap)
    }

    #[test]
    fn the_same_log_goes_on_where_it_was_left() {
        let log = written();
        for read in 0..=log.len() {
            assert_eq!(resumed(read, &log), (log[read..].to_vec(), false), "{read}");
        }
    }

    #[test]
    fn a_log_without_its_beginning_goes_on_by_time() {
        let log = written();
        for read in 1..=log.len() {
            for dropped in [1, 2] {
                let (rest, has_gap) = resumed(read, &log[dropped..]);
                assert_eq!(rest, log[read.max(dropped)..], "read {read}, dropped {dropped}");
                // What is left begins inside a moment of which several records were read: one more may be gone.
                let may_be_torn = dropped == 2 && (4..=6).contains(&read);
                assert_eq!(has_gap, dropped >= read || may_be_torn, "read {read}, dropped {dropped}");
            }
            let (rest, has_gap) = resumed(read, &log[6..]);
            assert_eq!((rest, has_gap), (log[read.max(6)..].to_vec(), read < 7), "read {read}");
        }
    }

    #[test]
    fn a_log_that_is_shorter_than_what_was_read_gives_nothing_again() {
        let log = written();
        assert_eq!(resumed(7, &log[..3]), (Vec::new(), false));
        assert_eq!(resumed(7, &[]), (Vec::new(), false));
    }
}
