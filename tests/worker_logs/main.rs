//! The worker's logs: what is stored is read back, and what is shown is what the container wrote, wherever the log
//! is and however it moves. Over scripted logs and the hollow engine; `tests/engine_logs.rs` has the real one.
#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is told")]

#[expect(dead_code, reason = "shared with tests that use the rest")]
#[path = "../support/http.rs"]
mod client;
#[expect(dead_code, reason = "shared with tests that use the rest")]
#[path = "../support/engine.rs"]
mod engine;
#[path = "../support/logs.rs"]
mod support;

mod follow;
mod http;
mod properties;
mod scripted;
mod show;
mod store;
mod tap;
