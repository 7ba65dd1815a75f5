//! Threads with a name, an owner and an end.
//!
//! [`Supervisor`] belongs to `main`. A thread that the program can't do without is started by
//! [`Supervisor::vital`]: should it end before it was told to, by panic or by returning, the process ends with
//! exit code 70 and says which thread it was. Threads that come and go (one monitor per container, one stream per
//! follower) are started by [`spawn`], which gives their owner a handle to join.
//!
//! All of them learn from one [`Stop`] that it is time to go. There is no way to kill a thread from outside, so
//! every wait in this program is a wait on a channel with a deadline, and `Stop` is one of the channels.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};

use crate::runtime::signals::Signals;

/// Exit code of a process one of whose vital threads died (`EX_SOFTWARE` of sysexits.h).
pub const EXIT_THREAD_DIED: u8 = 70;

/// Exit code of a process that its own thread gave up for good (a foreign cluster, say).
pub const EXIT_GIVEN_UP: u8 = 1;

/// How long all vital threads together may take to end once they were told to: longer than an Engine that hangs is
/// waited for.
const JOIN_DEADLINE: Duration = Duration::from_secs(15);

/// The `nice` value of a thread that gives way: a tenth of the processor that an equal would get.
const PRIORITY_OF_WHO_GIVES_WAY: i32 = 10;

/// Says when to stop. Cheap to clone; every holder sees the same stop.
#[derive(Clone, Debug)]
pub struct Stop(Receiver<Infallible>);

/// The owner's end of a [`Stop`]: dropping it, or calling [`StopSource::stop`], tells every holder.
#[derive(Debug)]
pub struct StopSource(Sender<Infallible>);

impl StopSource {
    /// Tells every holder of the [`Stop`] to end.
    pub fn stop(self) {
        drop(self.0);
    }
}

impl Stop {
    /// A source and the stop that it controls.
    pub fn channel() -> (StopSource, Self) {
        let (sender, receiver) = bounded(0);
        (StopSource(sender), Self(receiver))
    }

    /// Whether it is time to stop. Never blocks.
    pub fn requested(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Blocks for `duration` at most. True if it was cut short because it is time to stop.
    pub fn wait(&self, duration: Duration) -> bool {
        matches!(self.0.recv_timeout(duration), Err(RecvTimeoutError::Disconnected))
    }

    /// The channel itself, for `select!`: it is ready (disconnected) once it is time to stop.
    pub fn channel_ref(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

/// A running thread and its name.
#[derive(Debug)]
pub struct Thread {
    name: String,
    handle: JoinHandle<()>,
}

impl Thread {
    /// The name that it was started with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has ended. Never blocks.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Blocks until it has ended. True if it returned, false if it panicked.
    pub fn join(self) -> bool {
        self.handle.join().is_ok()
    }
}

/// Starts a thread whose owner joins it.
///
/// # Errors
/// The operating system refuses another thread.
pub fn spawn(name: impl Into<String>, body: impl FnOnce() + Send + 'static) -> std::io::Result<Thread> {
    let name = name.into();
    let handle = Builder::new().name(name.clone()).spawn(body)?;
    Ok(Thread { name, handle })
}

/// Has the calling thread give way to all others, those of other programs too, wherever there is more to do than
/// processors: for work that there may be much of, and that nobody else waits for. For good.
pub fn give_way() {
    // On Linux the calling thread's own priority, which any process may lower. Where that is refused, it stays.
    let _ = rustix::process::setpriority_process(None, PRIORITY_OF_WHO_GIVES_WAY);
}

/// How a vital thread ended.
#[derive(Debug)]
struct ThreadEnd {
    name: String,
    panic: Option<String>,
}

/// Ends the process in order and with exit code 1: for a thread that finds that going on would be wrong.
#[derive(Clone, Debug)]
pub struct GiveUp(Sender<String>);

impl GiveUp {
    /// Says why, in one line. The first one counts. Never blocks.
    pub fn because(&self, why: impl Into<String>) {
        // Full: somebody has given up already.
        let _ = self.0.try_send(why.into());
    }
}

/// Owns the threads that a server can't do without. Lives in `main`.
///
/// Stopping has two phases: first all threads that were started by [`Supervisor::vital`], then those that the first
/// ones need to finish their work, started by [`Supervisor::vital_to_the_end`].
#[derive(Debug)]
pub struct Supervisor {
    first: Phase,
    last: Phase,
    ends: (Sender<ThreadEnd>, Receiver<ThreadEnd>),
    given_up: (Sender<String>, Receiver<String>),
}

/// Threads that stop together.
#[derive(Debug)]
struct Phase {
    source: StopSource,
    stop: Stop,
    threads: Vec<Thread>,
}

impl Default for Phase {
    fn default() -> Self {
        let (source, stop) = Stop::channel();
        Self { source, stop, threads: Vec::new() }
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        // One message per vital thread, and there are a few dozen: the bound is never reached.
        Self { first: Phase::default(), last: Phase::default(), ends: bounded(256), given_up: bounded(1) }
    }
}

impl Supervisor {
    /// The stop that the threads of the first phase share.
    pub fn stop(&self) -> Stop {
        self.first.stop.clone()
    }

    /// What a thread ends the process with when going on would be wrong.
    pub fn give_up(&self) -> GiveUp {
        GiveUp(self.given_up.0.clone())
    }

    /// Starts a thread that the program can't do without.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub fn vital(
        &mut self,
        name: impl Into<String>,
        body: impl FnOnce(Stop) + Send + 'static,
    ) -> std::io::Result<()> {
        let thread = watched(name.into(), self.first.stop.clone(), self.ends.0.clone(), body)?;
        self.first.threads.push(thread);
        Ok(())
    }

    /// As [`Supervisor::vital`], for a thread that the others need until they have ended.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub fn vital_to_the_end(
        &mut self,
        name: impl Into<String>,
        body: impl FnOnce(Stop) + Send + 'static,
    ) -> std::io::Result<()> {
        let thread = watched(name.into(), self.last.stop.clone(), self.ends.0.clone(), body)?;
        self.last.threads.push(thread);
        Ok(())
    }

    /// Blocks until a signal comes or a vital thread dies, stops every thread in order, and gives the exit code.
    ///
    /// `before_stop` runs after a signal and before the threads are told to stop (to drain, say).
    pub fn run(self, signals: &Signals, before_stop: impl FnOnce()) -> ExitCode {
        let code = select! {
            recv(signals.receiver()) -> name => {
                log::info!("stopping signal={}", name.unwrap_or("none"));
                before_stop();
                ExitCode::SUCCESS
            }
            recv(self.given_up.1) -> why => {
                log::error!("giving up because={}", why.unwrap_or_default());
                ExitCode::from(EXIT_GIVEN_UP)
            }
            recv(self.ends.1) -> end => {
                let (name, panic) = end.map_or_else(|_| Default::default(), |end| (end.name, end.panic));
                let why = panic.as_deref().unwrap_or("it returned");
                log::error!("a vital thread ended thread={name} because={why}");
                ExitCode::from(EXIT_THREAD_DIED)
            }
        };
        if self.shut_down() { code } else { ExitCode::from(EXIT_THREAD_DIED) }
    }

    /// Tells every thread to stop, phase by phase. False: somebody was late, or panicked.
    fn shut_down(self) -> bool {
        let in_time = end(self.first, &self.ends.1);
        end(self.last, &self.ends.1) && in_time
    }
}

/// Starts a thread whose end is told.
fn watched(
    name: String,
    stop: Stop,
    ends: Sender<ThreadEnd>,
    body: impl FnOnce(Stop) + Send + 'static,
) -> std::io::Result<Thread> {
    let thread_name = name.clone();
    spawn(name, move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| body(stop)));
        let panic = outcome.err().map(|payload| panic_message(payload.as_ref()));
        // The supervisor may be gone already: then nobody asks any more.
        let _ = ends.try_send(ThreadEnd { name: thread_name, panic });
    })
}

/// Tells the threads of a phase to stop and waits for them, up to [`JOIN_DEADLINE`]. Names those that are late.
fn end(phase: Phase, ends: &Receiver<ThreadEnd>) -> bool {
    phase.source.stop();
    let patience = crossbeam_channel::after(JOIN_DEADLINE);
    let mut late: Vec<&Thread> = phase.threads.iter().collect();
    loop {
        late.retain(|thread| !thread.is_finished());
        if late.is_empty() {
            break;
        }
        select! {
            recv(ends) -> _ => {}
            recv(crossbeam_channel::after(Duration::from_millis(20))) -> _ => {}
            recv(patience) -> _ => {
                let names: Vec<&str> = late.iter().map(|thread| thread.name()).collect();
                log::error!("threads did not stop in time threads={}", names.join(","));
                return false;
            }
        }
    }
    phase.threads.into_iter().all(Thread::join)
}

/// The text of a panic, where it has one.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_reaches_every_holder_and_cuts_a_wait_short() {
        let (source, stop) = Stop::channel();
        let other = stop.clone();
        assert!(!stop.requested());
        assert!(!stop.wait(Duration::from_millis(1)));
        source.stop();
        assert!(stop.requested());
        assert!(other.wait(Duration::from_secs(3600)));
    }

    #[test]
    fn who_gives_way_does_so_alone() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let thread = spawn("gives-way", move || {
            give_way();
            assert_eq!(priority(), PRIORITY_OF_WHO_GIVES_WAY.max(before));
        });
        assert!(thread.unwrap().join());
        assert_eq!(priority(), before);
    }

    #[test]
    fn a_dead_vital_thread_ends_the_process_with_70() {
        let mut supervisor = Supervisor::default();
        supervisor.vital("steady", |stop| while !stop.wait(Duration::from_secs(3600)) {}).unwrap();
        supervisor.vital("doomed", |_| panic!("on purpose")).unwrap();
        let code = supervisor.run(&Signals::silent(), || {});
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(EXIT_THREAD_DIED)));
    }

    #[test]
    fn a_thread_that_gives_up_ends_the_process_in_order() {
        let mut supervisor = Supervisor::default();
        let give_up = supervisor.give_up();
        let wait = move |stop: Stop| {
            give_up.because("this is another cluster");
            while !stop.wait(Duration::from_secs(3600)) {}
        };
        supervisor.vital("heartbeat", wait).unwrap();
        let code = supervisor.run(&Signals::silent(), || {});
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(EXIT_GIVEN_UP)));
    }
}
