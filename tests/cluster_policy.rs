//! What tasks may ask for of a node's own, with the real binaries on real Docker: nothing by default, what a policy
//! file names where there is one, and on each node no more than the node's own file says. Hostile specs are refused
//! by the field that is wrong with them, and nothing comes of them.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use podling::api::routes;
use podling::api::wire::task::TaskView;
use podling::model::task::{Reason, TaskStatus};
use serde_json::{Value, json};
use support::docker::{self, IMAGE};
use support::part::wait_until;
use support::{Cluster, MasterOptions, Said, WorkerOptions, script};
use tempfile::TempDir;

/// A folder with a root in it, and policies that are written there.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root/x", "beside"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A policy with everything that a file can allow; of folders the root.
    fn generous(&self) -> String {
        let root = self.path("root");
        format!(
            "images = [\"podling/\"]\nmounts = [{root:?}]\nhost_network = true\ncapabilities = [\"NET_ADMIN\"]\n"
        )
    }

    fn master(&self, policy: &str) -> Cluster {
        let path = self.write("master.toml", policy);
        let variable = leaked(&format!("PODLING_POLICY={}", path.display()));
        let under = Box::leak(Box::new(["env", variable]));
        Cluster::start(MasterOptions { under, ..MasterOptions::default() })
    }

    /// A master and a node, each with its policy.
    fn cluster(&self, of_master: &str, of_node: &str) -> Cluster {
        let mut cluster = self.master(of_master);
        let path = self.write("node.toml", of_node);
        let more = Box::leak(Box::new(["--policy", leaked(&path.display().to_string())]));
        cluster.start_worker("worker-1", WorkerOptions { more, ..WorkerOptions::default() });
        cluster
    }

    fn mounting(&self, source: &str) -> Value {
        with(
            script("mounts", "cat /data/note"),
            "mounts",
            json!([{"source": self.path(source), "target": "/data"}]),
        )
    }
}

/// The options of the support are for whole programs' lives.
fn leaked(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

/// That a task is refused for its field, by this rule.
#[track_caller]
fn is_forbidden(cluster: &Cluster, spec: Value, field: &str, rule: &str) {
    let problem = cluster.refusal("POST", routes::TASKS, Some(spec));
    assert_eq!((problem.status, &*problem.code), (403, "policy"), "{problem:?}");
    assert_eq!(problem.extra["field"], json!(field), "{problem:?}");
    assert!(problem.detail.contains(&format!("the policy's rule {rule} refuses")), "{problem:?}");
}

/// That a node's own policy ended a task, once and for all, and that no container was made for it.
#[track_caller]
fn is_ended_by_policy(cluster: &Cluster, spec: Value, says: &str) -> TaskView {
    let always = with(spec, "restart", json!({"policy": "always"}));
    let task = cluster.wait_for_end(cluster.create(&always).task_id.as_str());
    assert_eq!((task.status, task.reason), (TaskStatus::Failed, Some(Reason::Policy)), "{task:?}");
    assert_eq!((task.attempt.0, task.exit_code, &task.container_id), (1, None, &None), "{task:?}");
    let error = task.error.clone().unwrap_or_default();
    assert!(error.contains(says), "{error}");
    assert!(cluster.containers_of(task.task_id.as_str()).is_empty());
    task
}

#[test]
fn nothing_of_the_node_is_a_tasks_by_default() {
    let cluster = Cluster::start(MasterOptions::default());
    let plain = || script("plain", "true");
    let mount = json!([{"source": "/srv", "target": "/data"}]);
    is_forbidden(&cluster, with(plain(), "network", json!("host")), "network", "host_network");
    is_forbidden(&cluster, with(plain(), "mounts", mount.clone()), "mounts[0].source", "mounts");
    is_forbidden(
        &cluster,
        with(plain(), "capabilities", json!(["CHOWN"])),
        "capabilities[0]",
        "capabilities",
    );
    let batch = json!([plain(), with(plain(), "mounts", mount)]);
    is_forbidden(&cluster, batch, "[1].mounts[0].source", "mounts");
    let said = cluster.podling(&["run", "web", "--image", IMAGE, "-v", "/srv:/data:ro"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("the policy's rule mounts refuses \"/srv\""), "{said:?}");
    assert!(cluster.tasks().is_empty());
    let any_image = with(plain(), "image", json!("anybody.example/x:1"));
    assert_eq!(cluster.create(&any_image).status, TaskStatus::Pending);
}

#[test]
fn a_policy_file_allows_what_it_names() {
    let site = Site::new();
    let cluster = site.cluster(&site.generous(), &site.generous());
    fs::write(site.folder.path().join("root/x/note"), "hello\n").unwrap();
    symlink("x", site.folder.path().join("root/inner")).unwrap();
    let spec = json!({"name": "all", "image": IMAGE, "pull": "never", "network": "host", "capabilities": ["NET_ADMIN"],
        "command": ["sh", "-c", "trap 'exit 0' TERM; cat /ro/note; echo y > /rw/new; sleep 600 & wait"],
        "mounts": [{"source": site.path("root/x"), "target": "/ro", "read_only": true},
                   {"source": site.path("root/inner"), "target": "/rw"}]});
    let task = cluster.wait_for_running(cluster.create(&spec).task_id.as_str());
    let shown = serde_json::to_value(&task).unwrap();
    assert_eq!((&shown["mounts"], &shown["capabilities"]), (&spec["mounts"], &spec["capabilities"]));
    let raw = docker::inspect(task.container_id.as_ref().unwrap().as_str()).unwrap();
    let host = &raw["HostConfig"];
    assert_eq!((&host["NetworkMode"], &host["CapAdd"]), (&json!("host"), &json!(["NET_ADMIN"])));
    assert_eq!((&host["Privileged"], &host["PidsLimit"]), (&json!(false), &json!(4096)));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    let sources: Vec<&Value> =
        host["Mounts"].as_array().unwrap().iter().map(|mount| &mount["Source"]).collect();
    assert_eq!(sources, [&json!(site.path("root/x")); 2], "links are resolved");
    wait_until("it has begun", || {
        cluster.log("all", "") == "hello\n" && fs::exists(site.path("root/x/new")).unwrap()
    });
    cluster.stop("all", 5_000);
    assert_eq!(cluster.wait_for_end("all").exit_code, Some(0));
    assert_eq!(cluster.log("all", ""), "hello\n");
    assert_eq!(fs::read_to_string(site.path("root/x/new")).unwrap(), "y\n");
    let beside = json!([{"source": site.path("beside"), "target": "/data"}]);
    is_forbidden(&cluster, with(script("x", "true"), "mounts", beside), "mounts[0].source", "mounts");
    is_forbidden(&cluster, with(script("x", "true"), "image", json!("podling2/x")), "image", "images");
    let more = json!(["NET_ADMIN", "SYS_ADMIN"]);
    is_forbidden(
        &cluster,
        with(script("x", "true"), "capabilities", more),
        "capabilities[1]",
        "capabilities",
    );
}

#[test]
fn a_source_that_leads_out_of_its_root_or_nowhere_ends_the_task() {
    let site = Site::new();
    let cluster = site.cluster(&site.generous(), &site.generous());
    symlink(site.path("beside"), site.path("root/out")).unwrap();
    symlink("/", site.path("root/all")).unwrap();
    symlink("/var/run/docker.sock", site.path("root/sock")).unwrap();
    is_ended_by_policy(&cluster, site.mounting("root/out"), "it leads elsewhere");
    is_ended_by_policy(&cluster, site.mounting("root/all/etc"), "it leads elsewhere");
    is_ended_by_policy(&cluster, site.mounting("root/sock"), "it leads elsewhere");
    let missing = is_ended_by_policy(&cluster, site.mounting("root/missing"), "it isn't there");
    assert!(!fs::exists(site.path("root/missing")).unwrap(), "nobody makes it");
    let id = missing.task_id.as_str();
    assert_eq!(cluster.podling(&["wait", id]).code, Some(125));
    let told = cluster.podling_ok(&["ps", "--task", id]);
    assert!(told.contains("policy") && told.contains("mounts[0].source"), "{told}");
    let why = cluster.podling_ok(&["why", id]);
    assert!(why.contains("policy"), "{why}");
    fs::write(site.path("root/x/note"), "hello\n").unwrap();
    let sound = cluster.wait_for_end(cluster.create(&site.mounting("root/x")).task_id.as_str());
    assert_eq!(sound.status, TaskStatus::Completed, "{sound:?}");
}

#[test]
fn a_node_takes_nobodys_word_for_what_it_allows() {
    let site = Site::new();
    let cluster = site.cluster(
        &site.generous().replace("\"podling/\"", "\"podling/\", \"other/\""),
        "images = [\"podling/\"]",
    );
    let plain = || script("plain", "true");
    is_ended_by_policy(
        &cluster,
        with(plain(), "network", json!("host")),
        "network: the policy's rule host_network",
    );
    is_ended_by_policy(&cluster, site.mounting("root/x"), "mounts[0].source: the policy's rule mounts");
    let capable = with(plain(), "capabilities", json!(["NET_ADMIN"]));
    is_ended_by_policy(&cluster, capable, "capabilities[0]: the policy's rule capabilities");
    for pull in ["never", "missing", "always"] {
        let other = with(with(plain(), "image", json!("other/x:1")), "pull", json!(pull));
        is_ended_by_policy(&cluster, other, "image: the policy's rule images refuses \"other/x:1\"");
    }
    let sound = cluster.wait_for_end(cluster.create(&plain()).task_id.as_str());
    assert_eq!(sound.status, TaskStatus::Completed, "{sound:?}");
}

#[test]
fn a_policy_that_can_not_be_read_keeps_the_servers_from_starting() {
    let site = Site::new();
    for (text, says) in [
        ("# ours\nprivileged = true\n", ":2:1: unknown key \"privileged\""),
        ("mounts = [\"/srv\", \"data\"]\n", ":1:19: mounts: \"data\" must be an absolute path"),
        ("mounts = [\"/\"]\n", ":1:11: mounts: must not be /"),
        ("mounts = [\"/var/run\"]\n", ":1:11: mounts: \"/var/run\" must not be, hold or be in /"),
    ] {
        let path = site.write("wrong.toml", text).display().to_string();
        for server in [env!("CARGO_BIN_EXE_podling-master"), env!("CARGO_BIN_EXE_podling-worker")] {
            let data = site.path("data");
            let mut command = Command::new(server);
            command.args(["--policy", &path, "--data-dir", &data, "--listen", "127.0.0.1:0"]);
            let said = Said::of(command);
            assert_eq!((said.code, &*said.stdout), (Some(2), ""), "{said:?}");
            assert!(said.stderr.contains(&format!("--policy: {path}{says}")), "{said:?}");
            assert!(!fs::exists(data).unwrap(), "nothing was begun");
        }
    }
}

/// A field, and a value that no task may have in it.
type Hostile = (&'static str, Value);

/// What Docker could be asked for and a task can't.
fn unknown_fields() -> Vec<Hostile> {
    let names = "privileged Privileged devices device_requests device_cgroup_rules gpus pid pid_mode ipc ipc_mode uts \
        userns_mode security_opt cgroup_parent cgroupns_mode cap_add cap_drop binds volumes volumes_from tmpfs \
        sysctls ulimits runtime group_add host_config HostConfig oom_kill_disable oom_score_adj shm_size extra_hosts \
        dns links entrypoint hostname domainname mac_address stop_signal healthcheck init auto_remove log_config \
        storage_opt isolation masked_paths readonly_paths";
    let values = [json!(true), json!("host"), json!(["/dev/sda"]), json!({"a": "b"})];
    names.split_whitespace().flat_map(|name| values.clone().map(|value| (name, value))).collect()
}

fn wrong_types() -> Vec<Hostile> {
    let names = "name image command env labels ports cpu_millis memory_bytes network pull user workdir constraints \
        restart on_node_lost pending_timeout_ms stop_grace_ms count mounts capabilities";
    let values = [json!(null), json!(true), json!(1.5), json!([[1]]), json!({"a": {"b": 1}})];
    names.split_whitespace().flat_map(|name| values.clone().map(|value| (name, value))).collect()
}

/// The Docker socket under many spellings, and whatever else gives a node away.
fn sources(root: &str) -> Vec<Hostile> {
    let mut sources: Vec<String> = [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/var/run/../run/docker.sock",
        "//var/run/docker.sock",
        "/var//run/docker.sock",
        "/var/run/./docker.sock",
        "/var/run/docker.sock/",
        "/var/run/docker.sock\0",
        "/run/docker.sock\n",
        "/run/docker.sock ",
        " /run/docker.sock",
        "/RUN/docker.sock",
        "var/run/docker.sock",
        "./docker.sock",
        "unix:///var/run/docker.sock",
        "/proc/1/root/run/docker.sock",
        "/proc/self/root/var/run/docker.sock",
        "/proc/self/cwd",
        "/var/run",
        "/run",
        "/var",
        "/",
        "/..",
        "/.",
        "/../run/docker.sock",
        "~/x",
        "$HOME",
        "",
        "docker.sock",
        "/dev",
        "/dev/sda",
        "/dev/mem",
        "/proc",
        "/sys",
        "/etc/shadow",
        "/root/.ssh",
        "/var/lib/docker",
        "/boot",
        "/run/containerd/containerd.sock",
        "/\u{7f}",
    ]
    .map(str::to_owned)
    .to_vec();
    sources.extend([format!("{root}/../beside"), format!("{root}/x/../../beside"), format!("{root}side")]);
    sources.extend([format!("{root}/"), format!("{root}//x"), format!("{root}\0"), format!("{root}/a\tb")]);
    sources.extend([format!("{root}/{}", "a".repeat(256)), format!("{root}{}", "/a".repeat(2048))]);
    let one = |source: String| {
        [false, true].map(|ro| ("mounts", json!([{"source": source, "target": "/data", "read_only": ro}])))
    };
    sources.into_iter().flat_map(one).collect()
}

fn other_mounts(root: &str) -> Vec<Hostile> {
    let targets = [
        "",
        "/",
        "data",
        "/data/",
        "//data",
        "/data/..",
        "/data/../proc",
        "/proc",
        "/proc/sys",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "/dev/sda",
        "/run/secrets",
        "/run/secrets/x",
        "/a\0",
        "/a\nb",
        "/.",
    ];
    let mut mounts: Vec<Value> =
        targets.iter().map(|target| json!([{"source": root, "target": target}])).collect();
    mounts.extend([
        json!([{"source": root}]),
        json!([{"target": "/data"}]),
        json!([{"source": root, "target": "/data", "read_only": "no"}]),
        json!([{"source": root, "target": "/data", "propagation": "shared"}]),
        json!([{"type": "tmpfs", "source": root, "target": "/data"}]),
        json!([{"source": root, "target": "/a"}, {"source": root, "target": "/a"}]),
        json!([format!("{root}:/data")]),
        json!(vec![json!({"source": root, "target": "/data"}); 33]),
    ]);
    mounts.into_iter().map(|value| ("mounts", value)).collect()
}

/// Texts that are none of what their field takes.
fn wrong_texts() -> Vec<Hostile> {
    let long = "a".repeat(5_000);
    let network = [
        "HOST",
        "host ",
        "container:x",
        "container:",
        "ns:/proc/1/ns/net",
        "default",
        "service:x",
        "",
        "\0",
        &long,
    ];
    let name = ["", "-x", "../x", "a b", "a/b", "a\0", "a\nb", ".", &long];
    let image =
        ["", "-v", "a b", "../x", "a\0", "A/B", "a:b c", "a@sha256:x", "http://x/y", "a//b", "$(id)", &long];
    let user = ["", "-1", "a b", "0:0:0", "root;id", "a\0", ":", &long];
    let workdir = ["", "x", "../x", "/a\0", &long];
    let words = ["", "Always", "sometimes", "pray", "\0"];
    let texts: [(&str, &[&str]); 7] = [
        ("network", &network),
        ("name", &name),
        ("image", &image),
        ("user", &user),
        ("workdir", &workdir),
        ("pull", &words),
        ("on_node_lost", &words),
    ];
    let of_field = |(field, texts): (&'static str, &[&str])| {
        texts.iter().map(|text| (field, json!(text))).collect::<Vec<Hostile>>()
    };
    texts.into_iter().flat_map(of_field).collect()
}

fn other_values() -> Vec<Hostile> {
    let long = "a".repeat(5_000);
    let names = [
        "ALL",
        "all",
        "SYS_ADMIN",
        "CAP_SYS_ADMIN",
        "CAP_NET_ADMIN",
        "net_admin",
        "SYS_PTRACE",
        "SYS_MODULE",
    ];
    let mut values = names.map(|name| ("capabilities", json!(["NET_ADMIN", name]))).to_vec();
    values.extend(["", "NET_ADMIN ", "NET_ADMIN\0", "KILL"].map(|name| ("capabilities", json!([name]))));
    let labels = ["cluster", "node", "task", "attempt", "lease", "role", ""];
    values.extend(labels.map(|name| ("labels", json!({format!("podling.{name}"): "1"}))));
    values.extend(["", "a=b", "a\nb", &long].map(|name| ("labels", json!({name: "1"}))));
    values.extend(["", "A=B", "A\0"].map(|name| ("env", json!({name: "1"}))));
    values.push(("command", json!(["a\0"])));
    values.push(("env", json!({"A": "a\0b"})));
    values.push(("ports", json!([{"host": 0, "container": 1}])));
    values.push(("ports", json!([{"host": 1, "container": 1, "host_ip": "0.0.0.0"}])));
    values.push(("secrets", json!([{"source": "/etc/shadow"}])));
    values
}

#[test]
fn four_hundred_hostile_specs_are_refused_by_the_field_that_is_wrong() {
    let site = Site::new();
    let root = site.path("root");
    let mounts = [sources(&root), other_mounts(&root)].concat();
    let table = [unknown_fields(), wrong_types(), mounts, wrong_texts(), other_values()].concat();
    assert!(table.len() >= 400, "{}", table.len());
    for policy in ["", &site.generous()] {
        let cluster = site.master(policy);
        for (field, value) in &table {
            let spec = with(json!({"name": "x", "image": IMAGE}), field, value.clone());
            let told = format!("{field} {}", value.to_string().chars().take(200).collect::<String>());
            let problem = match cluster.ask("POST", routes::TASKS, Some(spec)) {
                Err(podling::http::ClientError::Refused(problem)) => problem,
                other => panic!("{told}: {other:?}"),
            };
            assert!(matches!(problem.status, 403 | 422), "{told}: {problem:?}");
            let named = problem.extra.get("field").and_then(Value::as_str).unwrap_or_default();
            let rest = named.strip_prefix(field);
            assert!(
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])),
                "{told}: {problem:?}"
            );
        }
        assert!(cluster.tasks().is_empty());
    }
}
