//! What a worker does for POST /images: it asks its Engine, pulls what is missing, and says how far it is. The thread
//! `images` of the real one does the same, one answer for each question.

use std::collections::BTreeMap;

use podling::engine::EngineError;
use podling::master::images::{NotPrepared, Prepared};
use podling::model::spec::ImageRef;

use super::time::{Micros, SECOND};

/// How long a pull that failed stands as the answer before it is tried again.
const TRY_AGAIN: Micros = 5 * SECOND;

/// How an image stands with a worker.
pub(crate) type Readiness = Result<Prepared, NotPrepared>;

/// The images that are to be ready.
#[derive(Debug, Default)]
pub(crate) struct Images {
    /// Questions that the Engine was asked for: by the number of that call, the master's call and the image.
    asked: BTreeMap<u64, (u64, ImageRef)>,
    /// Pulls that are under way, by the number of the Engine's call.
    pulls: BTreeMap<u64, ImageRef>,
    /// Until when a pull that failed stands as the answer.
    failed: BTreeMap<String, Micros>,
}

impl Images {
    /// What can be said at once.
    pub(crate) fn known(&self, image: &ImageRef, now: Micros) -> Option<Readiness> {
        if self.pulls.values().any(|pulled| pulled == image) {
            return Some(Ok(pulling(image)));
        }
        let failed = self.failed.get(image.as_str()).is_some_and(|until| *until > now);
        failed.then(|| Err(NotPrepared::Failed(format!("{image} can't be had"))))
    }

    pub(crate) fn asks_engine(&mut self, number: u64, call: u64, image: ImageRef) {
        self.asked.insert(number, (call, image));
    }

    pub(crate) fn pulls(&mut self, number: u64, image: ImageRef) {
        self.pulls.insert(number, image);
    }

    /// The Engine said whether it has an image: whose question that was.
    pub(crate) fn held(&mut self, number: u64) -> Option<(u64, ImageRef)> {
        self.asked.remove(&number)
    }

    /// A pull is over.
    pub(crate) fn pulled(&mut self, number: u64, done: &Result<(), EngineError>, now: Micros) {
        if let Some(image) = self.pulls.remove(&number)
            && matches!(done, Err(EngineError::Pull { .. }))
        {
            self.failed.insert(image.as_str().to_owned(), now + TRY_AGAIN);
        }
    }
}

pub(crate) fn pulling(image: &ImageRef) -> Prepared {
    Prepared::Pulling { detail: format!("pulling {image}") }
}
