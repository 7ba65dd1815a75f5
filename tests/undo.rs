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
use podling::control::change::apply;
use podling::control::undo::Undo;
use podling::model::id::Revision;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn undoing_the_newest_leaves_the_fold_of_the_rest(wishes in history::wishes(60)) {
        let mut cluster = Cluster::of("");
        let mut dumps = vec![dump(&cluster.nodes, &cluster.tasks)];
        let mut undos = Vec::new();
        for wish in &wishes {
            let at = Revision(u64::try_from(undos.len()).unwrap() + 1);
            let Some(change) = history::change(&cluster, *wish, at) else { continue };
            let undo = Undo::of(&cluster.nodes, &cluster.tasks, &change);
            let (nodes, tasks) = (&mut cluster.nodes, &mut cluster.tasks);
            if apply(nodes, tasks, &change, at, cluster.now).is_ok() {
                undos.push(undo);
                dumps.push(dump(&cluster.nodes, &cluster.tasks));
            }
        }
        while let Some(undo) = undos.pop() {
            undo.revert(&mut cluster.nodes, &mut cluster.tasks);
            dumps.pop();
            prop_assert_eq!(&dump(&cluster.nodes, &cluster.tasks), dumps.last().unwrap());
        }
    }
}
