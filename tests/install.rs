//! `scripts/install` into a folder, as packagers use it: what is put where with which rights, what is kept, what goes.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install");

/// What each unit must say, so that a server that was taken over harms its host as little as may be.
const HARDENED: [&str; 12] = [
    "User=podling",
    "StateDirectoryMode=0700",
    "UMask=0077",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallFilter=@system-service",
    "RestrictNamespaces=yes",
];

struct Host(TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(SCRIPT);
        command.args(words).arg("--destdir").arg(self.0.path()).output().unwrap()
    }

    #[track_caller]
    fn does(&self, words: &[&str]) {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Every file below the folder, with its rights.
    fn files(&self) -> Vec<String> {
        fn look(root: &Path, folder: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    look(root, &path, found);
                } else {
                    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
                    found.push(format!("{mode:04o} {}", path.strip_prefix(root).unwrap().display()));
                }
            }
        }
        let mut found = Vec::new();
        look(self.0.path(), self.0.path(), &mut found);
        found.sort_by_key(|line| line[5..].to_owned());
        found
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.path().join(path)).unwrap()
    }
}

fn binaries() -> &'static str {
    Path::new(env!("CARGO_BIN_EXE_podling")).parent().unwrap().to_str().unwrap()
}

const SETTINGS: [&str; 2] = ["0640 etc/podling/master.env", "0640 etc/podling/worker.env"];

#[test]
fn a_host_gets_what_it_needs_and_is_left_as_it_was() {
    let host = Host::new();
    host.does(&["master", "worker", "--bin-dir", binaries()]);
    let all = [
        SETTINGS[0],
        SETTINGS[1],
        "0644 etc/systemd/system/podling-master.service",
        "0644 etc/systemd/system/podling-worker.service",
        "0755 usr/local/bin/podling",
        "0755 usr/local/bin/podling-master",
        "0755 usr/local/bin/podling-worker",
    ];
    assert_eq!(host.files(), all);

    fs::write(host.0.path().join("etc/podling/worker.env"), "PODLING_CAPACITY=3\n").unwrap();
    host.does(&["master", "worker", "--bin-dir", binaries()]);
    assert_eq!(host.files(), all, "again, it is the same");
    assert_eq!(host.text("etc/podling/worker.env"), "PODLING_CAPACITY=3\n", "settings are the operator's");

    host.does(&["--uninstall"]);
    assert_eq!(host.files(), SETTINGS);
    host.does(&["--uninstall"]);
    host.does(&["--uninstall", "--purge"]);
    assert!(host.files().is_empty());
}

#[test]
fn units_leave_the_servers_nothing_that_they_do_not_need() {
    let host = Host::new();
    host.does(&["master", "worker", "--bin-dir", binaries()]);
    for name in ["master", "worker"] {
        let unit = host.text(&format!("etc/systemd/system/podling-{name}.service"));
        for line in HARDENED {
            assert!(unit.lines().any(|said| said == line), "{name}: {line}\n{unit}");
        }
        let start = format!("ExecStart=/usr/local/bin/podling-{name} --data-dir /var/lib/podling/{name}");
        assert!(unit.lines().any(|said| said == start), "{unit}");
        let speaks_to_docker = unit.contains("SupplementaryGroups=docker");
        assert_eq!(speaks_to_docker, name == "worker", "{unit}");
    }
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_done() {
    let host = Host::new();
    for (words, says) in [
        (&["mster"][..], "unknown word: mster"),
        (&["--purge"], "--purge goes with --uninstall"),
        (&["worker", "--uninstall"], "--uninstall takes no server"),
        (&["worker", "--bin-dir"], "--bin-dir needs a value"),
    ] {
        let mut command = Command::new(SCRIPT);
        let output = command.args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(says), "{words:?}: {said}");
    }
    let output = host.run(&["worker", "--bin-dir", "/nonexistent-podling"]);
    assert!(!output.status.success());
    assert!(host.files().is_empty());
}
