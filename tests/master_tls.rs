//! The real programs over TLS: what a master says and takes where it listens, the command line and a worker that know
//! it by its CA, a certificate of one's own, and a certificate that is renewed under them.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/part.rs"]
mod part;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use part::{LONG, Part, wait_until};
use podling::http::client::Call;
use podling::http::{Client, Trust};
use podling::model::time::WallTime;
use podling::pki::{Authority, MASTER_NAME, Name};
use podling::runtime::clock;
use tempfile::TempDir;

const MASTER: &str = env!("CARGO_BIN_EXE_podling-master");
const WORKER: &str = env!("CARGO_BIN_EXE_podling-worker");
const PODLING: &str = env!("CARGO_BIN_EXE_podling");

fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("master")
}

fn words(folder: &TempDir, listen: &str, more: &[&str]) -> Vec<String> {
    let data = data(folder).display().to_string();
    let usual = ["--listen", listen, "--store", "memory", "--tick-ms", "50", "--data-dir", &data];
    usual.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

/// A process that ends with the test, however that ends.
struct Running(Part);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end(Duration::ZERO);
    }
}

impl Deref for Running {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.0
    }
}

fn start(folder: &TempDir, listen: &str, more: &[&str]) -> Running {
    Running(Part::start(folder.path(), "master", MASTER, words(folder, listen, more)))
}

fn said(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("master.out")).unwrap()
}

fn ca(folder: &TempDir) -> String {
    fs::read_to_string(data(folder).join("ca.pem")).unwrap()
}

fn healthz(base: &str, trust: &Trust) -> Result<u16, String> {
    let client = Client::trusting(base, trust).unwrap();
    client.call(Call::new("GET", "/healthz", LONG)).map(|reply| reply.status).map_err(|e| e.to_string())
}

/// The file of the administrator's token.
fn token_file(folder: &TempDir) -> String {
    data(folder).join("admin.token").display().to_string()
}

fn nodes(folder: &TempDir, home: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(PODLING);
    command.env_clear().env("HOME", home).args(["nodes", "-o", "name", "--token-file", &token_file(folder)]);
    command.args(more).output().unwrap()
}

#[test]
fn on_loopback_both_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let master = start(&folder, "127.0.0.1:0", &[]);
    assert!(said(&folder).starts_with("listening on http://127.0.0.1:"));
    let https = format!("https://{}", master.address);
    for trust in [Trust::master(ca(&folder)), Trust::host_or_master(ca(&folder))] {
        assert_eq!((healthz(&master.url(), &trust), healthz(&https, &trust)), (Ok(200), Ok(200)));
    }
    let mode = |name: &str| fs::metadata(data(&folder).join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("ca.pem")), (0o600, 0o644));
    // The command line: by the file that is named, by the one that it finds, and by neither.
    let file = data(&folder).join("ca.pem").display().to_string();
    let home = folder.path().join("home");
    let named = nodes(&folder, &home, &["--master", &https, "--ca", &file]);
    assert!(named.status.success(), "{named:?}");
    let unknown = nodes(&folder, &home, &["--master", &https]);
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!((unknown.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("an authority that this system doesn't know (--ca names one)"), "{error}");
    let own = home.join(".local/share/podling/master");
    fs::create_dir_all(&own).unwrap();
    fs::copy(&file, own.join("ca.pem")).unwrap();
    assert!(nodes(&folder, &home, &["--master", &https]).status.success());
}

#[test]
fn beyond_loopback_it_is_tls_alone_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let master = start(&folder, "0.0.0.0:0", &[]);
    assert!(said(&folder).starts_with("listening on https://0.0.0.0:"));
    let port = master.address.port();
    let (plain, secure) = (format!("http://127.0.0.1:{port}"), format!("https://127.0.0.1:{port}"));
    let trust = Trust::master(ca(&folder));
    assert_eq!(healthz(&secure, &trust), Ok(200));
    let error = healthz(&plain, &trust).unwrap_err();
    assert!(error.contains("served over TLS alone: use https://"), "{error}");
    drop(master);
    let _master = start(&folder, "0.0.0.0:0", &["--insecure"]);
    let listens = said(&folder);
    let port = listens.lines().last().unwrap().rsplit(':').next().unwrap().to_owned();
    let (plain, secure) = (format!("http://127.0.0.1:{port}"), format!("https://127.0.0.1:{port}"));
    // The CA outlives its master.
    assert_eq!((healthz(&plain, &trust), healthz(&secure, &trust)), (Ok(200), Ok(200)));
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(start(&folder, "127.0.0.1:0", &[]));
    let key = data(&folder).join("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = Command::new(MASTER).args(words(&folder, "127.0.0.1:0", &[])).output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(error.contains(&format!("{} has the mode 0644; it must be 0600", key.display())), "{error}");
}

#[test]
fn a_worker_knows_its_master_by_the_ca_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    // Renewed every two seconds, while the worker beats.
    let master = start(&folder, "127.0.0.1:0", &["--cert-life-ms", "4000"]);
    let https = format!("https://{}", master.address);
    let worker = |id: &str| {
        let at = folder.path().join(id);
        let (data, token) = (at.display().to_string(), token_file(&folder));
        let words = ["--engine", "hollow", "--heartbeat-ms", "100", "--token-file", &token];
        let more = ["--listen", "127.0.0.1:0", "--node-id", id, "--master", &https, "--data-dir", &data];
        let words = words.iter().chain(&more).map(|word| (*word).to_owned()).collect();
        Running(Part::start(folder.path(), id, WORKER, words))
    };
    let joined = folder.path().join("joined");
    fs::create_dir(&joined).unwrap();
    fs::set_permissions(&joined, fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(data(&folder).join("ca.pem"), joined.join("ca.pem")).unwrap();
    let (_joined, stranger) = (worker("joined"), worker("stranger"));
    let token = fs::read_to_string(token_file(&folder)).unwrap();
    let client = Client::trusting(&https, &Trust::master(ca(&folder))).unwrap().with_token(token.trim());
    let known = || {
        let page: serde_json::Value = client.get("/api/v1/nodes", LONG).unwrap();
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().map(|node| (node["node_id"].clone(), node["status"].clone())).collect::<Vec<_>>()
    };
    wait_until("the worker is known", || known() == [("joined".into(), "online".into())]);
    wait_until("it was renewed", || master.log().matches("certificate was renewed").count() >= 2);
    assert_eq!(known(), [("joined".into(), "online".into())]);
    let log = stranger.log();
    assert!(log.contains("its certificate is of an authority"), "{log}");
}

/// Runs the command line against a master of this folder.
fn podling(folder: &TempDir, https: &str, words: &[&str]) -> Output {
    let ca = data(folder).join("ca.pem").display().to_string();
    let mut command = Command::new(PODLING);
    command.env_clear().env("HOME", folder.path()).args(words);
    command.args(["--master", https, "--ca", &ca, "--token-file", &token_file(folder)]).output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A worker that listens beyond loopback and knows nothing but a join word.
fn joining(folder: &TempDir, id: &str, https: &str, more: &[&str]) -> Running {
    let word = folder.path().join(format!("{id}.word"));
    fs::write(&word, printed(&podling(folder, https, &["token", "create", "--join"]))).unwrap();
    fs::set_permissions(&word, fs::Permissions::from_mode(0o600)).unwrap();
    let (word, at) = (word.display().to_string(), folder.path().join(id).display().to_string());
    let words = ["--listen", "0.0.0.0:0", "--node-id", id, "--engine", "hollow", "--heartbeat-ms", "100"];
    let given = ["--master", https, "--data-dir", &at, "--token-file", &word];
    let words = words.iter().chain(&given).chain(more).map(|word| (*word).to_owned()).collect();
    Running(Part::start(folder.path(), id, WORKER, words))
}

#[test]
fn beyond_loopback_a_word_is_enough_and_all_of_it_is_tls() {
    let folder = tempfile::tempdir().unwrap();
    // Both certificates are renewed every two seconds.
    let master = start(&folder, "0.0.0.0:0", &["--cert-life-ms", "4000"]);
    let https = format!("https://127.0.0.1:{}", master.address.port());
    let worker = joining(&folder, "far", &https, &["--advertise", "127.0.0.1:1"]);
    let port = worker.address.port();
    wait_until("it has joined", || folder.path().join("far/node.token").exists());
    drop(worker);
    // What it has got is enough: the word was used up.
    let advertise = format!("127.0.0.1:{port}");
    let at = folder.path().join("far").display().to_string();
    let words = ["--node-id", "far", "--engine", "hollow", "--heartbeat-ms", "100", "--master", &https];
    let listen = format!("0.0.0.0:{port}");
    let more = ["--listen", &listen, "--advertise", &advertise, "--data-dir", &at];
    let words = words.iter().chain(&more).map(|word| (*word).to_owned()).collect();
    let worker = Running(Part::start(folder.path(), "far", WORKER, words));
    let lines = ["-e", "HOLLOW_LOG_LINES=3", "-e", "HOLLOW_RUN_MS=600000"];
    let run = [&["run", "web", "--image", "nginx"][..], &lines].concat();
    printed(&podling(&folder, &https, &run));
    wait_until("it runs", || {
        printed(&podling(&folder, &https, &["ps", "--status", "running", "-o", "name"])).contains("web")
    });
    let renewed = || worker.log().matches("certificate was renewed").count() >= 2;
    wait_until("the worker's certificate was renewed", renewed);
    for way in [&["logs", "web"][..], &["logs", "web", "--direct"]] {
        assert_eq!(printed(&podling(&folder, &https, way)).lines().count(), 3, "{way:?}");
    }
    let plain = Client::new(&format!("http://127.0.0.1:{port}")).unwrap();
    let error = plain.call(Call::new("GET", "/healthz", LONG)).unwrap_err().to_string();
    assert!(error.contains("served over TLS alone: use https://"), "{error}");
}

#[test]
fn who_took_a_nodes_address_gets_nothing_but_a_hello() {
    let folder = tempfile::tempdir().unwrap();
    let master = start(&folder, "0.0.0.0:0", &[]);
    let https = format!("https://127.0.0.1:{}", master.address.port());
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    let advertise = thief.local_addr().unwrap().to_string();
    let _worker = joining(&folder, "far", &https, &["--advertise", &advertise]);
    wait_until("the node is known", || {
        printed(&podling(&folder, &https, &["nodes", "-o", "name"])).contains("far")
    });
    printed(&podling(&folder, &https, &["run", "web", "--image", "nginx"]));
    let (mut socket, _) = thief.accept().unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let mut hello = [0; 4096];
    let count = socket.read(&mut hello).unwrap();
    assert_eq!(hello[0], 0x16, "{}", hello[..count].escape_ascii());
    let key = fs::read_to_string(folder.path().join("far/node.key")).unwrap();
    assert!(!hello[..count].windows(8).any(|part| part == &key.as_bytes()[..8]));
    // The beat delivers what the push couldn't.
    wait_until("it ran", || {
        printed(&podling(&folder, &https, &["inspect", "web"])).contains("\"completed\"")
    });
}

#[test]
fn a_node_that_anybody_could_order_about_does_not_listen_beyond_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("w").display().to_string();
    let mut command = Command::new(WORKER);
    command.env_clear().env("HOME", folder.path()).args(["--engine", "hollow", "--node-id", "w"]);
    let ended = command.args(["--listen", "0.0.0.0:0", "--data-dir", &at]).output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(
        error.contains("--listen: 0.0.0.0:0 is not loopback: without --token-file that needs"),
        "{error}"
    );
}

#[test]
fn a_certificate_of_ones_own_is_shown_to_all_but_the_cluster() {
    let (folder, public) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cluster = "01JD0000000000000000000000".parse().unwrap();
    let authority = Authority::create_or_open(public.path(), &cluster, clock::wall()).unwrap();
    let given = authority.server(&[Name::Dns("pods.example".to_owned())], clock::wall()).unwrap();
    let (cert, key) = (public.path().join("c"), public.path().join("k"));
    fs::write(&cert, &given.cert_pem).unwrap();
    fs::write(&key, &given.key_pem).unwrap();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let master = start(&folder, "127.0.0.1:0", &["--tls-cert", &cert, "--tls-key", &key]);
    let https = format!("https://{}", master.address);
    assert_eq!(healthz(&https, &Trust::host_or_master(authority.ca_pem())), Ok(200));
    assert_eq!(healthz(&https, &Trust::master(ca(&folder))), Ok(200));
    assert!(healthz(&https, &Trust::host_or_master(ca(&folder))).is_err());
    let wrong = words(&folder, "127.0.0.1:0", &["--tls-cert", &cert, "--tls-key", &cert]);
    let ended = Command::new(MASTER).args(wrong).output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.starts_with("podling-master: --tls-key: "), "{error}");
}

#[test]
fn a_clock_that_is_off_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = "01JD0000000000000000000000".parse().unwrap();
    // The master's clock is seven minutes ahead of everybody's here.
    let ahead = WallTime::from_unix_millis(clock::wall().unix_millis() + 432_000);
    let authority = Authority::create_or_open(folder.path(), &cluster, ahead).unwrap();
    let given = authority.server(&[Name::Dns(MASTER_NAME.to_owned())], ahead).unwrap();
    let (cert, key) = (folder.path().join("c"), folder.path().join("k"));
    fs::write(&cert, &given.cert_pem).unwrap();
    fs::write(&key, &given.key_pem).unwrap();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let master = start(&folder, "127.0.0.1:0", &["--tls-cert", &cert, "--tls-key", &key]);
    let error = healthz(&format!("https://{}", master.address), &Trust::host_or_master(authority.ca_pem()));
    let error = error.unwrap_err();
    assert!(error.starts_with("trust who answered: clock differs by 7m"), "{error}");
}
