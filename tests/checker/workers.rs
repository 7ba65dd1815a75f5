//! The nodes of a good history: each worker beats, obeys the answer, looks after its lease, and tells the master what
//! its containers came to.
//!
//! Main type: [`Player`], one node. What it does is a part of [`Play`].

use std::collections::BTreeMap;
use std::sync::Arc;

use podling::model::id::{ContainerId, NodeId, TaskId};
use podling::model::node::NodeStatus;
use podling::model::task::{Ending, Reason, Step, TaskStatus};

use super::good::Play;
use super::world::{LEASE, node};
use crate::checker::history::{Because, Millis, What};

const BEAT: Millis = 400;

/// How long the longest containers run.
const LONG: Millis = 100_000;

/// A node, as it is at this moment.
pub(super) struct Player {
    pub(super) id: NodeId,
    pub(super) incarnation: u64,
    pub(super) is_up: bool,
    pub(super) is_registered: bool,
    pub(super) is_paused: bool,
    pub(super) is_cut: bool,
    pub(super) has_engine: bool,
    /// When the fault that it has is over.
    pub(super) heals: Millis,
    pub(super) next_beat: Millis,
    pub(super) lease_until: Millis,
    /// When the master heard it last, in the master's running time.
    pub(super) heard: Millis,
    /// When each container ends by itself, and with which code.
    pub(super) fates: BTreeMap<ContainerId, (Millis, i32)>,
}

impl Play {
    /// What a worker and its Engine do in a tick.
    pub(super) fn live(&mut self, at: usize) {
        if self.players[at].has_engine {
            self.end_by_themselves(at);
        }
        let now = self.world.now;
        if !self.players[at].runs() {
            return;
        }
        if now >= self.players[at].lease_until && self.players[at].has_engine {
            self.end_leased(at);
        }
        let is_linked = self.master.answers() && !self.players[at].is_cut;
        if !is_linked {
            return;
        }
        if !self.players[at].is_registered {
            if !self.master.writes() {
                return;
            }
            let player = &mut self.players[at];
            (player.is_registered, player.heard, player.next_beat) = (true, now, now);
            let (id, incarnation) = (player.id.clone(), player.incarnation);
            self.world.register(&id, incarnation, 3);
        }
        if now >= self.players[at].next_beat {
            self.beat(at);
        }
        if self.master.writes() && self.players[at].has_engine && !self.dice.one_in(3) {
            self.tell(at);
        }
    }

    fn beat(&mut self, at: usize) {
        let now = self.world.now;
        let node = self.players[at].id.clone();
        let is_online = self.is_online(&node);
        if !is_online && !self.master.writes() {
            return;
        }
        self.players[at].next_beat = now + BEAT;
        self.players[at].heard = now;
        self.world.push(What::BeatTaken { node: node.clone() });
        if !is_online {
            self.world.status(&node, NodeStatus::Online);
            self.note("a lost node came back");
        }
        if self.dice.one_in(8) {
            self.note("an answer to a beat was lost");
            return;
        }
        self.world.push(What::BeatAnswered { node, sent: now - 3 });
        self.players[at].lease_until = now - 3 + LEASE;
        if self.players[at].has_engine {
            self.obey(at);
        }
    }

    /// Does what the answer to a beat says: ends what is no longer wanted, and runs what is.
    fn obey(&mut self, at: usize) {
        let node = self.players[at].id.clone();
        for container in self.containers(&node) {
            let held = self.world.containers[&container].clone();
            let is_wanted = self.is_wanted(&held.key);
            let is_asked = self.world.tasks.get(&held.key.task).is_some_and(|task| task.is_to_end());
            if held.runs && (!is_wanted || is_asked) {
                let code = if self.dice.one_in(3) { 0 } else { 143 };
                self.world.end(&container, code, Because::Signal, Some(Reason::Stopped));
                self.note(match (is_wanted, self.world.tasks.get(&held.key.task)) {
                    (true, Some(task)) if task.stop.is_none() => "a move ended a container",
                    (true, _) => "a user's stop ended a container",
                    (false, _) => "a stray was ended",
                });
            }
        }
        let placed: Vec<TaskId> =
            self.world.tasks.live_on(&node).map(|entry| entry.task.id.clone()).collect();
        for task in placed {
            self.launch(at, &node, &task);
        }
    }

    fn launch(&mut self, at: usize, node: &NodeId, task: &TaskId) {
        let held = Arc::clone(self.world.tasks.get(task).unwrap());
        let is_made = self
            .world
            .containers
            .values()
            .any(|made| made.key.task == *task && made.key.attempt == held.attempt);
        if held.status() != TaskStatus::Scheduled || is_made {
            return;
        }
        let wall = self.world.wall();
        if held.is_to_end() {
            if self.writes() {
                let reason = Some(Reason::Stopped);
                let (container, started_at, exit_code, error) = (None, None, None, None);
                let ending = Ending { at: wall, reason, exit_code, error, container, started_at };
                self.world.advance(task, Step::End(ending));
                self.note("a task was stopped before it ran");
            }
        } else if self.dice.one_in(9) {
            if self.writes() {
                self.world.advance(task, Step::Refuse { at: wall, why: "port".to_owned() });
                self.note("an attempt was refused");
            }
        } else {
            if self.world.containers.values().any(|older| older.key.task == *task && older.runs) {
                self.note("attempts overlapped, for nobody could end the first");
            }
            let container = self.world.run(task, node, self.players[at].incarnation);
            let lasts = if self.dice.one_in(6) { LONG } else { self.dice.below(6_000) };
            let code = [0, 0, 1, 3, 137, 127][self.dice.below(6) as usize];
            self.players[at].fates.insert(container, (self.world.now + lasts, code));
            self.note(if held.spec.on_node_lost.is_leased() { "leased" } else { "not leased" });
        }
    }

    /// Tells the master what its containers came to, and removes those that ended.
    fn tell(&mut self, at: usize) {
        let node = self.players[at].id.clone();
        for container in self.containers(&node) {
            let held = self.world.containers[&container].clone();
            let status = self.world.tasks.get(&held.key.task).map(|task| task.status());
            let is_wanted = self.is_wanted(&held.key);
            if held.runs {
                if is_wanted && status == Some(TaskStatus::Scheduled) {
                    self.world.tell_start(&container);
                }
                continue;
            }
            if is_wanted {
                self.world.tell_end(&container);
                self.note("an end was told");
                if held.end.is_some_and(|(_, reason)| reason == Some(Reason::LeaseExpired)) {
                    self.note("a lease ended a container, and the master heard of it");
                }
            }
            self.world.remove(&container);
        }
    }

    fn containers(&self, node: &NodeId) -> Vec<ContainerId> {
        let of_node = self.world.containers.iter().filter(|(_, held)| held.node == *node);
        of_node.map(|(container, _)| container.clone()).collect()
    }

    fn end_by_themselves(&mut self, at: usize) {
        let now = self.world.now;
        for container in self.containers(&self.players[at].id.clone()) {
            let Some((ends, code)) = self.players[at].fates.get(&container).copied() else { continue };
            if !self.world.containers[&container].runs || ends > now {
                continue;
            }
            let reason = match code {
                0 => None,
                137 => Some(Reason::OomKilled),
                _ => Some(Reason::ExitCode),
            };
            self.world.end(&container, code, Because::Itself, reason);
            self.note("a container ended by itself");
        }
    }

    fn end_leased(&mut self, at: usize) {
        for container in self.containers(&self.players[at].id.clone()) {
            let held = &self.world.containers[&container];
            if held.runs && held.leased {
                self.world.end(&container, 143, Because::Signal, Some(Reason::LeaseExpired));
                self.note("a lease ended a container");
            }
        }
    }

    pub(super) fn end_with_engine(&mut self, at: usize) {
        for container in self.containers(&self.players[at].id.clone()) {
            if self.world.containers[&container].runs {
                self.world.end(&container, 137, Because::Engine, Some(Reason::ExitCode));
                self.note("an Engine took a container with it");
            }
        }
    }
}

impl Player {
    pub(super) fn new(name: &str) -> Self {
        Self {
            id: node(name),
            incarnation: 1,
            is_up: true,
            is_registered: false,
            is_paused: false,
            is_cut: false,
            has_engine: true,
            heals: 0,
            next_beat: 0,
            lease_until: 0,
            heard: 0,
            fates: BTreeMap::new(),
        }
    }

    pub(super) const fn runs(&self) -> bool {
        self.is_up && !self.is_paused
    }

    pub(super) const fn is_well(&self) -> bool {
        self.runs() && !self.is_cut && self.has_engine
    }
}
