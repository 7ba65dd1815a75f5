//! The cluster under test: a folder, a network, small disks, and the processes on them. It keeps them running as an
//! init system would, and records what becomes of them.
//!
//! Main type: [`Site`]. When it is dropped, after a panic too, all that it made is ended and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podling::model::id::{ClusterId, Epoch, Incarnation};
use serde_json::Value;

use crate::checker::history::{Fault, Millis, What};
use crate::engine_api::EngineApi;
use crate::leftovers::{self, PREFIX};
use crate::net::{Net, address};
use crate::plan::{Ground, Who};
use crate::recorder::Recorder;
use crate::server::{Noticed, Server};
use crate::settings::Settings;
use crate::tmpfs::{Filler, Tmpfs};

const MASTER: &str = env!("CARGO_BIN_EXE_podling-master");
const WORKER: &str = env!("CARGO_BIN_EXE_podling-worker");

/// One that ended by itself is started again after so long.
const AGAIN: Millis = 400;

/// How long an ended task is kept: so that memory comes to a level in a run of minutes.
pub(crate) const RETAIN: Duration = Duration::from_secs(60);

/// Where the master is reached.
pub(crate) fn master_url() -> String {
    format!("http://{}:8080", address(Who::Master))
}

/// The cluster.
pub(crate) struct Site {
    pub(crate) servers: BTreeMap<Who, Server>,
    fillers: BTreeMap<Who, Filler>,
    /// When each small disk was freed last.
    freed: BTreeMap<Who, Millis>,
    /// Ends that nobody had asked for, in words.
    pub(crate) surprises: Vec<String>,
    /// Those among them for which there was no cause.
    pub(crate) failures: Vec<String>,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) net: Net,
    epoch: Option<Epoch>,
    /// Who is down, as was recorded.
    down: BTreeSet<Who>,
    disks: BTreeMap<Who, Tmpfs>,
    folder: PathBuf,
    recorder: Arc<Recorder>,
}

impl Site {
    /// The ground for it; no process yet.
    pub(crate) fn prepare(settings: &Settings, ground: Ground, recorder: &Arc<Recorder>) -> Self {
        leftovers::sweep();
        let name = format!("{PREFIX}{}", std::process::id());
        let folder = leftovers::folder(&name);
        std::fs::create_dir(&folder).unwrap();
        let disks = [(Who::Master, "48m"), (Who::Worker(ground.small_disk), "24m")];
        let mut site = Self {
            servers: BTreeMap::new(),
            fillers: BTreeMap::new(),
            freed: BTreeMap::new(),
            surprises: Vec::new(),
            failures: Vec::new(),
            cluster: None,
            net: Net::make(&name, settings.workers),
            epoch: None,
            down: BTreeSet::new(),
            disks: disks.map(|(who, size)| (who, Tmpfs::mount_in(&folder, size))).into(),
            folder,
            recorder: Arc::clone(recorder),
        };
        site.add(Who::Master, MASTER, site.words_of_master(settings));
        site
    }

    fn words_of_master(&self, settings: &Settings) -> Vec<String> {
        let times = settings.times;
        let mut words = self.common_words(Who::Master, 8080);
        words.extend(["--store", "embedded", "--pending-timeout-ms", "0"].map(str::to_owned));
        words.extend(["--retain".to_owned(), format!("{}s", RETAIN.as_secs())]);
        words.extend(["--node-timeout-ms".to_owned(), times.node_timeout.to_string()]);
        words.extend(["--tick-ms".to_owned(), times.tick.to_string()]);
        words
    }

    fn words_of_worker(&self, number: u32, beat: Millis, engine: &EngineApi) -> Vec<String> {
        let who = Who::Worker(number);
        let mut words = self.common_words(who, 8081);
        words.extend(["--node-id".to_owned(), who.to_string(), "--master".to_owned(), master_url()]);
        words.extend(["--heartbeat-ms".to_owned(), beat.to_string()]);
        words.extend(["--capacity", "40", "--engine", "docker", "--docker-host"].map(str::to_owned));
        words.push(engine.host());
        words
    }

    /// Nothing but this network reaches them, hence --insecure.
    fn common_words(&self, who: Who, port: u16) -> Vec<String> {
        let listen = format!("{}:{port}", address(who));
        let data = self.data_of(who).display().to_string();
        ["--listen", &listen, "--data-dir", &data, "--insecure"].map(str::to_owned).into()
    }

    fn add(&mut self, who: Who, program: &str, words: Vec<String>) {
        let mut all: Vec<String> = self.net.within(who).into();
        all.push(program.to_owned());
        all.extend(words);
        self.servers.insert(who, Server::new(&self.folder, who, all));
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The data folder of a process; a small disk where it has one.
    pub(crate) fn data_of(&self, who: Who) -> PathBuf {
        match self.disks.get(&who) {
            Some(disk) => disk.path().to_owned(),
            None => self.folder.join(format!("data-{who}")),
        }
    }

    /// Starts the master and waits until the cluster has its id.
    #[track_caller]
    pub(crate) fn start_master(&mut self) -> ClusterId {
        self.start(Who::Master);
        self.wait_until_all_serve();
        let id: ClusterId = self.identity()["cluster_id"].as_str().unwrap().parse().unwrap();
        std::fs::write(self.folder.join(leftovers::CLUSTER), id.as_str()).unwrap();
        self.cluster = Some(id.clone());
        id
    }

    /// Starts a worker on this Engine.
    pub(crate) fn start_worker(&mut self, number: u32, beat: Millis, engine: &EngineApi) {
        let words = self.words_of_worker(number, beat, engine);
        self.add(Who::Worker(number), WORKER, words);
        self.start(Who::Worker(number));
    }

    #[track_caller]
    pub(crate) fn wait_until_all_serve(&mut self) {
        crate::part::wait_until("every process listens", || {
            self.tend();
            self.servers.values().all(Server::listens)
        });
    }

    pub(crate) fn server(&mut self, who: Who) -> &mut Server {
        self.servers.get_mut(&who).expect("the plan names what is there")
    }

    /// Frees a small disk again.
    pub(crate) fn free(&mut self, who: Who) {
        self.fillers.remove(&who);
        self.freed.insert(who, self.recorder.now());
    }

    /// Whether a small disk was full a moment ago: long enough that a process which met that has ended since.
    fn was_full(&self, who: Who) -> bool {
        const MOMENT: Millis = 1_500;
        let is_near = |freed: &Millis| self.recorder.now() < freed + MOMENT;
        self.fillers.contains_key(&who) || self.freed.get(&who).is_some_and(is_near)
    }

    /// Fills a small disk.
    pub(crate) fn fill(&mut self, who: Who) {
        let filler = self.disks[&who].fill();
        self.fillers.insert(who, filler);
    }

    pub(crate) fn start(&mut self, who: Who) {
        self.server(who).start();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, who: Who) {
        self.record_down(who);
        let listened = self.server(who).listens();
        self.server(who).kill();
        if listened {
            self.record_end(who);
        }
    }

    fn record_end(&mut self, who: Who) {
        match who {
            Who::Worker(_) => self.recorder.put(What::WorkerEnded { node: who.to_string().parse().unwrap() }),
            Who::Master => {
                if let Some(epoch) = self.epoch.take() {
                    self.recorder.put(What::MasterEnded { epoch });
                }
            }
        }
    }

    /// Looks after all processes: says which listen now, and starts those again that ended by themselves.
    pub(crate) fn tend(&mut self) {
        let now = self.recorder.now();
        let all: Vec<Who> = self.servers.keys().copied().collect();
        for who in all {
            let server = self.server(who);
            if server.again.is_some_and(|again| again <= now) {
                server.start();
            }
            match server.notice() {
                Noticed::Nothing => {}
                Noticed::Listens => self.record_start(who),
                Noticed::Ended { status, listened } => self.surprise(who, status, listened),
            }
        }
    }

    fn surprise(&mut self, who: Who, status: std::process::ExitStatus, listened: bool) {
        let now = self.recorder.now();
        let log = self.server(who).log();
        let last = log.lines().last().unwrap_or_default().to_owned();
        self.server(who).again = Some(now + AGAIN);
        if listened {
            self.record_down(who);
            self.record_end(who);
        }
        let has_cause = self.was_full(who);
        let disk = if has_cause { ", its disk was full" } else { "" };
        let when = if listened { "while it ran" } else { "at its start" };
        let told = format!("{now} ms: {who} ended by itself {when} ({status}{disk}): {last}");
        println!("{told}");
        if !has_cause {
            self.failures.push(told.clone());
        }
        self.surprises.push(told);
    }

    fn record_start(&mut self, who: Who) {
        match who {
            Who::Master => {
                let epoch = Epoch(self.identity()["epoch"].as_u64().unwrap());
                self.recorder.put(What::MasterBegan { epoch });
                self.epoch = Some(epoch);
            }
            Who::Worker(_) => {
                let kept = read_json(&self.data_of(who).join("worker.json"));
                let incarnation = Incarnation(kept["incarnation"].as_u64().unwrap());
                let node = who.to_string().parse().unwrap();
                self.recorder.put(What::WorkerBegan { node, incarnation });
            }
        }
        if self.down.remove(&who) {
            self.recorder.healed(Fault::Killed, who);
        }
    }

    fn record_down(&mut self, who: Who) {
        if self.down.insert(who) {
            self.recorder.broke(Fault::Killed, who);
        }
    }

    fn identity(&self) -> Value {
        read_json(&self.data_of(Who::Master).join("cluster.json"))
    }

    /// What the processes said that they never should.
    pub(crate) fn panics(&self) -> Vec<String> {
        let logs = self.servers.values().map(|server| (server.who, server.log()));
        let told = |(who, log): (Who, String)| {
            let lines = log.lines().filter(|line| line.contains("panicked")).map(str::to_owned);
            lines.map(|line| format!("{who}: {line}")).collect::<Vec<_>>()
        };
        logs.flat_map(told).collect()
    }

    /// Keeps what the processes said, beside what was built; in which folder.
    pub(crate) fn save_logs(&self, name: &str) -> PathBuf {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{name}"));
        std::fs::create_dir_all(&to).unwrap();
        for server in self.servers.values() {
            std::fs::write(to.join(format!("{}.log", server.who)), server.log()).unwrap();
        }
        to
    }

    /// Ends every process in order.
    pub(crate) fn end_processes(&mut self) {
        self.fillers.clear();
        for server in self.servers.values_mut().rev() {
            server.stand_still(false);
            server.end(Duration::from_secs(5));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end_processes();
        if std::thread::panicking() {
            println!("the logs are in {}", self.save_logs("panicked").display());
        }
        if let Some(cluster) = &self.cluster {
            leftovers::remove_containers(cluster.as_str());
        }
        self.disks.clear();
        leftovers::remove_folder(&self.folder);
    }
}

#[track_caller]
fn read_json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}
