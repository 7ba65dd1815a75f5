//! How a node is reached: where its worker listens, and with what it is asked.
//!
//! Main type: [`Reach`]. Whatever the master asks a worker goes through a client that is made here, so that none is asked
//! without the key by which it knows the master. A node that joined is asked over TLS, and proves that it is that node
//! before anything but a ClientHello is sent; so the key goes to nobody else.

use crate::http::{Client, ClientError, Trust};
use crate::model::node::NodeAddress;
use crate::model::token::NodeKey;

/// Where a node's worker listens, and what it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where it listens.
    pub address: NodeAddress,
    /// What the master and that node share. None: it never joined.
    pub key: Option<NodeKey>,
    /// By what it proves that it is that node, before it is sent anything. None: the master has no CA.
    pub trust: Option<Trust>,
}

impl Reach {
    /// Its base URL. A node that joined is asked over TLS.
    pub fn base(&self) -> String {
        let scheme = if self.key.is_some() && self.trust.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// A client for the worker.
    ///
    /// # Errors
    /// The address can't be used.
    pub fn client(&self) -> Result<Client, ClientError> {
        let base = self.base();
        let client = match &self.trust {
            Some(trust) => Client::trusting(&base, trust)?,
            None => Client::new(&base)?,
        };
        Ok(match &self.key {
            Some(key) => client.with_token(key.to_text()),
            None => client,
        })
    }
}
