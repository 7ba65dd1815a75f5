//! Names, addresses and texts that several parts of the simulation agree on.

use podling::api::wire::spec::{Creation, SpecWire};
use podling::control::tasks::Filter;
use podling::master::state::State;
use podling::model::id::NodeId;
use podling::model::task::{Outcome, Task, TaskState};
use podling::model::time::WallTime;
use sha2::{Digest, Sha256};

use crate::checker::history::Seen;

pub(crate) const FIRST_PORT: u16 = 8081;

pub(crate) fn node_id(index: usize) -> NodeId {
    format!("worker-{}", index + 1).parse().expect("it is a name")
}

/// What was asked for, as text.
pub(crate) fn spec_text(name: &str, spec: &podling::model::spec::TaskSpec) -> String {
    format!("{name} {}", serde_json::to_string(&SpecWire::from(spec)).expect("a spec can be written"))
}

pub(crate) fn hash(wanted: &[Creation]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for one in wanted {
        hasher.update(spec_text(one.name.as_str(), &one.spec));
    }
    hasher.finalize().into()
}

/// A task as clients see it.
pub(crate) fn seen(task: &Task, waits: Option<String>) -> Seen {
    let (container, started_at, exit_code, reason, detail) = match &task.state {
        TaskState::Pending { detail, .. } => (None, None, None, None, waits.or_else(|| detail.clone())),
        TaskState::Scheduled { detail, .. } => (None, None, None, None, detail.clone()),
        TaskState::Running { container, started_at, .. } => {
            (Some(container.clone()), Some(*started_at), None, None, None)
        }
        TaskState::Ended(ended) => {
            let reason = match ended.outcome {
                Outcome::Failed(reason) => Some(reason),
                Outcome::Completed | Outcome::Stopped => None,
            };
            (ended.container.clone(), ended.started_at, ended.exit_code, reason, ended.error.clone())
        }
    };
    Seen {
        task: task.id.clone(),
        attempt: task.attempt.0,
        status: task.status(),
        spec: spec_text(task.name.as_str(), &task.spec),
        node: task.placement().map(|on| on.node.clone()),
        container,
        started_at,
        exit_code,
        reason,
        detail,
    }
}

/// All that clients can see, but what isn't kept: when nodes were heard, and what they are busy with.
pub(crate) fn everything(state: &State) -> String {
    let tasks = state.tasks(&Filter::default(), None, 10_000).value;
    let mut nodes = state.nodes(None, 1000).value;
    nodes.0.iter_mut().for_each(|node| (node.last_heartbeat, node.detail) = (WallTime::default(), None));
    format!("{tasks:?} {nodes:?}")
}
