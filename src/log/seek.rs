//! Finds the file to begin in for a VLSN, by bisecting the files: a log is not read to be searched.
//!
//! VLSNs rise from file to file, but for the disorder that concurrent commits leave: the first VLSN of a file can be
//! some thousands away from where it belongs. So the file chosen begins well below the VLSN looked for. A choice that
//! is still too late is no harm: the [`scanner`](super::scanner) then misses a VLSN, and looks in the files before.

use std::io;
use std::sync::Arc;

use super::files::{Files, LogFile};
use super::format::{FILE_HEADER_LEN_V3, FileHeader, Lsn, ParsedFileHeader};
use super::probe::Probe;
use super::window::Sighted;
use crate::error::{Error, Result};

/// How far below the VLSN looked for a file should begin. The disorder seen in real logs goes back up to some 14 000
/// VLSNs, of entries so small that these were a fraction of a file; so it is no more than this fraction of a file.
const DISORDER_USUAL: u64 = 16 * 1024;
const DISORDER_OF_FILE: u64 = 8;

/// How much of a file is read at most to find its first VLSN.
const FIRST_VLSN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Looks into files for their first VLSNs.
pub struct Seek<'a> {
    files: &'a dyn Files,
    numbers: Vec<u32>,
    probe: Probe,
}

impl<'a> Seek<'a> {
    /// A search in the files that are there now.
    pub fn new(files: &'a dyn Files) -> Result<Seek<'a>> {
        let numbers = files.list().map_err(|error| Error::LogDirectory {
            path: files.path().map(std::path::Path::to_path_buf).unwrap_or_default(),
            os: error.into(),
        })?;
        Ok(Seek { files, numbers, probe: Probe::default() })
    }

    /// The file to begin in for `vlsn`: the highest that begins well below it, or the lowest there is. `None` in an
    /// empty directory.
    pub fn file_for(&mut self, vlsn: u64) -> Result<Option<u32>> {
        // All files below `low` begin low enough, as far as is known; none from `high` on does.
        let (mut low, mut high) = (0, self.numbers.len());
        let mut best = 0;
        while low < high {
            let middle = low + (high - low) / 2;
            // Files without a VLSN say nothing: the nearest below that has one speaks for them.
            let Some((at, first)) = self.first_vlsn_at_or_below(middle, low)? else {
                low = middle + 1;
                continue;
            };
            if first <= vlsn && first.saturating_add(self.disorder_at(at, first)?) <= vlsn {
                best = at;
                low = middle + 1;
            } else {
                high = at;
            }
        }
        Ok(self.numbers.get(best).copied())
    }

    /// How much disorder to expect around the file with index `at`, which begins with VLSN `first`.
    fn disorder_at(&mut self, at: usize, first: u64) -> Result<u64> {
        let before = match at.checked_sub(1) {
            Some(before) => self.first_vlsn(self.numbers[before])?,
            None => None,
        };
        let in_file = before.map_or(u64::MAX, |before| first.saturating_sub(before) / DISORDER_OF_FILE);
        Ok(in_file.min(DISORDER_USUAL))
    }

    /// The highest file below `number`.
    pub fn file_below(&self, number: u32) -> Option<u32> {
        self.numbers.iter().rev().copied().find(|&other| other < number)
    }

    /// The highest file that is known to have a VLSN, and its first.
    pub fn last_with_vlsn(&mut self) -> Result<Option<(u32, u64)>> {
        let Some(last) = self.numbers.len().checked_sub(1) else {
            return Ok(None);
        };
        let found = self.first_vlsn_at_or_below(last, 0)?;
        Ok(found.map(|(at, first)| (self.numbers[at], first)))
    }

    /// The highest file from `at` down to `low` that has a VLSN, by its index, and the first it has.
    fn first_vlsn_at_or_below(&mut self, at: usize, low: usize) -> Result<Option<(usize, u64)>> {
        for index in (low..=at).rev() {
            if let Some(first) = self.first_vlsn(self.numbers[index])? {
                return Ok(Some((index, first)));
            }
        }
        Ok(None)
    }

    /// Opens file `number` and finds where its first entry begins; `None` if that cannot be told. What is wrong with a
    /// file is for the one to say who reads it.
    fn open(&self, number: u32) -> Result<Option<(Arc<dyn LogFile>, u64)>> {
        let file = match self.files.open(number) {
            Ok(file) => file,
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read_error(number, error)),
        };
        let mut bytes = [0; FILE_HEADER_LEN_V3];
        let len = file.read_at(&mut bytes, 0).map_err(|error| read_error(number, error))?;
        Ok(match FileHeader::parse(&bytes[..len], number) {
            ParsedFileHeader::Header(header) => Some((file, u64::from(header.first_entry()))),
            _ => None,
        })
    }

    /// The first VLSN in file `number`; `None` if it has none near its beginning, or cannot be told.
    pub fn first_vlsn(&mut self, number: u32) -> Result<Option<u64>> {
        let Some((file, begin)) = self.open(number)? else { return Ok(None) };
        let mut first = None;
        let walk = self.probe.walk(&*file, begin, |offset, entry| {
            first = entry.vlsn_to_send();
            first.is_some() || offset - begin >= FIRST_VLSN_BYTES_MAX
        });
        walk.map_err(|error| read_error(number, error))?;
        Ok(first)
    }

    /// Calls `each` with every whole entry of file `number`, over holes, up to what is no entry.
    pub fn each_entry(&mut self, number: u32, mut each: impl FnMut(Lsn, &Sighted)) -> Result<()> {
        let Some((file, begin)) = self.open(number)? else { return Ok(()) };
        let failed = |error| read_error(number, error);
        let mut next = Some(begin);
        while let Some(from) = next {
            let at_entry = |offset: u64, entry: &Sighted| {
                each(Lsn::new(number, offset as u32), entry);
                false
            };
            let end = self.probe.walk(&*file, from, at_entry).map_err(failed)?;
            next = self.probe.entry_behind_zeros(&*file, end).map_err(failed)?.filter(|&behind| behind > end);
        }
        Ok(())
    }
}

fn read_error(file: u32, error: io::Error) -> Error {
    Error::LogRead { file, offset: 0, os: error.into() }
}
