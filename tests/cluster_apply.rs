//! Files of tasks, batches and Ctrl-C, as a user has them: the real binaries on the real Docker Engine.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crossbeam_channel::{Receiver, Sender, bounded};
use podling::model::task::TaskStatus;
use podling::runtime::supervise;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::docker::IMAGE;
use support::{Cluster, Said};
use tempfile::TempDir;

/// A file of tasks.
struct Tasks {
    folder: TempDir,
}

impl Tasks {
    fn of(text: &str) -> Self {
        let tasks = Self { folder: tempfile::tempdir().unwrap() };
        tasks.says(text);
        tasks
    }

    /// The word IMAGE stands for the image.
    fn says(&self, text: &str) {
        fs::write(self.path(), text.replace("IMAGE", IMAGE)).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tasks.toml")
    }

    fn apply<'a>(&'a self, cluster: &Cluster, flags: &[&'a str]) -> Said {
        let path = self.path();
        let mut words = vec!["apply", path.to_str().unwrap()];
        words.extend(flags);
        cluster.podling(&words)
    }

    /// Applies it, which must come to this exit code, and gives the lines of the plan, without what was created.
    #[track_caller]
    fn plan(&self, cluster: &Cluster, flags: &[&str], code: i32) -> Vec<String> {
        let said = self.apply(cluster, flags);
        assert_eq!((said.code, said.stderr.as_str()), (Some(code), ""), "{said:?}");
        let is_plan = |line: &&str| !line.starts_with("Task created: ");
        said.stdout.lines().filter(is_plan).map(str::to_owned).collect()
    }
}

const WEB_AND_JOB: &str = r#"
[[task]]
name = "web"
image = "IMAGE"
command = ["sh", "-c", "trap 'exit 3' TERM; sleep 600 & wait"]
network = "none"

[[task]]
name = "job"
image = "IMAGE"
command = ["sh", "-c", "echo number $PODLING_INDEX"]
network = "none"
count = 3
"#;

#[test]
fn a_file_is_applied_again_and_again() {
    let cluster = Cluster::with_workers(1);
    let tasks = Tasks::of(WEB_AND_JOB);
    let all_new = ["+ create web", "+ create job-0 … job-2 (3 tasks)"];
    assert_eq!(tasks.plan(&cluster, &["--dry-run"], 0), all_new);
    assert_eq!(tasks.apply(&cluster, &["--dry-run", "-o", "name"]).stdout, "web\njob-0\njob-1\njob-2\n");
    assert!(cluster.tasks().is_empty(), "a dry run creates nothing");

    let said = tasks.apply(&cluster, &[]);
    let created: Vec<&str> =
        said.stdout.lines().filter_map(|line| line.strip_prefix("Task created: ")).collect();
    let there =
        cluster.tasks().iter().map(|task| format!("{} {}", task.task_id, task.name)).collect::<Vec<_>>();
    assert_eq!(created, there, "in the order of the file");
    let web = cluster.wait_for_running("web").task_id;
    ["job-0", "job-1", "job-2"].iter().for_each(|name| drop(cluster.wait_for_end(name)));
    assert_eq!(cluster.podling_ok(&["logs", "job-2"]), "number 2\n");

    let as_they_should_be =
        ["= web is as it should be (running on worker-1)", "= job-0 … job-2 (3 tasks) are as they should be"];
    for _ in 0..2 {
        assert_eq!(tasks.plan(&cluster, &[], 0), as_they_should_be);
    }
    assert_eq!(cluster.tasks().len(), 4, "nothing was made again");

    tasks.says(&WEB_AND_JOB.replacen("IMAGE", "podling/busybox:other", 1));
    let differs =
        format!("! web differs: image {IMAGE} → podling/busybox:other; podling stop web, then apply again");
    assert_eq!(tasks.plan(&cluster, &[], 1), [differs.as_str(), as_they_should_be[1]]);
    let told = tasks.apply(&cluster, &["-o", "json"]);
    let rows: Vec<Value> = serde_json::from_str(&told.stdout).unwrap();
    let first =
        json!({"name": "web", "action": "differs", "because": rows[0]["because"], "task_id": web, "line": 3});
    assert_eq!((rows.len(), &rows[0], told.code), (4, &first, Some(1)), "{told:?}");
    assert_eq!(cluster.task("web").task_id, web, "it was left alone");

    tasks.says(WEB_AND_JOB);
    cluster.podling_ok(&["stop", "web"]);
    let again = "+ create web (the last one was stopped with exit code 3)";
    assert_eq!(tasks.plan(&cluster, &["--dry-run"], 0), [again, as_they_should_be[1]]);
    let told = tasks.apply(&cluster, &["-o", "json"]);
    let rows: Vec<Value> = serde_json::from_str(&told.stdout).unwrap();
    let now = cluster.wait_for_running("web").task_id;
    assert_eq!((&rows[0]["action"], &rows[0]["task_id"]), (&json!("create"), &json!(now)), "{told:?}");
    assert_ne!(now, web);
    assert_eq!(cluster.tasks().len(), 5);
}

#[test]
fn what_was_made_and_removed_is_made_again() {
    let cluster = Cluster::with_workers(1);
    let tasks =
        Tasks::of("[[task]]\nname = \"job\"\nimage = \"IMAGE\"\ncommand = [\"true\"]\nnetwork = \"none\"\n");
    let mut ids = Vec::new();
    for _ in 0..3 {
        assert_eq!(tasks.plan(&cluster, &[], 0), ["+ create job"]);
        let job = cluster.wait_for_end("job");
        assert_eq!(job.status, TaskStatus::Completed);
        cluster.podling_ok(&["rm", "job"]);
        ids.push(job.task_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "each time another task: {ids:?}");
}

#[test]
fn who_applies_at_the_same_time_makes_nothing_twice() {
    let cluster = Cluster::with_workers(1);
    for round in 0..5 {
        let (web, job) = (format!("\"web{round}\""), format!("\"job{round}\""));
        let tasks = Tasks::of(&WEB_AND_JOB.replace("\"web\"", &web).replace("\"job\"", &job));
        let path = tasks.path();
        let words = ["apply", path.to_str().unwrap()];
        let start = |_| {
            let mut command = cluster.podling_command(&cluster.master.url(), &words);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<Child> = (0..4).map(start).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let mut names: Vec<String> = cluster.tasks().iter().map(|task| task.name.to_string()).collect();
        names.retain(|name| name[3..].starts_with(&round.to_string()));
        assert_eq!(names.len(), 4, "round {round}: {names:?}");
    }
}

/// Passes everything on to a master, but the answer to the first POST: that one is lost, and the connection with it.
fn loses_the_first_answer(master: SocketAddr) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (lost, is_lost) = bounded(1);
    supervise::spawn("loses", move || {
        let mut loses = Some(lost);
        // It ends with the test's process.
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(master) else { continue };
            let _ = pass(client, server, &mut loses);
        }
    })
    .unwrap();
    (url, is_lost)
}

/// One connection, request by request: what this client sends comes in one piece, and so do a master's answers here.
fn pass(mut client: TcpStream, mut server: TcpStream, loses: &mut Option<Sender<()>>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = client.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let mut request = buffer[..count].to_vec();
        let is_post = request.starts_with(b"POST /api/v1/tasks ");
        while is_post && !request.ends_with(b"}]") {
            let count = client.read(&mut buffer)?;
            request.extend_from_slice(&buffer[..count]);
        }
        server.write_all(&request)?;
        let count = server.read(&mut buffer)?;
        if let Some(lost) = loses.take_if(|_| is_post) {
            lost.send(()).unwrap();
            return client.shutdown(Shutdown::Both);
        }
        client.write_all(&buffer[..count])?;
    }
}

#[test]
fn a_master_that_is_killed_before_it_answers_made_them_once() {
    let mut cluster = Cluster::with_workers(1);
    let tasks = Tasks::of(WEB_AND_JOB);
    let (url, is_lost) = loses_the_first_answer(cluster.master.address);
    let path = tasks.path();
    let mut command = cluster.podling_command(&url, &["apply", path.to_str().unwrap()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    is_lost.recv().unwrap();
    cluster.master.kill9();
    cluster.start_master_again();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    let created: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("Task created: ")).collect();
    let there =
        cluster.tasks().iter().map(|task| format!("{} {}", task.task_id, task.name)).collect::<Vec<_>>();
    assert_eq!((created.len(), created), (4, there.iter().map(String::as_str).collect()));
    assert!(tasks.plan(&cluster, &[], 0).iter().all(|line| line.starts_with("= ")));
}

#[test]
fn a_batch_of_fifty_is_waited_for_as_one() {
    let cluster = Cluster::with_workers(1);
    let some_fail = "[ $((PODLING_INDEX % 7)) != 3 ]";
    let mut words = vec!["run", "mixed", "--image", IMAGE, "--network", "none", "--count", "50", "--wait"];
    words.extend(["--", "sh", "-c", some_fail]);
    // Without the minute that other commands have: fifty containers take what a busy machine makes of it.
    let mut command = Command::new(env!("CARGO_BIN_EXE_podling"));
    command
        .args(&words)
        .env_clear()
        .env("PODLING_MASTER", cluster.master.url())
        .env("PODLING_TOKEN_FILE", cluster.admin_token_file());
    let said = Said::of(command);
    assert_eq!(said.code, Some(1), "{said:?}");
    let ends = |how: &str| said.stdout.lines().filter(|line| line.ends_with(how)).count();
    assert_eq!((ends(" completed 0"), ends(" failed 1")), (43, 7), "{said:?}");
    assert!(said.stderr.contains("podling: mixed-3: the command ended with exit code 1\n"), "{said:?}");
    assert!(said.stderr.contains("50 of 50 ended, 7 failed"), "the first are told, all counted: {said:?}");

    let names: Vec<String> =
        (0..30).filter(|index| index % 7 != 3).map(|index| format!("mixed-{index}")).collect();
    let mut several: Vec<&str> = names.iter().map(String::as_str).collect();
    several.insert(0, "wait");
    let said = cluster.podling(&several);
    assert_eq!((said.code, said.stdout.lines().count()), (Some(0), 26), "{said:?}");
    several.push("mixed-3");
    assert_eq!(cluster.podling(&several).code, Some(1));
    several.push("nobody");
    let said = cluster.podling(&several);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "a name that is wrong comes out first");
}

/// `podling run --follow` of a script, once it has said that it is ready.
fn followed(cluster: &Cluster, name: &str, script: &str) -> Child {
    let words = ["run", name, "--image", IMAGE, "--network", "none", "--follow", "--", "sh", "-c", script];
    let mut command = cluster.podling_command(&cluster.master.url(), &words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Byte by byte: what comes next is the test's to read.
    while !line.ends_with('\n') {
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        line.push(char::from(byte[0]));
    }
    assert_eq!(line, "ready\n");
    child
}

fn ctrl_c(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn ctrl_c_stops_the_task_and_goes_on_to_its_end() {
    let cluster = Cluster::with_workers(1);
    let child = followed(&cluster, "obeys", "trap 'echo bye; exit 9' TERM; echo ready; sleep 600 & wait");
    ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(9), b"bye\n".as_slice()), "{err}");
    assert!(err.contains("podling: stopping obeys; again to leave it to itself\n"), "{err}");
    assert!(err.ends_with("Status: stopped (exit 9)\n"), "{err}");
    assert_eq!(cluster.task("obeys").status, TaskStatus::Stopped);
}

#[test]
fn a_second_ctrl_c_leaves_the_task_to_itself() {
    let cluster = Cluster::with_workers(1);
    let mut child = followed(&cluster, "deaf", "trap '' TERM; echo ready; while :; do sleep 1; done");
    ctrl_c(&child);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopping deaf") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it says that it stops the task");
    }
    cluster.wait_for("deaf", "it was told to stop", |task| task.stop_requested_at.is_some());
    assert!(child.try_wait().unwrap().is_none(), "it waits for the end");
    ctrl_c(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    line.clear();
    said.read_to_string(&mut line).unwrap();
    assert_eq!(line, "podling: left; deaf goes on stopping\n");
    assert!(!cluster.task("deaf").status.is_terminal());
    cluster.stop("deaf", 0);
    assert_eq!(cluster.wait_for_end("deaf").status, TaskStatus::Stopped);
}
