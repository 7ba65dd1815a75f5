//! Violations for people: each with what went on around it.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use super::Violation;
use super::history::{Entry, History, Millis, What};

/// So many violations are shown, the earliest.
const MOST_SHOWN: usize = 10;

/// So many entries are shown around each.
const MOST_ENTRIES: usize = 40;

/// Each violation, with the entries about its tasks and nodes that stand nearest to it.
pub(crate) fn report(history: &History, violations: &[Violation]) -> String {
    let shown = &violations[..violations.len().min(MOST_SHOWN)];
    let entries = if shown.is_empty() { Vec::new() } else { history.entries.iter().map(Told::of).collect() };
    let mut text = format!("{} violations in {} entries\n", violations.len(), history.entries.len());
    for violation in shown {
        write!(text, "\n{violation}\n").unwrap_or_default();
        for entry in around(&entries, &words(history, violation), violation.at) {
            writeln!(text, "  {entry}").unwrap_or_default();
        }
    }
    if let Some(more) = violations.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        writeln!(text, "\n… and {more} more").unwrap_or_default();
    }
    text
}

/// An entry, and the words in it.
struct Told<'h> {
    entry: &'h Entry,
    words: HashSet<String>,
}

impl<'h> Told<'h> {
    fn of(entry: &'h Entry) -> Self {
        // Beats and the rest concern everybody, and tell nobody anything here.
        let is_noise =
            matches!(entry.what, What::BeatTaken { .. } | What::BeatAnswered { .. } | What::Rested { .. });
        let text = if is_noise { String::new() } else { format!("{:?}", entry.what) };
        let is_in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let words = text.split(|c: char| !is_in_word(c)).filter(|word| !word.is_empty());
        Self { entry, words: words.map(str::to_owned).collect() }
    }
}

/// The entries that name one of some words, in order, those nearest to a moment.
fn around<'h>(entries: &[Told<'h>], words: &BTreeSet<String>, moment: Millis) -> Vec<&'h Entry> {
    let is_about = |told: &Told<'_>| words.iter().any(|word| told.words.contains(word));
    let named = entries.iter().enumerate().filter(|(_, told)| is_about(told));
    let mut near: Vec<(Millis, usize)> =
        named.map(|(index, told)| (told.entry.at.abs_diff(moment), index)).collect();
    near.sort_unstable();
    near.truncate(MOST_ENTRIES);
    let mut indices: Vec<usize> = near.into_iter().map(|(_, index)| index).collect();
    indices.sort_unstable();
    indices.into_iter().map(|index| entries[index].entry).collect()
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
