//! An OpenAPI document as a test reads it, and a server whose answers are held against one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::wire::{Client, Reply};

/// A document.
pub(crate) struct Document {
    pub(crate) value: Value,
    /// The same, its schemas closed: they refuse every field that they don't name.
    closed: Value,
}

impl Document {
    pub(crate) fn of(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap();
        let mut closed = value.clone();
        close(&mut closed["components"]["schemas"]);
        Self { value, closed }
    }

    /// `GET /healthz` to `healthz`: every operation's name by its route.
    pub(crate) fn operations(&self) -> BTreeMap<String, String> {
        let paths = self.value["paths"].as_object().unwrap();
        let entries = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(move |(method, entry)| {
                let name = entry["operationId"].as_str().unwrap().to_owned();
                (format!("{} {path}", method.to_uppercase()), name)
            })
        });
        entries.collect()
    }

    #[track_caller]
    pub(crate) fn operation(&self, method: &str, path: &str) -> &Value {
        let found = &self.value["paths"][path][method.to_lowercase()];
        assert!(found.is_object(), "{method} {path} is not in the document");
        found
    }

    /// Every `$ref` leads to something.
    pub(crate) fn check_references(&self) {
        let mut found = Vec::new();
        references(&self.value, &mut found);
        assert!(found.len() > 50);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(self.value.pointer(pointer).is_some_and(Value::is_object), "{reference} leads nowhere");
        }
        let schemes = self.value["components"]["securitySchemes"].as_object().unwrap();
        for route in self.operations().keys() {
            let (method, path) = route.split_once(' ').unwrap();
            for way in self.operation(method, path)["security"].as_array().unwrap() {
                way.as_object()
                    .unwrap()
                    .keys()
                    .for_each(|name| assert!(schemes.contains_key(name), "{name}"));
            }
        }
    }

    /// Every schema is one.
    pub(crate) fn check_schemas(&self) {
        for (name, schema) in self.value["components"]["schemas"].as_object().unwrap() {
            jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// Every word of a path has its parameter, and every operation an answer that is no refusal.
    pub(crate) fn check_paths(&self) {
        for route in self.operations().keys() {
            let (method, path) = route.split_once(' ').unwrap();
            let operation = self.operation(method, path);
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let words = parameters.filter(|one| one["in"] == "path").count();
            assert_eq!(words, path.matches('{').count(), "{route}");
            let statuses = operation["responses"].as_object().unwrap().keys();
            assert!(statuses.into_iter().any(|status| status.starts_with('2')), "{route}");
        }
    }

    /// Follows one `$ref`. Gives what is there and where that is.
    fn at(&self, pointer: String) -> Option<(&Value, String)> {
        let found = self.closed.pointer(&pointer)?;
        match found["$ref"].as_str() {
            Some(reference) => self.at(reference.trim_start_matches('#').to_owned()),
            None => Some((found, pointer)),
        }
    }

    fn validator(&self, pointer: &str) -> jsonschema::Validator {
        let mut whole = self.closed.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")).clone();
        whole["components"] = self.closed["components"].clone();
        jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap()
    }
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let names_fields = members.contains_key("properties") && members.contains_key("type");
            if names_fields && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// A server, its document, and what was asked of it.
pub(crate) struct Asked<'a> {
    pub(crate) document: &'a Document,
    address: SocketAddr,
    token: RefCell<String>,
    routes: RefCell<BTreeSet<String>>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(address: SocketAddr, document: &'a Document, token: String) -> Self {
        Self { document, address, token: RefCell::new(token), routes: RefCell::default() }
    }

    /// From now on another token is shown. Gives the one before.
    pub(crate) fn shows(&self, token: String) -> String {
        self.token.replace(token)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str, query: &str, status: u16) {
        self.ask("GET", path, query, "", b"", status);
    }

    #[track_caller]
    pub(crate) fn get_of(&self, path: &str, id: &str, query: &str, status: u16) {
        self.send("GET", path, &path.replace("{id}", id), query, "", b"", status);
    }

    #[track_caller]
    pub(crate) fn ask_of(
        &self,
        method: &str,
        path: &str,
        id: &str,
        headers: &str,
        body: &[u8],
        status: u16,
    ) -> Reply {
        self.send(method, path, &path.replace("{id}", id), "", headers, body, status)
    }

    /// Sends a body that fits its schema. Gives the answer's.
    #[track_caller]
    pub(crate) fn fits(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let pointer = format!("/paths/{}/{}/requestBody/content", escaped(path), method.to_lowercase());
        let validator = self.document.validator(&format!("{pointer}/application~1json/schema"));
        validator.validate(body).unwrap_or_else(|error| panic!("{method} {path} takes {body}: {error}"));
        let headers = "Content-Type: application/json\r\n";
        self.ask(method, path, "", headers, body.to_string().as_bytes(), status).json()
    }

    #[track_caller]
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &str,
        body: &[u8],
        status: u16,
    ) -> Reply {
        self.send(method, path, path, query, headers, body, status)
    }

    /// One request, whose answer must be in the document.
    #[track_caller]
    #[expect(clippy::too_many_arguments, reason = "what a request is made of")]
    fn send(
        &self,
        method: &str,
        pattern: &str,
        path: &str,
        query: &str,
        headers: &str,
        body: &[u8],
        status: u16,
    ) -> Reply {
        let mut client = Client::new(TcpStream::connect(self.address).unwrap());
        let token = self.token.borrow();
        let mut head = format!(
            "{method} {path}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}"
        );
        if method == "POST" || !body.is_empty() {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        client.say(format!("{head}\r\n").as_bytes());
        client.say(body);
        let reply = client.reply();
        assert_eq!(reply.status, status, "{method} {path}{query}: {reply:?}");
        self.routes.borrow_mut().insert(format!("{method} {pattern}"));
        self.check(method, pattern, &reply);
        reply
    }

    #[track_caller]
    fn check(&self, method: &str, pattern: &str, reply: &Reply) {
        let (document, status) = (self.document, reply.status);
        let what = format!("{method} {pattern} {status}");
        let pointer = format!("/paths/{}/{}/responses/{status}", escaped(pattern), method.to_lowercase());
        let (answer, pointer) = document.at(pointer).unwrap_or_else(|| panic!("{what} is not documented"));
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let is_missing = header["required"] == true && reply.header(name).is_none();
            assert!(!is_missing, "{what} without {name}: {reply:?}");
        }
        let Some(kind) = reply.header("Content-Type") else {
            assert!(answer["content"].is_null(), "{what} has no body: {reply:?}");
            return;
        };
        let kind = kind.split(';').next().unwrap();
        let media = &answer["content"][kind];
        assert!(media.is_object(), "{what} is {kind}, which is not documented");
        let pointer = format!("{pointer}/content/{}", escaped(kind));
        if kind.ends_with("json") && !kind.ends_with("ndjson") {
            let fits = document.validator(&format!("{pointer}/schema"));
            fits.validate(&reply.json()).unwrap_or_else(|error| panic!("{what}: {error}: {reply:?}"));
        } else if !media["x-podling-parts"].is_null() {
            let fits = document.validator(&format!("{pointer}/x-podling-parts"));
            for part in parts(kind, &reply.body) {
                fits.validate(&part).unwrap_or_else(|error| panic!("{what}: {error}: {part}"));
            }
        }
    }

    #[track_caller]
    pub(crate) fn every_route_was_asked(&self) {
        let all: BTreeSet<String> = self.document.operations().into_keys().collect();
        let asked = self.routes.borrow();
        let left: Vec<_> = all.difference(&asked).collect();
        assert!(left.is_empty(), "not asked: {left:?}");
    }
}

/// The JSON documents of an answer that holds one a line.
fn parts(kind: &str, body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    let prefix = if kind == "text/event-stream" { "data: " } else { "" };
    let lines = text.lines().filter_map(|line| line.strip_prefix(prefix)).filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
}

/// The sources without their tests, and without the list that they are held against.
pub(crate) fn sources() -> String {
    let mut paths = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    let is_said = |path: &&PathBuf| {
        !path.ends_with("tests.rs") && !path.components().any(|c| c.as_os_str() == "openapi")
    };
    let own = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.split("\n#[cfg(test)]\n").next().unwrap_or_default().to_owned()
    };
    paths.iter().filter(is_said).map(own).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The codes with which problems are made: `Problem::conflict("task_lives", …)`, `Problem::new(410, "gone", …)`.
pub(crate) fn codes_said(sources: &str) -> BTreeSet<String> {
    let made = ["Problem::", "Self::new("].into_iter().flat_map(|start| sources.split(start).skip(1));
    made.filter_map(|rest| {
        let arguments = rest
            .split_once('(')
            .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        let arguments = arguments.map_or(rest, |(_, arguments)| arguments).trim_start();
        let code =
            arguments.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',' || c.is_whitespace());
        let code = code.strip_prefix('"')?.split('"').next()?;
        let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_code.then(|| code.to_owned())
    })
    .collect()
}
