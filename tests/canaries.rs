//! Deliberate bugs, each of which the simulation must find within the seeds of one run of the tests.

#![expect(clippy::wildcard_enum_match_arm, reason = "each part of the world names what concerns it")]

#[expect(dead_code, unused_imports, reason = "the other test crates use the rest of it")]
#[path = "support/checker/mod.rs"]
mod checker;
#[path = "simulation/mod.rs"]
mod simulation;

use std::panic::{AssertUnwindSafe, catch_unwind};

use podling::canary::{Canary, let_sing};
use simulation::World;

/// As many as `tests/simulation.rs` runs.
const SEEDS: u64 = 2_000;

/// The first seed that finds a bug, with what breaks there.
fn find(canary: Canary) -> Option<(u64, String)> {
    let_sing(Some(canary));
    let found = (1..=SEEDS).find_map(|seed| {
        let run = || checker::check(&World::new(seed).run());
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(violations) => violations.first().map(|violation| (seed, violation.to_string())),
            Err(_) => Some((seed, "it panics".to_owned())),
        }
    });
    let_sing(None);
    found
}

#[test]
fn every_canary_is_found() {
    // Debug assertions are part of what finds them; what they say is of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    let half = Canary::ALL.len() / 2;
    let threads: Vec<_> = [&Canary::ALL[..half], &Canary::ALL[half..]]
        .map(|canaries| {
            let look = move || canaries.iter().map(|canary| (*canary, find(*canary))).collect::<Vec<_>>();
            std::thread::Builder::new().spawn(look).unwrap()
        })
        .into();
    let found: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    for (canary, found) in &found {
        match found {
            Some((seed, why)) => println!("{canary:?}: seed {seed}: {why}"),
            None => println!("{canary:?}: NOT FOUND in {SEEDS} seeds"),
        }
    }
    let missed: Vec<_> =
        found.iter().filter(|(_, found)| found.is_none()).map(|(canary, _)| canary).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
