//! What an Engine's view of a container means for its attempt. Pure.

use std::time::Duration;

use crate::engine::{Observed, Phase};
use crate::model::task::{Ending, Reason};
use crate::model::time::{Now, WallTime};
use crate::worker::hold::{Cause, Signal};
use crate::worker::walk::Facts;

/// What TERM and KILL leave as exit codes.
const CODE_TERM: i32 = 143;
const CODE_KILL: i32 = 137;

/// A wall clock that goes otherwise than the clock since boot by more than this was set by somebody.
const STEADY: Duration = Duration::from_secs(1);

/// How long after its grace a signal of an earlier process may still be what ended a container. One that ends later
/// never got it: that process ended just before.
const LATE: Duration = Duration::from_secs(10);

/// Whether the container runs.
pub(super) const fn runs(observed: &Observed) -> bool {
    matches!(observed.phase, Phase::Running)
}

/// Whether the container was made and never started, so that it may be.
pub(super) const fn is_fresh(observed: &Observed) -> bool {
    matches!(observed.phase, Phase::Created) && observed.started_at.is_none() && observed.exit_code == 0
}

/// The end of an attempt whose container has ended.
pub(super) fn ending(observed: &Observed, facts: &Facts) -> Ending {
    // Of a container that ends at once the Engine may note the end before the start (Docker Engine 20.10).
    let finished = observed.finished_at.unwrap_or(facts.now.wall);
    let at = finished.max(observed.started_at.unwrap_or_default());
    let code = Some(observed.exit_code).filter(|_| !observed.oom_killed);
    let own = facts.signal.map(|signal| (signal, None));
    let earlier = facts.earlier.map(|signal| (signal, Some(signal.grace + LATE)));
    let ended_by = |(signal, within): &(Signal, _)| came_after(signal.at, *within, finished, code, facts.now);
    let (reason, error) = match earlier.filter(ended_by).or(own.filter(ended_by)) {
        Some((signal, _)) => told_to_end(signal.cause),
        None => meaning(observed),
    };
    Ending {
        at,
        reason,
        exit_code: Some(observed.exit_code),
        error,
        container: Some(observed.id.clone()),
        started_at: observed.started_at,
    }
}

/// Whether a container that ended `at` did so after it was sent a signal, and within that time of it. The Engine tells its end by the wall clock
/// alone: where somebody has set that since the signal, or back since the end, the exit code must do; one without a
/// meaning is none.
fn came_after(signalled: Now, within: Option<Duration>, at: WallTime, code: Option<i32>, now: Now) -> bool {
    let by_wall = Duration::from_millis(now.wall.unix_millis().abs_diff(signalled.wall.unix_millis()));
    let by_boot = now.mono.since(signalled.mono);
    let is_ahead = at.since(now.wall) > STEADY;
    let was_set = is_ahead || now.wall < signalled.wall || by_wall.abs_diff(by_boot) > STEADY;
    if was_set {
        return matches!(code, Some(CODE_TERM | CODE_KILL));
    }
    signalled.wall <= at && within.is_none_or(|longest| at.since(signalled.wall) <= longest)
}

/// Why an attempt ended that was told to.
fn told_to_end(cause: Cause) -> (Option<Reason>, Option<String>) {
    match cause {
        Cause::Asked => (Some(Reason::Stopped), None),
        Cause::Lease => (Some(Reason::LeaseExpired), Some("the node's lease ran out".to_owned())),
    }
}

/// Why it ended by itself, as a code and in words. Exit code 0 needs neither.
fn meaning(observed: &Observed) -> (Option<Reason>, Option<String>) {
    let code = observed.exit_code;
    match (observed.phase, code, observed.oom_killed) {
        (Phase::Dead, _, _) => (Some(Reason::Engine), Some("the engine calls the container dead".to_owned())),
        (_, 0, _) => (None, None),
        (_, _, true) => {
            (Some(Reason::OomKilled), Some(format!("out of memory: the kernel killed it (exit code {code})")))
        }
        (Phase::Created | Phase::Running | Phase::Exited, _, false) => {
            let engine = observed.error.trim();
            let words = if engine.is_empty() {
                format!("the command ended with exit code {code}")
            } else {
                format!("the command ended with exit code {code}: {engine}")
            };
            (Some(Reason::ExitCode), Some(words))
        }
    }
}

/// What a start that failed means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FailedStart {
    /// A port that somebody else has: another node may have it free.
    Port,
    /// The command isn't there (127) or can't be executed (126).
    Command(i32),
    /// Anything else.
    Engine,
}

/// Reads the Engine's words, and the code that it left at the container.
pub(super) fn failed_start(words: &str, exit_code: i32) -> FailedStart {
    let says = |text: &str| words.contains(text);
    if says("port is already allocated") || says("address already in use") {
        return FailedStart::Port;
    }
    match exit_code {
        126 | 127 => FailedStart::Command(exit_code),
        _ if says("executable file not found") || says("no such file or directory") => {
            FailedStart::Command(127)
        }
        _ if says("permission denied") || says("is a directory") => FailedStart::Command(126),
        _ => FailedStart::Engine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Mono, Now, WallTime};

    fn exited(exit_code: i32, oom_killed: bool) -> Observed {
        Observed {
            id: "c1".parse().unwrap(),
            key: None,
            phase: Phase::Exited,
            exit_code,
            oom_killed,
            error: String::new(),
            started_at: Some(WallTime::from_unix_millis(1_000)),
            finished_at: Some(WallTime::from_unix_millis(5_000)),
        }
    }

    fn loose() -> Facts {
        let mono = Mono::default() + Duration::from_secs(9);
        let now = Now { wall: WallTime::from_unix_millis(9_000), mono };
        Facts { now, pulled: None, signal: None, earlier: None, may_start: true, is_leaving: false }
    }

    fn signalled(at: u64) -> Facts {
        Facts { pulled: Some(Cause::Asked), signal: Some(signal(Cause::Asked, at)), ..loose() }
    }

    fn signal(cause: Cause, at: u64) -> Signal {
        let mono = Mono::default() + Duration::from_millis(at);
        Signal {
            cause,
            at: Now { wall: WallTime::from_unix_millis(at), mono },
            grace: Duration::from_millis(500),
        }
    }

    fn reason(observed: &Observed, facts: &Facts) -> Option<Reason> {
        ending(observed, facts).reason
    }

    #[test]
    fn the_engines_own_words_decide() {
        let loose = loose();
        assert_eq!(reason(&exited(0, false), &loose), None);
        assert_eq!(reason(&exited(0, true), &loose), None);
        assert_eq!(reason(&exited(7, false), &loose), Some(Reason::ExitCode));
        assert_eq!(reason(&exited(137, true), &loose), Some(Reason::OomKilled));
        let dead = Observed { phase: Phase::Dead, ..exited(0, false) };
        assert_eq!(reason(&dead, &loose), Some(Reason::Engine));
    }

    #[test]
    fn an_end_before_the_signal_is_the_commands_own() {
        assert_eq!(reason(&exited(0, false), &signalled(6_000)), None);
        assert_eq!(reason(&exited(0, false), &signalled(4_000)), Some(Reason::Stopped));
        assert_eq!(reason(&exited(143, false), &signalled(4_000)), Some(Reason::Stopped));
    }

    #[test]
    fn what_an_earlier_process_had_sent_counts_while_it_may_have_ended_it() {
        let earlier = |at| Facts { earlier: Some(signal(Cause::Lease, at)), ..loose() };
        assert_eq!(reason(&exited(0, false), &earlier(4_000)), Some(Reason::LeaseExpired));
        assert_eq!(reason(&exited(0, false), &earlier(6_000)), None);
        let late = |finished| Observed {
            finished_at: Some(WallTime::from_unix_millis(finished)),
            ..exited(0, false)
        };
        let mono = Mono::default() + Duration::from_secs(60);
        let now = Now { wall: WallTime::from_unix_millis(60_000), mono };
        let facts = Facts { now, ..earlier(1_000) };
        assert_eq!(reason(&late(11_500), &facts), Some(Reason::LeaseExpired));
        assert_eq!(reason(&late(11_501), &facts), None);
        let both = Facts { earlier: facts.earlier, now, ..signalled(4_000) };
        assert_eq!(reason(&exited(0, false), &both), Some(Reason::LeaseExpired), "the first one counts");
        assert_eq!(reason(&late(20_000), &both), Some(Reason::Stopped));
    }

    #[test]
    fn where_the_wall_clock_was_set_since_the_signal_the_code_decides() {
        for set_to in [1, 3_000, 3_609_000] {
            let now = Now { wall: WallTime::from_unix_millis(set_to), ..loose().now };
            for signalled_at in [4_000, 6_000] {
                let facts = Facts { now, ..signalled(signalled_at) };
                assert_eq!(reason(&exited(143, false), &facts), Some(Reason::Stopped), "{set_to}");
                assert_eq!(reason(&exited(137, false), &facts), Some(Reason::Stopped), "{set_to}");
                assert_eq!(reason(&exited(0, false), &facts), None, "{set_to}");
                assert_eq!(reason(&exited(137, true), &facts), Some(Reason::OomKilled), "{set_to}");
            }
        }
    }

    #[test]
    fn where_the_wall_clock_was_set_back_since_the_end_the_code_decides() {
        let mono = Mono::default() + Duration::from_secs(9);
        let now = Now { wall: WallTime::from_unix_millis(2_000), mono };
        let signal = Signal { at: now, ..signal(Cause::Lease, 0) };
        let facts = Facts { now, pulled: Some(Cause::Lease), signal: Some(signal), ..loose() };
        assert_eq!(reason(&exited(0, false), &facts), None);
        assert_eq!(reason(&exited(143, false), &facts), Some(Reason::LeaseExpired));
    }

    #[test]
    fn no_end_is_before_its_start() {
        let odd = Observed { finished_at: Some(WallTime::from_unix_millis(997)), ..exited(0, false) };
        assert_eq!(ending(&odd, &loose()).at, WallTime::from_unix_millis(1_000));
    }

    #[test]
    fn failed_starts_are_told_apart() {
        let port = "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated";
        assert_eq!(failed_start(port, 128), FailedStart::Port);
        assert_eq!(
            failed_start("exec: \"nope\": executable file not found in $PATH", 127),
            FailedStart::Command(127)
        );
        assert_eq!(failed_start("exec: \"/etc/passwd\": permission denied", 126), FailedStart::Command(126));
        assert_eq!(failed_start("network x not found", 128), FailedStart::Engine);
    }
}
