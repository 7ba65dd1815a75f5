//! Where every thread of a run writes down what it saw, on one clock.
//!
//! Main type: [`Recorder`]. Its clock begins with the recording. What an Engine dates by the wall clock is brought to
//! it by the difference that the two had then.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use podling::model::time::Mono;
use podling::runtime::clock;

use crate::checker::history::{Answer, Entry, Fault, History, Millis, Terms, What, Wish};

/// What happened so far.
pub(crate) struct Recorder {
    began: Mono,
    /// The wall clock at the beginning, in milliseconds.
    began_wall: u64,
    entries: Mutex<Vec<Entry>>,
    calls: AtomicU64,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let now = clock::now();
        Self {
            began: now.mono,
            began_wall: now.wall.unix_millis(),
            entries: Mutex::default(),
            calls: AtomicU64::new(0),
        }
    }

    /// The moment, on the recording's clock.
    pub(crate) fn now(&self) -> Millis {
        Millis::try_from(clock::mono().since(self.began).as_millis()).unwrap_or(Millis::MAX)
    }

    /// A moment of the wall clock, in nanoseconds.
    pub(crate) fn at_wall_nanos(&self, nanos: u64) -> Millis {
        (nanos / 1_000_000).saturating_sub(self.began_wall)
    }

    /// The wall clock when the recording began, in nanoseconds.
    pub(crate) const fn began_wall_nanos(&self) -> u64 {
        self.began_wall * 1_000_000
    }

    /// Something happened just now.
    pub(crate) fn put(&self, what: What) {
        let mut entries = self.entries.lock();
        let at = self.now();
        entries.push(Entry { at, what });
    }

    /// Something happened at that moment.
    pub(crate) fn put_at(&self, at: Millis, what: What) {
        self.entries.lock().push(Entry { at, what });
    }

    pub(crate) fn broke(&self, fault: Fault, subject: impl ToString) {
        self.put(What::Broke { fault, subject: subject.to_string() });
    }

    pub(crate) fn healed(&self, fault: Fault, subject: impl ToString) {
        self.put(What::Healed { fault, subject: subject.to_string() });
    }

    /// A client asks; the call's number.
    pub(crate) fn asked(&self, client: u32, wish: Wish) -> u64 {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.put(What::Asked { call, client, wish });
        call
    }

    /// A command asked that doesn't say when.
    pub(crate) fn asked_some_time(&self, wish: Wish) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.put_at(0, What::Asked { call, client: 0, wish });
    }

    pub(crate) fn answered(&self, call: u64, answer: Answer) {
        self.put(What::Answered { call, answer });
    }

    /// What was recorded so far, by moments.
    pub(crate) fn history(&self, terms: Terms) -> History {
        let mut history = History::new(terms);
        history.entries.clone_from(&self.entries.lock());
        history.entries.sort_by_key(|entry| entry.at);
        history
    }
}
