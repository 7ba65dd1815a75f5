//! The master: the real state, committer, scheduler and reaper, driven by one thread. Its process may end between any
//! two of its turns; its disk and its data folder stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use podling::api::wire::agent::{Assignment, RegisterReply, ReportsReply, TaskOrder};
use podling::api::wire::node::NodeView;
use podling::control::change::KeyUse;
use podling::control::lease;
use podling::control::tasks::Filter;
use podling::master::committer::Committer;
use podling::master::journal::Fate;
use podling::master::reaper::Reaper;
use podling::master::scheduler;
use podling::master::state::{
    BeatError, CreateError, ForgetError, Placed, RegisterError, ReportError, State, StateSettings, StopError,
};
use podling::model::id::{ClusterId, Epoch, Revision, TaskId};
use podling::model::node::{Availability, NodeAddress, NodeStatus, Registration};
use podling::model::spec::TaskSpec;
use podling::model::task::TaskStatus;
use podling::model::time::{Mono, Now};

use super::disk::Disk;
use super::images::Readiness;
use super::moving::{self, Moving};
use super::net::{Party, Reply, Request};
use super::show;
use super::time::{MS, MachineClock, Micros, micros};
use crate::checker::history::{Millis, Seen, What};

/// Few enough for several snapshots in a run.
const SNAPSHOT_AFTER: u64 = 60;

/// What a turn of the master leads to, outside of it.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Answers a call.
    Answer(Party, u64, Reply),
    /// Pushes to a node.
    Push(Party, Request),
}

type Effects = Arc<Mutex<Vec<Effect>>>;

/// What outlives the process.
pub(crate) struct Master {
    pub(crate) clock: MachineClock,
    pub(crate) disk: Disk,
    cluster: ClusterId,
    epoch: u64,
    node_timeout: Duration,
    pub(crate) running: Option<Running>,
    /// Counts starts, so that what an earlier process had planned is void.
    pub(crate) generation: u64,
    /// When a task was first seen to wait although there is room.
    roomy_since: BTreeMap<TaskId, Micros>,
}

/// The process.
pub(crate) struct Running {
    pub(crate) state: Arc<State>,
    committer: Committer,
    reaper: Reaper,
    moving: Moving,
    effects: Effects,
    pub(crate) epoch: Epoch,
    pub(crate) commit_is_due: bool,
    pub(crate) look_is_due: bool,
}

impl Master {
    pub(crate) fn new(clock: MachineClock, cluster: ClusterId, node_timeout: Duration) -> Self {
        Self {
            clock,
            disk: Disk::default(),
            cluster,
            epoch: 0,
            node_timeout,
            running: None,
            generation: 0,
            roomy_since: BTreeMap::new(),
        }
    }

    /// Starts the process: reads the store back. Gives what the history is to hold.
    pub(crate) fn start(&mut self) -> Vec<What> {
        let now = self.clock.now();
        self.generation += 1;
        self.epoch = (self.epoch + 1).max(now.wall.unix_millis() / 1000);
        self.disk.read_back();
        let state = self.load(now);
        let mut told = vec![What::MasterBegan { epoch: Epoch(self.epoch) }];
        told.extend(self.news());
        let durable = self.load(now);
        told.push(What::Restored { shown: show::everything(&state), durable: show::everything(&durable) });
        let judged_from = now.mono + self.node_timeout;
        let state = Arc::new(state.judging_from(judged_from));
        self.running = Some(Running {
            committer: Committer::new(&state, SNAPSHOT_AFTER),
            reaper: Reaper::new(self.node_timeout, Duration::from_secs(1), now.mono),
            moving: Moving::default(),
            effects: Effects::default(),
            epoch: Epoch(self.epoch),
            commit_is_due: false,
            look_is_due: false,
            state,
        });
        told
    }

    fn load(&self, now: Now) -> State {
        let settings = StateSettings {
            cluster: self.cluster.clone(),
            epoch: Epoch(self.epoch),
            node_timeout: self.node_timeout,
            pending_timeout: Duration::from_secs(45),
            retain: Duration::from_secs(600),
        };
        let state = State::load(settings, &mut self.disk.clone(), now).expect("the store can be read back");
        state.counting_ids()
    }

    /// What has become durable.
    pub(crate) fn news(&self) -> Vec<What> {
        self.disk.news().into_iter().map(|(position, change)| What::Committed { position, change }).collect()
    }

    /// The journal's turn. Gives when it wants another one, where the disk failed.
    pub(crate) fn commit(&mut self) -> Option<Micros> {
        let now = self.clock.now().mono;
        let running = self.running.as_mut()?;
        running.commit_is_due = false;
        let pause = running.committer.commit_now(&running.state, &mut self.disk, now);
        running.state.journal().reply_now();
        pause.map(micros)
    }

    /// Whether records wait for the disk.
    pub(crate) fn has_records(&self) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let journal = running.state.journal();
            !journal.is_settled(journal.last_position())
        })
    }

    /// Whether the scheduler was woken.
    pub(crate) fn is_woken(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.state.work().try_recv().is_ok())
    }

    /// The scheduler's turn. True: another one is due.
    pub(crate) fn schedule(&mut self) -> bool {
        let now = self.clock.now();
        let Some(running) = self.running.as_mut() else { return false };
        running.look_is_due = false;
        let (effects, epoch) = (Arc::clone(&running.effects), running.epoch);
        scheduler::look(&running.state, now, move |placed| push_placements(&effects, epoch, placed))
    }

    /// When the next back-off is over, on the world's clock.
    pub(crate) fn next_release(&self) -> Option<Micros> {
        let due: Mono = self.running.as_ref()?.state.next_release()?;
        // The next whole microsecond.
        Some(self.clock.world_at(due) + 1)
    }

    /// The mover's turn. Gives whom it asks for an image.
    pub(crate) fn begin_moves(&mut self) {
        let now = self.clock.now();
        if let Some(running) = &mut self.running {
            running.moving.begin(&running.state, now);
        }
    }

    pub(crate) fn moving(&mut self) -> Option<&mut Moving> {
        self.running.as_mut().map(|running| &mut running.moving)
    }

    pub(crate) fn mover_pause(&self) -> Micros {
        self.running.as_ref().map_or(500 * MS, |running| moving::pause(&running.state))
    }

    /// A node said how it stands with an image; None: nothing, in time.
    pub(crate) fn hears(&mut self, call: u64, said: Option<Readiness>) {
        let now = self.clock.now();
        let Some(running) = &mut self.running else { return };
        let Some(ended) = running.moving.hears(call, said, &running.state, now) else { return };
        let (effects, ended_at) = (Arc::clone(&running.effects), ended.at);
        running.state.journal().when_settled(ended_at, move |fate| {
            let podling::master::state::Move { attempt, reach, grace } = ended.value;
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            if let Fate::Durable = fate {
                effects
                    .lock()
                    .push(Effect::Push(party(&reach.address), Request::StopThere { attempt, grace_ms }));
            }
        });
    }

    /// The reaper's turn.
    pub(crate) fn reap(&mut self) {
        let now = self.clock.now();
        if let Some(running) = self.running.as_mut() {
            running.reaper.look(&running.state, now);
        }
    }

    pub(crate) fn reaper_pause(&self) -> Micros {
        self.running.as_ref().map_or(500 * MS, |running| micros(running.reaper.pause()))
    }

    pub(crate) fn take_effects(&self) -> Vec<Effect> {
        self.running.as_ref().map(|running| std::mem::take(&mut *running.effects.lock())).unwrap_or_default()
    }

    /// A request came in. Its answer follows once what it rests on is settled. Gives what the history is to hold.
    pub(crate) fn serve(&mut self, from: Party, call: u64, request: Request) -> Option<What> {
        let now = self.clock.now();
        let running = self.running.as_ref()?;
        let told = match &request {
            Request::Beat(beat) => Some(What::BeatTaken { node: beat.node_id.clone() }),
            Request::Register(asked) => Some(What::BeatTaken { node: asked.node_id.clone() }),
            Request::Reports(_)
            | Request::Create { .. }
            | Request::Stop { .. }
            | Request::Remove { .. }
            | Request::Get { .. }
            | Request::List
            | Request::Availability { .. }
            | Request::Prepare(_)
            | Request::Assign(_)
            | Request::StopThere { .. } => None,
        };
        let answered = running.answer(from, request, now);
        let is_taken = !matches!(answered, Err((404 | 409, _)));
        let (reply, at) = match answered {
            Ok((reply, at)) => (reply, at),
            Err((status, code)) => (Reply::Problem(status, code), running.state.journal().last_position()),
        };
        let effects = Arc::clone(&running.effects);
        running.state.journal().when_settled(at, move |fate| {
            let reply = match fate {
                Fate::Durable => reply,
                Fate::Withdrawn => Reply::Problem(507, "store_full"),
            };
            effects.lock().push(Effect::Answer(from, call, reply));
        });
        told.filter(|_| is_taken)
    }

    /// Tasks that wait although there is room, with how long they have done so.
    pub(crate) fn unplaced(&mut self, now: Micros) -> Vec<(TaskId, Millis)> {
        let waiting = self.running.as_ref().filter(|running| !running.state.journal().is_failing());
        let waiting = waiting.map(|running| running.could_be_placed(self.clock.now())).unwrap_or_default();
        self.roomy_since.retain(|task, _| waiting.contains(task));
        let mut unplaced = Vec::new();
        for task in waiting {
            let since = *self.roomy_since.entry(task.clone()).or_insert(now);
            unplaced.push((task, (now - since) / MS));
        }
        unplaced.retain(|(_, waited)| *waited > 1_000);
        unplaced
    }

    /// What stood still is not waited for.
    pub(crate) fn forget_waiting(&mut self) {
        self.roomy_since.clear();
    }

    /// Whether every task has ended.
    pub(crate) fn has_ended_all(&self) -> bool {
        let live = TaskStatus::ALL.into_iter().filter(|status| !status.is_terminal());
        self.running
            .as_ref()
            .is_some_and(|running| live.map(|status| running.state.count(status)).sum::<usize>() == 0)
    }

    /// Every task, as clients see it.
    pub(crate) fn tasks(&self) -> Vec<Seen> {
        self.running.as_ref().map(|running| running.list(Now::default())).unwrap_or_default()
    }
}

type Answered = Result<(Reply, Revision), (u16, &'static str)>;

impl Running {
    fn answer(&self, from: Party, request: Request, now: Now) -> Answered {
        match request {
            Request::Register(asked) => self.register(*asked, now),
            Request::Beat(beat) => match self.state.beat(&beat, now) {
                Ok(set) => Ok((Reply::Set(Box::new(set.value)), set.at)),
                Err(BeatError::Unknown) => Err((404, "node_not_found")),
                Err(BeatError::Superseded) => Err((409, "superseded")),
            },
            Request::Reports(batch) => self.report(from, batch, now),
            Request::Create { key, wanted } => self.create(key, wanted, now),
            Request::Stop { task, grace_ms } => self.stop(&task, grace_ms, now),
            Request::Remove { task } => match self.state.forget(task.as_str(), now) {
                Ok(Some(gone)) => Ok((Reply::Done, gone.at)),
                Ok(None) => Err((404, "task_not_found")),
                Err(ForgetError::Lives(_)) => Err((409, "task_lives")),
                Err(ForgetError::Ambiguous(_)) => Err((409, "ambiguous")),
                Err(ForgetError::StoreFull) => Err((507, "store_full")),
            },
            Request::Get { task } => match self.state.task(task.as_str()) {
                Ok(Some(found)) => Ok((Reply::Task(Box::new(self.see(&found.value, now))), found.at)),
                Ok(None) => Err((404, "task_not_found")),
                Err(_) => Err((409, "ambiguous")),
            },
            Request::List => Ok((Reply::Tasks(self.list(now)), self.state.journal().last_position())),
            Request::Availability { node, availability } => {
                match self.state.set_availability(&node, availability, now) {
                    Ok(Some(set)) => Ok((Reply::Done, set.at)),
                    Ok(None) => Err((404, "node_not_found")),
                    Err(_) => Err((507, "store_full")),
                }
            }
            Request::Prepare(_) | Request::Assign(_) | Request::StopThere { .. } => Err((404, "not_found")),
        }
    }

    fn register(&self, asked: podling::api::wire::agent::RegisterRequest, now: Now) -> Answered {
        let (sent, cluster) = (asked.incarnation, asked.cluster_id.clone());
        let registration = Registration::try_from(asked).map_err(|_| (422, "invalid"))?;
        let granted =
            self.state.register(registration, sent, cluster.as_ref(), now).map_err(|error| match error {
                RegisterError::ForeignCluster => (409, "foreign_cluster"),
                RegisterError::NodeIdInUse => (409, "node_id_in_use"),
                RegisterError::StoreFull => (507, "store_full"),
            })?;
        let settings = self.state.settings();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let reply = RegisterReply {
            cluster_id: settings.cluster.clone(),
            epoch: settings.epoch,
            incarnation: granted.value.incarnation,
            node_timeout_ms: millis(settings.node_timeout),
            lease_ms: millis(lease::of_timeout(settings.node_timeout)),
        };
        Ok((Reply::Registered(reply), granted.at))
    }

    fn report(&self, from: Party, batch: podling::api::wire::agent::ReportsRequest, now: Now) -> Answered {
        let Party::Node(index) = from else { return Err((404, "node_not_found")) };
        match self.state.report(&show::node_id(index), batch, now) {
            Ok(told) => Ok((Reply::Verdicts(ReportsReply { verdicts: told.value }), told.at)),
            Err(ReportError::Unknown) => Err((404, "node_not_found")),
            Err(ReportError::Superseded) => Err((409, "superseded")),
        }
    }

    fn create(&self, key: String, wanted: Vec<podling::api::wire::spec::Creation>, now: Now) -> Answered {
        let used = KeyUse { body_hash: show::hash(&wanted), key };
        match self.state.create(wanted, true, Some(used), now) {
            Ok(created) => {
                let ids = created.value.tasks.iter().map(|new| new.id.clone()).collect();
                Ok((Reply::Created(ids), created.at))
            }
            Err(CreateError::KeyReused) => Err((422, "key_reused")),
            Err(CreateError::KeyBusy) => Err((409, "key_busy")),
            Err(CreateError::Gone) => Err((410, "gone")),
            Err(CreateError::StoreFull) => Err((507, "store_full")),
        }
    }

    fn stop(&self, task: &TaskId, grace_ms: u64, now: Now) -> Answered {
        let grace = Duration::from_millis(grace_ms);
        let stopped = match self.state.stop(task.as_str(), Some(grace), now) {
            Ok(Some(stopped)) => stopped,
            Ok(None) => return Err((404, "task_not_found")),
            Err(StopError::Ambiguous(_)) => return Err((409, "ambiguous")),
            Err(StopError::StoreFull) => return Err((507, "store_full")),
        };
        if let Some(address) = stopped.value.reach.map(|reach| reach.address) {
            let (effects, attempt) = (Arc::clone(&self.effects), stopped.value.task.key());
            self.state.journal().when_settled(stopped.at, move |fate| match fate {
                Fate::Durable => {
                    effects
                        .lock()
                        .push(Effect::Push(party(&address), Request::StopThere { attempt, grace_ms }));
                }
                Fate::Withdrawn => {}
            });
        }
        Ok((Reply::Done, stopped.at))
    }

    fn see(&self, task: &Arc<podling::model::task::Task>, now: Now) -> Seen {
        let waits = self.state.waits(std::slice::from_ref(task), now);
        show::seen(task, waits.into_values().next())
    }

    fn list(&self, now: Now) -> Vec<Seen> {
        let found = self.state.tasks(&Filter::default(), None, 10_000).value.0;
        let mut waits = self.state.waits(&found, now);
        found.iter().map(|task| show::seen(task, waits.remove(&task.id))).collect()
    }

    /// Tasks that wait, and that some node would take now.
    fn could_be_placed(&self, now: Now) -> Vec<TaskId> {
        if self.state.count(TaskStatus::Pending) == 0 {
            return Vec::new();
        }
        let mut open = self.state.nodes(None, 100).value.0;
        open.retain(|node| {
            let is_well = node.status == NodeStatus::Online && node.detail.is_none();
            is_well && node.availability == Availability::Active && node.running_tasks < node.capacity
        });
        if open.is_empty() {
            return Vec::new();
        }
        let pending = Filter { statuses: vec![TaskStatus::Pending], ..Filter::default() };
        let mut tasks = self.state.tasks(&pending, None, 10_000).value.0;
        // Why a task waits takes long to say, so only those are asked about that have what they need at a glance.
        tasks.retain(|task| open.iter().any(|node| has_what_it_needs(node, &task.spec)));
        let fits = |task: &TaskId| {
            let why = self.state.why(task.as_str(), now).ok().flatten();
            why.is_some_and(|why| why.value.nodes.iter().any(|node| node.reasons.is_empty()))
        };
        tasks.iter().map(|task| task.id.clone()).filter(fits).collect()
    }
}

/// Whether a node has the labels, the CPU and the memory that a task asks for.
fn has_what_it_needs(node: &NodeView, spec: &TaskSpec) -> bool {
    let cpu = spec.cpu.map_or(0, |cpu| cpu.0) + node.cpu_used_millis;
    let memory = spec.memory.map_or(0, |memory| memory.0) + node.memory_used_bytes;
    let mut labels = spec.constraints.as_map().iter();
    cpu <= node.cpu_millis
        && memory <= node.memory_bytes
        && labels.all(|(key, value)| node.labels.get(key) == Some(value))
}

/// Placements that are durable go to their nodes, one request each.
fn push_placements(effects: &Effects, epoch: Epoch, placed: Vec<Placed>) {
    let mut by_node: BTreeMap<Party, Vec<Assignment>> = BTreeMap::new();
    for one in placed {
        by_node.entry(party(&one.reach.address)).or_default().push(Assignment {
            epoch,
            incarnation: one.incarnation,
            revision: one.revision,
            attempt: one.task.attempt,
            task: TaskOrder::from(&*one.task),
        });
    }
    let pushes = by_node.into_iter().map(|(node, batch)| Effect::Push(node, Request::Assign(batch)));
    effects.lock().extend(pushes);
}

/// Nodes are told apart by their ports.
pub(crate) fn party(address: &NodeAddress) -> Party {
    Party::Node(usize::from(address.port - show::FIRST_PORT))
}
