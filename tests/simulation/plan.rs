//! What a seed stands for: how many nodes and clients, which faults, when and for how long.

use std::collections::BTreeMap;

use podling::model::resources::{CpuMillis, MemoryBytes};

use super::rng::Rng;
use super::time::{MS, Micros, SECOND};

/// A fault that begins at one moment and ends at another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) begins: Micros,
    pub(crate) lasts: Micros,
    pub(crate) kind: Kind,
}

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MasterKilled,
    WorkerKilled(usize),
    BothKilled(usize),
    MasterPaused,
    WorkerPaused(usize),
    /// The line between the master and a node: towards the node, towards the master, or both.
    Cut(usize, Ways),
    /// All lines of the master.
    AllCut,
    Noise(u64),
    DiskRefuses,
    DiskLandsAndFails,
    MasterClock(i64),
    WorkerClock(usize, i64),
    EngineKilled(usize),
    EngineHung(usize),
    /// Answers are lost after the deed, so often in a thousand.
    EngineOdd(usize, u64),
    /// Each step of this worker may be its last, so often in a thousand.
    Frail(usize, u64),
    /// Each turn of the master may be its last.
    FrailMaster(u64),
}

/// Which ways of a line are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    ToNode,
    ToMaster,
    Both,
}

/// What a node has.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) cpu: CpuMillis,
    pub(crate) memory: MemoryBytes,
    /// Those that its worker begins with; now and then it is started with others.
    pub(crate) labels: [BTreeMap<String, String>; 2],
    /// Nodes may share one.
    pub(crate) engine_id: String,
}

impl Offered {
    fn of(index: usize, rng: &mut Rng) -> Self {
        let shares = index > 0 && rng.permille(300);
        let mut labels = || {
            let zone = if rng.permille(600) { "a" } else { "b" };
            let mut labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
            if rng.permille(400) {
                labels.insert("disk".to_owned(), "ssd".to_owned());
            }
            labels
        };
        Self {
            labels: [labels(), labels()],
            cpu: CpuMillis(500 * rng.within(2, 9)),
            memory: MemoryBytes(rng.within(1, 5) << 30),
            engine_id: format!("engine{}", if shares { 0 } else { index }),
        }
    }
}

/// What a seed stands for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) clients: usize,
    pub(crate) capacity: u32,
    pub(crate) machines: Vec<Offered>,
    /// Faults and new tasks end here.
    pub(crate) trouble_ends: Micros,
    pub(crate) troubles: Vec<Trouble>,
}

impl Plan {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let nodes = usize::try_from(rng.within(1, 5)).unwrap_or(1);
        let machines = (0..nodes).map(|index| Offered::of(index, rng)).collect();
        let trouble_ends = rng.within(50, 120) * SECOND;
        let count = rng.within(1, 9);
        let mut troubles: Vec<Trouble> = (0..count).map(|_| trouble(rng, nodes, trouble_ends)).collect();
        if rng.permille(500) {
            let kind = Kind::Noise(rng.within(5, 120));
            troubles.push(Trouble { begins: 0, lasts: trouble_ends, kind });
        }
        troubles.sort_by_key(|trouble| trouble.begins);
        Self {
            nodes,
            machines,
            clients: usize::try_from(rng.within(1, 3)).unwrap_or(1),
            capacity: u32::try_from(rng.within(1, 6)).unwrap_or(1),
            trouble_ends,
            troubles,
        }
    }
}

fn trouble(rng: &mut Rng, nodes: usize, ends: Micros) -> Trouble {
    let node = usize::try_from(rng.next()).unwrap_or_default() % nodes;
    let begins = rng.within(3 * SECOND, ends);
    let hour_ms = 3_600_000;
    let (kind, most) = match rng.within(0, 20) {
        0 | 1 => (Kind::MasterKilled, 40),
        2..4 => (Kind::WorkerKilled(node), 60),
        4 => (Kind::BothKilled(node), 40),
        5 => (Kind::MasterPaused, 70),
        6 => (Kind::WorkerPaused(node), 60),
        7 => (Kind::Cut(node, Ways::Both), 90),
        8 => (Kind::Cut(node, Ways::ToNode), 90),
        9 => (Kind::Cut(node, Ways::ToMaster), 90),
        10 => (Kind::AllCut, 50),
        11 => (Kind::DiskRefuses, 30),
        12 => (Kind::DiskLandsAndFails, 15),
        13 => (Kind::MasterClock(if rng.permille(500) { hour_ms } else { -hour_ms }), 60),
        14 => (Kind::WorkerClock(node, if rng.permille(500) { hour_ms } else { -hour_ms }), 60),
        15 => (Kind::EngineKilled(node), 20),
        16 => (Kind::EngineHung(node), 40),
        17 => (Kind::EngineOdd(node, rng.within(20, 300)), 40),
        18 => (Kind::Frail(node, rng.within(5, 60)), 60),
        _ => (Kind::FrailMaster(rng.within(2, 20)), 60),
    };
    // A cut early enough that a node is lost by it, and what ran there runs elsewhere.
    let begins = if matches!(kind, Kind::Cut(..)) { begins / 2 } else { begins };
    let lasts =
        if rng.permille(300) { rng.within(10 * MS, 2 * SECOND) } else { rng.within(SECOND, most * SECOND) };
    Trouble { begins, lasts: lasts.min(ends - begins), kind }
}
