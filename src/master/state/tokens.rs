//! What becomes of tokens: they are looked up for each request, made, ended, and used to join.
//!
//! All changes are made with the locks of nodes and tasks held, like every other; so the tokens' own lock is held for
//! a moment only, and what was looked up under it is still so when the change is made.

use std::sync::Arc;
use std::time::Duration;

use super::{AsOf, State, StoreFull};
use crate::control::change::Change;
use crate::control::nodes::{NodeEntry, Nodes};
use crate::control::tasks::Tasks;
use crate::control::tokens::Unfit;
use crate::http::Trust;
use crate::master::reach::Reach;
use crate::model::audit::Asked;
use crate::model::id::{InstanceId, NodeId, TokenId};
use crate::model::node::{Node, NodeStatus};
use crate::model::time::{Now, WallTime};
use crate::model::token::{NodeKey, TokenRecord};

/// How many tokens there may be.
pub const MOST_TOKENS: usize = 100_000;

/// How long an expired token is kept, so that whoever shows it is told what is wrong with it.
const EXPIRED_KEPT: Duration = Duration::from_secs(86_400);

/// How many expired tokens one look forgets at most.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// Why a token was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMade {
    /// There are as many as may be.
    TooMany,
    /// It can't be stored now.
    StoreFull,
}

/// Why a node did not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The join word was used, or ended, since it was looked up.
    Used,
    /// Another worker beats under that name, with a token of its own.
    NodeIdInUse,
    /// There are as many tokens as may be.
    TooMany,
    /// It can't be stored now.
    StoreFull,
}

impl From<StoreFull> for NotMade {
    fn from(_: StoreFull) -> Self {
        Self::StoreFull
    }
}

impl From<StoreFull> for JoinError {
    fn from(_: StoreFull) -> Self {
        Self::StoreFull
    }
}

/// A node that joins.
#[derive(Clone, Debug)]
pub struct Joining {
    /// What is kept of the token that it gets.
    pub token: TokenRecord,
    /// Its name.
    pub node: NodeId,
    /// Its data folder, where it says so.
    pub instance: Option<InstanceId>,
    /// The join word that it showed, which is used up by this.
    pub word: Option<TokenId>,
}

impl State {
    /// The token with this id, where what was shown hashes to what it should.
    ///
    /// # Errors
    /// It is not to be let in.
    pub fn check_token(
        &self,
        id: &TokenId,
        hash: &[u8; 32],
        now: WallTime,
    ) -> Result<Arc<TokenRecord>, Unfit> {
        self.locks.read_tokens().check(id, hash, now).map(Arc::clone)
    }

    /// An id for a token that is to be made.
    pub fn next_token_id(&self, now: WallTime) -> TokenId {
        self.ids.token(now)
    }

    /// What the master shows to a node. None: the node never joined.
    pub fn key_of(&self, node: &NodeId) -> Option<NodeKey> {
        self.locks.read_tokens().key_of(node).cloned()
    }

    /// How a node is reached.
    pub(super) fn reach(&self, node: &Node) -> Reach {
        let said = &node.registration;
        let trust = self.ca.as_deref().map(|ca| Trust::node(ca, &said.node_id));
        Reach { address: said.address.clone(), key: self.key_of(&said.node_id), trust }
    }

    /// How the node of that name is reached. None: there is none.
    pub fn reach_of(&self, id: &NodeId) -> Option<Reach> {
        self.locks.read_nodes().get(id).map(|entry| self.reach(entry.node()))
    }

    /// All tokens, oldest first.
    pub fn tokens(&self) -> AsOf<Vec<Arc<TokenRecord>>> {
        // Order: whatever changes the tokens holds the tasks.
        let tasks = self.locks.read_tasks();
        let tokens = self.locks.read_tokens().iter().cloned().collect();
        AsOf { value: tokens, at: self.position(&*tasks) }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// There are too many, or it can't be stored now.
    pub fn make_token(&self, token: TokenRecord, asked: impl Into<Asked>) -> Result<AsOf<()>, NotMade> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        self.check_store()?;
        if self.locks.read_tokens().len() >= MOST_TOKENS {
            return Err(NotMade::TooMany);
        }
        let change = Change::TokenMade { token: Arc::new(token) };
        let at = self.commit_for(&asked.into(), &mut nodes, &mut tasks, change).unwrap_or_default();
        Ok(AsOf { value: (), at })
    }

    /// Ends a token. None: there is none with that id.
    ///
    /// # Errors
    /// That can't be stored now.
    pub fn end_token(&self, id: &TokenId, asked: impl Into<Asked>) -> Result<Option<AsOf<()>>, StoreFull> {
        let (mut nodes, mut tasks) = self.locks.write_both();
        if self.locks.read_tokens().get(id).is_none() {
            return Ok(None);
        }
        self.check_store()?;
        let change = Change::TokenEnded { id: id.clone() };
        let ended = self.commit_for(&asked.into(), &mut nodes, &mut tasks, change);
        Ok(ended.ok().map(|at| AsOf { value: (), at }))
    }

    /// Takes a node into the cluster: makes its token, and ends the ones that it had and the word that it showed.
    ///
    /// # Errors
    /// Its name is taken, its word was used, or it can't be stored now.
    pub fn join(&self, joining: Joining, asked: impl Into<Asked>) -> Result<AsOf<()>, JoinError> {
        let asked = asked.into();
        let Joining { token, node, instance, word } = joining;
        let (mut nodes, mut tasks) = self.locks.write_both();
        let tokens = self.locks.read_tokens();
        if word.as_ref().is_some_and(|word| tokens.get(word).is_none()) {
            return Err(JoinError::Used);
        }
        let older: Vec<TokenId> = tokens.of_node(&node).cloned().collect();
        let is_full = tokens.len() >= MOST_TOKENS;
        drop(tokens);
        let known = nodes.get(&node).map(NodeEntry::node);
        let is_taken = known.is_some_and(|known| {
            known.status == NodeStatus::Online && instance.as_ref() != Some(&known.registration.instance)
        });
        if is_taken && !older.is_empty() {
            return Err(JoinError::NodeIdInUse);
        }
        self.check_store()?;
        if is_full {
            return Err(JoinError::TooMany);
        }
        // Order: the word is used up last. Where the disk fails in between, it can be used again.
        let made = Change::TokenMade { token: Arc::new(token) };
        let ended = older.into_iter().chain(word).map(|id| Change::TokenEnded { id });
        for change in std::iter::once(made).chain(ended) {
            // What is ended was there a moment ago, and nothing else can have changed it.
            let _ = self.commit_for(&asked, &mut nodes, &mut tasks, change);
        }
        Ok(AsOf { value: (), at: self.position(&*tasks) })
    }

    /// Forgets tokens that expired long ago, a bounded number. Returns how many.
    pub fn forget_expired_tokens(&self, now: Now) -> usize {
        let kept = crate::api::wire::millis(EXPIRED_KEPT);
        let before = WallTime::from_unix_millis(now.wall.unix_millis().saturating_sub(kept));
        if self.locks.read_tokens().ended_before(before, 1).is_empty() {
            return 0;
        }
        let (mut nodes, mut tasks) = self.locks.write_both();
        if self.journal.is_failing() {
            return 0;
        }
        let old = self.locks.read_tokens().ended_before(before, FORGOTTEN_AT_ONCE);
        for id in &old {
            let _ = self.commit(&mut nodes, &mut tasks, Change::TokenEnded { id: id.clone() }, now);
        }
        old.len()
    }

    /// Ends the tokens of a node that is forgotten, with the locks held.
    pub(super) fn end_tokens_of(&self, node: &NodeId, nodes: &mut Nodes, tasks: &mut Tasks, now: Now) {
        let ids: Vec<TokenId> = self.locks.read_tokens().of_node(node).cloned().collect();
        for id in ids {
            let _ = self.commit(nodes, tasks, Change::TokenEnded { id }, now);
        }
    }
}
