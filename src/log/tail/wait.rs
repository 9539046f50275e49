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
    /// Whether it has stood still for the settle time: no error, but somebody may want to know.
    pub stalled: bool,
    /// When time alone will change the answer; `None` when only a change of the log will.
    pub look_again: Option<Instant>,
}

impl Wait {
    /// A wait that only a change of the log ends.
    pub fn until_changed(reason: WaitReason, at: Lsn) -> Wait {
        Wait { reason, at, stalled: false, look_again: None }
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
