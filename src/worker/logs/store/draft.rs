//! A log file while it is being written.
//!
//! A [`Draft`] takes records one by one and keeps the newest that fit. It lets the file grow to twice its limit
//! before it copies the newest part into a new file: each byte is copied once at most on average, and nothing but
//! one record is held in memory. Usually nothing is copied, because the Engine keeps no more either.
//!
//! Invariant: a draft that isn't finished leaves no file behind, except where the process is killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::frame;
use crate::engine::LogRecord;

/// How a draft's file is called after the name of the log.
pub(super) const SUFFIX: &str = ".draft";

/// A log file that isn't whole yet.
pub(super) struct Draft {
    path: PathBuf,
    out: BufWriter<File>,
    /// Of the frames, the mark aside.
    bytes: u64,
    records: u64,
    limit_bytes: u64,
    is_kept: bool,
}

impl Draft {
    /// Begins a file that is to become `path`, and keeps the newest `limit_bytes` of what is written to it.
    pub(super) fn begin(path: &Path, limit_bytes: u64) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(SUFFIX);
        let path = PathBuf::from(name);
        let out = BufWriter::new(create(&path)?);
        let mut draft = Self { path, out, bytes: 0, records: 0, limit_bytes, is_kept: false };
        draft.out.write_all(frame::MARK)?;
        Ok(draft)
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &LogRecord) -> io::Result<()> {
        frame::write_record(record, &mut self.out)?;
        self.bytes += frame::size(record);
        self.records += 1;
        if self.bytes / 2 > self.limit_bytes { self.drop_oldest() } else { Ok(()) }
    }

    /// Makes it whole, gives it its name, durably, and says how many bytes it has.
    pub(super) fn finish(mut self, path: &Path) -> io::Result<u64> {
        self.drop_oldest()?;
        frame::write_end(self.records, &mut self.out)?;
        self.out.flush()?;
        self.out.get_ref().sync_data()?;
        let bytes = self.out.get_ref().metadata()?.len();
        fs::rename(&self.path, path)?;
        self.is_kept = true;
        Ok(bytes)
    }

    /// Keeps only the newest records that fit.
    fn drop_oldest(&mut self) -> io::Result<()> {
        if self.bytes <= self.limit_bytes {
            return Ok(());
        }
        self.out.flush()?;
        let mut source = BufReader::new(File::open(&self.path)?);
        source.seek(SeekFrom::Start(frame::MARK.len() as u64))?;
        while self.bytes > self.limit_bytes {
            let skipped = frame::skip(&mut source)?;
            self.bytes -= skipped;
            self.records -= 1;
        }
        // The old file lives on under `source`, without a name.
        fs::remove_file(&self.path)?;
        self.out = BufWriter::new(create(&self.path)?);
        self.out.write_all(frame::MARK)?;
        io::copy(&mut source.take(self.bytes), &mut self.out)?;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // What can't be removed now is when the store is opened next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}
