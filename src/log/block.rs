//! Blocks of log bytes: what large reads go into, shared with the chunks that still have to send parts of them.
//!
//! A block is written only while its reader is its only owner. Once a chunk refers to it, the reader takes another;
//! when the last chunk has let go, the pool hands the block out again. So reading allocates nothing in the steady
//! state, and no byte that waits to be sent is ever copied or overwritten.

use std::sync::Arc;

/// Bytes of a log file; which ones, its reader knows.
#[derive(Debug)]
pub struct Block {
    bytes: Box<[u8]>,
}

impl Block {
    fn with_capacity(capacity: usize) -> Arc<Block> {
        Arc::new(Block { bytes: vec![0; capacity].into_boxed_slice() })
    }

    /// All bytes, also those that nothing was read into.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The size in bytes.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// How many blocks a pool keeps for another use. More can be in use; those are freed when they come back.
const KEPT_MAX: usize = 4;

/// The blocks of one reader.
#[derive(Debug)]
pub struct BlockPool {
    capacity: usize,
    blocks: Vec<Arc<Block>>,
    allocated: u64,
}

impl BlockPool {
    /// A pool of blocks that hold `capacity` bytes each.
    pub fn new(capacity: usize) -> BlockPool {
        BlockPool { capacity, blocks: Vec::with_capacity(KEPT_MAX), allocated: 0 }
    }

    /// Size of an ordinary block.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many blocks were allocated so far.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// A block of at least `capacity` bytes that the caller alone owns.
    pub fn take(&mut self, capacity: usize) -> Arc<Block> {
        if capacity <= self.capacity
            && let Some(at) = self.blocks.iter_mut().position(is_unique)
        {
            return self.blocks.swap_remove(at);
        }
        self.allocated += 1;
        Block::with_capacity(capacity.max(self.capacity))
    }

    /// Makes `block` one of at least `capacity` bytes that the caller alone owns: the same one where that is so,
    /// else another, and the old one is kept for when its last user has let go.
    pub fn renew(&mut self, block: &mut Arc<Block>, capacity: usize) {
        let wanted = capacity.max(self.capacity);
        if block.capacity() == wanted && is_unique(block) {
            return;
        }
        let old = std::mem::replace(block, self.take(capacity));
        // One of more than the ordinary size was for a single large entry, and is not kept.
        if old.capacity() == self.capacity && self.blocks.len() < KEPT_MAX {
            self.blocks.push(old);
        }
    }
}

/// Whether nobody else holds the block.
fn is_unique(block: &mut Arc<Block>) -> bool {
    Arc::get_mut(block).is_some()
}

/// The bytes of a block, to be read into; `None` when somebody else holds the block, too.
pub fn writable(block: &mut Arc<Block>) -> Option<&mut [u8]> {
    Arc::get_mut(block).map(|block| &mut block.bytes[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_reused_only_when_nobody_else_holds_it() {
        let mut pool = BlockPool::new(64);
        let mut block = pool.take(64);
        let first = block.bytes().as_ptr();
        let held = Arc::clone(&block);
        pool.renew(&mut block, 64);
        assert_ne!(block.bytes().as_ptr(), first);
        drop(held);
        let second = Arc::clone(&block);
        pool.renew(&mut block, 64);
        assert_eq!(block.bytes().as_ptr(), first, "the freed block is handed out again");
        drop(second);
        assert_eq!(pool.allocated(), 2);
        pool.renew(&mut block, 64);
        assert_eq!(block.bytes().as_ptr(), first, "nobody else holds it: it stays");
    }

    #[test]
    fn a_block_for_a_large_entry_is_not_kept_for_small_ones() {
        let mut pool = BlockPool::new(64);
        let mut block = pool.take(1000);
        assert_eq!(block.capacity(), 1000);
        pool.renew(&mut block, 64);
        assert_eq!(block.capacity(), 64);
        assert!(pool.blocks.is_empty());
    }

    #[test]
    fn a_pool_keeps_a_bounded_number_of_blocks() {
        let mut pool = BlockPool::new(64);
        let mut held = Vec::new();
        let mut block = pool.take(64);
        for _ in 0..20 {
            held.push(Arc::clone(&block));
            pool.renew(&mut block, 64);
        }
        assert_eq!(pool.blocks.len(), KEPT_MAX);
    }
}
