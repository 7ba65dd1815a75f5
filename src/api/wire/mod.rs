//! The JSON documents of the API, one type each.
//!
//! A request becomes model types by `TryFrom`, once, and a mistake in it becomes a [`Mistake`] that names the
//! field. Requests refuse unknown fields and `null`; replies may grow fields, so clients ignore what they don't
//! know. Absent means absent: no reply holds a `null` or an empty string for "none".

pub mod agent;
pub mod event;
pub mod image;
pub mod log;
pub mod node;
pub mod spec;
pub mod stats;
mod strict;
pub mod task;
mod time;
pub mod why;

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

pub use time::{format_time, parse_time};

/// What is wrong with a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What kind of mistake.
    pub kind: MistakeKind,
    /// The field, as a path (`ports[0].host`); empty where it is the whole document.
    pub field: String,
    /// In words: a fragment that follows the field's name.
    pub why: String,
}

/// Kinds of mistakes, each with its HTTP status and problem code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MistakeKind {
    /// Not JSON: 400 `malformed`.
    Malformed,
    /// JSON, but not what is expected there: 422 `invalid`.
    Invalid,
    /// Right, but not built: 422 `not_supported`.
    NotSupported,
    /// Right, but not allowed: 403 `policy`.
    Policy,
}

impl Mistake {
    /// A value that can't be accepted.
    pub fn invalid(field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { kind: MistakeKind::Invalid, field: field.into(), why: why.to_string() }
    }

    /// A field, or a value of it, that isn't built.
    pub fn not_supported(field: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { kind: MistakeKind::NotSupported, field: field.into(), why: why.to_string() }
    }

    /// The same mistake inside something larger.
    #[must_use]
    pub fn inside(mut self, outer: &str) -> Self {
        self.field = if self.field.is_empty() { outer.to_owned() } else { format!("{outer}.{}", self.field) };
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.why) } else { write!(f, "{}: {}", self.field, self.why) }
    }
}

impl std::error::Error for Mistake {}

/// Reads a request's body, naming the field that is wrong.
///
/// # Errors
/// [`MistakeKind::Malformed`] where it isn't JSON, [`MistakeKind::Invalid`] where it is but doesn't fit.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Mistake> {
    read_borrowed(body)
}

/// As [`read`], for a value that points into the body.
///
/// # Errors
/// As [`read`].
pub fn read_borrowed<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Mistake> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(strict::Strict(&mut json)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let kind = match inner.classify() {
            serde_json::error::Category::Data => MistakeKind::Invalid,
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => MistakeKind::Malformed,
        };
        let field = if path == "." { String::new() } else { path };
        Mistake { kind, field, why: inner.to_string() }
    })?;
    json.end().map_err(|error| Mistake {
        kind: MistakeKind::Malformed,
        field: String::new(),
        why: error.to_string(),
    })?;
    Ok(value)
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins (`?after=`); absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// For optional fields of requests: absent is fine, `null` is not.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A length of time as the wire writes it.
pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
