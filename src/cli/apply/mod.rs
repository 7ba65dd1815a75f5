//! A file of tasks, and what is to be done so that they are there.
//!
//! ```text
//! FILE ─▶ parse (entries, each with its line) ─▶ wishes (one task each) ─┐
//!                                     what the master has of each name ──┴─▶ plan (verdicts) ─▶ one POST
//! ```
//!
//! What a file asks for is that its tasks be there, not that they be started: a task that lives with the settings of
//! the file is as it should be, and so is one that did its work. See [`plan`] for what counts as what. Nothing is
//! ever stopped, replaced or removed. Both parts are pure; `commands/apply.rs` acts.

pub(crate) mod compare;
pub(crate) mod parse;
pub(crate) mod plan;
