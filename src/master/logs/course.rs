//! Which attempts' logs a reader gets, in which order, and from which nodes. Values in, values out.
//!
//! A task's log is its attempts' logs, one after the other: a [`Chapter`] for each attempt that was placed and is still
//! known, the past ones first ([`Task::past`]), the one that counts now last. What is older than that is told of by
//! number alone.

use std::iter;
use std::ops::RangeInclusive;

use crate::model::id::{Attempt, ContainerId, NodeId};
use crate::model::task::{Outcome, Past, Reason, Task, TaskState};
use crate::model::time::WallTime;

/// One attempt's log, as a part of its task's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chapter {
    pub(super) attempt: Attempt,
    /// Where it is, or was.
    pub(super) node: NodeId,
    pub(super) stage: Stage,
}

/// How far its attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was placed, and hasn't been heard to run.
    Awaited,
    /// It runs.
    Growing,
    /// It is over, and wrote something for all that is known here.
    Closed,
    /// It is over, and nothing of it ever ran.
    Empty,
}

impl Stage {
    /// Whether nothing more comes.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Empty)
    }
}

/// What a follower does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Reads this.
    Read(Chapter),
    /// Waits: the next attempt isn't placed yet.
    Wait,
    /// Nothing: there is no more, and there will be none.
    Over,
}

/// The attempts whose logs may still be had, oldest first.
pub(super) fn chapters(task: &Task) -> impl DoubleEndedIterator<Item = Chapter> {
    task.past.iter().map(past).chain(iter::once(current(task)).flatten())
}

/// What comes next, from an attempt on; `only`: of one attempt alone.
pub(super) fn next(task: &Task, only: Option<Attempt>, from: Attempt) -> Next {
    let is_wanted =
        |chapter: &Chapter| chapter.attempt >= from && only.is_none_or(|only| only == chapter.attempt);
    if let Some(found) = chapters(task).find(is_wanted) {
        return Next::Read(found);
    }
    let no_more = task.status().is_terminal() || only.is_some_and(|only| only < task.attempt.max(from));
    if no_more { Next::Over } else { Next::Wait }
}

/// Where a reader of the end begins: with the last attempt that may have written something.
pub(super) fn last(task: &Task) -> Attempt {
    let may_have_written = |chapter: &Chapter| matches!(chapter.stage, Stage::Growing | Stage::Closed);
    chapters(task).rev().find(may_have_written).map_or(task.attempt, |chapter| chapter.attempt)
}

/// The node that has an attempt's log; without a number, that of the last attempt that was placed.
pub fn keeper(task: &Task, attempt: Option<Attempt>) -> Option<&NodeId> {
    let past = task.past.iter().map(|past| (past.attempt, &past.on));
    let mut placed = past.chain(task.placement().map(|on| (task.attempt, on)));
    let found = match attempt {
        Some(asked) => placed.find(|(attempt, _)| *attempt == asked),
        None => placed.last(),
    };
    found.map(|(_, on)| &on.node)
}

/// The attempts between `from` and `until`, which are too old to be known. None: there are none.
pub(super) fn too_old(from: Attempt, until: Attempt) -> Option<RangeInclusive<u32>> {
    (from < until).then(|| from.0..=until.0 - 1)
}

/// The first attempt that is known.
pub(super) fn first_known(task: &Task) -> Attempt {
    chapters(task).next().map_or(task.attempt, |chapter| chapter.attempt)
}

fn past(past: &Past) -> Chapter {
    let stage = closed(past.reason, past.started_at, past.container.as_ref());
    Chapter { attempt: past.attempt, node: past.on.node.clone(), stage }
}

fn current(task: &Task) -> Option<Chapter> {
    let stage = match &task.state {
        TaskState::Pending { .. } | TaskState::Scheduled { .. } => Stage::Awaited,
        TaskState::Running { .. } => Stage::Growing,
        TaskState::Ended(ended) => {
            let reason = match ended.outcome {
                Outcome::Completed => None,
                Outcome::Failed(reason) => Some(reason),
                Outcome::Stopped => Some(Reason::Stopped),
            };
            closed(reason, ended.started_at, ended.container.as_ref())
        }
    };
    let node = task.placement()?.node.clone();
    Some(Chapter { attempt: task.attempt, node, stage })
}

/// An attempt whose node was lost may have run without that being heard.
fn closed(reason: Option<Reason>, started_at: Option<WallTime>, container: Option<&ContainerId>) -> Stage {
    let has_run = started_at.is_some() || container.is_some() && reason != Some(Reason::Start);
    if has_run || reason == Some(Reason::NodeLost) { Stage::Closed } else { Stage::Empty }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::id::Revision;
    use crate::model::restart::{Restart, RestartPolicy};
    use crate::model::spec::TaskSpec;
    use crate::model::task::{Ending, Placement, Step, StopIntent};

    const AT: WallTime = WallTime::from_unix_millis(1);

    /// A task after these steps: `p1` placed on n1, `s` started, `e` ended with 1, `k` its command can't be started,
    /// `l` its node is lost, `x` stopped.
    fn task(steps: &str) -> Task {
        let spec = TaskSpec {
            restart: Restart::new(RestartPolicy::OnFailure, None).unwrap(),
            on_node_lost: crate::model::spec::OnNodeLost::Reschedule,
            ..TaskSpec::of_image("busybox".parse().unwrap())
        };
        let id = "01JD0000000000000000000000".parse().unwrap();
        let mut task = Task::new(id, "web".parse().unwrap(), Arc::new(spec), None, AT);
        let ending = |reason, exit_code| Ending {
            at: AT,
            reason: Some(reason),
            exit_code,
            error: None,
            container: None,
            started_at: None,
        };
        for step in steps.split_whitespace() {
            let step = match step.split_at(1) {
                ("p", node) => {
                    let node = format!("n{node}").parse().unwrap();
                    Step::Place(Placement { node, at: AT, revision: Revision(1) })
                }
                ("s", _) => Step::Start { container: "c0ffee".parse().unwrap(), at: AT },
                ("e", _) => Step::End(ending(Reason::ExitCode, Some(1))),
                ("k", _) => Step::End(ending(Reason::Start, Some(127))),
                ("l", _) => Step::Lose { at: AT, why: "silent".to_owned() },
                ("x", _) => {
                    let grace = std::time::Duration::ZERO;
                    Step::Stop(StopIntent { requested_at: AT, grace })
                }
                other => panic!("{other:?}"),
            };
            task.advance(step).unwrap();
        }
        task
    }

    fn told(task: &Task) -> String {
        let chapters: Vec<String> = chapters(task)
            .map(|chapter| format!("{} {} {:?}", chapter.attempt, chapter.node, chapter.stage))
            .collect();
        chapters.join(", ")
    }

    #[test]
    fn every_attempt_that_was_placed_has_a_chapter_and_its_node() {
        assert_eq!(told(&task("")), "");
        assert_eq!(told(&task("p1")), "1 n1 Awaited");
        assert_eq!(told(&task("p1 s e")), "1 n1 Closed");
        assert_eq!(told(&task("p1 s e p2 k p1 s")), "1 n1 Closed, 2 n2 Empty, 3 n1 Growing");
        assert_eq!(told(&task("p1 l p2 s e x")), "1 n1 Closed, 2 n2 Closed");
    }

    #[test]
    fn a_follower_goes_from_attempt_to_attempt_and_ends_with_the_task() {
        let number = |task: &Task, only: Option<u32>, from| match next(task, only.map(Attempt), Attempt(from))
        {
            Next::Read(chapter) => format!("{}", chapter.attempt),
            Next::Wait => "wait".to_owned(),
            Next::Over => "over".to_owned(),
        };
        let waiting = task("p1 s e p2 s e");
        let all: Vec<String> = (1..=3).map(|from| number(&waiting, None, from)).collect();
        assert_eq!(all, ["1", "2", "wait"]);
        assert_eq!([1, 2].map(|from| number(&waiting, Some(1), from)), ["1", "over"]);
        assert_eq!([1, 3].map(|from| number(&waiting, Some(3), from)), ["wait", "wait"]);
        let stopped = task("p1 s e p2 s e x");
        assert_eq!([2, 3].map(|from| number(&stopped, None, from)), ["2", "over"]);
        let runs = task("p1 s");
        assert_eq!([1, 2].map(|from| number(&runs, Some(1), from)), ["1", "over"]);
    }

    #[test]
    fn the_end_of_a_log_is_in_the_last_attempt_that_wrote_something() {
        for (steps, last_one) in [("", 1), ("p1", 1), ("p1 s", 1), ("p1 s e", 1), ("p1 s e p1", 1)] {
            assert_eq!(last(&task(steps)).0, last_one, "{steps}");
        }
        assert_eq!(last(&task("p1 s e p2 s e p1 k")).0, 2);
        assert_eq!(last(&task("p1 s e p2 s")).0, 2);
    }

    #[test]
    fn what_is_too_old_is_known_by_number() {
        let mut old = task("p1 s e p2 s e p1 s e");
        assert_eq!(first_known(&old).0, 1);
        old.past.drain(..2);
        assert_eq!(first_known(&old).0, 3);
        assert_eq!(too_old(Attempt(1), first_known(&old)), Some(1..=2));
        assert_eq!(too_old(Attempt(3), first_known(&old)), None);
    }
}
