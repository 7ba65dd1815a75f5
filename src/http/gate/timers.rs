//! Deadlines in the order in which they fall due.
//!
//! Each socket has at most one entry. Moving its deadline later costs nothing: the entry stays, and when it falls
//! due its owner says whether that was meant and when to ask again. Only a deadline that moves earlier is put in
//! anew. A busy connection so touches the set about once a minute, not twice a request.

use std::collections::BTreeSet;

use crate::http::gate::Token;
use crate::model::time::Mono;

/// The entry that a socket has in [`Timers`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Armed(Option<Mono>);

/// All deadlines.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Mono, Token)>);

impl Timers {
    /// Makes sure that `token` is asked at `at` or earlier.
    pub(super) fn arm(&mut self, armed: &mut Armed, token: Token, at: Mono) {
        if armed.0.is_some_and(|entry| entry <= at) {
            return;
        }
        self.disarm(*armed, token);
        self.0.insert((at, token));
        armed.0 = Some(at);
    }

    /// Takes the entry of `token` out.
    pub(super) fn disarm(&mut self, armed: Armed, token: Token) {
        if let Some(entry) = armed.0 {
            self.0.remove(&(entry, token));
        }
    }

    /// The next that is due. Its owner's [`Armed`] has to be reset.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Token> {
        let first = self.0.first().filter(|(at, _)| *at <= now).copied()?;
        self.0.remove(&first);
        Some(first.1)
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn later_is_free_and_earlier_wins() {
        let at = |seconds| Mono::from_boot(Duration::from_secs(seconds));
        let (mut timers, mut armed, token) = (Timers::default(), Armed::default(), Token::client(1));
        timers.arm(&mut armed, token, at(5));
        timers.arm(&mut armed, token, at(9));
        assert_eq!((timers.next(), timers.0.len()), (Some(at(5)), 1));
        timers.arm(&mut armed, token, at(3));
        assert_eq!((timers.next(), timers.0.len()), (Some(at(3)), 1));
        assert_eq!(timers.pop_due(at(2)), None);
        assert_eq!(timers.pop_due(at(3)), Some(token));
        assert_eq!(timers.next(), None);
    }
}
