//! Random histories: wishes become changes that fit the state as it is then.

use podling::control::change::{Change, Creation, KeyUse, NewTask};
use podling::model::access::Scope;
use podling::model::id::{Incarnation, NodeId, Revision, TaskId, TokenId};
use podling::model::node::{Availability, NodeAddress, NodeStatus, Registration};
use podling::model::resources::{CpuMillis, MemoryBytes};
use podling::model::restart::{Restart, RestartPolicy};
use podling::model::spec::{OnNodeLost, PortMapping, Ports, Protocol, TaskSpec};
use podling::model::task::{Ending, Placement, Reason, Step, StopIntent};
use podling::model::time::WallTime;
use podling::model::token::{NodeKey, TokenKind, TokenRecord};
use proptest::prelude::*;

use super::cluster::{Cluster, spec};

/// What is to happen, and to whom: an index into what there is.
pub(crate) type Wish = (u8, u8);

/// Up to `most` wishes. Creation and placement come more often than the rest, or little would ever run.
pub(crate) fn wishes(most: usize) -> impl Strategy<Value = Vec<Wish>> {
    prop::collection::vec((0_u8..26, any::<u8>()), 0..most)
}

/// The change that a wish comes to. None: there is nothing that it could be about. It may still not fit.
pub(crate) fn change(cluster: &Cluster, (what, whom): Wish, at: Revision) -> Option<Change> {
    let wall = WallTime::from_unix_millis(100_000 + at.0);
    let task = || {
        let ids: Vec<&TaskId> = cluster.tasks.iter().map(|entry| &entry.task.id).collect();
        (!ids.is_empty()).then(|| ids[usize::from(whom) % ids.len()].clone())
    };
    let node: NodeId = format!("worker-{}", whom % 3).parse().unwrap();
    let known = || cluster.nodes.get(&node).is_some().then(|| node.clone());
    let step = |step| Some(Change::Advanced { task: task()?, step });
    match what {
        0..4 => Some(created(at, whom, wall)),
        4..6 => Some(registered(node, whom)),
        6..10 => step(Step::Place(Placement { node: known()?, at: wall, revision: at })),
        10 => step(Step::Progress { detail: format!("pulls {whom}") }),
        11..13 => step(Step::Start { container: "c0ffee".parse().unwrap(), at: wall }),
        13 => step(Step::End(ending(wall, whom))),
        14 => step(Step::Refuse { at: wall, why: "no".to_owned() }),
        15 => step(Step::Stop(StopIntent {
            requested_at: wall,
            grace: std::time::Duration::from_secs(u64::from(whom)),
        })),
        16 => {
            let id = task()?;
            let has_ended = cluster.tasks.get(&id)?.status().is_terminal();
            has_ended.then_some(Change::Forgotten { task: id })
        }
        17 => step(Step::Lose { at: wall, why: "silent".to_owned() }),
        18 => {
            let words = [Availability::Active, Availability::Cordoned, Availability::Draining];
            Some(Change::Availability { node: known()?, availability: words[usize::from(whom) / 3 % 3] })
        }
        20 => step(Step::Reserve { node: known()? }),
        21 => step(Step::Unreserve),
        22 => step(Step::Move { at: wall }),
        23..25 => Some(token_made(at, node, whom, wall)),
        25 => {
            let ids: Vec<&TokenId> = cluster.tokens.iter().map(|token| &token.id).collect();
            let chosen = ids.get(usize::from(whom) % ids.len().max(1))?;
            Some(Change::TokenEnded { id: (*chosen).clone() })
        }
        _ if whom > 200 => {
            let known = known()?;
            let is_free =
                cluster.tasks.live_on(&known).chain(cluster.tasks.reserved_on(&known)).next().is_none();
            is_free.then_some(Change::NodeForgotten { node })
        }
        _ => {
            let status = if whom > 99 { NodeStatus::Online } else { NodeStatus::Offline };
            Some(Change::Status { node: known()?, status })
        }
    }
}

fn created(at: Revision, whom: u8, wall: WallTime) -> Change {
    let shared = spec();
    let own = |index: u8| {
        let on_node_lost = if index.is_multiple_of(2) { OnNodeLost::Reschedule } else { OnNodeLost::Fail };
        let policy = if index < 2 { RestartPolicy::OnFailure } else { RestartPolicy::Never };
        let restart = Restart { policy, max: None };
        let port = PortMapping { host: 80 + u16::from(index), container: 80, protocol: Protocol::Tcp };
        std::sync::Arc::new(TaskSpec {
            on_node_lost,
            restart,
            cpu: Some(CpuMillis(100)),
            ports: Ports::new(vec![port]).unwrap(),
            ..TaskSpec::clone(&shared)
        })
    };
    let new = |index: u8| NewTask {
        id: format!("{:013}{index:013}", at.0).parse().unwrap(),
        name: ["a", "b"][usize::from(index % 2)].parse().unwrap(),
        spec: if whom > 100 { std::sync::Arc::clone(&shared) } else { own(index) },
        replica: whom > 100,
    };
    let batch = (whom > 50).then(|| format!("{:026}", at.0).parse().unwrap());
    let key = whom.is_multiple_of(2).then(|| KeyUse { key: format!("k{}", at.0), body_hash: [whom; 32] });
    let made_by = (whom > 150).then(|| format!("{whom:026}").parse().unwrap());
    Change::Created(Creation { at: wall, batch, tasks: (0..whom % 4 + 1).map(new).collect(), key, made_by })
}

fn token_made(at: Revision, node_id: NodeId, whom: u8, wall: WallTime) -> Change {
    let kind = match whom % 3 {
        0 => TokenKind::User { scope: Scope::Submit },
        1 => TokenKind::Node { node_id, key: NodeKey::new([whom; 32]) },
        _ => TokenKind::Join,
    };
    let token = TokenRecord {
        id: format!("{:026}", at.0).parse().unwrap(),
        hash: [whom; 32],
        kind,
        label: (whom > 200).then(|| "a label".to_owned()),
        created_at: wall,
        expires_at: whom.is_multiple_of(2).then_some(wall),
        made_by: None,
    };
    Change::TokenMade { token: std::sync::Arc::new(token) }
}

fn registered(node_id: NodeId, whom: u8) -> Change {
    let registration = Registration {
        node_id,
        instance: "i0000000000000000000000000".parse().unwrap(),
        start: format!("s{whom:025}").parse().unwrap(),
        address: NodeAddress { host: "127.0.0.1".to_owned(), port: 8081 },
        capacity: 3,
        cpu: CpuMillis(4000),
        memory: MemoryBytes(8 << 30),
        labels: std::collections::BTreeMap::new(),
        engine: "hollow".to_owned(),
        engine_id: "e".to_owned(),
        heartbeat: std::time::Duration::from_secs(10),
    };
    Change::Registered { registration, incarnation: Incarnation(u64::from(whom)) }
}

fn ending(at: WallTime, whom: u8) -> Ending {
    let failed = !whom.is_multiple_of(2);
    Ending {
        at,
        reason: failed.then_some(Reason::ExitCode),
        exit_code: Some(i32::from(failed)),
        error: None,
        container: None,
        started_at: None,
    }
}
