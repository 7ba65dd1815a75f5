//! What quarantine means for nodes: their sets are not complete, and what they run unknown to the master is shown.

use super::State;
use crate::api::wire::agent::{AttemptStatus, HeartbeatRequest};
use crate::control::tasks::Tasks;
use crate::model::id::{AttemptKey, NodeId};

impl State {
    /// The same state, in quarantine.
    #[must_use]
    pub fn in_quarantine(mut self) -> Self {
        self.is_quarantined = true;
        self
    }

    /// Whether nothing is stopped that this state doesn't name.
    pub const fn is_quarantined(&self) -> bool {
        self.is_quarantined
    }

    /// What a node runs unknown to this master, in quarantine, where that has changed since this was last asked.
    pub fn news_of_unknown(&self, node: &NodeId) -> Option<Vec<AttemptKey>> {
        if !self.is_quarantined {
            return None;
        }
        self.locks.write_nodes().news_of_unknown(node)
    }
}

/// What a beat lists that isn't in the node's set and hasn't ended.
pub(super) fn strangers(tasks: &Tasks, beat: &HeartbeatRequest) -> Vec<AttemptKey> {
    let live = beat.running_tasks.iter().filter(|held| held.status != AttemptStatus::Ended);
    let keys = live.map(|held| AttemptKey { task: held.task_id.clone(), attempt: held.attempt });
    keys.filter(|key| !is_in_set(tasks, beat, key)).collect()
}

/// Whether an attempt is in the set of the node that beats.
pub(super) fn is_in_set(tasks: &Tasks, beat: &HeartbeatRequest, key: &AttemptKey) -> bool {
    tasks
        .get(&key.task)
        .is_some_and(|task| task.attempt == key.attempt && task.holds_place_on() == Some(&beat.node_id))
}
