//! Who may do what: the scopes of tokens, and what a route needs.
//!
//! Scopes are ordered: whoever has one has all before it. So a token that may submit may also read, and an
//! administrator may do everything that people do. What nodes say for themselves no person's token may say: that needs
//! the node's own ([`Needs::Node`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token may do, from least to most. Each includes all before it.
///
/// ```
/// use podling::model::access::Scope;
///
/// assert!(Scope::Operate > Scope::Submit);
/// assert_eq!("read".parse(), Ok(Scope::Read));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything but the values of environments.
    Read,
    /// Create tasks, and stop, remove and read in full those that it created.
    Submit,
    /// The same with anybody's tasks; cordon, drain and open nodes.
    Operate,
    /// Add and remove nodes; make and end tokens; read the audit.
    Admin,
}

impl Scope {
    /// Every one, from least to most.
    pub const ALL: [Self; 4] = [Self::Read, Self::Submit, Self::Operate, Self::Admin];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownScope(String);

impl fmt::Display for UnknownScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} must be read, submit, operate or admin", self.0)
    }
}

impl std::error::Error for UnknownScope {}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// What a request must show before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Needs {
    /// Nothing: anybody may ask.
    Nothing,
    /// A token with this scope or more.
    Scope(Scope),
    /// The token of the very node that speaks. To the master.
    Node,
    /// The secret of a join word, or an administrator's token. To the master.
    Join,
    /// The key that the master and this node share. To a worker.
    Master,
    /// The same, or a ticket for this log. To a worker.
    MasterOrTicket,
}
