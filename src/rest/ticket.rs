//! Tickets: with one, whoever may read a task's log at the master may read it at the worker, for a minute.
//!
//! A ticket is `pdlt_<attempt>_<until>_<mac>`: an HMAC-SHA256 by the key that master and node share, over the task, the
//! attempt (0: any) and the time until which it is good, in milliseconds since 1970. The task is not in it: it stands in
//! the path that the ticket is shown for.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::id::{Attempt, TaskId};
use crate::model::time::WallTime;
use crate::model::token::{NodeKey, hex, unhex};

/// How long a ticket is good.
pub const LIVES: Duration = Duration::from_secs(60);

const TICKET: &str = "pdlt";

/// Why a ticket isn't good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTicket {
    /// It is no ticket, or another node's, task's or attempt's.
    Foreign,
    /// Its time is over.
    Expired,
}

/// Makes a ticket for one attempt's log, or for all of a task's.
pub fn make(key: &NodeKey, task: &TaskId, attempt: Option<Attempt>, until: WallTime) -> String {
    let (attempt, until) = (attempt.unwrap_or_default().0, until.unix_millis());
    let mac = hmac(key, task.as_str(), attempt, until).finalize().into_bytes();
    format!("{TICKET}_{attempt}_{until}_{}", hex(&mac))
}

/// Whether a text looks like a ticket.
pub fn is_one(text: &str) -> bool {
    text.strip_prefix(TICKET).is_some_and(|rest| rest.starts_with('_'))
}

/// Checks a ticket that is shown for a task's log, or for that of one attempt.
///
/// # Errors
/// It isn't good for that, or not any more.
pub fn check(
    text: &str,
    key: &NodeKey,
    task: &str,
    attempt: Option<Attempt>,
    now: WallTime,
) -> Result<(), BadTicket> {
    let parts: Vec<&str> = text.split('_').collect();
    let [TICKET, told_attempt, until, mac] = parts[..] else { return Err(BadTicket::Foreign) };
    let number = |text: &str| text.parse::<u64>().map_err(|_| BadTicket::Foreign);
    let until = number(until)?;
    let told_attempt = u32::try_from(number(told_attempt)?).map_err(|_| BadTicket::Foreign)?;
    let mac = unhex(mac).ok_or(BadTicket::Foreign)?;
    // In a time that doesn't tell how much of it fits.
    hmac(key, task, told_attempt, until).verify_slice(&mac).map_err(|_| BadTicket::Foreign)?;
    if told_attempt != 0 && attempt != Some(Attempt(told_attempt)) {
        return Err(BadTicket::Foreign);
    }
    if until <= now.unix_millis() { Err(BadTicket::Expired) } else { Ok(()) }
}

fn hmac(key: &NodeKey, task: &str, attempt: u32, until: u64) -> Hmac<Sha256> {
    let mut hmac =
        Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("invariant: HMAC takes keys of any length");
    hmac.update(format!("{task}\n{attempt}\n{until}").as_bytes());
    hmac
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "01JD0000000000000000000000";

    fn at(millis: u64) -> WallTime {
        WallTime::from_unix_millis(millis)
    }

    #[test]
    fn a_ticket_is_good_for_one_log_at_one_node_for_a_while() {
        let (key, other) = (NodeKey::new([1; 32]), NodeKey::new([2; 32]));
        let task: TaskId = TASK.parse().unwrap();
        let ticket = make(&key, &task, Some(Attempt(2)), at(1_000));
        assert!(is_one(&ticket));
        assert_eq!(check(&ticket, &key, TASK, Some(Attempt(2)), at(999)), Ok(()));
        assert_eq!(check(&ticket, &key, TASK, Some(Attempt(2)), at(1_000)), Err(BadTicket::Expired));
        for (key, task, attempt) in [
            (&other, TASK, Some(Attempt(2))),
            (&key, "01JD0000000000000000000001", Some(Attempt(2))),
            (&key, TASK, Some(Attempt(1))),
            (&key, TASK, None),
        ] {
            assert_eq!(check(&ticket, key, task, attempt, at(0)), Err(BadTicket::Foreign));
        }
        let any = make(&key, &task, None, at(1_000));
        assert_eq!(check(&any, &key, TASK, None, at(0)), Ok(()));
        assert_eq!(check(&any, &key, TASK, Some(Attempt(7)), at(0)), Ok(()));
    }

    #[test]
    fn a_ticket_that_was_changed_is_none() {
        let key = NodeKey::new([1; 32]);
        let ticket = make(&key, &TASK.parse().unwrap(), Some(Attempt(2)), at(1_000));
        let changed = [
            ticket.replace("_1000_", "_9000_"),
            ticket.replace("_2_", "_0_"),
            ticket.replace("_2_", "_02_x_"),
            ticket[..ticket.len() - 1].to_owned(),
            ticket.replace("pdlt", "pdl"),
            String::new(),
        ];
        for bad in changed {
            assert_eq!(check(&bad, &key, TASK, Some(Attempt(2)), at(0)), Err(BadTicket::Foreign), "{bad}");
        }
    }
}
