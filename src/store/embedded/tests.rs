//! The file itself: order, snapshots, damage.

use super::rows::Unpack;
use super::*;
use crate::store::{AuditLines, Stored};

fn replayed(store: &mut EmbeddedStore) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    store
        .replay(&mut |stored| {
            let (Stored::Part(at, bytes) | Stored::Record(at, bytes)) = stored;
            all.push((at.0, bytes.to_vec()));
            Ok(())
        })
        .unwrap();
    all
}

#[test]
fn records_come_back_in_order_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut store = EmbeddedStore::open(&path).unwrap();
    store.append(Revision(1), &[b"a".to_vec(), Vec::new()], AuditLines::default()).unwrap();
    store.append(Revision(3), &[b"c".to_vec()], AuditLines::default()).unwrap();
    drop(store);
    let expected = vec![(1, b"a".to_vec()), (2, Vec::new()), (3, b"c".to_vec())];
    assert_eq!(replayed(&mut EmbeddedStore::open(&path).unwrap()), expected);
}

#[test]
fn a_gap_or_a_torn_row_is_damage_and_a_second_user_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut store = EmbeddedStore::open(&path).unwrap();
    assert!(matches!(EmbeddedStore::open(&path), Err(StoreError::InUse { .. })));
    store.append(Revision(1), &[b"a".to_vec()], AuditLines::default()).unwrap();
    store.append(Revision(3), &[b"c".to_vec()], AuditLines::default()).unwrap();
    assert!(matches!(store.replay(&mut |_| Ok(())), Err(StoreError::Damaged { .. })));
    assert_eq!(Unpack(&[2, 0, 0, 0, 9]).collect::<Vec<_>>(), [None]);
}

#[test]
fn a_snapshot_stands_for_what_was_before_it_and_only_once_it_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut store = EmbeddedStore::open(&path).unwrap();
    let record = |number: u64| (number, vec![u8::try_from(number).unwrap()]);
    for first in [1, 3, 5] {
        store
            .append(Revision(first), &[record(first).1, record(first + 1).1], AuditLines::default())
            .unwrap();
    }
    // A draft that is never sealed, and one that is, in the middle of a row.
    store.put_snapshot(Revision(2), 0, b"draft").unwrap();
    assert_eq!(replayed(&mut store), (1..=6).map(record).collect::<Vec<_>>());
    store.put_snapshot(Revision(3), 0, b"x").unwrap();
    store.put_snapshot(Revision(3), 1, b"y").unwrap();
    store.seal_snapshot(Revision(3), 2).unwrap();
    let expected = [vec![(3, b"x".to_vec()), (3, b"y".to_vec())], (4..=6).map(record).collect()].concat();
    assert_eq!(replayed(&mut store), expected);
    let frozen = store.freeze().unwrap();
    store.put_snapshot(Revision(6), 0, b"z").unwrap();
    assert_eq!(replayed(&mut store), expected);
    store.seal_snapshot(Revision(6), 1).unwrap();
    store.append(Revision(7), &[record(7).1], AuditLines::default()).unwrap();
    assert_eq!(
        replayed(&mut EmbeddedStore { database: store.database.take(), path: path.clone() }),
        [(6, b"z".to_vec()), record(7)]
    );
    let mut count = 0;
    let given = frozen.replay(&mut |_| {
        count += 1;
        Ok(())
    });
    assert!(given.is_err() || count == 5, "as it was, or not at all once the file is closed");
}

#[test]
fn no_changed_byte_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut store = EmbeddedStore::open(&path).unwrap();
    store.put_snapshot(Revision(1), 0, &[7; 9_000]).unwrap();
    store.seal_snapshot(Revision(1), 1).unwrap();
    for first in 2..12 {
        store.append(Revision(first), &[vec![9; 1_000]], AuditLines::default()).unwrap();
    }
    let all = replayed(&mut store);
    drop(store);
    let sound = fs::read(&path).unwrap();
    let mut refusals = 0;
    for at in (0..sound.len()).step_by(1_021) {
        let mut changed = sound.clone();
        changed[at] ^= 0x40;
        fs::write(&path, &changed).unwrap();
        let opened = EmbeddedStore::open(&path);
        match opened {
            Ok(mut store) => assert_eq!(replayed(&mut store), all, "byte {at}"),
            Err(error) => {
                assert!(error.to_string().contains("state.redb"), "byte {at}: {error}");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 5, "{refusals}");
}

#[test]
fn a_file_that_is_no_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    fs::write(&path, vec![b'x'; 100_000]).unwrap();
    let Err(error) = EmbeddedStore::open(&path) else { panic!("opened rubbish") };
    assert!(error.to_string().contains("state.redb is damaged"), "{error}");
}

fn audited(store: &mut EmbeddedStore, from: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let audit = store.audit().unwrap();
    audit
        .replay(from, &mut |line| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
    lines
}

#[test]
fn the_audit_comes_with_its_records_or_without_and_replaces_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let line = |text: &str| text.as_bytes().to_vec();
    let mut store = EmbeddedStore::open(&path).unwrap();
    assert_eq!((store.last_audited().unwrap(), audited(&mut store, 0)), (None, vec![]));
    let lines = [line("one"), line("two"), line("three")];
    store.append(Revision(1), &[b"a".to_vec()], AuditLines { first: 1, lines: &lines }).unwrap();
    store.append(Revision(2), &[], AuditLines { first: 4, lines: &[line("four")] }).unwrap();
    drop(store);
    let mut store = EmbeddedStore::open(&path).unwrap();
    assert_eq!(store.last_audited().unwrap(), Some(line("four")));
    assert_eq!(audited(&mut store, 3), ["three", "four"]);
    assert_eq!(replayed(&mut store), [(1, b"a".to_vec())], "lines alone make no record");
    store.append(Revision(2), &[b"b".to_vec()], AuditLines::default()).unwrap();
    assert_eq!(audited(&mut store, 4), ["four"], "none leave it as it is");
    // What was told to have failed may be there all the same.
    store.append(Revision(2), &[Vec::new()], AuditLines { first: 3, lines: &[] }).unwrap();
    assert_eq!(audited(&mut store, 0), ["one", "two"]);
}

#[test]
fn the_last_lines_of_the_audit_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = EmbeddedStore::open(&folder.path().join("state.redb")).unwrap();
    let lines: Vec<Vec<u8>> = (1..=MOST_AUDITED + 5).map(|number| number.to_string().into_bytes()).collect();
    store.append(Revision(1), &[], AuditLines { first: 1, lines: &lines }).unwrap();
    let kept = audited(&mut store, 0);
    assert_eq!((kept.len() as u64, kept[0].as_str()), (MOST_AUDITED, "6"));
}
