//! What has happened how often in a server.

use crate::sync::atomic::AtomicU64;

/// A number that only rises.
pub type Count = AtomicU64;

/// Since the server was made.
#[derive(Default)]
pub struct Figures {
    /// Replicas that were fed.
    pub joined: Count,
    /// Of these, whose stream has ended.
    pub ended: Count,
    /// Connections that came to nothing.
    pub refused: Count,
    /// Attempts to take somebody in for which the system had no descriptor or no memory.
    pub accept_errors: Count,
    /// Loops that have ended.
    pub(super) loops_ended: Count,
}
