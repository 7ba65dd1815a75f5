//! Deliberate bugs, so that the simulation can be seen to find each of them.
//!
//! Main type: [`Canary`]. Where one [`sings`], the code beside it breaks the rule that the canary names. They are there
//! only in builds with the feature `canaries`, which nothing but `tests/canaries.rs` asks for; in any other build
//! [`sings`] is `false` to the compiler, and no trace is left.

/// A deliberate bug, with the rule of `docs/RELIABILITY.md` that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// R1: a key that was used is forgotten.
    ForgetsKeys,
    /// R2: answers don't wait for the disk.
    AnswersBeforeCommit,
    /// R2: what could not be stored stays in the state.
    KeepsWhatFailed,
    /// R2: a report that the master can't store yet counts as told.
    DropsRetried,
    /// R4: a container that ended is started again.
    StartsAgain,
    /// R4: what an earlier process left is not taken up.
    AdoptsNothing,
    /// R5: a container goes before the master knows how it ended.
    RemovesUnheard,
    /// R6: a report counts whoever sends it, for whatever attempt.
    TakesAnybodysReport,
    /// R7: what the master slept through is held against its nodes.
    BlamesForItsSleep,
    /// R8: a lease lasts longer than a node may be silent.
    LongLease,
    /// R8: what runs under a lease that ran out goes on.
    IgnoresLapse,
    /// R8: what needs a lease is started without one.
    StartsUnleased,
    /// R12: a push is taken, however old.
    TakesLatePushes,
    /// R12: an attempt that is over is not remembered.
    ForgetsEnded,
    /// A node gets one task more than it has places.
    OverfillsNodes,
    /// A port of a host that is taken is given away again.
    ForgetsPorts,
    /// A node gets tasks whose labels it lacks.
    OverlooksLabels,
    /// A place that is kept for a task is given to others.
    BooksNoKeptPlace,
    /// A further try doesn't wait for its back-off.
    IgnoresBackoff,
    /// A worker that begins anew doesn't know what the one before it had sent.
    ForgetsSignals,
    /// A drain moves tasks that stay where they are.
    MovesAnybody,
    /// A task is moved before its image is there.
    MovesUnready,
}

impl Canary {
    /// Every one.
    pub const ALL: [Self; 22] = [
        Self::ForgetsKeys,
        Self::AnswersBeforeCommit,
        Self::KeepsWhatFailed,
        Self::DropsRetried,
        Self::StartsAgain,
        Self::AdoptsNothing,
        Self::RemovesUnheard,
        Self::TakesAnybodysReport,
        Self::BlamesForItsSleep,
        Self::LongLease,
        Self::IgnoresLapse,
        Self::StartsUnleased,
        Self::TakesLatePushes,
        Self::ForgetsEnded,
        Self::OverfillsNodes,
        Self::ForgetsPorts,
        Self::OverlooksLabels,
        Self::BooksNoKeptPlace,
        Self::IgnoresBackoff,
        Self::ForgetsSignals,
        Self::MovesAnybody,
        Self::MovesUnready,
    ];
}

/// Whether this bug is to be made now, on this thread.
#[cfg(not(feature = "canaries"))]
pub const fn sings(_canary: Canary) -> bool {
    false
}

/// Whether this bug is to be made now, on this thread.
#[cfg(feature = "canaries")]
pub fn sings(canary: Canary) -> bool {
    SINGING.get() == Some(canary)
}

/// Has this bug made from now on by whatever this thread runs; or none.
#[cfg(feature = "canaries")]
pub fn let_sing(canary: Option<Canary>) {
    SINGING.set(canary);
}

#[cfg(feature = "canaries")]
thread_local! {
    static SINGING: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}
