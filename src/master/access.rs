//! Who asks, and may they.

use sha2::{Digest, Sha256};

/// What is kept of a token's text.
pub(super) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
