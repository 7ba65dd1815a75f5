use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::pki::{NodeFiles, NodeKey, is_due};

const NOW: WallTime = WallTime::from_unix_millis(1_800_000_000_000);

fn after(days: u64) -> WallTime {
    WallTime::from_unix_millis(NOW.unix_millis() + days * 86_400_000)
}

fn cluster() -> ClusterId {
    "01JD0000000000000000000000".parse().unwrap()
}

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_authority_is_made_once_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = Authority::create_or_open(folder.path(), &cluster(), NOW).unwrap();
    let again = Authority::create_or_open(folder.path(), &cluster(), after(9)).unwrap();
    assert_eq!(first.fingerprint(), again.fingerprint());
    assert_eq!(first.fingerprint().len(), 64);
    assert_eq!((mode(&folder.path().join(CA_KEY)), mode(&folder.path().join(CA_CERT))), (0o600, 0o644));
    let facts = Facts::of_pem(first.ca_pem()).unwrap();
    assert_eq!(facts.not_before.unix_millis(), NOW.unix_millis() - 300_000);
    assert_eq!(facts.not_after, after(3_650));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    for folder in [&folder, &other] {
        Authority::create_or_open(folder.path(), &cluster(), NOW).unwrap();
    }
    let open = || Authority::create_or_open(folder.path(), &cluster(), NOW).map(|_| ());
    let key = folder.path().join(CA_KEY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = open().unwrap_err().to_string();
    assert_eq!(error, format!("{} has the mode 0644; it must be 0600", key.display()));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    open().unwrap();
    fs::copy(other.path().join(CA_CERT), folder.path().join(CA_CERT)).unwrap();
    assert!(open().unwrap_err().to_string().contains("another key"));
    fs::remove_file(&key).unwrap();
    assert!(open().unwrap_err().to_string().ends_with("its key is gone"));
    fs::write(folder.path().join(CA_CERT), "nonsense").unwrap();
    fs::copy(other.path().join(CA_KEY), &key).unwrap();
    assert!(matches!(open(), Err(PkiError::Damaged { .. })));
    // A first start that ended between the two files.
    fs::remove_file(folder.path().join(CA_CERT)).unwrap();
    open().unwrap();
}

#[test]
fn a_server_is_named_by_address_and_role() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create_or_open(folder.path(), &cluster(), NOW).unwrap();
    let names = [Name::Ip("10.0.0.7".parse().unwrap()), Name::Dns("head".to_owned())];
    let issued = authority.server(&names, NOW).unwrap();
    let facts = Facts::of_pem(&issued.cert_pem).unwrap();
    assert_eq!(facts.dns_names, ["localhost", MASTER_NAME, "head"]);
    assert_eq!(facts.not_before.unix_millis(), NOW.unix_millis() - 300_000);
    assert_eq!(facts.not_after, after(90));
    assert!(issued.cert_pem.ends_with(authority.ca_pem()));
    assert!(!is_due(&issued.cert_pem, after(44)) && is_due(&issued.cert_pem, after(45)));
    assert!(is_due("nonsense", NOW));
    assert!(!format!("{issued:?}{authority:?}").contains("PRIVATE"));
}

#[test]
fn a_node_gets_its_own_name_whatever_it_asks_for() {
    let (masters, workers) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::create_or_open(masters.path(), &cluster(), NOW).unwrap();
    let key = NodeKey::create_or_open(workers.path()).unwrap();
    assert!(NodeFiles::open(workers.path()).unwrap().is_none());
    let greedy = key.request(&node("other")).unwrap();
    let cert = authority.node(&greedy, &node("worker-1"), NOW).unwrap();
    assert_eq!(Facts::of_pem(&cert).unwrap().dns_names, ["worker-1.node.podling"]);
    assert!(key.keep(&node("other"), authority.ca_pem(), &cert).is_err());
    let kept = key.keep(&node("worker-1"), authority.ca_pem(), &cert).unwrap();
    assert!(!kept.is_due(after(44)) && kept.is_due(after(46)));
    let found = NodeFiles::open(workers.path()).unwrap().unwrap();
    assert_eq!((found.ca_pem.as_str(), &found.issued.cert_pem), (authority.ca_pem(), &cert));
    // The same key again, and another number.
    let next = authority.node(&greedy, &node("worker-1"), after(46)).unwrap();
    assert_ne!(first_der(&next).unwrap(), first_der(&cert).unwrap());
    assert_eq!(mode(&workers.path().join("node.key.pem")), 0o600);
}

#[test]
fn a_request_that_proves_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create_or_open(folder.path(), &cluster(), NOW).unwrap();
    let sign = |csr: &str| authority.node(csr, &node("n"), NOW).map_err(|error| error.to_string());
    assert!(sign("nonsense").unwrap_err().starts_with("the certificate request can't be taken"));
    let curve = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = CertificateParams::default().serialize_request(&curve).unwrap().pem().unwrap();
    assert!(sign(&csr).unwrap_err().contains("P-256"));
    // Somebody else's key under one's own signature.
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let mut der = request.der().to_vec();
    let at = der.windows(8).position(|part| part == &key.public_key_raw()[1..9]).unwrap();
    der[at] ^= 1;
    let base64 = rustls_pki_types::CertificateSigningRequestDer::from(der);
    let pem = pem_of(&base64);
    assert!(sign(&pem).is_err());
}

/// PEM by hand: only the tests write a request that isn't whole.
fn pem_of(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
    for chunk in der.chunks(3) {
        let word =
            chunk.iter().chain([&0, &0]).take(3).fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        for digit in 0..4 {
            let is_padding = digit > chunk.len();
            let value = (word >> (18 - 6 * digit) & 63) as usize;
            text.push(if is_padding { '=' } else { char::from(DIGITS[value]) });
        }
    }
    text.push_str("\n-----END CERTIFICATE REQUEST-----\n");
    text
}
