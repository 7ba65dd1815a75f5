//! `podling inspect TASK|NODE`: all that the master tells of it, as JSON.

use super::Session;
use crate::api::routes;
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::render::text;

/// Prints a task, or a node where no task is called so.
///
/// # Errors
/// Neither is; several tasks are; the master can't be reached.
pub(super) fn run(what: &str, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
    let found = match session.remote.get_raw(&routes::task(what)) {
        Err(error) if error.problem_code() == Some("task_not_found") => {
            session.remote.get_raw(&routes::node(what)).map_err(|error| match error.problem_code() {
                Some("node_not_found") => CliError::Failed(format!("there is no task and no node {what:?}")),
                Some(_) | None => error,
            })
        }
        other => other,
    }?;
    session.console.line(&text::pretty_json(found.get()))?;
    Ok(exit::DONE)
}
