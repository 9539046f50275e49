//! Where a session's frames come from: chunks, read and laid out by whoever does that for it.

pub mod own;
mod pool;
pub mod shared;

use std::sync::Arc;
use std::time::Instant;

use crate::chunk::Chunk;
use crate::chunk::fill::Filled;
use crate::source::{Origin, SourceProgress};
pub use own::OwnFeed;
pub use shared::{SharedFeed, SharedFeeds};

/// Frames to send: those of a chunk, from one of them on.
#[derive(Clone, Debug)]
pub struct Portion {
    /// The chunk. Others may send it, too.
    pub chunk: Arc<Chunk>,
    /// At which of its bytes the first of these frames begins.
    pub begin: u64,
}

impl Portion {
    /// All of it.
    pub fn whole(chunk: Arc<Chunk>) -> Portion {
        Portion { chunk, begin: 0 }
    }
}

/// Gives frames in VLSN order. One thread at a time.
pub trait Feed: Send {
    /// The frames from `from_vlsn` on, as many as make a chunk full, if there are any now; and how the reading of them
    /// ended. `from_vlsn` 0 is the lowest that there is.
    fn next(&mut self, from_vlsn: u64, now: Instant) -> (Option<Portion>, Filled);

    /// A chunk of which all was sent that was to be. It may be filled again.
    fn take_back(&mut self, chunk: Arc<Chunk>);

    /// Something is said to have changed: whatever is taken to be unchanged is looked at anew, soon.
    fn distrust(&mut self) {}

    /// Whether the log's notification tells of every change that is waited for. May ask the file system.
    fn is_notified(&self) -> bool {
        true
    }

    /// From now on it feeds the replica of this name, which what it says to people names.
    fn feeds(&mut self, _replica_name: &str) {}

    /// What is read from, if that tells when there is more.
    fn origin(&self) -> Option<Arc<dyn Origin>> {
        None
    }

    /// What was read for it so far.
    fn progress(&self) -> SourceProgress;
}
