//! Statuses: what a function that can fail returns.

use std::ffi::{CStr, c_char, c_void};

use crate::error::status;

/// What a function that can fail returns: NXF_OK, a positive status (nothing wrong, nothing there), or a negative
/// one (an error). The numbers are never changed and never used again, only added to.
pub type nxf_status = i32;

/// Done.
pub const NXF_OK: nxf_status = 0;
/// Nothing there yet: ask again later.
pub const NXF_AGAIN: nxf_status = 1;
/// The channel is closed, or the run has ended: nothing more will come.
pub const NXF_CLOSED: nxf_status = 2;
/// It did not happen within the time given.
pub const NXF_TIMEOUT: nxf_status = 3;
/// A parameter cannot be what it is; the message names it.
pub const NXF_E_INVALID_ARGUMENT: nxf_status = -1;
/// There is no such option, or it does not take the value; the message lists what is allowed.
pub const NXF_E_INVALID_OPTION: nxf_status = -2;
/// The call does not fit what happened to the handle before.
pub const NXF_E_WRONG_STATE: nxf_status = -3;
/// The call would wait for the callback that it is made from.
pub const NXF_E_INSIDE_CALLBACK: nxf_status = -4;
/// The buffer given is too small; nothing is lost.
pub const NXF_E_BUFFER_TOO_SMALL: nxf_status = -5;
/// A defect of this library; the handle cannot be used any more, only freed.
pub const NXF_E_PANIC: nxf_status = -6;
/// The handle was made by the parent of this process; it can only be freed.
pub const NXF_E_FORKED: nxf_status = -7;
/// The operating system refused something: nxf_error_errno() has its number.
pub const NXF_E_OS: nxf_status = -8;
/// A function that the host gave failed, or returned what cannot be; the message says which and how.
pub const NXF_E_CALLBACK: nxf_status = -9;
/// Memory that was needed for what a log, a peer or an option made large cannot be had; the message says how much, and
/// what for. Nothing is lost: the same can be tried again.
pub const NXF_E_NO_MEMORY: nxf_status = -10;
/// The log directory cannot be listed, or a log file cannot be opened or read.
pub const NXF_E_LOG_IO: nxf_status = -20;
/// A file in the log directory has no header that can be used, or is no regular file: a directory, a FIFO, a device.
pub const NXF_E_LOG_FILE_HEADER: nxf_status = -21;
/// The log is damaged: a checksum fails, an entry is torn, or the like. Nothing at or behind it is sent.
pub const NXF_E_LOG_DAMAGED: nxf_status = -22;
/// A VLSN is missing in the log. The replica needs a network restore.
pub const NXF_E_LOG_GAP: nxf_status = -23;
/// The log was cut, or written anew, below what had been read. The replica needs a network restore.
pub const NXF_E_LOG_TRUNCATED: nxf_status = -24;
/// A log file that is still needed is gone. The replica needs a network restore.
pub const NXF_E_LOG_FILE_GONE: nxf_status = -25;
/// The log holds another entry at a VLSN that was already sent. What the replica has is not the master's history any
/// more: it must sync up again, or be restored.
pub const NXF_E_LOG_HISTORY_CHANGED: nxf_status = -26;
/// An entry is larger than a frame can be (64 MiB).
pub const NXF_E_ENTRY_TOO_LARGE: nxf_status = -27;
/// The log ends more than one below the VLSN to begin with. What the replica has was lost here, or this is not its
/// master's log: it must sync up again, or be restored.
pub const NXF_E_LOG_AHEAD: nxf_status = -28;
/// The replica acknowledged a VLSN that it was not sent. The ack was not believed and not delivered.
pub const NXF_E_ACK_BEYOND_SENT: nxf_status = -40;
/// The peer sent something that is not in the protocol, or a message was too long for it.
pub const NXF_E_PROTOCOL: nxf_status = -41;
/// No connection could be made.
pub const NXF_E_CONNECT: nxf_status = -42;
/// The replica took no byte for the write timeout.
pub const NXF_E_WRITE_TIMEOUT: nxf_status = -43;
/// The connection failed, other than by being closed.
pub const NXF_E_CONNECTION: nxf_status = -44;

/// Releases the context of a callback. Called exactly once, after the callback's last call, when the library has no
/// more use for it; on any thread, with no lock held. It may call back in, but with nothing that is being released: what
/// would wait for the runner that lets go of it is refused with NXF_E_INSIDE_CALLBACK. NULL where there is nothing to
/// release.
pub type nxf_drop_callback = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// The name of a status: "NXF_OK", "NXF_E_LOG_GAP" ... A number that is none has the name "NXF_UNKNOWN". Never NULL;
/// valid for as long as the library is loaded. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn nxf_status_name(status: nxf_status) -> *const c_char {
    let known = status::ALL.iter().find(|(code, _)| *code == status);
    known.map_or(c"NXF_UNKNOWN", |(_, name): &(i32, &CStr)| name).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header's constants are literals, because cbindgen cannot see through anything else.
    #[test]
    fn the_constants_are_those_of_the_library() {
        let in_header = include_str!("status.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const NXF_")?.split_once(": nxf_status = "))
            .map(|(name, code)| (code.trim_end_matches(';').parse::<i32>().unwrap(), format!("NXF_{name}")));
        let in_library = status::ALL.iter().map(|(code, name)| (*code, name.to_str().unwrap().to_owned()));
        assert_eq!(in_header.collect::<Vec<_>>(), in_library.collect::<Vec<_>>());
    }
}
