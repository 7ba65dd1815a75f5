//! How a task moves on: one function, one arm per step.
//!
//! [`Task::advance`] takes a [`Step`] where the task's state allows it and refuses it otherwise, without a change.
//! Nothing else in the program writes a task's state.
//!
//! Invariant: (attempt, state) never decreases. Terminal absorbs.

use super::{
    Ended, Ending, MAX_REFUSALS, Outcome, Placement, Reason, Refused, Step, StopIntent, Task, TaskState,
};
use crate::model::id::{ContainerId, NodeId};
use crate::model::time::WallTime;

impl Task {
    /// Takes a step, or says why it isn't one.
    ///
    /// # Errors
    /// [`Refused::AlreadySo`] where the task is there already, [`Refused::Backward`] where it is past it. The task is
    /// unchanged then.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use podling::model::{spec::*, task::*, time::WallTime};
    /// # let spec = TaskSpec::of_image("busybox".parse().unwrap());
    /// let at = WallTime::from_unix_millis(1);
    /// let id = "01JD0000000000000000000000".parse().unwrap();
    /// let mut task = Task::new(id, "web".parse().unwrap(), Arc::new(spec), None, at);
    /// let waited = Step::Expire { at, why: "no node is online".to_owned() };
    /// assert_eq!(task.advance(waited.clone()), Ok(()));
    /// assert_eq!(task.status(), TaskStatus::Failed);
    /// assert_eq!(task.advance(waited), Err(Refused::AlreadySo));
    /// ```
    pub fn advance(&mut self, step: Step) -> Result<(), Refused> {
        match step {
            Step::Place(on) => self.place(on),
            Step::Progress { detail } => self.progress(detail),
            Step::Start { container, at } => self.start(container, at),
            Step::End(ending) => self.end(ending),
            Step::Refuse { at, why } => self.refuse(at, why),
            Step::Stop(intent) => self.ask_to_stop(intent),
            Step::Expire { at, why } => self.expire(at, why),
            Step::Lose { at, why } => self.lose(at, why),
            Step::Reserve { node } => self.reserve(node),
            Step::Unreserve => self.unreserve(),
            Step::Move { at } => self.move_off(at),
        }
    }

    fn place(&mut self, on: Placement) -> Result<(), Refused> {
        match &self.state {
            TaskState::Pending { .. } => {
                self.state = TaskState::Scheduled { on, detail: None };
                self.reserved = None;
                Ok(())
            }
            TaskState::Scheduled { on: held, .. } if *held == on => Err(Refused::AlreadySo),
            TaskState::Scheduled { .. } | TaskState::Running { .. } | TaskState::Ended(_) => {
                Err(Refused::Backward)
            }
        }
    }

    fn progress(&mut self, news: String) -> Result<(), Refused> {
        match &mut self.state {
            TaskState::Scheduled { detail, .. } if detail.as_ref() == Some(&news) => Err(Refused::AlreadySo),
            TaskState::Scheduled { detail, .. } => {
                *detail = Some(news);
                Ok(())
            }
            TaskState::Pending { .. } | TaskState::Running { .. } | TaskState::Ended(_) => {
                Err(Refused::Backward)
            }
        }
    }

    fn start(&mut self, container: ContainerId, at: WallTime) -> Result<(), Refused> {
        match &self.state {
            TaskState::Scheduled { on, .. } => {
                self.state = TaskState::Running { on: on.clone(), container, started_at: at };
                Ok(())
            }
            TaskState::Running { container: held, .. } if *held == container => Err(Refused::AlreadySo),
            TaskState::Pending { .. } | TaskState::Running { .. } | TaskState::Ended(_) => {
                Err(Refused::Backward)
            }
        }
    }

    fn end(&mut self, ending: Ending) -> Result<(), Refused> {
        let (on, running) = match &self.state {
            TaskState::Scheduled { on, .. } => (on.clone(), None),
            TaskState::Running { on, container, started_at } => {
                (on.clone(), Some((container.clone(), *started_at)))
            }
            TaskState::Pending { .. } => return Err(Refused::Backward),
            TaskState::Ended(_) => return Err(Refused::AlreadySo),
        };
        let (container, started_at) = match running {
            Some((container, started_at)) => (Some(container), Some(started_at)),
            None => (ending.container, ending.started_at),
        };
        let outcome = outcome(ending.reason, ending.exit_code, self.stop.is_some());
        // `failed` never has exit code 0: an Engine that lost a container may still say so.
        let exit_code = ending.exit_code.filter(|code| *code != 0 || !matches!(outcome, Outcome::Failed(_)));
        self.end_attempt(Ended {
            outcome,
            on: Some(on),
            container,
            started_at,
            finished_at: ending.at,
            exit_code,
            error: ending.error,
        });
        Ok(())
    }

    fn refuse(&mut self, at: WallTime, why: String) -> Result<(), Refused> {
        let TaskState::Scheduled { on, .. } = &self.state else {
            return Err(Refused::Backward);
        };
        let on = on.clone();
        let refusal = |outcome, error| Ended {
            outcome,
            on: Some(on.clone()),
            container: None,
            started_at: None,
            finished_at: at,
            exit_code: None,
            error,
        };
        if self.stop.is_some() {
            self.finish(refusal(Outcome::Stopped, None));
        } else if self.refused_by.len() >= MAX_REFUSALS {
            self.end_attempt(refusal(Outcome::Failed(Reason::Engine), Some(why)));
        } else {
            self.refused_by.push(on.node.clone());
            let detail = format!("{} refused attempt {}: {why}", on.node, self.attempt);
            let refused = refusal(Outcome::Failed(Reason::Engine), Some(format!("refused: {why}")));
            self.start_over(refused, detail, None);
        }
        Ok(())
    }

    fn ask_to_stop(&mut self, intent: StopIntent) -> Result<(), Refused> {
        if matches!(self.state, TaskState::Ended(_)) {
            return Err(Refused::AlreadySo);
        }
        let merged = match self.stop {
            // The earlier of two deadlines wins. The node, which counts from when it first heard, keeps its own
            // earlier deadline, so the shorter grace is all that it must be told.
            Some(held) if held.grace <= intent.grace => return Err(Refused::AlreadySo),
            Some(held) => StopIntent { requested_at: held.requested_at, grace: intent.grace },
            None => intent,
        };
        self.stop = Some(merged);
        self.reserved = None;
        if matches!(self.state, TaskState::Pending { .. }) {
            self.finish_unplaced(Outcome::Stopped, intent.requested_at, None);
        }
        Ok(())
    }

    fn expire(&mut self, at: WallTime, why: String) -> Result<(), Refused> {
        match &self.state {
            TaskState::Pending { .. } => {
                self.finish_unplaced(Outcome::Failed(Reason::NoNode), at, Some(why));
                Ok(())
            }
            TaskState::Ended(_) => Err(Refused::AlreadySo),
            TaskState::Scheduled { .. } | TaskState::Running { .. } => Err(Refused::Backward),
        }
    }

    fn lose(&mut self, at: WallTime, why: String) -> Result<(), Refused> {
        match &self.state {
            TaskState::Scheduled { .. } | TaskState::Running { .. } => self.end(Ending {
                at,
                reason: Some(Reason::NodeLost),
                exit_code: None,
                error: Some(why),
                container: None,
                started_at: None,
            }),
            TaskState::Pending { .. } => Err(Refused::Backward),
            TaskState::Ended(_) => Err(Refused::AlreadySo),
        }
    }

    fn reserve(&mut self, node: NodeId) -> Result<(), Refused> {
        match &self.state {
            TaskState::Scheduled { .. } | TaskState::Running { .. } if self.is_to_end() => {
                Err(Refused::Backward)
            }
            TaskState::Scheduled { on, .. } | TaskState::Running { on, .. } if on.node == node => {
                Err(Refused::Backward)
            }
            TaskState::Scheduled { .. } | TaskState::Running { .. }
                if self.reserved.as_ref() == Some(&node) =>
            {
                Err(Refused::AlreadySo)
            }
            TaskState::Scheduled { .. } | TaskState::Running { .. } => {
                self.reserved = Some(node);
                Ok(())
            }
            TaskState::Pending { .. } | TaskState::Ended(_) => Err(Refused::Backward),
        }
    }

    fn unreserve(&mut self) -> Result<(), Refused> {
        self.reserved.take().map(drop).ok_or(Refused::AlreadySo)
    }

    fn move_off(&mut self, at: WallTime) -> Result<(), Refused> {
        match &self.state {
            TaskState::Scheduled { .. } | TaskState::Running { .. } if self.moving.is_some() => {
                Err(Refused::AlreadySo)
            }
            TaskState::Scheduled { .. } | TaskState::Running { .. }
                if self.stop.is_none() && self.reserved.is_some() =>
            {
                self.moving = Some(at);
                Ok(())
            }
            TaskState::Pending { .. }
            | TaskState::Scheduled { .. }
            | TaskState::Running { .. }
            | TaskState::Ended(_) => Err(Refused::Backward),
        }
    }

    /// It comes to its end while it waits for a node.
    fn finish_unplaced(&mut self, outcome: Outcome, at: WallTime, error: Option<String>) {
        self.finish(Ended {
            outcome,
            on: None,
            container: None,
            started_at: None,
            finished_at: at,
            exit_code: None,
            error,
        });
    }
}

/// How an attempt's end reads as a task's. A task that was asked to stop is `stopped` unless its command had ended
/// well before the signal; one that ends with 0 by itself is `completed`, whatever the OOM flag says.
fn outcome(reason: Option<Reason>, exit_code: Option<i32>, stop_asked: bool) -> Outcome {
    match (reason, exit_code) {
        (None | Some(Reason::ExitCode | Reason::OomKilled), Some(0)) => Outcome::Completed,
        _ if stop_asked => Outcome::Stopped,
        // Not by a user of the cluster but by the node's own operator, who drained it.
        (Some(Reason::Stopped), _) => Outcome::Stopped,
        (Some(reason), _) => Outcome::Failed(reason),
        (None, Some(_)) => Outcome::Failed(Reason::ExitCode),
        (None, None) => Outcome::Failed(Reason::Engine),
    }
}
