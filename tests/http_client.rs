//! The client against the real server: what it sends, how it fails, and how a stream is cancelled.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::disallowed_methods, reason = "its threads are joined where they are started")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

use podling::http::client::Call;
use podling::http::{Client, ClientError};
use serde_json::{Value, json};
use support::{PATIENCE, Server, wait_until};

fn client(server: &Server) -> Client {
    Client::new(&format!("http://{}", server.address)).unwrap().with_token("s3cret")
}

#[test]
fn json_goes_and_comes() {
    let server = Server::start();
    let client = client(&server);
    let reply: Value = client.post("/echo?a=b", &json!({"k": [1, 2]}), PATIENCE, false).unwrap();
    assert_eq!(
        (&reply["method"], &reply["body"], &reply["query"]),
        (&"POST".into(), &r#"{"k":[1,2]}"#.into(), &"a=b".into())
    );
    let headers = reply["headers"].to_string();
    assert!(headers.contains("Bearer s3cret") && headers.contains("application/json"), "{headers}");
    assert!(!format!("{client:?}").contains("s3cret"));
    assert_eq!(client.get::<Value>("/echo", PATIENCE).unwrap()["method"], "GET");
    assert_eq!(client.delete("/status?s=204", PATIENCE).unwrap().status, 204);
    let empty = client.call(Call::new("POST", "/echo", PATIENCE)).unwrap();
    assert_eq!(empty.json::<Value>().unwrap()["length"], 0);
}

#[test]
fn a_refusal_is_a_problem() {
    let server = Server::start();
    let client = client(&server);
    let error = client.get::<Value>("/nowhere", PATIENCE).unwrap_err();
    assert_eq!(
        error.problem().map(|problem| (problem.status, problem.code.as_ref())),
        Some((404, "no_such_path"))
    );
    assert!(!error.is_retryable() && !error.was_sent());
    let error = client.get::<Value>("/panic", PATIENCE).unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.problem().and_then(|problem| problem.retry_after_secs), Some(1));
    let error = client.get::<Value>("/healthz", PATIENCE).unwrap_err();
    assert!(matches!(error, ClientError::Malformed(_)), "{error:?}");
}

#[test]
fn each_way_to_fail_is_told_apart() {
    let server = Server::start();
    let error = client(&server).get::<Value>("/late?ms=60000", Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, ClientError::TimedOut(_)) && error.was_sent(), "{error:?}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Client::new(&format!("http://{port}")).unwrap();
    let error = nobody.get::<Value>("/", PATIENCE).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)) && !error.was_sent(), "{error:?}");
    for bad in ["https://", "ftp://x", "http://", "x"] {
        assert!(matches!(Client::new(bad), Err(ClientError::BadAddress(_))), "{bad}");
    }
    let small = Call { max_reply_bytes: 10, ..Call::new("GET", "/bytes?n=100", PATIENCE) };
    let error = client(&server).call(small).unwrap_err();
    assert!(matches!(error, ClientError::Malformed(_)), "{error:?}");
}

#[test]
fn a_dropped_connection_is_tried_again_only_where_that_is_safe() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let served = std::thread::spawn(move || {
        let mut methods = Vec::new();
        for answers in [false, true, false] {
            let (mut socket, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            let count = socket.read(&mut buffer).unwrap();
            methods.push(String::from_utf8_lossy(&buffer[..count]).split(' ').next().unwrap().to_owned());
            if answers {
                socket
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7")
                    .unwrap();
            }
        }
        methods
    });
    assert_eq!(client.get::<u32>("/", PATIENCE).unwrap(), 7);
    let error = client.post::<Value>("/", &1, PATIENCE, false).unwrap_err();
    assert!(matches!(error, ClientError::Lost(_)) && error.was_sent(), "{error:?}");
    assert_eq!(served.join().unwrap(), ["GET", "GET", "POST"]);
}

#[test]
fn a_stream_is_read_to_its_end_or_cancelled() {
    let server = Server::start();
    let client = client(&server);
    let mut stream = client.stream("/lines?n=100", &[], PATIENCE).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!((text.lines().count(), stream.content_type()), (100, Some("text/plain")));

    let mut stream = client.stream("/silent", &[("Accept", "text/plain")], PATIENCE).unwrap();
    let mut hello = [0; 6];
    stream.read_exact(&mut hello).unwrap();
    let canceller = stream.canceller();
    let reader = std::thread::spawn(move || stream.read(&mut [0; 10]));
    canceller.cancel();
    assert!(!matches!(reader.join().unwrap(), Ok(count) if count > 0));
    wait_until("the producer ends", || server.ended.load(Ordering::SeqCst) == 1);

    let mut cut = client.stream("/fails", &[], PATIENCE).unwrap();
    assert!(cut.read_to_string(&mut String::new()).is_err());
    let mut silent = client.stream("/silent", &[], Duration::from_millis(200)).unwrap();
    assert!(silent.read_to_string(&mut String::new()).is_err());
    let refused = client.stream("/nowhere", &[], PATIENCE).unwrap_err();
    assert_eq!(refused.problem().map(|problem| problem.status), Some(404));
}

#[test]
fn reading_goes_on_after_a_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (go_on, wait) = std::sync::mpsc::channel();
    let served = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        // A silence in the midst of a chunk.
        socket.write_all(format!("{head}6\r\nhel").as_bytes()).unwrap();
        wait.recv().unwrap();
        socket.write_all(b"lo\n\r\n0\r\n\r\n").unwrap();
    });
    let mut stream = client.stream("/", &[], Duration::from_millis(100)).unwrap();
    let mut text = Vec::new();
    let error = stream.read_to_end(&mut text).unwrap_err();
    assert_eq!((error.kind(), text.as_slice()), (std::io::ErrorKind::TimedOut, b"hel".as_slice()));
    go_on.send(()).unwrap();
    stream.read_to_end(&mut text).unwrap();
    assert_eq!(text, b"hello\n");
    served.join().unwrap();
}
