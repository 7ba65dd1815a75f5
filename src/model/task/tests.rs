//! Every step from every state: which are taken, which are refused, and what the ends look like.

use super::*;
use crate::model::spec::{Network, OnNodeLost, TaskSpec};

fn at(millis: u64) -> WallTime {
    WallTime::from_unix_millis(millis)
}

fn pending() -> Task {
    let spec = TaskSpec { network: Network::None, ..TaskSpec::of_image("busybox".parse().unwrap()) };
    let id = "01JD0000000000000000000000".parse().unwrap();
    Task::new(id, "web".parse().unwrap(), Arc::new(spec), None, at(1))
}

fn placement() -> Placement {
    Placement { node: "worker-1".parse().unwrap(), at: at(2), revision: Revision(7) }
}

fn with(steps: impl IntoIterator<Item = Step>) -> Task {
    let mut task = pending();
    for step in steps {
        task.advance(step).unwrap();
    }
    task
}

fn place() -> Step {
    Step::Place(placement())
}

fn start() -> Step {
    Step::Start { container: "c0ffee".parse().unwrap(), at: at(3) }
}

fn end(reason: Option<Reason>, exit_code: Option<i32>) -> Step {
    Step::End(Ending { at: at(9), reason, exit_code, error: None, container: None, started_at: None })
}

fn stop(grace_ms: u64) -> Step {
    Step::Stop(StopIntent { requested_at: at(5), grace: Duration::from_millis(grace_ms) })
}

fn refuse() -> Step {
    Step::Refuse { at: at(4), why: "port 80 is taken".to_owned() }
}

fn every_step() -> Vec<(&'static str, Step)> {
    vec![
        ("place", place()),
        ("progress", Step::Progress { detail: "pulling".to_owned() }),
        ("start", start()),
        ("end", end(None, Some(0))),
        ("refuse", refuse()),
        ("stop", stop(10_000)),
        ("expire", Step::Expire { at: at(6), why: "no node is online".to_owned() }),
        ("lose", Step::Lose { at: at(6), why: "worker-1 fell silent".to_owned() }),
    ]
}

#[test]
fn each_state_takes_its_own_steps_and_refuses_all_others() {
    let states = [
        ("pending", with([]), vec!["place", "stop", "expire"]),
        ("scheduled", with([place()]), vec!["progress", "start", "end", "refuse", "stop", "lose"]),
        ("running", with([place(), start()]), vec!["end", "stop", "lose"]),
        ("ended", with([place(), start(), end(None, Some(0))]), vec![]),
    ];
    for (state, task, taken) in states {
        for (name, step) in every_step() {
            let mut after = task.clone();
            let accepted = after.advance(step).is_ok();
            assert_eq!(accepted, taken.contains(&name), "{name} in {state}");
            if !accepted {
                assert_eq!(format!("{after:?}"), format!("{task:?}"), "{name} in {state} changed it");
            }
        }
    }
}

#[test]
fn ends_read_as_the_contract_says() {
    let cases = [
        (end(None, Some(0)), "completed", None),
        (end(Some(Reason::OomKilled), Some(0)), "completed", None),
        (end(Some(Reason::ExitCode), Some(7)), "failed", Some(Reason::ExitCode)),
        (end(None, Some(7)), "failed", Some(Reason::ExitCode)),
        (end(Some(Reason::OomKilled), Some(137)), "failed", Some(Reason::OomKilled)),
        (end(Some(Reason::Start), Some(127)), "failed", Some(Reason::Start)),
        (end(Some(Reason::Engine), None), "failed", Some(Reason::Engine)),
        (end(None, None), "failed", Some(Reason::Engine)),
    ];
    for (step, status, reason) in cases {
        let task = with([place(), start(), step.clone()]);
        assert_eq!(task.status().as_str(), status, "{step:?}");
        let TaskState::Ended(ended) = task.state else { panic!("{step:?} is no end") };
        let expected = reason.map_or(Outcome::Completed, Outcome::Failed);
        assert_eq!(ended.outcome, expected, "{step:?}");
    }
}

#[test]
fn failed_never_shows_exit_code_zero() {
    let task = with([place(), start(), end(Some(Reason::Engine), Some(0))]);
    let TaskState::Ended(ended) = task.state else { panic!("no end") };
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed(Reason::Engine), None));
}

#[test]
fn a_task_that_was_asked_to_stop_is_stopped_unless_it_had_ended_well() {
    for (last, status) in [
        (end(Some(Reason::Stopped), Some(137)), TaskStatus::Stopped),
        (end(Some(Reason::Stopped), Some(0)), TaskStatus::Stopped),
        (end(Some(Reason::ExitCode), Some(7)), TaskStatus::Stopped),
        (Step::Lose { at: at(9), why: String::new() }, TaskStatus::Stopped),
        (end(None, Some(0)), TaskStatus::Completed),
    ] {
        let task = with([place(), start(), stop(1000), last.clone()]);
        assert_eq!(task.status(), status, "{last:?}");
    }
    assert_eq!(with([stop(1000)]).status(), TaskStatus::Stopped);
    assert_eq!(with([place(), stop(1000), refuse()]).status(), TaskStatus::Stopped);
}

#[test]
fn the_shorter_grace_wins() {
    let mut task = with([place(), start(), stop(5000)]);
    assert_eq!(task.advance(stop(9000)), Err(Refused::AlreadySo));
    assert_eq!(task.grace(), Duration::from_secs(5));
    assert_eq!(task.advance(stop(0)), Ok(()));
    assert_eq!(task.grace(), Duration::ZERO);
}

#[test]
fn refusals_make_new_attempts_until_there_were_too_many() {
    let mut task = pending();
    for round in 1..=u32::try_from(MAX_REFUSALS).unwrap() {
        assert_eq!(task.attempt, Attempt(round));
        task.advance(place()).unwrap();
        task.advance(refuse()).unwrap();
        assert_eq!(task.status(), TaskStatus::Pending);
    }
    task.advance(place()).unwrap();
    task.advance(refuse()).unwrap();
    assert_eq!(task.status(), TaskStatus::Failed);
}

fn rescheduled() -> Task {
    let mut task = pending();
    Arc::make_mut(&mut task.spec).on_node_lost = OnNodeLost::Reschedule;
    task
}

fn lose() -> Step {
    Step::Lose { at: at(6), why: "worker-1 was silent for 31.0 s".to_owned() }
}

#[test]
fn a_lost_node_or_lease_makes_a_new_attempt_elsewhere_that_counts_against_nothing() {
    let expired = Some(Reason::LeaseExpired);
    for step in [lose(), end(expired, None), end(expired, Some(0)), end(expired, Some(137))] {
        for steps in [vec![place()], vec![place(), start()]] {
            let mut task = rescheduled();
            steps.into_iter().chain([step.clone()]).for_each(|step| task.advance(step).unwrap());
            assert_eq!((task.status(), task.attempt), (TaskStatus::Pending, Attempt(2)), "{step:?}");
            assert!(task.avoids(&"worker-1".parse().unwrap()) && task.refused_by.is_empty());
            let TaskState::Pending { detail: Some(detail), .. } = &task.state else { panic!("no detail") };
            let may_run = "the container of attempt 1 may still run there";
            assert_eq!(detail.contains(may_run), step == lose(), "{detail}");
        }
    }
    let mut task = rescheduled();
    for round in 1..=20 {
        assert_eq!(task.attempt, Attempt(round), "as often as it takes");
        task.advance(place()).unwrap();
        task.advance(lose()).unwrap();
    }
}

#[test]
fn who_asked_for_the_end_gets_that_and_no_further_attempt() {
    for last in [lose(), end(Some(Reason::LeaseExpired), Some(0))] {
        let mut task = rescheduled();
        [place(), start(), stop(1000), last].into_iter().for_each(|step| task.advance(step).unwrap());
        assert_eq!((task.status(), task.attempt), (TaskStatus::Stopped, Attempt(1)));
    }
}

#[test]
fn what_ended_by_itself_before_the_lease_did_is_not_tried_again() {
    for (last, status) in
        [(end(None, Some(0)), "completed"), (end(Some(Reason::ExitCode), Some(7)), "failed")]
    {
        let mut task = rescheduled();
        [place(), start(), last].into_iter().for_each(|step| task.advance(step).unwrap());
        assert_eq!((task.status().as_str(), task.attempt), (status, Attempt(1)));
    }
    let refused = rescheduled().advance(lose());
    assert_eq!(refused, Err(Refused::Backward), "what waits for a node is lost with none");
}

#[test]
fn the_running_containers_identity_is_kept_to_the_end() {
    let task = with([place(), start(), end(None, Some(0))]);
    let TaskState::Ended(ended) = task.state else { panic!("no end") };
    assert_eq!(ended.container.map(|id| id.to_string()).as_deref(), Some("c0ffee"));
    assert_eq!(ended.started_at, Some(at(3)));
}

#[test]
fn an_attempt_that_is_moved_is_followed_by_another_whatever_its_code() {
    let spec = TaskSpec {
        network: Network::None,
        on_node_lost: OnNodeLost::Reschedule,
        ..TaskSpec::of_image("busybox".parse().unwrap())
    };
    let moves = |reason, exit_code| {
        let id = "01JD0000000000000000000000".parse().unwrap();
        let mut task = Task::new(id, "web".parse().unwrap(), Arc::new(spec.clone()), None, at(1));
        let reserve = Step::Reserve { node: "worker-2".parse().unwrap() };
        for step in [place(), start(), reserve, Step::Move { at: at(4) }, end(reason, Some(exit_code))] {
            task.advance(step).unwrap();
        }
        task.status()
    };
    assert_eq!(moves(Some(Reason::Stopped), 143), TaskStatus::Pending);
    // A worker that began anew knows no more than the code.
    assert_eq!(moves(Some(Reason::ExitCode), 143), TaskStatus::Pending);
    assert_eq!(moves(None, 0), TaskStatus::Completed);
}
