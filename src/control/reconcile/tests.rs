//! The rules of the ledger: each fence, from both sides.

use super::*;
use crate::model::id::Attempt;
use crate::model::spec::OnNodeLost;

fn key(task: &str, attempt: u32) -> AttemptKey {
    AttemptKey { task: format!("{task:0<20}").parse().unwrap(), attempt: Attempt(attempt) }
}

fn order(key: &AttemptKey) -> Order {
    let spec = TaskSpec::of_image("busybox".parse().unwrap());
    Order { key: key.clone(), name: "t".parse().unwrap(), index: None, spec: Arc::new(spec) }
}

fn mark(epoch: u64, revision: u64) -> Mark {
    Mark { epoch: Epoch(epoch), revision: Revision(revision) }
}

fn wanted(key: &AttemptKey, stage: Stage, wish: Wish) -> Wanted {
    Wanted { key: key.clone(), stage, wish, order: Some(order(key)) }
}

fn run(key: &AttemptKey) -> Wanted {
    wanted(key, Stage::Scheduled, Wish::Run)
}

fn set(ledger: &mut Ledger, at: Mark, entries: Vec<Wanted>) -> Vec<Action> {
    let beat = ledger.begin_beat();
    ledger.apply(DesiredSet { at, complete: true, beat, wanted: entries })
}

fn stop(key: &AttemptKey) -> Action {
    Action::Stop { key: key.clone(), grace: DEFAULT_STOP_GRACE }
}

#[test]
fn an_attempt_is_launched_once_however_it_comes() {
    let (mut ledger, a) = (Ledger::default(), key("a", 1));
    let launched = Ok(Some(Action::Launch(order(&a))));
    assert_eq!(ledger.push(mark(1, 5), order(&a)), launched);
    assert_eq!(ledger.push(mark(1, 5), order(&a)), Ok(None));
    assert_eq!(set(&mut ledger, mark(1, 6), vec![run(&a)]), []);
    assert_eq!(set(&mut ledger, mark(1, 7), vec![run(&a)]), []);
}

#[test]
fn a_set_does_not_stop_what_a_later_push_brought_and_a_later_set_does() {
    let (mut ledger, a) = (Ledger::default(), key("a", 1));
    set(&mut ledger, mark(1, 4), vec![]);
    ledger.push(mark(1, 6), order(&a)).unwrap();
    assert_eq!(set(&mut ledger, mark(1, 5), vec![]), []);
    assert_eq!(set(&mut ledger, mark(1, 6), vec![]), [stop(&a)]);
}

#[test]
fn an_older_set_changes_nothing() {
    let (mut ledger, a, b) = (Ledger::default(), key("a", 1), key("b", 1));
    set(&mut ledger, mark(2, 5), vec![run(&a)]);
    assert_eq!(set(&mut ledger, mark(2, 4), vec![run(&b)]), []);
    assert_eq!(set(&mut ledger, mark(1, 9), vec![]), []);
    assert_eq!(ledger.heard(), mark(2, 5));
}

#[test]
fn a_push_of_an_earlier_master_or_of_before_the_last_set_is_fenced() {
    let (mut ledger, a, b) = (Ledger::default(), key("a", 1), key("b", 1));
    set(&mut ledger, mark(2, 5), vec![run(&a)]);
    assert_eq!(ledger.push(mark(1, 9), order(&b)), Err(Fenced::Epoch));
    assert_eq!(ledger.push(mark(2, 5), order(&b)), Err(Fenced::Revision));
    assert_eq!(ledger.push(mark(2, 5), order(&a)), Ok(None));
    assert!(matches!(ledger.push(mark(2, 6), order(&b)), Ok(Some(Action::Launch(_)))));
}

#[test]
fn an_ended_attempt_does_not_start_again_before_a_set_that_was_read_after_its_verdict() {
    let (mut ledger, a) = (Ledger::default(), key("a", 1));
    ledger.push(mark(1, 5), order(&a)).unwrap();
    ledger.observe_running(&a);
    ledger.observe_end(&a);
    // Read before the verdict, and slow to come: it still names the attempt.
    let beat = ledger.begin_beat();
    ledger.acknowledge(&a);
    ledger.release(&a);
    let late = DesiredSet { at: mark(1, 6), complete: true, beat, wanted: vec![run(&a)] };
    assert_eq!(ledger.apply(late), []);
    // Read before the verdict by its number, though it doesn't name the attempt: it proves nothing.
    let late = DesiredSet { at: mark(1, 7), complete: true, beat, wanted: vec![] };
    assert_eq!(ledger.apply(late), []);
    assert!(ledger.get(&a).is_some());
    assert_eq!(ledger.push(mark(1, 8), order(&a)), Ok(None));
    assert_eq!(set(&mut ledger, mark(1, 9), vec![]), []);
    assert!(ledger.get(&a).is_none());
    assert_eq!(ledger.push(mark(1, 8), order(&a)), Err(Fenced::Revision));
}

#[test]
fn an_end_that_was_not_acknowledged_is_kept() {
    let (mut ledger, a) = (Ledger::default(), key("a", 1));
    ledger.push(mark(1, 5), order(&a)).unwrap();
    ledger.observe_end(&a);
    assert_eq!(set(&mut ledger, mark(1, 6), vec![]), []);
    assert_eq!(set(&mut ledger, mark(1, 7), vec![]), []);
    assert_eq!(ledger.get(&a).map(|held| held.stage), Some(Stage::Ended));
}

#[test]
fn an_incomplete_set_stops_nothing() {
    let (mut ledger, a, b) = (Ledger::default(), key("a", 1), key("b", 1));
    ledger.push(mark(1, 5), order(&a)).unwrap();
    let beat = ledger.begin_beat();
    let partial = DesiredSet { at: mark(1, 9), complete: false, beat, wanted: vec![run(&b)] };
    assert_eq!(ledger.apply(partial), [Action::Launch(order(&b))]);
}

#[test]
fn a_wish_to_stop_reaches_what_runs_and_answers_for_what_never_did() {
    let (mut ledger, a, b) = (Ledger::default(), key("a", 1), key("b", 1));
    ledger.push(mark(1, 5), order(&a)).unwrap();
    let wish = Wish::Stop { grace: Duration::from_secs(3) };
    let entries = vec![wanted(&a, Stage::Running, wish), wanted(&b, Stage::Scheduled, wish)];
    let expected =
        [Action::Stop { key: a, grace: Duration::from_secs(3) }, Action::ReportNeverRan(b.clone())];
    assert_eq!(set(&mut ledger, mark(1, 6), entries), expected);
    assert_eq!(ledger.push(mark(1, 7), order(&b)), Ok(None));
}

#[test]
fn what_ran_and_is_gone_is_reported_once_and_never_made_again() {
    let (mut ledger, a) = (Ledger::default(), key("a", 1));
    let entry = || vec![wanted(&a, Stage::Running, Wish::Run)];
    assert_eq!(set(&mut ledger, mark(1, 6), entry()), [Action::ReportVanished(a.clone())]);
    assert_eq!(set(&mut ledger, mark(1, 7), entry()), []);
}

#[test]
fn a_found_container_that_was_not_started_waits_for_a_set() {
    let (mut ledger, a, b) = (Ledger::default(), key("a", 1), key("b", 1));
    ledger.adopt(a.clone(), "c1".parse().unwrap(), false);
    ledger.adopt(b.clone(), "c2".parse().unwrap(), false);
    let actions = set(&mut ledger, mark(1, 6), vec![run(&a)]);
    assert_eq!(actions, [stop(&b), Action::Resume(b.clone()), Action::Resume(a.clone())]);
    assert_eq!(set(&mut ledger, mark(1, 7), vec![run(&a)]), [stop(&b)]);
}

#[test]
fn a_stranger_that_runs_is_stopped_only_by_a_whole_set() {
    let (mut ledger, a) = (Ledger::default(), key("a", 1));
    ledger.adopt(a.clone(), "c1".parse().unwrap(), true);
    let beat = ledger.begin_beat();
    assert_eq!(ledger.apply(DesiredSet { at: mark(1, 1), complete: false, beat, wanted: vec![] }), []);
    assert_eq!(set(&mut ledger, mark(1, 2), vec![]), [stop(&a)]);
}

#[test]
fn what_runs_under_the_lease_is_known_until_it_ends() {
    let (mut ledger, a, b, c) = (Ledger::default(), key("a", 1), key("b", 1), key("c", 1));
    let mut leased = order(&a);
    Arc::make_mut(&mut leased.spec).on_node_lost = OnNodeLost::Reschedule;
    Arc::make_mut(&mut leased.spec).stop_grace = Duration::from_secs(3);
    ledger.push(mark(1, 5), leased).unwrap();
    ledger.push(mark(1, 6), order(&b)).unwrap();
    ledger.adopt(c.clone(), "c1".parse().unwrap(), true);
    ledger.observe_lease(&c);
    let under =
        |ledger: &Ledger| ledger.leased().map(|(key, grace)| (key.clone(), grace)).collect::<Vec<_>>();
    assert_eq!(under(&ledger), [(a.clone(), Duration::from_secs(3)), (c.clone(), DEFAULT_STOP_GRACE)]);
    assert!(ledger.is_leased(&a) && !ledger.is_leased(&b) && ledger.is_leased(&c));
    ledger.observe_end(&a);
    assert_eq!(under(&ledger), [(c, DEFAULT_STOP_GRACE)]);
}

#[test]
fn an_end_that_waited_on_the_disk_is_never_launched_nor_made_undone_by_a_container() {
    let (mut ledger, a) = (Ledger::default(), key("a", 1));
    ledger.adopt_end(&a);
    ledger.adopt(a.clone(), "c1".parse().unwrap(), false);
    assert_eq!(ledger.push(mark(1, 5), order(&a)), Ok(None));
    assert_eq!(set(&mut ledger, mark(1, 6), vec![run(&a)]), []);
    assert_eq!(set(&mut ledger, mark(1, 7), vec![]), [], "kept until it was acknowledged");
    assert_eq!(ledger.get(&a).map(|held| held.stage), Some(Stage::Ended));
    ledger.acknowledge(&a);
    ledger.release(&a);
    set(&mut ledger, mark(1, 8), vec![]);
    assert!(ledger.get(&a).is_none());
}

#[test]
fn a_second_attempt_is_another_attempt() {
    let (mut ledger, first, second) = (Ledger::default(), key("a", 1), key("a", 2));
    ledger.push(mark(1, 5), order(&first)).unwrap();
    let actions = set(&mut ledger, mark(1, 8), vec![run(&second)]);
    assert_eq!(actions, [stop(&first), Action::Launch(order(&second))]);
    assert_eq!(ledger.newest(&first.task).map(|(key, _)| key.attempt), Some(Attempt(2)));
}
