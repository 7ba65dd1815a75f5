//! What the clients ask the cluster to run: quick tasks, long ones, stubborn ones, greedy ones, talkative ones.

use podling::api::wire::spec::{Creation, SpecWire, TaskRequest};
use podling::api::wire::task::TaskView;
use serde_json::{Value, json};

use crate::checker::history::Seen;
use crate::dice::Dice;
use crate::docker::IMAGE;

/// The longest grace of any task, in milliseconds.
pub(crate) const LONGEST_GRACE_MS: u64 = 1_500;

#[derive(Clone, Copy)]
enum Kind {
    Quick,
    Fails,
    Short,
    Sleeper,
    MovesShort,
    MovesSleeper,
    Stubborn,
    Greedy,
    Talks,
    Retries,
    RetriesElsewhere,
}

const KINDS: [(Kind, u64); 11] = [
    (Kind::Quick, 25),
    (Kind::Fails, 15),
    (Kind::Short, 12),
    (Kind::Sleeper, 14),
    (Kind::MovesShort, 10),
    (Kind::MovesSleeper, 14),
    (Kind::Stubborn, 5),
    (Kind::Greedy, 2),
    (Kind::Talks, 10),
    (Kind::Retries, 4),
    (Kind::RetriesElsewhere, 3),
];

/// A task to be made.
pub(crate) struct Wanted {
    /// The request's body.
    pub(crate) body: Vec<u8>,
    /// Its spec, as the history writes it.
    pub(crate) spec: String,
    /// It ends only when it is told to.
    pub(crate) is_long: bool,
}

/// Draws a task.
pub(crate) fn draw(name: &str, dice: &mut Dice) -> Wanted {
    let kind = dice.weighted(&KINDS);
    let (script, is_long) = match kind {
        Kind::Quick => ("exit 0", false),
        Kind::Fails | Kind::Retries => ("exit 7", false),
        Kind::RetriesElsewhere => ("sleep 1; exit 9", false),
        Kind::Short | Kind::MovesShort => ("sleep 2; exit 0", false),
        Kind::Sleeper | Kind::MovesSleeper => ("trap 'exit 0' TERM; sleep 600 & wait", true),
        Kind::Stubborn => ("trap '' TERM; sleep 600 & wait; wait", true),
        Kind::Greedy => ("tail /dev/zero", false),
        Kind::Talks => ("i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i + 1)); done", false),
    };
    let mut body = json!({
        "name": name, "image": IMAGE, "command": ["sh", "-c", script], "network": "none", "pull": "never",
        "stop_grace_ms": LONGEST_GRACE_MS,
    });
    match kind {
        Kind::MovesShort | Kind::MovesSleeper => body["on_node_lost"] = json!("reschedule"),
        Kind::Greedy => body["memory_bytes"] = json!(16 << 20),
        Kind::Retries => body["restart"] = json!({"policy": "on-failure", "max": 2}),
        Kind::RetriesElsewhere => {
            body["restart"] = json!({"policy": "always", "max": 1});
            body["on_node_lost"] = json!("reschedule");
        }
        Kind::Quick | Kind::Fails | Kind::Short | Kind::Sleeper | Kind::Stubborn | Kind::Talks => {}
    }
    Wanted { spec: spec_of(&body), body: body.to_string().into_bytes(), is_long }
}

/// What the master will show of a request.
fn spec_of(body: &Value) -> String {
    let request: TaskRequest = serde_json::from_value(body.clone()).unwrap();
    let creation = Creation::try_from(request).unwrap();
    told(creation.name.as_str(), &SpecWire::from(&*creation.spec))
}

/// A task's name and spec, as the history writes them.
pub(crate) fn told(name: &str, spec: &SpecWire) -> String {
    format!("{name} {}", serde_json::to_string(spec).unwrap())
}

/// A task as it was shown.
pub(crate) fn seen(view: &TaskView) -> Seen {
    Seen {
        task: view.task_id.clone(),
        attempt: view.attempt.0,
        status: view.status,
        spec: told(view.name.as_str(), &view.spec),
        node: view.node_id.clone(),
        container: view.container_id.clone(),
        started_at: view.started_at,
        exit_code: view.exit_code,
        reason: view.reason,
        detail: view.detail.clone(),
    }
}
