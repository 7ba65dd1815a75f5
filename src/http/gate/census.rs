//! Who is connected, from where, and who has been without a whole request head for how long.
//!
//! At a cap the connection that has been without one for the longest time makes room for the newcomer: a flood of
//! silent connections so can't keep a health check out. Both orders are kept at all times, because a scan for the
//! oldest would be the flood's lever.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use crate::http::gate::Token;
use crate::model::time::Mono;

/// All client connections, by what matters when there are too many.
#[derive(Debug, Default)]
pub(super) struct Census {
    headless: BTreeSet<(Mono, Token)>,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug, Default)]
struct Address {
    connections: usize,
    headless: BTreeSet<(Mono, Token)>,
}

impl Census {
    /// Counts a new connection.
    pub(super) fn enter(&mut self, address: IpAddr) {
        self.addresses.entry(group(address)).or_default().connections += 1;
    }

    /// Forgets a connection. Its mark, if any, has to be taken off before.
    pub(super) fn leave(&mut self, address: IpAddr) {
        let address = group(address);
        if let Some(entry) = self.addresses.get_mut(&address) {
            entry.connections -= 1;
            if entry.connections == 0 {
                self.addresses.remove(&address);
            }
        }
    }

    /// Notes that a connection has had no whole head since `since`.
    pub(super) fn mark(&mut self, address: IpAddr, since: Mono, token: Token) {
        self.headless.insert((since, token));
        if let Some(entry) = self.addresses.get_mut(&group(address)) {
            entry.headless.insert((since, token));
        }
    }

    /// Takes that note back.
    pub(super) fn unmark(&mut self, address: IpAddr, since: Mono, token: Token) {
        self.headless.remove(&(since, token));
        if let Some(entry) = self.addresses.get_mut(&group(address)) {
            entry.headless.remove(&(since, token));
        }
    }

    /// How many connections an address has.
    pub(super) fn count(&self, address: IpAddr) -> usize {
        self.addresses.get(&group(address)).map_or(0, |entry| entry.connections)
    }

    /// Who has been without a whole head for the longest time.
    pub(super) fn oldest(&self) -> Option<Token> {
        self.headless.first().map(|(_, token)| *token)
    }

    /// The same among one address's connections.
    pub(super) fn oldest_of(&self, address: IpAddr) -> Option<Token> {
        self.addresses.get(&group(address))?.headless.first().map(|(_, token)| *token)
    }
}

/// What counts as one address: in IPv6 a whole /64, which one machine may have to itself.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_is_known_overall_and_by_address() {
        let at = |seconds| Mono::from_boot(Duration::from_secs(seconds));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (here, there) = (address("10.0.0.1"), address("2001:db8::1"));
        let mut census = Census::default();
        for (number, who, since) in [(1, here, 5), (2, there, 3), (3, here, 4)] {
            census.enter(who);
            census.mark(who, at(since), Token::client(number));
        }
        assert_eq!(census.oldest(), Some(Token::client(2)));
        assert_eq!(census.oldest_of(here), Some(Token::client(3)));
        assert_eq!(census.count(address("::ffff:10.0.0.1")), 2);
        assert_eq!(census.count(address("2001:db8::2")), 1);
        census.unmark(there, at(3), Token::client(2));
        census.leave(there);
        assert_eq!((census.oldest(), census.count(there)), (Some(Token::client(3)), 0));
    }
}
