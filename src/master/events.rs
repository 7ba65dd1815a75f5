//! What happened, for those who follow: a bounded buffer of events, and the bells of those who wait for more.
//!
//! Main type: [`Events`]. Where the state commits a change, under its locks, the change's events are added to what is
//! incoming ([`Events::note`]). Once the journal has it on disk they go into the ring, where they can be seen, and
//! every follower's bell rings ([`Events::settle`], on the thread `journal`). A change that is withdrawn takes its
//! events with it. Each follower is a stream with a thread of its own, `events/stream.rs`.
//!
//! Invariant: nobody sees an event whose change isn't durable. Followers' threads give way to all others, so none of
//! them ever holds a lock that is taken with the state's held: that is `incoming`'s alone.

mod incoming;
mod news;
mod ring;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::api::wire::event::{EventId, Gap, Subject};
use crate::control::change::Change;
use crate::control::nodes::Nodes;
use crate::control::tasks::Tasks;
use crate::model::id::{Epoch, Revision};
use crate::model::time::WallTime;

pub(in crate::master) use news::removed_by;
pub use stream::{EventStream, Start};

use incoming::Incoming;
use ring::{Next, Ring};

/// How many events are kept.
pub const MOST_KEPT: usize = 10_000;

/// The last events, and who waits for the next.
#[derive(Debug)]
pub struct Events {
    incoming: Mutex<Incoming>,
    ring: Mutex<Ring>,
    bells: Mutex<Bells>,
}

#[derive(Debug, Default)]
struct Bells {
    last_number: u64,
    by_number: BTreeMap<u64, Sender<()>>,
}

/// Ready whenever there may be something new. Dropping it ends that.
#[derive(Debug)]
struct Bell {
    number: u64,
    rings: Receiver<()>,
    events: Arc<Events>,
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.events.bells.lock().by_number.remove(&self.number);
    }
}

impl Events {
    /// For what happens after `last` in this start of the master.
    pub(super) fn new(epoch: Epoch, last: Revision) -> Arc<Self> {
        let incoming = Mutex::new(Incoming::new(epoch, MOST_KEPT));
        let ring = Mutex::new(Ring::new(EventId { epoch, position: last, index: 0 }, MOST_KEPT));
        Arc::new(Self { incoming, ring, bells: Mutex::default() })
    }

    /// Takes up what a change did that was just applied, before its record is queued: a record that is durable has
    /// its events here. Called with the state's locks held.
    pub(super) fn note(
        &self,
        at: Revision,
        time: WallTime,
        change: &Change,
        removed: Option<Subject>,
        (nodes, tasks): (&Nodes, &Tasks),
    ) {
        let (subjects, count) = match removed {
            Some(subject) => (vec![subject], 1),
            None => news::changed_by(change, nodes, tasks, MOST_KEPT),
        };
        self.incoming.lock().push(at, time, subjects, count);
    }

    /// Everything up to `last` is durable: it can be seen. Called by one thread at a time.
    pub(super) fn settle(&self, last: Revision) {
        let settled = self.incoming.lock().settle(last);
        if settled.events.is_empty() && settled.missing.is_none() {
            return;
        }
        // Order: the bells ring after the ring's lock is free, so that whoever wakes finds it so.
        self.ring.lock().take_up(settled);
        for bell in self.bells.lock().by_number.values() {
            // Full: it has rung already.
            let _ = bell.try_send(());
        }
    }

    /// Takes back what happened at `first` and later, and could not be made durable. Called with the state's locks held.
    pub(super) fn withdraw(&self, first: Revision) {
        self.incoming.lock().withdraw(first);
    }

    /// A bell that rings whenever more can be seen.
    fn bell(self: &Arc<Self>) -> Bell {
        let (ring, rings) = bounded(1);
        let mut bells = self.bells.lock();
        bells.last_number += 1;
        let number = bells.last_number;
        bells.by_number.insert(number, ring);
        Bell { number, rings, events: Arc::clone(self) }
    }

    /// How many follow.
    pub fn followers(&self) -> usize {
        self.bells.lock().by_number.len()
    }

    /// Where a follower begins, and what it is told first where it has missed something.
    fn begin(&self, start: Start) -> (EventId, Option<Gap>) {
        let ring = self.ring.lock();
        match start {
            Start::Now => (ring.newest(), None),
            Start::Oldest => (ring.floor(), None),
            // Never given out by this start of the master: whatever is here may be news.
            Start::After(id) if id > ring.newest() => (ring.floor(), Some(Gap::between(id, ring.floor()))),
            Start::After(id) => (id, None),
        }
    }

    fn after(&self, id: EventId, most: usize) -> Next {
        self.ring.lock().after(id, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::events::incoming::sample::{EPOCH, subject};

    fn happen(events: &Events, at: u64) {
        events.incoming.lock().push(Revision(at), WallTime::default(), vec![subject()], 1);
    }

    #[test]
    fn a_bell_rings_when_there_is_more_to_see_and_not_before() {
        let events = Events::new(EPOCH, Revision(5));
        let (one, other) = (events.bell(), events.bell());
        let rings = |bell: &Bell| bell.rings.try_recv().is_ok();
        happen(&events, 6);
        assert!(!rings(&one), "it isn't durable");
        events.settle(Revision(6));
        assert!(rings(&one) && rings(&other));
        events.settle(Revision(7));
        assert!(!rings(&one), "a change that makes no event");
        happen(&events, 8);
        events.withdraw(Revision(8));
        happen(&events, 10);
        events.settle(Revision(10));
        happen(&events, 11);
        events.settle(Revision(11));
        assert!(rings(&one) && !rings(&one), "once, for whoever hasn't looked yet");
        assert_eq!(events.followers(), 2);
        drop((one, other));
        assert_eq!(events.followers(), 0);
    }
}
