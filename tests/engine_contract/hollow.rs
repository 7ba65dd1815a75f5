//! What the hollow engine has for tests: faults, and counts of what must not happen twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use podling::engine::hollow::{HollowEngine, Tally};
use podling::engine::{Engine, EngineError, LogRequest, Phase, PullProgress};
use podling::model::time::{Mono, Now, WallTime};
use podling::runtime::clock;

use crate::support::{LONG, Rig, eats_memory, exits, is_unreachable, program, runs};

fn rig() -> (Arc<HollowEngine>, Rig) {
    let engine = Arc::new(HollowEngine::new().recording());
    let rig = Rig::on(Arc::<HollowEngine>::clone(&engine));
    (engine, rig)
}

#[test]
fn an_engine_that_is_down_answers_nobody_and_forgets_nothing() {
    let (engine, rig) = rig();
    let id = rig.run(runs());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| engine.wait(&id, LONG));
        let mut log = engine.logs(&id, LogRequest { follow: true }).unwrap();
        engine.set_down(true);
        assert!(is_unreachable(&waiter.join().unwrap()));
        assert!(log.next().is_some_and(|item| is_unreachable(&item)));
        assert!(log.next().is_none());
    });
    assert!(is_unreachable(&engine.describe()));
    assert!(is_unreachable(&engine.list(&rig.owner)));
    assert!(is_unreachable(&engine.create(&rig.request(exits(0)))));
    engine.set_down(false);
    assert_eq!(engine.list(&rig.owner).unwrap().len(), 1);
}

#[test]
fn it_counts_what_must_not_happen_twice() {
    let (engine, rig) = rig();
    let request = rig.request(exits(0));
    for _ in 0..2 {
        let id = engine.create(&request).unwrap();
        engine.start(&id).unwrap();
        engine.remove(&id).unwrap();
    }
    let name = request.key.container_name();
    assert_eq!(engine.history().get(&name), Some(&Tally { creates: 2, starts: 2 }));
    assert!(HollowEngine::new().history().is_empty());
}

#[test]
fn faults_are_asked_for_by_the_environment() {
    let (engine, rig) = rig();
    let create = |name: &str, value: &str| engine.create(&rig.request(program("", &[(name, value)])));
    assert!(matches!(create("HOLLOW_FAIL", "create"), Err(EngineError::Failed { .. })));
    for (name, value) in [("HOLLOW_FAIL", "often"), ("HOLLOW_RUN_MS", "-1"), ("HOLLOW_OOM", "yes")] {
        let refused = create(name, value);
        assert!(
            matches!(&refused, Err(EngineError::Rejected { why, .. }) if why.contains(name)),
            "{refused:?}"
        );
    }
    let id = rig.run_to_end(eats_memory());
    assert!(engine.inspect(id.as_str()).unwrap().oom_killed);
    let id = rig.run(program("", &[("HOLLOW_FAIL", "vanish"), ("HOLLOW_RUN_MS", "100")]));
    assert!(engine.inspect(id.as_str()).is_ok());
    assert!(matches!(engine.wait(&id, LONG), Err(EngineError::NotFound { .. })));
    assert_eq!(engine.list(&rig.owner).unwrap().len(), 1, "the other one is still there");
}

#[test]
fn a_remote_image_is_held_once_it_was_pulled() {
    let (engine, _) = rig();
    let image = "remote/pull-200/a:1".parse().unwrap();
    assert_eq!(engine.has_image(&image), Ok(false));
    let (began, mut seen) = (clock::mono(), Vec::new());
    engine.pull(&image, &mut |progress| seen.push(progress)).unwrap();
    assert!(clock::mono().since(began) >= Duration::from_millis(200));
    assert_eq!(seen, [PullProgress { current_bytes: 1, total_bytes: 1 }]);
    assert_eq!(engine.has_image(&image), Ok(true));
}

/// An engine whose clock stands still until the test moves it.
fn by_hand() -> (Arc<HollowEngine>, Rig, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(10_000));
    let hand = Arc::clone(&millis);
    let clock = move || {
        let millis = hand.load(Ordering::SeqCst);
        let mono = Mono::from_boot(Duration::from_millis(millis));
        Now { mono, wall: WallTime::from_unix_millis(millis) }
    };
    let engine = Arc::new(HollowEngine::with_clock("byhand".to_owned(), Arc::new(clock)));
    let rig = Rig::on(Arc::<HollowEngine>::clone(&engine));
    (engine, rig, millis)
}

fn at(millis: u64) -> Mono {
    Mono::from_boot(Duration::from_millis(millis))
}

#[test]
fn by_its_own_clock_nothing_blocks_and_ends_come_when_the_clock_says() {
    let (engine, rig, millis) = by_hand();
    let id = engine.create(&rig.request(program("", &[("HOLLOW_RUN_MS", "500")]))).unwrap();
    assert_eq!(engine.ends_at(&id), Ok(None), "it was not started");
    engine.start(&id).unwrap();
    assert_eq!(engine.ends_at(&id), Ok(Some(at(10_500))));
    millis.store(10_499, Ordering::SeqCst);
    assert_eq!(engine.inspect(id.as_str()).unwrap().phase, Phase::Running);
    millis.store(10_500, Ordering::SeqCst);
    assert_eq!(engine.ends_at(&id), Ok(None));
    let ended = engine.inspect(id.as_str()).unwrap();
    assert_eq!((ended.phase, ended.finished_at), (Phase::Exited, Some(WallTime::from_unix_millis(10_500))));
    let image = "remote/pull-250/app".parse().unwrap();
    assert_eq!(engine.begin_pull(&image), Ok(at(10_750)));
    assert_eq!(engine.has_image(&image), Ok(false));
    assert_eq!((engine.end_pull(&image), engine.has_image(&image)), (Ok(()), Ok(true)));
}

#[test]
fn a_stop_that_is_begun_ends_by_term_or_when_the_grace_is_over() {
    let (engine, rig, millis) = by_hand();
    let start =
        |stubborn| rig.run(program("", &[("HOLLOW_RUN_MS", "60000"), ("HOLLOW_IGNORE_TERM", stubborn)]));
    let (obedient, stubborn) = (start("0"), start("1"));
    let grace = Duration::from_secs(3);
    assert_eq!(engine.begin_stop(&obedient, grace), Ok(at(10_000)));
    assert_eq!(engine.begin_stop(&stubborn, grace), Ok(at(13_000)));
    millis.store(13_000, Ordering::SeqCst);
    let codes = [obedient, stubborn].map(|id| engine.inspect(id.as_str()).unwrap().exit_code);
    assert_eq!(codes, [143, 137]);
}

#[test]
fn an_engine_that_is_started_again_ends_what_runs_and_nothing_else() {
    let (engine, rig, millis) = by_hand();
    let made = engine.create(&rig.request(exits(0))).unwrap();
    let (ended, running) = (rig.run(exits(7)), rig.run(program("", &[("HOLLOW_RUN_MS", "60000")])));
    millis.store(11_000, Ordering::SeqCst);
    engine.set_down(true);
    engine.restart();
    let there: Vec<_> = engine.containers().into_iter().map(|c| (c.id, c.phase, c.exit_code)).collect();
    assert_eq!(there, [(made, Phase::Created, 0), (ended, Phase::Exited, 7), (running, Phase::Exited, 137)]);
    engine.set_down(false);
}
