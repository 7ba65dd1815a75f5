//! Every problem code there is: what programs compare, with the status that it comes with and what it means.
//!
//! Main type: [`Code`]. The gate's own codes ([`Code::is_the_gates`]) may answer any request, before a handler has seen it.
//! A test reads the sources: a code that isn't listed here, or a listed one that nobody says, fails it.

/// One problem code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// What programs compare.
    pub code: &'static str,
    /// The HTTP status that it comes with.
    pub status: u16,
    /// Whether it may answer any request: the gate, or what is behind it, refuses.
    pub is_the_gates: bool,
    /// What it means.
    pub means: &'static str,
}

const fn api(status: u16, code: &'static str, means: &'static str) -> Code {
    Code { code, status, is_the_gates: false, means }
}

const fn gate(status: u16, code: &'static str, means: &'static str) -> Code {
    Code { code, status, is_the_gates: true, means }
}

/// All of them, by status.
pub const CODES: &[Code] = &[
    gate(400, "ambiguous_length", "the request says its length more than once"),
    gate(400, "bad_expect", "an Expect that can't be met"),
    gate(400, "bad_host", "no Host, several, or one that is none"),
    gate(400, "bad_length", "a Content-Length that is no number"),
    gate(400, "malformed_chunk", "the body's chunks can't be read"),
    gate(400, "malformed_request", "request line or headers can't be read"),
    gate(400, "tls_required", "this address is served over TLS alone"),
    api(400, "invalid_event_id", "a Last-Event-ID that is none"),
    api(400, "invalid_key", "an Idempotency-Key that is none"),
    api(400, "malformed_json", "the body is not JSON"),
    api(400, "malformed_path", "the path is not percent-encoded UTF-8"),
    api(400, "malformed_query", "the query is not percent-encoded UTF-8"),
    api(401, "no_token", "no token was shown"),
    api(401, "token_expired", "the token's time is over"),
    api(401, "unknown_token", "the token was mistyped, revoked, used up, or is another cluster's"),
    api(403, "foreign_node", "only a node's own token speaks for it"),
    api(403, "policy", "the policy does not allow it"),
    api(403, "scope", "the token's scope is too small; needs names the one that is needed"),
    api(404, "attempt_not_found", "the task has had no such attempt"),
    api(404, "no_such_path", "nothing is at this path"),
    api(404, "node_not_found", "no such node"),
    api(404, "task_not_found", "no such task"),
    api(404, "token_not_found", "no such token"),
    api(405, "method_not_allowed", "the path does not take this method; Allow names those that it takes"),
    gate(408, "body_too_slow", "the body was not whole in time"),
    gate(408, "head_too_slow", "the head was not whole in time"),
    api(409, "ambiguous", "the reference names several tasks; candidates lists them"),
    api(409, "fenced", "the assignment is of an earlier start or an earlier set"),
    api(409, "foreign_cluster", "the worker belongs to another cluster"),
    api(409, "image_pull", "the image can't be had"),
    api(409, "key_busy", "the first request with this Idempotency-Key is still being answered"),
    api(409, "node_id_in_use", "another worker beats under this name"),
    api(409, "node_in_use", "the node is online, or has live tasks"),
    api(409, "not_placed", "the task has not been placed on a node that is still known"),
    api(409, "superseded", "a later worker has registered under this name"),
    api(409, "task_lives", "the task has not ended"),
    api(409, "too_many_tokens", "there are as many tokens as may be"),
    api(410, "gone", "what this Idempotency-Key made was removed since"),
    gate(411, "length_required", "a body without its length"),
    gate(413, "body_too_large", "the body is longer than limit_bytes"),
    gate(414, "request_line_too_long", "the request line is longer than 8 KiB"),
    api(415, "unsupported_media_type", "the body does not claim to be JSON"),
    api(422, "invalid", "understood, but not valid; field names what"),
    api(422, "key_reused", "this Idempotency-Key was used with another body"),
    api(422, "not_supported", "understood, but not built"),
    api(422, "unknown_parameter", "no such query parameter; field names it"),
    gate(429, "too_many_connections", "one address has as many connections as it may"),
    api(429, "wrong_tokens", "too many wrong tokens came from this address"),
    gate(431, "headers_too_large", "too many headers, or too long ones"),
    gate(501, "unknown_transfer_coding", "another transfer coding than chunked"),
    api(503, "busy", "as many wait for this as may"),
    api(503, "engine", "the container engine does not answer"),
    api(503, "no_randomness", "the machine gives no random bytes"),
    api(503, "node_unreachable", "the node's worker does not answer"),
    api(503, "not_ready", "the worker has not registered or not looked at its engine yet"),
    api(503, "stopping", "the server is stopping"),
    gate(503, "bodies_full", "too many bodies are being read"),
    gate(503, "connections_full", "as many clients as may are served"),
    gate(503, "descriptors_full", "there are descriptors for nobody"),
    gate(503, "no_answer", "the server did not answer in time"),
    gate(503, "queue_full", "too many requests wait"),
    gate(503, "streams_full", "as many streams as may run do run"),
    gate(503, "unanswered", "the server could not answer"),
    gate(503, "unserialisable", "the answer can't be written as JSON"),
    gate(505, "unsupported_version", "another version than HTTP/1.1 and HTTP/1.0"),
    api(507, "store_full", "it can't be stored now; nothing was changed"),
];

/// What a status says, whatever the code.
pub(super) const fn title(status: u16) -> &'static str {
    match status {
        400 => "Malformed",
        401 => "No token, or one that nobody knows",
        403 => "Not allowed",
        404 => "Not found",
        408 => "Too slow",
        409 => "Not in the state that things are in",
        410 => "Gone",
        411 => "A body without its length",
        413 => "The body is too long",
        414 => "The request line is too long",
        415 => "Not JSON",
        422 => "Understood, but not valid",
        429 => "One client has more than its share",
        431 => "The headers are too long",
        501 => "Unknown transfer coding",
        503 => "Not now: try again after Retry-After",
        505 => "Unsupported HTTP version",
        507 => "It can't be stored now: nothing was changed",
        _ => "Refused",
    }
}

/// Looks a code up. A listed name is found once: no code comes with two statuses.
pub(super) fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|one| one.code == code)
}
