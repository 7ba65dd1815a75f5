//! The file: TOML, a `[[task]]` for each task, its keys named as people say them.
//!
//! The document is walked by hand, not read into a type, so that whatever is wrong is told with its own line and
//! column, in the words that the command line has for the same field. Nothing is skipped and nothing guessed: a key
//! that nobody knows is an error, and so is a second task of the same name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::api::wire::spec::{MAX_COUNT, TaskRequest};
use crate::cli::args::nearest;
use crate::cli::fields::{self, Clash, checked, numbered};
use crate::model::id::TaskName;
use crate::model::mount::Capability;
use crate::model::resources::{parse_cpu, parse_memory};
use crate::model::spec::{ImageRef, PullPolicy, UserName, WorkDir};
use crate::runtime::toml_text::{FileError, Text, TomlText, in_order};

/// Where in the environment one of several equals finds its number.
const INDEX: &str = "PODLING_INDEX";

/// The keys of a task.
const KEYS: &[&str] = &[
    "name",
    "image",
    "command",
    "env",
    "labels",
    "ports",
    "cpu",
    "memory",
    "network",
    "mounts",
    "capabilities",
    "pull",
    "user",
    "workdir",
    "constraints",
    "restart",
    "on_node_lost",
    "pending_timeout",
    "stop_grace",
    "count",
];

/// One task that the file asks for. Of an entry with a `count` there are as many, each with its number.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// The line of its entry.
    pub(crate) line: usize,
    /// What the master is to be asked for. Without a `count`: the number is in its name and its environment.
    pub(crate) request: TaskRequest,
}

/// Reads a file.
///
/// # Errors
/// Says what is wrong, and where.
pub(crate) fn parse(text: &str) -> Result<Vec<Wish>, FileError> {
    let file = File { text: TomlText::new(text) };
    let root = file.text.parse()?;
    let mut entries = Vec::new();
    for (key, value) in in_order(root.get_ref()) {
        if key.get_ref() != "task" {
            return Err(file.unknown(key, &["task"]));
        }
        let tables = file.text.list(value, "task must be written as [[task]]")?;
        for table in tables {
            entries.push(file.entry(table)?);
        }
    }
    if entries.is_empty() {
        return Err(file.refuse(&(0..0), "there is no [[task]] in it"));
    }
    file.wishes(entries)
}

/// A `[[task]]`, read.
struct Entry {
    request: TaskRequest,
    /// Where its name is.
    name_at: Range<usize>,
}

/// The file, to say where something is in it.
struct File<'t> {
    text: TomlText<'t>,
}

impl File<'_> {
    fn refuse(&self, at: &Range<usize>, why: impl fmt::Display) -> FileError {
        self.text.refuse(at, why)
    }

    fn unknown(&self, key: &Spanned<Text<'_>>, known: &[&str]) -> FileError {
        let guess = nearest(key.get_ref(), known.iter().copied());
        let guess = guess.map_or_else(String::new, |guess| format!(": did you mean {guess}?"));
        self.refuse(&key.span(), format!("unknown key {:?}{guess}", key.get_ref()))
    }

    /// Reads one `[[task]]`.
    fn entry(&self, table: &Spanned<DeValue<'_>>) -> Result<Entry, FileError> {
        let DeValue::Table(pairs) = table.get_ref() else {
            return Err(self.refuse(&table.span(), "task must be written as [[task]]"));
        };
        let mut request = TaskRequest::default();
        let mut spans = HashMap::new();
        for (key, value) in in_order(pairs) {
            self.field(key, value, &mut request)?;
            spans.insert(key.get_ref().to_string(), value.span());
        }
        for key in ["name", "image"] {
            if !spans.contains_key(key) {
                return Err(self.refuse(&table.span(), format!("{key} is missing")));
            }
        }
        if let Some((clash, why)) = fields::contradiction(&request) {
            let key = match clash {
                Clash::Ports => "ports",
                Clash::Count => "count",
            };
            return Err(self.refuse(spans.get(key).unwrap_or(&table.span()), format!("{key}: {why}")));
        }
        if request.count.is_some() && request.env.as_ref().is_some_and(|env| env.contains_key(INDEX)) {
            let why = format!("env: {INDEX} is what count sets");
            return Err(self.refuse(spans.get("env").unwrap_or(&table.span()), why));
        }
        let name_at = spans.remove("name").unwrap_or_else(|| table.span());
        Ok(Entry { request, name_at })
    }

    /// Reads one key of a task into its field.
    fn field(
        &self,
        key: &Spanned<Text<'_>>,
        value: &Spanned<DeValue<'_>>,
        request: &mut TaskRequest,
    ) -> Result<(), FileError> {
        let name = key.get_ref().as_ref();
        let of = Field { file: self, name, value };
        match name {
            "name" => request.name = of.text(checked::<TaskName>)?,
            "image" => request.image = of.text(checked::<ImageRef>)?,
            "command" => request.command = Some(of.texts(|word| Ok::<_, String>(word.to_owned()))?),
            "env" => request.env = Some(of.pairs(fields::env)?),
            "labels" => request.labels = Some(of.pairs(fields::labels)?),
            "ports" => {
                let ports = of.texts(fields::port)?;
                request.ports = Some(of.checked(fields::ports(ports))?).filter(|ports| !ports.is_empty());
            }
            "cpu" => request.cpu_millis = Some(of.text(parse_cpu)?.0),
            "memory" => request.memory_bytes = Some(of.text(parse_memory)?.0),
            "network" => request.network = Some(of.text(fields::network)?),
            "mounts" => {
                let mounts = of.texts(fields::mount)?;
                request.mounts =
                    Some(of.checked(fields::mounts(mounts))?).filter(|mounts| !mounts.is_empty());
            }
            "capabilities" => {
                let names = of.texts(checked::<Capability>)?;
                request.capabilities = Some(names).filter(|names| !names.is_empty());
            }
            "pull" => request.pull = Some(of.text(checked::<PullPolicy>)?),
            "user" => request.user = Some(of.text(checked::<UserName>)?),
            "workdir" => request.workdir = Some(of.text(checked::<WorkDir>)?),
            "constraints" => {
                let wanted = of.pairs(|pairs| fields::constraints(pairs.into_iter().collect()))?;
                request.constraints = (!wanted.is_empty()).then(|| wanted.into_iter().collect());
            }
            "restart" => request.restart = Some(of.text(fields::restart)?),
            "on_node_lost" => request.on_node_lost = Some(of.text(fields::on_node_lost)?),
            "pending_timeout" => request.pending_timeout_ms = Some(of.text(fields::wait_ms)?),
            "stop_grace" => request.stop_grace_ms = Some(of.text(fields::wait_ms)?),
            "count" => request.count = Some(of.count()?),
            _ => return Err(self.unknown(key, KEYS)),
        }
        Ok(())
    }

    /// One wish for each task that the entries ask for. No two may have the same name.
    fn wishes(&self, entries: Vec<Entry>) -> Result<Vec<Wish>, FileError> {
        let mut all = 0_u64;
        for Entry { request, name_at } in &entries {
            all += u64::from(request.count.unwrap_or(1));
            if all > u64::from(MAX_COUNT) {
                return Err(self.refuse(name_at, format!("a file may ask for {MAX_COUNT} tasks at most")));
            }
        }
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut wishes = Vec::new();
        for Entry { request, name_at } in entries {
            let line = self.refuse(&name_at, "").line;
            for request in equals(request) {
                if let Some(other) = lines.insert(request.name.clone(), line) {
                    let why = format!("name: {:?} is also what line {other} makes", request.name);
                    return Err(self.refuse(&name_at, why));
                }
                wishes.push(Wish { line, request });
            }
        }
        Ok(wishes)
    }
}

/// The tasks that an entry asks for: itself, or as many as its count says, each with its number.
fn equals(request: TaskRequest) -> Vec<TaskRequest> {
    let Some(count) = request.count else { return vec![request] };
    let one = |index: u32| {
        let mut env = request.env.clone().unwrap_or_default();
        env.insert(INDEX.to_owned(), index.to_string());
        let name = numbered(&request.name, index);
        TaskRequest { name, env: Some(env), count: None, ..request.clone() }
    };
    (0..count).map(one).collect()
}

/// A key and its value.
struct Field<'a, 't, 'i> {
    file: &'a File<'t>,
    name: &'a str,
    value: &'a Spanned<DeValue<'i>>,
}

impl Field<'_, '_, '_> {
    fn refuse(&self, at: &Spanned<DeValue<'_>>, why: impl fmt::Display) -> FileError {
        self.file.refuse(&at.span(), format!("{}: {why}", self.name))
    }

    fn checked<T>(&self, result: Result<T, String>) -> Result<T, FileError> {
        result.map_err(|why| self.refuse(self.value, why))
    }

    fn text_of<'v>(&self, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, FileError> {
        let kind = value.get_ref().type_str();
        let text = value.get_ref().as_str();
        text.ok_or_else(|| {
            self.refuse(value, format!("must be a text in quotes, not a value of type {kind}"))
        })
    }

    fn text<T, E: fmt::Display>(&self, read: impl Fn(&str) -> Result<T, E>) -> Result<T, FileError> {
        read(self.text_of(self.value)?).map_err(|why| self.refuse(self.value, why))
    }

    fn texts<T, E: fmt::Display>(&self, read: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>, FileError> {
        let list = self.file.text.list(self.value, &format!("{}: must be a list: [\"…\"]", self.name))?;
        let one = |value| read(self.text_of(value)?).map_err(|why| self.refuse(value, why));
        list.iter().map(one).collect()
    }

    /// A table of texts. Each pair is checked by itself, so that the one that is wrong is found.
    fn pairs(
        &self,
        check: impl Fn(BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String>,
    ) -> Result<BTreeMap<String, String>, FileError> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return Err(self.refuse(self.value, "must be a table: { KEY = \"VALUE\" }"));
        };
        let mut pairs = BTreeMap::new();
        for (key, value) in in_order(table) {
            let text = self.text_of(value)?.to_owned();
            let pair = BTreeMap::from([(key.get_ref().to_string(), text)]);
            pairs.extend(
                check(pair).map_err(|why| self.file.refuse(&key.span(), format!("{}: {why}", self.name)))?,
            );
        }
        Ok(pairs)
    }

    fn count(&self) -> Result<u32, FileError> {
        let number = self.value.get_ref().as_integer();
        let number = number.ok_or_else(|| self.refuse(self.value, "must be a number without quotes"))?;
        fields::count(&number.to_string()).map_err(|why| self.refuse(self.value, why))
    }
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
