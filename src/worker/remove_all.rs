//! `--remove-all`: removes every container of this node, running or not, and ends. For a node that is taken down.

use std::io::Write;
use std::process::ExitCode;

use crate::engine::{Engine, EngineError, Owner};
use crate::model::id::NodeId;
use crate::worker::identity::Identity;

/// Removes them, and says how many there were. A node that never belonged to a cluster has none.
///
/// # Errors
/// The Engine doesn't answer, or fails. What was removed stays removed.
pub(super) fn run(
    identity: &Identity,
    node: &NodeId,
    engine: &dyn Engine,
    out: &mut dyn Write,
) -> Result<ExitCode, EngineError> {
    let mut count = 0;
    if let Some(cluster) = identity.cluster() {
        for container in engine.list(&Owner { cluster: cluster.clone(), node: node.clone() })? {
            engine.remove(&container.id)?;
            count += 1;
        }
    }
    // A reader that went away doesn't undo it.
    let _ = writeln!(out, "removed {count} containers of {node}");
    Ok(ExitCode::SUCCESS)
}
