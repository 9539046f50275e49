//! RESTORE: all files of a log. The replica sends a magic number; the feeder sends how many files there are, and each:
//!
//! | size | field |
//! | ---: | --- |
//! | 2 | length of the name |
//! | n | name |
//! | 8 | length of the file |
//! | n | the file |
//! | 4 | CRC-32 of the file |
//!
//! Framed, that is what follows the name of the service: a message each way, so the files and all between them have
//! 64 MiB at most. Raw, nothing stands around it, and there is no limit. Files come in ascending order of their names: a
//! replica puts away what it has from the file on that comes next.

use super::super::message::MESSAGE_LEN_MAX;
use super::Fault;
use super::request::append_message;

/// The magic number, as it is sent.
pub const MAGIC: [u8; 4] = 0x4E52_5354_u32.to_le_bytes();

/// The checksum's length, behind each file.
pub const CHECKSUM_LEN: usize = 4;

/// The length of the number of files.
pub const COUNT_LEN: usize = 4;

/// Checks the message of a framed request. Bytes behind the magic number are ignored.
pub fn check_request(message: &[u8]) -> Result<(), Fault> {
    let magic = *message.first_chunk::<4>().ok_or(Fault::Short {
        message: "a request to restore",
        len: message.len(),
        needed: MAGIC.len(),
    })?;
    if magic == MAGIC { Ok(()) } else { Err(Fault::Magic(u32::from_le_bytes(magic))) }
}

/// Appends the message of a framed request.
pub fn append_request(out: &mut Vec<u8>) {
    append_message(out, &MAGIC);
}

/// Appends what stands before a file's bytes. A name that is longer than any file's is cut off.
pub fn append_file_header(out: &mut Vec<u8>, name: &str, len: u64) {
    let name_len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&name_len.to_le_bytes());
    out.extend_from_slice(&name.as_bytes()[..usize::from(name_len)]);
    out.extend_from_slice(&len.to_le_bytes());
}

/// How many bytes are sent for a file of `len` bytes whose name has `name_len`.
pub const fn file_len(name_len: usize, len: u64) -> u64 {
    (2 + name_len + 8 + CHECKSUM_LEN) as u64 + len
}

/// Whether so many bytes, without a length before them, go into one message.
pub const fn fits_a_message(len: u64) -> bool {
    len <= MESSAGE_LEN_MAX as u64
}

/// A file, as a replica takes it out of what was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// Takes all that was sent apart, and checks each file's checksum; also says how many bytes follow.
pub fn decode(bytes: &[u8]) -> Result<(Vec<File<'_>>, usize), Fault> {
    let mut rest = bytes;
    let count = u32::from_le_bytes(take(&mut rest, "the number of files")?);
    let mut files = Vec::new();
    for file in 0..count {
        let name_len = u16::from_le_bytes(take(&mut rest, "the length of a name")?);
        let name = take_slice(&mut rest, "a file's name", u64::from(name_len))?;
        let name = std::str::from_utf8(name).map_err(|_| Fault::NotText("a file"))?;
        let len = u64::from_le_bytes(take(&mut rest, "a file's length")?);
        let bytes = take_slice(&mut rest, "a file", len)?;
        let (stored, computed) = (u32::from_le_bytes(take(&mut rest, "a checksum")?), crc32fast::hash(bytes));
        if stored != computed {
            return Err(Fault::Checksum { file, stored, computed });
        }
        files.push(File { name, bytes });
    }
    Ok((files, rest.len()))
}

fn take<const N: usize>(rest: &mut &[u8], message: &'static str) -> Result<[u8; N], Fault> {
    let (taken, behind) = rest.split_first_chunk().ok_or(Fault::Short { message, len: rest.len(), needed: N })?;
    *rest = behind;
    Ok(*taken)
}

fn take_slice<'a>(rest: &mut &'a [u8], message: &'static str, len: u64) -> Result<&'a [u8], Fault> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let short = Fault::Short { message, len: rest.len(), needed: len };
    let (taken, behind) = rest.split_at_checked(len).ok_or(short)?;
    *rest = behind;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_these_bytes() {
        let mut out = Vec::new();
        append_request(&mut out);
        assert_eq!(out, [4, 0, 0, 0, 0x54, 0x53, 0x52, 0x4e]);
        assert_eq!(check_request(&out[4..]), Ok(()));
        assert_eq!(check_request(b"TSRN and more"), Ok(()));
        assert_eq!(check_request(b"NRST"), Err(Fault::Magic(0x5453_524e)));
        assert!(matches!(check_request(b"TSR"), Err(Fault::Short { len: 3, needed: 4, .. })));
    }

    /// The CRC-32 of `abc` is 352441c2.
    #[test]
    fn files_have_these_bytes_and_are_read_back() {
        let mut out = vec![2, 0, 0, 0];
        append_file_header(&mut out, "00000000.ndb", 3);
        out.extend(b"abc\xc2\x41\x24\x35");
        append_file_header(&mut out, "x", 0);
        out.extend([0; 4]);
        let expected =
            b"\x02\0\0\0\x0c\x0000000000.ndb\x03\0\0\0\0\0\0\0abc\xc2\x41\x24\x35\x01\0x\0\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(out, expected);
        assert_eq!(out.len() as u64, COUNT_LEN as u64 + file_len(12, 3) + file_len(1, 0));
        let files = vec![File { name: "00000000.ndb", bytes: b"abc" }, File { name: "x", bytes: b"" }];
        assert_eq!(decode(&out), Ok((files.clone(), 0)));
        assert_eq!(decode(&[&out[..], b"behind"].concat()), Ok((files, 6)));
        for short in 0..out.len() {
            assert!(matches!(decode(&out[..short]), Err(Fault::Short { .. })), "{short}");
        }
        out[26] ^= 1;
        assert!(matches!(decode(&out), Err(Fault::Checksum { file: 0, stored: 0x3524_41c2, .. })));
        assert_eq!(decode(&[0; 4]), Ok((Vec::new(), 0)));
    }

    #[test]
    fn a_length_that_is_only_announced_takes_no_memory() {
        let announced = [&[1, 0, 0, 0, 0, 0][..], &u64::MAX.to_le_bytes(), b"a few bytes"].concat();
        assert!(matches!(decode(&announced), Err(Fault::Short { len: 11, .. })));
        assert!(matches!(decode(&[0xff; 4]), Err(Fault::Short { .. })));
        assert!(fits_a_message(64 * 1024 * 1024) && !fits_a_message(64 * 1024 * 1024 + 1));
    }
}
