//! What a worker knows its master by, and its own certificate: both from joining, kept in its data folder.
//!
//! A worker gets its next certificate by joining again, with the same key and its own token. The asking is for whoever
//! holds the line to the master.

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

/// What this worker shows over TLS: its own certificate once it joined, before that one that proves nothing.
#[derive(Debug)]
pub(super) struct Showing {
    node: NodeId,
    key: NodeKey,
    acceptor: TlsAcceptor,
    /// None: it hasn't joined.
    held: Option<NodeFiles>,
}

impl Showing {
    /// From the data folder, in which a key is made where there is none. Blocks on the disk.
    ///
    /// # Errors
    /// The files can't be used.
    pub(super) fn open(folder: &Path, node: &NodeId) -> Result<Self, PkiError> {
        let key = NodeKey::create_or_open(folder)?;
        let held = NodeFiles::open(folder)?;
        let shown = held.as_ref().map_or_else(|| key.provisional(node), |held| Ok(held.issued.clone()))?;
        let acceptor = TlsAcceptor::new(&shown.cert_pem, &shown.key_pem).map_err(refused)?;
        Ok(Self { node: node.clone(), key, acceptor, held })
    }

    /// What serves with it.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Whether it is time to ask the master for the next one.
    pub(super) fn is_due(&self, now: WallTime) -> bool {
        self.held.as_ref().is_none_or(|held| held.is_due(now))
    }

    /// What the master is asked to sign, in PEM.
    ///
    /// # Errors
    /// The name can't stand in a request.
    pub(super) fn request(&self) -> Result<String, PkiError> {
        self.key.request(&self.node)
    }

    /// Keeps what the master answered, and shows it to whoever connects from now on. Blocks on the disk.
    ///
    /// # Errors
    /// It is another key's or another node's, or can't be kept; then nothing changes.
    pub(super) fn take(&mut self, ca_pem: &str, cert_pem: &str) -> Result<(), PkiError> {
        let held = self.key.keep(&self.node, ca_pem, cert_pem)?;
        self.acceptor.replace(&held.issued.cert_pem, &held.issued.key_pem).map_err(refused)?;
        self.held = Some(held);
        Ok(())
    }
}

fn refused(error: TlsError) -> PkiError {
    PkiError::Refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Authority;

    const NOW: WallTime = WallTime::from_unix_millis(1_800_000_000_000);

    #[test]
    fn a_worker_asks_again_at_half_of_its_certificates_life() {
        let (masters, workers) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cluster = "01JD0000000000000000000000".parse().unwrap();
        let authority = Authority::create_or_open(masters.path(), &cluster, NOW).unwrap();
        let node: NodeId = "worker-1".parse().unwrap();
        assert_eq!(master_trust(workers.path()).unwrap(), Trust::system());
        let mut showing = Showing::open(workers.path(), &node).unwrap();
        let on = |days: u64| WallTime::from_unix_millis(NOW.unix_millis() + days * 86_400_000);
        let mut due = Vec::new();
        for now in [0, 44, 46, 47, 92].map(on) {
            due.push(showing.is_due(now));
            if showing.is_due(now) {
                let cert = authority.node(&showing.request().unwrap(), &node, now).unwrap();
                showing.take(authority.ca_pem(), &cert).unwrap();
            }
        }
        assert_eq!(due, [true, false, true, false, true]);
        assert_eq!(master_trust(workers.path()).unwrap(), Trust::master(authority.ca_pem()));
        // What was kept is there after a restart; another node's is not taken.
        let mut again = Showing::open(workers.path(), &node).unwrap();
        assert!(!again.is_due(on(93)));
        let other: NodeId = "worker-2".parse().unwrap();
        let foreign = NodeKey::create_or_open(masters.path()).unwrap().request(&other).unwrap();
        let foreign = authority.node(&foreign, &other, NOW).unwrap();
        assert!(matches!(again.take(authority.ca_pem(), &foreign), Err(PkiError::Refused(_))));
        assert!(!again.is_due(on(93)));
    }
}
