//! What the Engine says of a container's use of processor and memory.
//!
//! The kernel's own figures, which have other names with control groups of version 1 than of version 2; of a container
//! that doesn't run most are absent. Memory is counted as `docker stats` does it: what the group has been charged with,
//! without the file cache that nobody has touched for a while.

use std::collections::HashMap;

use serde::Deserialize;

use crate::engine::Usage;
use crate::model::resources::MemoryBytes;

/// Where the kernel says how much of the cache is inactive: version 1 (the group and those below it), version 2.
const INACTIVE_FILE: [&str; 2] = ["total_inactive_file", "inactive_file"];

/// The answer of `GET /containers/{id}/stats`, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    cpu_stats: Cpu,
    memory_stats: Memory,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: u64,
    stats: Option<HashMap<String, u64>>,
}

impl Stats {
    /// The same in our own terms.
    pub(super) fn usage(self) -> Usage {
        Usage {
            cpu_nanos: self.cpu_stats.cpu_usage.total_usage,
            memory: MemoryBytes(self.memory_stats.working_set()),
        }
    }
}

impl Memory {
    fn working_set(&self) -> u64 {
        let stat = |name: &str| self.stats.as_ref().and_then(|stats| stats.get(name).copied());
        let inactive = INACTIVE_FILE.into_iter().find_map(stat).unwrap_or(0);
        // More than all of it: the two were read at different moments.
        self.usage.checked_sub(inactive).unwrap_or(self.usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(text: &str) -> Usage {
        serde_json::from_str::<Stats>(text).unwrap().usage()
    }

    fn with(stats: &str) -> u64 {
        let text = format!("{{\"memory_stats\":{{\"usage\":1000,\"stats\":{stats},\"limit\":5}}}}");
        usage(&text).memory.0
    }

    #[test]
    fn memory_is_counted_without_the_idle_cache_of_either_version() {
        assert_eq!(with(r#"{"total_inactive_file":300,"inactive_file":100}"#), 700);
        assert_eq!(with(r#"{"inactive_file":100,"active_file":5}"#), 900);
        assert_eq!(with(r#"{"inactive_file":1001}"#), 1000);
        assert_eq!((with("{}"), with("null")), (1000, 1000));
    }

    #[test]
    fn what_does_not_run_uses_nothing() {
        let text = r#"{"read":"0001-01-01T00:00:00Z","pids_stats":{},
            "cpu_stats":{"cpu_usage":{"total_usage":0},"throttling_data":{}},"memory_stats":{},"name":"/x"}"#;
        assert_eq!(usage(text), Usage::default());
        let busy = text.replace("\"total_usage\":0", "\"total_usage\":61557969,\"percpu_usage\":[1,2]");
        assert_eq!(usage(&busy).cpu_nanos, 61_557_969);
    }
}
