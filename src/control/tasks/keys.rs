//! Idempotency keys: which creation a retried request means.
//!
//! A key is kept for a day after its use. The first answer is made again from the creation itself, not from what
//! became of the tasks since.
//!
//! A key whose tasks were all removed is *spent*: of it nothing is kept but that it was used, and with which body. So
//! what a day's keys weigh doesn't grow with what was created under them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::control::change::{Creation, KeyUse};
use crate::model::id::{BatchId, Revision, TaskId};
use crate::model::task::Task;
use crate::model::time::WallTime;

/// How long a key is kept.
const KEPT: Duration = Duration::from_secs(86_400);

/// A key that was used.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// SHA-256 of the body that it was used with.
    pub body_hash: [u8; 32],
    /// When it was used.
    pub used_at: WallTime,
    /// What was created. None: all of it was removed since.
    pub creation: Option<Arc<Creation>>,
    /// Where in the journal that stands: until it is durable, the request is still being answered.
    pub at: Revision,
}

/// What was created under a key, as its tasks name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Origin {
    Task(TaskId),
    Batch(BatchId),
}

impl Origin {
    fn of(creation: &Creation) -> Option<Self> {
        let single = || creation.tasks.first().map(|new| Self::Task(new.id.clone()));
        creation.batch.clone().map(Self::Batch).or_else(single)
    }

    fn of_task(task: &Task) -> Self {
        task.batch.as_ref().map_or_else(|| Self::Task(task.id.clone()), |batch| Self::Batch(batch.id.clone()))
    }
}

/// The keys of the last day.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    records: HashMap<String, KeyRecord>,
    by_age: BTreeSet<(WallTime, String)>,
    /// The keys that aren't spent.
    by_origin: HashMap<Origin, String>,
}

impl Keys {
    /// The record of a key.
    pub fn get(&self, key: &str) -> Option<&KeyRecord> {
        self.records.get(key)
    }

    /// All of them, oldest use first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KeyRecord)> {
        self.by_age.iter().filter_map(|(_, key)| self.records.get(key).map(|record| (key.as_str(), record)))
    }

    /// Remembers a use, and drops the keys that are older than a day by then.
    pub(in crate::control) fn remember(&mut self, used: &KeyUse, creation: &Creation, at: Revision) {
        self.expire(creation.at);
        let (body_hash, used_at) = (used.body_hash, creation.at);
        let record = KeyRecord { body_hash, used_at, creation: Some(Arc::new(creation.clone())), at };
        self.put(used.key.clone(), record);
    }

    /// Takes up a record as it is, in the place of what there was under its key.
    pub(in crate::control) fn put(&mut self, key: String, record: KeyRecord) {
        if let Some(origin) = record.creation.as_deref().and_then(Origin::of) {
            self.by_origin.insert(origin, key.clone());
        }
        self.by_age.insert((record.used_at, key.clone()));
        self.records.insert(key, record);
    }

    /// Forgets a key whose use did not happen after all, or is long ago.
    pub(in crate::control) fn withdraw(&mut self, key: &str) {
        if let Some(record) = self.records.remove(key) {
            self.by_age.remove(&(record.used_at, key.to_owned()));
            if let Some(origin) = record.creation.as_deref().and_then(Origin::of) {
                self.by_origin.remove(&origin);
            }
        }
    }

    /// The key that a task was created under, with its record, where it isn't spent.
    pub(in crate::control) fn of_task(&self, task: &Task) -> Option<(&str, &KeyRecord)> {
        let key = self.by_origin.get(&Origin::of_task(task))?;
        Some((key, self.records.get(key)?))
    }

    /// The last task of a creation is gone.
    pub(super) fn spend(&mut self, task: &Task) {
        if let Some(key) = self.by_origin.remove(&Origin::of_task(task))
            && let Some(record) = self.records.get_mut(&key)
        {
            record.creation = None;
        }
    }

    fn expire(&mut self, now: WallTime) {
        while let Some((used_at, key)) = self.by_age.first().cloned() {
            if now.since(used_at) <= KEPT {
                break;
            }
            self.withdraw(&key);
        }
    }
}
