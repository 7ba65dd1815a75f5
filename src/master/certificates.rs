//! The certificate that the master shows, and the thread `certificates`, which renews it.
//!
//! The cluster's CA issues it anew at each start and at half of its life; its key is nowhere but in memory. An
//! operator's own certificate (`--tls-cert`) stands before it: then only those who ask for `master.podling`, the
//! cluster's nodes, are shown the cluster's. An operator's own is read once, at the start.
//!
//! Invariant: whoever is connected stays so: what is shown changes for the next handshake alone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::http::{TlsAcceptor, TlsError};
use crate::model::id::ClusterId;
use crate::model::time::WallTime;
use crate::pki::{Authority, MASTER_NAME, Name, PkiError, is_due};
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

/// How often it is looked whether half of a life is over, at most.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// And for certificates that live shorter than usual, how often in a life.
const LOOKS_A_LIFE: u32 = 20;

/// Why the master has no certificate to show.
#[derive(Debug)]
pub enum CertificateError {
    /// The CA, or what it issues.
    Pki(PkiError),
    /// It can't be served with.
    Tls(TlsError),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pki(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pki(source) => Some(source),
            Self::Tls(source) => Some(source),
        }
    }
}

impl From<PkiError> for CertificateError {
    fn from(error: PkiError) -> Self {
        Self::Pki(error)
    }
}

impl From<TlsError> for CertificateError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

/// How to get a certificate.
#[derive(Clone, Debug, Default)]
pub struct CertificateSettings {
    /// An operator's own, shown instead of the cluster's.
    pub given: Option<TlsAcceptor>,
    /// Another life than 90 days, for tests.
    pub life: Option<Duration>,
}

/// The certificate that is shown, and who issues the next.
#[derive(Debug)]
pub struct Certificates {
    authority: Arc<Authority>,
    acceptor: TlsAcceptor,
    /// Whether the cluster's is shown to those alone who ask for it.
    beside_given: bool,
    names: Vec<Name>,
    current: String,
    look_every: Duration,
}

impl Certificates {
    /// Opens the CA in the data folder, or makes it, and has it issue the first certificate. Blocks on the disk.
    ///
    /// # Errors
    /// The CA's files can't be used.
    pub fn open(
        folder: &Path,
        cluster: &ClusterId,
        settings: &CertificateSettings,
        listen: SocketAddr,
        now: WallTime,
    ) -> Result<Self, CertificateError> {
        let mut authority = Authority::create_or_open(folder, cluster, now)?;
        let mut look_every = LOOK_EVERY;
        if let Some(life) = settings.life {
            authority = authority.with_life(life);
            look_every = look_every.min(life / LOOKS_A_LIFE);
        }
        let names = names(listen.ip(), &host_name());
        let issued = authority.server(&names, now)?;
        let acceptor = match &settings.given {
            Some(given) => {
                given.show_to(MASTER_NAME, &issued.cert_pem, &issued.key_pem)?;
                given.clone()
            }
            None => TlsAcceptor::new(&issued.cert_pem, &issued.key_pem)?,
        };
        let beside_given = settings.given.is_some();
        let authority = Arc::new(authority);
        Ok(Self { authority, acceptor, beside_given, names, current: issued.cert_pem, look_every })
    }

    /// What serves with it.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Who issues the nodes' certificates.
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// Shows the next certificate if half of this one's life is over. Whether it was.
    ///
    /// # Errors
    /// There is no next one; this one stays.
    pub fn renew_if_due(&mut self, now: WallTime) -> Result<bool, CertificateError> {
        if !is_due(&self.current, now) {
            return Ok(false);
        }
        let next = self.authority.server(&self.names, now)?;
        if self.beside_given {
            self.acceptor.show_to(MASTER_NAME, &next.cert_pem, &next.key_pem)?;
        } else {
            self.acceptor.replace(&next.cert_pem, &next.key_pem)?;
        }
        self.current = next.cert_pem;
        Ok(true)
    }
}

/// Body of the thread `certificates`.
pub fn run(mut certificates: Certificates, stop: &Stop) {
    while !stop.wait(certificates.look_every) {
        match certificates.renew_if_due(clock::wall()) {
            Ok(true) => log::info!("the server's certificate was renewed"),
            Ok(false) => {}
            Err(error) => log::error!("the server's certificate can't be renewed because={error}"),
        }
    }
}

/// What the certificate is for, beside loopback and the role.
fn names(listen: IpAddr, host: &str) -> Vec<Name> {
    let address = (!listen.is_unspecified()).then_some(Name::Ip(listen));
    let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let host = is_name.then(|| Name::Dns(host.to_owned()));
    address.into_iter().chain(host).collect()
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Facts;

    const NOW: WallTime = WallTime::from_unix_millis(1_800_000_000_000);

    fn later(secs: u64) -> WallTime {
        WallTime::from_unix_millis(NOW.unix_millis() + secs * 1000)
    }

    #[test]
    fn it_is_renewed_at_half_of_its_life() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = "01JD0000000000000000000000".parse().unwrap();
        let settings = CertificateSettings { given: None, life: Some(Duration::from_secs(100)) };
        let listen = "10.0.0.7:8080".parse().unwrap();
        let mut certificates = Certificates::open(folder.path(), &cluster, &settings, listen, NOW).unwrap();
        let first = certificates.current.clone();
        assert!(!certificates.renew_if_due(later(49)).unwrap());
        assert!(certificates.renew_if_due(later(50)).unwrap());
        assert!(!certificates.renew_if_due(later(51)).unwrap());
        assert_ne!(first, certificates.current);
        assert_eq!(Facts::of_pem(&certificates.current).unwrap().not_after, later(150));
        assert_eq!(certificates.look_every, Duration::from_secs(5));
    }

    #[test]
    fn a_listener_on_every_address_is_named_by_its_host() {
        let host = Name::Dns("head".to_owned());
        assert_eq!(names("0.0.0.0".parse().unwrap(), "head"), [host]);
        let address = "10.0.0.7".parse().unwrap();
        assert_eq!(names(address, "what is this"), [Name::Ip(address)]);
    }
}
