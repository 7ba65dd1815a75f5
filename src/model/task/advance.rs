//! How a task moves on: one function, one arm per step.
//!
//! [`Task::advance`] takes a [`Step`] where the task's state allows it and refuses it otherwise, without a change.
//! Nothing else in the program writes a task's state.
//!
//! Invariant: (attempt, state) never decreases. Terminal absorbs.

use super::{
    Ended, Ending, MAX_REFUSALS, Outcome, Placement, Reason, Refused, Step, StopIntent, Task, TaskState,
};
use crate::model::id::ContainerId;
use crate::model::spec::OnNodeLost;
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
    /// # let spec = TaskSpec { image: "busybox".parse().unwrap(), command: vec![], env: Variables::default(),
    /// #     labels: Labels::default(), ports: Ports::default(), cpu: None, memory: None, network: Network::None,
    /// #     pull: PullPolicy::Never, user: None, workdir: None, pending_timeout: None,
    /// #     on_node_lost: OnNodeLost::Fail, stop_grace: DEFAULT_STOP_GRACE };
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
        }
    }

    fn place(&mut self, on: Placement) -> Result<(), Refused> {
        match &self.state {
            TaskState::Pending { .. } => {
                self.state = TaskState::Scheduled { on, detail: None };
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
        let on = match &self.state {
            TaskState::Scheduled { on, .. } | TaskState::Running { on, .. } => on.clone(),
            TaskState::Pending { .. } => return Err(Refused::Backward),
            TaskState::Ended(_) => return Err(Refused::AlreadySo),
        };
        if ending.reason == Some(Reason::LeaseExpired) && self.may_be_rescheduled() {
            let why = format!("the lease of {} ran out, which ended attempt {}", on.node, self.attempt);
            self.start_over(on, ending.at, why);
            return Ok(());
        }
        let (container, started_at) = match &self.state {
            TaskState::Running { container, started_at, .. } => (Some(container.clone()), Some(*started_at)),
            TaskState::Pending { .. } | TaskState::Scheduled { .. } | TaskState::Ended(_) => {
                (ending.container, ending.started_at)
            }
        };
        let outcome = outcome(ending.reason, ending.exit_code, self.stop.is_some());
        // `failed` never has exit code 0: an Engine that lost a container may still say so.
        let exit_code = ending.exit_code.filter(|code| *code != 0 || !matches!(outcome, Outcome::Failed(_)));
        self.state = TaskState::Ended(Ended {
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
        if self.stop.is_some() {
            self.finish(Outcome::Stopped, Some(on), at, None);
        } else if self.refused_by.len() >= MAX_REFUSALS {
            self.finish(Outcome::Failed(Reason::Engine), Some(on), at, Some(why));
        } else {
            self.refused_by.push(on.node.clone());
            let detail = Some(format!("{} refused attempt {}: {why}", on.node, self.attempt));
            self.attempt = self.attempt.next();
            self.state = TaskState::Pending { since: at, detail };
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
        if matches!(self.state, TaskState::Pending { .. }) {
            self.finish(Outcome::Stopped, None, intent.requested_at, None);
        }
        Ok(())
    }

    fn expire(&mut self, at: WallTime, why: String) -> Result<(), Refused> {
        match &self.state {
            TaskState::Pending { .. } => {
                self.finish(Outcome::Failed(Reason::NoNode), None, at, Some(why));
                Ok(())
            }
            TaskState::Ended(_) => Err(Refused::AlreadySo),
            TaskState::Scheduled { .. } | TaskState::Running { .. } => Err(Refused::Backward),
        }
    }

    fn lose(&mut self, at: WallTime, why: String) -> Result<(), Refused> {
        match &self.state {
            TaskState::Scheduled { on, .. } | TaskState::Running { on, .. } if self.may_be_rescheduled() => {
                // Nobody can tell from here whether the node's worker and its Engine still obey the lease.
                let why = format!("{why}; the container of attempt {} may still run there", self.attempt);
                self.start_over(on.clone(), at, why);
                Ok(())
            }
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

    /// Whether it gets another attempt when its node is lost. Whoever asked for its end gets that instead.
    fn may_be_rescheduled(&self) -> bool {
        self.spec.on_node_lost == OnNodeLost::Reschedule && self.stop.is_none()
    }

    /// Waits for a node again, another one than `on` if possible. Counts against nothing.
    fn start_over(&mut self, on: Placement, at: WallTime, why: String) {
        self.attempt = self.attempt.next();
        self.lost_on = Some(on.node);
        self.state = TaskState::Pending { since: at, detail: Some(why) };
    }

    fn finish(&mut self, outcome: Outcome, on: Option<Placement>, at: WallTime, error: Option<String>) {
        self.state = TaskState::Ended(Ended {
            outcome,
            on,
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
