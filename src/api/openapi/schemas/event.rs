//! What happens, as followers hear of it: [`crate::api::wire::event`].
//!
//! An event's `type` says which of the three it is, and is its name on the stream, too.

use super::super::schema::Schema;
use super::{attempt, availability, name, node_id, node_status, reason, task_id, task_status};

pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let any = ["TaskEvent", "NodeEvent", "Gap"].map(Schema::named);
    vec![
        ("Event", Schema::any_of(any).doc("The data of one server-sent event.")),
        ("ServerSentEvent", server_sent()),
        ("TaskEvent", task_event()),
        ("NodeEvent", node_event()),
        ("Gap", gap()),
    ]
}

/// An event's id.
fn id() -> Schema {
    Schema::matching("^[0-9]{1,20}-[0-9]{1,20}(?:-[0-9]{1,10})?$").example("1770000000-42")
}

/// One of a stream, as its lines say it. The first holds an id alone: where the stream begins.
fn server_sent() -> Schema {
    let kinds = Schema::words(&["task", "node", "gap"]);
    Schema::object()
        .may("id", "The event's id.", id())
        .may("event", "The event's `type`.", kinds)
        .may("data", "An Event, as JSON on one line.", Schema::text().holds_json(Schema::named("Event")))
        .doc("One server-sent event.")
}

fn event(kind: &str) -> Schema {
    Schema::object()
        .must("id", "Its id.", id())
        .must("time", "When it happened, by the master's clock.", Schema::time())
        .must("type", "What it is about.", Schema::words(&[kind]))
}

fn task_event() -> Schema {
    event("task")
        .must("task_id", "Which one.", task_id())
        .must("name", "Its name.", name())
        .must("status", "Where in its life it is.", task_status())
        .must("attempt", "The try that counts now.", attempt())
        .may("node_id", "The node that owns, or owned, that try.", node_id())
        .may("exit_code", "The Engine's exit code.", Schema::signed())
        .may("reason", "Why it ended, as a code.", reason())
        .may("error", "Why it ended, in words.", Schema::text())
        .may("detail", "What it is busy with, or why it waits again.", Schema::text())
        .may("stop_requested_at", "When its end was first asked for.", Schema::time())
        .may("removed", "Whether it was forgotten: this is how it was last.", Schema::flag())
        .doc("A task right after a change.")
}

fn node_event() -> Schema {
    event("node")
        .must("node_id", "Which one.", node_id())
        .must("status", "Whether it beats.", node_status())
        .must("availability", "Whether it may get work.", availability())
        .may("removed", "Whether it was forgotten: this is how it was last.", Schema::flag())
        .doc("A node right after a change.")
}

fn gap() -> Schema {
    Schema::object()
        .must("id", "Where it goes on.", id())
        .must("type", "What it is.", Schema::words(&["gap"]))
        .must("after", "The last event that the follower has.", id())
        .doc("Events that can't be told: those after `after`, `id` included.")
}
