//! What a request shows of who asks: the token in its `Authorization` header (RFC 6750).

use crate::http::Request;

const HEADER: &str = "Authorization";
const SCHEME: &str = "bearer";

/// What stands where a token should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// Nothing.
    Nothing,
    /// A text.
    Text(&'a str),
    /// Several headers, or something that is no bearer token.
    Unclear,
}

/// The bearer token of a request.
pub fn bearer(request: &Request) -> Bearer<'_> {
    let mut given = request.headers.all(HEADER);
    let Some(value) = given.next() else { return Bearer::Nothing };
    match value.trim().split_once(' ') {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case(SCHEME) && given.next().is_none() => {
            Bearer::Text(text.trim())
        }
        Some(_) | None => Bearer::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Headers, Method};
    use crate::model::time::Mono;

    fn request(values: &[&str]) -> Request {
        let pairs = values.iter().map(|value| ("authorization".to_owned(), (*value).to_owned()));
        Request {
            method: Method::Get,
            path: "/".to_owned(),
            query: String::new(),
            headers: Headers::new(pairs.collect()),
            body: Vec::new(),
            peer: None,
            received_at: Mono::from_boot(std::time::Duration::ZERO),
        }
    }

    #[test]
    fn one_bearer_token_is_taken_and_nothing_else() {
        assert_eq!(bearer(&request(&[])), Bearer::Nothing);
        assert_eq!(bearer(&request(&["Bearer abc"])), Bearer::Text("abc"));
        assert_eq!(bearer(&request(&["bearer  abc "])), Bearer::Text("abc"));
        for unclear in [&["Basic abc"][..], &["abc"], &[""], &["Bearer a", "Bearer a"]] {
            assert_eq!(bearer(&request(unclear)), Bearer::Unclear, "{unclear:?}");
        }
    }
}
