//! The last events, in the order of the journal: a ring that forgets the oldest.
//!
//! Main type: [`Ring`]. It says what follows an id ([`Ring::after`]), and never more than what is durable: an event
//! goes in when its change is applied, and is shown once its position is settled. What is withdrawn before goes out
//! again. Values in, values out: who waits for news is `events.rs`'s business.
//!
//! Invariant: ids grow from front to back, and each is above `floor`, below which nothing is known.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::api::wire::event::{Event, EventId, Gap, Subject};
use crate::model::id::{Epoch, Revision};
use crate::model::time::WallTime;

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
    /// Everything up to here is durable, or was withdrawn.
    settled: Revision,
}

impl Ring {
    /// Of `most` events at most, for what happens after `last`.
    pub(super) const fn new(epoch: Epoch, last: Revision, most: usize) -> Self {
        let floor = EventId { epoch, position: last, index: 0 };
        Self { most, events: VecDeque::new(), floor, settled: last }
    }

    /// Takes up the events of one change. `count` is how many it made in all, of which `subjects` are the last.
    pub(super) fn push(&mut self, at: Revision, time: WallTime, subjects: Vec<Subject>, count: usize) {
        let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let epoch = self.floor.epoch;
        let id = |index: usize| EventId { epoch, position: at, index: number(index) };
        let skipped = count.saturating_sub(subjects.len());
        if skipped > 0 {
            self.events.clear();
            self.floor = id(skipped - 1);
        }
        for (index, subject) in (skipped..).zip(subjects) {
            if self.events.len() >= self.most
                && let Some(oldest) = self.events.pop_front()
            {
                self.floor = oldest.id;
            }
            self.events.push_back(Arc::new(Event { id: id(index), time, subject }));
        }
    }

    /// Everything up to `last` is durable. True: there is something new to see.
    pub(super) fn settle(&mut self, last: Revision) -> bool {
        let before = self.settled;
        self.settled = last.max(before);
        let is_news = |event: &Arc<Event>| event.id.position > before && event.id.position <= last;
        // Settled ones stand before those that are not: the newest one that is settled tells.
        let seen = self.events.partition_point(|event| event.id.position <= last);
        seen.checked_sub(1).and_then(|newest| self.events.get(newest)).is_some_and(is_news)
    }

    /// Takes back what happened at `first` and later. Nothing up to `last` is to come any more.
    pub(super) fn withdraw(&mut self, first: Revision, last: Revision) {
        while self.events.pop_back_if(|event| event.id.position >= first).is_some() {}
        self.settled = last.max(self.settled);
    }

    /// The last event that can be seen, or that could be.
    pub(super) fn newest(&self) -> EventId {
        let seen = self.seen();
        seen.checked_sub(1).and_then(|newest| self.events.get(newest)).map_or(self.floor, |event| event.id)
    }

    /// Before the first event that is kept.
    pub(super) const fn floor(&self) -> EventId {
        self.floor
    }

    /// What follows `id`, `most` events at most.
    pub(super) fn after(&self, id: EventId, most: usize) -> Next {
        if id < self.floor {
            // What isn't settled may yet be withdrawn: nobody has missed it so far.
            let is_known = self.floor.position <= self.settled;
            return if is_known { Next::Gap(Gap::between(id, self.floor)) } else { Next::Nothing };
        }
        let from = self.events.partition_point(|event| event.id <= id);
        let found: Vec<Arc<Event>> =
            self.events.range(from..self.seen().max(from)).take(most).cloned().collect();
        if found.is_empty() { Next::Nothing } else { Next::Events(found) }
    }

    /// How many of those that are kept can be seen.
    fn seen(&self) -> usize {
        self.events.partition_point(|event| event.id.position <= self.settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::event::NodeNews;
    use crate::model::node::{Availability, NodeStatus};

    const EPOCH: Epoch = Epoch(7);

    fn node(number: usize) -> Subject {
        Subject::Node(NodeNews {
            node_id: format!("n{number}").parse().unwrap(),
            status: NodeStatus::Online,
            availability: Availability::Active,
            removed: false,
        })
    }

    fn id(position: u64, index: u32) -> EventId {
        EventId { epoch: EPOCH, position: Revision(position), index }
    }

    /// A ring of `most` in which positions 1 to `last` have one event each, settled up to `settled`.
    fn ring(most: usize, last: u64, settled: u64) -> Ring {
        let mut ring = Ring::new(EPOCH, Revision(0), most);
        (1..=last).for_each(|at| push(&mut ring, at, 1));
        ring.settle(Revision(settled));
        ring
    }

    fn push(ring: &mut Ring, at: u64, count: usize) {
        let kept = (0..count).skip(count.saturating_sub(ring.most)).map(node).collect();
        ring.push(Revision(at), WallTime::from_unix_millis(at), kept, count);
    }

    /// All that a follower is told after an id, a few at a time: ids, and `Err` for gaps.
    fn told(ring: &Ring, mut after: EventId) -> Vec<Result<EventId, EventId>> {
        let mut told = Vec::new();
        loop {
            match ring.after(after, 2) {
                Next::Nothing => return told,
                Next::Gap(gap) => told.push(Err(gap.id)),
                Next::Events(events) => told.extend(events.iter().map(|event| Ok(event.id))),
            }
            after = told.last().unwrap().unwrap_or_else(|id| id);
        }
    }

    #[test]
    fn a_follower_goes_on_where_it_was() {
        let ring = ring(10, 5, 5);
        assert_eq!(told(&ring, id(0, 0)), [1, 2, 3, 4, 5].map(|at| Ok(id(at, 0))));
        assert_eq!(told(&ring, id(3, 0)), [4, 5].map(|at| Ok(id(at, 0))));
        // Not every change makes an event: what lies between two of them is a place to go on from too.
        assert_eq!(told(&ring, id(3, 9)), [4, 5].map(|at| Ok(id(at, 0))));
        assert_eq!(told(&ring, id(5, 0)), []);
        assert_eq!(ring.newest(), id(5, 0));
    }

    #[test]
    fn nothing_is_shown_before_it_is_durable() {
        let mut ring = ring(10, 5, 3);
        assert_eq!((told(&ring, id(2, 0)), ring.newest()), (vec![Ok(id(3, 0))], id(3, 0)));
        assert!(ring.settle(Revision(4)));
        assert_eq!(told(&ring, id(3, 0)), [Ok(id(4, 0))]);
        assert!(!ring.settle(Revision(4)), "nothing new");
        assert!(ring.settle(Revision(9)) && !ring.settle(Revision(11)), "changes that make no events");
    }

    #[test]
    fn what_is_withdrawn_was_never_there() {
        let mut ring = ring(10, 5, 2);
        ring.withdraw(Revision(3), Revision(6));
        assert_eq!((told(&ring, id(0, 0)).len(), ring.newest()), (2, id(2, 0)));
        push(&mut ring, 7, 1);
        assert_eq!(told(&ring, id(2, 0)), []);
        assert!(ring.settle(Revision(7)));
        assert_eq!(told(&ring, id(2, 0)), [Ok(id(7, 0))]);
    }

    #[test]
    fn who_is_behind_is_told_that_something_is_missing() {
        let ring = ring(3, 10, 10);
        let all = [Err(id(7, 0)), Ok(id(8, 0)), Ok(id(9, 0)), Ok(id(10, 0))];
        assert_eq!(told(&ring, id(0, 0)), all);
        assert_eq!(told(&ring, id(6, 5)), all);
        assert_eq!(told(&ring, id(7, 0)), all[1..]);
        let Next::Gap(gap) = ring.after(id(2, 0), 9) else { panic!("no gap") };
        assert_eq!((gap.after, gap.id), (id(2, 0), id(7, 0)));
    }

    #[test]
    fn a_gap_is_told_once_it_is_sure() {
        // Seven wait for the disk, three are kept: whoever has seen 2 will have missed some, if they are written.
        let mut ring = ring(3, 9, 2);
        assert_eq!(told(&ring, id(2, 0)), []);
        ring.settle(Revision(9));
        assert_eq!(told(&ring, id(2, 0))[0], Err(id(6, 0)));
    }

    #[test]
    fn the_events_of_one_change_have_ids_of_their_own() {
        let mut ring = ring(10, 1, 1);
        push(&mut ring, 2, 3);
        push(&mut ring, 3, 1);
        ring.settle(Revision(3));
        let all = [id(1, 0), id(2, 0), id(2, 1), id(2, 2), id(3, 0)].map(Ok);
        assert_eq!(told(&ring, id(0, 0)), all);
        assert_eq!(told(&ring, id(2, 1)), all[3..]);
    }

    #[test]
    fn a_batch_that_is_longer_than_the_ring_leaves_its_end() {
        let mut ring = ring(3, 2, 2);
        push(&mut ring, 3, 100);
        ring.settle(Revision(3));
        assert_eq!(told(&ring, id(2, 0)), [Err(id(3, 96)), Ok(id(3, 97)), Ok(id(3, 98)), Ok(id(3, 99))]);
    }

    #[test]
    fn what_happened_before_this_start_is_not_known() {
        let ring = Ring::new(EPOCH, Revision(41), 10);
        assert_eq!((told(&ring, id(40, 0)), ring.newest()), (vec![Err(id(41, 0))], id(41, 0)));
        assert_eq!(told(&ring, id(41, 0)), []);
    }
}
