//! What nodes do: register, beat, report; and what operators do to nodes.

use crate::api::wire::agent::{
    AttemptStatus, Desired, DesiredAttempt, HeartbeatReply, HeartbeatRequest, Report, ReportStep,
    ReportVerdict, ReportsRequest, TaskOrder, Verdict,
};
use crate::api::wire::millis;
use crate::api::wire::node::NodeView;
use crate::canary::{Canary, sings};
use crate::control::change::{Change, Misfit};
use crate::control::nodes::{Beat, NodeEntry, Nodes};
use crate::control::tasks::Tasks;
use crate::model::audit::Asked;
use crate::model::id::{AttemptKey, ClusterId, Incarnation, NodeId, Revision, TaskId};
use crate::model::node::{Availability, NodeStatus, Registration};
use crate::model::task::{Ending, Refused, Step, Task, TaskState};
use crate::model::time::Now;

use super::quarantine::{is_in_set, strangers};
use super::{AsOf, State, StoreFull};

/// Why a node was not registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// It belongs to another cluster.
    ForeignCluster,
    /// Another worker beats under that name.
    NodeIdInUse,
    /// It can't be stored now.
    StoreFull,
}

/// A registration that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The start of its worker.
    pub incarnation: Incarnation,
    /// Whether it is the first of that name.
    pub is_new: bool,
}

/// Why a beat was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatError {
    /// No such node, or not with that incarnation: it must register.
    Unknown,
    /// A later start of its worker is known.
    Superseded,
}

/// Why a batch of reports was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// No such node, or not with that incarnation: it must register.
    Unknown,
    /// A later start of its worker is known.
    Superseded,
}

/// Why a node was not forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForgetNodeError {
    /// It is in use, in words.
    InUse(String),
    /// That can't be stored now.
    StoreFull,
}

impl From<StoreFull> for RegisterError {
    fn from(_: StoreFull) -> Self {
        Self::StoreFull
    }
}

impl From<StoreFull> for ForgetNodeError {
    fn from(_: StoreFull) -> Self {
        Self::StoreFull
    }
}

impl State {
    /// Takes up a node, or what it says of itself now.
    ///
    /// # Errors
    /// It belongs elsewhere, its name is taken by another worker that beats, or it can't be stored.
    pub fn register(
        &self,
        registration: Registration,
        sent: Incarnation,
        cluster: Option<&ClusterId>,
        now: Now,
    ) -> Result<AsOf<Registered>, RegisterError> {
        if cluster.is_some_and(|cluster| *cluster != self.settings.cluster) {
            return Err(RegisterError::ForeignCluster);
        }
        let (mut nodes, mut tasks) = self.locks.write_both();
        let known = nodes.get(&registration.node_id).map(NodeEntry::node);
        let is_new = known.is_none();
        let incarnation = match known {
            Some(node)
                if node.registration.instance != registration.instance
                    && node.status == NodeStatus::Online =>
            {
                return Err(RegisterError::NodeIdInUse);
            }
            Some(node) if node.registration.start == registration.start => node.incarnation,
            Some(node) => sent.max(node.incarnation.next()),
            None => sent.max(Incarnation(1)),
        };
        if let Err(full) = self.check_store() {
            // It is there, if not registered: once changes can be stored, nobody is to hold this time against it.
            nodes.hear(&registration.node_id, now);
            return Err(full.into());
        }
        let change = Change::Registered { registration, incarnation };
        let at = self.commit(&mut nodes, &mut tasks, change, now).unwrap_or_default();
        drop((nodes, tasks));
        self.wake_scheduler();
        Ok(AsOf { value: Registered { incarnation, is_new }, at })
    }

    /// Takes up a beat and gives the node's complete desired set.
    ///
    /// # Errors
    /// The node must register, or was superseded.
    pub fn beat(&self, beat: &HeartbeatRequest, now: Now) -> Result<AsOf<HeartbeatReply>, BeatError> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        let entry = nodes.get(&beat.node_id).ok_or(BeatError::Unknown)?;
        check_incarnation(entry, beat.incarnation, BeatError::Superseded, BeatError::Unknown)?;
        let was_offline = entry.node().status == NodeStatus::Offline;
        // While the store fails it stays offline, and is told to register again; the first beat after that counts.
        if was_offline && self.check_store().is_ok() {
            let change = Change::Status { node: beat.node_id.clone(), status: NodeStatus::Online };
            let _ = self.commit(&mut nodes, &mut tasks, change, now);
        }
        let held = beat.running_tasks.iter();
        let mut held = held.map(|held| AttemptKey { task: held.task_id.clone(), attempt: held.attempt });
        // In quarantine strangers stay, so nobody waits for their end.
        let has_strangers = !self.is_quarantined && held.any(|key| !is_in_set(&tasks, beat, &key));
        if self.is_quarantined {
            nodes.note_unknown(&beat.node_id, strangers(&tasks, beat));
        }
        let had_room =
            nodes.get(&beat.node_id).is_some_and(|entry| crate::control::fit::obstacle(entry).is_none());
        let applied = if beat.epoch == self.settings.epoch { beat.revision } else { Revision(0) };
        let taken = Beat { capacity: beat.capacity, ready: beat.ready, applied, has_strangers };
        nodes.beat(&beat.node_id, taken, now);
        let has_room =
            nodes.get(&beat.node_id).is_some_and(|entry| crate::control::fit::obstacle(entry).is_none());
        let reply = self.desired_set(&nodes, &tasks, beat, was_offline);
        drop((nodes, tasks));
        if has_room && !had_room {
            self.wake_scheduler();
        }
        Ok(AsOf { at: reply.revision, value: reply })
    }

    fn desired_set(
        &self,
        nodes: &Nodes,
        tasks: &Tasks,
        beat: &HeartbeatRequest,
        register: bool,
    ) -> HeartbeatReply {
        let listed: std::collections::HashSet<_> =
            beat.running_tasks.iter().map(|held| (&held.task_id, held.attempt)).collect();
        let desired = |task: &Task| DesiredAttempt {
            task_id: task.id.clone(),
            attempt: task.attempt,
            status: match task.state {
                TaskState::Running { .. } => AttemptStatus::Running,
                TaskState::Pending { .. } | TaskState::Scheduled { .. } | TaskState::Ended(_) => {
                    AttemptStatus::Scheduled
                }
            },
            desired: if task.is_to_end() { Desired::Stop } else { Desired::Run },
            grace_ms: task.is_to_end().then(|| millis(task.grace())),
            task: (!listed.contains(&(&task.id, task.attempt))).then(|| TaskOrder::from(task)),
        };
        HeartbeatReply {
            cluster_id: self.settings.cluster.clone(),
            epoch: self.settings.epoch,
            revision: self.position(tasks),
            complete: !self.is_quarantined,
            register,
            tasks: tasks.live_on(&beat.node_id).map(|entry| desired(&entry.task)).collect(),
            forget: nodes.logs_to_forget(&beat.node_id),
        }
    }

    /// Takes up a batch of reports, in order.
    ///
    /// # Errors
    /// The node must register, or was superseded; nothing of the batch was taken then.
    pub fn report(
        &self,
        node: &NodeId,
        batch: ReportsRequest,
        now: Now,
    ) -> Result<AsOf<Vec<ReportVerdict>>, ReportError> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        let entry = nodes.get(node).ok_or(ReportError::Unknown)?;
        check_incarnation(entry, batch.incarnation, ReportError::Superseded, ReportError::Unknown)?;
        let mut verdicts = Vec::with_capacity(batch.reports.len());
        for report in batch.reports {
            let seq = report.seq;
            let verdict = self.take_report(&mut nodes, &mut tasks, node, report, now);
            verdicts.push(ReportVerdict { seq, verdict });
        }
        let at = self.position(&*tasks);
        drop((nodes, tasks));
        self.wake_scheduler();
        Ok(AsOf { value: verdicts, at })
    }

    fn take_report(
        &self,
        nodes: &mut Nodes,
        tasks: &mut Tasks,
        node: &NodeId,
        report: Report,
        now: Now,
    ) -> Verdict {
        let Some(task) = tasks.get(&report.task_id) else { return Verdict::Unknown };
        let is_current = task.attempt == report.attempt;
        let is_owner = task.placement().is_some_and(|on| on.node == *node);
        if !(is_current && is_owner || sings(Canary::TakesAnybodysReport)) {
            return Verdict::Stale;
        }
        if says_the_same_end(task, &report) {
            return Verdict::Known;
        }
        if task.status().is_terminal() {
            return Verdict::Stale;
        }
        if self.check_store().is_err() {
            return Verdict::Retry;
        }
        let mut verdict = Verdict::Known;
        let id = report.task_id.clone();
        for step in steps(report, now) {
            verdict = match self.commit(nodes, tasks, Change::Advanced { task: id.clone(), step }, now) {
                Ok(_) => Verdict::Accepted,
                Err(Misfit::Step(_, Refused::AlreadySo)) => verdict,
                Err(Misfit::Step(_, Refused::Backward)) => Verdict::Stale,
                Err(Misfit::NoTask(_) | Misfit::NoNode(_) | Misfit::NoToken(_)) => Verdict::Unknown,
            };
        }
        verdict
    }

    /// Nodes after `after`, by id, `most` at most, and the id to go on after, where more follow.
    pub fn nodes(&self, after: Option<&NodeId>, most: usize) -> AsOf<(Vec<NodeView>, Option<NodeId>)> {
        let nodes = self.locks.read_nodes();
        let mut page: Vec<NodeView> = nodes.after(after).take(most + 1).map(view).collect();
        let more = page.len() > most;
        page.truncate(most);
        let next = page.last().filter(|_| more).map(|node| node.node_id.clone());
        AsOf { value: (page, next), at: self.position(&*nodes) }
    }

    /// One node.
    pub fn node(&self, id: &NodeId) -> Option<AsOf<NodeView>> {
        let nodes = self.locks.read_nodes();
        nodes.get(id).map(|entry| AsOf { value: view(entry), at: self.position(&*nodes) })
    }

    /// Opens or closes a node. None: no such node.
    ///
    /// # Errors
    /// That can't be stored now.
    pub fn set_availability(
        &self,
        id: &NodeId,
        availability: Availability,
        asked: impl Into<Asked>,
    ) -> Result<Option<AsOf<NodeView>>, StoreFull> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        if nodes.get(id).is_none() {
            return Ok(None);
        }
        self.check_store()?;
        let change = Change::Availability { node: id.clone(), availability };
        let at = self.commit_for(&asked.into(), &mut nodes, &mut tasks, change).unwrap_or_default();
        let shown = nodes.get(id).map(view);
        drop((nodes, tasks));
        self.wake_scheduler();
        Ok(shown.map(|value| AsOf { value, at }))
    }

    /// Forgets an offline node without live tasks. None: no such node.
    ///
    /// # Errors
    /// It is in use, or that can't be stored now.
    pub fn forget_node(
        &self,
        id: &NodeId,
        asked: impl Into<Asked>,
    ) -> Result<Option<AsOf<()>>, ForgetNodeError> {
        let asked = asked.into();
        let (mut nodes, mut tasks) = self.locks.write_both();
        let Some(entry) = nodes.get(id) else { return Ok(None) };
        if entry.node().status == NodeStatus::Online {
            return Err(ForgetNodeError::InUse(format!("{id} is online: stop its worker first")));
        }
        let live = tasks.live_on(id).count();
        if live > 0 {
            return Err(ForgetNodeError::InUse(format!("{id} still has {live} live tasks")));
        }
        let kept: Vec<TaskId> = tasks.reserved_on(id).map(|entry| entry.task.id.clone()).collect();
        self.check_store()?;
        for task in kept {
            let unreserve = Change::Advanced { task, step: Step::Unreserve };
            let _ = self.commit(&mut nodes, &mut tasks, unreserve, asked.now);
        }
        self.end_tokens_of(id, &mut nodes, &mut tasks, asked.now);
        let change = Change::NodeForgotten { node: id.clone() };
        let at = self.commit_for(&asked, &mut nodes, &mut tasks, change);
        Ok(at.ok().map(|at| AsOf { value: (), at }))
    }
}

fn check_incarnation<E>(entry: &NodeEntry, sent: Incarnation, older: E, newer: E) -> Result<(), E> {
    match sent.cmp(&entry.node().incarnation) {
        std::cmp::Ordering::Less => Err(older),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(newer),
    }
}

/// Whether a report tells the very end that is recorded.
fn says_the_same_end(task: &Task, report: &Report) -> bool {
    match (&task.state, report.step) {
        (TaskState::Ended(ended), ReportStep::Ended) => {
            report.finished_at == Some(ended.finished_at) && report.exit_code == ended.exit_code
        }
        (
            TaskState::Pending { .. }
            | TaskState::Scheduled { .. }
            | TaskState::Running { .. }
            | TaskState::Ended(_),
            ReportStep::Progress | ReportStep::Running | ReportStep::Ended | ReportStep::Refused,
        ) => false,
    }
}

/// The steps that a report stands for. An end with a start tells the start too.
fn steps(report: Report, now: Now) -> Vec<Step> {
    let at = report.finished_at.unwrap_or(now.wall);
    let started = report.container_id.clone().zip(report.started_at);
    let start = started.map(|(container, at)| Step::Start { container, at });
    match report.step {
        ReportStep::Progress => vec![Step::Progress { detail: report.detail.unwrap_or_default() }],
        ReportStep::Running => start.into_iter().collect(),
        ReportStep::Refused => {
            let why = report.error.unwrap_or_else(|| "the node gave no reason".to_owned());
            vec![Step::Refuse { at, why }]
        }
        ReportStep::Ended => {
            let end = Step::End(Ending {
                at,
                reason: report.reason,
                exit_code: report.exit_code,
                error: report.error,
                container: report.container_id,
                started_at: report.started_at,
            });
            start.into_iter().chain([end]).collect()
        }
    }
}

fn view(entry: &NodeEntry) -> NodeView {
    let (node, said) = (entry.node(), &entry.node().registration);
    NodeView {
        node_id: said.node_id.clone(),
        hostname: said.address.host.clone(),
        port: said.address.port,
        status: node.status,
        availability: node.availability,
        capacity: said.capacity,
        running_tasks: entry.assigned(),
        cpu_millis: said.cpu.0,
        cpu_used_millis: entry.cpu_used().0,
        memory_bytes: said.memory.0,
        memory_used_bytes: entry.memory_used().0,
        labels: said.labels.clone(),
        engine: said.engine.clone(),
        last_heartbeat: entry.heard_at(),
        detail: match node.status {
            NodeStatus::Online if !entry.is_ready() => Some("its engine does not answer".to_owned()),
            NodeStatus::Online if entry.is_settling() => {
                Some("it was offline, and is ending what it must no longer run".to_owned())
            }
            NodeStatus::Online | NodeStatus::Offline => match entry.unknown().len() {
                0 => None,
                count => Some(format!(
                    "it runs {count} attempts that this master does not know: a start with --accept-state ends them"
                )),
            },
        },
    }
}
