//! The scheduler thread: places what waits, as soon as there may be room or a back-off is over, and at the latest each
//! tick.
//!
//! It decides nothing itself: `control::schedule` makes the plan, [`State::schedule`] applies it. A placement is
//! handed to the dispatcher once it is durable, never before.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{after, select};

use crate::master::dispatch::Dispatcher;
use crate::master::journal::Fate;
use crate::master::state::{Placed, State};
use crate::model::time::{Mono, Now};
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

/// Body of the thread `scheduler`.
pub fn run(state: &State, dispatcher: &Arc<Dispatcher>, tick: Duration, stop: &Stop) {
    while !stop.requested() {
        while look(state, clock::now(), pushing_to(dispatcher)) && !stop.requested() {}
        select! {
            recv(state.work()) -> _ => {}
            recv(after(pause(state, tick, clock::mono()))) -> _ => {}
            recv(stop.channel_ref()) -> _ => {}
        }
    }
}

/// How long nobody looks, unless woken: until the next tick, or the next end of a back-off.
fn pause(state: &State, tick: Duration, now: Mono) -> Duration {
    state.next_release().map_or(tick, |due| due.since(now).min(tick))
}

fn pushing_to(dispatcher: &Arc<Dispatcher>) -> impl FnOnce(Vec<Placed>) + Send + 'static {
    let dispatcher = Arc::clone(dispatcher);
    move |placed| placed.into_iter().for_each(|one| dispatcher.assign(one))
}

/// One look. `assign` gets the placements once they are durable. True: there may be more to place right away.
pub fn look(state: &State, now: Now, assign: impl FnOnce(Vec<Placed>) + Send + 'static) -> bool {
    let (placed, more) = state.schedule(now);
    for one in &placed.value {
        let node = one.task.placement().map_or("-", |on| on.node.as_str());
        log::info!("task placed task={} attempt={} node={node}", one.task.id, one.task.attempt);
    }
    if !placed.value.is_empty() {
        state.journal().when_settled(placed.at, move |fate| match fate {
            Fate::Durable => assign(placed.value),
            // They wait for a place again.
            Fate::Withdrawn => {}
        });
    }
    more
}
