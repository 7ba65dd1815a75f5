//! What a walk asks for, what it is answered, and what it has to know beside that.
//!
//! An [`Ask`] is one thing to carry out; the [`Answer`] says what came of it, and [`Facts`] what the walk can't know by
//! itself. All are plain values: whoever carries them out may end between any two.

use std::time::Duration;

use crate::api::wire::agent::Verdict;
use crate::engine::{ContainerRequest, EngineError, Observed, PullProgress};
use crate::model::id::ContainerId;
use crate::model::spec::ImageRef;
use crate::model::time::Now;
use crate::worker::hold::{Cause, Signal};
use crate::worker::step::Step;

/// One thing to carry out for an attempt. Each says what it is answered with.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Fetch an image, or go on with that, until there is news or an order to stop: [`Answer::Pull`].
    Pull(ImageRef),
    /// Make the container: [`Answer::Created`].
    Create(Box<ContainerRequest>),
    /// Look at a container, by id or by name: [`Answer::Inspected`].
    Inspect(String),
    /// Wait for a slot at the Engine, and keep it for what is asked next: [`Answer::Done`].
    Slot,
    /// Start the container, in the slot that was taken: [`Answer::Started`].
    Start(ContainerId),
    /// Wait until the container ends, so long at most: [`Answer::Waited`].
    Wait(ContainerId, Duration),
    /// Kill a container that nobody watches any more: [`Answer::Killed`].
    Kill(ContainerId),
    /// Remove the container: [`Answer::Removed`].
    Remove(ContainerId),
    /// Copy the container's log from the Engine to the worker's disk: [`Answer::Collected`].
    CollectLog(ContainerId),
    /// Say that the log is lost, and why: [`Answer::Done`].
    MissLog(String),
    /// Let so much time pass; less if the process stops: [`Answer::Done`].
    Pause(Duration),
    /// Let so much time pass; less if an order to stop comes or the process stops: [`Answer::Done`].
    AwaitLease(Duration),
    /// Note something of the attempt in the ledger: [`Answer::Done`].
    Note(Note),
    /// Keep the end on disk until the master knows it: [`Answer::Done`].
    KeepEnd(Step),
    /// The master knows the end: nothing of the attempt needs to be kept on disk any more. Nothing kept is no error:
    /// [`Answer::Done`].
    DropEnd,
    /// Report a step: [`Answer::Done`].
    Tell(Step),
    /// Report the end, whose verdict is awaited later: [`Answer::Done`].
    TellEnd(Step),
    /// Wait for the verdict on the end: [`Answer::Verdict`].
    AwaitVerdict,
    /// Have a beat sent now: [`Answer::Done`].
    Nudge,
    /// Nothing: the walk is over, and nothing is left of the attempt. Not answered.
    Finish,
    /// Nothing: the process stops. What runs goes on running, and a later process takes it up. Not answered.
    Leave,
}

/// What the ledger is to know of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What it is busy with.
    Progress(String),
    /// Its container was made.
    Container(ContainerId),
    /// Its container runs: an order that came before is carried out now.
    Running(ContainerId),
    /// It ended: nobody needs to stop it any more.
    Ended,
    /// The master has acknowledged its end.
    Acknowledged,
    /// Nothing is left of it.
    Released,
}

/// What came of an [`Ask`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was done; or, of what waits, it is over or was cut short.
    Done,
    /// News of a pull.
    Pull(PullNews),
    /// The container that was made.
    Created(Result<ContainerId, EngineError>),
    /// The container as the Engine sees it.
    Inspected(Result<Observed, EngineError>),
    /// Whether it was started.
    Started(Result<(), EngineError>),
    /// Whether it ended: true; or the time was over: false.
    Waited(Result<bool, EngineError>),
    /// Whether it was killed.
    Killed(Result<(), EngineError>),
    /// Whether it was removed.
    Removed(Result<(), EngineError>),
    /// Whether the log was stored.
    Collected(Result<(), LogFailure>),
    /// What became of the report of the end.
    Verdict(Verdict),
    /// Whoever would have answered is gone: the process stops.
    Gone,
}

/// What is heard of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullNews {
    /// Nothing: the wait was cut short.
    None,
    /// Bytes moved.
    Progress(PullProgress),
    /// It is over.
    Done(Result<(), EngineError>),
}

/// Why a log was not collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFailure {
    /// The Engine doesn't give it.
    Engine(EngineError),
    /// It can't be stored, or broke off.
    Store {
        /// In words.
        why: String,
        /// Whether another try may succeed.
        is_retryable: bool,
    },
}

/// What a walk can't know by itself, as it is when an answer comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The time.
    pub now: Now,
    /// Who wants the attempt to end. None: nobody does.
    pub pulled: Option<Cause>,
    /// What this process has sent its container.
    pub signal: Option<Signal>,
    /// What an earlier process had sent it.
    pub earlier: Option<Signal>,
    /// Whether a container may be started now: one that runs under the node's lease, only while that is held.
    pub may_start: bool,
    /// The process stops.
    pub is_leaving: bool,
}
