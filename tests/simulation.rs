//! Two thousand clusters with every fault that can be simulated, on virtual time: no invariant breaks, and after the
//! faults everything comes to rest. A failure says its seed, which replays exactly:
//! `scripts/simulate --seeds 1 --from SEED`.

#![expect(clippy::wildcard_enum_match_arm, reason = "each part of the world names what concerns it")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/checker/mod.rs"]
mod checker;
#[path = "simulation/mod.rs"]
mod simulation;

use std::collections::{BTreeMap, HashMap};

use checker::history::{Answer, History, What};
use podling::control::change::Change;
use simulation::World;

/// The cores that CI has.
const THREADS: u64 = 2;

/// How many broken seeds are told in full.
const MOST_SHOWN: usize = 3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Counts what a run went through.
fn tally(history: &History, counts: &mut BTreeMap<String, u64>) {
    let mut count = |word: String| *counts.entry(word).or_default() += 1;
    for entry in &history.entries {
        match &entry.what {
            What::Broke { fault, .. } => count(format!("fault {fault:?}")),
            What::Made { .. } => count("containers made".to_owned()),
            What::Started { .. } => count("containers started".to_owned()),
            What::Ended { because, .. } => count(format!("containers ended by {because:?}")),
            What::Answered { answer: Answer::Created(ids), .. } => {
                ids.iter().for_each(|_| count("tasks acknowledged".to_owned()));
            }
            What::MasterBegan { .. } => count("starts of the master".to_owned()),
            What::WorkerBegan { .. } => count("starts of workers".to_owned()),
            What::Committed { change: Change::Advanced { step, .. }, .. } => {
                let text = format!("{step:?}");
                count(format!("step {}", text.split([' ', '(']).next().unwrap_or_default()));
            }
            _ => {}
        }
    }
    *counts.entry("entries".to_owned()).or_default() += history.entries.len() as u64;
}

/// What became of some seeds.
#[derive(Default)]
struct Outcome {
    counts: BTreeMap<String, u64>,
    /// With what is to be said of them.
    broken: Vec<(u64, String)>,
}

/// Every seed of `from..end` that leaves `of` the remainder `part`.
fn run(from: u64, end: u64, part: u64, of: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in (from..end).filter(|seed| seed % of == part) {
        let history = World::new(seed).run();
        tally(&history, &mut outcome.counts);
        let violations = checker::check(&history);
        if !violations.is_empty() {
            outcome.broken.push((seed, checker::report(&history, &violations)));
        }
    }
    outcome
}

#[test]
fn no_seed_breaks_an_invariant() {
    let (from, count) = (number("PODLING_SEED_FROM", 1), number("PODLING_SEEDS", 2_000));
    let threads: Vec<_> = (0..THREADS)
        .map(|part| {
            std::thread::Builder::new().spawn(move || run(from, from + count, part, THREADS)).unwrap()
        })
        .collect();
    let mut all = Outcome::default();
    for thread in threads {
        let outcome = thread.join().unwrap();
        all.broken.extend(outcome.broken);
        for (what, count) in outcome.counts {
            *all.counts.entry(what).or_default() += count;
        }
    }
    println!("{count} seeds from {from} on");
    all.counts.iter().for_each(|(what, count)| println!("{count:>9}  {what}"));
    all.broken.sort();
    for (seed, report) in all.broken.iter().take(MOST_SHOWN) {
        println!("seed {seed} (again: scripts/simulate --seeds 1 --from {seed}):\n{report}");
    }
    let broken: Vec<u64> = all.broken.iter().map(|(seed, _)| *seed).collect();
    assert!(broken.is_empty(), "{} of {count} seeds broke something: {broken:?}", broken.len());
}

/// Ids come from a generator of their own, which no seed rules: they are numbered in the order in which they appear.
fn without_ids(history: &History) -> String {
    let text: String = history.entries.iter().map(|entry| format!("{entry}\n")).collect();
    let (mut known, mut out) = (HashMap::new(), String::new());
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if bare.len() == 26 && bare.starts_with("01") {
            let next = known.len();
            let number = *known.entry(bare.to_owned()).or_insert(next);
            out.push_str(&format!("id-{number}{}", &word[bare.len()..]));
        } else {
            out.push_str(word);
        }
    }
    out
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 170, 858] {
        let [first, second] = [0, 1].map(|_| without_ids(&World::new(seed).run()));
        assert!(first == second, "seed {seed} ran two ways");
    }
}
