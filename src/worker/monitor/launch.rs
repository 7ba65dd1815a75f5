//! The beginning of a walk: have the image, make the container, start it.
//!
//! Invariant: a container is made under a name that is made of cluster, task and attempt, so the Engine itself refuses
//! a second one; what it holds under that name is taken up. `start` is called only on a container that never ran.
//! An attempt is refused (and so tried elsewhere) only where no start was ever asked for, or the Engine said that it
//! did not start.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{after, select};

use super::observe::{self, FailedStart};
use super::{Monitor, Outcome};
use crate::control::reconcile::Order;
use crate::engine::{ContainerRequest, EngineError, Observed, PullProgress};
use crate::model::id::ContainerId;
use crate::model::resources::MemoryBytes;
use crate::model::spec::{ImageRef, PullPolicy};
use crate::model::task::{Ending, Reason};
use crate::runtime::clock;
use crate::worker::leash::Cause;
use crate::worker::pulls::News;
use crate::worker::reporter::Step;

/// How often a creation is tried at an Engine that doesn't answer, a pause apart, before another node may try.
const MOST_TRIES: u32 = 20;

/// How often an image is fetched for one attempt: it may be removed again before the container is made.
const MOST_PULLS: u32 = 3;

/// A container that an earlier process made is looked at twice, so far apart, before it is started: that process may
/// have asked for its start.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// How often a monitor that waits for a lease looks whether there is one.
const LEASE_LOOK: Duration = Duration::from_millis(100);

impl Monitor {
    /// Makes the container, fetching the image where that is needed.
    pub(super) fn make(&self, order: &Order) -> Result<ContainerId, Outcome> {
        let key = self.container_key()?;
        let request = ContainerRequest {
            key,
            spec: Arc::clone(&order.spec),
            index: order.index,
            log_max_bytes: self.ground.log_max_bytes,
        };
        if order.spec.pull == PullPolicy::Always {
            self.pull(&order.spec.image)?;
        }
        let (mut tries, mut pulls) = (0, 0);
        loop {
            self.end_if_pulled()?;
            match self.with_slot(|engine| engine.create(&request)) {
                Ok(container) => {
                    self.ground.desired.observe_container(self.key(), &container);
                    return Ok(container);
                }
                Err(EngineError::NameTaken { name }) => return self.take_up(&name, &request),
                Err(EngineError::ImageMissing { image }) if order.spec.pull == PullPolicy::Never => {
                    let why = format!("{image} is not on this node, and it is never to be pulled");
                    return Err(failed(Reason::ImagePull, why));
                }
                Err(EngineError::ImageMissing { .. }) if pulls < MOST_PULLS => {
                    pulls += 1;
                    self.pull(&order.spec.image)?;
                }
                Err(EngineError::Rejected { why, .. }) => return Err(failed(Reason::InvalidSpec, why)),
                Err(error) if error.is_retryable() && tries < MOST_TRIES => {
                    tries += 1;
                    self.pause()?;
                }
                Err(error) => return Err(Outcome::Refused(error.to_string())),
            }
        }
    }

    /// The Engine holds a container under this attempt's name: it is this attempt's, made by a call whose answer was
    /// lost, or it is somebody else's.
    fn take_up(&self, name: &str, request: &ContainerRequest) -> Result<ContainerId, Outcome> {
        loop {
            match self.with_slot(|engine| engine.inspect(name)) {
                Ok(found) if found.key.as_ref() == Some(&request.key) => {
                    self.ground.desired.observe_container(self.key(), &found.id);
                    return Ok(found.id);
                }
                Ok(_) => return Err(Outcome::Refused(format!("somebody else's container is called {name}"))),
                Err(error) if error.is_retryable() => self.pause()?,
                Err(error) => return Err(Outcome::Refused(error.to_string())),
            }
        }
    }

    /// Fetches an image, telling how far it has come. Ends early where the attempt is to stop.
    fn pull(&self, image: &ImageRef) -> Result<(), Outcome> {
        self.busy_with(format!("pulling {image}"));
        let news = self.ground.pulls.listen(image);
        loop {
            select! {
                recv(news) -> heard => match heard {
                    Ok(News::Progress(progress)) => self.busy_with(progress_in_words(progress)),
                    Ok(News::Done(Ok(()))) => return Ok(()),
                    Ok(News::Done(Err(error @ EngineError::Pull { .. }))) => {
                        return Err(failed(Reason::ImagePull, error.to_string()));
                    }
                    Ok(News::Done(Err(error))) => return Err(Outcome::Refused(error.to_string())),
                    Err(_) => return Err(Outcome::Left),
                },
                recv(self.leash().pulled()) -> _ => self.end_if_pulled()?,
                recv(self.ground.stop.channel_ref()) -> _ => return Err(Outcome::Left),
            }
        }
    }

    fn busy_with(&self, detail: String) {
        self.ground.desired.observe_progress(self.key(), &detail);
        self.tell(Step::Progress(detail));
    }

    /// Ends the attempt here and now if it is to stop: nothing of it runs yet.
    fn end_if_pulled(&self) -> Result<(), Outcome> {
        if self.ground.stop.requested() {
            return Err(Outcome::Left);
        }
        if !self.leash().is_pulled() {
            return Ok(());
        }
        Err(match self.leash().cause() {
            Some(Cause::Lease) => {
                failed(Reason::LeaseExpired, "the node's lease ran out before it ran".to_owned())
            }
            Some(Cause::Asked) | None => failed(Reason::Stopped, "it was to stop before it ran".to_owned()),
        })
    }

    /// Whether the container may be started now: where it runs under the node's lease, only while that is held.
    fn may_start(&self) -> bool {
        !self.ground.desired.is_leased(self.key()) || self.ground.lease.may_start()
    }

    /// Waits until the lease is renewed, or the attempt is to end: because the lease ran out meanwhile, or a set
    /// doesn't name it any more.
    fn await_lease(&self) -> Result<(), Outcome> {
        while !self.may_start() && !self.leash().is_pulled() {
            select! {
                recv(self.leash().pulled()) -> _ => {}
                recv(after(LEASE_LOOK)) -> _ => {}
                recv(self.ground.stop.channel_ref()) -> _ => return Err(Outcome::Left),
            }
        }
        Ok(())
    }

    /// Starts the container, and gives what the Engine then says of it. `by_another`: an earlier process made it.
    pub(super) fn start(&self, container: &ContainerId, by_another: bool) -> Result<Observed, Outcome> {
        if by_another {
            let seen = self.look(container)?;
            if !observe::is_fresh(&seen) {
                return self.started_or_broken(seen);
            }
            if self.ground.stop.wait(SECOND_LOOK) {
                return Err(Outcome::Left);
            }
        }
        loop {
            if by_another || self.leash().is_pulled() {
                let seen = self.look(container)?;
                if !observe::is_fresh(&seen) {
                    return self.started_or_broken(seen);
                }
            }
            self.end_if_pulled()?;
            // Order: the slot first, because waiting for one may take longer than the lease lasts.
            let started =
                self.with_slot(|engine| self.may_start().then(|| engine.start(container)).transpose());
            match started {
                Ok(None) => self.await_lease()?,
                Ok(Some(())) => return self.look(container),
                Err(EngineError::NotFound { .. }) => return Err(self.vanished(None)),
                Err(EngineError::Failed { why, .. } | EngineError::Rejected { why, .. }) => {
                    return self.explain_failed_start(container, &why);
                }
                // It may have started for all we know: look, as often as it takes.
                Err(error) => {
                    log::debug!("a start broke off task={} because={error}", self.key());
                    self.pause()?;
                    let seen = self.look(container)?;
                    if !observe::is_fresh(&seen) {
                        return self.started_or_broken(seen);
                    }
                }
            }
        }
    }

    /// What was seen of a container that isn't fresh any more.
    fn started_or_broken(&self, seen: Observed) -> Result<Observed, Outcome> {
        if seen.started_at.is_some() {
            return Ok(seen);
        }
        Err(self.failed_start(&seen, &seen.error))
    }

    fn explain_failed_start(&self, container: &ContainerId, why: &str) -> Result<Observed, Outcome> {
        let seen = self.look(container)?;
        if observe::runs(&seen) {
            return Ok(seen);
        }
        Err(self.failed_start(&seen, why))
    }

    fn failed_start(&self, seen: &Observed, why: &str) -> Outcome {
        let (reason, exit_code) = match observe::failed_start(why, seen.exit_code) {
            FailedStart::Port => return Outcome::Refused(why.to_owned()),
            FailedStart::Command(code) => (Reason::Start, Some(code)),
            FailedStart::Engine => (Reason::Engine, None),
        };
        Outcome::Ended(Ending {
            at: clock::wall(),
            reason: Some(reason),
            exit_code,
            error: Some(why.to_owned()),
            container: Some(seen.id.clone()),
            started_at: None,
        })
    }
}

/// The end of an attempt that never had a container that ran.
fn failed(reason: Reason, why: String) -> Outcome {
    Outcome::Ended(Ending {
        at: clock::wall(),
        reason: Some(reason),
        exit_code: None,
        error: Some(why),
        container: None,
        started_at: None,
    })
}

/// `pulling 412 MiB of 1.1 GiB`.
fn progress_in_words(progress: PullProgress) -> String {
    let [current, total] = [progress.current_bytes, progress.total_bytes].map(MemoryBytes);
    if progress.total_bytes == 0 {
        format!("pulling {current}")
    } else {
        format!("pulling {current} of {total}")
    }
}
