//! What the master wants and what this worker is at, together, and the way from the one to the other.
//!
//! Main type: [`Desired`]: the pure [`Ledger`] and the attempts' leashes behind one mutex. Whoever brings news (a
//! beat's reply, a push, a monitor) calls it; the actions that follow are handed to the crew and to the reporter after
//! the mutex was let go.
//!
//! It reads no clock: whoever calls says what time it is.
//!
//! Invariant: nothing is launched before the Engine's own containers were taken up ([`Desired::adopt`]): until then
//! pushes are turned away and sets change nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::api::wire::Mistake;
use crate::api::wire::agent::{Assignment, AttemptView, HeartbeatReply, HeldAttempt};
use crate::canary::{Canary, sings};
use crate::control::reconcile::{Action, DesiredSet, Fenced, Held, Ledger, Mark, Order};
use crate::engine::{Listed, Phase};
use crate::model::id::{Attempt, AttemptKey, TaskId};
use crate::model::task::{Ending, Reason};
use crate::model::time::Now;
use crate::worker::hold::{Cause, Signal};
use crate::worker::job::{Charge, Job};
use crate::worker::leash::Leash;
use crate::worker::reporter::Event;
use crate::worker::step::Step;
use crate::worker::translate;
use crate::worker::walk::{Note, What};

/// Why a push was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// This worker has not looked at its Engine yet.
    NotReady,
    /// It is older than what was heard since.
    Fenced(Fenced),
    /// It makes no sense.
    Mistaken(Mistake),
}

/// What is wanted, and what there is.
#[derive(Debug)]
pub struct Desired {
    inner: Mutex<Inner>,
    jobs: Sender<Job>,
    events: Sender<Event>,
}

#[derive(Debug, Default)]
struct Inner {
    ledger: Ledger,
    leashes: HashMap<AttemptKey, Arc<Leash>>,
    is_open: bool,
    /// This worker ends: it takes nothing new.
    is_closing: bool,
}

impl Desired {
    /// Nothing wanted, nothing there.
    pub fn new(jobs: Sender<Job>, events: Sender<Event>) -> Self {
        Self { inner: Mutex::default(), jobs, events }
    }

    /// Takes up the containers and the ends that an earlier process of this node left, and opens for the master's
    /// wishes. What has ended stays so, whatever container there is of it: whoever reports the end removes that too.
    /// `signals` says which of the containers that process had sent a signal.
    pub fn adopt(
        &self,
        found: Vec<Listed>,
        ends: Vec<(AttemptKey, Step)>,
        signals: &BTreeMap<AttemptKey, Signal>,
    ) {
        let mut jobs = Vec::new();
        {
            let mut inner = self.inner.lock();
            for (key, step) in ends {
                inner.ledger.adopt_end(&key);
                let leash = inner.leash(&key);
                jobs.push(Job::Walk(Charge { key, what: What::Over(Box::new(step)), leash }));
            }
            if !sings(Canary::AdoptsNothing) {
                inner.take_up(found, &mut jobs);
            }
            for (key, signal) in signals.iter().filter(|_| !sings(Canary::ForgetsSignals)) {
                inner.leash(key).recall(*signal);
            }
            inner.is_open = true;
        }
        jobs.into_iter().for_each(|job| self.give(job));
    }

    /// Takes up containers of this node that turned up later: made by a call that nobody waited for any more, or whose
    /// process is gone. Like those of an earlier process they end unless a set names them. Gives how many there were.
    pub fn take_up_late(&self, found: Vec<Listed>) -> usize {
        let mut jobs = Vec::new();
        let count = {
            let mut inner = self.inner.lock();
            if inner.is_open { inner.take_up(found, &mut jobs) } else { 0 }
        };
        jobs.into_iter().for_each(|job| self.give(job));
        count
    }

    /// Whether this worker takes work: its containers were taken up, and it isn't about to end.
    pub fn takes_work(&self) -> bool {
        let inner = self.inner.lock();
        inner.is_open && !inner.is_closing
    }

    /// Whether containers were taken up.
    pub fn is_open(&self) -> bool {
        self.inner.lock().is_open
    }

    /// Begins a beat: its number, the mark of the last set, and every attempt of which something is left.
    pub fn begin_beat(&self) -> (u64, Mark, Vec<HeldAttempt>) {
        let mut inner = self.inner.lock();
        let number = inner.ledger.begin_beat();
        let held = inner.ledger.unreleased().map(|(key, held)| HeldAttempt {
            task_id: key.task.clone(),
            attempt: key.attempt,
            status: translate::status(held.stage),
        });
        (number, inner.ledger.heard(), held.collect())
    }

    /// Applies the reply to a beat.
    pub fn apply(&self, reply: HeartbeatReply, beat: u64, now: Now) {
        let at = Mark { epoch: reply.epoch, revision: reply.revision };
        let mut mistaken = Vec::new();
        let wanted = reply.tasks.into_iter().map(|wanted| translate::wanted(wanted, &mut mistaken)).collect();
        let set = DesiredSet { at, complete: reply.complete, beat, wanted };
        let actions = {
            let mut inner = self.inner.lock();
            if inner.is_open { inner.ledger.apply(set) } else { Vec::new() }
        };
        actions.into_iter().for_each(|action| self.act(action, now));
        for (key, mistake) in mistaken {
            self.report_end(key, Reason::InvalidSpec, mistake.to_string(), now);
        }
    }

    /// Takes pushed assignments: all that can be taken, also where one can't.
    ///
    /// # Errors
    /// Why the first that was not taken wasn't.
    pub fn push(&self, assignments: Vec<Assignment>, now: Now) -> Result<(), NotTaken> {
        let orders = assignments.into_iter().map(|assignment| {
            let at = Mark { epoch: assignment.epoch, revision: assignment.revision };
            translate::order(assignment.task, assignment.attempt).map(|order| (at, order))
        });
        let orders: Vec<(Mark, Order)> = orders.collect::<Result<_, _>>().map_err(NotTaken::Mistaken)?;
        let mut fenced = None;
        for (at, order) in orders {
            let pushed = {
                let mut inner = self.inner.lock();
                if !inner.is_open || inner.is_closing {
                    return Err(NotTaken::NotReady);
                }
                inner.ledger.push(at, order)
            };
            match pushed {
                Ok(action) => action.into_iter().for_each(|action| self.act(action, now)),
                Err(why) => fenced = fenced.or(Some(why)),
            }
        }
        fenced.map_or(Ok(()), |why| Err(NotTaken::Fenced(why)))
    }

    /// Stops an attempt at a task, without a number the newest, within its own grace where none is given. False: this
    /// worker holds no such one.
    pub fn stop(&self, task: &TaskId, attempt: Option<Attempt>, grace: Option<Duration>, now: Now) -> bool {
        let found = self.find(task, attempt).map(|(key, held)| (key, held.stop_grace));
        let Some((key, own)) = found else { return false };
        self.act(Action::Stop { key, grace: grace.unwrap_or(own) }, now);
        true
    }

    /// Takes nothing new any more, and stops everything, as `--drain-on-exit` wants it. Gives the longest grace.
    pub fn close(&self, now: Now) -> Duration {
        let held: Vec<(AttemptKey, Duration)> = {
            let mut inner = self.inner.lock();
            inner.is_closing = true;
            inner.ledger.unreleased().map(|(key, held)| (key.clone(), held.stop_grace)).collect()
        };
        let longest = held.iter().map(|(_, grace)| *grace).max().unwrap_or_default();
        for (key, grace) in held {
            self.act(Action::Stop { key, grace }, now);
        }
        longest
    }

    /// Whether nothing is left of any attempt.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().ledger.unreleased().next().is_none()
    }

    fn act(&self, action: Action, now: Now) {
        match action {
            Action::Launch(order) if self.inner.lock().is_closing => {
                let refused = Step::Refused("this worker is about to end".to_owned(), now.wall);
                self.give_over(order.key, refused);
            }
            Action::Launch(order) => {
                let (key, leash) = (order.key.clone(), self.leash(&order.key));
                log::info!("task taken task={} name={}", key, order.name);
                self.give(Job::Walk(Charge { key, what: What::New(order), leash }));
            }
            Action::Resume(key) => {
                let (container, leash) = {
                    let mut inner = self.inner.lock();
                    (inner.ledger.get(&key).and_then(|held| held.container.clone()), inner.leash(&key))
                };
                if let Some(container) = container {
                    self.give(Job::Walk(Charge { key, what: What::Made(container), leash }));
                }
            }
            Action::Stop { key, grace } => self.end(key, Cause::Asked, grace, now),
            Action::ReportNeverRan(key) => {
                self.report_end(key, Reason::Stopped, "it was to stop before it ran".to_owned(), now);
            }
            Action::ReportVanished(key) => {
                self.report_end(key, Reason::Engine, "container vanished".to_owned(), now);
            }
        }
    }

    /// Has an attempt end, within a grace.
    fn end(&self, key: AttemptKey, cause: Cause, grace: Duration, now: Now) {
        let leash = self.inner.lock().leashes.get(&key).cloned();
        if let Some(leash) = leash
            && let Some(halt) = leash.order(cause, grace, now)
        {
            self.give(Job::Halt { key, halt, leash });
        }
    }

    /// Ends all that runs under the node's lease, which ran out. `grace_left` makes of an attempt's own grace what it
    /// still gets. Returns how many there were.
    pub fn end_leased(&self, grace_left: impl Fn(Duration) -> Duration, now: Now) -> usize {
        let leased: Vec<(AttemptKey, Duration)> =
            self.inner.lock().ledger.leased().map(|(key, own)| (key.clone(), own)).collect();
        let count = leased.len();
        leased.into_iter().for_each(|(key, own)| self.end(key, Cause::Lease, grace_left(own), now));
        count
    }

    /// Whether an attempt runs under the node's lease.
    pub fn is_leased(&self, key: &AttemptKey) -> bool {
        self.inner.lock().ledger.is_leased(key)
    }

    /// Notes something of an attempt. One that runs, or has nothing left, is told by its leash to whom it concerns.
    pub fn note(&self, key: &AttemptKey, note: Note, leash: &Arc<Leash>, now: Now) {
        let mut inner = self.inner.lock();
        match note {
            Note::Progress(detail) => inner.ledger.observe_progress(key, detail),
            Note::Container(container) => inner.ledger.observe_container(key, container),
            Note::Running(container) => {
                inner.ledger.observe_running(key);
                drop(inner);
                if let Some(halt) = leash.runs(&container, now) {
                    self.give(Job::Halt { key: key.clone(), halt, leash: Arc::clone(leash) });
                }
            }
            Note::Ended => {
                inner.ledger.observe_end(key);
                drop(inner);
                leash.let_go();
            }
            Note::Acknowledged => inner.ledger.acknowledge(key),
            Note::Released => {
                inner.ledger.release(key);
                inner.leashes.remove(key);
            }
        }
    }

    /// Reports the end of an attempt that has no container here.
    fn report_end(&self, key: AttemptKey, reason: Reason, error: String, now: Now) {
        let ending = Ending {
            at: now.wall,
            reason: Some(reason),
            exit_code: None,
            error: Some(error),
            container: None,
            started_at: None,
        };
        self.give_over(key, Step::Ended(ending));
    }

    /// Has somebody see to it that the master hears of an attempt that is over.
    fn give_over(&self, key: AttemptKey, step: Step) {
        let leash = self.leash(&key);
        self.give(Job::Walk(Charge { key, what: What::Over(Box::new(step)), leash }));
    }

    /// Hands work to the crew. Blocks where it has more to do than it should ever get.
    fn give(&self, job: Job) {
        // The crew has ended: the process stops, and what isn't done now is found again at the next start.
        let _ = self.jobs.send(job);
    }

    fn leash(&self, key: &AttemptKey) -> Arc<Leash> {
        self.inner.lock().leash(key)
    }

    /// Tells the reporter.
    pub fn report(&self, event: Event) {
        // The reporter has ended: the process stops.
        let _ = self.events.send(event);
    }

    /// One attempt; without a number the newest.
    pub fn find(&self, task: &TaskId, attempt: Option<Attempt>) -> Option<(AttemptKey, Held)> {
        let inner = self.inner.lock();
        match attempt {
            Some(attempt) => {
                let key = AttemptKey { task: task.clone(), attempt };
                inner.ledger.get(&key).map(|held| (key.clone(), held.clone()))
            }
            None => inner.ledger.newest(task).map(|(key, held)| (key.clone(), held.clone())),
        }
    }

    /// Every attempt of which something is left.
    pub fn views(&self) -> Vec<AttemptView> {
        self.inner.lock().ledger.unreleased().map(|(key, held)| view(key, held)).collect()
    }
}

impl Inner {
    /// Takes up the containers whose attempts aren't known. Gives how many that were.
    fn take_up(&mut self, found: Vec<Listed>, jobs: &mut Vec<Job>) -> usize {
        let mut count = 0;
        for container in found {
            let key = AttemptKey { task: container.key.task, attempt: container.key.attempt };
            if self.ledger.get(&key).is_some() {
                continue;
            }
            count += 1;
            let was_started = container.phase != Phase::Created;
            self.ledger.adopt(key.clone(), container.id.clone(), was_started);
            if container.is_leased {
                self.ledger.observe_lease(&key);
            }
            let leash = self.leash(&key);
            if was_started {
                jobs.push(Job::Walk(Charge { key, what: What::Found(container.id), leash }));
            }
        }
        count
    }

    fn leash(&mut self, key: &AttemptKey) -> Arc<Leash> {
        let made = self.leashes.entry(key.clone()).or_insert_with(|| Arc::new(Leash::new()));
        Arc::clone(made)
    }
}

/// An attempt as this worker shows it.
pub fn view(key: &AttemptKey, held: &Held) -> AttemptView {
    AttemptView {
        task_id: key.task.clone(),
        name: held.name.clone(),
        attempt: key.attempt,
        status: translate::status(held.stage),
        detail: held.detail.clone(),
        container_id: held.container.clone(),
    }
}
