//! Trying again: after which ends a task gets another attempt, and how long it waits before that.
//!
//! [`Restart`] is what the user asked for. The wait grows from a second to a minute ([`backoff`]), and begins anew once
//! an attempt ran for ten minutes. Its jitter comes from the attempt itself, so that replaying the same steps gives the
//! same waits, while tasks that failed together don't come back together.

use std::str::FromStr;
use std::time::Duration;

use crate::model::id::AttemptKey;
use crate::model::spec::SpecError;
use crate::model::task::Reason;

/// The wait before the first further try.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// An attempt that ran for so long begins the waits anew.
pub const STEADY: Duration = Duration::from_secs(600);

/// After which ends a task is tried again, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// How many further tries there are at most. None: no limit.
    pub max: Option<u32>,
}

/// After which ends a task is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestartPolicy {
    /// None.
    #[default]
    Never,
    /// Those that may go better another time.
    OnFailure,
    /// Any but a stop.
    Always,
}

impl Restart {
    /// One attempt and no more.
    pub const NEVER: Self = Self { policy: RestartPolicy::Never, max: None };

    /// Checks what belongs together.
    ///
    /// # Errors
    /// A number of tries without tries, or none of them.
    pub fn new(policy: RestartPolicy, max: Option<u32>) -> Result<Self, SpecError> {
        match (policy, max) {
            (_, Some(0)) => Err(SpecError::new("max must be 1 or more")),
            (RestartPolicy::Never, Some(_)) => {
                Err(SpecError::new("max needs the policy on-failure or always"))
            }
            (policy, max) => Ok(Self { policy, max }),
        }
    }

    /// Whether another attempt follows one that ended for `reason` (none: with exit code 0), when there were `tries`
    /// further tries so far. A stop, and the loss of a node, are not asked about here.
    ///
    /// ```
    /// use podling::model::restart::{Restart, RestartPolicy};
    /// use podling::model::task::Reason;
    ///
    /// let twice = Restart::new(RestartPolicy::OnFailure, Some(2)).unwrap();
    /// assert!(twice.follows(Some(Reason::ExitCode), 1));
    /// assert!(!twice.follows(Some(Reason::ExitCode), 2));
    /// assert!(!twice.follows(None, 0));
    /// ```
    pub fn follows(self, reason: Option<Reason>, tries: u32) -> bool {
        let may_go_better = match reason {
            None => self.policy == RestartPolicy::Always,
            Some(
                Reason::ExitCode | Reason::OomKilled | Reason::ImagePull | Reason::Engine | Reason::Start,
            ) => true,
            Some(
                Reason::Stopped
                | Reason::InvalidSpec
                | Reason::NoNode
                | Reason::NodeLost
                | Reason::LeaseExpired
                | Reason::Policy,
            ) => false,
        };
        may_go_better && self.policy != RestartPolicy::Never && self.max.is_none_or(|max| tries < max)
    }
}

impl RestartPolicy {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text {
            "never" => Ok(Self::Never),
            "on-failure" => Ok(Self::OnFailure),
            "always" => Ok(Self::Always),
            other => Err(SpecError::new(format!("{other:?} must be never, on-failure or always"))),
        }
    }
}

/// How long a task waits after `failed`, the `streak`th attempt in a row that didn't run for long: 1 s, 2 s, 4 s and so
/// on to 60 s, each shortened by up to a fifth.
pub fn backoff(failed: &AttemptKey, streak: u32) -> Duration {
    let doublings = streak.saturating_sub(1).min(6);
    let longest = (FIRST * 2_u32.pow(doublings)).min(LONGEST);
    longest - longest / 5 * jitter(failed) / 1000
}

/// A number below 1000 that is spread evenly over attempts (FNV-1a).
fn jitter(attempt: &AttemptKey) -> u32 {
    let bytes = attempt.task.as_str().bytes().chain(attempt.attempt.0.to_le_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::Attempt;

    #[test]
    fn waits_double_to_a_minute_and_are_spread() {
        let key = |attempt| AttemptKey {
            task: "01JD0000000000000000000000".parse().unwrap(),
            attempt: Attempt(attempt),
        };
        let longest = [1, 2, 4, 8, 16, 32, 60, 60, 60];
        for (streak, longest) in (1..).zip(longest) {
            let waits: Vec<Duration> = (1..200).map(|attempt| backoff(&key(attempt), streak)).collect();
            let longest = Duration::from_secs(longest);
            assert!(waits.iter().all(|wait| *wait <= longest && *wait >= longest * 4 / 5), "{streak}");
            let below = waits.iter().filter(|wait| **wait < longest * 9 / 10).count();
            assert!((50..150).contains(&below), "{streak}: {below} of 199 in the lower half");
        }
        assert_eq!(backoff(&key(1), u32::MAX), backoff(&key(1), 7));
    }

    #[test]
    fn what_can_not_go_better_is_not_tried_again() {
        let always = Restart::new(RestartPolicy::Always, None).unwrap();
        let on_failure = Restart::new(RestartPolicy::OnFailure, None).unwrap();
        for reason in [Reason::ExitCode, Reason::OomKilled, Reason::ImagePull, Reason::Engine, Reason::Start]
        {
            assert!(always.follows(Some(reason), 9) && on_failure.follows(Some(reason), 9), "{reason:?}");
            assert!(!Restart::NEVER.follows(Some(reason), 0), "{reason:?}");
        }
        for reason in [Reason::InvalidSpec, Reason::Policy, Reason::NoNode, Reason::Stopped, Reason::NodeLost]
        {
            assert!(!always.follows(Some(reason), 0), "{reason:?}");
        }
        assert!(always.follows(None, 0) && !on_failure.follows(None, 0));
    }

    #[test]
    fn a_number_of_tries_needs_tries() {
        assert!(Restart::new(RestartPolicy::Never, Some(1)).is_err());
        assert!(Restart::new(RestartPolicy::Always, Some(0)).is_err());
    }
}
