//! What a shell may complete: commands, flags, their values, and the names of tasks and nodes.
//!
//! ```text
//! TAB ─▶ the shell's script ─▶ podling __complete WORDS… ─▶ one candidate a line
//! ```
//!
//! The scripts (`podling.bash`, `.zsh`, `.fish`) know nothing but how their shell is told: what there is to complete
//! is found here, by the program that will be run. Commands and flags are read from the texts of [`help`], so that
//! there is one list of them; names are asked from the master by [`names`].
//!
//! Invariant: whatever is wrong, nothing is said: a prompt is no place for a message.

mod names;

use std::ffi::OsString;

use crate::cli::args::Words;
use crate::cli::settings::Shared;
use crate::cli::{Console, help};
use crate::model::task::TaskStatus;
use crate::runtime::settings::Environment;

/// The word that asks for candidates. Not for people, so it has no help.
pub(crate) const ASK: &str = "__complete";

/// Instead of candidates: the shell knows its files best.
const FILES: &str = ":files";

/// The script for a shell. None: there is none for it.
pub(crate) fn script(shell: &str) -> Option<&'static str> {
    match shell {
        "bash" => Some(include_str!("podling.bash")),
        "zsh" => Some(include_str!("podling.zsh")),
        "fish" => Some(include_str!("podling.fish")),
        _ => None,
    }
}

/// Writes the candidates for the last of the words, one a line. Blocks for about a second at most.
pub(crate) fn answer(words: &[OsString], environment: Environment, console: &mut Console<'_>) {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let words = joined(&words);
    let ask = |wanted: Wanted, begun: &str| {
        let shared = Shared::take(&mut Words::new(words.iter().map(OsString::from).collect())).ok()?;
        names::ask(shared.resolve(environment).ok()?, wanted, begun)
    };
    for candidate in candidates(&words, |wanted, begun| ask(wanted, begun).unwrap_or_default()) {
        let _ = console.line(&candidate);
    }
    let _ = console.out.flush();
}

/// A flag as the help has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// `-f`, `--follow`.
    pub(crate) spellings: Vec<&'static str>,
    /// What its value is called. None: it has none.
    value: Option<&'static str>,
}

/// What may stand somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A task that lives.
    Living,
    /// A task that ended.
    Ended,
    /// A task.
    Task,
    /// A node.
    Node,
    /// Either.
    TaskOrNode,
}

/// The flags of a command, those of every command included.
pub(crate) fn flags(command: &str) -> Vec<Flag> {
    let texts = help::texts(command).or_else(|| help::texts("help"));
    texts.into_iter().flatten().flat_map(str::lines).filter_map(flag).collect()
}

/// `  -o, --output FORM   what it is for`.
fn flag(line: &'static str) -> Option<Flag> {
    let line = line.strip_prefix("  ").filter(|line| line.starts_with('-'))?;
    let mut spellings = Vec::new();
    for word in line.split("  ").next()?.split_whitespace() {
        match word.strip_suffix(',').unwrap_or(word) {
            spelling if spelling.starts_with('-') => spellings.push(spelling),
            value if value.starts_with('[') => break,
            value => return Some(Flag { spellings, value: Some(value) }),
        }
    }
    Some(Flag { spellings, value: None })
}

/// What the words of a command that are no flags are called, in order.
fn places(command: &str) -> Vec<&'static str> {
    let usage = help::texts(command).and_then(|[text, _]| text.lines().next());
    let words = usage.and_then(|usage| usage.strip_prefix("Usage: podling "));
    let mut words = words.into_iter().flat_map(str::split_whitespace).skip(1);
    let mut places = Vec::new();
    while let Some(word) = words.next() {
        if word.starts_with("[-") {
            // A flag that may be left out, to its bracket.
            let _ = word.ends_with(']') || words.any(|word| word.ends_with(']'));
        } else if word.starts_with('-') {
            words.next();
        } else if word != "[FLAGS]" {
            places.push(word.trim_matches(['[', ']']));
        }
    }
    places
}

/// The candidates for the last of the words of a command line, the program's name not among them.
fn candidates(words: &[String], mut ask: impl FnMut(Wanted, &str) -> Vec<String>) -> Vec<String> {
    let Some((begun, before)) = words.split_last() else { return Vec::new() };
    if before.iter().any(|word| word == "--") {
        return Vec::new();
    }
    let line = Line::read(before);
    let command = line.command.unwrap_or("");
    let known = flags(command);
    if let Some(value) = line.awaits {
        return of_value(value, command, begun, &mut ask);
    }
    if let Some((spelling, begun)) = begun.split_once('=').filter(|_| begun.starts_with("--")) {
        let flag = known.iter().find(|flag| flag.spellings.contains(&spelling));
        let found = flag.and_then(|flag| flag.value);
        let found = found.map(|value| of_value(value, command, begun, &mut ask)).unwrap_or_default();
        return found
            .into_iter()
            .filter(|word| word != FILES)
            .map(|word| format!("{spelling}={word}"))
            .collect();
    }
    if begun.starts_with('-') {
        return that_begin(begun, known.iter().flat_map(|flag| flag.spellings.iter().copied()));
    }
    if line.command.is_none() {
        return that_begin(begun, help::names());
    }
    let places = places(command);
    let place = places.get(line.places).or(places.last().filter(|last| last.ends_with("...")));
    place.map(|place| of_value(place.trim_end_matches("..."), command, begun, &mut ask)).unwrap_or_default()
}

/// The words as they were typed: bash takes `--flag=value` and `http://host` apart at the `=` and the `:`. A flag and
/// its value stay two words.
fn joined(words: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut is_open = false;
    for (at, word) in words.iter().enumerate() {
        let is_last = at + 1 == words.len();
        match (word.as_str(), joined.last_mut()) {
            ("=", Some(flag)) if flag.starts_with("--") && is_last => joined.push(String::new()),
            ("=", Some(flag)) if flag.starts_with("--") => {}
            (":", Some(before)) => {
                before.push(':');
                is_open = true;
            }
            (_, Some(before)) if std::mem::take(&mut is_open) => before.push_str(word),
            (_, _) => joined.push(word.clone()),
        }
    }
    joined
}

/// What stands before the word that is completed.
#[derive(Debug, Default)]
struct Line<'a> {
    command: Option<&'a str>,
    /// How many words of the command that are no flags there are.
    places: usize,
    /// What the value of the last flag is called, where it is still to come.
    awaits: Option<&'static str>,
}

impl<'a> Line<'a> {
    fn read(words: &'a [String]) -> Self {
        let mut line = Self::default();
        for word in words {
            let is_value = line.awaits.take().is_some();
            if is_value {
                continue;
            }
            if word.starts_with('-') {
                let known = flags(line.command.unwrap_or(""));
                let flag = known.into_iter().find(|flag| flag.spellings.contains(&word.as_str()));
                line.awaits = flag.and_then(|flag| flag.value);
            } else if line.command.is_none() {
                line.command = Some(word);
            } else {
                line.places += 1;
            }
        }
        line
    }
}

/// The candidates for something by what the help calls it.
fn of_value(
    called: &str,
    command: &str,
    begun: &str,
    ask: &mut impl FnMut(Wanted, &str) -> Vec<String>,
) -> Vec<String> {
    let task = match command {
        "stop" => Wanted::Living,
        "rm" => Wanted::Ended,
        _ => Wanted::Task,
    };
    match called {
        "FILE" => vec![FILES.to_owned()],
        "COMMAND" => that_begin(begun, help::names()),
        "FORM" => that_begin(begun, ["table", "wide", "json", "name"].into_iter()),
        "STATUS" => that_begin(begun, TaskStatus::ALL.into_iter().map(TaskStatus::as_str)),
        "TASK" => ask(task, begun),
        "NODE" => ask(Wanted::Node, begun),
        "TASK|NODE" => ask(Wanted::TaskOrNode, begun),
        choice if choice.contains('|') => {
            // `on-failure[:N]` is completed as far as it is a word.
            let words = choice.split('|').map(|word| word.split('[').next().unwrap_or(word));
            that_begin(begun, words)
        }
        _ => Vec::new(),
    }
}

fn that_begin<'a>(begun: &str, words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words.filter(|word| word.starts_with(begun)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        candidates(&joined(&words), |wanted, begun| vec![format!("{wanted:?}:{begun}")])
    }

    #[test]
    fn commands_come_first() {
        assert_eq!(found("in"), ["inspect"]);
        assert_eq!(found("--master http://localhost:1 wa"), ["wait"]);
        assert!(found("").contains(&"apply".to_owned()));
        assert_eq!(found("help ru"), ["run"]);
    }

    #[test]
    fn flags_are_those_of_the_help() {
        assert_eq!(found("logs --f"), ["--follow"]);
        assert_eq!(found("run web --pu"), ["--publish", "--pull"]);
        assert!(found("ps -").contains(&"--master".to_owned()));
        assert_eq!(found("ps --nonsense --ma"), ["--master"]);
    }

    #[test]
    fn values_are_what_the_help_calls_them() {
        assert_eq!(found("run web --network n"), ["none", "node"]);
        assert_eq!(found("run web --restart on"), ["on-failure"]);
        assert_eq!(found("run web --network=no"), ["--network=none", "--network=node"]);
        assert_eq!(found("run web --network = b"), ["bridge"], "as bash splits it");
        assert_eq!(found("run web --network ="), ["bridge", "none", "node", "host"], "as bash splits it");
        assert_eq!(found("--master http : //localhost : 1 stop w"), ["Living:w"], "as bash splits it");
        assert_eq!(found("ps -o js"), ["json"]);
        assert_eq!(found("ps --status run"), ["running"]);
        assert_eq!(found("ps --node w"), ["Node:w"]);
        assert_eq!(found("ps --token-file x"), [FILES]);
        assert!(found("run web --image x").is_empty());
    }

    #[test]
    fn words_are_what_the_usage_calls_them() {
        assert_eq!(found("stop we"), ["Living:we"]);
        assert_eq!(found("stop -t 5 web d"), ["Living:d"], "again and again");
        assert_eq!(found("rm "), ["Ended:"]);
        assert_eq!(found("logs "), ["Task:"]);
        assert!(found("logs web ").is_empty(), "one only");
        assert_eq!(found("inspect x"), ["TaskOrNode:x"]);
        assert_eq!(found("nodes "), ["Node:"]);
        assert_eq!(found("apply --dry-run x"), [FILES]);
        assert_eq!(found("completion "), ["bash", "zsh", "fish"]);
        assert!(found("run web --image x -- ").is_empty(), "that is the container's");
        assert!(found("nonsense ").is_empty());
    }

    #[test]
    fn there_is_a_script_for_each_shell_that_the_help_names() {
        for shell in places("completion")[0].split('|') {
            assert!(script(shell).is_some_and(|script| script.contains(ASK)), "{shell}");
        }
    }
}
