//! `podling rm TASK…`: forgets tasks that have ended. One that can't be forgotten doesn't spare the others.

use super::Session;
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::text;

/// Forgets each task and prints what it was called by.
///
/// # Errors
/// Stdout can't be written to. What the master says of a task is said, and makes the exit code 1.
pub(super) fn run(tasks: &[String], session: &mut Session<'_, '_>) -> Result<u8, CliError> {
    let mut code = exit::DONE;
    for task in tasks {
        match session.remote.remove(task) {
            Ok(()) => session.console.line(&text::visible(task))?,
            Err(error) => {
                session.console.say(error);
                code = exit::FAILED;
            }
        }
    }
    Ok(code)
}
