//! The reporter thread: tells the master what happened to attempts, in order, until it has answered.
//!
//! Monitors send [`Event`]s over a channel; the reporter numbers them, sends what has gathered as one batch, and hands
//! each verdict back to whoever waits for it. While the master doesn't answer, events wait here and the channel fills
//! up, which holds the monitors back; nothing is dropped. Older progress of an attempt gives way to newer.
//!
//! Invariant: the reports of one attempt reach the master in the order in which they happened.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::api::routes;
use crate::api::wire::agent::{Report, ReportStep, ReportsReply, ReportsRequest, Verdict};
use crate::http::ClientError;
use crate::model::id::{AttemptKey, NodeId};
use crate::runtime::supervise::{GiveUp, Stop};
use crate::worker::link::MasterLink;
use crate::worker::step::Step;

/// Events that may wait in the channel before monitors wait.
const MOST_WAITING: usize = 1024;

/// Reports in one batch.
const MOST_AT_ONCE: usize = 500;

/// Reports that wait here for the master. Beyond that the channel isn't read.
const MOST_PENDING: usize = 4096;

/// How long the reporter waits after a first failure, and after many.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often it looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// Something to report, and who waits for the verdict.
#[derive(Debug)]
pub struct Event {
    /// The attempt.
    pub key: AttemptKey,
    /// What happened.
    pub step: Step,
    /// Told once the master has answered for good.
    pub answer: Option<Sender<Verdict>>,
}

/// Makes the channel that events go through.
pub fn channel() -> (Sender<Event>, Receiver<Event>) {
    bounded(MOST_WAITING)
}

/// The thread's own.
pub(super) struct Reporter {
    pub(super) node: NodeId,
    pub(super) link: Arc<MasterLink>,
    pub(super) events: Receiver<Event>,
    /// Tells the heartbeat that this node must register again.
    pub(super) register: Sender<()>,
    pub(super) give_up: GiveUp,
}

/// Events that the master hasn't answered yet, oldest first.
#[derive(Default)]
struct Pending {
    last_seq: u64,
    waiting: VecDeque<(u64, Event)>,
}

impl Reporter {
    /// Body of the thread `reporter`.
    pub(super) fn run(&self, stop: &Stop) {
        let (mut pending, mut failures) = (Pending::default(), 0);
        while !stop.requested() {
            self.gather(&mut pending);
            if pending.waiting.is_empty() {
                continue;
            }
            match self.send(&pending) {
                Ok(verdicts) if pending.settle(&verdicts) => failures = 0,
                Ok(_) => failures += 1,
                Err(error) => {
                    failures += 1;
                    self.complain(&error, failures);
                }
            }
            if failures > 0 {
                stop.wait(pause(failures));
            }
        }
    }

    /// Takes what has come. Blocks for a moment where nothing waits.
    fn gather(&self, pending: &mut Pending) {
        if pending.waiting.is_empty() {
            match self.events.recv_timeout(STOP_CHECK) {
                Ok(event) => pending.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
        while pending.waiting.len() < MOST_PENDING {
            let Ok(event) = self.events.try_recv() else { return };
            pending.push(event);
        }
    }

    fn send(&self, pending: &Pending) -> Result<HashMap<u64, Verdict>, ClientError> {
        let Some(session) = self.link.session() else {
            return Err(ClientError::Unreachable("this node isn't registered yet".to_owned()));
        };
        let reports = pending.waiting.iter().take(MOST_AT_ONCE).map(|(seq, event)| report(*seq, event));
        let request = ReportsRequest {
            incarnation: session.incarnation,
            epoch: session.epoch,
            reports: reports.collect(),
        };
        let path = routes::node_reports(self.node.as_str());
        let reply: ReportsReply = self.link.post(&path, &request)?;
        Ok(reply.verdicts.iter().map(|verdict| (verdict.seq, verdict.verdict)).collect())
    }

    fn complain(&self, error: &ClientError, failures: u32) {
        let refused = error.problem();
        if refused.is_some_and(|problem| problem.status == 404) {
            let _ = self.register.try_send(());
        }
        if refused.is_some_and(|problem| problem.code == "superseded") {
            self.give_up.because(format!("a later worker has taken over {}", self.node));
        }
        if failures == 1 {
            log::warn!("reports wait for the master because={error}");
        }
    }
}

impl Pending {
    fn push(&mut self, event: Event) {
        if let Step::Progress(_) = &event.step {
            let older =
                |(_, held): &(u64, Event)| held.key == event.key && matches!(held.step, Step::Progress(_));
            self.waiting.retain(|held| !older(held));
        }
        self.last_seq += 1;
        self.waiting.push_back((self.last_seq, event));
    }

    /// Hands out verdicts. False: some are to be sent again.
    fn settle(&mut self, verdicts: &HashMap<u64, Verdict>) -> bool {
        let mut all = true;
        self.waiting.retain(|(seq, event)| match verdicts.get(seq) {
            None => true,
            Some(Verdict::Retry) => {
                all = false;
                true
            }
            Some(verdict @ (Verdict::Accepted | Verdict::Known | Verdict::Stale | Verdict::Unknown)) => {
                if let Some(answer) = &event.answer {
                    // Whoever waited may have ended: the process stops.
                    let _ = answer.try_send(*verdict);
                }
                false
            }
        });
        all
    }
}

/// Doubles from the first pause to the longest.
fn pause(failures: u32) -> Duration {
    let (first, longest) = PAUSES;
    first.saturating_mul(1 << (failures - 1).min(10)).min(longest)
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
    use crate::model::id::Attempt;
    use crate::model::time::WallTime;

    fn event(step: Step) -> Event {
        let task = "01JD0000000000000000000000".parse().unwrap();
        Event { key: AttemptKey { task, attempt: Attempt(1) }, step, answer: None }
    }

    fn words(pending: &Pending) -> Vec<(u64, ReportStep, Option<String>)> {
        let reports = pending.waiting.iter().map(|(seq, event)| report(*seq, event));
        reports.map(|report| (report.seq, report.step, report.detail)).collect()
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
        let (answer, answered) = bounded(1);
        pending.push(Event {
            answer: Some(answer),
            ..event(Step::Refused("full".to_owned(), WallTime::default()))
        });
        pending.push(event(Step::Progress("x".to_owned())));
        assert!(!pending.settle(&HashMap::from([(1, Verdict::Retry)])));
        assert!(answered.try_recv().is_err());
        assert!(pending.settle(&HashMap::from([(1, Verdict::Stale)])));
        assert_eq!(answered.try_recv(), Ok(Verdict::Stale));
        assert_eq!(words(&pending), [(2, ReportStep::Progress, Some("x".to_owned()))]);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let pauses: Vec<u128> = [1, 2, 3, 7, 99].map(|failures| pause(failures).as_millis()).into();
        assert_eq!(pauses, [50, 100, 200, 2000, 2000]);
    }
}
