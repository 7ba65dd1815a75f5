//! Serves an OpenAPI document, with an `ETag` so that whoever has it already isn't sent it again.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::api::openapi;
use crate::http::{Body, Request, Response};

/// A document, ready to be sent.
struct Document {
    etag: String,
    body: Arc<[u8]>,
}

impl Document {
    fn of(text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { etag: format!("\"{hex}\""), body: text.as_bytes().into() }
    }

    fn answer(&self, request: &Request) -> Response {
        let response = if has_it(request, &self.etag) {
            Response::empty(304)
        } else {
            Response::new(200, "application/json", Body::Shared(Arc::clone(&self.body)))
        };
        response.header("ETag", self.etag.as_str()).header("Cache-Control", "no-cache")
    }
}

/// GET /openapi.json of the master.
pub fn master(request: &Request) -> Response {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::of(openapi::master_document())).answer(request)
}

/// GET /openapi.json of a worker.
pub fn worker(request: &Request) -> Response {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::of(openapi::worker_document())).answer(request)
}

/// Whether the client names what it would be sent (RFC 9110, 13.1.2: compared weakly).
fn has_it(request: &Request, etag: &str) -> bool {
    let tags = request.headers.all("if-none-match").flat_map(|value| value.split(','));
    tags.map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
