//! What a container is made of, as the Engine's API wants to hear it (`POST /containers/create`).
//!
//! A pure function from [`ContainerRequest`] to a JSON body. What a user may not choose is set here, for every
//! container: no new privileges, a bound on processes, a bound on the log, no restarts by the Engine, no
//! terminal. What isn't named can't be asked for: there is no field for devices, namespaces or security options.
//! Mounts, capabilities and the node's network are here as they were asked for: whether they are allowed was asked
//! before. Capabilities are added to the Engine's default set, of which nothing is dropped: what images expect of
//! `docker run` they get.
//!
//! A mount never brings along what is mounted inside its source, because Engines before 25 make `read_only` nothing
//! but the topmost one; and neither side ever sees what the other mounts later.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::{ContainerRequest, LABEL_ATTEMPT, LABEL_CLUSTER, LABEL_LEASE, LABEL_NODE, LABEL_TASK};
use crate::model::mount::Mount;
use crate::model::resources::CpuMillis;
use crate::model::spec::{PortMapping, TaskSpec};

/// Most processes and threads in one container.
const PIDS_LIMIT: i64 = 4096;

/// The Engine keeps a log in this many files and drops the oldest.
const LOG_FILES: u64 = 2;

/// The Engine refuses less than a hundredth of a core.
const LEAST_CPU: CpuMillis = CpuMillis(10);

/// The variable that tells a task of a batch which one it is.
const INDEX_VARIABLE: &str = "PODLING_INDEX";

/// A container as the Engine's API describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Body<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    labels: BTreeMap<&'a str, String>,
    exposed_ports: BTreeMap<String, Nothing>,
    tty: bool,
    host_config: HostConfig<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    nano_cpus: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// Memory and swap together. Left out, the Engine grants as much swap again as memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_swap: Option<u64>,
    restart_policy: RestartPolicy,
    network_mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<BindMount<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cap_add: Vec<&'static str>,
    privileged: bool,
    port_bindings: BTreeMap<String, Vec<PortBinding>>,
    log_config: LogConfig,
    security_opt: [&'static str; 1],
    pids_limit: i64,
    init: bool,
    auto_remove: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    name: &'static str,
}

/// Without a `HostIp` the Engine binds to its own default address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PortBinding {
    host_port: String,
}

/// Unlike `Binds`, it fails where the source isn't there, instead of making a folder of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BindMount<'a> {
    r#type: &'static str,
    source: &'a str,
    target: &'a str,
    read_only: bool,
    bind_options: BindOptions,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BindOptions {
    propagation: &'static str,
    non_recursive: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    r#type: &'static str,
    config: BTreeMap<&'static str, String>,
}

/// The API's `{}`.
#[derive(Debug, Serialize)]
struct Nothing {}

impl<'a> Body<'a> {
    /// The body for a request.
    pub(super) fn of(request: &'a ContainerRequest) -> Self {
        let spec = &*request.spec;
        let ports = spec.ports.as_slice();
        Self {
            image: spec.image.as_str(),
            cmd: &spec.command,
            env: environment(spec, request.index),
            user: spec.user.as_ref().map(|user| user.as_str()),
            working_dir: spec.workdir.as_ref().map(|dir| dir.as_str()),
            labels: labels(request),
            exposed_ports: ports.iter().map(|port| (port_name(port), Nothing {})).collect(),
            tty: false,
            host_config: HostConfig::of(spec, request.log_max_bytes),
        }
    }
}

impl<'a> HostConfig<'a> {
    fn of(spec: &'a TaskSpec, log_max_bytes: u64) -> Self {
        let memory = spec.memory.map(|memory| memory.0);
        Self {
            nano_cpus: spec.cpu.map(|cpu| cpu.max(LEAST_CPU).0.saturating_mul(1_000_000)),
            memory,
            memory_swap: memory,
            restart_policy: RestartPolicy { name: "no" },
            network_mode: spec.network.as_str(),
            mounts: spec.mounts.as_slice().iter().map(bind_mount).collect(),
            cap_add: spec.capabilities.iter().map(|one| one.as_str()).collect(),
            privileged: false,
            port_bindings: port_bindings(spec.ports.as_slice()),
            log_config: log_config(log_max_bytes),
            security_opt: ["no-new-privileges"],
            pids_limit: PIDS_LIMIT,
            init: false,
            auto_remove: false,
        }
    }
}

fn environment(spec: &TaskSpec, index: Option<u32>) -> Vec<String> {
    let users = spec.env.as_map().iter();
    let index = index.map(|index| index.to_string());
    users
        .filter(|(name, _)| index.is_none() || name.as_str() != INDEX_VARIABLE)
        .map(|(name, value)| format!("{name}={value}"))
        .chain(index.iter().map(|index| format!("{INDEX_VARIABLE}={index}")))
        .collect()
}

fn labels(request: &ContainerRequest) -> BTreeMap<&str, String> {
    let users = request.spec.labels.as_map().iter().map(|(key, value)| (key.as_str(), value.clone()));
    let key = &request.key;
    let ours = [
        (LABEL_CLUSTER, key.owner.cluster.to_string()),
        (LABEL_NODE, key.owner.node.to_string()),
        (LABEL_TASK, key.task.to_string()),
        (LABEL_ATTEMPT, key.attempt.to_string()),
    ];
    let lease = request.spec.on_node_lost.is_leased().then(|| (LABEL_LEASE, "1".to_owned()));
    // Order: ours come last and win.
    users.chain(ours).chain(lease).collect()
}

fn bind_mount(mount: &Mount) -> BindMount<'_> {
    BindMount {
        r#type: "bind",
        source: mount.source.as_str(),
        target: mount.target.as_str(),
        read_only: mount.read_only,
        bind_options: BindOptions { propagation: "private", non_recursive: true },
    }
}

fn port_name(port: &PortMapping) -> String {
    format!("{}/{}", port.container, port.protocol.as_str())
}

fn port_bindings(ports: &[PortMapping]) -> BTreeMap<String, Vec<PortBinding>> {
    let mut bindings: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for port in ports {
        let binding = PortBinding { host_port: port.host.to_string() };
        bindings.entry(port_name(port)).or_default().push(binding);
    }
    bindings
}

/// The driver `local`: binary, in files that the Engine itself rotates. `json-file` would turn bytes that aren't
/// UTF-8 into something else.
fn log_config(log_max_bytes: u64) -> LogConfig {
    let each = (log_max_bytes / LOG_FILES).max(1);
    let config = BTreeMap::from([
        ("max-size", each.to_string()),
        ("max-file", LOG_FILES.to_string()),
        ("compress", "false".to_owned()),
    ]);
    LogConfig { r#type: "local", config }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::engine::{ContainerKey, Owner};
    use crate::model::id::Attempt;
    use crate::model::mount::{Capabilities, Mounts};
    use crate::model::resources::MemoryBytes;
    use crate::model::spec::{Labels, Network, OnNodeLost, Ports, Protocol, Variables};

    fn request() -> ContainerRequest {
        let map = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
        let port = |host, protocol| PortMapping { host, container: 80, protocol };
        let spec = TaskSpec {
            command: vec!["sh".to_owned(), "-c".to_owned(), "exit 7".to_owned()],
            env: Variables::new(map(INDEX_VARIABLE, "mine")).unwrap(),
            labels: Labels::new(map("team", "a")).unwrap(),
            ports: Ports::new(vec![port(8080, Protocol::Tcp), port(8081, Protocol::Tcp)]).unwrap(),
            cpu: Some(CpuMillis(500)),
            memory: Some(MemoryBytes(64 << 20)),
            user: Some("1000:1000".parse().unwrap()),
            workdir: Some("/srv".parse().unwrap()),
            ..TaskSpec::of_image("podling/busybox:latest".parse().unwrap())
        };
        let owner = Owner { cluster: "c".repeat(26).parse().unwrap(), node: "n1".parse().unwrap() };
        let key = ContainerKey { owner, task: "t".repeat(26).parse().unwrap(), attempt: Attempt(2) };
        ContainerRequest { key, spec: Arc::new(spec), index: Some(3), log_max_bytes: 10 << 20 }
    }

    #[test]
    fn a_whole_request_is_said_as_the_api_wants_it() {
        let body = serde_json::to_value(Body::of(&request())).unwrap();
        let expected = json!({
            "Image": "podling/busybox:latest",
            "Cmd": ["sh", "-c", "exit 7"],
            "Env": ["PODLING_INDEX=3"],
            "User": "1000:1000",
            "WorkingDir": "/srv",
            "Labels": {
                "team": "a",
                "podling.cluster": "c".repeat(26),
                "podling.node": "n1",
                "podling.task": "t".repeat(26),
                "podling.attempt": "2",
            },
            "ExposedPorts": {"80/tcp": {}},
            "Tty": false,
            "HostConfig": {
                "NanoCpus": 500_000_000,
                "Memory": 64 << 20,
                "MemorySwap": 64 << 20,
                "RestartPolicy": {"Name": "no"},
                "NetworkMode": "bridge",
                "Privileged": false,
                "PortBindings": {"80/tcp": [{"HostPort": "8080"}, {"HostPort": "8081"}]},
                "LogConfig": {
                    "Type": "local",
                    "Config": {"max-size": "5242880", "max-file": "2", "compress": "false"},
                },
                "SecurityOpt": ["no-new-privileges"],
                "PidsLimit": 4096,
                "Init": false,
                "AutoRemove": false,
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_of_the_node_was_asked_for_is_said_and_no_more() {
        let mut request = request();
        let mount = |target: &str, read_only| Mount {
            source: "/srv/data".parse().unwrap(),
            target: target.parse().unwrap(),
            read_only,
        };
        let spec = TaskSpec {
            network: Network::Host,
            ports: Ports::default(),
            mounts: Mounts::new(vec![mount("/a", true), mount("/b", false)]).unwrap(),
            capabilities: Capabilities::new(["NET_ADMIN".parse().unwrap()]),
            ..(*request.spec).clone()
        };
        request.spec = Arc::new(spec);
        let host = &serde_json::to_value(Body::of(&request)).unwrap()["HostConfig"];
        let bind = |target: &str, read_only: bool| {
            json!({"Type": "bind", "Source": "/srv/data", "Target": target, "ReadOnly": read_only,
                   "BindOptions": {"Propagation": "private", "NonRecursive": true}})
        };
        assert_eq!(host["Mounts"], json!([bind("/a", true), bind("/b", false)]));
        assert_eq!((&host["NetworkMode"], &host["CapAdd"]), (&json!("host"), &json!(["NET_ADMIN"])));
        assert_eq!(
            (&host["Privileged"], &host["SecurityOpt"]),
            (&json!(false), &json!(["no-new-privileges"]))
        );
    }

    #[test]
    fn only_what_is_rescheduled_runs_under_a_lease() {
        let mut request = request();
        assert!(!labels(&request).contains_key(LABEL_LEASE));
        Arc::make_mut(&mut request.spec).on_node_lost = OnNodeLost::Reschedule;
        assert_eq!(labels(&request).get(LABEL_LEASE).map(String::as_str), Some("1"));
    }

    #[test]
    fn what_nobody_asked_for_is_the_images_or_the_engines() {
        let mut request = request();
        let mut spec = (*request.spec).clone();
        (spec.command, spec.user, spec.workdir, spec.cpu, spec.memory) = (vec![], None, None, None, None);
        (request.spec, request.index) = (Arc::new(spec), None);
        let body = serde_json::to_value(Body::of(&request)).unwrap();
        for absent in ["/Cmd", "/User", "/WorkingDir", "/HostConfig/Memory", "/HostConfig/NanoCpus"] {
            assert_eq!(body.pointer(absent), None, "{absent}");
        }
        assert_eq!(body["Env"], json!(["PODLING_INDEX=mine"]));
    }
}
