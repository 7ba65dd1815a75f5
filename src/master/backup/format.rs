//! What a backup looks like: two lines, frames, and a hash over all of it.
//!
//! ```text
//! podling-backup 1
//! {"cluster_id":"…","epoch":1795609904}
//! (kind, 1 byte: P or R) (position, 8 bytes) (length, 4 bytes) (bytes)     as often as there are parts and records
//! E (SHA-256 of all before the E)
//! ```
//!
//! Numbers have their least significant byte first. A part of a snapshot (`P`) and a record (`R`) are what the store
//! gives back. Whatever was cut short or changed is noticed, so a backup is taken whole or not at all.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use sha2::{Digest, Sha256};

use crate::master::identity::Identity;
use crate::model::id::Revision;
use crate::store::{Frozen, StoreError, Stored};

const MAGIC: &str = "podling-backup ";
const FORMAT: u64 = 1;

/// The longest of the two lines, in bytes.
const LONGEST_LINE: u64 = 4096;

/// Why no backup came out, or none can be read.
#[derive(Debug)]
pub(super) enum FormatError {
    /// It doesn't begin like one.
    Foreign,
    /// A later version wrote it.
    TooNew(u64),
    /// It was changed or cut short.
    Damaged(String),
    /// The stream refuses.
    Io(io::Error),
    /// What it is read from or copied to refuses.
    Store(StoreError),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("this is not a backup of a master"),
            Self::TooNew(format) => write!(f, "it has the format {format}, which a later version wrote"),
            Self::Damaged(why) => f.write_str(why),
            Self::Io(error) => error.fmt(f),
            Self::Store(error) => write!(f, "failed to {error}"),
        }
    }
}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Damaged("it is cut short".to_owned());
        }
        Self::Io(error)
    }
}

/// Writes all that a store holds. Blocks on both.
///
/// # Errors
/// What was written until then is no backup.
pub(super) fn write(out: &mut dyn Write, who: &Identity, frozen: &dyn Frozen) -> Result<(), FormatError> {
    let mut out = Hashed { inner: out, hash: Sha256::new() };
    let head = serde_json::to_string(who).map_err(|error| FormatError::Io(error.into()))?;
    out.put(format!("{MAGIC}{FORMAT}\n{head}\n").as_bytes())?;
    let mut failure = None;
    let given = frozen.replay(&mut |stored| {
        let (kind, at, bytes) = match stored {
            Stored::Part(at, bytes) => (b'P', at, bytes),
            Stored::Record(at, bytes) => (b'R', at, bytes),
        };
        out.frame(kind, at, bytes).map_err(|error| {
            let why = error.to_string();
            failure = Some(error);
            StoreError::Io { operation: "copy", why }
        })
    });
    if let Some(error) = failure {
        return Err(FormatError::Io(error));
    }
    given.map_err(FormatError::Store)?;
    let hash = out.hash.finalize();
    out.inner.write_all(b"E").and_then(|()| out.inner.write_all(&hash)).and_then(|()| out.inner.flush())?;
    Ok(())
}

/// A stream, with the hash of what went into it.
struct Hashed<'a> {
    inner: &'a mut dyn Write,
    hash: Sha256,
}

impl Hashed<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }

    fn frame(&mut self, kind: u8, at: Revision, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut head = [0; 13];
        head[0] = kind;
        head[1..9].copy_from_slice(&at.0.to_le_bytes());
        head[9..].copy_from_slice(&length.to_le_bytes());
        self.put(&head)?;
        self.put(bytes)
    }
}

/// Reads a backup to its end and gives each thing in it; says whose it is. What was given counts only once this has
/// returned without an error.
///
/// # Errors
/// It isn't one, can't be read, or `each` refused something.
pub(super) fn read(
    input: &mut dyn Read,
    each: &mut dyn FnMut(Stored<'_>) -> Result<(), StoreError>,
) -> Result<Identity, FormatError> {
    let mut input = Checked { inner: BufReader::new(input), hash: Sha256::new() };
    let first = input.line()?;
    let format = first.strip_prefix(MAGIC).and_then(|number| number.parse().ok());
    match format.ok_or(FormatError::Foreign)? {
        FORMAT => {}
        later => return Err(FormatError::TooNew(later)),
    }
    let who = serde_json::from_str(&input.line()?);
    let who = who.map_err(|error| FormatError::Damaged(format!("its second line: {error}")))?;
    loop {
        let hash = input.hash.clone().finalize();
        let kind = input.number::<1>()?[0];
        if kind == b'E' {
            if input.number::<32>()? != <[u8; 32]>::from(hash) || !input.inner.fill_buf()?.is_empty() {
                return Err(FormatError::Damaged("its hash is wrong".to_owned()));
            }
            return Ok(who);
        }
        let at = Revision(u64::from_le_bytes(input.number()?));
        let bytes = input.bytes()?;
        let stored = match kind {
            b'P' => Stored::Part(at, &bytes),
            b'R' => Stored::Record(at, &bytes),
            other => return Err(FormatError::Damaged(format!("a frame of the kind {other}"))),
        };
        each(stored).map_err(FormatError::Store)?;
    }
}

/// A stream, with the hash of what came out of it.
struct Checked<'a> {
    inner: BufReader<&'a mut dyn Read>,
    hash: Sha256,
}

impl Checked<'_> {
    /// A line of the head. What has no such line is no backup.
    fn line(&mut self) -> Result<String, FormatError> {
        let mut line = Vec::new();
        (&mut self.inner).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        self.hash.update(&line);
        let text = String::from_utf8(line).map_err(|_| FormatError::Foreign)?;
        text.strip_suffix('\n').map(str::to_owned).ok_or(FormatError::Foreign)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    /// What a length says that there is. A wrong length costs no memory that isn't there to be read.
    fn bytes(&mut self) -> Result<Vec<u8>, FormatError> {
        let length = u64::from(u32::from_le_bytes(self.number()?));
        let mut bytes = Vec::new();
        let read = (&mut self.inner).take(length).read_to_end(&mut bytes)?;
        if u64::try_from(read).unwrap_or(0) < length {
            return Err(FormatError::Damaged("it is cut short".to_owned()));
        }
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::Epoch;
    use crate::store::Each;

    struct Fixed;

    impl Frozen for Fixed {
        fn replay(&self, each: &mut Each<'_>) -> Result<(), StoreError> {
            each(Stored::Part(Revision(7), b"part"))?;
            each(Stored::Record(Revision(8), b""))?;
            each(Stored::Record(Revision(9), b"record"))
        }
    }

    fn written() -> Vec<u8> {
        let who = Identity { cluster_id: "c0000000000000000000000000".parse().unwrap(), epoch: Epoch(5) };
        let mut bytes = Vec::new();
        write(&mut bytes, &who, &Fixed).unwrap();
        bytes
    }

    fn read_back(mut bytes: &[u8]) -> Result<(Identity, String), FormatError> {
        let mut all = String::new();
        let who = read(&mut bytes, &mut |stored| {
            all.push_str(&format!("{stored:?}"));
            Ok(())
        })?;
        Ok((who, all))
    }

    #[test]
    fn what_is_written_is_read() {
        let (who, all) = read_back(&written()).unwrap();
        assert_eq!(who.epoch, Epoch(5));
        let part = Stored::Part(Revision(7), b"part");
        let records = [Stored::Record(Revision(8), b""), Stored::Record(Revision(9), b"record")];
        assert_eq!(all, format!("{part:?}{:?}{:?}", records[0], records[1]));
    }

    #[test]
    fn no_changed_byte_and_no_cut_goes_unnoticed() {
        let sound = written();
        for at in 0..sound.len() {
            let mut changed = sound.clone();
            changed[at] ^= 1;
            assert!(read_back(&changed).is_err(), "byte {at}");
            assert!(read_back(&sound[..at]).is_err(), "cut at {at}");
        }
        assert!(read_back(&[sound, b"x".to_vec()].concat()).is_err());
        assert!(matches!(read_back(b"podling-backup 2\n{}\n"), Err(FormatError::TooNew(2))));
        assert!(matches!(read_back(b"redb\x1a\x0a"), Err(FormatError::Foreign)));
    }
}
