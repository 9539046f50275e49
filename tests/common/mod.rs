//! The tests' common parts: logs written to the letter of the format, a disk that counts, a clock that is moved by
//! hand.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use noxu_feeder::error::Result;
use noxu_feeder::log::files::{Directory, DirectoryStamp, FileIdentity, Files, LogFile};
use noxu_feeder::log::format::{FLAG_INVISIBLE, FileHeader, encode_entry};
use noxu_feeder::log::{Lsn, Next, Scanner, ScannerOptions, Wait};
use noxu_feeder::lsn::FileName;
use noxu_feeder::options::Options;
use tempfile::TempDir;

/// A log directory that is written by hand.
pub struct LogDir {
    dir: TempDir,
    /// The file being written, its length, and where its last entry begins.
    number: u32,
    len: u64,
    last: u32,
}

/// An entry type of a record.
pub const RECORD: u8 = 13;
/// An entry type without a VLSN.
pub const TRACE: u8 = 60;

impl LogDir {
    /// An empty directory.
    pub fn empty() -> LogDir {
        let dir = TempDir::new().expect("a temporary directory");
        LogDir { dir, number: 0, len: 0, last: 0 }
    }

    /// A directory whose file 0, of version 3, holds these VLSNs in this order.
    pub fn with(vlsns: impl IntoIterator<Item = i64>) -> LogDir {
        let mut log = LogDir::empty();
        log.begin_file(0);
        log.append_all(vlsns);
        log
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file_path(&self, number: u32) -> PathBuf {
        self.path().join(FileName(number).to_string())
    }

    /// Begins a file of version 3 that names the last entry of the file before.
    pub fn begin_file(&mut self, number: u32) {
        self.begin_file_of(3, number);
    }

    pub fn begin_file_of(&mut self, version: u32, number: u32) {
        let last_entry_in_previous = if number == self.number + 1 { self.last } else { 0 };
        let header = FileHeader { version, file_number: number, last_entry_in_previous }.encode();
        fs::write(self.file_path(number), &header).unwrap();
        (self.number, self.len, self.last) = (number, header.len() as u64, 0);
    }

    /// The position of the next entry.
    pub fn end(&self) -> Lsn {
        Lsn::new(self.number, u32::try_from(self.len).unwrap())
    }

    /// The payload that goes with a VLSN.
    pub fn payload(vlsn: i64) -> Vec<u8> {
        format!("payload of VLSN {vlsn} ").repeat(usize::try_from(vlsn.rem_euclid(5)).unwrap() + 1).into_bytes()
    }

    /// Appends entries with these VLSNs; returns where each stands.
    pub fn append_all(&mut self, vlsns: impl IntoIterator<Item = i64>) -> Vec<Lsn> {
        let mut places = Vec::new();
        let mut bytes = Vec::new();
        for vlsn in vlsns {
            let (lsn, entry) = self.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn));
            places.push(lsn);
            bytes.extend(entry);
        }
        self.append_bytes(&bytes);
        places
    }

    pub fn append(&mut self, vlsn: i64) -> Lsn {
        self.append_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn))
    }

    /// Appends to a file that is not the one being written, as an entry that knows none before it.
    pub fn append_to(&self, number: u32, vlsn: i64) {
        let mut bytes = Vec::new();
        encode_entry(&mut bytes, RECORD, 0, 0, Some(vlsn), &LogDir::payload(vlsn));
        OpenOptions::new().append(true).open(self.file_path(number)).unwrap().write_all(&bytes).unwrap();
    }

    pub fn append_untagged(&mut self, payload: &[u8]) -> Lsn {
        self.append_entry(TRACE, 0, None, payload)
    }

    /// Leaves a hole, and appends something without a VLSN behind it.
    pub fn append_untagged_behind_a_hole(&mut self) {
        let _ = self.next_entry(TRACE, 0, None, &[1; 100]);
        let (behind, bytes) = self.next_entry(TRACE, 0, None, &[2; 100]);
        self.write_at(behind, &bytes);
    }

    pub fn append_entry(&mut self, entry_type: u8, flags: u8, vlsn: Option<i64>, payload: &[u8]) -> Lsn {
        let (lsn, bytes) = self.next_entry(entry_type, flags, vlsn, payload);
        self.append_bytes(&bytes);
        lsn
    }

    /// The bytes of the next entry, not written yet, with the place taken for them.
    pub fn next_entry(&mut self, entry_type: u8, flags: u8, vlsn: Option<i64>, payload: &[u8]) -> (Lsn, Vec<u8>) {
        let lsn = self.end();
        let mut bytes = Vec::new();
        encode_entry(&mut bytes, entry_type, flags, self.last, vlsn, payload);
        self.last = lsn.offset();
        self.len += bytes.len() as u64;
        (lsn, bytes)
    }

    fn append_bytes(&self, bytes: &[u8]) {
        OpenOptions::new().append(true).open(self.file_path(self.number)).unwrap().write_all(bytes).unwrap();
    }

    /// Writes into a file at a place.
    pub fn write_at(&self, lsn: Lsn, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.file_path(lsn.file())).unwrap();
        file.write_all_at(bytes, u64::from(lsn.offset())).unwrap();
    }

    pub fn truncate(&mut self, number: u32, len: u64) {
        let file = OpenOptions::new().write(true).open(self.file_path(number)).unwrap();
        file.set_len(len).unwrap();
        if number == self.number {
            self.len = len;
        }
    }

    pub fn delete(&self, number: u32) {
        fs::remove_file(self.file_path(number)).unwrap();
    }

    pub fn bytes(&self, number: u32) -> Vec<u8> {
        fs::read(self.file_path(number)).unwrap()
    }

    /// Turns an entry invisible in place, as a rollback does.
    pub fn make_invisible(&self, lsn: Lsn) {
        let at = lsn.offset() as usize + 5;
        let flags = self.bytes(lsn.file())[at];
        self.write_at(Lsn::new(lsn.file(), lsn.offset() + 5), &[flags | FLAG_INVISIBLE]);
    }

    pub fn reader(&self) -> Reader {
        Reader::over(Arc::new(Directory::open(self.path()).unwrap()), Lsn::NULL, options())
    }

    pub fn reader_from(&self, start: Lsn) -> Reader {
        Reader::over(Arc::new(Directory::open(self.path()).unwrap()), start, options())
    }
}

/// How long everything must stand still, in the tests.
pub const SETTLE: Duration = Duration::from_secs(3);
/// How long a VLSN may be missing at the live end.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn options() -> ScannerOptions {
    Options::default().scanner()
}

/// A scanner with a clock of its own.
pub struct Reader {
    pub scanner: Scanner,
    pub now: Instant,
    pub send_limit: Lsn,
}

/// The result of one call.
#[derive(Debug, PartialEq)]
pub enum Got {
    /// VLSN, type, payload.
    Entry(u64, u8, Vec<u8>),
    Nothing(Wait),
}

impl Reader {
    pub fn over(files: Arc<dyn Files>, start: Lsn, options: ScannerOptions) -> Reader {
        Reader { scanner: Scanner::new(files, start, options), now: Instant::now(), send_limit: Lsn::NULL }
    }

    pub fn next(&mut self, from_vlsn: u64) -> Result<Got> {
        Ok(match self.scanner.next(from_vlsn, self.send_limit, &self.now.into())? {
            Next::Entry(entry) => {
                assert_eq!(entry.payload_crc, crc32fast::hash(entry.payload));
                Got::Entry(entry.vlsn, entry.entry_type, entry.payload.to_vec())
            }
            Next::Nothing(pause) => Got::Nothing(pause),
            Next::Busy => panic!("nobody has set a budget"),
        })
    }

    /// The VLSNs that can be read now, from `from_vlsn` on, with their payloads checked.
    pub fn read(&mut self, from_vlsn: u64) -> Result<Vec<u64>> {
        let mut vlsns = Vec::new();
        let mut from = from_vlsn;
        while let Got::Entry(vlsn, entry_type, payload) = self.next(from)? {
            assert_eq!(entry_type, RECORD);
            assert_eq!(payload, LogDir::payload(i64::try_from(vlsn).unwrap()), "VLSN {vlsn}");
            from = vlsn + 1;
            vlsns.push(vlsn);
        }
        Ok(vlsns)
    }

    /// Why there is nothing.
    pub fn pause(&mut self) -> Wait {
        match self.next(0).unwrap() {
            Got::Nothing(pause) => pause,
            got => panic!("{got:?}"),
        }
    }

    /// As [`wait`](Self::wait), beginning with a VLSN.
    pub fn wait_from(&mut self, from_vlsn: u64, time: Duration) -> Result<Vec<u64>> {
        let mut vlsns = self.read(from_vlsn)?;
        vlsns.extend(self.wait(time)?);
        Ok(vlsns)
    }

    /// Lets time pass, as often looking as a loop would that wakes when it is told to.
    pub fn wait(&mut self, time: Duration) -> Result<Vec<u64>> {
        let until = self.now + time;
        let mut vlsns = self.read(0)?;
        while self.now < until {
            let next = match self.next(0)? {
                Got::Nothing(pause) => pause.look_again.unwrap_or(until).min(until),
                got => panic!("{got:?}"),
            };
            self.now = next.max(self.now + Duration::from_millis(1));
            vlsns.extend(self.read(0)?);
        }
        Ok(vlsns)
    }
}

/// A disk that counts the requests to it.
pub struct CountingDisk {
    inner: Directory,
    pub counts: Arc<Counts>,
    /// Whether a read brings no more than it has to.
    pub is_stingy: bool,
}

#[derive(Default)]
pub struct Counts {
    pub listings: AtomicU64,
    pub opens: AtomicU64,
    pub reads: AtomicU64,
    pub bytes: AtomicU64,
    /// Questions that are none of these: for time stamps, lengths and identities.
    pub questions: AtomicU64,
}

impl Counts {
    pub fn take(&self) -> (u64, u64, u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (take(&self.listings), take(&self.opens), take(&self.reads), take(&self.bytes))
    }

    /// How often the disk was asked for anything since this was asked last.
    pub fn take_calls(&self) -> u64 {
        let (listings, opens, reads, _) = self.take();
        listings + opens + reads + self.questions.swap(0, Ordering::Relaxed)
    }

    fn question(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }
}

impl CountingDisk {
    pub fn over(path: &Path) -> CountingDisk {
        CountingDisk { inner: Directory::open(path).unwrap(), counts: Arc::default(), is_stingy: false }
    }
}

struct CountingFile {
    inner: Arc<dyn LogFile>,
    counts: Arc<Counts>,
    is_stingy: bool,
}

impl Files for CountingDisk {
    fn list(&self) -> io::Result<Vec<u32>> {
        self.counts.listings.fetch_add(1, Ordering::Relaxed);
        self.inner.list()
    }

    fn stamp(&self) -> io::Result<DirectoryStamp> {
        self.counts.question();
        self.inner.stamp()
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>> {
        self.counts.opens.fetch_add(1, Ordering::Relaxed);
        let inner = self.inner.open(number)?;
        Ok(Arc::new(CountingFile { inner, counts: Arc::clone(&self.counts), is_stingy: self.is_stingy }))
    }

    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
        self.counts.question();
        self.inner.identity(number)
    }

    fn len_of(&self, number: u32) -> io::Result<Option<u64>> {
        self.counts.question();
        self.inner.len_of(number)
    }

    fn path(&self) -> Option<&Path> {
        self.inner.path()
    }
}

impl LogFile for CountingFile {
    fn read_some_at(&self, into: &mut [u8], offset: u64, least: usize) -> io::Result<usize> {
        let most = if self.is_stingy { into.len().min(least) } else { into.len() };
        let read = self.inner.read_some_at(&mut into[..most], offset, least)?;
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        self.counts.question();
        self.inner.len()
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.counts.question();
        self.inner.identity()
    }
}

/// Makes something at a path that is not a regular file. Second, its name in messages.
pub type NotRegular = (fn(&Path), &'static str);

/// Things that can have a log file's name and are not regular files. The FIFO has nobody at its other end.
pub const NOT_REGULAR: [NotRegular; 4] = [
    (|path| fs::create_dir(path).unwrap(), "a directory"),
    (
        |path| {
            let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: the path is NUL-terminated.
            assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        },
        "a FIFO",
    ),
    (|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()), "a socket"),
    (|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(), "a device"),
];

/// A file of any content.
pub fn write_file(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

/// A log of one file with `entries` records of `len` bytes; of every `swapped` the first two stand in the wrong order.
pub fn log_of(entries: u64, len: usize, swapped: Option<u64>) -> TempDir {
    let dir = TempDir::new().expect("a temporary directory");
    let mut file = BufWriter::new(File::create(dir.path().join(FileName(0).to_string())).unwrap());
    let header = FileHeader { version: 3, file_number: 0, last_entry_in_previous: 0 }.encode();
    file.write_all(&header).unwrap();
    let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
    let (mut at, mut before) = (header.len(), 0);
    let mut entry = Vec::new();
    for place in 1..=entries {
        let vlsn = match swapped.map(|every| place % every) {
            Some(1) if place < entries => place + 1,
            Some(2) => place - 1,
            _ => place,
        };
        entry.clear();
        encode_entry(&mut entry, RECORD, 0, before, Some(i64::try_from(vlsn).unwrap()), &payload);
        file.write_all(&entry).unwrap();
        before = u32::try_from(at).unwrap();
        at += entry.len();
    }
    file.flush().unwrap();
    dir
}
