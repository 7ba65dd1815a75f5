//! Who did what: what the audit keeps of a change, beside the change itself.
//!
//! [`Asked`] comes with every request that may change something: when, and by whom. A [`Deed`] is what is kept of it. It
//! becomes a line of the audit where it becomes durable, with its change (`api/wire/audit.rs`, `store`).
//!
//! Invariant: a token stands here by its id, never by its text.

use std::net::SocketAddr;

use crate::model::id::{NodeId, TokenId};
use crate::model::time::{Now, WallTime};

/// Whoever asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person or a program, by its token.
    User(TokenId),
    /// A node, by its token.
    Node(NodeId, TokenId),
    /// Whoever has a join word.
    Joiner(TokenId),
    /// Anybody, where tokens are turned off.
    Unchecked,
    /// Somebody who isn't known: no token, or one that isn't good.
    Unknown,
}

/// Who asks, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// The other end of the connection.
    pub address: Option<SocketAddr>,
}

/// When something is asked for, and by whom. None: the master does it by itself, which is no deed of anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub now: Now,
    /// By whom.
    pub by: Option<By>,
}

impl From<Now> for Asked {
    fn from(now: Now) -> Self {
        Self { now, by: None }
    }
}

/// What was done, or was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: WallTime,
    /// By whom.
    pub by: By,
    /// What: `task.create`, `node.availability`, `token.end`; of what was refused, method and path.
    pub action: String,
    /// To what: ids.
    pub subjects: Vec<String>,
    /// The code of the problem that it was refused with. None: it was done.
    pub refused: Option<String>,
}
