//! Query strings: each parameter known, given once, and of its kind, or a problem that names it.

use std::fmt::Display;

use crate::http::{Problem, Request};

/// The parameters of one request. Each is taken by name; what is left over is refused.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits and decodes the query.
    ///
    /// # Errors
    /// A problem: the query isn't percent-encoded soundly.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let pairs =
            request.query_pairs().map_err(|e| Problem::malformed("malformed_query", e.to_string()))?;
        Ok(Self(pairs))
    }

    /// Takes a parameter that may be given once.
    ///
    /// # Errors
    /// A problem that names it: it was given again, or can't be read.
    pub fn take<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let mut given = self.take_all(name, parse)?;
        if given.len() > 1 {
            return Err(
                Problem::invalid("invalid", format!("{name}: given more than once")).with("field", name)
            );
        }
        Ok(given.pop())
    }

    /// Takes a parameter that may be given again.
    ///
    /// # Errors
    /// A problem that names it: it can't be read.
    pub fn take_all<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Problem> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        let read = |(_, value): &(String, String)| {
            parse(value).map_err(|e| Problem::invalid("invalid", format!("{name}: {e}")).with("field", name))
        };
        taken.iter().map(read).collect()
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// A problem that names it.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::invalid("unknown_parameter", format!("{name}: no such parameter"))
                    .with("field", name.as_str()))
            }
        }
    }
}

/// Reads a flag: `true`, `1` or nothing after the name; `false`, `0`.
///
/// # Errors
/// Says that it is neither.
pub fn flag(text: &str) -> Result<bool, String> {
    match text {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}
