//! From create to remove, on every engine.

use std::time::Duration;

use podling::engine::{EngineError, Owner, Phase};
use podling::model::id::ContainerId;
use podling::model::spec::{OnNodeLost, TaskSpec};
use podling::runtime::clock;

use crate::support::{Rig, cannot_start, eats_memory, exits, fresh_id, runs, runs_for, runs_on};

crate::on_every_engine!(
    it_says_who_it_is,
    a_life_from_create_to_remove,
    an_exit_code_is_the_programs_own,
    a_command_that_is_not_there_fails_to_start,
    the_same_attempt_is_made_once,
    an_image_that_is_not_there_is_missing,
    too_much_memory_is_the_end,
    a_program_that_obeys_ends_soon,
    a_program_that_does_not_is_killed_after_the_grace,
    what_ended_may_be_stopped_again,
    what_never_ran_is_over,
    what_is_gone_may_be_removed_again,
    what_is_unknown_is_not_found,
    a_second_start_changes_nothing,
    a_wait_ends_when_its_time_is_up,
    a_list_holds_the_owners_containers_alone,
    many_threads_may_call_at_once,
    a_pull_fails_in_words,
);

fn it_says_who_it_is(rig: &Rig) {
    let description = rig.engine.describe().unwrap();
    assert!(!description.name.is_empty() && !description.id.is_empty(), "{description:?}");
    assert!(description.cpu.0 >= 1000 && description.memory.0 > 0, "{description:?}");
    assert_eq!(rig.engine.describe().unwrap(), description);
}

fn a_life_from_create_to_remove(rig: &Rig) {
    let before = clock::wall();
    let request = rig.request(runs_for(Duration::from_millis(300)));
    let id = rig.engine.create(&request).unwrap();
    let made = rig.engine.inspect(id.as_str()).unwrap();
    assert_eq!((&made.id, made.phase, made.exit_code), (&id, Phase::Created, 0));
    assert_eq!((made.key.as_ref(), made.started_at, made.finished_at), (Some(&request.key), None, None));

    rig.engine.start(&id).unwrap();
    let running = rig.engine.inspect(&request.key.container_name()).unwrap();
    assert_eq!((&running.id, running.phase, running.finished_at), (&id, Phase::Running, None));
    assert!(running.started_at >= Some(before), "{running:?}");

    assert!(rig.engine.wait(&id, crate::support::LONG).unwrap());
    let ended = rig.engine.inspect(id.as_str()).unwrap();
    assert_eq!((ended.phase, ended.exit_code, ended.oom_killed), (Phase::Exited, 0, false));
    let (started_at, finished_at) = (ended.started_at.unwrap(), ended.finished_at.unwrap());
    let ran = finished_at.since(started_at);
    assert!(ran >= Duration::from_millis(250) && ran < Duration::from_secs(10), "it ran for {ran:?}");

    rig.engine.remove(&id).unwrap();
    assert_eq!(rig.engine.inspect(id.as_str()), Err(EngineError::NotFound { subject: id.to_string() }));
}

fn an_exit_code_is_the_programs_own(rig: &Rig) {
    for code in [0, 1, 7, 137] {
        let id = rig.run_to_end(exits(code));
        let ended = rig.engine.inspect(id.as_str()).unwrap();
        assert_eq!((ended.phase, ended.exit_code, ended.oom_killed), (Phase::Exited, code, false));
    }
}

fn a_command_that_is_not_there_fails_to_start(rig: &Rig) {
    let id = rig.engine.create(&rig.request(cannot_start())).unwrap();
    let refused = rig.engine.start(&id);
    assert!(matches!(refused, Err(EngineError::Failed { operation: "start", .. })), "{refused:?}");
    let observed = rig.engine.inspect(id.as_str()).unwrap();
    assert_eq!((observed.phase, observed.exit_code), (Phase::Created, 127));
    assert!(!observed.error.is_empty());
}

fn the_same_attempt_is_made_once(rig: &Rig) {
    let request = rig.request(exits(0));
    let id = rig.engine.create(&request).unwrap();
    let name = request.key.container_name();
    assert_eq!(rig.engine.create(&request), Err(EngineError::NameTaken { name: name.clone() }));
    assert_eq!(rig.engine.inspect(&name).unwrap().id, id, "what is there can be looked at by name");
    rig.engine.remove(&id).unwrap();
    rig.engine.create(&request).unwrap();
}

fn an_image_that_is_not_there_is_missing(rig: &Rig) {
    let image = "podling/missing:1";
    assert!(!rig.engine.has_image(&image.parse().unwrap()).unwrap());
    assert!(rig.engine.has_image(&crate::support::IMAGE.parse().unwrap()).unwrap());
    let refused = rig.engine.create(&rig.request(TaskSpec { image: image.parse().unwrap(), ..exits(0) }));
    assert_eq!(refused, Err(EngineError::ImageMissing { image: image.to_owned() }));
}

/// Whether the Engine noticed why is its own matter, and told by each engine's own test.
fn too_much_memory_is_the_end(rig: &Rig) {
    let id = rig.run_to_end(eats_memory());
    let ended = rig.engine.inspect(id.as_str()).unwrap();
    assert_eq!((ended.phase, ended.exit_code), (Phase::Exited, 137));
}

fn a_program_that_obeys_ends_soon(rig: &Rig) {
    let id = rig.run(runs());
    let began = clock::mono();
    rig.engine.stop(&id, Duration::from_secs(20)).unwrap();
    assert!(clock::mono().since(began) < Duration::from_secs(10), "TERM was enough");
    let ended = rig.engine.inspect(id.as_str()).unwrap();
    assert_eq!((ended.phase, ended.exit_code), (Phase::Exited, 143));
}

fn a_program_that_does_not_is_killed_after_the_grace(rig: &Rig) {
    for grace in [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)] {
        let id = rig.run(runs_on());
        let began = clock::mono();
        rig.engine.stop(&id, grace).unwrap();
        let took = clock::mono().since(began);
        assert!(took >= grace && took < grace + Duration::from_secs(5), "{took:?} of {grace:?}");
        let ended = rig.engine.inspect(id.as_str()).unwrap();
        let end = (ended.phase, ended.exit_code, ended.oom_killed);
        assert_eq!(end, (Phase::Exited, 137, false), "{grace:?}");
    }
}

fn what_ended_may_be_stopped_again(rig: &Rig) {
    let id = rig.run_to_end(exits(7));
    for grace in [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)] {
        rig.engine.stop(&id, grace).unwrap();
        assert!(rig.engine.wait(&id, Duration::from_secs(5)).unwrap());
        assert_eq!(rig.engine.inspect(id.as_str()).unwrap().exit_code, 7);
    }
}

fn what_never_ran_is_over(rig: &Rig) {
    let id = rig.engine.create(&rig.request(exits(0))).unwrap();
    assert!(rig.engine.wait(&id, Duration::from_secs(5)).unwrap());
    rig.engine.stop(&id, Duration::from_secs(1)).unwrap();
    rig.engine.stop(&id, Duration::ZERO).unwrap();
    assert_eq!(rig.engine.inspect(id.as_str()).unwrap().phase, Phase::Created);
}

fn what_is_gone_may_be_removed_again(rig: &Rig) {
    let id = rig.run(runs());
    rig.engine.remove(&id).unwrap();
    rig.engine.remove(&id).unwrap();
    assert_eq!(rig.engine.list(&rig.owner), Ok(Vec::new()));
}

fn what_is_unknown_is_not_found(rig: &Rig) {
    let id: ContainerId = fresh_id().parse().unwrap();
    let not_found = || EngineError::NotFound { subject: id.to_string() };
    assert_eq!(rig.engine.start(&id), Err(not_found()));
    assert_eq!(rig.engine.wait(&id, Duration::from_secs(5)), Err(not_found()));
    assert_eq!(rig.engine.stop(&id, Duration::from_secs(1)), Err(not_found()));
    assert_eq!(rig.engine.stop(&id, Duration::ZERO), Err(not_found()));
    assert_eq!(rig.engine.inspect(id.as_str()), Err(not_found()));
    assert!(
        matches!(rig.engine.logs(&id, podling::engine::LogRequest::default()), Err(e) if e == not_found())
    );
    for no_name in ["", "..", "../info", "a/json?x=", "a b"] {
        let refused = rig.engine.inspect(no_name);
        assert_eq!(refused, Err(EngineError::NotFound { subject: no_name.to_owned() }));
    }
}

fn a_second_start_changes_nothing(rig: &Rig) {
    let id = rig.run(runs());
    let before = rig.engine.inspect(id.as_str()).unwrap();
    rig.engine.start(&id).unwrap();
    assert_eq!(rig.engine.inspect(id.as_str()).unwrap(), before);
}

fn a_wait_ends_when_its_time_is_up(rig: &Rig) {
    let id = rig.run(runs());
    let began = clock::mono();
    assert!(!rig.engine.wait(&id, Duration::from_millis(200)).unwrap());
    let took = clock::mono().since(began);
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    assert!(!rig.engine.wait(&id, Duration::ZERO).unwrap());
    rig.engine.stop(&id, Duration::from_secs(5)).unwrap();
    assert!(rig.engine.wait(&id, Duration::from_secs(5)).unwrap());
}

fn a_list_holds_the_owners_containers_alone(rig: &Rig) {
    let other_node = Owner { node: "worker-2".parse().unwrap(), ..rig.owner.clone() };
    let other_cluster = Owner { cluster: fresh_id().parse().unwrap(), ..rig.owner.clone() };
    for stranger in [&other_node, &other_cluster] {
        rig.engine.create(&rig.request_of(stranger, exits(0))).unwrap();
    }
    let made = rig.request(exits(0));
    let leased = TaskSpec { on_node_lost: OnNodeLost::Reschedule, ..runs() };
    let (running, ended) = (rig.request(leased), rig.request(exits(0)));
    let mut expected = Vec::new();
    for (request, phase) in [(&made, Phase::Created), (&running, Phase::Running), (&ended, Phase::Exited)] {
        let id = rig.engine.create(request).unwrap();
        if phase != Phase::Created {
            rig.engine.start(&id).unwrap();
        }
        if phase == Phase::Exited {
            assert!(rig.engine.wait(&id, crate::support::LONG).unwrap());
        }
        expected.push((id, request.key.clone(), phase, phase == Phase::Running));
    }
    let listed = rig.engine.list(&rig.owner).unwrap();
    let mut listed: Vec<_> =
        listed.into_iter().map(|row| (row.id, row.key, row.phase, row.is_leased)).collect();
    listed.sort_by_key(|row| row.0.clone());
    expected.sort_by_key(|row| row.0.clone());
    assert_eq!(listed, expected);
    assert_eq!(rig.engine.list(&other_node).unwrap().len(), 1);
}

fn many_threads_may_call_at_once(rig: &Rig) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let id = rig.run_to_end(exits(3));
                assert_eq!(rig.engine.inspect(id.as_str()).unwrap().exit_code, 3);
                rig.engine.remove(&id).unwrap();
            });
        }
    });
    assert_eq!(rig.engine.list(&rig.owner), Ok(Vec::new()));
}

/// Nobody listens at port 1 of loopback, and the hollow engine has no image `missing`.
fn a_pull_fails_in_words(rig: &Rig) {
    let image = "127.0.0.1:1/missing:latest";
    let error = rig.engine.pull(&image.parse().unwrap(), &mut |_| {}).unwrap_err();
    assert!(matches!(&error, EngineError::Pull { image: named, .. } if named == image), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("connection refused") || words.contains("manifest unknown"), "{words}");
}
