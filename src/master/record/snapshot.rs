//! Snapshots as bytes: parts of bounded size, each a line of JSON per item.
//!
//! A spec stands before the tasks that share it, once in each part, so that every part can be read by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec::IntoIter;

use serde::{Deserialize, Serialize};

use super::{CreatedRecord, created, creation};
use crate::api::wire::spec::SpecWire;
use crate::control::change::{Creation, KeyUse};
use crate::control::nodes::{NodeEntry, Nodes};
use crate::control::snapshot::{Snapshot, restore_key, restore_node, restore_task, restore_token};
use crate::control::tasks::{KeyRecord, TaskEntry, Tasks};
use crate::control::tokens::Tokens;
use crate::model::id::{Attempt, Incarnation, NodeId, Revision, TaskId, TaskName, TokenId};
use crate::model::node::{Availability, Node, NodeStatus, Registration};
use crate::model::spec::TaskSpec;
use crate::model::task::{BatchMember, Past, StopIntent, Task, TaskState};
use crate::model::time::{Now, WallTime};
use crate::model::token::TokenRecord;

/// A part that has grown to this many bytes takes no further item.
const PART_BYTES: usize = 256 << 10;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Item {
    /// The time of the latest id that was made.
    Latest(WallTime),
    Node(Box<NodeRecord>),
    /// Of the tasks that follow.
    Spec(Box<SpecWire>),
    Task(Box<TaskRecord>),
    Key {
        at: Revision,
        creation: CreatedRecord,
    },
    /// A key whose tasks were all removed.
    SpentKey {
        at: Revision,
        key: String,
        body_hash: [u8; 32],
        used_at: WallTime,
    },
    Token(Box<TokenRecord>),
}

#[derive(Serialize, Deserialize)]
struct NodeRecord {
    registration: Registration,
    incarnation: Incarnation,
    availability: Availability,
    status: NodeStatus,
    settling: bool,
    forget: BTreeMap<TaskId, Revision>,
}

#[derive(Serialize, Deserialize)]
struct TaskRecord {
    id: TaskId,
    name: TaskName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<BatchMember>,
    created_at: WallTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<TokenId>,
    attempt: Attempt,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused_by: Vec<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_on: Option<NodeId>,
    #[serde(default)]
    tries: u32,
    #[serde(default)]
    streak: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<Past>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reserved: Option<NodeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moving: Option<WallTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<StopIntent>,
    state: TaskState,
    changed: Revision,
}

/// The parts of a snapshot, encoded one at a time.
pub(in crate::master) struct Parts {
    latest: Option<WallTime>,
    nodes: IntoIter<NodeEntry>,
    tasks: IntoIter<TaskEntry>,
    keys: IntoIter<(String, KeyRecord)>,
    tokens: IntoIter<Arc<TokenRecord>>,
    /// The last spec of the part that is being made.
    spec: Option<Arc<TaskSpec>>,
}

impl Parts {
    /// `latest` is the time of the latest id that was made.
    pub(in crate::master) fn new(snapshot: Snapshot, latest: WallTime) -> Self {
        Self {
            latest: Some(latest),
            nodes: snapshot.nodes.into_iter(),
            tasks: snapshot.tasks.into_iter(),
            keys: snapshot.keys.into_iter(),
            tokens: snapshot.tokens.into_iter(),
            spec: None,
        }
    }

    /// Appends the next item. False: there is none.
    fn push_next(&mut self, part: &mut Vec<u8>) -> bool {
        if let Some(latest) = self.latest.take() {
            push(part, &Item::Latest(latest));
        } else if let Some(entry) = self.nodes.next() {
            push(part, &Item::Node(Box::new(node_record(&entry))));
        } else if let Some(entry) = self.tasks.next() {
            let spec = &entry.task.spec;
            if !self.spec.as_ref().is_some_and(|last| Arc::ptr_eq(last, spec)) {
                push(part, &Item::Spec(Box::new(SpecWire::from(&**spec))));
                self.spec = Some(Arc::clone(spec));
            }
            push(part, &Item::Task(Box::new(task_record(&entry))));
        } else if let Some((key, record)) = self.keys.next() {
            push(part, &key_item(key, record));
        } else if let Some(token) = self.tokens.next() {
            push(part, &Item::Token(Box::new(TokenRecord::clone(&token))));
        } else {
            return false;
        }
        true
    }
}

impl Iterator for Parts {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut part = Vec::new();
        self.spec = None;
        while part.len() < PART_BYTES && self.push_next(&mut part) {}
        (!part.is_empty()).then_some(part)
    }
}

fn push(part: &mut Vec<u8>, item: &Item) {
    serde_json::to_writer(&mut *part, item)
        .expect("invariant: an item has string keys and no fallible values");
    part.push(b'\n');
}

fn key_item(key: String, record: KeyRecord) -> Item {
    let KeyRecord { body_hash, used_at, creation, at } = record;
    match creation {
        Some(kept) => Item::Key { at, creation: created(Creation::clone(&kept)) },
        None => Item::SpentKey { at, key, body_hash, used_at },
    }
}

fn node_record(entry: &NodeEntry) -> NodeRecord {
    let node = entry.node().clone();
    NodeRecord {
        registration: node.registration,
        incarnation: node.incarnation,
        availability: node.availability,
        status: node.status,
        settling: entry.is_settling(),
        forget: entry.logs_to_forget().clone(),
    }
}

fn task_record(entry: &TaskEntry) -> TaskRecord {
    let task = Task::clone(&entry.task);
    TaskRecord {
        id: task.id,
        name: task.name,
        batch: task.batch,
        created_at: task.created_at,
        made_by: task.made_by,
        attempt: task.attempt,
        refused_by: task.refused_by,
        lost_on: task.lost_on,
        tries: task.tries,
        streak: task.streak,
        past: task.past,
        reserved: task.reserved,
        moving: task.moving,
        stop: task.stop,
        state: task.state,
        changed: entry.changed,
    }
}

/// Takes up one part. Gives the time of the latest id, where the part tells it.
///
/// # Errors
/// Says what is wrong with the bytes.
pub(in crate::master) fn restore(
    part: &[u8],
    nodes: &mut Nodes,
    tasks: &mut Tasks,
    tokens: &mut Tokens,
    now: Now,
) -> Result<Option<WallTime>, String> {
    let (mut latest, mut spec) = (None, None);
    for item in serde_json::Deserializer::from_slice(part).into_iter::<Item>() {
        match item.map_err(|error| error.to_string())? {
            Item::Latest(at) => latest = Some(at),
            Item::Node(record) => {
                let NodeRecord { registration, incarnation, availability, status, settling, forget } =
                    *record;
                let node = Node { registration, incarnation, availability, status };
                restore_node(nodes, node, settling, forget, now);
            }
            Item::Spec(wire) => {
                let read = TaskSpec::try_from(*wire).map_err(|mistake| mistake.to_string())?;
                spec = Some(Arc::new(read));
            }
            Item::Task(record) => {
                let spec = spec.as_ref().ok_or("a task stands before its spec")?;
                let changed = record.changed;
                restore_task(nodes, tasks, task(*record, Arc::clone(spec)), changed, now);
            }
            Item::Key { at, creation: record } => {
                let creation = creation(record)?;
                if let Some(KeyUse { key, body_hash }) = creation.key.clone() {
                    let (used_at, creation) = (creation.at, Some(Arc::new(creation)));
                    restore_key(tasks, key, KeyRecord { body_hash, used_at, creation, at });
                }
            }
            Item::SpentKey { at, key, body_hash, used_at } => {
                restore_key(tasks, key, KeyRecord { body_hash, used_at, creation: None, at });
            }
            Item::Token(token) => restore_token(tokens, *token),
        }
    }
    Ok(latest)
}

fn task(record: TaskRecord, spec: Arc<TaskSpec>) -> Task {
    Task {
        id: record.id,
        name: record.name,
        spec,
        batch: record.batch,
        created_at: record.created_at,
        made_by: record.made_by,
        attempt: record.attempt,
        refused_by: record.refused_by,
        lost_on: record.lost_on,
        tries: record.tries,
        streak: record.streak,
        past: record.past,
        reserved: record.reserved,
        moving: record.moving,
        stop: record.stop,
        state: record.state,
    }
}
