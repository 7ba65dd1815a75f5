//! A file that appears whole or not at all, for its owner alone, and never in the place of another.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A file under another name until it is whole. Dropped before that, it is gone.
pub(super) struct Draft {
    pub(super) file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// Beside `target`, which must not be there.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        if target.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{}.draft", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path, target: target.to_owned() })
    }

    /// Makes it durable under its own name.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE)?;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it has its own name there is none of this name.
        let _ = fs::remove_file(&self.path);
    }
}
