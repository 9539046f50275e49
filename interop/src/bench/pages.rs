//! Buffers for the kernel to copy into and out of, at the beginning of a page. Memory as it comes from an allocator is
//! 16 bytes behind it, and where a copy's destination is 1 to 31 bytes behind its source modulo a page, some processors
//! take ten times as long: neither the limit nor the sink, which all senders have in common, is to suffer from that.

use std::ops::{Deref, DerefMut};

const PAGE: usize = 4096;

/// See the module's comment.
pub struct Pages {
    memory: Vec<u8>,
    begin: usize,
    len: usize,
}

impl Pages {
    /// So many bytes, all zero.
    pub fn new(len: usize) -> Self {
        let memory = vec![0; len + PAGE];
        let begin = memory.as_ptr().align_offset(PAGE).min(PAGE);
        Self { memory, begin, len }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.begin..self.begin + self.len]
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..self.begin + self.len]
    }
}
