//! Quarantine: a master that may have forgotten what runs doesn't stop it.
//!
//! A master whose store is empty though its data folder is not (the store was lost, or is `memory`), or whose store
//! was restored from a backup, knows less than its nodes do. Its sets then say that they are not complete, so nothing
//! that it doesn't know is stopped; nodes show how many such attempts they run. The file `quarantine` in the data
//! folder keeps it so across starts, until an operator has looked and starts the master with `--accept-state`: then
//! what it doesn't know ends.

use crate::runtime::data_dir::{DataDir, DataDirError};

/// Its being there is all that counts. `restore` writes it too.
pub const FILE: &str = "quarantine";

/// What a start finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The data folder was used before this start.
    pub was_used: bool,
    /// The store holds no record.
    pub store_is_empty: bool,
    /// The operator has said that the store is the truth.
    pub is_accepted: bool,
}

/// Whether this start is in quarantine, and makes the data folder say so. Blocks on the disk.
///
/// # Errors
/// The file can't be looked at, written or removed.
pub fn begin(folder: &DataDir, found: Findings) -> Result<bool, DataDirError> {
    let was_in_it = folder.read(FILE)?.is_some();
    if found.is_accepted {
        folder.remove(FILE)?;
        return Ok(false);
    }
    let has_forgotten = found.was_used && found.store_is_empty;
    if has_forgotten && !was_in_it {
        folder.write(FILE, b"the store was empty and the data folder was not\n")?;
    }
    Ok(was_in_it || has_forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_an_empty_store_or_a_restored_one_and_ends_when_that_is_accepted() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("m")).unwrap();
        let start = |was_used, store_is_empty, is_accepted| {
            begin(&folder, Findings { was_used, store_is_empty, is_accepted }).unwrap()
        };
        assert!(!start(false, true, false), "a first start");
        assert!(!start(true, false, false), "a start like any other");
        assert!(start(true, true, false), "the store was lost");
        assert!(start(true, false, false), "what was written since doesn't end it");
        assert!(!start(true, false, true), "the operator does");
        assert!(!start(true, false, false) && !folder.file(FILE).exists());
        folder.write(FILE, b"").unwrap();
        assert!(start(true, false, false), "restored");
        assert!(!start(true, true, true) && !start(true, false, true));
    }
}
