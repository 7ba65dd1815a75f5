//! From what the wire says to what the ledger knows, and back.

use crate::api::wire::Mistake;
use crate::api::wire::agent::{AttemptStatus, Desired, DesiredAttempt, TaskOrder};
use crate::control::reconcile::{Order, Stage, Wanted, Wish};
use crate::model::id::{Attempt, AttemptKey};
use crate::model::spec::DEFAULT_STOP_GRACE;
use std::time::Duration;

/// How the wire calls a stage.
pub(super) const fn status(stage: Stage) -> AttemptStatus {
    match stage {
        Stage::Scheduled => AttemptStatus::Scheduled,
        Stage::Running => AttemptStatus::Running,
        Stage::Ended => AttemptStatus::Ended,
    }
}

const fn stage(status: AttemptStatus) -> Stage {
    match status {
        AttemptStatus::Scheduled => Stage::Scheduled,
        AttemptStatus::Running => Stage::Running,
        AttemptStatus::Ended => Stage::Ended,
    }
}

/// An order, its spec checked again.
///
/// # Errors
/// The spec isn't one.
pub(super) fn order(task: TaskOrder, attempt: Attempt) -> Result<Order, Mistake> {
    let spec = task.spec()?;
    let key = AttemptKey { task: task.task_id, attempt };
    Ok(Order { key, name: task.name, index: task.index, spec })
}

/// An entry of a set. One whose spec makes no sense goes to `mistaken`, and counts as one without an order.
pub(super) fn wanted(entry: DesiredAttempt, mistaken: &mut Vec<(AttemptKey, Mistake)>) -> Wanted {
    let key = AttemptKey { task: entry.task_id, attempt: entry.attempt };
    let order = match entry.task.map(|task| order(task, entry.attempt)) {
        None => None,
        Some(Ok(order)) => Some(order),
        Some(Err(mistake)) => {
            mistaken.push((key.clone(), mistake));
            None
        }
    };
    let wish = match entry.desired {
        Desired::Run => Wish::Run,
        Desired::Stop => {
            Wish::Stop { grace: entry.grace_ms.map_or(DEFAULT_STOP_GRACE, Duration::from_millis) }
        }
    };
    Wanted { key, stage: stage(entry.status), wish, order }
}
