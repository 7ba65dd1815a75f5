//! Snapshots: whatever happened, and wherever in it a snapshot was made, reading the store back gives the same state;
//! the store holds what there is, not all that ever was; and what earlier versions wrote is taken up.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/faulty_store.rs"]
mod faulty_store;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/master.rs"]
mod master;

use std::path::Path;

use cluster::at;
use faulty_store::Fault;
use master::{Master, load, shown};
use podling::api::wire::agent::ReportStep;
use podling::control::tasks::Filter;
use podling::master::committer;
use podling::master::journal::Fate;
use podling::master::state::{CreateError, State};
use podling::model::id::TaskId;
use podling::model::node::Availability;
use podling::model::task::TaskStatus;
use podling::runtime::supervise::Stop;
use podling::store::embedded::EmbeddedStore;
use podling::store::{Store, StoreError, Stored};
use proptest::prelude::*;

/// Reports for the attempt that counts now, from its node.
fn tell(state: &State, task: &TaskId, step: ReportStep) {
    let task = state.task(task.as_str()).unwrap().unwrap().value;
    if let Some(on) = task.placement() {
        let _ = master::tell_as(state, on.node.as_str(), &task.id, task.attempt, step);
    }
}

/// What is done next, and to which of the tasks that there are.
fn act(master: &Master, tasks: &mut Vec<TaskId>, keys: &mut Vec<String>, (what, whom): (u8, u8)) {
    let state = &master.state;
    let node = format!("worker-{}", whom % 3);
    let task = (!tasks.is_empty()).then(|| tasks[usize::from(whom) % tasks.len()].clone());
    match (what, task) {
        (0..4, _) => {
            let key = (whom % 3 == 0).then(|| format!("key-{}", keys.len()));
            let names = &["a", "b", "c"][..usize::from(whom % 3) + 1];
            tasks.extend(master.create(names, key.as_deref()).unwrap_or_default());
            keys.extend(key);
        }
        (4, _) => drop(master.register(&node)),
        (5..8, _) => drop(state.schedule(at(101))),
        (8..10, Some(task)) => tell(state, &task, ReportStep::Running),
        (10..13, Some(task)) => tell(state, &task, ReportStep::Ended),
        (13, Some(task)) => tell(state, &task, ReportStep::Refused),
        (14, Some(task)) => drop(state.stop(task.as_str(), None, at(104))),
        (15..18, Some(task)) => {
            if let Ok(Some(_)) = state.forget(task.as_str(), at(105)) {
                tasks.retain(|id| *id != task);
            }
        }
        (18, _) => {
            let words = [Availability::Active, Availability::Cordoned, Availability::Draining];
            let word = words[usize::from(whom) / 3 % 3];
            drop(state.set_availability(&node.parse().unwrap(), word, at(106)));
        }
        (19, _) if whom > 230 => drop(state.judge_silence(at(900))),
        (20, _) => drop(state.forget_node(&node.parse().unwrap(), at(107))),
        _ => {}
    }
}

/// That a master which starts now knows what this one knows.
#[track_caller]
fn comes_back(master: &Master, keys: &[String]) {
    assert_eq!(master.fate(), Fate::Durable);
    let disk = master.store.disk();
    let mut copy = faulty_store::FaultyStore::default();
    {
        let mut twin = copy.disk();
        (twin.rows, twin.parts, twin.sealed) = (disk.rows.clone(), disk.parts.clone(), disk.sealed);
    }
    let back = load(&mut copy);
    assert_eq!(shown(&back), shown(&master.state));
    assert_eq!(back.journal().last_position(), master.state.journal().last_position());
    drop(disk);
    for key in keys {
        let again = |state: &_| master::create_in(state, &["x"], Some(key)).map(|(ids, _)| ids);
        let (here, there) = (again(&master.state), again(&back));
        assert_eq!(here, there, "{key}");
        assert!(matches!(here, Ok(_) | Err(CreateError::Gone)), "{key} was used: {here:?}");
    }
    if let Some(node) = master.state.nodes(None, 1).value.0.first() {
        let forget = |state: &_| master::beat_at(state, node.node_id.as_str(), at(102)).forget;
        assert_eq!(forget(&master.state), forget(&back));
    }
}

/// Writes so many records that a snapshot of all that there is must be made, and waits for it.
fn make_due(master: &Master, after: u64) {
    let node = "worker-1".parse().unwrap();
    master.register("worker-1").unwrap();
    let size = master.state.tasks(&Filter::default(), None, 1000).value.0.len() as u64 + 3;
    let had = master.store.disk().sealed;
    for _ in 0..after + 2 * size + 1 {
        master.state.set_availability(&node, Availability::Active, at(108)).unwrap().unwrap();
    }
    let end = podling::runtime::clock::mono() + std::time::Duration::from_secs(20);
    while master.store.disk().sealed == had {
        assert!(podling::runtime::clock::mono() < end, "no snapshot was made");
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_comes_back_wherever_snapshots_were_made(
        acts in prop::collection::vec((0_u8..21, any::<u8>()), 150..300),
        after in 1_u64..40,
    ) {
        let master = Master::start_with(after);
        let (mut tasks, mut keys) = (Vec::new(), Vec::new());
        for (number, what) in acts.iter().enumerate() {
            act(&master, &mut tasks, &mut keys, *what);
            if number % 60 == 59 {
                comes_back(&master, &keys);
            }
        }
        make_due(&master, after);
        comes_back(&master, &keys);
    }
}

#[test]
fn a_store_that_fails_in_the_middle_of_snapshots_loses_nothing() {
    for fault in [Fault::Refuses, Fault::LandsAndFails] {
        let master = Master::start_with(5);
        master.register("worker-1").unwrap();
        for _ in 0..3 {
            for _ in 0..12 {
                let ids = master.create(&["a", "b"], None).unwrap();
                master.state.stop(ids[0].as_str(), None, at(101)).unwrap();
                master.state.forget(ids[0].as_str(), at(102)).unwrap();
            }
            assert_eq!(master.fate(), Fate::Durable);
            master.fail_with(fault, |master| drop(master.create(&["never"], None).unwrap()));
            assert_eq!(
                shown(&load(&mut master.store.clone())).matches("never").count(),
                usize::from(fault == Fault::LandsAndFails)
            );
            master.mend();
            comes_back(&master, &[]);
        }
        assert_eq!(master.state.count(TaskStatus::Pending), 36);
    }
}

/// Makes and forgets tasks, each durable before the next: a thousand records and more, of which two tasks remain.
fn live_and_forget(path: &Path) -> (String, u64) {
    let mut store = EmbeddedStore::open(path).unwrap();
    let state = std::sync::Arc::new(load(&mut store));
    let (source, stop) = Stop::channel();
    let run = std::sync::Arc::clone(&state);
    let thread = podling::runtime::supervise::spawn("journal", move || {
        committer::run_with(&run, &mut store, &stop, 50);
    });
    master::create_in(&state, &["stays", "too"], Some("key")).unwrap();
    for _ in 0..400 {
        let (ids, _) = master::create_in(&state, &["goes"], None).unwrap();
        state.stop(ids[0].as_str(), None, at(101)).unwrap();
        let gone = state.forget(ids[0].as_str(), at(102)).unwrap().unwrap();
        while !state.journal().is_settled(gone.at) {
            std::thread::yield_now();
        }
    }
    source.stop();
    assert!(thread.unwrap().join());
    (shown(&state), state.journal().last_position().0)
}

#[test]
fn the_store_holds_what_there_is_not_all_that_ever_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (before, last) = live_and_forget(&path);
    assert!(last > 1_200);
    let mut store = EmbeddedStore::open(&path).unwrap();
    let (mut parts, mut records) = (0, 0);
    let count = &mut |stored: Stored<'_>| {
        match stored {
            Stored::Part(..) => parts += 1,
            Stored::Record(..) => records += 1,
        }
        Ok(())
    };
    store.replay(count).unwrap();
    assert!(parts >= 1 && records < 200, "{parts} parts, {records} records");
    let back = load(&mut store);
    assert_eq!(shown(&back), before);
    assert_eq!(back.journal().last_position().0, last);
    assert_eq!(master::create_in(&back, &["x"], Some("key")).unwrap().0.len(), 2, "the key survived");
    assert!(std::fs::metadata(&path).unwrap().len() < 8 << 20);
}

/// Writes a store as the version of format 1 did: rows of records, no snapshots.
fn write_format_1(path: &Path, format: u64) {
    const JOURNAL: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("journal");
    const META: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    let rows: [(u64, &[&str]); 2] = [
        (
            1,
            &[
                r#"{"registered":{"registration":{"node_id":"worker-1","instance":"i0000000000000000000000000","start":"s0000000000000000000000000","address":{"host":"127.0.0.1","port":8081},"capacity":2,"cpu":4000,"memory":1073741824,"labels":{},"engine":"hollow","engine_id":"e","heartbeat":{"secs":10,"nanos":0}},"incarnation":1}}"#,
                r#"{"created":{"at":100000,"specs":[{"image":"busybox"}],"tasks":[{"id":"00000031N0GAJ6XE0QXG852218","name":"old","spec":0,"replica":false}],"key":["k",[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]]}}"#,
            ],
        ),
        (3, &[r#"{"status":{"node":"worker-1","status":"offline"}}"#]),
    ];
    let database = redb::Database::create(path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", format).unwrap();
    for (first, records) in rows {
        let mut row = Vec::new();
        for record in records {
            row.extend_from_slice(&u32::try_from(record.len()).unwrap().to_le_bytes());
            row.extend_from_slice(record.as_bytes());
        }
        write.open_table(JOURNAL).unwrap().insert(first, row.as_slice()).unwrap();
    }
    write.commit().unwrap();
}

#[test]
fn what_format_1_wrote_is_taken_up_and_a_later_format_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    write_format_1(&path, 1);
    for _ in 0..2 {
        let back = load(&mut EmbeddedStore::open(&path).unwrap());
        let task = back.task("old").unwrap().unwrap().value;
        assert_eq!((task.status(), task.id.as_str()), (TaskStatus::Pending, "00000031N0GAJ6XE0QXG852218"));
        assert_eq!(back.node(&"worker-1".parse().unwrap()).unwrap().value.status.as_str(), "offline");
        assert_eq!(back.journal().last_position().0, 3);
    }
    let path = folder.path().join("later.redb");
    write_format_1(&path, 3);
    let Err(error) = EmbeddedStore::open(&path) else { panic!("it was opened") };
    assert_eq!(error, StoreError::TooNew { path: path.clone(), format: 3 });
    assert!(error.to_string().contains("later.redb has the format 3"), "{error}");
}
