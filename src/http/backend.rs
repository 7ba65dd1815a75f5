//! tiny_http behind the gate: a unix socket that only the gate connects to, and the handler threads.
//!
//! Handler threads (`http-1`, `http-2`, …) take whole requests from tiny_http's queue, turn them into plain
//! values and call the [`Service`]. They never wait for a client, the disk or a peer: whoever has to wait takes
//! the [`Responder`] along.
//!
//! tiny_http gives up for good when it can't accept a connection once. [`Backend::renew`] then puts a new one, a
//! **generation**, in its place. The gate notices, because nobody listens on the socket any more.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::http::request::{Headers, Method, Request};
use crate::http::response::{Responder, Response};
use crate::http::server::Service;
use crate::http::stream::Streams;
use crate::model::time::Mono;
use crate::runtime::supervise::{self, panic_message};

/// How often a handler thread that has nothing to do looks whether it is to stop or to move on.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the requests of a given-up generation are still served: the gate waits no longer for an answer.
const RETIRE_AFTER: Duration = Duration::from_secs(60);

/// Headers by which the gate tells what a client can't be trusted to tell. It strips `podling-*` from clients.
pub(crate) const PEER_HEADER: &str = "podling-peer";
/// Nanoseconds since boot at which the request was whole.
pub(crate) const RECEIVED_HEADER: &str = "podling-received";
/// A request of the gate's own, to prove that a connection is served.
pub(crate) const PROBE_HEADER: &str = "podling-probe";
/// What all of them begin with.
pub(crate) const OWN_PREFIX: &str = "podling-";

/// One life of tiny_http.
#[derive(Clone)]
struct Generation {
    number: u32,
    path: PathBuf,
    server: Arc<tiny_http::Server>,
    /// `path` goes through this descriptor, so it has to stay open until the server was dropped.
    _folder: Arc<OwnedFd>,
}

impl Generation {
    fn start(number: u32, name: &str, folder: &Arc<OwnedFd>) -> io::Result<Self> {
        // A socket's path may have 107 bytes at most; this one is short wherever the folder is.
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}-{number}.sock", folder.as_raw_fd()));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        Ok(Self { number, path, server: Arc::new(server), _folder: Arc::clone(folder) })
    }
}

/// tiny_http, the service that it feeds, and the streams.
pub(crate) struct Backend {
    name: &'static str,
    service: Arc<dyn Service>,
    pub(crate) streams: Arc<Streams>,
    current: RwLock<Generation>,
    closed: AtomicBool,
    folder: Arc<OwnedFd>,
}

impl Backend {
    /// Opens the socket in `folder` and starts tiny_http's own threads.
    pub(crate) fn open(
        name: &'static str,
        folder: &Path,
        service: Arc<dyn Service>,
        streams: Arc<Streams>,
    ) -> io::Result<Arc<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = Arc::new(rustix::fs::open(folder, flags, Mode::empty())?);
        let current = RwLock::new(Generation::start(0, name, &folder)?);
        let closed = AtomicBool::new(false);
        Ok(Arc::new(Self { name, service, streams, current, closed, folder }))
    }

    /// A new connection to tiny_http. Never blocks.
    ///
    /// # Errors
    /// `ConnectionRefused` or `NotFound`: nobody listens any more, see [`Backend::renew`].
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let address = SocketAddrUnix::new(&self.current.read().path)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &address)?;
        Ok(UnixStream::from(socket))
    }

    /// Puts a new tiny_http in the place of one that stopped accepting. What the old one still holds is served.
    pub(crate) fn renew(self: &Arc<Self>) -> io::Result<()> {
        let number = self.current.read().number + 1;
        let next = Generation::start(number, self.name, &self.folder)?;
        let old = std::mem::replace(&mut *self.current.write(), next);
        log::warn!("tiny_http stopped accepting and was replaced server={} generation={number}", self.name);
        let backend = Arc::clone(self);
        supervise::spawn("http-retired", move || backend.serve_retired(&old)).map(drop)
    }

    /// The body of a handler thread: answers until [`Backend::close`].
    pub(crate) fn serve(&self) {
        let mut generation = self.current.read().clone();
        while !self.closed.load(Ordering::Acquire) {
            self.serve_next(&generation);
            let current = self.current.read();
            if current.number != generation.number {
                generation = current.clone();
            }
        }
    }

    fn serve_retired(&self, generation: &Generation) {
        let end = crate::runtime::clock::mono() + RETIRE_AFTER;
        while !self.closed.load(Ordering::Acquire) && crate::runtime::clock::mono() < end {
            self.serve_next(generation);
        }
    }

    /// Waits a while for one request, and has it answered.
    fn serve_next(&self, generation: &Generation) {
        match generation.server.recv_timeout(LOOK_EVERY) {
            Ok(Some(request)) => self.answer(request),
            Ok(None) => {}
            // Told once, before tiny_http stops accepting. The gate finds out by itself.
            Err(error) => log::warn!("tiny_http failed to accept because={error}"),
        }
    }

    /// Lets the handler threads end. Call it once the gate passes nothing on any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.streams.close();
    }

    fn answer(&self, mut raw: tiny_http::Request) {
        if header(&raw, PROBE_HEADER).is_some() {
            let _ = raw.respond(tiny_http::Response::empty(204));
            return;
        }
        let request = plain_request(&mut raw);
        let responder = Responder::new(raw, Arc::clone(&self.streams));
        match request {
            Ok(request) => self.call(request, responder),
            // The gate hung up in the middle: it gave the request up, and there is nobody to answer.
            Err(error) => {
                log::debug!("a request was not read because={error}");
                responder.send(Response::empty(503));
            }
        }
    }

    fn call(&self, request: Request, responder: Responder) {
        let call = AssertUnwindSafe(|| self.service.call(request, responder));
        if let Err(payload) = catch_unwind(call) {
            // The responder was dropped on the way, which has answered 503.
            log::error!("a handler panicked message={}", panic_message(payload.as_ref()));
        }
    }
}

/// Reads what tiny_http holds into plain values.
fn plain_request(raw: &mut tiny_http::Request) -> io::Result<Request> {
    let mut body = Vec::with_capacity(raw.body_length().unwrap_or(0));
    if raw.body_length().is_some() {
        raw.as_reader().read_to_end(&mut body)?;
    }
    if Some(body.len()) != raw.body_length().or(Some(0)) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let (path, query) = raw.url().split_once('?').unwrap_or((raw.url(), ""));
    Ok(Request {
        method: Method::parse(raw.method().as_str()),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: client_headers(raw),
        peer: header(raw, PEER_HEADER).and_then(|text| text.parse::<SocketAddr>().ok()),
        received_at: received_at(raw),
        body,
    })
}

fn client_headers(raw: &tiny_http::Request) -> Headers {
    let pair = |header: &tiny_http::Header| {
        (header.field.as_str().as_str().to_owned(), header.value.as_str().to_owned())
    };
    Headers::new(raw.headers().iter().map(pair).filter(|(name, _)| !name.starts_with(OWN_PREFIX)).collect())
}

fn received_at(raw: &tiny_http::Request) -> Mono {
    let nanos = header(raw, RECEIVED_HEADER).and_then(|text| text.parse().ok()).unwrap_or(0);
    Mono::from_boot(Duration::from_nanos(nanos))
}

fn header<'a>(raw: &'a tiny_http::Request, name: &str) -> Option<&'a str> {
    let same = |header: &&tiny_http::Header| header.field.as_str().as_str().eq_ignore_ascii_case(name);
    raw.headers().iter().find(same).map(|header| header.value.as_str())
}
