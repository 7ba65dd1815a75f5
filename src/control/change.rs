//! The records that the state is made of: everything that is ever remembered is the fold of these.
//!
//! A [`Change`] is decided under the state's locks, applied to memory by [`apply`], and journaled; reading a journal
//! back applies the same changes in the same order. So [`apply`] takes everything that it needs from the change, and
//! a change that doesn't fit (which can't be, where the journal is whole) is an error, not a guess.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::canary::{Canary, sings};
use crate::control::nodes::Nodes;
use crate::control::tasks::Tasks;
use crate::control::tokens::Tokens;
use crate::model::id::{Attempt, BatchId, Incarnation, NodeId, Revision, TaskId, TaskName, TokenId};
use crate::model::node::{Availability, Node, NodeStatus, Registration};
use crate::model::spec::TaskSpec;
use crate::model::task::{BatchMember, Refused, Step, Task};
use crate::model::time::{Now, WallTime};
use crate::model::token::TokenRecord;

/// Something that happened, and is to be remembered.
#[derive(Clone, Debug)]
pub enum Change {
    /// One task, or a batch of them, was accepted.
    Created(Creation),
    /// A task moved on.
    Advanced {
        /// Which one.
        task: TaskId,
        /// How.
        step: Step,
    },
    /// A task that had ended was forgotten.
    Forgotten {
        /// Which one.
        task: TaskId,
    },
    /// A node registered, for the first time or again.
    Registered {
        /// What it said of itself.
        registration: Registration,
        /// The start of its worker, as granted.
        incarnation: Incarnation,
    },
    /// An operator opened or closed a node.
    Availability {
        /// Which one.
        node: NodeId,
        /// To what.
        availability: Availability,
    },
    /// A node fell silent, or was heard again.
    Status {
        /// Which one.
        node: NodeId,
        /// To what.
        status: NodeStatus,
    },
    /// An operator removed a node.
    NodeForgotten {
        /// Which one.
        node: NodeId,
    },
    /// A token was made.
    TokenMade {
        /// What is kept of it.
        token: Arc<TokenRecord>,
    },
    /// A token was ended: it was revoked, was a join word and is used up, or is long past its time.
    TokenEnded {
        /// Which one.
        id: TokenId,
    },
}

/// Tasks that were accepted together.
#[derive(Clone, Debug)]
pub struct Creation {
    /// When.
    pub at: WallTime,
    /// The batch, where it is one.
    pub batch: Option<BatchId>,
    /// The tasks, in order.
    pub tasks: Vec<NewTask>,
    /// The key under which a retry finds them, with what it is compared by.
    pub key: Option<KeyUse>,
    /// The token with which they were asked for.
    pub made_by: Option<TokenId>,
}

/// One new task.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// Its name.
    pub name: TaskName,
    /// How its container is made.
    pub spec: Arc<TaskSpec>,
    /// Whether it is one of `count` equals.
    pub replica: bool,
}

/// A use of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key, with whose it is.
    pub key: String,
    /// SHA-256 of the request's body.
    pub body_hash: [u8; 32],
}

impl Creation {
    /// The tasks as they are before anything happened to them.
    pub fn new_tasks(&self) -> impl Iterator<Item = Task> + '_ {
        self.tasks.iter().zip(0_u32..).map(|(new, index)| {
            let member = self.batch.clone().map(|id| BatchMember { id, index, replica: new.replica });
            let (id, name, spec) = (new.id.clone(), new.name.clone(), Arc::clone(&new.spec));
            Task { made_by: self.made_by.clone(), ..Task::new(id, name, spec, member, self.at) }
        })
    }
}

/// Why a change could not be applied. In a journal that is whole this never happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// No such task.
    NoTask(TaskId),
    /// No such node.
    NoNode(NodeId),
    /// The task doesn't take that step.
    Step(TaskId, Refused),
    /// No such token.
    NoToken(TokenId),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoTask(id) => write!(f, "task {id} is unknown"),
            Self::NoNode(id) => write!(f, "node {id} is unknown"),
            Self::Step(id, refused) => write!(f, "task {id} can't take the step ({refused:?})"),
            Self::NoToken(id) => write!(f, "token {id} is unknown"),
        }
    }
}

impl std::error::Error for Misfit {}

/// Applies one change to the state: the only way that tasks, nodes and tokens are changed.
///
/// # Errors
/// The change doesn't fit what is there; nothing was changed then.
pub fn apply(
    nodes: &mut Nodes,
    tasks: &mut Tasks,
    tokens: &mut Tokens,
    change: &Change,
    at: Revision,
    now: Now,
) -> Result<(), Misfit> {
    match change {
        Change::Created(creation) => {
            for task in creation.new_tasks() {
                tasks.insert(task, at, now.mono);
            }
            if let Some(key) = &creation.key {
                tasks.keys_mut().remember(key, creation, at);
            }
        }
        Change::Advanced { task, step } => advance(nodes, tasks, task, step.clone(), at, now)?,
        Change::Forgotten { task } => {
            let gone = tasks.remove(task).ok_or_else(|| Misfit::NoTask(task.clone()))?;
            tasks.spend_key(&gone);
            for node in log_keepers(nodes, &gone) {
                nodes.forget_log(&node, task, at);
            }
        }
        Change::Registered { registration, incarnation } => {
            let availability = nodes.get(&registration.node_id).map(|entry| entry.node().availability);
            nodes.register(
                Node {
                    registration: registration.clone(),
                    incarnation: *incarnation,
                    availability: availability.unwrap_or_default(),
                    status: NodeStatus::Online,
                },
                now,
            );
        }
        Change::Availability { node, availability } => {
            let set = nodes.set_availability(node, *availability);
            set.ok_or_else(|| Misfit::NoNode(node.clone()))?;
        }
        Change::Status { node, status } => {
            nodes.set_status(node, *status).ok_or_else(|| Misfit::NoNode(node.clone()))?;
        }
        Change::NodeForgotten { node } => {
            nodes.remove(node).ok_or_else(|| Misfit::NoNode(node.clone()))?;
        }
        Change::TokenMade { token } => tokens.put(Arc::clone(token)),
        Change::TokenEnded { id } => {
            tokens.remove(id).ok_or_else(|| Misfit::NoToken(id.clone()))?;
        }
    }
    Ok(())
}

/// The nodes that may have a log of a task: the owners of its attempts. Where some were too long ago to be known, all.
pub(super) fn log_keepers(nodes: &Nodes, task: &Task) -> BTreeSet<NodeId> {
    let known = task.past.iter().map(|past| &past.on).chain(task.placement());
    let first_known = task.past.first().map_or(task.attempt, |past| past.attempt);
    if first_known > Attempt::FIRST {
        return nodes.iter().map(|entry| entry.node().registration.node_id.clone()).collect();
    }
    known.map(|on| on.node.clone()).collect()
}

/// The nodes on which a task's share is booked.
fn booked(task: &Task) -> impl Iterator<Item = &NodeId> {
    let kept = task.reserved.iter().filter(|_| !sings(Canary::BooksNoKeptPlace));
    task.holds_place_on().into_iter().chain(kept)
}

/// Moves a task on, and keeps the count of what its node's places hold.
fn advance(
    nodes: &mut Nodes,
    tasks: &mut Tasks,
    id: &TaskId,
    step: Step,
    at: Revision,
    now: Now,
) -> Result<(), Misfit> {
    let held: Vec<NodeId> = tasks.get(id).map_or_else(Vec::new, |task| booked(task).cloned().collect());
    let task = match tasks.advance(id, step, at, now.mono) {
        None => return Err(Misfit::NoTask(id.clone())),
        Some(Err(refused)) => return Err(Misfit::Step(id.clone(), refused)),
        Some(Ok(task)) => task,
    };
    if !booked(&task).eq(&held) {
        held.iter().for_each(|node| nodes.release(node, id, &task.spec));
        booked(&task).for_each(|node| nodes.reserve(node, id, &task.spec));
    }
    Ok(())
}
