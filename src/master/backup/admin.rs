//! How a backup is asked for while the master runs: a socket in its data folder, which only its owner may enter.
//!
//! Whoever connects to `admin.sock` is sent a backup, or a line that begins with `error: `. The thread `admin` serves
//! one after the other. The store is read as it was at one moment; the journal goes on meanwhile.

use std::io::{self, BufWriter, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::format;
use crate::master::identity::Identity;
use crate::master::state::State;
use crate::runtime::supervise::Stop;

const SOCKET: &str = "admin.sock";

/// What a line begins with that says why no backup comes.
pub(super) const ERROR: &str = "error: ";

/// How often the thread looks whether somebody has connected.
const LOOK: Duration = Duration::from_millis(100);

/// How long a client may take to read on.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket, open.
pub(in crate::master) struct Admin {
    listener: UnixListener,
    state: std::sync::Arc<State>,
    who: Identity,
}

impl Admin {
    /// Opens the socket in the data folder, in place of one that an earlier process left.
    pub(in crate::master) fn open(folder: &Path, state: std::sync::Arc<State>) -> io::Result<Self> {
        let (path, _folder) = socket_in(folder)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let settings = state.settings();
        let who = Identity { cluster_id: settings.cluster.clone(), epoch: settings.epoch };
        Ok(Self { listener, state, who })
    }

    /// Body of the thread `admin`.
    pub(in crate::master) fn run(&self, stop: &Stop) {
        while !stop.wait(LOOK) {
            while let Ok((client, _)) = self.listener.accept() {
                match self.serve(client) {
                    Ok(()) => log::info!("backup made"),
                    Err(error) => log::warn!("a backup failed because={error}"),
                }
            }
        }
    }

    fn serve(&self, client: UnixStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        client.set_write_timeout(Some(PATIENCE))?;
        let mut out = BufWriter::new(client);
        let written = match self.state.journal().freeze() {
            Ok(frozen) => format::write(&mut out, &self.who, frozen.as_ref()),
            Err(error) => {
                writeln!(out, "{ERROR}failed to {error}")?;
                Err(format::FormatError::Store(error))
            }
        };
        out.flush()?;
        written.map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Connects to the master that runs on a data folder.
pub(super) fn connect(folder: &Path) -> io::Result<UnixStream> {
    let (path, _folder) = socket_in(folder)?;
    UnixStream::connect(path)
}

/// The socket's path, by way of the open folder: a socket's path may have 107 bytes only, a folder's may be longer.
fn socket_in(folder: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())), folder))
}
