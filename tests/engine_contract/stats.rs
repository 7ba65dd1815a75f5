//! What containers use, on every engine.

use std::time::Duration;

use podling::engine::{EngineError, Usage};
use podling::model::id::ContainerId;
use podling::model::resources::MemoryBytes;
use podling::model::spec::TaskSpec;
use podling::runtime::clock;

use crate::support::{LONG, Rig, exits, fresh_id, program, runs};

crate::on_every_engine!(
    who_works_uses_more_of_the_processor_than_who_waits,
    memory_that_is_held_is_counted,
    what_does_not_run_uses_nothing,
    what_is_unknown_has_no_figures,
);

/// Asks until there is what is wanted.
fn until(rig: &Rig, id: &ContainerId, is_so: impl Fn(Usage) -> bool) -> Usage {
    let began = clock::mono();
    loop {
        let usage = rig.engine.stats(id).unwrap();
        if is_so(usage) {
            return usage;
        }
        assert!(clock::mono().since(began) < LONG, "{usage:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn works() -> TaskSpec {
    program("while :; do :; done", &[("HOLLOW_RUN_MS", "600000"), ("HOLLOW_CPU_MILLIS", "1000")])
}

fn who_works_uses_more_of_the_processor_than_who_waits(rig: &Rig) {
    let (busy, idle) = (rig.run(works()), rig.run(runs()));
    let first = until(rig, &busy, |usage| usage.cpu_nanos > 300_000_000);
    let later = until(rig, &busy, |usage| usage.cpu_nanos > first.cpu_nanos);
    assert!(later.memory.0 > 0, "{later:?}");
    let waits = rig.engine.stats(&idle).unwrap();
    assert!(waits.cpu_nanos < first.cpu_nanos && waits.memory.0 > 0, "{waits:?}");
}

/// The shell keeps what it has read; the rest of its memory is a few hundred KiB.
fn memory_that_is_held_is_counted(rig: &Rig) {
    const HELD: u64 = 16 << 20;
    let script = format!("x=$(head -c {HELD} /dev/zero | tr '\\0' x); sleep 600 & wait; echo ${{#x}}");
    let hollow = [("HOLLOW_RUN_MS", "600000"), ("HOLLOW_MEMORY_BYTES", &(HELD + 1).to_string())];
    let id = rig.run(program(&script, &hollow));
    let usage = until(rig, &id, |usage| usage.memory > MemoryBytes(HELD));
    assert!(usage.memory.0 < 16 * HELD, "{usage:?}");
}

fn what_does_not_run_uses_nothing(rig: &Rig) {
    let made = rig.engine.create(&rig.request(exits(0))).unwrap();
    assert_eq!(rig.engine.stats(&made), Ok(Usage::default()));
    let ended = rig.run_to_end(exits(0));
    assert_eq!(rig.engine.stats(&ended), Ok(Usage::default()));
}

fn what_is_unknown_has_no_figures(rig: &Rig) {
    let id: ContainerId = fresh_id().parse().unwrap();
    assert_eq!(rig.engine.stats(&id), Err(EngineError::NotFound { subject: id.to_string() }));
}
