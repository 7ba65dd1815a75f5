//! What every command knows: where the master is, and with which token it is asked.
//!
//! A flag wins over the environment, which wins over the default. A bearer token over plain HTTP can be read by
//! whoever carries it, so `http://` to a host beyond loopback needs `--insecure`; and the token that a master of
//! this machine keeps in its data folder is sent to nobody but a master of this machine. Over `https://` the master
//! has to be known by `--ca`, else by the CA that a master of this machine keeps there, else by the system.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use crate::cli::args::{Flag, Words};
use crate::http::Trust;
use crate::pki::Facts;
use crate::runtime::settings::{Environment, SettingsError};
use crate::runtime::token_file::{self, host_of, is_loopback};

const MASTER: Flag = Flag::Long("--master");
const TOKEN_FILE: Flag = Flag::Long("--token-file");
const CA: Flag = Flag::Long("--ca");
const INSECURE: Flag = Flag::Long("--insecure");
const HELP: Flag = Flag::Both("-h", "--help");

/// Where a master listens that was not told otherwise.
const DEFAULT_MASTER: &str = "http://127.0.0.1:8080";

/// Where a master that was not told otherwise keeps the certificate of its cluster's CA, below the home folder.
const OWN_CA: &str = ".local/share/podling/master/ca.pem";

/// The flags of every command.
#[derive(Debug)]
pub(crate) struct Shared {
    /// `--help`.
    pub(crate) help: bool,
    master: Option<String>,
    token_file: Option<String>,
    ca: Option<String>,
    insecure: bool,
}

impl Shared {
    /// Takes them, wherever they stand.
    ///
    /// # Errors
    /// Names the flag that is wrong.
    pub(crate) fn take(words: &mut Words) -> Result<Self, SettingsError> {
        let text = |text: &str| {
            if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
        };
        let master = words.value(MASTER, text)?;
        let token_file = words.value(TOKEN_FILE, text)?;
        let ca = words.value(CA, text)?;
        Ok(Self { help: words.switch(HELP), master, token_file, ca, insecure: words.switch(INSECURE) })
    }

    /// Fills in what was not given from the environment and the defaults, and reads the token.
    ///
    /// # Errors
    /// Names the flag or the variable that is wrong.
    pub(crate) fn resolve(self, environment: Environment) -> Result<Target, SettingsError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let (from, master) = match (self.master, variable("PODLING_MASTER")) {
            (Some(url), _) => ("--master", url),
            (None, Some(url)) => ("PODLING_MASTER", url),
            (None, None) => ("--master", DEFAULT_MASTER.to_owned()),
        };
        check_address(&master, self.insecure).map_err(|why| SettingsError::of(from, why))?;
        let token = match (self.token_file, variable("PODLING_TOKEN_FILE")) {
            (Some(file), _) => Some(named_token("--token-file", &file)?),
            (None, Some(file)) => Some(named_token("PODLING_TOKEN_FILE", &file)?),
            (None, None) if is_loopback(&master) => variable("HOME").and_then(|home| own_token(&home)),
            (None, None) => None,
        };
        let home = variable("HOME");
        let trust = match self.ca {
            Some(file) => named_ca(Path::new(&file))?,
            None => {
                home.filter(|_| is_own_machine(&master)).map_or_else(Trust::system, |home| own_trust(&home))
            }
        };
        Ok(Target { master, token, trust, insecure: self.insecure })
    }
}

/// Whom a command asks.
#[derive(Debug)]
pub(crate) struct Target {
    /// The master's address.
    pub(crate) master: String,
    /// The token, where there is one.
    pub(crate) token: Option<String>,
    /// Who that has to prove to be, over `https://`.
    pub(crate) trust: Trust,
    /// Whether plain HTTP may leave this machine.
    pub(crate) insecure: bool,
}

/// Refuses an address that is none, or where plain HTTP would leave this machine unasked.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check_address(url: &str, insecure: bool) -> Result<(), String> {
    if host_of(url).is_none() {
        return Err(format!("{url:?} must be http://HOST:PORT or https://HOST:PORT"));
    }
    if url.starts_with("https://") || is_loopback(url) || insecure {
        return Ok(());
    }
    Err(format!("{url} is beyond loopback: plain http to it needs --insecure"))
}

/// Whether a master there would keep its data folder on this machine.
fn is_own_machine(url: &str) -> bool {
    let Some(host) = host_of(url) else {
        return false;
    };
    let own_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // Only an address of this machine can be bound to.
    let is_bound = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    is_loopback(url) || host.eq_ignore_ascii_case(&own_name) || host.parse().is_ok_and(is_bound)
}

/// The authority in a file that somebody named.
fn named_ca(file: &Path) -> Result<Trust, SettingsError> {
    let refuse = |why: String| SettingsError::of("--ca", format!("{}: {why}", file.display()));
    let pem = fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    Facts::of_pem(&pem).map_err(|error| refuse(error.to_string()))?;
    Ok(Trust::host_or_master(pem))
}

/// The CA that a master of this machine keeps, where there is one to be read; else those that the system knows.
fn own_trust(home: &str) -> Trust {
    let pem = fs::read_to_string(Path::new(home).join(OWN_CA)).ok();
    pem.filter(|pem| Facts::of_pem(pem).is_ok()).map_or_else(Trust::system, Trust::host_or_master)
}

/// The token in a file that somebody named.
fn named_token(named_by: &str, file: &str) -> Result<String, SettingsError> {
    token_file::read(Path::new(file)).map_err(|why| SettingsError::of(named_by, why))
}

/// The token that a master of this machine keeps for its owner, where there is one to be read.
fn own_token(home: &str) -> Option<String> {
    token_file::read(&token_file::of_own_master(home)).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::time::WallTime;
    use crate::pki::Authority;

    fn target(line: &str, environment: Environment) -> Result<Target, String> {
        let mut words = Words::new(line.split_whitespace().map(Into::into).collect());
        let shared = Shared::take(&mut words).map_err(|error| error.to_string())?;
        shared.resolve(environment).map_err(|error| error.to_string())
    }

    #[test]
    fn a_flag_wins_over_the_environment_over_the_default() {
        let environment: Environment =
            |name| (name == "PODLING_MASTER").then(|| "http://localhost:1".to_owned());
        assert_eq!(target("", |_| None).unwrap().master, "http://127.0.0.1:8080");
        assert_eq!(target("", environment).unwrap().master, "http://localhost:1");
        assert_eq!(target("--master http://[::1]:2", environment).unwrap().master, "http://[::1]:2");
        assert_eq!(target("", |_| Some(String::new())).unwrap().master, "http://127.0.0.1:8080");
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_told() {
        for near in ["http://127.0.0.1:8080", "http://127.9.9.9", "http://LocalHost:1/", "http://[::1]:8080"]
        {
            assert_eq!(check_address(near, false), Ok(()), "{near}");
        }
        for far in
            ["http://10.0.0.1:8080", "http://master:8080", "http://127.0.0.1.evil", "http://[fe80::1]:1"]
        {
            let why = check_address(far, false).expect_err(far);
            assert!(why.contains("--insecure"), "{far}: {why}");
            assert_eq!(check_address(far, true), Ok(()), "{far}");
        }
    }

    #[test]
    fn an_address_means_one_host_to_every_reader() {
        for bad in [
            "",
            "127.0.0.1:8080",
            "http://",
            "http://127.0.0.1:80@evil",
            "http://127.0.0.1?@evil",
            "http://127.0.0.1#@evil",
            "http://127.0.0.1\\@evil",
            "http://127.0.0.1:port",
            "http://127.0.0.1:99999",
            "http://[::1",
            "http://[evil]",
            "http://a b",
            "https://",
            "https://master:443@evil",
        ] {
            assert!(check_address(bad, true).is_err(), "{bad}");
        }
        assert_eq!(check_address("https://master.example:8443", false), Ok(()));
    }

    #[test]
    fn an_authority_is_named_or_found_on_this_machine() {
        let error = target("--ca /nowhere/ca.pem", |_| None).expect_err("no such file");
        assert!(error.starts_with("--ca: /nowhere/ca.pem: "), "{error}");
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(OWN_CA);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "nonsense").unwrap();
        assert_eq!(own_trust(home.path().to_str().unwrap()), Trust::system());
        let line = format!("--ca {}", file.display());
        assert!(target(&line, |_| None).expect_err("no certificate").starts_with("--ca: "));
        fs::remove_file(&file).unwrap();
        let (cluster, now) =
            ("01JD0000000000000000000000".parse().unwrap(), WallTime::from_unix_millis(1_800_000_000_000));
        let authority = Authority::create_or_open(file.parent().unwrap(), &cluster, now).unwrap();
        let trust = Trust::host_or_master(authority.ca_pem());
        assert_eq!(own_trust(home.path().to_str().unwrap()), trust);
        assert_eq!(target(&line, |_| None).unwrap().trust, trust);
        assert!(is_own_machine("https://127.0.0.1:1") && is_own_machine("https://[::1]:1"));
        assert!(!is_own_machine("https://192.0.2.1:1") && !is_own_machine("https://master.example"));
    }

    #[test]
    fn a_token_is_read_from_the_file_that_was_named() {
        let error = target("--token-file /nowhere/token", |_| None).expect_err("no such file");
        assert!(error.starts_with("--token-file: /nowhere/token: "), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "s3cret\n").unwrap();
        let line = format!("--token-file {}", file.display());
        assert_eq!(target(&line, |_| None).unwrap().token.as_deref(), Some("s3cret"));
    }

    #[test]
    fn this_machines_token_stays_on_this_machine() {
        let home = tempfile::tempdir().unwrap();
        let file = token_file::of_own_master(home.path().to_str().unwrap());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "s3cret\n").unwrap();
        assert_eq!(own_token(home.path().to_str().unwrap()).as_deref(), Some("s3cret"));
        assert!(!is_loopback("http://10.0.0.1:8080"));
    }
}
