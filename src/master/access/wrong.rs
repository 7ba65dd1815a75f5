//! How often an address did what it should not, within a window of time: whoever guesses is seen, and told.
//!
//! Bounded: of more addresses than are counted one by one, all others count as one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::model::time::Mono;

/// How many addresses are counted one by one.
const MOST_ADDRESSES: usize = 4_096;

/// What came within the present window.
#[derive(Debug)]
pub(super) struct Wrong {
    window: Duration,
    most: u32,
    since: Option<Mono>,
    counts: HashMap<IpAddr, u32>,
}

impl Wrong {
    /// So many within such a window are borne of each address.
    pub(super) fn new(most: u32, window: Duration) -> Self {
        Self { window, most, since: None, counts: HashMap::new() }
    }

    /// Counts one. Whether it is one too many.
    pub(super) fn is_too_often(&mut self, address: IpAddr, now: Mono) -> bool {
        if self.since.is_none_or(|since| now.since(since) >= self.window) {
            self.since = Some(now);
            self.counts.clear();
        }
        let is_counted = self.counts.contains_key(&address) || self.counts.len() < MOST_ADDRESSES;
        let counted = if is_counted { address } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let count = self.counts.entry(counted).or_default();
        *count = count.saturating_add(1);
        *count > self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 20;
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_guesses_is_slowed_down_and_nobody_else() {
        let at = |millis| Mono::from_boot(Duration::from_millis(millis));
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        let mut wrong = Wrong::new(MOST, SECOND);
        assert!((0..MOST).all(|_| !wrong.is_too_often(address(1), at(5_000))));
        assert!(wrong.is_too_often(address(1), at(5_999)));
        assert!(!wrong.is_too_often(address(2), at(5_999)));
        assert!(!wrong.is_too_often(address(1), at(6_000)), "in the next second");
    }

    #[test]
    fn however_many_addresses_there_are_memory_is_bounded() {
        let mut wrong = Wrong::new(MOST, SECOND);
        let now = Mono::from_boot(SECOND);
        let refused = (0..10_000_u32)
            .filter(|number| wrong.is_too_often(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)), now))
            .count();
        assert!(wrong.counts.len() <= MOST_ADDRESSES + 1);
        assert_eq!(refused, 10_000 - MOST_ADDRESSES - MOST as usize);
    }
}
