//! The log: lines on stderr with an RFC 3339 time, a level and the thread's name.
//!
//! `error`: a person must act. `warn`: healing or retrying. `info`: one line per change of state. `debug`: the
//! wire. Never a token, never an env value.

use std::str::FromStr;

use log::LevelFilter;
use simplelog::{ColorChoice, ConfigBuilder, TermLogger, TerminalMode, ThreadLogMode, ThreadPadding};

/// Reads a level's name (`off`, `error`, `warn`, `info`, `debug`, `trace`).
///
/// # Errors
/// Names the word that is none.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    LevelFilter::from_str(text)
        .map_err(|_| format!("{text:?} is not a log level (off, error, warn, info, debug, trace)"))
}

/// Starts the log. Called once, by `main`; a second call changes nothing.
pub fn start(level: LevelFilter) {
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Error)
        .set_thread_mode(ThreadLogMode::Names)
        .set_thread_padding(ThreadPadding::Off)
        .set_target_level(LevelFilter::Off)
        // Other crates' chatter is theirs to fix, not ours to print.
        .add_filter_allow_str("podling")
        .build();
    // The only error is that a logger is set already.
    let _ = TermLogger::init(level, config, TerminalMode::Stderr, ColorChoice::Never);
}
