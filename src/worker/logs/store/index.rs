//! Which logs there are, how old and how big: in memory.
//!
//! Each collection of a log has a number, higher than all before it, which is part of its file's name. So the
//! order of the numbers is the order of age, and a file's name is never used twice: whoever removes a file that
//! the index let go of can't hit a newer one.
//!
//! Invariant: every entry of `by_task` has its number in `by_age`, and `bytes` is the sum of all entries'.

use std::collections::{BTreeMap, HashMap};

use crate::model::id::{Attempt, TaskId};

/// How a log's file name ends.
const SUFFIX: &str = ".log";

/// What a file takes on a disk is a multiple of this. It also bounds how many empty logs are kept.
const BLOCK_BYTES: u64 = 4096;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
    pub(super) number: u64,
}

impl LogFile {
    /// Its name: `01JD…-1-17.log`.
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}{SUFFIX}", self.task, self.attempt, self.number)
    }

    /// Reads a name. None: it isn't a log's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(SUFFIX)?.split('-');
        let task = parts.next()?.parse().ok()?;
        let attempt = Attempt(parts.next()?.parse().ok()?);
        let number = parts.next()?.parse().ok()?;
        let file = Self { task, attempt, number };
        (file.name() == name).then_some(file)
    }
}

/// All finished logs.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_task: HashMap<TaskId, BTreeMap<Attempt, Entry>>,
    by_age: BTreeMap<u64, (TaskId, Attempt)>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u64,
    bytes: u64,
}

impl Index {
    /// Takes in a file of so many bytes. Gives the older one of the same attempt, which is no longer needed;
    /// that may be `file` itself.
    pub(super) fn insert(&mut self, file: LogFile, bytes: u64) -> Option<LogFile> {
        let bytes = bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES;
        let attempts = self.by_task.entry(file.task.clone()).or_default();
        if attempts.get(&file.attempt).is_some_and(|held| held.number > file.number) {
            return Some(file);
        }
        let old = attempts.insert(file.attempt, Entry { number: file.number, bytes });
        self.by_age.insert(file.number, (file.task.clone(), file.attempt));
        self.bytes += bytes;
        old.map(|old| {
            self.by_age.remove(&old.number);
            self.bytes -= old.bytes;
            LogFile { number: old.number, ..file }
        })
    }

    /// Lets go of the oldest logs until the rest takes `most_bytes` at most.
    pub(super) fn evict(&mut self, most_bytes: u64) -> Vec<LogFile> {
        let mut evicted = Vec::new();
        while self.bytes > most_bytes {
            let Some((number, (task, attempt))) = self.by_age.pop_first() else { break };
            if let Some(attempts) = self.by_task.get_mut(&task) {
                self.bytes -= attempts.remove(&attempt).map_or(0, |entry| entry.bytes);
                if attempts.is_empty() {
                    self.by_task.remove(&task);
                }
            }
            evicted.push(LogFile { task, attempt, number });
        }
        evicted
    }

    /// Lets go of all logs of a task.
    pub(super) fn forget(&mut self, task: &TaskId) -> Vec<LogFile> {
        let attempts = self.by_task.remove(task).unwrap_or_default();
        let forget = |(attempt, entry): (Attempt, Entry)| {
            self.by_age.remove(&entry.number);
            self.bytes -= entry.bytes;
            LogFile { task: task.clone(), attempt, number: entry.number }
        };
        attempts.into_iter().map(forget).collect()
    }

    /// The file of an attempt's log.
    pub(super) fn find(&self, task: &TaskId, attempt: Attempt) -> Option<LogFile> {
        let entry = self.by_task.get(task)?.get(&attempt)?;
        Some(LogFile { task: task.clone(), attempt, number: entry.number })
    }

    /// The newest attempt at a task that has a log.
    pub(super) fn latest_attempt(&self, task: &TaskId) -> Option<Attempt> {
        self.by_task.get(task)?.last_key_value().map(|(attempt, _)| *attempt)
    }

    /// The highest number that is in use; 0 where none is.
    pub(super) fn last_number(&self) -> u64 {
        self.by_age.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// What all logs take on the disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(task: char, attempt: u32, number: u64) -> LogFile {
        let task = task.to_string().repeat(20).parse().unwrap();
        LogFile { task, attempt: Attempt(attempt), number }
    }

    #[test]
    fn a_name_says_whose_log_it_is() {
        let log = file('a', 2, 17);
        assert_eq!(log.name(), "aaaaaaaaaaaaaaaaaaaa-2-17.log");
        assert_eq!(LogFile::parse(&log.name()), Some(log));
        let longer = "aaaaaaaaaaaaaaaaaaaa-2-17-1.log";
        for other in ["", "lock", "a-2-17.log", "aaaaaaaaaaaaaaaaaaaa-2-017.log", longer, "../x-1-1.log"] {
            assert_eq!(LogFile::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_sum_is_right_whatever_comes_and_goes() {
        let mut index = Index::default();
        assert_eq!(index.insert(file('a', 1, 1), 1), None);
        assert_eq!(index.insert(file('a', 2, 2), 4097), None);
        assert_eq!(index.insert(file('b', 1, 3), 4096), None);
        assert_eq!(index.bytes(), 4 * 4096);
        assert_eq!(index.insert(file('a', 1, 4), 5000), Some(file('a', 1, 1)));
        assert_eq!(index.insert(file('a', 1, 1), 1), Some(file('a', 1, 1)), "an older one comes too late");
        assert_eq!((index.bytes(), index.last_number()), (5 * 4096, 4));
        assert_eq!(index.evict(4 * 4096), [file('a', 2, 2)]);
        assert_eq!(index.latest_attempt(&file('a', 1, 1).task), Some(Attempt(1)));
        assert_eq!(index.forget(&file('a', 1, 1).task), [file('a', 1, 4)]);
        assert_eq!(index.evict(0), [file('b', 1, 3)]);
        assert_eq!((index.bytes(), index.last_number(), index.by_task.len()), (0, 0, 0));
    }
}
