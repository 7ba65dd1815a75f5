//! A pull over a slow line, as its user sees it: the task says how far it has come, and runs in the end.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use podling::model::task::TaskStatus;
use serde_json::json;
use support::Cluster;
use support::part::{LONG, within};
use support::proxy::{Flow, Proxy};
use support::registry::{Registry, Tag};

/// In all, and in a second.
const BYTES: usize = 96 << 10;
const SPEED: usize = BYTES / 5;

/// `pulling 41.2 kB of 98.4 kB`: both sizes, in kB.
fn sizes(detail: &str) -> Option<(f64, f64)> {
    let (come, all) = detail.strip_prefix("pulling ")?.split_once(" of ")?;
    let number = |size: &str| -> Option<f64> {
        match size.split_once(' ')? {
            (number, "kB") => number.parse().ok(),
            (number, "B") => Some(number.parse::<f64>().ok()? / 1000.0),
            _ => None,
        }
    };
    number(come).zip(number(all))
}

#[test]
fn a_pull_that_crawls_tells_how_far_it_has_come_and_its_task_runs() {
    let registry = Registry::start();
    let tag = registry.push_with_noise(BYTES as u64);
    let way = Proxy::to(registry.socket_address());
    let image = Tag(format!("{}/podling/busybox:{tag}", way.address()));
    way.flows(Flow::Crawls(SPEED));
    // Order: dropped before the image is, which its container holds.
    let cluster = Cluster::with_workers(1);
    let spec = json!({"name": "pulls", "image": image.0, "command": ["ls", "/noise"], "network": "none"});
    let id = cluster.create(&spec).task_id.to_string();
    within(LONG, "the command line tells how far it has come", || {
        let list = cluster.podling_ok(&["ps"]);
        let one = cluster.podling_ok(&["ps", "--task", &id]);
        let tells = |text: &str| text.contains("scheduled: pulling ") && text.contains("B of ");
        (tells(&list) && tells(&one)).then_some(())
    });
    let mut seen: Vec<(f64, f64)> = Vec::new();
    let end = within(LONG, "it has ended", || {
        let task = cluster.task(&id);
        let sizes = task.detail.as_deref().and_then(sizes).filter(|_| task.status == TaskStatus::Scheduled);
        seen.extend(sizes.filter(|sizes| seen.last() != Some(sizes)));
        task.status.is_terminal().then_some(task)
    });
    assert_eq!((end.status, end.attempt.0), (TaskStatus::Completed, 1), "{end:?}");
    assert!(seen.len() >= 4 && seen.is_sorted(), "{seen:?}");
    let all = BYTES as f64 / 1000.0;
    assert!(seen.iter().all(|(come, of)| come <= of && (all..all * 1.1).contains(of)), "{seen:?}");
    assert_eq!(cluster.log(&id, ""), "/noise\n");
}
