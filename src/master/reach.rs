//! How a node is reached: where its worker listens, and with what it is asked.
//!
//! Main type: [`Reach`]. Whatever the master asks a worker goes through a client that is made here, so that none is asked
//! without the key by which it knows the master.

use crate::http::{Client, ClientError};
use crate::model::node::NodeAddress;
use crate::model::token::NodeKey;

/// Where a node's worker listens, and what it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where it listens.
    pub address: NodeAddress,
    /// What the master and that node share. None: it never joined.
    pub key: Option<NodeKey>,
}

impl Reach {
    /// A client for the worker.
    ///
    /// # Errors
    /// The address can't be used.
    pub fn client(&self) -> Result<Client, ClientError> {
        let client = Client::new(&format!("http://{}", self.address))?;
        Ok(match &self.key {
            Some(key) => client.with_token(key.to_text()),
            None => client,
        })
    }
}
