//! Further tries (I21): each waits for its back-off. That the restart policy gives one at all is `fold`'s to know.
//!
//! Judged only where the moments at which changes became durable are known.

use std::time::Duration;

use super::Findings;
use super::facts::Facts;
use super::history::{Fault, Millis};

/// The wait before the first further try, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a change may take to become durable: its moment is late by that.
const DURABLE_WITHIN: Millis = 400;

/// What makes it late by more.
const LATE: [Fault; 2] = [Fault::Paused, Fault::Disk];

pub(super) fn judge(facts: &Facts<'_>, found: &mut Findings) {
    if !facts.history.terms.commits_are_timed {
        return;
    }
    for (task, line) in &facts.fold.tasks {
        for (failed, next) in line.attempts.iter().zip(line.attempts.iter().skip(1)) {
            let (Some(streak), Some(over), Some((node, placed))) = (failed.streak, failed.over, next.placed)
            else {
                continue;
            };
            let (least, waited) = (least(streak), placed.at.saturating_sub(over.at));
            let is_late =
                facts.faults.touch(&LATE, "master", over.at.saturating_sub(DURABLE_WITHIN), placed.at);
            if waited.saturating_add(DURABLE_WITHIN) < least && !is_late {
                let why = format!(
                    "task {task} was placed on {node} {waited} ms after its {streak}. failure in a row, and has to wait {least} ms"
                );
                found.add("I21", placed.at, &[task, node], why);
            }
        }
    }
}

/// The shortest wait after so many failures in a row: the doubled one, shortened by a fifth.
fn least(streak: u32) -> Millis {
    let doubled = WAITS.0.saturating_mul(1 << streak.saturating_sub(1).min(10)).min(WAITS.1);
    u64::try_from(doubled.as_millis()).unwrap_or(Millis::MAX) * 4 / 5
}
