//! One monitor thread per attempt: it carries out what the attempt's walk asks for.
//!
//! Main type: [`Monitor`]. [`Walk`] decides; here are the hands: the Engine, the disk, the ledger and the reporter,
//! and the waits between. Whatever blocks is cut short when the process stops, and calls at the Engine take a slot.
//!
//! Invariant: a monitor that panics before its attempt ended ends that attempt, and no other.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};

use crate::api::wire::agent::Verdict;
use crate::engine::{ContainerKey, Engine, EngineError, LogRequest, Owner};
use crate::model::id::{AttemptKey, ContainerId};
use crate::model::spec::ImageRef;
use crate::model::task::Reason;
use crate::runtime::clock;
use crate::runtime::supervise::{Stop, panic_message};
use crate::worker::desired::Desired;
use crate::worker::job::Charge;
use crate::worker::lease::LeaseKeeper;
use crate::worker::leash::Leash;
use crate::worker::logs::LogStore;
use crate::worker::outbox::Outbox;
use crate::worker::pulls::{News, Pulls};
use crate::worker::reporter::Event;
use crate::worker::slots::{Slot, Slots};
use crate::worker::step::Step;
use crate::worker::stops::Stops;
use crate::worker::walk::{Answer, Ask, Facts, LogFailure, Note, PullNews, Walk};

/// What all monitors stand on.
pub(super) struct Ground {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) slots: Slots,
    pub(super) pulls: Arc<Pulls>,
    pub(super) logs: Arc<LogStore>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) stops: Arc<Stops>,
    pub(super) desired: Arc<Desired>,
    pub(super) lease: Arc<LeaseKeeper>,
    /// Set by the registration, before anything is launched.
    pub(super) owner: OnceLock<Owner>,
    pub(super) log_max_bytes: u64,
    /// Has a beat sent now.
    pub(super) nudge: Sender<()>,
    pub(super) stop: Stop,
}

/// Carries out what one attempt's walk asks for.
#[derive(Clone)]
pub(super) struct Monitor {
    ground: Arc<Ground>,
    charge: Arc<Charge>,
}

/// What a monitor holds from one ask to the next.
#[derive(Default)]
struct Hands<'a> {
    /// For the start that may follow.
    slot: Option<Slot<'a>>,
    /// Of the pull under way.
    news: Option<Receiver<News>>,
    /// Of the end that was reported.
    verdict: Option<Receiver<Verdict>>,
}

impl Monitor {
    /// For one attempt.
    pub(super) fn new(ground: Arc<Ground>, charge: Charge) -> Self {
        Self { ground, charge: Arc::new(charge) }
    }

    /// Body of a monitor's thread.
    pub(super) fn run(&self) {
        if let Some(owner) = self.ground.owner.get().cloned() {
            let key = ContainerKey { owner, task: self.key().task.clone(), attempt: self.key().attempt };
            self.walk(Walk::new(key, self.charge.what.clone(), self.ground.log_max_bytes));
        }
        self.leash().let_go();
    }

    fn walk(&self, mut walk: Walk) {
        let mut hands = Hands::default();
        let mut ask = walk.begin(&self.facts());
        while !matches!(ask, Ask::Finish | Ask::Leave) {
            let step = || {
                let answer = self.carry_out(ask, &mut hands);
                walk.advance(answer, &self.facts())
            };
            ask = match catch_unwind(AssertUnwindSafe(step)) {
                Ok(next) => next,
                Err(panic) => {
                    let why = format!("its monitor panicked: {}", panic_message(panic.as_ref()));
                    log::error!("a monitor panicked task={} because={why}", self.key());
                    walk.abandon(why).unwrap_or_else(|| resume_unwind(panic))
                }
            };
        }
    }

    /// The attempt goes elsewhere, because there is no thread to walk with it.
    pub(super) fn refuse_for_want_of_a_thread(&self, error: &std::io::Error) {
        log::error!("no thread for a task task={} because={error}", self.key());
        let step = Step::Refused(format!("no thread can be had: {error}"), clock::wall());
        self.note(Note::Ended);
        self.report(step, None);
        self.note(Note::Acknowledged);
        self.note(Note::Released);
    }

    fn key(&self) -> &AttemptKey {
        &self.charge.key
    }

    fn leash(&self) -> &Arc<Leash> {
        &self.charge.leash
    }

    fn facts(&self) -> Facts {
        Facts {
            now: clock::now(),
            pulled: self.leash().cause(),
            signal: self.leash().signal(),
            earlier: self.leash().earlier(),
            may_start: !self.ground.desired.is_leased(self.key()) || self.ground.lease.may_start(),
            is_leaving: self.ground.stop.requested(),
        }
    }

    /// Carries out one ask, and says what came of it. Blocks for as long as that takes.
    fn carry_out<'a>(&'a self, ask: Ask, hands: &mut Hands<'a>) -> Answer {
        let ground = &*self.ground;
        // Given back when this was carried out.
        let _slot = hands.slot.take();
        match ask {
            Ask::Pull(image) => return self.pull(&image, hands),
            Ask::Create(request) => {
                return Answer::Created(self.in_a_slot(|engine| engine.create(&request)));
            }
            Ask::Inspect(subject) => {
                return Answer::Inspected(self.in_a_slot(|engine| engine.inspect(&subject)));
            }
            Ask::Slot => hands.slot = Some(ground.slots.take()),
            Ask::Start(container) => return Answer::Started(self.noted(ground.engine.start(&container))),
            Ask::Wait(container, at_most) => {
                return Answer::Waited(self.noted(ground.engine.wait(&container, at_most)));
            }
            Ask::Kill(container) => return Answer::Killed(self.kill(&container)),
            Ask::Remove(container) => return Answer::Removed(self.remove(&container)),
            Ask::CollectLog(container) => return Answer::Collected(self.collect_log(&container)),
            Ask::MissLog(why) => log::warn!("a log was lost task={} because={why}", self.key()),
            Ask::Pause(duration) => {
                ground.stop.wait(duration);
            }
            Ask::AwaitLease(duration) => self.await_lease(duration),
            Ask::Note(note) => self.note(note),
            Ask::KeepEnd(step) => ground.outbox.keep(self.key(), &step),
            Ask::DropEnd => {
                ground.outbox.remove(self.key());
                ground.stops.remove(self.key());
            }
            Ask::Tell(step) => self.tell(step),
            Ask::TellEnd(step) => hands.verdict = Some(self.tell_end(step)),
            Ask::AwaitVerdict => return self.await_verdict(hands),
            Ask::Nudge => {
                // Full: a beat is about to be sent.
                let _ = ground.nudge.try_send(());
            }
            Ask::Finish | Ask::Leave => {}
        }
        Answer::Done
    }

    /// A call that takes a slot.
    fn in_a_slot<T>(
        &self,
        call: impl FnOnce(&dyn Engine) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let _slot = self.ground.slots.take();
        self.noted(call(&*self.ground.engine))
    }

    /// Notes a failure in the log. Most are tried again, and those that end the attempt are told with its end.
    fn noted<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if let Err(error) = &result {
            log::debug!("the engine failed task={} because={error}", self.key());
        }
        result
    }

    /// Joins the pull of an image, or listens on.
    fn pull(&self, image: &ImageRef, hands: &mut Hands<'_>) -> Answer {
        let news = hands.news.get_or_insert_with(|| self.ground.pulls.listen(image));
        let heard = select! {
            recv(news) -> heard => heard,
            recv(self.leash().pulled()) -> _ => return Answer::Pull(PullNews::None),
            recv(self.ground.stop.channel_ref()) -> _ => return Answer::Pull(PullNews::None),
        };
        match heard {
            Ok(News::Progress(progress)) => Answer::Pull(PullNews::Progress(progress)),
            Ok(News::Done(done)) => {
                hands.news = None;
                Answer::Pull(PullNews::Done(done))
            }
            Err(_) => Answer::Gone,
        }
    }

    fn await_lease(&self, at_most: Duration) {
        select! {
            recv(self.leash().pulled()) -> _ => {}
            recv(after(at_most)) -> _ => {}
            recv(self.ground.stop.channel_ref()) -> _ => {}
        }
    }

    fn kill(&self, container: &ContainerId) -> Result<(), EngineError> {
        let killed = self.ground.engine.stop(container, Duration::ZERO);
        if let Err(error) = &killed {
            log::error!("an abandoned container was not stopped task={} because={error}", self.key());
        }
        killed
    }

    fn remove(&self, container: &ContainerId) -> Result<(), EngineError> {
        let removed = self.in_a_slot(|engine| engine.remove(container));
        if let Err(error) = &removed {
            log::warn!("a container was not removed yet task={} because={error}", self.key());
        }
        removed
    }

    /// Copies the whole log from the Engine to the worker's disk.
    fn collect_log(&self, container: &ContainerId) -> Result<(), LogFailure> {
        let records = self.ground.engine.logs(container, LogRequest { follow: false });
        let (task, attempt) = (&self.key().task, self.key().attempt);
        let stored = records.map_err(LogFailure::Engine).and_then(|records| {
            self.ground.logs.collect(task, attempt, records).map_err(|error| LogFailure::Store {
                why: error.to_string(),
                is_retryable: error.is_retryable(),
            })
        });
        if let Err(why) = &stored {
            log::debug!("a log was not collected yet task={} because={why:?}", self.key());
        }
        stored
    }

    fn await_verdict(&self, hands: &Hands<'_>) -> Answer {
        let Some(verdict) = &hands.verdict else { return Answer::Gone };
        select! {
            recv(verdict) -> verdict => verdict.map_or(Answer::Gone, Answer::Verdict),
            recv(self.ground.stop.channel_ref()) -> _ => Answer::Gone,
        }
    }

    fn note(&self, note: Note) {
        self.ground.desired.note(self.key(), note, self.leash(), clock::now());
    }

    fn tell(&self, step: Step) {
        if let Step::Running(container, _) = &step {
            log::info!("task runs task={} container={}", self.key(), short(container));
        }
        self.report(step, None);
    }

    /// Reports the end, and gives where the verdict will come.
    fn tell_end(&self, step: Step) -> Receiver<Verdict> {
        match &step {
            Step::Ended(ending) => {
                let reason = ending.reason.map_or("-", Reason::as_str);
                let code = ending.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
                log::info!("task ended task={} exit_code={code} reason={reason}", self.key());
            }
            Step::Refused(why, _) => log::warn!("task refused task={} because={why}", self.key()),
            Step::Progress(_) | Step::Running(..) => {}
        }
        let (answer, verdict) = bounded(1);
        self.report(step, Some(answer));
        verdict
    }

    fn report(&self, step: Step, answer: Option<Sender<Verdict>>) {
        self.ground.desired.report(Event { key: self.key().clone(), step, answer });
    }
}

/// As people know container ids.
fn short(id: &ContainerId) -> &str {
    id.as_str().get(..12).unwrap_or(id.as_str())
}
