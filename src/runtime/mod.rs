//! The ground under the threads: clocks, thread ownership, signals, logging and settings.
//!
//! Nothing in here knows what an orchestrator is. It exists so that the rest of the program has one place that
//! reads a clock, one that starts a thread, and one that reads a flag.

pub mod clock;
pub mod data_dir;
pub mod logging;
pub mod policy_file;
pub mod random;
pub mod settings;
pub mod signals;
pub mod supervise;
pub mod token_file;
pub mod toml_text;
pub mod values;
