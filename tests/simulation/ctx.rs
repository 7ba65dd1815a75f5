//! What every part of the world needs: the queue of what is to happen, chance, the lines, and the recorder.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::net::{Message, Net, Packet, Party, Reply, Request};
use super::rng::Rng;
use super::time::{MS, Micros, WorldClock};
use super::world::Event;
use crate::checker::history::{History, Terms, What};

/// See the file's header.
pub(crate) struct Ctx {
    pub(crate) clock: WorldClock,
    pub(crate) rng: Rng,
    pub(crate) net: Net,
    pub(crate) history: History,
    queue: BinaryHeap<Reverse<Due>>,
    last: u64,
}

/// An event, with its moment; those of one moment in the order in which they were planned.
struct Due {
    at: Micros,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl Ctx {
    pub(crate) fn new(rng: Rng, terms: Terms) -> Self {
        Self {
            clock: WorldClock::default(),
            rng,
            net: Net::default(),
            history: History::new(terms),
            queue: BinaryHeap::new(),
            last: 0,
        }
    }

    pub(crate) fn now(&self) -> Micros {
        self.clock.now()
    }

    pub(crate) fn at(&mut self, at: Micros, event: Event) {
        self.last += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now()), order: self.last, event }));
    }

    pub(crate) fn after(&mut self, delay: Micros, event: Event) {
        self.at(self.now() + delay, event);
    }

    /// The next event; the clock goes there. None: nothing happens before `end`.
    pub(crate) fn next(&mut self, end: Micros) -> Option<Event> {
        let Reverse(due) = self.queue.pop().filter(|Reverse(due)| due.at <= end)?;
        self.clock.set(due.at);
        Some(due.event)
    }

    pub(crate) fn tell(&mut self, what: What) {
        self.history.push(self.now() / MS, what);
    }

    /// Asks somebody, and hears from nobody after `patience`. Gives the call's number.
    pub(crate) fn ask(&mut self, from: Party, to: Party, request: Request, patience: Micros) -> u64 {
        let call = self.net.next_call();
        self.send(from, to, Message::Ask(call, request));
        self.after(patience, Event::GiveUp(from, call));
        call
    }

    pub(crate) fn answer(&mut self, from: Party, to: Party, call: u64, reply: Reply) {
        self.send(from, to, Message::Answer(call, reply));
    }

    pub(crate) fn send(&mut self, from: Party, to: Party, message: Message) {
        for delay in self.net.arrivals(from, to, &mut self.rng) {
            self.after(delay, Event::Arrive(Packet { from, to, message: message.clone() }));
        }
    }
}
