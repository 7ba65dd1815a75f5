//! Who asks, and may they: one check for every request, before anything of it is looked at but its head.
//!
//! Main types: [`Access`], which makes a [`Caller`] of what a request shows, or the problem that it is answered with;
//! and [`Caller`], which says what whoever asks may do with a task. What a route needs stands in its row of
//! [`routes::MASTER`](crate::api::routes::MASTER).
//!
//! Invariant: a token's text goes no further than this file: what is logged, kept and answered is its id.

mod wrong;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::control::tokens::Unfit;
use crate::http::{Problem, Request};
use crate::master::state::State;
use crate::model::access::{Needs, Scope};
use crate::model::id::{NodeId, TokenId};
use crate::model::task::Task;
use crate::model::time::{Mono, Now};
use crate::model::token::{Shown, TokenKind, TokenRecord};
use crate::rest::bearer::{Bearer, bearer};

use wrong::Wrong;

/// What is kept of a token's text.
pub(super) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Who is let in.
#[derive(Debug)]
pub struct Access {
    is_open: bool,
    wrong: Mutex<Wrong>,
    noted: Mutex<Wrong>,
}

/// How many wrong tokens one address may show in a second.
const WRONG_A_SECOND: u32 = 20;

/// How many refusals of one address the audit keeps of a minute: whoever is refused must not push out what was done.
const NOTED_A_MINUTE: u32 = 10;

/// Whoever asks, as far as what they may do goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Anybody, about what everybody may know.
    Anybody,
    /// Anybody, where tokens are turned off.
    Unchecked,
    /// A person or a program.
    User { token: TokenId, scope: Scope },
    /// A node.
    Node { token: TokenId, node: NodeId },
    /// Whoever has a join word.
    Joiner { token: TokenId },
}

impl Access {
    /// By tokens.
    pub fn by_tokens() -> Self {
        Self::new(false)
    }

    /// For everybody, as if they were administrators (`--insecure`).
    pub fn open() -> Self {
        Self::new(true)
    }

    fn new(is_open: bool) -> Self {
        let wrong = Wrong::new(WRONG_A_SECOND, Duration::from_secs(1));
        let noted = Wrong::new(NOTED_A_MINUTE, Duration::from_secs(60));
        Self { is_open, wrong: Mutex::new(wrong), noted: Mutex::new(noted) }
    }

    /// Whether the audit keeps one more refusal of this address.
    pub(super) fn is_to_be_noted(&self, request: &Request, now: Mono) -> bool {
        !self.noted.lock().is_too_often(address(request), now)
    }

    /// Whether everybody is let in.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Says who asks, and whether they show what the route needs. `needs`: none for a path that leads nowhere, which
    /// only those are told who are known.
    ///
    /// # Errors
    /// The problem that the request is answered with: 401, 403 or 429.
    pub(super) fn admit(
        &self,
        state: &State,
        request: &Request,
        needs: Option<Needs>,
        now: Now,
    ) -> Result<Caller, Problem> {
        if self.is_open {
            return Ok(Caller::Unchecked);
        }
        if needs == Some(Needs::Nothing) {
            return Ok(Caller::Anybody);
        }
        let text = match bearer(request) {
            Bearer::Text(text) => text,
            Bearer::Nothing => return Err(no_token()),
            Bearer::Unclear => return Err(self.unknown(request, now)),
        };
        let Some(shown) = Shown::read(text) else { return Err(self.unknown(request, now)) };
        match state.check_token(&shown.id, &hash(shown.secret), now.wall) {
            Ok(record) => check(&record, needs),
            Err(Unfit::Unknown) => Err(self.unknown(request, now)),
            Err(Unfit::Expired) => Err(expired(&shown.id)),
        }
    }

    /// The answer to a token that nobody knows; of very many from one address, that they are too many.
    fn unknown(&self, request: &Request, now: Now) -> Problem {
        if self.wrong.lock().is_too_often(address(request), now.mono) {
            return Problem::too_many("wrong_tokens", "too many wrong tokens came from this address");
        }
        let text = "this token is not known here: it was mistyped, revoked, or is another cluster's";
        Problem::new(401, "unknown_token", "The token is not known", text)
    }
}

fn address(request: &Request) -> IpAddr {
    request.peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// Whether a token is good for what a route needs.
fn check(record: &TokenRecord, needs: Option<Needs>) -> Result<Caller, Problem> {
    let token = record.id.clone();
    let caller = match &record.kind {
        TokenKind::User { scope } => Caller::User { token, scope: *scope },
        TokenKind::Node { node_id, .. } => Caller::Node { token, node: node_id.clone() },
        TokenKind::Join => Caller::Joiner { token },
    };
    let is_enough = match (needs, &caller) {
        (None | Some(Needs::Nothing), _) => true,
        (Some(Needs::Scope(needed)), Caller::User { scope, .. }) => *scope >= needed,
        (Some(Needs::Join), Caller::User { scope, .. }) => *scope >= Scope::Admin,
        (Some(Needs::Join), Caller::Joiner { .. } | Caller::Node { .. })
        | (Some(Needs::Node), Caller::Node { .. }) => true,
        (
            Some(Needs::Scope(_) | Needs::Node | Needs::Join | Needs::Master | Needs::MasterOrTicket),
            Caller::Anybody
            | Caller::Unchecked
            | Caller::User { .. }
            | Caller::Node { .. }
            | Caller::Joiner { .. },
        ) => false,
    };
    match needs {
        Some(needs) if !is_enough => Err(not_enough(needs, &caller)),
        Some(_) | None => Ok(caller),
    }
}

fn no_token() -> Problem {
    Problem::new(401, "no_token", "A token is needed", "this needs a token: Authorization: Bearer TOKEN")
}

fn expired(token: &TokenId) -> Problem {
    Problem::new(401, "token_expired", "The token has expired", format!("the token {token} has expired"))
}

fn not_enough(needs: Needs, caller: &Caller) -> Problem {
    let given = caller.in_words();
    match needs {
        Needs::Scope(scope) => scope_problem(scope, &given, "this"),
        Needs::Node => foreign_node(format!("only a node's own token speaks for it, and this is {given}")),
        Needs::Nothing | Needs::Join | Needs::Master | Needs::MasterOrTicket => {
            scope_problem(Scope::Admin, &given, "this")
        }
    }
}

fn scope_problem(needed: Scope, given: &str, what: &str) -> Problem {
    let text = format!("{what} needs a token with the scope {needed}, and this is {given}");
    Problem::new(403, "scope", "The token's scope is too small", text).with("needs", needed.as_str())
}

pub(super) fn foreign_node(text: String) -> Problem {
    Problem::new(403, "foreign_node", "Another node's business", text)
}

impl Caller {
    /// The token that was shown.
    pub(super) const fn token(&self) -> Option<&TokenId> {
        match self {
            Self::User { token, .. } | Self::Node { token, .. } | Self::Joiner { token } => Some(token),
            Self::Anybody | Self::Unchecked => None,
        }
    }

    /// What it is, for whoever is refused.
    fn in_words(&self) -> String {
        match self {
            Self::User { scope, .. } => format!("one with the scope {scope}"),
            Self::Node { node, .. } => format!("the token of the node {node}"),
            Self::Joiner { .. } => "a join word".to_owned(),
            Self::Anybody | Self::Unchecked => "none".to_owned(),
        }
    }

    /// Whether only tasks of its own may be stopped and removed, and only their environment seen.
    pub(super) fn is_limited(&self) -> bool {
        match self {
            Self::Unchecked => false,
            Self::User { scope, .. } => *scope < Scope::Operate,
            Self::Anybody | Self::Node { .. } | Self::Joiner { .. } => true,
        }
    }

    /// Whether the values of a task's environment may be seen.
    pub(super) fn sees_env(&self, task: &Task) -> bool {
        !self.is_limited() || (self.has(Scope::Submit) && self.made(task))
    }

    /// Whether a task may be stopped and removed.
    ///
    /// # Errors
    /// The problem that says why not.
    pub(super) fn check_end(&self, task: &Task) -> Result<(), Problem> {
        if !self.is_limited() || self.made(task) {
            return Ok(());
        }
        let what = format!("{}, which another token made,", task.name);
        Err(scope_problem(Scope::Operate, &self.in_words(), &what))
    }

    /// Whether it speaks for a node.
    ///
    /// # Errors
    /// The problem that says that it is another's.
    pub(super) fn check_node(&self, node: &NodeId) -> Result<(), Problem> {
        match self {
            Self::Unchecked => Ok(()),
            Self::Node { node: own, .. } if own == node => Ok(()),
            Self::Anybody | Self::User { .. } | Self::Node { .. } | Self::Joiner { .. } => {
                Err(foreign_node(format!("{} does not speak for {node}", self.in_words())))
            }
        }
    }

    fn has(&self, needed: Scope) -> bool {
        match self {
            Self::Unchecked => true,
            Self::User { scope, .. } => *scope >= needed,
            Self::Anybody | Self::Node { .. } | Self::Joiner { .. } => false,
        }
    }

    fn made(&self, task: &Task) -> bool {
        self.token().is_some() && task.made_by.as_ref() == self.token()
    }
}

#[cfg(test)]
mod tests;
