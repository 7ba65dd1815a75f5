//! Tasks as clients see them: [`crate::api::wire::task`], [`why`](crate::api::wire::why) and
//! [`log`](crate::api::wire::log).
//!
//! Replies may grow fields, so their schemas take those that they don't name. Two things can't be said in a schema:
//! which fields a status brings along, and that a log's line holds one of `line`, `line_bytes` and `notice`.

use super::super::schema::Schema;
use super::spec::{spec_fields, wait};
use super::{attempt, container_id, made_id, name, node_id, page, reason, small, task_status};

pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("Task", task()),
        ("PastAttempt", past()),
        ("TaskList", page("Task").doc("A page of tasks, by `task_id`.")),
        ("BatchCreated", batch_created()),
        ("BatchItem", batch_item()),
        ("StopRequest", stop_request().closed()),
        ("Why", why()),
        ("NodeFit", node_fit()),
        ("Because", because()),
        ("LogLine", log_line()),
        ("LogsTicket", logs_ticket()),
    ]
}

/// A task's id.
pub(in super::super) fn task_id() -> Schema {
    made_id()
}

/// Whatever names a task.
pub(in super::super) fn reference() -> Schema {
    Schema::text().at_least(1).example("web")
}

fn task() -> Schema {
    let head = Schema::object()
        .must("task_id", "Made by the master; sorts by the time of creation.", task_id())
        .must("name", "What the user calls it.", name())
        .must("status", "Where in its life it is.", task_status())
        .must("attempt", "The try that counts now, from 1.", attempt())
        .may("node_id", "The node that owns, or owned, that try.", node_id())
        .may("container_id", "The container of that try.", container_id())
        .must("created_at", "When it was accepted.", Schema::time())
        .may("scheduled_at", "When that try was placed.", Schema::time())
        .may("started_at", "When its container started.", Schema::time())
        .may("finished_at", "When it ended.", Schema::time())
        .may("stop_requested_at", "When its end was first asked for.", Schema::time())
        .may("exit_code", "The Engine's exit code.", Schema::signed())
        .may("reason", "Why it failed, as a code.", reason())
        .may("error", "Why it failed, in words.", Schema::text())
        .may("detail", "What it is busy with or waits for.", Schema::text())
        .may(
            "moving_to",
            "The node that keeps a place for its next attempt, while it is moved off a drained one.",
            node_id(),
        )
        .may(
            "attempts",
            "The attempts before this one, oldest first, the latest hundred; only where one task is asked for.",
            Schema::list(Schema::named("PastAttempt")),
        )
        .may("batch_id", "The batch that it was created in.", made_id())
        .may("index", "Its place in that batch.", small());
    spec_fields(head).doc("A task.")
}

fn past() -> Schema {
    Schema::object()
        .must("attempt", "Which one.", attempt())
        .must("node_id", "The node that owned it.", node_id())
        .may("container_id", "Its container, if there was one.", container_id())
        .must("scheduled_at", "When it was placed.", Schema::time())
        .may("started_at", "When its container started, if it did.", Schema::time())
        .must("finished_at", "When it ended.", Schema::time())
        .may("exit_code", "The Engine's exit code.", Schema::signed())
        .may("reason", "Why it ended, as a code; absent: with exit code 0.", reason())
        .may("error", "Why it ended, in words.", Schema::text())
        .doc("An attempt that ended, and was followed by another.")
}

fn batch_created() -> Schema {
    Schema::object()
        .must("batch_id", "The batch.", made_id())
        .must("items", "Its tasks, by index.", Schema::list(Schema::named("BatchItem")))
        .doc("What a request with `count` made.")
}

fn batch_item() -> Schema {
    Schema::object()
        .must("task_id", "The task.", task_id())
        .must("index", "Its place.", small())
        .doc("One task of a new batch.")
}

fn stop_request() -> Schema {
    Schema::object()
        .may("grace_ms", "Between TERM and KILL; the task's own where absent.", wait())
        .doc("How a task is to be stopped.")
}

fn why() -> Schema {
    let nodes = Schema::list(Schema::named("NodeFit")).at_most(100);
    Schema::object()
        .must("task_id", "The task.", task_id())
        .must("name", "What the user calls it.", name())
        .must("status", "Where in its life it is.", task_status())
        .must("since", "Since when.", Schema::time())
        .must("summary", "In one line.", Schema::text())
        .must("looks", "How often a place was looked for since it waits.", Schema::count())
        .may("last_look", "When that was done last.", Schema::time())
        .must("nodes", "What each node says to it, best first; empty where it has ended.", nodes)
        .must("nodes_total", "How many nodes there are.", Schema::count())
        .must("would_run_if", "Single things that would let it run.", Schema::list(Schema::text()))
        .doc("Why a task is where it is.")
}

fn node_fit() -> Schema {
    Schema::object()
        .must("node_id", "The node.", node_id())
        .must("fits", "Whether the task could be placed there.", Schema::flag())
        .must("reasons", "What stands in the way.", Schema::list(Schema::named("Because")))
        .doc("Whether a node fits.")
}

fn because() -> Schema {
    let codes = [
        "offline",
        "cordoned",
        "draining",
        "capacity",
        "cpu",
        "memory",
        "port",
        "constraint",
        "engine",
        "backoff",
    ];
    let amount = || Schema::any_of([Schema::count(), Schema::text()]);
    Schema::object()
        .must("code", "What it is.", Schema::words(&codes))
        .may(
            "needs",
            "What is needed: thousandths of a core, bytes, a port, places; or `key=value`.",
            amount(),
        )
        .may("free", "What there is of it.", amount())
        .may("held_by", "The name of the task that has it, or most of it.", Schema::text())
        .must("text", "In words.", Schema::text())
        .doc("One thing that stands in the way.")
}

fn log_line() -> Schema {
    let bytes = Schema::list(Schema::number(0, u8::MAX.into()));
    Schema::object()
        .may("stream", "Where the container wrote it.", Schema::words(&["stdout", "stderr"]))
        .may("time", "When: RFC 3339 with nanoseconds, as the Engine noted it.", Schema::time())
        .may("line", "What it wrote, where that is UTF-8, its line feed included.", Schema::text())
        .may("line_bytes", "What it wrote, where that isn't UTF-8.", bytes)
        .may("notice", "Instead of a line: something about the log itself.", Schema::text())
        .may("attempt", "The attempt that wrote it, or that the notice is about.", attempt())
        .doc("One entry of a log.")
}

fn logs_ticket() -> Schema {
    Schema::object()
        .must("url", "The worker's URL for this task's log.", Schema::text())
        .may("node_id", "The node: over TLS the worker proves to be that one.", node_id())
        .may(
            "ticket",
            "What the worker wants to be shown there; absent where its node never joined.",
            Schema::text(),
        )
        .may("ca_pem", "The cluster's CA, where it has one.", Schema::text())
        .may("expires_at", "Until when the ticket is good.", Schema::time())
        .doc("Where a worker serves a task's log.")
}
