//! The schemas of the wire's documents, file by file as in [`crate::api::wire`], and their names.
//!
//! [`all`] lists every one. What several types share (ids, times, words) is here, once. A test holds each schema
//! against its type: both know the same fields, the same of them may be absent, and samples of the one fit the other.

mod agent;
mod event;
mod node;
mod problem;
mod spec;
mod task;
mod token;

use super::schema::Schema;
use crate::model::node::{Availability, NodeStatus};
use crate::model::task::{Reason, TaskStatus};

pub(super) use task::{reference, task_id};

/// Every schema, by name.
pub(super) fn all() -> Vec<(&'static str, Schema)> {
    let mut schemas = Vec::new();
    schemas.extend(spec::schemas());
    schemas.extend(task::schemas());
    schemas.extend(node::schemas());
    schemas.extend(agent::schemas());
    schemas.extend(event::schemas());
    schemas.extend(token::schemas());
    schemas.extend(problem::schemas());
    schemas
}

/// A name that people choose.
pub(super) fn name() -> Schema {
    Schema::matching("^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$").example("web")
}

/// The name of a node.
pub(super) fn node_id() -> Schema {
    Schema::matching("^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$").example("worker-1")
}

/// An id that the program makes.
pub(super) fn made_id() -> Schema {
    Schema::matching("^[0-9A-Za-z]{20,32}$").example("01JD0000000000000000000001")
}

/// The number of an attempt.
fn attempt() -> Schema {
    Schema::number(0, u32::MAX.into())
}

/// The number of an attempt that is asked for.
pub(super) fn attempt_asked() -> Schema {
    Schema::number(1, u32::MAX.into())
}

/// How many of something, at most so many as 32 bits hold.
fn small() -> Schema {
    Schema::number(0, u32::MAX.into())
}

fn container_id() -> Schema {
    Schema::matching("^[0-9A-Za-z]{1,128}$")
}

fn port() -> Schema {
    Schema::number(1, u16::MAX.into())
}

/// The words of a task's status.
pub(super) fn task_status() -> Schema {
    Schema::words(&TaskStatus::ALL.map(TaskStatus::as_str))
}

fn reason() -> Schema {
    let all = [
        Reason::ExitCode,
        Reason::OomKilled,
        Reason::Stopped,
        Reason::ImagePull,
        Reason::Engine,
        Reason::Start,
        Reason::InvalidSpec,
        Reason::NoNode,
        Reason::NodeLost,
        Reason::LeaseExpired,
        Reason::Policy,
    ];
    Schema::words(&all.map(Reason::as_str))
}

fn node_status() -> Schema {
    Schema::words(&[NodeStatus::Online, NodeStatus::Offline].map(NodeStatus::as_str))
}

fn availability() -> Schema {
    let all = [Availability::Active, Availability::Cordoned, Availability::Draining];
    Schema::words(&all.map(Availability::as_str))
}

/// A page of a list.
fn page(items: &str) -> Schema {
    let next = Schema::text();
    Schema::object().must("items", "What is on it.", Schema::list(Schema::named(items))).may(
        "next",
        "Where the next one begins (`?after=`); absent on the last.",
        next,
    )
}
