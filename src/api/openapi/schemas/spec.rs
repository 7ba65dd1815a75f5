//! How a container is made: [`crate::api::wire::spec`].
//!
//! The same fields, with the same limits, are in what is asked for, in a task's view and in what a worker is handed
//! ([`spec_fields`]). Limits in bytes are told in characters here, which is more.

use super::super::schema::Schema;
use super::{name, port};
use crate::api::wire::millis;
use crate::api::wire::spec::MAX_COUNT;
use crate::model::restart::RestartPolicy;
use crate::model::spec::{LONGEST_WAIT, Network, OnNodeLost, Protocol, PullPolicy};

/// An image's name, as the Engine reads it: `[host[:port]/]path[:tag][@digest]`.
const IMAGE: &str = concat!(
    "^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*:0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4})/",
    "|localhost/|[a-zA-Z0-9][a-zA-Z0-9-]*\\.[a-zA-Z0-9.-]*/)?",
    "[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?(?:/[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)*",
    "(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(?:@[a-zA-Z0-9]+:[a-fA-F0-9]{32,})?$"
);

pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let list = |items: &str| Schema::list(Schema::named(items));
    let count = Schema::number(1, MAX_COUNT.into());
    let counted = request().may("count", "How many equals to make: `NAME-0`, `NAME-1` and so on.", count);
    vec![
        ("TaskRequest", counted.doc("A task that is asked for.").closed()),
        ("TaskInArray", request().doc("A task that is asked for with others, all or none.").closed()),
        (
            "TaskArray",
            list("TaskInArray").at_least(1).at_most(MAX_COUNT as usize).doc("Tasks, all of them or none."),
        ),
        ("Port", published().closed()),
        ("Mount", mount().closed()),
        ("Restart", restart().closed()),
    ]
}

fn request() -> Schema {
    spec_fields(Schema::object().must("name", "What the user calls it; need not be unique.", name()))
}

/// Adds the fields of a spec.
pub(super) fn spec_fields(schema: Schema) -> Schema {
    host_fields(limit_fields(container_fields(schema)))
}

fn container_fields(schema: Schema) -> Schema {
    let word = Schema::matching("^[^\\x00]*$");
    let list = Schema::list(word.clone());
    let variables = Schema::map(Schema::matching("^[^=\\x00]+$"), word);
    let user = "^[a-zA-Z0-9_.][a-zA-Z0-9_.-]{0,63}(?::[a-zA-Z0-9_.][a-zA-Z0-9_.-]{0,63})?$";
    let networks = [Network::Bridge, Network::None, Network::Host].map(Network::as_str);
    schema
        .must("image", "The image.", image())
        .may("command", "Replaces the image's command.", list)
        .may("env", "Environment variables.", variables)
        .may("labels", "Labels, for people and filters. A key has 255 bytes at most, a value 4096.", labels())
        .may(
            "ports",
            "Published ports, no host port twice. Not with the network `none`.",
            Schema::list(Schema::named("Port")),
        )
        .may(
            "network",
            "`node` is not built yet (422 `not_supported`); `host` only where the policy allows it.",
            Schema::words(&networks).default(Network::default().as_str()),
        )
        .may("pull", "When the image is pulled.", pull())
        .may("user", "The user of the command: `USER` or `USER:GROUP`.", Schema::matching(user))
        .may(
            "workdir",
            "The folder that the command starts in.",
            Schema::matching("^/[^\\x00]*$").at_most(4096),
        )
}

fn limit_fields(schema: Schema) -> Schema {
    let on_lost = [OnNodeLost::Fail, OnNodeLost::Reschedule].map(OnNodeLost::as_str);
    schema
        .may("cpu_millis", "CPU limit, thousandths of a core.", Schema::number(1, 1_000_000_000))
        .may("memory_bytes", "Memory limit.", Schema::number(1, 1 << 62))
        .may("constraints", "Labels that its node must have.", labels())
        .may("restart", "After which ends it is tried again; absent: never.", Schema::named("Restart"))
        .may("on_node_lost", "What becomes of it when its node is lost.", {
            Schema::words(&on_lost).default(OnNodeLost::default().as_str())
        })
        .may(
            "pending_timeout_ms",
            "How long it may wait for a node; 0: for ever; absent: the master's setting.",
            wait(),
        )
        .may("stop_grace_ms", "Between TERM and KILL when it is stopped; absent: 10 s.", wait())
}

/// What of its node it asks for, which only the policy gives.
fn host_fields(schema: Schema) -> Schema {
    let capability = Schema::matching("^[A-Z][A-Z0-9_]{1,30}$").example("NET_ADMIN");
    schema
        .may(
            "mounts",
            "What of the node is mounted in the container; where the policy allows it.",
            Schema::list(Schema::named("Mount")),
        )
        .may(
            "capabilities",
            "Capabilities beyond the Engine's own set; where the policy allows them.",
            Schema::list(capability),
        )
}

fn mount() -> Schema {
    let path = || Schema::matching("^/[^\\x00-\\x1f\\x7f]*$").at_most(4096);
    Schema::object()
        .must("source", "The node's path.", path())
        .must("target", "The container's path.", path())
        .may("read_only", "Whether the container may not write to it.", Schema::flag().default(false))
        .doc("A folder or a file of the node in the container.")
}

/// An image's name.
pub(super) fn image() -> Schema {
    Schema::matching(IMAGE).at_most(512).example("nginx:latest")
}

/// When an image is pulled.
pub(super) fn pull() -> Schema {
    let pulls = [PullPolicy::Missing, PullPolicy::Always, PullPolicy::Never].map(PullPolicy::as_str);
    Schema::words(&pulls).default(PullPolicy::default().as_str())
}

/// A length of time in milliseconds, a year at most.
pub(super) fn wait() -> Schema {
    Schema::number(0, millis(LONGEST_WAIT))
}

fn labels() -> Schema {
    let key = Schema::matching("^(?!podling\\.)[^=\\x00-\\x1f\\x7f-\\x9f]+$").at_most(255);
    Schema::map(key, Schema::matching("^[^\\x00-\\x1f\\x7f-\\x9f]*$").at_most(4096))
}

fn published() -> Schema {
    let protocols = [Protocol::Tcp, Protocol::Udp].map(Protocol::as_str);
    Schema::object()
        .must("host", "The node's port.", port())
        .must("container", "The container's port.", port())
        .may("protocol", "The transport.", Schema::words(&protocols).default(Protocol::Tcp.as_str()))
        .doc("A published port.")
}

fn restart() -> Schema {
    let policies = [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always];
    Schema::object()
        .must("policy", "After which ends.", Schema::words(&policies.map(RestartPolicy::as_str)))
        .may(
            "max",
            "Further tries at most; absent: no limit. Not with `never`.",
            Schema::number(1, u32::MAX.into()),
        )
        .never_both("policy", RestartPolicy::Never.as_str(), "max")
        .doc("A restart policy.")
}
