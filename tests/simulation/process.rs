//! A worker's process, made of the real parts that decide: `Desired`, `Walk`, `Membership`, `Pending`, `LeaseBook`. Here
//! and in `crew.rs` are only the hands that threads are in the real one. Each of the real one's threads is a value here:
//! the heartbeat blocks where it would block there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use podling::api::wire::agent::Assignment;
use podling::engine::{Description, EngineError, Owner};
use podling::http::Problem;
use podling::master::images::Prepared;
use podling::model::id::{AttemptKey, Incarnation};
use podling::model::node::NodeAddress;
use podling::model::spec::ImageRef;
use podling::model::time::Mono;
use podling::worker::desired::Desired;
use podling::worker::lease::book::{Lapse, LeaseBook};
use podling::worker::membership::{Deed, Membership, Session, Turn};
use podling::worker::offer::{Offer, WorkerStart};
use podling::worker::reporter::Event as Told;
use podling::worker::reporter::pending::{Pending, Refusal};

use super::crew::{Crew, Tools};
use super::ctx::Ctx;
use super::engine::{Deed as EngineDeed, Said};
use super::images::{self, Images};
use super::net::{Party, Reply, Request};
use super::node::{Kept, Machine};
use super::show;
use super::time::{MS, Micros, SECOND, micros};
use super::world::{EngineTurn, Event, NodeTurn};
use crate::checker::history::{Millis, What};

/// How long a worker waits for the master's answer.
const PATIENCE: Micros = 5 * SECOND;

/// How often a worker means to beat.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The numbers of the process's own calls to the Engine: the crew's begin at 1.
const OWN_NUMBERS: u64 = 1 << 40;

/// What comes regularly, or when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// The pause after the beat of that number is over.
    Beat(u64),
    /// A batch of reports.
    Report,
    /// A look at the lease.
    Lease,
    /// A look at the Engine.
    Watch,
}

/// What the heartbeat is at.
#[derive(Debug)]
enum Heart {
    /// It waits for its time, or for somebody who wants a beat.
    Waits,
    /// It waits for the Engine's list, and goes on with that.
    Lists(Then),
    /// It waits for the master.
    Calls,
    /// It ends the process.
    GaveUp,
}

#[derive(Debug)]
enum Then {
    Beat(Session),
    Deeds(VecDeque<Deed>),
}

/// A call to the master that is under way.
#[derive(Clone, Copy, Debug)]
enum Call {
    Register,
    Beat { number: u64, sent: Mono, at: Millis },
    Reports,
}

/// See the file's header.
pub(crate) struct Process {
    machine: Machine,
    generation: u64,
    by: WorkerStart,
    offer: Offer,
    desired: Desired,
    crew: Crew,
    told: Receiver<Told>,
    pending: Pending,
    reports_are_due: bool,
    lease: LeaseBook,
    membership: Membership,
    session: Option<Session>,
    heart: Heart,
    /// Counts the heartbeat's pauses.
    beats: u64,
    calls: BTreeMap<u64, Call>,
    last_own: u64,
    listing: Option<u64>,
    describing: Option<u64>,
    engine_answers: bool,
    description: Option<Description>,
    images: Images,
    /// When the beat was sent that was answered last.
    last_answered: Millis,
}

impl Process {
    pub(crate) fn new(machine: Machine, generation: u64, kept: &Kept) -> Self {
        // Without bounds: the one thread that fills them is the one that empties them.
        let ((give_jobs, jobs), (tell, told)) = (unbounded(), unbounded());
        let incarnation = Incarnation(kept.incarnation);
        let by = WorkerStart {
            instance: format!("i{:025}", machine.index).parse().expect("it is an id"),
            start: format!("s{:010}x{:014}", machine.index, kept.starts).parse().expect("it is an id"),
            incarnation,
        };
        let port = show::FIRST_PORT + u16::try_from(machine.index).unwrap_or_default();
        let offer = Offer {
            node: machine.id.clone(),
            address: NodeAddress { host: "127.0.0.1".to_owned(), port },
            capacity: machine.capacity,
            cpu: Some(machine.has.cpu),
            memory: Some(machine.has.memory),
            labels: machine.has.labels[usize::from(kept.starts % 4 == 3)].clone(),
            heartbeat: HEARTBEAT,
        };
        let places = machine.capacity;
        let mut crew = Crew::new(machine.index, generation, jobs, places);
        if let Some(cluster) = kept.cluster.clone() {
            crew.knows(Owner { cluster, node: machine.id.clone() }, incarnation);
        }
        Self {
            by,
            offer,
            desired: Desired::new(give_jobs, tell),
            crew,
            told,
            pending: Pending::default(),
            reports_are_due: false,
            lease: LeaseBook::open(kept.lease),
            membership: Membership::new(machine.id.clone(), HEARTBEAT, kept.cluster.clone()),
            session: None,
            heart: Heart::Waits,
            beats: 0,
            calls: BTreeMap::new(),
            last_own: OWN_NUMBERS,
            listing: None,
            describing: None,
            engine_answers: false,
            description: None,
            images: Images::default(),
            last_answered: 0,
            machine,
            generation,
        }
    }

    pub(crate) fn begins(&mut self, kept: &mut Kept, ctx: &mut Ctx) {
        self.look_at_engine(ctx);
        ctx.after(SECOND, self.event(NodeTurn::Due(Duty::Lease)));
        // Who its Engine is, is waited for a moment.
        ctx.after(SECOND, self.event(NodeTurn::Due(Duty::Beat(self.beats))));
        self.settle(kept, ctx);
    }

    pub(crate) const fn is_dying(&self) -> bool {
        self.crew.is_dying || matches!(self.heart, Heart::GaveUp)
    }

    pub(crate) const fn set_frailty(&mut self, permille: u64) {
        self.crew.frailty = permille;
    }

    fn party(&self) -> Party {
        Party::Node(self.machine.index)
    }

    fn event(&self, turn: NodeTurn) -> Event {
        Event::Node(self.machine.index, self.generation, turn)
    }

    fn owner(&self) -> Option<Owner> {
        let cluster = self.membership.cluster()?.clone();
        Some(Owner { cluster, node: self.machine.id.clone() })
    }

    // ---------------------------------------------------------------------------------------------------- what happens

    pub(crate) fn turns(&mut self, turn: NodeTurn, kept: &mut Kept, ctx: &mut Ctx) {
        match turn {
            NodeTurn::Due(Duty::Beat(number)) => {
                if matches!(self.heart, Heart::Waits) && number == self.beats {
                    self.next_turn(kept, ctx);
                }
            }
            NodeTurn::Due(Duty::Report) => {
                self.reports_are_due = false;
                self.report(ctx);
            }
            NodeTurn::Due(Duty::Lease) => self.look_at_lease(ctx),
            NodeTurn::Due(Duty::Watch) => self.look_at_engine(ctx),
            NodeTurn::Timer(number) => self.with_crew(kept, ctx, |crew, tools| crew.wakes(number, tools)),
            NodeTurn::EngineSaid(number, said) if number > OWN_NUMBERS => {
                self.engine_said(number, said, kept, ctx);
            }
            NodeTurn::EngineSaid(number, said) => {
                self.with_crew(kept, ctx, |crew, tools| crew.hears(number, said, tools));
            }
        }
        self.settle(kept, ctx);
    }

    /// The master pushes assignments.
    pub(crate) fn is_assigned(&mut self, assignments: Vec<Assignment>, kept: &mut Kept, ctx: &mut Ctx) {
        let Some(session) = &self.session else { return };
        if assignments.iter().all(|one| one.incarnation == session.incarnation) {
            // One that isn't taken is brought by the next beat, or by none.
            let _ = self.desired.push(assignments, self.machine.clock.now());
        }
        self.settle(kept, ctx);
    }

    /// The master pushes a stop.
    pub(crate) fn is_told_to_stop(
        &mut self,
        attempt: &AttemptKey,
        grace_ms: u64,
        kept: &mut Kept,
        ctx: &mut Ctx,
    ) {
        let (grace, now) = (Duration::from_millis(grace_ms), self.machine.clock.now());
        self.desired.stop(&attempt.task, Some(attempt.attempt), Some(grace), now);
        self.settle(kept, ctx);
    }

    /// A call to the master was answered; None: not in time.
    pub(crate) fn hears(&mut self, call: u64, reply: Option<Reply>, kept: &mut Kept, ctx: &mut Ctx) {
        let Some(what) = self.calls.remove(&call) else { return };
        let problem = match &reply {
            Some(Reply::Problem(status, code)) => Some(problem(*status, code)),
            _answered => None,
        };
        match (what, reply) {
            (Call::Register, Some(Reply::Registered(granted))) => {
                let deeds = self.membership.registered(granted);
                self.carry_out(deeds.into(), kept, ctx);
            }
            (Call::Beat { number, sent, at }, Some(Reply::Set(set))) => {
                self.last_answered = at;
                let deeds = self.membership.answered(*set, number, sent);
                self.carry_out(deeds.into(), kept, ctx);
            }
            (Call::Reports, Some(Reply::Verdicts(verdicts))) => {
                for (event, verdict) in self.pending.settle(&verdicts) {
                    if let Some(answer) = event.answer {
                        let _ = answer.try_send(verdict);
                    }
                }
            }
            (Call::Register | Call::Beat { .. }, _) => {
                let deeds = self.membership.failed(problem.as_ref());
                self.carry_out(deeds.into(), kept, ctx);
            }
            (Call::Reports, _) => match self.pending.fail(problem.as_ref()) {
                Refusal::Again => {}
                Refusal::Register => {
                    self.membership.must_register();
                    self.crew.wants_beat = true;
                }
                Refusal::Superseded => self.heart = Heart::GaveUp,
            },
        }
        self.settle(kept, ctx);
    }

    /// Whatever there is to do at once.
    fn settle(&mut self, kept: &mut Kept, ctx: &mut Ctx) {
        self.with_crew(kept, ctx, Crew::go_on);
        while !self.pending.is_full() {
            let Ok(event) = self.told.try_recv() else { break };
            self.pending.push(event);
        }
        let is_reporting = self.calls.values().any(|call| matches!(call, Call::Reports));
        if !self.pending.is_empty() && !is_reporting && !self.reports_are_due {
            self.reports_are_due = true;
            let pause = self.pending.pause().map_or(MS / 10, micros);
            ctx.after(pause, self.event(NodeTurn::Due(Duty::Report)));
        }
        if std::mem::take(&mut self.crew.wants_beat) && matches!(self.heart, Heart::Waits) {
            self.next_turn(kept, ctx);
        }
    }

    fn with_crew(&mut self, kept: &mut Kept, ctx: &mut Ctx, act: impl FnOnce(&mut Crew, &mut Tools<'_>)) {
        let now = self.machine.clock.now();
        let mut tools = Tools {
            desired: &self.desired,
            kept,
            clock: &self.machine.clock,
            lease_allows: self.lease.may_start(now),
            ctx,
        };
        act(&mut self.crew, &mut tools);
    }

    // --------------------------------------------------------------------------------------------------- the heartbeat

    fn next_turn(&mut self, kept: &mut Kept, ctx: &mut Ctx) {
        match self.membership.turn() {
            Turn::Join => unreachable!("it has nothing to join with"),
            Turn::Register => {
                let request =
                    self.offer.registration(&self.by, self.membership.cluster(), self.description.as_ref());
                self.call(Request::Register(Box::new(request)), Call::Register, ctx);
                self.heart = Heart::Calls;
            }
            Turn::Beat(session) if self.must_take_up() => self.list(Then::Beat(session), ctx),
            Turn::Beat(session) => self.beat(&session, ctx),
        }
        let _ = kept;
    }

    fn must_take_up(&self) -> bool {
        self.membership.cluster().is_some() && !self.desired.is_open()
    }

    fn beat(&mut self, session: &Session, ctx: &mut Ctx) {
        let (number, heard, held) = self.desired.begin_beat();
        let is_ready = self.engine_answers && self.desired.takes_work();
        let request = self.offer.beat(session.incarnation, heard, held, is_ready);
        let (sent, at) = (self.machine.clock.now().mono, ctx.now() / MS);
        self.call(Request::Beat(Box::new(request)), Call::Beat { number, sent, at }, ctx);
        self.heart = Heart::Calls;
    }

    fn call(&mut self, request: Request, what: Call, ctx: &mut Ctx) {
        let call = ctx.ask(self.party(), Party::Master, request, PATIENCE);
        self.calls.insert(call, what);
    }

    fn carry_out(&mut self, mut deeds: VecDeque<Deed>, kept: &mut Kept, ctx: &mut Ctx) {
        while let Some(deed) = deeds.pop_front() {
            if ctx.rng.permille(self.crew.frailty) {
                self.crew.is_dying = true;
                return;
            }
            match deed {
                Deed::Keep(cluster, incarnation) => {
                    self.crew.knows(
                        Owner { cluster: cluster.clone(), node: self.machine.id.clone() },
                        self.by.incarnation,
                    );
                    (kept.cluster, kept.incarnation) = (Some(cluster), incarnation.0);
                }
                Deed::Open(session) => self.session = Some(session),
                Deed::TakeUp if self.must_take_up() => return self.list(Then::Deeds(deeds), ctx),
                Deed::TakeUp | Deed::Forget(_) => {}
                Deed::EndLapsed => self.end_lapsed(),
                Deed::Apply(reply, number) => {
                    self.desired.apply(*reply, number, self.machine.clock.now());
                }
                Deed::Renew(sent, length) => self.renew(sent, length, kept, ctx),
                Deed::Wait(time) => return self.wait(time, ctx),
                Deed::GiveUp(_) => {
                    self.heart = Heart::GaveUp;
                    return;
                }
            }
            // The crew is quicker than the rest of the deeds.
            self.with_crew(kept, ctx, Crew::go_on);
        }
        self.next_turn(kept, ctx);
    }

    fn wait(&mut self, time: Duration, ctx: &mut Ctx) {
        self.heart = Heart::Waits;
        self.beats += 1;
        ctx.after(micros(time), self.event(NodeTurn::Due(Duty::Beat(self.beats))));
    }

    fn renew(&mut self, sent: Mono, length: Duration, kept: &mut Kept, ctx: &mut Ctx) {
        let now = self.machine.clock.now();
        ctx.tell(What::BeatAnswered { node: self.machine.id.clone(), sent: self.last_answered });
        if let Some(entry) = self.lease.renew(sent, length, now) {
            kept.lease = Some(entry);
            self.lease.wrote(entry);
        }
        if let Some(left) = self.lease.left(now) {
            ctx.after(micros(left), self.event(NodeTurn::Due(Duty::Lease)));
        }
    }

    fn look_at_lease(&mut self, ctx: &mut Ctx) {
        self.end_lapsed();
        let left = self.lease.left(self.machine.clock.now());
        let next = left.map_or(SECOND, |left| micros(left).clamp(MS, SECOND));
        if next == SECOND {
            ctx.after(next, self.event(NodeTurn::Due(Duty::Lease)));
        }
    }

    fn end_lapsed(&mut self) {
        if let Some(lapse) = self.lease.lapse(self.machine.clock.now()) {
            self.end_leased(lapse);
        }
    }

    fn end_leased(&self, lapse: Lapse) {
        self.desired.end_leased(|own| lapse.grace_left(own), self.machine.clock.now());
    }

    // -------------------------------------------------------------------------------------------------------- reports

    fn report(&mut self, ctx: &mut Ctx) {
        if self.pending.is_empty() {
            return;
        }
        match self.session.clone() {
            Some(session) => {
                let batch = self.pending.batch(&session);
                self.call(Request::Reports(batch), Call::Reports, ctx);
            }
            None => drop(self.pending.fail(None)),
        }
    }

    // --------------------------------------------------------------------------------------------------------- images

    /// The master wants an image here.
    pub(crate) fn is_to_have(&mut self, call: u64, image: ImageRef, kept: &mut Kept, ctx: &mut Ctx) {
        let answer = |reply, ctx: &mut Ctx| ctx.answer(self.party(), Party::Master, call, reply);
        if let Some(known) = self.images.known(&image, ctx.now()) {
            answer(Reply::Image(known), ctx);
        } else if self.engine_answers {
            let number = self.ask_engine(EngineDeed::Has(image.clone()), ctx);
            self.images.asks_engine(number, call, image);
        } else {
            answer(Reply::Problem(503, "engine"), ctx);
        }
        self.settle(kept, ctx);
    }

    fn says_whether_it_has(&mut self, number: u64, held: Result<bool, EngineError>, ctx: &mut Ctx) {
        let Some((call, image)) = self.images.held(number) else { return };
        let reply = match held {
            Ok(true) => {
                let (node, image) = (self.machine.id.clone(), image.as_str().to_owned());
                ctx.tell(What::HasImage { node, image });
                Reply::Image(Ok(Prepared::Present))
            }
            Ok(false) => {
                let pull = self.ask_engine(EngineDeed::Pull(image.clone()), ctx);
                self.images.pulls(pull, image.clone());
                Reply::Image(Ok(images::pulling(&image)))
            }
            Err(_) => Reply::Problem(503, "engine"),
        };
        ctx.answer(self.party(), Party::Master, call, reply);
    }

    // ------------------------------------------------------------------------------------------------------ the Engine

    fn list(&mut self, then: Then, ctx: &mut Ctx) {
        let Some(owner) = self.owner() else { return };
        self.heart = Heart::Lists(then);
        self.listing = Some(self.ask_engine(EngineDeed::List(owner), ctx));
    }

    fn look_at_engine(&mut self, ctx: &mut Ctx) {
        self.describing = Some(self.ask_engine(EngineDeed::Describe, ctx));
    }

    fn ask_engine(&mut self, deed: EngineDeed, ctx: &mut Ctx) -> u64 {
        self.last_own += 1;
        let turn = EngineTurn::Do(self.generation, self.last_own, deed);
        let most = if matches!(turn, EngineTurn::Do(.., EngineDeed::Pull(_))) { 4_000 } else { 20 };
        let delay = ctx.rng.within(MS / 5, most * MS);
        ctx.after(delay, Event::Engine(self.machine.index, turn));
        self.last_own
    }

    fn engine_said(&mut self, number: u64, said: Said, kept: &mut Kept, ctx: &mut Ctx) {
        match said {
            Said::Described(described) if self.describing == Some(number) => {
                let answers = described.is_ok();
                if let Ok(said) = described {
                    let is_news = self.description.replace(said).is_none();
                    if is_news && self.session.is_some() {
                        self.membership.must_register();
                    }
                }
                self.crew.wants_beat |= answers != self.engine_answers;
                self.engine_answers = answers;
                if answers && let Some(owner) = self.owner() {
                    self.ask_engine(EngineDeed::List(owner), ctx);
                }
                let next = if answers { micros(HEARTBEAT) } else { SECOND };
                ctx.after(next, self.event(NodeTurn::Due(Duty::Watch)));
            }
            Said::Listed(listed) if self.listing == Some(number) => {
                self.listing = None;
                if let Ok(found) = listed {
                    let ends = kept.outbox.iter().map(|(key, step)| (key.clone(), step.clone()));
                    self.desired.adopt(found, ends.collect(), &kept.stops);
                    if let Some(lapse) = self.lease.judge_what_was_taken_up(self.machine.clock.now()) {
                        self.end_leased(lapse);
                    }
                }
                match std::mem::replace(&mut self.heart, Heart::Waits) {
                    Heart::Lists(Then::Beat(session)) => self.beat(&session, ctx),
                    Heart::Lists(Then::Deeds(deeds)) => self.carry_out(deeds, kept, ctx),
                    other => self.heart = other,
                }
            }
            Said::Listed(Ok(found)) => {
                self.desired.take_up_late(found);
            }
            Said::Held(held) => self.says_whether_it_has(number, held, ctx),
            Said::Pulled(done) => self.images.pulled(number, &done, ctx.now()),
            Said::Listed(Err(_))
            | Said::Described(_)
            | Said::Created(_)
            | Said::Inspected(_)
            | Said::Started(_)
            | Said::Waited(_)
            | Said::Stopped(_)
            | Said::Removed(_) => {}
        }
    }
}

fn problem(status: u16, code: &'static str) -> Problem {
    Problem::new(status, code, code, code)
}
