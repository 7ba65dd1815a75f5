//! An engine without containers, for tests, simulation and scale runs.
//!
//! [`HollowEngine`] keeps containers as entries of a map, and no threads: how a container ends follows from when
//! it started and from what its environment said (`behaviour.rs`), so whoever looks computes it. `wait` sleeps
//! until that moment, on a condition that is signalled where one moves it.
//!
//! A test of one thread gives it a clock of its own ([`HollowEngine::with_clock`]) and uses what never blocks:
//! [`HollowEngine::begin_stop`], [`HollowEngine::begin_pull`] and [`HollowEngine::ends_at`] are what the blocking
//! calls are built on.
//!
//! Each engine has one mutex, held for a few map operations; engines share nothing. It forgets everything when
//! its process ends. Faults are put in by [`HollowEngine::set_down`] and by tasks' environments; what must never
//! happen twice is counted where [`HollowEngine::recording`] made it.
//!
//! Images: every image is held, except that one with the path component `missing` is neither held nor to be
//! had, and one with `remote` is held once it was pulled.

mod behaviour;
mod log;
mod steps;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use ulid::Ulid;

use crate::engine::{
    ContainerKey, ContainerRequest, Description, Engine, EngineError, Listed, LogRecords, LogRequest,
    Observed, Owner, Phase, PullProgress, Usage,
};
use crate::model::id::ContainerId;
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::spec::ImageRef;
use crate::model::time::{Mono, Now, WallTime};
use crate::runtime::clock;

use behaviour::{Behaviour, Fail};

/// What a container gets as its exit code from TERM and from KILL: 128 and the signal's number.
const CODE_TERM: i32 = 143;
const CODE_KILL: i32 = 137;

/// What the Engine notes where a command can't be started.
const CODE_NOT_STARTED: i32 = 127;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// An engine in memory.
#[derive(Debug)]
pub struct HollowEngine {
    shared: Arc<Shared>,
}

/// How often a container name was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Containers made under it.
    pub creates: u32,
    /// Times that one of them began to run.
    pub starts: u32,
}

/// What the engine and the logs that are being read share.
struct Shared {
    id: String,
    clock: Clock,
    world: Mutex<World>,
    /// Signalled when a container's end moved, one is gone, or the engine went down.
    changed: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("id", &self.id).field("world", &self.world).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct World {
    down: bool,
    made: u64,
    containers: HashMap<ContainerId, Container>,
    names: HashMap<String, ContainerId>,
    pulled: HashSet<ImageRef>,
    history: Option<HashMap<String, Tally>>,
}

#[derive(Debug)]
struct Container {
    name: String,
    key: ContainerKey,
    behaviour: Behaviour,
    is_leased: bool,
    life: Life,
}

/// How a container's life goes. Whether a run is over depends on the time.
#[derive(Clone, Copy, Debug)]
enum Life {
    Created,
    /// `start` was tried and failed.
    NotStarted,
    Started(Run),
}

/// A run, its end included, which may still lie ahead.
#[derive(Clone, Copy, Debug)]
struct Run {
    began: Now,
    ends: Mono,
    exit_code: i32,
    oom_killed: bool,
}

impl Run {
    fn is_over(&self, now: Mono) -> bool {
        now >= self.ends
    }

    /// Brings the end forward. An end that comes sooner anyway stays as it is.
    fn cut(&mut self, ends: Mono, exit_code: i32) {
        if ends < self.ends {
            *self = Self { ends, exit_code, oom_killed: false, ..*self };
        }
    }

    fn finished_at(&self) -> WallTime {
        let lasted = u64::try_from(self.ends.since(self.began.mono).as_millis()).unwrap_or(u64::MAX);
        WallTime::from_unix_millis(self.began.wall.unix_millis().saturating_add(lasted))
    }
}

impl Container {
    fn phase(&self, now: Mono) -> Phase {
        match &self.life {
            Life::Created | Life::NotStarted => Phase::Created,
            Life::Started(run) if run.is_over(now) => Phase::Exited,
            Life::Started(_) => Phase::Running,
        }
    }

    /// When its run will be over. None: it doesn't run.
    fn ends_at(&self, now: Mono) -> Option<Mono> {
        match &self.life {
            Life::Created | Life::NotStarted => None,
            Life::Started(run) => Some(run.ends).filter(|_| !run.is_over(now)),
        }
    }

    /// What it has used by now: of the processor an even share since it began, of memory always the same.
    fn usage(&self, now: Mono) -> Usage {
        let (Life::Started(run), Phase::Running) = (&self.life, self.phase(now)) else {
            return Usage::default();
        };
        let ran = u64::try_from(now.since(run.began.mono).as_nanos()).unwrap_or(u64::MAX);
        let cpu_nanos = (ran / 1000).saturating_mul(self.behaviour.cpu.0);
        Usage { cpu_nanos, memory: self.behaviour.memory }
    }

    /// A container that vanishes is gone the moment its run is over.
    fn is_gone(&self, now: Mono) -> bool {
        self.behaviour.fail == Some(Fail::Vanish) && self.phase(now) == Phase::Exited
    }

    fn observed(&self, id: &ContainerId, now: Mono) -> Observed {
        let started = match &self.life {
            Life::Started(run) => Some(run),
            Life::Created | Life::NotStarted => None,
        };
        let ended = started.filter(|run| run.is_over(now));
        let not_started = matches!(self.life, Life::NotStarted);
        Observed {
            id: id.clone(),
            key: Some(self.key.clone()),
            phase: self.phase(now),
            exit_code: ended.map_or(if not_started { CODE_NOT_STARTED } else { 0 }, |run| run.exit_code),
            oom_killed: ended.is_some_and(|run| run.oom_killed),
            error: if not_started { START_FAILS.to_owned() } else { String::new() },
            started_at: started.map(|run| run.began.wall),
            finished_at: ended.map(Run::finished_at),
        }
    }
}

const START_FAILS: &str = "the command can't be started: HOLLOW_FAIL=start";

impl World {
    fn find(&mut self, id: &ContainerId, now: Mono) -> Result<&mut Container, EngineError> {
        let missing = || EngineError::NotFound { subject: id.to_string() };
        if self.containers.get(id).ok_or_else(missing)?.is_gone(now) {
            self.forget(id);
        }
        self.containers.get_mut(id).ok_or_else(missing)
    }

    fn forget(&mut self, id: &ContainerId) -> Option<Container> {
        let container = self.containers.remove(id)?;
        self.names.remove(&container.name);
        Some(container)
    }

    fn tally(&mut self, name: &str, note: impl FnOnce(&mut Tally)) {
        if let Some(history) = &mut self.history {
            note(history.entry(name.to_owned()).or_default());
        }
    }
}

impl Shared {
    fn now(&self) -> Now {
        (self.clock)()
    }

    fn mono(&self) -> Mono {
        self.now().mono
    }

    fn world(&self, operation: &'static str) -> Result<MutexGuard<'_, World>, EngineError> {
        let world = self.world.lock();
        if world.down { Err(unreachable(operation)) } else { Ok(world) }
    }

    /// Lets go of the world until something changed or `duration` has passed.
    fn pause(
        &self,
        operation: &'static str,
        world: &mut MutexGuard<'_, World>,
        duration: Duration,
    ) -> Result<(), EngineError> {
        self.changed.wait_for(world, duration);
        if world.down { Err(unreachable(operation)) } else { Ok(()) }
    }

    /// Blocks until a container's run is over: true; or until `deadline`: false.
    fn await_end(
        &self,
        operation: &'static str,
        id: &ContainerId,
        deadline: Mono,
    ) -> Result<bool, EngineError> {
        let mut world = self.world(operation)?;
        loop {
            let now = self.mono();
            let Some(ends) = world.find(id, now)?.ends_at(now) else { return Ok(true) };
            if now >= deadline {
                return Ok(false);
            }
            self.pause(operation, &mut world, ends.min(deadline).since(now))?;
        }
    }
}

fn unreachable(operation: &'static str) -> EngineError {
    EngineError::Unreachable { operation, why: "the hollow engine is set down".to_owned() }
}

impl Default for HollowEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl HollowEngine {
    /// An empty engine with an id of its own.
    pub fn new() -> Self {
        Self::with_id(Ulid::generate().to_string())
    }

    /// An empty engine with the given id (letters and digits), for runs that must be the same each time.
    pub fn with_id(id: String) -> Self {
        Self::with_clock(id, Arc::new(clock::now))
    }

    /// The same by a clock of the caller's own. Its blocking calls wait on the machine's time all the same: a caller
    /// that moves the clock by hand uses what doesn't block.
    pub fn with_clock(id: String, clock: Clock) -> Self {
        let (world, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { id, clock, world, changed }) }
    }

    /// The same, but it counts the uses of each container name. For runs of some length this takes memory.
    #[must_use]
    pub fn recording(self) -> Self {
        self.shared.world.lock().history = Some(HashMap::new());
        self
    }

    /// Makes every call fail as if nobody answered, those that block now too; or ends that. Containers go on.
    pub fn set_down(&self, down: bool) {
        self.shared.world.lock().down = down;
        self.shared.changed.notify_all();
    }

    /// How often each container name was used, where this engine is [`HollowEngine::recording`]; else empty.
    pub fn history(&self) -> HashMap<String, Tally> {
        self.shared.world.lock().history.clone().unwrap_or_default()
    }
}

impl Engine for HollowEngine {
    fn describe(&self) -> Result<Description, EngineError> {
        drop(self.shared.world("describe")?);
        Ok(Description {
            name: "hollow".to_owned(),
            id: self.shared.id.clone(),
            cpu: CpuMillis(1_000_000),
            memory: MemoryBytes(1 << 40),
        })
    }

    fn has_image(&self, image: &ImageRef) -> Result<bool, EngineError> {
        let world = self.shared.world("image")?;
        Ok(holds(&world, image))
    }

    fn pull(&self, image: &ImageRef, progress: &mut dyn FnMut(PullProgress)) -> Result<(), EngineError> {
        let done = self.begin_pull(image)?;
        let mut world = self.shared.world("pull")?;
        let mut now = self.shared.mono();
        while now < done {
            self.shared.pause("pull", &mut world, done.since(now))?;
            now = self.shared.mono();
        }
        drop(world);
        self.end_pull(image)?;
        progress(PullProgress { current_bytes: 1, total_bytes: 1 });
        Ok(())
    }

    fn create(&self, request: &ContainerRequest) -> Result<ContainerId, EngineError> {
        let behaviour =
            Behaviour::of(&request.spec).map_err(|why| EngineError::Rejected { operation: "create", why })?;
        let name = request.key.container_name();
        let mut world = self.shared.world("create")?;
        if behaviour.fail == Some(Fail::Create) {
            return Err(EngineError::Failed { operation: "create", why: "HOLLOW_FAIL=create".to_owned() });
        }
        if world.names.contains_key(&name) {
            return Err(EngineError::NameTaken { name });
        }
        if !holds(&world, &request.spec.image) {
            return Err(EngineError::ImageMissing { image: request.spec.image.to_string() });
        }
        world.made += 1;
        let text = format!("{}x{}", self.shared.id, world.made);
        let id: ContainerId = text.parse().map_err(|error| EngineError::Malformed {
            operation: "create",
            why: format!("the id {text:?} {error}"),
        })?;
        world.tally(&name, |tally| tally.creates += 1);
        world.names.insert(name.clone(), id.clone());
        let is_leased = request.spec.on_node_lost.is_leased();
        let container =
            Container { name, key: request.key.clone(), behaviour, is_leased, life: Life::Created };
        world.containers.insert(id.clone(), container);
        Ok(id)
    }

    fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mut world = self.shared.world("start")?;
        let began = self.shared.now();
        let container = world.find(id, began.mono)?;
        if container.phase(began.mono) == Phase::Running {
            return Ok(());
        }
        let behaviour = &container.behaviour;
        if behaviour.fail == Some(Fail::Start) {
            container.life = Life::NotStarted;
            return Err(EngineError::Failed { operation: "start", why: START_FAILS.to_owned() });
        }
        let ends = began.mono + behaviour.run_time;
        let (exit_code, oom_killed) = (behaviour.exit_code, behaviour.oom_killed);
        container.life = Life::Started(Run { began, ends, exit_code, oom_killed });
        let name = container.name.clone();
        world.tally(&name, |tally| tally.starts += 1);
        Ok(())
    }

    fn wait(&self, id: &ContainerId, at_most: Duration) -> Result<bool, EngineError> {
        self.shared.await_end("wait", id, self.shared.mono() + at_most)
    }

    fn inspect(&self, id_or_name: &str) -> Result<Observed, EngineError> {
        let mut world = self.shared.world("inspect")?;
        let missing = || EngineError::NotFound { subject: id_or_name.to_owned() };
        let id = match world.names.get(id_or_name) {
            Some(id) => id.clone(),
            None => id_or_name.parse().map_err(|_| missing())?,
        };
        let now = self.shared.mono();
        Ok(world.find(&id, now)?.observed(&id, now))
    }

    fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        let now = self.shared.mono();
        self.begin_stop(id, grace)?;
        match self.shared.await_end("stop", id, now + grace + Duration::from_secs(1)) {
            Ok(true) | Err(EngineError::NotFound { .. }) => Ok(()),
            Ok(false) => Err(EngineError::TimedOut { operation: "stop", after: grace }),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        let mut world = self.shared.world("remove")?;
        let Some(container) = world.forget(id) else { return Ok(()) };
        let is_awaited = container.phase(self.shared.mono()) == Phase::Running;
        drop(world);
        if is_awaited {
            // Only then: it wakes every waiter of this engine, and most removals are of what has ended.
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    fn list(&self, owner: &Owner) -> Result<Vec<Listed>, EngineError> {
        let world = self.shared.world("list")?;
        let now = self.shared.mono();
        let ours = world.containers.iter().filter(|(_, c)| c.key.owner == *owner && !c.is_gone(now));
        let listed = |(id, c): (&ContainerId, &Container)| Listed {
            id: id.clone(),
            key: c.key.clone(),
            phase: c.phase(now),
            is_leased: c.is_leased,
        };
        Ok(ours.map(listed).collect())
    }

    fn logs(&self, id: &ContainerId, request: LogRequest) -> Result<LogRecords, EngineError> {
        self.shared.world("logs")?.find(id, self.shared.mono())?;
        Ok(Box::new(log::HollowLog::new(Arc::clone(&self.shared), id.clone(), request)))
    }

    fn stats(&self, id: &ContainerId) -> Result<Usage, EngineError> {
        let now = self.shared.mono();
        self.shared.world("stats")?.find(id, now).map(|container| container.usage(now))
    }

    fn close(&self) {
        self.set_down(true);
    }
}

fn holds(world: &World, image: &ImageRef) -> bool {
    let is_elsewhere = ["missing", "remote"].iter().any(|word| behaviour::has_component(image, word));
    !is_elsewhere || world.pulled.contains(image)
}
