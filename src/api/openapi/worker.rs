//! The worker's routes, one entry each. A route without one doesn't compile.

use super::operation::Operation;
use super::schema::Schema;
use super::schemas::task_id;
use crate::api::routes::WorkerRoute;

/// The entry of a route.
pub(super) fn entry(route: WorkerRoute) -> Operation {
    match route {
        WorkerRoute::Assign => assign(),
        WorkerRoute::ListTasks => Operation::new("listAttempts", "What this worker runs", "All of it.")
            .answers(200, "Its attempts.", Schema::named("AttemptList")),
        WorkerRoute::GetTask => of_task(
            "getAttempt",
            "One task, as this worker has it",
            "Its newest attempt.",
        )
        .answers(200, "The attempt.", Schema::named("Attempt")),
        WorkerRoute::TaskLogs => task_logs(),
        WorkerRoute::StopTask => {
            of_task("stopAttempt", "Stop a task now", "TERM, then KILL after the grace.")
                .may_take(Schema::named("StopOrder"))
                .answers(202, "It is being stopped.", Schema::named("Taken"))
        }
        WorkerRoute::PrepareImage => prepare_image(),
        WorkerRoute::Stats => Operation::new("stats", "What this node's tasks use", "Measured now.")
            .answers(200, "The figures.", Schema::named("NodeStats"))
            .refuses(&["busy", "engine"]),
        WorkerRoute::Healthz => super::healthz(),
        WorkerRoute::Readyz => super::readyz(&["not_ready", "engine"]),
        WorkerRoute::OpenApi => super::openapi(),
    }
}

fn of_task(id: &'static str, summary: &'static str, description: &'static str) -> Operation {
    Operation::new(id, summary, description)
        .path("The task's whole id.", task_id())
        .refuses(&["task_not_found"])
}

fn assign() -> Operation {
    let one_or_more = [Schema::named("Assignment"), Schema::list(Schema::named("Assignment"))];
    Operation::new(
        "assign",
        "Take assignments",
        "By the master; one, or an array. The same one again changes nothing. 16 MiB at most.",
    )
    .takes(Schema::any_of(one_or_more))
    .answers(202, "They were taken.", Schema::named("Taken"))
    .refuses(&["policy", "fenced", "not_supported", "not_ready"])
}

fn task_logs() -> Operation {
    super::log_parameters(of_task(
        "attemptLogs",
        "A task's log, as this worker has it",
        "The container's own bytes; as ndjson one LogLine a line. Without `attempt`, of the newest. The trailer \
         `Podling-Incomplete: 1` says that a part is missing.",
    ))
    .refuses(&["not_ready"])
}

fn prepare_image() -> Operation {
    Operation::new("prepareImage", "Have an image ready", "By the master, before it moves a task here.")
        .takes(Schema::named("ImageRequest"))
        .answers(200, "It is there.", Schema::named("ImageReply"))
        .answers(202, "It is being pulled.", Schema::named("ImageReply"))
        .refuses(&["image_pull", "busy", "engine"])
}
