//! Whom a client believes: which authority, and which name its peer has to prove.
//!
//! [`Trust`] becomes a rustls configuration by [`Trust::config`]. The check is rustls's own (webpki), with two things
//! added: an authority may be known by its fingerprint alone (a join word holds it; the peer sends the certificate),
//! and there may be two names one of which is enough.
//!
//! Invariant: until the check is done the peer has got nothing but a ClientHello.

use std::io::ErrorKind;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::http::tls::{OurClock, TlsError, VERSIONS, certificates};
use crate::model::id::NodeId;
use crate::pki::{MASTER_NAME, fingerprint, node_name};

/// Where Debian and its kin keep what the system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Which authority is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those that this system knows.
    System,
    /// The certificates of this PEM text, and no other.
    Ca(String),
    /// The one whose certificate has this fingerprint ([`crate::pki::fingerprint`]). The peer has to send it.
    Fingerprint(String),
}

/// Which name the peer has to prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// The host of the address.
    Host,
    /// The host of the address, or `master.podling`: for a person who names an authority and an address.
    HostOrMaster,
    /// This one, whatever the address: see [`crate::pki::node_name`].
    Exactly(String),
}

/// Whom a client believes that its peer is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Which authority.
    pub roots: Roots,
    /// Which name.
    pub name: PeerName,
}

impl Trust {
    /// Whoever this system trusts to be the address's host.
    pub fn system() -> Self {
        Self { roots: Roots::System, name: PeerName::Host }
    }

    /// The host of the address, or a master, by this authority.
    pub fn host_or_master(ca_pem: impl Into<String>) -> Self {
        Self { roots: Roots::Ca(ca_pem.into()), name: PeerName::HostOrMaster }
    }

    /// The master of the cluster with this CA, wherever it is.
    pub fn master(ca_pem: impl Into<String>) -> Self {
        Self { roots: Roots::Ca(ca_pem.into()), name: PeerName::Exactly(MASTER_NAME.to_owned()) }
    }

    /// The master of the cluster whose CA has this fingerprint.
    pub fn master_by_fingerprint(fingerprint: impl Into<String>) -> Self {
        Self {
            roots: Roots::Fingerprint(fingerprint.into()),
            name: PeerName::Exactly(MASTER_NAME.to_owned()),
        }
    }

    /// This node of the cluster with this CA, wherever it is.
    pub fn node(ca_pem: impl Into<String>, node: &NodeId) -> Self {
        Self { roots: Roots::Ca(ca_pem.into()), name: PeerName::Exactly(node_name(node)) }
    }

    /// As rustls wants it.
    pub(super) fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            known: self.known()?,
            also: match self.name {
                PeerName::HostOrMaster => ServerName::try_from(MASTER_NAME).ok(),
                PeerName::Host | PeerName::Exactly(_) => None,
            },
            algorithms: provider.signature_verification_algorithms,
        };
        let config = ClientConfig::builder_with_details(provider, Arc::new(OurClock))
            .with_protocol_versions(VERSIONS)
            .map_err(TlsError::Refused)?
            // "Dangerous" is any check that isn't rustls's own word for word: see `Verifier`.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(config)
    }

    fn known(&self) -> Result<Known, TlsError> {
        let store = |pem: &str| {
            let mut store = RootCertStore::empty();
            let (added, _) = store.add_parsable_certificates(certificates(pem)?);
            if added == 0 { Err(TlsError::Certificate("none is sound".to_owned())) } else { Ok(store) }
        };
        match &self.roots {
            Roots::System => match std::fs::read_to_string(SYSTEM_ROOTS) {
                Ok(pem) => store(&pem).map(Known::Roots),
                // A system that trusts nobody is no error: nobody will be believed.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Known::Roots(RootCertStore::empty())),
                Err(error) => Err(TlsError::Certificate(format!("{SYSTEM_ROOTS}: {error}"))),
            },
            Roots::Ca(pem) => store(pem).map(Known::Roots),
            Roots::Fingerprint(fingerprint) => Ok(Known::Fingerprint(fingerprint.clone())),
        }
    }
}

#[derive(Debug)]
enum Known {
    Roots(RootCertStore),
    Fingerprint(String),
}

/// The check of a peer's certificate.
#[derive(Debug)]
struct Verifier {
    known: Known,
    /// Another name that is as good as the one that is asked for.
    also: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn check_authority(
        &self,
        peer: &ParsedCertificate<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let check = |roots: &RootCertStore| {
            verify_server_cert_signed_by_trust_anchor(peer, roots, others, now, self.algorithms.all)
        };
        match &self.known {
            Known::Roots(roots) => check(roots),
            Known::Fingerprint(known) => {
                let authority = others.iter().find(|other| fingerprint(other) == *known);
                let unknown = || rustls::Error::from(CertificateError::UnknownIssuer);
                let mut roots = RootCertStore::empty();
                roots.add(authority.ok_or_else(unknown)?.clone().into_owned())?;
                check(&roots)
            }
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let peer = ParsedCertificate::try_from(end_entity)?;
        self.check_authority(&peer, intermediates, now)?;
        verify_server_name(&peer, server_name).or_else(|error| match &self.also {
            Some(also) => verify_server_name(&peer, also).map_err(|_| error),
            None => Err(error),
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
