//! Why tasks are where they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AsOf, State};
use crate::control::tasks::{Ambiguous, Found};
use crate::control::why::{self, Waits, Why};
use crate::model::id::TaskId;
use crate::model::task::{Task, TaskStatus};
use crate::model::time::Now;

impl State {
    /// Why the task that a person means is where it is.
    ///
    /// # Errors
    /// Several are meant.
    pub fn why(&self, reference: &str, now: Now) -> Result<Option<AsOf<Why>>, Ambiguous> {
        let (nodes, tasks) = self.locks.read_both();
        let Found::Task(entry) = tasks.resolve(reference)? else { return Ok(None) };
        let mut why = why::why(&nodes, &tasks, entry, now);
        if self.journal.is_failing() && entry.task.status() == TaskStatus::Pending {
            "nothing is placed while this master can't store changes".clone_into(&mut why.summary);
        }
        Ok(Some(AsOf { value: why, at: self.position(&*tasks) }))
    }

    /// What those of these tasks wait for that wait, for a place or to be moved.
    pub fn waits(&self, asked: &[Arc<Task>], now: Now) -> BTreeMap<TaskId, String> {
        if asked.iter().all(|task| task.status().is_terminal()) {
            return BTreeMap::new();
        }
        let (nodes, tasks) = self.locks.read_both();
        let mut waits = Waits::default();
        let notes = self.move_notes.lock();
        let entries = asked.iter().filter_map(|task| tasks.entry(&task.id));
        let told = entries.filter_map(|entry| {
            let told = waits.of(&nodes, entry, now)?;
            let note = notes.get(&entry.task.id).map_or_else(String::new, |note| format!(": {note}"));
            Some((entry.task.id.clone(), told + &note))
        });
        told.collect()
    }
}
