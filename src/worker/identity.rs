//! Who this worker is: its data folder's own id, the number of its start, and the cluster that it belongs to.
//!
//! Kept in `worker.json`. The incarnation grows at each start and is raised to what the master grants; the cluster is
//! learnt at the first registration and never changes after that.

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::model::id::{ClusterId, Incarnation, InstanceId, NodeId, StartId};
use crate::runtime::data_dir::{DataDir, DataDirError};

const FILE: &str = "worker.json";

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    node_id: NodeId,
    instance_id: InstanceId,
    incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<ClusterId>,
}

/// Who a worker is, on disk and for this run of its process.
#[derive(Debug)]
pub(super) struct Identity {
    folder: DataDir,
    kept: Kept,
    start: StartId,
}

impl Identity {
    /// Reads who this worker is, or decides it at the first start. Raises the incarnation. Blocks on the disk.
    ///
    /// # Errors
    /// The file can't be read, written, or made sense of, or the folder is another node's.
    pub(super) fn raise(folder: DataDir, node_id: &NodeId) -> Result<Self, DataDirError> {
        let refuse = |why: String| DataDirError::Damaged { path: folder.file(FILE), why };
        let kept = match folder.read(FILE)? {
            None => Kept {
                node_id: node_id.clone(),
                instance_id: fresh().parse().expect("invariant: a ULID is 26 letters and digits"),
                incarnation: Incarnation(1),
                cluster_id: None,
            },
            Some(bytes) => {
                let held: Kept = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
                if held.node_id != *node_id {
                    return Err(refuse(format!("it is the data folder of the node {}", held.node_id)));
                }
                Kept { incarnation: held.incarnation.next(), ..held }
            }
        };
        let start = fresh().parse().expect("invariant: a ULID is 26 letters and digits");
        let identity = Self { folder, kept, start };
        identity.write()?;
        Ok(identity)
    }

    /// Keeps what a registration granted. Blocks on the disk.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn grant(
        &mut self,
        cluster: &ClusterId,
        incarnation: Incarnation,
    ) -> Result<(), DataDirError> {
        let granted = Kept { incarnation, cluster_id: Some(cluster.clone()), ..self.kept.clone() };
        if granted == self.kept {
            return Ok(());
        }
        self.kept = granted;
        self.write()
    }

    fn write(&self) -> Result<(), DataDirError> {
        // Ids and numbers: they can always be written as JSON.
        self.folder.write(FILE, &serde_json::to_vec(&self.kept).unwrap_or_default())
    }

    /// The data folder.
    pub(super) const fn folder(&self) -> &DataDir {
        &self.folder
    }

    /// The data folder's own id.
    pub(super) const fn instance(&self) -> &InstanceId {
        &self.kept.instance_id
    }

    /// This run of the process.
    pub(super) const fn start(&self) -> &StartId {
        &self.start
    }

    /// The number of this start.
    pub(super) const fn incarnation(&self) -> Incarnation {
        self.kept.incarnation
    }

    /// The cluster, once it is known.
    pub(super) const fn cluster(&self) -> Option<&ClusterId> {
        self.kept.cluster_id.as_ref()
    }
}

fn fresh() -> String {
    Ulid::generate().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_stays_and_the_incarnation_grows() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("w");
        let node: NodeId = "worker-1".parse().unwrap();
        let raise = || Identity::raise(DataDir::open(&path).unwrap(), &node).unwrap();
        let mut first = raise();
        assert_eq!((first.incarnation(), first.cluster()), (Incarnation(1), None));
        let cluster: ClusterId = "c0000000000000000000000000".parse().unwrap();
        first.grant(&cluster, Incarnation(7)).unwrap();
        let (instance, start) = (first.instance().clone(), first.start().clone());
        drop(first);
        let second = raise();
        assert_eq!((second.incarnation(), second.cluster()), (Incarnation(8), Some(&cluster)));
        assert_eq!(*second.instance(), instance);
        assert_ne!(*second.start(), start);
    }

    #[test]
    fn another_nodes_folder_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("w");
        drop(Identity::raise(DataDir::open(&path).unwrap(), &"a".parse().unwrap()).unwrap());
        let error = Identity::raise(DataDir::open(&path).unwrap(), &"b".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("the node a"), "{error}");
    }
}
