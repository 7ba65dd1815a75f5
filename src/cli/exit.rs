//! Exit codes: what a shell, a script or a CI job learns.
//!
//! Where a command waits for one task, its exit code is the Engine's, as with `docker run`. Invariant: nothing but
//! a task that `completed` ever gives 0. A task that was told to stop and then ended with 0 gives 1; one that never
//! had a container, or whose end can't be learned, gives 125.

use crate::api::wire::task::TaskView;
use crate::model::task::{Reason, TaskStatus};

/// Done.
pub const DONE: u8 = 0;
/// The cluster said no, or can't be reached.
pub const FAILED: u8 = 1;
/// A `--timeout` ran out.
pub const TIMED_OUT: u8 = 124;
/// The task didn't complete, and there is no exit code of its own.
pub const NO_CODE: u8 = 125;
/// The command can't be started.
const CAN_NOT_START: u8 = 126;
/// A second Ctrl-C: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;
/// The reader of stdout went away: 128 and the number of SIGPIPE.
pub const READER_GONE: u8 = 141;

/// The exit code that stands for a task's end.
pub fn of_task(task: &TaskView) -> u8 {
    match (task.status, task.exit_code, task.reason) {
        (TaskStatus::Completed, _, _) => DONE,
        (TaskStatus::Pending | TaskStatus::Scheduled | TaskStatus::Running, _, _) => NO_CODE,
        // It was told to stop and ended with 0: an end, but not what was asked for.
        (TaskStatus::Failed | TaskStatus::Stopped, Some(0), _) => FAILED,
        (TaskStatus::Failed | TaskStatus::Stopped, Some(code), _) => u8::try_from(code).unwrap_or(NO_CODE),
        (TaskStatus::Failed | TaskStatus::Stopped, None, Some(Reason::Start)) => CAN_NOT_START,
        (TaskStatus::Failed | TaskStatus::Stopped, None, _) => NO_CODE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;

    #[test]
    fn only_what_completed_gives_0() {
        for (status, code, reason, exits) in [
            (TaskStatus::Completed, Some(0), None, 0),
            (TaskStatus::Failed, Some(7), Some(Reason::ExitCode), 7),
            (TaskStatus::Failed, Some(127), Some(Reason::Start), 127),
            (TaskStatus::Failed, None, Some(Reason::Start), 126),
            (TaskStatus::Failed, Some(137), Some(Reason::OomKilled), 137),
            (TaskStatus::Failed, None, Some(Reason::NoNode), 125),
            (TaskStatus::Failed, Some(0), Some(Reason::Engine), 1),
            (TaskStatus::Failed, Some(256), Some(Reason::ExitCode), 125),
            (TaskStatus::Failed, Some(-1), Some(Reason::ExitCode), 125),
            (TaskStatus::Stopped, Some(143), Some(Reason::Stopped), 143),
            (TaskStatus::Stopped, Some(0), Some(Reason::Stopped), 1),
            (TaskStatus::Stopped, None, Some(Reason::Stopped), 125),
            (TaskStatus::Running, None, None, 125),
        ] {
            let task = TaskView { status, exit_code: code, reason, ..sample::task() };
            assert_eq!(of_task(&task), exits, "{status:?} {code:?} {reason:?}");
        }
    }
}
