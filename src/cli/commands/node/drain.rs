//! Watching a drain: what leaves a node, where it goes, and what is left.
//!
//! The master does the draining; here its tasks are looked at twice a second, and each thing that happens is a line. A
//! master that doesn't answer for a while is waited for. The lines are made by [`Departures`], which knows no master.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Session;
use crate::api::routes;
use crate::api::wire::node::NodeView;
use crate::api::wire::task::TaskView;
use crate::api::wire::why::WhyView;
use crate::cli::error::CliError;
use crate::cli::exit;
use crate::cli::remote::Remote;
use crate::cli::render::text::age;
use crate::cli::waiting::{self, Patience};
use crate::model::id::TaskId;
use crate::model::node::Availability;
use crate::runtime::clock;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// How many looks a task that left may take to show where it went.
const LOOKS_FOR_A_PLACE: u32 = 20;

/// Drains a node, and waits until it is empty or the deadline is over.
///
/// # Errors
/// See [`CliError`].
pub(super) fn drain(
    node: &str,
    deadline: Option<Duration>,
    session: &mut Session<'_, '_>,
) -> Result<u8, CliError> {
    let until = deadline.map(|deadline| clock::mono() + deadline);
    session.remote.set_availability(node, Availability::Draining)?;
    let (mut departures, mut patience) = (Departures::default(), Patience::default());
    loop {
        let look = match look(node, &mut departures, &session.remote) {
            Ok(look) => look,
            Err(error) => {
                patience.bear(error, session.console)?;
                waiting::pause(PAUSE);
                continue;
            }
        };
        patience.answered();
        look.lines.iter().try_for_each(|line| session.console.line(line))?;
        if look.is_empty {
            session.console.line(&format!("{node} is empty"))?;
            return Ok(exit::DONE);
        }
        if !look.is_draining {
            session.console.say(format_args!("{node} is no longer being drained"));
            return Ok(exit::FAILED);
        }
        if until.is_some_and(|until| clock::mono() >= until) {
            let after = age(deadline.unwrap_or_default());
            let left = departures.left().join(", ");
            session.console.say(format_args!("after {after} {node} still has: {left}"));
            return Ok(exit::FAILED);
        }
        waiting::pause(until.map_or(PAUSE, |until| until.since(clock::mono()).min(PAUSE)));
    }
}

/// What one look came to.
struct Look {
    lines: Vec<String>,
    is_empty: bool,
    is_draining: bool,
}

fn look(node: &str, departures: &mut Departures, remote: &Remote) -> Result<Look, CliError> {
    let view: NodeView = remote.get(&routes::node(node))?;
    let present = tasks_of(node, remote)?;
    let mut lines = departures.see(&present);
    for id in departures.gone() {
        match remote.task(id.as_str()) {
            Ok(task) => lines.extend(departures.went(&task)),
            Err(error) if error.problem_code() == Some("task_not_found") => departures.forget(&id),
            Err(error) => return Err(error),
        }
    }
    Ok(Look {
        lines,
        is_empty: view.running_tasks == 0 && present.is_empty() && departures.is_empty(),
        is_draining: view.availability == Availability::Draining,
    })
}

fn tasks_of(node: &str, remote: &Remote) -> Result<Vec<TaskView>, CliError> {
    let path = format!("{}?status=scheduled,running&node={}", routes::TASKS, routes::escape(node));
    let mut found = Vec::new();
    remote.pages(&path, |page| {
        for task in page {
            let task = serde_json::from_str(task.get());
            found.push(task.map_err(|error| CliError::Failed(format!("the master's answer: {error}")))?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Says what draining would do, and does nothing.
///
/// # Errors
/// See [`CliError`].
pub(super) fn rehearse(node: &str, session: &mut Session<'_, '_>) -> Result<u8, CliError> {
    let view: NodeView = session.remote.get(&routes::node(node))?;
    for task in tasks_of(view.node_id.as_str(), &session.remote)? {
        let line = if may_move(&task) {
            let why: WhyView = session.remote.get(&routes::task_why(task.task_id.as_str()))?;
            let place = why.nodes.iter().find(|one| one.fits && one.node_id != view.node_id);
            match place {
                Some(place) => format!("{} would move, to {} as things are now", named(&task), place.node_id),
                None => format!("{} would stay for now: no other node fits", named(&task)),
            }
        } else {
            format!("{} would be waited for (on_node_lost is fail)", named(&task))
        };
        session.console.line(&line)?;
    }
    if view.running_tasks == 0 {
        session.console.line(&format!("{node} is empty"))?;
    }
    Ok(exit::DONE)
}

fn may_move(task: &TaskView) -> bool {
    task.spec.on_node_lost.as_deref() == Some("reschedule")
}

fn named(task: &TaskView) -> String {
    format!("{} ({})", task.name, task.task_id)
}

/// The tasks that were seen on the node, and what was last said of each.
#[derive(Debug, Default)]
struct Departures {
    here: BTreeMap<TaskId, Told>,
    /// Those that aren't there any more and haven't shown where they went, with how often that was looked for.
    gone: BTreeMap<TaskId, u32>,
}

#[derive(Debug)]
struct Told {
    name: String,
    said: String,
}

impl Departures {
    /// Takes up who is there. Gives what is new, a line each.
    fn see(&mut self, present: &[TaskView]) -> Vec<String> {
        let mut lines = Vec::new();
        for task in present {
            let says = state_of(task);
            let told = self.here.entry(task.task_id.clone());
            let told = told.or_insert_with(|| Told { name: named(task), said: String::new() });
            if told.said != says {
                lines.push(format!("{}: {says}", told.name));
                told.said = says;
            }
        }
        let is_there = |id: &TaskId| present.iter().any(|task| task.task_id == *id);
        let left: Vec<TaskId> = self.here.keys().filter(|id| !is_there(id)).cloned().collect();
        for id in left {
            self.here.remove(&id);
            self.gone.insert(id, 0);
        }
        lines
    }

    /// Those whose whereabouts aren't known yet.
    fn gone(&self) -> Vec<TaskId> {
        self.gone.keys().cloned().collect()
    }

    /// Takes up where one went. Gives the line, once it has come to rest.
    fn went(&mut self, task: &TaskView) -> Option<String> {
        let looks = self.gone.get_mut(&task.task_id)?;
        *looks += 1;
        let line = match (&task.node_id, task.status.is_terminal()) {
            (_, true) => format!("{}: {}", named(task), task.status.as_str()),
            (Some(node), false) => format!("{}: now on {node}, attempt {}", named(task), task.attempt),
            (None, false) if *looks >= LOOKS_FOR_A_PLACE => {
                let why = task.detail.as_deref().unwrap_or("no node yet");
                format!("{}: off the node, and pending: {why}", named(task))
            }
            (None, false) => return None,
        };
        self.gone.remove(&task.task_id);
        Some(line)
    }

    fn forget(&mut self, id: &TaskId) {
        self.gone.remove(id);
    }

    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.gone.is_empty()
    }

    /// Who is still there, by name, with what was last said of each.
    fn left(&self) -> Vec<String> {
        self.here.values().map(|told| format!("{}, {}", told.name, told.said)).collect()
    }
}

/// What a task on the node is about to do, in words.
fn state_of(task: &TaskView) -> String {
    match &task.detail {
        Some(detail) => detail.clone(),
        None if task.stop_requested_at.is_some() => "it is being stopped".to_owned(),
        None => "it is there".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;
    use crate::model::id::Attempt;
    use crate::model::task::TaskStatus;

    fn running(detail: &str) -> TaskView {
        TaskView {
            status: TaskStatus::Running,
            node_id: Some("worker-1".parse().unwrap()),
            detail: Some(detail.to_owned()),
            ..sample::task()
        }
    }

    #[test]
    fn each_thing_that_happens_is_said_once() {
        let mut departures = Departures::default();
        let web = "web (01JD0000000000000000000001)";
        assert_eq!(departures.see(&[running("moves to worker-2")]), [format!("{web}: moves to worker-2")]);
        assert!(departures.see(&[running("moves to worker-2")]).is_empty());
        assert_eq!(departures.left(), [format!("{web}, moves to worker-2")]);
        assert!(departures.see(&[]).is_empty() && !departures.is_empty());
        assert_eq!(departures.went(&TaskView { ..sample::task() }), None, "it waits for its place");
        let placed =
            TaskView { attempt: Attempt(2), node_id: Some("worker-2".parse().unwrap()), ..running("x") };
        assert_eq!(departures.went(&placed), Some(format!("{web}: now on worker-2, attempt 2")));
        assert!(departures.is_empty());
    }

    #[test]
    fn what_ends_by_itself_is_said_too() {
        let mut departures = Departures::default();
        departures.see(&[running("its node is drained, and waits for its end")]);
        departures.see(&[]);
        let ended = TaskView { status: TaskStatus::Completed, ..running("x") };
        assert_eq!(departures.went(&ended), Some("web (01JD0000000000000000000001): completed".to_owned()));
    }
}
