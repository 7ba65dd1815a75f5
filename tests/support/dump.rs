//! All that is remembered of a cluster, as text: two states are the same if these are.

use std::fmt::Write;

use podling::control::demand::HostPort;
use podling::control::nodes::Nodes;
use podling::control::tasks::{Filter, Tasks};
use podling::control::tokens::Tokens;
use podling::model::id::NodeId;
use podling::model::spec::Protocol;
use podling::model::task::TaskStatus;
use podling::model::time::{Mono, WallTime};

/// Tokens, tasks, keys, nodes, and every index over them, in a fixed order. Nothing that isn't journaled but how long tasks
/// have waited, which is the same where the same clock was used.
pub(crate) fn dump(nodes: &Nodes, tasks: &Tasks, tokens: &Tokens) -> String {
    let mut text = String::new();
    writeln!(text, "{tokens:?}").unwrap();
    let far = Mono::from_boot(std::time::Duration::MAX);
    for entry in tasks.iter() {
        writeln!(text, "{entry:?}").unwrap();
    }
    for (key, record) in tasks.keys().iter() {
        writeln!(text, "{key} {record:?}").unwrap();
    }
    for status in TaskStatus::ALL {
        writeln!(text, "{} {}", status.as_str(), tasks.count(status)).unwrap();
    }
    writeln!(text, "pending {:?}", tasks.pending().collect::<Vec<_>>()).unwrap();
    writeln!(text, "overdue {:?}", tasks.overdue(far)).unwrap();
    writeln!(text, "ended {:?}", tasks.ended_before(WallTime::from_unix_millis(u64::MAX), 1000)).unwrap();
    let queued: Vec<_> = tasks.queue().in_order().map(|(id, _)| id).collect();
    writeln!(text, "queued {queued:?}, held back to {:?}", tasks.next_release()).unwrap();
    for name in ["a", "b"] {
        let filter = Filter { name: Some(name.parse().unwrap()), ..Filter::default() };
        let (found, _) = tasks.list(&filter, None, 1000);
        writeln!(text, "{name} {:?}", found.iter().map(|entry| &entry.task.id).collect::<Vec<_>>()).unwrap();
    }
    for entry in nodes.iter() {
        let id: &NodeId = &entry.node().registration.node_id;
        let live: Vec<_> = tasks.live_on(id).map(|entry| entry.task.id.clone()).collect();
        let used = (entry.assigned(), entry.cpu_used(), entry.memory_used());
        let forget = nodes.logs_to_forget(id);
        let kept: Vec<_> = tasks.reserved_on(id).map(|entry| entry.task.id.clone()).collect();
        let ports = (80..84).map(|port| nodes.port_holder(entry, HostPort { port, protocol: Protocol::Tcp }));
        let ports: Vec<_> = ports.collect();
        writeln!(text, "{:?} {live:?} {kept:?} {used:?} {ports:?} {forget:?}", entry.node()).unwrap();
    }
    writeln!(text, "{:?}", nodes.placeable().map(|rank| rank.node().clone()).collect::<Vec<_>>()).unwrap();
    text
}
