//! What the journal thread does with a store that is slow, against a real state.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::control::undo::Undo;
use crate::master::journal::Fate;
use crate::master::state::StateSettings;
use crate::model::id::{Epoch, Revision};
use crate::model::time::Now;
use crate::runtime::supervise;
use crate::store::memory::MemoryStore;
use crate::store::{AuditLines, Each, Frozen, StoreError};

/// A store whose commits wait until the test lets them.
struct Gated(Receiver<()>, Sender<Vec<u64>>);

impl Store for Gated {
    fn append(
        &mut self,
        first: Revision,
        records: &[Vec<u8>],
        _audit: AuditLines<'_>,
    ) -> Result<(), StoreError> {
        self.0.recv().unwrap();
        let positions = (first.0..).take(records.len()).collect();
        self.1.send(positions).unwrap();
        Ok(())
    }

    fn put_snapshot(&mut self, _: Revision, _: u32, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn seal_snapshot(&mut self, _: Revision, _: u32) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&mut self, _: &mut Each<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn freeze(&mut self) -> Result<Box<dyn Frozen>, StoreError> {
        Err(StoreError::Io { operation: "copy", why: "it is kept in memory alone".to_owned() })
    }
}

fn state() -> Arc<State> {
    let settings = StateSettings {
        cluster: "c0000000000000000000000000".parse().unwrap(),
        epoch: Epoch(1),
        node_timeout: Duration::from_secs(30),
        pending_timeout: Duration::ZERO,
        retain: Duration::from_secs(60),
    };
    Arc::new(State::load(settings, &mut MemoryStore::default(), Now::default()).unwrap())
}

#[test]
fn nothing_is_let_go_before_its_record_is_on_disk_and_waiting_records_share_a_commit() {
    let state = state();
    let journal = state.journal();
    let (allow, gate) = bounded(8);
    let (commits, committed) = bounded(8);
    let (source, stop) = Stop::channel();
    let threads = [
        supervise::spawn("journal", {
            let (state, stop) = (Arc::clone(&state), stop.clone());
            move || run(&state, &mut Gated(gate, commits), &stop)
        }),
        supervise::spawn("replies", {
            let (journal, stop) = (Arc::clone(journal), stop.clone());
            move || journal.run_replies(&stop)
        }),
    ];
    let (told, tells) = bounded(8);
    for name in ["a", "b", "c"] {
        let at = journal.append(name.into(), Undo::default(), None);
        let told = told.clone();
        journal.when_settled(at, move |fate| told.send((name, fate)).unwrap());
    }
    assert_eq!(journal.last_position(), Revision(3));
    assert!(!journal.is_settled(Revision(1)));
    assert!(tells.try_recv().is_err());
    let patience = Duration::from_secs(10);
    let mut positions = Vec::new();
    while positions.len() < 3 {
        allow.send(()).unwrap();
        positions.extend(committed.recv_timeout(patience).unwrap());
    }
    assert_eq!(positions, [1, 2, 3]);
    let order: Vec<_> = (0..3).map(|_| tells.recv_timeout(patience).unwrap()).collect();
    assert_eq!(order, ["a", "b", "c"].map(|name| (name, Fate::Durable)));
    source.stop();
    threads.into_iter().for_each(|thread| assert!(thread.unwrap().join()));
}
