//! A way through which a worker reaches its master, and which can be shut: all that is open breaks, and what comes then
//! is turned away.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use podling::runtime::supervise;

struct Shared {
    target: SocketAddr,
    is_shut: AtomicBool,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
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
        });
        let accepting = Arc::clone(&shared);
        supervise::spawn("proxy", move || accepting.accept(&listener)).unwrap();
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
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
        // The thread that accepts wakes up, and sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            // A client that went away again, or a server that isn't there: the next one may do better.
            let _ = client.and_then(|client| self.join(&client));
        }
    }

    fn join(&self, client: &TcpStream) -> io::Result<()> {
        let mut open = self.open.lock();
        if self.is_shut.load(Ordering::SeqCst) {
            return client.shutdown(Shutdown::Both);
        }
        let server = TcpStream::connect(self.target)?;
        for (from, to) in [(client, &server), (&server, client)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            supervise::spawn("proxy-half", move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            })?;
        }
        open.extend([client.try_clone()?, server]);
        Ok(())
    }

    fn break_all(&self) {
        for stream in self.open.lock().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
