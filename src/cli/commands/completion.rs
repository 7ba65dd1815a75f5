//! `podling completion bash|zsh|fish`: prints the shell's script, which asks this program what to complete.
//!
//! See [`crate::cli::completion`]. It needs no master.

use crate::cli::args::Words;
use crate::cli::completion;
use crate::runtime::settings::SettingsError;

/// The script for the shell that the command line names.
///
/// # Errors
/// Names what is wrong.
pub(super) fn read(words: &mut Words) -> Result<&'static str, SettingsError> {
    let shell = words.one("bash, zsh or fish")?;
    completion::script(&shell)
        .ok_or_else(|| SettingsError::new(format!("{shell:?} must be bash, zsh or fish")))
}
