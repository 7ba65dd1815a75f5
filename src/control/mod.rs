//! The decisions: values and a `now` in, values out.
//!
//! Nothing in here knows a thread, a lock, a socket, a file, a clock or a source of randomness, so that a test can
//! run any of it a million times, and the simulation can run all of it in one thread. What acts is in
//! [`crate::master`] and [`crate::worker`]; it decides nothing.

pub mod brake;
pub mod change;
pub mod demand;
pub mod drain;
pub mod fit;
pub mod lease;
pub mod nodes;
pub mod reconcile;
pub mod schedule;
pub mod snapshot;
pub mod tasks;
pub mod tokens;
pub mod undo;
pub mod why;
