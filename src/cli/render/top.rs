//! `podling top`: bars for the nodes, and the tasks that use most.
//!
//! A bar shows ten tenths: `#` is used, `-` is reserved by tasks and not used, `.` is left. What is used was measured;
//! what is reserved is what tasks asked for. A node without figures shows what is reserved alone, and says below why.

use serde::Serialize;

use crate::api::wire::node::NodeView;
use crate::api::wire::stats::{NodeStats, TaskStats};
use crate::cli::render::node::status;
use crate::cli::render::table::{NOTHING, Table};
use crate::cli::render::text;
use crate::model::id::NodeId;
use crate::model::resources::{CpuMillis, MemoryBytes};

/// How long a bar is.
const LENGTH: u64 = 10;

/// How many tasks are listed.
const MOST_TASKS: usize = 15;

/// What a node says of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gauge {
    /// These figures.
    Read(NodeStats),
    /// It is offline, and wasn't asked.
    Offline,
    /// Nothing, and why: a sentence that names it.
    Silent(String),
}

impl Gauge {
    const fn stats(&self) -> Option<&NodeStats> {
        match self {
            Self::Read(stats) => Some(stats),
            Self::Offline | Self::Silent(_) => None,
        }
    }
}

/// The whole picture.
pub(crate) fn picture(nodes: &[(NodeView, Gauge)]) -> String {
    let mut out = bars(nodes);
    for (node, gauge) in nodes {
        if let Some(note) = note(&node.node_id, gauge) {
            out.push_str(&text::visible(&note));
            out.push('\n');
        }
    }
    out.push('\n');
    out.push_str(&busiest(nodes));
    out
}

fn bars(nodes: &[(NodeView, Gauge)]) -> String {
    let header = ["NODE", "STATUS", "TASKS", "CPU USED/RESERVED/ALL", "MEMORY USED/RESERVED/ALL"];
    let mut table = Table::new(&header);
    for (node, gauge) in nodes {
        let used = |of: fn(&NodeStats) -> u64| gauge.stats().map(of);
        let (taken, places) = (u64::from(node.running_tasks), u64::from(node.capacity));
        table.push(vec![
            node.node_id.to_string(),
            status(node),
            format!("{} {taken}/{places}", bar(taken, 0, places)),
            cell(used(|stats| stats.cpu_millis), node.cpu_used_millis, node.cpu_millis, |cpu| {
                CpuMillis(cpu).to_string()
            }),
            cell(used(|stats| stats.memory_bytes), node.memory_used_bytes, node.memory_bytes, |memory| {
                MemoryBytes(memory).to_string()
            }),
        ]);
    }
    table.finish()
}

/// A bar, and the figures that it is made of.
fn cell(used: Option<u64>, reserved: u64, all: u64, show: impl Fn(u64) -> String) -> String {
    let bar = bar(used.unwrap_or(0), reserved, all);
    let used = used.map_or_else(|| NOTHING.to_owned(), &show);
    format!("{bar} {used}/{}/{}", show(reserved), show(all))
}

/// What is used shows from the first bit on, and only what is used up wholly fills the bar.
fn bar(used: u64, reserved: u64, all: u64) -> String {
    let tenths = |part: u64| match (part, all) {
        (0, _) => 0,
        (_, 0) => LENGTH,
        (part, all) if part >= all => LENGTH,
        (part, all) => {
            u64::try_from(u128::from(part) * u128::from(LENGTH) / u128::from(all)).unwrap_or(LENGTH).max(1)
        }
    };
    let (used, reserved) = (tenths(used), tenths(reserved));
    let mark = |tenth: u64| match tenth {
        tenth if tenth < used => '#',
        tenth if tenth < reserved => '-',
        _ => '.',
    };
    format!("[{}]", (0..LENGTH).map(mark).collect::<String>())
}

/// What is to be said of a node's figures.
fn note(node: &NodeId, gauge: &Gauge) -> Option<String> {
    match gauge {
        Gauge::Silent(why) => Some(why.clone()),
        Gauge::Read(stats) if stats.unmeasured > 0 => {
            Some(format!("{node} gives no figures of {} of its tasks", stats.unmeasured))
        }
        Gauge::Read(_) | Gauge::Offline => None,
    }
}

/// The tasks that use most: of the processor, then of memory.
fn busiest(nodes: &[(NodeView, Gauge)]) -> String {
    let of_node = |(node, gauge): &'_ (NodeView, Gauge)| {
        let tasks = gauge.stats().map_or_else(Vec::new, |stats| stats.tasks.clone());
        let node = node.node_id.clone();
        tasks.into_iter().map(move |task| (node.clone(), task))
    };
    let mut tasks: Vec<(NodeId, TaskStats)> = nodes.iter().flat_map(of_node).collect();
    tasks.sort_by(|(_, one), (_, other)| {
        let by_use = (other.cpu_millis, other.memory_bytes).cmp(&(one.cpu_millis, one.memory_bytes));
        by_use.then_with(|| (&one.task_id, one.attempt).cmp(&(&other.task_id, other.attempt)))
    });
    let mut table = Table::new(&["TASK", "NODE", "CPU", "MEMORY"]);
    for (node, task) in tasks.into_iter().take(MOST_TASKS) {
        let name = task.name.map_or_else(|| task.task_id.to_string(), |name| name.to_string());
        let cpu = format!("{}.{} %", task.cpu_millis / 10, task.cpu_millis % 10);
        table.push(vec![name, node.to_string(), cpu, MemoryBytes(task.memory_bytes).to_string()]);
    }
    table.finish()
}

/// A node as JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    node: &'a NodeView,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<&'a NodeStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The same figures as a JSON array, a node a line: the node, and either its figures or why there are none.
pub(crate) fn json(nodes: &[(NodeView, Gauge)]) -> String {
    let line = |(node, gauge): &(NodeView, Gauge)| {
        let error = match gauge {
            Gauge::Read(_) => None,
            Gauge::Offline => Some(format!("{} is offline", node.node_id)),
            Gauge::Silent(why) => Some(why.clone()),
        };
        serde_json::to_string(&Line { node, stats: gauge.stats(), error }).unwrap_or_default()
    };
    let lines: Vec<String> = nodes.iter().map(line).collect();
    if lines.is_empty() { "[]\n".to_owned() } else { text::json(&format!("[\n{}\n]\n", lines.join(",\n"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::sample;
    use crate::model::id::Attempt;
    use crate::model::node::NodeStatus;

    fn task(number: u32, name: Option<&str>, cpu_millis: u64, memory_bytes: u64) -> TaskStats {
        TaskStats {
            task_id: format!("01JD{number:022}").parse().unwrap(),
            attempt: Attempt::FIRST,
            name: name.map(|name| name.parse().unwrap()),
            cpu_millis,
            memory_bytes,
        }
    }

    fn read(tasks: Vec<TaskStats>, unmeasured: usize) -> Gauge {
        let cpu_millis = tasks.iter().map(|task| task.cpu_millis).sum();
        let memory_bytes = tasks.iter().map(|task| task.memory_bytes).sum();
        Gauge::Read(NodeStats { tasks, cpu_millis, memory_bytes, unmeasured })
    }

    fn node(name: &str) -> NodeView {
        NodeView { node_id: name.parse().unwrap(), ..sample::node() }
    }

    fn nodes() -> Vec<(NodeView, Gauge)> {
        let offline = NodeView { status: NodeStatus::Offline, running_tasks: 0, ..node("worker-2") };
        let busy = vec![
            task(1, Some("idle"), 0, 1 << 20),
            task(2, Some("busy"), 1985, 64 << 20),
            task(3, None, 0, 3 << 20),
        ];
        vec![
            (node("worker-1"), read(busy, 2)),
            (offline, Gauge::Offline),
            (node("worker-3"), Gauge::Silent("worker-3 gives no\u{7} figures".to_owned())),
            (node("worker-4"), read(vec![task(4, Some("small"), 7, 2 << 30)], 0)),
        ]
    }

    #[test]
    fn nodes_have_bars_and_the_busiest_come_first() {
        assert_eq!(
            picture(&nodes()),
            "\
NODE       STATUS    TASKS               CPU USED/RESERVED/ALL      MEMORY USED/RESERVED/ALL
worker-1   online    [###.......] 3/10   [####......] 1.985/0.5/4   [#.........] 68 MiB/256 MiB/8 GiB
worker-2   offline   [..........] 0/10   [-.........] -/0.5/4       [-.........] -/256 MiB/8 GiB
worker-3   online    [###.......] 3/10   [-.........] -/0.5/4       [-.........] -/256 MiB/8 GiB
worker-4   online    [###.......] 3/10   [#.........] 0.007/0.5/4   [##........] 2 GiB/256 MiB/8 GiB
worker-1 gives no figures of 2 of its tasks
worker-3 gives no\\u{7} figures

TASK                         NODE       CPU       MEMORY
busy                         worker-1   198.5 %   64 MiB
small                        worker-4   0.7 %     2 GiB
01JD0000000000000000000003   worker-1   0.0 %     3 MiB
idle                         worker-1   0.0 %     1 MiB
"
        );
    }

    #[test]
    fn an_empty_cluster_is_its_headers() {
        let text = picture(&[]);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(json(&[]), "[]\n");
    }

    #[test]
    fn a_bar_shows_the_least_and_is_full_only_at_the_end() {
        for (used, reserved, all, shown) in [
            (0, 0, 10, "[..........]"),
            (1, 0, 1000, "[#.........]"),
            (999, 0, 1000, "[#########.]"),
            (1000, 0, 1000, "[##########]"),
            (2000, 5, 1000, "[##########]"),
            (300, 700, 1000, "[###----...]"),
            (700, 300, 1000, "[#######...]"),
            (0, 0, 0, "[..........]"),
            (1, 0, 0, "[##########]"),
        ] {
            assert_eq!(bar(used, reserved, all), shown, "{used} {reserved} {all}");
        }
    }

    #[test]
    fn only_so_many_tasks_are_listed() {
        let tasks = (0..40).map(|number| task(number, None, number.into(), 0)).collect();
        let text = picture(&[(node("worker-1"), read(tasks, 0))]);
        assert_eq!(text.lines().filter(|line| line.starts_with("01JD")).count(), MOST_TASKS);
        assert!(text.contains("01JD0000000000000000000039   worker-1   3.9 %"), "{text}");
    }

    #[test]
    fn json_has_all_that_is_known() {
        let lines: Vec<serde_json::Value> = serde_json::from_str(&json(&nodes())).unwrap();
        assert_eq!(lines[0]["stats"]["cpu_millis"], 1985);
        assert_eq!(lines[0]["stats"]["tasks"][1]["name"], "busy");
        assert_eq!((&lines[0]["error"], &lines[1]["error"]), (&().into(), &"worker-2 is offline".into()));
        assert_eq!(lines[2]["node"]["node_id"], "worker-3");
    }
}
