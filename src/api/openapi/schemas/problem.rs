//! What a client is told when something is wrong (RFC 9457), and the small replies that say little.
//!
//! The problem document's type is `http::Problem`, which nothing in here may name: `tests/openapi.rs` holds the two
//! against each other, with what a server really answers.

use super::super::problems::CODES;
use super::super::schema::Schema;
use crate::model::access::Scope;

pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    vec![("Problem", problem()), ("Status", status()), ("Taken", taken())]
}

fn problem() -> Schema {
    let codes: Vec<&str> = CODES.iter().map(|one| one.code).collect();
    let meanings: Vec<String> =
        CODES.iter().map(|one| format!("- `{}` ({}): {}", one.code, one.status, one.means)).collect();
    let kind = Schema::matching("^urn:podling:problem:[a-z_]+$");
    Schema::object()
        .must("type", "`urn:podling:problem:` and the code.", kind)
        .must("title", "What is wrong; the same for every problem of its code.", Schema::text())
        .must("status", "The HTTP status.", Schema::number(400, 599))
        .must("detail", "What is wrong this time; names the subject.", Schema::text())
        .must("code", &meanings.join("\n"), Schema::words(&codes))
        .may("field", "The field or parameter that is wrong: `ports[0].host`.", Schema::text())
        .may(
            "candidates",
            "With `ambiguous`: the ids of the tasks that are meant.",
            Schema::list(super::task_id()),
        )
        .may(
            "needs",
            "With `scope`: the scope that is needed.",
            Schema::words(&Scope::ALL.map(Scope::as_str)),
        )
        .may("limit_bytes", "With `body_too_large`: how long it may be.", Schema::count())
        .doc("A problem document (RFC 9457). Programs compare `code`.")
}

fn status() -> Schema {
    Schema::object().must("status", "How it is.", Schema::words(&["ok", "ready"])).doc("How a server is.")
}

fn taken() -> Schema {
    Schema::object().doc("It was taken; there is nothing more to say.")
}
