//! What the hollow engine has for tests: faults, and counts of what must not happen twice.

use std::sync::Arc;
use std::time::Duration;

use podling::engine::hollow::{HollowEngine, Tally};
use podling::engine::{Engine, EngineError, LogRequest, PullProgress};
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
