//! Tokens: what is kept of one, and how its text is made up.
//!
//! A token's text is `pdl_<id>_<secret>`; a join word's is `pdlj_<id>_<secret>_<fingerprint>`, of which the last part is
//! for whoever joins and is never sent. The id is no secret: it stands in logs, in listings and beside what was done.
//! Of the rest only a hash is kept. A node's key is kept as it is, because the master has to show it to the node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::access::Scope;
use super::id::{NodeId, TokenId};
use super::time::WallTime;

/// What a token's text begins with.
const TOKEN: &str = "pdl";

/// What a join word begins with.
const JOIN_WORD: &str = "pdlj";

/// What stands in a join word for the fingerprint of a cluster that has no CA.
const NO_CA: &str = "plain";

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its name, which is no secret.
    pub id: TokenId,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// Whose it is, and what it is for.
    pub kind: TokenKind,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was made.
    pub created_at: WallTime,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WallTime>,
    /// The token that had it made. None: the master itself made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<TokenId>,
}

impl TokenRecord {
    /// The node whose own token it is.
    pub const fn node(&self) -> Option<&NodeId> {
        match &self.kind {
            TokenKind::Node { node_id, .. } => Some(node_id),
            TokenKind::User { .. } | TokenKind::Join => None,
        }
    }

    /// Whether it is refused by now.
    pub fn has_expired(&self, now: WallTime) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Whose a token is, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A person's or a program's.
    User {
        /// What it may do.
        scope: Scope,
    },
    /// A node's own: it speaks for that node alone.
    Node {
        /// Which one.
        node_id: NodeId,
        /// What the master shows to that node.
        key: NodeKey,
    },
    /// Adds one node, once.
    Join,
}

/// What the master shows to a node, so that the node knows it: 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey([u8; 32]);

impl NodeKey {
    /// Of random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As it is sent and kept: 64 hexadecimal digits. A secret.
    pub fn to_text(&self) -> String {
        hex(&self.0)
    }
}

// A secret has no place in a log.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey")
    }
}

/// A text that is no node's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKey;

impl fmt::Display for NotAKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be 64 hexadecimal digits")
    }
}

impl std::error::Error for NotAKey {}

impl FromStr for NodeKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        unhex(text).map(Self).ok_or(NotAKey)
    }
}

impl Serialize for NodeKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for NodeKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The text of a token with this id and secret.
pub fn token_text(id: &TokenId, secret: &[u8; 32]) -> String {
    format!("{TOKEN}_{id}_{}", hex(secret))
}

/// The text of a join word's secret, as it is sent: without what follows for whoever joins.
pub fn join_secret(id: &TokenId, secret: &[u8; 32]) -> String {
    format!("{JOIN_WORD}_{id}_{}", hex(secret))
}

/// The whole join word. `fingerprint`: of the cluster's CA, where it has one.
pub fn join_word(id: &TokenId, secret: &[u8; 32], fingerprint: Option<&str>) -> String {
    format!("{}_{}", join_secret(id, secret), fingerprint.unwrap_or(NO_CA))
}

/// A token's text or a join word, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Its name.
    pub id: TokenId,
    /// What is sent, and whose hash is kept.
    pub secret: &'a str,
    /// Of a join word: the fingerprint of the cluster's CA, where it has one.
    pub fingerprint: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// Takes a text apart. None: it is neither a token nor a join word.
    ///
    /// ```
    /// use podling::model::token::Shown;
    ///
    /// let word = format!("pdlj_01JD0000000000000000000000_{}_plain", "ab".repeat(32));
    /// assert_eq!(Shown::read(&word).unwrap().id.as_str(), "01JD0000000000000000000000");
    /// assert!(Shown::read("s3cret").is_none());
    /// ```
    pub fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split('_');
        let (kind, id, secret) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let (rest, more) = (parts.next(), parts.next());
        unhex(secret)?;
        let is_whole = match (kind, rest, more) {
            (TOKEN | JOIN_WORD, None, None) => true,
            (JOIN_WORD, Some(fingerprint), None) => {
                !fingerprint.is_empty() && fingerprint.bytes().all(|b| b.is_ascii_alphanumeric())
            }
            _ => false,
        };
        let end = rest.map_or(text.len(), |rest| text.len() - rest.len() - 1);
        let fingerprint = rest.filter(|rest| *rest != NO_CA);
        is_whole.then(|| Self { id, secret: &text[..end], fingerprint })
    }
}

// A secret has no place in a log.
impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

/// 32 bytes from 64 lower-case hexadecimal digits.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [0xab; 32];

    fn id() -> TokenId {
        "01JD0000000000000000000000".parse().unwrap()
    }

    #[test]
    fn a_text_is_taken_apart_as_it_was_made() {
        let token = token_text(&id(), &SECRET);
        let shown = Shown::read(&token).unwrap();
        assert_eq!((shown.id, shown.secret, shown.fingerprint), (id(), token.as_str(), None));
        for fingerprint in [None, Some("c0ffee")] {
            let word = join_word(&id(), &SECRET, fingerprint);
            let shown = Shown::read(&word).unwrap();
            assert_eq!(shown.secret, join_secret(&id(), &SECRET));
            assert_eq!(shown.fingerprint, fingerprint);
        }
        assert!(Shown::read(&join_secret(&id(), &SECRET)).is_some());
    }

    #[test]
    fn what_is_no_token_is_none() {
        let token = token_text(&id(), &SECRET);
        for bad in [
            "",
            "_",
            "pdl__",
            &token[1..],
            &token[..token.len() - 1],
            &token.to_uppercase(),
            &format!("{token}_plain"),
            &format!("{token}0"),
            &format!("{}_a_b", join_secret(&id(), &SECRET)),
            &format!("{}_", join_secret(&id(), &SECRET)),
        ] {
            assert!(Shown::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_never_shown() {
        let key = NodeKey::new([7; 32]);
        assert_eq!(key.to_text().parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "NodeKey");
        let kind = TokenKind::Node { node_id: "n".parse().unwrap(), key };
        assert!(!format!("{kind:?}").contains("07"));
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(serde_json::from_str::<TokenKind>(&json).unwrap(), kind);
    }
}
