//! The mover thread: makes nodes ready for the tasks that leave drained ones, and then lets those end.
//!
//! Main type: [`Mover`], which takes one turn at a time. [`Mover::keep`] has places kept (`control::drain` says which)
//! and tells which nodes are to be asked; [`Mover::take`] takes up what such a node said. A node that can't have a
//! task's image is left out for that task for a while, so that another one gets its turn.
//!
//! Invariant: an attempt is ended only for a node that keeps a place for the next one and said that its image is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::canary::{Canary, sings};
use crate::master::dispatch::Dispatcher;
use crate::master::images::{self, NotPrepared, Prepared};
use crate::master::journal::Fate;
use crate::master::state::{AsOf, Move, Preparation, State};
use crate::model::id::{NodeId, TaskId};
use crate::model::time::{Mono, Now};
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

/// For how long a node that could not be made ready for a task isn't asked again.
const LEFT_OUT: Duration = Duration::from_secs(60);

/// How long a node may say nothing at all before its place is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long after a turn the next one is due: while something is on the move, and while nothing is.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// Body of the thread `mover`. A turn blocks for a few seconds where a node doesn't answer.
pub fn run(state: &State, dispatcher: &Arc<Dispatcher>, stop: &Stop) {
    let mut mover = Mover::default();
    while !stop.wait(if state.has_drains() { PAUSES.0 } else { PAUSES.1 }) {
        if !state.has_drains() {
            continue;
        }
        for asked in mover.keep(state, clock::now()) {
            if stop.requested() {
                return;
            }
            if let Some(ended) = mover.take(state, &asked, ask(&asked), clock::now()) {
                log::info!("task moves task={} to={}", asked.attempt, asked.node);
                tell(state, dispatcher, ended);
            }
        }
    }
}

fn ask(about: &Preparation) -> Result<Prepared, NotPrepared> {
    images::ask(&about.reach, &about.task.spec.image, about.task.spec.pull)
}

/// Tells the node that has the attempt, once it is durable that it is to end.
fn tell(state: &State, dispatcher: &Arc<Dispatcher>, ended: AsOf<Move>) {
    let (dispatcher, Move { attempt, reach, grace }) = (Arc::clone(dispatcher), ended.value);
    state.journal().when_settled(ended.at, move |fate| match fate {
        Fate::Durable => dispatcher.stop(&reach, attempt, grace),
        // It is moved again.
        Fate::Withdrawn => {}
    });
}

/// What one turn has to know of those before.
#[derive(Debug, Default)]
pub struct Mover {
    /// Until when a node is left out for a task.
    left_out: BTreeMap<(TaskId, NodeId), Mono>,
    /// Since when a node has been asked for a task, and gave no answer.
    silent: BTreeMap<(TaskId, NodeId), Mono>,
}

impl Mover {
    /// Has places kept for what is to leave its node, and gives the nodes that are to be asked whether they are ready.
    pub fn keep(&mut self, state: &State, now: Now) -> Vec<Preparation> {
        self.left_out.retain(|_, until| *until > now.mono);
        let is_left_out =
            |task: &TaskId, node: &NodeId| self.left_out.contains_key(&(task.clone(), node.clone()));
        let found = state.keep_places(is_left_out, now).value;
        self.silent
            .retain(|(task, node), _| found.iter().any(|one| one.attempt.task == *task && one.node == *node));
        found
    }

    /// Takes up what a node said. Gives what is to be ended now, once that is durable.
    pub fn take(
        &mut self,
        state: &State,
        asked: &Preparation,
        said: Result<Prepared, NotPrepared>,
        now: Now,
    ) -> Option<AsOf<Move>> {
        let pair = (asked.attempt.task.clone(), asked.node.clone());
        let (why, is_hopeless) = match said {
            Ok(Prepared::Pulling { .. }) if sings(Canary::MovesUnready) => {
                return state.move_off(&asked.attempt, &asked.node, now);
            }
            Ok(Prepared::Present) => return state.move_off(&asked.attempt, &asked.node, now),
            Ok(Prepared::Pulling { detail }) => {
                self.silent.remove(&pair);
                (detail, false)
            }
            Err(NotPrepared::Failed(why)) => (why, true),
            Err(NotPrepared::Unreachable(why)) => {
                let since = *self.silent.entry(pair.clone()).or_insert(now.mono);
                (why, now.mono.since(since) >= PATIENCE)
            }
        };
        if is_hopeless {
            log::warn!("node can't take a task task={} node={} because={why}", asked.attempt, asked.node);
            self.left_out.insert(pair, now.mono + LEFT_OUT);
        }
        state.note_move(&asked.attempt.task, why);
        None
    }
}

#[cfg(test)]
mod tests;
