//! The nouns: ids, times, sizes, what a user may ask for, a task and its life, a node, who may do what,
//! tokens.
//!
//! Pure values. Nothing in here knows a thread, a lock, a socket, a file or a clock; everyone may import it.
//! Text becomes one of these types by parsing, once, at the edge; after that it is right by construction.

pub mod access;
pub mod audit;
pub mod id;
pub mod mount;
pub mod node;
pub mod policy;
pub mod resources;
pub mod restart;
pub mod spec;
pub mod task;
pub mod time;
pub mod token;
