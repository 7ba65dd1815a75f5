//! What comes before HTTP, where TLS is served: the first byte, and the handshake.
//!
//! It counts as the time of a head: a handshake that isn't over when a head would have to be is closed. A client that
//! is refused before (too many connections) is told so once its handshake is over, or at once if it speaks plain HTTP.

use crate::http::gate::connection::Phase;
use crate::http::gate::head::Scan;
use crate::http::gate::intake::Step;
use crate::http::gate::line::Greeted;
use crate::http::gate::{Gate, Token};
use crate::http::problem::Problem;

impl Gate {
    /// Takes a client that can't be asked anything yet one step on.
    pub(super) fn greet(&mut self, token: Token) -> Step {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&token) else {
            return Step::Gone;
        };
        match client.line.greet(&self.settings.entry) {
            Greeted::Wait => Step::Wait,
            Greeted::Moved => {
                if let Phase::Head { began, .. } = &mut client.phase {
                    began.get_or_insert(now);
                }
                Step::Again
            }
            Greeted::Ready => {
                // Between requests, like any other: whether a head has begun is for its first byte to say.
                if let Phase::Head { .. } = client.phase {
                    client.phase = Phase::Head { scan: Scan::default(), began: None };
                    client.since = now;
                }
                Step::Again
            }
            Greeted::NoPlain if matches!(client.phase, Phase::Head { .. }) => {
                self.refuse(token, &tls_required())
            }
            Greeted::NoPlain => Step::Again,
            Greeted::End => {
                self.close_client(token);
                Step::Gone
            }
        }
    }
}

fn tls_required() -> Problem {
    Problem::malformed("tls_required", "this address is served over TLS alone: use https://")
}
