//! Events whose changes aren't durable yet: nobody sees them, and they may be taken back.
//!
//! Main type: [`Incoming`]. Whoever commits a change adds to it with the state's locks held; so no follower ever holds
//! its lock, and none can keep those waiting. It keeps as many events as the ring does: of more, the oldest are lost,
//! which is told once it is sure that they happened.
//!
//! Invariant: ids grow from front to back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::api::wire::event::{Event, EventId, Subject};
use crate::model::id::{Epoch, Revision};
use crate::model::time::WallTime;

/// Events that wait for the disk.
#[derive(Debug)]
pub(super) struct Incoming {
    epoch: Epoch,
    most: usize,
    events: VecDeque<Arc<Event>>,
    /// The last event that there was no room for.
    lost: Option<EventId>,
}

/// What is durable now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Whatever happened up to here can't be told.
    pub(super) missing: Option<EventId>,
    /// What happened after that.
    pub(super) events: Vec<Arc<Event>>,
}

impl Incoming {
    /// `most` events at most, of this start of the master.
    pub(super) const fn new(epoch: Epoch, most: usize) -> Self {
        Self { epoch, most, events: VecDeque::new(), lost: None }
    }

    /// Takes up the events of one change. `count` is how many it made in all, of which `subjects` are the last.
    pub(super) fn push(&mut self, at: Revision, time: WallTime, subjects: Vec<Subject>, count: usize) {
        let epoch = self.epoch;
        let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let id = |index: usize| EventId { epoch, position: at, index: number(index) };
        let skipped = count.saturating_sub(subjects.len());
        if skipped > 0 {
            self.events.clear();
            self.lost = Some(id(skipped - 1));
        }
        for (index, subject) in (skipped..).zip(subjects) {
            if self.events.len() >= self.most
                && let Some(oldest) = self.events.pop_front()
            {
                self.lost = Some(oldest.id);
            }
            self.events.push_back(Arc::new(Event { id: id(index), time, subject }));
        }
    }

    /// Everything up to `last` is durable: gives what happened until then.
    pub(super) fn settle(&mut self, last: Revision) -> Settled {
        let end = EventId { epoch: self.epoch, position: last, index: u32::MAX };
        // Of those that were lost, some may still be withdrawn.
        let missing = self.lost.map(|lost| lost.min(end));
        self.lost = self.lost.filter(|lost| *lost > end);
        let count = self.events.partition_point(|event| event.id <= end);
        Settled { missing, events: self.events.drain(..count).collect() }
    }

    /// Takes back what happened at `first` and later. All before that is settled.
    pub(super) fn withdraw(&mut self, first: Revision) {
        while self.events.pop_back_if(|event| event.id.position >= first).is_some() {}
        self.lost = self.lost.filter(|lost| lost.position < first);
    }
}

/// Events for the tests in here.
#[cfg(test)]
pub(super) mod sample {
    use super::*;
    use crate::api::wire::event::NodeNews;
    use crate::model::node::{Availability, NodeStatus};

    pub(crate) const EPOCH: Epoch = Epoch(7);

    pub(crate) fn id(position: u64, index: u32) -> EventId {
        EventId { epoch: EPOCH, position: Revision(position), index }
    }

    pub(crate) fn subject() -> Subject {
        Subject::Node(NodeNews {
            node_id: "worker-1".parse().unwrap(),
            status: NodeStatus::Online,
            availability: Availability::Active,
            removed: false,
        })
    }

    pub(crate) fn event(id: EventId) -> Arc<Event> {
        Arc::new(Event { id, time: WallTime::default(), subject: subject() })
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{EPOCH, id, subject};
    use super::*;

    /// With positions 1 to `last`, one event each.
    fn incoming(most: usize, last: u64) -> Incoming {
        let mut incoming = Incoming::new(EPOCH, most);
        (1..=last).for_each(|at| push(&mut incoming, at, 1));
        incoming
    }

    fn push(incoming: &mut Incoming, at: u64, count: usize) {
        let kept = vec![subject(); count.min(incoming.most)];
        incoming.push(Revision(at), WallTime::default(), kept, count);
    }

    fn settle(incoming: &mut Incoming, last: u64) -> (Option<EventId>, Vec<EventId>) {
        let settled = incoming.settle(Revision(last));
        (settled.missing, settled.events.iter().map(|event| event.id).collect())
    }

    #[test]
    fn what_is_durable_goes_on_and_the_rest_waits() {
        let mut incoming = incoming(10, 4);
        push(&mut incoming, 5, 2);
        push(&mut incoming, 7, 1);
        assert_eq!(settle(&mut incoming, 3), (None, vec![id(1, 0), id(2, 0), id(3, 0)]));
        assert_eq!(settle(&mut incoming, 3), (None, vec![]));
        assert_eq!(settle(&mut incoming, 6), (None, vec![id(4, 0), id(5, 0), id(5, 1)]));
        assert_eq!(settle(&mut incoming, 9), (None, vec![id(7, 0)]));
    }

    #[test]
    fn what_is_withdrawn_was_never_there() {
        let mut incoming = incoming(10, 5);
        settle(&mut incoming, 2);
        incoming.withdraw(Revision(3));
        push(&mut incoming, 7, 1);
        assert_eq!(settle(&mut incoming, 7), (None, vec![id(7, 0)]));
    }

    #[test]
    fn what_there_was_no_room_for_is_missing_once_it_is_durable() {
        let mut incoming = incoming(3, 9);
        assert_eq!(settle(&mut incoming, 4), (Some(id(4, u32::MAX)), vec![]));
        assert_eq!(settle(&mut incoming, 7), (Some(id(6, 0)), vec![id(7, 0)]));
        assert_eq!(settle(&mut incoming, 9), (None, vec![id(8, 0), id(9, 0)]));
    }

    #[test]
    fn nothing_is_missing_of_what_was_withdrawn() {
        let mut incoming = incoming(3, 9);
        incoming.withdraw(Revision(1));
        push(&mut incoming, 11, 1);
        assert_eq!(settle(&mut incoming, 11), (None, vec![id(11, 0)]));
    }

    #[test]
    fn a_batch_that_is_longer_than_there_is_room_leaves_its_end() {
        let mut incoming = incoming(3, 2);
        push(&mut incoming, 3, 100);
        let end = vec![id(3, 97), id(3, 98), id(3, 99)];
        assert_eq!(settle(&mut incoming, 3), (Some(id(3, 96)), end));
    }
}
