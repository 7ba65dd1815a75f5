//! Nodes as clients see them, what their tasks use, and their images: [`crate::api::wire::node`],
//! [`stats`](crate::api::wire::stats) and [`image`](crate::api::wire::image).
//!
//! Replies may grow fields, so their schemas take those that they don't name; requests refuse them.

use super::super::schema::Schema;
use super::{attempt, availability, name, node_id, node_status, page, port, small, spec, task_id};

pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("Node", node()),
        ("NodeList", page("Node").doc("A page of nodes, by `node_id`.")),
        ("AvailabilityRequest", availability_request().closed()),
        ("NodeStats", node_stats()),
        ("TaskStats", task_stats()),
        ("ImageRequest", image_request().closed()),
        ("ImageReply", image_reply()),
    ]
}

fn node() -> Schema {
    Schema::object()
        .must("node_id", "Its name.", node_id())
        .must("hostname", "Where its API is.", Schema::text())
        .must("port", "The port of its API.", port())
        .must("status", "Whether it beats.", node_status())
        .must("availability", "Whether it may get work.", availability())
        .must("capacity", "Places for tasks.", small())
        .must("running_tasks", "Places taken: scheduled or running.", small())
        .must("cpu_millis", "CPU in all, thousandths of a core.", Schema::count())
        .must("cpu_used_millis", "CPU that its tasks asked for.", Schema::count())
        .must("memory_bytes", "Memory in all.", Schema::count())
        .must("memory_used_bytes", "Memory that its tasks asked for.", Schema::count())
        .must("labels", "Its labels.", Schema::map(Schema::text(), Schema::text()))
        .must("engine", "Its Engine's name and version.", Schema::text())
        .must("last_heartbeat", "When it last beat, or registered.", Schema::time())
        .may("detail", "What is wrong with it, in words.", Schema::text())
        .doc("A node: a machine, or a part of one, with a worker.")
}

fn availability_request() -> Schema {
    Schema::object()
        .must("availability", "What it is to be.", availability())
        .doc("Whether a node may get work: yes, nothing new, or nothing new and what can be moved is moved.")
}

fn node_stats() -> Schema {
    Schema::object()
        .must("tasks", "Those whose container runs.", Schema::list(Schema::named("TaskStats")))
        .must("cpu_millis", "CPU of all of them, thousandths of a core.", Schema::count())
        .must("memory_bytes", "Memory of all of them.", Schema::count())
        .may("unmeasured", "How many more run that the Engine gave no figures of in time.", Schema::count())
        .doc("What a node's tasks use.")
}

fn task_stats() -> Schema {
    Schema::object()
        .must("task_id", "The task.", task_id())
        .must("attempt", "The attempt at it.", attempt())
        .may("name", "What the user calls it, where the worker knows.", name())
        .must("cpu_millis", "CPU between the last two samples, thousandths of a core.", Schema::count())
        .must("memory_bytes", "Memory that it needs.", Schema::count())
        .doc("What one attempt's container uses.")
}

fn image_request() -> Schema {
    Schema::object()
        .must("image", "The image.", spec::image())
        .may("pull", "The policy of the task that will need it.", spec::pull())
        .doc("An image that is to be on a node.")
}

fn image_reply() -> Schema {
    Schema::object()
        .must("image", "The image.", Schema::text())
        .must("status", "Whether it is there.", Schema::words(&["present", "pulling"]))
        .may("detail", "How far its pull has come, in words.", Schema::text())
        .doc("Whether a node has an image.")
}
