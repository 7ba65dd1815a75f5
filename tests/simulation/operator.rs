//! The operator: closes nodes, drains them and opens them again, and opens all of them at the end.

use std::collections::{BTreeMap, BTreeSet};

use podling::model::node::Availability;

use super::net::{Reply, Request};
use super::rng::Rng;
use super::show;
use super::time::{Micros, SECOND};

/// How long the operator waits for an answer.
pub(crate) const PATIENCE: Micros = 8 * SECOND;

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Operator {
    nodes: usize,
    /// Wishes that are under way.
    calls: BTreeMap<u64, (usize, Availability)>,
    /// The nodes that were opened for good.
    opened: BTreeSet<usize>,
}

impl Operator {
    pub(crate) const fn new(nodes: usize) -> Self {
        Self { nodes, calls: BTreeMap::new(), opened: BTreeSet::new() }
    }

    /// What is asked for now. `is_over`: nothing but that every node be open. None: all of them are.
    pub(crate) fn wish(&self, rng: &mut Rng, is_over: bool) -> Option<(usize, Availability)> {
        if is_over {
            let closed = (0..self.nodes).find(|node| !self.opened.contains(node));
            return closed.map(|node| (node, Availability::Active));
        }
        let node = usize::try_from(rng.next()).unwrap_or_default() % self.nodes;
        let availability = match rng.within(0, 12) {
            0..3 => Availability::Draining,
            3 => Availability::Cordoned,
            _ => Availability::Active,
        };
        Some((node, availability))
    }

    /// A wish goes out. `is_last`: nothing else is wished for that node any more.
    pub(crate) fn sends(
        &mut self,
        call: u64,
        node: usize,
        availability: Availability,
        is_last: bool,
    ) -> Request {
        if is_last {
            self.calls.insert(call, (node, availability));
        }
        Request::Availability { node: show::node_id(node), availability }
    }

    pub(crate) fn hears(&mut self, call: u64, reply: &Reply) {
        if let Some((node, _)) = self.calls.remove(&call)
            && matches!(reply, Reply::Done)
        {
            self.opened.insert(node);
        }
    }

    pub(crate) fn gives_up(&mut self, call: u64) {
        self.calls.remove(&call);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.opened.len() == self.nodes
    }
}
