//! Chunks: the bytes of many frames, laid out once, immutable, shared, ready to send.
//!
//! A frame's bytes are the same for every replica, so a chunk is filled once and can be sent to each. A send takes the
//! pieces from some byte on, a partial send moves that byte, and sharing a chunk clones a pointer. Small payloads are
//! copied behind their prefixes. Large payloads are not copied: the chunk refers to the block that they were read into.
//! If they are too small a part of that block, they are copied after all, so that the block's memory is not held for
//! little.

pub mod fill;

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::Entry;
use crate::log::block::{Block, InBlock};
use crate::memory::{self, NoMemory};
use crate::wire::frame::frame_prefix;

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
    /// The block referred to last: its first piece, and how many of its bytes are referred to.
    last_block_from: usize,
    last_block_bytes: usize,
}

/// If a chunk sends less than one part in `BLOCK_USE_MIN` of a block, the chunk does not hold the block. Otherwise a
/// log with few entries for the replica would hold a whole block for each of them.
const BLOCK_USE_MIN: usize = 4;

/// When a chunk is full, and which payloads are copied into it.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLimits {
    /// With this many bytes the chunk is full.
    pub bytes: usize,
    /// With this many frames the chunk is full.
    pub frames_max: usize,
    /// A chunk of fewer bytes is sent before the source reads again. An entry that was just committed must not wait for
    /// the system calls that find that there are no more.
    pub send_first: u64,
    /// Payloads of this length and above are referred to and not copied, where that is possible.
    pub share_from: usize,
}

impl Default for ChunkLimits {
    /// 1 MiB keeps a receiver on another core busy while the next chunk is read and laid out. To wake a halted core
    /// costs more than the cache misses of so large a chunk.
    fn default() -> ChunkLimits {
        ChunkLimits { bytes: 1024 * 1024, frames_max: 16 * 1024, send_first: 64 * 1024, share_from: 4096 }
    }
}

impl Chunk {
    /// How many bytes its frames have, each with the length field before it.
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

    /// The VLSN of its first frame.
    pub fn first_vlsn(&self) -> Option<u64> {
        self.marks.first().map(|mark| mark.vlsn)
    }

    /// The VLSN of its last frame.
    pub fn last_vlsn(&self) -> Option<u64> {
        self.marks.last().map(|mark| mark.vlsn)
    }

    /// The VLSN of its frame `index`, counted from 0.
    pub fn vlsn_of(&self, index: usize) -> Option<u64> {
        self.marks.get(index).map(|mark| mark.vlsn)
    }

    /// Whether it takes no more frames.
    pub fn is_full(&self, limits: &ChunkLimits) -> bool {
        self.len >= limits.bytes as u64 || self.marks.len() >= limits.frames_max
    }

    /// Appends the frame of an entry. Errors, with nothing appended: the entry is too large for a frame, or there is no
    /// memory for it.
    #[inline]
    pub fn push(&mut self, entry: &Entry<'_>, limits: &ChunkLimits) -> Result<()> {
        let prefix = frame_prefix(entry.vlsn, entry.entry_type, entry.payload.len(), entry.payload_crc)?;
        let shared = entry.block.filter(|_| entry.payload.len() >= limits.share_from);
        let packed = if shared.is_some() { prefix.len() } else { prefix.len() + entry.payload.len() };
        if let Err(none) = self.make_room(packed) {
            return Err(Error::no_memory(none, "a frame", Some(entry.lsn), Some(entry.vlsn)));
        }
        match shared {
            Some(InBlock { block, begin }) => {
                self.pack(&prefix, &[]);
                self.share(block, begin..begin + entry.payload.len());
            }
            None => self.pack(&prefix, entry.payload),
        }
        self.len += (prefix.len() + entry.payload.len()) as u64;
        self.marks.push(Mark { vlsn: entry.vlsn, end: self.len });
        Ok(())
    }

    /// Makes room for a frame of which `packed` bytes are copied.
    #[inline]
    fn make_room(&mut self, packed: usize) -> Result<(), NoMemory> {
        memory::reserve(&mut self.packed, packed)?;
        // One piece for the prefix, one for the payload.
        memory::reserve(&mut self.pieces, 2)?;
        memory::reserve(&mut self.marks, 1)
    }

    /// Refers to the payload that stands in this range of `block`.
    fn share(&mut self, block: &Arc<Block>, range: Range<usize>) {
        if !matches!(self.pieces.get(self.last_block_from), Some(Piece::Shared(last, _)) if Arc::ptr_eq(last, block)) {
            self.settle();
            self.last_block_from = self.pieces.len();
        }
        self.last_block_bytes += range.len();
        self.pieces.push(Piece::Shared(Arc::clone(block), range));
    }

    /// To be called after the last push. Lets go of the block referred to last, if the chunk uses too little of it.
    pub fn settle(&mut self) {
        let Chunk { packed, pieces, last_block_from, last_block_bytes, .. } = self;
        let used = std::mem::take(last_block_bytes);
        let capacity = match pieces.get(*last_block_from) {
            Some(Piece::Shared(block, _)) => block.capacity(),
            _ => 0,
        };
        // Reserves the most that such a copy can need, so that the next one finds room. Without memory the block stays.
        if used < capacity / BLOCK_USE_MIN && memory::reserve(packed, capacity / BLOCK_USE_MIN).is_ok() {
            for piece in &mut pieces[*last_block_from..] {
                if let Piece::Shared(block, range) = piece {
                    let begin = packed.len();
                    packed.extend_from_slice(&block.bytes()[range.clone()]);
                    *piece = Piece::Packed(begin..packed.len());
                }
            }
        }
        *last_block_from = pieces.len();
    }

    #[inline]
    fn pack(&mut self, prefix: &[u8], payload: &[u8]) {
        let begin = self.packed.len();
        self.packed.extend_from_slice(prefix);
        self.packed.extend_from_slice(payload);
        let end = self.packed.len();
        match self.pieces.last_mut() {
            Some(Piece::Packed(last)) if last.end == begin => last.end = end,
            _ => self.pieces.push(Piece::Packed(begin..end)),
        }
    }

    /// Empties the chunk. Keeps its memory, up to the size that an ordinary chunk needs.
    pub fn clear(&mut self, limits: &ChunkLimits) {
        self.packed.clear();
        if self.packed.capacity() > 2 * limits.bytes {
            self.packed = Vec::new();
        }
        self.pieces.clear();
        self.marks.clear();
        self.len = 0;
        self.last_block_from = 0;
        self.last_block_bytes = 0;
    }

    /// How many bytes of memory it holds: its own, and the blocks that it refers to. Chunks that refer to one block count
    /// it each.
    pub fn memory(&self) -> usize {
        let own = self.packed.capacity()
            + self.pieces.capacity() * size_of::<Piece>()
            + self.marks.capacity() * size_of::<Mark>();
        let mut last: Option<&Arc<Block>> = None;
        let mut blocks = 0;
        for piece in &self.pieces {
            if let Piece::Shared(block, _) = piece
                && last.replace(block).is_none_or(|last| !Arc::ptr_eq(last, block))
            {
                blocks += block.capacity();
            }
        }
        own + blocks
    }

    /// Gives back memory of its own that its frames do not need, if that is the larger part. Without memory to move what
    /// is left it stays as it is.
    pub fn shrink(&mut self) {
        shrink(&mut self.packed);
        shrink(&mut self.pieces);
        shrink(&mut self.marks);
    }

    /// At which of its bytes the first frame begins whose VLSN is at least `vlsn`.
    pub fn begin_of(&self, vlsn: u64) -> u64 {
        let before = self.marks.partition_point(|mark| mark.vlsn < vlsn);
        before.checked_sub(1).map_or(0, |last| self.marks[last].end)
    }

    /// Puts the pieces from byte `from` on into `into`, as many as there is room for. Returns how many.
    pub fn gather<'a>(&'a self, from: u64, into: &mut [IoSlice<'a>]) -> usize {
        self.gather_some(from, u64::MAX, into)
    }

    /// The same for `most` bytes at most.
    pub fn gather_some<'a>(&'a self, from: u64, most: u64, into: &mut [IoSlice<'a>]) -> usize {
        let mut skip = from;
        let mut left = most;
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
            let bytes = &bytes[skip as usize..];
            if left < bytes.len() as u64 {
                if left > 0 {
                    *place = IoSlice::new(&bytes[..left as usize]);
                    count += 1;
                }
                break;
            }
            *place = IoSlice::new(bytes);
            count += 1;
            left -= bytes.len() as u64;
            skip = 0;
        }
        count
    }

    /// The end of the frame that reaches byte `to`; `to` itself if it is where a frame ends or the first begins.
    pub fn frame_end(&self, to: u64) -> u64 {
        let end = || self.marks.get(self.marks.partition_point(|mark| mark.end < to)).map_or(self.len, |mark| mark.end);
        if to == 0 { 0 } else { end() }
    }

    /// How many frames end at or before byte `to`, and the VLSN of the last of them.
    pub fn frames_until(&self, to: u64) -> (usize, Option<u64>) {
        let count = self.marks.partition_point(|mark| mark.end <= to);
        (count, count.checked_sub(1).map(|last| self.marks[last].vlsn))
    }
}

/// So much that is not needed is not worth being given back, in bytes.
const SLACK: usize = 4096;

fn shrink<T>(items: &mut Vec<T>) {
    if (items.capacity() - items.len()) * size_of::<T>() > items.len() * size_of::<T>() + SLACK {
        let mut fewer = Vec::new();
        if memory::reserve(&mut fewer, items.len()).is_ok() {
            fewer.append(items);
            *items = fewer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Lsn;
    use crate::wire::frame::{FRAME_PREFIX_LEN, Frame};

    const LIMITS: ChunkLimits = ChunkLimits { bytes: 1000, frames_max: 100, send_first: 0, share_from: 64 };

    fn entry(vlsn: u64, payload: &[u8]) -> Entry<'_> {
        let payload_crc = crc32fast::hash(payload);
        Entry { vlsn, lsn: Lsn::new(0, 36), entry_type: 13, payload, payload_crc, block: None }
    }

    fn entry_in(block: &Arc<Block>, vlsn: u64, range: Range<usize>) -> Entry<'_> {
        let begin = range.start;
        Entry { block: Some(InBlock { block, begin }), ..entry(vlsn, &block.bytes()[range]) }
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
        let mut block = crate::log::block::BlockPool::new(bytes.len()).take(bytes.len()).unwrap();
        crate::log::block::writable(&mut block, 0).unwrap().copy_from_slice(bytes);
        block
    }

    #[test]
    fn packed_and_shared_payloads_make_one_stream_from_any_byte_on() {
        let block = block_of(&[7; 300]);
        let mut chunk = Chunk::default();
        chunk.push(&entry(5, b"small"), &LIMITS).unwrap();
        chunk.push(&entry_in(&block, 6, 100..200), &LIMITS).unwrap();
        chunk.push(&entry_in(&block, 7, 0..10), &LIMITS).unwrap();
        chunk.push(&entry(8, b""), &LIMITS).unwrap();
        let whole = bytes_from(&chunk, 0);
        assert_eq!(whole.len() as u64, chunk.len());
        let expected = [(5, b"small".to_vec()), (6, vec![7; 100]), (7, vec![7; 10]), (8, Vec::new())];
        assert_eq!(decode(&whole), expected);
        let ends: Vec<u64> = (1..=4).map(|frame| chunk.marks[frame - 1].end).collect();
        for from in 0..=whole.len() {
            assert_eq!(bytes_from(&chunk, from as u64), whole[from..], "from byte {from}");
            for most in [0, 1, 3, 30, 99, 1000] {
                let mut pieces = [IoSlice::new(&[]); 64];
                let count = chunk.gather_some(from as u64, most, &mut pieces);
                assert!(pieces[..count].iter().all(|piece| !piece.is_empty()));
                let some: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect();
                assert_eq!(some, whole[from..(from + most as usize).min(whole.len())], "{most} from byte {from}");
            }
            let end = if from == 0 { 0 } else { *ends.iter().find(|end| **end >= from as u64).unwrap() };
            assert_eq!(chunk.frame_end(from as u64), end, "byte {from}");
        }
        assert_eq!(Arc::strong_count(&block), 2, "only the large payload is referred to");
    }

    #[test]
    fn a_block_is_held_only_for_what_is_worth_it() {
        let (first, second, third) = (block_of(&[1; 1000]), block_of(&[2; 1000]), block_of(&[3; 1000]));
        let mut chunk = Chunk::default();
        let mut vlsn = 0;
        let mut push = |chunk: &mut Chunk, block: &Arc<Block>, len: usize| {
            vlsn += 1;
            chunk.push(&entry_in(block, vlsn, 100..100 + len), &LIMITS).unwrap();
        };
        push(&mut chunk, &first, 120);
        push(&mut chunk, &first, 129);
        push(&mut chunk, &second, 125);
        assert_eq!(Arc::strong_count(&first), 1, "249 of 1000 bytes are no reason");
        push(&mut chunk, &second, 125);
        push(&mut chunk, &third, 249);
        chunk.settle();
        assert_eq!(Arc::strong_count(&second), 3, "250 of 1000 bytes are one");
        assert_eq!(Arc::strong_count(&third), 1, "the last is settled, too");
        let whole = bytes_from(&chunk, 0);
        let lens = [(1, 120), (1, 129), (2, 125), (2, 125), (3, 249)];
        let expected: Vec<_> = (1..).zip(lens).map(|(vlsn, (byte, len))| (vlsn, vec![byte; len])).collect();
        assert_eq!(decode(&whole), expected);
        for from in 0..=whole.len() {
            assert_eq!(bytes_from(&chunk, from as u64), whole[from..], "from byte {from}");
        }
        chunk.clear(&LIMITS);
        assert_eq!(Arc::strong_count(&second), 1);
        push(&mut chunk, &second, 250);
        chunk.settle();
        assert_eq!(Arc::strong_count(&second), 2, "what it was is forgotten");
    }

    #[test]
    fn a_frame_counts_as_sent_with_its_last_byte() {
        let mut chunk = Chunk::default();
        chunk.push(&entry(5, b"ab"), &LIMITS).unwrap();
        chunk.push(&entry(6, b""), &LIMITS).unwrap();
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
            chunk.push(&entry(1, b""), &LIMITS).unwrap();
        }
        assert_eq!(chunk.frames(), 1000usize.div_ceil(FRAME_PREFIX_LEN));
        chunk.clear(&LIMITS);
        assert!(chunk.is_empty());
        assert_eq!((chunk.len(), chunk.last_vlsn()), (0, None));
        let few = ChunkLimits { frames_max: 3, ..LIMITS };
        while !chunk.is_full(&few) {
            chunk.push(&entry(1, b""), &few).unwrap();
        }
        assert_eq!(chunk.frames(), 3);
    }

    #[test]
    fn a_chunk_is_begun_at_the_first_frame_that_is_wanted() {
        let mut chunk = Chunk::default();
        [5, 6, 9].iter().for_each(|&vlsn| chunk.push(&entry(vlsn, b"ab"), &LIMITS).unwrap());
        let begins = [0, 5, 6, 7, 9, 10].map(|vlsn| chunk.begin_of(vlsn));
        assert_eq!(begins, [0, 0, 23, 46, 46, 69]);
    }

    #[test]
    fn memory_counts_each_block_once_and_what_is_not_needed_is_given_back() {
        let (first, second) = (block_of(&[7; 3000]), block_of(&[8; 5000]));
        let mut chunk = Chunk::default();
        chunk.push(&entry(1, &[1; 200_000]), &LIMITS).unwrap();
        let largest = chunk.memory();
        assert!(largest >= 200_000);
        chunk.clear(&ChunkLimits { bytes: 200_000, ..LIMITS });
        for (vlsn, block) in [(2, &first), (3, &first), (4, &second)] {
            chunk.push(&entry_in(block, vlsn, 0..2000), &LIMITS).unwrap();
        }
        let before = bytes_from(&chunk, 0);
        assert!(chunk.memory() >= largest + 8000, "{}", chunk.memory());
        chunk.shrink();
        assert!(chunk.memory() < 8000 + 2 * SLACK, "{}", chunk.memory());
        assert_eq!(bytes_from(&chunk, 0), before);
    }

    #[test]
    fn no_more_pieces_are_gathered_than_asked_for() {
        let block = block_of(&[7; 300]);
        let mut chunk = Chunk::default();
        for vlsn in 1..=10 {
            chunk.push(&entry_in(&block, vlsn, 0..100), &LIMITS).unwrap();
        }
        let mut pieces = [IoSlice::new(&[]); 3];
        assert_eq!(chunk.gather(0, &mut pieces), 3);
    }
}
