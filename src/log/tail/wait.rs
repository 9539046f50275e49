//! Why a reader has nothing for now.

use std::time::Instant;

use crate::log::format::Lsn;

/// Why there is nothing for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What is waited for.
    pub reason: WaitReason,
    /// Where.
    pub at: Lsn,
    /// A VLSN that has not been found although later ones have: for the [`scanner`](crate::log::scanner) to say.
    pub missing_vlsn: Option<u64>,
    /// Whether it has lasted for the settle time: no error, but somebody may want to know.
    pub stalled: bool,
    /// When time alone will change the answer; `None` when only a change of the log will.
    pub look_again: Option<Instant>,
}

impl Wait {
    /// A wait where nothing is missing, and that has not lasted long.
    pub fn new(reason: WaitReason, at: Lsn, look_again: Option<Instant>) -> Wait {
        Wait { reason, at, missing_vlsn: None, stalled: false, look_again }
    }
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitReason {
    /// The log has no file yet, or not the one to start in.
    NoFile,
    /// All that the log has was read.
    End,
    /// A file shorter than its header, or with a header that is still being written.
    UnfinishedHeader,
    /// Zeros, to be filled by the writer.
    Hole,
    /// An entry whose end is not there yet.
    Torn,
    /// Bytes that are no entry, perhaps being written.
    Unreadable,
    /// The next file is there but has no entry yet.
    NextFileEmpty,
    /// The next file names an entry as this file's last that is not here yet.
    LastEntryMissing,
    /// The host allows no more to be sent.
    SendLimit,
    /// The log does not reach up to the VLSN asked for: for the [`scanner`](crate::log::scanner) to say.
    AheadOfLog,
}
