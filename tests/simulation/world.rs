//! One simulated cluster: its parts, what happens to them, and the faults of a seed's plan.

use std::collections::BTreeMap;
use std::time::Duration;

use podling::control::lease;
use podling::model::id::ContainerId;

use super::client::{self, Client};
use super::ctx::Ctx;
use super::disk::Mood;
use super::engine::{Deed, Said};
use super::images::Readiness;
use super::master::{self, Effect, Master};
use super::moving;
use super::net::{Message, Packet, Party, Reply, Request};
use super::node::Node;
use super::operator::{self, Operator};
use super::plan::{Kind, Plan, Trouble, Ways};
use super::rng::Rng;
use super::show;
use super::time::{MS, MachineClock, Micros, SECOND, WorldClock};
use crate::checker::history::{Fault, History, Left, Terms, What};

/// How long a node may be silent.
const NODE_TIMEOUT: Duration = Duration::from_secs(30);

/// The scheduler's and the reaper's tick.
const TICK: Micros = SECOND;

/// How long after the last fault everything must have come to rest: a brake lasts ten node timeouts.
const REST_WITHIN: Micros = 500 * SECOND;

/// The longest that a message is on its way.
const LATEST: Micros = 13 * SECOND;

/// Something that is to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Arrive(Packet),
    /// Who asked has waited long enough.
    GiveUp(Party, u64),
    /// A turn of the master that was started so often.
    Master(u64, MasterTurn),
    MasterStarts,
    Client(usize),
    Operator,
    /// A turn of a node's worker that was started so often.
    Node(usize, u64, NodeTurn),
    NodeStarts(usize),
    Engine(usize, EngineTurn),
    Begins(usize),
    Ends(usize),
    /// Rest is looked for.
    Look,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum MasterTurn {
    Commit,
    Place,
    Tick,
    Reap,
    Move,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeTurn {
    /// What comes regularly or when it is due: a beat, a report, the lease, a look at the Engine.
    Due(super::process::Duty),
    /// The Engine answered a call.
    EngineSaid(u64, Said),
    /// Somebody has waited.
    Timer(u64),
}

#[derive(Clone, Debug)]
pub(crate) enum EngineTurn {
    /// A call of a worker of some generation.
    Do(u64, u64, Deed),
    /// A container may have ended.
    Ends(ContainerId),
}

/// The cluster.
pub(crate) struct World {
    ctx: Ctx,
    plan: Plan,
    master: Master,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    operator: Operator,
    /// Who stands still, with what has happened to it meanwhile.
    paused: BTreeMap<Party, Vec<Event>>,
    /// How often in a thousand a turn is the master's last.
    master_frailty: u64,
    is_at_rest: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::of(&mut rng);
        let cluster: podling::model::id::ClusterId =
            "c0000000000000000000000000".parse().expect("it is an id");
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let terms = Terms {
            cluster: cluster.clone(),
            node_timeout: millis(NODE_TIMEOUT),
            lease: millis(lease::of_timeout(NODE_TIMEOUT)),
            healthz: 500,
            commits_are_timed: true,
        };
        let mut ctx = Ctx::new(rng, terms);
        let clock = |world: &WorldClock, rng: &mut Rng| {
            MachineClock::new(world, Duration::from_millis(rng.within(1_000, 100_000_000)))
        };
        let world = ctx.clock.clone();
        let master = Master::new(clock(&world, &mut ctx.rng), cluster, NODE_TIMEOUT);
        let nodes =
            plan.machines.iter().enumerate().map(|(index, has)| {
                Node::new(index, clock(&world, &mut ctx.rng), plan.capacity, has.clone())
            });
        let nodes: Vec<Node> = nodes.collect();
        let operator = Operator::new(plan.nodes);
        let clients = (0..plan.clients).map(Client::new).collect();
        Self {
            ctx,
            plan,
            master,
            nodes,
            clients,
            operator,
            paused: BTreeMap::new(),
            master_frailty: 0,
            is_at_rest: false,
        }
    }

    /// Runs until everything is at rest, or should be. Gives what was recorded.
    pub(crate) fn run(mut self) -> History {
        self.ctx.at(0, Event::MasterStarts);
        for index in 0..self.nodes.len() {
            let begins = self.ctx.rng.within(0, 2 * SECOND);
            self.ctx.at(begins, Event::NodeStarts(index));
        }
        for index in 0..self.clients.len() {
            self.ctx.at(SECOND, Event::Client(index));
        }
        self.ctx.at(10 * SECOND, Event::Operator);
        for (index, trouble) in self.plan.troubles.iter().enumerate() {
            self.ctx.at(trouble.begins, Event::Begins(index));
            self.ctx.at(trouble.begins + trouble.lasts, Event::Ends(index));
        }
        let ends = self.plan.trouble_ends + REST_WITHIN;
        self.ctx.at(self.plan.trouble_ends + 20 * SECOND, Event::Look);
        while !self.is_at_rest {
            let Some(event) = self.ctx.next(ends) else { break };
            self.happens(event);
        }
        self.rest();
        self.ctx.history
    }

    fn happens(&mut self, event: Event) {
        if let Some(waiting) = subject(&event).and_then(|party| self.paused.get_mut(&party)) {
            waiting.push(event);
            return;
        }
        match event {
            Event::Arrive(packet) => self.arrives(packet),
            Event::GiveUp(Party::Client(index), call) => self.clients[index].gives_up(call),
            Event::GiveUp(Party::Node(index), call) => self.nodes[index].gives_up(call, &mut self.ctx),
            Event::GiveUp(Party::Master, call) => self.master_hears(call, None),
            Event::GiveUp(Party::Operator, call) => self.operator.gives_up(call),
            Event::Master(generation, turn) if generation == self.master.generation => self.turns(turn),
            Event::Master(..) => {}
            Event::MasterStarts => self.start_master(),
            Event::Client(index) => self.client_acts(index),
            Event::Operator => self.operator_acts(),
            Event::Node(index, generation, turn) => self.nodes[index].turns(generation, turn, &mut self.ctx),
            Event::NodeStarts(index) => self.nodes[index].starts(&mut self.ctx),
            Event::Engine(index, turn) => self.nodes[index].engine_turns(turn, &mut self.ctx),
            Event::Begins(index) => self.begins(index),
            Event::Ends(index) => self.heals(index),
            Event::Look => self.look_for_rest(),
        }
        self.bury();
        self.settle_master();
    }

    // ---------------------------------------------------------------------------------------------------- the master

    fn start_master(&mut self) {
        if self.master.running.is_some() {
            return;
        }
        for what in self.master.start() {
            self.ctx.tell(what);
        }
        let generation = self.master.generation;
        let pauses = [
            (0, MasterTurn::Tick),
            (self.master.reaper_pause(), MasterTurn::Reap),
            (SECOND, MasterTurn::Move),
        ];
        for (after, turn) in pauses {
            self.ctx.after(after, Event::Master(generation, turn));
        }
    }

    fn kill_master(&mut self) {
        if let Some(running) = self.master.running.take() {
            self.ctx.tell(What::MasterEnded { epoch: running.epoch });
            self.master.generation += 1;
            self.master.forget_waiting();
            self.stands_no_more(Party::Master);
        }
    }

    fn turns(&mut self, turn: MasterTurn) {
        if self.master.running.is_none() {
            return;
        }
        let generation = self.master.generation;
        match turn {
            MasterTurn::Commit => {
                if let Some(pause) = self.master.commit() {
                    self.ctx.after(pause, Event::Master(generation, MasterTurn::Commit));
                    if let Some(running) = &mut self.master.running {
                        running.commit_is_due = true;
                    }
                }
                for what in self.master.news() {
                    self.ctx.tell(what);
                }
            }
            MasterTurn::Place => self.schedule(),
            MasterTurn::Move => {
                self.master.begin_moves();
                self.go_on_moving();
            }
            MasterTurn::Tick => {
                self.schedule();
                for (task, waited) in self.master.unplaced(self.ctx.now()) {
                    self.ctx.tell(What::Unplaced { task, waited });
                }
                self.ctx.after(TICK, Event::Master(generation, MasterTurn::Tick));
            }
            MasterTurn::Reap => {
                self.master.reap();
                let pause = self.master.reaper_pause();
                self.ctx.after(pause, Event::Master(generation, MasterTurn::Reap));
            }
        }
        if self.ctx.rng.permille(self.master_frailty) {
            self.kill_master();
            let down = self.ctx.rng.within(100 * MS, 5 * SECOND);
            self.ctx.after(down, Event::MasterStarts);
        }
    }

    fn schedule(&mut self) {
        while self.master.schedule() {}
        let next_tick = self.ctx.now() + TICK;
        if let Some(due) = self.master.next_release().filter(|due| *due < next_tick) {
            self.ctx.at(due, Event::Master(self.master.generation, MasterTurn::Place));
        }
    }

    /// The mover asks the next node, or waits for its next turn.
    fn go_on_moving(&mut self) {
        let Some(moving) = self.master.moving() else { return };
        if let Some(about) = moving.next() {
            let to = master::party(&about.reach.address);
            let request = Request::Prepare(about.task.spec.image.clone());
            let call = self.ctx.ask(Party::Master, to, request, moving::PATIENCE);
            moving.asks(call, about);
        } else if moving.is_over() {
            let pause = self.master.mover_pause();
            self.ctx.after(pause, Event::Master(self.master.generation, MasterTurn::Move));
        }
    }

    fn master_hears(&mut self, call: u64, said: Option<Readiness>) {
        if self.master.moving().is_some_and(|moving| moving.is_asking(call)) {
            self.master.hears(call, said);
            self.go_on_moving();
        }
    }

    /// Plans what the master's threads would do next, and lets out what it has to say.
    fn settle_master(&mut self) {
        if self.paused.contains_key(&Party::Master) {
            return;
        }
        let (has_records, is_woken) = (self.master.has_records(), self.master.is_woken());
        let generation = self.master.generation;
        let Some(running) = &mut self.master.running else { return };
        if has_records && !running.commit_is_due {
            running.commit_is_due = true;
            let disk = if self.ctx.rng.permille(20) { 400 * MS } else { 2 * MS };
            let takes = self.ctx.rng.within(MS / 5, disk);
            self.ctx.after(takes, Event::Master(generation, MasterTurn::Commit));
        }
        if is_woken && !running.look_is_due {
            running.look_is_due = true;
            let takes = self.ctx.rng.within(0, 2 * MS);
            self.ctx.after(takes, Event::Master(generation, MasterTurn::Place));
        }
        running.state.journal().reply_now();
        for effect in self.master.take_effects() {
            match effect {
                Effect::Answer(to, call, reply) => self.ctx.answer(Party::Master, to, call, reply),
                Effect::Push(to, request) => {
                    let call = self.ctx.net.next_call();
                    self.ctx.send(Party::Master, to, Message::Ask(call, request));
                }
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------ messages

    fn arrives(&mut self, packet: Packet) {
        match (packet.to, packet.message) {
            (Party::Master, Message::Ask(call, request)) => {
                if let Some(what) = self.master.serve(packet.from, call, request) {
                    self.ctx.tell(what);
                }
            }
            (Party::Master, Message::Answer(call, Reply::Image(said))) => self.master_hears(call, Some(said)),
            (Party::Master, Message::Answer(call, _problem)) => self.master_hears(call, None),
            (Party::Node(index), Message::Ask(call, request)) => {
                self.nodes[index].is_asked(call, request, &mut self.ctx);
            }
            (Party::Node(index), Message::Answer(call, reply)) => {
                self.nodes[index].hears(call, reply, &mut self.ctx);
            }
            (Party::Client(index), Message::Answer(call, reply)) => {
                for what in self.clients[index].hears(call, reply) {
                    self.ctx.tell(what);
                }
            }
            (Party::Operator, Message::Answer(call, reply)) => self.operator.hears(call, &reply),
            (Party::Client(_) | Party::Operator, Message::Ask(..)) => {}
        }
    }

    fn client_acts(&mut self, index: usize) {
        let creates = self.ctx.now() < self.plan.trouble_ends;
        if let Some(request) = self.clients[index].wish(&mut self.ctx.rng, creates) {
            self.client_asks(index, request);
        }
        if creates || self.clients[index].is_owed() {
            let most = if creates { 10 * SECOND } else { SECOND };
            let next = self.ctx.rng.within(200 * MS, most);
            self.ctx.after(next, Event::Client(index));
        }
    }

    fn client_asks(&mut self, index: usize, request: Request) {
        let from = Party::Client(index);
        let call = self.ctx.net.last_call + 1;
        if let Some(what) = self.clients[index].sends(call, &request) {
            self.ctx.tell(what);
        }
        self.ctx.ask(from, Party::Master, request, client::PATIENCE);
    }

    fn operator_acts(&mut self) {
        // What was sent before comes no later than this.
        let is_over = self.ctx.now() >= self.plan.trouble_ends + LATEST;
        let Some((node, availability)) = self.operator.wish(&mut self.ctx.rng, is_over) else { return };
        if is_over || self.ctx.now() < self.plan.trouble_ends {
            let call = self.ctx.net.last_call + 1;
            let request = self.operator.sends(call, node, availability, is_over);
            self.ctx.ask(Party::Operator, Party::Master, request, operator::PATIENCE);
        }
        let most = if is_over { SECOND } else { 20 * SECOND };
        let next = self.ctx.rng.within(300 * MS, most);
        self.ctx.after(next, Event::Operator);
    }

    // -------------------------------------------------------------------------------------------------------- faults

    /// Workers that came to their end by themselves start again a while later.
    fn bury(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_dying() {
                self.kill_worker(index);
                let down = self.ctx.rng.within(50 * MS, 20 * SECOND);
                self.ctx.after(down, Event::NodeStarts(index));
            }
        }
    }

    fn kill_worker(&mut self, index: usize) {
        self.nodes[index].is_killed(&mut self.ctx);
        self.stands_no_more(Party::Node(index));
    }

    /// Whoever stood still was killed, or goes on.
    fn stands_no_more(&mut self, party: Party) {
        if self.paused.remove(&party).is_some() {
            let subject = match party {
                Party::Node(index) => show::node_id(index).to_string(),
                Party::Master | Party::Client(_) | Party::Operator => "master".to_owned(),
            };
            self.ctx.tell(What::Healed { fault: Fault::Paused, subject });
        }
    }

    fn begins(&mut self, index: usize) {
        let Trouble { kind, .. } = self.plan.troubles[index].clone();
        let (fault, subject) = kind_of(kind);
        self.ctx.tell(What::Broke { fault, subject });
        match kind {
            Kind::MasterKilled => self.kill_master(),
            Kind::WorkerKilled(node) => self.kill_worker(node),
            Kind::BothKilled(node) => {
                self.kill_master();
                self.kill_worker(node);
            }
            Kind::MasterPaused => {
                self.master.forget_waiting();
                self.paused.entry(Party::Master).or_default();
            }
            Kind::WorkerPaused(node) => drop(self.paused.entry(Party::Node(node)).or_default()),
            Kind::Cut(node, ways) => self.lines(node, ways, true),
            Kind::AllCut => (0..self.nodes.len()).for_each(|node| self.lines(node, Ways::Both, true)),
            Kind::Noise(permille) => self.ctx.net.noise = permille,
            Kind::DiskRefuses => self.master.disk.set_mood(Mood::Refuses),
            Kind::DiskLandsAndFails => self.master.disk.set_mood(Mood::LandsAndFails),
            Kind::MasterClock(off) => self.master.clock.set_wall(off),
            Kind::WorkerClock(node, off) => self.nodes[node].set_wall(off),
            Kind::EngineKilled(node) => self.nodes[node].engine.dies(&mut self.ctx),
            Kind::EngineHung(node) => self.nodes[node].engine.is_hung = true,
            Kind::EngineOdd(node, permille) => self.nodes[node].engine.odd = permille,
            Kind::Frail(node, permille) => self.nodes[node].frailty = permille,
            Kind::FrailMaster(permille) => self.master_frailty = permille,
        }
    }

    fn heals(&mut self, index: usize) {
        let Trouble { kind, .. } = self.plan.troubles[index].clone();
        let (fault, subject) = kind_of(kind);
        match kind {
            Kind::MasterKilled => self.start_master(),
            Kind::WorkerKilled(node) => self.nodes[node].starts(&mut self.ctx),
            Kind::BothKilled(node) => {
                self.start_master();
                self.nodes[node].starts(&mut self.ctx);
            }
            Kind::MasterPaused => return self.goes_on(Party::Master),
            Kind::WorkerPaused(node) => return self.goes_on(Party::Node(node)),
            Kind::Cut(node, ways) => self.lines(node, ways, false),
            Kind::AllCut => (0..self.nodes.len()).for_each(|node| self.lines(node, Ways::Both, false)),
            Kind::Noise(_) => self.ctx.net.noise = 0,
            Kind::DiskRefuses | Kind::DiskLandsAndFails => self.master.disk.set_mood(Mood::Well),
            Kind::MasterClock(_) => self.master.clock.set_wall(0),
            Kind::WorkerClock(node, _) => self.nodes[node].set_wall(0),
            Kind::EngineKilled(node) => self.nodes[node].engine.is_down = false,
            Kind::EngineHung(node) => self.nodes[node].engine.wakes(&mut self.ctx),
            Kind::EngineOdd(node, _) => self.nodes[node].engine.odd = 0,
            Kind::Frail(node, _) => self.nodes[node].frailty = 0,
            Kind::FrailMaster(_) => self.master_frailty = 0,
        }
        self.ctx.tell(What::Healed { fault, subject });
    }

    /// Whoever stood still, and was not killed meanwhile, goes on with all that has come.
    fn goes_on(&mut self, party: Party) {
        let waiting = self.paused.get_mut(&party).map(std::mem::take);
        self.stands_no_more(party);
        for event in waiting.unwrap_or_default() {
            self.happens(event);
        }
    }

    fn lines(&mut self, node: usize, ways: Ways, cuts: bool) {
        let (master, node) = (Party::Master, Party::Node(node));
        let mut change =
            |from, to| if cuts { self.ctx.net.cut(from, to) } else { self.ctx.net.heal(from, to) };
        if matches!(ways, Ways::ToNode | Ways::Both) {
            change(master, node);
        }
        if matches!(ways, Ways::ToMaster | Ways::Both) {
            change(node, master);
        }
    }

    // ---------------------------------------------------------------------------------------------------------- rest

    fn look_for_rest(&mut self) {
        let all_answered = self.clients.iter().all(|client| !client.is_owed());
        let is_open = self.operator.is_done();
        let is_settled = self.master.has_ended_all() && !self.master.has_records();
        let is_empty = |node: &Node| node.engine.is_empty();
        self.is_at_rest = is_settled && all_answered && is_open && self.nodes.iter().all(is_empty);
        if !self.is_at_rest {
            self.ctx.after(5 * SECOND, Event::Look);
        }
    }

    fn rest(&mut self) {
        let tasks = self.master.tasks();
        let mut containers = Vec::new();
        for node in &self.nodes {
            for seen in node.engine.containers() {
                if let Some(key) = &seen.key {
                    containers.push(Left {
                        container: seen.id.clone(),
                        node: key.owner.node.clone(),
                        key: podling::model::id::AttemptKey { task: key.task.clone(), attempt: key.attempt },
                        runs: seen.phase == podling::engine::Phase::Running,
                    });
                }
            }
        }
        self.ctx.tell(What::Rested { tasks, containers });
    }
}

/// Whose event it is, if it is one that waits while they stand still.
fn subject(event: &Event) -> Option<Party> {
    match event {
        Event::Arrive(packet) => Some(packet.to),
        Event::GiveUp(party, _) => Some(*party),
        Event::Master(..) => Some(Party::Master),
        Event::Node(index, ..) => Some(Party::Node(*index)),
        Event::MasterStarts
        | Event::Client(_)
        | Event::Operator
        | Event::NodeStarts(_)
        | Event::Engine(..)
        | Event::Begins(_)
        | Event::Ends(_)
        | Event::Look => None,
    }
}

/// How the history names a trouble, and whose it is.
fn kind_of(kind: Kind) -> (Fault, String) {
    let node = |index: usize| show::node_id(index).to_string();
    match kind {
        Kind::MasterKilled | Kind::FrailMaster(_) => (Fault::Killed, "master".to_owned()),
        Kind::WorkerKilled(index) | Kind::Frail(index, _) | Kind::BothKilled(index) => {
            (Fault::Killed, node(index))
        }
        Kind::MasterPaused => (Fault::Paused, "master".to_owned()),
        Kind::WorkerPaused(index) => (Fault::Paused, node(index)),
        Kind::Cut(index, _) => (Fault::Cut, node(index)),
        Kind::AllCut => (Fault::Cut, "master".to_owned()),
        Kind::Noise(_) => (Fault::Noise, "all".to_owned()),
        Kind::DiskRefuses | Kind::DiskLandsAndFails => (Fault::Disk, "master".to_owned()),
        Kind::MasterClock(_) => (Fault::Clock, "master".to_owned()),
        Kind::WorkerClock(index, _) => (Fault::Clock, node(index)),
        Kind::EngineKilled(index) => (Fault::EngineKilled, node(index)),
        Kind::EngineHung(index) => (Fault::EngineHung, node(index)),
        Kind::EngineOdd(index, _) => (Fault::EngineOdd, node(index)),
    }
}
