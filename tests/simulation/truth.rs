//! What the writer really put into the log: every entry, where it stands, and from when to when it was there.
//!
//! This is the ground truth for single entries. A reader may return an entry only if it was on disk, whole and
//! visible, at some moment since the reader last found nothing (what it had read before that it must read again).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An entry of the log, as the writer made it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) inode: usize,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// `None` for entries that are not replicated, and for those with a VLSN field that is none.
    pub(crate) vlsn: Option<u64>,
    pub(crate) entry_type: u8,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) flags: u8,
    /// Since which tick it is wholly on disk.
    pub(crate) appeared: Option<u64>,
    /// When that was.
    pub(crate) appeared_at: Option<Duration>,
    /// Since which tick it is cut off, damaged or invisible.
    pub(crate) gone: Option<u64>,
}

/// Position of a [`Record`] in [`Truth`].
pub(crate) type RecordId = usize;

/// See the module's comment.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) records: Vec<Record>,
    by_vlsn: BTreeMap<u64, Vec<RecordId>>,
}

impl Record {
    pub(crate) fn is_there(&self) -> bool {
        self.appeared.is_some() && self.gone.is_none()
    }
}

impl Truth {
    pub(crate) fn add(&mut self, record: Record) -> RecordId {
        let id = self.records.len();
        if let Some(vlsn) = record.vlsn {
            self.by_vlsn.entry(vlsn).or_default().push(id);
        }
        self.records.push(record);
        id
    }

    pub(crate) fn of_vlsn(&self, vlsn: u64) -> impl Iterator<Item = &Record> {
        self.by_vlsn.get(&vlsn).into_iter().flatten().map(|&id| &self.records[id])
    }

    /// The replicated entries from `vlsn` on, whatever their state.
    pub(crate) fn at_or_above(&self, vlsn: u64) -> impl Iterator<Item = (RecordId, &Record)> {
        self.by_vlsn.range(vlsn..).flat_map(|(_, ids)| ids).map(|&id| (id, &self.records[id]))
    }

    /// The highest VLSN of a record that `is_one`; 0 for none.
    pub(crate) fn highest_vlsn(&self, is_one: impl Fn(RecordId, &Record) -> bool) -> u64 {
        let mut descending = self.by_vlsn.iter().rev();
        let highest = descending.find(|(_, ids)| ids.iter().any(|&id| is_one(id, &self.records[id])));
        highest.map_or(0, |(&vlsn, _)| vlsn)
    }

    /// Whether an entry like this one was on disk at some moment from tick `since` on.
    pub(crate) fn was_there(&self, vlsn: u64, entry_type: u8, payload: &[u8], since: u64) -> bool {
        self.of_vlsn(vlsn).any(|record| {
            record.entry_type == entry_type
                && *record.payload == *payload
                && record.appeared.is_some()
                && record.gone.is_none_or(|gone| gone >= since)
        })
    }
}
