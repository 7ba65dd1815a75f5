//! A number that stands for a run of bytes: FNV-1a, 64 bits.
//!
//! It tells a torn or zeroed file from a whole one, and one log's beginning from another's. It is quick, and needs
//! no crate; against someone who wants two logs to look alike it is no defence, and nobody gains by that.

/// The digest of the bytes that were added so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds bytes. Where one piece ends and the next begins makes no difference.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Both halves folded into one.
    pub(super) const fn folded(self) -> [u8; 4] {
        let [a, b, c, d, e, f, g, h] = self.0.to_be_bytes();
        [a ^ e, b ^ f, c ^ g, d ^ h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_function() {
        // From the authors' test vectors (draft-eastlake-fnv).
        for (text, expected) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c)] {
            let mut digest = Digest::default();
            digest.add(text.as_bytes());
            assert_eq!(digest.0, expected, "{text:?}");
        }
    }
}
