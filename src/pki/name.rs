//! The names that certificates are for.
//!
//! A node's is `<node_id>.node.podling`, the master's `master.podling`. No resolver knows them: they are what a peer
//! has to prove, wherever it was found.
//!
//! Invariant: no two nodes share a name. Names in certificates don't tell `A` from `a` and can't hold every node id;
//! an id that isn't its own name in small letters is named by its hash, behind an underscore, which begins no id.

use std::fmt;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::model::id::NodeId;
use crate::pki::facts::hex;

/// What every certificate of a master is for, beside its addresses.
pub const MASTER_NAME: &str = "master.podling";

const NODE_ZONE: &str = ".node.podling";

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An address.
    Ip(IpAddr),
    /// A DNS name.
    Dns(String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Dns(name) => f.write_str(name),
        }
    }
}

/// What a node's certificate is for, and nothing else.
pub fn node_name(node: &NodeId) -> String {
    let id = node.as_str();
    if is_plain(id) {
        return format!("{id}{NODE_ZONE}");
    }
    let digest = hex(&Sha256::digest(id.as_bytes())[..16]);
    format!("_{digest}{NODE_ZONE}")
}

/// Whether an id is a DNS name as it stands, and the only id that this name could mean.
fn is_plain(id: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    id.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_nodes_share_a_name() {
        let name = |id: &str| node_name(&id.parse().unwrap());
        assert_eq!(name("worker-1"), "worker-1.node.podling");
        assert_eq!(name("rack_1.w2"), "rack_1.w2.node.podling");
        for odd in ["Worker-1", "WORKER-1", "a..b", "a.", "a-", "a.-b"] {
            let name = name(odd);
            assert!(name.starts_with('_') && name.len() == 33 + NODE_ZONE.len(), "{odd}: {name}");
        }
        assert_ne!(name("Worker-1"), name("WORKER-1"));
    }
}
