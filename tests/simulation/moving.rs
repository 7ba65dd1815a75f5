//! The mover's thread: its turns are the real [`Mover`]'s, and one node after another is asked for an image, as the real
//! thread does.

use std::collections::VecDeque;

use podling::master::images::NotPrepared;
use podling::master::mover::Mover;
use podling::master::state::{Move, Preparation, State};
use podling::model::time::Now;

use super::images::Readiness;
use super::time::{MS, Micros, SECOND};

/// How long a node may take for its answer.
pub(crate) const PATIENCE: Micros = 3 * SECOND;

/// How long after a turn the next one is due: while something is on the move, and while nothing is. Twice what the real
/// thread waits: most turns find nothing to do.
const PAUSES: (Micros, Micros) = (500 * MS, 2 * SECOND);

/// See the file's header.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    mover: Mover,
    /// Who is to be asked in this turn.
    queue: VecDeque<Preparation>,
    /// Who is being asked, with the call.
    asking: Option<(u64, Preparation)>,
}

impl Moving {
    /// A turn begins, unless one is under way.
    pub(crate) fn begin(&mut self, state: &State, now: Now) {
        if self.asking.is_none() && self.queue.is_empty() && state.has_drains() {
            self.queue = self.mover.keep(state, now).into();
        }
    }

    /// Who is asked next. None: somebody is being asked, or the turn is over.
    pub(crate) fn next(&mut self) -> Option<Preparation> {
        if self.asking.is_some() { None } else { self.queue.pop_front() }
    }

    pub(crate) fn asks(&mut self, call: u64, about: Preparation) {
        self.asking = Some((call, about));
    }

    pub(crate) fn is_asking(&self, call: u64) -> bool {
        self.asking.as_ref().is_some_and(|(asked, _)| *asked == call)
    }

    /// Whether the turn is over.
    pub(crate) fn is_over(&self) -> bool {
        self.asking.is_none() && self.queue.is_empty()
    }

    /// A node answered; None: not in time. Gives what is to be ended once that is durable.
    pub(crate) fn hears(
        &mut self,
        call: u64,
        said: Option<Readiness>,
        state: &State,
        now: Now,
    ) -> Option<podling::master::state::AsOf<Move>> {
        let (_, about) = self.asking.take_if(|(asked, _)| *asked == call)?;
        let said = said.unwrap_or_else(|| Err(NotPrepared::Unreachable("no answer".to_owned())));
        self.mover.take(state, &about, said, now)
    }
}

/// How long after a turn the next one is due.
pub(crate) fn pause(state: &State) -> Micros {
    if state.has_drains() { PAUSES.0 } else { PAUSES.1 }
}
