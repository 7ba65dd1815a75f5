//! What users do: create tasks, ask for their end, forget them.

use std::sync::Arc;
use std::time::Duration;

use super::{AsOf, State, StoreFull};
use crate::api::wire::spec::Creation as Wanted;
use crate::canary::{Canary, sings};
use crate::control::change::{Change, Creation, KeyUse, NewTask};
use crate::control::tasks::{Ambiguous, Found};
use crate::master::reach::Reach;
use crate::model::audit::Asked;
use crate::model::id::{TaskName, TokenId};
use crate::model::task::{Step, StopIntent, Task};
use crate::model::time::Now;

/// Why tasks were not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// The key was used with another body.
    KeyReused,
    /// The first request with that key is still being answered.
    KeyBusy,
    /// The key's first request was answered, and all that it made was removed since.
    Gone,
    /// They can't be stored now.
    StoreFull,
}

/// Why the end of a task was not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopError {
    /// Several are meant.
    Ambiguous(Ambiguous),
    /// That can't be stored now.
    StoreFull,
}

/// Why a task was not forgotten.
#[derive(Clone, Debug)]
pub enum ForgetError {
    /// Several are meant.
    Ambiguous(Ambiguous),
    /// It hasn't ended.
    Lives(Arc<Task>),
    /// That can't be stored now.
    StoreFull,
}

impl From<StoreFull> for CreateError {
    fn from(_: StoreFull) -> Self {
        Self::StoreFull
    }
}

impl From<StoreFull> for StopError {
    fn from(_: StoreFull) -> Self {
        Self::StoreFull
    }
}

impl From<StoreFull> for ForgetError {
    fn from(_: StoreFull) -> Self {
        Self::StoreFull
    }
}

/// What asking for a task's end came to.
#[derive(Clone, Debug)]
pub struct StopOutcome {
    /// The task, with the intent or at its end.
    pub task: Arc<Task>,
    /// How its node is reached, if a node must be told.
    pub reach: Option<Reach>,
}

impl State {
    /// Creates tasks, all or none. `batch` says whether they were asked for as a batch.
    ///
    /// # Errors
    /// An idempotency key stands in the way, or they can't be stored.
    pub fn create(
        &self,
        wanted: Vec<Wanted>,
        batch: bool,
        key: Option<KeyUse>,
        asked: impl Into<Asked>,
    ) -> Result<AsOf<Arc<Creation>>, CreateError> {
        self.create_by(None, wanted, batch, key, asked)
    }

    /// As [`State::create`], for whoever showed this token.
    ///
    /// # Errors
    /// As [`State::create`].
    pub fn create_by(
        &self,
        made_by: Option<TokenId>,
        wanted: Vec<Wanted>,
        batch: bool,
        key: Option<KeyUse>,
        asked: impl Into<Asked>,
    ) -> Result<AsOf<Arc<Creation>>, CreateError> {
        let asked = asked.into();
        let now = asked.now;
        let (mut nodes, mut tasks) = self.locks.write_both();
        let used = key.as_ref().filter(|_| !sings(Canary::ForgetsKeys));
        if let Some(record) = used.and_then(|used| tasks.keys().get(&used.key)) {
            if key.as_ref().is_some_and(|used| used.body_hash != record.body_hash) {
                return Err(CreateError::KeyReused);
            }
            if !self.journal.is_settled(record.at) {
                return Err(CreateError::KeyBusy);
            }
            let creation = record.creation.as_ref().ok_or(CreateError::Gone)?;
            return Ok(AsOf { value: Arc::clone(creation), at: record.at });
        }
        self.check_store()?;
        let creation = Creation {
            at: now.wall,
            batch: batch.then(|| self.ids.batch(now.wall)),
            tasks: wanted.into_iter().flat_map(|one| self.expand(one, now)).collect(),
            key,
            made_by,
        };
        let change = Change::Created(creation.clone());
        let at = self.commit_for(&asked, &mut nodes, &mut tasks, change).unwrap_or_default();
        drop((nodes, tasks));
        self.wake_scheduler();
        Ok(AsOf { value: Arc::new(creation), at })
    }

    /// The new tasks that one wish stands for: itself, or `count` equals.
    fn expand(&self, wanted: Wanted, now: Now) -> impl Iterator<Item = NewTask> + '_ {
        let Wanted { name, spec, count } = wanted;
        (0..count.unwrap_or(1)).map(move |index| NewTask {
            id: self.ids.task(now.wall),
            name: if count.is_some() { numbered(&name, index) } else { name.clone() },
            spec: Arc::clone(&spec),
            replica: count.is_some(),
        })
    }

    /// Asks for a task's end. Asking again, or after the end, changes nothing unless the grace is shorter.
    ///
    /// # Errors
    /// Several tasks are meant, or it can't be stored.
    pub fn stop(
        &self,
        reference: &str,
        grace: Option<Duration>,
        asked: impl Into<Asked>,
    ) -> Result<Option<AsOf<StopOutcome>>, StopError> {
        let asked = asked.into();
        let (mut nodes, mut tasks) = self.locks.write_both();
        let id = match tasks.resolve(reference).map_err(StopError::Ambiguous)? {
            Found::Task(entry) => entry.task.id.clone(),
            Found::Nothing => return Ok(None),
        };
        self.check_store()?;
        let grace = grace.or_else(|| tasks.get(&id).map(|task| task.spec.stop_grace)).unwrap_or_default();
        let step = Step::Stop(StopIntent { requested_at: asked.now.wall, grace });
        // A refusal means that it is so already, or that the task has ended: no error either way.
        let change = Change::Advanced { task: id.clone(), step };
        let _ = self.commit_for(&asked, &mut nodes, &mut tasks, change);
        Ok(tasks.entry(&id).map(|entry| {
            let node = entry.task.holds_place_on().and_then(|node| nodes.get(node));
            let reach = node.map(|node| self.reach(node.node()));
            AsOf { value: StopOutcome { task: Arc::clone(&entry.task), reach }, at: entry.changed }
        }))
    }

    /// Forgets a task that has ended.
    ///
    /// # Errors
    /// Several are meant, it lives, or that can't be stored now.
    pub fn forget(
        &self,
        reference: &str,
        asked: impl Into<Asked>,
    ) -> Result<Option<AsOf<Arc<Task>>>, ForgetError> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        let task = match tasks.resolve_one(reference).map_err(ForgetError::Ambiguous)? {
            Found::Task(entry) => Arc::clone(&entry.task),
            Found::Nothing => return Ok(None),
        };
        if !task.status().is_terminal() {
            return Err(ForgetError::Lives(task));
        }
        self.check_store()?;
        let change = Change::Forgotten { task: task.id.clone() };
        let at = self.commit_for(&asked.into(), &mut nodes, &mut tasks, change).unwrap_or_default();
        Ok(Some(AsOf { value: task, at }))
    }
}

/// `NAME-3`. The longest of a batch was checked to be a name.
fn numbered(name: &TaskName, index: u32) -> TaskName {
    format!("{name}-{index}").parse().unwrap_or_else(|_| name.clone())
}
