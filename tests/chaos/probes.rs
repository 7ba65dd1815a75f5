//! Looks at the processes from outside, once a second: whether /healthz answers and how soon, and what memory and
//! descriptors they hold.
//!
//! Main type: [`Probes`], one thread for each process. A look during which the process was killed, stopped or started
//! counts for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use podling::http::Client;
use podling::http::client::Call;
use podling::runtime::supervise::{self, Thread};

use crate::checker::history::{Millis, What};
use crate::net::address;
use crate::plan::Who;
use crate::recorder::Recorder;
use crate::server::Standing;

const EACH: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

const PAGE_KIB: u64 = 4;

/// What a process held at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Millis,
    pub(crate) who: Who,
    pub(crate) memory_kib: u64,
    pub(crate) descriptors: u64,
}

/// All looks.
pub(crate) struct Probes {
    is_over: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    threads: Vec<Thread>,
}

impl Probes {
    pub(crate) fn begin(servers: Vec<(Who, Arc<Mutex<Standing>>)>, recorder: &Arc<Recorder>) -> Self {
        let (is_over, samples) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Sample>>>::default());
        let begin = |(who, standing): (Who, Arc<Mutex<Standing>>)| {
            let (over, kept, recorder) = (Arc::clone(&is_over), Arc::clone(&samples), Arc::clone(recorder));
            let run = move || {
                while !over.load(Ordering::SeqCst) {
                    look(who, &standing, &recorder, &kept);
                    std::thread::park_timeout(EACH);
                }
            };
            supervise::spawn(format!("probe-{who}"), run).unwrap()
        };
        let threads = servers.into_iter().map(begin).collect();
        Self { is_over, samples, threads }
    }

    /// Ends the looking; what was seen.
    pub(crate) fn end(mut self) -> Vec<Sample> {
        self.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join();
        }
        std::mem::take(&mut *self.samples.lock())
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

fn look(who: Who, standing: &Mutex<Standing>, recorder: &Recorder, samples: &Mutex<Vec<Sample>>) {
    let before = *standing.lock();
    let (true, Some(pid)) = (before.serves, before.pid) else { return };
    let port = if who == Who::Master { 8080 } else { 8081 };
    // A new connection each time, as a health check makes it.
    let client = Client::new(&format!("http://{}:{port}", address(who))).unwrap();
    let asked = recorder.now();
    let call = Call { idempotent: false, ..Call::new("GET", "/healthz", PATIENCE) };
    let is_healthy = client.call(call).is_ok();
    let took = is_healthy.then_some(recorder.now() - asked);
    let sample = sample(recorder.now(), who, pid);
    if *standing.lock() == before {
        recorder.put(What::Probed { subject: who.to_string(), took });
        samples.lock().extend(sample);
    }
}

fn sample(at: Millis, who: Who, pid: u32) -> Option<Sample> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Sample { at, who, memory_kib: pages * PAGE_KIB, descriptors: u64::try_from(descriptors).ok()? })
}
