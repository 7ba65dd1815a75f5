//! Values of flags that both servers read alike.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::settings::{Environment, SettingsError};

/// `~/.local/share/podling/<name>`.
///
/// # Errors
/// There is no home to speak of.
pub fn default_data_dir(environment: Environment, name: &str) -> Result<PathBuf, SettingsError> {
    match environment("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".local/share/podling").join(name)),
        None => Err(SettingsError::of("--data-dir", "HOME is not set, so it must be given")),
    }
}

/// Reads `ADDRESS:PORT`.
///
/// # Errors
/// Says what is expected.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not ADDRESS:PORT"))
}

/// Reads a path that isn't empty.
///
/// # Errors
/// It is empty.
pub fn folder(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("must not be empty") } else { Ok(PathBuf::from(text)) }
}

/// Reads a length of time in milliseconds.
///
/// # Errors
/// It is no number.
pub fn millis(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u64>().map_err(|_| format!("{text:?} is not a number of milliseconds"))?;
    Ok(Duration::from_millis(number))
}

/// Reads a length of time in milliseconds, 1 or more.
///
/// # Errors
/// It is no such number.
pub fn positive_millis(text: &str) -> Result<Duration, String> {
    millis(text).and_then(|time| if time.is_zero() { Err("must be 1 or more".to_owned()) } else { Ok(time) })
}

/// Reads a number from 1.
///
/// # Errors
/// It is no such number.
pub fn count(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("{text:?} must be a number from 1"))
}
