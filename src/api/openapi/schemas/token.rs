//! Tokens, joining, and the audit: [`crate::api::wire::token`] and [`audit`](crate::api::wire::audit).

use super::super::schema::Schema;
use super::{made_id, node_id, page};
use crate::model::access::Scope;

pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("TokenRequest", token_request().closed()),
        ("TokenMade", token_made()),
        ("Token", token()),
        ("TokenList", page("Token").doc("Tokens, oldest first.")),
        ("JoinRequest", join_request().closed()),
        ("JoinReply", join_reply()),
    ]
}

fn scope() -> Schema {
    Schema::words(&Scope::ALL.map(Scope::as_str))
}

fn label() -> Schema {
    Schema::matching("^[^\\x00-\\x1f\\x7f-\\x9f]{1,100}$").example("ci")
}

fn token_request() -> Schema {
    let longest = 10 * 365 * 86_400_000;
    Schema::object()
        .may("scope", "What it may do; `read` where nothing is said. A join word has none.", scope())
        .may("join", "Whether it is a join word.", Schema::flag())
        .may(
            "expires_ms",
            "How long it lives; for ever where nothing is said, a join word an hour.",
            Schema::number(1, longest),
        )
        .may("label", "What people call it.", label())
        .doc("A token that is to be made.")
}

fn token_made() -> Schema {
    Schema::object()
        .must("token_id", "Its name.", made_id())
        .must("token", "Its text, or the join word: shown here and never again.", Schema::text())
        .may("scope", "What it may do; absent for a join word.", scope())
        .may("expires_at", "Until when it is good.", Schema::time())
        .doc("A token that was made.")
}

fn token() -> Schema {
    Schema::object()
        .must("token_id", "Its name.", made_id())
        .must("kind", "Whose it is.", Schema::words(&["user", "node", "join"]))
        .may("scope", "What it may do, where it is a user's.", scope())
        .may("node_id", "Whose it is, where it is a node's.", node_id())
        .may("label", "What people call it.", Schema::text())
        .must("created_at", "When it was made.", Schema::time())
        .may("expires_at", "Until when it is good.", Schema::time())
        .may("made_by", "The token that had it made; absent where the master itself did.", made_id())
        .doc("A token, without its text.")
}

fn join_request() -> Schema {
    Schema::object()
        .must("node_id", "The node's name.", node_id())
        .may(
            "instance_id",
            "Its data folder: tells a node that joins again from another one of its name.",
            made_id(),
        )
        .may("csr_pem", "What it wants to have signed.", Schema::text())
        .doc("A node that joins.")
}

fn join_reply() -> Schema {
    Schema::object()
        .must("cluster_id", "The cluster.", made_id())
        .must("node_token", "With what the node speaks for itself from now on.", Schema::text())
        .must("node_key", "What the master shows to the node.", Schema::text())
        .may("ca_pem", "The cluster's CA, where it has one.", Schema::text())
        .may("cert_pem", "The node's certificate, where it asked for one.", Schema::text())
        .doc("What a node gets that joined.")
}
