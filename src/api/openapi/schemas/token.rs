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
        ("AuditLine", audit_line()),
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

fn audit_line() -> Schema {
    let hash = || Schema::matching("^[0-9a-f]{64}$");
    Schema::object()
        .must("number", "From 1, without a gap.", Schema::count())
        .must("time", "When.", Schema::time())
        .must("actor", "Who.", Schema::words(&["user", "node", "join", "unchecked", "unknown"]))
        .may("token_id", "The token that was shown, where it is known.", made_id())
        .may("node_id", "The node, if it was one.", node_id())
        .may("address", "The other end of the connection.", Schema::text())
        .must("action", "What; of what was refused, method and path.", Schema::text())
        .may("subjects", "To what: ids.", Schema::list(Schema::text()))
        .must("allowed", "Whether it was done.", Schema::flag())
        .may("code", "The code of the problem that it was refused with.", Schema::text())
        .must("previous", "The hash of the line before.", hash())
        .must("hash", "The SHA-256 of all that stands before `,\"hash\":\"` in the line.", hash())
        .doc("Who did what.")
}
