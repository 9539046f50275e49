//! A copy of the log, for a replica that begins anew: which files, how much of each, and their bytes.
//!
//! A copy is to be what a crash would have left: all of the log up to one place. The log ends there for whoever opens the
//! copy, so behind that place nothing may be kept, and before it nothing may be missing. The place is behind the last
//! whole entry that stands before anything else in the highest file that has one; a newborn file above, and one that
//! begins with zeros, is left out. Then the files below are looked at that may still be written to: one that is not whole
//! to its end, or lacks the entry that the next file names as its last, is waited for. What has not changed for the
//! settle time will not: it is copied as it is, since who opens a log does not read the files below the last.
//!
//! Files are held open until they have been read, so that a cleaner that deletes one takes nothing away: as many as
//! [`FILES_OPEN_MAX`] of those that come next. A file further on that is deleted meanwhile is an error when its turn
//! comes. Everything is read in pieces, within a [budget](super::budget).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Log;
use super::budget::{Budget, Searched};
use super::files::{NumberedFile, list_error};
use super::format::{FileHeader, HeaderFault};
use super::lookup::Known;
use super::probe::Probe;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::memory;

/// How many files one copy holds open.
pub const FILES_OPEN_MAX: usize = 128;

/// How many files below the last one may still be written to.
const LIVE_BELOW: usize = 3;

/// How often the files are listed anew when one of them is gone before it could be held.
const ATTEMPTS: u32 = 16;

/// After which time a file that is waited for is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a look costs besides its bytes.
const LOOK_COSTS: u64 = 4 * 1024;

/// A file of the copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopiedFile {
    /// Its number, which is its name.
    pub number: u32,
    /// How many of its bytes belong to the copy.
    pub len: u64,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// So many bytes of the file.
    Bytes(usize),
    /// The file is over; this is the CRC-32 of its bytes.
    FileEnds(u32),
    /// All files are over.
    End,
}

/// See the module's comment. One thread at a time.
pub struct Copy {
    log: Arc<Log>,
    settle: Duration,
    budget: Budget,
    probe: Probe,
    plan: Plan,
    attempts: u32,
    files: Vec<CopiedFile>,
    /// The files that come next, open; the first is the one being read.
    open: VecDeque<NumberedFile>,
    /// Which of `files` is being read, and how far.
    at: usize,
    read: u64,
    hasher: crc32fast::Hasher,
}

/// How far it is known what belongs to the copy.
enum Plan {
    NotBegun,
    /// Looks for the last whole entry, from the highest file down.
    Last {
        numbers: Vec<u32>,
        walk: Option<Walk>,
    },
    /// Looks at the files below `files[0]`, which may still be written to.
    Below {
        numbers: Vec<u32>,
        /// The entry that the file above names as the last of the one below; 0 for none.
        named: u64,
        walk: Option<Walk>,
        incomplete: Option<Incomplete>,
    },
    Known,
}

/// A file that is read from its beginning to what is no entry.
struct Walk {
    file: NumberedFile,
    header: FileHeader,
    at: u64,
}

/// A file that is waited for, as it was seen, and since when.
#[derive(Clone, Copy)]
struct Incomplete {
    number: u32,
    at: u64,
    len: u64,
    since: Instant,
}

impl Copy {
    /// A copy of `log` as it is when it is first asked for, below its send limit.
    pub fn new(log: Arc<Log>) -> Copy {
        let budget = Budget::default();
        Copy {
            settle: log.scanner_options().tail.settle,
            log,
            probe: Probe::new(budget.clone()),
            budget,
            plan: Plan::NotBegun,
            attempts: 0,
            files: Vec::new(),
            open: VecDeque::new(),
            at: 0,
            read: 0,
            hasher: crc32fast::Hasher::new(),
        }
    }

    /// From now on, about `bytes` are read before it is interrupted.
    pub fn allow(&mut self, bytes: u64) {
        self.budget.renew(bytes);
    }

    /// The files of the copy, in ascending order; none of a log that has no whole entry. What they are does not change any
    /// more once it is known.
    pub fn files(&mut self, now: Instant) -> Searched<Known<&[CopiedFile]>> {
        while !matches!(self.plan, Plan::Known) {
            if let Some(look_again) = self.look(now)? {
                return Ok(Known::NotYet { look_again });
            }
        }
        Ok(Known::Yes(&self.files))
    }

    /// The file whose bytes come next.
    pub fn file(&self) -> Option<CopiedFile> {
        self.files.get(self.at).copied()
    }

    /// Appends the next bytes to `into`, at most `most`. Only when the files are known.
    pub fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<Piece> {
        let Some(CopiedFile { number, len }) = self.file() else { return Ok(Piece::End) };
        if self.read == len {
            let crc = std::mem::take(&mut self.hasher).finalize();
            self.open.pop_front();
            (self.at, self.read) = (self.at + 1, 0);
            self.hold_next()?;
            return Ok(Piece::FileEnds(crc));
        }
        let file = self.open.front().ok_or_else(|| gone(number))?;
        let wanted = usize::try_from(len - self.read).unwrap_or(usize::MAX).min(most);
        memory::reserve(into, wanted).map_err(|none| Error::no_memory(none, "a copy of the log", None, None))?;
        let begin = into.len();
        into.resize(begin + wanted, 0);
        let read = file.read_at(&mut into[begin..], self.read);
        into.truncate(begin + *read.as_ref().unwrap_or(&0));
        let read = read?;
        self.budget.spend(read as u64);
        if read < wanted {
            return Err(Error::LogTruncated { file: number, len: self.read + read as u64, read: len });
        }
        self.hasher.update(&into[begin..]);
        self.read += read as u64;
        Ok(Piece::Bytes(read))
    }

    /// Gets on with the plan; some: it is to be looked again then.
    fn look(&mut self, now: Instant) -> Searched<Option<Instant>> {
        match &mut self.plan {
            Plan::NotBegun => {
                let files = self.log.files();
                self.budget.spend(LOOK_COSTS);
                let mut numbers = files.list().map_err(|error| list_error(&**files, error))?;
                let limit = self.log.send_limit();
                numbers.retain(|&number| Lsn::new(number, 0) < limit);
                self.files.clear();
                self.plan = Plan::Last { numbers, walk: None };
            }
            Plan::Last { numbers, walk } => {
                let Some(&number) = numbers.last() else {
                    self.plan = Plan::Known;
                    return Ok(None);
                };
                if walk.is_none() {
                    *walk = Walk::begin(&self.log, number)?;
                }
                let Some(begun) = walk else {
                    // It is being born, or was deleted.
                    numbers.pop();
                    return Ok(None);
                };
                let limit = self.log.send_limit();
                let end = if number == limit.file() { u64::from(limit.offset()) } else { u64::MAX };
                begun.go_on(&mut self.probe, end)?;
                let (at, header) = (begun.at, begun.header);
                numbers.pop();
                if at == header.first_entry() {
                    *walk = None;
                    return Ok(None);
                }
                self.files.push(CopiedFile { number, len: at });
                let (numbers, named) = (std::mem::take(numbers), u64::from(header.last_entry_in_previous));
                self.plan = Plan::Below { numbers, named, walk: None, incomplete: None };
            }
            Plan::Below { numbers, named, walk, incomplete } => {
                let place = numbers.len().checked_sub(self.files.len());
                let Some(&number) = place.filter(|_| self.files.len() <= LIVE_BELOW).and_then(|at| numbers.get(at))
                else {
                    return self.hold_all().map(|()| None).map_err(Into::into);
                };
                let is_next = number.checked_add(1) == self.files.last().map(|file| file.number);
                if walk.is_none() {
                    *walk = Walk::begin(&self.log, number)?;
                }
                let Some(begun) = walk else {
                    return self.begin_anew(number).map(|()| None).map_err(Into::into);
                };
                if incomplete.is_some() && !begun.has_its_name(&self.log)? {
                    return self.begin_anew(number).map(|()| None).map_err(Into::into);
                }
                begun.go_on(&mut self.probe, u64::MAX)?;
                let len = begun.file.len()?;
                let (at, header) = (begun.at, begun.header);
                let is_whole = at == len && (at > *named || !is_next);
                let seen = Incomplete { number, at, len, since: now };
                let before = incomplete.filter(|before| (before.number, before.at, before.len) == (number, at, len));
                let since = before.unwrap_or(seen).since;
                if !is_whole && now.saturating_duration_since(since) < self.settle {
                    *incomplete = Some(Incomplete { since, ..seen });
                    return Ok(Some((since + self.settle).min(now + LOOK_AGAIN)));
                }
                *named = u64::from(header.last_entry_in_previous);
                (*walk, *incomplete) = (None, None);
                self.files.push(CopiedFile { number, len });
            }
            Plan::Known => {}
        }
        Ok(None)
    }

    /// All files are known: those that are not written to any more by their lengths. Opens those that come next.
    fn hold_all(&mut self) -> Result<()> {
        let Plan::Below { numbers, .. } = &mut self.plan else { return Ok(()) };
        let mut numbers = std::mem::take(numbers);
        numbers.truncate((numbers.len() + 1).saturating_sub(self.files.len()));
        self.budget.spend(LOOK_COSTS * numbers.len() as u64);
        for number in numbers.into_iter().rev() {
            let len = self.log.files().len_of(number).map_err(|error| Error::log_read(number, 0, error))?;
            match len {
                Some(len) => self.files.push(CopiedFile { number, len }),
                None => return self.begin_anew(number),
            }
        }
        self.files.reverse();
        while self.open.len() < FILES_OPEN_MAX.min(self.files.len()) {
            let number = self.files[self.open.len()].number;
            match NumberedFile::open(&**self.log.files(), number)? {
                Some(file) => self.open.push_back(file),
                None => return self.begin_anew(number),
            }
        }
        self.plan = Plan::Known;
        Ok(())
    }

    /// A file has been deleted that was listed, and nothing was sent yet: it is not part of the log any more.
    fn begin_anew(&mut self, number: u32) -> Result<()> {
        self.open.clear();
        self.plan = Plan::NotBegun;
        self.attempts += 1;
        if self.attempts < ATTEMPTS { Ok(()) } else { Err(gone(number)) }
    }

    /// One file more may be held open.
    fn hold_next(&mut self) -> Result<()> {
        let Some(next) = self.files.get(self.at + self.open.len()) else { return Ok(()) };
        let file = NumberedFile::open(&**self.log.files(), next.number)?.ok_or_else(|| gone(next.number))?;
        self.open.push_back(file);
        Ok(())
    }
}

impl Walk {
    /// `None`: the file is shorter than its header, or not there.
    fn begin(log: &Log, number: u32) -> Result<Option<Walk>> {
        let Some(file) = NumberedFile::open(&**log.files(), number)? else { return Ok(None) };
        match file.header()? {
            Ok(header) => Ok(Some(Walk { file, header, at: header.first_entry() })),
            Err(HeaderFault::Short(_)) => Ok(None),
            Err(fault) => Err(Error::LogFileHeader { file: number, fault }),
        }
    }

    /// Whether its name still stands for this file: a recovery may have deleted it, and made another.
    fn has_its_name(&self, log: &Log) -> Result<bool> {
        let number = self.file.number;
        let named = log.files().identity(number).map_err(|error| Error::log_read(number, 0, error))?;
        Ok(named == Some(self.file.identity()?))
    }

    /// Goes on to what is no entry, or begins at `end` or behind it.
    fn go_on(&mut self, probe: &mut Probe, end: u64) -> Searched<()> {
        let (began, budget) = (self.at, probe.budget().clone());
        let mut is_busy = false;
        self.at = probe.walk(&self.file, began, |at, _| {
            is_busy = at > began && at < end && budget.is_spent();
            is_busy || at >= end
        })?;
        if is_busy { budget.check() } else { Ok(()) }
    }
}

fn gone(file: u32) -> Error {
    Error::LogFileGone { file, expected_vlsn: None, found_vlsn: None }
}

#[cfg(test)]
mod tests;
