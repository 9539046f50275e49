//! The on-disk format of a Noxu log, versions 6.2.0 to 7.11.2: file names, file headers, entry headers.
//!
//! Pure functions over bytes. Nothing here reads a file, keeps state or decides what damage means; that is
//! [`tail`](super::tail)'s work. The facts were checked against the public crate `noxu-log`.
//!
//! # File header (big-endian)
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | magic `NOXUDB\0\0` |
//! | 8 | 4 | log version, 2 or 3 |
//! | 12 | 1 | byte order, always 0 |
//! | 13 | 3 | reserved |
//! | 16 | 8 | creation time, Unix milliseconds |
//! | 24 | 4 | file number, the same as in the file's name |
//! | 28 | 4 | offset of the last entry of the previous file, 0 when the writer did not know it |
//! | 32 | 4 | version 3 only: CRC-32 of bytes 0..32 |
//!
//! # Entry header (little-endian)
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 of everything behind this field, the invisible bit taken as 0 |
//! | 4 | 1 | entry type, 0 means "no entry" |
//! | 5 | 1 | flags |
//! | 6 | 4 | offset of the previous entry in this file, 0 for the first |
//! | 10 | 4 | item size: length of the payload |
//! | 14 | 8 | VLSN (i64), present only when flags has 0x08 or 0x20 |

use std::fmt;

use super::checksum::Checksummer;

/// The largest payload that an entry can have; a larger item size is not an entry.
pub const MAX_ITEM_SIZE: u32 = 100 * 1024 * 1024;

/// Length of a version-2 file header, which is also the part that every version has.
pub const FILE_HEADER_LEN_V2: usize = 32;
/// Length of a version-3 file header.
pub const FILE_HEADER_LEN_V3: usize = 36;
/// Length of an entry header without a VLSN.
pub const ENTRY_HEADER_LEN: usize = 14;
/// Length of an entry header with a VLSN.
pub const ENTRY_HEADER_LEN_VLSN: usize = 22;

const _: () = assert!(ENTRY_HEADER_LEN_VLSN == ENTRY_HEADER_LEN + size_of::<i64>());
const _: () = assert!(FILE_HEADER_LEN_V3 == FILE_HEADER_LEN_V2 + size_of::<u32>());

const MAGIC: [u8; 8] = *b"NOXUDB\0\0";

/// Flag of an entry that a rollback took back.
pub const FLAG_INVISIBLE: u8 = 0x10;
/// Flag of a replicated entry; such an entry has a VLSN.
pub const FLAG_REPLICATED: u8 = 0x20;
/// Flag of an entry that has a VLSN.
pub const FLAG_VLSN: u8 = 0x08;

/// A position in the log: the file number in the high 32 bits, the byte offset in the low 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// "No position": all ones, as the log itself writes it.
    pub const NULL: Lsn = Lsn(u64::MAX);

    /// The position `offset` bytes into file `file`.
    pub const fn new(file: u32, offset: u32) -> Lsn {
        Lsn(((file as u64) << 32) | offset as u64)
    }

    /// The number of the file.
    pub const fn file(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The offset in the file, in bytes.
    pub const fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offset {}", FileName(self.file()), self.offset())
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({self})")
    }
}

/// The name of a log file, as the writer writes it: eight lowercase hexadecimal digits and `.ndb`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileName(pub u32);

impl FileName {
    /// The file number that `name` stands for, or `None` when it is not a log file's name. Either case is read.
    pub fn parse(name: &[u8]) -> Option<FileName> {
        let digits = name.strip_suffix(b".ndb")?;
        if digits.len() != 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, 16).ok().map(FileName)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.ndb", self.0)
    }
}

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What a reader needs of a file header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileHeader {
    /// 2 or 3.
    pub version: u32,
    /// The number in the header; [`parse`](Self::parse) has compared it with the name's.
    pub file_number: u32,
    /// Where the last entry of the previous file stands; 0 when the writer did not know.
    pub last_entry_in_previous: u32,
}

/// What [`FileHeader::parse`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParsedFileHeader {
    /// A good header.
    Header(FileHeader),
    /// Fewer bytes than a header has: the file is being born.
    Short,
    /// Not a header.
    Fault(HeaderFault),
}

/// Why the beginning of a file is no header that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderFault {
    /// The file is shorter than a header.
    #[error("it has {0} bytes, fewer than its header")]
    Short(u64),
    /// The first eight bytes are something else.
    #[error("it does not begin with the magic number of a Noxu log")]
    Magic,
    /// A version that this library does not read.
    #[error("log version {0} is not one of 2 and 3")]
    Version(u32),
    /// Byte order 0 is the only one there is.
    #[error("byte order {0} is not 0")]
    ByteOrder(u8),
    /// The header belongs to another file.
    #[error("its header says file number {0:08x}")]
    FileNumber(u32),
    /// The header's own checksum fails.
    #[error("the checksum of its header fails: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// As read.
        stored: u32,
        /// Of the bytes read.
        computed: u32,
    },
}

impl HeaderFault {
    /// Whether more writing could still turn these bytes into a header. A complete header of an unknown version,
    /// or of another file, stays what it is; the other faults are also what a header half-written looks like.
    pub fn may_be_unfinished(self) -> bool {
        !matches!(self, HeaderFault::Version(_) | HeaderFault::FileNumber(_) | HeaderFault::ByteOrder(_))
    }
}

impl FileHeader {
    /// Reads the header of file `file_number` from the file's first bytes.
    pub fn parse(bytes: &[u8], file_number: u32) -> ParsedFileHeader {
        use ParsedFileHeader::{Fault, Header, Short};
        if bytes.len() < FILE_HEADER_LEN_V2 {
            return Short;
        }
        if bytes[..8] != MAGIC {
            return Fault(HeaderFault::Magic);
        }
        let version = be_u32(bytes, 8);
        match version {
            2 => {}
            3 if bytes.len() < FILE_HEADER_LEN_V3 => return Short,
            3 => {
                let stored = be_u32(bytes, 32);
                let computed = crc32fast::hash(&bytes[..32]);
                if stored != computed {
                    return Fault(HeaderFault::Checksum { stored, computed });
                }
            }
            other => return Fault(HeaderFault::Version(other)),
        }
        if bytes[12] != 0 {
            return Fault(HeaderFault::ByteOrder(bytes[12]));
        }
        let in_header = be_u32(bytes, 24);
        if in_header != file_number {
            return Fault(HeaderFault::FileNumber(in_header));
        }
        Header(FileHeader { version, file_number, last_entry_in_previous: be_u32(bytes, 28) })
    }

    /// Where the file's first entry begins.
    pub fn first_entry(&self) -> u32 {
        match self.version {
            2 => FILE_HEADER_LEN_V2 as u32,
            _ => FILE_HEADER_LEN_V3 as u32,
        }
    }

    /// The header's bytes, as a writer would put them down (creation time 0). For tests and tools that make logs.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FILE_HEADER_LEN_V3);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&self.file_number.to_be_bytes());
        out.extend_from_slice(&self.last_entry_in_previous.to_be_bytes());
        if self.version == 3 {
            let crc = crc32fast::hash(&out);
            out.extend_from_slice(&crc.to_be_bytes());
        }
        out
    }
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

/// Appends a whole entry to `out`. For tests and tools that make logs.
pub fn encode_entry(out: &mut Vec<u8>, entry_type: u8, flags: u8, prev_offset: u32, vlsn: Option<i64>, payload: &[u8]) {
    let begin = out.len();
    let flags = if vlsn.is_some() { flags | FLAG_VLSN } else { flags };
    let item_size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[entry_type, flags]);
    out.extend_from_slice(&prev_offset.to_le_bytes());
    out.extend_from_slice(&item_size.to_le_bytes());
    if let Some(vlsn) = vlsn {
        out.extend_from_slice(&vlsn.to_le_bytes());
    }
    let header_len = out.len() - begin;
    out.extend_from_slice(payload);
    let crc = Checksummer::default().of(&out[begin..], header_len).entry;
    out[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_in_either_case_and_nothing_else_is_a_log_file() {
        assert_eq!(FileName::parse(b"0000002a.ndb"), Some(FileName(42)));
        assert_eq!(FileName::parse(b"0000002A.ndb"), Some(FileName(42)));
        assert_eq!(FileName::parse(b"ffffffff.ndb"), Some(FileName(u32::MAX)));
        for other in ["noxu.lck", "vlsn.idx", "0000002a.tmp", "2a.ndb", "0000002g.ndb", "+000002a.ndb", ".ndb"] {
            assert_eq!(FileName::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(FileName(42).to_string(), "0000002a.ndb");
    }

    #[test]
    fn an_lsn_is_file_and_offset() {
        let lsn = Lsn::new(0x2a, 0x1234);
        assert_eq!(lsn.0, 0x2a_0000_1234);
        assert_eq!((lsn.file(), lsn.offset()), (0x2a, 0x1234));
        assert_eq!(lsn.to_string(), "0000002a.ndb offset 4660");
        assert_eq!(Lsn::NULL.0, u64::MAX);
    }

    #[test]
    fn both_file_header_versions_are_read_and_say_where_the_first_entry_is() {
        for (version, first_entry) in [(2, 32), (3, 36)] {
            let header = FileHeader { version, file_number: 7, last_entry_in_previous: 99 };
            let bytes = header.encode();
            assert_eq!(bytes.len(), first_entry as usize);
            assert_eq!(FileHeader::parse(&bytes, 7), ParsedFileHeader::Header(header));
            assert_eq!(header.first_entry(), first_entry);
            for short in 0..bytes.len() {
                assert_eq!(FileHeader::parse(&bytes[..short], 7), ParsedFileHeader::Short);
            }
        }
    }

    #[test]
    fn each_fault_of_a_file_header_is_told_apart() {
        let good = FileHeader { version: 3, file_number: 7, last_entry_in_previous: 0 }.encode();
        let fault = |change: &dyn Fn(&mut Vec<u8>), number| {
            let mut bytes = good.clone();
            change(&mut bytes);
            match FileHeader::parse(&bytes, number) {
                ParsedFileHeader::Fault(fault) => fault,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(fault(&|b| b[0] = b'M', 7), HeaderFault::Magic);
        assert_eq!(fault(&|b| b[11] = 4, 7), HeaderFault::Version(4));
        assert_eq!(fault(&|_| (), 8), HeaderFault::FileNumber(7));
        assert!(matches!(fault(&|b| b[20] ^= 1, 7), HeaderFault::Checksum { .. }));
        let mut v2 = FileHeader { version: 2, file_number: 7, last_entry_in_previous: 0 }.encode();
        v2[12] = 1;
        assert_eq!(FileHeader::parse(&v2, 7), ParsedFileHeader::Fault(HeaderFault::ByteOrder(1)));
    }

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
