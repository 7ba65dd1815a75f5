//! The way in: one call that opens the port, the gate, tiny_http and the handler threads.
//!
//! The rest of the program implements [`Service`] and calls [`serve`]. Threads: `gate` owns every client's
//! socket, `http-1` … run the service, `stream-N` write streamed answers. All but the streams are vital.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::http::backend::Backend;
use crate::http::gate::{BodyLimit, Caps, Deadlines, Entry, Gate, GateSettings, Limits};
use crate::http::request::Request;
use crate::http::response::Responder;
use crate::http::stream::Streams;
use crate::http::tls::TlsAcceptor;
use crate::runtime::supervise::Supervisor;

/// How long the streams' threads may take to end once the gate has.
const STREAMS_END: Duration = Duration::from_secs(2);

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request, now or later, through `responder`. Must not block: a few threads serve everybody.
    ///
    /// A panic in here is logged and answered 503.
    fn call(&self, request: Request, responder: Responder);
}

impl<F> Service for F
where
    F: Fn(Request, Responder) + Send + Sync + 'static,
{
    fn call(&self, request: Request, responder: Responder) {
        self(request, responder);
    }
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Who serves, for the log and the socket's name: `master`.
    pub name: &'static str,
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A folder that only this user may enter (0700), for the socket between gate and tiny_http. One process a
    /// folder and name.
    pub socket_dir: PathBuf,
    /// How big requests may be.
    pub limits: Limits,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// How many connections there may be.
    pub caps: Caps,
    /// The longest body that a method and a path take, in bytes.
    pub body_limit: BodyLimit,
    /// How many threads run the service.
    pub handlers: usize,
    /// How many streams may run at a time.
    pub max_streams: usize,
    /// With which certificate TLS is spoken. None: not at all.
    pub tls: Option<TlsAcceptor>,
    /// Whether plain HTTP is taken: on loopback, or where somebody said that it may leave the machine.
    pub plain: bool,
}

impl ServeSettings {
    /// The usual ones: two handlers, 256 streams, bodies of 1 MiB, plain HTTP.
    pub fn new(name: &'static str, listen: SocketAddr, socket_dir: &Path) -> Self {
        Self {
            name,
            listen,
            socket_dir: socket_dir.to_owned(),
            limits: Limits::default(),
            deadlines: Deadlines::default(),
            caps: Caps::default(),
            body_limit: |_, _| 1024 * 1024,
            handlers: 2,
            max_streams: 256,
            tls: None,
            plain: true,
        }
    }
}

/// Opens the port and starts to serve. Gives the address that it listens on.
///
/// Returns as soon as clients can connect. Stops with the supervisor: requests under way are answered first.
///
/// # Errors
/// The port is taken, or the socket's folder can't be used. Then no thread of ours was started.
pub fn serve(
    settings: ServeSettings,
    service: Arc<dyn Service>,
    supervisor: &mut Supervisor,
) -> Result<SocketAddr, ServeError> {
    let listen = settings.listen;
    let listener =
        TcpListener::bind(listen).map_err(|source| ServeError::Bind { address: listen, source })?;
    let address = listener.local_addr().map_err(|source| ServeError::Bind { address: listen, source })?;
    let streams = Streams::new(settings.max_streams);
    let folder = &settings.socket_dir;
    let backend = Backend::open(settings.name, folder, service, streams)
        .map_err(|source| ServeError::Socket { folder: folder.clone(), source })?;
    let gate_settings = GateSettings {
        limits: settings.limits,
        deadlines: settings.deadlines,
        caps: settings.caps,
        body_limit: settings.body_limit,
        entry: Entry { tls: settings.tls, plain: settings.plain },
    };
    let gate = Gate::new(listener, gate_settings, Arc::clone(&backend)).map_err(ServeError::Gate)?;
    start_threads(gate, &backend, settings.handlers, supervisor).map_err(ServeError::Thread)?;
    log::info!("listening server={} address={address}", settings.name);
    if settings.plain && !address.ip().is_loopback() {
        log::warn!("insecure: plain HTTP is taken beyond loopback address={address}");
    }
    Ok(address)
}

fn start_threads(
    mut gate: Gate,
    backend: &Arc<Backend>,
    handlers: usize,
    supervisor: &mut Supervisor,
) -> io::Result<()> {
    for number in 1..=handlers.max(1) {
        let backend = Arc::clone(backend);
        supervisor.vital(format!("http-{number}"), move |_| backend.serve())?;
    }
    let closer = CloseAtEnd(Arc::clone(backend));
    supervisor.vital("gate", move |stop| {
        gate.run(&stop);
        drop(gate);
        let streams = Arc::clone(&closer.0.streams);
        drop(closer);
        streams.join(STREAMS_END);
    })
}

/// Lets the handler threads end with the gate, even if it panics or could not be started.
struct CloseAtEnd(Arc<Backend>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Why nothing is served.
#[derive(Debug)]
pub enum ServeError {
    /// The address can't be listened on.
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The folder of the inner socket can't be used.
    Socket {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refuses what the gate's loop needs.
    Gate(io::Error),
    /// The operating system refuses another thread.
    Thread(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, .. } => write!(f, "listen on {address}"),
            Self::Socket { folder, .. } => write!(f, "open a socket in {}", folder.display()),
            Self::Gate(_) => f.write_str("set up the gate"),
            Self::Thread(_) => f.write_str("start a thread of the gate"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Socket { source, .. } => Some(source),
            Self::Gate(source) | Self::Thread(source) => Some(source),
        }
    }
}
