//! The names of tasks and nodes, asked from the master while somebody waits for a TAB.
//!
//! Half a second each for two questions, a thousand tasks each, oldest first: those that live, then those that ended.
//! Names are offered, and ids once some of their characters are there. What doesn't look like a name isn't offered:
//! a shell may take it for something else.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use super::Wanted;
use crate::api::routes;
use crate::api::wire::Page;
use crate::cli::remote::Remote;
use crate::cli::settings::Target;

/// How long one answer may take.
const WITHIN: Duration = Duration::from_millis(500);

const LIVING: &str = "pending,scheduled,running";
const ENDED: &str = "completed,failed,stopped";

#[derive(Deserialize)]
struct Task {
    task_id: String,
    name: String,
}

#[derive(Deserialize)]
struct Node {
    node_id: String,
}

/// The names that begin so. None: the master can't be asked.
pub(super) fn ask(target: Target, wanted: Wanted, begun: &str) -> Option<Vec<String>> {
    let remote = Remote::new(target).ok()?;
    let mut names = BTreeSet::new();
    let tasks = |statuses: &str, names: &mut BTreeSet<String>| {
        let path = format!("{}?limit=1000&status={statuses}", routes::TASKS);
        let page: Page<Task> = remote.get_within(&path, WITHIN).ok()?;
        for task in page.items {
            names.insert(task.name);
            names.extend(Some(task.task_id).filter(|_| !begun.is_empty()));
        }
        Some(())
    };
    match wanted {
        Wanted::Living => tasks(LIVING, &mut names)?,
        Wanted::Ended => tasks(ENDED, &mut names)?,
        Wanted::Node => {}
        Wanted::Task | Wanted::TaskOrNode => {
            tasks(LIVING, &mut names)?;
            tasks(ENDED, &mut names)?;
        }
    }
    if matches!(wanted, Wanted::Node | Wanted::TaskOrNode) {
        let page: Page<Node> = remote.get_within(routes::NODES, WITHIN).ok()?;
        names.extend(page.items.into_iter().map(|node| node.node_id));
    }
    let is_plain = |name: &String| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    names.retain(|name| name.starts_with(begun) && is_plain(name));
    Some(names.into_iter().collect())
}
