//! Waiting for tasks to end, through whatever happens to the master meanwhile.
//!
//! A waiter asks for its task again and again, at first every 20 ms and then less and less often, half a second
//! apart at most. A master that doesn't answer is waited for as well: that is said once, and given up after ten
//! minutes. A task that finds no node says so after two seconds, while it is still waited for.

pub(crate) mod many;

use std::convert::Infallible;
use std::time::Duration;

use crossbeam_channel::never;

use crate::api::wire::task::TaskView;
use crate::cli::Console;
use crate::cli::error::CliError;
use crate::cli::remote::Remote;
use crate::model::task::TaskStatus;
use crate::model::time::Mono;
use crate::runtime::clock;

/// Between the first two questions.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// Between two questions at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a task may be pending before it is said what it waits for.
const PATIENT_FOR: Duration = Duration::from_secs(2);
/// How long a master may not answer before nobody waits for it any more.
const LONGEST_OUTAGE: Duration = Duration::from_secs(600);

/// Lets time pass.
pub(crate) fn pause(duration: Duration) {
    // Nothing ever comes: the wait ends by its deadline.
    let _ = never::<Infallible>().recv_timeout(duration);
}

/// Pauses that grow.
#[derive(Debug)]
pub(crate) struct Pace(Duration);

impl Pace {
    /// From the shortest.
    pub(crate) const fn new() -> Self {
        Self(SHORTEST_PAUSE)
    }

    /// Lets the next pause pass, but not beyond a deadline.
    pub(crate) fn wait(&mut self, deadline: Option<Mono>) {
        let left = deadline.map_or(self.0, |deadline| deadline.since(clock::mono()));
        pause(self.0.min(left));
        self.0 = (self.0 * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Bears with a master that doesn't answer, for a while.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Mono>,
}

impl Patience {
    /// It answered.
    pub(crate) const fn answered(&mut self) {
        self.since = None;
    }

    /// It did not. Says so the first time.
    ///
    /// # Errors
    /// The error itself, where asking again won't help, or has not helped for too long.
    pub(crate) fn bear(&mut self, error: CliError, console: &mut Console<'_>) -> Result<(), CliError> {
        if !error.is_retryable() {
            return Err(error);
        }
        let now = clock::mono();
        match self.since {
            Some(since) if now.since(since) > LONGEST_OUTAGE => Err(error),
            Some(_) => Ok(()),
            None => {
                self.since = Some(now);
                console.say(format_args!("{error}: trying again"));
                Ok(())
            }
        }
    }
}

/// Says, once, what a task waits for that has waited for a while.
#[derive(Debug)]
pub(crate) struct Outlook {
    since: Mono,
    has_told: bool,
}

impl Outlook {
    /// From now on.
    pub(crate) fn new() -> Self {
        Self { since: clock::mono(), has_told: false }
    }

    /// Looks at the task as it is.
    pub(crate) fn look(&mut self, task: &TaskView, console: &mut Console<'_>) {
        if let Some(detail) = task.detail.as_ref().filter(|_| task.status == TaskStatus::Pending) {
            self.tell(task.name.as_str(), detail, console);
        }
    }

    /// Looks at a task that is pending.
    pub(crate) fn tell(&mut self, name: &str, detail: &str, console: &mut Console<'_>) {
        let is_slow = clock::mono().since(self.since) > PATIENT_FOR;
        if is_slow && !std::mem::replace(&mut self.has_told, true) {
            console.say(format_args!("{name} is pending: {detail}"));
        }
    }
}

/// Waits until a task has ended or the deadline has passed, and gives its last state.
///
/// # Errors
/// The master says no, or hasn't answered for ten minutes.
pub(crate) fn until_end(
    remote: &Remote,
    mut task: TaskView,
    deadline: Option<Mono>,
    console: &mut Console<'_>,
) -> Result<TaskView, CliError> {
    let (mut pace, mut patience, mut outlook) = (Pace::new(), Patience::default(), Outlook::new());
    while !task.status.is_terminal() && deadline.is_none_or(|deadline| clock::mono() < deadline) {
        pace.wait(deadline);
        // By its id: the name may come to mean another task.
        match remote.task(task.task_id.as_str()) {
            Ok(now) => {
                task = now;
                patience.answered();
                outlook.look(&task, console);
            }
            Err(error) => patience.bear(error, console)?,
        }
    }
    Ok(task)
}

/// As [`until_end`], where what goes wrong is said and isn't the end: `None` is a task whose end won't be known.
///
/// # Errors
/// The output can't be written.
pub(crate) fn until_known(
    remote: &Remote,
    task: TaskView,
    deadline: Option<Mono>,
    console: &mut Console<'_>,
) -> Result<Option<TaskView>, CliError> {
    match until_end(remote, task, deadline, console) {
        Ok(task) => Ok(Some(task)),
        Err(CliError::Output(error)) => Err(CliError::Output(error)),
        Err(error @ (CliError::Usage(_) | CliError::Call { .. } | CliError::Failed(_))) => {
            console.say(error);
            Ok(None)
        }
    }
}
