//! Why a task is where it is: for each node whether it fits, and if not, what it lacks and who has it.
//!
//! [`why`] answers for one task, [`Waits`] in one line each, for lists. Both look at the state as it is and promise
//! nothing: the scheduler may see another one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::control::demand::Demand;
use crate::control::fit::{self, Given, Obstacle, Unfit};
use crate::control::nodes::{NodeEntry, Nodes};
use crate::control::tasks::{TaskEntry, Tasks};
use crate::model::id::{NodeId, TaskId};
use crate::model::node::Availability;
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::task::{Ended, Outcome, Task, TaskState};
use crate::model::time::{Now, WallTime};

/// How many nodes are told of at most.
const MOST_NODES: usize = 100;

/// How many ways out are told of at most.
const MOST_WAYS: usize = 5;

/// Why a task is where it is.
#[derive(Clone, Debug)]
pub struct Why {
    /// The task.
    pub task: Arc<Task>,
    /// Since when it is in its state.
    pub since: WallTime,
    /// In one line.
    pub summary: String,
    /// How often a place was looked for, where it waits for one.
    pub looks: u64,
    /// When that was done last.
    pub last_look: Option<WallTime>,
    /// What each node says to it, best first, a hundred at most. None where it has ended.
    pub nodes: Vec<NodeFit>,
    /// How many nodes there are.
    pub nodes_total: usize,
    /// Single things that would let it run, where it waits.
    pub would_run_if: Vec<String>,
}

/// Whether a node fits, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFit {
    /// Which one.
    pub node: NodeId,
    /// What stands in the way; nothing where it fits.
    pub reasons: Vec<Because>,
}

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// Its code: that of an [`Obstacle`], or `backoff`.
    pub code: &'static str,
    /// What the task needs, where that is an amount or a name.
    pub needs: Option<Amount>,
    /// What there is of it.
    pub free: Option<Amount>,
    /// The name of the task that has it, or most of it.
    pub held_by: Option<String>,
    /// In words.
    pub text: String,
}

/// What is needed or free: thousandths of a core, bytes, a port, a number of places; or a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amount {
    /// A number.
    Number(u64),
    /// `disk=ssd`.
    Text(String),
}

/// Why a task is where it is.
pub fn why(nodes: &Nodes, tasks: &Tasks, entry: &TaskEntry, now: Now) -> Why {
    let task = &entry.task;
    let (looks, last_look) = tasks.looks(entry);
    let mut answer = Why {
        task: Arc::clone(task),
        since: since(task),
        summary: summary(nodes, entry, now),
        looks: 0,
        last_look: None,
        nodes: Vec::new(),
        nodes_total: nodes.iter().count(),
        would_run_if: Vec::new(),
    };
    match task.state {
        TaskState::Ended(_) => {}
        TaskState::Pending { .. } => {
            (answer.looks, answer.last_look) = (looks, last_look.filter(|_| looks > 0));
            answer.nodes = fits(nodes, tasks, entry, now);
            answer.would_run_if = ways_out(nodes, tasks, task);
        }
        TaskState::Scheduled { .. } | TaskState::Running { .. } => {
            answer.nodes = fits(nodes, tasks, entry, now);
        }
    }
    answer
}

/// What waiting tasks wait for, each in one line. Remembers what it found for a demand: made for one reading of the
/// state.
#[derive(Debug, Default)]
pub struct Waits {
    by_demand: BTreeMap<Demand, String>,
}

impl Waits {
    /// What a task waits for: a place, or to be moved off its node. None: it doesn't wait.
    pub fn of(&mut self, nodes: &Nodes, entry: &TaskEntry, now: Now) -> Option<String> {
        let TaskState::Pending { detail, .. } = &entry.task.state else { return self.leaves(nodes, entry) };
        if let Some(detail) = detail.as_ref().filter(|_| !left_of_backoff(entry, now).is_zero()) {
            return Some(detail.clone());
        }
        let demand = Demand::of(&entry.task.spec);
        let found = self.by_demand.entry(demand).or_insert_with_key(|demand| no_place(nodes, demand));
        // A back-off that is over says nothing any more; what happened to the attempt before does.
        let before = detail.as_ref().filter(|_| entry.task.backoff().is_zero());
        Some(before.map_or_else(|| found.clone(), |before| format!("{found} ({before})")))
    }

    /// What a task waits for whose node is drained. None: it isn't.
    fn leaves(&mut self, nodes: &Nodes, entry: &TaskEntry) -> Option<String> {
        let task = &entry.task;
        if let Some(to) = &task.reserved {
            let ends = if task.moving.is_some() { ": it is being ended here" } else { "" };
            return Some(format!("moves to {to}{ends}"));
        }
        let owner = nodes.get(task.holds_place_on()?)?.node();
        if owner.availability != Availability::Draining || task.is_to_end() {
            return None;
        }
        if !task.spec.on_node_lost.is_leased() {
            return Some("its node is drained, and waits for its end".to_owned());
        }
        if fits_somewhere(nodes, &Demand::of(&task.spec)) {
            return Some("its node is drained, and it moves soon".to_owned());
        }
        let demand = Demand::of(&task.spec);
        let found = self.by_demand.entry(demand).or_insert_with_key(|demand| no_place(nodes, demand));
        Some(format!("its node is drained: {found}"))
    }
}

fn fits_somewhere(nodes: &Nodes, demand: &Demand) -> bool {
    let given = Given::default();
    nodes.iter().any(|node| fit::unfit(nodes, node, demand, &given).is_empty())
}

fn no_place(nodes: &Nodes, demand: &Demand) -> String {
    if fits_somewhere(nodes, demand) {
        "a node fits, and it is placed at the next look".to_owned()
    } else {
        format!("no node fits: {}", fit::explain(nodes, demand))
    }
}

fn left_of_backoff(entry: &TaskEntry, now: Now) -> Duration {
    entry.task.backoff().saturating_sub(entry.waited(now.mono))
}

fn since(task: &Task) -> WallTime {
    match &task.state {
        TaskState::Pending { since, .. } => *since,
        TaskState::Scheduled { on, .. } => on.at,
        TaskState::Running { started_at, .. } => *started_at,
        TaskState::Ended(ended) => ended.finished_at,
    }
}

fn summary(nodes: &Nodes, entry: &TaskEntry, now: Now) -> String {
    let task = &entry.task;
    match &task.state {
        TaskState::Pending { detail, .. } => match detail {
            Some(detail) if !left_of_backoff(entry, now).is_zero() => detail.clone(),
            Some(detail) if task.backoff().is_zero() => format!("{}; {detail}", fitting(nodes, task)),
            Some(_) | None => fitting(nodes, task).to_owned(),
        },
        TaskState::Scheduled { on, detail } => match detail {
            Some(detail) => format!("{} owns it: {detail}", on.node),
            None => format!("{} owns it, and hasn't told of a container yet", on.node),
        },
        TaskState::Running { on, .. } => match Waits::default().of(nodes, entry, now) {
            Some(waits) => format!("it runs on {}; {waits}", on.node),
            None => format!("it runs on {}", on.node),
        },
        TaskState::Ended(ended) => told(task, ended),
    }
}

/// Whether any node fits, in words.
fn fitting(nodes: &Nodes, task: &Task) -> &'static str {
    if fits_somewhere(nodes, &Demand::of(&task.spec)) {
        "a node fits, and it is placed at the next look"
    } else {
        "no node fits"
    }
}

/// The end of a task in words, and why nothing followed it.
fn told(task: &Task, ended: &Ended) -> String {
    let error = ended.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    // Most errors name the code themselves.
    let code = ended.exit_code.map(|code| format!("exit code {code}"));
    let code = code.filter(|code| !error.ends_with(code.as_str()));
    let code = code.map_or_else(String::new, |code| format!(", {code}"));
    let tried = match task.tries {
        0 => String::new(),
        1 => ", after one further try".to_owned(),
        tries => format!(", after {tries} further tries"),
    };
    match ended.outcome {
        Outcome::Completed => format!("it completed{code}{tried}"),
        Outcome::Stopped => format!("it was stopped{code}{tried}{error}"),
        Outcome::Failed(reason) => format!("it failed ({}){code}{tried}{error}", reason.as_str()),
    }
}

/// What each node says, best first.
fn fits(nodes: &Nodes, tasks: &Tasks, entry: &TaskEntry, now: Now) -> Vec<NodeFit> {
    let demand = Demand::of(&entry.task.spec);
    let wait = left_of_backoff(entry, now);
    let fit = |node: &NodeEntry| {
        let unfit = fit::unfit(nodes, node, &demand, &Given::default());
        let mut reasons: Vec<Because> = unfit.iter().map(|unfit| because(tasks, node, unfit, now)).collect();
        if reasons.is_empty() && !wait.is_zero() {
            reasons.push(backing_off(wait));
        }
        NodeFit { node: node.node().registration.node_id.clone(), reasons }
    };
    let mut found: Vec<NodeFit> = nodes.iter().map(fit).collect();
    let assigned = |id: &NodeId| nodes.get(id).map_or(0, NodeEntry::assigned);
    found.sort_by_cached_key(|fit| (fit.reasons.len(), assigned(&fit.node), fit.node.clone()));
    found.truncate(MOST_NODES);
    found
}

fn backing_off(wait: Duration) -> Because {
    let text = format!("the next try begins in {:.0} s", wait.as_secs_f64().max(1.0));
    Because { code: "backoff", needs: None, free: None, held_by: None, text }
}

fn because(tasks: &Tasks, node: &NodeEntry, unfit: &Unfit, now: Now) -> Because {
    let plain = |text: String| Because {
        code: unfit.obstacle().code(),
        needs: None,
        free: None,
        held_by: None,
        text,
    };
    match unfit {
        Unfit::Closed(obstacle) => closed(plain, node, *obstacle, now),
        Unfit::Constraint { key, needs, has } => Because {
            needs: Some(Amount::Text(format!("{key}={needs}"))),
            free: has.as_ref().map(|has| Amount::Text(format!("{key}={has}"))),
            ..plain(match has {
                Some(has) => format!("constraint: needs {key}={needs}, has {key}={has}"),
                None => format!("constraint: needs {key}={needs}, has no label {key}"),
            })
        },
        Unfit::Cpu { needs, free } => {
            let holder = biggest(tasks, node, |task| task.spec.cpu.map_or(0, |cpu| cpu.0));
            Because {
                needs: Some(Amount::Number(needs.0)),
                free: Some(Amount::Number(free.0)),
                ..plain(held(format!("cpu: needs {needs}, {free} free"), &holder, |held| {
                    CpuMillis(held).to_string()
                }))
            }
            .holding(holder)
        }
        Unfit::Memory { needs, free } => {
            let holder = biggest(tasks, node, |task| task.spec.memory.map_or(0, |memory| memory.0));
            Because {
                needs: Some(Amount::Number(needs.0)),
                free: Some(Amount::Number(free.0)),
                ..plain(held(format!("memory: needs {needs}, {free} free"), &holder, |held| {
                    MemoryBytes(held).to_string()
                }))
            }
            .holding(holder)
        }
        Unfit::Port { port, held_by } => {
            let holder = held_by.as_ref().map(|id| name(tasks, id));
            let by = holder.as_ref().map_or_else(String::new, |name| format!(" by {name}"));
            Because {
                needs: Some(Amount::Number(u64::from(port.port))),
                held_by: holder,
                ..plain(format!("port {port} is taken{by}"))
            }
        }
    }
}

impl Because {
    fn holding(self, holder: Option<(String, u64)>) -> Self {
        Self { held_by: holder.map(|(name, _)| name), ..self }
    }
}

fn closed(plain: impl Fn(String) -> Because, node: &NodeEntry, obstacle: Obstacle, now: Now) -> Because {
    match obstacle {
        Obstacle::Offline => {
            plain(format!("offline for {:.0} s", now.wall.since(node.heard_at()).as_secs_f64()))
        }
        Obstacle::Settling => plain("it was offline, and is ending what it must no longer run".to_owned()),
        Obstacle::Engine => plain("its engine does not answer".to_owned()),
        Obstacle::Capacity => {
            let capacity = node.node().registration.capacity;
            Because {
                needs: Some(Amount::Number(1)),
                free: Some(Amount::Number(0)),
                ..plain(format!("capacity: {} of {capacity} places are taken", node.assigned()))
            }
        }
        Obstacle::Cordoned
        | Obstacle::Draining
        | Obstacle::Constraint
        | Obstacle::Cpu
        | Obstacle::Memory
        | Obstacle::Port => plain(obstacle.to_string()),
    }
}

/// The task that holds most of something on a node, by name, with how much. None: nobody holds any.
fn biggest(tasks: &Tasks, node: &NodeEntry, amount: impl Fn(&Task) -> u64) -> Option<(String, u64)> {
    let id = &node.node().registration.node_id;
    let on_it = tasks.live_on(id).chain(tasks.reserved_on(id));
    let held = on_it.map(|entry| (amount(&entry.task), &entry.task)).filter(|(held, _)| *held > 0);
    held.max_by_key(|(held, _)| *held).map(|(held, task)| (task.name.to_string(), held))
}

fn held(text: String, holder: &Option<(String, u64)>, shown: impl Fn(u64) -> String) -> String {
    match holder {
        Some((name, held)) => format!("{text} ({name} holds {})", shown(*held)),
        None => text,
    }
}

fn name(tasks: &Tasks, id: &TaskId) -> String {
    tasks.get(id).map_or_else(|| id.to_string(), |task| task.name.to_string())
}

/// Single things that would let a waiting task run, from the nodes that lack only one.
fn ways_out(nodes: &Nodes, tasks: &Tasks, task: &Task) -> Vec<String> {
    let demand = Demand::of(&task.spec);
    let all: Vec<(&NodeEntry, Vec<Unfit>)> =
        nodes.iter().map(|node| (node, fit::unfit(nodes, node, &demand, &Given::default()))).collect();
    if all.is_empty() {
        return vec!["a node were registered".to_owned()];
    }
    if all.iter().any(|(_, unfit)| unfit.is_empty()) {
        return Vec::new();
    }
    let single = all.iter().filter_map(|(node, unfit)| match &unfit[..] {
        [one] => Some((one.obstacle(), way_out(tasks, &node.node().registration.node_id, one))),
        _ => None,
    });
    // What users can change best comes first.
    let mut ways: Vec<(std::cmp::Reverse<Obstacle>, String)> =
        single.map(|(obstacle, way)| (std::cmp::Reverse(obstacle), way)).collect();
    ways.sort();
    // Nodes that share an Engine lack the same port.
    ways.dedup();
    ways.into_iter().take(MOST_WAYS).map(|(_, way)| way).collect()
}

fn way_out(tasks: &Tasks, node: &NodeId, unfit: &Unfit) -> String {
    match unfit {
        Unfit::Closed(Obstacle::Offline) => format!("{node} were online"),
        Unfit::Closed(Obstacle::Settling) => format!("{node} had ended what it must no longer run"),
        Unfit::Closed(Obstacle::Engine) => format!("the engine of {node} answered"),
        Unfit::Closed(Obstacle::Capacity) => format!("{node} had a free place"),
        Unfit::Closed(_) => format!("{node} were uncordoned"),
        Unfit::Constraint { key, needs, .. } => format!("{node} had the label {key}={needs}"),
        Unfit::Cpu { needs, free } => {
            format!("{node} had {} more cpu free", CpuMillis(needs.0.saturating_sub(free.0)))
        }
        Unfit::Memory { needs, free } => {
            format!("{node} had {} more free", MemoryBytes(needs.0.saturating_sub(free.0)))
        }
        Unfit::Port { port, held_by } => match held_by {
            Some(id) => format!("{} had ended, which has port {port}", name(tasks, id)),
            None => format!("port {port} of {node} were free"),
        },
    }
}
