//! Why a command was not obeyed, as one line for a person and one code for a program.
//!
//! A [`CliError`] is the only error that a command returns; [`crate::cli::run`] says it, once. What the master
//! answered is shown in the master's own words, without status or code: they are for programs. Where a name stands
//! for several tasks, the candidates are listed below.

use std::fmt;
use std::io;

use crate::cli::exit;
use crate::http::{ClientError, Problem};
use crate::runtime::settings::{EXIT_USAGE, SettingsError};

/// Why a command was not obeyed.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The command line or the environment is wrong.
    Usage(SettingsError),
    /// The master (or a worker) can't be reached, or said no.
    Call {
        /// `master` or `worker`.
        server: &'static str,
        /// Its address.
        base: String,
        /// What came of it.
        error: ClientError,
    },
    /// Something else, already in words.
    Failed(String),
    /// Stdout can't be written to.
    Output(io::Error),
}

impl CliError {
    /// What the process exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Call { .. } | Self::Failed(_) => exit::FAILED,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::READER_GONE,
            Self::Output(_) => exit::FAILED,
        }
    }

    /// Whether asking the same again may succeed.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Call { error, .. } => error.is_retryable(),
            Self::Usage(_) | Self::Failed(_) | Self::Output(_) => false,
        }
    }

    /// The code of the problem that was answered, if one was.
    pub(crate) fn problem_code(&self) -> Option<&str> {
        match self {
            Self::Call { error, .. } => error.problem().map(|problem| problem.code.as_ref()),
            Self::Usage(_) | Self::Failed(_) | Self::Output(_) => None,
        }
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Failed(text) => f.write_str(text),
            Self::Output(error) => write!(f, "the output can't be written: {error}"),
            Self::Call { server, base, error } => fmt_call(server, base, error, f),
        }
    }
}

fn fmt_call(server: &str, base: &str, error: &ClientError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        ClientError::Unreachable(why) => {
            write!(f, "no {server} answers at {base} ({why}): is podling-{server} running?")
        }
        ClientError::Untrusted(why) => write!(f, "who answers at {base} is not trusted: {why}"),
        ClientError::TimedOut(why) => write!(f, "the {server} at {base} gave no answer in time ({why})"),
        ClientError::Lost(why) => write!(f, "the connection to the {server} at {base} broke ({why})"),
        ClientError::Malformed(why) => {
            write!(f, "the {server} at {base} gave an answer that makes no sense ({why})")
        }
        ClientError::BadAddress(why) => f.write_str(why),
        ClientError::Refused(problem) => f.write_str(&in_words(problem, server)),
    }
}

/// What somebody can do whose token isn't enough, or who has none.
fn advice(problem: &Problem, server: &str) -> Option<String> {
    match (problem.status, problem.code.as_ref()) {
        (401, _) if server != "master" => None,
        (401, _) => Some(
            "name a file that holds a good one with --token-file; the master keeps the administrator's in its data \
             folder, as admin.token"
                .to_owned(),
        ),
        (403, "scope") => {
            let needed = problem.extra.get("needs").and_then(|needed| needed.as_str())?;
            Some(format!("an administrator makes one with: podling token create --scope {needed}"))
        }
        _ => None,
    }
}

/// The problem's detail, and what can be done about it; where one of several is to be chosen, with the choice below it,
/// one a line.
fn in_words(problem: &Problem, server: &str) -> String {
    match advice(problem, server) {
        Some(advice) if problem.code == "no_token" => format!("this master asks for a token: {advice}"),
        Some(advice) => format!("{}: {advice}", problem.detail),
        None => in_its_words(problem),
    }
}

fn in_its_words(problem: &Problem) -> String {
    let text = [problem.detail.as_str(), &problem.title].into_iter().find(|text| !text.is_empty());
    let text = text.map_or_else(|| format!("refused with status {}", problem.status), str::to_owned);
    let candidates = problem.extra.get("candidates").and_then(|list| list.as_array());
    let names: Vec<&str> = candidates.into_iter().flatten().filter_map(|name| name.as_str()).collect();
    // The master's text ends with the same list.
    let listed = format!(": {}", names.join(", "));
    let text = if names.is_empty() { &text } else { text.strip_suffix(&listed).unwrap_or(&text) };
    names.iter().fold(text.to_owned(), |lines, name| format!("{lines}\n  {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(error: ClientError) -> CliError {
        CliError::Call { server: "master", base: "http://127.0.0.1:8080".to_owned(), error }
    }

    #[test]
    fn the_masters_words_are_shown() {
        let refused = |problem: Problem| call(ClientError::Refused(Box::new(problem)));
        let lives = refused(Problem::conflict("task_lives", "web is running: stop it first"));
        assert_eq!(lives.to_string(), "web is running: stop it first");
        assert_eq!((lives.exit_code(), lives.problem_code()), (1, Some("task_lives")));
        assert_eq!(refused(Problem::new(400, "x", "Title", "")).to_string(), "Title");
        assert_eq!(refused(Problem::new(400, "x", "", "")).to_string(), "refused with status 400");
    }

    #[test]
    fn who_is_not_let_in_is_told_what_to_do() {
        let told = |status, code: &'static str, detail: &str| {
            let problem = Problem::new(status, code, "", detail).with("needs", "operate");
            call(ClientError::Refused(Box::new(problem))).to_string()
        };
        let without = told(401, "no_token", "x");
        assert!(without.starts_with("this master asks for a token: name a file"), "{without}");
        assert!(told(401, "token_expired", "it has expired").starts_with("it has expired: name a file"));
        let small = told(403, "scope", "this needs more");
        assert_eq!(
            small,
            "this needs more: an administrator makes one with: podling token create --scope operate"
        );
        assert_eq!(told(403, "policy", "no"), "no");
        assert!(![without, small].iter().any(|line| line.contains('\n')));
    }

    #[test]
    fn candidates_are_listed_one_a_line() {
        let ambiguous = |detail: &str| {
            let problem = Problem::conflict("ambiguous", detail).with("candidates", vec!["01A", "01B"]);
            call(ClientError::Refused(Box::new(problem))).to_string()
        };
        let lines = "\"web\" names several tasks\n  01A\n  01B";
        assert_eq!(ambiguous("\"web\" names several tasks"), lines);
        assert_eq!(ambiguous("\"web\" names several tasks: 01A, 01B"), lines);
    }

    #[test]
    fn a_master_that_is_not_there_is_asked_after() {
        let error = call(ClientError::Unreachable("io: Connection refused".to_owned()));
        assert_eq!(
            error.to_string(),
            "no master answers at http://127.0.0.1:8080 (io: Connection refused): is podling-master running?"
        );
        assert!(error.is_retryable());
    }
}
