//! Backup and restore with the real binary: while the master runs and while it doesn't, sound files and others.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(clippy::print_stdout, reason = "a test that failed says what its processes said")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/process.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use podling::api::wire::task::TaskView;
use podling::model::task::TaskStatus;
use serde_json::{Value, json};
use support::{Cluster, MasterOptions, Said, WorkerOptions};
use tempfile::TempDir;

/// `podling-master WORD FILE --data-dir D`.
fn master(word: &str, file: &Path, data: &Path) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podling-master"));
    command.env_clear().env("HOME", "/nonexistent").arg(word).arg(file).arg("--data-dir").arg(data);
    Said::of(command)
}

/// That it went wrong with this code and one line that says this.
#[track_caller]
fn refused(said: &Said, code: i32, says: &str) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert!(said.stderr.contains(says) && said.stderr.lines().count() == 1, "{said:?} doesn't say {says:?}");
}

fn task(name: &str, run_ms: u32) -> Value {
    json!({"name": name, "image": "hollow/task", "network": "none", "env": {"HOLLOW_RUN_MS": run_ms.to_string()}})
}

fn as_text(tasks: &[TaskView]) -> String {
    format!("{tasks:#?}")
}

/// What lies in a folder, with what it holds.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

/// A cluster that has run two tasks to their end, with a third one that waits.
fn cluster() -> Cluster {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.start_worker("worker-1", WorkerOptions { engine: "hollow", ..WorkerOptions::default() });
    for name in ["a", "b"] {
        let id = cluster.create(&task(name, 0)).task_id;
        cluster.wait_for_end(id.as_str());
    }
    cluster
        .ask("POST", "/api/v1/nodes/worker-1/availability", Some(json!({"availability": "cordoned"})))
        .unwrap();
    cluster.create(&task("c", 0));
    cluster
}

#[test]
fn what_is_backed_up_while_the_master_runs_comes_back() {
    let mut cluster = cluster();
    let files = TempDir::new().unwrap();
    let data = cluster.data_of_master();
    let (running, stopped) = (files.path().join("running"), files.path().join("stopped"));
    let before = as_text(&cluster.tasks());
    let said = master("backup", &running, &data);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains(&cluster.id), "{said:?}");
    assert_eq!(std::fs::metadata(&running).unwrap().permissions().mode() & 0o777, 0o600);
    refused(&master("backup", &running, &data), 1, "running");
    refused(&master("restore", &running, &data), 2, "is in use");

    cluster.create(&task("later", 0));
    let epoch = cluster.epoch();
    assert!(cluster.master.terminate().success());
    let later = master("backup", &stopped, &data);
    assert_eq!(later.code, Some(0), "{later:?}");
    assert_ne!(std::fs::read(&running).unwrap(), std::fs::read(&stopped).unwrap());

    let said = master("restore", &running, &data);
    assert_eq!(said.code, Some(0), "{said:?}");
    let marker = std::fs::read_to_string(data.join("quarantine")).unwrap();
    assert!(marker.starts_with("restored from ") && marker.lines().count() == 1, "{marker}");
    cluster.start_master_again();
    assert_eq!(as_text(&cluster.tasks()), before);
    assert!(cluster.epoch() > epoch);
    assert_eq!(cluster.id, cluster_id(&data));
    assert!(cluster.master.terminate().success());

    // The later one, into a folder that isn't there yet: another machine, say.
    let elsewhere = files.path().join("elsewhere");
    assert_eq!(master("restore", &stopped, &elsewhere).code, Some(0));
    assert_eq!(cluster_id(&elsewhere), cluster.id);
    assert!(elsewhere.join("quarantine").is_file());
    assert_eq!(std::fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o700);
    let again = files.path().join("again");
    assert_eq!(master("backup", &again, &elsewhere).code, Some(0));
    // All but the epoch in the second line and the hash at the end.
    let frames = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        let head = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0;
        bytes[head..bytes.len() - 32].to_vec()
    };
    assert!(frames(&again) == frames(&stopped), "what was restored is what was backed up");
}

fn cluster_id(data: &Path) -> String {
    let identity: Value = serde_json::from_slice(&std::fs::read(data.join("cluster.json")).unwrap()).unwrap();
    identity["cluster_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_file_that_is_no_sound_backup_changes_nothing() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.create(&task("a", 0));
    let files = TempDir::new().unwrap();
    let data = cluster.data_of_master();
    let sound = files.path().join("sound");
    assert_eq!(master("backup", &sound, &data).code, Some(0));
    assert!(cluster.master.terminate().success());
    let (before, bytes) = (contents(&data), std::fs::read(&sound).unwrap());
    let with = |name: &str, bytes: &[u8]| {
        let path = files.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    for (path, says) in [
        (with("changed", &changed), "changed is damaged: "),
        (with("cut", &bytes[..bytes.len() - 1]), "cut is damaged: it is cut short"),
        (with("empty", b""), "empty is not a backup of a master"),
        (with("foreign", &std::fs::read(data.join("state.redb")).unwrap()), "foreign is not a backup"),
        (with("later", b"podling-backup 9\n{}\n"), "later has the format 9, which a later version wrote"),
        (files.path().join("missing"), "failed to open"),
    ] {
        refused(&master("restore", &path, &data), 1, says);
        assert!(contents(&data) == before, "{says}");
        let fresh = files.path().join("fresh");
        refused(&master("restore", &path, &fresh), 1, says);
        assert!(!fresh.exists());
    }
    refused(
        &master("backup", &files.path().join("x"), &files.path().join("fresh")),
        1,
        "holds no master's state",
    );
    refused(&master("backup", &sound, &data), 1, "sound");
    assert!(!files.path().join("x").exists() && !files.path().join("fresh").exists());
    assert_eq!(std::fs::read(&sound).unwrap(), bytes);
    let names: Vec<_> =
        contents(files.path()).into_iter().filter(|(path, _)| path.ends_with("draft")).collect();
    assert!(names.is_empty());
    cluster.start_master_again();
    assert_eq!(cluster.task("a").status, TaskStatus::Pending);
}

#[test]
fn a_store_that_is_kept_in_memory_says_so_and_a_second_master_is_refused() {
    let cluster = Cluster::start(MasterOptions { store: "memory", ..MasterOptions::default() });
    let files = TempDir::new().unwrap();
    let target = files.path().join("backup");
    let data = cluster.data_of_master();
    refused(&master("backup", &target, &data), 1, "it is kept in memory alone");
    assert!(std::fs::read_dir(files.path()).unwrap().next().is_none());
    let mut second = Command::new(env!("CARGO_BIN_EXE_podling-master"));
    second.env_clear().args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
    refused(&Said::of(second), 2, "is in use");
}

#[test]
fn a_store_that_is_damaged_or_of_a_later_version_is_refused_by_name() {
    let mut cluster = Cluster::start(MasterOptions::default());
    cluster.create(&task("a", 0));
    assert!(cluster.master.terminate().success());
    let data = cluster.data_of_master();
    let store = data.join("state.redb");
    let sound = std::fs::read(&store).unwrap();
    std::fs::write(&store, vec![b'x'; 100_000]).unwrap();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podling-master"));
        command.env_clear().args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
        Said::of(command)
    };
    refused(&start(), 1, "state.redb is damaged: ");
    std::fs::write(&store, &sound).unwrap();
    {
        let database = redb::Database::open(&store).unwrap();
        let write = database.begin_write().unwrap();
        let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
        write.open_table(meta).unwrap().insert("format", 99).unwrap();
        write.commit().unwrap();
    }
    refused(&start(), 1, "state.redb has the format 99, which a later version wrote");
    std::fs::write(&store, &sound).unwrap();
    cluster.start_master_again();
    assert_eq!(cluster.task("a").status, TaskStatus::Pending);
}
