//! The words of a command line, taken out one flag at a time.
//!
//! [`Words`] is `pico-args` with what people expect on top: `--flag=value` beside `--flag value`, a short and a
//! long spelling of one flag, `--` that ends the flags, and a line that names the flag that is wrong. Every flag
//! that a command knows is asked for by name; [`Words::rest`] then refuses what nobody asked for, and guesses what
//! was meant.
//!
//! Order: a command takes its flags with a value before its switches, so that a value is never taken for a switch.

use std::ffi::OsString;
use std::fmt;

use pico_args::{Arguments, Error};

use crate::runtime::settings::SettingsError;

/// A flag's spellings: `["-f", "--follow"]`, or a long one alone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flag {
    /// `--all`.
    Long(&'static str),
    /// `-f`, `--follow`.
    Both(&'static str, &'static str),
}

impl Flag {
    const fn keys(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Long(long) => (long, None),
            Self::Both(short, long) => (short, Some(long)),
        }
    }

    /// The spelling that messages use: the one of the manual.
    pub(crate) const fn name(self) -> &'static str {
        self.keys().0
    }
}

impl From<Flag> for pico_args::Keys {
    fn from(flag: Flag) -> Self {
        match flag.keys() {
            (first, None) => first.into(),
            (first, Some(second)) => [first, second].into(),
        }
    }
}

/// A command line, split at `--`.
#[derive(Debug)]
pub(crate) struct Words {
    flags: Arguments,
    /// What stands after `--`, untouched. None: there is no `--`.
    after: Option<Vec<OsString>>,
    command: Option<String>,
    known: Vec<&'static str>,
}

impl Words {
    /// Of a command line without the program's name.
    pub(crate) fn new(mut words: Vec<OsString>) -> Self {
        let after = words.iter().position(|word| word == "--").map(|at| {
            let after = words.split_off(at + 1);
            words.pop();
            after
        });
        let words = words.into_iter().flat_map(split_at_equals).collect();
        Self { flags: Arguments::from_vec(words), after, command: None, known: Vec::new() }
    }

    /// Takes the first word that is left, which names the command. The flags of every command were taken before.
    ///
    /// # Errors
    /// It is a flag that nobody knows, or isn't UTF-8.
    pub(crate) fn take_command(&mut self) -> Result<Option<String>, SettingsError> {
        let words = std::mem::replace(&mut self.flags, Arguments::from_vec(Vec::new())).finish();
        let first = words.first().cloned();
        if let Some(flag) = first.as_ref().filter(|word| is_flag(word)) {
            return Err(self.unknown(&flag.to_string_lossy()));
        }
        self.flags = Arguments::from_vec(words.into_iter().skip(1).collect());
        self.command = first.map(utf8).transpose()?;
        Ok(self.command.clone())
    }

    /// The command that was taken.
    pub(crate) fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }

    /// Whether a flag without a value is there.
    pub(crate) fn switch(&mut self, flag: Flag) -> bool {
        self.know(flag);
        let mut is_there = false;
        while self.flags.contains(flag) {
            is_there = true;
        }
        is_there
    }

    /// The value of a flag that may be given once.
    ///
    /// # Errors
    /// Names the flag: it has no value, two, or one that `parse` refuses.
    pub(crate) fn value<T, E: fmt::Display>(
        &mut self,
        flag: Flag,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingsError> {
        let mut given = self.values(flag, parse)?;
        if given.len() > 1 {
            return Err(SettingsError::of(flag.name(), "given more than once"));
        }
        Ok(given.pop())
    }

    /// Every value of a flag that may be given again.
    ///
    /// # Errors
    /// As [`Words::value`].
    pub(crate) fn values<T, E: fmt::Display>(
        &mut self,
        flag: Flag,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, SettingsError> {
        self.know(flag);
        let texts: Vec<String> = self.flags.values_from_str(flag).map_err(|error| taken(flag, &error))?;
        texts.iter().map(|text| parse(text).map_err(|error| SettingsError::of(flag.name(), error))).collect()
    }

    /// What stands after `--`, if there is one.
    ///
    /// # Errors
    /// It isn't UTF-8.
    pub(crate) fn after(&mut self) -> Result<Option<Vec<String>>, SettingsError> {
        self.after.take().map(|words| words.into_iter().map(utf8).collect()).transpose()
    }

    /// The words that are no flags, those after `--` included. Call it when every flag has been taken.
    ///
    /// # Errors
    /// A flag is left, which nobody asked for.
    pub(crate) fn rest(&mut self) -> Result<Vec<String>, SettingsError> {
        let left = std::mem::replace(&mut self.flags, Arguments::from_vec(Vec::new())).finish();
        if let Some(flag) = left.iter().find(|word| is_flag(word)) {
            return Err(self.unknown(&flag.to_string_lossy()));
        }
        let after = self.after.take().unwrap_or_default();
        left.into_iter().chain(after).map(utf8).collect()
    }

    /// The one word that a command is about.
    ///
    /// # Errors
    /// As [`Words::rest`]; or there is none, or more than one.
    pub(crate) fn one(&mut self, what: &str) -> Result<String, SettingsError> {
        let mut rest = self.rest()?.into_iter();
        let one = rest.next().ok_or_else(|| SettingsError::new(format!("{what} is missing")))?;
        rest.next().map_or(Ok(one), |more| Err(unexpected(&more)))
    }

    /// One word or more.
    ///
    /// # Errors
    /// As [`Words::rest`]; or there is none.
    pub(crate) fn some(&mut self, what: &str) -> Result<Vec<String>, SettingsError> {
        let rest = self.rest()?;
        if rest.is_empty() { Err(SettingsError::new(format!("{what} is missing"))) } else { Ok(rest) }
    }

    /// At most one word.
    ///
    /// # Errors
    /// As [`Words::rest`]; or there is more than one.
    pub(crate) fn at_most_one(&mut self) -> Result<Option<String>, SettingsError> {
        let mut rest = self.rest()?.into_iter();
        let one = rest.next();
        rest.next().map_or(Ok(one), |more| Err(unexpected(&more)))
    }

    /// The spellings of all flags that were asked for so far.
    #[cfg(test)]
    pub(crate) fn known(&self) -> &[&'static str] {
        &self.known
    }

    fn know(&mut self, flag: Flag) {
        let (first, second) = flag.keys();
        self.known.push(first);
        self.known.extend(second);
    }

    fn unknown(&self, flag: &str) -> SettingsError {
        let guess = nearest(flag, self.known.iter().copied());
        let guess = guess.map_or_else(String::new, |guess| format!(": did you mean {guess}?"));
        SettingsError::new(format!("unknown flag {flag}{guess}"))
    }
}

fn unexpected(word: &str) -> SettingsError {
    SettingsError::new(format!("unexpected argument {word:?}"))
}

fn is_flag(word: &OsString) -> bool {
    word != "-" && word.as_encoded_bytes().starts_with(b"-")
}

fn utf8(word: OsString) -> Result<String, SettingsError> {
    word.into_string().map_err(|word| SettingsError::new(format!("{word:?} is not UTF-8")))
}

/// `--flag=value` as two words; any other word as it is.
fn split_at_equals(word: OsString) -> Vec<OsString> {
    match word.to_str().filter(|text| text.starts_with("--")).and_then(|text| text.split_once('=')) {
        Some((flag, value)) => vec![flag.into(), value.into()],
        None => vec![word],
    }
}

fn taken(flag: Flag, error: &Error) -> SettingsError {
    match error {
        Error::OptionWithoutAValue(spelled) => SettingsError::of(spelled, "needs a value"),
        Error::NonUtf8Argument => SettingsError::of(flag.name(), "its value is not UTF-8"),
        Error::MissingArgument
        | Error::MissingOption(_)
        | Error::Utf8ArgumentParsingFailed { .. }
        | Error::ArgumentParsingFailed { .. } => SettingsError::of(flag.name(), error),
    }
}

/// The known word that a mistyped one is closest to, where it is close enough to be meant: a letter or two wrong in
/// a long word, one in a short word; or the only one that begins so.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.collect();
    let letters = |word: &str| word.trim_start_matches('-').chars().count();
    let is_close = |typos: usize, known: &str| typos <= if letters(known) > 3 { 2 } else { 1 };
    let close = known.iter().filter(|known| letters(known) > 1).map(|known| (distance(word, known), *known));
    let close = close.filter(|(typos, known)| is_close(*typos, known)).min().map(|(_, known)| known);
    close.or_else(|| {
        let mut longer = known.iter().filter(|known| letters(word) > 1 && known.starts_with(word));
        longer.next().copied().filter(|_| longer.next().is_none())
    })
}

/// How many letters must be put in, left out, changed, or swapped with the next one, to get from one word to the
/// other (Damerau and Levenshtein, each place touched once).
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let is_swapped = i > 0 && j > 0 && from[i - 1] == *b && *a == to[j - 1];
            let swapped = if is_swapped { rows[i - 1][j - 1] + 1 } else { usize::MAX };
            row.push(changed.min(row[j] + 1).min(rows[i][j + 1] + 1).min(swapped));
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLLOW: Flag = Flag::Both("-f", "--follow");
    const TAIL: Flag = Flag::Long("--tail");

    fn words(line: &str) -> Words {
        Words::new(line.split_whitespace().map(OsString::from).collect())
    }

    fn number(text: &str) -> Result<u64, String> {
        text.parse().map_err(|_| format!("{text:?} is not a number"))
    }

    #[test]
    fn both_spellings_are_one_flag() {
        for line in ["-f x", "x --follow", "-f --follow x"] {
            let mut words = words(line);
            assert!(words.switch(FOLLOW), "{line}");
            assert_eq!(words.rest(), Ok(vec!["x".to_owned()]), "{line}");
        }
    }

    #[test]
    fn values_are_taken_with_and_without_an_equals_sign() {
        assert_eq!(words("--tail 5").value(TAIL, number), Ok(Some(5)));
        assert_eq!(words("--tail=5").value(TAIL, number), Ok(Some(5)));
        let text = |line: &str| words(line).value(TAIL, |text| Ok::<_, String>(text.to_owned()));
        assert_eq!(text("--tail=a=b"), Ok(Some("a=b".to_owned())));
        assert_eq!(text("--tail="), Ok(Some(String::new())));
    }

    #[test]
    fn what_stands_after_two_dashes_is_untouched() {
        let mut words = words("x -- -f --tail=3 -- y");
        assert!(!words.switch(FOLLOW));
        let after = ["-f", "--tail=3", "--", "y"].map(str::to_owned).to_vec();
        assert_eq!(words.after(), Ok(Some(after)));
        assert_eq!(words.rest(), Ok(vec!["x".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |line: &str| {
            let mut words = words(line);
            let tail = words.value(TAIL, number);
            let _ = words.switch(FOLLOW);
            tail.and_then(|_| words.one("TASK")).map_err(|error| error.to_string()).expect_err(line)
        };
        assert_eq!(refused("--tail"), "--tail: needs a value");
        assert_eq!(refused("--tail x"), "--tail: \"x\" is not a number");
        assert_eq!(refused("--tail 1 --tail 2"), "--tail: given more than once");
        assert_eq!(refused("t --folow"), "unknown flag --folow: did you mean --follow?");
        assert_eq!(refused("t --colour"), "unknown flag --colour");
        assert_eq!(refused("-x"), "unknown flag -x");
        assert_eq!(refused(""), "TASK is missing");
        assert_eq!(refused("a b"), "unexpected argument \"b\"");
    }

    #[test]
    fn words_are_as_far_apart_as_letters_differ() {
        for (from, to, far) in
            [("", "", 0), ("run", "run", 0), ("rnu", "run", 1), ("log", "logs", 1), ("ab", "ba", 1)]
        {
            assert_eq!(distance(from, to), far, "{from} {to}");
        }
        assert_eq!(nearest("inspct", ["inspect", "logs"].into_iter()), Some("inspect"));
        assert_eq!(nearest("x", ["inspect", "logs"].into_iter()), None);
        assert_eq!(nearest("pss", ["ps", "run"].into_iter()), Some("ps"));
        assert_eq!(nearest("go", ["ps", "rm"].into_iter()), None);
        assert_eq!(nearest("comp", ["completion", "ps"].into_iter()), Some("completion"));
        assert_eq!(nearest("--pending", ["--pending-timeout", "-p"].into_iter()), Some("--pending-timeout"));
        assert_eq!(nearest("--co", ["--count", "--constraint"].into_iter()), None);
    }
}
