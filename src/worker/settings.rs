//! The worker's flags: every one of them, with its default and what it accepts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::id::NodeId;
use crate::model::node::NodeAddress;
use crate::model::policy::Policy;
use crate::model::resources::{CpuMillis, MemoryBytes, parse_cpu, parse_memory};
use crate::runtime::logging;
use crate::runtime::policy_file;
use crate::runtime::settings::{Environment, Flags, SettingsError};
use crate::runtime::token_file;
use crate::runtime::values::{count, default_data_dir, folder, listen_address, positive_millis};

/// What `podling-worker --help` prints.
pub const HELP: &str = "\
podling-worker: runs a node's containers on its Docker Engine and reports to the master

Usage: podling-worker [FLAGS]

  --listen A:P             address of the API; port 0 takes a free one         [127.0.0.1:8081]
  --data-dir D             identity, logs, locks          [~/.local/share/podling/<node id>]
  --node-id ID             the node's name                                  [the host's name]
  --master URL             the master; may be given again               [http://127.0.0.1:8080]
  --advertise H:P          where the master reaches this worker                 [as listened]
  --heartbeat-ms N         how often it beats                                         [10000]
  --capacity N             how many tasks at a time                             [10 per core]
  --cpu N, --memory SIZE   what the node offers                               [the machine's]
  --label K=V              a label of the node; may be given again
  --engine docker|hollow   what runs the containers                                  [docker]
  --docker-host H          the Engine's address            [DOCKER_HOST, or the local socket]
  --engine-concurrency N   calls that create, start, look or remove at a time             [4]
  --log-max-bytes SIZE     kept of one attempt's log                                   [10Mi]
  --log-total-bytes SIZE   kept of all logs                                             [1Gi]
  --policy FILE            what tasks may ask for of this node                     [nothing]
  --drain-on-exit          TERM ends the containers first, in order
  --remove-all             removes every container of this node, and exits
  --token-file F           a join word, or a token that may add nodes; used once  [this machine's master's]
  --insecure               plain HTTP beyond loopback, and a node without a token there
  --log-level L            off, error, warn, info, debug, trace                        [info]

Each flag has an environment variable: --heartbeat-ms is PODLING_HEARTBEAT_MS. The flag wins.
The first line on stdout is `listening on https://ADDRESS`, or `http://` on loopback and with --insecure, where
both are taken. TERM and INT stop in order; containers go on.
";

/// Places for tasks for each core, where nobody says otherwise.
const PLACES_PER_CORE: u32 = 10;

/// The most places that a node may have.
const MOST_PLACES: u32 = 1_000_000;

/// What runs the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// A Docker Engine, at this address or the local socket.
    Docker(Option<String>),
    /// None at all.
    Hollow,
}

/// How a worker is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The node's name.
    pub node_id: NodeId,
    /// The masters' addresses, in the order in which they are tried.
    pub masters: Vec<String>,
    /// Where the master reaches this worker. None: as listened.
    pub advertise: Option<NodeAddress>,
    /// How often it beats at least.
    pub heartbeat: Duration,
    /// Places for tasks.
    pub capacity: u32,
    /// CPU that it offers. None: the machine's.
    pub cpu: Option<CpuMillis>,
    /// Memory that it offers. None: the machine's.
    pub memory: Option<MemoryBytes>,
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
    /// What runs the containers.
    pub engine: EngineKind,
    /// Calls that create, start, look or remove at a time.
    pub engine_concurrency: usize,
    /// What is kept of one attempt's log.
    pub log_max_bytes: u64,
    /// What is kept of all logs.
    pub log_total_bytes: u64,
    /// What tasks may ask for of this node.
    pub policy: Policy,
    /// Whether TERM ends the containers first.
    pub drain_on_exit: bool,
    /// Whether to remove every container of this node and exit.
    pub remove_all: bool,
    /// Whether it takes plain HTTP beyond loopback too, and orders from anybody where it has nothing to join with.
    pub insecure: bool,
    /// The file that holds what this node joins with: one that was named, or where a master of this machine keeps its
    /// token, which may not be there yet.
    pub token_file: Option<PathBuf>,
    /// Whether that file was named.
    pub token_is_named: bool,
    /// What is logged.
    pub log_level: log::LevelFilter,
}

impl Settings {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    /// One line that names what is wrong.
    pub fn read(arguments: Vec<std::ffi::OsString>, environment: Environment) -> Result<Self, SettingsError> {
        let mut flags = Flags::new(arguments, environment);
        let node_id = match flags.value("--node-id", str::parse::<NodeId>)? {
            Some(id) => id,
            None => host_name()?,
        };
        let listen = flags.value("--listen", listen_address)?;
        let mut masters = flags.values("--master", master_url)?;
        if masters.is_empty() {
            masters.push("http://127.0.0.1:8080".to_owned());
        }
        let named = flags.value("--token-file", folder)?;
        let token_is_named = named.is_some();
        let settings = Self {
            token_file: named.or_else(|| own_masters_token(&masters, environment)),
            token_is_named,
            listen: listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8081))),
            data_dir: match flags.value("--data-dir", folder)? {
                Some(folder) => folder,
                None => default_data_dir(environment, node_id.as_str())?,
            },
            node_id,
            masters,
            advertise: flags.value("--advertise", advertised)?,
            heartbeat: flags.value("--heartbeat-ms", positive_millis)?.unwrap_or(Duration::from_secs(10)),
            capacity: flags.value("--capacity", places)?.unwrap_or_else(|| cores() * PLACES_PER_CORE),
            cpu: flags.value("--cpu", parse_cpu)?,
            memory: flags.value("--memory", parse_memory)?,
            labels: flags.values("--label", label)?.into_iter().collect(),
            engine: engine(&mut flags, environment)?,
            engine_concurrency: flags.value("--engine-concurrency", count)?.unwrap_or(4),
            log_max_bytes: flags.value("--log-max-bytes", bytes)?.unwrap_or(10 << 20),
            log_total_bytes: flags.value("--log-total-bytes", bytes)?.unwrap_or(1 << 30),
            policy: flags.value("--policy", policy_file::read)?.unwrap_or_default(),
            drain_on_exit: flags.switch("--drain-on-exit")?,
            remove_all: flags.switch("--remove-all")?,
            insecure: flags.switch("--insecure")?,
            log_level: flags.value("--log-level", logging::parse_level)?.unwrap_or(log::LevelFilter::Info),
        };
        flags.finish()?;
        let is_far = |master: &&String| !master.starts_with("https://") && !token_file::is_loopback(master);
        if let Some(far) = settings.masters.iter().find(is_far).filter(|_| !settings.insecure) {
            let why = format!("{far} is beyond loopback: plain http to it needs --insecure");
            return Err(SettingsError::of("--master", why));
        }
        Ok(settings)
    }

    /// Whether plain HTTP is taken beside TLS.
    pub fn takes_plain_http(&self) -> bool {
        self.listen.ip().is_loopback() || self.insecure
    }
}

/// Where a master of this machine keeps its token, which is sent to nobody but a master of this machine.
fn own_masters_token(masters: &[String], environment: Environment) -> Option<PathBuf> {
    let home = environment("HOME").filter(|home| !home.is_empty())?;
    let is_near = masters.iter().all(|master| token_file::is_loopback(master));
    is_near.then(|| token_file::of_own_master(&home))
}

fn engine(flags: &mut Flags, environment: Environment) -> Result<EngineKind, SettingsError> {
    let kind = flags.value("--engine", |text| match text {
        "docker" | "hollow" => Ok(text.to_owned()),
        other => Err(format!("{other:?} must be docker or hollow")),
    })?;
    let host = flags.value("--docker-host", |text| Ok::<_, String>(text.to_owned()))?;
    let host = host.or_else(|| environment("DOCKER_HOST").filter(|host| !host.is_empty()));
    Ok(if kind.as_deref() == Some("hollow") { EngineKind::Hollow } else { EngineKind::Docker(host) })
}

fn host_name() -> Result<NodeId, SettingsError> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let why = |error| SettingsError::of("--node-id", format!("the host's name {name:?} {error}: give one"));
    name.parse().map_err(why)
}

fn cores() -> u32 {
    std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok()).unwrap_or(1)
}

fn places(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| (1..=MOST_PLACES).contains(number));
    number.ok_or_else(|| format!("{text:?} must be a number from 1 to {MOST_PLACES}"))
}

fn bytes(text: &str) -> Result<u64, String> {
    let size = parse_memory(text).map_err(|error| error.to_string())?.0;
    if size == 0 { Err("must be 1 or more".to_owned()) } else { Ok(size) }
}

fn master_url(text: &str) -> Result<String, String> {
    crate::http::client::check_base(text).map(str::to_owned).map_err(|error| error.to_string())
}

fn advertised(text: &str) -> Result<NodeAddress, String> {
    let refuse = || format!("{text:?} is not HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refuse)?;
    if host.is_empty() { Err(refuse()) } else { Ok(NodeAddress { host, port }) }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Settings, String> {
        let arguments = words.iter().map(std::ffi::OsString::from).collect();
        let environment: Environment = |name| (name == "HOME").then(|| "/home/ada".to_owned());
        Settings::read(arguments, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = read(&["--node-id", "worker-1"]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8081");
        assert_eq!(settings.data_dir, PathBuf::from("/home/ada/.local/share/podling/worker-1"));
        assert_eq!(settings.masters, ["http://127.0.0.1:8080"]);
        assert_eq!(settings.heartbeat, Duration::from_secs(10));
        assert_eq!(settings.capacity, cores() * 10);
        assert_eq!(settings.engine, EngineKind::Docker(None));
        assert_eq!((settings.engine_concurrency, settings.log_max_bytes), (4, 10 << 20));
        assert_eq!(settings.log_total_bytes, 1 << 30);
    }

    #[test]
    fn what_is_given_is_taken() {
        let settings = read(&[
            "--master",
            "https://a:1/",
            "--master",
            "https://b:2",
            "--advertise",
            "[::1]:9",
            "--label",
            "disk=ssd",
            "--engine",
            "hollow",
            "--memory",
            "1Gi",
            "--node-id",
            "n",
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.masters, ["https://a:1", "https://b:2"]);
        assert_eq!(settings.advertise.unwrap().to_string(), "[::1]:9");
        assert_eq!(settings.labels["disk"], "ssd");
        assert_eq!(settings.engine, EngineKind::Hollow);
        assert_eq!(settings.memory, Some(MemoryBytes(1 << 30)));
    }

    #[test]
    fn what_is_refused_is_named() {
        for (words, says) in [
            (vec!["--node-id", "../x"], "--node-id: must match"),
            (vec!["--capacity", "0"], "--capacity: \"0\" must be a number from 1"),
            (vec!["--heartbeat-ms", "0"], "--heartbeat-ms: must be 1 or more"),
            (vec!["--master", "ftp://x"], "--master: "),
            (vec!["--advertise", "here"], "--advertise: \"here\" is not HOST:PORT"),
            (vec!["--label", "x"], "--label: \"x\" is not KEY=VALUE"),
            (vec!["--engine", "podman"], "--engine: \"podman\" must be docker or hollow"),
            (vec!["--master", "http://10.0.0.1"], "--master: http://10.0.0.1 is beyond loopback"),
            (vec!["--log-max-bytes", "0"], "--log-max-bytes: must be 1 or more"),
            (vec!["--policy", "/no/such.toml"], "--policy: /no/such.toml: No such file"),
            (vec!["--colour"], "unknown flag --colour"),
        ] {
            let error = read(&words).expect_err(says);
            assert!(error.starts_with(says), "{words:?}: {error}");
        }
    }
}
