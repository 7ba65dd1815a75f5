//! The audit, line by line, and what of a request goes into it.

use std::io;

use super::{Answer, Api};
use crate::http::{Problem, Request, Responder, StreamHead, StreamWriter};
use crate::master::access::Caller;
use crate::master::journal::Journal;
use crate::model::audit::{Actor, Asked, By, Deed};
use crate::rest::query::Query;
use crate::runtime::clock;
use crate::store::StoreError;

use std::sync::Arc;

/// How much is gathered before it is sent, in bytes.
const AT_ONCE: usize = 32 * 1024;

/// One reader of the audit.
pub(crate) struct AuditStream {
    journal: Arc<Journal>,
    from: u64,
}

impl Api {
    /// GET /audit
    ///
    /// All lines that are kept, or those after the number in `?after=`, oldest first, as they are kept.
    pub(super) fn audit(&self, request: &Request) -> Result<Answer, Problem> {
        let mut query = Query::of(request)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| "must be a line's number");
        let after = query.take("after", number)?;
        query.finish()?;
        let from = after.map_or(0, |after| after.saturating_add(1));
        Ok(Answer::Audit(AuditStream { journal: Arc::clone(self.state.journal()), from }))
    }

    /// Has the audit keep that somebody was refused something other than to look: of each address a few a minute.
    pub(super) fn note_refused(&self, request: &Request, caller: Option<&Caller>, problem: &Problem) {
        if request.method.as_str() == "GET" || !matches!(problem.status, 401 | 403 | 429) {
            return;
        }
        if !self.access.is_to_be_noted(request, clock::mono()) {
            return;
        }
        self.state.note_refused(Deed {
            at: clock::wall(),
            by: by(request, caller),
            action: format!("{} {}", request.method.as_str(), shortened(&request.path)),
            subjects: Vec::new(),
            refused: Some(problem.code.to_string()),
        });
    }
}

/// A path as the audit keeps it: of one that is very long, the beginning.
fn shortened(path: &str) -> String {
    path.chars().take(200).collect()
}

/// When something is asked for, and by whom.
pub(super) fn asked(request: &Request, caller: &Caller) -> Asked {
    Asked { now: clock::now(), by: Some(by(request, Some(caller))) }
}

fn by(request: &Request, caller: Option<&Caller>) -> By {
    let actor = match caller {
        Some(Caller::User { token, .. }) => Actor::User(token.clone()),
        Some(Caller::Node { token, node }) => Actor::Node(node.clone(), token.clone()),
        Some(Caller::Joiner { token }) => Actor::Joiner(token.clone()),
        Some(Caller::Unchecked) => Actor::Unchecked,
        Some(Caller::Anybody) | None => Actor::Unknown,
    };
    By { actor, address: request.peer }
}

impl AuditStream {
    /// Answers on a thread of its own: the store is read there.
    pub(super) fn serve(self, responder: Responder) {
        let head = StreamHead::new(200, "application/x-ndjson").header("Cache-Control", "no-store");
        responder.stream(head, move |out| self.run(out));
    }

    fn run(self, out: &mut StreamWriter) -> io::Result<()> {
        let audit = self.journal.audit().map_err(io::Error::other)?;
        let mut chunk = Vec::with_capacity(AT_ONCE);
        let mut send = |chunk: &mut Vec<u8>| {
            let sent = out.send(chunk).map_err(|error| StoreError::Io {
                operation: "pass on the audit of",
                why: error.to_string(),
            });
            chunk.clear();
            sent
        };
        let passed_on = audit.replay(self.from, &mut |line| {
            chunk.extend_from_slice(line);
            chunk.push(b'\n');
            if chunk.len() < AT_ONCE { Ok(()) } else { send(&mut chunk) }
        });
        passed_on.and_then(|()| send(&mut chunk)).map_err(io::Error::other)
    }
}
