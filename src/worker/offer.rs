//! What a node says of itself to the master: at a registration, and with each beat. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::wire::agent::{HeartbeatRequest, HeldAttempt, RegisterRequest};
use crate::api::wire::millis;
use crate::control::reconcile::Mark;
use crate::engine::Description;
use crate::model::id::{ClusterId, Incarnation, InstanceId, NodeId, StartId};
use crate::model::node::NodeAddress;
use crate::model::resources::{CpuMillis, MemoryBytes};

/// What this node offers.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The node.
    pub node: NodeId,
    /// Where the master reaches it.
    pub address: NodeAddress,
    /// Places for tasks.
    pub capacity: u32,
    /// What its tasks may take of the CPU. None: as much as the Engine has.
    pub cpu: Option<CpuMillis>,
    /// What its tasks may take of the memory. None: as much as the Engine has.
    pub memory: Option<MemoryBytes>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How often it means to beat.
    pub heartbeat: Duration,
}

/// One start of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStart {
    /// The data folder's own id.
    pub instance: InstanceId,
    /// This run of the process.
    pub start: StartId,
    /// The number of this start.
    pub incarnation: Incarnation,
}

impl Offer {
    /// A registration. An Engine that has not answered yet has nothing.
    pub fn registration(
        &self,
        by: &WorkerStart,
        cluster: Option<&ClusterId>,
        engine: Option<&Description>,
    ) -> RegisterRequest {
        RegisterRequest {
            node_id: self.node.clone(),
            instance_id: by.instance.clone(),
            start_id: by.start.clone(),
            incarnation: by.incarnation,
            cluster_id: cluster.cloned(),
            hostname: self.address.host.clone(),
            port: self.address.port,
            capacity: self.capacity,
            cpu_millis: self.cpu.or(engine.map(|engine| engine.cpu)).unwrap_or_default().0,
            memory_bytes: self.memory.or(engine.map(|engine| engine.memory)).unwrap_or_default().0,
            labels: self.labels.clone(),
            engine: engine.map_or_else(|| "unknown".to_owned(), |engine| engine.name.clone()),
            engine_id: engine.map(|engine| engine.id.clone()).unwrap_or_default(),
            heartbeat_ms: millis(self.heartbeat),
        }
    }

    /// A beat: what was heard last, and what is held. `is_ready`: the node takes work.
    pub fn beat(
        &self,
        incarnation: Incarnation,
        heard: Mark,
        held: Vec<HeldAttempt>,
        is_ready: bool,
    ) -> HeartbeatRequest {
        HeartbeatRequest {
            node_id: self.node.clone(),
            incarnation,
            epoch: heard.epoch,
            revision: heard.revision,
            capacity: self.capacity,
            ready: is_ready,
            running_tasks: held,
        }
    }
}
