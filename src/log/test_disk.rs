//! What the tests beside the code share: log files in memory, which change between two reads only when the test says so.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::files::{DirectoryStamp, FileIdentity, Files, LogFile, NumberedFile};
use super::format::{FILE_HEADER_LEN_V3, FileHeader, encode_entry};

/// The type of the entries.
pub(crate) const RECORD: u8 = 13;

/// A directory.
#[derive(Default)]
pub(crate) struct MemoryDisk {
    files: Mutex<BTreeMap<u32, Arc<MemoryFile>>>,
}

/// A file, with a name or without.
pub(crate) struct MemoryFile {
    inode: u64,
    bytes: Mutex<Vec<u8>>,
}

impl MemoryFile {
    /// A file that holds these bytes.
    pub(crate) fn of(bytes: Vec<u8>) -> NumberedFile {
        NumberedFile::of(Arc::new(MemoryFile { inode: 1, bytes: Mutex::new(bytes) }))
    }

    /// Writes there, and zeros before that where the file is shorter.
    pub(crate) fn write_at(&self, offset: u64, written: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap();
        let (begin, end) = (offset as usize, offset as usize + written.len());
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[begin..end].copy_from_slice(written);
    }
}

impl MemoryDisk {
    /// Has these bytes in file `number`, whatever had the name before. The inode may have been another's.
    pub(crate) fn put(&self, number: u32, inode: u64, bytes: Vec<u8>) -> Arc<MemoryFile> {
        let file = Arc::new(MemoryFile { inode, bytes: Mutex::new(bytes) });
        self.files.lock().unwrap().insert(number, Arc::clone(&file));
        file
    }

    /// Writes into file `number`.
    pub(crate) fn write_at(&self, number: u32, offset: u64, written: &[u8]) {
        self.files.lock().unwrap()[&number].write_at(offset, written);
    }

    /// Cuts file `number` off behind `len` bytes.
    pub(crate) fn cut(&self, number: u32, len: usize) {
        self.files.lock().unwrap()[&number].bytes.lock().unwrap().truncate(len);
    }

    /// Takes the name of file `number` away.
    pub(crate) fn remove(&self, number: u32) {
        self.files.lock().unwrap().remove(&number);
    }
}

impl Files for MemoryDisk {
    fn list(&self) -> io::Result<Vec<u32>> {
        Ok(self.files.lock().unwrap().keys().copied().collect())
    }

    fn stamp(&self) -> io::Result<DirectoryStamp> {
        Ok(DirectoryStamp { modified_ns: 0, changed_ns: 0 })
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>> {
        let file = self.files.lock().unwrap().get(&number).map(Arc::clone);
        file.map(|file| file as Arc<dyn LogFile>).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
        self.files.lock().unwrap().get(&number).map(|file| file.identity()).transpose()
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

impl LogFile for MemoryFile {
    fn read_some_at(&self, into: &mut [u8], offset: u64, _: usize) -> io::Result<usize> {
        let bytes = self.bytes.lock().unwrap();
        let from = &bytes[bytes.len().min(offset as usize)..];
        let read = from.len().min(into.len());
        into[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok(FileIdentity { device: 1, inode: self.inode })
    }
}

/// The bytes of a log file, and where the entries in it begin.
pub(crate) struct Written {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// Where each entry begins.
    pub(crate) at: Vec<u64>,
}

impl Written {
    /// File `number`, with a header only.
    pub(crate) fn file(number: u32) -> Written {
        let header = FileHeader { version: 3, file_number: number, last_entry_in_previous: 0 }.encode();
        assert_eq!(header.len(), FILE_HEADER_LEN_V3);
        Written { bytes: header, at: Vec::new() }
    }

    /// Appends an entry, which names the one before it.
    pub(crate) fn entry(mut self, vlsn: Option<i64>, payload: &[u8]) -> Written {
        let before = self.at.last().map_or(0, |&at| at as u32);
        self.at.push(self.bytes.len() as u64);
        encode_entry(&mut self.bytes, RECORD, 0, before, vlsn, payload);
        self
    }

    /// Appends an entry for each VLSN.
    pub(crate) fn entries(self, vlsns: impl IntoIterator<Item = i64>) -> Written {
        vlsns.into_iter().fold(self, |file, vlsn| file.entry(Some(vlsn), &[vlsn as u8; 40]))
    }

    /// Appends zeros.
    pub(crate) fn zeros(mut self, count: usize) -> Written {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }
}
