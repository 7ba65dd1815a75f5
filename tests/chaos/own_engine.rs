//! The Engine that one worker has for itself, and that is killed and stopped.

use std::sync::Arc;

use crate::recorder::Recorder;

pub(crate) struct OwnEngine;

impl OwnEngine {
    pub(crate) fn kill(&mut self, _: &Arc<Recorder>) {}
    pub(crate) fn start(&mut self) {}
    pub(crate) fn stand_still(&mut self, _: bool) {}
    pub(crate) fn tend(&mut self, _: &Arc<Recorder>) {}
    pub(crate) fn wait_until_it_answers(&mut self) {}
}
