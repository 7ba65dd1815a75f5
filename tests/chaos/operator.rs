//! An operator who drains one node after the other and opens it again, whatever else is going on.
//!
//! Main type: [`Operator`]. At the end every node is open, so that what waits can be placed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use podling::api::routes;
use podling::api::wire::node::{AvailabilityRequest, NodeView};
use podling::http::Client;
use podling::model::node::Availability;
use podling::runtime::supervise::{self, Thread};

use crate::dice::Dice;
use crate::plan::Who;
use crate::settings::Times;
use crate::site::master_url;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);

/// Between two tries to be heard.
const PAUSE: Duration = Duration::from_millis(150);

/// How often it tries to be heard before it gives up.
const TRIES: u32 = 200;

/// The thread.
pub(crate) struct Operator {
    is_over: Arc<AtomicBool>,
    drains: Arc<AtomicU32>,
    thread: Thread,
}

impl Operator {
    pub(crate) fn begin(seed: u64, workers: u32, times: Times) -> Self {
        let (is_over, drains) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (over, count) = (Arc::clone(&is_over), Arc::clone(&drains));
        let mut dice = Dice::of(seed, 1_000);
        let run = move || {
            let client = Client::new(&master_url()).unwrap();
            while !over.load(Ordering::SeqCst) {
                rest(dice.between(3_000, 9_000), &over);
                let node = Who::Worker(u32::try_from(dice.between(1, u64::from(workers) + 1)).unwrap());
                if set(&client, node, Availability::Draining) {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                rest(dice.between(times.beat * 2, times.beat * 20), &over);
                set(&client, node, Availability::Active);
            }
            for number in 1..=workers {
                assert!(
                    set(&client, Who::Worker(number), Availability::Active),
                    "the master was away for long"
                );
            }
        };
        let thread = supervise::spawn("operator".to_owned(), run).unwrap();
        Self { is_over, drains, thread }
    }

    /// Waits until every node is open; how often one was drained.
    #[track_caller]
    pub(crate) fn end(self) -> u32 {
        self.is_over.store(true, Ordering::SeqCst);
        assert!(self.thread.join(), "the operator's thread panicked");
        self.drains.load(Ordering::SeqCst)
    }
}

/// Asks until it is done. False: it never was.
fn set(client: &Client, node: Who, availability: Availability) -> bool {
    let path = routes::node_availability(&node.to_string());
    let wish = AvailabilityRequest { availability };
    (0..TRIES).any(|_| {
        let is_done = client.post::<NodeView>(&path, &wish, PATIENCE, true).is_ok();
        if !is_done {
            std::thread::park_timeout(PAUSE);
        }
        is_done
    })
}

/// Lets time pass, until all is over.
fn rest(millis: u64, is_over: &AtomicBool) {
    for _ in 0..millis / 100 {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
