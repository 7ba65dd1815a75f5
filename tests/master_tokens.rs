//! Tokens in the master's state: a join is one step, what was ended stays so over a start, what could not be stored did
//! not happen, and what expired is forgotten in the end.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/faulty_store.rs"]
mod faulty_store;
#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/master.rs"]
mod master;

use cluster::at;
use faulty_store::Fault;
use master::{Master, load, shown};
use podling::control::tokens::Unfit;
use podling::master::journal::Fate;
use podling::master::state::{JoinError, Joining, NotMade, State, StoreFull};
use podling::model::access::Scope;
use podling::model::id::TokenId;
use podling::model::token::{NodeKey, TokenKind, TokenRecord};

const HOUR: u64 = 3_600;

fn id(number: u8) -> TokenId {
    format!("{number:026}").parse().unwrap()
}

/// Made at 100 s.
fn record(number: u8, kind: TokenKind) -> TokenRecord {
    let (label, expires_at, made_by) = (None, None, None);
    TokenRecord {
        id: id(number),
        hash: [number; 32],
        kind,
        label,
        created_at: at(100).wall,
        expires_at,
        made_by,
    }
}

fn user() -> TokenKind {
    TokenKind::User { scope: Scope::Read }
}

/// A node that joins, and gets the token and the key of that number.
fn joining(number: u8, node: &str, word: Option<u8>) -> Joining {
    let node_id = node.parse().unwrap();
    let kind = TokenKind::Node { node_id, key: NodeKey::new([number; 32]) };
    let token = record(number, kind);
    Joining { token, node: node.parse().unwrap(), instance: None, word: word.map(id) }
}

fn known(state: &State, number: u8) -> Result<(), Unfit> {
    state.check_token(&id(number), &[number; 32], at(101).wall).map(drop)
}

fn key(state: &State, node: &str) -> Option<NodeKey> {
    state.key_of(&node.parse().unwrap())
}

#[test]
fn a_join_makes_a_token_ends_the_older_one_and_uses_the_word_up() {
    let master = Master::start();
    let state = &master.state;
    for number in [1, 2] {
        state.make_token(record(number, TokenKind::Join), at(100)).unwrap();
    }
    state.join(joining(3, "a", Some(1)), at(100)).unwrap();
    assert_eq!((known(state, 1), known(state, 3)), (Err(Unfit::Unknown), Ok(())));
    assert_eq!(key(state, "a"), Some(NodeKey::new([3; 32])));
    assert_eq!(state.join(joining(4, "b", Some(1)), at(100)).unwrap_err(), JoinError::Used);
    assert_eq!((known(state, 4), key(state, "b")), (Err(Unfit::Unknown), None));
    state.join(joining(5, "a", Some(2)), at(100)).unwrap();
    assert_eq!((known(state, 3), known(state, 5)), (Err(Unfit::Unknown), Ok(())));
    assert_eq!(master.fate(), Fate::Durable);
    master.shows_what_is_durable();
    let again = load(&mut master.store.clone());
    assert_eq!((known(&again, 2), known(&again, 5)), (Err(Unfit::Unknown), Ok(())));
    assert_eq!(key(&again, "a"), Some(NodeKey::new([5; 32])));
    assert!(again.next_token_id(at(1).wall) > id(5), "ids go on");
}

#[test]
fn nobody_joins_under_the_name_of_a_node_that_is_there() {
    let master = Master::start();
    let state = &master.state;
    master.register("worker-1").unwrap();
    state.join(joining(1, "worker-1", None), at(100)).unwrap();
    let stranger = joining(2, "worker-1", None);
    assert_eq!(state.join(stranger.clone(), at(101)).unwrap_err(), JoinError::NodeIdInUse);
    let own = Joining { instance: Some("i0000000000000000000000000".parse().unwrap()), ..stranger.clone() };
    state.join(own, at(101)).unwrap();
    state.judge_silence(at(900));
    state.join(Joining { token: record(3, stranger.token.kind.clone()), ..stranger }, at(901)).unwrap();
    state.forget_node(&"worker-1".parse().unwrap(), at(902)).unwrap().unwrap();
    assert_eq!((known(state, 3), key(state, "worker-1")), (Err(Unfit::Unknown), None));
}

#[test]
fn what_could_not_be_stored_did_not_happen() {
    for fault in [Fault::Refuses, Fault::LandsAndFails] {
        let master = Master::start();
        let state = &master.state;
        state.make_token(record(1, TokenKind::Join), at(100)).unwrap();
        state.make_token(record(2, user()), at(100)).unwrap();
        state.join(joining(3, "a", None), at(100)).unwrap();
        assert_eq!(master.fate(), Fate::Durable);
        let before = shown(state);
        let fate = master.fail_with(fault, |_| {
            state.join(joining(4, "a", Some(1)), at(101)).unwrap();
            state.end_token(&id(2), at(101)).unwrap().unwrap();
            state.make_token(record(5, user()), at(101)).unwrap();
        });
        assert_eq!((fate, shown(state)), (Fate::Withdrawn, before), "{fault:?}");
        assert_eq!([1, 2, 3].map(|number| known(state, number)), [Ok(()); 3]);
        assert_eq!(key(state, "a"), Some(NodeKey::new([3; 32])));
        assert_eq!(state.end_token(&id(2), at(101)).unwrap_err(), StoreFull);
        assert_eq!(state.make_token(record(5, user()), at(101)).unwrap_err(), NotMade::StoreFull);
        assert_eq!(state.join(joining(4, "a", Some(1)), at(101)).unwrap_err(), JoinError::StoreFull);
        master.mend();
        master.shows_what_is_durable();
        state.join(joining(4, "a", Some(1)), at(101)).unwrap();
    }
}

#[test]
fn what_expired_is_told_apart_for_a_day_and_then_forgotten() {
    let master = Master::start();
    let state = &master.state;
    let brief = TokenRecord { expires_at: Some(at(HOUR).wall), ..record(1, user()) };
    state.make_token(brief, at(100)).unwrap();
    let check = |secs| state.check_token(&id(1), &[1; 32], at(secs).wall).map(drop);
    assert_eq!((check(HOUR - 1), check(HOUR)), (Ok(()), Err(Unfit::Expired)));
    assert_eq!(state.forget_expired_tokens(at(25 * HOUR)), 0);
    assert_eq!(check(25 * HOUR), Err(Unfit::Expired));
    assert_eq!(state.forget_expired_tokens(at(25 * HOUR + 1)), 1);
    assert_eq!(check(25 * HOUR + 1), Err(Unfit::Unknown));
    assert_eq!(master.fate(), Fate::Durable);
    master.shows_what_is_durable();
}
