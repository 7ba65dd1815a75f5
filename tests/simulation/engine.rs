//! A node's Engine: the hollow one, on virtual time. It outlives the worker; it can be killed, hung, and odd: an answer
//! is lost after the deed. A call takes effect when its turn comes, whether anybody still waits for it or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use podling::engine::hollow::HollowEngine;
use podling::engine::{ContainerRequest, Description, Engine, EngineError, Listed, Observed, Owner, Phase};
use podling::model::id::{ContainerId, Incarnation, NodeId};
use podling::model::spec::ImageRef;
use podling::model::time::WallTime;

use super::ctx::Ctx;
use super::time::{MS, MachineClock, Micros, SECOND};
use super::world::{EngineTurn, Event, NodeTurn};
use crate::checker::history::{Because, What};
use podling::model::id::AttemptKey;

/// After how long a call at an Engine that doesn't answer is given up.
const DEADLINE: Micros = 10 * SECOND;

/// What a worker asks of its Engine.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Describe,
    List(Owner),
    Has(ImageRef),
    Pull(ImageRef),
    Create(Box<ContainerRequest>),
    Inspect(String),
    Start(ContainerId, Incarnation),
    /// Until it ends.
    Wait(ContainerId),
    Stop(ContainerId, Duration),
    Remove(ContainerId),
}

/// What it says.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Described(Result<Description, EngineError>),
    Listed(Result<Vec<Listed>, EngineError>),
    Held(Result<bool, EngineError>),
    Pulled(Result<(), EngineError>),
    Created(Result<ContainerId, EngineError>),
    Inspected(Result<Observed, EngineError>),
    Started(Result<(), EngineError>),
    Waited(Result<bool, EngineError>),
    Stopped(Result<(), EngineError>),
    Removed(Result<(), EngineError>),
}

/// What is known of a container from outside.
#[derive(Clone, Debug, Default)]
struct Known {
    has_started: bool,
    has_ended: bool,
    was_signalled: bool,
    /// What the wall clock showed then; the hollow one counts from the start.
    ended_at: Option<WallTime>,
}

/// The Engine of one node.
pub(crate) struct SimEngine {
    index: usize,
    node: NodeId,
    /// What it calls itself: nodes that share an Engine share that.
    id: String,
    clock: MachineClock,
    hollow: Arc<HollowEngine>,
    known: BTreeMap<ContainerId, Known>,
    /// Calls that wait for a container's end: the worker's generation and its number for them.
    waits: BTreeMap<ContainerId, Vec<(u64, u64)>>,
    /// Calls that came while it hung.
    held: Vec<(u64, u64, Deed)>,
    pub(crate) is_down: bool,
    pub(crate) is_hung: bool,
    /// How often in a thousand an answer is lost after the deed.
    pub(crate) odd: u64,
}

impl SimEngine {
    pub(crate) fn new(index: usize, node: NodeId, clock: MachineClock, id: String) -> Self {
        let shown = clock.clone();
        let hollow = HollowEngine::with_clock(format!("engine{index}"), Arc::new(move || shown.now()));
        Self {
            index,
            node,
            id,
            clock,
            hollow: Arc::new(hollow),
            known: BTreeMap::new(),
            waits: BTreeMap::new(),
            held: Vec::new(),
            is_down: false,
            is_hung: false,
            odd: 0,
        }
    }

    /// A call's turn has come.
    pub(crate) fn carry_out(&mut self, generation: u64, number: u64, deed: Deed, ctx: &mut Ctx) {
        if self.is_down {
            return self.say(generation, number, unreachable(&deed), ctx);
        }
        if self.is_hung {
            let late = NodeTurn::EngineSaid(number, timed_out(&deed));
            ctx.after(DEADLINE, Event::Node(self.index, generation, late));
            self.held.push((generation, number, deed));
            return;
        }
        if let Deed::Wait(container) = &deed
            && self.runs(container)
        {
            self.waits.entry(container.clone()).or_default().push((generation, number));
            return;
        }
        let odd = ctx
            .rng
            .permille(self.odd)
            .then(|| if ctx.rng.permille(500) { unreachable(&deed) } else { timed_out(&deed) });
        // An answer that is lost may be one to a deed that wasn't done.
        if let Some(lost) = &odd
            && ctx.rng.permille(400)
        {
            return self.say(generation, number, lost.clone(), ctx);
        }
        let said = self.act(deed, ctx);
        self.say(generation, number, odd.unwrap_or(said), ctx);
    }

    fn say(&self, generation: u64, number: u64, said: Said, ctx: &mut Ctx) {
        let delay = ctx.rng.within(MS / 10, 3 * MS);
        ctx.after(delay, Event::Node(self.index, generation, NodeTurn::EngineSaid(number, said)));
    }

    fn act(&mut self, deed: Deed, ctx: &mut Ctx) -> Said {
        match deed {
            Deed::Describe => {
                let described = self.hollow.describe();
                Said::Described(described.map(|said| Description { id: self.id.clone(), ..said }))
            }
            Deed::Has(image) => Said::Held(self.hollow.has_image(&image)),
            Deed::List(owner) => {
                let mut listed = self.hollow.list(&owner);
                if let Ok(all) = &mut listed {
                    all.sort_by(|one, other| one.id.cmp(&other.id));
                }
                Said::Listed(listed)
            }
            Deed::Pull(image) => Said::Pulled(self.hollow.pull(&image, &mut |_| {})),
            Deed::Create(request) => self.create(&request, ctx),
            Deed::Inspect(subject) => {
                let mut seen = self.hollow.inspect(&subject);
                if let Ok(seen) = &mut seen
                    && let Some(ended) = self.known.get(&seen.id).and_then(|known| known.ended_at)
                {
                    seen.finished_at = Some(ended);
                }
                Said::Inspected(seen)
            }
            Deed::Start(container, by) => self.start(&container, by, ctx),
            Deed::Wait(container) => Said::Waited(self.hollow.inspect(container.as_str()).map(|_| true)),
            Deed::Stop(container, grace) => self.stop(&container, grace, ctx),
            Deed::Remove(container) => {
                let was_there = self.hollow.inspect(container.as_str()).is_ok();
                if self.runs(&container) {
                    // By force: it is killed first.
                    let _ = self.stop(&container, Duration::ZERO, ctx);
                }
                let removed = self.hollow.remove(&container);
                if was_there && removed.is_ok() {
                    ctx.tell(What::Removed { container });
                }
                Said::Removed(removed)
            }
        }
    }

    fn create(&mut self, request: &ContainerRequest, ctx: &mut Ctx) -> Said {
        let created = self.hollow.create(request);
        if let Ok(container) = &created {
            self.known.insert(container.clone(), Known::default());
            ctx.tell(What::Made {
                container: container.clone(),
                node: self.node.clone(),
                key: AttemptKey { task: request.key.task.clone(), attempt: request.key.attempt },
                leased: request.spec.on_node_lost.is_leased(),
            });
        }
        Said::Created(created)
    }

    fn start(&mut self, container: &ContainerId, by: Incarnation, ctx: &mut Ctx) -> Said {
        let began =
            |engine: &HollowEngine| engine.inspect(container.as_str()).ok().and_then(|seen| seen.started_at);
        let before = began(&self.hollow);
        let started = self.hollow.start(container);
        let after = began(&self.hollow);
        if after.is_some() && before != after {
            let known = self.known.entry(container.clone()).or_default();
            *known = Known { has_started: true, ..Known::default() };
            ctx.tell(What::Started { container: container.clone(), by: Some(by) });
            self.watch_end(container, ctx);
        }
        Said::Started(started)
    }

    fn stop(&mut self, container: &ContainerId, grace: Duration, ctx: &mut Ctx) -> Said {
        let ran = self.runs(container);
        if let Err(error) = self.hollow.begin_stop(container, grace) {
            return Said::Stopped(Err(error));
        }
        self.known.entry(container.clone()).or_default().was_signalled |= ran;
        self.watch_end(container, ctx);
        Said::Stopped(Ok(()))
    }

    fn watch_end(&mut self, container: &ContainerId, ctx: &mut Ctx) {
        if let Ok(Some(ends)) = self.hollow.ends_at(container) {
            let at = self.clock.world_at(ends);
            ctx.at(at, Event::Engine(self.index, EngineTurn::Ends(container.clone())));
        }
        self.ends(container, ctx);
    }

    /// A container's end may have come.
    pub(crate) fn ends(&mut self, container: &ContainerId, ctx: &mut Ctx) {
        self.note_end(container, ctx, Because::Itself);
    }

    fn note_end(&mut self, container: &ContainerId, ctx: &mut Ctx, because: Because) {
        let Ok(seen) = self.hollow.inspect(container.as_str()) else { return };
        let Some(known) = self.known.get_mut(container) else { return };
        if !known.has_started || known.has_ended || seen.phase != Phase::Exited {
            return;
        }
        (known.has_ended, known.ended_at) = (true, Some(self.clock.now().wall));
        let because = if known.was_signalled { Because::Signal } else { because };
        let (exit_code, oom) = (seen.exit_code, seen.oom_killed);
        ctx.tell(What::Ended { container: container.clone(), exit_code, oom, because });
        for (generation, number) in self.waits.remove(container).unwrap_or_default() {
            if !self.is_hung {
                self.say(generation, number, Said::Waited(Ok(true)), ctx);
            } else {
                self.held.push((generation, number, Deed::Wait(container.clone())));
            }
        }
    }

    fn runs(&self, container: &ContainerId) -> bool {
        self.hollow.inspect(container.as_str()).is_ok_and(|seen| seen.phase == Phase::Running)
    }

    /// kill -9: what runs ends with 137, and who waits is let down.
    pub(crate) fn dies(&mut self, ctx: &mut Ctx) {
        self.hollow.restart();
        self.is_down = true;
        let all: Vec<ContainerId> = self.known.keys().cloned().collect();
        for container in all {
            self.waits.remove(&container).unwrap_or_default().into_iter().for_each(|(generation, number)| {
                let lost = unreachable(&Deed::Wait(container.clone()));
                self.say(generation, number, lost, ctx);
            });
            self.note_end(&container, ctx, Because::Engine);
        }
        for (generation, number, deed) in std::mem::take(&mut self.held) {
            self.say(generation, number, unreachable(&deed), ctx);
        }
    }

    /// It goes on after it hung: what was asked meanwhile is done now.
    pub(crate) fn wakes(&mut self, ctx: &mut Ctx) {
        self.is_hung = false;
        for (generation, number, deed) in std::mem::take(&mut self.held) {
            self.carry_out(generation, number, deed, ctx);
        }
    }

    /// Whether there is no container.
    pub(crate) fn is_empty(&self) -> bool {
        self.hollow.containers().is_empty()
    }

    /// Every container that there is.
    pub(crate) fn containers(&self) -> Vec<Observed> {
        let ids = self.known.keys();
        ids.filter_map(|id| self.hollow.inspect(id.as_str()).ok()).collect()
    }
}

fn failed(deed: &Deed, error: EngineError) -> Said {
    match deed {
        Deed::Describe => Said::Described(Err(error)),
        Deed::List(_) => Said::Listed(Err(error)),
        Deed::Has(_) => Said::Held(Err(error)),
        Deed::Pull(_) => Said::Pulled(Err(error)),
        Deed::Create(_) => Said::Created(Err(error)),
        Deed::Inspect(_) => Said::Inspected(Err(error)),
        Deed::Start(..) => Said::Started(Err(error)),
        Deed::Wait(_) => Said::Waited(Err(error)),
        Deed::Stop(..) => Said::Stopped(Err(error)),
        Deed::Remove(_) => Said::Removed(Err(error)),
    }
}

fn unreachable(deed: &Deed) -> Said {
    failed(deed, EngineError::Unreachable { operation: "call", why: "connection refused".to_owned() })
}

fn timed_out(deed: &Deed) -> Said {
    failed(deed, EngineError::TimedOut { operation: "call", after: Duration::from_micros(DEADLINE) })
}
