//! Nodes: a line of a table each.
//!
//! Tasks, CPU and memory are shown as taken/in all, where "taken" is what the tasks asked for, not what they use:
//! that is what the scheduler counts. A heartbeat's age is told by this machine's clock, and so is as right as
//! the two clocks are alike.

use crate::api::wire::node::NodeView;
use crate::cli::render::list::Shown;
use crate::cli::render::text::age;
use crate::model::node::{Availability, NodeAddress};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::time::WallTime;

impl Shown for NodeView {
    const HEADER: &'static [&'static str] =
        &["NODE", "STATUS", "TASKS", "CPU", "MEMORY", "ENGINE", "HEARTBEAT"];
    const WIDE_HEADER: &'static [&'static str] =
        &["NODE", "STATUS", "TASKS", "CPU", "MEMORY", "ENGINE", "HEARTBEAT", "ADDRESS", "LABELS", "DETAIL"];

    fn id(&self) -> &str {
        self.node_id.as_str()
    }

    fn name(&self) -> &str {
        self.node_id.as_str()
    }

    fn cells(&self, now: WallTime, is_wide: bool) -> Vec<String> {
        let mut cells = vec![
            self.node_id.to_string(),
            status(self),
            format!("{}/{}", self.running_tasks, self.capacity),
            format!("{}/{}", CpuMillis(self.cpu_used_millis), CpuMillis(self.cpu_millis)),
            format!("{}/{}", MemoryBytes(self.memory_used_bytes), MemoryBytes(self.memory_bytes)),
            self.engine.clone(),
            format!("{} ago", age(now.since(self.last_heartbeat))),
        ];
        if is_wide {
            let labels: Vec<String> =
                self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let address = NodeAddress { host: self.hostname.clone(), port: self.port };
            cells.extend([address.to_string(), labels.join(","), self.detail.clone().unwrap_or_default()]);
        }
        cells
    }
}

/// Both axes in one cell: whether it beats, and whether it may get work where it may not.
pub(crate) fn status(node: &NodeView) -> String {
    match node.availability {
        Availability::Active => node.status.as_str().to_owned(),
        Availability::Cordoned | Availability::Draining => {
            format!("{},{}", node.status.as_str(), node.availability.as_str())
        }
    }
}
