//! A copy of all that is remembered, and how a state is made of one.
//!
//! Main type: [`Snapshot`]. Taking one copies pointers, so that whoever holds the state's locks for it holds them
//! briefly; what is shared never changes. A state that is restored from a snapshot equals the fold of the changes that
//! made it. What isn't journaled (when a node was heard, since when a task waits) begins anew, as after any start.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::nodes::{NodeEntry, Nodes};
use crate::control::tasks::{KeyRecord, TaskEntry, Tasks};
use crate::control::tokens::Tokens;
use crate::model::id::{Revision, TaskId};
use crate::model::node::Node;
use crate::model::task::Task;
use crate::model::time::Now;
use crate::model::token::TokenRecord;

/// All nodes, tasks, idempotency keys and tokens, as they were at one position of the journal.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By id.
    pub nodes: Vec<NodeEntry>,
    /// By id.
    pub tasks: Vec<TaskEntry>,
    /// The idempotency keys that are still kept, oldest first.
    pub keys: Vec<(String, KeyRecord)>,
    /// By id.
    pub tokens: Vec<Arc<TokenRecord>>,
}

impl Snapshot {
    /// Copies what is there.
    pub fn of(nodes: &Nodes, tasks: &Tasks, tokens: &Tokens) -> Self {
        let keys = tasks.keys().iter().map(|(key, record)| (key.to_owned(), record.clone()));
        Self {
            nodes: nodes.iter().cloned().collect(),
            tasks: tasks.iter().cloned().collect(),
            keys: keys.collect(),
            tokens: tokens.iter().cloned().collect(),
        }
    }
}

/// Takes up a node. Nodes come before the tasks that hold their places.
pub fn restore_node(
    nodes: &mut Nodes,
    node: Node,
    is_settling: bool,
    forget: BTreeMap<TaskId, Revision>,
    now: Now,
) {
    nodes.restore(node, is_settling, forget, now);
}

/// Takes up a task that changed last at `changed`, with the places that it holds.
pub fn restore_task(nodes: &mut Nodes, tasks: &mut Tasks, task: Task, changed: Revision, now: Now) {
    task.places().for_each(|node| nodes.reserve(node, &task.id, &task.spec));
    tasks.insert(task, changed, now.mono);
}

/// Takes up an idempotency key.
pub fn restore_key(tasks: &mut Tasks, key: String, record: KeyRecord) {
    tasks.keys_mut().put(key, record);
}

/// Takes up a token.
pub fn restore_token(tokens: &mut Tokens, token: TokenRecord) {
    tokens.put(Arc::new(token));
}
