//! What a client is told when something is wrong: RFC 9457 problem documents.
//!
//! A [`Problem`] is an HTTP status, a stable `code` that programs compare, a `title` that is the same for every
//! problem of that code, and a `detail` that names what is wrong this time. The gate, the API and the client of
//! this crate share the type, so that a problem reads the same wherever it was noticed.
//!
//! Invariant: a problem's status is 4xx or 503 or 505 or 507 or 501; there is no constructor for 500, 502 or 504.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

/// The media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One problem, ready to be sent or just received.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The HTTP status that it is answered with.
    pub status: u16,
    /// What programs compare: `task_not_found`.
    pub code: Cow<'static, str>,
    /// What is wrong, for people; the same for every problem of this code.
    pub title: Cow<'static, str>,
    /// What is wrong this time; names the subject.
    pub detail: String,
    /// Members beside the standard ones, such as `fields`.
    pub extra: Map<String, Value>,
    /// `Retry-After`, in seconds.
    pub retry_after_secs: Option<u16>,
    /// `Allow`: the methods that a resource knows.
    pub allow: Option<Box<str>>,
}

impl Problem {
    /// A problem without extra members.
    pub fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            title: title.into(),
            detail: detail.into(),
            extra: Map::new(),
            retry_after_secs: None,
            allow: None,
        }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u16) -> Self {
        self.retry_after_secs = Some(seconds);
        self
    }

    /// 400: what came isn't what it claims to be.
    pub fn malformed(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(400, code, "Malformed request", detail)
    }

    /// 404: there is no such thing; `code` says of which kind (`task_not_found`).
    pub fn not_found(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(404, code, "Not found", detail)
    }

    /// 405: the resource exists but doesn't know this method. `allow` lists those it knows: `GET, POST`.
    pub fn method_not_allowed(method: &str, allow: impl Into<String>) -> Self {
        let allow = allow.into();
        let detail = format!("{method} is not among the methods of this resource: {allow}");
        let mut problem = Self::new(405, "method_not_allowed", "Method not allowed", detail);
        problem.allow = Some(allow.into());
        problem
    }

    /// 409: right in itself, but not in the state that things are in.
    pub fn conflict(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(409, code, "Conflict", detail)
    }

    /// 413: the body is longer than this resource takes.
    pub fn too_large(limit_bytes: usize) -> Self {
        let detail = format!("the body is longer than the {limit_bytes} bytes that are taken here");
        Self::new(413, "body_too_large", "Body too large", detail).with("limit_bytes", limit_bytes)
    }

    /// 415: the body isn't JSON.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(415, "unsupported_media_type", "Not JSON", detail)
    }

    /// 422: understood, but what it says is not valid.
    pub fn invalid(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(422, code, "Invalid content", detail)
    }

    /// 429: one client has more of something than its share.
    pub fn too_many(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(429, code, "Too many requests", detail).retry_after(1)
    }

    /// 503: not now. Always with `Retry-After`.
    pub fn unavailable(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(503, code, "Not available now", detail).retry_after(1)
    }

    /// 507: what was asked can't be stored.
    pub fn store_full(detail: impl Into<String>) -> Self {
        Self::new(507, "store_full", "The store is full", detail)
    }

    /// The JSON document.
    ///
    /// ```
    /// use podling::http::Problem;
    ///
    /// let problem = Problem::not_found("task_not_found", "no task has the id 01J");
    /// let text = String::from_utf8(problem.to_json()).unwrap();
    /// assert!(text.contains(r#""code":"task_not_found""#) && text.contains(r#""status":404"#));
    /// ```
    pub fn to_json(&self) -> Vec<u8> {
        let mut members = self.extra.clone();
        members.insert("type".to_owned(), format!("urn:podling:problem:{}", self.code).into());
        members.insert("title".to_owned(), self.title.as_ref().into());
        members.insert("status".to_owned(), self.status.into());
        members.insert("detail".to_owned(), self.detail.as_str().into());
        members.insert("code".to_owned(), self.code.as_ref().into());
        Value::Object(members).to_string().into_bytes()
    }

    /// The headers that go with it, beside `Content-Type`.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(seconds) = self.retry_after_secs {
            headers.push(("Retry-After", seconds.to_string()));
        }
        if let Some(allow) = &self.allow {
            headers.push(("Allow", allow.to_string()));
        }
        if self.status == 401 {
            headers.push(("WWW-Authenticate", "Bearer".to_owned()));
        }
        headers
    }

    /// Reads the body of a reply that isn't a success. Whatever it holds becomes a problem: a body that is no
    /// problem document, such as a proxy's page, has the code `unknown` and its first words as detail.
    pub fn from_reply(status: u16, body: &[u8]) -> Self {
        const DETAIL_CHARS: usize = 200;
        let Ok(Value::Object(mut members)) = serde_json::from_slice::<Value>(body) else {
            let words: String = words_of(&String::from_utf8_lossy(body)).chars().take(DETAIL_CHARS).collect();
            let said = if words.is_empty() { String::new() } else { format!(": {words}") };
            let detail = format!("HTTP {status}, not from Podling (a proxy's?){said}");
            return Self::new(status, "unknown", "No problem document", detail);
        };
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            Some(_) | None => None,
        };
        let (code, title) = (text("code"), text("title"));
        let detail = text("detail").unwrap_or_default();
        let _ = (text("type"), members.remove("status"));
        let code = code.unwrap_or_else(|| "unknown".to_owned());
        let mut problem = Self::new(status, code, title.unwrap_or_default(), detail);
        problem.extra = members;
        problem
    }
}

/// A text on one line, without markup.
fn words_of(text: &str) -> String {
    let mut is_markup = false;
    let plain = text.chars().map(|c| match c {
        '<' => {
            is_markup = true;
            ' '
        }
        '>' if is_markup => {
            is_markup = false;
            ' '
        }
        _ if is_markup => ' ',
        c => c,
    });
    plain.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.detail, self.status, self.code)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_survives_the_wire() {
        let sent = Problem::invalid("unknown_field", "no field is called colour").with("field", "colour");
        assert_eq!(Problem::from_reply(422, &sent.to_json()), sent);
    }

    #[test]
    fn a_reply_that_is_no_problem_still_becomes_one() {
        let problem = Problem::from_reply(502, b"<html><h1>Bad\ngateway</h1></html>\n");
        assert_eq!((problem.status, problem.code.as_ref()), (502, "unknown"));
        assert_eq!(problem.detail, "HTTP 502, not from Podling (a proxy's?): Bad gateway");
        assert_eq!(Problem::from_reply(502, b"").detail, "HTTP 502, not from Podling (a proxy's?)");
        assert_eq!(Problem::from_reply(404, b"[1]").code, "unknown");
        assert_eq!(Problem::from_reply(404, br#"{"code":7}"#).code, "unknown");
    }

    #[test]
    fn headers_go_with_the_status() {
        let headers = Problem::method_not_allowed("PUT", "GET, POST").headers();
        assert_eq!(headers, [("Allow", "GET, POST".to_owned())]);
        assert_eq!(Problem::unavailable("busy", "").headers(), [("Retry-After", "1".to_owned())]);
        assert_eq!(
            Problem::new(401, "no_token", "", "").headers(),
            [("WWW-Authenticate", "Bearer".to_owned())]
        );
    }
}
