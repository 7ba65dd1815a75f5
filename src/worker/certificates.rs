//! What a worker knows its master by, and its own certificate: both from joining, kept in its data folder.
//!
//! A worker gets its next certificate by joining again, with the same key. [`renew_if_due`] is all of that but the
//! asking, which is for whoever holds the line to the master.

use std::fmt;
use std::path::Path;

use crate::http::{TlsAcceptor, TlsError, Trust};
use crate::model::id::NodeId;
use crate::model::time::WallTime;
use crate::pki::{NodeFiles, NodeKey, PkiError};

/// Whom a worker takes for its master over `https://`: the cluster that it joined, or, before that, whomever this
/// system trusts. Blocks on the disk.
///
/// # Errors
/// The CA's file can't be read.
pub fn master_trust(folder: &Path) -> Result<Trust, PkiError> {
    Ok(NodeFiles::ca(folder)?.map_or_else(Trust::system, Trust::master))
}

/// What the master answers to whoever joins.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate of the cluster's CA.
    pub ca_pem: String,
    /// The node's certificate.
    pub cert_pem: String,
}

/// Why there is no next certificate. The one before stays.
#[derive(Debug)]
pub enum RenewError<E> {
    /// The folder, the key, or what came back.
    Pki(PkiError),
    /// What came back can't be served with.
    Tls(TlsError),
    /// The master did not sign.
    Join(E),
}

impl<E: fmt::Display> fmt::Display for RenewError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pki(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Join(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for RenewError<E> {}

/// Gets the next certificate if half of this one's life is over, keeps it, and shows it from then on. `join` sends the
/// request (PEM) to the master. Whether it was time. Blocks on the disk, and for as long as `join` does.
///
/// # Errors
/// Names what failed. The certificate that is shown stays.
pub fn renew_if_due<E>(
    folder: &Path,
    node: &NodeId,
    shown: &TlsAcceptor,
    now: WallTime,
    join: impl FnOnce(&str) -> Result<Signed, E>,
) -> Result<bool, RenewError<E>> {
    let held = NodeFiles::open(folder).map_err(RenewError::Pki)?;
    if held.is_some_and(|held| !held.is_due(now)) {
        return Ok(false);
    }
    let key = NodeKey::create_or_open(folder).map_err(RenewError::Pki)?;
    let request = key.request(node).map_err(RenewError::Pki)?;
    let signed = join(&request).map_err(RenewError::Join)?;
    let next = key.keep(node, &signed.ca_pem, &signed.cert_pem).map_err(RenewError::Pki)?;
    shown.replace(&next.issued.cert_pem, &next.issued.key_pem).map_err(RenewError::Tls)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;

    const NOW: WallTime = WallTime::from_unix_millis(1_800_000_000_000);

    #[test]
    fn a_worker_joins_again_at_half_of_its_certificates_life() {
        let (masters, workers) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cluster = "01JD0000000000000000000000".parse().unwrap();
        let authority = Authority::create_or_open(masters.path(), &cluster, NOW).unwrap();
        let node: NodeId = "worker-1".parse().unwrap();
        assert_eq!(master_trust(workers.path()).unwrap(), Trust::system());
        let first = authority.server(&[], NOW).unwrap();
        let shown = TlsAcceptor::new(&first.cert_pem, &first.key_pem).unwrap();
        let renew = |days: u64| {
            let now = WallTime::from_unix_millis(NOW.unix_millis() + days * 86_400_000);
            let join = |request: &str| {
                let cert_pem = authority.node(request, &node, now)?;
                Ok::<_, PkiError>(Signed { ca_pem: authority.ca_pem().to_owned(), cert_pem })
            };
            renew_if_due(workers.path(), &node, &shown, now, join).unwrap()
        };
        assert_eq!([0, 44, 46, 47, 92].map(renew), [true, false, true, false, true]);
        assert_eq!(master_trust(workers.path()).unwrap(), Trust::master(authority.ca_pem()));
        let no =
            renew_if_due(workers.path(), &node, &shown, WallTime::from_unix_millis(u64::MAX), |_| Err("no"));
        assert!(matches!(no, Err(RenewError::Join("no"))));
    }
}
