//! What a node does about each answer of the master, and in which order.

use super::*;
use crate::model::id::Revision;

const LEASE: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_secs(1);

fn cluster(last: char) -> ClusterId {
    format!("01JC000000000000000000000{last}").parse().unwrap()
}

fn granted(epoch: u64) -> RegisterReply {
    RegisterReply {
        cluster_id: cluster('A'),
        epoch: Epoch(epoch),
        incarnation: Incarnation(2),
        node_timeout_ms: 30_000,
        lease_ms: 20_000,
    }
}

fn reply(epoch: u64) -> HeartbeatReply {
    HeartbeatReply {
        cluster_id: cluster('A'),
        epoch: Epoch(epoch),
        revision: Revision(5),
        complete: true,
        register: false,
        tasks: Vec::new(),
        forget: Vec::new(),
    }
}

fn session(epoch: u64) -> Session {
    Session { cluster: cluster('A'), epoch: Epoch(epoch), incarnation: Incarnation(2), lease: LEASE }
}

fn sent() -> Mono {
    Mono::from_boot(Duration::from_secs(7))
}

fn member() -> Membership {
    let mut member = Membership::new("n1".parse().unwrap(), BEAT, None);
    member.registered(granted(3));
    member
}

/// The deeds in short.
fn words(deeds: &[Deed]) -> Vec<String> {
    let word = |deed: &Deed| match deed {
        Deed::Keep(..) => "keep".to_owned(),
        Deed::Open(session) => format!("open {}", session.epoch),
        Deed::TakeUp => "take up".to_owned(),
        Deed::Forget(tasks) => format!("forget {}", tasks.len()),
        Deed::EndLapsed => "end lapsed".to_owned(),
        Deed::Apply(_, number) => format!("apply {number}"),
        Deed::Renew(..) => "renew".to_owned(),
        Deed::Wait(duration) => format!("wait {}", duration.as_millis()),
        Deed::GiveUp(why) => format!("give up: {why}"),
    };
    deeds.iter().map(word).collect()
}

#[test]
fn it_registers_and_beats() {
    let mut member = Membership::new("n1".parse().unwrap(), BEAT, None);
    assert_eq!(member.turn(), Turn::Register);
    let deeds = member.registered(granted(3));
    assert_eq!(deeds, [Deed::Keep(cluster('A'), Incarnation(2)), Deed::Open(session(3))]);
    assert_eq!(member.turn(), Turn::Beat(session(3)));
    assert_eq!(member.cluster(), Some(&cluster('A')));
}

#[test]
fn a_reply_is_applied_between_what_ran_out_and_the_renewal() {
    let mut member = member();
    let task = "01JD0000000000000000000000".parse().unwrap();
    let deeds = member.answered(HeartbeatReply { forget: vec![task], ..reply(3) }, 9, sent());
    assert_eq!(words(&deeds), ["forget 1", "end lapsed", "apply 9", "renew", "wait 1000"]);
    assert!(deeds.contains(&Deed::Renew(sent(), LEASE)));
    assert_eq!(member.turn(), Turn::Beat(session(3)));
}

#[test]
fn a_beat_is_never_further_off_than_a_third_of_the_lease() {
    let mut member = member();
    member.registered(RegisterReply { lease_ms: 1_500, ..granted(3) });
    assert_eq!(words(&member.answered(reply(3), 1, sent())).last().unwrap(), "wait 500");
}

#[test]
fn a_master_that_was_started_again_is_registered_with_before_it_renews() {
    let mut member = member();
    let deeds = member.answered(reply(4), 1, sent());
    assert_eq!(words(&deeds), ["open 4", "end lapsed", "apply 1"]);
    assert_eq!(member.turn(), Turn::Register);
    member.registered(granted(4));
    let late = member.answered(reply(3), 2, sent());
    assert_eq!(words(&late), ["end lapsed", "apply 2", "wait 200"], "an earlier start renews nothing either");
}

#[test]
fn nothing_of_a_foreign_clusters_set_counts() {
    let mut member = member();
    let foreign = HeartbeatReply { cluster_id: cluster('B'), ..reply(3) };
    assert_eq!(member.answered(foreign, 1, sent()), []);
    assert_eq!(member.turn(), Turn::Register);
    let deeds = member.registered(RegisterReply { cluster_id: cluster('B'), ..granted(3) });
    assert_eq!(
        words(&deeds),
        [format!("give up: the master's cluster is {}, not this worker's", cluster('B'))]
    );
}

#[test]
fn sent_back_again_and_again_it_waits() {
    let mut member = member();
    let back = || HeartbeatReply { register: true, ..reply(3) };
    assert_eq!(words(&member.answered(back(), 1, sent())), ["end lapsed", "apply 1", "renew"]);
    member.registered(granted(3));
    assert_eq!(words(&member.answered(back(), 2, sent())).last().unwrap(), "wait 200");
    member.registered(granted(3));
    assert_eq!(words(&member.answered(back(), 3, sent())).last().unwrap(), "wait 400");
    member.registered(granted(3));
    member.answered(reply(3), 4, sent());
    assert_eq!(words(&member.answered(back(), 5, sent())).last().unwrap(), "renew", "counted anew");
}

#[test]
fn a_beat_that_fails_is_tried_again_sooner() {
    let mut member = member();
    let waits: Vec<String> = (0..5).flat_map(|_| words(&member.failed(None))).collect();
    let expected =
        ["100", "200", "400", "800", "1000"].map(|wait| ["take up".to_owned(), format!("wait {wait}")]);
    assert_eq!(waits, expected.concat());
    assert_eq!(member.turn(), Turn::Beat(session(3)));
    member.answered(reply(3), 1, sent());
    assert_eq!(member.failures(), 0);
}

#[test]
fn a_node_that_the_master_does_not_know_registers() {
    let mut member = member();
    let unknown = Problem::not_found("node_not_found", "no such node");
    assert_eq!(words(&member.failed(Some(&unknown))), ["take up", "wait 100"]);
    assert_eq!(member.turn(), Turn::Register);
    assert_eq!(words(&member.failed(Some(&unknown))), ["take up", "wait 200"], "an odd master");
    member.registered(granted(3));
    member.must_register();
    assert_eq!(member.turn(), Turn::Register);
}

#[test]
fn it_gives_up_where_a_later_worker_took_over_or_it_is_refused() {
    let superseded = Problem::conflict("superseded", "later");
    assert_eq!(
        words(&member().failed(Some(&superseded))),
        ["take up", "give up: a later worker has taken over n1"]
    );
    let conflict = Problem::conflict("node_in_use", "another instance");
    assert_eq!(
        words(&member().failed(Some(&conflict))),
        ["take up", "wait 100"],
        "of a beat it ends nothing"
    );
    let mut newcomer = Membership::new("n1".parse().unwrap(), BEAT, None);
    assert_eq!(
        words(&newcomer.failed(Some(&conflict))),
        ["take up", "give up: the master refuses this node: another instance"]
    );
}

fn refused(status: u16, code: &'static str) -> Problem {
    Problem::new(status, code, "", "no")
}

#[test]
fn it_joins_before_it_registers_and_gives_up_where_it_may_not() {
    let new = || Membership::new("n1".parse().unwrap(), BEAT, None).showing(false, true);
    let of_long_standing = member();
    let mut member = new();
    assert_eq!(member.turn(), Turn::Join);
    assert_eq!(words(&member.failed(None)), ["take up", "wait 100"]);
    assert_eq!(member.turn(), Turn::Join, "a master that doesn't answer is asked again");
    member.joined();
    assert_eq!((member.turn(), member.failures()), (Turn::Register, 0));
    for status in [400, 401, 403, 409] {
        let told = words(&new().failed(Some(&refused(status, "x"))));
        assert_eq!(told, ["take up", "give up: the master does not let this node join: no"]);
    }
    let mut late = Membership::new("n1".parse().unwrap(), BEAT, None).showing(false, false);
    assert_eq!(late.turn(), Turn::Register);
    late.may_join();
    assert_eq!(late.turn(), Turn::Join, "it found something to join with");
    let mut one_more = of_long_standing.showing(true, false);
    one_more.may_join();
    assert_eq!(one_more.turn(), Turn::Beat(session(3)), "for another day");
    let mut without = Membership::new("n1".parse().unwrap(), BEAT, None);
    let told = words(&without.failed(Some(&refused(401, "no_token"))));
    assert!(told[1].starts_with("give up: the master lets nobody join without a token"), "{told:?}");
}

#[test]
fn a_node_that_is_shut_out_later_keeps_what_it_has_and_tries_what_it_can() {
    let unknown = refused(401, "unknown_token");
    // Nothing to join with.
    let mut member = member().showing(true, false);
    for _ in 0..3 {
        assert!(words(&member.failed(Some(&unknown)))[1].starts_with("wait"));
        assert_eq!(member.turn(), Turn::Beat(session(3)));
    }
    let mut newcomer = Membership::new("n1".parse().unwrap(), BEAT, None).showing(true, false);
    assert_eq!(words(&newcomer.failed(Some(&unknown))), ["take up", "wait 100"]);
    // Something, which may be good again some day.
    let mut member = Membership::new("n1".parse().unwrap(), BEAT, None).showing(true, true);
    assert_eq!(member.turn(), Turn::Register);
    for _ in 0..2 {
        member.failed(Some(&unknown));
        assert_eq!(member.turn(), Turn::Join);
        assert!(words(&member.failed(Some(&unknown)))[1].starts_with("wait"));
        assert_eq!(member.turn(), Turn::Register, "what it has is tried again, too");
    }
    member.failed(Some(&unknown));
    member.joined();
    assert_eq!(member.turn(), Turn::Register);
}
