//! What a tail is told: how to read, and at each step what is wanted.

use std::time::Duration;

use crate::lsn::Lsn;
use crate::now::Now;

/// What the caller knows at the time of a step.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The time.
    pub now: &'a Now,
    /// The next VLSN to be returned to whoever reads the log, if that is known: what proves a hole harmless.
    pub expected_vlsn: Option<u64>,
    /// No entry at or behind this position is returned.
    pub send_limit: Lsn,
    /// Whether entries returned before will be wanted again: what was read last is then kept within reach.
    pub recalls: bool,
}

/// How a tail reads.
#[derive(Clone, Copy, Debug)]
pub struct TailOptions {
    /// How long everything must stand still before it is judged.
    pub settle: Duration,
    /// How many bytes are read at once.
    pub read_bytes: usize,
    /// How far behind a hole its proof is looked for, in bytes.
    pub proof_bytes_max: u64,
}
