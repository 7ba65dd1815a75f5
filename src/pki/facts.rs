//! What a certificate says about itself: until when it holds, whose key it has, what its fingerprint is.
//!
//! [`Facts`] is read from PEM. Whether what it says is true (who signed it, for whom) is not asked here: that is for
//! whoever meets a peer that shows it. "Due" counts from the making of a certificate, which is
//! [`BEGINS_EARLY`] after it begins to hold.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::model::time::WallTime;
use crate::pki::{BEGINS_EARLY, PkiError};

/// A certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// It holds from then on.
    pub not_before: WallTime,
    /// It doesn't hold after that.
    pub not_after: WallTime,
    /// Its public key, in DER.
    pub public_key: Vec<u8>,
    /// The names that it is for, as text; addresses are left out.
    pub dns_names: Vec<String>,
}

impl Facts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn of_pem(pem: &str) -> Result<Self, PkiError> {
        let refuse = |why: &str| PkiError::Refused(why.to_owned());
        let der = first_der(pem)?;
        let (_, certificate) =
            parse_x509_certificate(&der).map_err(|_| refuse("the certificate can't be read"))?;
        let time = |at: ASN1Time| {
            WallTime::from_unix_millis(u64::try_from(at.timestamp()).unwrap_or(0).saturating_mul(1000))
        };
        let names = certificate.subject_alternative_name().map_err(|_| refuse("its names can't be read"))?;
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        let dns = |name: &GeneralName<'_>| {
            if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
        };
        Ok(Self {
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
            public_key: certificate.public_key().raw.to_vec(),
            dns_names: names.filter_map(dns).collect(),
        })
    }

    /// Whether half of the time from its making to its end is over.
    pub fn is_due(&self, now: WallTime) -> bool {
        let made = self.not_before.unix_millis() + u64::try_from(BEGINS_EARLY.as_millis()).unwrap_or(0);
        let half = self.not_after.unix_millis().saturating_sub(made) / 2;
        now.unix_millis() >= made + half
    }
}

/// Whether half of a certificate's life is over: time for the next. One that can't be read is due.
pub fn is_due(pem: &str, now: WallTime) -> bool {
    Facts::of_pem(pem).map_or(true, |facts| facts.is_due(now))
}

/// The SHA-256 of a certificate's DER, in hexadecimal: what tells this one from every other.
pub fn fingerprint(der: &[u8]) -> String {
    hex(&Sha256::digest(der))
}

/// The DER of the first certificate in a PEM text.
pub(super) fn first_der(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| PkiError::Refused(format!("there is no certificate in PEM: {error}")))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
