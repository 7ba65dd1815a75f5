//! A node's side: it runs what the master wants here, on one container engine, and reports what became of it.
//!
//! One thread per container walks it through its life; [`logs`] keeps and shows what it wrote.
//! Nothing here decides where a task runs: the heartbeat's reply says what this node is to run, and that is all
//! that it runs.

pub mod logs;
