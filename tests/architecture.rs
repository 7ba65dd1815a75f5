//! Holds the sources against the picture in `docs/ARCHITECTURE.md`: who may import whom, how long a file and a
//! function may be, that every file says what it is for, and which file alone may name what.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom. A module may always name itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("canary", &[]),
    ("api", &["model"]),
    ("control", &["canary", "model"]),
    ("runtime", &["model"]),
    ("engine", &["runtime", "model"]),
    ("store", &["runtime", "model"]),
    ("pki", &["runtime", "model"]),
    ("http", &["pki", "runtime", "model"]),
    ("rest", &["api", "http", "model"]),
    ("cli", &["api", "http", "pki", "runtime", "model"]),
    ("master", &["canary", "control", "store", "rest", "http", "pki", "api", "runtime", "model"]),
    ("worker", &["canary", "control", "engine", "rest", "http", "pki", "api", "runtime", "model"]),
];

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 60;
const LONGEST_BIN: usize = 80;

struct Source {
    /// Relative to the crate's folder.
    path: String,
    /// Without the tests at its end.
    lines: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    rust_files(&root().join(folder), &mut paths);
    paths.sort();
    let is_test = |path: &PathBuf| path.file_name().is_some_and(|name| name == "tests.rs");
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let own = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        let path = path.strip_prefix(root()).unwrap().display().to_string();
        Source { path, lines: own.lines().map(str::to_owned).collect() }
    };
    paths.iter().filter(|path| !is_test(path)).map(read).collect()
}

/// The top-level modules that a line of code names by `crate::…`.
fn named_modules(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let after = code.match_indices("crate::").map(|(at, found)| &code[at + found.len()..]);
    after
        .map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default())
        .collect()
}

fn module_of(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap_or(path);
    inner.split(['/', '.']).next().unwrap_or_default()
}

#[test]
fn imports_follow_the_picture() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| source.path != "src/lib.rs") {
        let module = module_of(&source.path);
        let allowed = allowed.get(module).unwrap_or_else(|| panic!("{module} has no row in the picture"));
        for (number, line) in source.lines.iter().enumerate() {
            for named in named_modules(line) {
                if named != module && !allowed.contains(&named) {
                    wrong.push(format!("{}:{}: {module} may not name {named}", source.path, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_can_be_read_at_one_look() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().chain(&sources("bin")) {
        let most = if source.path.starts_with("bin/") { LONGEST_BIN } else { LONGEST_FILE };
        if source.lines.len() > most {
            wrong.push(format!("{} has {} lines, {most} at most", source.path, source.lines.len()));
        }
        for (name, length) in functions(&source.lines) {
            if length > LONGEST_FUNCTION {
                wrong.push(format!("{}: {name} has {length} lines", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The functions of a file that rustfmt has laid out: each ends with a brace at the indentation that it began at.
fn functions(lines: &[String]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_function = ["fn ", "pub fn ", "pub(", "const fn ", "pub const fn "]
            .iter()
            .any(|word| code.starts_with(word) && code.contains("fn "));
        if !is_function || code.ends_with(';') {
            continue;
        }
        let indent = " ".repeat(line.len() - code.len());
        let end = lines[start..].iter().position(|line| *line == format!("{indent}}}"));
        if let Some(length) = end {
            found.push((code.split('(').next().unwrap_or_default().to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("bin"))
        .filter(|source| !source.lines.first().is_some_and(|line| line.starts_with("//!")))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "without a header: {silent:?}");
}

/// Some things have one home: what names them elsewhere has gone around it.
#[test]
fn what_has_one_home_is_named_there_alone() {
    let homes = [
        ("dockworker::", "src/engine/"),
        ("tokio::", "src/engine/"),
        ("tiny_http::", "src/http/"),
        ("httparse::", "src/http/"),
        ("ureq::", "src/http/client.rs src/http/client/ src/engine/"),
        ("redb::", "src/store/"),
        ("rcgen::", "src/pki/"),
        ("x509_parser::", "src/pki/"),
        ("rustls::", "src/http/"),
        ("pico_args::", "src/runtime/settings.rs src/cli/"),
        ("toml::", "src/cli/apply/ src/runtime/policy_file.rs src/runtime/toml_text.rs"),
        ("Instant::now", "src/runtime/clock.rs"),
        ("SystemTime::now", "src/runtime/clock.rs"),
        ("thread::Builder", "src/runtime/supervise.rs"),
    ];
    let mut wrong = Vec::new();
    for source in sources("src").iter().chain(&sources("bin")) {
        for (number, line) in source.lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (name, home) in homes {
                let is_home = home.split(' ').any(|home| source.path.starts_with(home));
                if code.contains(name) && !is_home {
                    wrong.push(format!("{}:{}: {name} belongs in {home}", source.path, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What decides on a worker takes values and gives values, so that it can be run in one thread with a clock by hand.
#[test]
fn what_decides_on_a_worker_names_nothing_that_acts() {
    const PURE: &[&str] = &[
        "src/worker/hold.rs",
        "src/worker/lease/book.rs",
        "src/worker/membership.rs",
        "src/worker/meter.rs",
        "src/worker/offer.rs",
        "src/worker/reporter/pending.rs",
        "src/worker/step.rs",
        "src/worker/translate.rs",
        "src/worker/walk",
    ];
    const ACTS: &[&str] = &[
        "runtime::",
        "clock",
        "thread",
        "channel",
        "Sender",
        "Mutex",
        "RwLock",
        "Atomic",
        "fs::",
        "log::",
        "http::Client",
    ];
    let mut wrong = Vec::new();
    let pure = |path: &str| PURE.iter().any(|start| path.starts_with(start));
    let sources: Vec<Source> = sources("src").into_iter().filter(|source| pure(&source.path)).collect();
    assert!(sources.len() >= PURE.len() + 4, "a file has moved: {}", sources.len());
    for source in &sources {
        for (number, line) in source.lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in ACTS.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", source.path, number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_finder_of_functions_finds_them() {
    let lines: Vec<String> =
        "pub fn a(\n) {\n    x\n}\n\n    fn b() {\n        y\n    }".lines().map(str::to_owned).collect();
    assert_eq!(functions(&lines), [("pub fn a".to_owned(), 4), ("fn b".to_owned(), 3)]);
}
