//! The reaper thread: judges what has been silent, or has waited, for too long, and forgets what is old.
//!
//! What it finds is decided by `control`; this file looks at the clock. If the clock jumped further between two looks
//! than the reaper slept, the master itself stood still (it was stopped, or the machine was), and that time is
//! forgiven to every node before anyone is judged.

use std::time::Duration;

use crate::master::state::State;
use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

/// A look comes at least this often, so that silence is noticed within timeout + 1.5 s.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A look that comes this much later than it was meant to was held up by the machine, not by its own work.
const STALL: Duration = Duration::from_secs(1);

/// Body of the thread `reaper`.
pub fn run(state: &State, tick: Duration, stop: &Stop) {
    let settings = state.settings();
    let fraction = settings.node_timeout / 10;
    let pause = tick.min(fraction).clamp(Duration::from_millis(5), LONGEST_PAUSE);
    let mut last = clock::mono();
    while !stop.wait(pause) {
        last = forgive_stall(state, last, pause);
        look(state);
    }
}

fn forgive_stall(state: &State, last: Mono, pause: Duration) -> Mono {
    let now = clock::mono();
    let late = now.since(last).saturating_sub(pause);
    if late > STALL {
        log::warn!("this master stood still seconds={:.1}: no node is blamed for it", late.as_secs_f64());
        state.forgive(late);
    }
    now
}

fn look(state: &State) {
    let now = clock::now();
    for lost in state.judge_silence(now).value {
        let (node, silence, tasks) = (lost.node, lost.silence.as_secs_f64(), lost.tasks.len());
        log::warn!("node offline node={node} silent_s={silence:.1} tasks_lost={tasks}");
        for next in lost.rescheduled {
            log::warn!("task rescheduled task={next} lost_on={node}: its old container may still run there");
        }
    }
    for task in state.expire_waiting(now).value {
        log::info!("task waited too long task={task}");
    }
    let forgotten = state.forget_old(now);
    if forgotten > 0 {
        log::info!("old tasks forgotten count={forgotten}");
    }
}
