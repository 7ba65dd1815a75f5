//! One process of a cluster: started, watched from outside, ended by its own id. What it says on stderr is kept in a
//! file, for whoever must find out why a test failed.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use podling::runtime::clock;
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here should take, on a busy machine too.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// How often a state that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(15);

/// Looks again and again until `look` finds something. None: the deadline passed.
pub(crate) fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = clock::mono() + deadline;
    loop {
        let found = look();
        if found.is_some() || clock::mono() >= end {
            return found;
        }
        std::thread::park_timeout(LOOK);
    }
}

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn within<T>(deadline: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    match poll(deadline, look) {
        Some(found) => found,
        None => panic!("{what}: not within {deadline:?}"),
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    within(LONG, what, || is_so().then_some(()));
}

/// What a process has of what it could leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
}

impl Counts {
    /// Whether this is `baseline` again, give or take a tenth (I16 of the reliability rules) and a connection or two
    /// that are kept alive.
    pub(crate) fn is_back_to(self, baseline: Self) -> bool {
        let most = |count: usize| count + count / 10 + 4;
        self.threads <= most(baseline.threads) && self.descriptors <= most(baseline.descriptors)
    }
}

/// A process that serves.
pub(crate) struct Part {
    name: String,
    program: String,
    words: Vec<String>,
    folder: PathBuf,
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Part {
    /// Starts `program` and waits until it says where it listens. `folder` takes what it writes, and holds its home.
    #[track_caller]
    pub(crate) fn start(folder: &Path, name: &str, program: &str, words: Vec<String>) -> Self {
        let child = spawn(folder, name, program, &words);
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let (name, program) = (name.to_owned(), program.to_owned());
        let mut part = Self { name, program, words, folder: folder.to_owned(), child, address };
        part.address = part.wait_for_address();
        part
    }

    /// Starts it again with the same words; those listed are replaced first.
    #[track_caller]
    pub(crate) fn start_again(&mut self, replaced: &[(&str, &str)]) {
        assert!(self.has_ended(), "{} still runs", self.name);
        for (from, to) in replaced {
            self.words.iter_mut().filter(|word| word == from).for_each(|word| (*to).clone_into(word));
        }
        self.child = spawn(&self.folder, &self.name, &self.program, &self.words);
        self.address = self.wait_for_address();
    }

    #[track_caller]
    fn wait_for_address(&mut self) -> SocketAddr {
        let out = self.folder.join(format!("{}.out", self.name));
        within(LONG, &format!("{} listens", self.name), || {
            let text = std::fs::read_to_string(&out).unwrap_or_default();
            let line = text.split_once('\n').map(|(line, _)| line.to_owned());
            if line.is_none() && self.has_ended() {
                panic!("{} did not start: {}", self.name, self.log());
            }
            line.map(|line| {
                let address = line.strip_prefix("listening on ").and_then(|url| url.split_once("://"));
                let address = address.and_then(|(_, text)| text.parse().ok());
                address.unwrap_or_else(|| panic!("{} said {line:?} first", self.name))
            })
        })
    }

    /// Gives it one word more from its next start on.
    pub(crate) fn also(&mut self, word: &str) {
        self.words.push(word.to_owned());
    }

    /// Has it stand still (SIGSTOP), until it is to go on.
    pub(crate) fn stand_still(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// Has it go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it as a crash would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends TERM, unless it has ended already.
    pub(crate) fn ask_to_end(&mut self) {
        // The id of a process that was waited for may be somebody else's by now.
        if !self.has_ended() {
            let _ = kill_process(self.pid(), Signal::TERM);
        }
    }

    /// Sends TERM and waits for the end.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        within(LONG, &format!("{} ends when told to", self.name), || self.child.try_wait().unwrap())
    }

    /// Waits a little for its end, then makes one.
    pub(crate) fn end(&mut self, patience: Duration) {
        poll(patience, || self.has_ended().then_some(()));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has said on stderr so far, in all its lives.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join(format!("{}.log", self.name))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The log under a heading.
    pub(crate) fn told_log(&self) -> String {
        format!("---- {} ----\n{}", self.name, self.log())
    }

    pub(crate) fn counts(&self) -> Counts {
        let entries =
            |kind: &str| std::fs::read_dir(format!("/proc/{}/{kind}", self.child.id())).unwrap().count();
        Counts { threads: entries("task"), descriptors: entries("fd") }
    }

    /// The counts once they stand still: it has opened all that it keeps open.
    pub(crate) fn at_rest(&self) -> Counts {
        const STILL: Duration = Duration::from_millis(700);
        let (mut last, mut since) = (self.counts(), clock::mono());
        within(LONG, &format!("{} is at rest", self.name), || {
            let now = self.counts();
            if now != last {
                (last, since) = (now, clock::mono());
            }
            (clock::mono().since(since) >= STILL).then_some(last)
        })
    }

    /// Waits until it has let go of what it took since `baseline`.
    #[track_caller]
    pub(crate) fn comes_back_to(&self, baseline: Counts) {
        let back = poll(LONG, || self.counts().is_back_to(baseline).then_some(()));
        assert!(back.is_some(), "{}: {baseline:?} before, {:?} after {LONG:?}", self.name, self.counts());
    }
}

/// The environment holds nothing of whoever runs the tests but what finds programs and Docker.
pub(crate) fn command(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let home = folder.join("home");
    std::fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).stdin(Stdio::null());
    let kept = ["PATH", "DOCKER_HOST"].into_iter();
    command.envs(kept.filter_map(|name| std::env::var_os(name).map(|value| (name, value))));
    command
}

fn spawn(folder: &Path, name: &str, program: &str, words: &[String]) -> Child {
    let out = File::create(folder.join(format!("{name}.out"))).unwrap();
    let log = OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap();
    let spawned = command(folder, program).args(words).stdout(out).stderr(log).spawn();
    spawned.unwrap_or_else(|error| panic!("{program} can't be run: {error}"))
}
