//! What a change is to those who follow: the tasks and nodes that it was about, as they were right after it.
//!
//! Values in, values out. What a change removes is looked at before it is applied ([`removed_by`]), all else
//! afterwards ([`changed_by`]).

use crate::api::wire::event::{NodeNews, Subject, TaskNews};
use crate::control::change::Change;
use crate::control::nodes::{NodeEntry, Nodes};
use crate::control::tasks::Tasks;
use crate::model::id::{NodeId, TaskId};

/// What a change is about to remove, as it is before.
pub(in crate::master) fn removed_by(change: &Change, nodes: &Nodes, tasks: &Tasks) -> Option<Subject> {
    match change {
        Change::Forgotten { task } => {
            let news = tasks.get(task).map(|task| TaskNews { removed: true, ..TaskNews::from(&**task) });
            news.map(Subject::Task)
        }
        Change::NodeForgotten { node } => {
            let node = nodes.get(node).map(NodeEntry::node);
            node.map(|node| Subject::Node(NodeNews { removed: true, ..NodeNews::from(node) }))
        }
        Change::Created(_)
        | Change::Advanced { .. }
        | Change::Registered { .. }
        | Change::Availability { .. }
        | Change::Status { .. }
        | Change::TokenMade { .. }
        | Change::TokenEnded { .. } => None,
    }
}

/// What a change that was applied made or moved, `most` of it at most, the last ones; and how many there are in all.
pub(super) fn changed_by(
    change: &Change,
    nodes: &Nodes,
    tasks: &Tasks,
    most: usize,
) -> (Vec<Subject>, usize) {
    let task = |id: &TaskId| tasks.get(id).map(|task| Subject::Task(TaskNews::from(&**task)));
    let node = |id: &NodeId| nodes.get(id).map(|entry| Subject::Node(NodeNews::from(entry.node())));
    let one = |subject: Option<Subject>| (subject.into_iter().collect(), 1);
    match change {
        Change::Created(creation) => {
            let count = creation.tasks.len();
            let last = creation.tasks.iter().skip(count.saturating_sub(most));
            (last.filter_map(|new| task(&new.id)).collect(), count)
        }
        Change::Advanced { task: id, .. } => one(task(id)),
        Change::Registered { registration, .. } => one(node(&registration.node_id)),
        Change::Availability { node: id, .. } | Change::Status { node: id, .. } => one(node(id)),
        Change::Forgotten { .. }
        | Change::NodeForgotten { .. }
        | Change::TokenMade { .. }
        | Change::TokenEnded { .. } => (Vec::new(), 0),
    }
}
