//! How things look: tables, one task in full, logs, JSON, ages.
//!
//! Everything in here takes values and a `now` and gives text. What came from outside is made visible by
//! [`text::visible`] before it is part of a line; JSON by [`text::json`]. A log's own text alone is passed through
//! as it is. Deliberately absent: colour, cursor movement, asking for the terminal's width.

pub(crate) mod attempts;
pub(crate) mod event;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod text;
pub(crate) mod token;
pub(crate) mod top;
pub(crate) mod why;

#[cfg(test)]
pub(crate) mod sample;
