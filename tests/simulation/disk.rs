//! The master's disk: what is on it survives the master. It refuses, or writes and says that it didn't, and a crash
//! may come before or after a write lands.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use podling::control::change::Change;
use podling::master::record;
use podling::model::id::Revision;
use podling::store::{AuditLines, Each, Frozen, Store, StoreError, Stored};

/// What the disk does with a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It takes it.
    #[default]
    Well,
    /// It is full.
    Refuses,
    /// It takes it, but the writer is told that it didn't.
    LandsAndFails,
}

#[derive(Debug, Default)]
struct Platter {
    records: BTreeMap<u64, Vec<u8>>,
    parts: BTreeMap<(u64, u32), Vec<u8>>,
    sealed: Option<(u64, u32)>,
    mood: Mood,
    news: Vec<(Revision, Change)>,
    /// Records up to here were told.
    told: u64,
}

impl Platter {
    fn tell(&mut self, records: Vec<(u64, Vec<u8>)>) {
        for (at, bytes) in records {
            self.told = self.told.max(at);
            // An empty one stands for one that was withdrawn.
            if let Some(change) = Some(bytes).filter(|bytes| !bytes.is_empty()) {
                let change = record::decode(&change).expect("what the journal wrote can be read");
                self.news.push((Revision(at), change));
            }
        }
    }
}

/// A disk. Its clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    pub(crate) fn set_mood(&self, mood: Mood) {
        self.0.lock().mood = mood;
    }

    /// What became durable since this was last asked.
    pub(crate) fn news(&self) -> Vec<(Revision, Change)> {
        std::mem::take(&mut self.0.lock().news)
    }

    /// A master reads the disk: whatever is there is durable, also what an earlier one was told had failed.
    pub(crate) fn read_back(&self) {
        let mut platter = self.0.lock();
        let after = platter.told + 1;
        let found: Vec<(u64, Vec<u8>)> =
            platter.records.range(after..).map(|(at, bytes)| (*at, bytes.clone())).collect();
        platter.tell(found);
    }

    fn write(&self, what: impl FnOnce(&mut Platter)) -> Result<(), StoreError> {
        let mut platter = self.0.lock();
        let mood = platter.mood;
        if mood != Mood::Refuses {
            what(&mut platter);
        }
        match mood {
            Mood::Well => Ok(()),
            Mood::Refuses | Mood::LandsAndFails => {
                Err(StoreError::Io { operation: "write", why: "no space left on device".to_owned() })
            }
        }
    }
}

impl Store for Disk {
    fn append(
        &mut self,
        first: Revision,
        records: &[Vec<u8>],
        _audit: AuditLines<'_>,
    ) -> Result<(), StoreError> {
        let numbered: Vec<(u64, Vec<u8>)> = (first.0..).zip(records.iter().cloned()).collect();
        self.write(|platter| platter.records.extend(numbered.iter().cloned()))?;
        self.0.lock().tell(numbered);
        Ok(())
    }

    fn put_snapshot(&mut self, at: Revision, part: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(|platter| {
            let sealed = platter.sealed.map(|(at, _)| at);
            platter.parts.retain(|(of, _), _| part > 0 || sealed == Some(*of));
            platter.parts.insert((at.0, part), bytes.to_vec());
        })
    }

    fn seal_snapshot(&mut self, at: Revision, parts: u32) -> Result<(), StoreError> {
        self.write(|platter| {
            platter.sealed = Some((at.0, parts));
            platter.parts.retain(|(of, _), _| *of == at.0);
            platter.records.retain(|position, _| *position > at.0);
        })
    }

    fn replay(&mut self, each: &mut Each<'_>) -> Result<(), StoreError> {
        let platter = self.0.lock();
        let (at, parts) = platter.sealed.unwrap_or_default();
        for part in 0..parts {
            each(Stored::Part(Revision(at), &platter.parts[&(at, part)]))?;
        }
        for (position, bytes) in &platter.records {
            each(Stored::Record(Revision(*position), bytes))?;
        }
        Ok(())
    }

    fn freeze(&mut self) -> Result<Box<dyn Frozen>, StoreError> {
        Err(StoreError::Io { operation: "copy", why: "it is kept in memory alone".to_owned() })
    }
}
