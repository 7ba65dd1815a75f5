//! The checker: reads the recorded history of a run and says which invariant broke, where.

pub(crate) mod history;
