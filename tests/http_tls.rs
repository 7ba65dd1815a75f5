//! TLS in the gate and in the client: versions, handshakes that stall or are none, bodies and streams, a certificate
//! that changes, and a peer that isn't the one it should be.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::disallowed_methods, reason = "its threads are joined where they are started")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/http.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use podling::http::client::Call;
use podling::http::{self, ClientError, ServeSettings, TlsAcceptor, Trust};
use podling::model::time::WallTime;
use podling::pki::{Authority, Issued, MASTER_NAME, NodeKey};
use podling::runtime::clock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use support::{Client, PATIENCE, Server, wait_until};
use tempfile::TempDir;

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const ALERT: u8 = 0x15;

/// A cluster's authority in a folder of its own.
struct Ca {
    authority: Authority,
    _folder: TempDir,
}

impl Ca {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let cluster = "01JD0000000000000000000000".parse().unwrap();
        let authority = Authority::create_or_open(folder.path(), &cluster, clock::wall()).unwrap();
        Self { authority, _folder: folder }
    }

    fn issue(&self) -> Issued {
        self.authority.server(&[], clock::wall()).unwrap()
    }

    fn node(&self, id: &str) -> Issued {
        let folder = TempDir::new().unwrap();
        let (key, node) = (NodeKey::create_or_open(folder.path()).unwrap(), id.parse().unwrap());
        let cert = self.authority.node(&key.request(&node).unwrap(), &node, clock::wall()).unwrap();
        key.keep(&node, self.authority.ca_pem(), &cert).unwrap().issued
    }

    fn trust(&self) -> Trust {
        Trust::master(self.authority.ca_pem())
    }
}

fn acceptor(issued: &Issued) -> TlsAcceptor {
    TlsAcceptor::new(&issued.cert_pem, &issued.key_pem).unwrap()
}

/// A server with TLS, and the authority of its certificate.
fn secured(change: impl FnOnce(&mut ServeSettings)) -> (Server, Ca) {
    let ca = Ca::new();
    let tls = acceptor(&ca.issue());
    let server = Server::with(|settings| {
        settings.tls = Some(tls);
        settings.plain = false;
        change(settings);
    });
    (server, ca)
}

fn hello(ca: &Ca, versions: &[&'static SupportedProtocolVersion]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.authority.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), MASTER_NAME.try_into().unwrap()).unwrap()
}

/// TLS begins with what is said or read first.
fn over_tls(socket: TcpStream, tls: ClientConnection) -> Client {
    let mut client = Client::new(socket);
    client.tls = Some(Box::new(tls));
    client
}

fn connect(server: &Server, ca: &Ca) -> Client {
    over_tls(TcpStream::connect(server.address).unwrap(), hello(ca, BOTH))
}

fn client(server: &Server, trust: &Trust) -> http::Client {
    http::Client::trusting(&format!("https://{}", server.address), trust).unwrap()
}

/// The first bytes of a handshake, as a client would send them.
fn client_hello(ca: &Ca) -> Vec<u8> {
    let mut bytes = Vec::new();
    hello(ca, BOTH).write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn both_versions_serve_many_requests_on_one_connection() {
    let (server, ca) = secured(|_| {});
    for (versions, spoken) in [
        ([&rustls::version::TLS13], rustls::ProtocolVersion::TLSv1_3),
        ([&rustls::version::TLS12], rustls::ProtocolVersion::TLSv1_2),
    ] {
        let socket = TcpStream::connect(server.address).unwrap();
        let mut client = over_tls(socket, hello(&ca, &versions));
        for _ in 0..50 {
            assert_eq!(client.get("/healthz").body, b"ok");
        }
        assert_eq!(client.tls.as_ref().unwrap().protocol_version(), Some(spoken));
        assert_eq!(client.get("/bytes?n=3000000").body.len(), 3_000_000);
        client.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(client.reply().body, b"ok");
        assert!(client.is_closed() && !client.was_cut, "the end was not said");
    }
}

#[test]
fn what_is_older_than_1_2_is_refused_with_an_alert() {
    let (server, _ca) = secured(|_| {});
    for minor in [1, 2] {
        let mut body = vec![3, minor];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
        let length = u8::try_from(body.len()).unwrap();
        let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
        record.extend(body);
        let mut client = server.connect();
        client.say(&record);
        let alert = client.rest();
        // A fatal one: either the version, or that nothing on the list of the old ones is shared.
        assert_eq!((alert[0], alert[5]), (ALERT, 2), "{alert:?}");
        assert!(matches!(alert[6], 70 | 40), "{alert:?}");
    }
}

#[test]
fn bodies_come_whole_whatever_the_records() {
    let (server, ca) = secured(|_| {});
    let mut client = connect(&server, &ca);
    client.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for byte in b"3;x=y\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n" {
        client.say(&[*byte]);
    }
    assert_eq!(client.reply().json()["length"], 13);
    client.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n");
    client.say(&vec![b'y'; 900_000]);
    assert_eq!(client.reply().json()["length"], 900_000);
    let three = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
    client.say(three.as_bytes());
    for _ in 0..3 {
        assert_eq!(client.reply().body, b"ok");
    }
    client.say(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    assert!(client.is_closed() && !client.was_cut);
}

#[test]
fn a_client_may_stop_sending_before_it_reads() {
    let (server, ca) = secured(|_| {});
    // One of these lengths leaves less than a record when the socket is full for the last time.
    for length in (0..40).map(|step| 3_000_000 + step * 11_000) {
        let mut client = connect(&server, &ca);
        client.say(format!("GET /bytes?n={length} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let tls = client.tls.as_mut().unwrap();
        tls.send_close_notify();
        tls.write_tls(&mut client.socket).unwrap();
        client.socket.shutdown(std::net::Shutdown::Write).unwrap();
        std::thread::park_timeout(Duration::from_millis(30));
        assert_eq!(client.reply().body.len(), length);
        assert!(client.is_closed() && !client.was_cut, "{length}");
    }
}

#[test]
fn a_handshake_that_stalls_is_closed_when_a_head_would_be() {
    let (server, ca) = secured(|settings| {
        settings.deadlines.head = Duration::from_millis(300);
        settings.deadlines.idle = Duration::from_millis(2500);
    });
    let whole = client_hello(&ca);
    for part in [&whole[..1], &whole[..7], &whole[..whole.len() / 2], &whole] {
        let begin = clock::mono();
        let mut client = server.connect();
        client.say(part);
        client.rest();
        let took = clock::mono().since(begin);
        assert!(took < Duration::from_secs(2), "after {} bytes: {took:?}", part.len());
    }
    // After it, an idle connection is as idle as a plain one.
    let mut client = connect(&server, &ca);
    let tls = client.tls.as_mut().unwrap();
    tls.complete_io(&mut client.socket).unwrap();
    std::thread::park_timeout(Duration::from_millis(800));
    assert_eq!(client.get("/healthz").body, b"ok");
    // Byte by byte is as slow as not at all.
    let mut client = server.connect();
    for byte in &whole[..100] {
        client.say(&[*byte]);
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert!(client.is_closed());
    // Half a record is half a head.
    let mut client = connect(&server, &ca);
    assert_eq!(client.get("/healthz").body, b"ok");
    std::thread::park_timeout(Duration::from_millis(400));
    assert_eq!(client.get("/healthz").body, b"ok");
    client.say(b"GET / HT");
    client.reply().is_problem(408, "head_too_slow");
    let mut client = connect(&server, &ca);
    assert_eq!(client.get("/healthz").body, b"ok");
    client.socket.write_all(&[0x17, 3, 3, 0, 200, 1, 2, 3]).unwrap();
    assert!(client.is_closed());
    assert!(server.connect().is_closed());
    assert_eq!(connect(&server, &ca).get("/healthz").body, b"ok");
}

#[test]
fn garbage_instead_of_tls_ends_that_connection_alone() {
    let (server, ca) = secured(|_| {});
    let mut steady = connect(&server, &ca);
    assert_eq!(steady.get("/healthz").body, b"ok");
    let begins = client_hello(&ca);
    let mut endless = vec![0x16, 3, 1, 0x40, 0];
    endless.resize(200_000, b'x');
    for bytes in [
        b"\x16\x03\x01\x00\x05hello".to_vec(),
        b"\x16\xff\xff\xff\xff".to_vec(),
        b"\x16GET / HTTP/1.1\r\n\r\n".to_vec(),
        [&begins[..], b"\x17\x03\x03\x00\x05hello"].concat(),
        endless,
    ] {
        let mut client = server.connect();
        client.say(&bytes);
        client.rest();
    }
    // In the middle of a connection: bytes that are no record, and a handshake that begins anew.
    for bytes in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), begins, vec![0; 50_000]] {
        let mut client = connect(&server, &ca);
        assert_eq!(client.get("/healthz").body, b"ok");
        client.socket.write_all(&bytes).unwrap();
        client.tls = None;
        client.rest();
    }
    assert_eq!(steady.get("/healthz").body, b"ok");
}

#[test]
fn two_hundred_connections_are_served_at_once() {
    let (server, ca) = secured(|_| {});
    let mut clients: Vec<Client> = (0..200).map(|_| connect(&server, &ca)).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.reply().body, b"ok");
        }
    }
}

#[test]
fn a_stream_waits_for_a_reader_that_stalls() {
    let (server, ca) = secured(|settings| settings.deadlines.stalled_write = Duration::from_millis(500));
    let mut reader = connect(&server, &ca);
    reader.say(b"GET /lines?n=50000 HTTP/1.1\r\nHost: x\r\n\r\n");
    let reply = reader.reply();
    let last = reply.body.strip_suffix(b"\n").unwrap().rsplit(|byte| *byte == b'\n').next().unwrap();
    assert_eq!((last, reply.trailers.as_str()), (b"line 49999".as_slice(), "Podling-Incomplete: 1"));
    // The producer is held back, and ends with the client that takes nothing.
    let mut flooded = connect(&server, &ca);
    flooded.say(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n");
    flooded.head();
    wait_until("the producer ends", || server.ended.load(Ordering::SeqCst) == 1);
    let owed = flooded.rest().len();
    assert!(flooded.was_cut, "a stream that was cut off ended as if it was whole");
    assert!(owed < 8 * 1024 * 1024, "{owed} bytes were buffered");
    // One that fails ends without an end, to a client that would take the end of the line for it too.
    for version in ["1.1", "1.0"] {
        let mut client = connect(&server, &ca);
        client.say(format!("GET /fails HTTP/{version}\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(client.head().status, 200);
        client.rest();
        assert!(client.was_cut, "HTTP/{version}");
    }
    // Followers that leave are noticed.
    let mut follower = connect(&server, &ca);
    follower.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
    follower.head();
    drop(follower);
    wait_until("the follower is missed", || server.ended.load(Ordering::SeqCst) == 2);
}

#[test]
fn a_certificate_changes_without_a_dropped_connection() {
    let ca = Ca::new();
    let (first, second) = (ca.issue(), ca.issue());
    let tls = acceptor(&first);
    let shown = tls.clone();
    let server = Server::with(|settings| settings.tls = Some(tls));
    let leaf = |client: &Client| client.tls.as_ref().unwrap().peer_certificates().unwrap()[0].clone();
    let of = |issued: &Issued| CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).unwrap();
    let mut old = connect(&server, &ca);
    assert_eq!(old.get("/healthz").body, b"ok");
    let mut stream = connect(&server, &ca);
    stream.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(stream.head().status, 200);
    assert!(shown.replace(&second.cert_pem, &first.key_pem).is_err());
    shown.replace(&second.cert_pem, &second.key_pem).unwrap();
    let mut new = connect(&server, &ca);
    for _ in 0..3 {
        assert_eq!((old.get("/healthz").status, new.get("/healthz").status), (200, 200));
    }
    assert_eq!((leaf(&old), leaf(&new)), (of(&first), of(&second)));
    assert_eq!(stream.chunk().unwrap(), b"hello\n");
}

#[test]
fn a_certificate_of_ones_own_stands_beside_the_clusters() {
    let (ca, public) = (Ca::new(), Ca::new());
    let (own, given) = (ca.issue(), public.issue());
    let tls = acceptor(&given);
    tls.show_to(MASTER_NAME, &own.cert_pem, &own.key_pem).unwrap();
    let server = Server::with(|settings| settings.tls = Some(tls));
    let call = |trust: &Trust| client(&server, trust).call(Call::new("GET", "/healthz", PATIENCE));
    call(&ca.trust()).unwrap();
    call(&Trust::host_or_master(public.authority.ca_pem())).unwrap();
    let error = call(&Trust::host_or_master(ca.authority.ca_pem())).unwrap_err();
    assert!(matches!(error, ClientError::Untrusted(_)), "{error:?}");
}

#[test]
fn plain_http_is_taken_where_it_may_be() {
    let (server, ca) = secured(|_| {});
    let mut client = server.connect();
    client.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    let reply = client.reply();
    reply.is_problem(400, "tls_required");
    assert_eq!(reply.header("Connection"), Some("close"));
    assert!(client.is_closed());
    drop(server);
    let tls = acceptor(&ca.issue());
    let both = Server::with(|settings| settings.tls = Some(tls));
    assert_eq!(both.get("/healthz").body, b"ok");
    assert_eq!(connect(&both, &ca).get("/healthz").body, b"ok");
    // Where neither is spoken nothing is served.
    let neither = Server::with(|settings| settings.plain = false);
    neither.get("/healthz").is_problem(400, "tls_required");
    // Where no TLS is spoken, a handshake is no request.
    let plain = Server::start();
    plain.ask(&client_hello(&ca)).is_problem(400, "malformed_request");
}

#[test]
fn a_full_house_says_so_over_tls() {
    let (server, ca) = secured(|settings| settings.caps.connections = 2);
    let mut busy: Vec<Client> = (0..2).map(|_| connect(&server, &ca)).collect();
    for client in &mut busy {
        client.say(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.head().status, 200);
    }
    let mut third = connect(&server, &ca);
    third.reply().is_problem(503, "connections_full");
    drop(busy.pop());
    wait_until("there is room", || {
        let mut client = connect(&server, &ca);
        client.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        client.reply_if_any().is_some_and(|reply| reply.status == 200)
    });
    // Silent ones make room, in the middle of their handshakes too.
    let half = client_hello(&ca);
    let mut silent: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    silent.iter_mut().for_each(|client| client.say(&half[..half.len() / 2]));
    assert_eq!(connect(&server, &ca).get("/healthz").body, b"ok");
}

#[test]
fn idle_connections_are_told_that_the_server_stops() {
    let (server, ca) = secured(|_| {});
    let mut idle = connect(&server, &ca);
    assert_eq!(idle.get("/healthz").body, b"ok");
    let mut late = connect(&server, &ca);
    late.say(b"GET /late?ms=600 HTTP/1.1\r\nHost: x\r\n\r\n");
    std::thread::park_timeout(Duration::from_millis(200));
    drop(server);
    assert!(idle.is_closed() && !idle.was_cut);
    assert_eq!(late.reply().body, b"late");
    assert!(late.is_closed() && !late.was_cut);
}

#[test]
fn the_client_trusts_the_clusters_master() {
    let (server, ca) = secured(|_| {});
    let print = Trust::master_by_fingerprint(ca.authority.fingerprint());
    for trust in [ca.trust(), print, Trust::host_or_master(ca.authority.ca_pem())] {
        let client = client(&server, &trust).with_token("s3cret");
        let echo: serde_json::Value = client.get("/echo", PATIENCE).unwrap();
        assert!(echo["headers"].to_string().contains("Bearer s3cret"));
        // One connection for many calls: the peer's port stays.
        let again: serde_json::Value = client.get("/echo", PATIENCE).unwrap();
        assert_eq!(echo["peer"], again["peer"]);
        let big = client.call(Call::new("GET", "/bytes?n=5000000", PATIENCE)).unwrap();
        assert_eq!(big.body.len(), 5_000_000);
        let mut stream = client.stream("/lines?n=1000", &[], PATIENCE).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1000);
    }
    let mut stream = client(&server, &ca.trust()).stream("/silent", &[], PATIENCE).unwrap();
    let canceller = stream.canceller();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).map(|_| text)
    });
    wait_until("it is open", || server.ended.load(Ordering::SeqCst) == 0);
    canceller.cancel();
    let _ = reader.join().unwrap();
    wait_until("the server knows", || server.ended.load(Ordering::SeqCst) == 1);
}

/// What a server with this certificate gets from a client with this trust: an error there, and no byte here.
#[track_caller]
fn mistrusts(issued: &Issued, trust: &Trust, says: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let chain = CertificateDer::pem_slice_iter(issued.cert_pem.as_bytes()).map(Result::unwrap).collect();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(BOTH)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let failed = tls.complete_io(&mut socket).unwrap_err();
        assert!(tls.is_handshaking(), "the handshake went on");
        let mut plain = Vec::new();
        let _ = tls.reader().read_to_end(&mut plain);
        assert!(plain.is_empty());
        failed.downcast::<rustls::Error>().unwrap()
    });
    let client = http::Client::trusting(&format!("https://{address}"), trust).unwrap();
    let error = client.with_token("s3cret").get::<serde_json::Value>("/", PATIENCE).unwrap_err();
    let ClientError::Untrusted(why) = &error else { panic!("{error:?}") };
    assert!(why.contains(says) && !why.contains('\n'), "{why}");
    assert!(!error.was_sent());
    let at_server = server.join().unwrap();
    assert!(matches!(at_server, rustls::Error::AlertReceived(_)), "{at_server:?}");
}

#[test]
fn a_peer_that_is_not_the_one_gets_nothing_but_a_hello() {
    let (ca, other) = (Ca::new(), Ca::new());
    let print = |ca: &Ca| Trust::master_by_fingerprint(ca.authority.fingerprint());
    mistrusts(&other.issue(), &ca.trust(), "another authority than the cluster's CA");
    mistrusts(&other.issue(), &print(&ca), "another authority than the cluster's CA");
    mistrusts(&ca.issue(), &Trust::system(), "an authority that this system doesn't know");
    // The right CA behind somebody else's certificate proves nothing.
    let forged = other.issue();
    let leaf = forged.cert_pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    let forged = Issued { cert_pem: leaf.to_owned() + ca.authority.ca_pem(), ..forged };
    mistrusts(&forged, &print(&ca), "another authority");
    let node = |id: &str| Trust::node(ca.authority.ca_pem(), &id.parse().unwrap());
    mistrusts(&ca.node("w1"), &node("w2"), "for w1.node.podling, not for w2.node.podling");
    mistrusts(&ca.issue(), &node("w2"), "not for w2.node.podling");
    // A node is no master, not even at the master's address.
    mistrusts(&ca.node("w1"), &ca.trust(), "for w1.node.podling, not for master.podling");
    let at =
        |shift: i64| WallTime::from_unix_millis(clock::wall().unix_millis().saturating_add_signed(shift));
    let expired = ca.authority.server(&[], at(-91 * 86_400_000)).unwrap();
    mistrusts(&expired, &ca.trust(), "expired: it held until ");
    let early = ca.authority.server(&[], at(432_000)).unwrap();
    mistrusts(&early, &ca.trust(), "clock differs by 7m1");
}

#[test]
fn a_node_is_known_by_its_name_wherever_it_is() {
    let ca = Ca::new();
    let tls = acceptor(&ca.node("w1"));
    let server = Server::with(|settings| settings.tls = Some(tls));
    let trust = Trust::node(ca.authority.ca_pem(), &"w1".parse().unwrap());
    let reply = client(&server, &trust).call(Call::new("GET", "/healthz", PATIENCE)).unwrap();
    assert_eq!(reply.body, b"ok");
}

#[test]
fn the_client_says_what_speaks_no_tls() {
    let server = Server::start();
    let ca = Ca::new();
    let call = || Call::new("GET", "/healthz", PATIENCE);
    let error = client(&server, &ca.trust()).call(call()).unwrap_err();
    assert!(error.to_string().contains("what it speaks is no TLS: is it http://?"), "{error}");
    let (secure, _ca) = secured(|_| {});
    let plain = http::Client::new(&format!("http://{}", secure.address)).unwrap();
    let error = plain.call(call()).unwrap_err();
    assert_eq!(error.problem().unwrap().code, "tls_required");
    // A peer that never answers the handshake costs the time of a connection.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://{}", silent.local_addr().unwrap());
    let asked = http::Client::trusting(&base, &ca.trust()).unwrap();
    let error = asked.call(Call::new("GET", "/", Duration::from_millis(300))).unwrap_err();
    assert!(!error.was_sent() || matches!(error, ClientError::TimedOut(_)), "{error:?}");
}
