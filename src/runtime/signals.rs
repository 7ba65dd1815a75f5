//! TERM and INT, as a message on a channel.
//!
//! One thread waits for the signals; it ends with the process. A second signal while the first is being answered
//! changes nothing: stopping has a deadline of its own.

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

use crate::runtime::supervise;

/// The signals that end a server. Holding it keeps the channel open.
#[derive(Debug)]
pub struct Signals {
    receiver: Receiver<&'static str>,
    _sender: Sender<&'static str>,
}

impl Signals {
    /// Starts to listen for TERM and INT.
    ///
    /// # Errors
    /// The operating system refuses the handler or the thread.
    pub fn listen() -> std::io::Result<Self> {
        let mut incoming = Incoming::new([SIGTERM, SIGINT])?;
        let (sender, receiver) = bounded(1);
        let to_main = sender.clone();
        supervise::spawn("signals", move || {
            for signal in incoming.forever() {
                let name = if signal == SIGTERM { "TERM" } else { "INT" };
                let _ = to_main.try_send(name);
            }
        })?;
        Ok(Self { receiver, _sender: sender })
    }

    /// Signals that never come, for tests.
    pub fn silent() -> Self {
        let (sender, receiver) = bounded(1);
        Self { receiver, _sender: sender }
    }

    /// The name of each signal as it comes.
    pub fn receiver(&self) -> &Receiver<&'static str> {
        &self.receiver
    }
}
