//! The master's routes, one entry each. A route without one doesn't compile.

use super::operation::Operation;
use super::schema::Schema;
use super::schemas::{attempt_asked, made_id, name, node_id, reference, task_id, task_status};
use crate::api::routes::MasterRoute;

/// The entry of a route.
pub(super) fn entry(route: MasterRoute) -> Operation {
    match route {
        MasterRoute::CreateTasks => create_tasks(),
        MasterRoute::ListTasks => list_tasks(),
        MasterRoute::GetTask => get_task(),
        MasterRoute::StopTask => stop_task(),
        MasterRoute::DeleteTask => delete_task(),
        MasterRoute::WhyTask => why_task(),
        MasterRoute::TaskLogs => task_logs(),
        MasterRoute::LogsTicket => logs_ticket(),
        MasterRoute::Register => register(),
        MasterRoute::ListNodes => list_nodes(),
        MasterRoute::GetNode => get_node(),
        MasterRoute::SetAvailability => set_availability(),
        MasterRoute::NodeStats => node_stats(),
        MasterRoute::DeleteNode => delete_node(),
        MasterRoute::Heartbeat => heartbeat(),
        MasterRoute::Reports => reports(),
        MasterRoute::Events => events(),
        MasterRoute::Audit => audit(),
        MasterRoute::MakeToken => make_token(),
        MasterRoute::ListTokens => list_tokens(),
        MasterRoute::EndToken => end_token(),
        MasterRoute::Join => join("joinNode"),
        MasterRoute::JoinAtRoot => join("joinNodeAtRoot"),
        MasterRoute::Healthz => super::healthz(),
        MasterRoute::Readyz => super::readyz(&["stopping"]),
        MasterRoute::OpenApi => super::openapi(),
    }
}

/// An entry about one task.
fn of_task(id: &'static str, summary: &'static str, description: &'static str) -> Operation {
    let doc = "The task: its whole id; or a name, which means the newest live task of that name, else the newest; or 4 or \
               more characters that begin one task's id.";
    Operation::new(id, summary, description).path(doc, reference()).refuses(&["task_not_found", "ambiguous"])
}

/// An entry about one node.
fn of_node(id: &'static str, summary: &'static str, description: &'static str) -> Operation {
    Operation::new(id, summary, description).path("The node.", node_id()).refuses(&["node_not_found"])
}

fn paged(operation: Operation, limit: u64, after: Schema) -> Operation {
    let limit = Schema::number(1, 10_000).default(limit);
    operation.query("limit", "How many at most.", limit).query("after", "Where the page begins.", after)
}

fn create_tasks() -> Operation {
    let body = Schema::any_of(["TaskRequest", "TaskArray"].map(Schema::named));
    let made = Schema::any_of(["Task", "BatchCreated", "TaskList"].map(Schema::named));
    let key = Schema::matching("^[ -~]{1,255}$");
    Operation::new(
        "createTasks",
        "Create a task, or a batch of them",
        "One object is one task, or with `count` a batch of equals; an array is a batch. A batch is created whole or \
         not at all. An object may be 1 MiB long, a batch 16 MiB.",
    )
    .header("Idempotency-Key", "The same key and body again are answered as the first time, for 24 hours.", key)
    .takes(body)
    .answers(201, "One object: the task. With `count`: ids. An array: the tasks, in its order.", made)
    .tells("Location", "The task, or the list of the batch's tasks.")
    .refuses(&["invalid_key", "policy", "key_busy", "gone", "not_supported", "key_reused", "busy", "store_full"])
}

fn list_tasks() -> Operation {
    let label = Schema::list(Schema::matching("^[^=]*=").example("tier=web"));
    let operation = Operation::new("listTasks", "List tasks", "By `task_id`, of every status.")
        .query("status", "Only of these; several may stand in one, with commas.", Schema::list(task_status()))
        .query("node", "Only of this node.", node_id())
        .query("label", "Only with all of these labels: `KEY=VALUE`.", label)
        .query("name", "Only of this name.", name())
        .query("batch", "Only of this batch.", made_id());
    paged(operation, 1_000, task_id()).answers(200, "A page.", Schema::named("TaskList"))
}

fn get_task() -> Operation {
    of_task("getTask", "One task", "With the attempts that it had before.").answers(
        200,
        "The task.",
        Schema::named("Task"),
    )
}

fn stop_task() -> Operation {
    of_task(
        "stopTask",
        "Ask for a task's end",
        "TERM, then KILL after the grace. To ask again is no mistake; the earlier of two deadlines wins.",
    )
    .may_take(Schema::named("StopRequest"))
    .answers(202, "It is durable that the task is to end.", Schema::named("Task"))
    .refuses(&["store_full"])
}

fn delete_task() -> Operation {
    of_task(
        "deleteTask",
        "Forget a task that ended, and its logs",
        "A name is taken only where one task has it.",
    )
    .answers_empty(204, "It is forgotten.")
    .refuses(&["task_lives", "store_full"])
}

fn why_task() -> Operation {
    of_task("whyTask", "Why a task is where it is", "Each node, and the reasons why it doesn't fit.").answers(
        200,
        "Why.",
        Schema::named("Why"),
    )
}

fn task_logs() -> Operation {
    super::log_parameters(of_task(
        "taskLogs",
        "A task's log",
        "The container's own bytes; as ndjson one LogLine a line. Without `attempt`, the last one; with `follow`, all in \
         order, to the task's end. The trailer `Podling-Incomplete: 1` says that a part is missing.",
    ))
}

fn logs_ticket() -> Operation {
    of_task("logsTicket", "Where a worker serves a task's log directly", "For `podling logs --direct`.")
        .query("attempt", "Of this attempt.", attempt_asked())
        .answers(200, "Where.", Schema::named("LogsTicket"))
        .refuses(&["attempt_not_found", "not_placed"])
}

fn audit() -> Operation {
    Operation::new(
        "audit",
        "Who changed what",
        "As ndjson, oldest first: all that are kept, or those after a number. Each holds the hash of the one before.",
    )
    .query("after", "Only those after this number.", Schema::count())
    .streams("The lines.", &[("application/x-ndjson", Schema::text(), Some(Schema::named("AuditLine")))])
}

fn make_token() -> Operation {
    Operation::new(
        "makeToken",
        "Make a token, or a join word",
        "The reply is the only one that holds its text.",
    )
    .takes(Schema::named("TokenRequest"))
    .answers(201, "The token.", Schema::named("TokenMade"))
    .refuses(&["too_many_tokens", "no_randomness", "store_full"])
}

fn list_tokens() -> Operation {
    let operation = Operation::new("listTokens", "List tokens", "Without their texts, oldest first.");
    paged(operation, 10_000, made_id()).answers(200, "A page.", Schema::named("TokenList"))
}

fn end_token() -> Operation {
    Operation::new("endToken", "End a token", "From now on nobody is let in who shows it.")
        .path("The token.", made_id())
        .answers_empty(204, "It is ended.")
        .refuses(&["token_not_found", "store_full"])
}

fn join(id: &'static str) -> Operation {
    Operation::new(
        id,
        "Take a node into the cluster",
        "With a join word's secret, which is used up, or an administrator's token: the tokens that the node had are ended. With \
         the node's own token: it keeps it, and gets its next certificate.",
    )
    .takes(Schema::named("JoinRequest"))
    .answers(200, "What the node speaks with from now on.", Schema::named("JoinReply"))
    .refuses(&["node_id_in_use", "too_many_tokens", "no_randomness", "store_full"])
}

fn register() -> Operation {
    Operation::new(
        "registerNode",
        "Register a node",
        "By its worker, at its start and whenever it is told to.",
    )
    .takes(Schema::named("RegisterRequest"))
    .answers(200, "It was known.", Schema::named("RegisterReply"))
    .answers(201, "It is new.", Schema::named("RegisterReply"))
    .refuses(&["foreign_cluster", "node_id_in_use", "store_full"])
}

fn list_nodes() -> Operation {
    let operation = Operation::new("listNodes", "List nodes", "By `node_id`.");
    paged(operation, 10_000, node_id()).answers(200, "A page.", Schema::named("NodeList"))
}

fn get_node() -> Operation {
    of_node("getNode", "One node", "What it has, and what its tasks asked for.").answers(
        200,
        "The node.",
        Schema::named("Node"),
    )
}

fn set_availability() -> Operation {
    of_node(
        "setAvailability",
        "Cordon, drain or open a node",
        "`cordoned`: nothing new. `draining`: nothing new, and what may be rescheduled is moved; nothing is killed.",
    )
    .takes(Schema::named("AvailabilityRequest"))
    .answers(200, "The node.", Schema::named("Node"))
    .refuses(&["store_full"])
}

fn node_stats() -> Operation {
    of_node("nodeStats", "What a node's tasks use", "As its worker has just measured it.")
        .answers(200, "The figures.", Schema::named("NodeStats"))
        .refuses(&["node_unreachable", "busy"])
}

fn delete_node() -> Operation {
    of_node("deleteNode", "Forget an offline node", "Not while it has live tasks.")
        .answers_empty(204, "It is forgotten.")
        .refuses(&["node_in_use", "store_full"])
}

fn heartbeat() -> Operation {
    Operation::new(
        "heartbeat",
        "A node's beat",
        "By its worker. The answer is the complete set that it is to run.",
    )
    .takes(Schema::named("HeartbeatRequest"))
    .answers(200, "What the node is to run.", Schema::named("HeartbeatReply"))
    .refuses(&["node_not_found", "superseded"])
}

fn reports() -> Operation {
    of_node("reportAttempts", "A node's reports", "By its worker: what happened to its attempts.")
        .takes(Schema::named("ReportsRequest"))
        .answers(200, "A verdict for each, once they are durable.", Schema::named("ReportsReply"))
        .refuses(&["superseded"])
}

fn events() -> Operation {
    let id = || Schema::matching("^(?:0|[0-9]{1,20}-[0-9]{1,20}(?:-[0-9]{1,10})?)$");
    Operation::new(
        "events",
        "What happens",
        "Server-sent events, named `task`, `node` and `gap`. Begins with what happens from now on, or after an event.",
    )
    .query("after", "Begin after this event; `0`: with the oldest that is kept.", id())
    .query("follow", "Whether to go on when all that is known was told.", Schema::flag().default(true))
    .header("Last-Event-ID", "As `after`, and stronger.", id())
    .streams("Events.", &[("text/event-stream", Schema::named("ServerSentEvent"), Some(Schema::named("Event")))])
    .refuses(&["invalid_event_id"])
}
