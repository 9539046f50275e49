//! Where something stands in the log: the number of a file, which is its name, and an offset in it.

use std::fmt;

/// A position in the log: the file number in the high 32 bits, the byte offset in the low 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Default for Lsn {
    fn default() -> Lsn {
        Lsn::NULL
    }
}

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
}
