//! Nodes: a silent one is offline in time, and none that was heard (I11).

use super::Findings;
use super::facts::Facts;

pub(super) fn judge(_facts: &Facts<'_>, _found: &mut Findings) {}
