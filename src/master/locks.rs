//! The state's two locks, and the one order in which they are taken: nodes, then tasks.
//!
//! Order: a thread that holds the tasks never asks for the nodes. The journal, the ids and the incoming events have each
//! a short lock of their own, which may be taken with these held and under which none of these is asked for. In debug builds asking anyway panics on the spot,
//! on any run that comes by, instead of standing still once in a million.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::control::nodes::Nodes;
use crate::control::tasks::Tasks;

/// The nodes and the tasks, each behind its lock.
#[derive(Debug)]
pub(super) struct Locks {
    nodes: RwLock<Nodes>,
    tasks: RwLock<Tasks>,
}

impl Locks {
    pub(super) fn new(nodes: Nodes, tasks: Tasks) -> Self {
        Self { nodes: RwLock::new(nodes), tasks: RwLock::new(tasks) }
    }

    pub(super) fn read_nodes(&self) -> RwLockReadGuard<'_, Nodes> {
        order::assert_tasks_free();
        self.nodes.read()
    }

    pub(super) fn write_nodes(&self) -> RwLockWriteGuard<'_, Nodes> {
        order::assert_tasks_free();
        self.nodes.write()
    }

    pub(super) fn read_tasks(&self) -> Held<RwLockReadGuard<'_, Tasks>> {
        Held::new(self.tasks.read())
    }

    pub(super) fn read_both(&self) -> (RwLockReadGuard<'_, Nodes>, Held<RwLockReadGuard<'_, Tasks>>) {
        let nodes = self.read_nodes();
        let tasks = self.read_tasks();
        (nodes, tasks)
    }

    pub(super) fn write_both(&self) -> (RwLockWriteGuard<'_, Nodes>, Held<RwLockWriteGuard<'_, Tasks>>) {
        let nodes = self.write_nodes();
        let tasks = Held::new(self.tasks.write());
        (nodes, tasks)
    }
}

/// A guard of the tasks, which remembers in debug builds that this thread holds one.
pub(super) struct Held<G> {
    guard: G,
    _mark: order::Mark,
}

impl<G> Held<G> {
    fn new(guard: G) -> Self {
        Self { guard, _mark: order::Mark::new() }
    }
}

impl<G: std::ops::Deref> std::ops::Deref for Held<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: std::ops::DerefMut> std::ops::DerefMut for Held<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

#[cfg(debug_assertions)]
mod order {
    use std::cell::Cell;

    thread_local! {
        static TASKS_HELD: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn assert_tasks_free() {
        assert_eq!(TASKS_HELD.get(), 0, "lock order: nodes before tasks");
    }

    pub(super) struct Mark;

    impl Mark {
        pub(super) fn new() -> Self {
            TASKS_HELD.set(TASKS_HELD.get() + 1);
            Self
        }
    }

    impl Drop for Mark {
        fn drop(&mut self) {
            TASKS_HELD.set(TASKS_HELD.get() - 1);
        }
    }
}

#[cfg(not(debug_assertions))]
mod order {
    pub(super) fn assert_tasks_free() {}

    pub(super) struct Mark;

    impl Mark {
        pub(super) fn new() -> Self {
            Self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[should_panic(expected = "nodes before tasks")]
    fn the_wrong_order_is_caught_where_it_happens() {
        let locks = Locks::new(Nodes::default(), Tasks::new(Duration::ZERO));
        let _tasks = locks.read_tasks();
        let _nodes = locks.read_nodes();
    }
}
