//! Changes as bytes: what the journal writes and reads back.
//!
//! JSON, one tagged object per change, so that a journal can be read by eye. A spec goes in as the wire writes it
//! and comes back through the same checks. Tasks of a batch that share a spec share it here too.

pub(super) mod snapshot;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::wire::spec::SpecWire;
use crate::control::change::{Change, Creation, KeyUse, NewTask};
use crate::model::id::{BatchId, Incarnation, NodeId, TaskId, TaskName, TokenId};
use crate::model::node::{Availability, NodeStatus, Registration};
use crate::model::spec::TaskSpec;
use crate::model::task::Step;
use crate::model::time::WallTime;
use crate::model::token::TokenRecord;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Created(CreatedRecord),
    Advanced { task: TaskId, step: Step },
    Forgotten { task: TaskId },
    Registered { registration: Registration, incarnation: Incarnation },
    Availability { node: NodeId, availability: Availability },
    Status { node: NodeId, status: NodeStatus },
    NodeForgotten { node: NodeId },
    TokenMade { token: Arc<TokenRecord> },
    TokenEnded { id: TokenId },
}

#[derive(Serialize, Deserialize)]
struct CreatedRecord {
    at: WallTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<BatchId>,
    specs: Vec<SpecWire>,
    tasks: Vec<NewTaskRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<(String, [u8; 32])>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<TokenId>,
}

#[derive(Serialize, Deserialize)]
struct NewTaskRecord {
    id: TaskId,
    name: TaskName,
    /// Which of the record's specs.
    spec: usize,
    replica: bool,
}

/// Writes a change.
pub(super) fn encode(change: &Change) -> Vec<u8> {
    let record = match change.clone() {
        Change::Created(creation) => Record::Created(created(creation)),
        Change::Advanced { task, step } => Record::Advanced { task, step },
        Change::Forgotten { task } => Record::Forgotten { task },
        Change::Registered { registration, incarnation } => Record::Registered { registration, incarnation },
        Change::Availability { node, availability } => Record::Availability { node, availability },
        Change::Status { node, status } => Record::Status { node, status },
        Change::NodeForgotten { node } => Record::NodeForgotten { node },
        Change::TokenMade { token } => Record::TokenMade { token },
        Change::TokenEnded { id } => Record::TokenEnded { id },
    };
    serde_json::to_vec(&record).expect("invariant: a record has string keys and no fallible values")
}

/// Reads a change.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<Change, String> {
    let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(match record {
        Record::Created(record) => Change::Created(creation(record)?),
        Record::Advanced { task, step } => Change::Advanced { task, step },
        Record::Forgotten { task } => Change::Forgotten { task },
        Record::Registered { registration, incarnation } => Change::Registered { registration, incarnation },
        Record::Availability { node, availability } => Change::Availability { node, availability },
        Record::Status { node, status } => Change::Status { node, status },
        Record::NodeForgotten { node } => Change::NodeForgotten { node },
        Record::TokenMade { token } => Change::TokenMade { token },
        Record::TokenEnded { id } => Change::TokenEnded { id },
    })
}

fn created(creation: Creation) -> CreatedRecord {
    let mut specs: Vec<Arc<TaskSpec>> = Vec::new();
    let mut tasks = Vec::with_capacity(creation.tasks.len());
    for new in creation.tasks {
        if !specs.last().is_some_and(|last| Arc::ptr_eq(last, &new.spec)) {
            specs.push(Arc::clone(&new.spec));
        }
        tasks.push(NewTaskRecord { id: new.id, name: new.name, spec: specs.len() - 1, replica: new.replica });
    }
    CreatedRecord {
        at: creation.at,
        batch: creation.batch,
        specs: specs.iter().map(|spec| SpecWire::from(&**spec)).collect(),
        tasks,
        key: creation.key.map(|key| (key.key, key.body_hash)),
        made_by: creation.made_by,
    }
}

fn creation(record: CreatedRecord) -> Result<Creation, String> {
    let specs = record
        .specs
        .into_iter()
        .map(|spec| TaskSpec::try_from(spec).map(Arc::new).map_err(|mistake| mistake.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    let new = |task: NewTaskRecord| {
        let spec = specs.get(task.spec).ok_or("a task names a spec that isn't there")?;
        Ok(NewTask { id: task.id, name: task.name, spec: Arc::clone(spec), replica: task.replica })
    };
    Ok(Creation {
        at: record.at,
        batch: record.batch,
        tasks: record.tasks.into_iter().map(new).collect::<Result<Vec<_>, String>>()?,
        key: record.key.map(|(key, body_hash)| KeyUse { key, body_hash }),
        made_by: record.made_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::Scope;
    use crate::model::token::{NodeKey, TokenKind};

    #[test]
    fn what_was_written_before_there_were_tokens_is_read() {
        let old = br#"{"created":{"at":1000,"specs":[{"image":"nginx"}],"tasks":[{"id":"01JD0000000000000000000000",
            "name":"web","spec":0,"replica":false}],"key":["k",[0,1,2,3,4,5,6,7,0,1,2,3,4,5,6,7,0,1,2,3,4,5,6,7,0,1,2,3,
            4,5,6,7]]}}"#;
        let Change::Created(creation) = decode(old).unwrap() else { panic!("something else was read") };
        assert_eq!(creation.made_by, None);
        assert_eq!(creation.new_tasks().next().unwrap().made_by, None);
    }

    #[test]
    fn tokens_come_back_as_they_were_written() {
        let node_id: NodeId = "worker-1".parse().unwrap();
        let kinds = [
            TokenKind::User { scope: Scope::Operate },
            TokenKind::Node { node_id, key: NodeKey::new([9; 32]) },
            TokenKind::Join,
        ];
        for (kind, is_whole) in kinds.into_iter().zip([true, false, true]) {
            let id: TokenId = "01JD0000000000000000000000".parse().unwrap();
            let token = Arc::new(TokenRecord {
                id: id.clone(),
                hash: [7; 32],
                kind,
                label: is_whole.then(|| "CI".to_owned()),
                created_at: WallTime::from_unix_millis(1),
                expires_at: is_whole.then(|| WallTime::from_unix_millis(2)),
                made_by: is_whole.then(|| id.clone()),
            });
            let written = encode(&Change::TokenMade { token: Arc::clone(&token) });
            let Change::TokenMade { token: read } = decode(&written).unwrap() else { panic!("no token") };
            assert_eq!(read, token);
            let ended = decode(&encode(&Change::TokenEnded { id: id.clone() })).unwrap();
            assert!(matches!(ended, Change::TokenEnded { id: read } if read == id));
        }
    }
}
