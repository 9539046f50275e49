//! The header of an entry.

use super::layout::{
    ENTRY_HEADER_LEN, ENTRY_HEADER_LEN_VLSN, FLAG_INVISIBLE, FLAG_REPLICATED, FLAG_VLSN, MAX_ITEM_SIZE,
};

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An entry's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryHeader {
    /// Stored CRC-32.
    pub checksum: u32,
    /// Entry type, never 0.
    pub entry_type: u8,
    /// The flags byte as it stands.
    pub flags: u8,
    /// Offset of the previous entry in the file.
    pub prev_offset: u32,
    /// Length of the payload in bytes, at most [`MAX_ITEM_SIZE`].
    pub item_size: u32,
    /// The VLSN field, when there is one; zero and below contradict the flag that announces it.
    pub vlsn: Option<i64>,
}

/// What [`EntryHeader::parse`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParsedEntryHeader {
    /// A header that could be one; only the checksum can tell.
    Header(EntryHeader),
    /// This many bytes are needed to tell.
    Short(usize),
    /// Entry type 0: no entry stands here.
    Zero,
    /// The item size is larger than any entry's.
    Oversize(u32),
}

impl EntryHeader {
    /// Reads a header from the beginning of `bytes`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> ParsedEntryHeader {
        let Some(fixed) = bytes.first_chunk::<ENTRY_HEADER_LEN>() else {
            return ParsedEntryHeader::Short(ENTRY_HEADER_LEN);
        };
        let (entry_type, flags) = (fixed[4], fixed[5]);
        if entry_type == 0 {
            return ParsedEntryHeader::Zero;
        }
        let item_size = le_u32(fixed, 10);
        if item_size > MAX_ITEM_SIZE {
            return ParsedEntryHeader::Oversize(item_size);
        }
        let vlsn = if flags & (FLAG_VLSN | FLAG_REPLICATED) != 0 {
            let Some(field) = bytes[ENTRY_HEADER_LEN..].first_chunk::<8>() else {
                return ParsedEntryHeader::Short(ENTRY_HEADER_LEN_VLSN);
            };
            Some(i64::from_le_bytes(*field))
        } else {
            None
        };
        ParsedEntryHeader::Header(EntryHeader {
            checksum: le_u32(fixed, 0),
            entry_type,
            flags,
            prev_offset: le_u32(fixed, 6),
            item_size,
            vlsn,
        })
    }

    /// Length of the header in bytes; never 0.
    #[allow(clippy::len_without_is_empty, reason = "a header is never empty")]
    #[inline]
    pub fn len(&self) -> usize {
        if self.vlsn.is_some() { ENTRY_HEADER_LEN_VLSN } else { ENTRY_HEADER_LEN }
    }

    /// Length of header and payload in bytes.
    #[inline]
    pub fn entry_len(&self) -> usize {
        self.len() + self.item_size as usize
    }

    /// Whether a rollback took the entry back.
    #[inline]
    pub fn is_invisible(&self) -> bool {
        self.flags & FLAG_INVISIBLE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode_entry;
    use super::*;
    use crate::log::checksum::Checksummer;

    #[test]
    fn an_entry_header_is_read_with_and_without_a_vlsn() {
        for vlsn in [None, Some(77)] {
            let mut bytes = Vec::new();
            encode_entry(&mut bytes, 13, 0, 5, vlsn, b"payload");
            let ParsedEntryHeader::Header(header) = EntryHeader::parse(&bytes) else { panic!() };
            assert_eq!((header.entry_type, header.prev_offset, header.item_size), (13, 5, 7));
            assert_eq!(header.vlsn, vlsn);
            assert_eq!(header.entry_len(), bytes.len());
            let sums = Checksummer::default().of(&bytes, header.len());
            assert_eq!(sums.entry, header.checksum);
            assert_eq!(sums.payload, crc32fast::hash(b"payload"));
            for short in 0..header.len() {
                assert!(matches!(EntryHeader::parse(&bytes[..short]), ParsedEntryHeader::Short(_)));
            }
        }
    }

    #[test]
    fn a_replicated_flag_alone_announces_a_vlsn() {
        let mut bytes = Vec::new();
        encode_entry(&mut bytes, 13, FLAG_REPLICATED, 0, Some(3), b"");
        bytes[5] = FLAG_REPLICATED;
        let ParsedEntryHeader::Header(header) = EntryHeader::parse(&bytes) else { panic!() };
        assert_eq!(header.vlsn, Some(3));
    }

    #[test]
    fn a_size_above_the_limit_and_type_zero_are_no_entries() {
        let mut bytes = Vec::new();
        encode_entry(&mut bytes, 13, 0, 0, Some(3), b"x");
        let mut oversize = bytes.clone();
        oversize[10..14].copy_from_slice(&(MAX_ITEM_SIZE + 1).to_le_bytes());
        assert_eq!(EntryHeader::parse(&oversize), ParsedEntryHeader::Oversize(MAX_ITEM_SIZE + 1));
        bytes[4] = 0;
        assert_eq!(EntryHeader::parse(&bytes), ParsedEntryHeader::Zero);
    }
}
