//! Answers without an end: followed logs, server-sent events.
//!
//! Each stream has a thread of its own, `stream-N`, from a bounded set ([`Streams`]). It gives way to all other threads
//! where the processors are busy, so that many streams with much to send keep no request waiting. It writes through a
//! [`StreamWriter`], which makes HTTP chunks by hand: tiny_http would hold lines back until its buffer is full.
//!
//! Invariant: a stream's thread ends soon after its client went away. It learns of it in two ways: a write fails,
//! and [`StreamWriter::gone`] fires, which a producer that waits for something to tell has to wait on too.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::http::response::{StreamHead, reason};
use crate::runtime::clock;
use crate::runtime::supervise::{self, Stop, StopSource, Thread};

/// Bytes that are collected before a chunk is sent without a flush.
const CHUNK_BYTES: usize = 16 * 1024;

/// The header that tells the gate that an answer is a stream, and which. The gate strips it.
pub(crate) const STREAM_HEADER: &str = "podling-stream";

/// Every stream that runs, by number.
#[derive(Debug)]
pub(crate) struct Streams {
    most: usize,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    last_id: u64,
    running: HashMap<u64, Running>,
    threads: Vec<Thread>,
    closed: bool,
}

/// A stream that runs, as whoever learns that its client is gone needs it.
#[derive(Default)]
struct Running {
    /// `None` once the client is known to have gone.
    source: Option<StopSource>,
    /// What is to be done then, to free a thread that waits elsewhere.
    when_gone: Option<Box<dyn FnOnce() + Send>>,
}

impl Running {
    /// Fires what waits for it, once; gives what is to be called without the lock.
    fn gone(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        self.source = None;
        self.when_gone.take()
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A stream's right to run. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    gone: Stop,
    streams: Arc<Streams>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.shared.lock().running.remove(&self.id);
    }
}

impl Streams {
    /// For at most `most` streams at a time.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, shared: Mutex::new(Shared::default()) })
    }

    /// A place for one more stream, or nothing where all are taken or the server stops.
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Place> {
        let mut shared = self.shared.lock();
        if shared.closed || shared.running.len() >= self.most {
            return None;
        }
        shared.last_id += 1;
        let id = shared.last_id;
        let (source, gone) = Stop::channel();
        shared.running.insert(id, Running { source: Some(source), when_gone: None });
        Some(Place { id, gone, streams: Arc::clone(self) })
    }

    /// Starts the thread of one stream.
    pub(crate) fn start(&self, id: u64, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = supervise::spawn(format!("stream-{id}"), move || {
            supervise::give_way();
            body();
        })?;
        let mut shared = self.shared.lock();
        shared.threads.retain(|thread| !thread.is_finished());
        shared.threads.push(thread);
        Ok(())
    }

    /// Tells one stream that its client is gone. The gate calls it; unknown numbers are streams that have ended.
    pub(crate) fn gone(&self, id: u64) {
        let then = self.shared.lock().running.get_mut(&id).and_then(Running::gone);
        if let Some(then) = then {
            then();
        }
    }

    /// Tells every stream that it is over, and takes no new ones.
    pub(crate) fn close(&self) {
        let then: Vec<_> = {
            let mut shared = self.shared.lock();
            shared.closed = true;
            shared.running.values_mut().filter_map(Running::gone).collect()
        };
        then.into_iter().for_each(|then| then());
    }

    /// Waits for the threads of all streams. Names those that are late.
    pub(crate) fn join(&self, patience: Duration) {
        let end = clock::mono() + patience;
        let mut threads = std::mem::take(&mut self.shared.lock().threads);
        while !threads.is_empty() && clock::mono() < end {
            threads.retain(|thread| !thread.is_finished());
            let _ = crossbeam_channel::after(Duration::from_millis(5)).recv();
        }
        if !threads.is_empty() {
            let names: Vec<&str> = threads.iter().map(Thread::name).collect();
            log::warn!("streams did not end in time threads={}", names.join(","));
        }
    }
}

/// Where a stream's body is written to.
///
/// What is written is collected; [`Write::flush`], or 16 KiB, sends it as one chunk. A write blocks while the
/// client is slow, until the gate gives it up.
pub struct StreamWriter {
    out: Box<dyn Write + Send>,
    waiting: Vec<u8>,
    place: Place,
    trailer: Option<(&'static str, Option<String>)>,
}

impl StreamWriter {
    /// Sends the head and gives a writer for the body.
    pub(crate) fn begin(mut out: Box<dyn Write + Send>, head: &StreamHead, place: Place) -> io::Result<Self> {
        out.write_all(&head_bytes(head, Some(place.id)))?;
        out.flush()?;
        let trailer = head.trailer.map(|name| (name, None));
        Ok(Self { out, waiting: Vec::new(), place, trailer })
    }

    /// Fires when the client is gone or the server stops. To `select!` on beside whatever the stream waits for.
    pub fn gone(&self) -> &Stop {
        &self.place.gone
    }

    /// Has `then` called when the client is gone or the server stops; at once, if that has happened. It runs on
    /// another thread and must not block: it is for ending a read that this stream's thread is blocked in. The last
    /// one that was given counts.
    pub fn when_gone(&self, then: impl FnOnce() + Send + 'static) {
        {
            let mut shared = self.place.streams.shared.lock();
            if let Some(running) = shared.running.get_mut(&self.place.id)
                && running.source.is_some()
            {
                running.when_gone = Some(Box::new(then));
                return;
            }
        }
        then();
    }

    /// Gives the trailer that the head declared a value. Without one the trailer is left out; without a declared
    /// trailer this does nothing.
    pub fn trailer(&mut self, value: impl Into<String>) {
        if let Some((_, slot)) = &mut self.trailer {
            *slot = Some(value.into());
        }
    }

    /// Writes and sends at once.
    ///
    /// # Errors
    /// The client is gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.flush()
    }

    /// Ends the body as HTTP wants it. A writer that is dropped instead leaves the client with a cut-off body,
    /// which is how it learns that something went wrong.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        // Whoever noticed that the server stops ended in good order; that has to be seen as such.
        self.write_chunk()?;
        let mut end = b"0\r\n".to_vec();
        if let Some((name, Some(value))) = &self.trailer {
            end.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        end.extend_from_slice(b"\r\n");
        self.out.write_all(&end)?;
        self.out.flush()
    }

    fn send_chunk(&mut self) -> io::Result<()> {
        if self.place.gone.requested() {
            return Err(io::Error::new(ErrorKind::BrokenPipe, "the stream's client is gone"));
        }
        self.write_chunk()
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut chunk = format!("{:x}\r\n", self.waiting.len()).into_bytes();
        chunk.append(&mut self.waiting);
        chunk.extend_from_slice(b"\r\n");
        self.out.write_all(&chunk)?;
        self.out.flush()
    }
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &bytes[..bytes.len().min(CHUNK_BYTES)];
        self.waiting.extend_from_slice(taken);
        if self.waiting.len() >= CHUNK_BYTES {
            self.send_chunk()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_chunk()
    }
}

/// The head of a streamed answer. Without an id it is the answer to `HEAD`, which has no body.
pub(crate) fn head_bytes(head: &StreamHead, id: Option<u64>) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", head.status, reason(head.status));
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
    line("Content-Type", &head.content_type);
    line("Transfer-Encoding", "chunked");
    if let Some(id) = id {
        line(STREAM_HEADER, &id.to_string());
    }
    if let Some(name) = head.trailer {
        line("Trailer", name);
    }
    head.headers.iter().for_each(|(name, value)| line(name, value));
    text.push_str("\r\n");
    text.into_bytes()
}
