//! A real log writer, opened as the real environment opens its log: after upstream's own search for the
//! end of the log, which cuts what a crash left half written.
//!
//! The search is 7.11.2's for both generations; 6.2.0 has the same one, but does not export it.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use noxu_dbi::FileManagerLogScanner;
use noxu_recovery::LogScanner;
use noxu_util::Lsn;

use crate::generation::Generation;
use crate::reader::{lacks_header, log_files};
use crate::{Error, Result};

/// Three buffers of 1 MiB, the real environment's default.
const BUFFERS: usize = 3;
const BUFFER_SIZE: usize = 1 << 20;
const FAULT_READ_SIZE: usize = 64 << 10;
const OPEN_FILES: usize = 32;

/// The header of an entry that has a VLSN, and of a file.
const ENTRY_HEADER: u64 = 22;
const FILE_HEADER: u64 = 36;

/// A log open for appending. What was not flushed is lost when it is dropped without [`close`](Self::close).
pub struct Writer {
    log: Log,
    cut: u64,
}

enum Log {
    Seven(noxu_log::LogManager),
    Six(noxu_log_6::LogManager),
}

impl Writer {
    /// Opens the log in `dir`, creating the directory if need be, and stands behind its last whole entry.
    pub fn open(dir: &Path, generation: Generation, file_max: u64) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|e| Error::at(dir, e))?;
        let before = log_bytes(dir)?;
        delete_stillborn(dir)?;
        let log = match generation {
            Generation::Seven => Log::Seven(open_7(dir, file_max)?),
            Generation::Six => Log::Six(open_6(dir, file_max)?),
        };
        Ok(Self { log, cut: before - log_bytes(dir)?.min(before) })
    }

    /// How many bytes of a torn end the opening cut away.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Appends one entry to the writer's buffer; with a VLSN it is a replicated one.
    pub fn append(&self, vlsn: Option<u64>, entry_type: u8, payload: &[u8]) -> Result<()> {
        match &self.log {
            Log::Seven(log) => append_7(log, vlsn, entry_type, payload),
            Log::Six(log) => append_6(log, vlsn, entry_type, payload),
        }
    }

    /// Hands what is buffered to the operating system: readers in other processes see it from here on.
    pub fn flush(&self) -> Result<()> {
        match &self.log {
            Log::Seven(log) => log.flush_no_sync().map(drop).map_err(Error::new),
            Log::Six(log) => log.flush_no_sync().map(drop).map_err(Error::new),
        }
    }

    /// Flushes, and makes all of it durable.
    pub fn sync(&self) -> Result<()> {
        match &self.log {
            Log::Seven(log) => log.flush_sync().map(drop).map_err(Error::new),
            Log::Six(log) => log.flush_sync().map(drop).map_err(Error::new),
        }
    }

    /// Makes everything durable and gives up the log.
    pub fn close(self) -> Result<()> {
        self.sync()
    }
}

/// Refuses a payload that no log file of this size could hold: the real writer would start file after file.
pub fn check_fits(payload: usize, file_max: u64) -> Result<()> {
    let needed = payload as u64 + ENTRY_HEADER + FILE_HEADER;
    if needed > file_max {
        let text = format_args!("--payload: {payload} bytes do not fit a file of --file-max {file_max}");
        return Err(Error::new(text));
    }
    Ok(())
}

/// A 7.11.2 log manager on the log in `dir`, standing behind its last whole entry.
pub fn open_7(dir: &Path, file_max: u64) -> Result<noxu_log::LogManager> {
    let files = noxu_log::FileManager::new(dir, false, file_max, OPEN_FILES);
    let files = Arc::new(files.map_err(|e| Error::at(dir, e))?);
    FileManagerLogScanner::new(Arc::clone(&files)).find_end_of_log();
    Ok(noxu_log::LogManager::new(files, BUFFERS, BUFFER_SIZE, FAULT_READ_SIZE))
}

/// A 6.2.0 log manager on the log in `dir`, standing behind its last whole entry.
pub fn open_6(dir: &Path, file_max: u64) -> Result<noxu_log_6::LogManager> {
    let (last_used, next) = find_end(dir, file_max)?;
    let files = noxu_log_6::FileManager::new(dir, false, file_max, OPEN_FILES);
    let files = Arc::new(files.map_err(|e| Error::at(dir, e))?);
    if !last_used.is_null() {
        let position = |lsn: Lsn| noxu_util_6::Lsn::from_u64(lsn.as_u64());
        files.set_last_position(position(next), position(last_used));
    }
    Ok(noxu_log_6::LogManager::new(files, BUFFERS, BUFFER_SIZE, FAULT_READ_SIZE))
}

/// The last entry and the next free position; the log's lock is given back before this returns.
fn find_end(dir: &Path, file_max: u64) -> Result<(Lsn, Lsn)> {
    let files = noxu_log::FileManager::new(dir, false, file_max, OPEN_FILES);
    let files = Arc::new(files.map_err(|e| Error::at(dir, e))?);
    Ok(FileManagerLogScanner::new(files).find_end_of_log())
}

fn append_7(log: &noxu_log::LogManager, vlsn: Option<u64>, entry_type: u8, payload: &[u8]) -> Result<()> {
    let kind = noxu_log::LogEntryType::from_type_num(entry_type).ok_or_else(|| unknown(entry_type))?;
    let written = match vlsn {
        Some(vlsn) => log.log_with_vlsn(kind, payload, vlsn, false, false),
        None => log.log(kind, payload, noxu_log::Provisional::No, false, false),
    };
    written.map(drop).map_err(|e| not_written(vlsn, e))
}

fn append_6(log: &noxu_log_6::LogManager, vlsn: Option<u64>, entry_type: u8, payload: &[u8]) -> Result<()> {
    let kind = noxu_log_6::LogEntryType::from_type_num(entry_type).ok_or_else(|| unknown(entry_type))?;
    let written = match vlsn {
        Some(vlsn) => log.log_with_vlsn(kind, payload, vlsn, false, false),
        None => log.log(kind, payload, noxu_log_6::Provisional::No, false, false),
    };
    written.map(drop).map_err(|e| not_written(vlsn, e))
}

fn unknown(entry_type: u8) -> Error {
    Error::new(format_args!("entry type {entry_type} is unknown to the writer"))
}

fn not_written(vlsn: Option<u64>, reason: impl std::fmt::Display) -> Error {
    match vlsn {
        Some(vlsn) => Error::new(format_args!("VLSN {vlsn} was not written: {reason}")),
        None => Error::new(format_args!("an entry without a VLSN was not written: {reason}")),
    }
}

/// Deletes a newest file that a crash left without a whole header: the real writer would refuse the whole
/// log over it, and an operator would have to do the same.
fn delete_stillborn(dir: &Path) -> Result<()> {
    let Some(newest) = log_files(dir)?.pop() else {
        return Ok(());
    };
    let mut head = Vec::new();
    File::open(&newest.path)
        .and_then(|file| file.take(FILE_HEADER).read_to_end(&mut head))
        .map_err(|e| Error::at(&newest.path, e))?;
    if !head.is_empty() && lacks_header(&head) {
        fs::remove_file(&newest.path).map_err(|e| Error::at(&newest.path, e))?;
    }
    Ok(())
}

/// The length of all log files in `dir`.
pub fn log_bytes(dir: &Path) -> Result<u64> {
    let length = |path: &Path| Ok(fs::metadata(path).map_err(|e| Error::at(path, e))?.len());
    log_files(dir)?.iter().map(|file| length(&file.path)).sum()
}
