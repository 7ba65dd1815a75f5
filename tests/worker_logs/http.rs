//! Logs over HTTP, through the gate.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use podling::engine::{LogRecord, Stream};
use podling::http::{self, Request, Responder, ServeSettings};
use podling::rest::log::LogQuery;
use podling::runtime::clock;
use podling::runtime::supervise::Supervisor;
use podling::worker::logs::Source;
use tempfile::TempDir;

use crate::client::Client;
use crate::scripted::{Scripted, container};
use crate::support::{Place, lines, log_of, task, written};

struct Served {
    address: SocketAddr,
    place: Place,
    _supervisor: Supervisor,
    _folder: TempDir,
}

impl Served {
    fn new(place: Place) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = ServeSettings::new("test", "127.0.0.1:0".parse().unwrap(), folder.path());
        let logs = Arc::clone(&place.logs);
        let service = move |request: Request, responder: Responder| {
            let task = request.path.trim_start_matches('/').parse().unwrap();
            match LogQuery::of(&request) {
                Ok(query) => logs.serve(&task, query, responder),
                Err(problem) => responder.send(problem),
            }
        };
        let mut supervisor = Supervisor::default();
        let address = http::serve(settings, Arc::new(service), &mut supervisor).unwrap();
        Self { address, place, _supervisor: supervisor, _folder: folder }
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    fn path(&self, query: &str) -> String {
        format!("/{}?{query}", self.place.task)
    }
}

#[test]
fn the_answer_says_what_it_is_and_what_is_missing() {
    let served = Served::new(Place::new(Scripted::new(lines(2)), Source::Live(container())));
    let mut client = served.connect();
    let reply = client.get(&served.path("tail=1"));
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"line 2\n".as_slice()));
    assert_eq!(reply.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.trailers, "");
    served.place.engine.remove(&container()).unwrap();
    let reply = served.connect().get(&served.path("follow=false"));
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(reply.trailers, "Podling-Incomplete: 1");
}

#[test]
fn what_this_worker_has_nothing_of_is_not_found() {
    let place = Place::new(Scripted::new(Vec::new()), Source::Waiting);
    place.store.collect(&task(7), podling::model::id::Attempt(2), log_of(lines(1))).unwrap();
    let served = Served::new(place);
    let get = |path: &str| served.connect().get(path);
    get(&format!("/{}", task(9))).is_problem(404, "task_not_found");
    get(&format!("/{}?attempt=1", task(9))).is_problem(404, "task_not_found");
    get(&served.path("attempt=2")).is_problem(404, "attempt_not_found");
    get(&format!("/{}?attempt=1", task(7))).is_problem(404, "attempt_not_found");
    get(&served.path("tail=x")).is_problem(422, "invalid");
    assert_eq!(get(&served.path("attempt=1")).status, 200);
    for path in [format!("/{}", task(7)), format!("/{}?attempt=2&follow=true", task(7))] {
        assert_eq!(get(&path).body, b"line 1\n", "the store has it, though nobody else knows it");
    }
    served.place.put(Source::Unknown);
    get(&served.path("attempt=1")).is_problem(404, "task_not_found");
}

/// Fifty readers ask for megabytes and don't take them. Nobody else notices, the Engine least of all.
#[test]
fn followers_that_never_read_slow_nobody() {
    let big: Vec<LogRecord> = (0..2_000)
        .map(|nanos| written(Stream::Stdout, nanos, [vec![b'x'; 4_000], vec![b'\n']].concat()))
        .collect();
    let engine = Scripted::new(big);
    let served = Served::new(Place::new(Arc::<Scripted>::clone(&engine), Source::Live(container())));
    let idle: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut socket = TcpStream::connect(served.address).unwrap();
            let path = served.path("follow=true");
            socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            socket
        })
        .collect();
    let mut follower = served.connect();
    let path = served.path("follow=true&tail=0");
    follower.say(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert_eq!(follower.head().status, 200);
    // Each of the fifty is answered; the log's end was found, which none of them gets to; all of it was followed.
    let mut answer = [0; 12];
    assert!(idle.iter().all(|socket| socket.peek(&mut answer).unwrap() > 0));
    engine.await_that("the log's end was found, and all of it followed", |script| {
        script.read_to_end == 1 && script.fed == 2_000
    });
    for number in 0..5 {
        let line = format!("news {number}\n").into_bytes();
        let wrote_at = clock::mono();
        engine.change(|script| script.records.push(written(Stream::Stdout, 3_000 + number, line.clone())));
        assert_eq!(follower.chunk(), Some(line));
        let took = clock::mono().since(wrote_at);
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(engine.change(|script| script.followed), 1);
    drop(idle);
}
