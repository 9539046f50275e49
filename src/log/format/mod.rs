//! The on-disk format of a Noxu log, versions 6.2.0 to 7.11.2: file headers, entry headers.
//!
//! Pure functions over bytes. Nothing here reads a file, keeps state or decides what damage means; that is
//! [`tail`](super::tail)'s work. [`layout`] has the tables of the fields. The facts were checked against the public
//! crate `noxu-log`.

mod encode;
mod entry;
mod file;
pub mod layout;

pub use crate::error::HeaderFault;
pub use crate::lsn::Lsn;
pub use encode::encode_entry;
pub use entry::{EntryHeader, ParsedEntryHeader};
pub use file::FileHeader;
pub use layout::{
    ENTRY_HEADER_LEN, ENTRY_HEADER_LEN_VLSN, FILE_HEADER_LEN_V2, FILE_HEADER_LEN_V3, FLAG_INVISIBLE, FLAG_REPLICATED,
    FLAG_VLSN, MAX_ITEM_SIZE,
};
