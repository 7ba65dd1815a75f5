//! Says when it is time to look again: when the master tells that something happened, and now and then anyway.
//!
//! Main type: [`Watcher`]. Its thread, `watcher`, reads the master's events, whatever they say, and rings. A line that
//! breaks is opened again after a second; meanwhile there is the clock, so that what is watched goes on without any
//! events, only later.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::cli::error::CliError;
use crate::cli::feed::Feed;
use crate::cli::remote::Remote;
use crate::cli::waiting::pause;
use crate::http::client::Canceller;
use crate::runtime::supervise::{self, Stop, StopSource, Thread};

/// Between two looks at least.
const SHORTEST: Duration = Duration::from_millis(250);

/// Between two looks at most: ages grow without any event.
const LONGEST: Duration = Duration::from_secs(2);

/// Before a line that broke is opened again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Rings when there may be something new. Dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct Watcher {
    news: Receiver<()>,
    line: Arc<Mutex<Option<Canceller>>>,
    stop: Option<StopSource>,
    thread: Option<Thread>,
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is none to be had.
    pub(crate) fn start(remote: Remote) -> io::Result<Self> {
        let (bell, news) = bounded(1);
        let (source, stop) = Stop::channel();
        let line = Arc::new(Mutex::new(None));
        let held = Arc::clone(&line);
        let thread = supervise::spawn("watcher", move || run(&remote, &bell, &held, &stop))?;
        Ok(Self { news, line, stop: Some(source), thread: Some(thread) })
    }

    /// Blocks until it is time to look again.
    pub(crate) fn wait(&self) {
        pause(SHORTEST);
        // Nothing came: then it is time all the same.
        let _ = self.news.recv_timeout(LONGEST - SHORTEST);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(canceller) = self.line.lock().as_ref() {
            canceller.cancel();
        }
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

fn run(remote: &Remote, bell: &Sender<()>, line: &Mutex<Option<Canceller>>, stop: &Stop) {
    let ring = || {
        // Full: it has rung already.
        let _ = bell.try_send(());
    };
    let mut feed = Feed::default();
    loop {
        if let Ok(stream) = remote.events("", None) {
            *line.lock() = Some(stream.canceller());
            // Order: whoever stops this asks first and cancels then; so either it finds the line, or this finds it.
            if stop.requested() {
                return;
            }
            // What happened before it was open is seen by looking.
            ring();
            let take = |_| -> Result<(), CliError> {
                ring();
                Ok(())
            };
            // However it ended: there is another one in a moment.
            let _ = feed.read(stream, remote, take);
        }
        if stop.wait(TRY_AGAIN) {
            return;
        }
    }
}
