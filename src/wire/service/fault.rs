//! What can be wrong with the bytes that a replica sends to a service.

use super::{NAME_LEN_MAX, REQUEST_LEN_MAX};

/// See the module's comment. Each ends the connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The first four bytes are neither the length of a name nor a magic number.
    #[error("the name of a service cannot have {0} bytes: it has 1 to {NAME_LEN_MAX}")]
    NameLen(usize),
    /// A name that is no text.
    #[error("the name of a service is not UTF-8")]
    NameNotText,
    /// TLS where none is spoken.
    #[error("the connection begins with a TLS handshake, and this port speaks plain TCP")]
    Tls,
    /// A message that is longer than any that a service takes.
    #[error("a message of {len} bytes: no request has more than {REQUEST_LEN_MAX}")]
    RequestTooLong {
        /// As announced.
        len: usize,
    },
    /// A message that ends within a field.
    #[error("{message} ends early: {needed} bytes are needed where it has {len}")]
    Short {
        /// Which message.
        message: &'static str,
        /// How many bytes it has where the field begins.
        len: usize,
        /// How many the field has.
        needed: usize,
    },
    /// A message that has no beginning.
    #[error("an empty message, where {0} was expected")]
    Empty(&'static str),
    /// A kind of message that there is not, or not in this direction or place.
    #[error("a message of kind {kind}, where {expected} was expected")]
    Kind {
        /// As sent.
        kind: u8,
        /// What may come there.
        expected: &'static str,
    },
    /// Not the magic number of RESTORE.
    #[error("the magic number {0:08x} is not that of RESTORE")]
    Magic(u32),
    /// A name within a message that is no text.
    #[error("{0} has a name that is not UTF-8")]
    NotText(&'static str),
    /// The checksum behind a file is not the file's.
    #[error("file {file} has checksum {computed:08x}, and {stored:08x} was sent")]
    Checksum {
        /// Which, counted from 0.
        file: u32,
        /// As sent.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
}
