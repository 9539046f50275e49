//! The states of a run and of its log, once each: the number that C gets, its name, and words for people.

use std::ffi::CStr;

use crate::acks::End;
use crate::log::tail::WaitReason;
use crate::transport::Closing;

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// Its number. Never changed and never used again.
    pub code: u32,
    /// The constant's name in C.
    pub name: &'static CStr,
    /// The state in words.
    pub words: &'static str,
}

/// Shows the words, and the name that the documentation uses.
impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.words, self.name.to_string_lossy())
    }
}

/// Generates a constant for each state, and the table of all.
macro_rules! states {
    ($($id:ident = $code:literal, $name:literal, $words:literal;)*) => {
        use super::State;

        $(#[doc = $words] pub const $id: State = State { code: $code, name: $name, words: $words };)*
        /// All of these states.
        pub const ALL: &[State] = &[$($id),*];
    };
}

/// The states of a run.
pub mod run {
    states! {
        NEW = 0, c"NXF_RUN_NEW", "not started";
        RUNNING = 1, c"NXF_RUN_RUNNING", "running";
        STOPPED = 2, c"NXF_RUN_STOPPED", "stopped by the host";
        CLOSED_BY_REPLICA = 3, c"NXF_RUN_CLOSED_BY_REPLICA", "closed by the replica";
        RESET_BY_REPLICA = 4, c"NXF_RUN_RESET_BY_REPLICA", "broken off by the replica";
        FAILED = 5, c"NXF_RUN_FAILED", "failed";
    }
}

/// The states of a log that is read.
pub mod log {
    states! {
        READING = 0, c"NXF_LOG_READING", "there is more to read";
        AT_END = 1, c"NXF_LOG_AT_END", "all was read";
        NO_FILE = 2, c"NXF_LOG_NO_FILE", "there is no file to begin in";
        UNFINISHED_HEADER = 3, c"NXF_LOG_UNFINISHED_HEADER", "a file whose header is not finished";
        HOLE = 4, c"NXF_LOG_HOLE", "zeros with more behind them";
        TORN = 5, c"NXF_LOG_TORN", "an entry whose end is not there yet";
        UNREADABLE = 6, c"NXF_LOG_UNREADABLE", "bytes that are no entry";
        NEXT_FILE_EMPTY = 7, c"NXF_LOG_NEXT_FILE_EMPTY", "the next file has no entry yet";
        LAST_ENTRY_MISSING = 8, c"NXF_LOG_LAST_ENTRY_MISSING",
            "the entry that the next file names as the last before it is not there yet";
        SEND_LIMIT = 9, c"NXF_LOG_SEND_LIMIT", "the send limit is reached";
        AHEAD = 10, c"NXF_LOG_AHEAD", "the log ends below the VLSN to begin with";
    }
}

impl End {
    /// The state of a run that has ended in this way.
    pub fn state(&self) -> State {
        match self {
            End::Stopped => run::STOPPED,
            End::ClosedByPeer(Closing::Finished) => run::CLOSED_BY_REPLICA,
            End::ClosedByPeer(Closing::Reset) => run::RESET_BY_REPLICA,
            End::Failed(_) => run::FAILED,
        }
    }
}

impl WaitReason {
    /// The state of a log whose reader waits for this reason.
    pub fn state(self) -> State {
        match self {
            WaitReason::End => log::AT_END,
            WaitReason::NoFile => log::NO_FILE,
            WaitReason::UnfinishedHeader => log::UNFINISHED_HEADER,
            WaitReason::Hole => log::HOLE,
            WaitReason::Torn => log::TORN,
            WaitReason::Unreadable => log::UNREADABLE,
            WaitReason::NextFileEmpty => log::NEXT_FILE_EMPTY,
            WaitReason::LastEntryMissing => log::LAST_ENTRY_MISSING,
            WaitReason::SendLimit => log::SEND_LIMIT,
            WaitReason::AheadOfLog => log::AHEAD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header's constants are literals, because cbindgen can evaluate nothing else.
    #[test]
    fn the_constants_are_those_of_the_library() {
        let in_header = |prefix: &str| -> Vec<(u32, String)> {
            let lines = include_str!("ffi/runner.rs").lines();
            let constants = lines.filter_map(|line| line.strip_prefix("pub const ")?.split_once(": u32 = "));
            let found = constants.filter(|(name, _)| name.starts_with(prefix));
            found.map(|(name, code)| (code.trim_end_matches(';').parse().unwrap(), name.to_owned())).collect()
        };
        let in_library = |states: &[State]| -> Vec<(u32, String)> {
            states.iter().map(|state| (state.code, state.name.to_str().unwrap().to_owned())).collect()
        };
        assert_eq!(in_header("NXF_RUN_"), in_library(run::ALL));
        assert_eq!(in_header("NXF_LOG_"), in_library(log::ALL));
    }
}
