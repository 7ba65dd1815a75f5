//! A way to a server: a worker's to its master, an Engine's to a registry. It can be shut: all that is open breaks, and
//! what comes then is turned away. And what the server says can be held up, all of it or each byte a little, while every
//! connection stays open.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use podling::runtime::supervise;

/// Between two pieces on a way that is slow.
const BEAT: Duration = Duration::from_millis(50);

/// How what the server says passes.
#[derive(Clone, Copy)]
pub(crate) enum Flow {
    /// As fast as it comes.
    Free,
    /// So many bytes a second on each connection.
    Crawls(usize),
    /// So many bytes more in all, and then none.
    Stalls(usize),
}

struct Shared {
    target: SocketAddr,
    is_shut: AtomicBool,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    flow: Mutex<Flow>,
    flow_changed: Condvar,
}

/// The way, open until it is shut.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// To the server at `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            is_shut: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            open: Mutex::default(),
            flow: Mutex::new(Flow::Free),
            flow_changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        supervise::spawn("proxy", move || accepting.accept(&listener)).unwrap();
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it is entered, as `127.0.0.1:4711`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on, on what is open too.
    pub(crate) fn flows(&self, flow: Flow) {
        *self.shared.flow.lock() = flow;
        self.shared.flow_changed.notify_all();
    }

    pub(crate) fn shut(&self) {
        self.shared.is_shut.store(true, Ordering::SeqCst);
        self.shared.break_all();
    }

    pub(crate) fn open(&self) {
        self.shared.is_shut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.shut();
        self.flows(Flow::Free);
        // The thread that accepts wakes up, and sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            // A client that went away again, or a server that isn't there: the next one may do better.
            let _ = client.and_then(|client| self.join(&client));
        }
    }

    fn join(self: &Arc<Self>, client: &TcpStream) -> io::Result<()> {
        let mut open = self.open.lock();
        if self.is_shut.load(Ordering::SeqCst) {
            return client.shutdown(Shutdown::Both);
        }
        let server = TcpStream::connect(self.target)?;
        for (from, to, is_held_up) in [(client, &server, false), (&server, client, true)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            let shared = Arc::clone(self);
            supervise::spawn("proxy-half", move || {
                let _ = if is_held_up {
                    shared.pass(&mut from, &mut to)
                } else {
                    io::copy(&mut from, &mut to).map(drop)
                };
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            })?;
        }
        open.extend([client.try_clone()?, server]);
        Ok(())
    }

    /// Passes what the server says, as the flow has it.
    fn pass(&self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let most = match *self.flow.lock() {
                Flow::Crawls(bytes) => (bytes / 20).clamp(1, buffer.len()),
                Flow::Free | Flow::Stalls(_) => buffer.len(),
            };
            let count = from.read(&mut buffer[..most])?;
            if count == 0 {
                return Ok(());
            }
            let mut passed = 0;
            while passed < count {
                let may = self.may_pass(count - passed);
                to.write_all(&buffer[passed..passed + may])?;
                passed += may;
            }
        }
    }

    /// Waits until one of `wanted` bytes or more may pass; how many may.
    fn may_pass(&self, wanted: usize) -> usize {
        let mut flow = self.flow.lock();
        loop {
            match &mut *flow {
                Flow::Free => return wanted,
                Flow::Crawls(_) => {
                    // Only a change of the flow ends the wait early.
                    self.flow_changed.wait_for(&mut flow, BEAT);
                    return wanted;
                }
                Flow::Stalls(0) => self.flow_changed.wait(&mut flow),
                Flow::Stalls(left) => {
                    let may = wanted.min(*left);
                    *left -= may;
                    return may;
                }
            }
        }
    }

    fn break_all(&self) {
        for stream in self.open.lock().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
