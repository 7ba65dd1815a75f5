//! Who may ask this worker: the master, by the key that it shares with this node, and whoever has a ticket for a log.
//!
//! Main type: [`Guard`]. Until a node that is to join has joined, nobody is let in. A node that has nothing to join with
//! belongs to a cluster without tokens, and lets in whoever reaches it.

use parking_lot::RwLock;
use subtle::ConstantTimeEq;

use crate::http::{Problem, Request};
use crate::model::access::Needs;
use crate::model::id::Attempt;
use crate::model::time::WallTime;
use crate::model::token::NodeKey;
use crate::rest::bearer::{Bearer, bearer};
use crate::rest::ticket::{self, BadTicket};

/// Who is let in.
#[derive(Debug)]
enum Door {
    /// Everybody.
    Open,
    /// Nobody.
    Closed,
    /// Whoever shows this.
    Locked(NodeKey),
}

/// Lets the master in.
#[derive(Debug)]
pub(super) struct Guard(RwLock<Door>);

impl Guard {
    /// Of a node that joined, with the key that it got.
    pub(super) fn with_key(key: NodeKey) -> Self {
        Self(RwLock::new(Door::Locked(key)))
    }

    /// Of a node that is about to join.
    pub(super) fn closed() -> Self {
        Self(RwLock::new(Door::Closed))
    }

    /// Of a node in a cluster without tokens.
    pub(super) fn open() -> Self {
        Self(RwLock::new(Door::Open))
    }

    /// From now on, this key counts.
    pub(super) fn lock(&self, key: NodeKey) {
        *self.0.write() = Door::Locked(key);
    }

    /// Whether a request shows what its route needs. `needs`: none for a path that leads nowhere. `task` and `attempt`: of
    /// the log that is asked for.
    ///
    /// # Errors
    /// The problem that the request is answered with: 401.
    pub(super) fn admit(
        &self,
        request: &Request,
        needs: Option<Needs>,
        (task, attempt): (&str, Option<Attempt>),
        now: WallTime,
    ) -> Result<(), Problem> {
        if needs == Some(Needs::Nothing) {
            return Ok(());
        }
        let door = self.0.read();
        let key = match &*door {
            Door::Open => return Ok(()),
            Door::Closed => return Err(refused("no_token", "this node hasn't joined its cluster yet")),
            Door::Locked(key) => key,
        };
        match bearer(request) {
            Bearer::Nothing => Err(refused("no_token", "this needs what the master shares with this node")),
            Bearer::Unclear => Err(unknown()),
            Bearer::Text(text) if ticket::is_one(text) && needs == Some(Needs::MasterOrTicket) => {
                ticket::check(text, key, task, attempt, now).map_err(|bad| match bad {
                    BadTicket::Foreign => unknown(),
                    BadTicket::Expired => refused("token_expired", "the ticket has expired: ask for another"),
                })
            }
            Bearer::Text(text) if bool::from(text.as_bytes().ct_eq(key.to_text().as_bytes())) => Ok(()),
            Bearer::Text(_) => Err(unknown()),
        }
    }
}

fn unknown() -> Problem {
    refused("unknown_token", "this is not what the master shares with this node")
}

fn refused(code: &'static str, text: &str) -> Problem {
    Problem::new(401, code, "The master's key is needed", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Headers, Method};
    use crate::model::id::TaskId;
    use crate::model::time::Mono;

    const TASK: &str = "01JD0000000000000000000000";

    fn request(shown: Option<&str>) -> Request {
        let pairs = shown.map(|text| ("Authorization".to_owned(), format!("Bearer {text}")));
        Request {
            method: Method::Get,
            path: "/".to_owned(),
            query: String::new(),
            headers: Headers::new(pairs.into_iter().collect()),
            body: Vec::new(),
            peer: None,
            received_at: Mono::from_boot(std::time::Duration::ZERO),
        }
    }

    /// `ok`, or the code of the refusal.
    fn said(guard: &Guard, shown: Option<&str>, needs: Option<Needs>) -> String {
        let log = (TASK, Some(Attempt(1)));
        match guard.admit(&request(shown), needs, log, WallTime::from_unix_millis(1_000)) {
            Ok(()) => "ok".to_owned(),
            Err(problem) => {
                assert_eq!(problem.status, 401);
                problem.code.into_owned()
            }
        }
    }

    #[test]
    fn only_who_has_the_key_is_let_in() {
        let key = NodeKey::new([1; 32]);
        let (text, other) = (key.to_text(), NodeKey::new([2; 32]).to_text());
        let guard = Guard::closed();
        assert_eq!(said(&guard, Some(&text), Some(Needs::Master)), "no_token", "it hasn't joined");
        guard.lock(key);
        for needs in [Some(Needs::Master), Some(Needs::MasterOrTicket), None] {
            assert_eq!(said(&guard, Some(&text), needs), "ok");
            assert_eq!(said(&guard, Some(&other), needs), "unknown_token");
            assert_eq!(said(&guard, None, needs), "no_token");
        }
        assert_eq!(said(&guard, None, Some(Needs::Nothing)), "ok");
        assert_eq!(said(&Guard::open(), None, Some(Needs::Master)), "ok");
    }

    #[test]
    fn a_ticket_is_good_for_its_log_alone() {
        let key = NodeKey::new([1; 32]);
        let task: TaskId = TASK.parse().unwrap();
        let until = WallTime::from_unix_millis;
        let ticket = ticket::make(&key, &task, Some(Attempt(1)), until(1_001));
        let late = ticket::make(&key, &task, Some(Attempt(1)), until(1_000));
        let guard = Guard::with_key(key);
        assert_eq!(said(&guard, Some(&ticket), Some(Needs::MasterOrTicket)), "ok");
        assert_eq!(said(&guard, Some(&ticket), Some(Needs::Master)), "unknown_token");
        assert_eq!(said(&guard, Some(&ticket), None), "unknown_token");
        assert_eq!(said(&guard, Some(&late), Some(Needs::MasterOrTicket)), "token_expired");
    }
}
