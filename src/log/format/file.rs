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

impl FileHeader {
    /// Reads the header of file `file_number` from the file's first bytes, of which there are fewer than a header has only if
    /// the file has no more.
    pub fn parse(bytes: &[u8], file_number: u32) -> Result<FileHeader, HeaderFault> {
        let short = Err(HeaderFault::Short(bytes.len() as u64));
        if bytes.len() < FILE_HEADER_LEN_V2 {
            return short;
        }
        if bytes[..8] != MAGIC {
            return Err(HeaderFault::Magic);
        }
        let version = be_u32(bytes, 8);
        match version {
            2 => {}
            3 if bytes.len() < FILE_HEADER_LEN_V3 => return short,
            3 => {
                let stored = be_u32(bytes, 32);
                let computed = crc32fast::hash(&bytes[..32]);
                if stored != computed {
                    return Err(HeaderFault::Checksum { stored, computed });
                }
            }
            other => return Err(HeaderFault::Version(other)),
        }
        if bytes[12] != 0 {
            return Err(HeaderFault::ByteOrder(bytes[12]));
        }
        let in_header = be_u32(bytes, 24);
        if in_header != file_number {
            return Err(HeaderFault::FileNumber(in_header));
        }
        Ok(FileHeader { version, file_number, last_entry_in_previous: be_u32(bytes, 28) })
    }

    /// Where the file's first entry begins.
    pub fn first_entry(&self) -> u64 {
        match self.version {
            2 => FILE_HEADER_LEN_V2 as u64,
            _ => FILE_HEADER_LEN_V3 as u64,
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
            assert_eq!(FileHeader::parse(&bytes, 7), Ok(header));
            assert_eq!(header.first_entry(), first_entry);
            for short in 0..bytes.len() {
                assert_eq!(FileHeader::parse(&bytes[..short], 7), Err(HeaderFault::Short(short as u64)));
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
                Err(fault) => fault,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(fault(&|b| b[0] = b'M', 7), HeaderFault::Magic);
        assert_eq!(fault(&|b| b[11] = 4, 7), HeaderFault::Version(4));
        assert_eq!(fault(&|_| (), 8), HeaderFault::FileNumber(7));
        assert!(matches!(fault(&|b| b[20] ^= 1, 7), HeaderFault::Checksum { .. }));
        let mut v2 = FileHeader { version: 2, file_number: 7, last_entry_in_previous: 0 }.encode();
        v2[12] = 1;
        assert_eq!(FileHeader::parse(&v2, 7), Err(HeaderFault::ByteOrder(1)));
    }
}
