//! How far a replica is.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Holds;

/// A progress line is printed after this many entries.
const LINE_EVERY: u64 = 10_000;

/// What a replica holds, counted as it grows.
#[derive(Debug)]
pub(super) struct Progress {
    entries: AtomicU64,
    last: AtomicU64,
    wanted: Option<u64>,
    print: bool,
}

impl Progress {
    pub(super) fn new(held: Holds, wanted: Option<u64>, print: bool) -> Self {
        Self { entries: held.entries.into(), last: held.last.into(), wanted, print }
    }

    /// Counts an entry that is in the replica's log now.
    pub(super) fn stored(&self, vlsn: u64) {
        self.last.store(vlsn, Ordering::Release);
        let entries = self.entries.fetch_add(1, Ordering::AcqRel) + 1;
        if self.print && entries.is_multiple_of(LINE_EVERY) {
            println!("at VLSN {vlsn}");
        }
    }

    /// Whether the wanted VLSN is held.
    pub(super) fn complete(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.last.load(Ordering::Acquire) >= wanted)
    }

    pub(super) fn holds(&self) -> Holds {
        Holds { entries: self.entries.load(Ordering::Acquire), last: self.last.load(Ordering::Acquire) }
    }
}
