//! The checker is checked: histories that break an invariant are flagged, and good ones are not.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[path = "support/checker/mod.rs"]
mod checker;

#[test]
fn an_empty_history_is_good() {
    use checker::history::{History, Terms};
    let cluster = "c0000000000000000000000000".parse().unwrap();
    let terms = Terms { cluster, node_timeout: 3_000, lease: 2_000, healthz: 500, commits_are_timed: true };
    let history = History::new(terms);
    let found = checker::check(&history);
    assert!(found.is_empty(), "{}", checker::report(&history, &found));
}
