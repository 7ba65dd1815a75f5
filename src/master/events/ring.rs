//! The last events that are durable, in the order of the journal: a ring that forgets the oldest.
//!
//! Main type: [`Ring`], which says what follows an id. Values in, values out: who waits for news is `events.rs`'s
//! business, and what isn't durable yet is `incoming.rs`'s.
//!
//! Invariant: ids grow from front to back, and each is above `floor`, below which nothing is known.

use std::collections::VecDeque;
use std::sync::Arc;

use super::incoming::Settled;
use crate::api::wire::event::{Event, EventId, Gap};

/// What follows an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// These, oldest first.
    Events(Vec<Arc<Event>>),
    /// What comes next isn't known any more.
    Gap(Gap),
    /// Nothing so far.
    Nothing,
}

/// The events that are kept.
#[derive(Debug)]
pub(super) struct Ring {
    most: usize,
    events: VecDeque<Arc<Event>>,
    /// The last event before the first one that is kept; at first the last change before this start of the master.
    floor: EventId,
}

impl Ring {
    /// Of `most` events at most, for what happens after `floor`.
    pub(super) const fn new(floor: EventId, most: usize) -> Self {
        Self { most, events: VecDeque::new(), floor }
    }

    /// Takes up what is durable now.
    pub(super) fn take_up(&mut self, settled: Settled) {
        if let Some(missing) = settled.missing {
            self.events.clear();
            self.floor = missing;
        }
        for event in settled.events {
            if self.events.len() >= self.most
                && let Some(oldest) = self.events.pop_front()
            {
                self.floor = oldest.id;
            }
            self.events.push_back(event);
        }
    }

    /// The last event there is, or what would be before it.
    pub(super) fn newest(&self) -> EventId {
        self.events.back().map_or(self.floor, |event| event.id)
    }

    /// Before the first event that is kept.
    pub(super) const fn floor(&self) -> EventId {
        self.floor
    }

    /// What follows `id`, `most` events at most.
    pub(super) fn after(&self, id: EventId, most: usize) -> Next {
        if id < self.floor {
            return Next::Gap(Gap::between(id, self.floor));
        }
        let from = self.events.partition_point(|event| event.id <= id);
        let found: Vec<Arc<Event>> = self.events.range(from..).take(most).cloned().collect();
        if found.is_empty() { Next::Nothing } else { Next::Events(found) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::events::incoming::sample::{event, id};

    /// A ring of `most` that took up positions 1 to `last`, with one event each.
    fn ring(most: usize, last: u64) -> Ring {
        let mut ring = Ring::new(id(0, 0), most);
        (1..=last).for_each(|at| take_up(&mut ring, &[id(at, 0)]));
        ring
    }

    fn take_up(ring: &mut Ring, ids: &[EventId]) {
        ring.take_up(Settled { missing: None, events: ids.iter().map(|id| event(*id)).collect() });
    }

    /// All that a follower is told after an id, a few at a time: ids, and `Err` for gaps.
    fn told(ring: &Ring, mut after: EventId) -> Vec<Result<EventId, EventId>> {
        let mut told = Vec::new();
        while told.len() < 100 {
            match ring.after(after, 2) {
                Next::Nothing => return told,
                Next::Gap(gap) => told.push(Err(gap.id)),
                Next::Events(events) => told.extend(events.iter().map(|event| Ok(event.id))),
            }
            after = told.last().unwrap().unwrap_or_else(|id| id);
        }
        panic!("it has no end: {told:?}");
    }

    #[test]
    fn a_follower_goes_on_where_it_was() {
        let ring = ring(10, 5);
        assert_eq!(told(&ring, id(0, 0)), [1, 2, 3, 4, 5].map(|at| Ok(id(at, 0))));
        assert_eq!(told(&ring, id(3, 0)), [4, 5].map(|at| Ok(id(at, 0))));
        // Not every change makes an event: what lies between two of them is a place to go on from too.
        assert_eq!(told(&ring, id(3, 9)), [4, 5].map(|at| Ok(id(at, 0))));
        assert_eq!(told(&ring, id(5, 0)), []);
        assert_eq!(ring.newest(), id(5, 0));
    }

    #[test]
    fn who_is_behind_is_told_that_something_is_missing() {
        let ring = ring(3, 10);
        let all = [Err(id(7, 0)), Ok(id(8, 0)), Ok(id(9, 0)), Ok(id(10, 0))];
        assert_eq!(told(&ring, id(0, 0)), all);
        assert_eq!(told(&ring, id(6, 5)), all);
        assert_eq!(told(&ring, id(7, 0)), all[1..]);
        let Next::Gap(gap) = ring.after(id(2, 0), 9) else { panic!("no gap") };
        assert_eq!((gap.after, gap.id), (id(2, 0), id(7, 0)));
    }

    #[test]
    fn the_events_of_one_change_are_gone_through_one_by_one() {
        let mut ring = ring(10, 1);
        take_up(&mut ring, &[id(2, 0), id(2, 1), id(2, 2), id(3, 0)]);
        assert_eq!(told(&ring, id(2, 1)), [Ok(id(2, 2)), Ok(id(3, 0))]);
    }

    #[test]
    fn what_was_lost_on_the_way_is_a_gap() {
        let mut ring = ring(10, 5);
        ring.take_up(Settled { missing: Some(id(7, 3)), events: vec![event(id(7, 4))] });
        assert_eq!(told(&ring, id(5, 0)), [Err(id(7, 3)), Ok(id(7, 4))]);
        assert_eq!(told(&ring, id(7, 3)), [Ok(id(7, 4))]);
    }

    #[test]
    fn what_happened_before_this_start_is_not_known() {
        let ring = Ring::new(id(41, 0), 10);
        assert_eq!((told(&ring, id(40, 0)), ring.newest()), (vec![Err(id(41, 0))], id(41, 0)));
        assert_eq!(told(&ring, id(41, 0)), []);
    }
}
