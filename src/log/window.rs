//! A window on one log file: the bytes of one large read, and the entries in them, parsed and checked in place.
//!
//! The window verifies what a single entry can tell of itself: length, type, checksum. Whether it is the right
//! entry at the right place, and what it means that there is none, is left to the caller.

use std::ops::Range;
use std::sync::Arc;

use super::block::{self, Block, BlockPool};
use super::budget::Budget;
use super::checksum::Checksummer;
use super::files::NumberedFile;
use super::format::{ENTRY_HEADER_LEN, ENTRY_HEADER_LEN_VLSN, EntryHeader, ParsedEntryHeader};
use crate::error::Result;

/// What stands at an offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// A whole entry whose checksum holds.
    Entry(Sighted),
    /// The window ends first: `needed` bytes from the offset on are wanted, as far as that can be told.
    Short {
        /// Bytes from the offset on that have to be in the window to tell more.
        needed: usize,
    },
    /// Entry type 0.
    Zero,
    /// An item size above the limit.
    Oversize(u32),
    /// The checksum fails. The header is as read, and no field of it can be trusted.
    Checksum {
        /// As stored.
        stored: u32,
        /// Of the bytes.
        computed: u32,
        /// What the VLSN field holds.
        vlsn: Option<i64>,
    },
}

impl Look {
    /// What the VLSN field holds, if that could be a VLSN.
    pub fn vlsn(&self) -> Option<u64> {
        let vlsn = match self {
            Look::Checksum { vlsn, .. } => *vlsn,
            Look::Entry(entry) => entry.header.vlsn,
            _ => None,
        };
        vlsn.and_then(|vlsn| u64::try_from(vlsn).ok())
    }
}

/// A whole entry in the window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighted {
    /// Its header.
    pub header: EntryHeader,
    /// Where in the block its payload is.
    pub payload: Range<usize>,
    /// CRC-32 of the payload alone.
    pub payload_crc: u32,
}

impl Sighted {
    /// The VLSN of an entry that a replica should get: one that has a VLSN, and was not rolled back.
    pub fn vlsn_to_send(&self) -> Option<u64> {
        let vlsn = self.header.vlsn.filter(|_| !self.header.is_invisible())?;
        u64::try_from(vlsn).ok().filter(|&vlsn| vlsn > 0)
    }
}

/// Entries that a window has shown, kept after its next read.
#[derive(Debug)]
pub struct Passage {
    block: Arc<Block>,
    /// Where in the file the bytes begin, and where what was shown ends.
    range: Range<u64>,
}

impl Passage {
    /// The block that the ranges are of.
    #[inline]
    pub fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// The header of the entry that was shown at `offset`, and where its payload is.
    #[inline]
    pub fn entry(&self, offset: u64) -> Option<(EntryHeader, Range<usize>)> {
        shown_entry(&self.block, &self.range, offset)
    }
}

/// An entry among the bytes of `range`, which `block` holds and which were checked as they are. Only its header is parsed.
#[inline]
fn shown_entry(block: &Block, range: &Range<u64>, offset: u64) -> Option<(EntryHeader, Range<usize>)> {
    if !range.contains(&offset) {
        return None;
    }
    let begin = block::place(range.start);
    let (at, end) = (begin + (offset - range.start) as usize, begin + (range.end - range.start) as usize);
    let ParsedEntryHeader::Header(header) = EntryHeader::parse(&block.bytes()[at..end]) else { return None };
    let payload = at + header.len()..at + header.entry_len();
    (payload.end <= end).then_some((header, payload))
}

/// Entries below this length, on average, are small.
const SMALL_ENTRY: usize = 2048;

/// How much is read at once of small entries.
const SMALL_ENTRIES_BYTES: usize = 256 * 1024;

/// The bytes of one read of one file. The caller knows of which file.
#[derive(Debug)]
pub struct Window {
    pool: BlockPool,
    block: Arc<Block>,
    /// Where in the file the bytes that were read begin.
    base: u64,
    /// How many bytes were read.
    filled: usize,
    checksummer: Checksummer,
    /// Charged for each read.
    budget: Budget,
}

impl Window {
    /// A window that reads `capacity` bytes at once, and more only for an entry that is larger; out of `budget`.
    pub fn new(capacity: usize, budget: Budget) -> Window {
        let pool = BlockPool::new(capacity);
        Window { pool, block: Block::empty(), base: 0, filled: 0, checksummer: Checksummer::default(), budget }
    }

    /// Drops what was read: the next look finds nothing.
    pub fn forget(&mut self) {
        self.filled = 0;
    }

    /// The block that the ranges of a [`Sighted`] are of, until the next [`read`](Self::read).
    #[inline]
    pub fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// The bytes from `offset` to the end of the window; empty when `offset` is outside.
    #[inline]
    pub fn from(&self, offset: u64) -> &[u8] {
        self.range_from(offset).map_or(&[], |range| &self.block.bytes()[range])
    }

    #[inline]
    fn range_from(&self, offset: u64) -> Option<Range<usize>> {
        let at = usize::try_from(offset.checked_sub(self.base)?).ok()?;
        let begin = block::place(self.base);
        (at < self.filled).then_some(begin + at..begin + self.filled)
    }

    /// Whether the window has as many bytes from `offset` on as the header there announces. No checksum is looked at.
    #[inline]
    pub fn has_entry_len(&self, offset: u64) -> bool {
        let bytes = self.from(offset);
        match EntryHeader::parse(bytes) {
            ParsedEntryHeader::Header(header) => bytes.len() >= header.entry_len(),
            _ => false,
        }
    }

    /// What stands at `offset`, as far as the window shows it. No reading.
    #[inline(always)]
    pub fn look(&self, offset: u64) -> Look {
        let Some(range) = self.range_from(offset) else {
            return Look::Short { needed: ENTRY_HEADER_LEN };
        };
        let begin = range.start;
        let bytes = &self.block.bytes()[range];
        let header = match EntryHeader::parse(bytes) {
            ParsedEntryHeader::Header(header) => header,
            ParsedEntryHeader::Short(needed) => return Look::Short { needed },
            ParsedEntryHeader::Zero => return Look::Zero,
            ParsedEntryHeader::Oversize(size) => return Look::Oversize(size),
        };
        let entry_len = header.entry_len();
        if bytes.len() < entry_len {
            return Look::Short { needed: entry_len };
        }
        let sums = self.checksummer.of(&bytes[..entry_len], header.len());
        if sums.entry != header.checksum {
            return Look::Checksum { stored: header.checksum, computed: sums.entry, vlsn: header.vlsn };
        }
        let payload = begin + header.len()..begin + entry_len;
        Look::Entry(Sighted { header, payload, payload_crc: sums.payload })
    }

    /// The header of the entry at `offset`, which was shown before, as all were from the window's beginning up to `until`,
    /// and where its payload is.
    #[inline]
    pub fn shown(&self, offset: u64, until: u64) -> Option<(EntryHeader, Range<usize>)> {
        let until = until.min(self.base + self.filled as u64);
        shown_entry(&self.block, &(self.base..until), offset)
    }

    /// What was shown up to `until`, to be kept when the window goes on. None if that is nothing.
    pub fn passage(&self, until: u64) -> Option<Passage> {
        let range = self.base..until.min(self.base + self.filled as u64);
        (!range.is_empty()).then(|| Passage { block: Arc::clone(&self.block), range })
    }

    /// What stands at `offset`, with as much of it read as it takes to tell; `read` bytes were read there at least.
    pub fn look_reading(&mut self, file: &NumberedFile, offset: u64, read: usize) -> Result<Look> {
        let mut read = read;
        loop {
            match self.look(offset) {
                Look::Short { needed } if needed > read => {
                    self.read(file, offset, needed)?;
                    read = needed;
                }
                look => return Ok(look),
            }
        }
    }

    /// Reads anew from `offset` on, as much as the window holds and at least `needed` bytes if the file has them.
    /// One read call, except where the file is longer than one entry of it fits into an ordinary window.
    pub fn read(&mut self, file: &NumberedFile, offset: u64, needed: usize) -> Result<()> {
        self.read_at_most(file, offset, needed, usize::MAX)
    }

    /// The same, but no more than `most` bytes where they are enough.
    pub fn read_at_most(&mut self, file: &NumberedFile, offset: u64, needed: usize, most: usize) -> Result<()> {
        self.read_into_block(file, offset, self.pool.capacity(), needed, most.max(needed))?;
        if needed > self.filled && self.filled == self.block.capacity() {
            // Trust a length that is read from a file only as far as the file itself is long.
            let present = usize::try_from(file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
            if present >= needed {
                self.read_into_block(file, offset, needed, needed, needed)?;
            }
        }
        Ok(())
    }

    fn read_into_block(
        &mut self,
        file: &NumberedFile,
        offset: u64,
        capacity: usize,
        least: usize,
        most: usize,
    ) -> Result<()> {
        self.filled = 0;
        self.base = offset;
        self.pool.renew(&mut self.block, capacity).map_err(|none| file.failed_at(offset, none))?;
        let bytes = block::writable(&mut self.block, offset).expect("a renewed block has one owner");
        let most = most.min(bytes.len());
        self.filled = file.read_some_at(&mut bytes[..most], offset, least)?;
        self.budget.spend(self.filled as u64);
        Ok(())
    }

    /// How much to read next, from `offset` on, where `entries` were found in what was read last: as much as serves.
    ///
    /// Of a large entry that is not wholly there: just that, as what would follow it would be read twice. Small entries
    /// are copied on, and then it is better if what was read is still in the core's own cache.
    pub fn read_next(&self, offset: u64, entries: usize) -> usize {
        if let ParsedEntryHeader::Header(header) = EntryHeader::parse(self.from(offset))
            && header.entry_len() > self.capacity() / 2
        {
            return header.entry_len() + ENTRY_HEADER_LEN_VLSN;
        }
        if self.filled < entries * SMALL_ENTRY { SMALL_ENTRIES_BYTES } else { usize::MAX }
    }

    /// How many bytes an ordinary read brings.
    pub fn capacity(&self) -> usize {
        self.pool.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::{FLAG_INVISIBLE, MAX_ITEM_SIZE};
    use crate::log::test_disk::{MemoryFile, Written};

    const FIRST: u64 = 36;

    fn read(bytes: &[u8], capacity: usize) -> (NumberedFile, Window) {
        let file = MemoryFile::of(bytes.to_vec());
        let mut window = Window::new(capacity, Budget::default());
        window.read(&file, FIRST, ENTRY_HEADER_LEN).unwrap();
        (file, window)
    }

    #[test]
    fn each_thing_that_can_stand_at_an_offset_is_told_apart() {
        let good = Written::file(0).entry(Some(7), b"payload").bytes;
        let with = |at: u64, byte: u8| {
            let mut bytes = good.clone();
            bytes[(FIRST + at) as usize] = byte;
            read(&bytes, 1000).1.look(FIRST)
        };
        let Look::Entry(entry) = read(&good, 1000).1.look(FIRST) else { panic!("it is an entry") };
        assert_eq!((entry.vlsn_to_send(), entry.payload_crc), (Some(7), crc32fast::hash(b"payload")));
        assert_eq!(with(4, 0), Look::Zero);
        assert!(matches!(with(13, 0xff), Look::Oversize(size) if size > MAX_ITEM_SIZE));
        assert_eq!(with(10, 200), Look::Short { needed: 222 });
        assert!(matches!(with(25, b'X'), Look::Checksum { vlsn: Some(7), .. }));
        let Look::Entry(invisible) = with(5, FLAG_INVISIBLE | 0x08) else { panic!("the bit does not count") };
        assert_eq!(invisible.vlsn_to_send(), None);
        let cut = &good[..good.len() - 1];
        assert_eq!(read(cut, 1000).1.look(FIRST), Look::Short { needed: 29 });
        assert_eq!(read(&good[..40], 1000).1.look(FIRST), Look::Short { needed: ENTRY_HEADER_LEN });
        assert_eq!(read(&good, 1000).1.look(5000), Look::Short { needed: ENTRY_HEADER_LEN }, "outside");
    }

    #[test]
    fn nothing_is_shown_that_was_not_read_since_it_was_told_to_forget() {
        let (_, mut window) = read(&Written::file(0).entries([1, 2]).bytes, 1000);
        assert!(window.has_entry_len(FIRST) && window.passage(FIRST + 10).is_some());
        window.forget();
        assert!(window.from(FIRST).is_empty() && !window.has_entry_len(FIRST));
        assert!(window.passage(FIRST + 10).is_none());
    }

    #[test]
    fn an_entry_larger_than_the_window_is_read_only_if_the_file_has_it() {
        let large = Written::file(0).entry(Some(1), &[7; 10_000]).bytes;
        let (file, mut window) = read(&large, 100);
        assert!(matches!(window.look_reading(&file, FIRST, 0).unwrap(), Look::Entry(_)));
        // A length alone has nothing allocated.
        let (file, mut window) = read(&large[..5000], 100);
        let look = window.look_reading(&file, FIRST, 0).unwrap();
        assert_eq!(look, Look::Short { needed: 10_022 });
        assert!(window.block().capacity() <= 100, "{}", window.block().capacity());
    }

    #[test]
    fn what_was_shown_is_found_again_after_the_next_read() {
        let written = Written::file(0).entries([1, 2, 3]);
        let (file, mut window) = read(&written.bytes, 1000);
        let passage = window.passage(written.at[2]).unwrap();
        assert_eq!(window.shown(written.at[1], written.at[2]).unwrap().0.vlsn, Some(2));
        assert!(window.shown(written.at[2], written.at[2]).is_none(), "it was not shown yet");
        window.read(&file, written.at[2], ENTRY_HEADER_LEN).unwrap();
        let (header, payload) = passage.entry(written.at[0]).unwrap();
        assert_eq!((header.vlsn, &passage.block().bytes()[payload]), (Some(1), &[1; 40][..]));
        assert!(passage.entry(written.at[2]).is_none());
    }

    #[test]
    fn a_read_is_charged_and_takes_no_more_than_it_may() {
        let budget = Budget::default();
        let file = MemoryFile::of(Written::file(0).entries(1..=50).bytes);
        let mut window = Window::new(1000, budget.clone());
        budget.renew(1000);
        window.read_at_most(&file, FIRST, ENTRY_HEADER_LEN, 300).unwrap();
        assert_eq!(window.from(FIRST).len(), 300);
        assert!(!budget.is_spent());
        window.read(&file, FIRST, ENTRY_HEADER_LEN).unwrap();
        assert!(budget.is_spent());
    }
}
