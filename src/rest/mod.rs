//! What the two servers' handlers share: from a request to a route, a value or a query, and from a mistake to the
//! problem document that names it.
//!
//! [`crate::http`] knows bytes and no API, [`crate::api`] knows documents and no sockets; here they meet. Nothing in
//! here knows a task's state.

pub mod bearer;
pub mod log;
pub mod openapi;
pub mod query;
pub mod ticket;

use serde::de::DeserializeOwned;

use crate::api::routes::{self, Found, Route};
use crate::api::wire::{self, Mistake, MistakeKind};
use crate::http::{Problem, Request};

/// Finds the route of a request, and the segments that its pattern's words stand for.
///
/// # Errors
/// A problem: the path can't be read (400), leads nowhere (404), or doesn't take this method (405).
pub fn route<R: Copy>(table: &[Route<R>], request: &Request) -> Result<(R, Vec<String>), Problem> {
    let segments = request.segments().map_err(|e| Problem::malformed("malformed_path", e.to_string()))?;
    match routes::find(table, request.method.as_str(), &segments) {
        Found::Route(route, words) => Ok((route, words)),
        Found::OtherMethods(methods) => {
            Err(Problem::method_not_allowed(request.method.as_str(), methods.join(", ")))
        }
        Found::Nothing => Err(Problem::not_found("no_such_path", format!("{} leads nowhere", request.path))),
    }
}

/// Reads a request's JSON.
///
/// # Errors
/// A problem: it doesn't claim to be JSON (415), isn't (400), or doesn't fit (422, the field named).
pub fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Problem> {
    check_json(request)?;
    wire::read(&request.body).map_err(|mistake| problem_of(&mistake))
}

/// Refuses a body that doesn't claim to be JSON.
///
/// # Errors
/// A problem (415).
pub fn check_json(request: &Request) -> Result<(), Problem> {
    let claims = request.headers.get("content-type");
    let media = claims.and_then(|claim| claim.split(';').next()).map(str::trim);
    match media {
        Some(media) if media.eq_ignore_ascii_case("application/json") => Ok(()),
        Some(media) => Err(Problem::unsupported_media_type(format!("{media:?} is not application/json"))),
        None => {
            Err(Problem::unsupported_media_type("the request has no Content-Type; application/json is taken"))
        }
    }
}

/// The problem document of a mistake in a body.
pub fn problem_of(mistake: &Mistake) -> Problem {
    let text = mistake.to_string();
    let problem = match mistake.kind {
        MistakeKind::Malformed => Problem::malformed("malformed_json", text),
        MistakeKind::Invalid => Problem::invalid("invalid", text),
        MistakeKind::NotSupported => Problem::invalid("not_supported", text),
        MistakeKind::Policy => Problem::new(403, "policy", "The policy does not allow it", text),
    };
    if mistake.field.is_empty() { problem } else { problem.with("field", mistake.field.as_str()) }
}
