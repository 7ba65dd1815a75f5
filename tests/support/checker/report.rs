//! Violations for people: each with what went on around it.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Violation;
use super::history::{Entry, History, Millis, What};

/// So many violations are shown, the earliest.
const MOST_SHOWN: usize = 10;

/// So many entries are shown around each.
const MOST_ENTRIES: usize = 40;

/// Each violation, with the entries about its tasks and nodes that stand nearest to it.
pub(crate) fn report(history: &History, violations: &[Violation]) -> String {
    let mut text = format!("{} violations in {} entries\n", violations.len(), history.entries.len());
    for violation in violations.iter().take(MOST_SHOWN) {
        write!(text, "\n{violation}\n").unwrap_or_default();
        for entry in around(history, violation) {
            writeln!(text, "  {entry}").unwrap_or_default();
        }
    }
    if let Some(more) = violations.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        writeln!(text, "\n… and {more} more").unwrap_or_default();
    }
    text
}

/// The entries that concern what a violation is about, in order, those nearest to it.
fn around<'h>(history: &'h History, violation: &Violation) -> Vec<&'h Entry> {
    let words = words(history, violation);
    let mut near: Vec<(Millis, usize)> = (0..)
        .zip(&history.entries)
        .filter(|(_, entry)| concerns(&entry.what, &words))
        .map(|(index, entry)| (entry.at.abs_diff(violation.at), index))
        .collect();
    near.sort_unstable();
    near.truncate(MOST_ENTRIES);
    let mut indices: Vec<usize> = near.into_iter().map(|(_, index)| index).collect();
    indices.sort_unstable();
    indices.into_iter().filter_map(|index| history.entries.get(index)).collect()
}

/// What a violation is about, with the containers and calls of its tasks.
fn words(history: &History, violation: &Violation) -> BTreeSet<String> {
    let mut words: BTreeSet<String> = violation.about.iter().cloned().collect();
    for entry in &history.entries {
        if let What::Made { container, key, .. } = &entry.what
            && words.contains(key.task.as_str())
        {
            words.insert(container.to_string());
        }
    }
    words
}

/// Whether an entry names one of some words. Beats concern everybody, and tell nobody anything here.
fn concerns(what: &What, words: &BTreeSet<String>) -> bool {
    if matches!(what, What::BeatTaken { .. } | What::BeatAnswered { .. } | What::Rested { .. }) {
        return false;
    }
    let text = format!("{what:?}");
    let is_in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.split(|c: char| !is_in_word(c)).any(|word| words.contains(word))
}
