//! The checker: reads what a run was recorded as, and says which invariant broke, when, and why.
//!
//! Main function: [`check`]. The invariants are judged in families, one file each, over the same [`Facts`], which are
//! gathered once. `fold` is an oracle of its own: it knows the steps of a task's life a second time, and shares no code
//! with what it judges.
//!
//! Invariant: what a recorder could not know is never held against a run. Deliberately absent: how a run is made, and
//! what is done about a violation; [`report`] only shows it with what went on around it.

pub(crate) mod history;

mod clients;
mod containers;
mod durable;
mod ends;
mod facts;
mod fold;
mod lives;
mod loads;
mod moves;
mod nodes;
mod report;
mod rest;
mod spans;
mod tries;

use std::fmt;

use history::{History, Millis};

pub(crate) use report::report;

/// How far two clocks, or two looks at one moment, may be apart in a recording.
const SLACK: Millis = 25;

/// An invariant that didn't hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// When it was seen not to hold.
    pub(crate) at: Millis,
    /// Which one: `I5`.
    pub(crate) invariant: &'static str,
    /// What happened that must not, with the ids that it is about.
    pub(crate) why: String,
    /// The tasks, containers and nodes that it is about, as words.
    about: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} broke at {} ms: {}", self.invariant, self.at, self.why)
    }
}

/// The violations that were found so far.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, invariant: &'static str, at: Millis, about: &[&dyn fmt::Display], why: String) {
        let about = about.iter().map(ToString::to_string).collect();
        self.0.push(Violation { at, invariant, why, about });
    }
}

/// Every invariant that a history shows to be broken, earliest first.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let facts = facts::Facts::of(history);
    let mut found = Findings::default();
    clients::judge(&facts, &mut found);
    durable::judge(&facts, &mut found);
    loads::judge(&facts, &mut found);
    moves::judge(&facts, &mut found);
    tries::judge(&facts, &mut found);
    containers::judge(&facts, &mut found);
    ends::judge(&facts, &mut found);
    nodes::judge(&facts, &mut found);
    rest::judge(&facts, &mut found);
    found.0.sort();
    found.0.dedup();
    found.0
}
