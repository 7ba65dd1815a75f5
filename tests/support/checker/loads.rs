//! What nodes hold (I14): no more tasks, CPU and memory than they have, no port of a host twice, and only tasks whose
//! constraints they meet.
//!
//! Main type: [`Loads`]. A place that is kept for a task's next attempt counts like one that is taken, from when it is
//! kept until it is taken, given back, or of no use any more.

use std::collections::{HashMap, HashSet};

use podling::control::change::Change;
use podling::model::id::{NodeId, TaskId};
use podling::model::node::Registration;
use podling::model::spec::{PortMapping, TaskSpec};
use podling::model::task::Step;

use super::Findings;
use super::facts::Facts;
use super::fold::{Commit, Line, Moment};

/// What is held on a node, by count, CPU and memory.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    places: u64,
    cpu: u64,
    memory: u64,
}

/// Where a task holds something.
#[derive(Clone, Copy, Debug, Default)]
struct Held<'h> {
    placed: Option<&'h NodeId>,
    kept: Option<&'h NodeId>,
}

/// What each node holds, as the changes come one after another.
#[derive(Default)]
struct Loads<'h> {
    nodes: HashMap<&'h NodeId, &'h Registration>,
    loads: HashMap<&'h NodeId, Load>,
    held: HashMap<&'h TaskId, Held<'h>>,
    specs: HashMap<&'h TaskId, &'h TaskSpec>,
    /// Who holds a port, and where.
    ports: HashMap<(u16, &'static str), Vec<(&'h TaskId, &'h NodeId)>>,
}

/// I14: nothing is placed, and no place kept, where there is no room for it.
pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    let mut loads = Loads::default();
    let (mut over, mut ended) = (HashSet::new(), HashSet::new());
    for (task, line) in &facts.fold.tasks {
        loads.specs.insert(task, line.spec);
        over.extend(line.attempts.iter().filter_map(|attempt| attempt.over).map(|moment| moment.index));
        ended.extend(Line::ended(line).map(|moment| moment.index));
    }
    for Commit { moment, change, .. } in &facts.fold.commits {
        loads.observe(change, *moment, found);
        if let Change::Advanced { task, .. } = change {
            if over.contains(&moment.index) {
                loads.leave(task);
            }
            if ended.contains(&moment.index) {
                loads.give_back(task);
            }
        }
    }
}

impl<'h> Loads<'h> {
    fn observe(&mut self, change: &'h Change, moment: Moment, found: &mut Findings) {
        match change {
            Change::Registered { registration, .. } => {
                self.nodes.insert(&registration.node_id, registration);
            }
            Change::Advanced { task, step } => self.advance(task, step, moment, found),
            Change::Created(_)
            | Change::Forgotten { .. }
            | Change::Availability { .. }
            | Change::Status { .. }
            | Change::NodeForgotten { .. }
            | Change::TokenMade { .. }
            | Change::TokenEnded { .. } => {}
        }
    }

    fn advance(&mut self, task: &'h TaskId, step: &'h Step, moment: Moment, found: &mut Findings) {
        match step {
            Step::Place(on) => {
                self.leave(task);
                // What was kept there is taken now; elsewhere it is of no use any more.
                self.give_back(task);
                self.held.entry(task).or_default().placed = Some(&on.node);
                self.take(task, &on.node, "was placed", moment, found);
            }
            Step::Reserve { node } => {
                self.give_back(task);
                self.held.entry(task).or_default().kept = Some(node);
                self.take(task, node, "keeps a place", moment, found);
            }
            Step::Unreserve | Step::Stop(_) => self.give_back(task),
            Step::Progress { .. }
            | Step::Start { .. }
            | Step::End(_)
            | Step::Refuse { .. }
            | Step::Expire { .. }
            | Step::Lose { .. }
            | Step::Move { .. } => {}
        }
    }

    /// Its attempt is over.
    fn leave(&mut self, task: &'h TaskId) {
        if let Some(node) = self.held.get_mut(task).and_then(|held| held.placed.take()) {
            self.release(task, node);
        }
    }

    /// No place is kept for it any more.
    fn give_back(&mut self, task: &'h TaskId) {
        if let Some(node) = self.held.get_mut(task).and_then(|held| held.kept.take()) {
            self.release(task, node);
        }
    }

    fn take(&mut self, task: &'h TaskId, node: &'h NodeId, how: &str, moment: Moment, found: &mut Findings) {
        let Some(spec) = self.specs.get(task).copied() else { return };
        let load = load(spec);
        let held = self.loads.entry(node).or_default();
        held.places += load.places;
        held.cpu = held.cpu.saturating_add(load.cpu);
        held.memory = held.memory.saturating_add(load.memory);
        let held = *held;
        let mut blame = |why: String| found.add("I14", moment.at, &[task, node], why);
        if let Some(of) = self.nodes.get(node) {
            amounts(of, held, load)
                .into_iter()
                .for_each(|what| blame(format!("with task {task} {node} holds {what}")));
            lacking(of, spec)
                .into_iter()
                .for_each(|label| blame(format!("task {task} {how} on {node}, which lacks {label}")));
        } else {
            blame(format!("task {task} {how} on {node}, which never registered"));
        }
        for port in spec.ports.as_slice() {
            let holders = self.ports.get(&key(port)).into_iter().flatten();
            let mut others = holders.filter(|(_, other)| self.share_an_engine(node, other));
            if let Some((other, there)) = others.next() {
                let (host, protocol) = key(port);
                blame(format!(
                    "task {task} {how} on {node} with {host}/{protocol}, which {other} has on {there}"
                ));
            }
        }
        for port in spec.ports.as_slice() {
            self.ports.entry(key(port)).or_default().push((task, node));
        }
    }

    fn release(&mut self, task: &'h TaskId, node: &'h NodeId) {
        let Some(spec) = self.specs.get(task) else { return };
        let load = load(spec);
        let held = self.loads.entry(node).or_default();
        held.places = held.places.saturating_sub(load.places);
        held.cpu = held.cpu.saturating_sub(load.cpu);
        held.memory = held.memory.saturating_sub(load.memory);
        for port in spec.ports.as_slice() {
            self.ports.entry(key(port)).or_default().retain(|holder| *holder != (task, node));
        }
    }

    /// Whether two nodes have the same host's ports. One whose Engine told no id has its own.
    fn share_an_engine(&self, one: &NodeId, other: &NodeId) -> bool {
        let engine = |node: &NodeId| self.nodes.get(node).map_or("", |of| of.engine_id.as_str());
        one == other || !engine(one).is_empty() && engine(one) == engine(other)
    }
}

fn load(spec: &TaskSpec) -> Load {
    Load { places: 1, cpu: spec.cpu.map_or(0, |cpu| cpu.0), memory: spec.memory.map_or(0, |memory| memory.0) }
}

const fn key(port: &PortMapping) -> (u16, &'static str) {
    (port.host, port.protocol.as_str())
}

/// What a node holds more of than it has, where the last load added to it.
fn amounts(of: &Registration, held: Load, added: Load) -> Vec<String> {
    let amounts = [
        ("tasks", held.places, u64::from(of.capacity), added.places),
        ("CPU millis", held.cpu, of.cpu.0, added.cpu),
        ("bytes of memory", held.memory, of.memory.0, added.memory),
    ];
    let over = amounts.into_iter().filter(|(_, held, most, adds)| held > most && *adds > 0);
    over.map(|(what, held, most, _)| format!("{held} {what}, and has {most}")).collect()
}

/// The labels that a task asks for and a node doesn't have.
fn lacking(of: &Registration, spec: &TaskSpec) -> Vec<String> {
    let asked = spec.constraints.as_map().iter();
    let lacks = asked.filter(|(key, value)| of.labels.get(*key) != Some(*value));
    lacks.map(|(key, value)| format!("{key}={value}")).collect()
}
