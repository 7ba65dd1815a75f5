//! The reaper thread: judges what has been silent, or has waited, for too long, and forgets what is old.
//!
//! What it finds is decided by `control`; this file looks at the clock. If the clock jumped further between two looks
//! than the reaper slept, the master itself stood still (it was stopped, or the machine was): that time is forgiven to
//! every node, and nobody is judged before the next look, so that the beats that wait are read first.
//! While the store fails nobody is judged; after that, the scheduler has one look ahead of this thread, so that what
//! could be placed all along isn't failed for having waited.
//!
//! Order: one reading of the clock serves both, the search for a stall and the judgement. A stop that comes after the
//! reading makes it too old, which blames nobody.

use std::time::Duration;

use crate::canary::{Canary, sings};
use crate::master::state::{Lost, State};
use crate::model::time::{Mono, Now};
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

/// A look comes at least this often, so that silence is noticed within timeout + 1.5 s.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A look that comes this much later than it was meant to was held up by the machine, not by its own work; where nodes
/// are given up soon, a tenth of their timeout is enough.
const STALL: Duration = Duration::from_secs(1);

/// Body of the thread `reaper`.
pub fn run(state: &State, tick: Duration, stop: &Stop) {
    let mut reaper = Reaper::new(state.settings().node_timeout, tick, clock::mono());
    while !stop.wait(reaper.pause()) {
        reaper.look(state, clock::now()).into_iter().for_each(tell);
    }
}

/// What one look has to know of the one before.
pub struct Reaper {
    pause: Duration,
    most_late: Duration,
    last: Mono,
    was_failing: bool,
}

impl Reaper {
    /// Of a master that begins `now`.
    pub fn new(node_timeout: Duration, tick: Duration, now: Mono) -> Self {
        let fraction = node_timeout / 10;
        let pause = tick.min(fraction).clamp(Duration::from_millis(5), LONGEST_PAUSE);
        Self { pause, most_late: STALL.min(fraction), last: now, was_failing: false }
    }

    /// How long after a look the next one is due.
    pub const fn pause(&self) -> Duration {
        self.pause
    }

    /// One look. Gives the nodes that it judged.
    pub fn look(&mut self, state: &State, now: Now) -> Vec<Lost> {
        let is_failing = state.journal().is_failing();
        let is_steady = !is_failing && !self.was_failing;
        let stall = stall(self.last, now.mono, self.pause, self.most_late);
        let lost = match stall.filter(|_| !sings(Canary::BlamesForItsSleep)) {
            Some(stall) => {
                log::warn!("this master stood still seconds={:.1}: no node is blamed", stall.as_secs_f64());
                state.forgive(stall, now);
                Vec::new()
            }
            None if is_steady => state.judge_silence(now).value,
            None => Vec::new(),
        };
        if is_steady {
            tidy(state, now);
        }
        (self.last, self.was_failing) = (now.mono, is_failing);
        lost
    }
}

/// How long the machine held this thread up between two looks. None: not for longer than may be.
fn stall(last: Mono, now: Mono, pause: Duration, most: Duration) -> Option<Duration> {
    let late = now.since(last).saturating_sub(pause);
    (late > most).then_some(late)
}

fn tidy(state: &State, now: Now) {
    for task in state.expire_waiting(now).value {
        log::info!("task waited too long task={task}");
    }
    let forgotten = state.forget_old(now);
    if forgotten > 0 {
        log::info!("old tasks forgotten count={forgotten}");
    }
    let forgotten = state.forget_expired_tokens(now);
    if forgotten > 0 {
        log::info!("expired tokens forgotten count={forgotten}");
    }
}

fn tell(lost: Lost) {
    let (node, silence, tasks) = (lost.node, lost.silence.as_secs_f64(), lost.tasks.len());
    if lost.is_held {
        log::error!(
            "node offline node={node} silent_s={silence:.1}: so are all, and no task is judged for now"
        );
        return;
    }
    log::warn!("node offline node={node} silent_s={silence:.1} tasks_lost={tasks}");
    for next in lost.rescheduled {
        log::warn!("task rescheduled task={next} lost_on={node}: its old container may still run there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_comes_late_is_a_stall() {
        let at = |millis| Mono::from_boot(Duration::from_millis(millis));
        let (pause, most) = (Duration::from_millis(500), Duration::from_secs(1));
        assert_eq!(stall(at(1000), at(2500), pause, most), None);
        assert_eq!(stall(at(1000), at(2501), pause, most), Some(Duration::from_millis(1001)));
        assert_eq!(stall(at(1000), at(61_500), pause, most), Some(Duration::from_secs(60)));
    }
}
