//! A file that people write, in TOML: read by hand, so that whatever is wrong has its own line and column.
//!
//! Main type: [`TomlText`]. Who reads a file walks its document with this and says what is wrong with a value by
//! where it stands. Nothing is skipped and nothing guessed.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A text in the document.
pub type Text<'i> = Cow<'i, str>;

/// What is wrong with a file, and where. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Which line.
    pub line: usize,
    /// Which character of it.
    pub column: usize,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for FileError {
    /// `12:3: why`, to follow the file's name and a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.why)
    }
}

impl std::error::Error for FileError {}

/// The text of a file, to say where something is in it.
#[derive(Clone, Copy, Debug)]
pub struct TomlText<'t> {
    text: &'t str,
}

impl<'t> TomlText<'t> {
    /// Over this text.
    pub const fn new(text: &'t str) -> Self {
        Self { text }
    }

    /// The document.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn parse(&self) -> Result<Spanned<DeTable<'t>>, FileError> {
        DeTable::parse(self.text).map_err(|error| {
            let why = error.message().trim().replace('\n', ", ");
            self.refuse(&error.span().unwrap_or(0..0), why)
        })
    }

    /// What is wrong with what stands there.
    pub fn refuse(&self, at: &Range<usize>, why: impl fmt::Display) -> FileError {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        FileError { line, column: before[line_start..].chars().count() + 1, why: why.to_string() }
    }

    /// A value that is a list.
    ///
    /// # Errors
    /// It is none: then this is said of it.
    pub fn list<'a, 'i>(
        &self,
        value: &'a Spanned<DeValue<'i>>,
        must_be: &str,
    ) -> Result<&'a [Spanned<DeValue<'i>>], FileError> {
        let list = value.get_ref().as_array().map(|list| &list[..]);
        list.ok_or_else(|| self.refuse(&value.span(), must_be))
    }
}

/// The keys and values of a table, as they stand in the file.
pub fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Spanned<Text<'i>>, &'a Spanned<DeValue<'i>>)> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    pairs
}
