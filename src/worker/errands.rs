//! Calls at the Engine on behalf of a request, which is answered in time whether the Engine answers or not.
//!
//! Main type: [`Errands`]. It sends a few threads (`images-1`, `stats-1`, …) to do the same with each of several things,
//! and waits for them as long as the request may. Where the Engine hangs they come back later, by the Engine's own
//! deadline; until then nobody else is sent, so that a hanging Engine costs a bounded number of threads.
//!
//! They take no slot ([`super::slots`]): at some Engines a look at a container's use takes a second, and creations are
//! not to wait for that. Their own number bounds what they ask at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::model::time::Mono;
use crate::runtime::clock;
use crate::runtime::supervise::{self, Thread};

/// How often an end looks whether the last ones are back.
const LOOK: Duration = Duration::from_millis(10);

/// Those who are sent.
pub(super) struct Errands {
    name: &'static str,
    most: usize,
    /// Those who aren't back yet.
    away: Vec<Thread>,
}

/// What is to be done with what, until when.
struct Work<T, D> {
    items: Vec<T>,
    next: AtomicUsize,
    until: Mono,
    deed: D,
}

impl<T, D> Work<T, D> {
    /// Does one after the other, until none is left or it is too late.
    fn share<R>(&self, tell: &Sender<R>)
    where
        D: Fn(&T) -> R,
    {
        while clock::mono() < self.until
            && let Some(item) = self.items.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            // There is room for every result; whoever waited may be gone.
            let _ = tell.try_send((self.deed)(item));
        }
    }
}

impl Errands {
    /// Of at most so many at a time.
    pub(super) const fn new(name: &'static str, most: usize) -> Self {
        Self { name, most, away: Vec::new() }
    }

    /// Does the same with each, and gives what came of it within `at_most`, in any order. Blocks so long at most. None:
    /// those who were sent before aren't back, and nothing was done.
    pub(super) fn run<T, R, D>(&mut self, items: Vec<T>, at_most: Duration, deed: D) -> Option<Vec<R>>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
        D: Fn(&T) -> R + Send + Sync + 'static,
    {
        self.away.retain(|thread| !thread.is_finished());
        if !self.away.is_empty() {
            return None;
        }
        let (count, until) = (items.len(), clock::mono() + at_most);
        let (tell, hear) = bounded(count.max(1));
        let work = Arc::new(Work { items, next: AtomicUsize::new(0), until, deed });
        for number in 1..=count.min(self.most) {
            let (work, tell) = (Arc::clone(&work), tell.clone());
            match supervise::spawn(format!("{}-{number}", self.name), move || work.share(&tell)) {
                Ok(thread) => self.away.push(thread),
                Err(error) => log::warn!("no thread to ask the engine because={error}"),
            }
        }
        drop(tell);
        let results = gather(&hear, count, until);
        if results.len() == count {
            for thread in self.away.drain(..) {
                thread.join();
            }
        }
        Some(results)
    }

    /// Waits for those who aren't back, so long at most.
    pub(super) fn end(mut self, at_most: Duration) {
        let until = clock::mono() + at_most;
        loop {
            self.away.retain(|thread| !thread.is_finished());
            if self.away.is_empty() || clock::mono() >= until {
                break;
            }
            let _ = crossbeam_channel::after(LOOK).recv();
        }
        for thread in &self.away {
            log::warn!("the engine keeps a thread from ending thread={}", thread.name());
        }
    }
}

/// So many results, or those that come until it is too late.
fn gather<R>(hear: &Receiver<R>, count: usize, until: Mono) -> Vec<R> {
    let mut results = Vec::with_capacity(count);
    while results.len() < count
        && let Ok(result) = hear.recv_timeout(until.since(clock::mono()))
    {
        results.push(result);
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn each_is_done_once_by_no_more_than_so_many() {
        let mut errands = Errands::new("test", 3);
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, highest) = (Arc::clone(&inside), Arc::clone(&most));
        let deed = move |item: &u32| {
            highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = crossbeam_channel::after(Duration::from_millis(2)).recv();
            now.fetch_sub(1, Ordering::SeqCst);
            item * 2
        };
        let mut done = errands.run((0..20).collect(), LONG, deed).unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..20).map(|item| item * 2).collect::<Vec<u32>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(errands.run(Vec::<u32>::new(), LONG, |item| *item), Some(Vec::new()));
    }

    #[test]
    fn who_hangs_is_not_waited_for_and_nobody_is_sent_after_them() {
        let mut errands = Errands::new("test", 2);
        let (free, held) = bounded::<()>(0);
        let deed = move |item: &u32| {
            if *item == 1 {
                let _ = held.recv();
            }
            *item
        };
        assert_eq!(errands.run(vec![1, 2, 3], Duration::from_secs(1), deed).map(|done| done.len()), Some(2));
        assert_eq!(errands.run(vec![4], LONG, |item| *item), None);
        drop(free);
        let until = clock::mono() + LONG;
        while errands.run(vec![5], LONG, |item| *item).is_none() {
            assert!(clock::mono() < until, "it came back");
            let _ = crossbeam_channel::after(LOOK).recv();
        }
        errands.end(LONG);
    }
}
