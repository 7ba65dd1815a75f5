//! Taking changes back that could not be made durable.
//!
//! Main type: [`Undo`], made of what a [`Change`] is about to replace, before it is applied. Taken back newest first,
//! undos leave tasks, nodes, keys and tokens exactly as the fold of the changes before them. What isn't journaled (when a node
//! was heard, whether its Engine answers) is of today and stays, for nodes that still exist.

use std::sync::Arc;

use crate::control::change::{Change, log_keepers};
use crate::control::nodes::{NodeEntry, Nodes};
use crate::control::tasks::{KeyRecord, TaskEntry, Tasks};
use crate::control::tokens::Tokens;
use crate::model::id::{NodeId, TaskId, TokenId};
use crate::model::token::TokenRecord;

/// What was there before a change.
#[derive(Debug, Default)]
pub struct Undo {
    tasks: Vec<(TaskId, Option<TaskEntry>)>,
    node: Option<(NodeId, Option<NodeEntry>)>,
    /// An idempotency key that the change is the first to use.
    key: Option<String>,
    /// One whose last task it may remove.
    spent: Option<(String, KeyRecord)>,
    token: Option<(TokenId, Option<Arc<TokenRecord>>)>,
}

impl Undo {
    /// For a change that is about to be applied.
    pub fn of(nodes: &Nodes, tasks: &Tasks, tokens: &Tokens, change: &Change) -> Self {
        let task = |id: &TaskId| (id.clone(), tasks.entry(id).cloned());
        let node = |id: &NodeId| Some((id.clone(), nodes.get(id).cloned()));
        match change {
            Change::Created(creation) => Self {
                tasks: creation.tasks.iter().map(|new| task(&new.id)).collect(),
                key: creation.key.as_ref().map(|used| used.key.clone()),
                ..Self::default()
            },
            Change::Advanced { task: id, .. } => Self { tasks: vec![task(id)], ..Self::default() },
            Change::Forgotten { task: id } => {
                let spent = tasks.get(id).and_then(|task| tasks.keys().of_task(task));
                let spent = spent.map(|(key, record)| (key.to_owned(), record.clone()));
                Self { tasks: vec![task(id)], spent, ..Self::default() }
            }
            Change::Registered { registration, .. } => {
                Self { node: node(&registration.node_id), ..Self::default() }
            }
            Change::Availability { node: id, .. }
            | Change::Status { node: id, .. }
            | Change::NodeForgotten { node: id } => Self { node: node(id), ..Self::default() },
            Change::TokenMade { token } => Self::of_token(tokens, &token.id),
            Change::TokenEnded { id } => Self::of_token(tokens, id),
        }
    }

    fn of_token(tokens: &Tokens, id: &TokenId) -> Self {
        Self { token: Some((id.clone(), tokens.get(id).cloned())), ..Self::default() }
    }

    /// Puts back what was there. Every later change has been taken back before.
    pub fn revert(self, nodes: &mut Nodes, tasks: &mut Tasks, tokens: &mut Tokens) {
        match self.token {
            Some((_, Some(before))) => tokens.put(before),
            Some((id, None)) => drop(tokens.remove(&id)),
            None => {}
        }
        if let Some((id, before)) = self.node {
            nodes.put_back(&id, before);
        }
        for (id, before) in self.tasks {
            revert_task(nodes, tasks, &id, before);
        }
        if let Some(key) = self.key {
            tasks.keys_mut().withdraw(&key);
        }
        if let Some((key, record)) = self.spent {
            tasks.keys_mut().put(key, record);
        }
    }
}

/// Puts a task back, with the places that it held and its nodes' duty to keep its logs.
fn revert_task(nodes: &mut Nodes, tasks: &mut Tasks, id: &TaskId, before: Option<TaskEntry>) {
    let withdrawn = tasks.remove(id);
    if let Some(task) = &withdrawn {
        task.places().for_each(|node| nodes.release(node, id, &task.spec));
    }
    let Some(before) = before else { return };
    before.task.places().for_each(|node| nodes.reserve(node, id, &before.task.spec));
    if withdrawn.is_none() {
        log_keepers(nodes, &before.task).iter().for_each(|node| nodes.keep_log(node, id));
    }
    tasks.put_back(before);
}
