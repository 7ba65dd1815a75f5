//! Flags and their environment variables, read once at the start.
//!
//! Each flag `--node-timeout-ms` has the variable `PODLING_NODE_TIMEOUT_MS`; the flag wins. [`Flags::finish`]
//! refuses whatever nobody asked for, because `pico-args` hands unknown arguments back instead of refusing them.
//! A refused value is one line that names the flag: `main` prints it and exits 2 before anything is started.

use std::ffi::OsString;
use std::fmt;

use pico_args::Arguments;

/// The exit code for a command line or an environment that can't be obeyed.
pub const EXIT_USAGE: u8 = 2;

/// What is wrong with the command line or the environment: one line, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl SettingsError {
    /// An error about something that isn't one flag's value.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An error about the value of one flag.
    pub fn of(flag: &str, why: impl fmt::Display) -> Self {
        Self(format!("{flag}: {why}"))
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}

/// Looks up an environment variable. A value instead of a call, so that tests can bring their own.
pub type Environment = fn(&str) -> Option<String>;

/// The process's own environment. A variable that isn't UTF-8 counts as one with replacement characters, which
/// no flag accepts, so it is refused by name.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The arguments of a server, taken out one flag at a time.
pub struct Flags {
    arguments: Arguments,
    environment: Environment,
}

impl Flags {
    /// Over the given arguments (without the program's name) and environment.
    pub fn new(arguments: Vec<OsString>, environment: Environment) -> Self {
        Self { arguments: Arguments::from_vec(arguments), environment }
    }

    /// Takes the leading word that isn't a flag, such as `backup`.
    ///
    /// # Errors
    /// The word isn't UTF-8.
    pub fn subcommand(&mut self) -> Result<Option<String>, SettingsError> {
        self.arguments.subcommand().map_err(|e| SettingsError::new(e.to_string()))
    }

    /// Whether a flag without a value is there, or its variable says `1` or `true`.
    ///
    /// # Errors
    /// The variable says something else than 1, true, 0, false or nothing.
    pub fn switch(&mut self, flag: &'static str) -> Result<bool, SettingsError> {
        if self.arguments.contains(flag) {
            return Ok(true);
        }
        let name = variable(flag);
        match (self.environment)(&name).as_deref() {
            None | Some("" | "0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(SettingsError::of(&name, format!("{other:?} is neither true nor false"))),
        }
    }

    /// The value of a flag, else of its variable, else nothing. Given twice, it is refused.
    ///
    /// # Errors
    /// Whatever `parse` says, with the flag's or the variable's name before it; or a flag without a value.
    pub fn value<T, E: fmt::Display>(
        &mut self,
        flag: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingsError> {
        let mut given = self.values(flag, parse)?;
        if given.len() > 1 {
            return Err(SettingsError::of(flag, "given more than once"));
        }
        Ok(given.pop())
    }

    /// Every value of a flag that may be given again. A variable holds one value.
    ///
    /// # Errors
    /// As [`Flags::value`].
    pub fn values<T, E: fmt::Display>(
        &mut self,
        flag: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, SettingsError> {
        let texts: Vec<String> =
            self.arguments.values_from_str(flag).map_err(|e| SettingsError::of(flag, e))?;
        if !texts.is_empty() {
            return texts.iter().map(|text| parse(text).map_err(|e| SettingsError::of(flag, e))).collect();
        }
        let name = variable(flag);
        match (self.environment)(&name) {
            None => Ok(Vec::new()),
            Some(text) => Ok(vec![parse(&text).map_err(|e| SettingsError::of(&name, e))?]),
        }
    }

    /// The next argument that isn't a flag, once all flags have been taken.
    ///
    /// # Errors
    /// It isn't UTF-8.
    pub fn positional(&mut self) -> Result<Option<String>, SettingsError> {
        self.arguments.opt_free_from_str().map_err(|e: pico_args::Error| SettingsError::new(e.to_string()))
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// Names the first argument that is left.
    pub fn finish(self) -> Result<(), SettingsError> {
        match self.arguments.finish().first() {
            None => Ok(()),
            Some(rest) if rest.to_string_lossy().starts_with('-') => {
                Err(SettingsError::new(format!("unknown flag {}", rest.to_string_lossy())))
            }
            Some(rest) => {
                Err(SettingsError::new(format!("unexpected argument {:?}", rest.to_string_lossy())))
            }
        }
    }
}

/// The environment variable that stands for a flag.
fn variable(flag: &str) -> String {
    let name = flag.trim_start_matches('-').replace('-', "_").to_ascii_uppercase();
    format!("PODLING_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str], environment: Environment) -> Flags {
        Flags::new(words.iter().map(OsString::from).collect(), environment)
    }

    fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
        text.parse()
    }

    #[test]
    fn a_flag_wins_over_its_variable() {
        let environment: Environment = |name| (name == "PODLING_TICK_MS").then(|| "7".to_owned());
        assert_eq!(flags(&["--tick-ms", "5"], environment).value("--tick-ms", number), Ok(Some(5)));
        assert_eq!(flags(&[], environment).value("--tick-ms", number), Ok(Some(7)));
        assert_eq!(flags(&[], |_| None).value("--tick-ms", number), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let say = |error: SettingsError| error.to_string();
        let refused = flags(&["--tick-ms", "soon"], |_| None).value("--tick-ms", number).map_err(say);
        assert_eq!(refused, Err("--tick-ms: invalid digit found in string".to_owned()));
        let twice = flags(&["--tick-ms", "1", "--tick-ms", "2"], |_| None).value("--tick-ms", number);
        assert_eq!(twice.map_err(say), Err("--tick-ms: given more than once".to_owned()));
        assert_eq!(flags(&["--tock"], |_| None).finish().map_err(say), Err("unknown flag --tock".to_owned()));
        let bad: Environment = |name| (name == "PODLING_INSECURE").then(|| "maybe".to_owned());
        let switched = flags(&[], bad).switch("--insecure").map_err(say);
        assert_eq!(switched, Err("PODLING_INSECURE: \"maybe\" is neither true nor false".to_owned()));
    }
}
