//! The master's flags: every one of them, with its default and what it accepts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::{Caps, TlsAcceptor, TlsError};
use crate::master::certificates::CertificateSettings;
use crate::model::policy::{Policy, Root};
use crate::model::time::parse_duration;
use crate::runtime::logging;
use crate::runtime::policy_file;
use crate::runtime::settings::{Environment, Flags, SettingsError};
use crate::runtime::values::{count, default_data_dir, folder, listen_address, millis, positive_millis};

/// What `podling-master --help` prints.
pub const HELP: &str = "\
podling-master: holds the cluster's state, schedules its tasks, watches its nodes

Usage: podling-master [FLAGS]
       podling-master backup FILE [--data-dir D]    all that it remembers, to a file that isn't there yet;
                                                    while it runs or not
       podling-master restore FILE [--data-dir D]   the way back; not while it runs. The old state is kept
                                                    aside, and the file `quarantine` in D tells the next
                                                    start to stop nothing that it doesn't know

  --listen A:P                    address of the API; port 0 takes a free one    [127.0.0.1:8080]
  --data-dir D                    state, identity, locks      [~/.local/share/podling/master]
  --store memory|embedded         where the state is kept                        [embedded]
  --node-timeout-ms N             silent longer than this is offline             [30000]
  --tick-ms N                     the scheduler looks at least this often        [1000]
  --pending-timeout-ms N          no node within this fails a task; 0: never     [300000]
  --retain D                      how long ended tasks are kept                  [7d]
  --max-connections N             in all                                         [4096]
  --max-connections-per-address N from one address                               [1024]
  --node-addresses CIDR,...       where nodes may live; accepted, not used yet
  --policy FILE                   what tasks may ask for of a node's own         [nothing]
  --tls-cert F, --tls-key F       a certificate of your own, in PEM, with those behind it, and its
                                  key                              [the cluster's own CA's]
  --accept-state                  ends a quarantine: what this master doesn't know is stopped
  --insecure                      ask for no tokens: whoever reaches it may do everything; take plain HTTP
                                  beyond loopback too
  --log-level L                   off, error, warn, info, debug, trace           [info]

Each flag has an environment variable: --node-timeout-ms is PODLING_NODE_TIMEOUT_MS. The flag wins.
The first line on stdout is `listening on http://ADDRESS`, or https:// where plain HTTP isn't taken: beyond
loopback without --insecure. On loopback both are taken. TERM and INT stop in order.
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the master.
    Serve,
    /// Write all that it remembers to this file.
    Backup(PathBuf),
    /// Take up what this file holds.
    Restore(PathBuf),
}

/// Where the state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// Nowhere: it is gone with the process.
    Memory,
    /// In the data folder.
    Embedded,
}

/// How a master is to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is to be done.
    pub command: Command,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The data folder.
    pub data_dir: PathBuf,
    /// Where the state is kept.
    pub store: StoreKind,
    /// How long a node may be silent.
    pub node_timeout: Duration,
    /// How often the scheduler looks at least.
    pub tick: Duration,
    /// How long a task may wait for a node, where it doesn't say. Zero: for ever.
    pub pending_timeout: Duration,
    /// How long an ended task is kept.
    pub retain: Duration,
    /// Connections, in all and from one address.
    pub caps: Caps,
    /// What tasks may ask for.
    pub policy: Policy,
    /// Whether what the store holds is the truth, whatever nodes still run.
    pub accept_state: bool,
    /// The certificate that it shows.
    pub certificates: CertificateSettings,
    /// Whether it asks for no tokens, and takes plain HTTP beyond loopback too.
    pub insecure: bool,
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
        let word = flags.subcommand()?;
        let defaults = Caps::default();
        let mut settings = Self {
            command: Command::Serve,
            listen: flags
                .value("--listen", listen_address)?
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            data_dir: match flags.value("--data-dir", folder)? {
                Some(folder) => folder,
                None => default_data_dir(environment, "master")?,
            },
            store: flags.value("--store", store)?.unwrap_or(StoreKind::Embedded),
            node_timeout: flags
                .value("--node-timeout-ms", positive_millis)?
                .unwrap_or(Duration::from_secs(30)),
            tick: flags.value("--tick-ms", positive_millis)?.unwrap_or(Duration::from_secs(1)),
            pending_timeout: flags.value("--pending-timeout-ms", millis)?.unwrap_or(Duration::from_secs(300)),
            retain: flags.value("--retain", parse_duration)?.unwrap_or(Duration::from_secs(7 * 86_400)),
            caps: Caps {
                connections: flags.value("--max-connections", count)?.unwrap_or(defaults.connections),
                per_address: flags
                    .value("--max-connections-per-address", count)?
                    .unwrap_or(defaults.per_address),
                ..defaults
            },
            policy: flags.value("--policy", policy_file::read)?.unwrap_or_default(),
            accept_state: flags.switch("--accept-state")?,
            certificates: CertificateSettings {
                given: given_certificate(&mut flags)?,
                life: flags.value("--cert-life-ms", positive_millis)?,
            },
            insecure: flags.switch("--insecure")?,
            log_level: flags.value("--log-level", logging::parse_level)?.unwrap_or(log::LevelFilter::Info),
        };
        accept_what_is_to_come(&mut flags)?;
        settings.command = command(word.as_deref(), &mut flags)?;
        flags.finish()?;
        refuse_own_folder(&settings.policy, &settings.data_dir)?;
        Ok(settings)
    }

    /// Whether plain HTTP is taken beside TLS.
    pub fn takes_plain_http(&self) -> bool {
        self.listen.ip().is_loopback() || self.insecure
    }
}

/// An operator's own certificate and key, read and held against each other.
fn given_certificate(flags: &mut Flags) -> Result<Option<TlsAcceptor>, SettingsError> {
    const CERT: &str = "--tls-cert";
    const KEY: &str = "--tls-key";
    let file = |file: &str| {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        Ok::<_, String>((file.to_owned(), text))
    };
    match (flags.value(CERT, file)?, flags.value(KEY, file)?) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingsError::of(CERT, format!("needs {KEY} beside it"))),
        (None, Some(_)) => Err(SettingsError::of(KEY, format!("needs {CERT} beside it"))),
        (Some((cert_file, cert)), Some((key_file, key))) => {
            TlsAcceptor::new(&cert, &key).map(Some).map_err(|error| match error {
                TlsError::Key(_) | TlsError::Mismatch => {
                    SettingsError::of(KEY, format!("{key_file}: {error}"))
                }
                TlsError::Certificate(_) | TlsError::Refused(_) => {
                    SettingsError::of(CERT, format!("{cert_file}: {error}"))
                }
            })
        }
    }
}

/// A flag that is part of the contract and of a later version: read, so that a script can name it already.
fn accept_what_is_to_come(flags: &mut Flags) -> Result<(), SettingsError> {
    flags.value("--node-addresses", |text| Ok::<_, String>(text.to_owned())).map(drop)
}

/// Refuses a root that holds the master's own folder, or is in it: there are its keys.
fn refuse_own_folder(policy: &Policy, data_dir: &Path) -> Result<(), SettingsError> {
    let own = std::fs::canonicalize(data_dir).or_else(|_| std::path::absolute(data_dir));
    let Ok(own) = own else { return Ok(()) };
    let meets = |root: &&Root| {
        let root = Path::new(root.path().as_str());
        own.starts_with(root) || root.starts_with(&own)
    };
    policy.mounts.iter().find(meets).map_or(Ok(()), |root| {
        let why = format!("mounts: {root} holds the data folder {}, or is in it", own.display());
        Err(SettingsError::of("--policy", why))
    })
}

/// What the first word stands for, with the file that follows it.
fn command(word: Option<&str>, flags: &mut Flags) -> Result<Command, SettingsError> {
    let make = match word {
        None => return Ok(Command::Serve),
        Some("backup") => Command::Backup,
        Some("restore") => Command::Restore,
        Some(other) => return Err(SettingsError::new(format!("unexpected argument {other:?}"))),
    };
    let file = flags.positional()?.filter(|file| !file.is_empty());
    let missing = || SettingsError::new(format!("{}: FILE is missing", word.unwrap_or_default()));
    file.map(|file| make(PathBuf::from(file))).ok_or_else(missing)
}

fn store(text: &str) -> Result<StoreKind, String> {
    match text {
        "memory" => Ok(StoreKind::Memory),
        "embedded" => Ok(StoreKind::Embedded),
        other if other.starts_with("etcd://") => Err("etcd is not supported yet".to_owned()),
        other => Err(format!("{other:?} must be memory or embedded")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::WallTime;
    use crate::pki::Authority;

    #[test]
    fn a_certificate_of_ones_own_is_checked_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = "01JD0000000000000000000000".parse().unwrap();
        let now = WallTime::from_unix_millis(1_800_000_000_000);
        let authority = Authority::create_or_open(folder.path(), &cluster, now).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name).display().to_string();
            std::fs::write(&path, text).unwrap();
            path
        };
        let (one, two) = (authority.server(&[], now).unwrap(), authority.server(&[], now).unwrap());
        let (cert, key) = (write("c", &one.cert_pem), write("k", &one.key_pem));
        let other = write("o", &two.key_pem);
        assert!(read(&["--tls-cert", &cert, "--tls-key", &key]).unwrap().certificates.given.is_some());
        for (words, says) in [
            (vec!["--tls-cert", &cert], "--tls-cert: needs --tls-key beside it".to_owned()),
            (vec!["--tls-key", &key], "--tls-key: needs --tls-cert beside it".to_owned()),
            (
                vec!["--tls-cert", &cert, "--tls-key", &other],
                format!("--tls-key: {other}: the key belongs to another certificate"),
            ),
            (
                vec!["--tls-cert", &key, "--tls-key", &key],
                format!("--tls-cert: {key}: no certificate in PEM can be read: "),
            ),
            (
                vec!["--tls-cert", &cert, "--tls-key", &cert],
                format!("--tls-key: {cert}: no private key in PEM can be read: "),
            ),
        ] {
            let error = read(&words).expect_err(&says);
            assert!(error.starts_with(&says) && !error.contains('\n'), "{words:?}: {error}");
        }
    }

    fn read(words: &[&str]) -> Result<Settings, String> {
        let arguments = words.iter().map(std::ffi::OsString::from).collect();
        let environment: Environment = |name| (name == "HOME").then(|| "/home/ada".to_owned());
        Settings::read(arguments, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.data_dir, PathBuf::from("/home/ada/.local/share/podling/master"));
        assert_eq!(settings.store, StoreKind::Embedded);
        assert_eq!(settings.node_timeout, Duration::from_secs(30));
        assert_eq!(settings.retain, Duration::from_secs(604_800));
        assert_eq!(settings.caps.connections, 4096);
    }

    #[test]
    fn the_masters_own_folder_is_nobodys_root() {
        let of = |root: &str| Policy { mounts: vec![root.parse().unwrap()], ..Policy::default() };
        let refused = |root, data: &str| refuse_own_folder(&of(root), Path::new(data)).is_err();
        for root in ["/srv", "/srv/no-master", "/srv/no-master/backups"] {
            assert!(refused(root, "/srv/no-master"), "{root}");
        }
        assert!(!refused("/srv/no-master2", "/srv/no-master"));
        assert!(refused("/srv", "/srv/no/../no-master"));
    }

    #[test]
    fn what_is_refused_is_named() {
        for (words, says) in [
            (vec!["--tick"], "unknown flag --tick"),
            (vec!["--tick-ms", "0"], "--tick-ms: must be 1 or more"),
            (vec!["--tick-ms", "x"], "--tick-ms: \"x\" is not a number"),
            (vec!["--store", "etcd://127.0.0.1:2379"], "--store: etcd is not supported yet"),
            (vec!["--tls-cert", "/nowhere/c"], "--tls-cert: /nowhere/c: "),
            (vec!["--listen", "nonsense"], "--listen: \"nonsense\" is not ADDRESS:PORT"),
            (vec!["--policy", "/no/such.toml"], "--policy: /no/such.toml: No such file"),
            (vec!["serve"], "unexpected argument \"serve\""),
            (vec!["backup"], "backup: FILE is missing"),
            (vec!["restore", "--data-dir", "d"], "restore: FILE is missing"),
            (vec!["backup", "a", "b"], "unexpected argument \"b\""),
        ] {
            let error = read(&words).expect_err(says);
            assert!(error.starts_with(says), "{words:?}: {error}");
        }
        let takes_plain = |words: &[&str]| read(words).unwrap().takes_plain_http();
        assert!(!takes_plain(&["--listen", "0.0.0.0:8080"]));
        assert!(takes_plain(&["--listen", "0.0.0.0:8080", "--insecure"]) && takes_plain(&[]));
        let restore = read(&["restore", "f", "--data-dir", "d"]).unwrap();
        assert_eq!(restore.command, Command::Restore("f".into()));
        assert!(read(&["--accept-state", "--node-addresses", "10.0.0.0/8"]).is_ok());
    }
}
