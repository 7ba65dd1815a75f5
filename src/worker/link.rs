//! The line to the master: which address it is at, and what the registration granted.
//!
//! Where several addresses were given, the next one is tried after one that doesn't answer. Everything that is sent
//! over this line may be sent twice: registrations by their start id, beats and reports by what they say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::{Client, ClientError, Trust};
use crate::worker::membership::Session;

/// How long the master may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The line to the master.
#[derive(Debug)]
pub(super) struct MasterLink {
    clients: RwLock<Vec<Client>>,
    current: AtomicUsize,
    session: RwLock<Option<Session>>,
}

impl MasterLink {
    /// To the master at one of these addresses; at `https://` it has to be the one that `trust` says.
    ///
    /// # Errors
    /// An address can't be used.
    pub(super) fn new(addresses: &[String], trust: &Trust) -> Result<Self, ClientError> {
        let client = |address: &String| Client::trusting(address, trust);
        let clients = addresses.iter().map(client).collect::<Result<_, _>>()?;
        let clients = RwLock::new(clients);
        Ok(Self { clients, current: AtomicUsize::new(0), session: RwLock::new(None) })
    }

    /// From now on, this token is shown.
    pub(super) fn show(&self, token: &str) {
        let mut clients = self.clients.write();
        let shown = clients.iter().map(|client| client.clone().with_token(token)).collect();
        *clients = shown;
    }

    /// From now on the master is whoever proves to be that, where it is spoken to over TLS, and this token is shown to it;
    /// without one none is.
    ///
    /// # Errors
    /// What it is known by makes no sense; then nothing changes.
    pub(super) fn trust(&self, trust: &Trust, token: Option<&str>) -> Result<(), ClientError> {
        let mut clients = self.clients.write();
        let trusting = |client: &Client| {
            let client = Client::trusting(client.base(), trust)?;
            Ok::<_, ClientError>(match token {
                Some(token) => client.with_token(token),
                None => client,
            })
        };
        let trusting: Vec<Client> = clients.iter().map(trusting).collect::<Result<_, _>>()?;
        *clients = trusting;
        Ok(())
    }

    /// The address that is tried now.
    pub(super) fn address(&self) -> String {
        self.client().base().to_owned()
    }

    /// What counts now, as the membership has it.
    pub(super) fn session(&self) -> Option<Session> {
        self.session.read().clone()
    }

    /// From now on, this counts.
    pub(super) fn open(&self, session: Session) {
        *self.session.write() = Some(session);
    }

    /// Asks the master. Blocks for a few seconds at most.
    ///
    /// # Errors
    /// See [`ClientError`]. After one that means "nobody there", or not the master, the next address is up.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.post_by(self.client(), path, body)
    }

    /// Asks the master, showing another token than this node's own, once. Blocks for a few seconds at most.
    ///
    /// # Errors
    /// As [`MasterLink::post`].
    pub(super) fn post_showing<T: DeserializeOwned>(
        &self,
        token: String,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.post_by(self.client().with_token(token), path, body)
    }

    fn post_by<T: DeserializeOwned>(
        &self,
        client: Client,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let tried = self.current.load(Ordering::Relaxed);
        let answer = client.post(path, body, DEADLINE, true);
        let is_nobody =
            |error: &ClientError| error.is_retryable() || matches!(error, ClientError::Untrusted(_));
        if answer.as_ref().is_err_and(is_nobody) {
            let next = (tried + 1) % self.clients.read().len();
            // Race: another thread has moved on already; then that counts.
            let _ = self.current.compare_exchange(tried, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        answer
    }

    fn client(&self) -> Client {
        self.clients.read()[self.current.load(Ordering::Relaxed)].clone()
    }
}
