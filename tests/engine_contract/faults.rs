//! Engines that aren't there, that hang, and that break off in the middle.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use podling::engine::docker::{Deadlines, DockerEngine};
use podling::engine::{Engine, EngineError, LogRequest, Owner};
use podling::model::id::ContainerId;
use podling::runtime::{clock, supervise};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::support::{Rig, exits, fresh_id, is_timed_out, is_unreachable};

const SOON: Duration = Duration::from_millis(300);

fn engine_at(socket: &Path) -> DockerEngine {
    let deadlines = Deadlines { look: SOON, change: SOON, pull_stall: SOON };
    DockerEngine::connect(Some(&format!("unix://{}", socket.display())), deadlines).unwrap()
}

type Call<'a> = &'a dyn Fn() -> Result<(), EngineError>;

/// Every call that asks for an answer, and whether each failed as expected.
fn every_call_fails(engine: &DockerEngine, as_expected: fn(&Result<(), EngineError>) -> bool) {
    let id: ContainerId = "c0ffee".parse().unwrap();
    let image = "a".parse().unwrap();
    let owner = Owner { cluster: fresh_id().parse().unwrap(), node: "n".parse().unwrap() };
    let rig = Rig::hollow();
    let request = rig.request(exits(0));
    let calls: [(&str, Call<'_>); 11] = [
        ("describe", &|| engine.describe().map(drop)),
        ("has_image", &|| engine.has_image(&image).map(drop)),
        ("pull", &|| engine.pull(&image, &mut |_| {})),
        ("create", &|| engine.create(&request).map(drop)),
        ("start", &|| engine.start(&id)),
        ("inspect", &|| engine.inspect("c0ffee").map(drop)),
        ("stop", &|| engine.stop(&id, SOON)),
        ("remove", &|| engine.remove(&id)),
        ("list", &|| engine.list(&owner).map(drop)),
        ("stats", &|| engine.stats(&id).map(drop)),
        ("logs", &|| engine.logs(&id, LogRequest { follow: true }).map(drop)),
    ];
    for (name, call) in calls {
        let began = clock::mono();
        let result = call();
        let took = clock::mono().since(began);
        assert!(as_expected(&result) && took < Duration::from_secs(3), "{name}: {result:?} after {took:?}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_at(&folder.path().join("none.sock"));
    every_call_fails(&engine, is_unreachable);
    assert!(is_unreachable(&engine.wait(&"c0ffee".parse().unwrap(), SOON)));
}

#[test]
fn an_engine_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hangs.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let engine = engine_at(&socket);
    every_call_fails(&engine, is_timed_out);
    assert_eq!(engine.wait(&"c0ffee".parse().unwrap(), SOON), Ok(false));
}

/// A stopped process accepts nobody; once its backlog is full, connecting itself blocks.
#[test]
fn an_engine_whose_backlog_is_full_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("full.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut waiting: Vec<OwnedFd> = Vec::new();
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let caller = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match connect(&caller, &SocketAddrUnix::new(&socket).unwrap()) {
            Ok(()) => waiting.push(caller),
            Err(Errno::AGAIN) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(waiting.len() < 100_000);
    }
    let engine = engine_at(&socket);
    every_call_fails(&engine, |result| is_timed_out(result) || is_unreachable(result));
    assert!(is_timed_out(&engine.describe()));
}

/// An Engine of a few prepared answers: one list per connection. After the last answer of a list it reads one
/// more request, if there is one, and closes the connection without a word.
fn scripted(socket: &Path, connections: Vec<Vec<String>>) -> supervise::Thread {
    let listener = UnixListener::bind(socket).unwrap();
    let serve = move || {
        for answers in connections {
            let (stream, _) = listener.accept().unwrap();
            let mut requests = BufReader::new(stream);
            for answer in answers {
                read_head(&mut requests);
                requests.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            read_head(&mut requests);
        }
    };
    supervise::spawn("scripted engine", serve).unwrap()
}

fn read_head(requests: &mut BufReader<UnixStream>) {
    let mut line = String::new();
    while requests.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
        line.clear();
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn pong(version: &str) -> String {
    answer("200 OK", &format!("Api-Version: {version}\r\n"), "OK")
}

const INFO: &str = r#"{"ID":"E1","ServerVersion":"29.0.1+x","NCPU":4,"MemTotal":1024}"#;

#[test]
fn a_kept_connection_that_died_is_replaced_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dies.sock");
    let info = answer("200 OK", "", INFO);
    let server = scripted(&socket, vec![vec![pong("1.41"), info.clone()], vec![pong("1.52"), info]]);
    let engine = engine_at(&socket);
    assert_eq!(engine.describe().unwrap().name, "docker 29.0.1");
    // The server takes the next request and closes without a word; the one after that is asked on a new connection.
    assert_eq!(engine.describe().unwrap().name, "docker 29.0.1");
    drop(engine);
    assert!(server.join());
}

#[test]
fn what_changes_something_is_not_sent_twice() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dies.sock");
    let server = scripted(&socket, vec![vec![pong("1.41")]]);
    let engine = engine_at(&socket);
    let rig = Rig::hollow();
    assert!(is_unreachable(&engine.create(&rig.request(exits(0)))));
    assert!(server.join());
}

#[test]
fn another_engine_behind_the_same_connection_is_greeted_anew() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("new.sock");
    let refusal = r#"{"message":"client version 1.44 is too new. Maximum supported API version is 1.41"}"#;
    let answers =
        vec![pong("1.44"), answer("400 Bad Request", "", refusal), pong("1.41"), answer("200 OK", "", INFO)];
    let server = scripted(&socket, vec![answers]);
    let engine = engine_at(&socket);
    assert_eq!(engine.describe().unwrap().id, "E1");
    drop(engine);
    assert!(server.join());
}

#[test]
fn answers_that_make_no_sense_are_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("version", vec![answer("200 OK", "", "OK")]),
        ("json", vec![pong("1.41"), answer("200 OK", "", "<html>")]),
    ];
    for (name, answers) in cases {
        let socket = folder.path().join(name);
        let server = scripted(&socket, vec![answers]);
        let engine = engine_at(&socket);
        let refused = engine.describe();
        assert!(matches!(refused, Err(EngineError::Malformed { .. })), "{name}: {refused:?}");
        drop(engine);
        assert!(server.join());
    }
}

/// An end of the connection is not the end of a container, or of its log.
#[test]
fn an_engine_that_breaks_off_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let id: ContainerId = "c0ffee".parse().unwrap();
    let socket = folder.path().join("wait.sock");
    let server = scripted(&socket, vec![vec![]]);
    assert!(is_unreachable(&engine_at(&socket).wait(&id, Duration::from_secs(5))));
    assert!(server.join());

    let socket = folder.path().join("log.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let serve = move || {
        let mut requests = BufReader::new(listener.accept().unwrap().0);
        let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\u{1}\0\0\0\r\n";
        for answer in [&pong("1.41"), half] {
            read_head(&mut requests);
            requests.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    };
    let server = supervise::spawn("half an engine", serve).unwrap();
    let mut log = engine_at(&socket).logs(&id, LogRequest { follow: true }).unwrap();
    assert!(log.next().is_some_and(|item| is_unreachable(&item)));
    assert!(log.next().is_none());
    assert!(server.join());
}
