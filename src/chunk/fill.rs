//! Fills chunks from a source.

use std::time::Instant;

use super::{Chunk, ChunkLimits};
use crate::error::Error;
use crate::log::{Next, Now, Wait};
use crate::source::Source;

/// Why the filling of a chunk ended.
#[derive(Debug)]
pub enum Filled {
    /// The chunk is full enough to be sent; the source may have more.
    Full,
    /// The source has nothing more for now.
    Dry(Wait),
    /// The source has more to look through than a turn allows. Ask it again at once.
    Busy,
    /// The source has failed. The frames in the chunk are from before the failure, and are good.
    Failed(Error),
}

/// How many bytes a source may read in one turn without finding an entry to send. Acks and a stop wait until the turn
/// ends: a millisecond or two, some tens of milliseconds with a slow disk.
const READ_MAX: u64 = 4 * 1024 * 1024;

/// Appends entries from `from_vlsn` on until the chunk is full or the source has no more. If the source says that its
/// VLSNs are dense, a VLSN that it leaves out is an error. It leaves one out, for example, if somebody else has read
/// from it before.
pub fn fill(chunk: &mut Chunk, source: &mut dyn Source, from_vlsn: u64, limits: &ChunkLimits, now: Instant) -> Filled {
    let filled = fill_on(chunk, source, from_vlsn, limits, now);
    chunk.settle();
    filled
}

fn fill_on(chunk: &mut Chunk, source: &mut dyn Source, from_vlsn: u64, limits: &ChunkLimits, now: Instant) -> Filled {
    let now = Now::from(now);
    source.allow(READ_MAX);
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
            Ok(Next::Busy) => return Filled::Busy,
            Err(error) => return Filled::Failed(error),
        }
    }
    Filled::Full
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Result;
    use crate::log::block::{Block, BlockPool, InBlock};
    use crate::log::{Entry, Lsn};
    use crate::source::SourceProgress;

    /// Always has one more entry of 5000 bytes. All entries are in the same block, and each has to be read first.
    struct Endless {
        block: Arc<Block>,
    }

    impl Source for Endless {
        fn next(&mut self, from_vlsn: u64, _: &Now) -> Result<Next<'_>> {
            let payload = &self.block.bytes()[..5000];
            let (lsn, block) = (Lsn::new(0, 36), Some(InBlock { block: &self.block, begin: 0 }));
            Ok(Next::Entry(Entry { vlsn: from_vlsn, lsn, entry_type: 13, payload, payload_crc: 0, block }))
        }

        fn has_more_at_hand(&self) -> bool {
            false
        }

        fn progress(&self) -> SourceProgress {
            SourceProgress::default()
        }
    }

    fn filled(limits: &ChunkLimits, block_len: usize) -> (usize, usize) {
        let mut source = Endless { block: BlockPool::new(block_len).take(block_len).unwrap() };
        let mut chunk = Chunk::default();
        let ended = fill(&mut chunk, &mut source, 1, limits, Instant::now());
        assert!(matches!(ended, Filled::Full), "{ended:?}");
        (chunk.frames(), Arc::strong_count(&source.block) - 1)
    }

    #[test]
    fn a_filled_chunk_holds_no_block_for_little() {
        let limits = ChunkLimits { frames_max: 2, send_first: 0, ..ChunkLimits::default() };
        assert_eq!(filled(&limits, 40_000), (2, 2), "a quarter of it is sent");
        assert_eq!(filled(&limits, 40_004), (2, 0), "less");
    }

    #[test]
    fn a_small_chunk_is_sent_before_more_is_read_where_that_is_wanted() {
        let limits = |send_first| ChunkLimits { frames_max: 9, send_first, ..ChunkLimits::default() };
        assert_eq!(filled(&limits(5022), 40_000).0, 1, "5021 bytes are fewer");
        assert_eq!(filled(&limits(5021), 40_000).0, 9, "with as many it is filled on");
        assert_eq!(filled(&limits(0), 40_000).0, 9);
    }
}
