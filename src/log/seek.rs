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
use std::sync::Arc;

use super::budget::{Budget, Searched};
use super::files::{Files, NumberedFile, list_error};
use super::format::{FILE_HEADER_LEN_V3, Lsn};
use super::probe::{Probe, Stop, Walk};
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
pub struct Start {
    /// The position of an entry, or offset 0 for a file's beginning.
    pub at: Lsn,
    /// The first VLSN from there on, if it is known, and tells how far from there VLSNs above it can be that stand before.
    pub first_vlsn: Option<u64>,
}

impl Start {
    /// Whether what stands before is too far below `vlsn` to matter, when VLSNs stand up to `far` away from their place.
    pub fn is_below(&self, vlsn: u64, far: u64) -> bool {
        self.first_vlsn.is_some_and(|first| first.saturating_add(far) <= vlsn)
    }
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

impl Seek {
    /// A search in the files that are there now, for a reader that reads `read_bytes` at once out of `budget`.
    pub fn new(files: Arc<dyn Files>, read_bytes: usize, budget: Budget) -> Result<Seek> {
        let numbers = files.list().map_err(|error| list_error(&*files, error))?;
        let sample_bytes = read_bytes.min(SAMPLE_BYTES_MAX);
        Ok(Seek { files, numbers, first_vlsns: BTreeMap::new(), probe: Probe::new(budget), sample_bytes })
    }

    /// The place to begin at for `vlsn`: well below it, or the log's beginning. `None` in an empty directory.
    pub fn place_for(&mut self, vlsn: u64) -> Searched<Option<Start>> {
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
    pub fn beginning_of(&mut self, number: u32) -> Searched<Start> {
        let first_vlsn = self.first_vlsn(number)?;
        let before = match self.file_below(Some(number)) {
            Some(before) => self.first_vlsn(before)?,
            None => None,
        };
        Ok(Start { at: Lsn::new(number, 0), first_vlsn: first_vlsn.filter(|_| before <= first_vlsn) })
    }

    /// The highest place in file `number` that is well below `vlsn`, as far as samples tell.
    fn place_in(&mut self, number: u32, vlsn: u64) -> Searched<Start> {
        let mut best = self.beginning_of(number)?;
        let (Some(first), Some((file, begin))) = (best.first_vlsn, self.open(number)?) else { return Ok(best) };
        let (mut low, mut high) = (begin, file.len()?);
        while high.saturating_sub(low) > SAMPLES_LEFT * self.sample_bytes as u64 {
            let middle = low + (high - low) / 2;
            match self.probe.sample(&file, middle, self.sample_bytes)? {
                Some((offset, found)) if found >= first && is_well_below(first, found, vlsn) => {
                    best = Start { at: Lsn::new(number, offset as u32), first_vlsn: Some(found) };
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

    /// The highest file below `number`, or of all.
    pub fn file_below(&self, number: Option<u32>) -> Option<u32> {
        let is_below = |other: u32| number.is_none_or(|number| other < number);
        self.numbers.iter().rev().copied().find(|&other| is_below(other))
    }

    /// A VLSN that stands near the end of what is below `limit`; `None` if no file there is known to have any.
    pub fn vlsn_near_end(&mut self, limit: Lsn) -> Searched<Option<u64>> {
        let files = self.numbers.partition_point(|&number| Lsn::new(number, 0) < limit);
        let Some(last) = files.checked_sub(1) else { return Ok(None) };
        let Some((at, first)) = self.first_vlsn_at_or_below(last, 0)? else { return Ok(None) };
        let number = self.numbers[at];
        let Some((file, begin)) = self.open(number)? else { return Ok(Some(first)) };
        let len = file.len()?;
        let end = if number == limit.file() { len.min(u64::from(limit.offset())) } else { len };
        let sample = self.sample_bytes as u64;
        let mut back = sample;
        while back < end.saturating_sub(begin) {
            if let Some((_, vlsn)) = self.probe.sample(&file, end - back, self.sample_bytes)? {
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
    fn open(&self, number: u32) -> Result<Option<(NumberedFile, u64)>> {
        self.probe.budget().spend(OPENING_COSTS);
        let file = match NumberedFile::open(&*self.files, number) {
            Ok(Some(file)) => file,
            Ok(None) | Err(Error::LogNotRegular { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(file.header()?.ok().map(|header| (file, header.first_entry())))
    }

    /// The first VLSN in file `number`; `None` if it has none near its beginning, or cannot be told.
    pub fn first_vlsn(&mut self, number: u32) -> Searched<Option<u64>> {
        if let Some(known) = self.first_vlsns.get(&number) {
            return Ok(*known);
        }
        let mut first = None;
        if let Some((file, begin)) = self.open(number)? {
            self.probe.walk(&file, begin, |offset, entry| {
                first = entry.vlsn_to_send();
                first.is_some() || offset - begin >= FIRST_VLSN_BYTES_MAX
            })?;
        }
        self.first_vlsns.insert(number, first);
        self.probe.budget().check()?;
        Ok(first)
    }

    /// The entries of file `number` that begin below `until`; `None` if it cannot be told where they begin.
    pub fn entries(&self, number: u32, until: u64) -> Result<Option<Walk>> {
        Ok(self.open(number)?.map(|(file, next)| Walk { file, next, until }))
    }

    /// What stands from `at` on, where an entry begins, or which is a file's beginning: nothing of it so far, see
    /// [`Walk::until`]. `None` if it cannot be told where the entries of that file begin.
    pub fn entries_from(&self, at: Lsn) -> Result<Option<Walk>> {
        let Some((file, first)) = self.open(at.file())? else { return Ok(None) };
        let next = first.max(u64::from(at.offset()));
        Ok(Some(Walk { file, next, until: next }))
    }

    /// Whether file `number` is longer than any header: it can have entries.
    pub fn can_have_entries(&self, number: u32) -> Result<bool> {
        let len = NumberedFile::open(&*self.files, number)?.map(|file| file.len()).transpose()?;
        Ok(len.is_some_and(|len| len > FILE_HEADER_LEN_V3 as u64))
    }

    /// Goes on with `walk`, and calls `each` with every whole entry; says what ended it.
    pub fn each_entry(&mut self, walk: &mut Walk, mut each: impl FnMut(Lsn, &Sighted)) -> Searched<Stop> {
        walk.each_entry(&mut self.probe, |lsn, entry| {
            each(lsn, entry);
            false
        })
    }
}

/// Whether what comes after `found` in a file that begins with VLSN `first` is sure enough to be read before `vlsn` is.
fn is_well_below(first: u64, found: u64, vlsn: u64) -> bool {
    let disorder = (found.saturating_sub(first) / DISORDER_OF_FILE).clamp(1, DISORDER_USUAL);
    found.saturating_add(disorder) <= vlsn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::budget::Halt;
    use crate::log::test_disk::{MemoryDisk, Written};

    fn disk(files: impl IntoIterator<Item = (u32, Written)>) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::default();
        for (number, written) in files {
            disk.put(number, u64::from(number) + 1, written.bytes);
        }
        Arc::new(disk)
    }

    fn seek(disk: &Arc<MemoryDisk>, budget: Budget) -> Seek {
        Seek::new(Arc::clone(disk) as Arc<dyn Files>, 64 * 1024, budget).unwrap()
    }

    /// With as small a budget as there is: the answer, and after how many turns.
    fn in_turns<T>(seek: &mut Seek, mut ask: impl FnMut(&mut Seek) -> Searched<T>) -> (T, u32) {
        let mut turns = 0;
        loop {
            seek.probe.budget().renew(1);
            turns += 1;
            match ask(seek) {
                Err(Halt::Busy) => assert!(turns < 1000, "it does not get on"),
                Err(Halt::Failed(error)) => panic!("{error}"),
                Ok(found) => return (found, turns),
            }
        }
    }

    /// 20 files of 100 VLSNs each; of every fifth the entries have none.
    fn twenty_files() -> Arc<MemoryDisk> {
        disk((0..20).map(|number| {
            let file = Written::file(number).entry(None, b"no VLSN");
            let first = i64::from(number) * 100 + 1;
            (number, if number % 5 == 3 { file } else { file.entries(first..first + 100) })
        }))
    }

    #[test]
    fn the_file_to_begin_in_is_well_below_the_vlsn_and_the_highest_that_is() {
        let disk = twenty_files();
        // A file's disorder is an eighth of its VLSNs; a VLSN nearer than that to a file's first may stand before.
        for (vlsn, file) in [(1, 0), (101, 0), (113, 1), (250, 2), (350, 2), (560, 5), (1_000_000, 19)] {
            let place = seek(&disk, Budget::default()).place_for(vlsn).unwrap().unwrap();
            assert_eq!(place.at.file(), file, "for VLSN {vlsn}");
            let (in_turns, turns) = in_turns(&mut seek(&disk, Budget::default()), |seek| seek.place_for(vlsn));
            assert_eq!(in_turns, Some(place), "in turns, for VLSN {vlsn}");
            assert!(turns > 1);
        }
        assert_eq!(seek(&Arc::default(), Budget::default()).place_for(5), Ok(None));
    }

    #[test]
    #[cfg_attr(miri, ignore = "some megabytes of checksums")]
    fn in_a_large_file_the_place_is_in_its_middle() {
        let written = (1..=20_000).fold(Written::file(0), |file, vlsn| file.entry(Some(vlsn), &[1; 200]));
        let at = written.at.clone();
        let disk = disk([(0, written)]);
        for vlsn in [5000, 15_000, 30_000] {
            let place = seek(&disk, Budget::default()).place_for(vlsn).unwrap().unwrap();
            let found = at.binary_search(&u64::from(place.at.offset())).expect("an entry begins there") as u64 + 1;
            assert_eq!(place.first_vlsn, Some(found));
            assert!(found < vlsn && found + found / DISORDER_OF_FILE <= vlsn, "{found} for VLSN {vlsn}");
            assert!(found > vlsn.min(20_000) / 2, "{found} for VLSN {vlsn}");
        }
    }

    /// What was there before it is not below its first VLSN.
    #[test]
    fn the_first_vlsn_of_a_history_that_stands_twice_says_nothing() {
        let disk = disk([(0, Written::file(0).entries(1..=9)), (1, Written::file(1).entries(5..=9))]);
        assert_eq!(seek(&disk, Budget::default()).beginning_of(1).unwrap().first_vlsn, Some(5));
        disk.put(2, 3, Written::file(2).entries(3..=12).bytes);
        assert_eq!(seek(&disk, Budget::default()).beginning_of(2).unwrap().first_vlsn, None);
    }

    #[test]
    fn entries_are_walked_over_holes_up_to_its_end_or_to_what_is_no_entry() {
        let mut written = Written::file(0).entries([1, 2]).zeros(1000).entries([3, 4, 5]);
        let until = written.at[4];
        written.bytes.extend(b"no entry");
        let disk = disk([(0, written)]);
        let walk = |until: u64| {
            let mut vlsns = Vec::new();
            let mut seek = seek(&disk, Budget::default());
            let mut walk = seek.entries(0, until).unwrap().unwrap();
            let (walked, _) =
                in_turns(&mut seek, |seek| seek.each_entry(&mut walk, |_, entry| vlsns.extend(entry.vlsn_to_send())));
            (vlsns, walked)
        };
        assert_eq!(walk(until), (vec![1, 2, 3, 4], Stop::Entry));
        assert_eq!(walk(u64::MAX), (vec![1, 2, 3, 4, 5], Stop::NoEntry));
        disk.put(0, 1, Written::file(0).entries([1, 2]).zeros(9).bytes);
        assert_eq!(walk(u64::MAX), (vec![1, 2], Stop::End));
    }

    #[test]
    fn a_file_that_is_gone_or_has_no_header_has_no_vlsn() {
        let disk = twenty_files();
        let mut seek = seek(&disk, Budget::default());
        disk.remove(4);
        disk.put(6, 7, b"no header, but longer than one would be, so it is damaged".to_vec());
        assert_eq!((seek.first_vlsn(4), seek.first_vlsn(6), seek.first_vlsn(7)), (Ok(None), Ok(None), Ok(Some(701))));
        assert_eq!((seek.can_have_entries(4), seek.can_have_entries(6)), (Ok(false), Ok(true)));
        assert!(seek.entries(6, u64::MAX).unwrap().is_none());
    }
}
