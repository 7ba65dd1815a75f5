//! Each way through a life: what a walk asks for, and how it goes on by what it is answered.

mod stage;

use std::sync::Arc;

use super::*;
use crate::engine::{EngineError, Owner, Phase, PullProgress};
use crate::model::id::{Attempt, AttemptKey};
use crate::model::spec::{PullPolicy, TaskSpec};
use crate::model::time::{Mono, Now, WallTime};
use crate::worker::hold::{Cause, Signal};

use stage::{Stage, words};

const LOOSE: Facts = Facts {
    now: Now { mono: Mono::from_boot(Duration::ZERO), wall: WallTime::from_unix_millis(9_000) },
    pulled: None,
    signal: None,
    earlier: None,
    may_start: true,
    is_leaving: false,
};

fn key(node: &str) -> ContainerKey {
    let owner = Owner { cluster: "01JC0000000000000000000000".parse().unwrap(), node: node.parse().unwrap() };
    ContainerKey { owner, task: "01JD0000000000000000000000".parse().unwrap(), attempt: Attempt(1) }
}

fn order(pull: PullPolicy) -> Order {
    let spec = TaskSpec { pull, ..TaskSpec::of_image("app:1".parse().unwrap()) };
    let ContainerKey { task, attempt, .. } = key("n1");
    Order {
        key: AttemptKey { task, attempt },
        name: "web".parse().unwrap(),
        index: None,
        spec: Arc::new(spec),
    }
}

fn new() -> Stage {
    Stage::begin(What::New(order(PullPolicy::Missing)))
}

fn c1() -> ContainerId {
    "c1".parse().unwrap()
}

fn created() -> Answer {
    Answer::Created(Ok(c1()))
}

fn seen(phase: Phase, exit_code: i32) -> Observed {
    let (has_started, has_ended) = (phase != Phase::Created, phase == Phase::Exited);
    Observed {
        id: c1(),
        key: Some(key("n1")),
        phase,
        exit_code,
        oom_killed: false,
        error: String::new(),
        started_at: has_started.then_some(WallTime::from_unix_millis(1_000)),
        finished_at: has_ended.then_some(WallTime::from_unix_millis(5_000)),
    }
}

fn fresh() -> Answer {
    Answer::Inspected(Ok(seen(Phase::Created, 0)))
}

fn running() -> Answer {
    Answer::Inspected(Ok(seen(Phase::Running, 0)))
}

fn exited(code: i32) -> Answer {
    Answer::Inspected(Ok(seen(Phase::Exited, code)))
}

fn gone() -> EngineError {
    EngineError::NotFound { subject: "c1".to_owned() }
}

fn away() -> EngineError {
    EngineError::Unreachable { operation: "test", why: "down".to_owned() }
}

fn failed(why: &str) -> EngineError {
    EngineError::Failed { operation: "start", why: why.to_owned() }
}

fn missing() -> Answer {
    Answer::Created(Err(EngineError::ImageMissing { image: "app:1".to_owned() }))
}

fn taken() -> Answer {
    Answer::Created(Err(EngineError::NameTaken { name: key("n1").container_name() }))
}

const RUNS: [&str; 2] = ["note running c1", "tell running c1 since 1000"];

fn pulled(cause: Cause) -> Facts {
    Facts { pulled: Some(cause), ..LOOSE }
}

fn leaving() -> Facts {
    Facts { is_leaving: true, ..LOOSE }
}

#[test]
fn from_the_order_to_the_removal() {
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1", "slot"]);
    stage.on("start c1", Answer::Started(Ok(()))).on("inspect c1", running()).does(&RUNS);
    stage.on("wait c1", Answer::Waited(Ok(false))).on("wait c1", Answer::Waited(Ok(true)));
    stage.on("inspect c1", exited(0)).says_farewell("ended - 0", false, true, Verdict::Accepted);
    stage.on("remove c1", Answer::Removed(Ok(()))).does(&["note released"]).asks("finish");
}

#[test]
fn one_that_ends_at_once_is_not_said_to_run() {
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1", "slot"]);
    stage.on("start c1", Answer::Started(Ok(()))).on("inspect c1", exited(3));
    stage.says_farewell("ended exit_code 3", false, true, Verdict::Accepted);
}

#[test]
fn a_missing_image_is_fetched_and_what_comes_is_told() {
    let mut stage = new();
    stage.on("create app:1", missing()).does(&["note pulling app:1", "tell pulling app:1"]);
    let some = PullProgress { current_bytes: 412_345_678, total_bytes: 1_100_000_000 };
    stage.on("pull app:1", Answer::Pull(PullNews::Progress(some)));
    let told = ["note pulling 412 MB of 1.1 GB", "tell pulling 412 MB of 1.1 GB"];
    stage.does(&told);
    stage.on("pull app:1", Answer::Pull(PullNews::None));
    stage.on("pull app:1", Answer::Pull(PullNews::Done(Ok(())))).on("create app:1", created());
    stage.asks("note container c1");
}

#[test]
fn an_image_is_fetched_first_where_that_is_wanted_and_never_where_not() {
    let mut always = Stage::begin(What::New(order(PullPolicy::Always)));
    always.does(&["note pulling app:1", "tell pulling app:1"]).asks("pull app:1");
    let mut never = Stage::begin(What::New(order(PullPolicy::Never)));
    never.on("create app:1", missing());
    never.says_farewell("ended image_pull -", true, false, Verdict::Accepted);
}

#[test]
fn an_image_that_goes_away_again_and_again_is_given_up() {
    let mut stage = new();
    for _ in 0..3 {
        stage.on("create app:1", missing()).does(&["note pulling app:1", "tell pulling app:1"]);
        stage.on("pull app:1", Answer::Pull(PullNews::Done(Ok(()))));
    }
    stage.on("create app:1", missing()).does(&["note ended"]);
    stage.asks("keep refused no such image: app:1");
}

#[test]
fn a_pull_that_fails_ends_the_attempt_and_an_engine_that_goes_away_refuses_it() {
    let pull = |error| {
        let mut stage = Stage::begin(What::New(order(PullPolicy::Always)));
        stage.does(&["note pulling app:1", "tell pulling app:1"]);
        stage.on("pull app:1", Answer::Pull(PullNews::Done(Err(error)))).does(&["note ended"]);
        words(&stage.ask)
    };
    let unknown = EngineError::Pull { image: "app:1".to_owned(), why: "manifest unknown".to_owned() };
    assert_eq!(pull(unknown), "keep ended image_pull -");
    let forbidden = EngineError::Forbidden { why: "image: no".to_owned() };
    assert_eq!(pull(forbidden), "keep ended policy -");
    assert!(pull(away()).starts_with("keep refused"));
}

#[test]
fn an_order_to_stop_ends_a_pull() {
    let mut stage = Stage::begin(What::New(order(PullPolicy::Always)));
    stage.does(&["note pulling app:1", "tell pulling app:1"]).with(pulled(Cause::Asked));
    stage.on("pull app:1", Answer::Pull(PullNews::None));
    stage.says_farewell("ended stopped -", true, false, Verdict::Accepted);
    stage.on("inspect name", Answer::Inspected(Err(gone()))).does(&["note released"]).asks("finish");
}

#[test]
fn creation_is_tried_a_number_of_times() {
    let mut stage = new();
    for _ in 0..launch::MOST_TRIES {
        stage.on("create app:1", Answer::Created(Err(away()))).does(&["pause 1000"]);
    }
    stage.on("create app:1", Answer::Created(Err(away()))).does(&["note ended"]);
    assert!(words(&stage.ask).starts_with("keep refused"));
}

#[test]
fn what_the_engine_calls_wrong_fails_and_what_it_fails_at_is_refused() {
    let mut wrong = new();
    let rejected = EngineError::Rejected { operation: "create", why: "no".to_owned() };
    wrong.on("create app:1", Answer::Created(Err(rejected)));
    wrong.says_farewell("ended invalid_spec -", true, false, Verdict::Accepted);
    let mut denied = new();
    let forbidden = EngineError::Forbidden { why: "network: no".to_owned() };
    denied.on("create app:1", Answer::Created(Err(forbidden)));
    denied.says_farewell("ended policy -", true, false, Verdict::Accepted);
    let mut broken = new();
    broken.on("create app:1", Answer::Created(Err(failed("no space left"))));
    broken.says_farewell("refused start: no space left", true, false, Verdict::Accepted);
}

#[test]
fn a_creation_whose_answer_was_lost_is_taken_up() {
    let mut stage = new();
    stage.on("create app:1", Answer::Created(Err(away()))).does(&["pause 1000"]);
    stage.on("create app:1", taken()).on("inspect name", Answer::Inspected(Err(away())));
    stage
        .does(&["pause 1000"])
        .on("inspect name", fresh())
        .does(&["note container c1", "slot"])
        .asks("start c1");
}

#[test]
fn what_is_taken_up_and_has_run_is_not_started_again() {
    let mut stage = new();
    stage.on("create app:1", taken()).on("inspect name", exited(0)).does(&["note container c1"]);
    stage.on("inspect c1", exited(0)).says_farewell("ended - 0", false, true, Verdict::Accepted);
}

#[test]
fn somebody_elses_container_under_the_name_is_left_alone() {
    let other = || Answer::Inspected(Ok(Observed { key: Some(key("n2")), ..seen(Phase::Running, 0) }));
    let mut stage = new();
    stage.on("create app:1", taken()).on("inspect name", other());
    let end = format!("refused somebody else's container is called {}", key("n1").container_name());
    stage.says_farewell(&end, true, false, Verdict::Accepted);
    stage.on("inspect name", other()).does(&["note released"]).asks("finish");
}

#[test]
fn a_start_whose_answer_was_lost_is_looked_at_until_the_engine_says() {
    let lost = || {
        let mut stage = new();
        stage.on("create app:1", created()).does(&["note container c1", "slot"]);
        stage.on("start c1", Answer::Started(Err(away()))).does(&["pause 1000"]);
        stage.on("inspect c1", Answer::Inspected(Err(away()))).does(&["pause 1000"]);
        stage
    };
    lost().on("inspect c1", running()).does(&RUNS).asks("wait c1");
    lost().on("inspect c1", fresh()).does(&["slot"]).asks("start c1");
    lost().on("inspect c1", exited(1)).says_farewell("ended exit_code 1", false, true, Verdict::Accepted);
    lost().on("inspect c1", Answer::Inspected(Err(gone()))).does(&["note ended"]).asks("keep ended engine -");
}

#[test]
fn a_start_that_is_forbidden_ends_the_attempt_and_its_container_goes() {
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1", "slot"]);
    let forbidden = EngineError::Forbidden { why: "mounts[0].source: no".to_owned() };
    stage.on("start c1", Answer::Started(Err(forbidden)));
    stage.says_farewell("ended policy -", true, false, Verdict::Accepted);
    stage.on("remove c1", Answer::Removed(Ok(()))).does(&["note released"]).asks("finish");
}

#[test]
fn a_start_that_failed_is_explained() {
    let fail = |why: &str, then: Observed| {
        let mut stage = new();
        stage.on("create app:1", created()).does(&["note container c1", "slot"]);
        stage.on("start c1", Answer::Started(Err(failed(why)))).on("inspect c1", Answer::Inspected(Ok(then)));
        words(&stage.does(&["note ended"]).ask)
    };
    assert_eq!(fail("executable file not found", seen(Phase::Created, 127)), "keep ended start 127");
    assert_eq!(fail("network gone", seen(Phase::Created, 128)), "keep ended engine -");
}

#[test]
fn a_port_that_is_taken_leaves_no_container_and_is_refused() {
    const TAKEN: &str = "port is already allocated";
    let no_port = || Answer::Inspected(Ok(seen(Phase::Created, 128)));
    let refused = |stage: &mut Stage| {
        stage.on("remove c1", Answer::Removed(Err(away()))).does(&["pause 1000"]);
        stage.on("remove c1", Answer::Removed(Ok(())));
        stage.says_farewell(&format!("refused {TAKEN}"), true, false, Verdict::Accepted);
        stage.on("inspect name", Answer::Inspected(Err(gone()))).does(&["note released"]).asks("finish");
    };
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1", "slot"]);
    stage.on("start c1", Answer::Started(Err(failed(TAKEN)))).on("inspect c1", no_port());
    refused(&mut stage);
    let mut found = Stage::begin(What::Made(c1()));
    let told = Observed { error: TAKEN.to_owned(), ..seen(Phase::Created, 128) };
    refused(found.on("inspect c1", Answer::Inspected(Ok(told))));
    let mut leaves = Stage::begin(What::Made(c1()));
    let told = Observed { error: TAKEN.to_owned(), ..seen(Phase::Created, 128) };
    leaves.on("inspect c1", Answer::Inspected(Ok(told))).on("remove c1", Answer::Removed(Err(away())));
    leaves.with(leaving()).does(&["pause 1000"]).asks("leave");
}

#[test]
fn a_start_that_failed_and_runs_all_the_same_goes_on() {
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1", "slot"]);
    stage.on("start c1", Answer::Started(Err(failed("odd")))).on("inspect c1", running()).does(&RUNS);
}

#[test]
fn the_lease_is_asked_once_the_slot_is_there() {
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1"]);
    stage.asks("slot").with(Facts { may_start: false, ..LOOSE });
    stage.does(&["slot", "lease", "lease"]).asks("lease");
    stage.with(LOOSE).does(&["lease"]).with(Facts { may_start: false, ..LOOSE });
    stage.does(&["slot"]).with(LOOSE).does(&["lease", "slot"]).asks("start c1");
}

#[test]
fn a_lease_that_runs_out_before_the_start_ends_the_attempt() {
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1"]);
    stage.with(Facts { may_start: false, ..LOOSE }).does(&["slot"]);
    stage.with(Facts { may_start: false, ..pulled(Cause::Lease) }).does(&["lease"]).on("inspect c1", fresh());
    stage.says_farewell("ended lease_expired -", true, false, Verdict::Accepted);
    stage.on("remove c1", Answer::Removed(Ok(()))).does(&["note released"]).asks("finish");
}

#[test]
fn an_order_that_comes_while_it_waits_for_a_slot_ends_it() {
    let mut stage = new();
    stage.on("create app:1", created()).does(&["note container c1"]).with(pulled(Cause::Lease));
    stage.does(&["slot"]).on("inspect c1", fresh());
    stage.says_farewell("ended lease_expired -", true, false, Verdict::Accepted);
}

#[test]
fn what_an_earlier_process_made_is_looked_at_twice_and_once_more() {
    let mut stage = Stage::begin(What::Made(c1()));
    stage.on("inspect c1", fresh()).does(&["pause 1000"]).on("inspect c1", fresh()).does(&["slot"]);
    stage.on("start c1", Answer::Started(Ok(()))).on("inspect c1", running()).does(&RUNS);
    let mut late = Stage::begin(What::Made(c1()));
    late.on("inspect c1", fresh())
        .does(&["pause 1000"])
        .on("inspect c1", running())
        .does(&RUNS)
        .asks("wait c1");
    let mut broken = Stage::begin(What::Made(c1()));
    broken.on("inspect c1", Answer::Inspected(Ok(seen(Phase::Created, 127)))).does(&["note ended"]);
    broken.asks("keep ended start 127");
}

#[test]
fn what_an_earlier_process_started_is_waited_for() {
    let mut stage = Stage::begin(What::Found(c1()));
    stage.on("inspect c1", Answer::Inspected(Err(away()))).does(&["pause 1000"]);
    stage.on("inspect c1", running()).does(&RUNS).on("wait c1", Answer::Waited(Err(away())));
    stage.does(&["pause 1000"]).on("inspect c1", running()).on("wait c1", Answer::Waited(Ok(true)));
    stage.on("inspect c1", exited(0)).asks("note ended");
}

#[test]
fn one_that_was_told_to_end_says_who_told_it() {
    let ended = |cause| {
        let mut stage = Stage::begin(What::Found(c1()));
        stage.on("inspect c1", running()).does(&RUNS);
        let at = |secs| Now {
            mono: Mono::from_boot(Duration::from_secs(secs)),
            wall: WallTime::from_unix_millis(secs * 1000),
        };
        let signal = Signal { cause, at: at(4), grace: Duration::from_secs(1) };
        stage.with(Facts { now: at(9), signal: Some(signal), ..pulled(cause) });
        stage.on("wait c1", Answer::Waited(Ok(true))).on("inspect c1", exited(143)).does(&["note ended"]);
        words(&stage.ask)
    };
    assert_eq!(ended(Cause::Asked), "tell-end ended stopped 143");
    assert_eq!(ended(Cause::Lease), "tell-end ended lease_expired 143");
}

#[test]
fn what_the_engine_is_still_making_for_a_process_that_is_gone_is_waited_for() {
    let missed = || Answer::Inspected(Err(gone()));
    let mut stage = Stage::begin(What::Made(c1()));
    stage.on("inspect c1", missed()).does(&["pause 1000"]).on("inspect c1", missed()).does(&["pause 1000"]);
    stage.on("inspect c1", fresh()).does(&["pause 1000"]);
    stage.on("inspect c1", fresh()).does(&["slot"]).asks("start c1");

    let mut never = Stage::begin(What::Made(c1()));
    for _ in 1..launch::MOST_TRIES {
        never.on("inspect c1", missed()).does(&["pause 1000"]);
    }
    never.on("inspect c1", missed()).does(&["note ended"]).asks("keep ended engine -");

    let mut gone_later = Stage::begin(What::Made(c1()));
    gone_later.on("inspect c1", fresh()).does(&["pause 1000"]).on("inspect c1", missed()).asks("note ended");
}

#[test]
fn one_that_vanished_is_kept_until_the_master_knows() {
    let mut stage = Stage::begin(What::Found(c1()));
    stage.on("inspect c1", running()).does(&RUNS).on("wait c1", Answer::Waited(Err(gone())));
    stage.does(&["note ended", "keep ended engine -", "tell-end ended engine -"]);
    let lost = LogFailure::Engine(gone());
    stage.on("collect c1", Answer::Collected(Err(lost))).does(&["miss log no such container: c1"]);
    stage.on("verdict", Answer::Verdict(Verdict::Known)).does(&["note acknowledged", "drop-end"]);
    stage.on("remove c1", Answer::Removed(Ok(()))).does(&["note released"]).asks("finish");
}

#[test]
fn a_log_is_tried_as_long_as_the_engine_is_away_and_five_times_at_a_full_disk() {
    let full = || LogFailure::Store { why: "full".to_owned(), is_retryable: true };
    let mut stage = Stage::begin(What::Found(c1()));
    stage.on("inspect c1", exited(0)).does(&["note ended", "tell-end ended - 0"]);
    for _ in 0..farewell::MOST_TRIES {
        stage.on("collect c1", Answer::Collected(Err(full()))).does(&["pause 1000"]);
    }
    stage.on("collect c1", Answer::Collected(Err(LogFailure::Engine(away())))).does(&["pause 1000"]);
    stage.on("collect c1", Answer::Collected(Err(full()))).does(&["miss log full"]).asks("verdict");
}

#[test]
fn a_removal_is_tried_until_it_works_and_a_strangers_makes_a_beat() {
    let mut stage = Stage::begin(What::Found(c1()));
    stage.on("inspect c1", exited(0)).says_farewell("ended - 0", false, true, Verdict::Stale);
    stage.on("remove c1", Answer::Removed(Err(away()))).does(&["pause 1000"]);
    stage.on("remove c1", Answer::Removed(Ok(()))).does(&["note released", "nudge"]).asks("finish");
}

#[test]
fn an_end_that_was_kept_is_told_again_and_its_container_goes() {
    let end = Step::Refused("full".to_owned(), WallTime::default());
    let mut stage = Stage::begin(What::Over(Box::new(end)));
    stage.says_farewell("refused full", true, false, Verdict::Known);
    stage.on("inspect name", Answer::Inspected(Err(away()))).does(&["pause 1000"]);
    stage.on("inspect name", fresh()).on("remove c1", Answer::Removed(Ok(())));
    stage.does(&["note released"]).asks("finish");
}

#[test]
fn a_walk_that_broke_off_kills_what_nobody_watches() {
    let mut stage = Stage::begin(What::Found(c1()));
    stage.on("inspect c1", running()).does(&RUNS).asks("wait c1");
    stage.ask = stage.walk.abandon("it panicked".to_owned()).unwrap();
    stage.on("inspect name", running()).on("kill c1", Answer::Killed(Err(away())));
    stage.does(&["note ended", "keep ended engine -", "tell-end ended engine -"]).asks("verdict");
    assert!(stage.walk.abandon("again".to_owned()).is_none());
}

#[test]
fn a_process_that_stops_leaves_everything_as_it_is() {
    let mut unmade = Stage::begin_with(What::New(order(PullPolicy::Missing)), leaving());
    unmade.asks("leave");
    let mut paused = Stage::begin(What::Found(c1()));
    paused
        .on("inspect c1", Answer::Inspected(Err(away())))
        .with(leaving())
        .does(&["pause 1000"])
        .asks("leave");
    let mut unheard = Stage::begin(What::Found(c1()));
    unheard.on("inspect c1", exited(0)).does(&["note ended", "tell-end ended - 0"]);
    unheard.on("collect c1", Answer::Collected(Ok(()))).on("verdict", Answer::Gone).asks("leave");
    let mut pulling = Stage::begin(What::New(order(PullPolicy::Always)));
    pulling.does(&["note pulling app:1", "tell pulling app:1"]).with(leaving());
    pulling.on("pull app:1", Answer::Pull(PullNews::None)).asks("leave");
}
