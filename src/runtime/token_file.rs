//! Where tokens are found: in a file that somebody named, or in the data folder of a master of this machine.
//!
//! A token is the first line of its file. The token that a master of this machine keeps for its owner is sent to nobody
//! but a master of this machine, so an address has to be read the same way by everybody: strictly.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::runtime::data_dir::first_line;

/// Where a master that was not told otherwise keeps its admin token, below the home folder.
const ADMIN_TOKEN: &str = ".local/share/podling/master/admin.token";

/// Reads the token in a file. Blocks on the disk.
///
/// # Errors
/// Says what is wrong, and names the file.
pub fn read(file: &Path) -> Result<String, String> {
    let refuse = |why: String| format!("{}: {why}", file.display());
    let text = fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    first_line(&text).ok_or_else(|| refuse("its first line is no token".to_owned()))
}

/// The file in which a master of this machine keeps a token for its owner.
pub fn of_own_master(home: &str) -> PathBuf {
    PathBuf::from(home).join(ADMIN_TOKEN)
}

/// Whether an address is of this machine alone.
pub fn is_loopback(url: &str) -> bool {
    host_of(url).is_some_and(|host| {
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// The host of `http://HOST[:PORT][/PATH]`, or of `https://`. Stricter than a URL may be: a name and password before the host, a
/// query or a fragment could make two readers see two hosts.
pub fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains(['?', '#', '\\']) || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let port_is_sound =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let host_is_sound = if authority.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    (port_is_sound && host_is_sound).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_first_line_and_what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(read(&file).unwrap_err().starts_with(&format!("{}: ", file.display())));
        fs::write(&file, "s3cret\nmore\n").unwrap();
        assert_eq!(read(&file).as_deref(), Ok("s3cret"));
        for bad in ["", "\n", "a b", "ä", "\nabc"] {
            fs::write(&file, bad).unwrap();
            assert!(read(&file).unwrap_err().ends_with("its first line is no token"), "{bad:?}");
        }
    }
}
