//! The tokens that are good for something: by id, by node, and by when they expire.
//!
//! Main type: [`Tokens`]. [`Tokens::check`] says whether whoever shows one is let in. A token that was ended (revoked, or
//! a join word that was used) is gone from here.
//!
//! Invariant: texts aren't here, only their hashes, and these are compared in a time that doesn't tell how much fits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::model::id::{NodeId, TokenId};
use crate::model::time::WallTime;
use crate::model::token::{NodeKey, TokenKind, TokenRecord};

/// Why a token that was shown isn't good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Nobody knows it: it was never made, or was ended since.
    Unknown,
    /// Its time is over.
    Expired,
}

/// All tokens.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    by_id: BTreeMap<TokenId, Arc<TokenRecord>>,
    /// The latest id is the one that counts.
    by_node: BTreeMap<NodeId, BTreeSet<TokenId>>,
    by_end: BTreeSet<(WallTime, TokenId)>,
}

impl Tokens {
    /// One token.
    pub fn get(&self, id: &TokenId) -> Option<&Arc<TokenRecord>> {
        self.by_id.get(id)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TokenRecord>> {
        self.by_id.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The token with this id, where what was shown hashes to what it should.
    ///
    /// # Errors
    /// It is not to be let in.
    pub fn check(&self, id: &TokenId, hash: &[u8; 32], now: WallTime) -> Result<&Arc<TokenRecord>, Unfit> {
        let record = self.by_id.get(id).ok_or(Unfit::Unknown)?;
        if !bool::from(record.hash.ct_eq(hash)) {
            return Err(Unfit::Unknown);
        }
        if record.has_expired(now) { Err(Unfit::Expired) } else { Ok(record) }
    }

    /// The ids of a node's own tokens, the one that counts last.
    pub fn of_node(&self, node: &NodeId) -> impl DoubleEndedIterator<Item = &TokenId> {
        self.by_node.get(node).into_iter().flatten()
    }

    /// What the master shows to a node. None: it never joined.
    pub fn key_of(&self, node: &NodeId) -> Option<&NodeKey> {
        match &self.by_id.get(self.of_node(node).next_back()?)?.kind {
            TokenKind::Node { key, .. } => Some(key),
            TokenKind::User { .. } | TokenKind::Join => None,
        }
    }

    /// Those that expired before `before`, longest ago first, `most` at most.
    pub fn ended_before(&self, before: WallTime, most: usize) -> Vec<TokenId> {
        self.by_end.iter().take_while(|(end, _)| *end < before).take(most).map(|(_, id)| id.clone()).collect()
    }

    /// Takes up a token, in the place of what had its id.
    pub(in crate::control) fn put(&mut self, record: Arc<TokenRecord>) {
        self.remove(&record.id);
        if let TokenKind::Node { node_id, .. } = &record.kind {
            self.by_node.entry(node_id.clone()).or_default().insert(record.id.clone());
        }
        if let Some(end) = record.expires_at {
            self.by_end.insert((end, record.id.clone()));
        }
        self.by_id.insert(record.id.clone(), record);
    }

    /// Forgets a token. None: there is none with that id.
    pub(in crate::control) fn remove(&mut self, id: &TokenId) -> Option<Arc<TokenRecord>> {
        let record = self.by_id.remove(id)?;
        if let Some(end) = record.expires_at {
            self.by_end.remove(&(end, id.clone()));
        }
        if let TokenKind::Node { node_id, .. } = &record.kind
            && let Some(ids) = self.by_node.get_mut(node_id)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.by_node.remove(node_id);
            }
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::Scope;

    fn id(number: u8) -> TokenId {
        format!("{number:026}").parse().unwrap()
    }

    fn record(number: u8, kind: TokenKind, expires_at: Option<u64>) -> Arc<TokenRecord> {
        Arc::new(TokenRecord {
            id: id(number),
            hash: [number; 32],
            kind,
            label: None,
            created_at: WallTime::default(),
            expires_at: expires_at.map(WallTime::from_unix_millis),
            made_by: None,
        })
    }

    fn node(name: &str, key: u8) -> TokenKind {
        TokenKind::Node { node_id: name.parse().unwrap(), key: NodeKey::new([key; 32]) }
    }

    #[test]
    fn only_who_knows_the_text_is_let_in_and_only_in_time() {
        let mut tokens = Tokens::default();
        tokens.put(record(1, TokenKind::User { scope: Scope::Read }, Some(1_000)));
        let check = |tokens: &Tokens, number, hash, at| {
            tokens
                .check(&id(number), &[hash; 32], WallTime::from_unix_millis(at))
                .map(|record| record.id.clone())
        };
        assert_eq!(check(&tokens, 1, 1, 999), Ok(id(1)));
        assert_eq!(check(&tokens, 1, 1, 1_000), Err(Unfit::Expired));
        assert_eq!(check(&tokens, 1, 2, 999), Err(Unfit::Unknown));
        assert_eq!(
            check(&tokens, 1, 2, 1_000),
            Err(Unfit::Unknown),
            "who can't show it learns nothing of it"
        );
        assert_eq!(check(&tokens, 2, 2, 0), Err(Unfit::Unknown));
        assert!(tokens.remove(&id(1)).is_some() && tokens.remove(&id(1)).is_none());
        assert_eq!(check(&tokens, 1, 1, 999), Err(Unfit::Unknown));
        assert!(tokens.is_empty() && tokens.ended_before(WallTime::from_unix_millis(9_999), 9).is_empty());
    }

    #[test]
    fn a_nodes_latest_token_counts_and_the_one_before_does_once_that_is_gone() {
        let mut tokens = Tokens::default();
        let name: NodeId = "a".parse().unwrap();
        assert_eq!(tokens.key_of(&name), None);
        tokens.put(record(1, node("a", 1), None));
        tokens.put(record(3, node("b", 3), None));
        tokens.put(record(2, node("a", 2), None));
        assert_eq!(tokens.key_of(&name), Some(&NodeKey::new([2; 32])));
        assert_eq!(tokens.of_node(&name).count(), 2);
        tokens.remove(&id(2));
        assert_eq!(tokens.key_of(&name), Some(&NodeKey::new([1; 32])));
        tokens.remove(&id(1));
        assert_eq!((tokens.key_of(&name), tokens.len()), (None, 1));
    }

    #[test]
    fn what_expired_is_found_longest_ago_first() {
        let mut tokens = Tokens::default();
        for (number, end) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20))] {
            tokens.put(record(number, TokenKind::Join, end));
        }
        let before = |at, most| tokens.ended_before(WallTime::from_unix_millis(at), most);
        assert_eq!(before(10, 9), []);
        assert_eq!(before(11, 9), [id(2)]);
        assert_eq!(before(99, 2), [id(2), id(4)]);
    }
}
