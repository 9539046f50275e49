//! Places in the log: where it is being read, and where it was passed over.

use super::disk::Disk;
use super::judge::Name;
use crate::error::{Error, Result};
use crate::log::budget::Searched;
use crate::log::files::{FileIdentity, NumberedFile};
use crate::log::format::Lsn;
use crate::log::probe::Stop;
use crate::log::window::Sighted;

/// A place in a file.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) identity: FileIdentity,
    /// Where the next entry begins.
    pub(super) cursor: u64,
    /// The entry before, which the next one must name.
    pub(super) last: LastEntry,
    /// Whether any entry of the file was returned.
    pub(super) was_read: bool,
}

/// What is known of the entry before a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastEntry {
    /// There is none: the place is the file's first entry.
    None,
    /// Reading began in the middle of the file, or behind a hole: no telling.
    Unknown,
    /// It begins there and has this checksum.
    At {
        offset: u32,
        checksum: u32,
        /// The offset by which the next entry names it, if that is known. It is its own, but for what a backup does:
        /// the writer then counts on from the next file's beginning while it still fills this one.
        named: Option<u32>,
    },
}

impl Place {
    /// Its position.
    #[inline]
    pub(super) fn lsn(&self) -> Lsn {
        Lsn::new(self.number, low32(self.cursor))
    }

    /// Where the entry before it begins, if that was read.
    pub(super) fn last_lsn(&self) -> Option<Lsn> {
        match self.last {
            LastEntry::At { offset, .. } => Some(Lsn::new(self.number, offset)),
            LastEntry::None | LastEntry::Unknown => None,
        }
    }

    /// Goes behind `entry`, which stands here.
    #[inline]
    pub(super) fn consume(&mut self, entry: &Sighted) {
        let offset = low32(self.cursor);
        let named = match self.last {
            // An entry in the middle of a file that names none begins another count, from where is not known.
            LastEntry::At { .. } if entry.header.prev_offset == 0 => None,
            // The entry before ends where this one begins: so far apart are their names, too.
            LastEntry::At { offset: last, .. } => Some(entry.header.prev_offset.wrapping_add(offset - last)),
            LastEntry::None => Some(offset),
            LastEntry::Unknown => None,
        };
        self.last = LastEntry::At { offset, checksum: entry.header.checksum, named };
        self.cursor += entry.header.entry_len() as u64;
        self.was_read = true;
    }

    /// Whether `file` still has the entry before this place: the writer's recovery may have cut the log below it and
    /// written it anew. `None`: the file ends before it.
    pub(super) fn has_last(&self, file: &NumberedFile) -> Result<Option<bool>> {
        let LastEntry::At { offset, checksum, .. } = self.last else { return Ok(Some(true)) };
        let mut stored = [0; 4];
        let read = file.read_at(&mut stored, u64::from(offset))?;
        Ok((read == stored.len()).then(|| u32::from_le_bytes(stored) == checksum))
    }
}

impl LastEntry {
    /// The offset by which the next entry names it, if that is known.
    pub(super) fn named(&self) -> Option<u32> {
        if let LastEntry::At { named, .. } = *self { named } else { None }
    }

    /// Whether `entry` names this one as the one before it, as far as that can be told. A writer that restarted, or
    /// goes on behind a backup, may not know it: it says 0.
    #[inline]
    pub(super) fn precedes(&self, entry: &Sighted) -> bool {
        match *self {
            LastEntry::At { named: Some(named), .. } => {
                entry.header.prev_offset == named || entry.header.prev_offset == 0
            }
            LastEntry::None => entry.header.prev_offset == 0,
            LastEntry::At { named: None, .. } | LastEntry::Unknown => true,
        }
    }
}

/// A file being read.
#[derive(Clone)]
pub(super) struct OpenFile {
    pub(super) place: Place,
    pub(super) file: NumberedFile,
}

impl OpenFile {
    /// At `cursor` of `file`, of which nothing was read yet.
    pub(super) fn at(file: NumberedFile, cursor: u64, last: LastEntry) -> Result<OpenFile> {
        let (number, identity) = (file.number, file.identity()?);
        Ok(OpenFile { place: Place { number, identity, cursor, last, was_read: false }, file })
    }
}

/// A place that was passed is read again.
pub(super) struct LookBack {
    pub(super) file: OpenFile,
    /// Where it ends; `None`: where the file does.
    pub(super) until: Option<u64>,
    /// What was found there and could not be used yet.
    pub(super) for_later: Option<Passed>,
}

impl LookBack {
    /// Whether the place was read to its end.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| self.file.place.cursor >= until)
    }
}

/// A place that was passed. Its file is opened when it is looked at: there may be many, deleted ones among them, and none
/// is worth a descriptor for as long as the log is quiet.
pub(super) struct Passed {
    pub(super) place: Place,
    /// Where it ends; `None` for all that the file may still get.
    pub(super) until: Option<u64>,
    /// What stands there is of no use before this VLSN is the next.
    pub(super) useful_from: u64,
    /// Whether its file had lost its name at some time. Whatever has it later is another: the system may give the number
    /// of a deleted file to the next one.
    is_gone: bool,
}

impl Passed {
    pub(super) fn new(place: Place, until: Option<u64>, useful_from: u64) -> Passed {
        Passed { place, until, useful_from, is_gone: false }
    }

    /// Whether it is of use to look there for `next_vlsn`; 0 for all that there is.
    fn is_useful(&self, next_vlsn: u64) -> bool {
        next_vlsn == 0 || self.useful_from <= next_vlsn
    }

    /// Opens its file; `None` if its name does not stand for it any more. `current` is open already.
    fn open(&mut self, current: Option<&OpenFile>, disk: &Disk) -> Result<Option<OpenFile>> {
        let Place { number, identity, .. } = self.place;
        let opened = |file| Some(OpenFile { place: self.place, file });
        if let Some(current) = current.filter(|open| (open.place.number, open.place.identity) == (number, identity)) {
            return Ok(opened(current.file.clone()));
        }
        self.is_gone |= disk.listing.at_or_above(number) != Some(number);
        if self.is_gone {
            return Ok(None);
        }
        let Some(file) = NumberedFile::open(&*disk.files, number)? else {
            self.is_gone = true;
            return Ok(None);
        };
        let is_its = file.identity()? == identity && self.place.has_last(&file)? == Some(true);
        Ok(if is_its { opened(file) } else { None })
    }
}

/// How many passed places are remembered. Those forgotten are the oldest, and long settled.
const PASSED_MAX: usize = 1024;

/// Places that were passed and could still be written to: the ends of files that were left, and holes that were crossed.
#[derive(Default)]
pub(super) struct PassedPlaces {
    places: Vec<Passed>,
    pub(super) skipped: Skipped,
}

/// How far a search over all zeros has got: in those of which place, and to where.
pub type Searching = Option<(Lsn, u64)>;

/// What was passed since what comes next was found last: it may be there.
#[derive(Default)]
pub struct Skipped {
    /// Whether there was anything: what comes next may be written there yet.
    pub is_any: bool,
    /// The first file that should stand between one that was left and the next, and does not.
    pub missing_file: Option<u32>,
}

impl PassedPlaces {
    /// `place` was passed, up to `until`.
    pub(super) fn pass(&mut self, place: Place, until: Option<u64>) {
        self.remember(Passed::new(place, until, 0));
        self.skipped.is_any = true;
    }

    /// How many bytes there are in places of use when `next_vlsn` is the next.
    pub(super) fn unread(&self, next_vlsn: u64) -> u64 {
        let useful = self.places.iter().filter(|passed| passed.is_useful(next_vlsn));
        useful.map(|passed| bytes_between(passed.place.cursor, passed.until)).sum()
    }

    pub(super) fn remember(&mut self, place: Passed) {
        if self.places.len() == PASSED_MAX {
            self.places.remove(0);
        }
        self.places.push(place);
    }

    /// Looks for an entry where each place begins, or behind all its zeros, from where `all` has got; takes the place out
    /// that has one now. `current`: the file at the front. `next_vlsn` is what is looked for; 0 for all that there is.
    pub(super) fn find(
        &mut self,
        mut all: Option<&mut Searching>,
        next_vlsn: u64,
        current: &OpenFile,
        disk: &mut Disk,
    ) -> Searched<Option<(OpenFile, Option<u64>)>> {
        let at_place = |(lsn, next)| Some((self.places.iter().position(|passed| passed.place.lsn() == lsn)?, next));
        let goes_on = all.as_mut().and_then(|all| all.take()).and_then(at_place);
        let (resumed, resumed_at) = goes_on.unwrap_or((usize::MAX, 0));
        for at in goes_on.map_or(0, |(at, _)| at)..self.places.len() {
            let passed = &mut self.places[at];
            if !passed.is_useful(next_vlsn) {
                continue;
            }
            let (lsn, until) = (passed.place.lsn(), passed.until);
            let mut found = if at == resumed { resumed_at } else { passed.place.cursor };
            match passed.find(all.is_some(), &mut found, current, disk) {
                Err(halt) => {
                    if let Some(all) = all {
                        *all = Some((lsn, found));
                    }
                    return Err(halt);
                }
                Ok(None) => {}
                Ok(Some(mut file)) => {
                    self.places.remove(at);
                    if found > file.place.cursor {
                        self.pass(file.place, Some(found));
                        (file.place.cursor, file.place.last) = (found, LastEntry::Unknown);
                    }
                    return Ok(Some((file, until)));
                }
            }
        }
        Ok(None)
    }

    /// After a crash the writer goes on in the highest file there is, or makes that one anew, too. Where the file that was
    /// to be read is gone, and nothing was read from it, that is the file to go on in, the last that was left: it is
    /// taken out. Where it was made anew and nothing of it was read, `start` becomes its place.
    pub(super) fn file_before(
        &mut self,
        start: &mut Lsn,
        expected_vlsn: Option<u64>,
        disk: &Disk,
    ) -> Result<Option<OpenFile>> {
        for at in (0..self.places.len()).rev() {
            let passed = &mut self.places[at];
            let Place { number, identity, was_read, .. } = passed.place;
            if passed.until.is_some() {
                continue;
            }
            if disk.name_of(number, identity)? == Name::Free {
                passed.is_gone = true;
                continue;
            }
            if let Some(file) = passed.open(None, disk)? {
                self.places.remove(at);
                return Ok(Some(file));
            }
            if was_read {
                return Err(Error::LogFileGone { file: number, expected_vlsn, found_vlsn: None });
            }
            *start = self.places.remove(at).place.lsn();
        }
        Ok(None)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

impl Passed {
    /// Its file, if an entry stands there now that may follow, at its beginning or with `all` behind its zeros, from
    /// `found` on. `found` goes on to where an entry can begin at the earliest.
    fn find(&mut self, all: bool, found: &mut u64, current: &OpenFile, disk: &mut Disk) -> Searched<Option<OpenFile>> {
        let number = self.place.number;
        // As a rule a file that was left has not grown, and is not worth opening.
        let len = if self.until.is_none() { disk.len_of(number)? } else { None };
        if len.is_some_and(|len| len <= self.place.cursor) {
            return Ok(None);
        }
        // One that was deleted, or whose name another has, is not written to any more.
        let Some(file) = self.open(Some(current), disk)? else { return Ok(None) };
        if all && disk.probe.behind_zeros(&file.file, found)? != Stop::Entry {
            return Ok(None);
        }
        if self.until.is_some_and(|until| *found >= until) {
            return Ok(None);
        }
        // What could not be read on from here would be found again and again.
        let last = if *found > file.place.cursor { LastEntry::Unknown } else { file.place.last };
        let entry = disk.probe.entry(&file.file, *found)?;
        Ok(entry.is_some_and(|entry| last.precedes(&entry)).then_some(file))
    }
}

/// No file has bytes from here on.
const FILE_END: u64 = 1 << 32;

/// From `cursor` to `until`, or to where a file ends at the latest.
pub(super) fn bytes_between(cursor: u64, until: Option<u64>) -> u64 {
    until.unwrap_or(FILE_END).saturating_sub(cursor)
}

/// Offsets in a log file fit 32 bits: an LSN has no room for more.
#[inline]
pub(super) fn low32(offset: u64) -> u32 {
    offset as u32
}
