//! The command line against a master that plays a log as the test wants it: broken, silent, incomplete; and one
//! whose answers get lost.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use podling::api::wire::log::{LogLine, LogStream};
use podling::cli::{self, Console};
use podling::http::{self, Problem, Request, Responder, Response, ServeSettings, StreamHead};
use podling::runtime::supervise::Supervisor;
use serde_json::json;
use tempfile::TempDir;

const ID: &str = "01JD0000000000000000000001";

/// What the master has been asked so far.
#[derive(Default)]
struct Asked {
    logs: AtomicUsize,
    creations: AtomicUsize,
    removals: AtomicUsize,
    keys: Mutex<Vec<String>>,
    tokens: Mutex<Vec<Option<String>>>,
}

/// How the master plays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Play {
    /// The log breaks in the midst of its third entry, then comes whole.
    Breaks,
    /// The log lacks a part.
    Lacks,
    /// The log is endless.
    Floods,
}

struct Stage {
    address: SocketAddr,
    asked: Arc<Asked>,
    _supervisor: Supervisor,
    _folder: TempDir,
}

impl Stage {
    fn set(play: Play) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = ServeSettings::new("test", "127.0.0.1:0".parse().unwrap(), folder.path());
        let asked = Arc::new(Asked::default());
        let counts = Arc::clone(&asked);
        let mut supervisor = Supervisor::default();
        let service =
            move |request: Request, responder: Responder| answer(play, &request, responder, &counts);
        let address = http::serve(settings, Arc::new(service), &mut supervisor).unwrap();
        Self { address, asked, _supervisor: supervisor, _folder: folder }
    }

    fn podling(&self, line: &str) -> (u8, String, String) {
        let words = line.split_whitespace().map(str::to_owned);
        let master = ["--master".to_owned(), format!("http://{}", self.address)];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err };
        let arguments = master.into_iter().chain(words).map(Into::into).collect();
        let code = cli::run(arguments, |_| None, &mut console);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }
}

fn answer(play: Play, request: &Request, responder: Responder, asked: &Asked) {
    let task = json!({
        "task_id": ID, "name": "web", "status": "failed", "attempt": 1, "created_at": "2026-01-31T12:00:00.000Z",
        "image": "x", "reason": "exit_code", "exit_code": 7,
    });
    asked.tokens.lock().unwrap().push(request.headers.get("authorization").map(str::to_owned));
    asked.keys.lock().unwrap().extend(request.headers.get("idempotency-key").map(str::to_owned));
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", path) if path.ends_with("/logs") => log(play, request, responder, asked),
        ("GET", _) => responder.send(Response::json(200, &task)),
        ("POST", path) if path.ends_with("/logs-ticket") => {
            let host = request.headers.get("host").unwrap();
            let url = format!("http://{host}/api/v1/tasks/{ID}/logs");
            responder.send(Response::json(200, &json!({ "url": url })));
        }
        // The first answer gets lost; then the same key must come again.
        ("POST", "/api/v1/tasks") if asked.creations.fetch_add(1, Ordering::SeqCst) < 2 => {
            drop_after(responder)
        }
        ("POST", "/api/v1/tasks") => responder.send(Response::json(201, &task)),
        ("DELETE", _) if asked.removals.fetch_add(1, Ordering::SeqCst) == 0 => drop_after(responder),
        (_, path) => responder.send(Problem::not_found("task_not_found", format!("nothing is at {path}"))),
    }
}

/// Breaks the connection instead of answering: a stream that fails before its head is whole.
fn drop_after(responder: Responder) {
    responder.stream(StreamHead::new(200, "application/json"), |_| Err(std::io::Error::other("on purpose")));
}

fn entry(stream: LogStream, bytes: &[u8]) -> Vec<u8> {
    let time = "2026-01-31T12:00:00.000000001Z";
    [serde_json::to_vec(&LogLine::written(stream, time, bytes, 1)).unwrap(), b"\n".to_vec()].concat()
}

fn log(play: Play, request: &Request, responder: Responder, asked: &Asked) {
    assert_eq!(request.headers.get("accept"), Some("application/x-ndjson"));
    let is_first = asked.logs.fetch_add(1, Ordering::SeqCst) == 0;
    let lines = [
        (LogStream::Stdout, "1\n"),
        (LogStream::Stderr, "2\n"),
        (LogStream::Stdout, "3\n"),
        (LogStream::Stdout, "4"),
    ];
    let entries = lines.map(|(stream, text)| entry(stream, text.as_bytes()));
    responder.stream(StreamHead::new(200, "application/x-ndjson"), move |out| match play {
        Play::Breaks if is_first => {
            out.send(&entries[..2].concat())?;
            out.send(&entries[2][..20])?;
            Err(std::io::Error::other("on purpose"))
        }
        Play::Breaks => out.send(&entries.concat()),
        Play::Lacks => {
            out.send(&entries[0])?;
            out.send(b"{\"notice\":\"worker-1 is offline\",\"attempt\":1}\n")
        }
        Play::Floods => loop {
            out.send(&entries.concat())?;
        },
    });
}

#[test]
fn a_followed_log_goes_on_where_it_broke() {
    let stage = Stage::set(Play::Breaks);
    let (code, out, err) = stage.podling("logs web -f");
    assert_eq!((code, out.as_str()), (0, "1\n3\n4"), "{err}");
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!((lines[0], lines.len()), ("2", 2), "{err}");
    assert!(lines[1].starts_with("podling: the connection to the master at http://"), "{err}");
    assert_eq!(stage.asked.logs.load(Ordering::SeqCst), 2);
}

#[test]
fn a_log_that_is_not_followed_says_that_it_broke() {
    let (code, out, err) = Stage::set(Play::Breaks).podling("logs web");
    assert_eq!((code, out.as_str()), (1, "1\n"));
    assert!(
        err.starts_with("2\npodling: the connection to the master at ") && err.lines().count() == 2,
        "{err}"
    );
}

#[test]
fn what_is_missing_is_said_and_is_1() {
    for line in ["logs web", "logs web -f"] {
        let told = Stage::set(Play::Lacks).podling(line);
        assert_eq!(told, (1, "1\n".to_owned(), "podling: worker-1 is offline\n".to_owned()), "{line}");
    }
    let (_, out, _) = Stage::set(Play::Lacks).podling("logs web --timestamps");
    assert_eq!(out, "2026-01-31T12:00:00.000000001Z 1\n");
}

#[test]
fn a_task_is_created_once_though_answers_get_lost() {
    let stage = Stage::set(Play::Breaks);
    let (code, out, err) = stage.podling("run web --image x --follow");
    assert_eq!((code, out.as_str()), (7, "1\n3\n4"), "the task's own code; {err}");
    assert!(err.starts_with(&format!("Task created: {ID}\n")), "{err}");
    assert!(err.ends_with("Status: failed (exit 7)\n"), "{err}");
    let mut keys = stage.asked.keys.lock().unwrap().clone();
    assert_eq!((stage.asked.creations.load(Ordering::SeqCst), keys.len()), (3, 3));
    keys.dedup();
    assert_eq!(keys.len(), 1, "always under the same key");
}

#[test]
fn what_is_gone_after_a_lost_answer_was_removed() {
    let stage = Stage::set(Play::Breaks);
    assert_eq!(stage.podling("rm web"), (0, "web\n".to_owned(), String::new()));
    assert_eq!(stage.asked.removals.load(Ordering::SeqCst), 2);
    assert_eq!(stage.podling("rm web").0, 1, "gone before it was asked for");
}

#[test]
fn a_reader_of_an_endless_log_may_go_away() {
    /// Takes ten bytes.
    struct Head(usize);
    impl std::io::Write for Head {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let stage = Stage::set(Play::Floods);
    let (mut out, mut err) = (Head(10), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err };
    let line = format!("logs web -f --master http://{}", stage.address);
    let code = cli::run(line.split(' ').map(Into::into).collect(), |_| None, &mut console);
    assert_eq!(code, 141);
    assert!(!String::from_utf8(err).unwrap().contains("podling"));
}

#[test]
fn this_machines_token_is_for_this_machines_master() {
    let stage = Stage::set(Play::Lacks);
    let home = TempDir::new().unwrap();
    let folder = home.path().join(".local/share/podling/master");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("admin.token"), "0wn\n").unwrap();
    std::fs::write(home.path().join("named"), "n4med\n").unwrap();
    let sent = |flags: &[&str], environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_podling"));
        command.args(["inspect", "web"]).args(flags).env_clear().env("HOME", home.path());
        let output = command.envs(environment.iter().copied()).current_dir(home.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        stage.asked.tokens.lock().unwrap().pop().unwrap()
    };
    let port = stage.address.port();
    let near = format!("http://127.0.0.1:{port}");
    // The same master, by an address that doesn't say that it is on this machine.
    let far = format!("http://0.0.0.0:{port}");
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    assert_eq!(sent(&["--master", &near], &[]), bearer("0wn"));
    assert_eq!(sent(&["--master", &far, "--insecure"], &[]), None);
    assert_eq!(sent(&["--master", &far, "--insecure", "--token-file", "named"], &[]), bearer("n4med"));
    let variables = [("PODLING_MASTER", near.as_str()), ("PODLING_TOKEN_FILE", "named")];
    assert_eq!(sent(&[], &variables), bearer("n4med"));
}

#[test]
fn a_worker_is_asked_without_the_users_token() {
    let stage = Stage::set(Play::Breaks);
    let folder = TempDir::new().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let told = stage.podling(&format!("logs web -f --direct --token-file {}", token.display()));
    assert_eq!((told.0, told.1.as_str()), (0, "1\n3\n4"), "{}", told.2);
    assert!(told.2.contains("podling: the connection to the worker at http://"), "{}", told.2);
    let bearer = || Some("Bearer s3cret".to_owned());
    // The task, its ticket, and then the log twice, because it broke.
    assert_eq!(*stage.asked.tokens.lock().unwrap(), [bearer(), bearer(), None, None]);
}
