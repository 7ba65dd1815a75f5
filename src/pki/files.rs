//! Keys and certificates as files: secrets are made in one step and for their owner alone.
//!
//! A secret is written beside its place and then linked to it: it is there whole or not at all, and a file that is
//! there already is never written over ([`create_secret`]). Certificates are for everybody to read, and may be replaced.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::pki::PkiError;

/// The longest file that is read, in bytes.
const MOST_BYTES: u64 = 1024 * 1024;

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Io { operation, path, source }
}

/// Reads a file. None: there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    let text = match File::open(path) {
        Ok(file) => io::read_to_string(io::Read::take(file, MOST_BYTES)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    };
    text.map(Some).map_err(failed("read", path))
}

/// Reads a file that nobody but its owner may read. None: there is none.
pub(super) fn read_secret(path: &Path) -> Result<Option<String>, PkiError> {
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode() & 0o777,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    if mode & 0o077 != 0 {
        return Err(PkiError::TooLoose { path: path.to_owned(), mode });
    }
    read(path)
}

/// What a file is to hold, durably, beside its place. One that a crash left there goes first: it may be a second name of
/// a file that counts, and is never written to.
fn draft(path: &Path, text: &str, mode: u32) -> io::Result<PathBuf> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&draft)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(draft)
}

/// Writes a secret that isn't there yet (0600), whole, durably. One that is there is an error. Blocks on the disk.
pub(super) fn create_secret(path: &Path, text: &str) -> Result<(), PkiError> {
    let write = || {
        let draft = draft(path, text, 0o600)?;
        // Fails where the name is taken, which a rename would not.
        fs::hard_link(&draft, path)?;
        fs::remove_file(&draft)?;
        sync_folder(path)
    };
    write().map_err(failed("create", path))
}

/// Writes what everybody may read (0644), whole or not at all, durably. Blocks on the disk.
pub(super) fn publish(path: &Path, text: &str) -> Result<(), PkiError> {
    let write = || {
        fs::rename(draft(path, text, 0o644)?, path)?;
        sync_folder(path)
    };
    write().map_err(failed("write", path))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_owners_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.key");
        assert_eq!(read_secret(&path).unwrap(), None);
        create_secret(&path, "1").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create_secret(&path, "2"), Err(PkiError::Io { .. })));
        assert_eq!(read_secret(&path).unwrap().as_deref(), Some("1"));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read_secret(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{} has the mode 0640; it must be 0600", path.display()));
    }

    #[test]
    fn what_a_crash_left_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (key, cert) = (folder.path().join("ca.key"), folder.path().join("ca.pem"));
        create_secret(&key, "secret").unwrap();
        // Between the link and the end of the draft's own name; and the same of a draft for the other file.
        for left in ["ca.key.new", "ca.pem.new"] {
            fs::hard_link(&key, folder.path().join(left)).unwrap();
        }
        publish(&cert, "certificate").unwrap();
        assert_eq!(read_secret(&key).unwrap().as_deref(), Some("secret"));
        assert_eq!(read(&cert).unwrap().as_deref(), Some("certificate"));
        publish(&key, "another").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
