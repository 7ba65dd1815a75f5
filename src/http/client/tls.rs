//! TLS under ureq: a transport around a transport, as ureq's own is, with a check of ours.
//!
//! ureq's feature for rustls has no way to ask for a name other than the address's host, nor to bring a check of one's
//! own; so [`TlsConnector`] stands where that would. The handshake is over before ureq gets to see the connection: a
//! peer that isn't believed has got a ClientHello and nothing else.
//!
//! ureq's `unversioned` module may change with any minor release: `Cargo.toml` pins `~3.5`.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::fault::Fault;
use super::trust::{PeerName, Roots, Trust};
use crate::http::tls::TlsError;

/// What a client needs for `https://`.
#[derive(Clone)]
pub(super) struct Secured {
    config: Arc<ClientConfig>,
    /// The name to be proved, where it isn't the host's.
    name: Option<ServerName<'static>>,
    /// Whether the authority is a cluster's own.
    is_own: bool,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Secured {
    pub(super) fn new(trust: &Trust) -> Result<Self, TlsError> {
        let name = match &trust.name {
            PeerName::Exactly(name) => Some(ServerName::try_from(name.clone()).map_err(|_| {
                TlsError::Certificate(format!("{name:?} is no name that a certificate could be for"))
            })?),
            PeerName::Host | PeerName::HostOrMaster => None,
        };
        let is_own = trust.roots != Roots::System;
        Ok(Self { config: Arc::new(trust.config()?), name, is_own })
    }

    /// The handshake, to its end.
    fn connect<In: Transport>(
        &self,
        details: &ConnectionDetails<'_>,
        inner: In,
    ) -> Result<TlsTransport, ureq::Error> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => host_name(details)?,
        };
        let refuse = |error: &rustls::Error| ureq::Error::Other(Box::new(Fault::new(error, self.is_own)));
        let mut tls =
            ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| refuse(&error))?;
        let mut socket = TransportAdapter::new(inner.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        while tls.is_handshaking() {
            let Err(error) = tls.complete_io(&mut socket) else {
                continue;
            };
            return Err(match error.downcast::<rustls::Error>() {
                Ok(error) => {
                    // The peer's log says why as well.
                    while tls.wants_write() && tls.write_tls(&mut socket).is_ok() {}
                    refuse(&error)
                }
                Err(error) => ureq::Error::from(error),
            });
        }
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(TlsTransport { buffers, stream: StreamOwned::new(tls, socket) })
    }
}

fn host_name(details: &ConnectionDetails<'_>) -> Result<ServerName<'static>, ureq::Error> {
    let host = details.uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let refuse = |_| ureq::Error::BadUri(format!("{host:?} is no name that a certificate could be for"));
    ServerName::try_from(bare.to_owned()).map_err(refuse)
}

/// Puts TLS around connections to `https://`, and leaves others as they are.
#[derive(Debug)]
pub(super) struct TlsConnector(pub(super) Option<Secured>);

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        match (&self.0, chained) {
            (Some(secured), Some(inner)) if details.needs_tls() => {
                secured.connect(details, inner).map(Either::B).map(Some)
            }
            // ureq itself refuses to say anything to `https://` over a transport that isn't TLS.
            (Some(_) | None, inner) => Ok(inner.map(Either::A)),
        }
    }
}

/// One connection over TLS.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
