//! A server's data folder: private, locked, written atomically.
//!
//! Main type: [`DataDir`]. The folder is for its owner alone (0700; one with a looser mode is refused, not mended:
//! somebody may have read it). It stays locked as long as the value lives, so that two processes never share one.
//!
//! Invariant: a file that was written by [`DataDir::write`] or by [`replace`] is there whole, or as it was before: the
//! former also after a crash of the machine, the latter only after one of the process.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// A folder that this process alone uses.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock until it is dropped.
    _lock: File,
}

/// Why a data folder can't be used.
#[derive(Debug)]
pub enum DataDirError {
    /// Another process has it.
    InUse(PathBuf),
    /// Others than its owner may enter it.
    TooLoose {
        /// Which folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others than its owner may read or write a secret in it.
    LooseFile {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file in it makes no sense.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refuses.
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(f, "{} is in use by another process", path.display()),
            Self::TooLoose { path, mode } => {
                write!(f, "{} has the mode {mode:04o}; it must be 0700", path.display())
            }
            Self::LooseFile { path, mode } => {
                write!(f, "{} has the mode {mode:04o}; it must be 0600", path.display())
            }
            Self::Damaged { path, why } => write!(f, "{} is damaged: {why}", path.display()),
            Self::Io { operation, path, source } => write!(f, "{operation} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for DataDirError {}

impl DataDir {
    /// Makes the folder where it isn't there, and locks it.
    ///
    /// # Errors
    /// It is in use, too open, or can't be made.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |operation, source| DataDirError::Io { operation, path: path.to_owned(), source };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| io("make the data folder", e))?;
        let mode =
            fs::metadata(path).map_err(|e| io("look at the data folder", e))?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(DataDirError::TooLoose { path: path.to_owned(), mode });
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(|e| io("lock the data folder", e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(e)) => Err(io("lock the data folder", e)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file's path in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file. None: there is none.
    ///
    /// # Errors
    /// The system refuses.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        match fs::read(self.file(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { operation: "read", path: self.file(name), source }),
        }
    }

    /// Reads a secret: the first line of a file that is its owner's alone. None: there is no such file.
    ///
    /// # Errors
    /// Others may read or write it, it is no line of text, or the system refuses.
    pub fn read_secret(&self, name: &str) -> Result<Option<String>, DataDirError> {
        let path = self.file(name);
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let found = fs::metadata(&path);
        let io = |source| DataDirError::Io { operation: "look at", path: path.clone(), source };
        let mode = found.map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(DataDirError::LooseFile { path, mode });
        }
        match String::from_utf8(bytes).ok().and_then(|text| first_line(&text)) {
            Some(line) => Ok(Some(line)),
            None => Err(DataDirError::Damaged { path, why: "its first line is no secret".to_owned() }),
        }
    }

    /// Makes a file (0600) that isn't there yet, with a secret as its one line, whole and durably. Blocks on the disk.
    ///
    /// # Errors
    /// It is there, or the system refuses.
    pub fn create_secret(&self, name: &str, secret: &str) -> Result<(), DataDirError> {
        let path = self.file(name);
        let make = || {
            let (draft, file) = draft(&path, format!("{secret}\n").as_bytes())?;
            file.sync_all()?;
            // A link, unlike a rename, is refused where the name is taken.
            let linked = fs::hard_link(&draft, &path);
            fs::remove_file(draft)?;
            linked?;
            File::open(&self.path)?.sync_all()
        };
        make().map_err(|source| DataDirError::Io { operation: "make", path: path.clone(), source })
    }

    /// Puts a secret in the place of what a file (0600) held. Blocks on the disk.
    ///
    /// # Errors
    /// The system refuses; the file is as it was.
    pub fn replace_secret(&self, name: &str, secret: &str) -> Result<(), DataDirError> {
        self.write(name, format!("{secret}\n").as_bytes())
    }

    /// Writes a file (0600), whole or not at all, and durably. Blocks on the disk.
    ///
    /// # Errors
    /// The system refuses; the file is as it was.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DataDirError> {
        let path = self.file(name);
        write(&path, bytes).map_err(|source| DataDirError::Io { operation: "write", path, source })
    }

    /// Removes a file, durably. One that isn't there is no error. Blocks on the disk.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove(&self, name: &str) -> Result<(), DataDirError> {
        let path = self.file(name);
        let removed = match fs::remove_file(&path) {
            Ok(()) => File::open(&self.path).and_then(|folder| folder.sync_all()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|source| DataDirError::Io { operation: "remove", path, source })
    }
}

/// The first line of a text, where it can be a secret: printable ASCII without spaces.
pub fn first_line(text: &str) -> Option<String> {
    let line = text.lines().next().unwrap_or_default().trim();
    let is_sound = !line.is_empty() && line.bytes().all(|b| b.is_ascii_graphic());
    is_sound.then(|| line.to_owned())
}

/// Writes a file (0600), whole or not at all, and durably. Blocks on the disk. One writer at a time for each file.
///
/// # Errors
/// The system refuses; the file is as it was.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (draft, file) = draft(path, bytes)?;
    file.sync_all()?;
    fs::rename(draft, path)?;
    // The rename itself is durable once the folder that holds the name is.
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Writes a file (0600), whole or not at all, for what is worth nothing after a crash of the machine: it doesn't wait
/// for the disk. One writer at a time for each file.
///
/// # Errors
/// The system refuses; the file is as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (draft, _) = draft(path, bytes)?;
    fs::rename(draft, path)
}

/// Writes what a file is to hold beside it. A draft that a crash left goes first: it may be a second name of the file
/// itself, and is never written to.
fn draft(path: &Path, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    Ok((draft, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_is_not_written_to() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("a")).unwrap();
        folder.create_secret("x", "first").unwrap();
        // A crash between the link and the end of the draft's own name.
        fs::hard_link(folder.file("x"), folder.file("x.new")).unwrap();
        let held = File::open(folder.file("x")).unwrap();
        folder.replace_secret("x", "second").unwrap();
        assert_eq!(io::read_to_string(held).unwrap(), "first\n");
        assert_eq!(folder.read_secret("x").unwrap().as_deref(), Some("second"));
        assert!(!folder.file("x.new").exists());
    }

    #[test]
    fn a_folder_is_private_and_has_one_user() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse(_))));
        drop(first);
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::TooLoose { mode: 0o750, .. })));
    }

    #[test]
    fn a_secret_is_its_owners_alone_and_is_made_once() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("data")).unwrap();
        assert_eq!(folder.read_secret("s").unwrap(), None);
        folder.create_secret("s", "s3cret").unwrap();
        assert!(matches!(folder.create_secret("s", "other"), Err(DataDirError::Io { .. })));
        assert_eq!(folder.read_secret("s").unwrap().as_deref(), Some("s3cret"));
        assert_eq!(fs::read(folder.file("s")).unwrap(), b"s3cret\n");
        assert_eq!(fs::metadata(folder.file("s")).unwrap().permissions().mode() & 0o777, 0o600);
        folder.replace_secret("s", "other").unwrap();
        assert_eq!(folder.read_secret("s").unwrap().as_deref(), Some("other"));
        assert!(!folder.file("s.new").exists());
        fs::set_permissions(folder.file("s"), Permissions::from_mode(0o640)).unwrap();
        let error = folder.read_secret("s").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} has the mode 0640; it must be 0600", folder.file("s").display())
        );
        folder.write("s", b" \n").unwrap();
        assert!(matches!(folder.read_secret("s"), Err(DataDirError::Damaged { .. })));
    }

    #[test]
    fn what_is_written_is_read() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("data")).unwrap();
        assert_eq!(folder.read("x").unwrap(), None);
        folder.write("x", b"1").unwrap();
        folder.write("x", b"2").unwrap();
        assert_eq!(folder.read("x").unwrap(), Some(b"2".to_vec()));
        replace(&folder.file("x"), b"3").unwrap();
        assert_eq!(folder.read("x").unwrap(), Some(b"3".to_vec()));
        assert!(!folder.file("x.new").exists());
        folder.remove("x").unwrap();
        folder.remove("x").unwrap();
        assert_eq!(folder.read("x").unwrap(), None);
    }
}
