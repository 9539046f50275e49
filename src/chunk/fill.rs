//! Fills chunks from a source.

use std::time::Instant;

use super::{Chunk, ChunkLimits};
use crate::error::Error;
use crate::log::{Next, Now, Pause, Source};

/// Why the filling of a chunk ended.
#[derive(Debug)]
pub enum Filled {
    /// The chunk is full enough to be sent; the source may have more.
    Full,
    /// The source has nothing more for now.
    Dry(Pause),
    /// The source has failed. What is in the chunk came before that, and is good.
    Failed(Error),
}

/// Appends entries from `from_vlsn` on until the chunk is full or the source has no more. A source whose VLSNs are dense
/// is held to it: what it left out, because somebody had read from it before, say, is never passed over.
pub fn fill(chunk: &mut Chunk, source: &mut dyn Source, from_vlsn: u64, limits: &ChunkLimits, now: Instant) -> Filled {
    let filled = fill_on(chunk, source, from_vlsn, limits, now);
    chunk.settle();
    filled
}

fn fill_on(chunk: &mut Chunk, source: &mut dyn Source, from_vlsn: u64, limits: &ChunkLimits, now: Instant) -> Filled {
    let now = Now::from(now);
    let is_dense = source.is_dense();
    let mut from_vlsn = from_vlsn;
    while !chunk.is_full(limits) {
        match source.next(from_vlsn, &now) {
            Ok(Next::Entry(entry)) if is_dense && from_vlsn > 0 && entry.vlsn != from_vlsn => {
                return Filled::Failed(Error::LogGap { expected: from_vlsn, found: entry.vlsn, at: entry.lsn });
            }
            Ok(Next::Entry(entry)) => {
                if let Err(error) = chunk.push(&entry, limits) {
                    return Filled::Failed(error);
                }
                from_vlsn = entry.vlsn.saturating_add(1);
                if chunk.len() < limits.send_first && !source.has_more_at_hand() {
                    return Filled::Full;
                }
            }
            Ok(Next::Nothing(pause)) => return Filled::Dry(pause),
            Err(error) => return Filled::Failed(error),
        }
    }
    Filled::Full
}
