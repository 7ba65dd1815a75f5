//! The checker is checked: histories that break an invariant are flagged, and good ones are not.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an edit is about one kind of entry and leaves all others"
)]

#[path = "checker/allowed.rs"]
mod allowed;
#[path = "checker/broken.rs"]
mod broken;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/checker/mod.rs"]
mod checker;
#[path = "checker/edits.rs"]
mod edits;
#[path = "checker/good.rs"]
mod good;
#[path = "checker/operator.rs"]
mod operator;
#[path = "checker/placing.rs"]
mod placing;
#[path = "checker/story.rs"]
mod story;
#[path = "checker/users.rs"]
mod users;
#[path = "checker/workers.rs"]
mod workers;
#[path = "checker/world.rs"]
mod world;

use std::collections::BTreeMap;

use checker::history::{Because, Entry, History, What};
use checker::{check, report};
use good::{BUSY, Dice, good};

/// What happens in the good histories: each judgement has had something to judge.
const REACHED: &[&str] = &[
    "a container ended by itself",
    "a full store refused",
    "a lease ended a container",
    "a lease ended a container, and the master heard of it",
    "a kept place was given back",
    "a lost node came back",
    "a move ended a container",
    "a moved task runs elsewhere",
    "a node was cut off",
    "a node was drained",
    "a place was kept",
    "a read",
    "a read of what is gone",
    "a removal",
    "a second try found it",
    "a second try made it",
    "a stop",
    "a stray was ended",
    "a task that fits waited for a moment",
    "a task waited too long",
    "a task was lost",
    "a task was moved",
    "a task was rescheduled",
    "a task was stopped before it ran",
    "a task was tried again",
    "a user's stop ended a container",
    "a worker was killed",
    "a worker was paused",
    "an Engine took a container with it",
    "an Engine was killed",
    "an answer to a beat was lost",
    "an answer was lost, and its creation was not",
    "an attempt was refused",
    "an end was told",
    "attempts overlapped, for nobody could end the first",
    "leased",
    "nobody answered, and nothing was made",
    "nonsense was refused",
    "not leased",
    "the answer to a removal was lost",
    "the answer to a stop was lost",
    "the master was killed",
    "the master was paused",
    "the store failed",
];

const SEEDS: std::ops::Range<u64> = 0..100;

#[test]
fn a_hundred_good_histories_are_good() {
    let mut reached: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in SEEDS {
        let (history, noted) = good(seed, BUSY);
        let found = check(&history);
        assert!(found.is_empty(), "seed {seed}: {}", report(&history, &found));
        for (what, count) in noted {
            *reached.entry(what).or_default() += count;
        }
    }
    for what in REACHED {
        assert!(reached.get(what).is_some_and(|count| *count >= 5), "{what}: {reached:#?}");
    }
}

/// Whether a history without some entries is still good.
#[track_caller]
fn check_without(seed: u64, history: &History, mut is_gone: impl FnMut(&Entry) -> bool) {
    let mut less = history.clone();
    less.entries.retain(|entry| !is_gone(entry));
    let found = check(&less);
    assert!(found.is_empty(), "seed {seed}: {}", report(&less, &found));
}

#[test]
fn an_answer_that_never_came_makes_no_history_bad() {
    let is_answer = |entry: &Entry| matches!(entry.what, What::Answered { .. });
    for seed in 0..3 {
        let (history, _) = good(seed, BUSY);
        for dropped in 0..history.entries.iter().filter(|entry| is_answer(entry)).count() {
            let mut seen = 0;
            check_without(seed, &history, |entry| {
                seen += usize::from(is_answer(entry));
                is_answer(entry) && seen == dropped + 1
            });
        }
    }
    for seed in SEEDS {
        let (history, _) = good(seed, BUSY);
        let mut dice = Dice(seed);
        check_without(seed, &history, |entry| is_answer(entry) && dice.one_in(2));
    }
}

/// What a recorder can't see is not held against the run. Requests, faults and ends of processes are not among it: they
/// explain what happened.
#[test]
fn what_was_never_recorded_makes_no_history_bad() {
    let kinds = [
        "Answered",
        "Saw",
        "Missed",
        "MasterBegan",
        "Restored",
        "Committed",
        "BeatTaken",
        "Unplaced",
        "WorkerBegan",
        "BeatAnswered",
        "HasImage",
        "Made",
        "Started",
        "Ended",
        "Removed",
        "Probed",
        "Rested",
    ];
    for seed in 0..20 {
        let (history, _) = good(seed, BUSY);
        for kind in kinds {
            check_without(seed, &history, |entry| format!("{:?}", entry.what).starts_with(kind));
        }
    }
}

/// Histories that can't be: entries are lost, doubled and out of order, and times are anything.
#[test]
fn no_history_is_too_odd() {
    for seed in SEEDS.take(40) {
        let (mut history, _) = good(seed, BUSY / 4);
        let mut dice = Dice(seed);
        for _ in 0..300 {
            let count = history.entries.len() as u64;
            let (one, other) = (dice.below(count) as usize, dice.below(count) as usize);
            match dice.below(4) {
                0 => history.entries.swap(one, other),
                1 => drop(history.entries.remove(one)),
                2 => history.entries.insert(other, history.entries[one].clone()),
                _ => history.entries[one].at = if dice.one_in(3) { u64::MAX } else { dice.below(30_000) },
            }
        }
        let found = check(&history);
        assert!(!found.is_empty(), "seed {seed}: nothing is odd about it");
        assert!(!report(&history, &found).is_empty());
    }
}

#[test]
fn a_long_history_is_judged_too() {
    let (history, _) = good(7, 900_000);
    assert!(history.entries.len() > 30_000, "it has {} entries", history.entries.len());
    let found = check(&history);
    assert!(found.is_empty(), "{}", report(&history, &found));
}

#[test]
fn a_report_shows_what_went_on_around_a_violation_and_no_more() {
    let mut told = story::story();
    let container = told.container("steady", 1);
    let ended = What::Ended { container, exit_code: 143, oom: false, because: Because::Signal };
    told.put(11_800, ended);
    let found = check(&told.history);
    let text = report(&told.history, &found);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("1 violations in {} entries", told.history.entries.len()));
    assert!(lines[2].starts_with("I6 broke at 11800 ms: container c"), "{text}");
    for part in ["Answered", "Made", "Started", "Ended", "Saw"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {text}");
    }
    assert!(lines.len() <= 43 && !text.contains("BeatTaken"), "{text}");
}
