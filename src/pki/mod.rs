//! Certificates: the cluster's own authority, what it issues, and how long that holds.
//!
//! [`Authority`] is the master's: it makes the cluster's CA once and issues the master's and the nodes' certificates.
//! [`NodeKey`] and [`NodeFiles`] are the worker's: its key, which never leaves its folder, and what the master signed.
//! [`Facts`] says until when a certificate holds. Nothing here speaks TLS: that is `http`.
//!
//! Invariant: a private key is in a file of mode 0600, made in one step, or in no file at all; one with a looser mode
//! is refused, not mended: somebody may have read it.

mod authority;
mod facts;
mod files;
mod name;
mod node;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use authority::{Authority, CA_CERT, CA_KEY, Issued};
pub use facts::{Facts, fingerprint, is_due};
pub use name::{MASTER_NAME, Name, node_name};
pub use node::{NODE_CERT, NODE_KEY, NodeFiles, NodeKey};

/// How long before it was made a certificate begins to hold: a peer's clock may be behind.
pub const BEGINS_EARLY: Duration = Duration::from_secs(5 * 60);

/// Why there is no key or certificate.
#[derive(Debug)]
pub enum PkiError {
    /// Others than its owner may read a secret file.
    TooLoose {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file makes no sense.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What somebody asks to have signed, or sent as a certificate, is refused.
    Refused(String),
    /// The system refuses.
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No key or certificate could be made.
    Crypto(rcgen::Error),
}

impl fmt::Display for PkiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLoose { path, mode } => {
                write!(f, "{} has the mode {mode:04o}; it must be 0600", path.display())
            }
            Self::Damaged { path, why } => write!(f, "{} is damaged: {why}", path.display()),
            Self::Refused(why) => f.write_str(why),
            Self::Io { operation, path, source } => write!(f, "{operation} {}: {source}", path.display()),
            Self::Crypto(error) => write!(f, "make a certificate: {error}"),
        }
    }
}

impl std::error::Error for PkiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Crypto(source) => Some(source),
            Self::TooLoose { .. } | Self::Damaged { .. } | Self::Refused(_) => None,
        }
    }
}

impl From<rcgen::Error> for PkiError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error)
    }
}
