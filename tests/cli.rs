//! The command line against the real master: what a user types, sees and gets back. No worker: every task waits.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::disallowed_methods, reason = "threads are joined where they are started")]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use podling::http::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here should take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A master without workers, that runs until it is dropped.
struct Master {
    process: Child,
    url: String,
    folder: TempDir,
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Master {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (process, url) = start(&folder, "127.0.0.1:0", "memory");
        Self { process, url, folder }
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("m/admin.token")
    }

    /// A client with this token; with the administrator's where none is given.
    fn client(&self, token: Option<&str>) -> Client {
        let own = || std::fs::read_to_string(self.token_file()).unwrap().trim().to_owned();
        Client::new(&self.url).unwrap().with_token(token.map_or_else(own, str::to_owned))
    }

    /// `podling LINE`, with this master. Words are split at spaces.
    fn podling(&self, line: &str) -> Command {
        let mut command = podling(line);
        command.env("PODLING_MASTER", &self.url).env("PODLING_TOKEN_FILE", self.token_file());
        command
    }

    /// Runs `podling LINE`: exit code, stdout, stderr.
    fn says(&self, line: &str) -> (i32, String, String) {
        told(self.podling(line).output().unwrap())
    }

    /// Runs `podling LINE`, which must succeed in silence, and gives its stdout.
    #[track_caller]
    fn does(&self, line: &str) -> String {
        let (code, out, err) = self.says(line);
        assert_eq!((code, err.as_str()), (0, ""), "podling {line}: {out}");
        out
    }

    /// Creates a task and gives its id.
    #[track_caller]
    fn create(&self, line: &str) -> String {
        let out = self.does(line);
        let id = out.lines().next().unwrap().strip_prefix("Task created: ").unwrap();
        id.to_owned()
    }
}

fn start(folder: &TempDir, listen: &str, store: &str) -> (Child, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_podling-master"))
        .args(["--listen", listen, "--store", store, "--data-dir"])
        .arg(folder.path().join("m"))
        .args(["--tick-ms", "20", "--log-level", "error"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    (process, url)
}

/// `podling LINE` in an environment of its own, where no master is and no home.
fn podling(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podling"));
    command.args(line.split_whitespace()).env_clear().env("PODLING_MASTER", "http://127.0.0.1:1");
    command
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_task_is_created_listed_looked_at_and_stopped() {
    let master = Master::start();
    let id = master.create("run web --image nginx:1 -e K=V -- sh -c true");
    let table = master.does("ps");
    let mut lines = table.lines();
    let titles: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(titles, ["ID", "NAME", "IMAGE", "STATUS", "NODE", "AGE"]);
    let line = lines.next().unwrap();
    assert!(line.starts_with(&format!("{id}   web    nginx:1   pending: no node")), "{line}");
    assert_eq!(master.does("ps -q"), format!("{id}\n"));
    assert_eq!(master.does("ps -o name"), "web\n");
    let listed: Value = serde_json::from_str(&master.does("ps -o json")).unwrap();
    let inspected: Value = serde_json::from_str(&master.does("inspect web")).unwrap();
    assert_eq!(listed[0], inspected);
    assert_eq!((&inspected["task_id"], &inspected["env"]["K"]), (&id.as_str().into(), &"V".into()));
    let details = master.does(&format!("ps --task {}", &id[..20]));
    assert!(details.contains("Status:      pending: ") && details.contains("Command:     sh -c true\n"));

    assert_eq!(
        master.says("rm web"),
        (1, String::new(), "podling: web is pending: stop it first\n".to_owned())
    );
    assert_eq!(master.does("stop web -t 1"), "web\n");
    assert_eq!(master.does("stop web"), "web\n", "a second time is fine");
    assert_eq!(master.does("ps -q"), "", "what ended isn't listed");
    assert_eq!(master.does("ps -q --status stopped"), format!("{id}\n"));
    assert_eq!(master.says("wait web"), (125, format!("{id} web stopped -\n"), String::new()));
    assert_eq!(master.does("logs web"), "", "it never ran");
    assert_eq!(master.does("rm web"), "web\n");
    assert_eq!(master.does("ps --all -o json"), "[]\n");
}

#[test]
fn what_is_not_there_is_said_in_one_line() {
    let master = Master::start();
    for (line, says) in [
        ("ps --task nope", "there is no task \"nope\""),
        ("inspect nope", "there is no task and no node \"nope\""),
        ("nodes nope", "there is no node \"nope\""),
        ("logs nope", "there is no task \"nope\""),
        ("logs nope -f", "there is no task \"nope\""),
        ("wait nope", "there is no task \"nope\""),
        ("stop nope", "there is no task \"nope\""),
        ("rm nope", "there is no task \"nope\""),
        ("run x --image y --network node", "network: node is not supported yet"),
    ] {
        assert_eq!(master.says(line), (1, String::new(), format!("podling: {says}\n")), "podling {line}");
    }
    assert_eq!(master.does("ps --all -q"), "", "nothing was created");
}

#[test]
fn one_that_fails_does_not_spare_the_others() {
    let master = Master::start();
    for name in ["a", "b", "b"] {
        master.create(&format!("run {name} --image x"));
    }
    let (code, out, err) = master.says("stop a nope b");
    assert_eq!((code, out.as_str(), err.as_str()), (1, "a\nb\n", "podling: there is no task \"nope\"\n"));
    let (code, out, err) = master.says("rm b nope a");
    assert_eq!((code, out.as_str()), (1, "a\n"));
    let ids: Vec<String> = master.does("ps --all -q").lines().map(str::to_owned).collect();
    assert_eq!(ids.len(), 2);
    let listed = format!("podling: \"b\" names several tasks\n  {}\n  {}\n", ids[0], ids[1]);
    assert!(err.starts_with(&listed), "{err}");
    assert_eq!(err.lines().last(), Some("podling: there is no task \"nope\""));
}

#[test]
fn a_task_that_no_node_takes_fails_without_a_code() {
    let master = Master::start();
    let (code, out, err) = master.says("run late --image x --wait --pending-timeout 200ms");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        (code, &lines[1..]),
        (125, ["Status: pending", "Status: failed (no_node)"].as_slice()),
        "{err}"
    );
    assert!(err.starts_with("podling: late: ") && err.lines().count() == 1, "{err}");

    let (code, out, err) = master.says("run late --image x --follow --pending-timeout 200ms");
    assert_eq!((code, out.as_str()), (125, ""), "stdout is the container's");
    assert!(err.starts_with("Task created: ") && err.contains("\nStatus: failed (no_node)\n"), "{err}");

    let (code, _, _) = master.says("run late --image x --wait --count 2 --pending-timeout 200ms");
    assert_eq!(code, 1);
    let id = master.create("run late --image x --pending-timeout 200ms");
    assert_eq!(master.says(&format!("wait {id}")).0, 125);
    assert_eq!(master.says(&format!("wait {id} {id}")).0, 1);
}

#[test]
fn a_timeout_that_runs_out_is_124() {
    let master = Master::start();
    let ids = ["run slow --image x", "run ended --image x"].map(|line| master.create(line));
    master.does("stop ended");
    let (code, out, err) = master.says("wait slow ended --timeout 100ms");
    assert_eq!(code, 124, "{err}");
    assert_eq!(out, format!("{} slow pending -\n{} ended stopped -\n", ids[0], ids[1]));
    assert_eq!(err, "podling: slow is still pending after 0 s\n");
}

#[test]
fn a_batch_is_created_under_one_id() {
    let master = Master::start();
    let out = master.does("run job --image x --count 3");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("Batch created: 01") && lines.len() == 4, "{out}");
    for (index, line) in lines[1..].iter().enumerate() {
        assert!(line.starts_with("Task created: 01") && line.ends_with(&format!(" job-{index}")), "{line}");
    }
    assert_eq!(master.does("ps -o name"), "job-0\njob-1\njob-2\n");
}

#[test]
fn long_lists_are_read_to_their_end() {
    let master = Master::start();
    master.does("run job --image x --count 2500 -l kind=many");
    assert_eq!(master.does("ps -q").lines().count(), 2500);
    let listed: Vec<Value> =
        serde_json::from_str(&master.does("ps -o json -l kind=many --status pending")).unwrap();
    assert_eq!(listed.len(), 2500);
    assert_eq!(master.does("ps -q -l kind=few"), "");
}

#[test]
fn nodes_are_listed_as_they_register() {
    let master = Master::start();
    let client = master.client(None);
    for (node, start) in [("worker-1", "s1"), ("worker-2", "s2")] {
        let registration = json!({
            "node_id": node, "instance_id": format!("{start:0<26}"), "start_id": format!("{start:0<26}"),
            "incarnation": 0, "hostname": "127.0.0.1", "port": 1, "capacity": 2, "cpu_millis": 4000,
            "memory_bytes": 8_589_934_592_u64, "engine": "hollow 1", "engine_id": node, "heartbeat_ms": 10_000,
        });
        let joined: Value = client.post("/join", &json!({"node_id": node}), PATIENCE, false).unwrap();
        let itself = master.client(joined["node_token"].as_str());
        itself.post::<Value>("/api/v1/nodes", &registration, PATIENCE, true).unwrap();
    }
    let cordon = json!({"availability": "cordoned"});
    client.post::<Value>("/api/v1/nodes/worker-2/availability", &cordon, PATIENCE, true).unwrap();
    let table = master.does("nodes");
    let words =
        |line: usize| table.lines().nth(line).unwrap().split("   ").map(str::trim).collect::<Vec<_>>();
    let words = |line| words(line).into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
    assert_eq!(words(0), ["NODE", "STATUS", "TASKS", "CPU", "MEMORY", "ENGINE", "HEARTBEAT"]);
    assert_eq!(words(1)[..6], ["worker-1", "online", "0/2", "0/4", "0 B/8 GiB", "hollow 1"]);
    assert_eq!(words(2)[..3], ["worker-2", "online,cordoned", "0/2"]);
    assert_eq!(master.does("nodes -o name"), "worker-1\nworker-2\n");
    assert_eq!(master.does("nodes worker-2 -o name"), "worker-2\n");
    assert!(master.does("nodes -o wide").contains("127.0.0.1:1"));
    let node: Value = serde_json::from_str(&master.does("inspect worker-1")).unwrap();
    assert_eq!(node["capacity"], 2);
    let listed: Vec<Value> = serde_json::from_str(&master.does("nodes -o json")).unwrap();
    assert_eq!((listed.len(), &listed[0]), (2, &node));
}

#[test]
fn a_wrong_command_line_is_one_line_and_2() {
    for (line, says) in [
        ("", "podling: no command: podling help lists them"),
        ("--colour", "podling: unknown flag --colour"),
        ("inspct x", "podling inspct: there is no such command: did you mean inspect?"),
        ("run", "podling run: NAME is missing"),
        ("run web", "podling run: --image: is missing"),
        ("run web --image x --memory lots", "podling run: --memory: \"lots\" is not a size"),
        ("run web --image x --cpu 0", "podling run: --cpu: \"0\" is not an amount of CPU"),
        ("run web --image x --secret K=f", "podling run: --secret: not supported yet"),
        (
            "run web --image x -l podling.task=1",
            "podling run: -l: \"podling.task\": keys beginning podling. are reserved",
        ),
        ("run web --image x --network none -p 80:80", "podling run: -p: the network none has no ports"),
        ("run web --image x --detach --wait", "podling run: only one of --detach, --wait and --follow"),
        ("run web --image x --restart never:3", "podling run: --restart: \"never:3\": never takes no number"),
        ("run web --image x -p 80", "podling run: -p: \"80\" must be HOST:CONTAINER"),
        ("ps --status dead", "podling ps: --status: \"dead\" must be one of"),
        ("ps -o yaml", "podling ps: -o: \"yaml\" must be table, wide, json or name"),
        ("nodes a b", "podling nodes: unexpected argument \"b\""),
        ("logs", "podling logs: TASK is missing"),
        ("logs web --tail x", "podling logs: --tail: \"x\" is not a number of lines"),
        ("stop web -t soon", "podling stop: -t: \"soon\" is not a duration"),
        ("wait web --timeout soon", "podling wait: --timeout: \"soon\" is not a duration"),
        ("rm", "podling rm: TASK is missing"),
        ("inspect", "podling inspect: TASK or NODE is missing"),
        ("ps --master nonsense", "podling ps: --master: \"nonsense\" must be http://HOST:PORT"),
        ("ps --master http://10.0.0.1:8080", "podling ps: --master: http://10.0.0.1:8080 is beyond loopback"),
        ("ps --token-file /nowhere/t", "podling ps: --token-file: /nowhere/t: "),
        ("help nonsense", "podling help: there is no such command"),
        ("node drain", "podling node: NODE is missing"),
        (
            "node drian worker-1",
            "podling node: \"drian\" must be cordon, uncordon, drain, rm: did you mean drain?",
        ),
        ("why web -o name", "podling why: -o: must be table or json"),
        ("events -o wide", "podling events: -o: \"wide\" must be table or json"),
        ("top -o wide", "podling top: -o: \"wide\" must be table or json"),
        ("top web", "podling top: unexpected argument \"web\""),
        ("apply", "podling apply: FILE is missing"),
        ("apply /nowhere/web.toml", "podling apply: /nowhere/web.toml: No such file or directory"),
        ("apply /dev/null", "podling apply: /dev/null:1:1: there is no [[task]] in it"),
        ("story web", "podling story: not supported yet"),
        ("audit now", "podling audit: unexpected argument \"now\""),
        ("token", "podling token: create|list|rm is missing"),
        ("completion", "podling completion: bash, zsh or fish is missing"),
        ("completion csh", "podling completion: \"csh\" must be bash, zsh or fish"),
        ("ls", "podling ls: there is no such command: did you mean ps?"),
    ] {
        let (code, out, err) = told(podling(line).output().unwrap());
        assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "podling {line}: {err}");
        assert!(err.starts_with(says), "podling {line}: {err}");
    }
}

#[test]
fn a_file_that_is_wrong_is_one_line_with_its_place() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("web.toml");
    for (text, says) in [
        ("[[task]]\nname = \"web\"\n  imge = \"x\"\n", "3:3: unknown key \"imge\": did you mean image?"),
        (
            "[[task]]\nname = \"web\"\nimage = 3\n",
            "3:9: image: must be a text in quotes, not a value of type",
        ),
        ("[[task]]\nname = \"web\"\nimage = \"x\"\ncpu = \"-1\"\n", "4:7: cpu: \"-1\" is not an amount"),
        ("[[task]\n", "1:8: "),
    ] {
        std::fs::write(&file, text).unwrap();
        let (code, out, err) = told(podling("apply --dry-run").arg(&file).output().unwrap());
        assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{text}: {err}");
        assert!(err.starts_with(&format!("podling apply: {}:{says}", file.display())), "{text}: {err}");
    }
}

#[test]
fn what_the_master_refuses_of_a_file_is_told_with_its_line() {
    let master = Master::start();
    let file = master.folder.path().join("tasks.toml");
    let two = "[[task]]\nname = \"a\"\nimage = \"x\"\n\n[[task]]\nname = \"b\"\nimage = \"x\"\nnetwork = \"host\"\n";
    std::fs::write(&file, two).unwrap();
    let (code, out, err) = told(master.podling("apply").arg(&file).output().unwrap());
    assert_eq!((code, out.as_str()), (1, "+ create a\n+ create b\n"), "{err}");
    let says = format!(
        "podling: {}:6: b: network: the policy's rule host_network refuses \"host\": it isn't allowed\n",
        file.display()
    );
    assert_eq!(err, says);
    assert_eq!(master.does("ps -q"), "", "all or none");
}

#[test]
fn what_is_created_is_printed_in_the_form_that_was_asked_for() {
    let master = Master::start();
    let id = master.does("run web --image x -q");
    assert_eq!(master.does("ps -q"), id);
    let ids = master.does("run job --image x -q --count 3");
    assert_eq!(master.does("ps -q"), format!("{id}{ids}"));
    let created: Vec<Value> = serde_json::from_str(&master.does("run db --image x -o json")).unwrap();
    assert_eq!(created[0]["name"], "db");
    assert_eq!(master.does("run two --image x -o name --count 2"), "two-0\ntwo-1\n");
    let (code, out, _) = master.says("run late --image x --wait -o json --pending-timeout 100ms");
    let ended: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &ended[0]["status"]), (125, &"failed".into()));
    assert_eq!(master.does("inspect web -o name"), "web\n");
    assert!(master.does("inspect web -o table").starts_with("ID "));
    master.does("stop web db");
    let (code, out, _) = master.says("wait web db -o json");
    let ended: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!((code, ended.len(), &ended[1]["name"]), (1, 2, &"db".into()));
}

#[test]
fn many_are_waited_for_by_lists() {
    let master = Master::start();
    let ids = master.does("run job --image x -q --count 1200");
    let ids: Vec<&str> = ids.lines().collect();
    let other = master.create("run other --image x");
    let wait = |ids: &[&str]| {
        let line = format!("wait {}", ids.join(" "));
        master.podling(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mixed = wait(&[&ids[..20], &[&other]].concat());
    let alike = wait(&[&ids[..2], &ids[10..20], &ids[1190..]].concat());
    master.does(&format!("stop {other} {} {}", ids[..20].join(" "), ids[1190..].join(" ")));
    master.does(&format!("rm {}", ids[15]));
    for (waiter, count, odd) in [(mixed, 21, ids[15]), (alike, 22, ids[15])] {
        let (code, out, err) = told(waiter.wait_with_output().unwrap());
        assert_eq!((code, out.lines().count()), (1, count), "{err}");
        let ended = |line: &&str| {
            line.ends_with(" stopped -") || line.ends_with(" removed -") && line.starts_with(odd)
        };
        assert_eq!(out.lines().filter(ended).count(), count, "{out}{err}");
    }
    let (code, _, err) = master.says("wait job-700 job-701 job-702 --timeout 100ms");
    assert_eq!((code, err.lines().count()), (124, 3), "{err}");
}

/// Runs bash with the script sourced, and gives what TAB offers for a line whose words are split as bash does.
fn tab(master: &Master, line: &str) -> Vec<String> {
    let words = line.split(' ').map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let script = format!(
        "source <(podling completion bash); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         complete -p podling >&2; _podling podling; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_podling"));
    let output = Command::new("/bin/bash")
        .args(["--noprofile", "--norc", "-c", &script])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", binary.parent().unwrap().display()))
        .env("PODLING_MASTER", &master.url)
        .env("PODLING_TOKEN_FILE", master.token_file())
        .output()
        .unwrap();
    let (code, out, err) = told(output);
    assert_eq!((code, err.as_str()), (0, "complete -F _podling podling\n"), "{line}");
    out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_names() {
    let master = Master::start();
    let id = master.create("run web --image x");
    master.does("run worker --image x --count 2");
    master.does("stop worker-1");
    assert_eq!(tab(&master, "podling ins"), ["inspect"]);
    assert_eq!(tab(&master, "podling run web --pu"), ["--publish", "--pull"]);
    assert_eq!(tab(&master, "podling run web --network = n"), ["none", "node"]);
    assert_eq!(tab(&master, "podling stop w"), ["web", "worker-0"], "what lives");
    assert_eq!(tab(&master, "podling rm "), ["worker-1"], "what has ended");
    assert_eq!(tab(&master, "podling logs w"), ["web", "worker-0", "worker-1"]);
    assert!(tab(&master, &format!("podling logs {}", &id[..8])).contains(&id));
    assert!(tab(&master, "podling nodes ").is_empty());
    assert!(tab(&master, "podling apply ").is_empty(), "the shell knows its files");
    assert!(tab(&master, "podling --master http : //127.0.0.1 : 1 stop w").is_empty(), "no master, no word");
}

#[test]
fn completion_says_nothing_and_does_not_wait_for_a_master_that_is_silent() {
    // Takes connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for words in [vec!["stop", ""], vec!["inspect", ""], vec!["ps", "--master"], vec!["\u{1b}", ""], vec![]] {
        let mut command = podling("__complete");
        let (code, out, err) = told(command.args(&words).env("PODLING_MASTER", &url).output().unwrap());
        assert_eq!((code, out.trim_start_matches("--master\n"), err.as_str()), (0, "", ""), "{words:?}");
    }
}

#[test]
fn a_master_that_is_not_there_is_asked_after_at_once() {
    let began = Instant::now();
    for line in [
        "ps",
        "ps -w",
        "nodes",
        "nodes x -w",
        "logs x -f",
        "events",
        "events -f",
        "run x --image y --wait",
        "stop x",
        "rm x",
        "wait x",
        "inspect x",
    ] {
        let (code, out, err) = told(podling(line).output().unwrap());
        assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 1), "podling {line}: {err}");
        assert!(err.starts_with("podling: no master answers at http://127.0.0.1:1 ("), "{err}");
        assert!(err.ends_with("): is podling-master running?\n"), "{err}");
    }
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn help_and_version_need_no_master() {
    for line in ["help", "--help", "help run", "run --help", "ps -h", "--help logs"] {
        let (code, out, err) = told(podling(line).output().unwrap());
        assert_eq!((code, err.as_str()), (0, ""), "podling {line}");
        assert!(out.contains("Usage: podling ") && out.contains("Example:\n"), "podling {line}: {out}");
    }
    for line in ["version", "--version", "-V"] {
        let (code, out, _) = told(podling(line).output().unwrap());
        assert_eq!((code, out), (0, format!("podling {}\n", env!("CARGO_PKG_VERSION"))), "podling {line}");
    }
}

#[test]
fn what_names_hold_never_reaches_the_terminal_raw() {
    let master = Master::start();
    let (code, _, err) = told(master.podling("ps --task").arg("\u{1b}[31mred\n").output().unwrap());
    assert_eq!(code, 1);
    assert!(!err.contains('\u{1b}') && err.lines().count() == 1, "{err:?}");
    let mut command = master.podling("run x --image y --");
    let id = told(command.arg("\u{1b}]0;title\u{7}\u{9b}").output().unwrap()).1;
    let id = id.lines().next().unwrap().strip_prefix("Task created: ").unwrap();
    for line in ["ps -o wide", "ps -o json", "inspect x", &format!("ps --task {id}")] {
        let out = master.does(line);
        assert!(!out.contains(['\u{1b}', '\u{7}', '\u{9b}']), "podling {line}: {out:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let master = Master::start();
    master.does("run job --image x --count 5000");
    let mut child =
        master.podling("ps -o json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, _, err) = told(master.podling("ps -q").stdout(full).output().unwrap());
    assert_eq!(code, 1);
    assert!(err.starts_with("podling: the output can't be written: "), "{err}");
}

#[test]
fn waiting_outlives_a_restart_of_the_master() {
    let folder = TempDir::new().unwrap();
    let (process, url) = start(&folder, "127.0.0.1:0", "embedded");
    let mut master = Master { process, url, folder };
    let id = master.create("run web --image x");
    let mut follower =
        master.podling("logs web -f").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut waiter =
        master.podling("wait web").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What it says after two seconds of waiting shows that it waits.
    let (mut said, mut pending) = (BufReader::new(waiter.stderr.take().unwrap()), String::new());
    said.read_line(&mut pending).unwrap();
    assert!(pending.starts_with("podling: web is pending: no node "), "{pending}");
    master.process.kill().unwrap();
    master.process.wait().unwrap();
    std::thread::park_timeout(Duration::from_millis(1500));
    assert!(follower.try_wait().unwrap().is_none(), "it waits for the master to come back");
    let listen = master.url.strip_prefix("http://").unwrap().to_owned();
    master.process = start(&master.folder, &listen, "embedded").0;
    master.does("stop web");
    let (code, out, _) = told(waiter.wait_with_output().unwrap());
    let mut err = String::new();
    said.read_to_string(&mut err).unwrap();
    assert_eq!((code, out), (125, format!("{id} web stopped -\n")), "{err}");
    assert_eq!(err.lines().count(), 1, "said once: {err}");
    assert!(err.ends_with(": trying again\n"), "{err}");
    let (code, out, err) = told(follower.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert_eq!(err.lines().count(), 1, "said once: {err}");
}
