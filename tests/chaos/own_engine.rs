//! The Engine that one worker has for itself, and that is killed and stopped.
//!
//! Main type: [`OwnEngine`]. A thread of its own does what is asked, because a start takes seconds, in which other
//! faults go on. The thread lives as long as the Engine, whose end the kernel ties to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use podling::runtime::supervise::{self, Thread};

use crate::checker::history::{Fault, Millis};
use crate::dockerd::Dockerd;
use crate::engine_api::EngineApi;
use crate::plan::Who;
use crate::recorder::Recorder;

/// What is done to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    Kill,
    /// After a kill.
    Start,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    GoOn,
}

/// The Engine.
pub(crate) struct OwnEngine {
    pub(crate) api: EngineApi,
    /// When it was killed last.
    pub(crate) killed: Arc<AtomicU64>,
    orders: Option<Sender<(Blow, Sender<()>)>>,
    pending: Vec<Receiver<()>>,
    thread: Option<Thread>,
}

impl OwnEngine {
    /// Starts it, with the sample image in it, and everything that it keeps in `folder`.
    #[track_caller]
    pub(crate) fn start(folder: &Path, of: Who, recorder: &Arc<Recorder>) -> Self {
        let (folder, recorder) = (folder.to_owned(), Arc::clone(recorder));
        let killed = Arc::<AtomicU64>::default();
        let (orders, taken) = unbounded();
        let (ready, is_ready) = bounded(1);
        let at = Arc::clone(&killed);
        let run = move || {
            let mut engine = Dockerd::new_in(&folder);
            engine.start();
            engine.load_image();
            ready.send(EngineApi::at(engine.host())).unwrap();
            for (blow, done) in taken {
                strike(&mut engine, blow, of, &recorder, &at);
                // Whoever waits for it may have given up.
                let _: Result<(), _> = Sender::send(&done, ());
            }
        };
        let thread = supervise::spawn("own-engine", run).unwrap();
        let api = is_ready.recv().expect("a second Engine starts");
        Self { api, killed, orders: Some(orders), pending: Vec::new(), thread: Some(thread) }
    }

    /// Does something to it, after all that was asked before. Doesn't wait.
    #[track_caller]
    pub(crate) fn strike(&mut self, blow: Blow) {
        let (done, is_done) = bounded(1);
        let orders = self.orders.as_ref().expect("it is there until it is dropped");
        orders.send((blow, done)).expect("the thread lives as long as the Engine");
        self.pending.push(is_done);
    }

    /// Waits until all that was asked was done.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        for is_done in self.pending.drain(..) {
            is_done.recv().expect("the Engine does what it is asked");
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.orders = None;
        let is_fine = self.thread.take().is_some_and(Thread::join);
        assert!(is_fine || std::thread::panicking(), "the second Engine is not gone");
    }
}

fn strike(engine: &mut Dockerd, blow: Blow, of: Who, recorder: &Recorder, killed: &AtomicU64) {
    match blow {
        Blow::Kill => {
            recorder.broke(Fault::EngineKilled, of);
            let now: Millis = recorder.now();
            killed.store(now.max(1), Ordering::SeqCst);
            engine.kill9();
        }
        Blow::Start => {
            engine.start();
            recorder.healed(Fault::EngineKilled, of);
        }
        Blow::Stop => {
            recorder.broke(Fault::EngineHung, of);
            engine.stand_still();
        }
        Blow::GoOn => {
            engine.go_on();
            recorder.healed(Fault::EngineHung, of);
        }
    }
}
