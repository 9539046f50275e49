//! Every failure, once, with the facts that a person needs to act.

mod log;

use std::io;
use std::path::PathBuf;

use crate::lsn::{FileName, Lsn};
use crate::memory::NoMemory;

pub use log::{EntryFault, HeaderFault, NotRegular};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operating system's error number, kept in a form that can be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OsError {
    /// `errno`, 0 when the system gave none.
    pub errno: i32,
    kind: io::ErrorKind,
}

impl std::fmt::Display for OsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.errno == 0 { self.kind.fmt(f) } else { io::Error::from_raw_os_error(self.errno).fmt(f) }
    }
}

impl From<io::Error> for OsError {
    fn from(error: io::Error) -> OsError {
        OsError { errno: error.raw_os_error().unwrap_or(0), kind: error.kind() }
    }
}

/// Any error of this library.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter has a value that is not allowed.
    #[error("parameter `{parameter}`: {reason}")]
    InvalidArgument {
        /// The parameter's name.
        parameter: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An option has no such name or no such value.
    #[error("option `{key}`: {reason}")]
    InvalidOption {
        /// The key as given.
        key: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// The call does not fit what happened before.
    #[error("{call}: {reason}")]
    WrongState {
        /// The function.
        call: &'static str,
        /// Why not now.
        reason: &'static str,
    },
    /// The call is not allowed from inside a callback.
    #[error("{call} cannot be called from inside a callback of the same handle")]
    InsideCallback {
        /// The function.
        call: &'static str,
    },
    /// The buffer given is too small.
    #[error("the buffer holds {capacity} bytes, the message has {needed}")]
    BufferTooSmall {
        /// Size of the buffer.
        capacity: usize,
        /// Size of the message.
        needed: usize,
    },
    /// A queue has no room for more.
    #[error("the queue has {queued} bytes; it holds at most {max}")]
    QueueFull {
        /// Bytes in it.
        queued: usize,
        /// Its limit.
        max: usize,
    },
    /// There are as many connections as there may be.
    #[error("there are {max} connections, as many as there may be")]
    TooManyConnections {
        /// How many.
        max: usize,
    },
    /// A panic was caught at the border; the handle cannot be used any more.
    #[error("an internal error: {0}; the handle cannot be used any more")]
    Panicked(String),
    /// The handle was made before a fork, by the parent.
    #[error("the handle belongs to the parent process: after a fork the child can only free it")]
    Forked,
    /// The operating system refused something.
    #[error("cannot {action} {what}: {os}")]
    Os {
        /// What the library tried to do.
        action: &'static str,
        /// With which object.
        what: String,
        /// The system's answer.
        os: OsError,
    },
    /// The log directory cannot be read.
    #[error("cannot list the log directory {}: {os}", path.display())]
    LogDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        os: OsError,
    },
    /// Memory that was needed cannot be had.
    #[error("no memory: {bytes} bytes for {what}{}{}", standing(*at), concerning(*vlsn))]
    NoMemory {
        /// How many bytes.
        bytes: usize,
        /// What they were for.
        what: &'static str,
        /// The place in the log that they were for, if they were for the log.
        at: Option<Lsn>,
        /// Its VLSN, or the next one to be returned, if known.
        vlsn: Option<u64>,
    },
    /// A log file cannot be opened or read.
    #[error("cannot read log file {}: {os}", FileName(*file))]
    LogRead {
        /// Number of the file.
        file: u32,
        /// Where, in bytes.
        offset: u64,
        /// The system's answer.
        os: OsError,
    },
    /// A file in the log directory is not a log file that can be read.
    #[error("log file {}: {fault}", FileName(*file))]
    LogFileHeader {
        /// Number of the file.
        file: u32,
        /// What its header says.
        fault: HeaderFault,
    },
    /// Something that is not a regular file has a log file's name.
    #[error("log file {}: it is {what}, and no regular file", FileName(*file))]
    LogNotRegular {
        /// Number of the file.
        file: u32,
        /// What it is.
        what: &'static str,
    },
    /// The log is damaged.
    #[error("log damaged at {at}{}: {fault}", expecting(*expected_vlsn))]
    LogDamaged {
        /// Where the entry begins.
        at: Lsn,
        /// What is wrong with the bytes there.
        fault: EntryFault,
        /// VLSN in the damaged entry's header, as far as it can be believed.
        vlsn: Option<u64>,
        /// The next VLSN that was to be returned, if known.
        expected_vlsn: Option<u64>,
    },
    /// A VLSN is not in the log.
    #[error("VLSN {expected} is not in the log: after it comes {found}, at {at}")]
    LogGap {
        /// The next VLSN that was to be returned.
        expected: u64,
        /// The one found instead.
        found: u64,
        /// Where the one found stands.
        at: Lsn,
    },
    /// The log was cut behind a position that was already read and passed on.
    #[error("log truncated: {} now ends at {len}, entries up to offset {read} were already read", FileName(*file))]
    LogTruncated {
        /// Number of the file.
        file: u32,
        /// Its length now.
        len: u64,
        /// How far it was read.
        read: u64,
    },
    /// An entry that was already read has been cut off and another one written in its place.
    #[error("log rewritten: the entry at {at} is not the one that was read there before")]
    LogRewritten {
        /// Where the entry begins.
        at: Lsn,
    },
    /// A source of the host's own returned a VLSN that is not allowed there.
    #[error("the source returned VLSN {found}, which cannot be where {expected} or a later one was asked for")]
    SourceOrder {
        /// What it returned.
        found: u64,
        /// What it was asked for.
        expected: u64,
    },
    /// A function of the host reported a failure.
    #[error("the host's function `{function}` returned {answer}")]
    Callback {
        /// The function's name.
        function: &'static str,
        /// The name of the status that it returned, or its number.
        answer: String,
    },
    /// A log file that is still needed is gone, or another has its name.
    #[error("log file {} is gone or was replaced{}", FileName(*file), expecting(*expected_vlsn))]
    LogFileGone {
        /// Number of the file.
        file: u32,
        /// The next VLSN that was to be returned, if known.
        expected_vlsn: Option<u64>,
        /// The VLSN found behind the missing file, if one was.
        found_vlsn: Option<u64>,
    },
    /// A VLSN that was already returned stands in the log again with another content.
    #[error("history changed: VLSN {vlsn} at {at} differs from the entry of that VLSN returned before")]
    HistoryChanged {
        /// The VLSN.
        vlsn: u64,
        /// Where the new entry stands.
        at: Lsn,
    },
    /// The log ends below the VLSN asked for: the replica has entries that this log does not have.
    #[error("the log ends with VLSN {last}, and VLSN {start} was asked for: the replica is ahead of this log")]
    AheadOfLog {
        /// The VLSN asked for.
        start: u64,
        /// The highest VLSN in the log; 0 for none.
        last: u64,
    },
    /// An entry is too large for the replication protocol.
    #[error("VLSN {vlsn} has {len} bytes of payload: more than a frame can carry")]
    EntryTooLarge {
        /// The VLSN.
        vlsn: u64,
        /// Payload length in bytes.
        len: u64,
    },
    /// The replica acknowledged a VLSN that it was never sent.
    #[error("the replica acknowledged VLSN {acked}, but the highest sent is {sent}")]
    AckBeyondSent {
        /// The VLSN in the ack.
        acked: u64,
        /// The highest VLSN whose frame was wholly handed to the transport.
        sent: u64,
    },
    /// A message is longer than the protocol allows.
    #[error("a message of {len} bytes: the protocol's limit is {max}")]
    MessageTooLong {
        /// Its announced length.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// Bytes are not a message of the protocol.
    #[error("not a {what}: {reason}")]
    Malformed {
        /// What they should have been.
        what: &'static str,
        /// Why they are not.
        reason: String,
    },
    /// A connection could not be made.
    #[error("cannot connect to {address}: {os}")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's answer.
        os: OsError,
    },
    /// A host's name could not be looked up.
    #[error("cannot connect to {address}: {reason}")]
    NameNotFound {
        /// Host and port.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The replica took nothing for too long.
    #[error("the replica took no byte for {waited_ms} ms")]
    WriteTimeout {
        /// How long, in milliseconds.
        waited_ms: u64,
    },
    /// The replica acknowledged nothing for too long.
    #[error("the replica acknowledged nothing for {waited_ms} ms, with {unacked} frames to acknowledge")]
    AckTimeout {
        /// How long, in milliseconds.
        waited_ms: u64,
        /// How many frames it has been sent and has not acknowledged.
        unacked: u64,
    },
    /// The connection failed.
    #[error("the connection failed: {os}")]
    Connection {
        /// The system's answer.
        os: OsError,
    },
    /// The channel is closed.
    #[error("the channel is closed")]
    ChannelClosed,
}

fn expecting(vlsn: Option<u64>) -> String {
    vlsn.map(|vlsn| format!(" (while looking for VLSN {vlsn})")).unwrap_or_default()
}

fn standing(at: Option<Lsn>) -> String {
    at.map(|at| format!(" at {at}")).unwrap_or_default()
}

fn concerning(vlsn: Option<u64>) -> String {
    vlsn.map(|vlsn| format!(" (VLSN {vlsn})")).unwrap_or_default()
}

impl Error {
    /// A parameter that cannot be what it is.
    pub fn invalid(parameter: &'static str, reason: impl Into<String>) -> Error {
        Error::InvalidArgument { parameter, reason: reason.into() }
    }

    /// The operating system's last word on something.
    pub fn os(action: &'static str, what: impl Into<String>, error: io::Error) -> Error {
        Error::Os { action, what: what.into(), os: error.into() }
    }

    /// A log file could not be read, as the system says, or for want of memory, or because it is none.
    pub fn log_read(file: u32, offset: u64, error: io::Error) -> Error {
        if let Some(NotRegular { what }) = NotRegular::of(&error) {
            return Error::LogNotRegular { file, what };
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<NoMemory>()) {
            // Offsets in a log file fit 32 bits: an LSN has no room for more.
            Some(none) => Error::no_memory(*none, "reading the log", Some(Lsn::new(file, offset as u32)), None),
            None => Error::LogRead { file, offset, os: error.into() },
        }
    }

    /// Memory that was needed for `what` cannot be had.
    #[cold]
    pub fn no_memory(none: NoMemory, what: &'static str, at: Option<Lsn>, vlsn: Option<u64>) -> Error {
        Error::NoMemory { bytes: none.bytes, what, at, vlsn }
    }

    /// The operating system's error number, when it gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Os { os, .. }
            | Error::LogDirectory { os, .. }
            | Error::LogRead { os, .. }
            | Error::Connect { os, .. }
            | Error::Connection { os } => Some(os.errno).filter(|&errno| errno != 0),
            _ => None,
        }
    }

    /// The log file concerned.
    pub fn file(&self) -> Option<u32> {
        match self {
            Error::LogRead { file, .. }
            | Error::LogFileHeader { file, .. }
            | Error::LogNotRegular { file, .. }
            | Error::LogTruncated { file, .. }
            | Error::LogFileGone { file, .. } => Some(*file),
            Error::NoMemory { at, .. } => at.map(Lsn::file),
            Error::LogDamaged { at, .. }
            | Error::LogGap { at, .. }
            | Error::LogRewritten { at }
            | Error::HistoryChanged { at, .. } => Some(at.file()),
            _ => None,
        }
    }

    /// The offset in [`file`](Self::file), in bytes.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Error::LogRead { offset, .. } => Some(*offset),
            Error::LogTruncated { len, .. } => Some(*len),
            Error::NoMemory { at, .. } => at.map(|at| u64::from(at.offset())),
            Error::LogDamaged { at, .. }
            | Error::LogGap { at, .. }
            | Error::LogRewritten { at }
            | Error::HistoryChanged { at, .. } => Some(u64::from(at.offset())),
            _ => None,
        }
    }

    /// The VLSN concerned: the one missing, damaged, asked for, too large or acknowledged.
    pub fn vlsn(&self) -> Option<u64> {
        match self {
            Error::LogDamaged { vlsn, expected_vlsn, .. } => vlsn.or(*expected_vlsn),
            Error::LogGap { expected, .. } => Some(*expected),
            Error::LogFileGone { expected_vlsn, .. } => *expected_vlsn,
            Error::NoMemory { vlsn, .. } => *vlsn,
            Error::HistoryChanged { vlsn, .. } | Error::EntryTooLarge { vlsn, .. } => Some(*vlsn),
            Error::AheadOfLog { start, .. } => Some(*start),
            Error::AckBeyondSent { acked, .. } => Some(*acked),
            _ => None,
        }
    }

    /// Whether the same thing tried again, with nothing changed by a person, may succeed: after a network failure
    /// it may, after damage in the log it will not.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self,
            Error::Connect { .. }
                | Error::NameNotFound { .. }
                | Error::Connection { .. }
                | Error::WriteTimeout { .. }
                | Error::AckTimeout { .. }
                | Error::Os { .. }
                | Error::LogDirectory { .. }
                | Error::LogRead { .. }
                | Error::NoMemory { .. }
        )
    }

    /// Whether it is the log that cannot be read on: no replica can be fed beyond that place, also if it is tried again.
    pub fn is_of_log(&self) -> bool {
        matches!(
            self,
            Error::LogFileHeader { .. }
                | Error::LogNotRegular { .. }
                | Error::LogDamaged { .. }
                | Error::LogGap { .. }
                | Error::LogTruncated { .. }
                | Error::LogRewritten { .. }
                | Error::LogFileGone { .. }
                | Error::HistoryChanged { .. }
                | Error::EntryTooLarge { .. }
        )
    }

    /// Whether the replica that was being fed can only be helped by a network restore.
    pub fn needs_restore(&self) -> bool {
        matches!(
            self,
            Error::LogGap { .. }
                | Error::LogTruncated { .. }
                | Error::LogRewritten { .. }
                | Error::LogFileGone { .. }
                | Error::HistoryChanged { .. }
                | Error::AheadOfLog { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_entry_is_described_with_every_fact() {
        let error = Error::LogDamaged {
            at: Lsn::new(42, 1000),
            fault: EntryFault::Checksum { stored: 0xdead_beef, computed: 1 },
            vlsn: Some(7),
            expected_vlsn: Some(7),
        };
        let text = error.to_string();
        for fact in ["0000002a.ndb", "offset 1000", "VLSN 7", "deadbeef", "00000001"] {
            assert!(text.contains(fact), "{fact} is missing from: {text}");
        }
        assert_eq!((error.file(), error.offset(), error.vlsn()), (Some(42), Some(1000), Some(7)));
        assert!(!error.is_retriable());
    }

    #[test]
    fn an_error_of_the_system_keeps_its_number() {
        let error = Error::os("open", "x", io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(error.errno(), Some(libc::EMFILE));
        assert!(error.to_string().starts_with("cannot open x: "));
    }
}
