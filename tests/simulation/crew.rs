//! The hands of a worker: walks, places, slots, and orders to stop, carried out one step at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use podling::api::wire::agent::Verdict;
use podling::engine::{ContainerKey, EngineError, Owner};
use podling::model::id::{AttemptKey, ContainerId, Incarnation};
use podling::worker::desired::Desired;
use podling::worker::hold::Halt;
use podling::worker::job::{Charge, Job};
use podling::worker::leash::Leash;
use podling::worker::reporter::Event as Told;
use podling::worker::walk::{Answer, Ask, Facts, PullNews, Walk};

use super::ctx::Ctx;
use super::engine::{Deed, Said};
use super::node::Kept;
use super::time::{MS, MachineClock, Micros, micros};
use super::world::{EngineTurn, Event, NodeTurn};

/// Calls to the Engine at once.
const SLOTS: usize = 4;

/// How long an order to stop waits before it tries an Engine that doesn't answer again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How much of a log the Engine keeps. Nothing here writes so much.
const LOG_MAX_BYTES: u64 = 1 << 20;

/// One attempt that is walked with.
struct Walking {
    walk: Walk,
    charge: Charge,
    verdict: Option<Receiver<Verdict>>,
    /// What its last ask waits for.
    waits: Waits,
}

/// What a walk waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Waits {
    /// An answer of the Engine, or a timer.
    Number(u64),
    /// A pull, which an order to stop cuts short.
    Pull(u64),
    /// The verdict.
    Verdict,
    /// A slot, for an ask that needs one.
    Slot,
}

/// Whose an answer of the Engine is.
#[derive(Clone, Debug)]
enum Caller {
    Walk(u64),
    Halt(Order),
}

/// An order to stop that is being carried out.
#[derive(Clone, Debug)]
struct Order {
    container: ContainerId,
    grace: Duration,
    leash: Arc<Leash>,
}

/// See the file's header.
pub(crate) struct Crew {
    index: usize,
    generation: u64,
    incarnation: Incarnation,
    owner: Option<Owner>,
    places: usize,
    jobs: Receiver<Job>,
    queue: VecDeque<Charge>,
    walks: BTreeMap<u64, Walking>,
    last: u64,
    callers: BTreeMap<u64, Caller>,
    /// Asks that wait for a slot, oldest first.
    for_slots: VecDeque<(u64, Ask)>,
    slots: BTreeSet<u64>,
    /// Somebody wants a beat now.
    pub(crate) wants_beat: bool,
    /// How often in a thousand a step is the process's last.
    pub(crate) frailty: u64,
    pub(crate) is_dying: bool,
}

/// What a crew works with.
pub(crate) struct Tools<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) kept: &'a mut Kept,
    pub(crate) clock: &'a MachineClock,
    /// Whether the lease allows a start.
    pub(crate) lease_allows: bool,
    pub(crate) ctx: &'a mut Ctx,
}

impl Crew {
    pub(crate) fn new(index: usize, generation: u64, jobs: Receiver<Job>, places: u32) -> Self {
        Self {
            index,
            generation,
            incarnation: Incarnation(0),
            owner: None,
            places: usize::try_from(places).unwrap_or(usize::MAX),
            jobs,
            queue: VecDeque::new(),
            walks: BTreeMap::new(),
            last: 0,
            callers: BTreeMap::new(),
            for_slots: VecDeque::new(),
            slots: BTreeSet::new(),
            wants_beat: false,
            frailty: 0,
            is_dying: false,
        }
    }

    /// Whose containers are meant, and which start of the worker asks for them.
    pub(crate) fn knows(&mut self, owner: Owner, incarnation: Incarnation) {
        self.owner = Some(owner);
        self.incarnation = incarnation;
    }

    /// Does what there is to do at once: jobs, verdicts, orders that cut a wait short.
    pub(crate) fn go_on(&mut self, tools: &mut Tools<'_>) {
        loop {
            while let Ok(job) = self.jobs.try_recv() {
                match job {
                    Job::Walk(charge) => self.queue.push_back(charge),
                    Job::Halt { key, halt, leash } => self.halt(key, halt, leash, tools),
                }
            }
            let began = self.fill_places(tools);
            let moved = self.move_who_waits(tools);
            if self.is_dying || !(began || moved) {
                return;
            }
        }
    }

    fn fill_places(&mut self, tools: &mut Tools<'_>) -> bool {
        let Some(owner) = self.owner.clone() else { return false };
        let mut began = false;
        while self.walks.len() < self.places && !self.is_dying {
            let Some(charge) = self.queue.pop_front() else { break };
            began = true;
            self.last += 1;
            let number = self.last;
            let key = ContainerKey {
                owner: owner.clone(),
                task: charge.key.task.clone(),
                attempt: charge.key.attempt,
            };
            let mut walk = Walk::new(key, charge.what.clone(), LOG_MAX_BYTES);
            let ask = walk.begin(&facts(&charge, tools));
            self.walks.insert(number, Walking { walk, charge, verdict: None, waits: Waits::Slot });
            self.carry_out(number, ask, tools);
        }
        began
    }

    /// Walks whose verdict is there, or whose wait an order to stop cuts short.
    fn move_who_waits(&mut self, tools: &mut Tools<'_>) -> bool {
        let ready = self.walks.iter().find_map(|(number, walking)| match &walking.waits {
            Waits::Verdict => {
                let verdict = walking.verdict.as_ref()?.try_recv().ok()?;
                Some((*number, Answer::Verdict(verdict)))
            }
            Waits::Pull(_) => walking.charge.leash.cause().map(|_| (*number, Answer::Pull(PullNews::None))),
            Waits::Number(_) | Waits::Slot => None,
        });
        let Some((number, answer)) = ready else { return false };
        self.advance(number, answer, tools);
        true
    }

    /// The Engine answered, or a timer ran out.
    pub(crate) fn hears(&mut self, number: u64, said: Said, tools: &mut Tools<'_>) {
        if self.slots.remove(&number) {
            self.grant_slots(tools);
        }
        match self.callers.remove(&number) {
            None => {}
            Some(Caller::Halt(order)) => self.stopped(order, said, tools),
            Some(Caller::Walk(walk)) => {
                let waits = self.walks.get(&walk).map(|walking| walking.waits.clone());
                if matches!(waits, Some(Waits::Number(at) | Waits::Pull(at)) if at == number) {
                    self.advance(walk, answer(said), tools);
                }
            }
        }
    }

    /// A timer of a walk ran out.
    pub(crate) fn wakes(&mut self, number: u64, tools: &mut Tools<'_>) {
        match self.callers.remove(&number) {
            None => {}
            Some(Caller::Halt(order)) => self.stop_now(order, tools),
            Some(Caller::Walk(walk))
                if self.walks.get(&walk).is_some_and(|walking| walking.waits == Waits::Number(number)) =>
            {
                self.advance(walk, Answer::Done, tools);
            }
            Some(Caller::Walk(_)) => {}
        }
    }

    fn advance(&mut self, number: u64, answer: Answer, tools: &mut Tools<'_>) {
        let Some(walking) = self.walks.get_mut(&number) else { return };
        let facts = facts(&walking.charge, tools);
        let ask = walking.walk.advance(answer, &facts);
        self.carry_out(number, ask, tools);
    }

    /// Carries out asks until one has to be waited for, or the process dies.
    fn carry_out(&mut self, number: u64, ask: Ask, tools: &mut Tools<'_>) {
        let mut ask = ask;
        loop {
            if tools.ctx.rng.permille(self.frailty) {
                self.is_dying = true;
                return;
            }
            match self.at_once(number, ask, tools) {
                Some(next) => ask = next,
                None => return,
            }
        }
    }

    /// One ask. Gives the next one where nothing has to be waited for.
    fn at_once(&mut self, number: u64, ask: Ask, tools: &mut Tools<'_>) -> Option<Ask> {
        let walking = self.walks.get_mut(&number)?;
        let key = walking.charge.key.clone();
        match ask {
            Ask::Note(note) => {
                tools.desired.note(&key, note, &walking.charge.leash, tools.clock.now());
            }
            Ask::KeepEnd(step) => drop(tools.kept.outbox.insert(key, step)),
            Ask::DropEnd => {
                tools.kept.outbox.remove(&key);
                tools.kept.stops.remove(&key);
            }
            Ask::Tell(step) => tools.desired.report(Told { key, step, answer: None }),
            Ask::TellEnd(step) => {
                let (answer, verdict) = bounded(1);
                walking.verdict = Some(verdict);
                tools.desired.report(Told { key, step, answer: Some(answer) });
            }
            Ask::Nudge => self.wants_beat = true,
            Ask::MissLog(_) => {}
            Ask::CollectLog(_) => {
                let facts = facts(&walking.charge, tools);
                return Some(walking.walk.advance(Answer::Collected(Ok(())), &facts));
            }
            Ask::AwaitVerdict => {
                walking.waits = Waits::Verdict;
                return None;
            }
            Ask::Pause(time) | Ask::AwaitLease(time) => {
                let timer = self.wait_for(number, Waits::Number);
                tools.ctx.after(micros(time), self.event(NodeTurn::Timer(timer)));
                return None;
            }
            Ask::Finish | Ask::Leave => {
                walking.charge.leash.let_go();
                self.walks.remove(&number);
                return None;
            }
            Ask::Pull(_)
            | Ask::Create(_)
            | Ask::Inspect(_)
            | Ask::Slot
            | Ask::Start(_)
            | Ask::Wait(..)
            | Ask::Kill(_)
            | Ask::Remove(_) => {
                self.at_the_engine(number, ask, tools);
                return None;
            }
        }
        let facts = facts(&self.walks.get(&number)?.charge, tools);
        Some(self.walks.get_mut(&number)?.walk.advance(Answer::Done, &facts))
    }

    fn at_the_engine(&mut self, number: u64, ask: Ask, tools: &mut Tools<'_>) {
        match ask {
            Ask::Wait(container, _) => self.call(number, Deed::Wait(container), Waits::Number, tools),
            Ask::Pull(image) => self.call(number, Deed::Pull(image), Waits::Pull, tools),
            Ask::Kill(container) => {
                self.call(number, Deed::Stop(container, Duration::ZERO), Waits::Number, tools);
            }
            Ask::Start(container) => {
                // In the slot that it has.
                self.slots.remove(&slot_of(number));
                let start = Deed::Start(container, self.incarnation);
                self.call(number, start, Waits::Number, tools);
                self.slots.insert(self.last);
            }
            other => {
                if let Some(walking) = self.walks.get_mut(&number) {
                    walking.waits = Waits::Slot;
                }
                self.for_slots.push_back((number, other));
                self.grant_slots(tools);
            }
        }
    }

    /// Calls that waited for a slot get one.
    fn grant_slots(&mut self, tools: &mut Tools<'_>) {
        while self.slots.len() < SLOTS && !self.is_dying {
            let Some((number, ask)) = self.for_slots.pop_front() else { return };
            let deed = match ask {
                Ask::Create(request) => Deed::Create(request),
                Ask::Inspect(subject) => Deed::Inspect(subject),
                Ask::Remove(container) => Deed::Remove(container),
                Ask::Slot => {
                    self.slots.insert(slot_of(number));
                    self.advance(number, Answer::Done, tools);
                    // Where no start followed, it is given back.
                    self.slots.remove(&slot_of(number));
                    continue;
                }
                Ask::Pull(_)
                | Ask::Start(_)
                | Ask::Wait(..)
                | Ask::Kill(_)
                | Ask::CollectLog(_)
                | Ask::MissLog(_)
                | Ask::Pause(_)
                | Ask::AwaitLease(_)
                | Ask::Note(_)
                | Ask::KeepEnd(_)
                | Ask::DropEnd
                | Ask::Tell(_)
                | Ask::TellEnd(_)
                | Ask::AwaitVerdict
                | Ask::Nudge
                | Ask::Finish
                | Ask::Leave => continue,
            };
            self.call(number, deed, Waits::Number, tools);
            self.slots.insert(self.last);
        }
    }

    /// A call goes to the Engine, and takes effect a moment later.
    fn call(&mut self, walk: u64, deed: Deed, waits: fn(u64) -> Waits, tools: &mut Tools<'_>) {
        let is_pull = matches!(deed, Deed::Pull(_));
        let number = self.wait_for(walk, waits);
        self.send(number, deed, is_pull, tools.ctx);
    }

    fn send(&self, number: u64, deed: Deed, is_pull: bool, ctx: &mut Ctx) {
        let (low, high) = if is_pull { (50 * MS, 4_000 * MS) } else { (MS / 5, 30 * MS) };
        let delay: Micros = ctx.rng.within(low, high);
        ctx.after(delay, Event::Engine(self.index, EngineTurn::Do(self.generation, number, deed)));
    }

    fn wait_for(&mut self, walk: u64, waits: fn(u64) -> Waits) -> u64 {
        self.last += 1;
        self.callers.insert(self.last, Caller::Walk(walk));
        if let Some(walking) = self.walks.get_mut(&walk) {
            walking.waits = waits(self.last);
        }
        self.last
    }

    fn event(&self, turn: NodeTurn) -> Event {
        Event::Node(self.index, self.generation, turn)
    }

    // ------------------------------------------------------------------------------------------------------ stopping

    fn halt(&mut self, key: AttemptKey, halt: Halt, leash: Arc<Leash>, tools: &mut Tools<'_>) {
        if let Some(signal) = leash.signal() {
            tools.kept.stops.insert(key, signal);
            self.is_dying |= tools.ctx.rng.permille(self.frailty);
            if self.is_dying {
                return;
            }
        }
        match halt {
            Halt::Term(container, grace) => self.stop_now(Order { container, grace, leash }, tools),
            Halt::KillAfter(container, wait) => {
                self.later(Order { container, grace: Duration::ZERO, leash }, wait, tools);
            }
        }
    }

    fn later(&mut self, order: Order, wait: Duration, tools: &mut Tools<'_>) {
        self.last += 1;
        self.callers.insert(self.last, Caller::Halt(order));
        tools.ctx.after(micros(wait), self.event(NodeTurn::Timer(self.last)));
    }

    fn stop_now(&mut self, order: Order, tools: &mut Tools<'_>) {
        if order.leash.over().requested() {
            return;
        }
        self.last += 1;
        let deed = Deed::Stop(order.container.clone(), order.grace);
        self.callers.insert(self.last, Caller::Halt(order));
        self.send(self.last, deed, false, tools.ctx);
    }

    fn stopped(&mut self, order: Order, said: Said, tools: &mut Tools<'_>) {
        match said {
            Said::Stopped(Ok(()) | Err(EngineError::NotFound { .. })) => {}
            _failed => {
                let grace = order.grace.saturating_sub(TRY_AGAIN);
                self.later(Order { grace, ..order }, TRY_AGAIN, tools);
            }
        }
    }
}

/// A slot that a walk holds between two asks.
const fn slot_of(walk: u64) -> u64 {
    u64::MAX - walk
}

fn facts(charge: &Charge, tools: &Tools<'_>) -> Facts {
    Facts {
        now: tools.clock.now(),
        pulled: charge.leash.cause(),
        signal: charge.leash.signal(),
        earlier: charge.leash.earlier(),
        may_start: !tools.desired.is_leased(&charge.key) || tools.lease_allows,
        is_leaving: false,
    }
}

fn answer(said: Said) -> Answer {
    match said {
        Said::Pulled(done) => Answer::Pull(PullNews::Done(done)),
        Said::Created(created) => Answer::Created(created),
        Said::Inspected(seen) => Answer::Inspected(seen),
        Said::Started(started) => Answer::Started(started),
        Said::Waited(ended) => Answer::Waited(ended),
        Said::Stopped(killed) => Answer::Killed(killed),
        Said::Removed(removed) => Answer::Removed(removed),
        Said::Described(_) | Said::Listed(_) | Said::Held(_) => Answer::Gone,
    }
}
