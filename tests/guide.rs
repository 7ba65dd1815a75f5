//! The guide, typed as it stands: every command of `docs/GUIDE.md` is run, in order, by a shell, with the real binaries
//! on real Docker, and the screen is compared with what the guide says.
//!
//! What differs from day to day (ids, times, ports) is made equal on both sides first: see [`screen`]. A command that
//! only reads is run again until its screen is right, because a cluster takes a moment to get there; any other is run
//! once. A line `...` of the guide stands for any lines.
//!
//! `PODLING_GUIDE_WRITE=FILE cargo test --test guide` writes the guide with what the commands said just now to FILE,
//! for whoever changes it.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[path = "guide/pages.rs"]
mod pages;
#[path = "guide/screen.rs"]
mod screen;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pages::{Page, Step};
use support::part::{LONG, poll};
use support::{Cluster, MasterOptions, Said, WorkerOptions};
use tempfile::TempDir;

/// The host port that the guide publishes. A test must not rely on it: it takes a free one instead.
const PORT: &str = "8080";

/// How long the screen of a command that reads may take to become right, while the guide is being written.
const WRITING: Duration = Duration::from_secs(3);

/// Who types the commands, and where.
struct Desk {
    cluster: Cluster,
    folder: TempDir,
    port: String,
}

impl Desk {
    /// Three workers as the head of the guide describes them.
    fn new() -> Self {
        let mut cluster =
            Cluster::start(MasterOptions { node_timeout_ms: 6_000, ..MasterOptions::default() });
        let labels: [&[&str]; 3] = [
            &["--cpu", "4", "--memory", "8Gi", "--label", "disk=ssd", "--label", "zone=north"],
            &["--cpu", "4", "--memory", "8Gi", "--label", "disk=hdd", "--label", "zone=north"],
            &["--cpu", "4", "--memory", "8Gi", "--label", "disk=hdd", "--label", "zone=south"],
        ];
        for (number, more) in (1..).zip(labels) {
            let options = WorkerOptions { capacity: 10, more, ..WorkerOptions::default() };
            cluster.start_worker(&format!("worker-{number}"), options);
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let desk = Self { cluster, folder: tempfile::tempdir().unwrap(), port: free.to_string() };
        desk.furnish();
        desk
    }

    /// The programs that the guide uses: `podling`, and an `ssh` that knows how to stop a worker.
    fn furnish(&self) {
        let programs = self.programs();
        std::fs::create_dir(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_podling"), programs.join("podling")).unwrap();
        let stop = |number| {
            let id = format!("worker-{number}");
            format!("{id}) kill -TERM {} ;;\n", self.cluster.worker(&id).pid().as_raw_nonzero())
        };
        let cases: String = (1..=3).map(stop).collect();
        let ssh = programs.join("ssh");
        std::fs::write(&ssh, format!("#!/bin/sh\ncase $1 in\n{cases}*) exit 255 ;;\nesac\n")).unwrap();
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// With the port that is used instead.
    fn here(&self, text: &str) -> String {
        text.replace(PORT, &self.port)
    }

    /// What the screen shows once a command has ended, its exit code in the last line unless that is 0.
    fn type_in(&self, command: &str) -> String {
        let mut shell = support::part::command(self.folder.path(), "timeout");
        shell.args(["--foreground", "--signal=KILL", "60", "sh", "-c"]);
        shell.arg(format!("exec 2>&1\n{}", self.here(command)));
        let before = std::env::var("PATH").unwrap();
        shell.env("PATH", format!("{}:{before}", self.programs().display()));
        shell.env("PODLING_MASTER", self.cluster.master.url());
        shell.env("PODLING_TOKEN_FILE", self.cluster.admin_token_file());
        shell.current_dir(self.home());
        let said = Said::of(shell);
        let code = match said.code {
            Some(0) => String::new(),
            code => format!("[exit {}]\n", code.map_or_else(|| "?".to_owned(), |code| code.to_string())),
        };
        let newline = if said.stdout.is_empty() || said.stdout.ends_with('\n') { "" } else { "\n" };
        format!("{}{newline}{code}", said.stdout)
    }

    fn home(&self) -> PathBuf {
        let home = self.folder.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        home
    }

    /// Runs one command and gives the screen. One that only reads has so long to become right.
    fn follow(&self, step: &Step, patience: Duration) -> (String, bool) {
        let expected = self.here(&step.screen);
        let mut shown = String::new();
        let mut is_right = || {
            shown = self.type_in(&step.command);
            screen::matches(&step.command, &expected, &shown).then_some(())
        };
        let right = if step.only_reads() { poll(patience, is_right) } else { is_right() };
        let is_right = right.is_some();
        (shown, is_right)
    }
}

fn guide() -> Vec<Page> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/GUIDE.md");
    pages::read(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn the_guide_is_true() {
    let desk = Desk::new();
    let writes = std::env::var_os("PODLING_GUIDE_WRITE");
    let mut written = String::new();
    for page in guide() {
        match page {
            Page::Text(text) => written += &text,
            Page::File { name, content } => std::fs::write(desk.home().join(name), content).unwrap(),
            Page::Step(step) if writes.is_some() => {
                let (shown, _) = desk.follow(&step, WRITING);
                written += &format!("$ {}\n{}", step.command, shown.replace(&desk.port, PORT));
            }
            Page::Step(step) => {
                let (shown, is_right) = desk.follow(&step, LONG);
                let (line, command, expected) = (step.line, &step.command, &step.screen);
                assert!(
                    is_right,
                    "docs/GUIDE.md:{line}: $ {command}\n-- the guide says\n{expected}-- the screen says\n{shown}"
                );
            }
        }
    }
    if let Some(path) = writes {
        std::fs::write(path, written).unwrap();
    }
}

/// Each command is in the guide: what is built is told of.
#[test]
fn the_guide_knows_every_command() {
    let steps = guide().into_iter().filter_map(|page| match page {
        Page::Step(step) => Some(step.command),
        Page::Text(_) | Page::File { .. } => None,
    });
    let typed: Vec<String> = steps.collect();
    let overview = Command::new(env!("CARGO_BIN_EXE_podling")).arg("help").output().unwrap();
    let overview = String::from_utf8(overview.stdout).unwrap();
    let listed = overview.lines().skip_while(|line| !line.is_empty()).skip(3);
    let names: Vec<&str> = listed.map_while(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"run") && names.contains(&"help"), "{overview}");
    for name in names {
        let is_it = |line: &String| {
            line.split("podling ").skip(1).any(|rest| rest.split_whitespace().next() == Some(name))
        };
        assert!(typed.iter().any(is_it), "the guide never types podling {name}");
    }
}
