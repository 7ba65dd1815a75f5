//! The master's state over a store that fails: what is answered meanwhile, and that nothing is shown, kept or lost
//! that should not be.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "support/master.rs"]
mod master;

use cluster::at;
use crossbeam_channel::bounded;
use faulty_store::Fault;
use master::{Master, load, shown};
use podling::api::wire::agent::{ReportStep, Verdict};
use podling::master::journal::Fate;
use podling::master::state::{
    CreateError, ForgetError, ForgetNodeError, RegisterError, StopError, StoreFull,
};
use podling::model::node::{Availability, NodeStatus};
use podling::model::task::TaskStatus;

#[test]
fn while_the_store_fails_changes_are_refused_and_the_rest_goes_on() {
    let (master, tasks) = Master::with_tasks();
    let before = shown(&master.state);
    let fate = master.fail_with(Fault::Refuses, |master| drop(master.create(&["e"], None).unwrap()));
    assert_eq!(fate, Fate::Withdrawn);
    assert_eq!(shown(&master.state), before);

    let state = &master.state;
    assert_eq!(master.create(&["e"], None), Err(CreateError::StoreFull));
    assert_eq!(master.register("worker-2"), Err(RegisterError::StoreFull));
    assert_eq!(state.stop("a", None, at(104)).unwrap_err(), StopError::StoreFull);
    assert_eq!(master.tell(&tasks[1], ReportStep::Running), Verdict::Retry);
    assert_eq!(master.tell(&tasks[0], ReportStep::Ended), Verdict::Retry);
    let node = "worker-1".parse().unwrap();
    assert_eq!(state.set_availability(&node, Availability::Cordoned, at(104)).unwrap_err(), StoreFull);
    assert!(state.schedule(at(104)).0.value.is_empty());
    assert!(state.judge_silence(at(900)).value.is_empty(), "nobody is judged");
    assert!(state.expire_waiting(at(900)).value.is_empty());
    assert_eq!(state.forget_old(at(900_000)), 0);
    let set = master.beat(105);
    assert!(set.complete && set.tasks.len() == 2);
    assert_eq!(master.fate(), Fate::Durable, "what is read now can be shown now");
    assert_eq!(shown(&master.state), before);
    assert!(master.store.disk().failures >= 1);

    master.mend();
    assert!(state.judge_silence(at(106)).value.is_empty(), "its beats were taken all along");
    assert_eq!(master.tell(&tasks[0], ReportStep::Ended), Verdict::Accepted);
    assert_eq!(master.tell(&tasks[1], ReportStep::Running), Verdict::Accepted);
    let placed = state.schedule(at(104)).0.value;
    assert_eq!(placed.len(), 1);
    let made = master.create(&["e"], None).unwrap().remove(0);
    assert_eq!(master.fate(), Fate::Durable);
    assert_eq!(master.status(&made), TaskStatus::Pending);
    assert_eq!(master.status(&tasks[0]), TaskStatus::Completed);
    master.shows_what_is_durable();
}

#[test]
fn every_kind_of_change_is_taken_back() {
    for fault in [Fault::Refuses, Fault::LandsAndFails] {
        let (master, tasks) = Master::with_tasks();
        let state = &master.state;
        state.stop("d", None, at(101)).unwrap();
        assert_eq!(master.fate(), Fate::Durable);
        let before = shown(state);
        let fate = master.fail_with(fault, |master| {
            let node = "worker-1".parse().unwrap();
            master.create(&["e", "f"], Some("key")).unwrap();
            master.register("worker-2").unwrap();
            assert_eq!(state.schedule(at(104)).0.value.len(), 2);
            assert_eq!(master.tell(&tasks[0], ReportStep::Ended), Verdict::Accepted);
            assert_eq!(master.tell(&tasks[1], ReportStep::Running), Verdict::Accepted);
            state.forget("d", at(104)).unwrap().unwrap();
            state.set_availability(&node, Availability::Draining, at(104)).unwrap().unwrap();
            assert_eq!(state.judge_silence(at(900)).value.len(), 2);
            state.expire_waiting(at(900));
            state.stop("c", None, at(901)).unwrap();
            state.forget_node(&node, at(901)).unwrap().unwrap();
        });
        assert_eq!(fate, Fate::Withdrawn);
        assert_eq!(shown(state), before, "{fault:?}");
        master.mend();
        master.shows_what_is_durable();
        assert_eq!(shown(state), before, "{fault:?}");
        let again = master.create(&["e"], Some("key")).unwrap();
        assert_eq!(again.len(), 1, "the key is free: its first use did not happen");
        assert_eq!(master.fate(), Fate::Durable);
        assert_eq!(master.create(&["e"], Some("key")).unwrap(), again);
        master.shows_what_is_durable();
    }
}

#[test]
fn a_node_that_comes_back_while_the_store_fails_is_online_with_the_first_beat_after() {
    let (master, _) = Master::with_tasks();
    assert_eq!(master.state.judge_silence(at(200)).value.len(), 1);
    assert_eq!(master.fate(), Fate::Durable);
    master.fail_with(Fault::Refuses, |master| drop(master.create(&["e"], None).unwrap()));
    let node = "worker-1".parse().unwrap();
    let status = || master.state.node(&node).unwrap().value.status;
    assert!(master.beat(201).register);
    assert_eq!(status(), NodeStatus::Offline);
    let busy = master.state.forget_node(&node, at(201)).unwrap_err();
    assert_eq!(busy, ForgetNodeError::StoreFull);
    assert!(matches!(master.state.forget("a", at(201)), Err(ForgetError::StoreFull)));
    master.mend();
    master.beat(202);
    assert_eq!(status(), NodeStatus::Online);
    assert_eq!(master.fate(), Fate::Durable);
    master.shows_what_is_durable();
}

#[test]
fn a_node_that_could_not_register_while_the_store_failed_was_not_silent() {
    let (master, _) = Master::with_tasks();
    master.fail_with(Fault::Refuses, |master| drop(master.create(&["e"], None).unwrap()));
    // Its worker was started again at second 105, and has been asking to be registered ever since.
    assert_eq!(master.register_at("worker-1", at(125)), Err(RegisterError::StoreFull));
    master.mend();
    assert!(master.state.judge_silence(at(155)).value.is_empty());
    assert_eq!(master.state.judge_silence(at(156)).value.len(), 1);
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_store_fails() {
    let (master, _) = Master::with_tasks();
    let (told, tells) = bounded(1000);
    for round in 0..3 {
        for number in 0..40 {
            if number == 20 {
                assert_eq!(master.fate(), Fate::Durable);
                master.store.disk().fault = if round == 1 { Fault::LandsAndFails } else { Fault::Refuses };
            }
            let Ok((ids, at)) = master.create_at(&["a", "b"], None) else { continue };
            let told = told.clone();
            master.state.journal().when_settled(at, move |fate| told.send((ids, fate)).unwrap());
        }
        master.fate();
        assert!(master.store.disk().failures > round);
        master.mend();
    }
    assert_eq!(master.fate(), Fate::Durable);
    master.shows_what_is_durable();
    let back = load(&mut master.store.clone());
    let (mut kept, mut withdrawn) = (0, 0);
    while let Ok((ids, fate)) = tells.try_recv() {
        for id in ids {
            let is_there = back.task(id.as_str()).unwrap().is_some();
            assert_eq!(is_there, fate == Fate::Durable, "{id}: {fate:?}");
            *(if is_there { &mut kept } else { &mut withdrawn }) += 1;
        }
    }
    assert!(kept >= 3 * 20 * 2 && withdrawn > 0, "{kept} kept, {withdrawn} withdrawn");
}
