//! Where the fields stand, and how long they are.
//!
//! # File header (big-endian)
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | magic `NOXUDB\0\0` |
//! | 8 | 4 | log version, 2 or 3 |
//! | 12 | 1 | byte order, always 0 |
//! | 13 | 3 | reserved |
//! | 16 | 8 | creation time, Unix milliseconds |
//! | 24 | 4 | file number, the same as in the file's name |
//! | 28 | 4 | offset of the last entry of the previous file, 0 when the writer did not know it |
//! | 32 | 4 | version 3 only: CRC-32 of bytes 0..32 |
//!
//! # Entry header (little-endian)
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 of everything behind this field, the invisible bit taken as 0 |
//! | 4 | 1 | entry type, 0 means "no entry" |
//! | 5 | 1 | flags |
//! | 6 | 4 | offset of the previous entry in this file, 0 for the first |
//! | 10 | 4 | item size: length of the payload |
//! | 14 | 8 | VLSN (i64), present only when flags has 0x08 or 0x20 |

/// The largest payload that an entry can have; a larger item size is not an entry.
pub const MAX_ITEM_SIZE: u32 = 100 * 1024 * 1024;

/// Length of a version-2 file header, which is also the part that every version has.
pub const FILE_HEADER_LEN_V2: usize = 32;
/// Length of a version-3 file header.
pub const FILE_HEADER_LEN_V3: usize = 36;
/// Length of an entry header without a VLSN.
pub const ENTRY_HEADER_LEN: usize = 14;
/// Length of an entry header with a VLSN.
pub const ENTRY_HEADER_LEN_VLSN: usize = 22;

const _: () = assert!(ENTRY_HEADER_LEN_VLSN == ENTRY_HEADER_LEN + size_of::<i64>());
const _: () = assert!(FILE_HEADER_LEN_V3 == FILE_HEADER_LEN_V2 + size_of::<u32>());

/// What every log file begins with.
pub(super) const MAGIC: [u8; 8] = *b"NOXUDB\0\0";

/// Flag of an entry that a rollback took back.
pub const FLAG_INVISIBLE: u8 = 0x10;
/// Flag of a replicated entry; such an entry has a VLSN.
pub const FLAG_REPLICATED: u8 = 0x20;
/// Flag of an entry that has a VLSN.
pub const FLAG_VLSN: u8 = 0x08;
