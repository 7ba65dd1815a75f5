//! What the file holds, read back in order; and records as rows.
//!
//! Invariant: rows follow each other, and the snapshot, without a gap. What breaks that is damage.

use std::path::Path;

use redb::{ReadTransaction, ReadableTable};

use super::{JOURNAL, META, PARTS_KEY, SNAPSHOT, SNAPSHOT_KEY, damaged, io, unreadable};
use crate::model::id::Revision;
use crate::store::{Each, StoreError, Stored};

/// Gives everything back, and says how many bytes that was.
pub(super) fn replay(read: &ReadTransaction, path: &Path, each: &mut Each<'_>) -> Result<u64, StoreError> {
    let (at, mut used) = replay_snapshot(read, path, each)?;
    let journal = read.open_table(JOURNAL).map_err(unreadable(path))?;
    let start = at.unwrap_or(0) + 1;
    let mut expected = start;
    for row in journal.iter().map_err(unreadable(path))? {
        let (first, packed) = row.map_err(unreadable(path))?;
        let mut position = first.value();
        // Only the rows before all others may begin with records that the snapshot stands for already.
        if position > expected || (position < expected && expected != start) {
            return Err(damaged(path, format_args!("a gap before position {position}")));
        }
        used += u64::try_from(packed.value().len()).unwrap_or(0);
        for record in Unpack(packed.value()) {
            let record = record
                .ok_or_else(|| damaged(path, format_args!("the row at {} is cut short", first.value())))?;
            if position >= start {
                each(Stored::Record(Revision(position), record))?;
            }
            position += 1;
        }
        expected = position.max(start);
    }
    Ok(used)
}

/// Gives the parts of the snapshot back, its position, and how many bytes they are.
fn replay_snapshot(
    read: &ReadTransaction,
    path: &Path,
    each: &mut Each<'_>,
) -> Result<(Option<u64>, u64), StoreError> {
    let meta = read.open_table(META).map_err(unreadable(path))?;
    let number = |key| Ok(meta.get(key).map_err(io("read"))?.map(|number| number.value()));
    let (Some(at), Some(count)) = (number(SNAPSHOT_KEY)?, number(PARTS_KEY)?) else { return Ok((None, 0)) };
    let parts = read.open_table(SNAPSHOT).map_err(unreadable(path))?;
    let mut used = 0;
    for part in 0..u32::try_from(count).unwrap_or(u32::MAX) {
        let bytes = parts.get((at, part)).map_err(unreadable(path))?;
        let bytes =
            bytes.ok_or_else(|| damaged(path, format_args!("part {part} of the snapshot is missing")))?;
        used += u64::try_from(bytes.value().len()).unwrap_or(0);
        each(Stored::Part(Revision(at), bytes.value()))?;
    }
    Ok((Some(at), used))
}

/// One row: each record with its length before it, as four bytes, least significant first.
pub(super) fn pack(records: &[Vec<u8>]) -> Vec<u8> {
    let mut row = Vec::with_capacity(records.iter().map(|record| record.len() + 4).sum());
    for record in records {
        // A record holds one request's worth of tasks at most, and that is bounded by megabytes.
        let length = u32::try_from(record.len()).expect("invariant: a record is smaller than 4 GiB");
        row.extend_from_slice(&length.to_le_bytes());
        row.extend_from_slice(record);
    }
    row
}

/// The records of a row; `None` in place of one that is cut short.
pub(super) struct Unpack<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Unpack<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = self.0.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        self.0 = split.map_or(&[], |(_, rest)| rest);
        Some(split.map(|(record, _)| record))
    }
}
