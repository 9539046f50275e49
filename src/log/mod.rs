//! The log: files on disk, read as a sequence of checked entries in VLSN order while the writer goes on writing.
//!
//! [`files`] is the seam to the file system, [`format`] the bytes, [`checksum`] what they are checked by. [`window`]
//! parses what a large read brought, [`tail`] follows the log in the order of the disk, [`order`] turns that into the
//! order of VLSNs, and a [`Scanner`] is all of them together: what a feeder reads from. A [`Log`] is what scanners of
//! one directory share.

pub mod attention;
pub mod block;
pub mod budget;
pub mod checksum;
pub mod copy;
pub mod extent;
pub mod files;
pub mod format;
pub mod lookup;
pub mod order;
pub mod probe;
pub mod range;
pub mod scanner;
pub mod seek;
pub mod shared;
pub mod tail;
pub mod window;

pub use crate::lsn::Lsn;
pub use crate::now::Now;
pub use scanner::{Entry, Next, Scanner, ScannerOptions};
pub use shared::Log;
pub use tail::{Wait, WaitReason};

#[cfg(test)]
mod test_disk;
