//! What a run came to: the figures, read from its history alone, and the table that shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use podling::control::change::Change;
use podling::model::id::{AttemptKey, ContainerId, TaskId};
use podling::model::task::Step;

use crate::applier::{self, Applied};
use crate::checker::history::{Answer, Because, Entry, History, Left, Millis, Seen, What, Wish};
use crate::plan::Who;
use crate::probes::Sample;
use crate::rest::Rest;
use crate::settings::Settings;

/// In how many minutes memory has come to its level, so that what grows from the first third to the last goes on growing.
const LONG_ENOUGH_TO_GROW: f64 = 20.0;

/// The figures.
pub(crate) struct Summary {
    settings: Settings,
    faults: BTreeMap<&'static str, u32>,
    submitted: usize,
    drains: u32,
    applied: Applied,
    /// Names that `podling apply` created more than once.
    doubled: Vec<String>,
    /// Attempts that were ended so that the next one can run elsewhere.
    moves: usize,
    attempts: usize,
    /// Writes that were answered with success and aren't there.
    pub(crate) lost: Vec<String>,
    /// Attempts whose containers started more than once.
    pub(crate) twice: Vec<String>,
    /// Containers without a live record.
    pub(crate) orphans: Vec<String>,
    /// Tasks that show another exit code than their container had.
    pub(crate) wrong: Vec<String>,
    /// The longest time without a write that was answered with success.
    longest_gap: Millis,
    slowest_probe: Millis,
    rested_after: Millis,
    surprises: usize,
    /// First third's median against the last third's: memory in KiB, descriptors.
    growth: Vec<(Who, [u64; 2], [u64; 2])>,
}

/// What was done to the cluster.
pub(crate) struct Done {
    /// Faults, by kind.
    pub(crate) faults: BTreeMap<&'static str, u32>,
    /// Processes that ended by themselves.
    pub(crate) surprises: usize,
    pub(crate) drains: u32,
    pub(crate) applied: Applied,
}

impl Summary {
    pub(crate) fn of(
        settings: Settings,
        done: Done,
        history: &History,
        rest: &Rest,
        samples: &[Sample],
    ) -> Self {
        let Done { faults, surprises, drains, applied } = done;
        let created = created(history);
        let asked = history.entries.iter().filter_map(|entry| match &entry.what {
            What::Asked { wish: Wish::Create { key, .. }, .. } => Some(key),
            _ => None,
        });
        Self {
            settings,
            faults,
            submitted: asked.collect::<BTreeSet<_>>().len(),
            drains,
            applied,
            doubled: applier::doubled(history),
            moves: steps(history, |step| matches!(step, Step::Move { .. })),
            attempts: containers(history).values().map(|one| &one.key).collect::<BTreeSet<_>>().len(),
            lost: lost(history, &created),
            twice: twice(history),
            orphans: rest.containers.iter().filter(|left| !is_wanted(left, &rest.tasks)).map(told).collect(),
            wrong: wrong_codes(history, &rest.tasks),
            longest_gap: longest_gap(history),
            slowest_probe: slowest_probe(history),
            rested_after: rest.took,
            surprises,
            growth: growth(samples),
        }
    }

    /// All that must be empty.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let named = |name: &'static str, list: &[String]| {
            list.iter().map(move |one| format!("{name}: {one}")).collect::<Vec<_>>()
        };
        let lists = [
            named("acknowledged, and lost", &self.lost),
            named("run twice", &self.twice),
            named("left behind", &self.orphans),
            named("wrong exit code", &self.wrong),
            named("created twice by apply", &self.doubled),
            named("never applied", &self.applied.stuck),
            named("grows", &self.growing()),
        ];
        lists.concat()
    }

    /// What grew, where the run was long enough to tell.
    fn growing(&self) -> Vec<String> {
        if self.settings.minutes() < LONG_ENOUGH_TO_GROW {
            return Vec::new();
        }
        let grew = |[first, last]: &[u64; 2]| *last > first + first / 10;
        let who = self.growth.iter().filter(|(_, memory, descriptors)| grew(memory) || grew(descriptors));
        who.map(|(who, memory, descriptors)| {
            format!("{who}: memory {} KiB, descriptors {}", change(*memory), change(*descriptors))
        })
        .collect()
    }

    pub(crate) fn total(&self) -> u32 {
        self.faults.values().sum()
    }
}

fn told(left: &Left) -> String {
    format!("{left:?}")
}

/// How many steps of a kind the store holds.
fn steps(history: &History, is_it: fn(&Step) -> bool) -> usize {
    let taken = |entry: &&Entry| match &entry.what {
        What::Committed { change: Change::Advanced { step, .. }, .. } => is_it(step),
        _ => false,
    };
    history.entries.iter().filter(taken).count()
}

/// The tasks whose creation the store holds.
fn created(history: &History) -> BTreeSet<TaskId> {
    let creations = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Committed { change: Change::Created(creation), .. } => Some(creation),
        _ => None,
    });
    creations.flat_map(|creation| creation.tasks.iter().map(|new| new.id.clone())).collect()
}

fn lost(history: &History, created: &BTreeSet<TaskId>) -> Vec<String> {
    let answers = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Answered { answer: Answer::Created(ids), .. } => Some((entry.at, ids)),
        _ => None,
    });
    let each = answers.flat_map(|(at, ids)| ids.iter().map(move |id| (at, id)));
    each.filter(|(_, id)| !created.contains(*id)).map(|(at, id)| format!("{id}, told at {at} ms")).collect()
}

/// What the Engines did with one container.
struct Life<'a> {
    key: &'a AttemptKey,
    starts: usize,
    end: Option<(i32, Because)>,
}

fn containers(history: &History) -> BTreeMap<&ContainerId, Life<'_>> {
    let mut found = BTreeMap::new();
    for entry in &history.entries {
        if let What::Made { container, key, .. } = &entry.what {
            found.insert(container, Life { key, starts: 0, end: None });
        }
    }
    for entry in &history.entries {
        match &entry.what {
            What::Started { container, .. } => {
                found.entry(container).and_modify(|life| life.starts += 1);
            }
            What::Ended { container, exit_code, because, .. } => {
                found.entry(container).and_modify(|life| life.end = Some((*exit_code, *because)));
            }
            _ => {}
        }
    }
    found
}

fn twice(history: &History) -> Vec<String> {
    let mut starts: BTreeMap<&AttemptKey, usize> = BTreeMap::new();
    for life in containers(history).values() {
        *starts.entry(life.key).or_default() += life.starts;
    }
    let more = starts.into_iter().filter(|(_, count)| *count > 1);
    more.map(|(key, count)| format!("{key}, {count} times")).collect()
}

fn is_wanted(left: &Left, tasks: &[Seen]) -> bool {
    let is_it = |task: &&Seen| task.task == left.key.task && task.attempt == left.key.attempt.0;
    tasks.iter().find(is_it).is_some_and(|task| !task.status.is_terminal())
}

fn wrong_codes(history: &History, tasks: &[Seen]) -> Vec<String> {
    let containers = containers(history);
    let differs = |task: &&Seen| {
        let end = task.container.as_ref().and_then(|id| containers.get(id)).and_then(|life| life.end);
        let (Some(shown), Some((code, because))) = (task.exit_code, end) else { return false };
        matches!(because, Because::Itself | Because::Signal) && shown != code
    };
    tasks.iter().filter(differs).map(|task| format!("{task:?}")).collect()
}

fn longest_gap(history: &History) -> Millis {
    let good = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Answered { answer: Answer::Created(_) | Answer::Done, .. } => Some(entry.at),
        _ => None,
    });
    let times: Vec<Millis> = good.collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

fn slowest_probe(history: &History) -> Millis {
    let probes = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Probed { took, .. } => *took,
        _ => None,
    });
    probes.max().unwrap_or_default()
}

fn growth(samples: &[Sample]) -> Vec<(Who, [u64; 2], [u64; 2])> {
    let all: BTreeSet<Who> = samples.iter().map(|sample| sample.who).collect();
    let end = samples.iter().map(|sample| sample.at).max().unwrap_or_default();
    let thirds = |who: Who, what: fn(&Sample) -> u64| {
        let of_it = || samples.iter().filter(move |sample| sample.who == who);
        let first = of_it().filter(|sample| sample.at <= end / 3).map(what).collect();
        let last = of_it().filter(|sample| sample.at >= end * 2 / 3).map(what).collect();
        [median(first), median(last)]
    };
    let both = |who| (who, thirds(who, |sample| sample.memory_kib), thirds(who, |sample| sample.descriptors));
    all.into_iter().map(both).collect()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// By how much the second differs from the first, in per cent.
fn change([first, last]: [u64; 2]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "per cent are shown without decimals")]
    let percent = |first: u64, last: u64| (last as f64 / first.max(1) as f64 - 1.0) * 100.0;
    format!("{first} → {last} ({:+.0} %)", percent(first, last))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = String::new();
        let mut row = |name: &str, value: String| writeln!(rows, "| {name} | {value} |");
        row("minutes", format!("{}", self.settings.minutes()))?;
        row("seed", self.settings.seed.to_string())?;
        for (kind, count) in &self.faults {
            row(&format!("fault: {kind}"), count.to_string())?;
        }
        row("**faults in all**", format!("**{}**", self.total()))?;
        row("tasks submitted", self.submitted.to_string())?;
        row("drains of a node", self.drains.to_string())?;
        row("attempts moved off a drained node", self.moves.to_string())?;
        row("files applied, each twice", self.applied.files.to_string())?;
        row("tasks that apply created twice", self.doubled.len().to_string())?;
        row("attempts that got a container", self.attempts.to_string())?;
        row("acknowledged writes lost", self.lost.len().to_string())?;
        row("attempts whose containers started twice", self.twice.len().to_string())?;
        row("orphans after 20 s", self.orphans.len().to_string())?;
        row("wrong exit codes", self.wrong.len().to_string())?;
        row("at rest after", format!("{} ms", self.rested_after))?;
        row("longest time without a write that succeeded", format!("{} ms", self.longest_gap))?;
        row("slowest /healthz", format!("{} ms", self.slowest_probe))?;
        row("processes that ended by themselves", self.surprises.to_string())?;
        for (who, memory, descriptors) in &self.growth {
            row(&format!("{who}: memory, KiB"), change(*memory))?;
            row(&format!("{who}: descriptors"), change(*descriptors))?;
        }
        write!(f, "| | |\n| --- | --- |\n{rows}")
    }
}
