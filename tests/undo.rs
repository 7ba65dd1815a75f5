//! Taking changes back: after any history, undoing its newest changes leaves exactly the fold of those before.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]

#[expect(dead_code, reason = "the other test crates use the rest of it")]
#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/dump.rs"]
mod dump;
#[path = "support/history.rs"]
mod history;

use cluster::Cluster;
use dump::dump;
use podling::control::change::{Change, apply};
use podling::control::undo::Undo;
use podling::model::id::{NodeId, Revision, TaskId};
use podling::model::task::{Step, StopIntent};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn undoing_the_newest_leaves_the_fold_of_the_rest(wishes in history::wishes(60)) {
        let mut cluster = Cluster::of("");
        let mut dumps = vec![dump(&cluster.nodes, &cluster.tasks, &cluster.tokens)];
        let mut undos = Vec::new();
        for wish in &wishes {
            let at = Revision(u64::try_from(undos.len()).unwrap() + 1);
            let Some(change) = history::change(&cluster, *wish, at) else { continue };
            let undo = Undo::of(&cluster.nodes, &cluster.tasks, &cluster.tokens, &change);
            let (nodes, tasks, tokens) = (&mut cluster.nodes, &mut cluster.tasks, &mut cluster.tokens);
            if apply(nodes, tasks, tokens, &change, at, cluster.now).is_ok() {
                undos.push(undo);
                dumps.push(dump(&cluster.nodes, &cluster.tasks, &cluster.tokens));
            }
        }
        while let Some(undo) = undos.pop() {
            undo.revert(&mut cluster.nodes, &mut cluster.tasks, &mut cluster.tokens);
            dumps.pop();
            prop_assert_eq!(&dump(&cluster.nodes, &cluster.tasks, &cluster.tokens), dumps.last().unwrap());
        }
    }
}

/// A task that had attempts on these nodes, one after the other, each of which refused it, and was stopped then.
fn was_on(cluster: &mut Cluster, nodes: &[&str]) -> TaskId {
    let task = cluster.submit(1).remove(0);
    let at = cluster.now.wall;
    let advanced = |step| Change::Advanced { task: task.clone(), step };
    for node in nodes {
        cluster.place(&task, node);
        cluster.apply(advanced(Step::Refuse { at, why: "no".to_owned() }));
    }
    cluster.apply(advanced(Step::Stop(StopIntent { requested_at: at, grace: std::time::Duration::ZERO })));
    task
}

/// The nodes that are told to forget the task's logs.
fn told(cluster: &Cluster, task: &TaskId) -> Vec<String> {
    let ids: Vec<NodeId> =
        cluster.nodes.iter().map(|entry| entry.node().registration.node_id.clone()).collect();
    let is_told = |id: &&NodeId| cluster.nodes.logs_to_forget(id).contains(task);
    ids.iter().filter(is_told).map(ToString::to_string).collect()
}

#[test]
fn every_node_that_had_an_attempt_is_told_to_forget_its_log() {
    let mut cluster = Cluster::of("a 0/9 1\nb 0/9 1\nc 0/9 1");
    let task = was_on(&mut cluster, &["a", "c", "a"]);
    let before = dump(&cluster.nodes, &cluster.tasks, &cluster.tokens);
    let change = Change::Forgotten { task: task.clone() };
    let undo = Undo::of(&cluster.nodes, &cluster.tasks, &cluster.tokens, &change);
    cluster.apply(change);
    assert_eq!(told(&cluster, &task), ["a", "c"]);
    undo.revert(&mut cluster.nodes, &mut cluster.tasks, &mut cluster.tokens);
    assert_eq!(told(&cluster, &task), [] as [&str; 0]);
    assert_eq!(dump(&cluster.nodes, &cluster.tasks, &cluster.tokens), before);
}
