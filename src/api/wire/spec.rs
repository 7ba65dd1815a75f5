//! A task's specification as JSON: what POST /tasks takes, what a worker is handed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Mistake, millis, present};
use crate::model::id::TaskName;
use crate::model::mount::{self, Capabilities, Mount, Mounts};
use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::restart::{Restart, RestartPolicy};
use crate::model::spec::{
    DEFAULT_STOP_GRACE, LONGEST_WAIT, Labels, Network, OnNodeLost, PortMapping, Ports, PullPolicy, TaskSpec,
    Variables,
};

/// The largest `count`.
pub const MAX_COUNT: u32 = 100_000;

/// The body of POST /tasks, one task.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// What the user calls it.
    pub name: String,
    /// The image.
    pub image: String,
    /// Replaces the image's command.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Environment variables.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Labels.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Published ports.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<PortWire>>,
    /// CPU limit, thousandths of a core.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Memory limit.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// `bridge`, `none`, `node`, `host`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// `missing`, `always`, `never`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub pull: Option<String>,
    /// User of the command.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Folder that the command starts in.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Labels that the node must have.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub constraints: Option<BTreeMap<String, String>>,
    /// Restart policy.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartWire>,
    /// `fail`, `reschedule`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub on_node_lost: Option<String>,
    /// How long it may wait for a node; 0: for ever.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub pending_timeout_ms: Option<u64>,
    /// Between TERM and KILL.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
    /// How many equals to make.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Secrets. Not built.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Value>,
    /// What of the node is mounted in the container; where the policy allows it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<MountWire>>,
    /// Capabilities beyond the Engine's own set; where the policy allows them.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
}

/// A restart policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartWire {
    /// `never`, `on-failure`, `always`.
    pub policy: String,
    /// Further tries at most.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

impl From<Restart> for RestartWire {
    fn from(restart: Restart) -> Self {
        Self { policy: restart.policy.as_str().to_owned(), max: restart.max }
    }
}

impl TryFrom<RestartWire> for Restart {
    type Error = Mistake;

    fn try_from(wire: RestartWire) -> Result<Self, Mistake> {
        let policy: RestartPolicy = field("restart.policy", wire.policy.parse())?;
        field("restart", Self::new(policy, wire.max))
    }
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortWire {
    /// The node's port.
    pub host: u16,
    /// The container's port.
    pub container: u16,
    /// `tcp` or `udp`.
    #[serde(default = "tcp")]
    pub protocol: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

/// A folder or file of the node, mounted in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountWire {
    /// The node's path.
    pub source: String,
    /// The container's path.
    pub target: String,
    /// Whether the container may not write to it; absent: it may.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// A checked request: what is to be created.
#[derive(Clone, Debug)]
pub struct Creation {
    /// What the user calls it.
    pub name: TaskName,
    /// How its container is made.
    pub spec: Arc<TaskSpec>,
    /// How many equals; none where `count` wasn't given.
    pub count: Option<u32>,
}

impl TryFrom<TaskRequest> for Creation {
    type Error = Mistake;

    fn try_from(request: TaskRequest) -> Result<Self, Mistake> {
        refuse_what_is_not_built(&request)?;
        let name: TaskName = field("name", request.name.parse())?;
        if let Some(count) = request.count {
            if !(1..=MAX_COUNT).contains(&count) {
                return Err(Mistake::invalid("count", format!("must be 1 to {MAX_COUNT}")));
            }
            // The longest of `NAME-0 …` must be a name as well.
            field("count", format!("{name}-{}", count - 1).parse::<TaskName>().map(drop))?;
        }
        let count = request.count;
        let spec = SpecWire::from(request).try_into()?;
        Ok(Self { name, spec: Arc::new(spec), count })
    }
}

fn refuse_what_is_not_built(request: &TaskRequest) -> Result<(), Mistake> {
    if request.secrets.is_some() {
        return Err(Mistake::not_supported("secrets", "is not supported yet"));
    }
    Ok(())
}

/// How a container is made, as JSON. Part of a task's view and of an assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecWire {
    /// The image.
    pub image: String,
    /// Replaces the image's command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortWire>,
    /// CPU limit, thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// `bridge`, `none` or `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// What of the node is mounted in the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountWire>,
    /// Capabilities beyond the Engine's own set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// `missing`, `always`, `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<String>,
    /// User of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Folder that the command starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<String, String>,
    /// Restart policy; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartWire>,
    /// `fail`, `reschedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_node_lost: Option<String>,
    /// How long it may wait for a node; 0: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_timeout_ms: Option<u64>,
    /// Between TERM and KILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_ms: Option<u64>,
}

impl From<TaskRequest> for SpecWire {
    fn from(request: TaskRequest) -> Self {
        Self {
            image: request.image,
            command: request.command.unwrap_or_default(),
            env: request.env.unwrap_or_default(),
            labels: request.labels.unwrap_or_default(),
            ports: request.ports.unwrap_or_default(),
            cpu_millis: request.cpu_millis,
            memory_bytes: request.memory_bytes,
            network: request.network,
            mounts: request.mounts.unwrap_or_default(),
            capabilities: request.capabilities.unwrap_or_default(),
            pull: request.pull,
            user: request.user,
            workdir: request.workdir,
            constraints: request.constraints.unwrap_or_default(),
            restart: request.restart,
            on_node_lost: request.on_node_lost,
            pending_timeout_ms: request.pending_timeout_ms,
            stop_grace_ms: request.stop_grace_ms,
        }
    }
}

impl From<&TaskSpec> for SpecWire {
    fn from(spec: &TaskSpec) -> Self {
        let port = |port: &PortMapping| PortWire {
            host: port.host,
            container: port.container,
            protocol: port.protocol.as_str().to_owned(),
        };
        let mount = |mount: &Mount| MountWire {
            source: mount.source.to_string(),
            target: mount.target.to_string(),
            read_only: mount.read_only,
        };
        Self {
            image: spec.image.as_str().to_owned(),
            command: spec.command.clone(),
            env: spec.env.as_map().clone(),
            labels: spec.labels.as_map().clone(),
            ports: spec.ports.as_slice().iter().map(port).collect(),
            cpu_millis: spec.cpu.map(|cpu| cpu.0),
            memory_bytes: spec.memory.map(|memory| memory.0),
            network: Some(spec.network.as_str().to_owned()),
            mounts: spec.mounts.as_slice().iter().map(mount).collect(),
            capabilities: spec.capabilities.iter().map(|one| one.as_str().to_owned()).collect(),
            pull: Some(spec.pull.as_str().to_owned()),
            user: spec.user.as_ref().map(|user| user.as_str().to_owned()),
            workdir: spec.workdir.as_ref().map(|folder| folder.as_str().to_owned()),
            constraints: spec.constraints.as_map().clone(),
            restart: (spec.restart != Restart::NEVER).then(|| RestartWire::from(spec.restart)),
            on_node_lost: Some(spec.on_node_lost.as_str().to_owned()),
            pending_timeout_ms: spec.pending_timeout.map(millis),
            stop_grace_ms: Some(millis(spec.stop_grace)),
        }
    }
}

impl TryFrom<SpecWire> for TaskSpec {
    type Error = Mistake;

    fn try_from(wire: SpecWire) -> Result<Self, Mistake> {
        let network = network(wire.network.as_deref())?;
        let ports = ports(&wire.ports)?;
        if network != Network::Bridge && !ports.as_slice().is_empty() {
            return Err(Mistake::invalid("ports", "need the network bridge"));
        }
        if let Some(nul) = wire.command.iter().position(|word| word.contains('\0')) {
            return Err(Mistake::invalid(format!("command[{nul}]"), "must not hold NUL"));
        }
        Ok(Self {
            image: field("image", wire.image.parse())?,
            command: wire.command,
            env: field("env", Variables::new(wire.env))?,
            labels: field("labels", Labels::new(wire.labels))?,
            ports,
            cpu: amount("cpu_millis", wire.cpu_millis, 1_000_000_000)?.map(CpuMillis),
            memory: amount("memory_bytes", wire.memory_bytes, 1 << 62)?.map(MemoryBytes),
            network,
            mounts: mounts(&wire.mounts)?,
            capabilities: capabilities(&wire.capabilities)?,
            pull: field("pull", wire.pull.as_deref().map_or(Ok(PullPolicy::default()), str::parse))?,
            user: field("user", wire.user.as_deref().map(str::parse).transpose())?,
            workdir: field("workdir", wire.workdir.as_deref().map(str::parse).transpose())?,
            constraints: field("constraints", Labels::new(wire.constraints))?,
            restart: wire.restart.map_or(Ok(Restart::NEVER), Restart::try_from)?,
            on_node_lost: field(
                "on_node_lost",
                wire.on_node_lost.as_deref().map_or(Ok(OnNodeLost::default()), str::parse),
            )?,
            pending_timeout: wait("pending_timeout_ms", wire.pending_timeout_ms)?,
            stop_grace: wait("stop_grace_ms", wire.stop_grace_ms)?.unwrap_or(DEFAULT_STOP_GRACE),
        })
    }
}

/// Names the field of a value that was refused.
fn field<T, E: fmt::Display>(name: &str, parsed: Result<T, E>) -> Result<T, Mistake> {
    parsed.map_err(|why| Mistake::invalid(name, why))
}

fn amount(name: &str, value: Option<u64>, most: u64) -> Result<Option<u64>, Mistake> {
    match value {
        Some(value) if !(1..=most).contains(&value) => {
            Err(Mistake::invalid(name, format!("must be 1 to {most}")))
        }
        Some(_) | None => Ok(value),
    }
}

/// Reads a length of time in milliseconds, a year at most.
pub(super) fn wait(name: &str, value: Option<u64>) -> Result<Option<Duration>, Mistake> {
    let most = millis(LONGEST_WAIT);
    match value {
        Some(value) if value > most => Err(Mistake::invalid(name, format!("must be at most {most}"))),
        Some(value) => Ok(Some(Duration::from_millis(value))),
        None => Ok(None),
    }
}

fn network(word: Option<&str>) -> Result<Network, Mistake> {
    match word {
        None | Some("bridge") => Ok(Network::Bridge),
        Some("none") => Ok(Network::None),
        Some("node") => Err(Mistake::not_supported("network", "node is not supported yet")),
        Some("host") => Ok(Network::Host),
        Some(other) => {
            Err(Mistake::invalid("network", format!("{other:?} must be bridge, none, node or host")))
        }
    }
}

fn mounts(wire: &[MountWire]) -> Result<Mounts, Mistake> {
    let mount = |(index, mount): (usize, &MountWire)| {
        Ok(Mount {
            source: field(&format!("mounts[{index}].source"), mount.source.parse())?,
            target: field(&format!("mounts[{index}].target"), mount::target(&mount.target))?,
            read_only: mount.read_only,
        })
    };
    let mounts = wire.iter().enumerate().map(mount).collect::<Result<Vec<_>, Mistake>>()?;
    field("mounts", Mounts::new(mounts))
}

fn capabilities(wire: &[String]) -> Result<Capabilities, Mistake> {
    let one = |(index, name): (usize, &String)| field(&format!("capabilities[{index}]"), name.parse());
    wire.iter().enumerate().map(one).collect::<Result<Vec<_>, Mistake>>().map(Capabilities::new)
}

fn ports(wire: &[PortWire]) -> Result<Ports, Mistake> {
    let mapping = |(index, port): (usize, &PortWire)| {
        let protocol = field(&format!("ports[{index}].protocol"), port.protocol.parse())?;
        Ok(PortMapping { host: port.host, container: port.container, protocol })
    };
    let ports = wire.iter().enumerate().map(mapping).collect::<Result<Vec<_>, Mistake>>()?;
    field("ports", Ports::new(ports))
}

#[cfg(test)]
mod tests {
    use super::super::{MistakeKind, read};
    use super::*;

    fn create(json: &str) -> Result<Creation, Mistake> {
        read::<TaskRequest>(json.as_bytes())?.try_into()
    }

    fn refused(json: &str) -> (MistakeKind, String) {
        let mistake = create(json).expect_err(json);
        (mistake.kind, mistake.to_string())
    }

    #[test]
    fn name_and_image_are_enough() {
        let creation = create(r#"{"name":"web","image":"nginx"}"#).unwrap();
        assert_eq!(creation.spec.stop_grace, Duration::from_secs(10));
        assert_eq!(creation.spec.network, Network::Bridge);
        assert!(creation.count.is_none());
    }

    #[test]
    fn a_spec_survives_the_wire() {
        let creation = create(
            r#"{"name":"web","image":"nginx:1","command":["a","b"],"env":{"K":"V"},"labels":{"l":"1"},
                "ports":[{"host":8080,"container":80}],"cpu_millis":500,"memory_bytes":268435456,"network":"bridge",
                "mounts":[{"source":"/srv/x","target":"/x"},{"source":"/srv/y","target":"/y","read_only":true}],
                "capabilities":["NET_ADMIN","KILL"],
                "pull":"always","user":"1000:1000","workdir":"/srv","pending_timeout_ms":0,"stop_grace_ms":5,
                "restart":{"policy":"on-failure","max":2},"constraints":{"disk":"ssd"},"on_node_lost":"reschedule"}"#,
        );
        let spec = creation.unwrap().spec;
        let again = TaskSpec::try_from(SpecWire::from(&*spec)).unwrap();
        assert_eq!(again, *spec);
        assert_eq!(again.on_node_lost, OnNodeLost::Reschedule);
    }

    #[test]
    fn a_spec_of_before_a_field_was_known_has_its_default() {
        let wire: SpecWire = serde_json::from_str(r#"{"image":"nginx"}"#).unwrap();
        let spec = TaskSpec::try_from(wire).unwrap();
        assert_eq!(spec.on_node_lost, OnNodeLost::Fail);
        assert_eq!((spec.mounts, spec.capabilities), (Mounts::default(), Capabilities::default()));
    }

    #[test]
    fn mistakes_are_named() {
        let malformed = refused("{\"name\":");
        assert_eq!(malformed.0, MistakeKind::Malformed);
        for (json, says) in [
            (r#"{"name":"web"}"#, "missing field `image`"),
            (r#"{"name":"web","image":"nginx","colour":1}"#, "colour: unknown field `colour`"),
            (r#"{"name":3,"image":"nginx"}"#, "name: invalid type: integer"),
            (r#"{"name":"web","image":"nginx","env":null}"#, "env: invalid type: null"),
            (r#"{"name":"","image":"nginx"}"#, "name: must match"),
            (r#"{"name":"web","image":""}"#, "image: must not be empty"),
            (r#"{"name":"web","image":"-v"}"#, "image: \"-v\" is not an image reference"),
            (r#"{"name":"web","image":"x","env":{"A=B":"c"}}"#, "env: the name \"A=B\""),
            (r#"{"name":"web","image":"x","labels":{"podling.task":"c"}}"#, "labels: \"podling.task\""),
            (
                r#"{"name":"web","image":"x","ports":[{"host":99999,"container":1}]}"#,
                "ports[0].host: invalid value",
            ),
            (
                r#"{"name":"web","image":"x","network":"none","ports":[{"host":9,"container":1}]}"#,
                "ports: need",
            ),
            (
                r#"{"name":"web","image":"x","network":"host","ports":[{"host":9,"container":1}]}"#,
                "ports: need",
            ),
            (r#"{"name":"web","image":"x","mounts":[{"source":"/a"}]}"#, "mounts[0]: missing field `target`"),
            (
                r#"{"name":"web","image":"x","mounts":[{"source":"/a","target":"/b","mode":"rw"}]}"#,
                "mounts[0].mode: unknown field",
            ),
            (
                r#"{"name":"web","image":"x","mounts":[{"source":"a","target":"/b"}]}"#,
                "mounts[0].source: \"a\"",
            ),
            (
                r#"{"name":"web","image":"x","mounts":[{"source":"/a","target":"/dev/x"}]}"#,
                "mounts[0].target: \"/dev/x\" must not be /dev",
            ),
            (
                r#"{"name":"web","image":"x","mounts":[{"source":"/a","target":"/b"},{"source":"/c","target":"/b"}]}"#,
                "mounts: the target \"/b\" is asked for twice",
            ),
            (r#"{"name":"web","image":"x","capabilities":["KILL","ALL"]}"#, "capabilities[1]: \"ALL\""),
            (r#"{"name":"web","image":"x","count":0}"#, "count: must be 1 to 100000"),
            (r#"{"name":"web","image":"x","on_node_lost":"pray"}"#, "on_node_lost: \"pray\""),
            (
                r#"{"name":"web","image":"x","restart":{"policy":"maybe"}}"#,
                "restart.policy: \"maybe\" must be never",
            ),
            (r#"{"name":"web","image":"x","restart":{"policy":"never","max":1}}"#, "restart: max needs"),
            (r#"{"name":"web","image":"x","restart":{"policy":"always","max":0}}"#, "restart: max must be 1"),
            (r#"{"name":"web","image":"x","constraints":{"":"ssd"}}"#, "constraints: the key"),
            (r#"{"name":"web","image":"x","constraints":["disk"]}"#, "constraints: invalid type: sequence"),
        ] {
            let (kind, text) = refused(json);
            assert_eq!(kind, MistakeKind::Invalid, "{json}");
            assert!(text.starts_with(says), "{json}: {text}");
        }
    }

    #[test]
    fn what_is_not_built_says_so() {
        for extra in [r#""network":"node""#, r#""secrets":[]"#] {
            let (kind, text) = refused(&format!(r#"{{"name":"web","image":"x",{extra}}}"#));
            assert_eq!(kind, MistakeKind::NotSupported, "{extra}: {text}");
        }
    }
}
