//! Blocks of log bytes: what large reads go into, shared with the chunks that still have to send parts of them.
//!
//! A block is written only while its reader is its only owner. Once a chunk refers to it, the reader takes another;
//! when the last chunk has let go, the pool hands the block out again. So reading allocates nothing in the steady
//! state, and no byte that waits to be sent is ever copied or overwritten.
//!
//! A block begins at a page's beginning, and holds what is read into it as far behind that as it stands behind a
//! page's beginning in its file. The kernel copies between pages, and where the destination is 1 to 31 bytes behind the
//! source modulo a page, some processors copy a tenth as fast: memory from an allocator is 16 bytes behind.

use std::sync::Arc;

use crate::memory::{self, NoMemory};

/// What the kernel copies between, in bytes. On a system with larger pages nothing is lost.
const PAGE: usize = 4096;

/// Bytes of a log file; which ones, its reader knows.
#[derive(Debug)]
pub struct Block {
    memory: Box<[u8]>,
    /// The first byte in memory that stands at a page's beginning.
    begin: usize,
    capacity: usize,
}

impl Block {
    /// One that holds nothing, and takes no memory.
    pub fn empty() -> Arc<Block> {
        Arc::new(Block { memory: Box::default(), begin: 0, capacity: 0 })
    }

    fn with_capacity(capacity: usize) -> Result<Arc<Block>, NoMemory> {
        // A page for where the memory begins, and one for where the reading does.
        let memory = memory::zeros(capacity.saturating_add(2 * PAGE))?;
        let begin = memory.as_ptr().align_offset(PAGE).min(PAGE);
        Ok(Arc::new(Block { memory, begin, capacity }))
    }

    /// All bytes, also those that nothing was read into.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..]
    }

    /// How many bytes can be read into it, wherever they stand in their file.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

/// Where the bytes of an entry's payload stand, for who wants to keep them without copying.
#[derive(Clone, Copy, Debug)]
pub struct InBlock<'a> {
    /// The block that they are part of.
    pub block: &'a Arc<Block>,
    /// Where they begin among the block's [`bytes`](Block::bytes).
    pub begin: usize,
}

/// How many bytes of blocks a pool keeps for another use, but no fewer and no more than so many blocks. More can be in
/// use; those are freed when they come back.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
const KEPT_MIN: usize = 4;
const KEPT_MAX: usize = 64;

/// The blocks of one reader.
#[derive(Debug)]
pub struct BlockPool {
    capacity: usize,
    kept_max: usize,
    blocks: Vec<Arc<Block>>,
}

impl BlockPool {
    /// A pool of blocks that hold `capacity` bytes each.
    pub fn new(capacity: usize) -> BlockPool {
        let kept_max = (KEPT_BYTES / capacity.max(1)).clamp(KEPT_MIN, KEPT_MAX);
        BlockPool { capacity, kept_max, blocks: Vec::with_capacity(kept_max) }
    }

    /// Size of an ordinary block.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// A block of at least `capacity` bytes that the caller alone owns.
    pub fn take(&mut self, capacity: usize) -> Result<Arc<Block>, NoMemory> {
        if capacity <= self.capacity
            && let Some(at) = self.blocks.iter_mut().position(is_unique)
        {
            return Ok(self.blocks.swap_remove(at));
        }
        Block::with_capacity(capacity.max(self.capacity))
    }

    /// Makes `block` one of at least `capacity` bytes that the caller alone owns: the same one where that is so,
    /// else another, and the old one is kept for when its last user has let go.
    pub fn renew(&mut self, block: &mut Arc<Block>, capacity: usize) -> Result<(), NoMemory> {
        let wanted = capacity.max(self.capacity);
        if block.capacity() == wanted && is_unique(block) {
            return Ok(());
        }
        let old = std::mem::replace(block, self.take(capacity)?);
        // One of more than the ordinary size was for a single large entry, and is not kept.
        if old.capacity() == self.capacity && self.blocks.len() < self.kept_max {
            self.blocks.push(old);
        }
        Ok(())
    }
}

/// Whether nobody else holds the block.
fn is_unique(block: &mut Arc<Block>) -> bool {
    Arc::get_mut(block).is_some()
}

/// Where in a block's bytes that is to be read which stands at `offset` in its file.
#[inline]
pub fn place(offset: u64) -> usize {
    (offset % PAGE as u64) as usize
}

/// The part of a block to read into what stands at `offset` in its file, as long as its capacity; `None` when somebody
/// else holds the block, too.
pub fn writable(block: &mut Arc<Block>, offset: u64) -> Option<&mut [u8]> {
    let Block { memory, begin, capacity } = Arc::get_mut(block)?;
    let begin = *begin + place(offset);
    Some(&mut memory[begin..begin + *capacity])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_reused_only_when_nobody_else_holds_it() {
        let mut pool = BlockPool::new(64);
        let mut block = pool.take(64).unwrap();
        let first = block.bytes().as_ptr();
        let held = Arc::clone(&block);
        pool.renew(&mut block, 64).unwrap();
        assert_ne!(block.bytes().as_ptr(), first);
        drop(held);
        let second = Arc::clone(&block);
        pool.renew(&mut block, 64).unwrap();
        assert_eq!(block.bytes().as_ptr(), first, "the freed block is handed out again");
        drop(second);
        pool.renew(&mut block, 64).unwrap();
        assert_eq!(block.bytes().as_ptr(), first, "nobody else holds it: it stays");
    }

    #[test]
    fn what_is_read_stands_as_far_behind_a_pages_beginning_as_in_its_file() {
        let mut block = BlockPool::new(100).take(100).unwrap();
        for offset in [0, 36, 4095, 4096, 1 << 40] {
            let bytes = writable(&mut block, offset).unwrap();
            assert_eq!((bytes.len(), bytes.as_ptr().addr() % PAGE), (100, place(offset)));
            bytes[0] = 7;
            assert_eq!(std::mem::replace(&mut bytes[99], 8), 0);
            assert_eq!((block.bytes()[place(offset)], block.bytes()[place(offset) + 99]), (7, 8));
            writable(&mut block, offset).unwrap().fill(0);
        }
        let held = Arc::clone(&block);
        assert!(writable(&mut block, 0).is_none());
        drop(held);
    }

    #[test]
    fn a_block_that_no_memory_can_be_had_for_leaves_the_old_one() {
        let mut pool = BlockPool::new(64);
        let mut block = pool.take(64).unwrap();
        let before = block.bytes().as_ptr();
        assert_eq!(pool.renew(&mut block, usize::MAX), Err(NoMemory { bytes: usize::MAX }));
        assert_eq!(block.bytes().as_ptr(), before);
        assert_eq!(Block::empty().bytes(), b"");
    }

    #[test]
    fn a_block_for_a_large_entry_is_not_kept_for_small_ones() {
        let mut pool = BlockPool::new(64);
        let mut block = pool.take(1000).unwrap();
        assert_eq!(block.capacity(), 1000);
        pool.renew(&mut block, 64).unwrap();
        assert_eq!(block.capacity(), 64);
        assert!(pool.blocks.is_empty());
    }

    #[test]
    fn a_pool_keeps_a_bounded_number_of_blocks() {
        for (capacity, kept) in [(64, KEPT_MAX), (KEPT_BYTES / 10, 10), (KEPT_BYTES, KEPT_MIN)] {
            let mut pool = BlockPool::new(capacity);
            let mut held = Vec::new();
            let mut block = pool.take(capacity).unwrap();
            for _ in 0..kept + 5 {
                held.push(Arc::clone(&block));
                pool.renew(&mut block, capacity).unwrap();
            }
            assert_eq!(pool.blocks.len(), kept);
        }
    }
}
