//! What happens to an attempt, as this worker tells the master.

use crate::model::id::ContainerId;
use crate::model::task::Ending;
use crate::model::time::WallTime;

/// What happened to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is busy with something.
    Progress(String),
    /// Its container runs.
    Running(ContainerId, WallTime),
    /// It ended.
    Ended(Ending),
    /// No container was started for it, and none ever will be.
    Refused(String, WallTime),
}

impl Step {
    /// Whether the Engine holds a container that would tell this end again.
    pub const fn is_told_by_a_container(&self) -> bool {
        match self {
            Self::Ended(ending) => ending.started_at.is_some() && ending.exit_code.is_some(),
            Self::Refused(..) | Self::Progress(_) | Self::Running(..) => false,
        }
    }
}
