//! Statuses: the results of functions that can fail.

use std::ffi::{CStr, c_char, c_void};

use crate::error::Error;

/// The status that a function that can fail returns: NXF_OK; a positive status, if nothing is wrong but nothing came;
/// or a negative one, an error. Numbers are only added, and never changed or used again.
pub type nxf_status = i32;

/// Done.
pub const NXF_OK: nxf_status = 0;
/// There is nothing yet: ask again later.
pub const NXF_AGAIN: nxf_status = 1;
/// The channel is closed, or the run has ended: nothing more will come.
pub const NXF_CLOSED: nxf_status = 2;
/// It did not happen within the time given.
pub const NXF_TIMEOUT: nxf_status = 3;
/// A parameter has a value that is not allowed; the message names the parameter.
pub const NXF_E_INVALID_ARGUMENT: nxf_status = -1;
/// There is no such option, or it does not take the value; the message lists what is allowed.
pub const NXF_E_INVALID_OPTION: nxf_status = -2;
/// The call is not allowed in the handle's state.
pub const NXF_E_WRONG_STATE: nxf_status = -3;
/// The call would wait for the callback from which it is made.
pub const NXF_E_INSIDE_CALLBACK: nxf_status = -4;
/// The buffer given is too small; nothing is lost.
pub const NXF_E_BUFFER_TOO_SMALL: nxf_status = -5;
/// There is a defect in this library. The handle can only be freed.
pub const NXF_E_PANIC: nxf_status = -6;
/// The handle was made by the parent of this process; it can only be freed.
pub const NXF_E_FORKED: nxf_status = -7;
/// The operating system refused something: nxf_error_errno() has its number.
pub const NXF_E_OS: nxf_status = -8;
/// A function of the host's failed, or returned a value that is not allowed; the message says which function, and what
/// it returned.
pub const NXF_E_CALLBACK: nxf_status = -9;
/// There is no memory for something that a log, a peer or an option made large; the message says how much was needed,
/// and what for. Nothing is lost: the same call can be tried again.
pub const NXF_E_NO_MEMORY: nxf_status = -10;
/// The log directory cannot be listed, or a log file cannot be opened or read.
pub const NXF_E_LOG_IO: nxf_status = -20;
/// A file in the log directory has no usable header, or is no regular file but a directory, a FIFO or a device.
pub const NXF_E_LOG_FILE_HEADER: nxf_status = -21;
/// The log is damaged: a checksum fails, an entry is torn, or the like. Nothing from that place on is sent.
pub const NXF_E_LOG_DAMAGED: nxf_status = -22;
/// A VLSN is missing in the log. The replica needs a network restore.
pub const NXF_E_LOG_GAP: nxf_status = -23;
/// The log was cut or written anew at a place that was read before. The replica needs a network restore.
pub const NXF_E_LOG_TRUNCATED: nxf_status = -24;
/// A log file that is still needed is gone. The replica needs a network restore.
pub const NXF_E_LOG_FILE_GONE: nxf_status = -25;
/// The log holds another entry of a VLSN that was already sent. The replica does not have the master's history any
/// more: it must sync up again, or be restored.
pub const NXF_E_LOG_HISTORY_CHANGED: nxf_status = -26;
/// An entry is larger than a frame can be (64 MiB).
pub const NXF_E_ENTRY_TOO_LARGE: nxf_status = -27;
/// The log ends more than one below the VLSN to begin with. Entries that the replica has were lost here, or this is not
/// its master's log: it must sync up again, or be restored.
pub const NXF_E_LOG_AHEAD: nxf_status = -28;
/// The replica acknowledged a VLSN that it was not sent. The acknowledgement was neither believed nor delivered.
pub const NXF_E_ACK_BEYOND_SENT: nxf_status = -40;
/// The peer sent bytes that are not in the protocol, or a message was too long for it.
pub const NXF_E_PROTOCOL: nxf_status = -41;
/// No connection could be made.
pub const NXF_E_CONNECT: nxf_status = -42;
/// The replica took no byte for as long as the write timeout.
pub const NXF_E_WRITE_TIMEOUT: nxf_status = -43;
/// The connection failed, other than by being closed.
pub const NXF_E_CONNECTION: nxf_status = -44;
/// The replica has frames to acknowledge, and acknowledged nothing for as long as the ack timeout.
pub const NXF_E_ACK_TIMEOUT: nxf_status = -45;

/// Releases the context of a callback. Called exactly once, after the callback's last call, on any thread, with no lock
/// held. It may call the library, but not with an object that is being released. A call that would wait for the runner
/// or the server that drops the context is refused with NXF_E_INSIDE_CALLBACK. NULL if there is nothing to release.
pub type nxf_drop_callback = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// The name of a status, such as "NXF_E_LOG_GAP". Any other number has the name "NXF_UNKNOWN". Never NULL; valid for as
/// long as the library is loaded. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn nxf_status_name(status: nxf_status) -> *const c_char {
    known_name(status).unwrap_or(c"NXF_UNKNOWN").as_ptr()
}

/// The table of the names of constants, from the constants.
macro_rules! named {
    ($($constant:ident,)*) => {
        &[$(($constant, {
            const NAME: &str = concat!(stringify!($constant), "\0");
            match CStr::from_bytes_with_nul(NAME.as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("the name of a constant has no NUL inside"),
            }
        })),*]
    };
}
pub(super) use named;

/// The name of a constant in such a table.
pub(super) fn name_among<T: PartialEq>(table: &[(T, &'static CStr)], constant: &T) -> Option<&'static CStr> {
    table.iter().find(|(code, _)| code == constant).map(|(_, name)| *name)
}

const ALL: &[(nxf_status, &CStr)] = named![
    NXF_OK,
    NXF_AGAIN,
    NXF_CLOSED,
    NXF_TIMEOUT,
    NXF_E_INVALID_ARGUMENT,
    NXF_E_INVALID_OPTION,
    NXF_E_WRONG_STATE,
    NXF_E_INSIDE_CALLBACK,
    NXF_E_BUFFER_TOO_SMALL,
    NXF_E_PANIC,
    NXF_E_FORKED,
    NXF_E_OS,
    NXF_E_CALLBACK,
    NXF_E_NO_MEMORY,
    NXF_E_LOG_IO,
    NXF_E_LOG_FILE_HEADER,
    NXF_E_LOG_DAMAGED,
    NXF_E_LOG_GAP,
    NXF_E_LOG_TRUNCATED,
    NXF_E_LOG_FILE_GONE,
    NXF_E_LOG_HISTORY_CHANGED,
    NXF_E_ENTRY_TOO_LARGE,
    NXF_E_LOG_AHEAD,
    NXF_E_ACK_BEYOND_SENT,
    NXF_E_PROTOCOL,
    NXF_E_CONNECT,
    NXF_E_WRITE_TIMEOUT,
    NXF_E_CONNECTION,
    NXF_E_ACK_TIMEOUT,
];

fn known_name(status: nxf_status) -> Option<&'static CStr> {
    name_among(ALL, &status)
}

/// What a function of the host's returned: the status by its name, or its number where it has none.
pub(super) fn described(status: nxf_status) -> String {
    known_name(status).map_or_else(|| format!("status {status}"), |name| name.to_string_lossy().into_owned())
}

impl Error {
    /// The status that C gets.
    pub fn status(&self) -> nxf_status {
        match self {
            Error::InvalidArgument { .. } => NXF_E_INVALID_ARGUMENT,
            Error::InvalidOption { .. } => NXF_E_INVALID_OPTION,
            Error::WrongState { .. } => NXF_E_WRONG_STATE,
            Error::InsideCallback { .. } => NXF_E_INSIDE_CALLBACK,
            Error::BufferTooSmall { .. } => NXF_E_BUFFER_TOO_SMALL,
            Error::QueueFull { .. } | Error::TooManyConnections { .. } => NXF_AGAIN,
            Error::Panicked(_) => NXF_E_PANIC,
            Error::Forked => NXF_E_FORKED,
            Error::Os { .. } => NXF_E_OS,
            Error::SourceOrder { .. } | Error::Callback { .. } => NXF_E_CALLBACK,
            Error::NoMemory { .. } => NXF_E_NO_MEMORY,
            Error::LogDirectory { .. } | Error::LogRead { .. } => NXF_E_LOG_IO,
            Error::LogFileHeader { .. } | Error::LogNotRegular { .. } => NXF_E_LOG_FILE_HEADER,
            Error::LogDamaged { .. } => NXF_E_LOG_DAMAGED,
            Error::LogGap { .. } => NXF_E_LOG_GAP,
            Error::LogTruncated { .. } | Error::LogRewritten { .. } => NXF_E_LOG_TRUNCATED,
            Error::LogFileGone { .. } => NXF_E_LOG_FILE_GONE,
            Error::HistoryChanged { .. } => NXF_E_LOG_HISTORY_CHANGED,
            Error::EntryTooLarge { .. } => NXF_E_ENTRY_TOO_LARGE,
            Error::AheadOfLog { .. } => NXF_E_LOG_AHEAD,
            Error::AckBeyondSent { .. } => NXF_E_ACK_BEYOND_SENT,
            Error::MessageTooLong { .. } | Error::Malformed { .. } => NXF_E_PROTOCOL,
            Error::Connect { .. } | Error::NameNotFound { .. } => NXF_E_CONNECT,
            Error::WriteTimeout { .. } => NXF_E_WRITE_TIMEOUT,
            Error::Connection { .. } => NXF_E_CONNECTION,
            Error::AckTimeout { .. } => NXF_E_ACK_TIMEOUT,
            Error::ChannelClosed => NXF_CLOSED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_is_in_the_table_and_has_its_own_number() {
        let constants = include_str!("status.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const NXF_")?.split_once(": nxf_status = "))
            .map(|(name, code)| (code.trim_end_matches(';').parse::<i32>().unwrap(), format!("NXF_{name}")));
        let in_table = ALL.iter().map(|(code, name)| (*code, name.to_str().unwrap().to_owned()));
        assert_eq!(constants.collect::<Vec<_>>(), in_table.collect::<Vec<_>>());
        let mut codes: Vec<nxf_status> = ALL.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
    }

    #[test]
    fn a_status_is_described_by_its_name_or_its_number() {
        assert_eq!((described(NXF_E_OS), described(-99)), ("NXF_E_OS".to_owned(), "status -99".to_owned()));
    }
}
