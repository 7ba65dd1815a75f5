//! The state's three locks, and the one order in which they are taken: nodes, then tasks, then tokens.
//!
//! Order: a thread that holds the tasks never asks for the nodes, and one that holds the tokens asks for neither. The
//! tokens are read for each request, and so have a lock that is never held for long. The journal, the ids and the
//! incoming events have each a short lock of their own, which may be taken with these held and under which none of
//! these is asked for. In debug builds asking anyway panics on the spot, on any run that comes by, instead of standing
//! still once in a million.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::control::nodes::Nodes;
use crate::control::tasks::Tasks;
use crate::control::tokens::Tokens;

use order::Level;

/// The nodes, the tasks and the tokens, each behind its lock.
#[derive(Debug)]
pub(super) struct Locks {
    nodes: RwLock<Nodes>,
    tasks: RwLock<Tasks>,
    tokens: RwLock<Tokens>,
}

impl Locks {
    pub(super) fn new(nodes: Nodes, tasks: Tasks, tokens: Tokens) -> Self {
        Self { nodes: RwLock::new(nodes), tasks: RwLock::new(tasks), tokens: RwLock::new(tokens) }
    }

    pub(super) fn read_nodes(&self) -> RwLockReadGuard<'_, Nodes> {
        order::assert_free_from(Level::Tasks);
        self.nodes.read()
    }

    pub(super) fn write_nodes(&self) -> RwLockWriteGuard<'_, Nodes> {
        order::assert_free_from(Level::Tasks);
        self.nodes.write()
    }

    pub(super) fn read_tasks(&self) -> Held<RwLockReadGuard<'_, Tasks>> {
        order::assert_free_from(Level::Tokens);
        Held::new(self.tasks.read(), Level::Tasks)
    }

    pub(super) fn read_tokens(&self) -> Held<RwLockReadGuard<'_, Tokens>> {
        order::assert_free_from(Level::Tokens);
        Held::new(self.tokens.read(), Level::Tokens)
    }

    pub(super) fn write_tokens(&self) -> Held<RwLockWriteGuard<'_, Tokens>> {
        order::assert_free_from(Level::Tokens);
        Held::new(self.tokens.write(), Level::Tokens)
    }

    pub(super) fn read_both(&self) -> (RwLockReadGuard<'_, Nodes>, Held<RwLockReadGuard<'_, Tasks>>) {
        let nodes = self.read_nodes();
        let tasks = self.read_tasks();
        (nodes, tasks)
    }

    pub(super) fn write_both(&self) -> (RwLockWriteGuard<'_, Nodes>, Held<RwLockWriteGuard<'_, Tasks>>) {
        let nodes = self.write_nodes();
        order::assert_free_from(Level::Tokens);
        let tasks = Held::new(self.tasks.write(), Level::Tasks);
        (nodes, tasks)
    }
}

/// A guard of the tasks or the tokens, which remembers in debug builds that this thread holds one.
pub(super) struct Held<G> {
    guard: G,
    _mark: order::Mark,
}

impl<G> Held<G> {
    fn new(guard: G, level: Level) -> Self {
        Self { guard, _mark: order::Mark::new(level) }
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

mod order {
    /// Which lock, in the order in which they are taken; the nodes come before these.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(super) enum Level {
        Tasks,
        Tokens,
    }

    #[cfg(debug_assertions)]
    mod checked {
        use std::cell::Cell;

        use super::Level;

        thread_local! {
            /// How many guards this thread has, of the tasks and of the tokens.
            static HELD: [Cell<u32>; 2] = const { [Cell::new(0), Cell::new(0)] };
        }

        pub(in super::super) fn assert_free_from(level: Level) {
            let held = HELD.with(|held| held[level as usize..].iter().any(|count| count.get() > 0));
            assert!(!held, "lock order: nodes before tasks before tokens");
        }

        pub(in super::super) struct Mark(Level);

        impl Mark {
            pub(in super::super) fn new(level: Level) -> Self {
                HELD.with(|held| held[level as usize].set(held[level as usize].get() + 1));
                Self(level)
            }
        }

        impl Drop for Mark {
            fn drop(&mut self) {
                let level = self.0 as usize;
                HELD.with(|held| held[level].set(held[level].get() - 1));
            }
        }
    }

    #[cfg(not(debug_assertions))]
    mod checked {
        use super::Level;

        pub(in super::super) fn assert_free_from(_: Level) {}

        pub(in super::super) struct Mark;

        impl Mark {
            pub(in super::super) fn new(_: Level) -> Self {
                Self
            }
        }
    }

    pub(super) use checked::{Mark, assert_free_from};
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn locks() -> Locks {
        Locks::new(Nodes::default(), Tasks::new(Duration::ZERO), Tokens::default())
    }

    #[test]
    #[should_panic(expected = "nodes before tasks")]
    fn the_wrong_order_is_caught_where_it_happens() {
        let locks = locks();
        let _tasks = locks.read_tasks();
        let _nodes = locks.read_nodes();
    }

    #[test]
    #[should_panic(expected = "tasks before tokens")]
    fn the_tokens_come_last() {
        let locks = locks();
        let _tokens = locks.read_tokens();
        let _tasks = locks.read_tasks();
    }
}
