//! noxu-feeder: the master-side replication sender for Noxu DB logs.
pub mod acks;
pub mod chunk;
pub mod diagnostics;
pub mod error;
mod failpoint;
pub mod feed;
pub mod ffi;
pub mod log;
pub mod lsn;
pub mod memory;
pub mod now;
pub mod options;
pub mod runner;
pub mod runtime;
pub mod server;
pub mod session;
pub mod source;
pub mod states;
pub mod stream;
#[cfg_attr(loom, path = "../tests/models/sync.rs")]
mod sync;
pub mod sys;
pub mod transport;
pub mod wire;
pub use error::{Error, Result};
