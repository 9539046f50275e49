//! Why a connection to a service ended before its time.

use crate::error::Error;
use crate::wire::message::MESSAGE_LEN_MAX;
use crate::wire::service::Fault;

/// See the module's comment. The texts name the service and the step.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServiceError {
    /// The replica sent what has no place there.
    #[error("{service}, waiting for {step}: {fault}")]
    Fault {
        /// The service's name.
        service: &'static str,
        /// What was waited for.
        step: &'static str,
        /// What is wrong.
        fault: Fault,
    },
    /// The replica did not do in time what it was waited for to do.
    #[error("{service}: waited {waited_ms} ms for {step}, of which {len} bytes have come")]
    Timeout {
        /// The service's name.
        service: &'static str,
        /// What was waited for.
        step: &'static str,
        /// For how long, in milliseconds.
        waited_ms: u64,
        /// How much of it has come.
        len: usize,
    },
    /// The replica took nothing for too long.
    #[error("{service}: the replica took no byte for {waited_ms} ms, with {len} bytes waiting")]
    NotTaken {
        /// The service's name.
        service: &'static str,
        /// For how long, in milliseconds.
        waited_ms: u64,
        /// How much is waiting.
        len: usize,
    },
    /// The replica closed the connection in the middle of something.
    #[error("{service}: the replica closed the connection where {step} was waited for, of which {len} bytes have come")]
    Closed {
        /// The service's name.
        service: &'static str,
        /// What was waited for.
        step: &'static str,
        /// How much of it has come.
        len: usize,
    },
    /// There is no such service, or it is not offered here.
    #[error("service `{}` is not offered here", name.escape_debug())]
    NotOffered {
        /// As the replica asked for it.
        name: String,
    },
    /// The replica wants to begin above all that there is.
    #[error("PEER_FEEDER: VLSN {start} was asked for, and the log ends with {last}: the replica is ahead of this log")]
    AheadOfLog {
        /// As asked for.
        start: u64,
        /// The highest VLSN of the log; 0 for none.
        last: u64,
    },
    /// The log is too large for one message.
    #[error(
        "RESTORE: {files} files make a message of {bytes} bytes, and the protocol's limit is {MESSAGE_LEN_MAX}: a log as \
         large as that can be restored without messages only"
    )]
    TooLarge {
        /// How many files.
        files: usize,
        /// How many bytes the message would have.
        bytes: u64,
    },
    /// The log could not be read.
    #[error("{service}: {error}")]
    Log {
        /// The service's name.
        service: &'static str,
        /// What failed.
        error: Error,
    },
}
