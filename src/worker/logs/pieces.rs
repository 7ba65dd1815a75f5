//! A log that is read in pieces, by readers who take turns.
//!
//! Reading costs whoever gives the log, and costs the processor; fifty who do so at a time are only in each other's
//! way, and in everybody else's. So a reader reads a piece when it is its turn, and its turn is over before it gets
//! the piece: one that is blocked in writing keeps nobody waiting. It keeps one piece in memory, and its source open.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::{EngineError, LogItem, LogRecords};
use crate::runtime::supervise::Stop;
use crate::worker::slots::{Slot, Slots};

/// How much is read in one turn, about.
const PIECE_BYTES: usize = 128 << 10;

/// How many records are read in one turn: short ones cost as well.
const PIECE_RECORDS: usize = 1024;

/// The turns that readers take, as one of them sees it.
#[derive(Clone)]
pub(super) struct Turns {
    slots: Arc<Slots>,
    gone: Stop,
}

type Item = Result<LogItem, EngineError>;

struct Pieces {
    turns: Turns,
    /// None: it is over.
    records: Option<LogRecords>,
    piece: VecDeque<Item>,
}

impl Turns {
    pub(super) fn new(slots: &Arc<Slots>, gone: &Stop) -> Self {
        Self { slots: Arc::clone(slots), gone: gone.clone() }
    }

    /// Opens a log that is then read in pieces. Blocks until it is this reader's turn, and as long as `open` does; so
    /// does reading on.
    ///
    /// # Errors
    /// Those of `open`; or the reader has gone.
    pub(super) fn read(
        self,
        open: impl FnOnce() -> Result<LogRecords, EngineError>,
    ) -> Result<LogRecords, EngineError> {
        let turn = self.take()?;
        let records = open()?;
        drop(turn);
        Ok(Box::new(Pieces { turns: self, records: Some(records), piece: VecDeque::new() }))
    }

    fn take(&self) -> Result<Slot<'_>, EngineError> {
        let left = || EngineError::Unreachable { operation: "logs", why: "its reader is gone".to_owned() };
        self.slots.take_unless(&self.gone).ok_or_else(left)
    }
}

impl Pieces {
    fn read_piece(&mut self) -> Result<(), EngineError> {
        let Some(mut records) = self.records.take() else { return Ok(()) };
        let _turn = self.turns.take()?;
        let mut bytes = 0;
        while bytes < PIECE_BYTES && self.piece.len() < PIECE_RECORDS {
            let Some(item) = records.next().transpose()? else { return Ok(()) };
            if let LogItem::Record(record) = &item {
                bytes += record.bytes.len();
            }
            self.piece.push_back(Ok(item));
        }
        self.records = Some(records);
        Ok(())
    }
}

impl Iterator for Pieces {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.piece.is_empty()
            && let Err(error) = self.read_piece()
        {
            self.piece.push_back(Err(error));
        }
        self.piece.pop_front()
    }
}
