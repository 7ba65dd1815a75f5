//! Who this master is: the cluster's id, and the number of its start.
//!
//! Both are kept in the data folder, beside whatever store there is. The epoch grows at each start and is at least
//! the Unix time in seconds, so that it grows also where the folder was restored from an old copy.

use serde::{Deserialize, Serialize};

use crate::master::ids::Ids;
use crate::model::id::{ClusterId, Epoch};
use crate::model::time::WallTime;
use crate::runtime::data_dir::{DataDir, DataDirError};

const FILE: &str = "cluster.json";

/// The cluster and this start of its master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// This start.
    pub epoch: Epoch,
}

/// Whether a master was started on this folder before. Blocks on the disk.
///
/// # Errors
/// The file can't be read.
pub fn is_known(folder: &DataDir) -> Result<bool, DataDirError> {
    Ok(folder.read(FILE)?.is_some())
}

/// Reads who this master is, or decides it at the first start, and raises the epoch. Blocks on the disk.
///
/// # Errors
/// The file can't be read, written, or made sense of.
pub fn raise(folder: &DataDir, now: WallTime) -> Result<Identity, DataDirError> {
    let now_secs = now.unix_millis() / 1000;
    let identity = match read(folder)? {
        None => Identity { cluster_id: Ids::default().cluster(now), epoch: Epoch(now_secs) },
        Some(held) => Identity { epoch: Epoch(held.epoch.next().0.max(now_secs)), ..held },
    };
    write(folder, &identity)?;
    Ok(identity)
}

/// Reads who the master was that ran last. None: none has run here. Blocks on the disk.
///
/// # Errors
/// The file can't be read, or made sense of.
pub(super) fn read(folder: &DataDir) -> Result<Option<Identity>, DataDirError> {
    let Some(bytes) = folder.read(FILE)? else { return Ok(None) };
    let damaged =
        |why: serde_json::Error| DataDirError::Damaged { path: folder.file(FILE), why: why.to_string() };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Keeps who the master is. Blocks on the disk.
///
/// # Errors
/// The file can't be written.
pub(super) fn write(folder: &DataDir, identity: &Identity) -> Result<(), DataDirError> {
    folder.write(FILE, &serde_json::to_vec(identity).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_stays_and_the_epoch_grows_also_when_the_clock_goes_back() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("m")).unwrap();
        let starts =
            [9_000, 9_000, 5_000, 99_000].map(|at| raise(&folder, WallTime::from_unix_millis(at)).unwrap());
        assert_eq!(starts.clone().map(|start| start.epoch.0), [9, 10, 11, 99]);
        assert!(starts.iter().all(|start| start.cluster_id == starts[0].cluster_id));
    }
}
