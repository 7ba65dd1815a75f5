//! Tokens: make, list, end; and nodes that join.

use super::nodes::node_id_in_use;
use super::{Answer, Api, audit, json, store_full};
use crate::api::wire::token::{
    JoinReply, JoinRequest, Secret, TokenMade, TokenRequest, TokenView, WantedToken,
};
use crate::api::wire::{Mistake, Page};
use crate::http::{Problem, Request, Response};
use crate::master::access::{Caller, foreign_node, hash};
use crate::master::state::{AsOf, JoinError, Joining, MOST_TOKENS, NotMade, StoreFull};
use crate::model::id::{NodeId, TokenId};
use crate::model::time::{Now, WallTime};
use crate::model::token::{NodeKey, TokenKind, TokenRecord, join_secret, join_word, token_text};
use crate::pki::{Authority, PkiError};
use crate::rest::bearer::{Bearer, bearer};
use crate::rest::query::Query;
use crate::rest::{problem_of, read};
use crate::runtime::{clock, random};

use super::tasks::{MAX_LIMIT, limit};

/// What a node gets that joins, beside its token and its key.
#[derive(Clone, Debug, Default)]
struct Credentials {
    ca_pem: Option<String>,
    cert_pem: Option<String>,
}

impl Api {
    /// POST /tokens
    pub(super) fn make_token(&self, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let asked: TokenRequest = read(request)?;
        let wanted = WantedToken::try_from(asked).map_err(|mistake| problem_of(&mistake))?;
        let (now, secret) = (clock::now(), drawn()?);
        let id = self.state.next_token_id(now.wall);
        let (kind, kept, shown) = match wanted.scope {
            Some(scope) => {
                let text = token_text(&id, &secret);
                (TokenKind::User { scope }, hash(&text), text)
            }
            None => {
                let word = join_word(&id, &secret, self.fingerprint());
                (TokenKind::Join, hash(&join_secret(&id, &secret)), word)
            }
        };
        let expires_at = wanted.lives.map(|lives| later(now.wall, lives));
        let record = TokenRecord {
            id: id.clone(),
            hash: kept,
            kind,
            label: wanted.label,
            created_at: now.wall,
            expires_at,
            made_by: caller.token().cloned(),
        };
        let by_whom = audit::asked(request, caller);
        let made = self.state.make_token(record, by_whom).map_err(|error| match error {
            NotMade::TooMany => too_many(),
            NotMade::StoreFull => store_full(),
        })?;
        let scope = wanted.scope.map_or("join", |scope| scope.as_str());
        log::info!("token made token={id} scope={scope} by={}", by(caller));
        let reply = TokenMade { token_id: id, token: Secret(shown), scope: wanted.scope, expires_at };
        Ok(Answer::Reply(AsOf { value: json(201, &reply), at: made.at }))
    }

    /// GET /tokens
    pub(super) fn list_tokens(&self, request: &Request) -> Result<Answer, Problem> {
        let mut query = Query::of(request)?;
        let most = query.take("limit", limit)?.unwrap_or(MAX_LIMIT);
        let after = query.take("after", str::parse::<TokenId>)?;
        query.finish()?;
        let found = self.state.tokens();
        let begins = after.map_or(0, |after| found.value.partition_point(|token| token.id <= after));
        let page = &found.value[begins..found.value.len().min(begins + most)];
        let more = begins + page.len() < found.value.len();
        let next = page.last().filter(|_| more).map(|token| token.id.to_string());
        let items: Vec<TokenView> = page.iter().map(|token| TokenView::from(&**token)).collect();
        Ok(Answer::Reply(AsOf { value: json(200, &Page { items, next }), at: found.at }))
    }

    /// DELETE /tokens/:id
    pub(super) fn end_token(&self, id: &str, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let none = || Problem::not_found("token_not_found", format!("there is no token {id:?}"));
        let token: TokenId = id.parse().map_err(|_| none())?;
        let ended =
            self.state.end_token(&token, audit::asked(request, caller)).map_err(|StoreFull| store_full())?;
        let ended = ended.ok_or_else(none)?;
        log::info!("token ended token={token} by={}", by(caller));
        Ok(Answer::Reply(AsOf { value: Response::empty(204), at: ended.at }))
    }

    /// POST /join
    pub(super) fn join(&self, request: &Request, caller: &Caller) -> Result<Answer, Problem> {
        let asked: JoinRequest = read(request)?;
        if let Caller::Node { node, .. } = caller {
            return self.renew(request, node, &asked);
        }
        let (now, node) = (clock::now(), asked.node_id);
        let credentials = self.credentials(&node, asked.csr_pem.as_deref())?;
        let key = NodeKey::new(drawn()?);
        let id = self.state.next_token_id(now.wall);
        let text = token_text(&id, &drawn()?);
        let joining = Joining {
            token: node_token(&id, &text, &node, &key, caller, now),
            node: node.clone(),
            instance: asked.instance_id,
            word: match caller {
                Caller::Joiner { token } => Some(token.clone()),
                Caller::Anybody | Caller::Unchecked | Caller::User { .. } | Caller::Node { .. } => None,
            },
        };
        let joined =
            self.state.join(joining, audit::asked(request, caller)).map_err(|error| match error {
                JoinError::Used => {
                    Problem::new(401, "unknown_token", "The token is not known", "this join word was used")
                }
                JoinError::NodeIdInUse => node_id_in_use(&node),
                JoinError::TooMany => too_many(),
                JoinError::StoreFull => store_full(),
            })?;
        log::info!("node joined node={node} token={id} by={}", by(caller));
        let reply = JoinReply {
            cluster_id: self.state.settings().cluster.clone(),
            node_token: Secret(text),
            node_key: Secret(key.to_text()),
            ca_pem: credentials.ca_pem,
            cert_pem: credentials.cert_pem,
        };
        Ok(Answer::Reply(AsOf { value: json(200, &reply), at: joined.at }))
    }

    /// A node that joins by its own token keeps that and its key, and gets its next certificate. Nothing changes.
    fn renew(&self, request: &Request, own: &NodeId, asked: &JoinRequest) -> Result<Answer, Problem> {
        if asked.node_id != *own {
            return Err(foreign_node(format!("{own}'s token doesn't speak for {}", asked.node_id)));
        }
        let credentials = self.credentials(own, asked.csr_pem.as_deref())?;
        let Some((key, Bearer::Text(token))) = self.state.key_of(own).map(|key| (key, bearer(request)))
        else {
            return Err(Problem::new(401, "unknown_token", "The token is not known", "this token was ended"));
        };
        log::info!("certificate made node={own}");
        let reply = JoinReply {
            cluster_id: self.state.settings().cluster.clone(),
            node_token: Secret(token.to_owned()),
            node_key: Secret(key.to_text()),
            ca_pem: credentials.ca_pem,
            cert_pem: credentials.cert_pem,
        };
        let at = self.state.tokens().at;
        Ok(Answer::Reply(AsOf { value: json(200, &reply), at }))
    }

    /// What the cluster's CA has for a node: a certificate, if it asks for one.
    ///
    /// # Errors
    /// A problem: what it asks for can't be signed.
    fn credentials(&self, node: &NodeId, csr_pem: Option<&str>) -> Result<Credentials, Problem> {
        let Some(authority) = &self.authority else { return Ok(Credentials::default()) };
        let signed = csr_pem.map(|request| authority.node(request, node, clock::wall())).transpose();
        let cert_pem = signed.map_err(|error| {
            let why = if let PkiError::Refused(why) = error { why } else { error.to_string() };
            problem_of(&Mistake::invalid("csr_pem", why))
        })?;
        Ok(Credentials { ca_pem: Some(authority.ca_pem().to_owned()), cert_pem })
    }

    /// By what whoever joins knows the cluster's CA.
    fn fingerprint(&self) -> Option<&str> {
        self.authority.as_deref().map(Authority::fingerprint)
    }
}

fn node_token(
    id: &TokenId,
    text: &str,
    node: &NodeId,
    key: &NodeKey,
    caller: &Caller,
    now: Now,
) -> TokenRecord {
    TokenRecord {
        id: id.clone(),
        hash: hash(text),
        kind: TokenKind::Node { node_id: node.clone(), key: key.clone() },
        label: None,
        created_at: now.wall,
        expires_at: None,
        made_by: caller.token().cloned(),
    }
}

/// 256 random bits.
fn drawn() -> Result<[u8; 32], Problem> {
    random::secret().map_err(|error| {
        log::error!("no secret can be drawn because={error}");
        Problem::unavailable("no_randomness", "this machine gives no random bytes")
    })
}

fn later(now: WallTime, lives: std::time::Duration) -> WallTime {
    WallTime::from_unix_millis(now.unix_millis().saturating_add(crate::api::wire::millis(lives)))
}

fn by(caller: &Caller) -> &str {
    caller.token().map_or("anybody", TokenId::as_str)
}

fn too_many() -> Problem {
    Problem::conflict("too_many_tokens", format!("there are {MOST_TOKENS} tokens: remove some first"))
}
