//! The end of a walk: the log goes to the worker's disk, the container goes.

use super::{Monitor, Outcome};
use crate::engine::{EngineError, LogRequest};

/// How often a log is tried to be stored: a disk that is full may have room again.
const MOST_TRIES: u32 = 5;

impl Monitor {
    /// Copies the whole log from the Engine to the worker's disk. An Engine that doesn't answer is asked again; a log
    /// that can't be had, or can't be stored, is given up and said to be so.
    ///
    /// # Errors
    /// The process stops.
    pub(super) fn collect_log(&self) -> Result<(), Outcome> {
        let mut tries = 0;
        loop {
            let container = self.ground.desired.find(&self.key().task, Some(self.key().attempt));
            let Some(container) = container.and_then(|(_, held)| held.container) else { return Ok(()) };
            let records = self.ground.engine.logs(&container, LogRequest { follow: false });
            let (task, attempt) = (&self.key().task, self.key().attempt);
            let why = match records.map(|records| self.ground.logs.collect(task, attempt, records)) {
                Ok(Ok(())) => return Ok(()),
                Err(error) if error.is_retryable() => error.to_string(),
                Ok(Err(error)) if error.is_retryable() && tries < MOST_TRIES => error.to_string(),
                Err(error) => return self.give_log_up(&error),
                Ok(Err(error)) => return self.give_log_up(&error),
            };
            log::debug!("a log was not collected yet task={} because={why}", self.key());
            tries += 1;
            self.pause()?;
        }
    }

    fn give_log_up(&self, why: &dyn std::error::Error) -> Result<(), Outcome> {
        log::warn!("a log was lost task={} because={why}", self.key());
        Ok(())
    }

    /// Removes the container, however long it takes until the Engine answers. One that was made by a call whose answer
    /// was lost is found by its name.
    ///
    /// # Errors
    /// The process stops.
    pub(super) fn remove(&self) -> Result<(), Outcome> {
        let name = self.container_key()?.container_name();
        loop {
            let known = self.ground.desired.find(&self.key().task, Some(self.key().attempt));
            let known = known.and_then(|(_, held)| held.container);
            let removed = self.with_slot(|engine| match known {
                Some(container) => engine.remove(&container),
                None => match engine.inspect(&name) {
                    Ok(found) => engine.remove(&found.id),
                    Err(EngineError::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error),
                },
            });
            match removed {
                Ok(()) => return Ok(()),
                Err(error) => {
                    log::warn!("a container was not removed yet task={} because={error}", self.key());
                    self.pause()?;
                }
            }
        }
    }
}
