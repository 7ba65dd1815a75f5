//! A cluster of real processes on a temporary folder and free ports, and its user's hands: the API and the command
//! line.
//!
//! When a [`Cluster`] is dropped, after a panic too, it ends the processes that it started, by their ids, and then
//! removes the containers that carry its own cluster's label. So clusters can share one Docker Engine with each other
//! and with people. After a panic it prints what its processes said; without one it makes sure that none of them
//! panicked.

pub(crate) mod docker;
pub(crate) mod dockerd;
pub(crate) mod events;
pub(crate) mod part;
pub(crate) mod proxy;
pub(crate) mod registry;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use podling::api::routes;
use podling::api::wire::Page;
use podling::api::wire::node::NodeView;
use podling::api::wire::task::{BatchCreated, TaskView};
use podling::http::client::{Call, Reply};
use podling::http::{Client, ClientError, Problem};
use podling::model::node::NodeStatus;
use podling::model::task::TaskStatus;
use serde_json::{Value, json};
use tempfile::TempDir;

use docker::{Container, IMAGE};
use part::{LONG, Part, poll, within};

const MASTER: &str = env!("CARGO_BIN_EXE_podling-master");
const WORKER: &str = env!("CARGO_BIN_EXE_podling-worker");
const PODLING: &str = env!("CARGO_BIN_EXE_podling");

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the master runs. Everything is some fifty times faster than by default, except that nodes are given up late:
/// a busy machine must not look like a lost node.
#[derive(Clone, Copy)]
pub(crate) struct MasterOptions {
    pub(crate) store: &'static str,
    pub(crate) node_timeout_ms: u64,
    pub(crate) pending_timeout_ms: u64,
    /// Whether it lets in everybody.
    pub(crate) insecure: bool,
    /// A command that runs the master: `prlimit --nofile=64`.
    pub(crate) under: &'static [&'static str],
}

impl Default for MasterOptions {
    fn default() -> Self {
        Self {
            store: "embedded",
            node_timeout_ms: 20_000,
            pending_timeout_ms: 0,
            insecure: false,
            under: &[],
        }
    }
}

/// How a worker runs.
#[derive(Clone, Copy)]
pub(crate) struct WorkerOptions {
    pub(crate) engine: &'static str,
    pub(crate) capacity: u32,
    pub(crate) concurrency: u32,
    pub(crate) log_max: &'static str,
    /// Where its Docker Engine is; none: where this machine's is.
    pub(crate) engine_host: Option<&'static str>,
    /// What it joins with; none: the administrator's token, where there is one; empty: whatever it finds itself.
    pub(crate) token_file: Option<&'static str>,
    /// Further flags.
    pub(crate) more: &'static [&'static str],
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            engine: "docker",
            capacity: 1000,
            concurrency: 4,
            log_max: "10Mi",
            engine_host: None,
            token_file: None,
            more: &[],
        }
    }
}

/// What a run of the command line came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A master and its workers.
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) client: Client,
    pub(crate) master: Part,
    workers: BTreeMap<String, Part>,
    uses_docker: bool,
    folder: TempDir,
}

impl Cluster {
    /// A master without workers.
    pub(crate) fn start(options: MasterOptions) -> Self {
        Self::start_where(options, |_| {})
    }

    /// The same, after `prepare` has made something of the place of the master's data folder.
    pub(crate) fn start_where(options: MasterOptions, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("master");
        prepare(&data);
        let mut words = to_words(options.under);
        words.push(MASTER.to_owned());
        words.extend(to_words(&["--listen", "127.0.0.1:0", "--tick-ms", "50", "--store", options.store]));
        words.extend(["--data-dir".to_owned(), data.display().to_string()]);
        words.extend(["--node-timeout-ms".to_owned(), options.node_timeout_ms.to_string()]);
        words.extend(["--pending-timeout-ms".to_owned(), options.pending_timeout_ms.to_string()]);
        words.extend(options.insecure.then(|| "--insecure".to_owned()));
        let program = words.remove(0);
        let master = Part::start(folder.path(), "master", &program, words);
        let id = identity(folder.path())["cluster_id"].as_str().unwrap().to_owned();
        let client = Client::new(&master.url()).unwrap();
        let client = if options.insecure { client } else { client.with_token(secret(&data, "admin.token")) };
        Self { id, client, master, workers: BTreeMap::new(), uses_docker: false, folder }
    }

    /// A master with `worker-1` and so on, on the Docker Engine.
    pub(crate) fn with_workers(count: u32) -> Self {
        let mut cluster = Self::start(MasterOptions::default());
        for number in 1..=count {
            cluster.start_worker(&format!("worker-{number}"), WorkerOptions::default());
        }
        cluster
    }

    /// Starts a worker and waits until the master knows it.
    #[track_caller]
    pub(crate) fn start_worker(&mut self, id: &str, options: WorkerOptions) {
        let master = self.master.url();
        self.start_worker_at(id, options, &master);
    }

    /// The same, for one that reaches the master at another address.
    #[track_caller]
    pub(crate) fn start_worker_at(&mut self, id: &str, options: WorkerOptions, master: &str) {
        if options.engine == "docker" && options.engine_host.is_none() {
            drop(docker::engine());
            self.uses_docker = true;
        }
        let mut words = to_words(&["--listen", "127.0.0.1:0", "--heartbeat-ms", "200", "--node-id", id]);
        words.extend(["--data-dir".to_owned(), self.data_of(id).display().to_string()]);
        let own = || Some(self.admin_token_file()).filter(|file| file.exists());
        let named = options.token_file.map(PathBuf::from).or_else(own);
        if let Some(file) = named.filter(|file| !file.as_os_str().is_empty()) {
            words.extend(["--token-file".to_owned(), file.display().to_string()]);
        }
        words.extend(["--master".to_owned(), master.to_owned()]);
        words.extend(to_words(&["--engine", options.engine]));
        words.extend(["--capacity".to_owned(), options.capacity.to_string()]);
        words.extend(["--engine-concurrency".to_owned(), options.concurrency.to_string()]);
        words.extend(to_words(&["--log-max-bytes", options.log_max]));
        if let Some(host) = options.engine_host {
            words.extend(to_words(&["--docker-host", host]));
        }
        words.extend(to_words(options.more));
        let worker = Part::start(self.folder.path(), id, WORKER, words);
        self.workers.insert(id.to_owned(), worker);
        self.wait_for_node(id, NodeStatus::Online);
    }

    pub(crate) fn worker(&self, id: &str) -> &Part {
        &self.workers[id]
    }

    pub(crate) fn worker_mut(&mut self, id: &str) -> &mut Part {
        self.workers.get_mut(id).expect("it was started")
    }

    /// Starts a worker that has ended again, on its own data folder. Doesn't wait for the master to notice.
    #[track_caller]
    pub(crate) fn start_worker_again(&mut self, id: &str) {
        self.worker_mut(id).start_again(&[]);
    }

    /// Starts the master that has ended again, where its workers look for it.
    #[track_caller]
    pub(crate) fn start_master_again(&mut self) {
        let address = self.master.address.to_string();
        self.master.start_again(&[("127.0.0.1:0", &address)]);
        assert_eq!(self.master.address.to_string(), address);
    }

    /// The master's data folder.
    pub(crate) fn data_of_master(&self) -> PathBuf {
        self.folder.path().join("master")
    }

    /// The number of the master's present start.
    pub(crate) fn epoch(&self) -> u64 {
        identity(self.folder.path())["epoch"].as_u64().unwrap()
    }

    /// Where the master keeps its administrator's token.
    pub(crate) fn admin_token_file(&self) -> PathBuf {
        self.data_of_master().join("admin.token")
    }

    /// The administrator's token.
    pub(crate) fn admin_token(&self) -> String {
        secret(&self.data_of_master(), "admin.token")
    }

    /// The header with it, for who writes requests by hand.
    pub(crate) fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.admin_token())
    }

    /// What the master shows to a worker.
    pub(crate) fn key_of(&self, worker: &str) -> String {
        secret(&self.data_of(worker), "node.key")
    }

    /// With what a worker speaks for its node.
    pub(crate) fn token_of(&self, worker: &str) -> String {
        secret(&self.data_of(worker), "node.token")
    }

    /// A client of a worker, as the master is one.
    pub(crate) fn client_of(&self, worker: &str) -> Client {
        Client::new(&self.worker(worker).url()).unwrap().with_token(self.key_of(worker))
    }

    /// A worker's data folder.
    pub(crate) fn data_of(&self, worker: &str) -> PathBuf {
        self.folder.path().join(format!("data-{worker}"))
    }

    // ------------------------------------------------------------------------------------------------- the API

    /// Any request; `body` is sent as it is.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Reply, ClientError> {
        let body = body.map(|body| body.to_string().into_bytes());
        self.client.call(Call { body, ..Call::new(method, path, PATIENCE) })
    }

    /// The problem that a request is answered with.
    #[track_caller]
    pub(crate) fn refusal(&self, method: &str, path: &str, body: Option<Value>) -> Problem {
        match self.ask(method, path, body) {
            Err(ClientError::Refused(problem)) => *problem,
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    /// Creates a task.
    #[track_caller]
    pub(crate) fn create(&self, spec: &Value) -> TaskView {
        self.client.post(routes::TASKS, spec, PATIENCE, false).unwrap()
    }

    /// Creates `count` equals; their ids by index.
    #[track_caller]
    pub(crate) fn create_equals(&self, count: u32, mut spec: Value) -> Vec<String> {
        spec["count"] = json!(count);
        let batch: BatchCreated = self.client.post(routes::TASKS, &spec, PATIENCE, false).unwrap();
        assert!(batch.items.iter().map(|item| item.index).eq(0..count), "{batch:?}");
        batch.items.iter().map(|item| item.task_id.to_string()).collect()
    }

    #[track_caller]
    pub(crate) fn task(&self, reference: &str) -> TaskView {
        self.client.get(&routes::task(reference), PATIENCE).unwrap()
    }

    /// Every task, by id.
    #[track_caller]
    pub(crate) fn tasks(&self) -> Vec<TaskView> {
        let (mut tasks, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("{}?limit=10000{after}", routes::TASKS);
            let page: Page<TaskView> = self.client.get(&path, PATIENCE).unwrap();
            tasks.extend(page.items);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return tasks,
            }
        }
    }

    /// Whether every task has ended. Asks for one that hasn't: cheap, so that asking often measures nothing.
    pub(crate) fn all_ended(&self) -> bool {
        let path = format!("{}?status=pending,scheduled,running&limit=1", routes::TASKS);
        self.client.get::<Page<TaskView>>(&path, PATIENCE).unwrap().items.is_empty()
    }

    /// Waits until a task is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        reference: &str,
        what: &str,
        is_so: impl Fn(&TaskView) -> bool,
    ) -> TaskView {
        let found = poll(LONG, || Some(self.task(reference)).filter(&is_so));
        found.unwrap_or_else(|| panic!("{what}: not within {LONG:?}: {:?}", self.task(reference)))
    }

    /// Waits until a task runs. One that ended instead fails the test at once.
    #[track_caller]
    pub(crate) fn wait_for_running(&self, reference: &str) -> TaskView {
        let task = self.wait_for(reference, "it runs or has ended", |task| {
            task.status == TaskStatus::Running || task.status.is_terminal()
        });
        assert_eq!(task.status, TaskStatus::Running, "{task:?}");
        task
    }

    #[track_caller]
    pub(crate) fn wait_for_end(&self, reference: &str) -> TaskView {
        self.wait_for(reference, "it has ended", |task| task.status.is_terminal())
    }

    /// Waits until all tasks have this status.
    #[track_caller]
    pub(crate) fn wait_for_all(&self, status: TaskStatus) -> Vec<TaskView> {
        within(LONG, &format!("all are {}", status.as_str()), || {
            let tasks = self.tasks();
            tasks.iter().all(|task| task.status == status).then_some(tasks)
        })
    }

    /// Asks for a task's end.
    #[track_caller]
    pub(crate) fn stop(&self, reference: &str, grace_ms: u64) -> TaskView {
        let reply = self.ask("POST", &routes::task_stop(reference), Some(json!({ "grace_ms": grace_ms })));
        let reply = reply.unwrap();
        assert_eq!(reply.status, 202);
        reply.json().unwrap()
    }

    /// A task's log as text. `query` begins with `?` or is empty.
    #[track_caller]
    pub(crate) fn log(&self, reference: &str, query: &str) -> String {
        let path = format!("{}{query}", routes::task_logs(reference));
        String::from_utf8(self.ask("GET", &path, None).unwrap().body).unwrap()
    }

    #[track_caller]
    pub(crate) fn node(&self, id: &str) -> Option<NodeView> {
        match self.client.get(&routes::node(id), PATIENCE) {
            Ok(node) => Some(node),
            Err(ClientError::Refused(problem)) if problem.code == "node_not_found" => None,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    pub(crate) fn wait_for_node(&self, id: &str, status: NodeStatus) -> NodeView {
        within(LONG, &format!("{id} is {}", status.as_str()), || {
            self.node(id).filter(|node| node.status == status)
        })
    }

    // -------------------------------------------------------------------------------- the command line, and Docker

    /// Runs the command line as a user would, against this master. One that hangs is killed after a minute.
    #[track_caller]
    pub(crate) fn podling(&self, words: &[&str]) -> Said {
        self.podling_at(&self.master.url(), words)
    }

    /// The same, against another address.
    #[track_caller]
    pub(crate) fn podling_at(&self, master: &str, words: &[&str]) -> Said {
        Said::of(self.podling_command(master, words))
    }

    /// The same, ready to be run: for a thread that can't borrow the cluster.
    pub(crate) fn podling_command(&self, master: &str, words: &[&str]) -> Command {
        let mut command = part::command(self.folder.path(), "timeout");
        command.args(["--foreground", "--signal=KILL", "60", PODLING]).args(words);
        command.env("PODLING_MASTER", master);
        let token = Some(self.admin_token_file()).filter(|file| file.exists());
        command.envs(token.map(|file| ("PODLING_TOKEN_FILE", file)));
        command
    }

    /// The same, where it must succeed: what it wrote to stdout.
    #[track_caller]
    pub(crate) fn podling_ok(&self, words: &[&str]) -> String {
        let said = self.podling(words);
        assert_eq!(said.code, Some(0), "podling {words:?}: {said:?}");
        said.stdout
    }

    /// Every container of this cluster, running or not.
    pub(crate) fn containers(&self) -> Vec<Container> {
        docker::containers_of(&self.id)
    }

    /// Those of one task.
    pub(crate) fn containers_of(&self, task: &str) -> Vec<Container> {
        self.containers().into_iter().filter(|container| container.task == task).collect()
    }

    fn remove_containers(&self) {
        // What a worker had asked for when it was ended may still appear: hence until there is none.
        for _ in 0..50 {
            let left = self.containers();
            if left.is_empty() {
                return;
            }
            std::thread::scope(|scope| {
                for share in left.chunks(left.len().div_ceil(4)) {
                    scope.spawn(move || {
                        for container in share {
                            docker::remove(&container.id);
                        }
                    });
                }
            });
        }
        println!("containers of the cluster {} are left: {:?}", self.id, self.containers());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        const ORDERLY: Duration = Duration::from_secs(5);
        self.workers.values_mut().for_each(Part::ask_to_end);
        self.workers.values_mut().for_each(|worker| worker.end(ORDERLY));
        self.master.ask_to_end();
        self.master.end(ORDERLY);
        let parts = || std::iter::once(&self.master).chain(self.workers.values());
        if std::thread::panicking() {
            parts().for_each(|part| println!("{}", part.told_log()));
        }
        if self.uses_docker {
            self.remove_containers();
        }
        if !std::thread::panicking() {
            for part in parts() {
                assert!(!part.log().contains("panicked at"), "{}", part.told_log());
            }
        }
    }
}

/// Who a master says it is, in its data folder.
fn identity(folder: &Path) -> Value {
    let bytes = std::fs::read(folder.join("master/cluster.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The line of a file in a server's data folder.
fn secret(data: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(data.join(name)).unwrap();
    text.trim().to_owned()
}

/// A task that runs a script in a container without a network.
pub(crate) fn script(name: &str, script: &str) -> Value {
    json!({"name": name, "image": IMAGE, "command": ["sh", "-c", script], "network": "none", "pull": "never"})
}

/// A task that runs until it is told to end, and then does so at once with this code.
pub(crate) fn obeys(name: &str, code: i32) -> Value {
    script(name, &format!("trap 'exit {code}' TERM; sleep 600 & wait"))
}

fn to_words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
