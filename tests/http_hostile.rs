//! The gate as hostile clients see it: every malformed, oversized, slow or vanishing request has one exact answer,
//! and /healthz is answered within 500 ms throughout.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[path = "support/http.rs"]
mod support;

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use podling::runtime::clock;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use support::{Client, Server, wait_until};

/// I16 of the reliability rules.
const HEALTHZ_WITHIN: Duration = Duration::from_millis(500);

#[track_caller]
fn refused(server: &Server, bytes: impl AsRef<[u8]>, status: u16, code: &str) {
    let mut client = server.connect();
    client.say(bytes.as_ref());
    let reply = client.reply();
    reply.is_problem(status, code);
    assert_eq!(reply.header("Connection"), Some("close"));
    assert!(client.is_closed());
}

/// That a new client's /healthz is answered in time.
#[track_caller]
fn is_healthy(address: SocketAddr) {
    let start = clock::mono();
    let reply = Client::new(TcpStream::connect(address).unwrap()).get("/healthz");
    let took = clock::mono().since(start);
    assert_eq!(reply.status, 200);
    assert!(took < HEALTHZ_WITHIN, "/healthz took {took:?}");
}

#[test]
fn malformed_requests_are_400() {
    let server = Server::start();
    for (bytes, code) in [
        ("GET / HTTP/1.1\nHost: x\n\n", "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: x\n\r\n", "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\0\r\n\r\n", "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nNoColon\r\n\r\n", "malformed_request"),
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "malformed_request"),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", "malformed_request"),
        ("GET /\r\n", "malformed_request"),
        ("\x16\x03\x01\x02\x00\x01\x00", "malformed_request"),
        ("nonsense\r\n", "malformed_request"),
        ("GET example.com HTTP/1.1\r\nHost: x\r\n\r\n", "malformed_request"),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "malformed_request"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n", "malformed_request"),
        ("GET / HTTP/1.1\r\n\r\n", "bad_host"),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "bad_host"),
        ("GET / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", "bad_expect"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", "bad_length"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3x\r\n\r\nhello", "bad_length"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "bad_length"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "ambiguous_length",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "ambiguous_length",
        ),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous_length"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n", "malformed_chunk"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "malformed_chunk"),
    ] {
        refused(&server, bytes, 400, code);
    }
    is_healthy(server.address);
}

#[test]
fn other_refusals_have_their_own_status() {
    let server = Server::start();
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{rest}");
    refused(&server, post("\r\n"), 411, "length_required");
    refused(&server, post("Content-Length: 100000000000\r\n\r\n"), 413, "body_too_large");
    refused(&server, post("Content-Length: 99999999999999999999999999\r\n\r\n"), 413, "body_too_large");
    refused(&server, post("Content-Length: 1048577\r\n\r\n"), 413, "body_too_large");
    refused(&server, post("Transfer-Encoding: chunked\r\n\r\n100001\r\n"), 413, "body_too_large");
    refused(
        &server,
        post("Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n"),
        413,
        "body_too_large",
    );
    refused(&server, post("Transfer-Encoding: gzip\r\n\r\n"), 501, "unknown_transfer_coding");
    refused(&server, format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000)), 414, "request_line_too_long");
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.0", "HTTP/1.2"] {
        refused(&server, format!("GET / {version}\r\nHost: x\r\n\r\n"), 505, "unsupported_version");
    }
    refused(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported_version");
    is_healthy(server.address);
}

#[test]
fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let server = Server::with(|settings| settings.body_limit = |_, _| 1000);
    let counted = |length: usize| {
        format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{}", "b".repeat(length))
    };
    assert_eq!(server.ask(counted(1000).as_bytes()).json()["length"], 1000);
    refused(&server, counted(1001), 413, "body_too_large");
    let chunked = |length: usize| {
        let chunks = "1\r\nb\r\n".repeat(length);
        format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    assert_eq!(server.ask(chunked(1000).as_bytes()).json()["length"], 1000);
    refused(&server, chunked(1001), 413, "body_too_large");
}

#[test]
fn floods_of_headers_are_431() {
    let server = Server::start();
    refused(
        &server,
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}", "A: b\r\n".repeat(200_000)),
        431,
        "headers_too_large",
    );
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "b".repeat(40 * 1024));
    refused(&server, long, 431, "headers_too_large");
    // So much is sent that the server stops reading: whether the answer is still read is up to the network.
    let mut client = server.connect();
    client.say(format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "b".repeat(8 << 20)).as_bytes());
    client.socket.shutdown(std::net::Shutdown::Both).ok();
    is_healthy(server.address);
}

#[test]
fn what_follows_a_refused_request_is_not_served() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3x\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    client.reply().is_problem(400, "bad_length");
    assert!(client.is_closed());
}

#[test]
fn a_tiny_http_that_stopped_accepting_is_replaced() {
    let server = Server::with(|settings| settings.caps.upstreams = 2);
    is_healthy(server.address);
    at_rest();
    // Without its socket's name tiny_http can't be connected to, as if it had given up accepting.
    let socket = |number: u32| server.folder.path().join(format!("test-{number}.sock"));
    std::fs::remove_file(socket(0)).unwrap();
    // Each stream takes a connection of its own, so that new ones are needed.
    let mut followers: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    followers.iter_mut().for_each(|client| client.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n"));
    followers.iter_mut().for_each(|client| assert_eq!(client.head().status, 200));
    assert!(socket(1).exists());
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let server = Server::start();
    is_healthy(server.address);
    let before = at_rest();
    for round in 0..200 {
        let mut client = server.connect();
        client.say(match round % 5 {
            0 => b"GET / HT",
            1 => b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc",
            2 => b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            3 => b"GET /late?ms=20 HTTP/1.1\r\nHost: x\r\n\r\n",
            _ => b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n",
        });
        if round % 2 == 0 {
            // The reset instead of the end.
            rustix::net::sockopt::set_socket_linger(&client.socket, Some(Duration::ZERO)).unwrap();
        }
    }
    is_healthy(server.address);
    let slack = before.1 / 10 + 4;
    wait_until("descriptors and threads are back", || {
        let after = (descriptors(), threads());
        after.0 <= before.0 + 4 && after.1 <= before.1 + slack
    });
}

#[test]
fn a_thousand_clients_that_send_a_byte_now_and_then_cost_nothing_but_sockets() {
    let server = Server::with(|settings| settings.caps.per_address = 2000);
    is_healthy(server.address);
    let (_, before) = at_rest();
    let mut clients: Vec<Client> = (0..1000).map(|_| server.connect()).collect();
    for byte in b"GET / HTTP/1.1\r\nX" {
        clients.iter_mut().for_each(|client| client.say(&[*byte]));
        is_healthy(server.address);
    }
    assert!(threads() <= before + 2, "{} threads, {before} before", threads());
}

#[test]
fn followers_that_never_read_hinder_nobody() {
    let server = Server::start();
    let mut followers: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    followers.iter_mut().for_each(|client| client.say(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n"));
    followers.iter_mut().for_each(|client| assert_eq!(client.head().status, 200));
    let mut client = server.connect();
    for _ in 0..200 {
        is_healthy(server.address);
        assert_eq!(client.get("/healthz").status, 200);
    }
    assert_eq!(server.ended.load(Ordering::SeqCst), 0);
    drop(followers);
    wait_until("producers end", || server.ended.load(Ordering::SeqCst) == 50);
}

#[test]
fn slow_takers_of_big_answers_hold_up_no_handler() {
    let server = Server::with(|settings| settings.limits.buffered_answers_bytes = 32 << 20);
    let mut takers: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let request = b"GET /bytes?n=8000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    takers.iter_mut().for_each(|client| client.say(request));
    for _ in 0..50 {
        is_healthy(server.address);
    }
    // The budget holds about four of them: those that took nothing for the longest time had to go.
    let whole =
        takers.iter_mut().filter_map(|client| (client.rest().len() > 8_000_000).then_some(())).count();
    assert!((1..20).contains(&whole), "{whole} were served");
}

#[test]
fn too_many_bodies_at_once_are_503_and_small_ones_get_through() {
    let server = Server::with(|settings| settings.limits.buffered_bodies_bytes = 300_000);
    let slow = |sent: usize| {
        let mut client = server.connect();
        client.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        client.say(&vec![b'b'; sent]);
        client
    };
    let first = slow(200_000);
    // What the first one sent is read before the second one's whole body goes over the budget.
    is_healthy(server.address);
    slow(999_999).reply().is_problem(503, "bodies_full");
    let small = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(server.ask(small).json()["body"], "hello");
    drop(first);
    let whole =
        format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 290000\r\n\r\n{}", "b".repeat(290_000));
    wait_until("its bytes are given back", || server.ask(whole.as_bytes()).status == 200);
}

#[test]
fn at_a_cap_the_oldest_without_a_head_makes_room() {
    let server = Server::with(|settings| settings.caps.connections = 10);
    let mut silent: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    silent[1].say(b"GET / HTTP/1.1\r\nHo");
    let mut busy = [silent.remove(0), silent.remove(0)];
    busy[0].say(b"GET /late?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n");
    is_healthy(server.address);
    // The one with half a head was the oldest, then came the silent ones; the busy one stays.
    assert!(busy[1].is_closed());
    assert_eq!(busy[0].reply().body, b"late");
    for _ in 0..20 {
        is_healthy(server.address);
    }
}

#[test]
fn when_all_are_busy_the_newcomer_is_refused() {
    for (per_address, status, code) in [(5, 429, "too_many_connections"), (100, 503, "connections_full")] {
        let server = Server::with(|settings| {
            settings.caps.connections = 5;
            settings.caps.per_address = per_address;
        });
        let mut busy: Vec<Client> = (0..5).map(|_| server.connect()).collect();
        busy.iter_mut().for_each(|client| {
            client.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
            client.head();
        });
        refused(&server, "", status, code);
        busy.pop();
        wait_until("a place is free", || {
            Client::new(TcpStream::connect(server.address).unwrap()).get("/healthz").status == 200
        });
    }
}

/// The server as a process of its own, whose limits can be changed. Started by running this test binary again.
struct OtherProcess {
    child: Child,
    address: SocketAddr,
}

impl OtherProcess {
    fn start(open_files: u64) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serve_in_a_process_of_its_own", "--nocapture", "--ignored"])
            .env("HOSTILE_OPEN_FILES", open_files.to_string())
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let address = lines
            .find_map(|line| {
                line.unwrap().split_once("address=").map(|(_, text)| text.trim().parse().unwrap())
            })
            .unwrap();
        Self { child, address }
    }

    fn limit(&self, open_files: u64) {
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Nofile, rlimit(open_files)).unwrap();
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        // Its standard input ends with us, which is what it waits for.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn rlimit(open_files: u64) -> Rlimit {
    Rlimit { current: Some(open_files), maximum: getrlimit(Resource::Nofile).maximum }
}

#[test]
#[ignore = "not a test: the body of the process that others start"]
fn serve_in_a_process_of_its_own() {
    let Ok(open_files) = std::env::var("HOSTILE_OPEN_FILES") else {
        return;
    };
    setrlimit(Resource::Nofile, rlimit(open_files.parse().unwrap())).unwrap();
    let server = Server::start();
    println!("address={}", server.address);
    let mut nothing = String::new();
    std::io::stdin().read_line(&mut nothing).unwrap();
}

#[test]
fn a_small_limit_of_open_files_is_lived_with() {
    let other = OtherProcess::start(96);
    let mut crowd: Vec<Client> = Vec::new();
    for _ in 0..300 {
        crowd.push(other.connect());
        crowd.last_mut().unwrap().say(b"GET / HTTP/1.1\r\n");
    }
    for _ in 0..50 {
        is_healthy(other.address);
    }
    let mut streams: Vec<Client> = (0..40).map(|_| other.connect()).collect();
    streams.iter_mut().for_each(|client| client.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n"));
    drop(streams);
    wait_until("it is healthy again", || other.connect().get("/healthz").status == 200);
}

#[test]
fn a_limit_of_open_files_that_shrinks_is_survived() {
    let other = OtherProcess::start(1024);
    let mut crowd: Vec<Client> = (0..300).map(|_| other.connect()).collect();
    crowd.iter_mut().for_each(|client| client.say(b"GET / HTTP/1.1\r\n"));
    assert_eq!(other.connect().get("/healthz").status, 200);
    for open_files in [200, 64, 24] {
        other.limit(open_files);
        wait_until("it has made room", || {
            let mut client = other.connect();
            client.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            client.reply_if_any().is_some_and(|reply| reply.status == 200)
        });
    }
    other.limit(1024);
    for _ in 0..50 {
        wait_until("it is healthy again", || {
            let mut client = other.connect();
            client.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            client.reply_if_any().is_some_and(|reply| reply.status == 200)
        });
    }
}

/// Descriptors and threads once the server has opened all that it keeps open.
fn at_rest() -> (usize, usize) {
    let mut last = (0, 0);
    loop {
        let counts = (descriptors(), threads());
        if counts == last {
            return counts;
        }
        last = counts;
        std::thread::park_timeout(Duration::from_millis(500));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
