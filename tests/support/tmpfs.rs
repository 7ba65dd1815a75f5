//! A small file system of its own, to be filled up. Needs root, as whole-machine faults do.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Mounted until it is dropped.
pub(crate) struct Tmpfs(TempDir);

impl Tmpfs {
    /// `size` as mount reads it: `8m`. For its owner alone, as a data folder must be.
    #[track_caller]
    pub(crate) fn mount(size: &str) -> Self {
        Self::mount_in(&std::env::temp_dir(), size)
    }

    /// The same, at a new place in a folder.
    #[track_caller]
    pub(crate) fn mount_in(folder: &Path, size: &str) -> Self {
        let folder = TempDir::new_in(folder).unwrap();
        let options = format!("size={size},mode=0700");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "mounting a tmpfs needs root: {output:?}");
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes up all room that is left, until the value is dropped.
    pub(crate) fn fill(&self) -> Filler {
        let filler = Filler(self.path().join("filler"));
        filler.take_what_is_left();
        filler
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazy: a process that a test left behind must not keep the rest from being cleaned up.
        let done = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// All the room that was left.
pub(crate) struct Filler(PathBuf);

impl Filler {
    /// Takes up what has become free since.
    pub(crate) fn take_what_is_left(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
