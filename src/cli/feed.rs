//! What happens in the cluster, as the master tells it: server-sent events (HTML standard, 9.2), taken off the line.
//!
//! Main type: [`Feed`]. It remembers the last event's id, so that a line that broke is taken up where it broke. The
//! master is never silent for long: a line without a beat is dead.

use std::io::{self, Read};
use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::http::client::Stream;

/// How long the line may be silent: the master beats every 15 seconds.
pub(crate) const SILENCE: Duration = Duration::from_secs(40);

/// The longest line that makes sense.
const MOST_LINE_BYTES: usize = 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// `task`, `node`, `gap`.
    pub(crate) kind: String,
    /// Its JSON.
    pub(crate) data: String,
}

/// Events on their way off the line.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// What came of a line that isn't whole yet.
    pending: Vec<u8>,
    message: Message,
    id: Option<String>,
    last_id: Option<String>,
}

impl Feed {
    /// The last event's id, or where the line began.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Reads a line to its end, and gives `take` each event. What was left of another line is forgotten.
    ///
    /// # Errors
    /// The line broke; or what `take` says.
    pub(crate) fn read(
        &mut self,
        mut stream: Stream,
        remote: &Remote,
        mut take: impl FnMut(Message) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        *self = Self { last_id: self.last_id.take(), ..Self::default() };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.feed(&buffer[..count], &mut take)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(remote.lost(error.to_string())),
            }
            if self.pending.len() > MOST_LINE_BYTES {
                return Err(CliError::Failed(
                    "the master's events make no sense: a line has no end".to_owned(),
                ));
            }
        }
    }

    fn feed(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(Message) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(piece);
            if let Some(line) = self.pending.strip_suffix(b"\n") {
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.pending.clear();
                self.take_line(&line, take)?;
            }
        }
        Ok(())
    }

    fn take_line(
        &mut self,
        line: &str,
        take: &mut impl FnMut(Message) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.message.kind),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            "" if line.is_empty() => {
                let message = std::mem::take(&mut self.message);
                if !message.data.is_empty() {
                    take(message)?;
                }
                // After it was taken: what nobody saw is to come again.
                self.last_id = self.id.clone().or_else(|| self.last_id.take());
            }
            // A comment, such as a beat; or a field of a later version.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(feed: &mut Feed, text: &str, at_once: usize) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        let mut take = |message: Message| {
            taken.push((message.kind, message.data));
            Ok(())
        };
        text.as_bytes().chunks(at_once).for_each(|bytes| feed.feed(bytes, &mut take).unwrap());
        taken
    }

    #[test]
    fn events_are_the_same_however_the_bytes_come() {
        let text = "id: 7-1\n\n: beat\n\nid: 7-2\nevent: task\ndata: {\"a\":1}\n\nid: 7-3\r\nevent: node\r\ndata:x\r\n\
                    data: y\r\nretry: 5\r\n\r\nevent: gap\ndata: half";
        for at_once in [1, 2, 7, 1000] {
            let mut feed = Feed::default();
            let taken = fed(&mut feed, text, at_once);
            let pair = |kind: &str, data: &str| (kind.to_owned(), data.to_owned());
            assert_eq!(taken, [pair("task", "{\"a\":1}"), pair("node", "x\ny")], "{at_once}");
            assert_eq!(feed.last_id(), Some("7-3"));
        }
    }

    #[test]
    fn where_it_goes_on_is_known_before_anything_happened() {
        let mut feed = Feed::default();
        assert_eq!((fed(&mut feed, "id: 7-1\n\n", 3).len(), feed.last_id()), (0, Some("7-1")));
        // An event that isn't whole was not seen.
        assert_eq!((fed(&mut feed, "id: 7-2\ndata: x\n", 3).len(), feed.last_id()), (0, Some("7-1")));
    }
}
