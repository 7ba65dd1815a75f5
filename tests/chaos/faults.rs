//! Puts the planned faults in, one after the other and beside each other, and takes them out again when they are due.
//!
//! Main type: [`Faults`], run by the test's own thread, which alone starts and ends processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use podling::runtime::signals::Signals;

use crate::checker::history::Millis;
use crate::own_engine::{Blow, OwnEngine};
use crate::plan::{Deed, Plan, Planned, Way, Who};
use crate::recorder::Recorder;
use crate::site::Site;

/// How long the thread does nothing at most.
const LOOK: Duration = Duration::from_millis(25);

/// What is put in, into what.
pub(crate) struct Faults<'a> {
    pub(crate) site: &'a mut Site,
    pub(crate) engine: &'a mut Option<OwnEngine>,
    pub(crate) recorder: &'a Arc<Recorder>,
    pub(crate) signals: &'a Signals,
    /// How many were put in, by kind.
    pub(crate) counts: BTreeMap<&'static str, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Begin,
    End,
}

impl Faults<'_> {
    /// Puts all of them in, and has it all whole again at the end. `until`: when the run is over, if not later.
    #[track_caller]
    pub(crate) fn put_in(&mut self, plan: &Plan, until: Millis) {
        let both =
            |one: &Planned| [(one.at, Part::Begin, one.deed), (one.at + one.lasts, Part::End, one.deed)];
        let mut steps: Vec<(Millis, Part, Deed)> = plan.0.iter().flat_map(both).collect();
        steps.sort_by_key(|(at, ..)| *at);
        let begun = self.recorder.now();
        for (at, part, deed) in steps {
            self.wait_until(begun + at);
            match part {
                Part::Begin => self.begin(deed),
                Part::End => self.end(deed),
            }
        }
        self.wait_until(begun + until);
        self.site.wait_until_all_serve();
        if let Some(engine) = self.engine {
            engine.settle();
        }
    }

    /// Looks after the processes until then.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, at: Millis) {
        loop {
            self.site.tend();
            let left = Duration::from_millis(at.saturating_sub(self.recorder.now()));
            if left.is_zero() {
                return;
            }
            if let Ok(signal) = self.signals.receiver().recv_timeout(left.min(LOOK)) {
                panic!("ended by {signal}");
            }
        }
    }

    fn begin(&mut self, deed: Deed) {
        *self.counts.entry(kind(deed)).or_default() += 1;
        match deed {
            Deed::Kill(_) | Deed::KillBoth(_) => {
                deed.subjects().into_iter().for_each(|who| self.site.kill(who));
                return;
            }
            Deed::KillEngine(_) => {
                self.strike(Blow::Kill);
                return;
            }
            Deed::Pause(who) => self.site.server(who).stand_still(true),
            Deed::Cut(worker, way) => self.site.net.cut(worker, way),
            Deed::FillDisk(who) => self.site.fill(who),
            Deed::HangEngine(_) => {
                self.strike(Blow::Stop);
                return;
            }
        }
        self.recorder.broke(deed.fault(), deed.subjects()[0]);
    }

    fn end(&mut self, deed: Deed) {
        match deed {
            // That these are whole again is recorded once they answer.
            Deed::Kill(_) | Deed::KillBoth(_) => {
                deed.subjects().into_iter().for_each(|who| self.site.start(who));
                return;
            }
            Deed::KillEngine(_) => {
                self.strike(Blow::Start);
                return;
            }
            Deed::Pause(who) => self.site.server(who).stand_still(false),
            Deed::Cut(worker, way) => self.site.net.heal(worker, way),
            Deed::FillDisk(who) => self.site.free(who),
            Deed::HangEngine(_) => {
                self.strike(Blow::GoOn);
                return;
            }
        }
        self.recorder.healed(deed.fault(), deed.subjects()[0]);
    }

    /// Recorded when it is done.
    fn strike(&mut self, blow: Blow) {
        self.engine.as_mut().expect("the plan names what is there").strike(blow);
    }
}

/// Under which name a fault is counted.
const fn kind(deed: Deed) -> &'static str {
    match deed {
        Deed::Kill(Who::Master) => "master killed",
        Deed::Kill(Who::Worker(_)) => "worker killed",
        Deed::KillBoth(_) => "master and worker killed at once",
        Deed::Pause(Who::Master) => "master stopped (SIGSTOP)",
        Deed::Pause(Who::Worker(_)) => "worker stopped (SIGSTOP)",
        Deed::Cut(_, Way::Both) => "line cut both ways",
        Deed::Cut(_, Way::ToMaster) => "line cut, the way to the master",
        Deed::Cut(_, Way::ToWorker) => "line cut, the way to the worker",
        Deed::FillDisk(Who::Master) => "master's disk full",
        Deed::FillDisk(Who::Worker(_)) => "worker's disk full",
        Deed::KillEngine(_) => "Engine killed",
        Deed::HangEngine(_) => "Engine stopped (SIGSTOP)",
    }
}
