//! What silence does: nodes that fell silent are offline, and their tasks are lost.

use std::time::Duration;

use super::{AsOf, State};
use crate::control::change::Change;
use crate::control::nodes::Nodes;
use crate::control::tasks::Tasks;
use crate::model::id::{AttemptKey, NodeId, TaskId};
use crate::model::node::NodeStatus;
use crate::model::task::{Step, TaskStatus};
use crate::model::time::Now;

/// A node that the reaper judged lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Which one.
    pub node: NodeId,
    /// For how long it was silent.
    pub silence: Duration,
    /// The tasks that were lost with it.
    pub tasks: Vec<TaskId>,
    /// Those of them that wait for another node now, with their new attempts.
    pub rescheduled: Vec<AttemptKey>,
}

impl State {
    /// Judges silent nodes: they are offline, and their tasks are lost.
    pub fn judge_silence(&self, now: Now) -> AsOf<Vec<Lost>> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        let silent = nodes.silent(self.settings.node_timeout, now.mono);
        let lost: Vec<Lost> = silent
            .into_iter()
            .map(|(node, silence)| self.lose(&mut nodes, &mut tasks, node, silence, now))
            .collect();
        drop((nodes, tasks));
        if lost.iter().any(|lost| !lost.rescheduled.is_empty()) {
            self.wake_scheduler();
        }
        AsOf { value: lost, at: self.journal.last_position() }
    }

    /// Both kinds of change are about what is read under these locks, so each of them fits.
    fn lose(&self, nodes: &mut Nodes, tasks: &mut Tasks, node: NodeId, silence: Duration, now: Now) -> Lost {
        let ids: Vec<TaskId> = tasks.live_on(&node).map(|entry| entry.task.id.clone()).collect();
        let status = Change::Status { node: node.clone(), status: NodeStatus::Offline };
        let _ = self.commit(nodes, tasks, status, now);
        let mut rescheduled = Vec::new();
        for id in &ids {
            let why = format!("{node} was silent for {:.1} s", silence.as_secs_f64());
            let step = Step::Lose { at: now.wall, why };
            let _ = self.commit(nodes, tasks, Change::Advanced { task: id.clone(), step }, now);
            if let Some(task) = tasks.get(id).filter(|task| task.status() == TaskStatus::Pending) {
                rescheduled.push(AttemptKey { task: id.clone(), attempt: task.attempt });
            }
        }
        Lost { node, silence, tasks: ids, rescheduled }
    }

    /// Takes time during which this master stood still out of every node's silence.
    pub fn forgive(&self, stall: Duration) {
        self.locks.write_nodes().forgive(stall);
    }
}
