//! What silence does: nodes that fell silent are offline, and their tasks are lost.
//!
//! An offline node that still holds tasks is one that nobody has judged yet: the brake is on, or was when the master
//! stopped. It is judged later like any other.

use std::time::Duration;

use super::{AsOf, State};
use crate::control::change::Change;
use crate::control::nodes::{Nodes, Silent};
use crate::control::tasks::Tasks;
use crate::model::id::{AttemptKey, NodeId, TaskId};
use crate::model::node::NodeStatus;
use crate::model::task::{Step, TaskStatus};
use crate::model::time::{Mono, Now};

/// A node that the reaper judged lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Which one.
    pub node: NodeId,
    /// For how long it was silent.
    pub silence: Duration,
    /// Whether its tasks are left as they are for now, because all nodes fell silent together.
    pub is_held: bool,
    /// The tasks that were lost with it.
    pub tasks: Vec<TaskId>,
    /// Those of them that wait for another node now, with their new attempts.
    pub rescheduled: Vec<AttemptKey>,
}

impl State {
    /// The same state, which judges no node before that moment.
    #[must_use]
    pub const fn judging_from(mut self, moment: Mono) -> Self {
        self.judge_from = moment;
        self
    }

    /// Judges silent nodes: they are offline, and their tasks are lost, unless the brake is on. Judges nobody while the
    /// store fails.
    pub fn judge_silence(&self, now: Now) -> AsOf<Vec<Lost>> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        if now.mono < self.judge_from || self.journal.is_failing() {
            return AsOf { value: Vec::new(), at: self.position(&*tasks) };
        }
        let silent = nodes.judge(self.settings.node_timeout, now.mono);
        let news = silent.into_iter().filter(|silent| silent.was_online || !silent.is_held);
        let lost: Vec<Lost> = news.map(|silent| self.lose(&mut nodes, &mut tasks, silent, now)).collect();
        let at = self.position(&*tasks);
        drop((nodes, tasks));
        if lost.iter().any(|lost| !lost.rescheduled.is_empty()) {
            self.wake_scheduler();
        }
        AsOf { value: lost, at }
    }

    /// Each change here is about what is read under these locks, so each of them fits.
    fn lose(&self, nodes: &mut Nodes, tasks: &mut Tasks, silent: Silent, now: Now) -> Lost {
        let Silent { node, silence, was_online, is_held } = silent;
        if was_online {
            let status = Change::Status { node: node.clone(), status: NodeStatus::Offline };
            let _ = self.commit(nodes, tasks, status, now);
        }
        let mut lost = Lost { node, silence, is_held, tasks: Vec::new(), rescheduled: Vec::new() };
        if is_held {
            return lost;
        }
        lost.tasks = tasks.live_on(&lost.node).map(|entry| entry.task.id.clone()).collect();
        for id in &lost.tasks {
            let why = format!("{} was silent for {:.1} s", lost.node, silence.as_secs_f64());
            let step = Step::Lose { at: now.wall, why };
            let _ = self.commit(nodes, tasks, Change::Advanced { task: id.clone(), step }, now);
            if let Some(task) = tasks.get(id).filter(|task| task.status() == TaskStatus::Pending) {
                lost.rescheduled.push(task.key());
            }
        }
        lost
    }

    /// Takes time during which this master stood still out of every node's silence.
    pub fn forgive(&self, stall: Duration, now: Now) {
        self.locks.write_nodes().forgive(stall, now.mono);
    }
}
