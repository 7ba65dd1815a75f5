//! A node: its machine, with an Engine and a disk, which stay, and its worker's process, which may end between any two
//! steps.

use std::collections::BTreeMap;

use podling::model::id::{AttemptKey, ClusterId, NodeId};
use podling::worker::hold::Signal;
use podling::worker::lease::book::LeaseEntry;
use podling::worker::step::Step;

use super::ctx::Ctx;
use super::engine::SimEngine;
use super::net::{Reply, Request};
use super::plan::Offered;
use super::process::Process;
use super::show;
use super::time::MachineClock;
use super::world::{EngineTurn, NodeTurn};
use crate::checker::history::What;

/// What outlives the worker's process.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) incarnation: u64,
    pub(crate) starts: u64,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) lease: Option<LeaseEntry>,
    pub(crate) outbox: BTreeMap<AttemptKey, Step>,
    /// What containers were sent.
    pub(crate) stops: BTreeMap<AttemptKey, Signal>,
}

/// What of a node stays the same.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) index: usize,
    pub(crate) id: NodeId,
    pub(crate) clock: MachineClock,
    pub(crate) capacity: u32,
    pub(crate) has: Offered,
}

/// The node.
pub(crate) struct Node {
    machine: Machine,
    pub(crate) engine: SimEngine,
    kept: Kept,
    process: Option<Process>,
    /// Counts starts, so that what an earlier process had planned is void.
    generation: u64,
    /// How often in a thousand a step is the process's last.
    pub(crate) frailty: u64,
}

impl Node {
    pub(crate) fn new(index: usize, clock: MachineClock, capacity: u32, has: Offered) -> Self {
        let id = show::node_id(index);
        let engine = SimEngine::new(index, id.clone(), clock.clone(), has.engine_id.clone());
        let machine = Machine { index, id, clock, capacity, has };
        Self { machine, engine, kept: Kept::default(), process: None, generation: 0, frailty: 0 }
    }

    /// The worker starts, unless it runs.
    pub(crate) fn starts(&mut self, ctx: &mut Ctx) {
        if self.process.is_some() {
            return;
        }
        self.generation += 1;
        self.kept.starts += 1;
        // On disk before anybody hears of it.
        self.kept.incarnation += 1;
        let incarnation = podling::model::id::Incarnation(self.kept.incarnation);
        ctx.tell(What::WorkerBegan { node: self.machine.id.clone(), incarnation });
        let mut process = Process::new(self.machine.clone(), self.generation, &self.kept);
        process.begins(&mut self.kept, ctx);
        self.process = Some(process);
    }

    /// kill -9.
    pub(crate) fn is_killed(&mut self, ctx: &mut Ctx) {
        if self.process.take().is_some() {
            self.generation += 1;
            ctx.tell(What::WorkerEnded { node: self.machine.id.clone() });
        }
    }

    /// Whether its worker has come to its end by itself.
    pub(crate) fn is_dying(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_dying)
    }

    pub(crate) fn set_wall(&self, off_ms: i64) {
        self.machine.clock.set_wall(off_ms);
    }

    pub(crate) fn turns(&mut self, generation: u64, turn: NodeTurn, ctx: &mut Ctx) {
        if generation == self.generation {
            self.with_process(ctx, |process, kept, ctx| process.turns(turn, kept, ctx));
        }
    }

    pub(crate) fn engine_turns(&mut self, turn: EngineTurn, ctx: &mut Ctx) {
        match turn {
            EngineTurn::Do(generation, number, deed) => self.engine.carry_out(generation, number, deed, ctx),
            EngineTurn::Ends(container) => self.engine.ends(&container, ctx),
        }
    }

    /// The master's push, or its question.
    pub(crate) fn is_asked(&mut self, call: u64, request: Request, ctx: &mut Ctx) {
        self.with_process(ctx, |process, kept, ctx| match request {
            Request::Assign(assignments) => process.is_assigned(assignments, kept, ctx),
            Request::StopThere { attempt, grace_ms } => {
                process.is_told_to_stop(&attempt, grace_ms, kept, ctx);
            }
            Request::Prepare(image) => process.is_to_have(call, image, kept, ctx),
            Request::Register(_)
            | Request::Beat(_)
            | Request::Reports(_)
            | Request::Create { .. }
            | Request::Stop { .. }
            | Request::Remove { .. }
            | Request::Get { .. }
            | Request::List
            | Request::Availability { .. } => {}
        });
    }

    pub(crate) fn hears(&mut self, call: u64, reply: Reply, ctx: &mut Ctx) {
        self.with_process(ctx, |process, kept, ctx| process.hears(call, Some(reply), kept, ctx));
    }

    pub(crate) fn gives_up(&mut self, call: u64, ctx: &mut Ctx) {
        self.with_process(ctx, |process, kept, ctx| process.hears(call, None, kept, ctx));
    }

    fn with_process(&mut self, ctx: &mut Ctx, act: impl FnOnce(&mut Process, &mut Kept, &mut Ctx)) {
        if let Some(process) = &mut self.process {
            process.set_frailty(self.frailty);
            act(process, &mut self.kept, ctx);
        }
    }
}
