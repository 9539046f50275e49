//! The header of a file.

use super::layout::{FILE_HEADER_LEN_V2, FILE_HEADER_LEN_V3, MAGIC};
use crate::error::HeaderFault;

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
