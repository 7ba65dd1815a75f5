//! Which version of the Engine's API is spoken.
//!
//! Docker 20.10 stops at 1.41, Docker 29 begins at 1.44; between the two lies what this program knows. What it
//! asks for has the same shape in all of them.

use std::fmt;

use crate::engine::EngineError;

/// A version of the API: `1.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(u16, u16);

impl ApiVersion {
    const OLDEST: Self = Self(1, 41);
    const NEWEST: Self = Self(1, 44);

    /// The newest version that both sides speak, given what the Engine's ping said (its `Api-Version` header).
    pub(super) fn agree(offered: Option<&str>) -> Result<Self, EngineError> {
        let malformed = || EngineError::Malformed {
            operation: "ping",
            why: format!("no version of the API in it: {:?}", offered.unwrap_or_default()),
        };
        let (major, minor) = offered.and_then(|text| text.split_once('.')).ok_or_else(malformed)?;
        let theirs = Self(major.parse().map_err(|_| malformed())?, minor.parse().map_err(|_| malformed())?);
        if theirs < Self::OLDEST {
            let oldest = Self::OLDEST;
            let why =
                format!("the engine speaks API {theirs}; {oldest} (Docker 20.10) is the oldest that will do");
            return Err(EngineError::Rejected { operation: "ping", why });
        }
        Ok(theirs.min(Self::NEWEST))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_spoken() {
        for (offered, spoken) in [("1.41", "1.41"), ("1.43", "1.43"), ("1.44", "1.44"), ("1.52", "1.44")] {
            assert_eq!(ApiVersion::agree(Some(offered)).map(|v| v.to_string()), Ok(spoken.to_owned()));
        }
        assert!(matches!(ApiVersion::agree(Some("1.40")), Err(EngineError::Rejected { .. })));
        for bad in [None, Some(""), Some("1"), Some("1.x")] {
            assert!(matches!(ApiVersion::agree(bad), Err(EngineError::Malformed { .. })), "{bad:?}");
        }
    }
}
