//! Thousands of malformed requests against a master and a worker, over loopback, from a seed.
//!
//! Each is answered, if at all, with a status that CONTRACT knows and never 500, 502 or 504; a refusal is a problem
//! document with a listed code. Afterwards a newcomer is served within half a second, nobody has panicked, threads and
//! descriptors are back where they were, and the cluster still runs a task. `scripts/attack` sends more of them:
//! `PODLING_ATTACK_REQUESTS` says how many to each server, `PODLING_ATTACK_SEED` which.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[path = "attack/corpus.rs"]
mod corpus;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "attack/sample.rs"]
mod sample;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use corpus::Corpus;
use podling::api::openapi::problems::CODES;
use podling::api::openapi::{master_document, worker_document};
use podling::runtime::clock;
use serde_json::{Value, json};
use support::part::{LONG, Part, within};
use support::{Cluster, MasterOptions, WorkerOptions};

/// I16 of the reliability rules.
const HEALTHZ_WITHIN: Duration = Duration::from_millis(500);

/// How long a server may think about one request. Those that are never whole are given up by the client.
const PATIENCE: Duration = Duration::from_secs(10);

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok().filter(|text| !text.is_empty());
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The head and the body of the first answer; as much of it as came, and nothing of a stream but its head.
fn answer(address: SocketAddr, request: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // Whoever refuses may hang up before it has read everything.
    let _ = socket.write_all(request).and_then(|()| socket.shutdown(Shutdown::Write));
    let (mut got, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        if let Some((head, body)) = whole(&got) {
            return Some((head, body));
        }
        match socket.read(&mut buffer) {
            Ok(count) if count > 0 => got.extend_from_slice(&buffer[..count]),
            Ok(_) | Err(_) => break,
        }
    }
    split(&got)
}

/// Head and body, so far; after `100 Continue` what follows that.
fn split(got: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = got.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (String::from_utf8_lossy(&got[..end]).into_owned(), &got[end + 4..]);
    if head.starts_with("HTTP/1.1 100") { split(body) } else { Some((head, body.to_vec())) }
}

/// An answer that is whole, or a stream. What follows it answers a request that the spoiled bytes happened to hold.
fn whole(got: &[u8]) -> Option<(String, Vec<u8>)> {
    let (head, mut body) = split(got)?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    if body.starts_with(b"HTTP/1.1 ") {
        body.clear(); // The first was to HEAD.
    } else if body.len() < length.unwrap_or(0) {
        return None;
    }
    length.into_iter().for_each(|length| body.truncate(length));
    Some((head, body))
}

/// That an answer is one that may be given. Gives its status.
fn judge(head: &str, body: &[u8]) -> Result<u16, String> {
    let status = head.split(' ').nth(1).and_then(|word| word.parse::<u16>().ok()).ok_or("no status")?;
    if !matches!(status, 200..=204 | 304 | 400..=499 | 501 | 503 | 505 | 507) {
        return Err(format!("{status} is never given"));
    }
    if status < 400 || body.is_empty() {
        return Ok(status);
    }
    let problem: Value =
        serde_json::from_slice(body).map_err(|error| format!("no problem document: {error}"))?;
    let is_listed = CODES.iter().any(|one| one.status == status && problem["code"] == one.code);
    if is_listed && problem["status"] == status {
        Ok(status)
    } else {
        Err(format!("a strange problem: {problem}"))
    }
}

#[track_caller]
fn is_healthy(part: &Part) {
    let start = clock::mono();
    let (head, _) = answer(part.address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer");
    let took = clock::mono().since(start);
    assert!(head.starts_with("HTTP/1.1 200") && took < HEALTHZ_WITHIN, "{head} after {took:?}");
}

/// Sends the corpus to one server, and says how it was answered.
fn attack(part: &Part, mut corpus: Corpus, requests: u64, seed: u64) -> BTreeMap<u16, u64> {
    let mut counts = BTreeMap::new();
    for index in 0..requests {
        let request = corpus.next();
        let verdict = answer(part.address, &request).map_or(Ok(0), |(head, body)| judge(&head, &body));
        let status = verdict.unwrap_or_else(|why| {
            panic!(
                "request {index} of seed {seed}: {why}\n{}",
                request[..request.len().min(4000)].escape_ascii()
            )
        });
        *counts.entry(status).or_default() += 1;
        if index % 200 == 0 {
            is_healthy(part);
        }
    }
    counts
}

#[test]
fn no_malformed_request_breaks_a_server() {
    let requests = number("PODLING_ATTACK_REQUESTS", 1_000);
    let seed = number("PODLING_ATTACK_SEED", 1);
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions { engine: "hollow", ..WorkerOptions::default() });
    // A node's token is shown too: it is the one for what nodes say.
    let node = cluster.token_of("worker-1");
    let of_master = Corpus::new(master_document(), vec![cluster.admin_token(), node], seed);
    let of_worker = Corpus::new(worker_document(), vec![cluster.key_of("worker-1")], seed);
    for (part, corpus) in [(&cluster.master, of_master), (cluster.worker("worker-1"), of_worker)] {
        is_healthy(part);
        let baseline = part.at_rest();
        let counts = attack(part, corpus, requests, seed);
        println!("{} requests, by status (0: no answer): {counts:?}", requests);
        is_healthy(part);
        let unanswered = counts.get(&0).copied().unwrap_or(0);
        assert!(unanswered * 10 < requests, "most are answered: {counts:?}");
        assert!(
            counts.keys().filter(|status| **status >= 400).count() >= 8,
            "it is many kinds of ill: {counts:?}"
        );
        part.comes_back_to(baseline);
    }
    still_runs_tasks(&cluster);
}

fn still_runs_tasks(cluster: &Cluster) {
    let active = json!({"availability": "active"});
    cluster.ask("POST", "/api/v1/nodes/worker-1/availability", Some(active)).unwrap();
    let id = cluster.create(&json!({"name": "after", "image": "nginx"})).task_id;
    within(LONG, "a task still runs to its end", || cluster.task(id.as_str()).finished_at);
}
