//! A task and a node for the tests of what is shown.
//!
//! Both are as plain as they can be; a test changes what it is about. Times are counted from the moment of the
//! task's creation, so that ages come out the same on every run. Compiled for tests only.

use std::collections::BTreeMap;

use crate::api::wire::node::NodeView;
use crate::api::wire::spec::SpecWire;
use crate::api::wire::task::TaskView;
use crate::model::id::Attempt;
use crate::model::node::{Availability, NodeStatus};
use crate::model::task::TaskStatus;
use crate::model::time::WallTime;

/// A moment, so many seconds after that of [`task`]'s creation.
pub(crate) fn at(secs: u64) -> WallTime {
    WallTime::from_unix_millis(1_770_000_000_000 + secs * 1000)
}

/// A task that was just accepted.
pub(crate) fn task() -> TaskView {
    TaskView {
        moving_to: None,
        attempts: Vec::new(),
        task_id: "01JD0000000000000000000001".parse().unwrap(),
        name: "web".parse().unwrap(),
        status: TaskStatus::Pending,
        attempt: Attempt::FIRST,
        node_id: None,
        container_id: None,
        created_at: at(0),
        scheduled_at: None,
        started_at: None,
        finished_at: None,
        stop_requested_at: None,
        exit_code: None,
        reason: None,
        error: None,
        detail: None,
        batch_id: None,
        index: None,
        spec: SpecWire { image: "nginx:1".to_owned(), ..SpecWire::default() },
    }
}

/// A node that beats.
pub(crate) fn node() -> NodeView {
    NodeView {
        node_id: "worker-1".parse().unwrap(),
        hostname: "127.0.0.1".to_owned(),
        port: 8081,
        status: NodeStatus::Online,
        availability: Availability::Active,
        capacity: 10,
        running_tasks: 3,
        cpu_millis: 4000,
        cpu_used_millis: 500,
        memory_bytes: 8 << 30,
        memory_used_bytes: 256 << 20,
        labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
        engine: "docker 20.10.24".to_owned(),
        last_heartbeat: at(58),
        detail: None,
    }
}
