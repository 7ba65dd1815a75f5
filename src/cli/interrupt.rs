//! Ctrl-C while a task is followed: the first is passed on as a stop of the task, the second leaves at once.
//!
//! Who types Ctrl-C at a program in the foreground wants it to end, not to be left running somewhere. So the task is
//! told to stop, and is followed to its end, whose code is then the exit code. Should that take too long, another
//! Ctrl-C leaves it to itself. TERM counts as Ctrl-C: that is how a CI job is ended.
//!
//! The thread `interrupt` waits for the signals. It asks the master on a thread of its own, `stop`, so that a master
//! that doesn't answer holds up no second Ctrl-C. It writes to stderr beside the console, which the main thread holds.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use crossbeam_channel::select;

use crate::cli::exit;
use crate::cli::remote::Remote;
use crate::cli::render::text::visible;
use crate::model::id::{TaskId, TaskName};
use crate::runtime::signals::Signals;
use crate::runtime::supervise::{self, Stop, StopSource, Thread};

/// Passes Ctrl-C on until it is dropped.
#[derive(Debug)]
pub(crate) struct Interrupts {
    end: Option<(StopSource, Thread)>,
}

impl Interrupts {
    /// From now on Ctrl-C stops this task.
    ///
    /// # Errors
    /// The operating system refuses the handler or a thread: then Ctrl-C ends this program, as ever.
    pub(crate) fn stop(remote: &Remote, task: &TaskId, name: &TaskName) -> io::Result<Self> {
        let signals = Signals::listen()?;
        let (source, stop) = Stop::channel();
        let task = Task { remote: remote.clone(), id: task.clone(), name: name.clone() };
        let thread = supervise::spawn("interrupt", move || task.watch(&signals, &stop))?;
        Ok(Self { end: Some((source, thread)) })
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        if let Some((source, thread)) = self.end.take() {
            source.stop();
            thread.join();
        }
    }
}

/// The task that is followed.
#[derive(Clone, Debug)]
struct Task {
    remote: Remote,
    id: TaskId,
    name: TaskName,
}

impl Task {
    fn watch(&self, signals: &Signals, stop: &Stop) {
        select! {
            recv(signals.receiver()) -> _ => {}
            recv(stop.channel_ref()) -> _ => return,
        }
        say(&format!("stopping {}; again to leave it to itself", self.name));
        let task = self.clone();
        let asking = supervise::spawn("stop", move || {
            if let Err(error) = task.remote.stop(task.id.as_str(), None) {
                say(&format!("{} could not be told to stop: {error}", task.name));
            }
        });
        select! {
            recv(signals.receiver()) -> _ => {
                say(&format!("left; {} goes on stopping", self.name));
                std::process::exit(exit::INTERRUPTED.into());
            }
            recv(stop.channel_ref()) -> _ => {}
        }
        if let Ok(thread) = asking {
            thread.join();
        }
    }
}

/// One message, straight to stderr. Nobody is told of one that can't be written.
fn say(message: &str) {
    if let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() {
        let _ = File::from(stderr).write_all(format!("podling: {}\n", visible(message)).as_bytes());
    }
}
