//! Good histories: a cluster that does as it should, under seeded faults and users.
//!
//! Main type: [`Play`], which goes by ticks. In each, faults begin and end, workers (in `workers.rs`) act, the
//! master judges and places, an operator (in `operator.rs`) drains, and users (in `users.rs`) ask. The same seed gives the same history.
//! [`Play::reached`] counts what happened, so that a test can tell that nothing was left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use podling::model::id::{Epoch, NodeId, TaskId};
use podling::model::node::NodeStatus;
use podling::model::task::{Step, TaskState, TaskStatus};

use super::operator::Drain;
use super::users::Users;
use super::workers::Player;
use super::world::{TIMEOUT, World};
use crate::checker::history::{Entry, Fault, History, Millis, What};

const TICK: Millis = 50;
/// For so long faults begin, and users ask.
pub(crate) const BUSY: Millis = 24_000;
/// Then it comes to rest within so much more.
const REST_WITHIN: Millis = 40_000;

/// Numbers from a seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most
    }

    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// The master, as it is at this moment.
pub(super) struct Master {
    epoch: u64,
    is_up: bool,
    is_paused: bool,
    is_full: bool,
    broke: Millis,
    heals: Millis,
}

impl Master {
    pub(super) const fn answers(&self) -> bool {
        self.is_up && !self.is_paused
    }

    pub(super) const fn writes(&self) -> bool {
        self.answers() && !self.is_full
    }
}

/// A cluster that plays.
pub(crate) struct Play {
    pub(crate) world: World,
    pub(crate) dice: Dice,
    pub(crate) reached: BTreeMap<&'static str, u32>,
    busy_until: Millis,
    pub(super) master: Master,
    pub(super) players: Vec<Player>,
    pub(super) drain: Option<Drain>,
}

/// A good history, and what happened in it.
pub(crate) fn good(seed: u64, busy_until: Millis) -> (History, BTreeMap<&'static str, u32>) {
    let mut play = Play::new(seed, busy_until);
    let mut users = Users::default();
    while play.is_busy() || !play.is_at_rest() {
        assert!(play.world.now < busy_until + REST_WITHIN, "seed {seed} comes to no rest");
        play.tick();
        if play.is_busy() {
            users.tick(&mut play);
        }
    }
    users.ask_again_for_all(&mut play);
    while !play.is_at_rest() {
        play.tick();
    }
    play.world.rest();
    let history = if seed.is_multiple_of(4) { untimed(play.world.history) } else { play.world.history };
    (history, play.reached)
}

/// The same, where the changes were read from the store at the end.
fn untimed(mut history: History) -> History {
    let (mut commits, mut others): (Vec<Entry>, Vec<Entry>) =
        history.entries.into_iter().partition(|entry| matches!(entry.what, What::Committed { .. }));
    let rest = others.pop().unwrap();
    commits.iter_mut().for_each(|entry| entry.at = rest.at);
    others.append(&mut commits);
    others.push(rest);
    history.entries = others;
    history.terms.commits_are_timed = false;
    history
}

impl Play {
    fn new(seed: u64, busy_until: Millis) -> Self {
        let mut play = Self {
            world: World::new(),
            dice: Dice(seed),
            reached: BTreeMap::new(),
            busy_until,
            master: Master { epoch: 1, is_up: true, is_paused: false, is_full: false, broke: 0, heals: 0 },
            players: ["n1", "n2", "n3"].into_iter().map(Player::new).collect(),
            drain: None,
        };
        play.world.master_begins(1);
        for player in &play.players {
            play.world.worker_begins(&player.id, 1);
        }
        play
    }

    pub(crate) fn note(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.world.now < self.busy_until
    }

    pub(crate) const fn answers(&self) -> bool {
        self.master.answers()
    }

    pub(crate) const fn writes(&self) -> bool {
        self.master.writes()
    }

    fn is_at_rest(&self) -> bool {
        let world = &self.world;
        let is_well = |player: &Player| player.is_registered && player.is_well();
        let runs = world.tasks.iter().all(|entry| {
            let is_to_stop = entry.task.stop.is_some() && !entry.task.status().is_terminal();
            entry.task.status() != TaskStatus::Scheduled && !is_to_stop && entry.task.moving.is_none()
        });
        let has_room = world.nodes.placeable().next().is_some();
        let waits = world.tasks.count(TaskStatus::Pending) > 0 && has_room;
        let is_tidy = world.containers.values().all(|held| held.runs && self.is_wanted(&held.key));
        self.writes() && self.drain.is_none() && self.players.iter().all(is_well) && runs && !waits && is_tidy
    }

    fn tick(&mut self) {
        self.world.now += TICK;
        self.suffer();
        for at in 0..self.players.len() {
            self.live(at);
        }
        if self.master.writes() {
            self.judge();
            self.operate();
            self.place();
        }
        if self.world.now.is_multiple_of(1_000) {
            self.probe();
        }
    }

    fn probe(&mut self) {
        let took = 1 + self.dice.below(400);
        let took = self.answers().then_some(took);
        self.world.push(What::Probed { subject: "master".to_owned(), took });
        for at in 0..self.players.len() {
            let player = &self.players[at];
            let (subject, took) = (player.id.to_string(), player.runs().then_some(took.unwrap_or(7)));
            self.world.push(What::Probed { subject, took });
        }
    }

    /// Faults begin and end.
    fn suffer(&mut self) {
        let is_busy = self.is_busy();
        for at in 0..self.players.len() {
            if !self.players[at].is_well() {
                if self.world.now >= self.players[at].heals {
                    self.heal_node(at);
                }
            } else if is_busy && self.dice.one_in(110) {
                self.break_node(at);
            }
        }
        if !self.master.writes() {
            if self.world.now >= self.master.heals {
                self.heal_master();
            }
        } else if is_busy && self.dice.one_in(160) {
            self.break_master();
        }
    }

    fn break_node(&mut self, at: usize) {
        let lasts = 300 + self.dice.below(6_000);
        let kind = self.dice.below(4);
        let player = &mut self.players[at];
        player.heals = self.world.now + lasts;
        let subject = player.id.as_str();
        match kind {
            0 => {
                self.world.broke(Fault::Killed, subject);
                self.world.push(What::WorkerEnded { node: player.id.clone() });
                (player.is_up, player.is_registered) = (false, false);
                self.note("a worker was killed");
            }
            1 => {
                self.world.broke(Fault::Paused, subject);
                player.is_paused = true;
                self.note("a worker was paused");
            }
            2 => {
                self.world.broke(Fault::Cut, subject);
                player.is_cut = true;
                self.note("a node was cut off");
            }
            _ => {
                self.world.broke(Fault::EngineKilled, subject);
                player.has_engine = false;
                self.end_with_engine(at);
                self.note("an Engine was killed");
            }
        }
    }

    fn heal_node(&mut self, at: usize) {
        let player = &mut self.players[at];
        let subject = player.id.as_str();
        if !player.is_up {
            player.incarnation += 1;
            self.world.healed(Fault::Killed, subject);
            self.world.worker_begins(&player.id, player.incarnation);
        }
        for (fault, is_on) in [
            (Fault::Paused, player.is_paused),
            (Fault::Cut, player.is_cut),
            (Fault::EngineKilled, !player.has_engine),
        ] {
            if is_on {
                self.world.healed(fault, subject);
            }
        }
        (player.is_up, player.is_paused, player.is_cut, player.has_engine) = (true, false, false, true);
    }

    fn break_master(&mut self) {
        self.master.broke = self.world.now;
        self.master.heals = self.world.now + 200 + self.dice.below(5_000);
        match self.dice.below(3) {
            0 => {
                self.world.broke(Fault::Killed, "master");
                self.world.push(What::MasterEnded { epoch: Epoch(self.master.epoch) });
                self.master.is_up = false;
                self.note("the master was killed");
            }
            1 => {
                self.world.broke(Fault::Paused, "master");
                self.master.is_paused = true;
                self.note("the master was paused");
            }
            _ => {
                self.world.broke(Fault::Disk, "master");
                self.master.is_full = true;
                self.note("the store failed");
            }
        }
    }

    fn heal_master(&mut self) {
        let now = self.world.now;
        if !self.master.is_up {
            self.master.epoch += 1;
            self.world.master_begins(self.master.epoch);
            self.players.iter_mut().for_each(|player| player.heard = now);
        }
        if self.master.is_paused {
            // What the master itself slept through is held against nobody.
            let slept = now - self.master.broke;
            self.players.iter_mut().for_each(|player| player.heard += slept);
            self.world.healed(Fault::Paused, "master");
        }
        if self.master.is_full {
            self.world.healed(Fault::Disk, "master");
        }
        (self.master.is_up, self.master.is_paused, self.master.is_full) = (true, false, false);
    }

    fn judge(&mut self) {
        for at in 0..self.players.len() {
            let node = self.players[at].id.clone();
            let is_online = self.is_online(&node);
            let silence = self.world.now.saturating_sub(self.players[at].heard);
            if !is_online || silence <= TIMEOUT {
                continue;
            }
            self.world.status(&node, NodeStatus::Offline);
            let live: Vec<TaskId> =
                self.world.tasks.live_on(&node).map(|entry| entry.task.id.clone()).collect();
            for task in live {
                let at = self.world.wall();
                self.world.advance(&task, Step::Lose { at, why: "silent".to_owned() });
                let is_pending = self.world.tasks.get(&task).unwrap().status() == TaskStatus::Pending;
                self.note(if is_pending { "a task was rescheduled" } else { "a task was lost" });
            }
        }
    }

    fn place(&mut self) {
        self.world.release();
        let pending: Vec<TaskId> = self.world.tasks.pending().cloned().collect();
        for task in pending {
            let held = Arc::clone(self.world.tasks.get(&task).unwrap());
            if !self.world.tasks.queue().contains(&held) || self.place_where_kept(&held) {
                continue;
            }
            let (avoided, open): (Vec<NodeId>, Vec<NodeId>) = self
                .world
                .nodes
                .iter()
                .filter(|entry| self.is_open(&entry.node().registration.node_id) && entry.free_places() > 0)
                .map(|entry| entry.node().registration.node_id.clone())
                .partition(|node| held.avoids(node));
            let since = if let TaskState::Pending { since, .. } = &held.state { *since } else { continue };
            let Some(node) = open.first().or(avoided.first()) else {
                if self.world.wall().since(since).as_secs() > 8 {
                    let at = self.world.wall();
                    self.world.advance(&task, Step::Expire { at, why: "no room".to_owned() });
                    self.note("a task waited too long");
                }
                continue;
            };
            if self.dice.one_in(3) {
                let waited = self.world.wall().since(since).as_millis() as u64;
                self.world.push(What::Unplaced { task: task.clone(), waited: waited.min(900) });
                self.note("a task that fits waited for a moment");
            }
            self.world.place(&task, node);
            if !held.backoff().is_zero() {
                self.note("a task was tried again");
            }
        }
    }

    pub(super) fn is_online(&self, node: &NodeId) -> bool {
        let entry = self.world.nodes.get(node);
        entry.is_some_and(|entry| entry.node().status == NodeStatus::Online)
    }

    /// Whether an attempt is one that its task is at.
    pub(super) fn is_wanted(&self, key: &podling::model::id::AttemptKey) -> bool {
        let task = self.world.tasks.get(&key.task);
        task.is_some_and(|task| task.attempt == key.attempt && task.status().takes_a_place())
    }
}
