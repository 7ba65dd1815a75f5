//! Tables: columns as wide as what they hold, three spaces apart, for eyes and for `awk`.
//!
//! A cell that has nothing to say holds `-`, so that no column is ever empty. The last column isn't padded. Widths
//! are counted in characters. An empty table is its header: a script can tell "nothing there" from "nothing came".

use std::fmt::Write as _;

use crate::cli::render::text;

/// Between two columns.
const GAP: usize = 3;

/// A column that gives way keeps so many characters.
const NARROWEST: usize = 12;

/// What stands in a cell that has nothing to say, so that a line has the same number of words as its header.
pub(crate) const NOTHING: &str = "-";

/// A table that grows by lines.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// With its header.
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { lines: vec![header.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// Shortens one column, but not to nothing, so that the lines are no longer than `most` characters.
    pub(crate) fn fit(&mut self, column: usize, most: usize) {
        let columns = self.lines.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let others: usize =
            (0..columns).filter(|other| *other != column).map(|other| width(other) + GAP).sum();
        let room = most.saturating_sub(others).max(NARROWEST);
        for cell in self.lines.iter_mut().filter_map(|line| line.get_mut(column)) {
            *cell = text::shortened(cell, room);
        }
    }

    /// Adds a line of as many cells as the header has.
    pub(crate) fn push(&mut self, cells: Vec<String>) {
        self.lines.push(shown(cells));
    }

    /// The whole table, each line ended.
    pub(crate) fn finish(self) -> String {
        let mut columns = Columns::default();
        self.lines.iter().for_each(|line| columns.make_room(line));
        self.lines.iter().fold(String::new(), |mut out, line| {
            out.push_str(&columns.line(line));
            out.push('\n');
            out
        })
    }
}

/// Columns of lines that come one by one: they grow with what comes, and never shrink.
#[derive(Debug, Default)]
pub(crate) struct Columns(Vec<usize>);

impl Columns {
    /// As wide as this at least.
    pub(crate) fn of(widths: &[usize]) -> Self {
        Self(widths.to_vec())
    }

    /// Widens them for a line.
    pub(crate) fn make_room(&mut self, cells: &[String]) {
        self.0.resize(self.0.len().max(cells.len()), 0);
        for (width, cell) in self.0.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }

    /// A line, not ended.
    pub(crate) fn line(&self, cells: &[String]) -> String {
        let last = cells.len().saturating_sub(1);
        let mut out = String::new();
        for (column, (cell, width)) in cells.iter().zip(&self.0).enumerate() {
            let padded = if column == last { 0 } else { width + GAP };
            // Writing to a String can't fail.
            let _ = write!(out, "{cell:padded$}");
        }
        out
    }
}

/// Cells as they are shown.
pub(crate) fn shown(cells: Vec<String>) -> Vec<String> {
    let shown = |cell: String| {
        if cell.is_empty() { NOTHING.to_owned() } else { text::visible(&cell).into_owned() }
    };
    cells.into_iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_column_gives_way_where_there_is_little_room() {
        let table = |most| {
            let mut table = Table::new(&["NAME", "STATUS", "AGE"]);
            table.push(
                ["web", "pending: backoff 16s (exit 137, oom, try 4)", "5 m"].map(str::to_owned).to_vec(),
            );
            table.fit(1, most);
            table.finish()
        };
        let whole = "NAME   STATUS                                        AGE\n\
                     web    pending: backoff 16s (exit 137, oom, try 4)   5 m\n";
        assert_eq!((table(56).as_str(), table(500).as_str()), (whole, whole));
        assert_eq!(table(55).lines().nth(1), Some("web    pending: backoff 16s (exit 137, oom, try …   5 m"));
        assert_eq!(table(1).lines().nth(1), Some("web    pending: ba…   5 m"));
    }

    #[test]
    fn columns_are_as_wide_as_what_they_hold() {
        let mut table = Table::new(&["NAME", "STATUS", "AGE"]);
        table.push(vec!["a-long-name".to_owned(), "running".to_owned(), "5 m".to_owned()]);
        table.push(vec!["ä".to_owned(), String::new(), "\n".to_owned()]);
        assert_eq!(
            table.finish(),
            "NAME          STATUS    AGE\n\
             a-long-name   running   5 m\n\
             ä             -         \\n\n"
        );
    }
}
