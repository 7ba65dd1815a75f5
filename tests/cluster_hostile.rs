//! The real binaries among hostile clients: with their real settings they give each hostile request its one answer,
//! serve the others meanwhile, and let go of everything afterwards. What exactly is refused, and how, is the matter
//! of `tests/http_hostile.rs`. The worker here has a hollow engine: nothing of this is about containers.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod wire;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use podling::runtime::clock;
use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};
use support::part::{Part, wait_until, within};
use support::{Cluster, MasterOptions, WorkerOptions};
use wire::Client;

/// I16 of the reliability rules.
const HEALTHZ_WITHIN: Duration = Duration::from_millis(500);

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// That a newcomer's /healthz is answered in time.
#[track_caller]
fn is_healthy(address: SocketAddr) {
    let start = clock::mono();
    let reply = Client::new(TcpStream::connect(address).unwrap()).get("/healthz");
    let took = clock::mono().since(start);
    assert_eq!(reply.status, 200);
    assert!(took < HEALTHZ_WITHIN, "/healthz took {took:?}");
}

/// Whether a newcomer is served now, if need be by nobody: it waits no longer than a fraction of a second.
fn answers(address: SocketAddr) -> bool {
    let patience = Duration::from_millis(300);
    let ask = || {
        let mut socket = TcpStream::connect_timeout(&address, patience)?;
        socket.set_read_timeout(Some(patience))?;
        socket.write_all(HEALTHZ)?;
        let mut answer = [0; 12];
        socket.read_exact(&mut answer)?;
        std::io::Result::Ok(answer == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn connect(part: &Part) -> Client {
    Client::new(TcpStream::connect(part.address).unwrap())
}

fn hollow() -> Cluster {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions { engine: "hollow", ..WorkerOptions::default() });
    cluster
}

/// Each gets its one answer, and is hung up on.
fn refuse_what_is_hostile(part: &Part) {
    let post = |rest: &str| format!("POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\n{rest}").into_bytes();
    let get = |rest: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{rest}").into_bytes();
    let many_headers = get(&"A: b\r\n".repeat(200_000));
    let two_lengths = post("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}");
    let length_and_chunks = post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    for (bytes, status, code) in [
        (post("Content-Length: 100000000000\r\n\r\n"), 413, "body_too_large"),
        (post("Content-Length: 3x\r\n\r\n{}"), 400, "bad_length"),
        (two_lengths, 400, "ambiguous_length"),
        (length_and_chunks, 400, "ambiguous_length"),
        (post("\r\n"), 411, "length_required"),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n".to_vec(), 505, "unsupported_version"),
        (b"GET / HTTP/1.1\nHost: x\n\n".to_vec(), 400, "malformed_request"),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000)).into_bytes(), 414, "request_line_too_long"),
        (many_headers, 431, "headers_too_large"),
    ] {
        let mut client = connect(part);
        client.say(&bytes);
        client.reply().is_problem(status, code);
        assert!(client.is_closed());
        is_healthy(part.address);
    }
}

/// Who sends so much, or leaves so soon, that no answer reaches them.
fn outlive_who_vanishes(part: &Part) {
    let flood = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "b".repeat(8 << 20));
    connect(part).say(flood.as_bytes());
    is_healthy(part.address);
    let beginnings: [&[u8]; 4] = [
        b"GET / HT",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for round in 0..100 {
        let mut client = connect(part);
        client.say(beginnings[round % beginnings.len()]);
        if round % 3 == 0 {
            // The reset instead of the end.
            rustix::net::sockopt::set_socket_linger(&client.socket, Some(Duration::ZERO)).unwrap();
        }
    }
    is_healthy(part.address);
}

#[test]
fn master_and_worker_outlive_every_hostile_request() {
    let cluster = hollow();
    for part in [&cluster.master, cluster.worker("worker-1")] {
        is_healthy(part.address);
        let baseline = part.at_rest();
        refuse_what_is_hostile(part);
        outlive_who_vanishes(part);
        part.comes_back_to(baseline);
    }
}

#[test]
fn a_thousand_clients_that_send_a_byte_a_second_hinder_nobody() {
    const SECOND: Duration = Duration::from_secs(1);
    let room = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: room.maximum, ..room }).unwrap();
    let cluster = hollow();
    for part in [&cluster.master, cluster.worker("worker-1")] {
        is_healthy(part.address);
        let baseline = part.at_rest();
        let mut clients: Vec<Client> = (0..1000).map(|_| connect(part)).collect();
        let mut asked = 0;
        for byte in b"GET" {
            let next = clock::mono() + SECOND;
            clients.iter_mut().for_each(|client| client.say(&[*byte]));
            while clock::mono() < next {
                is_healthy(part.address);
                asked += 1;
            }
        }
        let now = part.counts();
        assert!(now.threads <= baseline.threads + 2, "{now:?}, {baseline:?} before, {asked} healthy answers");
        assert!(now.descriptors >= 900, "they are held, not sent away: {now:?}");
        drop(clients);
        part.comes_back_to(baseline);
    }
}

#[test]
fn a_master_whose_descriptors_are_used_up_serves_again_within_a_second() {
    let under = &["prlimit", "--nofile=64"];
    let cluster = Cluster::start(MasterOptions { under, ..MasterOptions::default() });
    let master = &cluster.master;
    is_healthy(master.address);
    let baseline = master.at_rest();
    assert!(baseline.descriptors <= 64, "{baseline:?}");
    let waiting = cluster.create(&support::script("waits-for-a-node", "true")).task_id;
    let shown = cluster.authorization();
    let path = format!("/api/v1/tasks/{waiting}/logs?follow=true");
    let follow = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{shown}\r\n");
    for takes_the_last in [false, true] {
        // More come than there are descriptors, among them followers of a log, who can't be asked to make room.
        let mut crowd: Vec<Client> = (0..100).map(|_| connect(master)).collect();
        for (number, client) in crowd.iter_mut().enumerate() {
            client.say(if number % 2 == 0 { follow.as_bytes() } else { b"GET / HTTP/1.1\r\n" });
        }
        let full = |held: usize| held >= baseline.descriptors + 20;
        wait_until("it is full", || full(master.counts().descriptors));
        if takes_the_last {
            // Now not one more descriptor is to be had: accepting itself may fail, and whoever comes be let down.
            limit_open_files(master, master.counts().descriptors);
            for _ in 0..5 {
                let _ = answers(master.address);
            }
        }
        drop(crowd);
        within(Duration::from_secs(1), "it answers again", || answers(master.address).then_some(()));
        for _ in 0..20 {
            assert!(answers(master.address), "it accepts whoever comes");
        }
    }
    master.comes_back_to(baseline);
}

fn limit_open_files(part: &Part, open_files: usize) {
    let limit = Rlimit { current: Some(open_files as u64), maximum: Some(64) };
    prlimit(Some(part.pid()), Resource::Nofile, limit).unwrap();
}
