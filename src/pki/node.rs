//! A node's key and certificate, in its worker's data folder.
//!
//! The key is made there and never leaves it; what goes to the master is a request, and what comes back is kept beside
//! the key. Renewing is joining again with the same key: [`NodeFiles::is_due`] says when it is time.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use crate::model::id::NodeId;
use crate::model::time::WallTime;
use crate::pki::facts::Facts;
use crate::pki::{CA_CERT, Issued, PkiError, files, is_due, node_name};

/// The file of a node's key.
pub const NODE_KEY: &str = "node.key.pem";
/// The file of a node's certificate.
pub const NODE_CERT: &str = "node.cert.pem";

/// A node's key.
pub struct NodeKey {
    key: KeyPair,
    folder: PathBuf,
}

/// Without the key, which belongs in no log.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl NodeKey {
    /// Reads the key in a folder, or makes it (0600). Blocks on the disk.
    ///
    /// # Errors
    /// Its mode is too loose, it can't be read, or the system refuses.
    pub fn create_or_open(folder: &Path) -> Result<Self, PkiError> {
        let path = folder.join(NODE_KEY);
        let key = match files::read_secret(&path)? {
            Some(text) => KeyPair::from_pem(&text)
                .map_err(|error| PkiError::Damaged { path: path.clone(), why: error.to_string() })?,
            None => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                files::create_secret(&path, &key.serialize_pem())?;
                key
            }
        };
        Ok(Self { key, folder: folder.to_owned() })
    }

    /// What the master is asked to sign, in PEM.
    ///
    /// # Errors
    /// The name can't stand in a request.
    pub fn request(&self, node: &NodeId) -> Result<String, PkiError> {
        let mut params = CertificateParams::new(vec![node_name(node)])?;
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.key)?.pem()?)
    }

    /// A certificate that nobody signed but this key: what a worker shows before it has joined. It proves nothing.
    ///
    /// # Errors
    /// The name can't stand in a certificate.
    pub fn provisional(&self, node: &NodeId) -> Result<Issued, PkiError> {
        let mut params = CertificateParams::new(vec![node_name(node)])?;
        params.distinguished_name = DistinguishedName::new();
        let cert_pem = params.self_signed(&self.key)?.pem();
        Ok(Issued { cert_pem, key_pem: self.key.serialize_pem() })
    }

    /// Keeps what the master answered: the CA's certificate and this key's own. Blocks on the disk.
    ///
    /// # Errors
    /// The certificate is another key's or another node's; then nothing is kept. Or the system refuses.
    pub fn keep(&self, node: &NodeId, ca_pem: &str, cert_pem: &str) -> Result<NodeFiles, PkiError> {
        let refuse = |why: &str| PkiError::Refused(why.to_owned());
        let facts = Facts::of_pem(cert_pem)?;
        Facts::of_pem(ca_pem)?;
        if facts.public_key != self.key.subject_public_key_info() {
            return Err(refuse("the master's answer is the certificate of another key"));
        }
        if facts.dns_names != [node_name(node)] {
            return Err(refuse("the master's answer is the certificate of another node"));
        }
        files::publish(&self.folder.join(CA_CERT), ca_pem)?;
        files::publish(&self.folder.join(NODE_CERT), cert_pem)?;
        let issued = Issued { cert_pem: cert_pem.to_owned(), key_pem: self.key.serialize_pem() };
        Ok(NodeFiles { ca_pem: ca_pem.to_owned(), issued })
    }
}

/// What a worker has once it joined.
#[derive(Clone, Debug)]
pub struct NodeFiles {
    /// The CA that the master and its nodes are known by.
    pub ca_pem: String,
    /// This node's certificate and key.
    pub issued: Issued,
}

impl NodeFiles {
    /// Reads what a worker has. None: it has not joined. Blocks on the disk.
    ///
    /// # Errors
    /// The key's mode is too loose, the files don't belong together, or the system refuses.
    pub fn open(folder: &Path) -> Result<Option<Self>, PkiError> {
        let (ca, cert) = (files::read(&folder.join(CA_CERT))?, files::read(&folder.join(NODE_CERT))?);
        let key = files::read_secret(&folder.join(NODE_KEY))?;
        let (Some(ca_pem), Some(cert_pem), Some(key_pem)) = (ca, cert, key) else {
            return Ok(None);
        };
        let damaged =
            |name: &str, why: &str| PkiError::Damaged { path: folder.join(name), why: why.to_owned() };
        let key = KeyPair::from_pem(&key_pem).map_err(|error| damaged(NODE_KEY, &error.to_string()))?;
        let facts = Facts::of_pem(&cert_pem).map_err(|error| damaged(NODE_CERT, &error.to_string()))?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(damaged(NODE_CERT, "it belongs to another key than the one beside it"));
        }
        Ok(Some(Self { ca_pem, issued: Issued { cert_pem, key_pem } }))
    }

    /// The CA that a folder knows its master by. None: its worker has not joined. Blocks on the disk.
    ///
    /// # Errors
    /// The system refuses.
    pub fn ca(folder: &Path) -> Result<Option<String>, PkiError> {
        files::read(&folder.join(CA_CERT))
    }

    /// Whether it is time to join again for the next certificate.
    pub fn is_due(&self, now: WallTime) -> bool {
        is_due(&self.issued.cert_pem, now)
    }
}
