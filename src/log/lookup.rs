//! Answers by position: which VLSNs a log holds, what stands at one, and which is the last that histories can be cut
//! behind. An answer costs a look, and not a reading of the log.
//!
//! Three stretches of the log are looked at, and kept as long as they serve. The **end** is read from well below the
//! highest VLSN on; of a small log that is all of it. The **beginning** is read as far as it takes to see with which VLSN
//! the log begins. And the **stretch** around the VLSN that was asked for last is kept, since questions mostly walk
//! downwards.
//!
//! Rolled-back entries are not held. Of two entries of one VLSN, the later one in the log counts, within what is looked at
//! for that VLSN; of a history that stands twice in a large log, that may be either.
//!
//! VLSNs are dense, so where one is missing, what stands before is of no use to a replica: the log begins above it. Two
//! things look like that and are none. At the live end a VLSN is taken before it is written, and it comes a moment later:
//! a VLSN that is missing there is waited for, once, until it has come or the patience is over. In a newborn log that may
//! be VLSN 1, and no lower one shows that it is missing. And a cleaner deletes
//! files that hold no VLSN: so where a number is missing among the files, the VLSNs on both sides are looked at. What is
//! missing within a file, far from the end, is noticed when it is looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Log;
use super::budget::{Budget, Halt, Searched};
use super::files::list_error;
use super::probe::{self, Stop};
use super::scanner::ScannerOptions;
use super::seek::Seek;
use super::window::Sighted;
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::memory::{self, NoMemory};

/// An entry that the log holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its VLSN, 1 or above.
    pub vlsn: u64,
    /// Where it stands.
    pub lsn: Lsn,
    /// Its type, as on disk.
    pub entry_type: u8,
    /// CRC-32 of its payload.
    pub payload_crc: u32,
}

impl Record {
    fn of(lsn: Lsn, entry: &Sighted) -> Option<Record> {
        let (entry_type, payload_crc) = (entry.header.entry_type, entry.payload_crc);
        entry.vlsn_to_send().map(|vlsn| Record { vlsn, lsn, entry_type, payload_crc })
    }

    /// Whether histories can be cut behind it: a commit, an abort, a matchpoint.
    pub const fn is_sync_point(&self) -> bool {
        matches!(self.entry_type, 30 | 31 | 61)
    }
}

/// What is known by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known<T> {
    /// This.
    Yes(T),
    /// A VLSN is missing near the log's end, and may still be written. To be asked again then, or when the log has more.
    NotYet {
        /// When.
        look_again: Instant,
    },
}

/// How a log is looked into.
#[derive(Clone, Copy, Debug)]
pub struct LookupOptions {
    /// How much a look reads at once.
    pub read_bytes: usize,
    /// How long a VLSN that is missing near the end is waited for. The answer waits as long, so this is to be well below
    /// the time after which a replica gives its question up.
    pub patience: Duration,
}

impl From<&ScannerOptions> for LookupOptions {
    /// As a scanner of the log reads it. What has not changed for the settle time is not being written.
    fn from(options: &ScannerOptions) -> LookupOptions {
        LookupOptions { read_bytes: options.tail.read_bytes, patience: options.tail.settle }
    }
}

/// How much is looked at, and kept.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// A log with no more bytes is read as a whole.
    small_bytes: u64,
    /// How far below the VLSN near the end the end begins, and how far around a VLSN a stretch is read: as far as VLSNs of
    /// real logs stand from their places.
    disorder: u64,
    /// How far around a VLSN is looked at before it counts as missing: as far as a reader holds entries back.
    disorder_max: u64,
    /// How many VLSNs a stretch has, most of them below the one that was asked for.
    stretch: u64,
    /// How many records of the end are kept.
    records_max: usize,
    /// How many entries with a VLSN are looked at to see with which the log begins.
    beginning: usize,
    /// How far below the end the last sync point is looked for, in VLSNs.
    sync_search: u64,
    /// The end has about so many bytes: of large entries it is fewer VLSNs, and so are stretches.
    end_bytes: u64,
    /// But not fewer than so many.
    least: u64,
}

impl Bounds {
    /// For larger entries; `None` if it is the least already.
    fn shrunk(self) -> Option<Bounds> {
        let Bounds { disorder, stretch, sync_search, least, .. } = self;
        let smaller = |vlsns: u64| (vlsns / 4).max(least);
        let shrunk = Bounds {
            disorder: smaller(disorder),
            stretch: smaller(stretch),
            sync_search: smaller(sync_search),
            ..self
        };
        (shrunk.disorder < disorder).then_some(shrunk)
    }
}

const BOUNDS: Bounds = Bounds {
    small_bytes: 16 * 1024 * 1024,
    disorder: 16 * 1024,
    disorder_max: 256 * 1024,
    stretch: 16 * 1024,
    records_max: 64 * 1024,
    beginning: 16 * 1024,
    sync_search: 1024 * 1024,
    end_bytes: 64 * 1024 * 1024,
    least: 64,
};

/// A log with more files is not read as a whole.
const SMALL_FILES: usize = 64;

/// How much of a file is read before it is asked whether that is enough.
const PIECE: u64 = 1024 * 1024;

/// How much is read, before and behind the place of a VLSN, until it counts as missing. A reader holds back as much.
const FAR_BYTES: u64 = 1024 * 1024 * 1024;

/// How much of the beginning is read at most, once it has shown a VLSN.
const BEGINNING_PIECES: u32 = 16;

/// How many missing VLSNs are waited for at once.
const GAPS_MAX: usize = 1024;

/// After which time a VLSN that is waited for is looked for again at the earliest. The longer it has been waited for, the
/// longer that is.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// To list a file takes as long as to read so many bytes.
const LISTING_COSTS: u64 = 1024;

/// Looks into one log. One thread at a time; each connection that asks has its own, of some 5 MiB at most.
pub struct Lookup {
    log: Arc<Log>,
    options: LookupOptions,
    bounds: Bounds,
    budget: Budget,
    end: Option<End>,
    /// What is being read to know the end anew.
    reading: Option<Box<Reading>>,
    /// Missing VLSNs near the end, and since when they have been missed.
    gaps: Vec<(u64, Instant)>,
    /// Where the end was begun when they were missed: they may stand before that.
    missed_from: Lsn,
    /// Whether what was missing once called for a look further before the end.
    looks_far: bool,
    /// Whether one of these has come: what is missing there is just being written.
    is_live: bool,
    stretch: Around,
    /// What is being read to have another stretch.
    going: Option<Box<Going>>,
}

/// What is known of the log's end, as of one look.
struct End {
    mark: Mark,
    seek: Seek,
    numbers: Vec<u32>,
    records: Table,
    /// From this VLSN on, the records are all that there are.
    complete_from: u64,
    /// As they suit the size of the entries.
    bounds: Bounds,
    /// The range; nothing, and `first` above `last`, in a log without a VLSN.
    first: u64,
    last: u64,
    /// Whether it ends with a VLSN missing that may come: then the log's length does not tell whether it has.
    is_open: bool,
    /// Missing numbers of files below the end, which are still to be looked at: those above and below that are there.
    missing_files: Vec<(u32, u32)>,
    /// How far down from the uppermost of these VLSNs have been found.
    found_down_to: Option<u64>,
    /// VLSNs that were not seen at the log's beginning, though lower ones were.
    suspects: Vec<u64>,
    /// Whether `first` is held, and not only the one above a VLSN that is missing.
    is_first_held: bool,
    last_sync: LastSync,
}

/// By what a change of the end is noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mark {
    limit: Lsn,
    files: usize,
    newest: Option<(u32, u64)>,
}

/// The search for the last sync point.
#[derive(Clone, Copy)]
enum LastSync {
    /// It is none of those above.
    Below(u64),
    Known(Option<Record>),
}

/// All records of the VLSNs from `low` to `high`.
#[derive(Default)]
struct Around {
    low: u64,
    high: u64,
    records: Table,
}

impl Around {
    fn has(&self, vlsn: u64) -> bool {
        self.low > 0 && (self.low..=self.high).contains(&vlsn)
    }
}

/// Reads the end, and then the beginning.
struct Reading {
    mark: Mark,
    seek: Seek,
    numbers: Vec<u32>,
    is_small: bool,
    /// Whether the end begins as far before as a VLSN that is missing in it may stand.
    is_far: bool,
    bounds: Bounds,
    end: Option<Walk>,
    is_end_read: bool,
    records: Table,
    complete_from: u64,
    beginning: Option<Beginning>,
}

impl Reading {
    fn read(&mut self, log: &Log, budget: &Budget, known: Option<&End>) -> Searched<()> {
        let limit = self.mark.limit;
        if self.end.is_none() {
            let from = self.begin_end(log)?;
            self.end = Some(Walk::new(&self.numbers, from, limit));
        }
        let bounds = self.bounds;
        if let Some(end) = &mut self.end
            && !self.is_end_read
        {
            let (records, complete_from) = (&mut self.records, &mut self.complete_from);
            while end.step(&mut self.seek, |record| records.push(record))? {
                if records.len() >= 2 * bounds.records_max {
                    records.keep_highest(bounds.records_max, complete_from);
                }
                budget.check()?;
            }
            records.keep_highest(bounds.records_max, complete_from);
            self.is_end_read = true;
        }
        if self.complete_from > 1 && !known.is_some_and(|end| end.is_continued_by(&self.numbers)) {
            let beginning = self.beginning.get_or_insert_with(|| Beginning {
                walk: Walk::new(&self.numbers, Lsn::new(0, 0), limit),
                records: Table::default(),
                pieces: 0,
            });
            beginning.read(&mut self.seek, bounds.beginning, budget)?;
        }
        Ok(())
    }

    /// A log that has its first file has lost nothing at its beginning: if it does not begin with VLSN 1, that is as if it
    /// were missing behind a VLSN 0 in that file, and the third is the one above.
    fn late_beginning(&self) -> Option<(u64, u32, Record)> {
        let is_whole = self.complete_from <= 1 && self.numbers.first() == Some(&0);
        self.records.first().filter(|first| is_whole && first.vlsn > 1).map(|&first| (0, 0, first))
    }

    /// Where the end begins.
    fn begin_end(&mut self, log: &Log) -> Searched<Lsn> {
        let lowest = Lsn::new(self.numbers.first().copied().unwrap_or(0), 0);
        let near_end = if self.is_small { None } else { self.seek.vlsn_near_end(self.mark.limit)? };
        let Some(near_end) = near_end else { return Ok(lowest) };
        loop {
            let far = if self.is_far { self.bounds.disorder_max } else { self.bounds.disorder };
            let vlsn = near_end.saturating_sub(far).max(1);
            let place = if vlsn == 1 { None } else { self.seek.place_for(vlsn)? };
            let from = place.map_or(lowest, |start| start.at);
            let most = if self.is_far { FAR_BYTES } else { self.bounds.end_bytes };
            if log.bytes_from(from) > most {
                let shrunk = self.bounds.shrunk();
                if let (true, far @ 1..) = (self.is_far, self.bounds.disorder_max / 4) {
                    self.bounds.disorder_max = far;
                    continue;
                }
                if let (false, Some(shrunk)) = (self.is_far, shrunk) {
                    self.bounds = shrunk;
                    continue;
                }
            }
            self.complete_from = if from == lowest { 1 } else { vlsn };
            return Ok(from);
        }
    }
}

/// Reads the beginning.
struct Beginning {
    walk: Walk,
    records: Table,
    pieces: u32,
}

impl Beginning {
    fn read(&mut self, seek: &mut Seek, most: usize, budget: &Budget) -> Searched<()> {
        let Beginning { walk, records, pieces } = self;
        while !records.is_settled || records.len() == 0 {
            let push = |record| if records.len() < most { records.push(record) } else { Ok(()) };
            let more = walk.step(seek, push)?;
            *pieces += 1;
            let is_enough = records.len() >= most || records.has(1) || *pieces >= BEGINNING_PIECES && records.len() > 0;
            if !more || is_enough {
                records.settle();
                break;
            }
            budget.check()?;
        }
        Ok(())
    }

    /// The lowest VLSN.
    fn first(&self) -> Option<u64> {
        self.records.first().map(|record| record.vlsn)
    }

    /// The VLSNs that are missing after others, the highest last: they may stand further on, or be lost.
    fn suspects(&self) -> Vec<u64> {
        let missing: Vec<u64> = self.records.gaps().map(|(below, _)| below.vlsn + 1).collect();
        missing[missing.len().saturating_sub(GAPS_MAX)..].to_vec()
    }
}

/// Reads a stretch.
struct Going {
    asked: u64,
    low: u64,
    high: u64,
    /// Whether it is read as far below and above as a VLSN that is missing in it may stand.
    is_far: bool,
    walk: Option<Walk>,
    records: Table,
    highest: u64,
    /// How much was read since the stretch was passed.
    passed: u64,
}

impl Going {
    fn around(vlsn: u64, bounds: &Bounds) -> Going {
        let above = bounds.stretch / 4;
        Going {
            asked: vlsn,
            low: vlsn.saturating_sub(bounds.stretch - above).max(1),
            high: vlsn.saturating_add(above),
            is_far: false,
            walk: None,
            records: Table::default(),
            highest: 0,
            passed: 0,
        }
    }

    /// The highest VLSN that is missing in it, though the log should hold it.
    fn missing(&self, end: &End) -> Option<u64> {
        self.records.highest_missing(self.low.max(end.first), self.high.min(end.complete_from - 1))
    }

    fn read(&mut self, end: &mut End, log: &Log, budget: &Budget) -> Searched<()> {
        loop {
            if self.walk.is_none() {
                let from = self.begin(end, log)?;
                self.walk = Some(Walk::new(&end.numbers, from, end.mark.limit));
            }
            let (low, high) = (self.low, self.high);
            let far = if self.is_far { end.bounds.disorder_max } else { end.bounds.disorder };
            let (records, highest) = (&mut self.records, &mut self.highest);
            while let Some(walk) = &mut self.walk
                && *highest < high.saturating_add(far)
                && self.passed < FAR_BYTES
            {
                let more = walk.step(&mut end.seek, |record| {
                    *highest = record.vlsn.max(*highest);
                    if (low..=high).contains(&record.vlsn) { records.push(record) } else { Ok(()) }
                })?;
                if !more {
                    break;
                }
                if *highest > high {
                    self.passed += PIECE;
                }
                if records.len() > 2 * (high - low + 1) as usize {
                    records.settle();
                }
                budget.check()?;
            }
            records.settle();
            if self.is_far || self.missing(end).is_none() {
                return Ok(());
            }
            *self = Going { is_far: true, walk: None, records: Table::default(), highest: 0, passed: 0, ..*self };
        }
    }

    /// Where reading begins: the place is well below the VLSN as it is, and further below after a search in vain.
    fn begin(&self, end: &mut End, log: &Log) -> Searched<Lsn> {
        let place = end.place_for(self.low)?;
        let mut far = if self.is_far { end.bounds.disorder_max } else { 0 };
        while far > 0 {
            let further = end.place_for(self.low.saturating_sub(far))?;
            if log.bytes_from(further).saturating_sub(log.bytes_from(place)) <= FAR_BYTES {
                return Ok(further);
            }
            far /= 4;
        }
        Ok(place)
    }
}

/// Records, in the order of the disk as they come, and by VLSN once they are settled.
#[derive(Default)]
struct Table {
    records: Vec<Record>,
    is_settled: bool,
}

impl Table {
    fn push(&mut self, record: Record) -> Result<(), NoMemory> {
        memory::reserve(&mut self.records, 1)?;
        self.records.push(record);
        self.is_settled = false;
        Ok(())
    }

    /// By VLSN, and of each the one that came last.
    fn settle(&mut self) {
        if !self.is_settled {
            // In the order of the disk, so that the later is behind the earlier.
            self.records.sort_by_key(|record| record.vlsn);
            self.records.reverse();
            self.records.dedup_by_key(|record| record.vlsn);
            self.records.reverse();
            self.is_settled = true;
        }
    }

    /// Keeps the highest so many, of those from `complete_from` on, which goes up to what is kept.
    fn keep_highest(&mut self, most: usize, complete_from: &mut u64) {
        self.settle();
        let below = self.records.partition_point(|record| record.vlsn < *complete_from);
        let gone = below.max(self.records.len().saturating_sub(most));
        self.records.drain(..gone);
        // Where the end begins, none is said to be missing: it may stand before that.
        if gone > below || *complete_from > 1 {
            *complete_from = self.first().map_or(*complete_from, |record| record.vlsn);
        }
    }

    fn len(&self) -> usize {
        self.records.len()
    }

    fn first(&self) -> Option<&Record> {
        self.records.first()
    }

    fn last(&self) -> Option<&Record> {
        self.records.last()
    }

    /// The highest sync point below `vlsn`.
    fn sync_point_below(&self, vlsn: u64) -> Option<Record> {
        let upto = self.records.partition_point(|record| record.vlsn < vlsn);
        self.records[..upto].iter().rev().find(|record| record.is_sync_point()).copied()
    }

    /// Whether this VLSN is among them, settled or not.
    fn has(&self, vlsn: u64) -> bool {
        self.records.iter().any(|record| record.vlsn == vlsn)
    }

    fn get(&self, vlsn: u64) -> Option<Record> {
        debug_assert!(self.is_settled || self.records.is_empty());
        let at = self.records.binary_search_by_key(&vlsn, |record| record.vlsn).ok()?;
        Some(self.records[at])
    }

    /// The VLSNs after which one is missing, with those before which it is, from the lowest on.
    fn gaps(&self) -> impl Iterator<Item = (Record, Record)> + '_ {
        let pairs = self.records.windows(2).map(|pair| (pair[0], pair[1]));
        pairs.filter(|(below, above)| above.vlsn > below.vlsn + 1)
    }

    /// The highest that is missing from `low` to `high`.
    fn highest_missing(&self, low: u64, high: u64) -> Option<u64> {
        let mut wanted = high;
        let upto = self.records.partition_point(|record| record.vlsn <= high);
        for record in self.records[..upto].iter().rev() {
            if record.vlsn < wanted {
                break;
            }
            wanted = record.vlsn.saturating_sub(1);
        }
        (wanted >= low.max(1)).then_some(wanted)
    }
}

/// Reads entries from a place on, a piece at a time.
struct Walk {
    numbers: Vec<u32>,
    from: Lsn,
    /// In the last of these files, up to where a piece ends.
    walk: Option<probe::Walk>,
    limit: Lsn,
}

impl Walk {
    /// A walk through the files of `numbers`, from `from` on and below `limit`.
    fn new(numbers: &[u32], from: Lsn, limit: Lsn) -> Walk {
        let mut numbers: Vec<u32> = numbers.iter().copied().filter(|&number| number >= from.file()).collect();
        numbers.reverse();
        Walk { numbers, from, walk: None, limit }
    }

    /// Reads a piece. False: there is none.
    fn step(&mut self, seek: &mut Seek, mut each: impl FnMut(Record) -> Result<(), NoMemory>) -> Searched<bool> {
        let Some(&number) = self.numbers.last() else { return Ok(false) };
        if Lsn::new(number, 0) >= self.limit {
            self.numbers.clear();
            return Ok(false);
        }
        let Some(walk) = &mut self.walk else {
            let offset = if number == self.from.file() { self.from.offset() } else { 0 };
            self.walk = seek.entries_from(Lsn::new(number, offset))?;
            if self.walk.is_none() {
                self.numbers.pop();
            }
            return Ok(true);
        };
        let end = if number == self.limit.file() { u64::from(self.limit.offset()) } else { u64::MAX };
        if walk.next >= walk.until {
            walk.until = (walk.next + PIECE).min(end);
        }
        let mut failed = None;
        let walked = seek.each_entry(walk, |lsn, entry| {
            if let Some(record) = Record::of(lsn, entry)
                && failed.is_none()
            {
                failed = each(record).err();
            }
        });
        if let Some(none) = failed {
            return Err(Error::no_memory(none, "what stands where in the log", None, None).into());
        }
        let is_over = match walked? {
            Stop::Entry => walk.until == end,
            Stop::End | Stop::NoEntry => true,
        };
        if is_over {
            self.walk = None;
            self.numbers.pop();
        }
        Ok(true)
    }
}

impl Lookup {
    /// Looks into `log`, below its send limit.
    pub fn new(log: Arc<Log>, options: LookupOptions) -> Lookup {
        Lookup {
            log,
            options,
            bounds: BOUNDS,
            budget: Budget::default(),
            end: None,
            reading: None,
            gaps: Vec::new(),
            missed_from: Lsn::NULL,
            looks_far: false,
            is_live: false,
            stretch: Around::default(),
            going: None,
        }
    }

    /// From now on, about `bytes` are read before a look is interrupted.
    pub fn allow(&mut self, bytes: u64) {
        self.budget.renew(bytes);
    }

    /// The lowest VLSN that the log holds without a hole behind it, and the highest up to which it is complete, as of now;
    /// `None` while it has no replicated entry.
    pub fn range(&mut self, now: Instant) -> Searched<Known<Option<(u64, u64)>>> {
        if let Known::NotYet { look_again } = self.refresh(now)? {
            return Ok(Known::NotYet { look_again });
        }
        self.look_at_missing_files()?;
        Ok(Known::Yes(self.known_range()))
    }

    /// The range as it was found last; `None` before that.
    pub fn known_range(&self) -> Option<(u64, u64)> {
        self.end.as_ref().filter(|end| end.first <= end.last).map(|end| (end.first, end.last))
    }

    /// The entry of this VLSN, if the log holds it, and holds all behind it. Only for a VLSN above the range it is looked
    /// whether the log has grown.
    pub fn record(&mut self, vlsn: u64, now: Instant) -> Searched<Known<Option<Record>>> {
        let is_known = self.end.as_ref().is_some_and(|end| vlsn <= end.last);
        if !is_known && let Known::NotYet { look_again } = self.refresh(now)? {
            return Ok(Known::NotYet { look_again });
        }
        self.look_at_missing_files()?;
        let begins_below = |lookup: &Lookup| lookup.end.as_ref().is_some_and(|end| vlsn >= end.first);
        let found = if begins_below(self) { self.find(vlsn)? } else { None };
        // It may have been seen just now that one is missing behind it.
        Ok(Known::Yes(found.filter(|_| begins_below(self))))
    }

    /// The entry of the highest VLSN that histories can be cut behind, if there is one not too far below the end; also one
    /// that is below the range.
    pub fn last_sync(&mut self, now: Instant) -> Searched<Known<Option<Record>>> {
        if self.end.is_none()
            && let Known::NotYet { look_again } = self.refresh(now)?
        {
            return Ok(Known::NotYet { look_again });
        }
        loop {
            let Some(end) = &self.end else { return Ok(Known::Yes(None)) };
            let vlsn = match end.last_sync {
                LastSync::Known(found) => return Ok(Known::Yes(found)),
                LastSync::Below(vlsn) => vlsn,
            };
            let (is_in_end, is_far) =
                (vlsn > end.complete_from, end.last.saturating_sub(vlsn) > end.bounds.sync_search);
            let (found, below) = if is_in_end {
                (end.records.sync_point_below(vlsn), Some(end.complete_from))
            } else if vlsn > 1 && !is_far {
                self.go_to(vlsn - 1)?;
                (self.stretch.records.sync_point_below(vlsn), Some(self.stretch.low))
            } else {
                (None, None)
            };
            if let Some(end) = &mut self.end {
                end.last_sync = match (found, below) {
                    (None, Some(below)) => LastSync::Below(below),
                    (found, _) => LastSync::Known(found),
                };
            }
        }
    }

    /// The entry of this VLSN, whether or not there is a hole behind it.
    fn find(&mut self, vlsn: u64) -> Searched<Option<Record>> {
        let Some(end) = &self.end else { return Ok(None) };
        if vlsn == 0 || vlsn > end.last {
            return Ok(None);
        }
        if vlsn >= end.complete_from {
            return Ok(end.records.get(vlsn));
        }
        self.go_to(vlsn)?;
        Ok(self.stretch.records.get(vlsn))
    }

    /// Has the stretch around `vlsn`, which is below the end.
    fn go_to(&mut self, vlsn: u64) -> Searched<()> {
        let Some(end) = self.end.as_mut().filter(|_| !self.stretch.has(vlsn)) else { return Ok(()) };
        let going = self.going.take().filter(|going| going.asked == vlsn);
        let mut going = going.unwrap_or_else(|| Box::new(Going::around(vlsn, &end.bounds)));
        if let Err(halt) = going.read(end, &self.log, &self.budget) {
            self.going = Some(going).filter(|_| halt == Halt::Busy);
            return Err(halt);
        }
        if let Some(missing) = going.missing(end) {
            end.begin_above(missing);
        }
        self.stretch = Around { low: going.low, high: going.high, records: going.records };
        Ok(())
    }

    /// Looks at whether VLSNs are missing where numbers of files are, from the uppermost on: as soon as one is, the rest
    /// does not matter.
    fn look_at_missing_files(&mut self) -> Searched<()> {
        while let Some(end) = &mut self.end
            && let Some(&(below, above)) = end.missing_files.last()
        {
            let Some(found) = end.found_down_to else {
                let first = first_from(&mut end.seek, &end.numbers, above)?.unwrap_or(end.complete_from);
                // What is missing next to it shows at once, also where the file begins with what stands twice.
                self.find(first)?;
                if let Some(end) = self.end.as_mut().filter(|end| !end.missing_files.is_empty()) {
                    end.found_down_to = Some(first);
                }
                continue;
            };
            let wanted = found.saturating_sub(1);
            let is_below_all = wanted < end.first;
            let record = if is_below_all { None } else { self.find(wanted)? };
            let Some(end) = &mut self.end else { return Ok(()) };
            match record {
                Some(record) if record.lsn.file() > below => end.found_down_to = Some(wanted),
                None if !is_below_all => end.begin_above(wanted),
                _ => {
                    end.missing_files.pop();
                    end.found_down_to = None;
                }
            }
        }
        self.look_at_suspects()?;
        self.go_up_to_first()
    }

    /// Looks at whether the VLSNs that were not seen at the beginning stand further on.
    fn look_at_suspects(&mut self) -> Searched<()> {
        while let Some(end) = &mut self.end
            && let Some(&suspect) = end.suspects.last()
        {
            let matters = suspect >= end.first && suspect < end.complete_from;
            let is_missing = matters && self.find(suspect)?.is_none();
            let Some(end) = &mut self.end else { break };
            if is_missing {
                end.begin_above(suspect);
            } else {
                end.suspects.pop();
            }
        }
        Ok(())
    }

    /// Above a VLSN that is missing others may be missing, too.
    fn go_up_to_first(&mut self) -> Searched<()> {
        while let Some(end) = &mut self.end
            && !end.is_first_held
        {
            let first = end.first;
            let is_held = first >= end.complete_from || self.find(first)?.is_some();
            let Some(end) = &mut self.end else { break };
            if is_held {
                end.is_first_held = end.first == first;
            } else if end.first == first {
                end.begin_above(first);
            }
        }
        Ok(())
    }

    /// Knows the end as it is now.
    fn refresh(&mut self, now: Instant) -> Searched<Known<()>> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => match self.begin_to_read()? {
                Some(reading) => Box::new(reading),
                None => return Ok(Known::Yes(())),
            },
        };
        loop {
            if let Err(halt) = reading.read(&self.log, &self.budget, self.end.as_ref()) {
                self.reading = Some(reading).filter(|_| halt == Halt::Busy);
                return Err(halt);
            }
            // What is missing may stand before the place where the end was begun.
            if reading.complete_from <= 1 || reading.is_far || self.missing_in(&reading, now).0.is_none() {
                return Ok(self.judge(*reading, now));
            }
            self.looks_far = true;
            let records = Table::default();
            *reading = Reading { is_far: true, end: None, is_end_read: false, records, complete_from: 1, ..*reading };
        }
    }

    /// `None`: the end is still what it was.
    fn begin_to_read(&self) -> Searched<Option<Reading>> {
        let (files, limit) = (self.log.files(), self.log.send_limit());
        self.budget.check()?;
        let numbers = files.list().map_err(|error| list_error(&**files, error))?;
        self.budget.spend(LISTING_COSTS * (numbers.len() as u64 + 1));
        let len_of = |number| files.len_of(number).map_err(|error| Error::log_read(number, 0, error));
        let newest = numbers.last().map(|&number| len_of(number).map(|len| (number, len.unwrap_or(0)))).transpose()?;
        let mark = Mark { limit, files: numbers.len(), newest };
        if self.end.as_ref().is_some_and(|end| !end.is_open && end.mark == mark) {
            return Ok(None);
        }
        let mut is_small = numbers.len() <= SMALL_FILES;
        let mut bytes = 0;
        for &number in &numbers {
            if is_small {
                bytes += len_of(number)?.unwrap_or(0);
                is_small = bytes <= self.bounds.small_bytes;
            }
        }
        Ok(Some(Reading {
            seek: Seek::new(Arc::clone(files), self.options.read_bytes, self.budget.clone())?,
            mark,
            numbers,
            is_small,
            is_far: self.looks_far,
            bounds: self.bounds,
            end: None,
            is_end_read: false,
            records: Table::default(),
            complete_from: 1,
            beginning: None,
        }))
    }

    /// The VLSN above the uppermost hole in what was read of the end; and what is missing above that and may still come, with
    /// the time since when it has been missed.
    fn missing_in(&self, reading: &Reading, now: Instant) -> (Option<u64>, Vec<(u64, Instant)>) {
        let (mut above_hole, mut gaps) = (None, Vec::new());
        let pairs = reading.records.gaps().map(|(below, above)| (below.vlsn, below.lsn.file(), above));
        for (below, file, above) in reading.late_beginning().into_iter().chain(pairs) {
            let missing = below + 1;
            let since = self.gaps.iter().find(|(gap, _)| *gap == missing).map_or(now, |&(_, since)| since);
            let is_over = now.saturating_duration_since(since) >= self.options.patience;
            if is_over || is_any_missing(&reading.numbers, file, above.lsn.file()) {
                above_hole = Some(above.vlsn);
                gaps.clear();
            } else if gaps.len() < GAPS_MAX {
                gaps.push((missing, since));
            }
        }
        (above_hole, gaps)
    }

    /// What was read is the end; or a VLSN is missing, and is waited for.
    fn judge(&mut self, reading: Reading, now: Instant) -> Known<()> {
        let (above_hole, gaps) = self.missing_in(&reading, now);
        let Reading { mark, seek, numbers, records, complete_from, bounds, beginning, end, .. } = reading;
        let come = self.gaps.iter().filter_map(|&(missing, _)| records.get(missing));
        self.is_live |= come.into_iter().any(|record| record.lsn >= self.missed_from);
        self.gaps = gaps;
        self.missed_from = end.map_or(Lsn::NULL, |end| end.from);
        let mut last = records.last().map_or(0, |record| record.vlsn);
        if let Some(&(missing, since)) = self.gaps.first() {
            if !self.is_live {
                let waited = now.saturating_duration_since(since);
                return Known::NotYet { look_again: now + LOOK_AGAIN.max(waited / 4).min(self.options.patience) };
            }
            last = missing - 1;
        }
        let known = self.end.take().filter(|end| end.is_continued_by(&numbers));
        let lowest = records.first().map_or(1, |record| record.vlsn);
        let (first, missing_files, suspects) = match (above_hole, known, beginning) {
            (Some(first), ..) => (first, Vec::new(), Vec::new()),
            (None, ..) if complete_from <= 1 => (lowest, Vec::new(), Vec::new()),
            (None, Some(end), _) => (end.first, end.missing_files, end.suspects),
            (None, None, Some(beginning)) => {
                (beginning.first().unwrap_or(lowest), missing_between(&numbers), beginning.suspects())
            }
            (None, None, None) => (complete_from, missing_between(&numbers), Vec::new()),
        };
        self.stretch = Around::default();
        self.going = None;
        self.log.note_vlsn(last);
        self.end = Some(End {
            mark,
            seek,
            numbers,
            records,
            complete_from,
            bounds: Bounds { disorder_max: self.bounds.disorder_max, ..bounds },
            first,
            last,
            is_open: !self.gaps.is_empty(),
            missing_files,
            found_down_to: None,
            suspects,
            is_first_held: true,
            last_sync: LastSync::Below(last + 1),
        });
        Known::Yes(())
    }
}

impl End {
    /// Whether the log has only got longer since.
    fn is_continued_by(&self, numbers: &[u32]) -> bool {
        self.first <= self.last && numbers.starts_with(&self.numbers)
    }

    /// Where to begin to read for `vlsn`.
    fn place_for(&mut self, vlsn: u64) -> Searched<Lsn> {
        Ok(self.seek.place_for(vlsn)?.map_or(Lsn::new(0, 0), |start| start.at))
    }

    /// The log holds nothing behind which `missing` would not be missing.
    fn begin_above(&mut self, missing: u64) {
        self.first = self.first.max(missing + 1);
        self.missing_files.clear();
        self.found_down_to = None;
        self.suspects.clear();
        self.is_first_held = false;
    }
}

/// Whether a number is missing from one to the other, which comes first where an entry comes late.
fn is_any_missing(numbers: &[u32], one: u32, other: u32) -> bool {
    let (low, high) = (one.min(other), one.max(other));
    let there = numbers.iter().filter(|&number| (low..=high).contains(number)).count();
    (there as u64) < u64::from(high - low) + 1
}

/// The numbers between which others are missing.
fn missing_between(numbers: &[u32]) -> Vec<(u32, u32)> {
    numbers.windows(2).map(|pair| (pair[0], pair[1])).filter(|(below, above)| above - below > 1).collect()
}

/// The first VLSN that stands in file `number` or in those above.
fn first_from(seek: &mut Seek, numbers: &[u32], number: u32) -> Searched<Option<u64>> {
    for &number in &numbers[numbers.partition_point(|&other| other < number)..] {
        if let Some(first) = seek.first_vlsn(number)? {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
