//! The calls that go through dockworker: start, stop, kill, wait, remove. The only file that names it or tokio.
//!
//! dockworker is async inside; [`Dockworker`] owns a small private runtime and blocks on it, with a deadline and
//! a guard against panics around each call (it unwraps parts of redirects). A call that is cut short is dropped,
//! which closes its connection. Each call costs two connections: one for a redirect, one for the answer.
//!
//! It loses the HTTP status and gives the Engine's words alone, so the words decide here what went wrong. Its
//! other calls aren't sound for our needs, each for a reason: create (knows neither `NanoCpus` nor the log driver
//! `local`), inspect (fails where `Env` is null), list (no filters), logs (frame headers end up in the text),
//! pull (hides errors). Those go through `http.rs`.

use std::error::Error as _;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use dockworker::Docker;
use dockworker::errors::Error as Cause;
use dockworker::signal::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::address::Address;
use crate::engine::EngineError;
use crate::model::id::ContainerId;
use crate::runtime::supervise::panic_message;

/// Threads that drive the connections. The callers' own threads do the waiting.
const RUNTIME_THREADS: usize = 2;

/// The number of the signal KILL.
const SIGKILL: i32 = 9;

/// A dockworker client that blocks.
#[derive(Debug)]
pub(super) struct Dockworker {
    runtime: Runtime,
    docker: Docker,
    /// True once calls are to end: this process does.
    closed: watch::Sender<bool>,
}

/// What came of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    /// It runs now.
    Yes,
    /// An empty answer. The Engine's 304, "runs already", looks like this; so would an error without a body.
    EmptyAnswer,
}

/// Why a call has no result.
enum Fault {
    Late,
    Closed,
    Panicked(String),
    Dockworker(Cause),
}

impl Dockworker {
    /// For the Engine at an address. Doesn't connect yet.
    pub(super) fn new(address: &Address) -> Result<Self, EngineError> {
        let fail = |why: String| EngineError::Failed { operation: "connect", why };
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("dockworker")
            .enable_all()
            .build()
            .map_err(|error| fail(error.to_string()))?;
        let docker = match address {
            Address::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy()),
            Address::Loopback(address) => Docker::connect_with_http(&format!("tcp://{address}")),
        };
        Ok(Self {
            runtime,
            docker: docker.map_err(|error| fail(words(&error)))?,
            closed: watch::Sender::new(false),
        })
    }

    /// Ends every call that blocks, and those to come.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Starts a container.
    pub(super) fn start(&self, id: &ContainerId, at_most: Duration) -> Result<Started, EngineError> {
        match self.run(at_most, self.docker.start_container(id.as_str())) {
            Ok(()) => Ok(Started::Yes),
            Err(Fault::Dockworker(Cause::Json(error))) if error.is_eof() => Ok(Started::EmptyAnswer),
            Err(fault) => Err(explain("start", id, at_most, &fault)),
        }
    }

    /// Sends the image's stop signal (TERM, mostly); the Engine sends KILL after `grace`, in whole seconds.
    /// Returns when the container has ended, or `at_most` has passed.
    pub(super) fn stop(
        &self,
        id: &ContainerId,
        grace: Duration,
        at_most: Duration,
    ) -> Result<(), EngineError> {
        self.run(at_most, self.docker.stop_container(id.as_str(), grace))
            .map_err(|fault| explain("stop", id, at_most, &fault))
    }

    /// Sends KILL. A container that doesn't run is success.
    pub(super) fn kill(&self, id: &ContainerId, at_most: Duration) -> Result<(), EngineError> {
        let signal = Signal::from_c_int(SIGKILL)
            .map_err(|error| EngineError::Failed { operation: "kill", why: words(&error) })?;
        match self.run(at_most, self.docker.kill_container(id.as_str(), signal)) {
            Err(Fault::Dockworker(Cause::Docker(said))) if said.message.contains("is not running") => Ok(()),
            other => other.map_err(|fault| explain("kill", id, at_most, &fault)),
        }
    }

    /// Blocks until the container doesn't run: true; or until `at_most` has passed: false. True at once for one
    /// that was never started.
    pub(super) fn wait(&self, id: &ContainerId, at_most: Duration) -> Result<bool, EngineError> {
        match self.run(at_most, self.docker.wait_container(id.as_str())) {
            Ok(_) => Ok(true),
            Err(Fault::Late) => Ok(false),
            Err(fault) => Err(explain("wait", id, at_most, &fault)),
        }
    }

    /// Removes a container by force, with its log and its anonymous volumes. One that is gone, or is being
    /// removed already, is success.
    pub(super) fn remove(&self, id: &ContainerId, at_most: Duration) -> Result<(), EngineError> {
        let call = self.docker.remove_container(id.as_str(), Some(true), Some(true), Some(false));
        match self.run(at_most, call) {
            Ok(()) => Ok(()),
            Err(Fault::Dockworker(Cause::Docker(said))) if is_removed(&said.message) => Ok(()),
            Err(fault) => Err(explain("remove", id, at_most, &fault)),
        }
    }

    fn run<T>(&self, at_most: Duration, call: impl Future<Output = Result<T, Cause>>) -> Result<T, Fault> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // A timer belongs to a runtime, so it has to be made inside of it.
            self.runtime.block_on(async { tokio::time::timeout(at_most, self.unless_closed(call)).await })
        }));
        match outcome {
            Ok(Ok(result)) => result,
            Ok(Err(_elapsed)) => Err(Fault::Late),
            Err(payload) => Err(Fault::Panicked(panic_message(payload.as_ref()))),
        }
    }

    async fn unless_closed<T>(&self, call: impl Future<Output = Result<T, Cause>>) -> Result<T, Fault> {
        let mut closed = self.closed.subscribe();
        let (closed, call) = (pin!(closed.wait_for(|closed| *closed)), pin!(call));
        match first(closed, call).await {
            Some(result) => result.map_err(Fault::Dockworker),
            None => Err(Fault::Closed),
        }
    }
}

/// What `call` comes to, unless `end` comes first.
async fn first<T>(mut end: Pin<&mut impl Future>, mut call: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => end.as_mut().poll(context).map(|_| None),
    })
    .await
}

fn is_removed(message: &str) -> bool {
    message.contains("No such container")
        || (message.contains("removal of container") && message.contains("is already in progress"))
}

fn explain(operation: &'static str, id: &ContainerId, at_most: Duration, fault: &Fault) -> EngineError {
    match fault {
        Fault::Late => EngineError::TimedOut { operation, after: at_most },
        Fault::Closed => {
            EngineError::Unreachable { operation, why: "this process has closed its line".to_owned() }
        }
        Fault::Panicked(why) => EngineError::Malformed { operation, why: why.clone() },
        Fault::Dockworker(cause) => translate(operation, id, cause),
    }
}

fn translate(operation: &'static str, id: &ContainerId, cause: &Cause) -> EngineError {
    match cause {
        Cause::Docker(said) if said.message.contains("No such container") => {
            EngineError::NotFound { subject: id.to_string() }
        }
        Cause::Docker(said) => EngineError::Failed { operation, why: said.message.trim().to_owned() },
        Cause::Io(_)
        | Cause::Hyper(_)
        | Cause::ConnectionRefused(_)
        | Cause::ConnectionReset(_)
        | Cause::CouldNotConnect { .. } => EngineError::Unreachable { operation, why: words(cause) },
        // An answer that ends before it began: the Engine went away.
        Cause::Json(error) if error.is_eof() => EngineError::Unreachable { operation, why: words(cause) },
        Cause::Json(_)
        | Cause::Envvar(_)
        | Cause::Response(_)
        | Cause::Http(_)
        | Cause::InvalidUri { .. }
        | Cause::NoCertPath
        | Cause::ParseError { .. }
        | Cause::SslDisabled
        | Cause::UnsupportedScheme { .. }
        | Cause::Poison { .. }
        | Cause::Unknown { .. } => EngineError::Malformed { operation, why: words(cause) },
    }
}

/// The innermost cause: dockworker's own words for it are "hyper error" and the like. Four of its variants carry
/// their cause without naming it as their source.
fn words(cause: &Cause) -> String {
    if let Cause::Io(error) = cause {
        return error.to_string();
    }
    if let Cause::Hyper(error) = cause {
        return innermost(error);
    }
    if let Cause::ConnectionRefused(error) | Cause::ConnectionReset(error) = cause {
        return innermost(error.as_ref());
    }
    cause.source().map_or_else(|| cause.to_string(), innermost)
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockworker::errors::DockerError;

    fn said(message: &str) -> EngineError {
        let id = "c0ffee".parse().unwrap();
        translate("start", &id, &Cause::Docker(DockerError { message: message.to_owned() }))
    }

    #[test]
    fn the_engines_words_decide_what_went_wrong() {
        assert_eq!(said("No such container: c0ffee"), EngineError::NotFound { subject: "c0ffee".to_owned() });
        let why = "OCI runtime create failed: exec: \"nope\": executable file not found in $PATH".to_owned();
        assert_eq!(said(&format!("{why}\n")), EngineError::Failed { operation: "start", why });
        assert!(is_removed("No such container: c0ffee"));
        assert!(is_removed("removal of container c0ffee is already in progress"));
        assert!(!is_removed("driver failed to remove root filesystem: device busy"));
    }

    #[test]
    fn a_panic_inside_is_an_error_outside() {
        let worker = Dockworker::new(&Address::parse(Some("unix:///nowhere")).unwrap()).unwrap();
        let fault =
            worker.run(Duration::from_secs(1), async { if true { panic!("on purpose") } else { Ok(()) } });
        assert!(matches!(fault, Err(Fault::Panicked(text)) if text == "on purpose"));
    }

    #[test]
    fn nobody_there_is_told_from_no() {
        let worker = Dockworker::new(&Address::parse(Some("unix:///nowhere")).unwrap()).unwrap();
        let id = "c0ffee".parse().unwrap();
        let error = worker.start(&id, Duration::from_secs(1)).unwrap_err();
        assert!(
            matches!(&error, EngineError::Unreachable { why, .. } if why.contains("No such file")),
            "{error:?}"
        );
    }
}
