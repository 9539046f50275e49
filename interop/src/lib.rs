//! The real Noxu crates at work as master and as replica, for the feeder's tests, demo and benchmarks.
//!
//! Everything that writes or receives here is upstream's own code, driven through its public API; the
//! only part that is not is [`reader`], which reads a log by the format alone so that a comparison does
//! not depend on a reader that stops where VLSNs stand out of order.

// A command line tool's results go to its standard output.
#![allow(clippy::print_stdout)]

pub mod append;
pub mod bench;
pub mod commit;
pub mod compare;
pub mod entries;
pub mod environment;
pub mod error;
pub mod generation;
pub mod list;
pub mod make_log;
pub mod original_feed;
pub mod reader;
pub mod replica;
pub mod roll_back;
pub mod sizes;
pub mod summary;
mod watchdog;
pub mod writer;

pub use error::{Error, Result};
