//! A Docker Engine of the test's own, to be killed, stopped and started again while the machine's Engine goes on.
//!
//! It keeps everything in one temporary folder, listens on a socket there, and lives in a network namespace of its own,
//! so that it changes nothing of the machine's: its containers have no network, and it can pull nothing. Its containers'
//! control groups have a parent of their own, by which their processes are known.
//!
//! When a [`Dockerd`] is dropped, after a panic too, its containers, its processes (those whose command line names the
//! folder), its mounts and its control groups go with it. Where the test is killed instead, the kernel tells dockerd to
//! end. Needs root, as whole-machine faults do.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use ulid::Ulid;

use super::docker::{Api, IMAGE, engine};
use super::part::{LONG, poll, within};

/// Where control groups are: of version 1 one tree for each controller, of version 2 one tree in all.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What dockerd may take to end in an orderly way.
const ORDERLY: Duration = Duration::from_secs(20);

/// The programs that an Engine runs as.
const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim-runc-v2", "runc"];

/// An Engine, running or not.
pub(crate) struct Dockerd {
    folder: TempDir,
    child: Option<Child>,
    cgroup: String,
}

impl Dockerd {
    /// One that doesn't run yet.
    pub(crate) fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// The same, with its folder in another one.
    pub(crate) fn new_in(folder: &Path) -> Self {
        let folder = TempDir::new_in(folder).unwrap();
        fs::write(folder.path().join("daemon.json"), "{}").unwrap();
        Self { folder, child: None, cgroup: format!("podling-test-{}", Ulid::generate()) }
    }

    /// One that runs and has the sample image.
    pub(crate) fn with_image() -> Self {
        let mut own = Self::new();
        own.start();
        own.load_image();
        own
    }

    /// Where it listens, as a worker is told.
    pub(crate) fn host(&self) -> &'static str {
        // A test has one or two.
        Box::leak(format!("unix://{}", self.socket().display()).into_boxed_str())
    }

    pub(crate) fn api(&self) -> Api {
        Api::at(&self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// Starts it, and waits until it answers. Containers that ran when it was killed have ended then.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let place = |name: &str| self.folder.path().join(name);
        // What a killed one left: those numbers may be other processes' by now, or of one that nobody has waited for.
        for left in ["pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(place(left));
        }
        let log = OpenOptions::new().create(true).append(true).open(place("log")).unwrap();
        let mut command = Command::new("setpriv");
        // Order: a network of its own first. A dockerd that is to have no bridge deletes the one called docker0, which
        // is that of the machine's Engine.
        command.args(["--pdeathsig", "TERM", "unshare", "--net", "dockerd"]);
        // The machine's own settings count for the machine's Engine alone.
        command.arg("--config-file").arg(place("daemon.json"));
        command.arg("--data-root").arg(place("data")).arg("--exec-root").arg(place("exec"));
        command.arg("--pidfile").arg(place("pid")).args(["--host", self.host()]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent"]).arg(&self.cgroup);
        // Slow, and needs nothing of the file system below.
        command.arg("--storage-driver=vfs");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = self.child.insert(command.spawn().unwrap());
        let api = Api::at(&self.folder.path().join("engine.sock"));
        let answers = poll(LONG, || {
            let has_ended = child.try_wait().unwrap().is_some();
            (has_ended || api.answers()).then_some(!has_ended)
        });
        assert_eq!(answers, Some(true), "dockerd did not start: {}", self.log());
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Gives it the sample image.
    pub(crate) fn load_image(&self) {
        drop(engine());
        let archive = Api::here().does("GET", &format!("/images/{IMAGE}/get"), "", b"");
        self.api().does("POST", "/images/load", "Content-Type: application/x-tar\r\n", &archive);
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// Ends it and its containerd as a crash would. Containers go on, each with its shim.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
        // Its containerd is killed by the kernel when dockerd ends; a moment later it is by us.
        within(LONG, "its containerd has ended", || {
            let left = self.processes(&["containerd"]);
            kill(&left);
            left.is_empty().then_some(())
        });
    }

    /// Has it stand still (SIGSTOP). Whoever asks it something meanwhile waits.
    pub(crate) fn stand_still(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Has it go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// The processes of these programs whose command line names the folder.
    fn processes(&self, programs: &[&str]) -> Vec<Pid> {
        let folder = self.folder.path().as_os_str().as_encoded_bytes();
        let names_folder = |line: &[u8]| line.windows(folder.len()).any(|part| part == folder);
        let is_named = |line: &[u8]| {
            let program = line.split(|byte| *byte == 0 || *byte == b' ').next().unwrap_or_default();
            let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            programs.iter().any(|program| program.as_bytes() == name)
        };
        let numbers = fs::read_dir("/proc").unwrap().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        numbers
            .filter(|number| {
                let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
                is_named(&line) && names_folder(&line)
            })
            .filter_map(Pid::from_raw)
            .collect()
    }

    /// The folders of its control groups, the deepest first.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = vec![Path::new(CGROUPS).join(&self.cgroup)];
        let trees = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
        found.extend(trees.map(|tree| tree.path().join(&self.cgroup)));
        found.retain(|folder| folder.is_dir());
        let mut next = 0;
        while let Some(folder) = found.get(next) {
            let inner = fs::read_dir(folder).into_iter().flatten().flatten();
            let inner: Vec<_> = inner.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            found.extend(inner);
            next += 1;
        }
        found.reverse();
        found
    }

    /// Kills every process in its containers; whether there was none.
    fn kill_containers(&self) -> bool {
        let mut was_empty = true;
        for folder in self.cgroups() {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            for pid in text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
                was_empty = false;
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        was_empty
    }

    /// What is mounted in its folder, the last first.
    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned);
        let mut own: Vec<String> =
            points.filter(|point| Path::new(point).starts_with(self.folder.path())).collect();
        own.reverse();
        own
    }

    /// The sockets of shims, which they leave behind outside the folder when they are killed.
    fn shim_sockets(&self) -> Vec<PathBuf> {
        let tasks = self.folder.path().join("exec/containerd/daemon/io.containerd.runtime.v2.task/moby");
        let bundles = fs::read_dir(tasks).into_iter().flatten().flatten();
        let addresses = bundles.filter_map(|bundle| fs::read_to_string(bundle.path().join("address")).ok());
        addresses.filter_map(|address| address.strip_prefix("unix://").map(PathBuf::from)).collect()
    }

    fn end_processes(&mut self) {
        poll(ORDERLY, || self.kill_containers().then_some(()));
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_child(&child);
            let _ = kill_process(pid, Signal::CONT);
            let _ = kill_process(pid, Signal::TERM);
            poll(ORDERLY, || child.try_wait().unwrap());
            let _ = child.kill();
            let _ = child.wait();
        }
        poll(ORDERLY, || {
            let left = self.processes(&PROGRAMS);
            kill(&left);
            (left.is_empty() && self.kill_containers()).then_some(())
        });
    }
}

fn kill(processes: &[Pid]) {
    for pid in processes {
        // It may have ended meanwhile.
        let _ = kill_process(*pid, Signal::KILL);
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.end_processes();
        for socket in self.shim_sockets() {
            let _ = fs::remove_file(socket);
        }
        for point in self.mounts() {
            let _ = Command::new("umount").arg("--lazy").arg(point).status();
        }
        // A group is busy for a moment after its last process.
        poll(ORDERLY, || {
            self.cgroups().iter().for_each(|folder| drop(fs::remove_dir(folder)));
            self.cgroups().is_empty().then_some(())
        });
        let left = (self.processes(&PROGRAMS), self.mounts(), self.cgroups());
        if std::thread::panicking() {
            println!("---- dockerd ----\n{}\nleft of it: {left:?}", self.log());
        } else {
            assert_eq!(left, (Vec::new(), Vec::new(), Vec::new()), "left of a dockerd");
        }
    }
}
