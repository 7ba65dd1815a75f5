//! How many may do the same at a time: calls at the Engine that create, start, look at or remove a container; those who
//! read one container's log at the Engine (`logs/engine_log.rs`); readers of logs that keep a processor busy
//! (`logs/follow.rs`).
//!
//! An Engine, or a processor, that is asked for more at once gets slower, not faster. Each takes a [`Slot`] first and
//! gives it back when it is dropped; who comes first is served first. Of the calls at the Engine, waiting, stopping
//! and following a log take none, nor does what a request asks of it (`errands.rs`).

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::runtime::supervise::Stop;

/// The right to be one of so many.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a Slots);

/// A number of slots.
#[derive(Debug)]
pub(super) struct Slots {
    give: Sender<()>,
    take: Receiver<()>,
}

impl Slots {
    /// So many, at least one.
    pub(super) fn new(count: usize) -> Self {
        let (give, take) = bounded(count.max(1));
        let slots = Self { give, take };
        (0..count.max(1)).for_each(|_| slots.put_back());
        slots
    }

    /// Blocks until a slot is free: as long as what is under way takes, which has to be bounded.
    pub(super) fn take(&self) -> Slot<'_> {
        // Both ends live in `self`, so the channel can't be disconnected.
        let _ = self.take.recv();
        Slot(self)
    }

    /// Blocks until a slot is free, or until `gone` fires: none.
    pub(super) fn take_unless(&self, gone: &Stop) -> Option<Slot<'_>> {
        select! {
            recv(self.take) -> taken => taken.ok().map(|()| Slot(self)),
            recv(gone.channel_ref()) -> _ => None,
        }
    }

    fn put_back(&self) {
        // There is room for every slot that was taken.
        let _ = self.give.try_send(());
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.put_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::runtime::supervise;

    #[test]
    fn who_goes_away_waits_no_longer() {
        let slots = Slots::new(1);
        let (source, gone) = Stop::channel();
        let held = slots.take_unless(&gone);
        assert!(held.is_some());
        source.stop();
        assert!(slots.take_unless(&gone).is_none());
        drop(held);
        assert_eq!(slots.take.len(), 1);
    }

    #[test]
    fn no_more_than_so_many_at_a_time_and_none_is_lost() {
        let slots = Arc::new(Slots::new(3));
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..12)
            .map(|number| {
                let (slots, inside, most) = (Arc::clone(&slots), Arc::clone(&inside), Arc::clone(&most));
                supervise::spawn(format!("taker-{number}"), move || {
                    for _ in 0..20 {
                        let _slot = slots.take();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let _ = crossbeam_channel::after(Duration::from_micros(200)).recv();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                })
                .unwrap()
            })
            .collect();
        assert!(threads.into_iter().all(supervise::Thread::join));
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(slots.take.len(), 3);
    }
}
