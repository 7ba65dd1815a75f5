//! What a run that was killed left behind: found by its name, which holds the pid, and removed once that process is
//! gone. Nothing that isn't named like this is touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use podling::engine::LABEL_CLUSTER;
use rustix::process::{Pid, Signal, kill_process};

use crate::engine_api::EngineApi;
use crate::net;

/// What a run's folder and namespaces are called, before the pid.
pub(crate) const PREFIX: &str = "podling-chaos-";

/// The file in a run's folder that holds the cluster's id.
pub(crate) const CLUSTER: &str = "cluster-id";

/// A run's folder.
pub(crate) fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Removes what runs left whose process is gone.
pub(crate) fn sweep() {
    for pid in pids().into_iter().filter(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
        let name = format!("{PREFIX}{pid}");
        println!("removing what {name} left behind");
        let folder = folder(&name);
        kill_all_naming(&folder);
        if let Ok(cluster) = std::fs::read_to_string(folder.join(CLUSTER)) {
            remove_containers(&cluster);
        }
        net::remove(&name);
        unmount_below(&folder);
        remove_folder(&folder);
    }
}

/// Whose names are still there.
fn pids() -> Vec<u32> {
    let mut names = net::names(PREFIX.trim_end_matches('-'));
    let folders = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    names.extend(folders.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let pid = |name: &String| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok();
    let mut pids: Vec<u32> = names.iter().filter_map(pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Kills the processes whose command line names a place in a folder of ours: masters, workers, Engines.
fn kill_all_naming(folder: &Path) {
    let place = format!("{}/", folder.display());
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in numbers.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&place)
    }) {
        let number = entry.file_name().to_str().and_then(|number| number.parse().ok());
        if let Some(pid) = number.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<&str> = places.filter(|place| Path::new(place).starts_with(folder)).collect();
    // The innermost first.
    below.sort_unstable_by_key(|place| std::cmp::Reverse(place.len()));
    for place in below {
        let _ = Command::new("umount").args(["--lazy", place]).status();
    }
}

pub(crate) fn remove_folder(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder)
        && folder.exists()
    {
        println!("{} is left: {error}", folder.display());
    }
}

/// Removes every container of the machine's Engine that carries a cluster's label. What a worker had asked for when it was killed may still
/// appear: hence until there is none.
pub(crate) fn remove_containers(cluster: &str) {
    let engine = EngineApi::of_machine();
    for _ in 0..30 {
        match engine.containers(&format!("{LABEL_CLUSTER}={cluster}")) {
            Ok(left) if left.is_empty() => return,
            Ok(left) => left.iter().for_each(|container| engine.remove(&container.id)),
            Err(error) => println!("containers of the cluster {cluster} may be left: {error}"),
        }
    }
    println!("containers of the cluster {cluster} are left on {}", engine.host());
}
