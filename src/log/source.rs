//! Where entries come from: a log directory, or whatever else can play one.

use std::sync::Arc;

use super::Log;
use super::format::Lsn;
use super::now::Now;
use super::scanner::{Next, Scanner, ScannerCounts};
use crate::error::Result;

/// Yields entries in VLSN order. One thread at a time.
pub trait Source: Send {
    /// The next entry whose VLSN is at least `from_vlsn`, or why there is none yet. An error is final.
    fn next(&mut self, from_vlsn: u64, now: &Now) -> Result<Next<'_>>;

    /// From now on, [`next`](Self::next) says that it is busy when it has read about `bytes`. Without a call it reads on
    /// until it has an answer.
    fn allow(&mut self, _bytes: u64) {}

    /// Something is said to have changed: whatever is taken to be unchanged is looked at anew, soon.
    fn distrust(&mut self) {}

    /// Whether the log's notification tells of every change that is waited for.
    fn is_notified(&self) -> bool {
        true
    }

    /// Whether the next entry may be had without reading from the disk or asking the host.
    fn has_more_at_hand(&self) -> bool {
        true
    }

    /// Whether each VLSN must be one more than the one before.
    fn is_dense(&self) -> bool {
        true
    }

    /// From now on it feeds the replica of this name, which what it says to people names.
    fn feeds(&mut self, _replica_name: &str) {}

    /// The log that tells when there is more, if it is one.
    fn log(&self) -> Option<&Arc<Log>>;

    /// What it has done so far.
    fn progress(&self) -> SourceProgress;
}

/// What a source has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SourceProgress {
    /// Entries returned and passed over.
    pub counts: ScannerCounts,
    /// Entries held back for a late VLSN.
    pub held: u64,
    /// Holes in files that were crossed.
    pub holes_crossed: u64,
    /// How often the directory was listed.
    pub listings: u64,
    /// The highest VLSN seen so far; 0 for none.
    pub last_vlsn: u64,
    /// Where reading goes on.
    pub position: Option<Lsn>,
    /// How many bytes before that are held back for a late VLSN.
    pub held_bytes: u64,
}

/// A scanner over a shared log.
pub struct LogSource {
    log: Arc<Log>,
    scanner: Scanner,
}

impl LogSource {
    /// A source of all entries of `log` from `start` on.
    pub fn new(log: Arc<Log>, start: Lsn) -> LogSource {
        let scanner = log.scanner(start);
        LogSource { log, scanner }
    }
}

impl Source for LogSource {
    #[inline]
    fn next(&mut self, from_vlsn: u64, now: &Now) -> Result<Next<'_>> {
        self.scanner.next(from_vlsn, self.log.send_limit(), now)
    }

    fn allow(&mut self, bytes: u64) {
        self.scanner.allow(bytes);
    }

    #[inline]
    fn has_more_at_hand(&self) -> bool {
        self.scanner.has_more_at_hand()
    }

    fn feeds(&mut self, replica_name: &str) {
        self.scanner.set_replica_name(replica_name);
    }

    fn distrust(&mut self) {
        self.scanner.distrust();
    }

    fn is_notified(&self) -> bool {
        !self.scanner.tail().is_behind_a_link()
    }

    fn log(&self) -> Option<&Arc<Log>> {
        Some(&self.log)
    }

    fn progress(&self) -> SourceProgress {
        SourceProgress {
            counts: self.scanner.counts(),
            held: self.scanner.held() as u64,
            holes_crossed: self.scanner.tail().holes_crossed(),
            listings: self.scanner.tail().listings(),
            last_vlsn: self.scanner.last_vlsn(),
            position: self.scanner.tail().front(),
            held_bytes: self.scanner.held_bytes(),
        }
    }
}
