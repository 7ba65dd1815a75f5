//! A server to poke at, and a client that says exactly the bytes it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use podling::http::{
    self, Method, Problem, Request, Responder, Response, ServeSettings, StreamHead, StreamWriter,
};
use podling::runtime::clock;
use podling::runtime::supervise::Supervisor;
use tempfile::TempDir;

/// Longer than anything here should take, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Producers of streams that have ended.
    pub(crate) ended: Arc<AtomicUsize>,
    _supervisor: Supervisor,
    /// Holds the inner socket.
    pub(crate) folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// With settings changed.
    pub(crate) fn with(change: impl FnOnce(&mut ServeSettings)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = ServeSettings::new("test", "127.0.0.1:0".parse().unwrap(), folder.path());
        change(&mut settings);
        let ended = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&ended);
        let service = move |request: Request, responder: Responder| answer(request, responder, &counter);
        let mut supervisor = Supervisor::default();
        let address = http::serve(settings, Arc::new(service), &mut supervisor).unwrap();
        Self { address, ended, _supervisor: supervisor, folder }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// Says `bytes` on a connection of its own and reads one reply.
    pub(crate) fn ask(&self, bytes: &[u8]) -> Reply {
        let mut client = self.connect();
        client.say(bytes);
        client.reply()
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }
}

fn answer(request: Request, responder: Responder, ended: &Arc<AtomicUsize>) {
    let pairs = request.query_pairs().unwrap_or_default();
    let number = pairs.first().and_then(|(_, value)| value.parse::<usize>().ok()).unwrap_or(0);
    let ended = Arc::clone(ended);
    let head = StreamHead::new(200, "text/plain").trailer("Podling-Incomplete");
    match request.path.as_str() {
        "/healthz" => responder.send(Response::text(200, "ok")),
        "/echo" => responder.send(echo(&request)),
        "/bytes" => responder.send(Response::new(200, "text/plain", vec![b'x'; number])),
        "/status" => responder.send(Response::empty(u16::try_from(number).unwrap())),
        "/panic" => panic!("on purpose"),
        "/forget" => drop(responder),
        "/late" => {
            std::thread::Builder::new()
                .spawn(move || {
                    std::thread::park_timeout(Duration::from_millis(number as u64));
                    responder.send(Response::text(200, "late"));
                })
                .unwrap();
        }
        "/lines" => responder.stream(head, move |out| lines(out, number)),
        "/fails" => responder.stream(head, |out| {
            out.send(b"some")?;
            Err(std::io::Error::other("on purpose"))
        }),
        "/silent" => responder.stream(head, move |out| {
            let sent = out.send(b"hello\n");
            if sent.is_ok() {
                out.gone().wait(PATIENCE * 2);
            }
            // A client that left at once ends it as well.
            ended.fetch_add(1, Ordering::SeqCst);
            sent
        }),
        "/flood" => responder.stream(head, move |out| {
            while out.write_all(&[b'x'; 4096]).is_ok() {}
            ended.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }),
        path => responder.send(Problem::not_found("no_such_path", format!("nothing is at {path}"))),
    }
}

fn lines(out: &mut StreamWriter, count: usize) -> std::io::Result<()> {
    for number in 0..count {
        out.send(format!("line {number}\n").as_bytes())?;
    }
    out.trailer("1");
    Ok(())
}

/// What the service was given, as JSON.
fn echo(request: &Request) -> Response {
    let headers: Vec<(&str, &str)> = request.headers.iter().collect();
    let body = String::from_utf8_lossy(&request.body[..request.body.len().min(100)]).into_owned();
    let value = serde_json::json!({
        "method": request.method.as_str(), "path": request.path, "query": request.query, "headers": headers,
        "body": body, "length": request.body.len(), "peer": request.peer.map(|peer| peer.to_string()),
        "age_ms": u64::try_from(clock::mono().since(request.received_at).as_millis()).unwrap(),
        "is_head": request.method == Method::Head,
    });
    Response::json(200, &value)
}

/// One raw connection.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    /// What is spoken on it, where that isn't plain HTTP.
    pub(crate) tls: Option<Box<rustls::ClientConnection>>,
    unread: Vec<u8>,
    /// The connection ended without the end of what was said on it.
    pub(crate) was_cut: bool,
}

/// One whole reply, or the head of an endless one.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// That it is a problem document with this status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("Content-Type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!((&json["status"], &json["code"]), (&status.into(), &code.into()));
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        let needs_retry_after = matches!(status, 429 | 503);
        assert_eq!(self.header("Retry-After").is_some(), needs_retry_after, "{self:?}");
    }
}

impl Client {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, tls: None, unread: Vec::new(), was_cut: false }
    }

    /// Writes; the other side may have hung up, which its reply will tell.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let _ = match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls.as_mut(), &mut self.socket);
                stream.write_all(bytes).and_then(|()| stream.flush())
            }
            None => self.socket.write_all(bytes),
        };
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        self.reply()
    }

    /// The head of a reply.
    pub(crate) fn head(&mut self) -> Reply {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read_some(), "no head: {:?}", String::from_utf8_lossy(&self.unread));
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: Vec::new(), trailers: String::new() }
    }

    /// A whole reply to anything but `HEAD`.
    pub(crate) fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        if let Some(length) = reply.header("Content-Length") {
            reply.body = self.take(length.parse().unwrap());
        } else if reply.header("Transfer-Encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                reply.body.extend(chunk);
            }
            loop {
                match self.line().as_str() {
                    "" => break,
                    line => reply.trailers.push_str(line),
                }
            }
        } else if !matches!(reply.status, 100 | 204 | 304) {
            reply.body = self.rest();
        }
        reply
    }

    /// A whole reply, or nothing if the server closes the connection instead.
    pub(crate) fn reply_if_any(&mut self) -> Option<Reply> {
        (!self.unread.is_empty() || self.read_some()).then(|| self.reply())
    }

    /// The next chunk; nothing at the last.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line(), 16).unwrap();
        if size == 0 {
            return None;
        }
        let chunk = self.take(size);
        assert_eq!(self.take(2), b"\r\n");
        Some(chunk)
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.read_some() {}
        std::mem::take(&mut self.unread)
    }

    /// Whether the server closed the connection, and said nothing more.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn line(&mut self) -> String {
        let end = loop {
            if let Some(at) = self.unread.windows(2).position(|two| two == b"\r\n") {
                break at;
            }
            assert!(self.read_some(), "no line: {:?}", String::from_utf8_lossy(&self.unread));
        };
        let line = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        self.unread.drain(..2);
        line
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.read_some(), "cut off after {} of {count} bytes", self.unread.len());
        }
        self.unread.drain(..count).collect()
    }

    fn read_some(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let read = match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).read(&mut buffer),
            None => self.socket.read(&mut buffer),
        };
        match read {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                self.was_cut = true;
                false
            }
            Err(error) => panic!("nothing came: {error}"),
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = clock::mono() + PATIENCE;
    while !is_so() {
        assert!(clock::mono() < end, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
