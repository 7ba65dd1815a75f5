//! Tokens as administrators see them, and what a node gets that joins.
//!
//! A token's text is in two replies only, when it is made and when a node joins. It is a [`Secret`] there, which no log
//! shows.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Mistake, present, time};
use crate::model::access::Scope;
use crate::model::id::{ClusterId, InstanceId, NodeId, TokenId};
use crate::model::time::WallTime;
use crate::model::token::{TokenKind, TokenRecord};

/// How long a join word lives where nobody says otherwise.
const JOIN_LIVES: Duration = Duration::from_secs(3_600);

/// The longest that a token may be said to live: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The longest label, in characters.
const LONGEST_LABEL: usize = 100;

/// A text that is nobody's business.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The body of POST /tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it may do; `read` where nothing is said.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whether it is a join word, which has no scope.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub join: Option<bool>,
    /// How long it lives; for ever where nothing is said, a join word an hour.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// What people call it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedToken {
    /// What it may do. None: it is a join word.
    pub scope: Option<Scope>,
    /// How long it lives. None: for ever.
    pub lives: Option<Duration>,
    /// What people call it.
    pub label: Option<String>,
}

impl TryFrom<TokenRequest> for WantedToken {
    type Error = Mistake;

    fn try_from(asked: TokenRequest) -> Result<Self, Mistake> {
        let is_join = asked.join == Some(true);
        if is_join && asked.scope.is_some() {
            return Err(Mistake::invalid("scope", "is nothing that a join word has"));
        }
        let lives = asked.expires_ms.map(Duration::from_millis);
        if lives.is_some_and(|lives| lives.is_zero() || lives > LONGEST) {
            return Err(Mistake::invalid("expires_ms", "must be at least 1 and at most ten years"));
        }
        let is_sound = |label: &String| {
            (1..=LONGEST_LABEL).contains(&label.chars().count()) && !label.chars().any(char::is_control)
        };
        if !asked.label.as_ref().is_none_or(is_sound) {
            let why = format!("must be 1 to {LONGEST_LABEL} characters, none of them a control character");
            return Err(Mistake::invalid("label", why));
        }
        Ok(Self {
            scope: (!is_join).then(|| asked.scope.unwrap_or(Scope::Read)),
            lives: lives.or_else(|| is_join.then_some(JOIN_LIVES)),
            label: asked.label,
        })
    }
}

/// The reply to POST /tokens: the only one that holds the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMade {
    /// Its name.
    pub token_id: TokenId,
    /// Its text, or the join word.
    pub token: Secret,
    /// What it may do; absent for a join word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Until when it is good.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WallTime>,
}

/// A token, without its text (GET /tokens).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its name.
    pub token_id: TokenId,
    /// `user`, `node` or `join`.
    pub kind: String,
    /// What it may do, where it is a user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whose it is, where it is a node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was made.
    #[serde(with = "time::required")]
    pub created_at: WallTime,
    /// Until when it is good.
    #[serde(default, with = "time::optional", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WallTime>,
    /// The token that had it made; absent where the master itself did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<TokenId>,
}

impl From<&TokenRecord> for TokenView {
    fn from(record: &TokenRecord) -> Self {
        let (kind, scope) = match &record.kind {
            TokenKind::User { scope } => ("user", Some(*scope)),
            TokenKind::Node { .. } => ("node", None),
            TokenKind::Join => ("join", None),
        };
        Self {
            token_id: record.id.clone(),
            kind: kind.to_owned(),
            scope,
            node_id: record.node().cloned(),
            label: record.label.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
            made_by: record.made_by.clone(),
        }
    }
}

/// The body of POST /join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The node's name.
    pub node_id: NodeId,
    /// Its data folder: tells a node that joins again from another one of its name.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// What it wants to have signed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub csr_pem: Option<String>,
}

/// The reply to POST /join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// With what the node speaks for itself from now on.
    pub node_token: Secret,
    /// What the master shows to the node.
    pub node_key: Secret,
    /// The cluster's CA, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// The node's certificate, where it asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_pem: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::read;

    fn wanted(body: &str) -> Result<WantedToken, String> {
        let asked: TokenRequest = read(body.as_bytes()).map_err(|mistake| mistake.to_string())?;
        WantedToken::try_from(asked).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn little_is_given_where_little_is_said() {
        let plain = WantedToken { scope: Some(Scope::Read), lives: None, label: None };
        assert_eq!(wanted("{}"), Ok(plain.clone()));
        assert_eq!(wanted(r#"{"join":false}"#), Ok(plain));
        let word = WantedToken { scope: None, lives: Some(JOIN_LIVES), label: None };
        assert_eq!(wanted(r#"{"join":true}"#), Ok(word));
        let ci = wanted(r#"{"scope":"submit","expires_ms":1000,"label":"CI"}"#).unwrap();
        assert_eq!((ci.scope, ci.lives), (Some(Scope::Submit), Some(Duration::from_secs(1))));
        assert_eq!(ci.label.as_deref(), Some("CI"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (body, says) in [
            (r#"{"scope":"root"}"#.to_owned(), "scope: "),
            (r#"{"scope":null}"#.to_owned(), "scope: "),
            (r#"{"scope":"read","join":true}"#.to_owned(), "scope: is nothing that a join word has"),
            (r#"{"expires_ms":0}"#.to_owned(), "expires_ms: "),
            (r#"{"expires_ms":18446744073709551615}"#.to_owned(), "expires_ms: "),
            (r#"{"label":""}"#.to_owned(), "label: "),
            (r#"{"label":"a\u0007"}"#.to_owned(), "label: "),
            (format!(r#"{{"label":"{}"}}"#, "x".repeat(101)), "label: "),
            (r#"{"secret":"x"}"#.to_owned(), "secret"),
        ] {
            let error = wanted(&body).expect_err(says);
            assert!(error.contains(says), "{body}: {error}");
        }
    }

    #[test]
    fn secrets_are_sent_and_not_shown() {
        let secret = Secret("s3cret".to_owned());
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""s3cret""#);
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
