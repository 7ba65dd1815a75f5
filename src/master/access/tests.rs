use std::sync::Arc;

use super::*;
use crate::model::id::TaskId;
use crate::model::spec::TaskSpec;
use crate::model::time::WallTime;
use crate::model::token::NodeKey;

fn id(number: u8) -> TokenId {
    format!("{number:026}").parse().unwrap()
}

fn record(kind: TokenKind) -> TokenRecord {
    let (label, expires_at, made_by) = (None, None, None);
    TokenRecord {
        id: id(1),
        hash: [0; 32],
        kind,
        label,
        created_at: WallTime::default(),
        expires_at,
        made_by,
    }
}

fn user(scope: Scope) -> TokenKind {
    TokenKind::User { scope }
}

fn node() -> TokenKind {
    TokenKind::Node { node_id: "a".parse().unwrap(), key: NodeKey::new([1; 32]) }
}

/// `ok`, or the status and code of the refusal.
fn said(kind: TokenKind, needs: Needs) -> String {
    match check(&record(kind), Some(needs)) {
        Ok(_) => "ok".to_owned(),
        Err(problem) => format!("{} {}", problem.status, problem.code),
    }
}

fn task(made_by: Option<TokenId>) -> Task {
    let spec = Arc::new(TaskSpec::of_image("x".parse().unwrap()));
    let id: TaskId = "01JD0000000000000000000000".parse().unwrap();
    Task { made_by, ..Task::new(id, "web".parse().unwrap(), spec, None, WallTime::default()) }
}

#[test]
fn scopes_include_those_before_them_and_nothing_else() {
    for needed in Scope::ALL {
        for given in Scope::ALL {
            let expected = if given >= needed { "ok" } else { "403 scope" };
            assert_eq!(said(user(given), Needs::Scope(needed)), expected, "{given} for {needed}");
        }
        assert_eq!(said(node(), Needs::Scope(needed)), "403 scope");
        assert_eq!(said(TokenKind::Join, Needs::Scope(needed)), "403 scope");
    }
}

#[test]
fn nodes_speak_for_themselves_and_join_words_join() {
    for scope in Scope::ALL {
        assert_eq!(said(user(scope), Needs::Node), "403 foreign_node");
        let expected = if scope == Scope::Admin { "ok" } else { "403 scope" };
        assert_eq!(said(user(scope), Needs::Join), expected);
    }
    assert_eq!((said(node(), Needs::Node), said(node(), Needs::Join)), ("ok".into(), "ok".into()));
    assert_eq!(said(TokenKind::Join, Needs::Join), "ok");
    assert_eq!(said(TokenKind::Join, Needs::Node), "403 foreign_node");
    let caller = check(&record(node()), Some(Needs::Node)).unwrap();
    assert!(caller.check_node(&"a".parse().unwrap()).is_ok());
    assert_eq!(caller.check_node(&"b".parse().unwrap()).unwrap_err().code, "foreign_node");
}

#[test]
fn who_may_submit_ends_and_sees_its_own_tasks_alone() {
    let (own, others, old) = (task(Some(id(1))), task(Some(id(2))), task(None));
    let caller = |scope| Caller::User { token: id(1), scope };
    let may = |caller: &Caller, task: &Task| (caller.check_end(task).is_ok(), caller.sees_env(task));
    assert_eq!(may(&caller(Scope::Submit), &own), (true, true));
    assert_eq!(may(&caller(Scope::Submit), &others), (false, false));
    assert_eq!(may(&caller(Scope::Submit), &old), (false, false));
    assert_eq!(may(&caller(Scope::Operate), &others), (true, true));
    assert_eq!(may(&Caller::Unchecked, &others), (true, true));
    assert!(!caller(Scope::Read).sees_env(&others) && !caller(Scope::Read).sees_env(&own));
    assert!(!Caller::Anybody.sees_env(&old), "nobody made it, and nobody is nobody's equal");
    let problem = caller(Scope::Submit).check_end(&others).unwrap_err();
    assert!(problem.detail.contains("needs a token with the scope operate"), "{problem}");
}
