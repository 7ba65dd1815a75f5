//! A finished log as it is read back.
//!
//! [`StoredLog`] gives what an Engine's log gives, so that whoever passes a log on needn't know which of the two it
//! reads. It holds one record at a time. A damaged file gives the records before the damage, then an error.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind};

use super::frame::{self, Frame};
use crate::engine::{EngineError, LogItem};

const OPERATION: &str = "read a stored log";

/// A log file that is being read. Reading goes on when the file's name is gone.
pub(super) struct StoredLog {
    source: BufReader<File>,
    records: u64,
    has_begun: bool,
    over: bool,
}

impl StoredLog {
    pub(super) fn new(file: File) -> Self {
        Self { source: BufReader::new(file), records: 0, has_begun: false, over: false }
    }

    fn advance(&mut self) -> io::Result<Option<LogItem>> {
        if !self.has_begun {
            frame::read_mark(&mut self.source)?;
            self.has_begun = true;
        }
        match frame::read(&mut self.source)? {
            Frame::Record(record) => {
                self.records += 1;
                Ok(Some(LogItem::Record(record)))
            }
            Frame::End { records } if records == self.records => Ok(None),
            Frame::End { .. } => Err(io::Error::new(ErrorKind::InvalidData, "records are missing")),
        }
    }
}

impl Iterator for StoredLog {
    type Item = Result<LogItem, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let item = self.advance().map_err(|error| explain(&error)).transpose();
        self.over = !matches!(item, Some(Ok(_)));
        item
    }
}

/// What it means that a stored log can't be read (on).
pub(super) fn explain(error: &io::Error) -> EngineError {
    let operation = OPERATION;
    if error.kind() == ErrorKind::UnexpectedEof {
        EngineError::Malformed { operation, why: "its end is missing".to_owned() }
    } else if error.kind() == ErrorKind::InvalidData {
        EngineError::Malformed { operation, why: error.to_string() }
    } else {
        EngineError::Failed { operation, why: error.to_string() }
    }
}
