//! Where entries come from: a log directory, or whatever else can play one.

pub mod host;
mod log;

use std::os::fd::RawFd;
use std::sync::Arc;

use crate::error::Result;
use crate::log::scanner::ScannerCounts;
use crate::log::{Next, Now, Wait};
use crate::lsn::Lsn;
use crate::sys::waker::Waker;
pub use log::LogSource;

/// Yields entries in VLSN order. One thread at a time.
pub trait Source: Send {
    /// The next entry whose VLSN is at least `from_vlsn`, or why there is none yet. An error is final.
    fn next(&mut self, from_vlsn: u64, now: &Now) -> Result<Next<'_>>;

    /// From now on, [`next`](Self::next) says that it is busy when it has read about `bytes`. Without a call it reads on
    /// until it has an answer.
    fn allow(&mut self, _bytes: u64) {}

    /// What was allowed is over, and ended with this pause if there was nothing more.
    fn note_turn(&mut self, _pause: Option<&Wait>) {}

    /// Something is said to have changed: whatever is taken to be unchanged is looked at anew, soon.
    fn distrust(&mut self) {}

    /// Whether the log's notification tells of every change that is waited for. May ask the file system.
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

    /// What it reads from, if that tells when there is more.
    fn origin(&self) -> Option<Arc<dyn Origin>> {
        None
    }

    /// What it has done so far.
    fn progress(&self) -> SourceProgress;
}

/// What sources read from: it tells loops that wait that there is more, and hosts how much. Any thread.
pub trait Origin: Send + Sync {
    /// Has `waker` used when there may be more, for as long as somebody keeps it.
    fn register(&self, waker: &Arc<Waker>);

    /// Says that there is more. Never blocks.
    fn notify(&self);

    /// Prepares for a sleep: from now on the next change makes [`watch_fd`](Self::watch_fd) readable. False: changes cannot
    /// be noticed, only looked for.
    fn arm(&self) -> bool;

    /// The descriptor of the notification, to be waited for to be readable: none before it was armed, and then always the
    /// same.
    fn watch_fd(&self) -> Option<RawFd>;

    /// The notification's descriptor was readable: takes the events, and wakes all but `own`, for whom there may be nothing
    /// left to see.
    fn take_events(&self, own: &Waker);

    /// It is looked at for safety, because a notification may have been lost.
    fn check(&self);

    /// The notification's descriptor was found to be readable. Its events are still to be taken.
    fn note_readable(&self) {}

    /// A count that has risen whenever there may be more than before: after it was armed, and before anybody is woken or
    /// asked to look. Who has found nothing need not look again while it is the same as before that look. `None`: it does
    /// not count, and each has to look.
    fn epoch(&self) -> Option<u64> {
        None
    }

    /// The highest VLSN that anybody has seen in it; 0 for none.
    fn last_vlsn(&self) -> u64;

    /// How many bytes it has from `position` on; 0 where that cannot be found out. May ask the file system.
    fn bytes_from(&self, position: Lsn) -> u64;
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
