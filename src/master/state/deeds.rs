//! What the audit keeps of a change that somebody asked for.

use crate::control::change::{Change, Creation};
use crate::model::audit::{By, Deed};
use crate::model::task::Step;
use crate::model::time::WallTime;
use crate::model::token::TokenKind;

/// A batch of more than so many tasks stands in the audit by its own id.
const MOST_NAMED: usize = 10;

/// The deed that a change is. None: it follows from another one, or nobody asked for it.
pub(super) fn of(change: &Change, by: &By, at: WallTime) -> Option<Deed> {
    let deed = |action: &str, subjects: Vec<String>| {
        let (by, action) = (by.clone(), action.to_owned());
        Some(Deed { at, by, action, subjects, refused: None })
    };
    match change {
        Change::Created(creation) => deed("task.create", named(creation)),
        Change::Advanced { task, step: Step::Stop(_) } => deed("task.stop", vec![task.to_string()]),
        Change::Forgotten { task } => deed("task.remove", vec![task.to_string()]),
        Change::Availability { node, availability } => {
            deed(&format!("node.{}", availability.as_str()), vec![node.to_string()])
        }
        Change::NodeForgotten { node } => deed("node.remove", vec![node.to_string()]),
        Change::TokenMade { token } => match &token.kind {
            TokenKind::User { scope } => {
                deed("token.create", vec![token.id.to_string(), format!("scope {scope}")])
            }
            TokenKind::Join => deed("token.create", vec![token.id.to_string(), "join".to_owned()]),
            TokenKind::Node { node_id, .. } => {
                deed("node.join", vec![node_id.to_string(), token.id.to_string()])
            }
        },
        Change::TokenEnded { id } => deed("token.end", vec![id.to_string()]),
        Change::Advanced {
            step:
                Step::Place(_)
                | Step::Progress { .. }
                | Step::Start { .. }
                | Step::End(_)
                | Step::Refuse { .. }
                | Step::Expire { .. }
                | Step::Lose { .. }
                | Step::Reserve { .. }
                | Step::Unreserve
                | Step::Move { .. },
            ..
        }
        | Change::Registered { .. }
        | Change::Status { .. } => None,
    }
}

fn named(creation: &Creation) -> Vec<String> {
    match &creation.batch {
        Some(batch) if creation.tasks.len() > MOST_NAMED => {
            vec![format!("batch {batch}"), format!("{} tasks", creation.tasks.len())]
        }
        Some(_) | None => creation.tasks.iter().map(|task| task.id.to_string()).collect(),
    }
}
