//! A node's side: it runs what the master wants here, on one container engine, and reports what became of it.
//!
//! Each file is one thread or one job. [`heartbeat`] asks the master what this node is to run; [`desired`] holds that
//! against what there is, by the rules of [`crate::control::reconcile`]; [`crew`] starts one [`monitor`] thread per
//! attempt, which carries out what the attempt's [`walk`] through its life asks for; [`reporter`] tells the master until
//! it has answered; [`logs`] keeps and shows what containers wrote; [`guard`] says who may ask this node, and `policed`
//! asks the Engine only what the node's policy allows; [`lease`] ends what a cut-off node must not run; [`outbox`] keeps
//! ends that no container tells; [`certificates`] knows what the master is known by; [`handlers`] answers requests,
//! [`images`] and [`stats`] those that the Engine has to be asked for.
//!
//! Nothing here decides where a task runs: the heartbeat's reply says what this node is to run, and that is all
//! that it runs.

pub mod certificates;
mod credentials;
mod crew;
pub mod desired;
mod errands;
mod guard;
mod handlers;
mod heartbeat;
pub mod hold;
mod identity;
mod images;
pub mod job;
pub mod lease;
pub mod leash;
mod link;
pub mod logs;
pub mod membership;
pub mod meter;
mod monitor;
pub mod offer;
mod outbox;
mod policed;
mod pulls;
mod remove_all;
pub mod reporter;
pub mod settings;
mod slots;
mod stats;
pub mod step;
mod stops;
mod translate;
pub mod walk;
mod watch;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use crate::control::reconcile::Stage;
use crate::engine::docker::{Deadlines, DockerEngine};
use crate::engine::hollow::HollowEngine;
use crate::engine::{Engine, EngineError};
use crate::http::{ClientError, ServeError, ServeSettings, serve};
use crate::model::node::NodeAddress;
use crate::pki::PkiError;
use crate::runtime::clock;
use crate::runtime::data_dir::{DataDir, DataDirError};
use crate::runtime::settings::EXIT_USAGE;
use crate::runtime::signals::Signals;
use crate::runtime::supervise::Supervisor;
use crate::worker::certificates::Showing;
use crate::worker::credentials::{Credentials, Ticket};
use crate::worker::crew::Crew;
use crate::worker::desired::Desired;
use crate::worker::guard::Guard;
use crate::worker::handlers::Api;
use crate::worker::heartbeat::Heartbeat;
use crate::worker::identity::Identity;
use crate::worker::images::Images;
use crate::worker::job::Job;
use crate::worker::lease::LeaseKeeper;
use crate::worker::link::MasterLink;
use crate::worker::logs::{LogLimits, LogStore, LogStoreError, Logs, Source};
use crate::worker::membership::Membership;
use crate::worker::monitor::Ground;
use crate::worker::offer::Offer;
use crate::worker::outbox::Outbox;
use crate::worker::policed::Policed;
use crate::worker::pulls::Pulls;
use crate::worker::reporter::{Event, Reporter};
use crate::worker::settings::{EngineKind, Settings};
use crate::worker::slots::Slots;
use crate::worker::stats::Stats;
use crate::worker::stops::Stops;
use crate::worker::watch::EngineWatch;

/// The folder of the logs in the data folder.
const LOGS_FOLDER: &str = "logs";

/// The folder of the ends that no container tells.
const OUTBOX_FOLDER: &str = "outbox";

/// Where the signals are kept that were sent to containers.
const STOPS_FOLDER: &str = "stops";

/// How long `--drain-on-exit` waits for containers to end and for the master to hear of it, beyond the grace.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// How often a drain looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Why a worker did not start.
#[derive(Debug)]
pub enum StartError {
    /// Its data folder can't be used.
    DataDir(DataDirError),
    /// Its logs can't be kept.
    Logs(LogStoreError),
    /// Its outbox can't be made.
    Outbox(std::io::Error),
    /// Its folder of the signals that were sent can't be made.
    Stops(std::io::Error),
    /// What it knows its master by can't be read.
    Certificates(PkiError),
    /// Its Engine can't be used.
    Engine(EngineError),
    /// What it is to join with can't be read.
    Token(String),
    /// It has nothing to join with, and would take orders from whoever reaches this address.
    Open(SocketAddr),
    /// Its master's address can't be used.
    Master(ClientError),
    /// Its address can't be used.
    Serve(ServeError),
    /// The operating system refuses a thread or a signal handler.
    Thread(std::io::Error),
}

impl StartError {
    /// What the process exits with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::DataDir(DataDirError::InUse(_) | DataDirError::Io { .. })
            | Self::Engine(_)
            | Self::Token(_)
            | Self::Open(_)
            | Self::Master(_)
            | Self::Serve(_) => EXIT_USAGE,
            Self::DataDir(
                DataDirError::TooLoose { .. } | DataDirError::LooseFile { .. } | DataDirError::Damaged { .. },
            )
            | Self::Certificates(_)
            | Self::Logs(_)
            | Self::Outbox(_)
            | Self::Stops(_)
            | Self::Thread(_) => 1,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir(error) => error.fmt(f),
            Self::Logs(error) => error.fmt(f),
            Self::Outbox(error) => write!(f, "failed to make the outbox: {error}"),
            Self::Stops(error) => write!(f, "failed to make the folder of stops: {error}"),
            Self::Certificates(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
            Self::Token(why) => write!(f, "--token-file: {why}"),
            Self::Open(address) => {
                write!(f, "--listen: {address} is not loopback: without --token-file that needs --insecure")
            }
            Self::Master(error) => error.fmt(f),
            Self::Serve(error) => match std::error::Error::source(error) {
                Some(source) => write!(f, "failed to {error}: {source}"),
                None => write!(f, "failed to {error}"),
            },
            Self::Thread(error) => write!(f, "failed to start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Runs a worker until a signal ends it, it gives up, or a thread dies. Writes the address to `out` once clients can
/// connect.
///
/// # Errors
/// It could not start; then nothing of it runs.
pub fn run(settings: &Settings, out: &mut dyn Write) -> Result<ExitCode, StartError> {
    let signals = Signals::listen().map_err(StartError::Thread)?;
    let folder = DataDir::open(&settings.data_dir).map_err(StartError::DataDir)?;
    let identity = Identity::raise(folder, &settings.node_id).map_err(StartError::DataDir)?;
    let engine = open_engine(&settings.engine)?;
    if settings.remove_all {
        return remove_all::run(&identity, &settings.node_id, &*engine, out).map_err(StartError::Engine);
    }
    let engine = policed(engine, settings);
    let mut supervisor = Supervisor::default();
    let (parts, channels) = Parts::new(settings, &identity, engine, &supervisor)?;
    let desired = Arc::clone(&parts.ground.desired);
    let serving = ServeSettings {
        body_limit: handlers::body_limit,
        tls: Some(parts.showing.acceptor()),
        plain: settings.takes_plain_http(),
        ..ServeSettings::new("worker", settings.listen, identity.folder().path())
    };
    let address = serve(serving, Arc::new(parts.api()), &mut supervisor).map_err(StartError::Serve)?;
    // A reader that went away doesn't keep a worker from its work.
    let scheme = if settings.takes_plain_http() { "http" } else { "https" };
    let _ = writeln!(out, "listening on {scheme}://{address}").and_then(|()| out.flush());
    let offer = offer(settings, address);
    parts.start(offer, identity, channels, &mut supervisor).map_err(StartError::Thread)?;
    let drain = settings.drain_on_exit;
    Ok(supervisor.run(&signals, move || {
        if drain {
            drain_within(&desired, DRAIN_WITHIN);
        }
    }))
}

fn open_engine(kind: &EngineKind) -> Result<Arc<dyn Engine>, StartError> {
    Ok(match kind {
        EngineKind::Hollow => Arc::new(HollowEngine::new()),
        EngineKind::Docker(host) => {
            let engine = DockerEngine::connect(host.as_deref(), Deadlines::default());
            Arc::new(engine.map_err(StartError::Engine)?)
        }
    })
}

/// What this node proves itself with.
struct Means {
    /// What it got when it joined.
    kept: Option<Credentials>,
    /// What it joins with.
    ticket: Option<Ticket>,
    can_join: bool,
    showing: Showing,
}

impl Means {
    /// # Errors
    /// A file can't be used; or there is nothing, and others than this machine could order it about.
    fn of(settings: &Settings, folder: &DataDir) -> Result<Self, StartError> {
        let kept = Credentials::read(folder).map_err(StartError::DataDir)?;
        let (ticket, can_join) = ticket(settings, kept.is_some())?;
        let obeys_anybody = kept.is_none() && !can_join;
        if obeys_anybody && !settings.takes_plain_http() {
            return Err(StartError::Open(settings.listen));
        }
        let showing = Showing::open(folder.path(), &settings.node_id).map_err(StartError::Certificates)?;
        Ok(Self { kept, ticket, can_join, showing })
    }
}

/// What this node joins with, and whether that is there by now.
fn ticket(settings: &Settings, has_token: bool) -> Result<(Option<Ticket>, bool), StartError> {
    let ticket = settings.token_file.as_deref().map(Ticket::in_file);
    match ticket.as_ref().map(Ticket::read) {
        // What was named must be there when it is needed first.
        Some(Err(why)) if settings.token_is_named && !has_token => Err(StartError::Token(why)),
        Some(Err(_)) => Ok((ticket, settings.token_is_named)),
        Some(Ok(_)) => Ok((ticket, true)),
        None => Ok((None, false)),
    }
}

/// The engine as everybody here has it: under the node's policy.
fn policed(engine: Arc<dyn Engine>, settings: &Settings) -> Arc<dyn Engine> {
    let host = match &settings.engine {
        EngineKind::Docker(host) => host.as_deref(),
        EngineKind::Hollow => None,
    };
    let own = policed::own_paths(&settings.data_dir, host);
    Arc::new(Policed::new(engine, settings.policy.clone(), &own))
}

fn offer(settings: &Settings, address: SocketAddr) -> Offer {
    let listened = NodeAddress { host: address.ip().to_string(), port: address.port() };
    Offer {
        node: settings.node_id.clone(),
        address: settings.advertise.clone().unwrap_or(listened),
        capacity: settings.capacity,
        cpu: settings.cpu,
        memory: settings.memory,
        labels: settings.labels.clone(),
        heartbeat: settings.heartbeat,
    }
}

/// Stops every container, and waits until the master has heard of it.
fn drain_within(desired: &Desired, extra: Duration) {
    log::info!("draining");
    let longest_grace = desired.close(clock::now());
    let deadline = clock::mono() + longest_grace + extra;
    while !desired.is_empty() {
        if clock::mono() >= deadline {
            log::warn!("not everything ended in time");
            return;
        }
        let _ = crossbeam_channel::after(DRAIN_LOOK).recv();
    }
}

/// What the threads share.
struct Parts {
    ground: Arc<Ground>,
    link: Arc<MasterLink>,
    watch: Arc<EngineWatch>,
    images: Arc<Images>,
    stats: Arc<Stats>,
    is_ready: Arc<AtomicBool>,
    guard: Arc<Guard>,
    has_token: bool,
    ticket: Option<Ticket>,
    can_join: bool,
    showing: Showing,
    places: usize,
}

/// The receiving ends of the channels between them.
struct Channels {
    jobs: Receiver<Job>,
    events: Receiver<Event>,
    register: (crossbeam_channel::Sender<()>, Receiver<()>),
    nudge: Receiver<()>,
}

impl Parts {
    fn new(
        settings: &Settings,
        identity: &Identity,
        engine: Arc<dyn Engine>,
        supervisor: &Supervisor,
    ) -> Result<(Self, Channels), StartError> {
        let limits =
            LogLimits { per_attempt_bytes: settings.log_max_bytes, total_bytes: settings.log_total_bytes };
        let logs = LogStore::open(&identity.folder().file(LOGS_FOLDER), limits).map_err(StartError::Logs)?;
        let outbox = Outbox::open(identity.folder().file(OUTBOX_FOLDER)).map_err(StartError::Outbox)?;
        let stops = Stops::open(identity.folder().file(STOPS_FOLDER)).map_err(StartError::Stops)?;
        let trust = certificates::master_trust(identity.folder().path()).map_err(StartError::Certificates)?;
        let ((give_jobs, jobs), (tell, events)) = (job::channel(), reporter::channel());
        let (register, (nudge, nudged)) = (bounded(1), bounded(1));
        let desired = Arc::new(Desired::new(give_jobs, tell));
        let ground = Ground {
            slots: Slots::new(settings.engine_concurrency),
            pulls: Pulls::start(Arc::clone(&engine)).map_err(StartError::Thread)?,
            logs: Arc::new(logs),
            outbox: Arc::new(outbox),
            stops: Arc::new(stops),
            lease: Arc::new(LeaseKeeper::open(identity.folder(), Arc::clone(&desired))),
            desired,
            owner: OnceLock::new(),
            log_max_bytes: settings.log_max_bytes,
            nudge: nudge.clone(),
            stop: supervisor.stop(),
            engine,
        };
        let ground = Arc::new(ground);
        let watch = EngineWatch::new(Arc::clone(&ground), settings.heartbeat, register.0.clone(), nudge);
        let watch = Arc::new(watch);
        let Means { kept, ticket, can_join, showing } = Means::of(settings, identity.folder())?;
        let link = MasterLink::new(&settings.masters, &trust).map_err(StartError::Master)?;
        if let Some(kept) = &kept {
            link.show(&kept.token);
        }
        let parts = Self {
            has_token: kept.is_some(),
            guard: Arc::new(match kept {
                Some(kept) => Guard::with_key(kept.key),
                None if can_join => Guard::closed(),
                None => Guard::open(),
            }),
            ticket,
            can_join,
            showing,
            link: Arc::new(link),
            images: Arc::new(Images::new(Arc::clone(&ground), Arc::clone(&watch))),
            stats: Arc::new(Stats::new(Arc::clone(&ground), Arc::clone(&watch))),
            watch,
            ground,
            is_ready: Arc::new(AtomicBool::new(false)),
            places: usize::try_from(settings.capacity).unwrap_or(usize::MAX),
        };
        Ok((parts, Channels { jobs, events, register, nudge: nudged }))
    }

    fn api(&self) -> Api {
        let (logs, desired) = (Arc::clone(&self.ground.logs), Arc::clone(&self.ground.desired));
        let newest = Arc::clone(&desired);
        Api {
            desired: Arc::clone(&desired),
            link: Arc::clone(&self.link),
            logs: Arc::new(Logs::new(
                Arc::clone(&self.ground.engine),
                Arc::clone(&self.ground.logs),
                Arc::new(move |task, attempt| match desired.find(task, Some(attempt)) {
                    _ if logs.has(task, attempt) => Source::Stored,
                    None => Source::Unknown,
                    Some((_, held)) => match (held.stage, held.container) {
                        (Stage::Scheduled, _) => Source::Waiting,
                        (Stage::Running | Stage::Ended, Some(container)) => Source::Live(container),
                        (Stage::Running | Stage::Ended, None) => Source::Stored,
                    },
                }),
                Arc::new(move |task| newest.find(task, None).map(|(key, _)| key.attempt)),
            )),
            watch: Arc::clone(&self.watch),
            images: Arc::clone(&self.images),
            stats: Arc::clone(&self.stats),
            is_ready: Arc::clone(&self.is_ready),
            guard: Arc::clone(&self.guard),
        }
    }

    fn start(
        self,
        offer: Offer,
        identity: Identity,
        channels: Channels,
        supervisor: &mut Supervisor,
    ) -> std::io::Result<()> {
        let (node, give_up) = (offer.node.clone(), supervisor.give_up());
        let (tell_register, register) = channels.register;
        let reporter = Reporter {
            node,
            link: Arc::clone(&self.link),
            events: channels.events,
            register: tell_register,
            give_up: give_up.clone(),
        };
        let (watch, lease) = (Arc::clone(&self.watch), Arc::clone(&self.ground.lease));
        let crew = Crew::new(Arc::clone(&self.ground), channels.jobs, self.places);
        let cluster = identity.cluster().cloned();
        let heartbeat = Heartbeat {
            membership: Membership::new(offer.node.clone(), offer.heartbeat, cluster)
                .showing(self.has_token, self.can_join),
            offer,
            identity,
            ground: self.ground,
            link: self.link,
            watch: self.watch,
            register,
            nudge: channels.nudge,
            is_ready: self.is_ready,
            ticket: self.ticket,
            guard: self.guard,
            showing: self.showing,
            renew_from: clock::mono(),
            told: None,
            give_up,
        };
        supervisor.vital("crew", move |stop| crew.run(&stop))?;
        supervisor.vital("reporter", move |stop| reporter.run(&stop))?;
        supervisor.vital("lease", move |stop| lease.run(&stop))?;
        let (images, stats) = (self.images, self.stats);
        supervisor.vital("images", move |stop| images.run(&stop))?;
        supervisor.vital("stats", move |stop| stats.run(&stop))?;
        supervisor.vital("engine-watch", move |stop| watch.run(&stop))?;
        supervisor.vital("heartbeat", move |stop| heartbeat.run(&stop))
    }
}
