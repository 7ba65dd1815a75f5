//! Malformed requests without end, made from the routes of an OpenAPI document by a seed: the same seed, the same bytes.
//!
//! Each begins as a request that the document allows, and is then spoiled in one of several ways: its body, its query,
//! its path, its headers, its request line, or its bytes. What could reach beyond loopback is spared: the `hostname` of a
//! registration stays 127.0.0.1, and such a request's bytes stay as they are.

use serde_json::Value;

use super::rng::Rng;
use super::sample::{fitting, hostile_text, spoil};

/// Where a registration says its worker is.
const LOOPBACK: &str = "127.0.0.1";

/// One route of the document.
#[derive(Clone)]
struct Entry {
    method: String,
    path: String,
    parameters: Vec<(String, Value)>,
    body: Option<Value>,
}

/// Makes requests.
pub(crate) struct Corpus {
    document: Value,
    entries: Vec<Entry>,
    tokens: Vec<String>,
    rng: Rng,
}

impl Corpus {
    /// `tokens`: those of which a request shows one, as a rule the first; one in eight shows none.
    pub(crate) fn new(document: &str, tokens: Vec<String>, seed: u64) -> Self {
        let document: Value = serde_json::from_str(document).unwrap();
        let mut entries = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, entry) in methods.as_object().unwrap() {
                let parameters = entry["parameters"].as_array().into_iter().flatten();
                let query = parameters.filter(|one| one["in"] == "query");
                let named = |one: &Value| (one["name"].as_str().unwrap().to_owned(), one["schema"].clone());
                let body = &entry["requestBody"]["content"]["application/json"]["schema"];
                entries.push(Entry {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    parameters: query.map(named).collect(),
                    body: body.is_object().then(|| body.clone()),
                });
            }
        }
        Self { document, entries, tokens, rng: Rng::new(seed) }
    }

    /// The next request, as bytes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let entry = self.rng.pick(&self.entries).cloned().expect("the document has routes");
        let mut body = entry.body.as_ref().map(|schema| fitting(&self.document, schema, &mut self.rng));
        let registers = body.as_mut().is_some_and(keep_on_loopback);
        let kinds = if registers { 4 } else { 8 };
        let kind = self.rng.within(0, kinds);
        if let (0 | 1, Some(body)) = (kind, body.as_mut()) {
            spoil(body, "hostname", &mut self.rng);
        }
        let path = self.path(&entry, kind == 2);
        let query = self.query(&entry, kind == 3);
        let (line, headers) = (self.line(&entry.method, &path, &query, kind == 4), self.headers(kind == 5));
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let length = if kind == 5 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let shown = self.authorization();
        let mut bytes = format!("{line}\r\nHost: x\r\n{shown}{headers}{length}\r\n").into_bytes();
        bytes.extend(body);
        if kind >= 6 {
            self.spoil_bytes(&mut bytes);
        }
        bytes
    }

    fn authorization(&mut self) -> String {
        let token = match self.rng.within(0, 8) {
            0 => None,
            1 => self.rng.pick(&self.tokens),
            _ => self.tokens.first(),
        };
        token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"))
    }

    fn path(&mut self, entry: &Entry, spoiled: bool) -> String {
        let ids = ["web", "worker-1", "01JD0000000000000000000001"];
        let ill = ["..", "%2e%2e%2f", "%00", "%ff", "%zz", "%", "a%0d%0ab", ";", "*", "%C0%AF", "a/b", "\\"];
        let id = if spoiled { self.rng.pick(&ill) } else { self.rng.pick(&ids) };
        entry.path.replace("{id}", id.copied().unwrap_or_default())
    }

    fn query(&mut self, entry: &Entry, spoiled: bool) -> String {
        let ill =
            ["", "-1", "99999999999999999999999", "%zz", "%00", "a%3Db", "0x1", "1e3", "+1", "%F0%9F%92%A5"];
        let mut pairs = Vec::new();
        for (name, schema) in &entry.parameters {
            if !spoiled && self.rng.permille(700) {
                continue;
            }
            let schema = if schema["type"] == "array" { &schema["items"] } else { schema };
            let fits = fitting(&self.document, schema, &mut self.rng).to_string();
            let value = if spoiled {
                self.rng.pick(&ill).copied().unwrap_or_default()
            } else {
                fits.trim_matches('"')
            };
            let again = if spoiled { self.rng.within(1, 3) } else { 1 };
            (0..again).for_each(|_| pairs.push(format!("{name}={value}")));
        }
        if spoiled && self.rng.permille(300) {
            pairs.push("&&colour=red&=".to_owned());
        }
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    fn line(&mut self, method: &str, path: &str, query: &str, spoiled: bool) -> String {
        let whole = format!("{method} {path}{query} HTTP/1.1");
        if !spoiled {
            return whole;
        }
        let long = format!("{method} /{} HTTP/1.1", "a".repeat(self.rng.within(8_000, 20_000) as usize));
        let lines = [
            format!("{} {path} HTTP/1.1", method.to_lowercase()),
            format!("{method}  {path} HTTP/1.1"),
            format!("{method} {path} HTTP/1.1 "),
            format!("{method} {path} HTTP/{}.{}", self.rng.within(0, 4), self.rng.within(0, 4)),
            format!("{method} {path}"),
            format!("{method} http://127.0.0.1{path} HTTP/1.1"),
            format!("PUT {path} HTTP/1.1"),
            format!("HEAD {path} HTTP/1.1"),
            "OPTIONS * HTTP/1.1".to_owned(),
            format!("\u{16}\u{3}\u{1}{path}"),
            format!("{method}\t{path}\tHTTP/1.1"),
            format!("{method} {path}#fragment HTTP/1.1"),
            format!("{method} {path}?{}", hostile_text(&mut self.rng)),
            long,
            String::new(),
        ];
        self.rng.pick(&lines).cloned().unwrap_or(whole)
    }

    fn headers(&mut self, spoiled: bool) -> String {
        let usual = "Content-Type: application/json\r\n";
        if !spoiled {
            return usual.to_owned();
        }
        let number = self.rng.within(0, 40);
        let lines = [
            format!("Content-Length: {number}\r\n"),
            format!("Content-Length: {number}\r\nContent-Length: {}\r\n", number + 1),
            "Content-Length: 99999999999999999999\r\n".to_owned(),
            "Content-Length: -1\r\n".to_owned(),
            format!("Content-Length: {number}, {number}\r\n"),
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {number}\r\n"),
            "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
            "Transfer-Encoding : chunked\r\n".to_owned(),
            "Host: y\r\n".to_owned(),
            "Expect: miracles\r\n".to_owned(),
            "Expect: 100-continue\r\nContent-Length: 5\r\n".to_owned(),
            " folded: yes\r\n".to_owned(),
            "No-Colon\r\n".to_owned(),
            format!("A: {}\r\n", "b".repeat(40_000)),
            "A: b\r\n".repeat(500),
            format!("A: {}\r\n", hostile_text(&mut self.rng)),
            "Connection: host, content-length\r\n".to_owned(),
            "Connection: Upgrade\r\nUpgrade: h2c\r\n".to_owned(),
            format!("Idempotency-Key: {}\r\n", "k".repeat(300)),
            "Last-Event-ID: x\r\n".to_owned(),
            "Content-Type: text/xml\r\n".to_owned(),
            "Range: bytes=0-0,-1\r\n".to_owned(),
            "Authorization: Bearer \r\n".to_owned(),
        ];
        format!("{usual}{}", self.rng.pick(&lines).cloned().unwrap_or_default())
    }

    fn spoil_bytes(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.rng.within(1, 5) {
            let at = self.rng.within(0, bytes.len().max(1) as u64) as usize;
            let byte = self.rng.next().to_le_bytes()[0];
            match self.rng.within(0, 5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
                3 => {
                    let part = bytes[at.min(bytes.len())..].to_vec();
                    bytes.extend(part);
                }
                _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
            }
        }
    }
}

/// Whether this registers a node; then it is one that is on loopback.
fn keep_on_loopback(body: &mut Value) -> bool {
    let registers = body.get("hostname").is_some();
    if registers {
        body["hostname"] = LOOPBACK.into();
    }
    registers
}
