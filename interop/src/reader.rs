//! A log reader that knows the format and nothing else: every whole entry in the order it stands on disk.
//!
//! Unlike upstream's readers it gives the VLSN and the flags, reads on where VLSNs stand out of order, and
//! crosses stretches of zeros (a backup leaves one at the head of a file). Every CRC is checked. What cannot
//! be read at the end of the newest file is the log's torn end, and no error; anywhere else it is one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"NOXUDB\0\0";
const HEADER_V2: usize = 32;
const HEADER_V3: usize = 36;
const SHORT_HEADER: usize = 14;
const LONG_HEADER: usize = 22;
const VLSN_FLAGS: u8 = 0x08 | 0x20;
const INVISIBLE: u8 = 0x10;
const MAX_ITEM_SIZE: usize = 100 << 20;
const READ_SIZE: usize = 1 << 20;

/// Whether a file that begins with `head` is shorter than its header.
pub fn lacks_header(head: &[u8]) -> bool {
    header_length(head).is_none_or(|needed| head.len() < needed)
}

/// One log file, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The number in its name.
    pub number: u32,
    /// Where it is.
    pub path: PathBuf,
}

/// The log files in `dir`, in ascending order.
pub fn log_files(dir: &Path) -> Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for item in fs::read_dir(dir).map_err(|e| Error::at(dir, e))? {
        let path = item.map_err(|e| Error::at(dir, e))?.path();
        if let Some(number) = file_number(&path) {
            files.push(LogFile { number, path });
        }
    }
    files.sort_unstable_by_key(|file| file.number);
    Ok(files)
}

fn file_number(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(".ndb")?;
    let hex = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// One entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The file it stands in.
    pub file: u32,
    /// Its offset there.
    pub offset: u64,
    /// Its type.
    pub entry_type: u8,
    /// Its VLSN, if it has one.
    pub vlsn: Option<u64>,
    /// Whether it was not rolled back.
    pub visible: bool,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Reads the log of a directory, as it was listed when the reader was made, from its first entry to its end.
pub struct LogReader {
    files: std::vec::IntoIter<LogFile>,
    current: Option<Scan>,
}

impl LogReader {
    /// A reader at the first entry of the log in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self::of_files(log_files(dir)?))
    }

    /// A reader of these files alone; the last of them is taken for the newest.
    pub fn of_files(files: Vec<LogFile>) -> Self {
        Self { files: files.into_iter(), current: None }
    }

    /// The next entry, or none at the end of the log.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>> {
        loop {
            let newest = self.files.as_slice().is_empty();
            if let Some(scan) = &mut self.current
                && let Some(found) = scan.advance(newest)?
            {
                // The borrow checker wants the entry looked up again once the loop is left.
                return Ok(self.current.as_ref().map(|scan| scan.entry(found)));
            }
            let Some(file) = self.files.next() else {
                return Ok(None);
            };
            self.current = Scan::open(&file, self.files.as_slice().is_empty())?;
        }
    }
}

/// Where in the window the entry just found lies.
#[derive(Clone, Copy)]
struct Found {
    start: usize,
    header: usize,
    payload: usize,
}

/// The reading of one file through a window on it.
struct Scan {
    file: LogFile,
    handle: File,
    length: u64,
    /// Where the window begins in the file, and where the next entry begins in the window.
    base: u64,
    cursor: usize,
    window: Vec<u8>,
}

impl Scan {
    /// Checks the header and stands behind it; none for a newest file that is still being born.
    fn open(file: &LogFile, newest: bool) -> Result<Option<Self>> {
        let handle = File::open(&file.path).map_err(|e| Error::at(&file.path, e))?;
        let length = handle.metadata().map_err(|e| Error::at(&file.path, e))?.len();
        let mut scan = Self { file: file.clone(), handle, length, base: 0, cursor: 0, window: Vec::new() };
        let got = scan.fill(HEADER_V3)?;
        if newest && got < HEADER_V3 && lacks_header(&scan.window) {
            return Ok(None);
        }
        scan.cursor = check_header(&scan.window, file)?;
        Ok(Some(scan))
    }

    /// Finds the next entry of this file; none at its end.
    fn advance(&mut self, newest: bool) -> Result<Option<Found>> {
        match self.parse()? {
            Parsed::Entry(found) => Ok(Some(self.pass(found))),
            Parsed::End => Ok(None),
            Parsed::Zeros => self.cross_zeros(newest),
            Parsed::Broken(_) if newest => Ok(None),
            Parsed::Broken(why) => Err(self.broken(why)),
        }
    }

    fn pass(&mut self, found: Found) -> Found {
        self.cursor = found.start + found.header + found.payload;
        found
    }

    fn entry(&self, found: Found) -> Entry<'_> {
        let header = &self.window[found.start..found.start + found.header];
        let vlsn = header.get(SHORT_HEADER..).filter(|field| !field.is_empty()).map(read_vlsn);
        let payload = found.start + found.header;
        Entry {
            file: self.file.number,
            offset: self.base + found.start as u64,
            entry_type: header[4],
            vlsn: vlsn.filter(|&vlsn| vlsn > 0).map(i64::cast_unsigned),
            visible: header[5] & INVISIBLE == 0,
            payload: &self.window[payload..payload + found.payload],
        }
    }

    fn parse(&mut self) -> Result<Parsed> {
        let left = self.length - (self.base + self.cursor as u64);
        if left == 0 {
            return Ok(Parsed::End);
        }
        if self.fill(SHORT_HEADER)? < SHORT_HEADER {
            return Ok(Parsed::Broken("ends within an entry's header"));
        }
        let head = &self.window[self.cursor..self.cursor + SHORT_HEADER];
        if head[4] == 0 {
            return Ok(Parsed::Zeros);
        }
        let payload = read_u32(&head[10..14]) as usize;
        let header = if head[5] & VLSN_FLAGS == 0 { SHORT_HEADER } else { LONG_HEADER };
        if payload > MAX_ITEM_SIZE {
            return Ok(Parsed::Broken("has an entry of an implausible size"));
        }
        if self.fill(header + payload)? < header + payload {
            return Ok(Parsed::Broken("ends within an entry"));
        }
        if !crc_holds(&self.window[self.cursor..self.cursor + header + payload]) {
            return Ok(Parsed::Broken("has an entry whose CRC is wrong"));
        }
        Ok(Parsed::Entry(Found { start: self.cursor, header, payload }))
    }

    /// Stands at a zero type byte: finds the first whole entry behind the zeros.
    fn cross_zeros(&mut self, newest: bool) -> Result<Option<Found>> {
        let hole = self.base + self.cursor as u64;
        let Some(skipped) = self.count_zeros()? else {
            // Nothing but zeros to the end; a lower file must not end so.
            return if newest { Ok(None) } else { Err(self.broken("has zeros up to its end")) };
        };
        // Up to four zero bytes may be the CRC of the entry.
        for back in (0..=skipped.min(4)).rev() {
            self.seek(hole + skipped - back);
            if let Parsed::Entry(found) = self.parse()? {
                return Ok(Some(self.pass(found)));
            }
        }
        self.seek(hole);
        if newest { Ok(None) } else { Err(self.broken("has zeros with no whole entry behind them")) }
    }

    /// How many zeros there are from the cursor on; none if they reach the end of the file.
    fn count_zeros(&mut self) -> Result<Option<u64>> {
        let mut skipped = 0;
        loop {
            let got = self.fill(1)?;
            if got == 0 {
                return Ok(None);
            }
            let ahead = &self.window[self.cursor..];
            match ahead.iter().position(|&byte| byte != 0) {
                Some(zeros) => return Ok(Some(skipped + zeros as u64)),
                None => {
                    skipped += ahead.len() as u64;
                    self.cursor = self.window.len();
                }
            }
        }
    }

    fn seek(&mut self, offset: u64) {
        self.base = offset;
        self.cursor = 0;
        self.window.clear();
    }

    /// Has at least `needed` bytes from the cursor on in the window, or all there are; gives how many.
    fn fill(&mut self, needed: usize) -> Result<usize> {
        let have = self.window.len() - self.cursor;
        if have >= needed {
            return Ok(have);
        }
        self.window.drain(..self.cursor);
        self.base += self.cursor as u64;
        self.cursor = 0;
        self.window.resize(needed.max(READ_SIZE), 0);
        let mut filled = have;
        while filled < self.window.len() {
            let at = self.base + filled as u64;
            let room = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            let end = self.window.len().min(filled.saturating_add(room));
            let got = self.handle.read_at(&mut self.window[filled..end], at);
            match got.map_err(|e| Error::at(&self.file.path, e))? {
                0 => break,
                got => filled += got,
            }
        }
        self.window.truncate(filled);
        Ok(filled)
    }

    fn broken(&self, why: &str) -> Error {
        let offset = self.base + self.cursor as u64;
        Error::at(&self.file.path, format_args!("{why}, at offset {offset}"))
    }
}

enum Parsed {
    Entry(Found),
    End,
    Zeros,
    Broken(&'static str),
}

/// The length of this header, once enough of it is there to tell.
fn header_length(head: &[u8]) -> Option<usize> {
    match read_version(head)? {
        2 => Some(HEADER_V2),
        _ => Some(HEADER_V3),
    }
}

fn read_version(head: &[u8]) -> Option<u32> {
    let field = head.get(8..12)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

/// Checks a file header and gives the offset of the first entry.
fn check_header(head: &[u8], file: &LogFile) -> Result<usize> {
    let bad = |why: &str| Error::at(&file.path, format_args!("is not a log file: {why}"));
    if head.len() < HEADER_V2 {
        return Err(bad("shorter than a header"));
    }
    if &head[..8] != MAGIC || head[12] != 0 {
        return Err(bad("wrong magic or byte order"));
    }
    if head[24..28] != file.number.to_be_bytes() {
        return Err(bad("its header has another file number"));
    }
    match read_version(head) {
        Some(2) => Ok(HEADER_V2),
        Some(3) if head.len() < HEADER_V3 => Err(bad("shorter than a header")),
        Some(3) if crc32fast::hash(&head[..32]).to_be_bytes() != head[32..36] => Err(bad("wrong header CRC")),
        Some(3) => Ok(HEADER_V3),
        _ => Err(bad("unknown version")),
    }
}

/// The CRC covers everything behind itself, with the invisible bit taken as 0.
fn crc_holds(entry: &[u8]) -> bool {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[entry[4], entry[5] & !INVISIBLE]);
    crc.update(&entry[6..]);
    crc.finalize() == read_u32(&entry[..4])
}

fn read_u32(field: &[u8]) -> u32 {
    u32::from_le_bytes(field.try_into().expect("four bytes"))
}

fn read_vlsn(field: &[u8]) -> i64 {
    i64::from_le_bytes(field.try_into().expect("eight bytes"))
}
