//! RFC 3339 in UTC with milliseconds, as every time on the wire is written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::time::WallTime;

/// Writes a time: `2026-01-31T12:00:00.000Z`.
pub fn format_time(time: WallTime) -> String {
    // Years past 9999 can't be written; a clock that is that wrong shows the last moment that can.
    const LAST: u64 = 253_402_300_799_999;
    let moment: SystemTime = UNIX_EPOCH + Duration::from_millis(time.unix_millis().min(LAST));
    humantime::format_rfc3339_millis(moment).to_string()
}

/// Reads a time; finer parts than milliseconds are cut.
///
/// # Errors
/// Says that it is none.
pub fn parse_time(text: &str) -> Result<WallTime, String> {
    humantime::parse_rfc3339(text)
        .ok()
        .and_then(|moment| moment.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .map(WallTime::from_unix_millis)
        .ok_or_else(|| format!("{text:?} is not a time (RFC 3339, UTC)"))
}

/// `#[serde(with = "required")]` for a time that is always there.
pub(super) mod required {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{WallTime, format_time, parse_time};

    pub(in super::super) fn serialize<S: Serializer>(time: &WallTime, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format_time(*time))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<WallTime, D::Error> {
        parse_time(&String::deserialize(input)?).map_err(D::Error::custom)
    }
}

/// `#[serde(with = "optional")]` for a time that may be absent.
pub(super) mod optional {
    use serde::{Deserializer, Serializer};

    use super::{WallTime, required};

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<WallTime>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => required::serialize(time, out),
            None => out.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<WallTime>, D::Error> {
        required::deserialize(input).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire() {
        let time = WallTime::from_unix_millis(1_770_000_000_123);
        assert_eq!(parse_time(&format_time(time)), Ok(time));
        assert_eq!(
            parse_time("2026-01-31T12:00:00.123456789Z").map(format_time).unwrap(),
            "2026-01-31T12:00:00.123Z"
        );
        assert!(parse_time("yesterday").is_err());
        assert_eq!(format_time(WallTime::from_unix_millis(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
