//! Chunks: the bytes of many frames, laid out once, immutable, shared, ready to send.
//!
//! A frame's bytes are the same for every replica, so a chunk is filled once and then sent by whoever needs it: a
//! send is "these pieces from this byte on", a partial send is a number, and sharing is the clone of a pointer. Small
//! payloads are packed together behind their prefixes; large ones are referred to in the block that they were read
//! into, and never copied.

pub mod fill;
pub mod frame;

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::log::Entry;
use crate::log::block::Block;
use frame::frame_prefix;

/// One piece of a chunk's bytes.
#[derive(Debug)]
enum Piece {
    /// A range of the chunk's own bytes.
    Packed(Range<usize>),
    /// A range of a block of the log.
    Shared(Arc<Block>, Range<usize>),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Packed(range) | Piece::Shared(_, range) => range.len(),
        }
    }
}

/// Where a frame ends in its chunk.
#[derive(Clone, Copy, Debug)]
struct Mark {
    vlsn: u64,
    end: u64,
}

/// Frames, ready to send.
#[derive(Debug, Default)]
pub struct Chunk {
    packed: Vec<u8>,
    pieces: Vec<Piece>,
    marks: Vec<Mark>,
    len: u64,
}

/// When a chunk is full, and what is packed into it.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimits {
    /// It takes no more frames when it has so many bytes.
    pub bytes: usize,
    /// It takes no more frames when it has so many.
    pub frames_max: usize,
    /// Payloads of this length and above are referred to, where that is possible.
    pub share_from: usize,
}

impl Default for ChunkLimits {
    /// 256 KiB are enough that a system call costs nothing against them, and few enough to stay in a core's cache.
    fn default() -> ChunkLimits {
        ChunkLimits { bytes: 256 * 1024, frames_max: 16 * 1024, share_from: 4096 }
    }
}

impl Chunk {
    /// How many bytes its frames have, with the length before each.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no frames.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// How many frames it has.
    pub fn frames(&self) -> usize {
        self.marks.len()
    }

    /// The VLSN of its last frame.
    pub fn last_vlsn(&self) -> Option<u64> {
        self.marks.last().map(|mark| mark.vlsn)
    }

    /// Whether it takes no more frames.
    pub fn is_full(&self, limits: &ChunkLimits) -> bool {
        self.len >= limits.bytes as u64 || self.marks.len() >= limits.frames_max
    }

    /// Appends the frame of an entry. Nothing is appended on error: the entry is too large for any frame.
    #[inline]
    pub fn push(&mut self, entry: &Entry<'_>, limits: &ChunkLimits) -> Result<()> {
        let prefix = frame_prefix(entry.vlsn, entry.entry_type, entry.payload.len(), entry.payload_crc)?;
        self.pack(&prefix);
        match entry.block {
            Some(block) if entry.payload.len() >= limits.share_from => {
                let begin = entry.payload.as_ptr().addr() - block.bytes().as_ptr().addr();
                self.pieces.push(Piece::Shared(Arc::clone(block), begin..begin + entry.payload.len()));
            }
            _ => self.pack(entry.payload),
        }
        self.len += (prefix.len() + entry.payload.len()) as u64;
        self.marks.push(Mark { vlsn: entry.vlsn, end: self.len });
        Ok(())
    }

    #[inline]
    fn pack(&mut self, bytes: &[u8]) {
        let begin = self.packed.len();
        self.packed.extend_from_slice(bytes);
        let end = self.packed.len();
        match self.pieces.last_mut() {
            Some(Piece::Packed(last)) if last.end == begin => last.end = end,
            _ => self.pieces.push(Piece::Packed(begin..end)),
        }
    }

    /// Makes it empty and keeps its memory, up to what an ordinary chunk needs.
    pub fn clear(&mut self, limits: &ChunkLimits) {
        self.packed.clear();
        self.packed.shrink_to(2 * limits.bytes);
        self.pieces.clear();
        self.marks.clear();
        self.len = 0;
    }

    /// Puts the pieces from byte `from` on into `into`, as many as it has room for; returns how many.
    pub fn gather<'a>(&'a self, from: u64, into: &mut [IoSlice<'a>]) -> usize {
        let mut skip = from;
        let mut count = 0;
        for piece in &self.pieces {
            let len = piece.len() as u64;
            if skip >= len {
                skip -= len;
                continue;
            }
            let Some(place) = into.get_mut(count) else {
                break;
            };
            let bytes = match piece {
                Piece::Packed(range) => &self.packed[range.clone()],
                Piece::Shared(block, range) => &block.bytes()[range.clone()],
            };
            let begin = skip as usize;
            *place = IoSlice::new(&bytes[begin..]);
            count += 1;
            skip = 0;
        }
        count
    }

    /// How many frames end at or before byte `to`, and the VLSN of the last of them.
    pub fn frames_until(&self, to: u64) -> (usize, Option<u64>) {
        let count = self.marks.partition_point(|mark| mark.end <= to);
        (count, count.checked_sub(1).map(|last| self.marks[last].vlsn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Lsn;
    use frame::{FRAME_PREFIX_LEN, Frame};

    const LIMITS: ChunkLimits = ChunkLimits { bytes: 1000, frames_max: 100, share_from: 64 };

    fn entry<'a>(vlsn: u64, payload: &'a [u8], block: Option<&'a Arc<Block>>) -> Entry<'a> {
        let payload_crc = crc32fast::hash(payload);
        Entry { vlsn, lsn: Lsn::new(0, 36), entry_type: 13, payload, payload_crc, block }
    }

    fn bytes_from(chunk: &Chunk, from: u64) -> Vec<u8> {
        let mut pieces = [IoSlice::new(&[]); 64];
        let count = chunk.gather(from, &mut pieces);
        pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect()
    }

    /// The VLSNs and payloads of a stream of messages.
    fn decode(mut stream: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some((len, rest)) = stream.split_first_chunk::<4>() {
            let (message, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
            let frame = Frame::decode(message).unwrap();
            frames.push((frame.vlsn, frame.payload.to_vec()));
            stream = rest;
        }
        frames
    }

    fn block_of(bytes: &[u8]) -> Arc<Block> {
        let mut block = crate::log::block::BlockPool::new(bytes.len()).take(bytes.len());
        crate::log::block::writable(&mut block, 0).unwrap().copy_from_slice(bytes);
        block
    }

    #[test]
    fn packed_and_shared_payloads_make_one_stream_from_any_byte_on() {
        let block = block_of(&[7; 300]);
        let mut chunk = Chunk::default();
        chunk.push(&entry(5, b"small", None), &LIMITS).unwrap();
        chunk.push(&entry(6, &block.bytes()[100..200], Some(&block)), &LIMITS).unwrap();
        chunk.push(&entry(7, &block.bytes()[0..10], Some(&block)), &LIMITS).unwrap();
        chunk.push(&entry(8, b"", None), &LIMITS).unwrap();
        let whole = bytes_from(&chunk, 0);
        assert_eq!(whole.len() as u64, chunk.len());
        let expected = [(5, b"small".to_vec()), (6, vec![7; 100]), (7, vec![7; 10]), (8, Vec::new())];
        assert_eq!(decode(&whole), expected);
        for from in 0..=whole.len() {
            assert_eq!(bytes_from(&chunk, from as u64), whole[from..], "from byte {from}");
        }
        assert_eq!(Arc::strong_count(&block), 2, "only the large payload is referred to");
    }

    #[test]
    fn a_frame_counts_as_sent_with_its_last_byte() {
        let mut chunk = Chunk::default();
        chunk.push(&entry(5, b"ab", None), &LIMITS).unwrap();
        chunk.push(&entry(6, b"", None), &LIMITS).unwrap();
        assert_eq!(chunk.frames_until(0), (0, None));
        assert_eq!(chunk.frames_until(22), (0, None));
        assert_eq!(chunk.frames_until(23), (1, Some(5)));
        assert_eq!(chunk.frames_until(43), (1, Some(5)));
        assert_eq!(chunk.frames_until(44), (2, Some(6)));
    }

    #[test]
    fn a_chunk_is_full_by_bytes_or_by_frames_and_can_be_used_again() {
        let mut chunk = Chunk::default();
        while !chunk.is_full(&LIMITS) {
            chunk.push(&entry(1, b"", None), &LIMITS).unwrap();
        }
        assert_eq!(chunk.frames(), 1000usize.div_ceil(FRAME_PREFIX_LEN));
        chunk.clear(&LIMITS);
        assert!(chunk.is_empty());
        assert_eq!((chunk.len(), chunk.last_vlsn()), (0, None));
        let few = ChunkLimits { frames_max: 3, ..LIMITS };
        while !chunk.is_full(&few) {
            chunk.push(&entry(1, b"", None), &few).unwrap();
        }
        assert_eq!(chunk.frames(), 3);
    }

    #[test]
    fn no_more_pieces_are_gathered_than_asked_for() {
        let block = block_of(&[7; 300]);
        let mut chunk = Chunk::default();
        for vlsn in 1..=10 {
            chunk.push(&entry(vlsn, &block.bytes()[0..100], Some(&block)), &LIMITS).unwrap();
        }
        let mut pieces = [IoSlice::new(&[]); 3];
        assert_eq!(chunk.gather(0, &mut pieces), 3);
    }
}
