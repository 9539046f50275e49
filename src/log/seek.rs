//! Finds the place to begin at for a VLSN, by bisecting the files and then the file: a log is not read to be searched.
//!
//! VLSNs rise through the log, but for the disorder that concurrent commits leave: a VLSN can be some thousands away
//! from where it belongs. So the place chosen is well below the VLSN looked for. A choice that is still too late is no
//! harm: the [`scanner`](super::scanner) then misses a VLSN, and looks at what stands before.
//!
//! In the middle of a file nothing says where an entry begins. One is believed to where it is whole, its checksum holds,
//! and the entry behind it is whole, too, and names it as the one before by its offset. What else could look so would
//! have to be a copy of a log inside an entry, at the very offset that it was copied from.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::budget::{Budget, Searched};
use super::files::{Files, LogFile, NotRegular};
use super::format::{FILE_HEADER_LEN_V3, FileHeader, Lsn, ParsedFileHeader};
use super::probe::{Behind, Probe};
use super::window::Sighted;
use crate::error::{Error, Result};

/// How far below the VLSN looked for a place should be. The disorder seen in real logs goes back up to some 14 000
/// VLSNs, of entries so small that these were a fraction of a file; so it is no more than this fraction of a file.
const DISORDER_USUAL: u64 = 16 * 1024;
const DISORDER_OF_FILE: u64 = 8;

/// How much is read in the middle of a file to find where an entry begins. Where entries are larger than half of that,
/// reading from the file's beginning is no great loss.
const SAMPLE_BYTES_MAX: usize = 64 * 1024;

/// A search ends when so many samples are left to read.
const SAMPLES_LEFT: u64 = 8;

/// Where to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The position of an entry, or offset 0 for a file's beginning.
    pub at: Lsn,
    /// The first VLSN from there on, if it is known, and tells how far from there VLSNs above it can be that stand before.
    pub first_vlsn: Option<u64>,
}

/// How much of a file is read at most to find its first VLSN.
const FIRST_VLSN_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// To open a file takes as long as to read so many bytes.
const OPENING_COSTS: u64 = 16 * 1024;

/// Looks into files for their first VLSNs. A search that the [budget](super::budget) interrupts is begun again with the
/// same `Seek`: what was found out is known, and only the rest is read.
pub struct Seek {
    files: Arc<dyn Files>,
    numbers: Vec<u32>,
    /// The first VLSNs of the files that were looked into.
    first_vlsns: BTreeMap<u32, Option<u64>>,
    probe: Probe,
    sample_bytes: usize,
}

/// The entries of a file up to an offset, and how far they have been looked at.
pub struct Stretch {
    number: u32,
    file: Arc<dyn LogFile>,
    next: u64,
    until: u64,
}

impl Stretch {
    /// How far it was looked at.
    pub fn position(&self) -> u64 {
        self.next
    }
}

impl Seek {
    /// A search in the files that are there now, for a reader that reads `read_bytes` at once out of `budget`.
    pub fn new(files: Arc<dyn Files>, read_bytes: usize, budget: Budget) -> Result<Seek> {
        let numbers = files.list().map_err(|error| Error::LogDirectory {
            path: files.path().map(std::path::Path::to_path_buf).unwrap_or_default(),
            os: error.into(),
        })?;
        let sample_bytes = read_bytes.min(SAMPLE_BYTES_MAX);
        Ok(Seek { files, numbers, first_vlsns: BTreeMap::new(), probe: Probe::new(budget), sample_bytes })
    }

    /// From now on, about `bytes` are read before a search is interrupted.
    pub fn allow(&mut self, bytes: u64) {
        self.probe.budget().renew(bytes);
    }

    /// The place to begin at for `vlsn`: well below it, or the log's beginning. `None` in an empty directory.
    pub fn place_for(&mut self, vlsn: u64) -> Searched<Option<Place>> {
        let Some(number) = self.file_for(vlsn)? else { return Ok(None) };
        self.place_in(number, vlsn).map(Some)
    }

    /// The file to begin in: the highest that begins well below `vlsn`, or the lowest there is.
    fn file_for(&mut self, vlsn: u64) -> Searched<Option<u32>> {
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

    /// The beginning of file `number`. Where that is a stretch of history that the log holds twice, its first VLSN tells
    /// nothing of what stands before.
    pub fn beginning_of(&mut self, number: u32) -> Searched<Place> {
        let first_vlsn = self.first_vlsn(number)?;
        let before = match self.file_below(number) {
            Some(before) => self.first_vlsn(before)?,
            None => None,
        };
        Ok(Place { at: Lsn::new(number, 0), first_vlsn: first_vlsn.filter(|_| before <= first_vlsn) })
    }

    /// The highest place in file `number` that is well below `vlsn`, as far as samples tell.
    fn place_in(&mut self, number: u32, vlsn: u64) -> Searched<Place> {
        let mut best = self.beginning_of(number)?;
        let (Some(first), Some((file, begin))) = (best.first_vlsn, self.open(number)?) else { return Ok(best) };
        let failed = |error| read_error(number, error);
        let (mut low, mut high) = (begin, file.len().map_err(failed)?);
        while high.saturating_sub(low) > SAMPLES_LEFT * self.sample_bytes as u64 {
            let middle = low + (high - low) / 2;
            let sampled = self.probe.sample(&*file, middle, self.sample_bytes).map_err(failed)?;
            match sampled {
                Some((offset, found)) if found >= first && is_well_below(first, found, vlsn) => {
                    best = Place { at: Lsn::new(number, offset as u32), first_vlsn: Some(found) };
                    low = offset;
                }
                _ => high = middle,
            }
        }
        Ok(best)
    }

    /// How much disorder to expect around the file with index `at`, which begins with VLSN `first`.
    fn disorder_at(&mut self, at: usize, first: u64) -> Searched<u64> {
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

    /// The highest file below `number`, or of all.
    pub fn file_below_or_last(&self, number: Option<u32>) -> Option<u32> {
        number.map_or(self.numbers.last().copied(), |number| self.file_below(number))
    }

    /// A VLSN that stands near the end of what is below `limit`; `None` if no file there is known to have any.
    pub fn vlsn_near_end(&mut self, limit: Lsn) -> Searched<Option<u64>> {
        let files = self.numbers.partition_point(|&number| Lsn::new(number, 0) < limit);
        let Some(last) = files.checked_sub(1) else { return Ok(None) };
        let Some((at, first)) = self.first_vlsn_at_or_below(last, 0)? else { return Ok(None) };
        let number = self.numbers[at];
        let Some((file, begin)) = self.open(number)? else { return Ok(Some(first)) };
        let failed = |error| read_error(number, error);
        let len = file.len().map_err(failed)?;
        let end = if number == limit.file() { len.min(u64::from(limit.offset())) } else { len };
        let sample = self.sample_bytes as u64;
        let mut back = sample;
        while back < end.saturating_sub(begin) {
            let sampled = self.probe.sample(&*file, end - back, self.sample_bytes).map_err(failed)?;
            if let Some((_, vlsn)) = sampled {
                return Ok(Some(vlsn));
            }
            back *= 2;
        }
        Ok(Some(first))
    }

    /// The highest file from `at` down to `low` that has a VLSN, by its index, and the first it has.
    fn first_vlsn_at_or_below(&mut self, at: usize, low: usize) -> Searched<Option<(usize, u64)>> {
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
        self.probe.budget().spend(OPENING_COSTS);
        let file = match self.files.open(number) {
            Ok(file) => file,
            Err(none) if none.kind() == io::ErrorKind::NotFound || NotRegular::of(&none).is_some() => return Ok(None),
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
    pub fn first_vlsn(&mut self, number: u32) -> Searched<Option<u64>> {
        if let Some(known) = self.first_vlsns.get(&number) {
            return Ok(*known);
        }
        let mut first = None;
        if let Some((file, begin)) = self.open(number)? {
            let walk = self.probe.walk(&*file, begin, |offset, entry| {
                first = entry.vlsn_to_send();
                first.is_some() || offset - begin >= FIRST_VLSN_BYTES_MAX
            });
            walk.map_err(|error| read_error(number, error))?;
        }
        self.first_vlsns.insert(number, first);
        self.probe.budget().check()?;
        Ok(first)
    }

    /// The entries of file `number` that begin below `until`; `None` if it cannot be told where they begin.
    pub fn stretch(&self, number: u32, until: u64) -> Result<Option<Stretch>> {
        Ok(self.open(number)?.map(|(file, next)| Stretch { number, file, next, until }))
    }

    /// Whether file `number` is longer than any header: it can have entries.
    pub fn can_have_entries(&self, number: u32) -> Result<bool> {
        match self.files.open(number).and_then(|file| file.len()) {
            Ok(len) => Ok(len > FILE_HEADER_LEN_V3 as u64),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(read_error(number, error)),
        }
    }

    /// All entries that file `number` has now; `None` if it cannot be told where they begin.
    pub fn whole(&self, number: u32) -> Result<Option<Stretch>> {
        let Some(stretch) = self.stretch(number, 0)? else { return Ok(None) };
        let until = stretch.file.len().map_err(|error| read_error(number, error))?;
        Ok(Some(Stretch { until, ..stretch }))
    }

    /// Calls `each` with every whole entry of `stretch`, over holes, up to what is no entry; says whether that is no
    /// sooner than at the stretch's end.
    pub fn each_entry(&mut self, stretch: &mut Stretch, mut each: impl FnMut(Lsn, &Sighted)) -> Searched<bool> {
        let Stretch { number, file, next, until } = stretch;
        let failed = |error| read_error(*number, error);
        let probe = &mut self.probe;
        let budget = probe.budget().clone();
        while *next < *until {
            let behind = probe.behind_zeros(&**file, next).map_err(|halt| halt.or_error(failed))?;
            if !matches!(behind, Behind::Entry(at) if at < *until) {
                // Zeros up to the stretch's end are none of its entries.
                return Ok(matches!(behind, Behind::Entry(_)));
            }
            let began = *next;
            *next = probe
                .walk(&**file, began, |offset, entry| {
                    let goes_on = offset < *until && !(offset > began && budget.is_spent());
                    if goes_on {
                        each(Lsn::new(*number, offset as u32), entry);
                    }
                    !goes_on
                })
                .map_err(failed)?;
            budget.check()?;
        }
        Ok(true)
    }
}

/// Whether what comes after `found` in a file that begins with VLSN `first` is sure enough to be read before `vlsn` is.
fn is_well_below(first: u64, found: u64, vlsn: u64) -> bool {
    let disorder = (found.saturating_sub(first) / DISORDER_OF_FILE).clamp(1, DISORDER_USUAL);
    found.saturating_add(disorder) <= vlsn
}

fn read_error(file: u32, error: io::Error) -> Error {
    Error::log_read(file, 0, error)
}
