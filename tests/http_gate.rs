//! The gate as honest clients see it: keep-alive, pipelining, bodies, streams, limits of time, stopping.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Client, Server, wait_until};

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..50 {
        let reply = client.get("/healthz");
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"ok".as_slice()));
        assert_eq!(reply.header("Connection"), None);
        assert_eq!(reply.header("Server"), None);
    }
}

#[test]
fn the_service_sees_the_request_as_it_was_meant() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(
        b"PUT http://x/echo?a=%20b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Kept: yes\r\nTE: trailers\r\n\
          podling-peer: 1.2.3.4:5\r\nPodling-Probe: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nhello",
    );
    let json = client.reply().json();
    assert_eq!(
        (&json["method"], &json["path"], &json["query"]),
        (&"PUT".into(), &"/echo".into(), &"a=%20b".into())
    );
    assert_eq!(json["body"], "hello");
    assert_eq!(json["peer"], client.socket.local_addr().unwrap().to_string());
    assert!(json["age_ms"].as_u64().unwrap() < 20_000);
    let names: Vec<String> =
        json["headers"].as_array().unwrap().iter().map(|h| h[0].as_str().unwrap().to_lowercase()).collect();
    assert_eq!(names, ["host", "x-kept", "content-length"]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for number in 0..100 {
        let body = "b".repeat(number);
        bytes.extend_from_slice(
            format!("POST /echo?n={number} HTTP/1.1\r\nHost: x\r\nContent-Length: {number}\r\n\r\n{body}")
                .as_bytes(),
        );
    }
    client.say(&bytes);
    for number in 0..100 {
        let json = client.reply().json();
        assert_eq!((&json["query"], &json["length"]), (&format!("n={number}").into(), &number.into()));
    }
}

#[test]
fn a_client_may_stop_sending_before_it_reads() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(b"GET /late?ms=50 HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    client.socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.reply().body, b"late");
    assert_eq!(client.reply().body, b"ok");
    assert!(client.is_closed());
}

#[test]
fn head_has_no_body_and_the_connection_lives_on() {
    let server = Server::start();
    let mut client = server.connect();
    for path in ["/bytes?n=100000", "/lines?n=5", "/healthz"] {
        client.say(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let head = client.head();
        assert_eq!(head.status, 200);
        let length = path.starts_with("/bytes").then_some("100000");
        assert!(length.is_none() || head.header("Content-Length") == length, "{head:?}");
    }
    assert_eq!(client.get("/healthz").body, b"ok");
    client.say(b"HEAD /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n");
    assert_eq!(client.head().status, 400);
}

#[test]
fn answers_without_a_body_say_so() {
    let server = Server::start();
    let mut client = server.connect();
    for status in [204, 304] {
        let reply = client.get(&format!("/status?s={status}"));
        assert_eq!((reply.status, reply.header("Content-Length")), (status, None));
    }
    assert_eq!(client.get("/status?s=202").header("Content-Length"), Some("0"));
}

#[test]
fn chunked_requests_are_whole_before_they_are_passed_on() {
    let server = Server::start();
    let mut client = server.connect();
    let head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.say(head);
    for byte in b"3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\nX-Trailer: dropped\r\n\r\n" {
        client.say(&[*byte]);
    }
    let json = client.reply().json();
    assert_eq!((&json["body"], &json["length"]), (&"abc0123456789".into(), &13.into()));
    assert!(!json["headers"].to_string().to_lowercase().contains("trailer"));
    client.say(head);
    client.say(b"0\r\n\r\n");
    assert_eq!(client.reply().json()["length"], 0);
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.say(b"hi");
    assert_eq!(client.reply().json()["body"], "hi");
    client.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    client.reply().is_problem(413, "body_too_large");
}

#[test]
fn old_clients_are_served() {
    let server = Server::start();
    let reply = server.ask(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!((reply.status, reply.header("Connection")), (200, Some("close")));
    let mut client = server.connect();
    for _ in 0..2 {
        client.say(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.reply().header("Connection"), Some("keep-alive"));
    }
    // A stream has no chunks for them, it ends by closing.
    client.say(b"GET /lines?n=2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.header("Transfer-Encoding"), reply.header("Connection")), (None, Some("close")));
    assert_eq!(reply.body, b"line 0\nline 1\n");
}

#[test]
fn connection_close_is_obeyed() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(client.reply().header("Connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn big_answers_and_big_bodies_arrive_whole() {
    let server =
        Server::with(|settings| settings.body_limit = |_, path| if path == "/echo" { 16 << 20 } else { 10 });
    let mut client = server.connect();
    let reply = client.get("/bytes?n=5000000");
    assert_eq!(reply.header("Content-Length"), Some("5000000"));
    assert!(reply.body.iter().all(|byte| *byte == b'x'));
    client.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 16777216\r\n\r\n");
    client.say(&vec![b'y'; 16 << 20]);
    assert_eq!(client.reply().json()["length"], 16 << 20);
    client.say(b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n");
    client.reply().is_problem(413, "body_too_large");
}

#[test]
fn a_service_that_fails_still_answers() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..20 {
        client.get("/panic").is_problem(503, "unanswered");
        client.get("/forget").is_problem(503, "unanswered");
    }
    client.get("/nowhere").is_problem(404, "no_such_path");
    assert_eq!(client.get("/late?ms=1").body, b"late");
}

#[test]
fn a_stream_comes_line_by_line_and_ends_with_its_trailer() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(b"GET /lines?n=1000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("Trailer")), (200, Some("Podling-Incomplete")));
    assert!(reply.header("podling-stream").is_none());
    assert_eq!(reply.body.iter().filter(|byte| **byte == b'\n').count(), 1000);
    assert_eq!(reply.trailers, "Podling-Incomplete: 1");
    assert_eq!(client.get("/healthz").body, b"ok");
}

#[test]
fn what_is_flushed_arrives_while_the_stream_goes_on() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
    client.head();
    assert_eq!(client.chunk().unwrap(), b"hello\n");
    assert_eq!(server.ended.load(Ordering::SeqCst), 0);
}

#[test]
fn a_stream_that_fails_is_cut_off() {
    let server = Server::start();
    let mut client = server.connect();
    client.say(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n");
    client.head();
    assert_eq!(client.chunk().unwrap(), b"some");
    assert!(client.is_closed());
}

#[test]
fn producers_end_when_their_clients_vanish() {
    let server = Server::start();
    for path in ["/silent", "/flood"] {
        let before = server.ended.load(Ordering::SeqCst);
        let clients: Vec<Client> = (0..10)
            .map(|_| {
                let mut client = server.connect();
                client.say(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
                client.head();
                client
            })
            .collect();
        assert_eq!(server.ended.load(Ordering::SeqCst), before);
        drop(clients);
        wait_until("producers end", || server.ended.load(Ordering::SeqCst) == before + 10);
    }
}

#[test]
fn a_full_house_of_streams_is_503() {
    let server = Server::with(|settings| settings.max_streams = 2);
    let follow = || {
        let mut client = server.connect();
        client.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.head().status, 200);
        client
    };
    let (first, _second) = (follow(), follow());
    server.get("/silent").is_problem(503, "streams_full");
    drop(first);
    wait_until("a place is free", || server.ended.load(Ordering::SeqCst) == 1);
    wait_until("and can be taken", || {
        let mut client = server.connect();
        client.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
        client.head().status == 200
    });
}

#[test]
fn nobody_starves_when_many_hammer() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = server.connect();
                for number in 0..500 {
                    assert_eq!(client.get("/healthz").status, 200, "request {number}");
                }
            });
        }
    });
}

#[test]
fn more_requests_than_connections_to_tiny_http_wait_their_turn() {
    let server = Server::with(|settings| {
        settings.caps.upstreams = 2;
        settings.limits.queue = 4;
    });
    // By then both connections to tiny_http have proved themselves.
    let mut first = server.connect();
    (0..200).for_each(|_| assert_eq!(first.get("/healthz").status, 200));
    let mut clients: Vec<Client> = (0..6).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.say(b"GET /late?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n"));
    // Two are served and four wait; which of them came last is the kernel's choice, so one more is asked.
    let mut late = server.connect();
    late.say(b"GET /late?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut statuses: Vec<u16> = clients.iter_mut().map(|client| client.reply().status).collect();
    statuses.push(late.reply().status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 503]);
}

#[test]
fn an_answer_that_never_comes_is_503() {
    let server = Server::with(|settings| settings.deadlines.answer = Duration::from_millis(200));
    let reply = server.get("/late?ms=60000");
    reply.is_problem(503, "no_answer");
    assert_eq!(reply.header("Connection"), Some("close"));
    assert_eq!(server.get("/healthz").body, b"ok");
}

#[test]
fn slow_heads_and_bodies_are_408_and_idle_connections_are_closed() {
    let server = Server::with(|settings| {
        settings.deadlines.head = Duration::from_millis(200);
        settings.deadlines.body = Duration::from_millis(200);
        settings.deadlines.idle = Duration::from_millis(400);
    });
    server.ask(b"GET / HTTP/1.1\r\nHo").is_problem(408, "head_too_slow");
    server
        .ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        .is_problem(408, "body_too_slow");
    assert!(server.connect().is_closed());
    let mut client = server.connect();
    assert_eq!(client.get("/late?ms=500").body, b"late");
    assert!(client.is_closed());
}

#[test]
fn a_client_that_takes_nothing_is_closed() {
    let server = Server::with(|settings| settings.deadlines.stalled_write = Duration::from_millis(300));
    let mut flooded = server.connect();
    flooded.say(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_until("the producer ends", || server.ended.load(Ordering::SeqCst) == 1);
    let mut big = server.connect();
    big.say(b"GET /bytes?n=50000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = big.head();
    assert_eq!(head.status, 200);
    std::thread::park_timeout(Duration::from_secs(1));
    assert!(big.rest().len() < 50_000_000);
}

#[test]
fn requests_under_way_are_answered_when_the_program_stops() {
    let server = Server::start();
    let mut idle = server.connect();
    assert_eq!(idle.get("/healthz").status, 200);
    let mut busy = server.connect();
    busy.say(b"GET /late?ms=400 HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = server.connect();
    stream.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.head();
    assert_eq!(stream.chunk().unwrap(), b"hello\n");
    let (address, ended) = (server.address, std::sync::Arc::clone(&server.ended));
    drop(server);
    assert!(idle.is_closed());
    let reply = busy.reply();
    assert_eq!((reply.body.as_slice(), reply.header("Connection")), (b"late".as_slice(), Some("close")));
    assert_eq!(stream.chunk(), None);
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    wait_until("the port is free", || std::net::TcpStream::connect(address).is_err());
}
