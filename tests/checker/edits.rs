//! Small edits of the good story, of which broken and allowed histories are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use podling::control::change::Change;
use podling::model::id::{Revision, TaskId};
use podling::model::node::{Availability, Registration};
use podling::model::spec::{Labels, PortMapping, Ports, Protocol, TaskSpec};
use podling::model::task::{Placement, Reason, Step};
use podling::model::time::WallTime;

use super::story::Story;
use super::world::node;
use crate::checker::history::{Entry, Left, Millis, Seen, What};

/// A small change of the story.
pub(crate) type Edit = fn(&mut Story);

/// The end of a container that was told to end is told as if it had ended by itself.
pub(crate) fn is_told_by_its_code(story: &mut Story, task: &str) {
    let container = story.container(task, 1);
    story.change(|what| match what {
        What::Committed { change: Change::Advanced { step: Step::End(ending), .. }, .. }
            if ending.container.as_ref() == Some(&container) =>
        {
            ending.reason = Some(Reason::ExitCode);
            true
        }
        _ => false,
    });
}

impl Story {
    pub(crate) fn find(&self, is_meant: impl Fn(&What) -> bool) -> usize {
        self.history.entries.iter().position(|entry| is_meant(&entry.what)).unwrap()
    }

    /// Changes every entry for which `edit` says that it did. One at least.
    pub(crate) fn change(&mut self, edit: impl Fn(&mut What) -> bool) {
        let count =
            self.history.entries.iter_mut().filter_map(|entry| edit(&mut entry.what).then_some(())).count();
        assert!(count > 0, "the story has changed");
    }

    pub(crate) fn drop(&mut self, is_meant: impl Fn(&Entry) -> bool) {
        let before = self.history.entries.len();
        self.history.entries.retain(|entry| !is_meant(entry));
        assert!(self.history.entries.len() < before, "the story has changed");
    }

    /// Puts something at a moment, before whatever else happened then.
    pub(crate) fn put(&mut self, at: Millis, what: What) {
        let index = self.history.entries.partition_point(|entry| entry.at < at);
        self.history.entries.insert(index, Entry { at, what });
    }

    /// Moves the last placement of a task to another moment.
    pub(crate) fn replace(&mut self, to: Millis, task: &TaskId) {
        let is_meant = |entry: &Entry| matches!(&entry.what, What::Committed { change: Change::Advanced { task: of, step: Step::Place(_) }, .. } if of == task);
        let index = self.history.entries.iter().rposition(is_meant).unwrap();
        let Entry { what, .. } = self.history.entries.remove(index);
        self.put(to, what);
    }

    pub(crate) fn shift(&mut self, to: Millis, is_meant: impl Fn(&What) -> bool) {
        let index = self.find(is_meant);
        let Entry { what, .. } = self.history.entries.remove(index);
        self.put(to, what);
    }

    pub(crate) fn rest(&mut self) -> (&mut Vec<Seen>, &mut Vec<Left>) {
        let last = self.history.entries.last_mut().unwrap();
        let What::Rested { tasks, containers } = &mut last.what else { panic!("the story has changed") };
        (tasks, containers)
    }

    pub(crate) fn at_rest(&mut self, task: &str) -> &mut Seen {
        self.rest().0.iter_mut().find(|seen| seen.spec.ends_with(task)).unwrap()
    }

    pub(crate) fn commit(&mut self, at: Millis, change: Change) {
        self.put(at, What::Committed { position: Revision(0), change });
        let mut last = 0;
        for entry in &mut self.history.entries {
            if let What::Committed { position, .. } = &mut entry.what {
                last += 1;
                *position = Revision(last);
            }
        }
    }

    pub(crate) fn step(&mut self, at: Millis, task: &TaskId, step: Step) {
        self.commit(at, Change::Advanced { task: task.clone(), step });
    }

    pub(crate) fn place(&mut self, at: Millis, task: &TaskId, on: &str) {
        let on = Placement { node: node(on), at: WallTime::default(), revision: Revision(1) };
        self.step(at, task, Step::Place(on));
    }

    pub(crate) fn drain(&mut self, at: Millis, name: &str) {
        let availability = Availability::Draining;
        self.commit(at, Change::Availability { node: node(name), availability });
    }

    pub(crate) fn open(&mut self, at: Millis, name: &str) {
        let availability = Availability::Active;
        self.commit(at, Change::Availability { node: node(name), availability });
    }

    /// Has a task ask for something else, as nobody but the checker reads it.
    pub(crate) fn respec(&mut self, task: &TaskId, edit: impl Fn(&mut TaskSpec)) {
        self.change(|what| match what {
            What::Committed { change: Change::Created(creation), .. } => {
                let mut found = creation.tasks.iter_mut().filter(|new| new.id == *task);
                found.next().is_some_and(|new| {
                    edit(Arc::make_mut(&mut new.spec));
                    true
                })
            }
            _ => false,
        });
    }

    /// The container of an attempt.
    pub(crate) fn container(&self, task: &str, attempt: u32) -> podling::model::id::ContainerId {
        let id = match task {
            "plain" => &self.plain,
            "moved" => &self.moved,
            "halted" => &self.halted,
            "lapsed" => &self.lapsed,
            "shifted" => &self.shifted,
            "steady" => &self.steady,
            other => panic!("{other} has none"),
        };
        format!("c{id}a{attempt}").parse().unwrap()
    }
}

pub(crate) fn is_step(what: &What, is_meant: impl Fn(&Step) -> bool) -> bool {
    matches!(what, What::Committed { change: Change::Advanced { step, .. }, .. } if is_meant(step))
}

/// Whether a node's status changes: `n2`'s, once.
pub(crate) fn is_status(what: &What) -> bool {
    matches!(what, What::Committed { change: Change::Status { .. }, .. })
}

/// Edits the registrations of a node.
pub(crate) fn registration(story: &mut Story, name: &str, edit: impl Fn(&mut Registration)) {
    story.change(|what| match what {
        What::Committed { change: Change::Registered { registration, .. }, .. }
            if registration.node_id == node(name) =>
        {
            edit(registration);
            true
        }
        _ => false,
    });
}

/// Gives a task a port of its host.
pub(crate) fn asks_for_a_port(story: &mut Story, task: &TaskId, protocol: Protocol) {
    let ports = Ports::new(vec![PortMapping { host: 8080, container: 80, protocol }]).unwrap();
    story.respec(task, |spec| spec.ports = ports.clone());
}

/// Has a task ask for a node with a label.
pub(crate) fn asks_for_ssd(story: &mut Story, task: &TaskId) {
    let asked = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
    story.respec(task, |spec| spec.constraints = Labels::new(asked.clone()).unwrap());
}
