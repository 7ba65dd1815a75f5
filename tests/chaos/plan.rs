//! Which faults are put in, when, and for how long: drawn from the seed before anything runs, so that the same seed
//! gives the same plan.
//!
//! Main type: [`Plan`]. Faults overlap, but never two of them on one thing (a process, a line, a disk, an Engine).

use std::collections::BTreeMap;
use std::fmt;

use crate::checker::history::{Fault, Millis};
use crate::dice::Dice;
use crate::settings::Times;

/// Nothing is broken before: the first tasks are to be on their way.
const QUIET: Millis = 3_000;

/// From the beginning of one fault to that of the next.
const GAP: (Millis, Millis) = (700, 1_600);

/// Who has a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    Master,
    /// By number, from 1.
    Worker(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Worker(number) => write!(f, "worker-{number}"),
        }
    }
}

/// Which way of the line between a worker and the master is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Both,
    /// The worker is heard no more.
    ToMaster,
    /// The worker hears no more.
    ToWorker,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// kill -9; started again afterwards.
    Kill(Who),
    /// The same, of the master and of this worker at once.
    KillBoth(u32),
    /// SIGSTOP; SIGCONT afterwards.
    Pause(Who),
    Cut(u32, Way),
    FillDisk(Who),
    KillEngine(u32),
    HangEngine(u32),
}

impl Deed {
    pub(crate) const fn fault(self) -> Fault {
        match self {
            Self::Kill(_) | Self::KillBoth(_) => Fault::Killed,
            Self::Pause(_) => Fault::Paused,
            Self::Cut(..) => Fault::Cut,
            Self::FillDisk(_) => Fault::Disk,
            Self::KillEngine(_) => Fault::EngineKilled,
            Self::HangEngine(_) => Fault::EngineHung,
        }
    }

    /// Whom it strikes.
    pub(crate) fn subjects(self) -> Vec<Who> {
        match self {
            Self::Kill(who) | Self::Pause(who) | Self::FillDisk(who) => vec![who],
            Self::KillBoth(worker) => vec![Who::Master, Who::Worker(worker)],
            Self::Cut(worker, _) | Self::KillEngine(worker) | Self::HangEngine(worker) => {
                vec![Who::Worker(worker)]
            }
        }
    }

    /// What can't bear another fault at the same time.
    fn takes(self) -> Vec<(Thing, Who)> {
        let thing = match self {
            Self::Kill(_) | Self::KillBoth(_) | Self::Pause(_) => Thing::Process,
            Self::Cut(..) => Thing::Line,
            Self::FillDisk(_) => Thing::Disk,
            Self::KillEngine(_) | Self::HangEngine(_) => Thing::Engine,
        };
        self.subjects().into_iter().map(|who| (thing, who)).collect()
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who) => write!(f, "kill -9 {who}"),
            Self::KillBoth(worker) => write!(f, "kill -9 master and worker-{worker}"),
            Self::Pause(who) => write!(f, "stop {who}"),
            Self::Cut(worker, Way::Both) => write!(f, "cut worker-{worker} off"),
            Self::Cut(worker, Way::ToMaster) => write!(f, "cut worker-{worker}, the way to the master"),
            Self::Cut(worker, Way::ToWorker) => write!(f, "cut worker-{worker}, the way from the master"),
            Self::FillDisk(who) => write!(f, "fill the disk of {who}"),
            Self::KillEngine(worker) => write!(f, "kill -9 the Engine of worker-{worker}"),
            Self::HangEngine(worker) => write!(f, "stop the Engine of worker-{worker}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Process,
    Line,
    Disk,
    Engine,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Millis,
    pub(crate) lasts: Millis,
    pub(crate) deed: Deed,
}

/// What there is to break.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground {
    pub(crate) workers: u32,
    /// The worker with an Engine of its own, which may be killed.
    pub(crate) own_engine: Option<u32>,
    /// The worker whose data folder is on a small disk.
    pub(crate) small_disk: u32,
    pub(crate) times: Times,
}

/// All faults of a run, by their beginnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan(pub(crate) Vec<Planned>);

impl Plan {
    /// The faults of a run of this length; the last is over before its end.
    pub(crate) fn draw(seed: u64, length: Millis, ground: Ground) -> Self {
        let mut dice = Dice::of(seed, 0);
        let mut free_from: BTreeMap<(Thing, Who), Millis> = BTreeMap::new();
        let mut planned = Vec::new();
        let mut at = QUIET;
        while at < length {
            // Where all that is drawn is broken already, this moment passes.
            for _ in 0..20 {
                let deed = ground.draw(&mut dice);
                let lasts = ground.length_of(deed, &mut dice);
                let takes = deed.takes();
                let is_free = takes.iter().all(|thing| free_from.get(thing).is_none_or(|free| *free <= at));
                if is_free && at + lasts < length {
                    let free = at + lasts + recovery(deed);
                    free_from.extend(takes.into_iter().map(|thing| (thing, free)));
                    planned.push(Planned { at, lasts, deed });
                    break;
                }
            }
            at += dice.between(GAP.0, GAP.1);
        }
        Self(planned)
    }
}

/// How long a thing is left alone after a fault.
const fn recovery(deed: Deed) -> Millis {
    match deed {
        Deed::Kill(Who::Master) | Deed::KillBoth(_) | Deed::Pause(Who::Master) => 2_500,
        Deed::Kill(Who::Worker(_)) | Deed::Pause(Who::Worker(_)) => 1_500,
        Deed::Cut(..) | Deed::HangEngine(_) => 1_000,
        Deed::FillDisk(_) => 4_000,
        Deed::KillEngine(_) => 10_000,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    KillMaster,
    KillWorker,
    KillBoth,
    PauseMaster,
    PauseWorker,
    Cut,
    FillMaster,
    FillWorker,
    KillEngine,
    HangEngine,
}

const KINDS: [(Kind, u64); 10] = [
    (Kind::KillMaster, 4),
    (Kind::KillWorker, 8),
    (Kind::KillBoth, 2),
    (Kind::PauseMaster, 3),
    (Kind::PauseWorker, 5),
    (Kind::Cut, 10),
    (Kind::FillMaster, 3),
    (Kind::FillWorker, 2),
    (Kind::KillEngine, 2),
    (Kind::HangEngine, 3),
];

impl Ground {
    fn draw(self, dice: &mut Dice) -> Deed {
        let worker = u32::try_from(dice.between(1, u64::from(self.workers) + 1)).unwrap();
        let way = dice.weighted(&[(Way::Both, 2), (Way::ToMaster, 1), (Way::ToWorker, 1)]);
        match (dice.weighted(&KINDS), self.own_engine) {
            (Kind::KillMaster, _) => Deed::Kill(Who::Master),
            (Kind::KillWorker, _) => Deed::Kill(Who::Worker(worker)),
            (Kind::KillBoth, _) => Deed::KillBoth(worker),
            (Kind::PauseMaster, _) => Deed::Pause(Who::Master),
            (Kind::PauseWorker, _) => Deed::Pause(Who::Worker(worker)),
            (Kind::FillMaster, _) => Deed::FillDisk(Who::Master),
            (Kind::FillWorker, _) => Deed::FillDisk(Who::Worker(self.small_disk)),
            (Kind::KillEngine, Some(own)) => Deed::KillEngine(own),
            (Kind::HangEngine, Some(own)) => Deed::HangEngine(own),
            (Kind::Cut | Kind::KillEngine | Kind::HangEngine, _) => Deed::Cut(worker, way),
        }
    }

    /// Shorter than the node timeout, or so much longer that the node is lost and its tasks go elsewhere.
    fn length_of(self, deed: Deed, dice: &mut Dice) -> Millis {
        let timeout = self.times.node_timeout;
        let short = dice.between(timeout / 10, timeout * 6 / 10);
        let long = dice.between(timeout * 13 / 10, timeout * 2);
        let long_in_a_hundred = match deed {
            Deed::Kill(_) | Deed::KillBoth(_) => 15,
            Deed::Pause(_) => 30,
            Deed::Cut(..) => 40,
            Deed::FillDisk(_) | Deed::KillEngine(_) => return dice.between(300, 2_500),
            Deed::HangEngine(_) => return dice.between(500, 4_000),
        };
        if dice.chance(long_in_a_hundred) { long } else { short }
    }
}

#[test]
fn the_same_seed_gives_the_same_plan_and_each_breaks_enough() {
    let ground = Ground { workers: 3, own_engine: Some(3), small_disk: 2, times: Times::SCALED };
    for seed in 0..300 {
        let plan = Plan::draw(seed, 120_000, ground);
        assert_eq!(plan, Plan::draw(seed, 120_000, ground));
        assert_ne!(plan, Plan::draw(seed + 1, 120_000, ground));
        assert!(plan.0.len() >= 70, "seed {seed}: {} faults", plan.0.len());
        for (nth, one) in plan.0.iter().enumerate() {
            let end = one.at + one.lasts;
            assert!(end < 120_000, "{one:?}");
            let meanwhile = plan.0[nth + 1..].iter().filter(|other| other.at <= end);
            let clash = meanwhile
                .flat_map(|other| other.deed.takes())
                .find(|one_taken| one.deed.takes().contains(one_taken));
            assert_eq!(clash, None, "seed {seed}, {one:?}");
        }
    }
}
