//! The operator of a good history, who drains a node now and then; and the master, which moves what may go elsewhere.
//!
//! Main type: [`Drain`], the one that goes on.

use std::sync::Arc;

use podling::control::fit;
use podling::model::id::{NodeId, TaskId};
use podling::model::node::Availability;
use podling::model::task::{Step, Task, TaskStatus};

use super::good::Play;
use super::world::IMAGE;
use crate::checker::history::{Millis, What};

/// A node that is drained.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    node: NodeId,
    until: Millis,
}

impl Play {
    /// What the operator does in a tick, and what the master does about it.
    pub(super) fn operate(&mut self) {
        match self.drain.clone() {
            None if self.is_busy() && self.dice.one_in(40) => self.begin_drain(),
            None => {}
            Some(drain) if self.world.now >= drain.until => {
                self.world.open_or_close(&drain.node, Availability::Active);
                self.drain = None;
            }
            Some(drain) => self.move_off(&drain.node),
        }
        self.give_back();
    }

    fn begin_drain(&mut self) {
        let at = self.dice.below(3) as usize;
        let node = self.players[at].id.clone();
        if self.world.nodes.get(&node).is_none() {
            return;
        }
        self.world.open_or_close(&node, Availability::Draining);
        self.note("a node was drained");
        self.drain = Some(Drain { node, until: self.world.now + 300 + self.dice.below(4_000) });
    }

    fn move_off(&mut self, node: &NodeId) {
        for task in self.tasks_on(node) {
            let may_go = task.spec.on_node_lost.is_leased() && !task.is_to_end();
            match &task.reserved {
                _ if !may_go => {}
                None => self.keep_a_place(&task.id),
                // Its image isn't there yet.
                Some(_) if !self.dice.one_in(5) => {}
                Some(ready) => {
                    self.world.push(What::HasImage { node: ready.clone(), image: IMAGE.to_owned() });
                    let at = self.world.wall();
                    self.world.advance(&task.id, Step::Move { at });
                    self.note("a task was moved");
                }
            }
        }
    }

    fn keep_a_place(&mut self, task: &TaskId) {
        let open = self.world.nodes.iter().find(|entry| fit::obstacle(entry).is_none());
        if let Some(node) = open.map(|entry| entry.node().registration.node_id.clone()) {
            self.world.advance(task, Step::Reserve { node });
            self.note("a place was kept");
        }
    }

    /// Places that are kept for nothing are given back.
    fn give_back(&mut self) {
        let kept: Vec<Arc<Task>> = self.world.tasks.reserved().map(|entry| Arc::clone(&entry.task)).collect();
        for task in kept {
            let leaves = task.placement().is_some_and(|on| {
                let owner = self.world.nodes.get(&on.node);
                owner.is_some_and(|entry| entry.node().availability == Availability::Draining)
            });
            let is_pending = task.status() == TaskStatus::Pending;
            if !leaves && !is_pending && task.moving.is_none() {
                self.world.advance(&task.id, Step::Unreserve);
                self.note("a kept place was given back");
            }
        }
    }

    /// A task goes where a place is kept for it, where that can be. True: it went there.
    pub(super) fn place_where_kept(&mut self, task: &Task) -> bool {
        let Some(node) = task.reserved.as_ref().filter(|node| self.is_open(node)).cloned() else {
            return false;
        };
        self.world.place(&task.id, &node);
        self.note("a moved task runs elsewhere");
        true
    }

    /// Whether a node takes tasks.
    pub(super) fn is_open(&self, node: &NodeId) -> bool {
        let entry = self.world.nodes.get(node);
        entry.is_some_and(|entry| entry.node().availability == Availability::Active) && self.is_online(node)
    }

    fn tasks_on(&self, node: &NodeId) -> Vec<Arc<Task>> {
        self.world.tasks.live_on(node).map(|entry| Arc::clone(&entry.task)).collect()
    }
}
