//! The master: it holds the state, schedules, and watches over the nodes.
//!
//! Each file is one thread or one job. [`state`] is the two maps and every change to them; [`journal`] queues changes
//! and lets replies go; [`committer`] makes changes durable; [`scheduler`] places what waits; [`reaper`] judges what is
//! silent or waited too long; [`dispatch`] pushes assignments to workers; [`mover`] empties drained nodes, and
//! [`images`] asks whether an image is there; [`handlers`] answers requests; [`logs`] passes logs on, [`stats`] what
//! tasks use, [`events`] what happens; [`certificates`] keeps what is shown over TLS; [`backup`] copies all that is
//! remembered, and brings it back.

pub mod access;
mod admin_token;
pub mod backup;
pub mod certificates;
pub mod committer;
pub mod dispatch;
pub mod events;
pub mod grace;
pub mod handlers;
pub mod identity;
pub mod ids;
pub mod images;
pub mod journal;
mod locks;
pub mod logs;
pub mod mover;
pub mod quarantine;
pub mod reach;
pub mod reaper;
pub mod record;
pub mod scheduler;
pub mod settings;
mod snapshots;
pub mod state;
pub mod stats;

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::http::{ServeError, ServeSettings, serve};
use crate::master::access::Access;
use crate::master::backup::{Admin, BackupError};
use crate::master::certificates::{CertificateError, Certificates};
use crate::master::dispatch::Dispatcher;
use crate::master::handlers::Api;
use crate::master::identity::Identity;
use crate::master::quarantine::Findings;
use crate::master::settings::{Command, Settings, StoreKind};
use crate::master::state::{State, StateSettings};
use crate::master::stats::StatsDesk;
use crate::model::id::{ClusterId, Revision};
use crate::runtime::clock;
use crate::runtime::data_dir::{DataDir, DataDirError};
use crate::runtime::settings::EXIT_USAGE;
use crate::runtime::signals::Signals;
use crate::runtime::supervise::Supervisor;
use crate::store::embedded::EmbeddedStore;
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreError};

/// The file of the embedded store in the data folder.
const STORE_FILE: &str = "state.redb";

/// Why a master did not start.
#[derive(Debug)]
pub enum StartError {
    /// Its data folder can't be used.
    DataDir(DataDirError),
    /// Its store can't be used.
    Store(StoreError),
    /// Its certificates can't be used.
    Certificates(CertificateError),
    /// Its address can't be used.
    Serve(ServeError),
    /// There is no backup, or nothing was restored.
    Backup(BackupError),
    /// The operating system refuses a thread or a signal handler.
    Thread(std::io::Error),
    /// The operating system gives no random bytes.
    Random(std::io::Error),
}

impl StartError {
    /// What the process exits with.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::DataDir(DataDirError::InUse(_) | DataDirError::Io { .. })
            | Self::Store(StoreError::InUse { .. })
            | Self::Backup(BackupError::DataDir(DataDirError::InUse(_)))
            | Self::Serve(_) => EXIT_USAGE,
            Self::DataDir(
                DataDirError::TooLoose { .. } | DataDirError::LooseFile { .. } | DataDirError::Damaged { .. },
            )
            | Self::Store(_)
            | Self::Certificates(_)
            | Self::Backup(_)
            | Self::Thread(_)
            | Self::Random(_) => 1,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Certificates(error) => error.fmt(f),
            Self::Serve(error) => match std::error::Error::source(error) {
                Some(source) => write!(f, "failed to {error}: {source}"),
                None => write!(f, "failed to {error}"),
            },
            Self::Backup(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "failed to start a thread: {error}"),
            Self::Random(error) => write!(f, "failed to draw a secret: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Does what the command line says.
///
/// # Errors
/// It could not; then nothing runs and nothing was changed.
pub fn run(settings: &Settings, out: &mut dyn Write) -> Result<ExitCode, StartError> {
    let done = match &settings.command {
        Command::Serve => return serve_until_stopped(settings, out),
        Command::Backup(file) => backup::backup(&settings.data_dir, file, out),
        Command::Restore(file) => backup::restore(&settings.data_dir, file, out),
    };
    done.map(|()| ExitCode::SUCCESS).map_err(StartError::Backup)
}

/// Runs a master until a signal ends it or a thread dies. Writes the address to `out` once clients can connect.
///
/// # Errors
/// It could not start; then nothing of it runs.
fn serve_until_stopped(settings: &Settings, out: &mut dyn Write) -> Result<ExitCode, StartError> {
    let signals = Signals::listen().map_err(StartError::Thread)?;
    let folder = DataDir::open(&settings.data_dir).map_err(StartError::DataDir)?;
    let mut store = open_store(settings.store, folder.path())?;
    let was_used = identity::is_known(&folder).map_err(StartError::DataDir)?;
    let identity = identity::raise(&folder, clock::wall()).map_err(StartError::DataDir)?;
    let certificates = open_certificates(&folder, &identity.cluster_id, settings)?;
    let authority = certificates.authority();
    let state = load(settings, &folder, identity, was_used, store.as_mut())?;
    let state = Arc::new(state.with_ca(authority.ca_pem()));
    let dispatcher = Arc::new(Dispatcher::new(state.settings().epoch));
    let mut supervisor = Supervisor::default();
    let stats = Arc::new(StatsDesk::default());
    let access = Arc::new(if settings.insecure { Access::open() } else { Access::by_tokens() });
    let (one, pushes, desk) = (Arc::clone(&state), Arc::clone(&dispatcher), Arc::clone(&stats));
    let api = Api::new(one, pushes, desk, access, supervisor.stop());
    let api = api.under(settings.policy.clone()).signing(authority);
    let serving = ServeSettings {
        caps: settings.caps.clone(),
        body_limit: handlers::body_limit,
        tls: Some(certificates.acceptor()),
        plain: settings.takes_plain_http(),
        ..ServeSettings::new("master", settings.listen, folder.path())
    };
    let address = serve(serving, Arc::new(api), &mut supervisor).map_err(StartError::Serve)?;
    let admin = Admin::open(folder.path(), Arc::clone(&state)).map_err(|source| {
        let path = folder.path().to_owned();
        StartError::DataDir(DataDirError::Io { operation: "open a socket in", path, source })
    })?;
    supervisor.vital("admin", move |stop| admin.run(&stop)).map_err(StartError::Thread)?;
    stats::start(&stats, &mut supervisor).map_err(StartError::Thread)?;
    supervisor
        .vital("certificates", move |stop| certificates::run(certificates, &stop))
        .map_err(StartError::Thread)?;
    start_threads(&state, &dispatcher, store, settings, &mut supervisor).map_err(StartError::Thread)?;
    announce(settings, &state);
    // A reader that went away doesn't keep a master from its work.
    let scheme = if settings.takes_plain_http() { "http" } else { "https" };
    let _ = writeln!(out, "listening on {scheme}://{address}").and_then(|()| out.flush());
    Ok(supervisor.run(&signals, || {}))
}

/// The state that the store holds, as this start may use it. Makes the first token where there is none.
fn load(
    settings: &Settings,
    folder: &DataDir,
    identity: Identity,
    was_used: bool,
    store: &mut dyn Store,
) -> Result<State, StartError> {
    let state_settings = StateSettings {
        cluster: identity.cluster_id,
        epoch: identity.epoch,
        node_timeout: settings.node_timeout,
        pending_timeout: settings.pending_timeout,
        retain: settings.retain,
    };
    let state = State::load(state_settings, store, clock::now()).map_err(StartError::Store)?;
    let store_is_empty = state.journal().last_position() == Revision(0);
    let found = Findings { was_used, store_is_empty, is_accepted: settings.accept_state };
    let is_quarantined = quarantine::begin(folder, found).map_err(StartError::DataDir)?;
    let judge_from = grace::first_judgement(folder, settings.node_timeout, clock::mono());
    let state = state.judging_from(judge_from.map_err(StartError::DataDir)?);
    let state = if is_quarantined { state.in_quarantine() } else { state };
    if !settings.insecure {
        admin_token::ensure(folder, &state, store_is_empty, clock::now())?;
    }
    Ok(state)
}

/// Says in the log what whoever runs this master must know.
fn announce(settings: &Settings, state: &State) {
    log::info!("master started cluster={} epoch={}", state.settings().cluster, state.settings().epoch);
    if settings.insecure {
        log::warn!("insecure: whoever reaches this master may do everything; tokens are turned off");
    }
    if state.is_quarantined() {
        log::error!(
            "in quarantine: this master may have forgotten what runs, so nothing that it doesn't know is stopped; \
             look at its nodes, then start it with --accept-state"
        );
    }
}

fn open_certificates(
    folder: &DataDir,
    cluster: &ClusterId,
    settings: &Settings,
) -> Result<Certificates, StartError> {
    let (how, listen) = (&settings.certificates, settings.listen);
    Certificates::open(folder.path(), cluster, how, listen, clock::wall()).map_err(StartError::Certificates)
}

fn open_store(kind: StoreKind, folder: &Path) -> Result<Box<dyn Store>, StartError> {
    Ok(match kind {
        StoreKind::Memory => Box::new(MemoryStore::default()),
        StoreKind::Embedded => {
            Box::new(EmbeddedStore::open(&folder.join(STORE_FILE)).map_err(StartError::Store)?)
        }
    })
}

fn start_threads(
    state: &Arc<State>,
    dispatcher: &Arc<Dispatcher>,
    mut store: Box<dyn Store>,
    settings: &Settings,
    supervisor: &mut Supervisor,
) -> std::io::Result<()> {
    let one = Arc::clone(state);
    supervisor.vital_to_the_end("journal", move |stop| committer::run(&one, store.as_mut(), &stop))?;
    let journal = Arc::clone(state.journal());
    supervisor.vital_to_the_end("replies", move |stop| journal.run_replies(&stop))?;
    let (one, pushes, tick) = (Arc::clone(state), Arc::clone(dispatcher), settings.tick);
    supervisor.vital("scheduler", move |stop| scheduler::run(&one, &pushes, tick, &stop))?;
    let (one, tick) = (Arc::clone(state), settings.tick);
    supervisor.vital("reaper", move |stop| reaper::run(&one, tick, &stop))?;
    let (one, pushes) = (Arc::clone(state), Arc::clone(dispatcher));
    supervisor.vital("mover", move |stop| mover::run(&one, &pushes, &stop))?;
    dispatch::start(dispatcher, supervisor)
}
