//! What master and worker say to each other: [`crate::api::wire::agent`].
//!
//! The rules that these fields serve are in `docs/ARCHITECTURE.md`, "Between master and worker".

use super::super::schema::Schema;
use super::spec::{spec_fields, wait};
use super::{attempt, container_id, made_id, name, node_id, page, port, reason, small, task_id};

pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("RegisterRequest", register_request().closed()),
        ("RegisterReply", register_reply()),
        ("HeartbeatRequest", heartbeat_request().closed()),
        ("HeldAttempt", held_attempt().closed()),
        ("HeartbeatReply", heartbeat_reply()),
        ("DesiredAttempt", desired_attempt()),
        ("Assignment", assignment().closed()),
        ("TaskOrder", task_order()),
        ("ReportsRequest", reports_request().closed()),
        ("Report", report().closed()),
        ("ReportsReply", reports_reply()),
        ("ReportVerdict", report_verdict()),
        ("StopOrder", stop_order().closed()),
        ("Attempt", attempt_view()),
        ("AttemptList", page("Attempt").doc("What a worker runs.")),
    ]
}

fn attempt_status() -> Schema {
    Schema::words(&["scheduled", "running", "ended"])
}

/// Epoch, incarnation or revision: a number that only grows.
fn growing() -> Schema {
    Schema::count()
}

fn register_request() -> Schema {
    let host = Schema::matching("^[a-zA-Z0-9.:_-]{1,253}$").example("127.0.0.1");
    Schema::object()
        .must("node_id", "The node's name.", node_id())
        .must("instance_id", "The worker's data folder.", made_id())
        .must("start_id", "The worker's process.", made_id())
        .must("incarnation", "The last incarnation that the worker knows of.", growing())
        .may("cluster_id", "The cluster that the worker belongs to, once it knows.", made_id())
        .must("hostname", "Where its API is reached.", host)
        .must("port", "The port of its API.", port())
        .must("capacity", "Places for tasks.", Schema::number(1, 1_000_000))
        .must("cpu_millis", "CPU in all, thousandths of a core.", Schema::count())
        .must("memory_bytes", "Memory in all.", Schema::count())
        .may("labels", "Its labels.", Schema::map(Schema::text(), Schema::text()))
        .must("engine", "Its Engine's name and version.", Schema::text())
        .must("engine_id", "Its Engine's own id.", Schema::text())
        .must("heartbeat_ms", "How often it means to beat.", Schema::number(1, 86_400_000))
        .doc("A worker that registers.")
}

fn register_reply() -> Schema {
    Schema::object()
        .must("cluster_id", "The cluster.", made_id())
        .must("epoch", "The master's start.", growing())
        .must("incarnation", "This worker's start.", growing())
        .must("node_timeout_ms", "How long a node may be silent.", Schema::count())
        .must("lease_ms", "How long it may run what can be rescheduled without an answer.", Schema::count())
        .doc("What a worker is told when it has registered.")
}

fn heartbeat_request() -> Schema {
    let held = Schema::list(Schema::named("HeldAttempt"));
    Schema::object()
        .must("node_id", "The node.", node_id())
        .must("incarnation", "Its worker's start.", growing())
        .must("epoch", "The epoch of the last set that it applied.", growing())
        .must("revision", "The revision of the last set that it applied.", growing())
        .must("capacity", "Places for tasks.", small())
        .must("ready", "Whether it can take work: its Engine answers.", Schema::flag())
        .must("running_tasks", "Every attempt that it hasn't released yet.", held)
        .doc("A node's beat.")
}

fn held_attempt() -> Schema {
    Schema::object()
        .must("task_id", "The task.", task_id())
        .must("attempt", "The attempt at it.", attempt())
        .must("status", "Where it is.", attempt_status())
        .doc("One attempt that a worker holds.")
}

fn heartbeat_reply() -> Schema {
    let forget = Schema::list(task_id());
    Schema::object()
        .must("cluster_id", "The cluster.", made_id())
        .must("epoch", "The master's start.", growing())
        .must("revision", "The journal position at which the set was read.", growing())
        .must("complete", "Whether `tasks` is the whole set.", Schema::flag())
        .must("register", "Whether the node was offline and must register again.", Schema::flag())
        .must("tasks", "The set.", Schema::list(Schema::named("DesiredAttempt")))
        .may("forget", "Tasks that a user removed: their logs go from the node's disk.", forget)
        .doc("What the node is to run.")
}

fn desired_attempt() -> Schema {
    Schema::object()
        .must("task_id", "The task.", task_id())
        .must("attempt", "The attempt at it.", attempt())
        .must("status", "Where the master knows it to be.", attempt_status())
        .must("desired", "Run it, or stop it.", Schema::words(&["run", "stop"]))
        .may("grace_ms", "With `stop`: between TERM and KILL.", Schema::count())
        .may("task", "How to make its container; only where the beat didn't name it.", {
            Schema::named("TaskOrder")
        })
        .doc("What the master wants of one attempt.")
}

fn assignment() -> Schema {
    Schema::object()
        .must("epoch", "The master's start.", growing())
        .must("incarnation", "The worker's start that the master knows.", growing())
        .must("revision", "The journal position of the placement.", growing())
        .must("attempt", "The attempt.", attempt())
        .must("task", "How to make its container.", Schema::named("TaskOrder"))
        .doc("An attempt that a worker is to run.")
}

fn task_order() -> Schema {
    let head = Schema::object()
        .must("task_id", "The task.", task_id())
        .must("name", "What the user calls it.", name())
        .may("index", "Its place among its equals, told to it as `PODLING_INDEX`.", small());
    spec_fields(head).doc("A task as a worker needs it.")
}

fn reports_request() -> Schema {
    let reports = Schema::list(Schema::named("Report"));
    Schema::object()
        .must("incarnation", "The worker's start.", growing())
        .must("epoch", "The epoch that the worker knows.", growing())
        .must("reports", "In the order in which they happened.", reports)
        .doc("What happened to a node's attempts.")
}

fn report() -> Schema {
    let steps = Schema::words(&["progress", "running", "ended", "refused"]);
    Schema::object()
        .must("seq", "Grows with each report of one process; names the verdict's report.", Schema::count())
        .must("task_id", "The task.", task_id())
        .must("attempt", "The attempt at it.", attempt())
        .must("step", "What happened.", steps)
        .may("container_id", "The container, once there is one.", container_id())
        .may("started_at", "When it started.", Schema::time())
        .may("finished_at", "When it ended.", Schema::time())
        .may("exit_code", "The Engine's exit code.", Schema::signed())
        .may("reason", "Why it ended.", reason())
        .may("error", "Why, in words.", Schema::text())
        .may("detail", "With `progress`: what the worker is busy with.", Schema::text())
        .doc("What happened to one attempt.")
}

fn reports_reply() -> Schema {
    let verdicts = Schema::list(Schema::named("ReportVerdict"));
    Schema::object()
        .must("verdicts", "One for each report, in the same order.", verdicts)
        .doc("What became of a batch of reports.")
}

fn report_verdict() -> Schema {
    let verdicts = Schema::words(&["accepted", "known", "stale", "unknown", "retry"]);
    Schema::object()
        .must("seq", "Which report.", Schema::count())
        .must("verdict", "What became of it.", verdicts)
        .doc("What became of one report.")
}

fn stop_order() -> Schema {
    Schema::object()
        .may("attempt", "Which attempt is meant; the newest where absent.", attempt())
        .may("grace_ms", "Between TERM and KILL; the task's own where absent.", wait())
        .doc("How a worker is to stop a task.")
}

fn attempt_view() -> Schema {
    Schema::object()
        .must("task_id", "The task.", task_id())
        .may("name", "What the user calls it, where the worker knows.", name())
        .must("attempt", "The attempt at it.", attempt())
        .must("status", "Where it is.", attempt_status())
        .may("detail", "What it is busy with.", Schema::text())
        .may("container_id", "Its container, once there is one.", container_id())
        .doc("An attempt as a worker shows it.")
}
