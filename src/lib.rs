//! Podling: a container orchestrator small enough to read in an afternoon.
//!
//! A **master** holds the state, schedules and watches; **workers** run containers on their Docker Engine and
//! report; the `podling` command line talks to the master. Everything is a plain thread.
//!
//! Read the modules in this order:
//!
//! 1. [`model`]: the nouns. What a task, an attempt and a node are, and the one function that moves a task on.
//! 2. [`control`]: the decisions. Placement, who is lost, what a worker must do; values in, values out.
//! 3. [`master`]: the state, and the threads that act on those decisions.
//! 4. [`worker`]: one monitor thread per container, the reporter, the heartbeat.
//! 5. [`engine`]: what a worker needs of Docker; and an engine without containers for tests.
//! 6. [`api`], [`http`] and [`rest`]: what is said on the wire, the gate that every byte passes, and how a request
//!    becomes a value.
//! 7. [`pki`]: the cluster's certificates.
//! 8. [`store`], [`runtime`], [`cli`]: the journal's ground; clocks and threads; the command line.
//!
//! [`canary`] holds deliberate bugs, for the tests alone.
//!
//! `docs/ARCHITECTURE.md` tells the life of one task through these files.

pub mod api;
pub mod canary;
pub mod cli;
pub mod control;
pub mod engine;
pub mod http;
pub mod master;
pub mod model;
pub mod pki;
pub mod rest;
pub mod runtime;
pub mod store;
pub mod worker;
