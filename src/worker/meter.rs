//! How much processor containers use: from what they have used up by one moment and by another. Pure.
//!
//! Main type: [`Meter`], which keeps the last sample of each container. Deliberately absent: the Engine, a clock.

use std::collections::HashMap;
use std::time::Duration;

use crate::engine::Usage;
use crate::model::id::ContainerId;
use crate::model::resources::CpuMillis;
use crate::model::time::Mono;

/// A sample older than this says nothing of the present.
const LONGEST: Duration = Duration::from_secs(30);

/// Two samples less far apart than this are one: what is left between them is chance.
const SHORTEST: Duration = Duration::from_millis(100);

/// What a container had used at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Mono,
    /// What.
    pub usage: Usage,
}

/// The last sample of each container.
#[derive(Debug, Default)]
pub struct Meter(HashMap<ContainerId, Sample>);

impl Meter {
    /// Takes a sample, and gives what was used of the processor since the one before. None: there is none that would
    /// say anything.
    pub fn note(&mut self, container: &ContainerId, sample: Sample) -> Option<CpuMillis> {
        let earlier = self.0.insert(container.clone(), sample)?;
        let apart = sample.at.since(earlier.at);
        if !(SHORTEST..=LONGEST).contains(&apart) {
            return None;
        }
        let used = sample.usage.cpu_nanos.checked_sub(earlier.usage.cpu_nanos)?;
        let millis = u128::from(used) * 1000 / apart.as_nanos().max(1);
        Some(CpuMillis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// Forgets all containers but those.
    pub fn keep(&mut self, is_there: impl Fn(&ContainerId) -> bool) {
        self.0.retain(|container, _| is_there(container));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, cpu_ms: u64) -> Sample {
        let usage = Usage { cpu_nanos: cpu_ms * 1_000_000, ..Usage::default() };
        Sample { at: Mono::from_boot(Duration::from_millis(at_ms)), usage }
    }

    #[test]
    fn use_is_what_lies_between_two_samples() {
        let (mut meter, container) = (Meter::default(), "c1".parse().unwrap());
        let mut note = |at_ms, cpu_ms| meter.note(&container, sample(at_ms, cpu_ms)).map(|cpu| cpu.0);
        assert_eq!(note(1000, 500), None, "the first says nothing");
        assert_eq!(note(1250, 750), Some(1000));
        assert_eq!(note(3250, 4750), Some(2000), "two cores");
        assert_eq!(note(5250, 4751), Some(0), "less than a thousandth");
        assert_eq!(note(35_250, 19_751), Some(500));
        assert_eq!(note(65_251, 19_751), None, "too long ago");
        assert_eq!(note(65_350, 19_851), None, "a moment ago");
        assert_eq!(note(66_350, 100), None, "it counts anew");
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut meter = Meter::default();
        for id in ["c1", "c2"] {
            assert_eq!(meter.note(&id.parse().unwrap(), sample(1000, 0)), None);
        }
        meter.keep(|id| id.as_str() == "c2");
        let again = ["c1", "c2"].map(|id| meter.note(&id.parse().unwrap(), sample(2000, 500)));
        assert_eq!(again, [None, Some(CpuMillis(500))]);
    }
}
