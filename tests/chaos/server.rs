//! One process of the cluster, a master or a worker: started, killed, stopped and watched, always by its own pid.
//!
//! Main type: [`Server`]. Unlike a test's other processes it may fail to start (its disk may be full), and whoever
//! probes it from another thread reads its [`Standing`].

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::checker::history::Millis;
use crate::part;
use crate::plan::Who;

/// What others may know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) pid: Option<u32>,
    /// It listens, and isn't stopped.
    pub(crate) serves: bool,
    /// Grows whenever one of the others changes.
    pub(crate) changes: u64,
}

/// What became of it since it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    Nothing,
    /// It listens now.
    Listens,
    /// It ended, and nobody had asked for that.
    Ended {
        status: ExitStatus,
        listened: bool,
    },
}

/// A process.
pub(crate) struct Server {
    pub(crate) who: Who,
    words: Vec<String>,
    folder: PathBuf,
    child: Option<Child>,
    listens: bool,
    stands_still: bool,
    standing: Arc<Mutex<Standing>>,
    /// When it is to be started again, having ended by itself.
    pub(crate) again: Option<Millis>,
}

impl Server {
    /// Not started yet. The first word is the program.
    pub(crate) fn new(folder: &Path, who: Who, words: Vec<String>) -> Self {
        let (folder, standing) = (folder.to_owned(), Arc::default());
        Self { who, words, folder, child: None, listens: false, stands_still: false, standing, again: None }
    }

    /// What another thread may watch it by.
    pub(crate) fn standing(&self) -> Arc<Mutex<Standing>> {
        Arc::clone(&self.standing)
    }

    /// Whether it listens, or would if it didn't stand still.
    pub(crate) const fn listens(&self) -> bool {
        self.listens
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.who);
        let out = File::create(self.file("out")).unwrap();
        let log = OpenOptions::new().create(true).append(true).open(self.file("log")).unwrap();
        let mut command = part::command(&self.folder, &self.words[0]);
        let child = command.args(&self.words[1..]).stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{} can't be run: {error}", self.words[0]));
        self.child = Some(child);
        self.again = None;
        (self.listens, self.stands_still) = (false, false);
        self.show();
    }

    /// Ends it as a crash would. One that has ended by itself stays ended.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.again = None;
        self.listens = false;
        self.show();
    }

    /// Has it end in order, or after `patience` at once.
    pub(crate) fn end(&mut self, patience: Duration) {
        if let Some(child) = &mut self.child {
            self.standing.lock().serves = false;
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            part::poll(patience, || child.try_wait().unwrap().map(drop));
        }
        self.kill();
    }

    /// Has it stand still (SIGSTOP), or go on. One that has ended does neither.
    pub(crate) fn stand_still(&mut self, still: bool) {
        let Some(child) = &mut self.child else { return };
        // The id of a process that was waited for may be somebody else's by now.
        if child.try_wait().unwrap().is_none() {
            let signal = if still { Signal::STOP } else { Signal::CONT };
            kill_process(Pid::from_child(child), signal).unwrap();
            self.stands_still = still;
            self.show();
        }
    }

    /// Looks at what became of it.
    pub(crate) fn notice(&mut self) -> Noticed {
        let Some(child) = &mut self.child else { return Noticed::Nothing };
        if let Some(status) = child.try_wait().unwrap() {
            self.child = None;
            let listened = std::mem::replace(&mut self.listens, false);
            self.show();
            return Noticed::Ended { status, listened };
        }
        let says = || std::fs::read_to_string(self.file("out")).unwrap_or_default();
        if !self.listens && says().starts_with("listening on ") {
            self.listens = true;
            self.show();
            return Noticed::Listens;
        }
        Noticed::Nothing
    }

    /// What it has said on stderr, in all its lives.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.file("log")).unwrap_or_default()).into_owned()
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.who))
    }

    fn show(&self) {
        let mut standing = self.standing.lock();
        let pid = self.child.as_ref().map(Child::id);
        let serves = self.listens && !self.stands_still;
        *standing = Standing { pid, serves, changes: standing.changes + 1 };
    }
}
