//! Where the Engine listens: a unix socket, or TCP on loopback.
//!
//! TCP beyond loopback is refused: whoever can talk to an Engine without a certificate is root on its machine,
//! and whoever listens on the way reads every environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::engine::EngineError;

/// Where an Engine listens unless it was told otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// An Engine's address, resolved once and for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A port on this machine.
    Loopback(SocketAddr),
}

impl Address {
    /// Reads a value of `DOCKER_HOST`; nothing, or an empty text, is the default socket.
    pub(super) fn parse(host: Option<&str>) -> Result<Self, EngineError> {
        let host = host.unwrap_or_default();
        if host.is_empty() {
            return Ok(Self::Unix(PathBuf::from(DEFAULT_SOCKET)));
        }
        if let Some(path) = host.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(refuse(host, "the socket's path must be absolute: unix:///path"))
            };
        }
        let Some(authority) = host.strip_prefix("tcp://") else {
            return Err(refuse(host, "it must be unix:///path or tcp://127.0.0.1:port"));
        };
        let authority = authority.trim_end_matches('/').replace("localhost:", "127.0.0.1:");
        match authority.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(_) => Err(refuse(host, "TCP to another machine is not secured: use a unix socket")),
            Err(_) => Err(refuse(host, "it must be tcp://127.0.0.1:port")),
        }
    }
}

fn refuse(host: &str, why: &str) -> EngineError {
    EngineError::Rejected {
        operation: "connect",
        why: format!("{host:?} can't be an engine's address: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_local_or_refused() {
        let unix = |path: &str| Ok(Address::Unix(PathBuf::from(path)));
        assert_eq!(Address::parse(None), unix("/var/run/docker.sock"));
        assert_eq!(Address::parse(Some("")), unix("/var/run/docker.sock"));
        assert_eq!(Address::parse(Some("unix:///run/a b.sock")), unix("/run/a b.sock"));
        let loopback = Ok(Address::Loopback(SocketAddr::from(([127, 0, 0, 1], 2375))));
        assert_eq!(Address::parse(Some("tcp://127.0.0.1:2375")), loopback);
        assert_eq!(Address::parse(Some("tcp://localhost:2375/")), loopback);
        for bad in
            ["tcp://10.0.0.1:2375", "tcp://docker:2375", "tcp://", "ssh://a", "/run/a.sock", "unix://a"]
        {
            let refused = Address::parse(Some(bad)).map_err(|e| e.to_string());
            assert!(refused.as_ref().is_err_and(|text| text.contains(bad)), "{refused:?}");
        }
    }
}
