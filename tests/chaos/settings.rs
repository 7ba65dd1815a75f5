//! What a run is asked for, in its environment (`scripts/chaos` puts it there), and its timings.

use std::str::FromStr;
use std::time::Duration;

use podling::runtime::clock;

use crate::checker::history::Millis;

/// What a run is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long faults are put in.
    pub(crate) length: Duration,
    pub(crate) seed: u64,
    pub(crate) workers: u32,
    pub(crate) times: Times,
}

/// How fast the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) beat: Millis,
    pub(crate) node_timeout: Millis,
    pub(crate) tick: Millis,
}

impl Times {
    /// Some fifteen times faster than by default.
    pub(crate) const SCALED: Self = Self { beat: 200, node_timeout: 2_000, tick: 50 };
    /// The defaults.
    pub(crate) const REAL: Self = Self { beat: 10_000, node_timeout: 30_000, tick: 1_000 };

    /// How long a worker's lease lasts: R8 of the reliability rules.
    pub(crate) const fn lease(self) -> Millis {
        self.node_timeout * 2 / 3
    }
}

impl Settings {
    /// Reads the environment. What it doesn't say: two minutes, a seed by the clock, three workers, scaled times.
    #[track_caller]
    pub(crate) fn read() -> Self {
        let minutes: f64 = value("MINUTES").unwrap_or(2.0);
        let workers = value("WORKERS").unwrap_or(3);
        assert!((1..=100).contains(&workers), "PODLING_CHAOS_WORKERS: 1 to 100");
        assert!((0.1..=10_000.0).contains(&minutes), "PODLING_CHAOS_MINUTES: 0.1 to 10000");
        Self {
            length: Duration::from_secs_f64(minutes * 60.0),
            seed: value("SEED").unwrap_or_else(|| clock::wall().unix_millis() % 1_000_000),
            workers,
            times: if value("REAL_TIMES") == Some(1) { Times::REAL } else { Times::SCALED },
        }
    }

    pub(crate) fn millis(self) -> Millis {
        Millis::try_from(self.length.as_millis()).unwrap()
    }

    /// The minutes as they were asked for.
    pub(crate) fn minutes(self) -> f64 {
        self.length.as_secs_f64() / 60.0
    }
}

#[track_caller]
fn value<T: FromStr>(name: &str) -> Option<T> {
    let name = format!("PODLING_CHAOS_{name}");
    let text = std::env::var(&name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} can't be read")))
}
