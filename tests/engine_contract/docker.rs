//! What only real containers have: limits, users, ports, bytes.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use podling::engine::{ContainerRequest, EngineError, LogItem, LogRequest, Phase, Stream};
use podling::model::id::ContainerId;
use podling::model::mount::{Capabilities, Mount, Mounts};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::spec::{Labels, Network, PortMapping, Ports, Protocol, TaskSpec, Variables};
use serde_json::{Value, json};

use crate::support::docker::ask_docker;
use crate::support::{LONG, Rig, eats_memory, exits, program, record, runs};

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn inspect_raw(id: &ContainerId) -> Value {
    let (status, body) = ask_docker("GET", &format!("/containers/{id}/json"), "");
    assert!(status.contains(" 200 "), "{status} {body}");
    serde_json::from_str(&body).unwrap()
}

/// What a container wrote to one of its outputs.
fn written(rig: &Rig, id: &ContainerId, stream: Stream) -> Vec<u8> {
    let records = rig.records(id, false).into_iter();
    records.filter(|record| record.stream == stream).flat_map(|record| record.bytes).collect()
}

#[test]
fn a_container_is_made_as_asked_and_no_other_way() {
    let rig = Rig::docker();
    let spec = TaskSpec {
        labels: Labels::new(map("team", "a")).unwrap(),
        cpu: Some(CpuMillis(500)),
        memory: Some(MemoryBytes(64 << 20)),
        ..runs()
    };
    let id = rig.run(spec);
    let raw = inspect_raw(&id);
    let host = &raw["HostConfig"];
    assert_eq!(host["NanoCpus"], json!(500_000_000));
    assert_eq!(host["Memory"], json!(64 << 20));
    assert_eq!(host["RestartPolicy"]["Name"], json!("no"));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    assert_eq!(host["PidsLimit"], json!(4096));
    assert_eq!(host["NetworkMode"], json!("none"));
    assert_eq!(host["LogConfig"]["Type"], json!("local"));
    assert_eq!(host["LogConfig"]["Config"]["max-size"], json!("5242880"));
    assert_eq!((&host["Privileged"], &host["AutoRemove"]), (&json!(false), &json!(false)));
    for absent in ["Binds", "Mounts", "CapAdd", "CapDrop", "Devices", "VolumesFrom", "DeviceRequests"] {
        assert!(host.get(absent).is_none_or(is_empty), "{absent}: {}", host[absent]);
    }
    assert_eq!(
        (&host["PidMode"], &host["UTSMode"], &host["UsernsMode"]),
        (&json!(""), &json!(""), &json!(""))
    );
    assert!(matches!(host["IpcMode"].as_str(), Some("private" | "shareable")), "{}", host["IpcMode"]);
    assert_eq!(raw["Config"]["Tty"], json!(false));
    let labels = &raw["Config"]["Labels"];
    assert_eq!((&labels["team"], &labels["podling.attempt"]), (&json!("a"), &json!("1")));
    assert_eq!(labels["podling.cluster"], json!(rig.owner.cluster.as_str()));
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn mount(source: &std::path::Path, target: &str, read_only: bool) -> Mount {
    let source = source.to_str().unwrap().parse().unwrap();
    Mount { source, target: target.parse().unwrap(), read_only }
}

#[test]
fn what_is_mounted_is_there_as_it_was_asked_for() {
    let rig = Rig::docker();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("note"), "hello\n").unwrap();
    let mounts = Mounts::new(vec![mount(folder.path(), "/ro", true), mount(folder.path(), "/rw", false)]);
    let script = "cat /ro/note; echo x > /ro/new && exit 9; echo y > /rw/new";
    let spec = TaskSpec { mounts: mounts.unwrap(), ..program(script, &[]) };
    let id = rig.run_to_end(spec);
    assert_eq!(rig.engine.inspect(id.as_str()).unwrap().exit_code, 0);
    assert_eq!(written(&rig, &id, Stream::Stdout), b"hello\n");
    assert_eq!(std::fs::read(folder.path().join("new")).unwrap(), b"y\n");
    let raw = inspect_raw(&id);
    for shown in raw["Mounts"].as_array().unwrap() {
        assert_eq!((&shown["Type"], &shown["Propagation"]), (&json!("bind"), &json!("private")), "{shown}");
        assert_eq!(shown["RW"], json!(shown["Destination"] == "/rw"));
    }
    assert_eq!(raw["HostConfig"]["SecurityOpt"], json!(["no-new-privileges"]));
}

#[test]
fn a_source_that_is_not_there_is_not_made() {
    let rig = Rig::docker();
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let mounts = Mounts::new(vec![mount(&missing, "/data", false)]).unwrap();
    let refused = rig.engine.create(&rig.request(TaskSpec { mounts, ..exits(0) }));
    assert!(
        matches!(&refused, Err(EngineError::Rejected { why, .. }) if why.contains("does not exist")),
        "{refused:?}"
    );
    assert!(!missing.exists());
}

/// The effective set of the first process, a bit for each capability.
fn capabilities_of(rig: &Rig, spec: TaskSpec) -> u64 {
    let id = rig.run_to_end(spec);
    let hex = String::from_utf8(written(rig, &id, Stream::Stdout)).unwrap();
    u64::from_str_radix(hex.trim(), 16).unwrap()
}

#[test]
fn a_capability_is_added_to_the_engines_own_and_the_network_is_the_nodes_where_asked() {
    const NET_ADMIN: u64 = 1 << 12;
    const SYS_ADMIN: u64 = 1 << 21;
    let rig = Rig::docker();
    let spec = program("sed -n 's/^CapEff:.//p' /proc/self/status", &[]);
    let plain = capabilities_of(&rig, spec.clone());
    assert_eq!(plain & (NET_ADMIN | SYS_ADMIN), 0, "{plain:x}");
    let capabilities = Capabilities::new(["NET_ADMIN".parse().unwrap()]);
    assert_eq!(capabilities_of(&rig, TaskSpec { capabilities, ..spec }), plain | NET_ADMIN);
    let id = rig.run_to_end(TaskSpec { network: Network::Host, ..exits(0) });
    assert_eq!(inspect_raw(&id)["HostConfig"]["NetworkMode"], json!("host"));
    assert_eq!(inspect_raw(&id)["HostConfig"]["Privileged"], json!(false));
}

#[test]
fn a_program_sees_its_user_folder_and_environment() {
    let rig = Rig::docker();
    let spec = program("id -u; id -g; pwd; echo \"$GREETING\"; echo \"$PODLING_INDEX\"", &[]);
    let spec = TaskSpec {
        env: Variables::new(map("GREETING", "a=b\nc")).unwrap(),
        user: Some("1000:2000".parse().unwrap()),
        workdir: Some("/tmp".parse().unwrap()),
        ..spec
    };
    let request = ContainerRequest { index: Some(4), ..rig.request(spec) };
    let id = rig.engine.create(&request).unwrap();
    rig.engine.start(&id).unwrap();
    assert!(rig.engine.wait(&id, LONG).unwrap());
    assert_eq!(String::from_utf8_lossy(&written(&rig, &id, Stream::Stdout)), "1000\n2000\n/tmp\na=b\nc\n4\n");
}

#[test]
fn the_images_own_command_runs_where_none_is_asked_for() {
    let rig = Rig::docker();
    let id = rig.run_to_end(TaskSpec { command: Vec::new(), ..exits(0) });
    assert_eq!(inspect_raw(&id)["Config"]["Cmd"], json!(["sh"]));
}

#[test]
fn a_port_is_published_and_a_taken_one_is_told() {
    let rig = Rig::docker();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let ports =
        |host| Ports::new(vec![PortMapping { host, container: 80, protocol: Protocol::Tcp }]).unwrap();
    let spec = |host| TaskSpec { ports: ports(host), network: Network::Bridge, ..runs() };
    let port = taken.local_addr().unwrap().port();
    let id = rig.engine.create(&rig.request(spec(port))).unwrap();
    let refused = rig.engine.start(&id).unwrap_err();
    assert!(
        matches!(&refused, EngineError::Failed { operation: "start", why } if why.contains("address already in use")),
        "{refused:?}"
    );
    assert_eq!(rig.engine.inspect(id.as_str()).unwrap().phase, Phase::Created);
    drop(taken);
    let id = rig.run(spec(port));
    let bound = &inspect_raw(&id)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"];
    assert_eq!(bound, &json!(port.to_string()));
}

#[test]
fn a_command_that_is_no_program_is_126() {
    let rig = Rig::docker();
    let spec = TaskSpec { command: vec!["/etc/passwd".to_owned()], ..exits(0) };
    let id = rig.engine.create(&rig.request(spec)).unwrap();
    let refused = rig.engine.start(&id).unwrap_err();
    assert!(
        matches!(&refused, EngineError::Failed { why, .. } if why.contains("permission denied")),
        "{refused:?}"
    );
    assert_eq!(rig.engine.inspect(id.as_str()).unwrap().exit_code, 126);
}

#[test]
fn what_docker_calls_wrong_is_rejected_in_its_words() {
    let rig = Rig::docker();
    let refused =
        rig.engine.create(&rig.request(TaskSpec { memory: Some(MemoryBytes(1 << 10)), ..exits(0) }));
    assert!(
        matches!(&refused, Err(EngineError::Rejected { why, .. }) if why.contains("inimum memory limit")),
        "{refused:?}"
    );
    rig.engine.create(&rig.request(TaskSpec { cpu: Some(CpuMillis(1)), ..exits(0) })).unwrap();
}

/// Docker itself misses a kill where its shim can't load a cgroup, or is late to. Our flag is Docker's, whatever
/// it says: a guess of ours could differ from what `docker inspect` shows a person.
#[test]
fn the_memory_flag_is_dockers_own() {
    let rig = Rig::docker();
    let id = rig.run_to_end(eats_memory());
    let ours = rig.engine.inspect(id.as_str()).unwrap().oom_killed;
    assert_eq!(json!(ours), inspect_raw(&id)["State"]["OOMKilled"]);
}

#[test]
fn outputs_are_kept_apart_and_bytes_as_they_are() {
    let rig = Rig::docker();
    let id = rig
        .run_to_end(program(r"printf 'out\n'; printf 'err\n' >&2; printf '\000\377\033[1m\r\n\303('", &[]));
    assert_eq!(written(&rig, &id, Stream::Stdout), b"out\n\0\xff\x1b[1m\r\n\xc3(");
    assert_eq!(written(&rig, &id, Stream::Stderr), b"err\n");
}

#[test]
fn a_long_line_comes_whole_in_several_records() {
    let rig = Rig::docker();
    let id = rig.run_to_end(program("head -c 40000 /dev/zero | tr '\\0' x; echo; printf end", &[]));
    for follow in [false, true] {
        let records = rig.records(&id, follow);
        let pieces: Vec<usize> = records.iter().map(|record| record.bytes.len()).collect();
        assert_eq!(pieces, [16_384, 16_384, 40_000 - 2 * 16_384 + 1, 3]);
        let text: Vec<u8> = records.into_iter().flat_map(|record| record.bytes).collect();
        assert!(text == [vec![b'x'; 40_000], b"\nend".to_vec()].concat());
    }
}

#[test]
fn a_follower_gets_each_line_as_it_is_written() {
    let rig = Rig::docker();
    let script = "trap 'exit 0' TERM; sleep 2; echo first; while true; do sleep 0.1; done";
    let id = rig.run(program(script, &[]));
    let mut items = rig.engine.logs(&id, LogRequest { follow: true }).unwrap();
    assert_eq!(items.next(), Some(Ok(LogItem::Quiet)), "it is silent at first");
    let first = items.find_map(|item| record(item.unwrap())).unwrap();
    assert_eq!(first.bytes, b"first\n");
    assert!(!rig.engine.wait(&id, Duration::ZERO).unwrap(), "it came while the program runs");
}

#[test]
fn a_log_is_bounded_and_keeps_its_end() {
    let rig = Rig::docker();
    let spec = program("seq 1 200000", &[]);
    let request = ContainerRequest { log_max_bytes: 256 << 10, ..rig.request(spec) };
    let id = rig.engine.create(&request).unwrap();
    rig.engine.start(&id).unwrap();
    assert!(rig.engine.wait(&id, LONG).unwrap());
    let text = written(&rig, &id, Stream::Stdout);
    assert!(text.len() < 256 << 10 && text.ends_with(b"\n200000\n"), "{} bytes", text.len());
}

#[test]
fn a_container_removed_under_a_waiter_and_a_follower_lets_both_go() {
    let rig = Rig::docker();
    let id = rig.run(runs());
    let engine = Arc::clone(&rig.engine);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| engine.wait(&id, LONG));
        let follower = scope.spawn(|| engine.logs(&id, LogRequest { follow: true }).map(Iterator::count));
        assert!(!engine.wait(&id, Duration::from_millis(500)).unwrap());
        engine.remove(&id).unwrap();
        let waited = waiter.join().unwrap();
        assert!(matches!(waited, Ok(true) | Err(EngineError::NotFound { .. })), "{waited:?}");
        follower.join().unwrap().unwrap();
    });
}

#[test]
fn three_hundred_may_wait_at_once() {
    let rig = Rig::docker();
    let id = rig.run(runs());
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..300).map(|_| scope.spawn(|| rig.engine.wait(&id, LONG))).collect();
        assert!(!rig.engine.wait(&id, Duration::from_millis(500)).unwrap());
        assert!(rig.engine.inspect(id.as_str()).is_ok(), "others are still served");
        rig.engine.stop(&id, Duration::from_secs(5)).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(true));
        }
    });
}
