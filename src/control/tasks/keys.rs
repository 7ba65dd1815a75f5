//! Idempotency keys: which creation a retried request means.
//!
//! A key is kept for a day after its use. The first answer is made again from the creation itself, not from what
//! became of the tasks since.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::control::change::{Creation, KeyUse};
use crate::model::id::Revision;
use crate::model::time::WallTime;

/// How long a key is kept.
const KEPT: Duration = Duration::from_secs(86_400);

/// A key that was used.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// SHA-256 of the body that it was used with.
    pub body_hash: [u8; 32],
    /// What was created.
    pub creation: Arc<Creation>,
    /// Where in the journal that stands: until it is durable, the request is still being answered.
    pub at: Revision,
}

/// The keys of the last day.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    records: HashMap<String, KeyRecord>,
    by_age: BTreeSet<(WallTime, String)>,
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
        let record = KeyRecord { body_hash: used.body_hash, creation: Arc::new(creation.clone()), at };
        self.records.insert(used.key.clone(), record);
        self.by_age.insert((creation.at, used.key.clone()));
    }

    /// Forgets a key whose use did not happen after all.
    pub(in crate::control) fn withdraw(&mut self, key: &str) {
        if let Some(record) = self.records.remove(key) {
            self.by_age.remove(&(record.creation.at, key.to_owned()));
        }
    }

    fn expire(&mut self, now: WallTime) {
        while let Some((used_at, _)) = self.by_age.first() {
            if now.since(*used_at) <= KEPT {
                break;
            }
            if let Some((_, key)) = self.by_age.pop_first() {
                self.records.remove(&key);
            }
        }
    }
}
