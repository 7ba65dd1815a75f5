//! CPU and memory: thousandths of a core, and bytes; and how people write them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Thousandths of one CPU core. `500` is half a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CpuMillis(pub u64);

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemoryBytes(pub u64);

/// Why a text is no amount of CPU or memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityError {
    text: String,
    expected: &'static str,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.text, self.expected)
    }
}

impl std::error::Error for QuantityError {}

/// Reads an amount of CPU: `500m` or `1.5` cores.
///
/// # Errors
/// The text is none, is zero, or is more than a million cores.
///
/// ```
/// use podling::model::resources::{CpuMillis, parse_cpu};
///
/// assert_eq!(parse_cpu("500m"), Ok(CpuMillis(500)));
/// assert_eq!(parse_cpu("1.5"), Ok(CpuMillis(1500)));
/// assert!(parse_cpu("0").is_err());
/// ```
pub fn parse_cpu(text: &str) -> Result<CpuMillis, QuantityError> {
    let refuse =
        || QuantityError { text: text.to_owned(), expected: "an amount of CPU (500m, or 1.5 cores)" };
    let millis = match text.strip_suffix('m') {
        Some(number) => number.parse::<u64>().map_err(|_| refuse())?,
        None => decimal_times(text, 1000).ok_or_else(refuse)?,
    };
    if (1..=1_000_000_000).contains(&millis) { Ok(CpuMillis(millis)) } else { Err(refuse()) }
}

/// Reads a size: bytes, or a number with `K M G T` (powers of 1000) or `Ki Mi Gi Ti` (powers of 1024).
///
/// # Errors
/// The text is none, or doesn't fit 63 bits.
///
/// ```
/// use podling::model::resources::{MemoryBytes, parse_memory};
///
/// assert_eq!(parse_memory("256Mi"), Ok(MemoryBytes(256 * 1024 * 1024)));
/// assert_eq!(parse_memory("1G"), Ok(MemoryBytes(1_000_000_000)));
/// assert!(parse_memory("lots").is_err());
/// ```
pub fn parse_memory(text: &str) -> Result<MemoryBytes, QuantityError> {
    let refuse =
        || QuantityError { text: text.to_owned(), expected: "a size (bytes, or K M G T, or Ki Mi Gi Ti)" };
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit {
        "" => 1,
        "K" => 1000,
        "M" => 1000_u64.pow(2),
        "G" => 1000_u64.pow(3),
        "T" => 1000_u64.pow(4),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(refuse()),
    };
    let bytes = decimal_times(number, factor).filter(|bytes| i64::try_from(*bytes).is_ok());
    bytes.map(MemoryBytes).ok_or_else(refuse)
}

/// `number × factor` for a decimal number, exactly, cut to whole units.
fn decimal_times(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor) / scale;
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(u64::try_from(part).ok()?)
}

impl fmt::Display for MemoryBytes {
    /// As people read it: `256 MiB`, `1.5 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        f.write_str(&in_units(self.0, units, u64::MAX))
    }
}

/// A number of bytes that come over a line, in powers of 1000.
///
/// ```
/// use podling::model::resources::transferred;
///
/// assert_eq!(transferred(412_345_678), "412 MB");
/// assert_eq!(transferred(1_100_000_000), "1.1 GB");
/// ```
pub fn transferred(bytes: u64) -> String {
    const K: u64 = 1000;
    in_units(bytes, [("TB", K.pow(4)), ("GB", K.pow(3)), ("MB", K.pow(2)), ("kB", K)], 100)
}

/// In the largest of these units that fits, with a tenth where there is one and the number is below `most_with_tenth`.
fn in_units(bytes: u64, units: [(&str, u64); 4], most_with_tenth: u64) -> String {
    let Some((unit, size)) = units.into_iter().find(|(_, size)| bytes >= *size) else {
        return format!("{bytes} B");
    };
    let tenths = u128::from(bytes) * 10 / u128::from(size);
    if tenths.is_multiple_of(10) || bytes / size >= most_with_tenth {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

impl fmt::Display for CpuMillis {
    /// In cores: `0.5`, `2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        assert_eq!(parse_cpu("0.001"), Ok(CpuMillis(1)));
        assert_eq!(parse_memory("1.5Gi"), Ok(MemoryBytes(3 << 29)));
        assert_eq!(parse_memory("9007199254740993"), Ok(MemoryBytes(9_007_199_254_740_993)));
        for bad in ["", "m", "-1", "1.", ".5", "0", "0m", "1.5m", "1e3"] {
            assert!(parse_cpu(bad).is_err(), "{bad}");
        }
        for bad in ["", "Mi", "-1", "1Kb", "1 G", "99999999999T"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_shown_as_people_read_them() {
        let shown = [0, 1023, 1024, 256 << 20, 3 << 29].map(|bytes| MemoryBytes(bytes).to_string());
        assert_eq!(shown, ["0 B", "1023 B", "1 KiB", "256 MiB", "1.5 GiB"]);
        assert_eq!([999, 1000, 41_250, 412_345_678].map(transferred), ["999 B", "1 kB", "41.2 kB", "412 MB"]);
        assert_eq!([1, 500, 2000, 1250].map(|m| CpuMillis(m).to_string()), ["0.001", "0.5", "2", "1.25"]);
    }
}
