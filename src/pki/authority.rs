//! The cluster's certificate authority: made at the master's first start, kept in its data folder.
//!
//! It issues two kinds of certificates: the master's own, for its addresses and `master.podling`, and a node's, for
//! that node's name alone, whatever its request asks for. Each may serve; a node's may also be shown by a client.
//! There is no list of revoked ones: what a node may do rests on its token, which can be taken away at once.
//!
//! Invariant: the key signs nothing that could sign in its turn (path length 0).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber, date_time_ymd,
};
use sha2::{Digest, Sha256};

use crate::model::id::{ClusterId, NodeId};
use crate::model::time::WallTime;
use crate::pki::facts::{Facts, first_der};
use crate::pki::{BEGINS_EARLY, MASTER_NAME, Name, PkiError, files, fingerprint, node_name};

/// The file of the CA's certificate.
pub const CA_CERT: &str = "ca.pem";
/// The file of the CA's key.
pub const CA_KEY: &str = "ca.key";

const DAY: Duration = Duration::from_secs(86_400);
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long what it issues holds.
const LIFE: Duration = Duration::from_secs(90 * DAY.as_secs());

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, and behind it the CA's: a peer that knows only the CA's fingerprint finds it there.
    pub cert_pem: String,
    /// The private key.
    pub key_pem: String,
}

/// Without the key, which belongs in no log.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

/// The cluster's certificate authority.
pub struct Authority {
    ca_pem: String,
    fingerprint: String,
    issuer: Issuer<'static, KeyPair>,
    life: Duration,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the CA in a folder, or makes it where there is none: `ca.key` (0600) and `ca.pem` (0644). Blocks on the
    /// disk.
    ///
    /// # Errors
    /// The key's mode is too loose, the two files don't belong together, or the system refuses.
    pub fn create_or_open(folder: &Path, cluster: &ClusterId, now: WallTime) -> Result<Self, PkiError> {
        let (cert_file, key_file) = (folder.join(CA_CERT), folder.join(CA_KEY));
        let cert = files::read(&cert_file)?;
        let key = match files::read_secret(&key_file)? {
            Some(text) => KeyPair::from_pem(&text).map_err(|error| damaged(&key_file, error))?,
            None if cert.is_some() => return Err(damaged(&cert_file, "its key is gone")),
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                files::create_secret(&key_file, &key.serialize_pem())?;
                key
            }
        };
        let ca_pem = match cert {
            Some(pem) => pem,
            // New; or its first start ended between the two files, and nobody has seen a certificate of this key.
            None => {
                let pem = ca_params(cluster, now).self_signed(&key)?.pem();
                files::publish(&cert_file, &pem)?;
                pem
            }
        };
        Self::of(ca_pem, key, &cert_file)
    }

    /// Of a certificate and a key that have to belong together.
    fn of(ca_pem: String, key: KeyPair, cert_file: &Path) -> Result<Self, PkiError> {
        let facts = Facts::of_pem(&ca_pem).map_err(|error| damaged(cert_file, error))?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(damaged(cert_file, "it belongs to another key than the one beside it"));
        }
        let fingerprint = fingerprint(&first_der(&ca_pem)?);
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(|error| damaged(cert_file, error))?;
        Ok(Self { ca_pem, fingerprint, issuer, life: LIFE })
    }

    /// With another life than 90 days for what it issues.
    #[must_use]
    pub fn with_life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// The CA's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The SHA-256 of the CA certificate's DER, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A new key and certificate for the master, for these names, loopback and `master.podling`.
    ///
    /// # Errors
    /// A name can't stand in a certificate.
    pub fn server(&self, names: &[Name], now: WallTime) -> Result<Issued, PkiError> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(Name::Ip);
        let own = ["localhost", MASTER_NAME].map(|name| Name::Dns(name.to_owned()));
        let mut all: Vec<Name> = loopback.into_iter().chain(own).collect();
        for name in names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = self.leaf(MASTER_NAME, &key, now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = all.iter().map(san).collect::<Result<_, _>>()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { cert_pem: cert.pem() + &self.ca_pem, key_pem: key.serialize_pem() })
    }

    /// Signs a node's request: for its name alone, whatever it asks for. Gives the certificate with the CA's behind it.
    ///
    /// # Errors
    /// The request can't be read, isn't signed by its own key, or its key is none of ours (ECDSA P-256).
    pub fn node(&self, csr_pem: &str, node: &NodeId, now: WallTime) -> Result<String, PkiError> {
        let refuse = |why: String| PkiError::Refused(format!("the certificate request {why}"));
        let request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|error| refuse(format!("can't be taken: {error}")))?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(refuse("has a key that isn't ECDSA P-256".to_owned()));
        }
        let name = node_name(node);
        let mut params = self.leaf(&name, &request.public_key, now);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![san(&Name::Dns(name))?];
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem() + &self.ca_pem)
    }

    fn leaf(&self, subject: &str, key: &impl PublicKeyData, now: WallTime) -> CertificateParams {
        let mut params = params(now, self.life);
        params.distinguished_name = named(subject);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial(key, now));
        params
    }
}

fn damaged(path: &Path, why: impl fmt::Display) -> PkiError {
    PkiError::Damaged { path: path.to_owned(), why: why.to_string() }
}

fn ca_params(cluster: &ClusterId, now: WallTime) -> CertificateParams {
    let mut params = params(now, CA_LIFE);
    params.distinguished_name = named(&format!("podling {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn params(now: WallTime, life: Duration) -> CertificateParams {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = Duration::from_millis(now.unix_millis());
    let mut params = CertificateParams::default();
    params.not_before = epoch + now.saturating_sub(BEGINS_EARLY);
    params.not_after = epoch + (now + life);
    params
}

fn named(subject: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, subject);
    name
}

fn san(name: &Name) -> Result<SanType, PkiError> {
    Ok(match name {
        Name::Ip(address) => SanType::IpAddress(*address),
        Name::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
    })
}

/// A number that no other certificate has: a node's next one may have the same key.
fn serial(key: &impl PublicKeyData, now: WallTime) -> SerialNumber {
    let mut hash = Sha256::new_with_prefix(key.subject_public_key_info());
    hash.update(now.unix_millis().to_be_bytes());
    let mut bytes = hash.finalize()[..16].to_vec();
    // Positive, and as long as it looks.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests;
