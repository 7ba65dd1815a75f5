//! One follower of what happens: GET /events, as server-sent events (HTML standard, 9.2).
//!
//! A follower has a thread of its own (from the HTTP server's bounded set). It is told what can be seen already, then
//! waits for its bell, for the end of its line, or for the time of a beat: a comment, so that either side notices a
//! line that is dead. One that doesn't read is held back and then closed by the gate; one that is slower than what
//! happens misses what the ring has forgotten, and is told so.

use std::convert::Infallible;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::select;

use super::{Bell, Events, Next};
use crate::api::wire::event::{EventId, Gap};
use crate::http::{Responder, StreamHead, StreamWriter};

/// How long a line is silent at most.
const BEAT: Duration = Duration::from_secs(15);

/// How many events are taken out of the ring at once.
const AT_ONCE: usize = 256;

/// Where a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// With the oldest event that is kept.
    Oldest,
    /// After an event.
    After(EventId),
}

impl FromStr for Start {
    type Err = String;

    /// An event's id, or `0`: before all that is kept.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" { Ok(Self::Oldest) } else { text.parse().map(Self::After) }
    }
}

/// One follower.
pub struct EventStream {
    events: Arc<Events>,
    bell: Bell,
    /// The last event that was told.
    last: EventId,
    gap: Option<Gap>,
    /// Whether it goes on when all that is known was told.
    follow: bool,
}

impl EventStream {
    /// Begins here and now, so that whatever is asked for after the answer's head came is heard of.
    pub(in crate::master) fn new(events: &Arc<Events>, start: Start, follow: bool) -> Self {
        let bell = events.bell();
        let (last, gap) = events.begin(start);
        Self { events: Arc::clone(events), bell, last, gap, follow }
    }

    /// Answers on a thread of its own.
    pub fn serve(self, responder: Responder) {
        let head = StreamHead::new(200, "text/event-stream").header("Cache-Control", "no-store");
        responder.stream(head, move |out| self.run(out));
    }

    fn run(mut self, out: &mut StreamWriter) -> io::Result<()> {
        match self.gap.take() {
            Some(gap) => self.tell_gap(&gap, out)?,
            // No event, but from here on the client knows where to go on, even if it hears of nothing.
            None => write!(out, "id: {}\n\n", self.last)?,
        }
        loop {
            match self.events.after(self.last, AT_ONCE) {
                Next::Gap(gap) => self.tell_gap(&gap, out)?,
                Next::Events(events) => {
                    for event in events {
                        let data = serde_json::to_string(&*event)?;
                        write(out, event.id, event.subject.kind(), &data)?;
                        self.last = event.id;
                    }
                }
                Next::Nothing => {
                    out.flush()?;
                    if !self.follow || self.wait(out)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn tell_gap(&mut self, gap: &Gap, out: &mut StreamWriter) -> io::Result<()> {
        self.last = gap.id;
        write(out, gap.id, Gap::KIND, &serde_json::to_string(gap)?)
    }

    /// Waits for news. True: it is over.
    fn wait(&self, out: &mut StreamWriter) -> io::Result<bool> {
        let gone = out.gone().channel_ref().clone();
        let beat = select! {
            recv(self.bell.rings) -> _ => false,
            recv(gone) -> over => return Ok(over.map_or(true, |never: Infallible| match never {})),
            default(BEAT) => true,
        };
        if beat {
            out.send(b": beat\n\n")?;
        }
        Ok(false)
    }
}

/// One server-sent event. Its data is JSON on one line.
fn write(out: &mut StreamWriter, id: EventId, kind: &str, data: &str) -> io::Result<()> {
    write!(out, "id: {id}\nevent: {kind}\ndata: {data}\n\n")
}
