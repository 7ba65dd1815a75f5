//! TLS where it is served: versions, ciphers, and the certificate that is shown now.
//!
//! Main type: [`TlsAcceptor`], cheap to clone. Its certificate can be replaced while connections are open: each
//! handshake shows the one that holds then, and no connection is touched. TLS 1.3 and 1.2 by rustls over ring; no
//! renegotiation, no early data (what is sent early can be sent again by others), HTTP/1.1 alone by ALPN. Sockets are
//! the gate's business, whom to trust is the client's.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::runtime::clock;

/// What is spoken, the newest first.
pub(super) const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Why a certificate and its key can't be served with.
#[derive(Debug)]
pub enum TlsError {
    /// There is no certificate that can be read.
    Certificate(String),
    /// There is no private key that can be read.
    Key(String),
    /// The key is another certificate's.
    Mismatch,
    /// rustls refuses.
    Refused(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) => write!(f, "no certificate in PEM can be read: {why}"),
            Self::Key(why) => write!(f, "no private key in PEM can be read: {why}"),
            Self::Mismatch => f.write_str("the key belongs to another certificate"),
            Self::Refused(error) => write!(f, "the certificate and its key can't be used: {error}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(source) => Some(source),
            Self::Certificate(_) | Self::Key(_) | Self::Mismatch => None,
        }
    }
}

/// The certificates that are shown, behind what rustls asks.
#[derive(Debug)]
struct Shown {
    usual: RwLock<Arc<CertifiedKey>>,
    /// For those who ask for this name.
    named: RwLock<Option<(&'static str, Arc<CertifiedKey>)>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = self.named.read();
        let asked_for = named.as_ref().filter(|(name, _)| hello.server_name() == Some(*name));
        let found = asked_for.map(|(_, key)| Arc::clone(key));
        Some(found.unwrap_or_else(|| Arc::clone(&self.usual.read())))
    }
}

/// What makes a TLS connection of an accepted socket.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

/// Without keys.
impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

impl TlsAcceptor {
    /// With this certificate (and those behind it) and its key, in PEM.
    ///
    /// # Errors
    /// They can't be read, or don't belong together.
    pub fn new(cert_pem: &str, key_pem: &str) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let usual = RwLock::new(Arc::new(certified(cert_pem, key_pem, &provider)?));
        let shown = Arc::new(Shown { usual, named: RwLock::new(None) });
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(OurClock))
            .with_protocol_versions(VERSIONS)
            .map_err(TlsError::Refused)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), shown })
    }

    /// Shows another certificate from now on. Connections that are open go on.
    ///
    /// # Errors
    /// As [`TlsAcceptor::new`]; then the old one stays.
    pub fn replace(&self, cert_pem: &str, key_pem: &str) -> Result<(), TlsError> {
        let next = Arc::new(certified(cert_pem, key_pem, self.config.crypto_provider())?);
        *self.shown.usual.write() = next;
        Ok(())
    }

    /// Shows another certificate from now on to those who ask for `name` (SNI). Connections that are open go on.
    ///
    /// # Errors
    /// As [`TlsAcceptor::new`]; then all is as it was.
    pub fn show_to(&self, name: &'static str, cert_pem: &str, key_pem: &str) -> Result<(), TlsError> {
        let next = Arc::new(certified(cert_pem, key_pem, self.config.crypto_provider())?);
        *self.shown.named.write() = Some((name, next));
        Ok(())
    }

    /// The server's side of a new connection.
    pub(super) fn accept(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.config))
    }
}

fn certified(cert_pem: &str, key_pem: &str, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
        .map_err(|error| TlsError::Key(error.to_string()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let mismatch = matches!(error, rustls::Error::InconsistentKeys(_));
        if mismatch { TlsError::Mismatch } else { TlsError::Refused(error) }
    })
}

/// All certificates of a PEM text, one at least.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| TlsError::Certificate(error.to_string()))?;
    if found.is_empty() { Err(TlsError::Certificate("there is none".to_owned())) } else { Ok(found) }
}

/// The clock that every file here goes by, as rustls asks for it.
#[derive(Debug)]
pub(super) struct OurClock;

impl TimeProvider for OurClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = std::time::Duration::from_millis(clock::wall().unix_millis());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}
