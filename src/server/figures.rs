//! What has happened how often in a server.

use crate::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
pub(super) type Count = AtomicU64;

/// Since the server was made.
#[derive(Default)]
pub struct Figures {
    /// Replicas that were fed.
    pub(super) joined: Count,
    /// Of these, whose stream has ended.
    pub(super) ended: Count,
    /// Connections that came to nothing.
    pub(super) refused: Count,
    /// Attempts to take somebody in for which the system had no descriptor or no memory.
    pub(super) accept_errors: Count,
    /// Loops that have ended.
    pub(super) loops_ended: Count,
}

impl Figures {
    /// How many replicas have begun to be fed.
    pub fn joined(&self) -> u64 {
        self.joined.load(Ordering::Relaxed)
    }

    /// Of how many the stream has ended.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// How many connections came to nothing.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How often the system had no descriptor or no memory for a connection.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }
}
