//! The scheduler thread: places what waits, as soon as there may be room, and at the latest each tick.
//!
//! It decides nothing itself: `control::schedule` makes the plan, [`State::schedule`] applies it. A placement is
//! handed to the dispatcher once it is durable, never before.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{after, select};

use crate::master::dispatch::Dispatcher;
use crate::master::journal::Fate;
use crate::master::state::State;
use crate::runtime::clock;
use crate::runtime::supervise::Stop;

/// Body of the thread `scheduler`.
pub fn run(state: &State, dispatcher: &Arc<Dispatcher>, tick: Duration, stop: &Stop) {
    while !stop.requested() {
        while place_once(state, dispatcher) && !stop.requested() {}
        select! {
            recv(state.work()) -> _ => {}
            recv(after(tick)) -> _ => {}
            recv(stop.channel_ref()) -> _ => {}
        }
    }
}

/// One look. True: there may be more to place right away.
fn place_once(state: &State, dispatcher: &Arc<Dispatcher>) -> bool {
    let (placed, more) = state.schedule(clock::now());
    for one in &placed.value {
        let node = one.task.placement().map_or("-", |on| on.node.as_str());
        log::info!("task placed task={} attempt={} node={node}", one.task.id, one.task.attempt);
    }
    if !placed.value.is_empty() {
        let dispatcher = Arc::clone(dispatcher);
        state.journal().when_settled(placed.at, move |fate| match fate {
            Fate::Durable => placed.value.into_iter().for_each(|one| dispatcher.assign(one)),
            // They wait for a place again.
            Fate::Withdrawn => {}
        });
    }
    more
}
