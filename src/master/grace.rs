//! From when on a master that was started may judge nodes: not before whatever lease the master before it granted, and
//! what runs under that, has ended.
//!
//! That is one node timeout, the longer one of this start's and the last one's. Workers keep the last one's lease until
//! they have registered with this one.

use std::time::Duration;

use crate::api::wire::millis;
use crate::model::time::Mono;
use crate::runtime::data_dir::{DataDir, DataDirError};

const FILE: &str = "node-timeout-ms";

/// When the first node may be judged, and makes the data folder remember this start's timeout. Blocks on the disk.
///
/// # Errors
/// The file can't be read or written.
pub fn first_judgement(folder: &DataDir, node_timeout: Duration, now: Mono) -> Result<Mono, DataDirError> {
    let (own, held) = (millis(node_timeout).to_string(), folder.read(FILE)?);
    let last = held.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok());
    if held.as_deref() != Some(own.as_bytes()) {
        folder.write(FILE, own.as_bytes())?;
    }
    Ok(now + node_timeout.max(Duration::from_millis(last.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_two_timeouts_must_have_passed() {
        let outer = tempfile::tempdir().unwrap();
        let folder = DataDir::open(&outer.path().join("m")).unwrap();
        let at = |secs| Mono::from_boot(Duration::from_secs(secs));
        let start = |timeout| first_judgement(&folder, Duration::from_secs(timeout), at(100)).unwrap();
        assert_eq!(start(30), at(130));
        assert_eq!(start(2), at(130), "workers hold a lease of the longer one");
        assert_eq!(start(2), at(102));
        assert_eq!(start(60), at(160));
        folder.write(FILE, b"nonsense").unwrap();
        assert_eq!(start(5), at(105));
    }
}
