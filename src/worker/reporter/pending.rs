//! Reports that the master hasn't answered yet: their order, their numbers, and when they are sent again. Pure.
//!
//! Main type: [`Pending`]. Older progress of an attempt gives way to newer; everything else waits until the master has
//! answered for good.
//!
//! Invariant: the reports of one attempt are sent in the order in which they happened, and none is dropped.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::api::wire::agent::{Report, ReportStep, ReportsReply, ReportsRequest, Verdict};
use crate::canary::{Canary, sings};
use crate::http::Problem;
use crate::worker::membership::Session;
use crate::worker::reporter::Event;
use crate::worker::step::Step;

/// Reports in one batch.
const MOST_AT_ONCE: usize = 500;

/// Reports that wait here for the master. Beyond that no more are taken.
const MOST_PENDING: usize = 4096;

/// The pause after a first failure, and after many.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Events that the master hasn't answered yet, oldest first.
#[derive(Debug, Default)]
pub struct Pending {
    last_seq: u64,
    waiting: VecDeque<(u64, Event)>,
    /// Batches in a row that weren't all settled.
    failures: u32,
}

/// What a batch that was not taken means, beside another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing more.
    Again,
    /// This node must register again.
    Register,
    /// A later worker has taken over the node: this one ends.
    Superseded,
}

impl Pending {
    /// Takes one in.
    pub fn push(&mut self, event: Event) {
        if let Step::Progress(_) = &event.step {
            let older =
                |(_, held): &(u64, Event)| held.key == event.key && matches!(held.step, Step::Progress(_));
            self.waiting.retain(|held| !older(held));
        }
        self.last_seq += 1;
        self.waiting.push_back((self.last_seq, event));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether no more should be taken in.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_PENDING
    }

    /// What to send now: the oldest that wait.
    pub fn batch(&self, session: &Session) -> ReportsRequest {
        let reports = self.waiting.iter().take(MOST_AT_ONCE).map(|(seq, event)| report(*seq, event));
        ReportsRequest { incarnation: session.incarnation, epoch: session.epoch, reports: reports.collect() }
    }

    /// Takes the master's answer to a batch. Gives what is settled by it, each with its verdict.
    pub fn settle(&mut self, reply: &ReportsReply) -> Vec<(Event, Verdict)> {
        let verdicts: HashMap<u64, Verdict> =
            reply.verdicts.iter().map(|verdict| (verdict.seq, verdict.verdict)).collect();
        let (mut settled, mut is_to_be_retried) = (Vec::new(), false);
        for (seq, event) in std::mem::take(&mut self.waiting) {
            match verdicts.get(&seq) {
                Some(verdict @ (Verdict::Accepted | Verdict::Known | Verdict::Stale | Verdict::Unknown)) => {
                    settled.push((event, *verdict));
                    continue;
                }
                Some(Verdict::Retry) if sings(Canary::DropsRetried) => {
                    settled.push((event, Verdict::Accepted));
                    continue;
                }
                Some(Verdict::Retry) => is_to_be_retried = true,
                None => {}
            }
            self.waiting.push_back((seq, event));
        }
        self.failures = if is_to_be_retried { self.failures.saturating_add(1) } else { 0 };
        settled
    }

    /// A batch was not answered, or was refused with a problem. Everything waits on.
    pub fn fail(&mut self, problem: Option<&Problem>) -> Refusal {
        self.failures = self.failures.saturating_add(1);
        match problem {
            Some(problem) if problem.code == "superseded" => Refusal::Superseded,
            Some(problem) if problem.status == 404 => Refusal::Register,
            Some(_) | None => Refusal::Again,
        }
    }

    /// How often in a row a batch was not settled.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait before the next batch. None: send what waits at once.
    pub fn pause(&self) -> Option<Duration> {
        let (first, longest) = PAUSES;
        let doublings = self.failures.checked_sub(1)?;
        Some(first.saturating_mul(1 << doublings.min(10)).min(longest))
    }
}

fn report(seq: u64, event: &Event) -> Report {
    let mut report = Report {
        seq,
        task_id: event.key.task.clone(),
        attempt: event.key.attempt,
        step: ReportStep::Progress,
        container_id: None,
        started_at: None,
        finished_at: None,
        exit_code: None,
        reason: None,
        error: None,
        detail: None,
    };
    match &event.step {
        Step::Progress(detail) => report.detail = Some(detail.clone()),
        Step::Running(container, started_at) => {
            report.step = ReportStep::Running;
            report.container_id = Some(container.clone());
            report.started_at = Some(*started_at);
        }
        Step::Ended(ending) => {
            report.step = ReportStep::Ended;
            report.container_id.clone_from(&ending.container);
            report.started_at = ending.started_at;
            report.finished_at = Some(ending.at);
            report.exit_code = ending.exit_code;
            report.reason = ending.reason;
            report.error.clone_from(&ending.error);
        }
        Step::Refused(why, at) => {
            report.step = ReportStep::Refused;
            report.finished_at = Some(*at);
            report.error = Some(why.clone());
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::agent::ReportVerdict;
    use crate::model::id::{Attempt, AttemptKey, Epoch, Incarnation};
    use crate::model::time::WallTime;

    fn event(step: Step) -> Event {
        let task = "01JD0000000000000000000000".parse().unwrap();
        Event { key: AttemptKey { task, attempt: Attempt(1) }, step, answer: None }
    }

    fn session() -> Session {
        Session {
            cluster: "01JC0000000000000000000000".parse().unwrap(),
            epoch: Epoch(3),
            incarnation: Incarnation(2),
            lease: Duration::from_secs(20),
        }
    }

    fn words(pending: &Pending) -> Vec<(u64, ReportStep, Option<String>)> {
        let reports = pending.batch(&session()).reports.into_iter();
        reports.map(|report| (report.seq, report.step, report.detail)).collect()
    }

    fn reply(seq: u64, verdict: Verdict) -> ReportsReply {
        ReportsReply { verdicts: vec![ReportVerdict { seq, verdict }] }
    }

    #[test]
    fn newer_progress_takes_the_place_of_older_and_the_order_stays() {
        let mut pending = Pending::default();
        pending.push(event(Step::Progress("10 %".to_owned())));
        pending.push(event(Step::Progress("20 %".to_owned())));
        pending.push(event(Step::Running("c1".parse().unwrap(), WallTime::default())));
        let expected = [(2, ReportStep::Progress, Some("20 %".to_owned())), (3, ReportStep::Running, None)];
        assert_eq!(words(&pending), expected);
    }

    #[test]
    fn what_was_answered_goes_and_what_was_not_stays() {
        let mut pending = Pending::default();
        pending.push(event(Step::Refused("full".to_owned(), WallTime::default())));
        pending.push(event(Step::Progress("x".to_owned())));
        assert!(pending.settle(&reply(1, Verdict::Retry)).is_empty());
        assert_eq!(pending.failures(), 1);
        let settled = pending.settle(&reply(1, Verdict::Stale));
        assert!(matches!(settled.as_slice(), [(Event { step: Step::Refused(..), .. }, Verdict::Stale)]));
        assert_eq!(words(&pending), [(2, ReportStep::Progress, Some("x".to_owned()))]);
        assert_eq!(pending.failures(), 0);
    }

    #[test]
    fn pauses_grow_and_are_bounded_and_end_with_an_answer() {
        let mut pending = Pending::default();
        assert_eq!(pending.pause(), None);
        let pauses: Vec<u128> = (0..7)
            .map(|_| {
                pending.fail(None);
                pending.pause().unwrap_or_default().as_millis()
            })
            .collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000]);
        pending.settle(&reply(1, Verdict::Known));
        assert_eq!(pending.pause(), None);
    }

    #[test]
    fn a_batch_is_bounded_and_so_is_what_waits() {
        let mut pending = Pending::default();
        while !pending.is_full() {
            pending.push(event(Step::Running("c1".parse().unwrap(), WallTime::default())));
        }
        assert_eq!(pending.batch(&session()).reports.len(), MOST_AT_ONCE);
        assert_eq!(pending.last_seq, MOST_PENDING as u64);
    }

    #[test]
    fn a_refusal_says_what_it_means() {
        let mut pending = Pending::default();
        assert_eq!(pending.fail(None), Refusal::Again);
        let unknown = Problem::not_found("node_not_found", "no such node");
        assert_eq!(pending.fail(Some(&unknown)), Refusal::Register);
        assert_eq!(pending.fail(Some(&Problem::conflict("superseded", "later"))), Refusal::Superseded);
    }
}
