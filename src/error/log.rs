//! What can be wrong with the bytes and the files of a log.

use std::io;

/// Bytes in the log that should be an entry and are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryFault {
    /// Zeros with more of the file behind them.
    #[error("a hole (zeros where an entry should be)")]
    Hole,
    /// The entry runs past the end of its file.
    #[error("a torn entry ({needed} bytes, of which the file has {present})")]
    Torn {
        /// Bytes that header and payload take, as far as known.
        needed: u64,
        /// Bytes from the entry's beginning to the file's end.
        present: u64,
    },
    /// A length that no entry has.
    #[error("an item size of {0}, above the largest there is")]
    Oversize(u32),
    /// The checksum fails.
    #[error("an entry whose checksum fails (stored {stored:08x}, computed {computed:08x})")]
    Checksum {
        /// The checksum in the entry's header.
        stored: u32,
        /// The checksum of the bytes read.
        computed: u32,
    },
    /// The entry does not follow the one before it.
    #[error("an entry that names offset {found} as the one before it, which is at {expected}")]
    BrokenChain {
        /// Offset of the entry before.
        expected: u32,
        /// Offset that the entry names.
        found: u32,
    },
    /// The file ends before an entry that the next file's header names.
    #[error("the end of the file, before the entry at offset {0} that the next file names as its last")]
    EndsEarly(u32),
}

/// Why the beginning of a file is no header that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderFault {
    /// The file is shorter than a header.
    #[error("it has {0} bytes, fewer than its header")]
    Short(u64),
    /// The first eight bytes are something else.
    #[error("it does not begin with the magic number of a Noxu log")]
    Magic,
    /// A version that this library does not read.
    #[error("log version {0} is not one of 2 and 3")]
    Version(u32),
    /// Byte order 0 is the only one there is.
    #[error("byte order {0} is not 0")]
    ByteOrder(u8),
    /// The header belongs to another file.
    #[error("its header says file number {0:08x}")]
    FileNumber(u32),
    /// The header's own checksum fails.
    #[error("the checksum of its header fails: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// As read.
        stored: u32,
        /// Of the bytes read.
        computed: u32,
    },
}

impl HeaderFault {
    /// Whether more writing could still turn these bytes into a header. A complete header of an unknown version,
    /// or of another file, stays what it is; the other faults are also what a header half-written looks like.
    pub fn may_be_unfinished(self) -> bool {
        !matches!(self, HeaderFault::Version(_) | HeaderFault::FileNumber(_) | HeaderFault::ByteOrder(_))
    }
}

/// Why a file was not opened: a log file is a regular file, or a link to one. An [`io::Error`] carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is {what}, and no regular file")]
pub struct NotRegular {
    /// What it is instead.
    pub what: &'static str,
}

impl NotRegular {
    /// What `error` carries, if that is why a file was not opened.
    pub fn of(error: &io::Error) -> Option<NotRegular> {
        error.get_ref()?.downcast_ref().copied()
    }
}
