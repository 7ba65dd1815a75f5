//! How a hollow container behaves: what its task's environment asks for.
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `HOLLOW_RUN_MS` | how long it runs | 0 |
//! | `HOLLOW_EXIT_CODE` | how it ends | 0 |
//! | `HOLLOW_OOM=1` | the kernel ends it, with 137 unless another code is named | no |
//! | `HOLLOW_FAIL` | `create`, `start`, or `vanish`: gone without a trace when its run is over | no |
//! | `HOLLOW_LOG_LINES` | lines that it writes when it starts | 0 |
//! | `HOLLOW_IGNORE_TERM=1` | only KILL ends it | no |
//! | `HOLLOW_CPU_MILLIS` | what it uses of the processor while it runs, in thousandths of a core | 10 |
//! | `HOLLOW_MEMORY_BYTES` | what it holds of memory while it runs | 1048576 |
//!
//! An engine is asked for an image without knowing a task, so what a pull does is part of the image's path: the
//! component `missing` fails, `pull-250` takes 250 ms.

use std::str::FromStr;
use std::time::Duration;

use crate::model::resources::{CpuMillis, MemoryBytes};
use crate::model::spec::{ImageRef, TaskSpec};

/// What a container uses that was not told otherwise.
const USUAL_CPU: CpuMillis = CpuMillis(10);
const USUAL_MEMORY: MemoryBytes = MemoryBytes(1 << 20);

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fail {
    /// The container can't be made.
    Create,
    /// Its command can't be started.
    Start,
    /// It is gone when its run is over.
    Vanish,
}

/// How a container behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behaviour {
    /// How long it runs by itself.
    pub(super) run_time: Duration,
    /// How it ends by itself.
    pub(super) exit_code: i32,
    /// Whether it ends for want of memory.
    pub(super) oom_killed: bool,
    /// What goes wrong.
    pub(super) fail: Option<Fail>,
    /// How many lines it writes.
    pub(super) log_lines: u64,
    /// Whether TERM doesn't end it.
    pub(super) ignores_term: bool,
    /// What it uses of the processor.
    pub(super) cpu: CpuMillis,
    /// What it holds of memory.
    pub(super) memory: MemoryBytes,
}

impl Behaviour {
    /// Reads a spec's environment. What is wrong is said for a person.
    pub(super) fn of(spec: &TaskSpec) -> Result<Self, String> {
        let oom_killed = switch(spec, "HOLLOW_OOM")?;
        let fail = match variable(spec, "HOLLOW_FAIL") {
            None => None,
            Some("create") => Some(Fail::Create),
            Some("start") => Some(Fail::Start),
            Some("vanish") => Some(Fail::Vanish),
            Some(other) => return Err(format!("HOLLOW_FAIL: {other:?} is neither create, start nor vanish")),
        };
        Ok(Self {
            run_time: Duration::from_millis(number(spec, "HOLLOW_RUN_MS")?.unwrap_or(0)),
            exit_code: number(spec, "HOLLOW_EXIT_CODE")?.unwrap_or(if oom_killed { 137 } else { 0 }),
            oom_killed,
            fail,
            log_lines: number(spec, "HOLLOW_LOG_LINES")?.unwrap_or(0),
            ignores_term: switch(spec, "HOLLOW_IGNORE_TERM")?,
            cpu: number(spec, "HOLLOW_CPU_MILLIS")?.map_or(USUAL_CPU, CpuMillis),
            memory: number(spec, "HOLLOW_MEMORY_BYTES")?.map_or(USUAL_MEMORY, MemoryBytes),
        })
    }
}

fn variable<'a>(spec: &'a TaskSpec, name: &str) -> Option<&'a str> {
    spec.env.as_map().get(name).map(String::as_str)
}

fn number<T: FromStr>(spec: &TaskSpec, name: &str) -> Result<Option<T>, String> {
    let parse = |text: &str| text.parse().map_err(|_| format!("{name}: {text:?} is not a number"));
    variable(spec, name).map(parse).transpose()
}

fn switch(spec: &TaskSpec, name: &str) -> Result<bool, String> {
    match variable(spec, name) {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(format!("{name}: {other:?} is neither 1 nor 0")),
    }
}

/// Whether one of the components of an image's path is this word.
pub(super) fn has_component(image: &ImageRef, word: &str) -> bool {
    components(image).any(|component| component == word)
}

/// How long a pull of an image takes.
pub(super) fn pull_time(image: &ImageRef) -> Duration {
    let millis = components(image).find_map(|component| component.strip_prefix("pull-")?.parse().ok());
    Duration::from_millis(millis.unwrap_or(0))
}

/// The path between the slashes, tag and digest cut off.
fn components(image: &ImageRef) -> impl Iterator<Item = &str> {
    image.as_str().split('/').map(|part| part.split([':', '@']).next().unwrap_or(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_path_says_what_a_pull_does() {
        let image = |text: &str| text.parse::<ImageRef>().unwrap();
        for missing in ["missing", "missing/a:1", "r.io:5000/a/missing:latest"] {
            assert!(has_component(&image(missing), "missing"), "{missing}");
        }
        assert!(!has_component(&image("a/missing-not:missing"), "missing"));
        assert_eq!(pull_time(&image("a/pull-250/b:1")), Duration::from_millis(250));
        assert_eq!(pull_time(&image("a/b")), Duration::ZERO);
    }
}
