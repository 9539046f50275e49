//! Reads the entries of a log in the order in which they stand on disk, while the log is being written.
//!
//! The tail decides where the log ends for now and where it is broken, and when to go from one file to the next.
//! It guarantees that every entry it returns is whole, has a valid checksum and follows the one before it, that it
//! returns none twice, and that it passes over nothing that could be an entry. What it cannot read is first taken as
//! being written; only what has stood still for the settle time is judged:
//!
//! | at the cursor | in the newest file | in a lower file |
//! | --- | --- | --- |
//! | end of the file | wait | leave for the next file, by the rule below |
//! | zeros below the file's length (a hole) | wait; settled: cross with proof, else stalled | wait; settled: cross with proof, else error |
//! | an entry that runs past the end (torn) | wait; settled: stalled | wait; settled: error |
//! | anything else that is no entry | wait; settled: error | wait; settled: error |
//! | cursor beyond the file's length | error: truncated | error: truncated |
//! | file gone | nothing read from it: wait for its name; else error: gone | read on in the open file |
//! | another file has its name | nothing read from it: read that one; else error: gone | the same |
//!
//! *Leaving a file.* File N is left only when the next file holds a whole entry, N was read to its end after that
//! was seen, and N has the entry that the next file's header names as N's last.
//!
//! *Proof.* VLSNs are dense. So when the expected VLSN stands behind a hole, what the hole hides cannot be the next
//! thing to send. For a hole to be crossed it is enough that its own zeros have stood for the settle time: a backup
//! leaves such a hole for good, and the writer goes on behind it without a pause.
//!
//! *Looking back.* A file that was left and a hole that was crossed may, against expectation, be written to later.
//! They are remembered, and [`Tail::look_back`] goes to them before a VLSN is called missing.
//!
//! The order of VLSNs and what a missing one means is [`order`](super::order)'s concern. There is no I/O but through
//! [`Files`], and no clock but the `now` of each call.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attention::Attention;
use super::block::Block;
use super::budget::{Budget, Halt, Searched};
use super::files::{FileIdentity, Files, Listing, LogFile};
use super::format::{
    ENTRY_HEADER_LEN, EntryHeader, FILE_HEADER_LEN_V3, FileHeader, HeaderFault, Lsn, ParsedFileHeader,
};
use super::now::Now;
use super::probe::{Behind, Probe};
use super::window::{Look, Passage, Sighted, Window};
use crate::error::{EntryFault, Error, Result};

/// An entry, by its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where its header begins.
    pub lsn: Lsn,
    /// The entry, in [`Tail::block`].
    pub entry: Sighted,
}

/// An entry found before.
#[derive(Clone, Debug)]
pub struct Recalled<'a> {
    /// Its header.
    pub header: EntryHeader,
    /// Where in the block its payload is.
    pub payload: Range<usize>,
    /// The block.
    pub block: &'a Arc<Block>,
}

/// What a step brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The next entry on disk.
    Found(Found),
    /// Nothing for now.
    Wait(Wait),
}

/// Why there is nothing for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What is waited for.
    pub reason: WaitReason,
    /// Where.
    pub at: Lsn,
    /// Whether it has stood still for the settle time: no error, but somebody may want to know.
    pub stalled: bool,
    /// When time alone will change the answer; `None` when only a change of the log will.
    pub look_again: Option<Instant>,
}

/// What a tail waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitReason {
    /// The log has no file yet, or not the one to start in.
    NoFile,
    /// All that the log has was read.
    End,
    /// A file shorter than its header, or with a header that is still being written.
    UnfinishedHeader,
    /// Zeros, to be filled by the writer.
    Hole,
    /// An entry whose end is not there yet.
    Torn,
    /// Bytes that are no entry, perhaps being written.
    Unreadable,
    /// The next file is there but has no entry yet.
    NextFileEmpty,
    /// The next file names an entry as this file's last that is not here yet.
    LastEntryMissing,
    /// The host allows no more to be sent.
    SendLimit,
    /// The log does not reach up to the VLSN asked for. (The tail knows of none: it is for the
    /// [`scanner`](super::scanner) to say.)
    AheadOfLog,
}

/// What the caller knows at the time of a step.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The time.
    pub now: &'a Now,
    /// The next VLSN to be returned to whoever reads the log, if that is known: what proves a hole harmless.
    pub expected_vlsn: Option<u64>,
    /// No entry at or behind this position is returned.
    pub send_limit: Lsn,
    /// Whether entries returned before will be wanted again: what was read last is then kept within reach.
    pub recalls: bool,
}

/// How a tail reads.
#[derive(Clone, Copy, Debug)]
pub struct TailOptions {
    /// How long everything must stand still before it is judged.
    pub settle: Duration,
    /// How many bytes are read at once.
    pub read_bytes: usize,
    /// How far behind a hole its proof is looked for, in bytes.
    pub proof_bytes_max: u64,
}

/// A file being read.
#[derive(Clone)]
struct OpenFile {
    number: u32,
    file: Arc<dyn LogFile>,
    identity: FileIdentity,
    first_entry: u64,
    /// Where the next entry begins.
    cursor: u64,
    /// Whether any entry of it was returned.
    was_read: bool,
    /// The entry before, which the next one must name.
    last: LastEntry,
}

/// What is known of the entry before the cursor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastEntry {
    /// The cursor is at the file's first entry.
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

/// The file behind the current one.
struct Successor {
    number: u32,
    file: Arc<dyn LogFile>,
    identity: FileIdentity,
    /// `None` while the header is not complete.
    header: Option<FileHeader>,
    header_fault: Option<HeaderFault>,
    /// Whether an entry stands in it.
    has_entry: bool,
}

/// A place that was passed. Its file is opened when it is looked at: there may be many, deleted ones among them, and none
/// is worth a descriptor for as long as the log is quiet.
struct Passed {
    number: u32,
    identity: FileIdentity,
    first_entry: u64,
    was_read: bool,
    /// Where what was not read begins, and the entry before that.
    cursor: u64,
    last: LastEntry,
    /// Where it ends; `None` for all that the file may still get.
    until: Option<u64>,
    /// What stands there is of no use before this VLSN is the next.
    useful_from: u64,
    /// Whether its file had lost its name at some time. Whatever has it later is another: the system may give the number
    /// of a deleted file to the next one.
    is_gone: bool,
}

impl Passed {
    /// What was not read of `file`, from its cursor to `until`.
    fn of(file: &OpenFile, until: Option<u64>) -> Passed {
        let OpenFile { number, file: _, identity, first_entry, cursor, was_read, last } = *file;
        Passed { number, identity, first_entry, was_read, cursor, last, until, useful_from: 0, is_gone: false }
    }

    /// Its file, with the cursor at its beginning.
    fn opened(&self, file: Arc<dyn LogFile>) -> OpenFile {
        let Passed { number, identity, first_entry, was_read, cursor, last, .. } = *self;
        OpenFile { number, file, identity, first_entry, cursor, was_read, last }
    }

    /// Whether `file`, which has its name, is its file: the same, with the same entry before the place.
    fn is_in(&self, file: &dyn LogFile) -> io::Result<bool> {
        if file.identity()? != self.identity {
            return Ok(false);
        }
        let LastEntry::At { offset, checksum, .. } = self.last else { return Ok(true) };
        let mut stored = [0; 4];
        let read = file.read_at(&mut stored, u64::from(offset))?;
        Ok(read == stored.len() && u32::from_le_bytes(stored) == checksum)
    }

    /// Where it begins.
    fn begin(&self) -> Lsn {
        lsn_of(self.number, self.cursor)
    }
}

/// How many passed places are remembered. Those forgotten are the oldest, and long settled.
const PASSED_MAX: usize = 1024;

/// Something that has been the same at all looks, and since when.
struct Still<T> {
    what: T,
    since: Instant,
    /// Whether that was long enough at the last look.
    is_settled: bool,
}

impl<T: PartialEq> Still<T> {
    /// Sees `what` at `now`, when it is settled after having been the same for so long.
    fn see(place: &mut Option<Still<T>>, what: T, now: Instant, settle: Duration) -> &Still<T> {
        let same = place.take().filter(|still| still.what == what);
        let since = same.map_or(now, |still| still.since);
        place.insert(Still { what, since, is_settled: now >= since + settle })
    }

    fn begin_anew(&mut self, now: Instant) {
        if !self.is_settled {
            self.since = now;
        }
    }
}

/// What is to be seen where nothing can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Scene {
    at: Lsn,
    len: u64,
    bytes_crc: u32,
    listing_epoch: u64,
}

/// See the module's comment.
pub struct Tail {
    files: Arc<dyn Files>,
    options: TailOptions,
    start: Lsn,
    /// The start, if it was found by looking for a VLSN.
    sought: Option<Lsn>,
    listing: Listing,
    current: Option<OpenFile>,
    window: Window,
    /// How many entries the window has shown.
    shown: usize,
    /// How much the window reads next.
    read_next: usize,
    /// What the window showed before it was read last, of which file.
    before: Option<(u32, Passage)>,
    /// For looks elsewhere than at the cursor. Made when first needed.
    probe: Option<Probe>,
    successor: Option<Successor>,
    /// Places that were passed and could still be written to: the file left last, and crossed holes.
    passed: Vec<Passed>,
    /// The place being read again, its end, and where to go on afterwards.
    looking_back: Option<(Option<u64>, OpenFile)>,
    /// What was found there and could not be used yet.
    for_later: Option<Passed>,
    /// The passed place in whose zeros a look back was interrupted, and where.
    back_search: Option<(Lsn, u64)>,
    /// Whether something was passed since what comes next was found last.
    is_next_due: bool,
    /// Files that should stand between the one left and the current one, and do not.
    missing_files: Option<(u32, u32)>,
    /// Whether the last step was a wait.
    has_waited: bool,
    attention: Attention,
    still: Option<Still<Scene>>,
    /// Where there are zeros.
    zeros: Option<Still<Lsn>>,
    proof: Proof,
    /// How far the zeros at the beginning of the next file were looked through.
    empty_beginning: Option<EmptyBeginning>,
    /// Of all that is read here.
    budget: Budget,
    holes_crossed: u64,
}

/// What is known of the proof that a hole is harmless. It is looked for from the hole on, over all that is whole, into the
/// files behind, and not at every wake-up.
enum Proof {
    /// Nobody has looked.
    Unknown,
    /// It is being looked for.
    Sought(ProofSearch),
    /// It was not found.
    NotFound { of: Hole, began: Instant, again_at: Instant },
}

/// A hole, and the VLSN that has to stand behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hole {
    at: Lsn,
    expected_vlsn: Option<u64>,
}

/// How far the search for a proof has got.
struct ProofSearch {
    of: Hole,
    began: Instant,
    number: u32,
    file: Arc<dyn LogFile>,
    next: u64,
    /// Where the hole ends, if that is in its file.
    hole_end: Option<u64>,
    /// Whether `file` is longer than its header and no entry was found in it. Nothing is passed over that is all zeros.
    is_blank: bool,
    /// How many bytes it has passed, and how many of them behind the hole.
    passed: u64,
    passed_behind: u64,
}

/// Zeros at the beginning of a file, as far as they were looked through.
#[derive(Clone, Copy)]
struct EmptyBeginning {
    number: u32,
    identity: FileIdentity,
    next: u64,
    /// When to look through them again; `None` while they are being looked through.
    again_at: Option<Instant>,
}

/// What the name of an open file stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    /// For this file.
    Its,
    /// For another file, born later.
    Anothers,
    /// For none.
    Free,
}

/// What to do after a look that showed no entry.
enum Verdict {
    /// Something was found out: look again.
    Retry,
    /// Wait.
    Wait(Wait),
}

/// No file has bytes from here on.
const FILE_END: u64 = 1 << 32;

/// Of so many zeros, and more, is remembered that they were looked through.
const ZEROS_AT_EACH_LOOK: u64 = 4 * 1024 * 1024;

/// How many zeros are looked through once more for each second that has passed.
const ZEROS_PER_SECOND: u64 = 16 * 1024 * 1024;

/// How much of what stands at the cursor is compared to see whether it has changed; of an unreadable entry the checksum
/// covers the rest.
const SCENE_BYTES: usize = 64 * 1024;

impl Tail {
    /// A tail over `files` from `start`: an entry's position, or [`Lsn::NULL`] for the first entry there is.
    pub fn new(files: Arc<dyn Files>, start: Lsn, options: TailOptions) -> Tail {
        let budget = Budget::default();
        Tail {
            files,
            options,
            start,
            sought: None,
            listing: Listing::default(),
            current: None,
            window: Window::new(options.read_bytes, budget.clone()),
            shown: 0,
            read_next: usize::MAX,
            before: None,
            probe: None,
            successor: None,
            passed: Vec::new(),
            looking_back: None,
            for_later: None,
            back_search: None,
            is_next_due: false,
            missing_files: None,
            has_waited: false,
            attention: Attention::new(options.settle),
            still: None,
            zeros: None,
            proof: Proof::Unknown,
            empty_beginning: None,
            budget,
            holes_crossed: 0,
        }
    }

    /// What all of this reader reads out of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Begins at `start`, an entry's position or offset 0 of a file, whatever was read before.
    pub fn begin_at(&mut self, start: Lsn) {
        self.start = start;
        self.sought = Some(start);
        self.current = None;
        self.forget_window();
        self.successor = None;
        self.passed.clear();
        self.looking_back = None;
        self.for_later = None;
        self.back_search = None;
        self.is_next_due = false;
        self.missing_files = None;
        self.still = None;
        self.zeros = None;
        self.proof = Proof::Unknown;
        self.empty_beginning = None;
    }

    /// The block that holds the payload of the entry found last.
    #[inline]
    pub fn block(&self) -> &Arc<Block> {
        self.window.block()
    }

    /// Whether the window has a whole entry more, as far as its header tells.
    #[inline]
    pub fn has_more_at_hand(&self) -> bool {
        self.current.as_ref().is_some_and(|current| self.window.has_entry_len(current.cursor))
    }

    /// The entry at `lsn`, which was returned before, as it was then: where its bytes are still in memory, it is neither
    /// read nor checked again.
    #[inline]
    pub fn recall(&self, lsn: Lsn) -> Option<Recalled<'_>> {
        let offset = u64::from(lsn.offset());
        if let Some(current) = self.current.as_ref().filter(|current| current.number == lsn.file())
            && let Some((header, payload)) = self.window.shown(offset, current.cursor)
        {
            return Some(Recalled { header, payload, block: self.window.block() });
        }
        let (_, before) = self.before.as_ref().filter(|&&(number, _)| number == lsn.file())?;
        let (header, payload) = before.entry(offset)?;
        Some(Recalled { header, payload, block: before.block() })
    }

    /// The block that the window had before, if it is kept.
    #[inline]
    pub fn block_before(&self) -> Option<&Arc<Block>> {
        self.before.as_ref().map(|(_, passage)| passage.block())
    }

    /// Where the next entry is expected; [`Lsn::NULL`] before a file was opened.
    pub fn position(&self) -> Lsn {
        self.current.as_ref().map_or(Lsn::NULL, |current| lsn_of(current.number, current.cursor))
    }

    /// Where what was not read yet begins, whatever is read again now.
    pub fn front(&self) -> Option<Lsn> {
        let newest = self.looking_back.as_ref().map(|(_, file)| file).or(self.current.as_ref())?;
        Some(lsn_of(newest.number, newest.cursor))
    }

    /// Something is said to have changed in the directory: it is listed anew soon, whatever its time stamp says.
    pub fn distrust(&mut self) {
        self.listing.distrust();
    }

    /// Whether what is waited for may be written elsewhere than in the directory: the current file or the newest is a
    /// link, or it cannot be told.
    pub fn is_behind_a_link(&self) -> bool {
        let current = self.current.as_ref().map(|current| current.number);
        let newest = self.listing.newest().filter(|&newest| current != Some(newest));
        current.into_iter().chain(newest).any(|number| self.files.is_link(number).unwrap_or(true))
    }

    /// How often the directory was listed.
    pub fn listings(&self) -> u64 {
        self.listing.listings()
    }

    /// How many holes were crossed because what stood behind them proved that nothing was missing.
    pub fn holes_crossed(&self) -> u64 {
        self.holes_crossed
    }

    /// The lowest file there was when the directory was last looked at.
    pub fn first_file(&self) -> Option<u32> {
        self.listing.first()
    }

    /// What came next was found: files that are missing by number are not missed, and nothing is looked for in what was
    /// passed.
    #[inline]
    pub fn note_next_was_found(&mut self) {
        self.missing_files = None;
        self.is_next_due = false;
    }

    /// Whether what comes next was not found since something was passed: it may be written there yet.
    pub fn is_next_due(&self) -> bool {
        self.is_next_due
    }

    /// How many bytes were passed and not read since, as far as they are of use when `next_vlsn` is the next. Of a file that
    /// was left, as many as it could have.
    pub fn unread(&self, next_vlsn: u64) -> u64 {
        let back = self.looking_back.as_ref().zip(self.current.as_ref());
        let back = back.map(|(&(until, _), file)| (file.cursor, until));
        let useful = self.passed.iter().filter(|place| next_vlsn == 0 || place.useful_from <= next_vlsn);
        let places = useful.map(|place| (place.cursor, place.until)).chain(back);
        places.map(|(cursor, until)| until.unwrap_or(FILE_END).saturating_sub(cursor)).sum()
    }

    /// The first file number that is missing between the current file and the one read before it.
    pub fn missing_file(&self) -> Option<u32> {
        self.missing_files.map(|(first, _)| first)
    }

    /// The next entry on disk, if it was read before.
    #[inline]
    pub fn at_hand(&mut self, send_limit: Lsn) -> Option<Found> {
        let current = self.current.as_mut()?;
        let is_within =
            self.looking_back.as_ref().is_none_or(|(until, _)| until.is_none_or(|until| current.cursor < until));
        if is_within
            && let Look::Entry(entry) = self.window.look(current.cursor)
            && current.last.precedes(&entry)
        {
            let lsn = lsn_of(current.number, current.cursor);
            if lsn < send_limit {
                current.consume(&entry);
                self.shown += 1;
                return Some(Found { lsn, entry });
            }
        }
        None
    }

    /// The next entry on disk, or why there is none, where nothing is [at hand](Self::at_hand). Whatever is concluded here
    /// comes from bytes read just now.
    #[cold]
    pub fn step(&mut self, ask: &Ask<'_>) -> Searched<Step> {
        let shown = self.current.as_ref().filter(|_| ask.recalls);
        self.before = shown.and_then(|current| Some((current.number, self.window.passage(current.cursor)?)));
        let cursor = self.current.as_ref().map_or(0, |current| current.cursor);
        let shown = std::mem::take(&mut self.shown);
        // What is to be recalled is sought in what was read last: the more of it, the better.
        self.read_next = if ask.recalls { usize::MAX } else { self.window.read_next(cursor, shown) };
        self.window.forget();
        let step = self.read_on(ask);
        if !matches!(step, Ok(Step::Found(_))) {
            self.has_waited |= !matches!(step, Err(Halt::Busy));
            // What is wanted again later must not come from bytes of now.
            self.forget_window();
        }
        step
    }

    fn read_on(&mut self, ask: &Ask<'_>) -> Searched<Step> {
        loop {
            self.budget.check()?;
            if self.current.is_none()
                && let Some(wait) = self.open_start(ask)?
            {
                return Ok(self.waiting(wait));
            }
            let current = self.current.as_mut().expect("a file was just opened");
            if self.looking_back.as_ref().is_some_and(|(until, _)| until.is_some_and(|until| current.cursor >= until)) {
                self.return_from_look_back();
                continue;
            }
            let lsn = lsn_of(current.number, current.cursor);
            let look = read_and_look(&mut self.window, current, self.read_next)?;
            if let Look::Entry(entry) = &look
                && current.last.precedes(entry)
            {
                if lsn >= ask.send_limit {
                    return Ok(Step::Wait(Wait::until_changed(WaitReason::SendLimit, lsn)));
                }
                // What a recovery has deleted meanwhile is not sent: the replica would have what the log has not.
                if std::mem::take(&mut self.has_waited) && self.looking_back.is_none() && self.is_dropped(ask)? {
                    match self.judge_vanished(ask)? {
                        Verdict::Retry => continue,
                        Verdict::Wait(wait) => return Ok(self.waiting(wait)),
                    }
                }
                let current = self.current.as_mut().expect("a file was just read");
                current.consume(entry);
                self.shown = 1;
                self.still = None;
                let Look::Entry(entry) = look else { unreachable!("matched above") };
                return Ok(Step::Found(Found { lsn, entry }));
            }
            match self.judge(&look, ask) {
                Ok(Verdict::Retry) => {}
                Ok(Verdict::Wait(wait)) => return Ok(self.waiting(wait)),
                // Who reads up to the limit never comes here.
                Err(Halt::Failed(Error::LogDamaged { .. }))
                    if self.sought.is_some_and(|sought| sought >= ask.send_limit) =>
                {
                    return Ok(Step::Wait(Wait::until_changed(WaitReason::SendLimit, lsn)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A wait after a look at the directory, which may have to be listed yet.
    fn waiting(&self, wait: Wait) -> Step {
        let look_again = wait.look_again.into_iter().chain(self.listing.deferred_until()).min();
        Step::Wait(Wait { look_again, ..wait })
    }

    /// Looks again at what was passed: where it begins, or with `all` over all its zeros, which may take long. True if
    /// an entry stands now where there was none, and it comes next there; the tail returns to where it was by itself.
    /// `next_vlsn` is what is looked for; 0 for all that there is.
    pub fn look_back(&mut self, all: bool, next_vlsn: u64) -> Searched<bool> {
        if self.looking_back.is_some() || self.current.is_none() {
            return Ok(false);
        }
        let interrupted = if all { self.back_search.take() } else { None };
        let goes_on = interrupted.and_then(|(place, _)| self.passed.iter().position(|passed| passed.begin() == place));
        let mut at = goes_on.unwrap_or(0);
        while let Some(Passed { until, useful_from, .. }) = self.passed.get(at) {
            let (until, is_of_use) = (*until, next_vlsn == 0 || *useful_from <= next_vlsn);
            if !is_of_use {
                at += 1;
                continue;
            }
            let (begin, number) = (self.passed[at].begin(), self.passed[at].number);
            at += 1;
            // As a rule a file that was left has not grown, and is not worth opening.
            let len = if until.is_none() { self.files.len_of(number) } else { Ok(None) };
            let len = len.map_err(|error| open_error(number, error))?;
            if len.is_some_and(|len| len <= u64::from(begin.offset())) {
                continue;
            }
            // One that was deleted, or whose name another has, is not written to any more.
            let Some(mut file) = self.open_passed(at - 1)? else { continue };
            let failed = |error| read_error(&file, error);
            let probe = self.probe.get_or_insert_with(|| Probe::new(self.budget.clone()));
            let mut found = file.cursor;
            if all {
                if let Some((_, next)) = interrupted.filter(|&(place, _)| place == begin) {
                    found = next;
                }
                match probe.behind_zeros(&*file.file, &mut found) {
                    Err(Halt::Busy) => {
                        self.back_search = Some((begin, found));
                        return Err(Halt::Busy);
                    }
                    Err(halt) => return Err(halt.or_error(failed)),
                    Ok(Behind::Entry(_)) => {}
                    Ok(Behind::NoEntry | Behind::End) => continue,
                }
            }
            if until.is_some_and(|until| found >= until) {
                continue;
            }
            // What could not be read on from here would be found again and again.
            let last = if found > file.cursor { LastEntry::Unknown } else { file.last };
            let entry = probe.entry(&*file.file, found).map_err(failed)?;
            if !entry.is_some_and(|entry| last.precedes(&entry)) {
                continue;
            }
            self.passed.remove(at - 1);
            if found > file.cursor {
                self.remember_passed(&file, Some(found));
                file.cursor = found;
                file.last = last;
            }
            let current = self.current.replace(file).expect("checked above");
            self.looking_back = Some((until, current));
            self.forget_window();
            self.still = None;
            return Ok(true);
        }
        Ok(false)
    }

    /// The next look back over all zeros begins with the first place, whatever was interrupted.
    pub fn begin_to_look_back(&mut self) {
        self.back_search = None;
    }

    /// Opens the file of a place that was passed; `None` if its name does not stand for it any more.
    fn open_passed(&mut self, at: usize) -> Result<Option<OpenFile>> {
        let place = &mut self.passed[at];
        let is_its = |open: &&OpenFile| (open.number, open.identity) == (place.number, place.identity);
        if let Some(current) = self.current.as_ref().filter(is_its) {
            return Ok(Some(place.opened(Arc::clone(&current.file))));
        }
        let number = place.number;
        place.is_gone |= self.listing.at_or_above(number) != Some(number);
        if place.is_gone {
            return Ok(None);
        }
        let file = match self.files.open(number) {
            Ok(file) => file,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
                place.is_gone = true;
                return Ok(None);
            }
            Err(error) => return Err(open_error(number, error)),
        };
        let is_its = place.is_in(&*file).map_err(|error| open_error(number, error))?;
        Ok(is_its.then(|| place.opened(file)))
    }

    /// Whether it reads what was passed before.
    #[inline]
    pub fn is_looking_back(&self) -> bool {
        self.looking_back.is_some()
    }

    /// The entry found last, which stands at `lsn`, was found looking back and cannot be used yet: it is looked at again
    /// when `next_vlsn` is the next.
    pub fn leave_for_later(&mut self, lsn: Lsn, next_vlsn: u64) {
        let current = self.current.as_ref().expect("an entry was found in a file");
        debug_assert_eq!(current.number, lsn.file());
        let until = Some(current.cursor);
        if let Some(place) = &mut self.for_later {
            place.until = until;
            place.useful_from = place.useful_from.min(next_vlsn);
        } else {
            let cursor = u64::from(lsn.offset());
            let place = Passed::of(current, until);
            self.for_later = Some(Passed { cursor, last: LastEntry::Unknown, useful_from: next_vlsn, ..place });
        }
    }

    /// Takes back the entry found last, which stands at `lsn`: it comes again.
    pub fn put_back(&mut self, lsn: Lsn) {
        let current = self.current.as_mut().expect("an entry was found in a file");
        debug_assert_eq!(current.number, lsn.file());
        current.cursor = u64::from(lsn.offset());
        current.last = LastEntry::Unknown;
        self.forget_window();
    }

    /// What is waited for is looked at next at `look_again`, or when something changes.
    pub fn sleeps(&mut self, look_again: Option<Instant>) {
        self.attention.sleeps(look_again);
    }

    /// The first look after that. True: it was overslept, and what had not settled before begins to anew.
    pub fn wakes(&mut self, now: Instant) -> bool {
        let is_overslept = self.attention.wakes(now);
        if is_overslept {
            self.still.iter_mut().for_each(|still| still.begin_anew(now));
            self.zeros.iter_mut().for_each(|zeros| zeros.begin_anew(now));
        }
        is_overslept
    }

    /// When to look next at what is to be judged at `judged_at`.
    pub fn next_look(&self, now: Instant, judged_at: Instant) -> Instant {
        self.attention.next_look(now, judged_at)
    }

    /// Drops what was read: the next step reads anew.
    pub fn forget_window(&mut self) {
        self.window.forget();
        self.before = None;
    }

    fn remember_passed(&mut self, file: &OpenFile, until: Option<u64>) {
        self.remember(Passed::of(file, until));
        self.is_next_due = true;
    }

    fn remember(&mut self, place: Passed) {
        if self.passed.len() == PASSED_MAX {
            self.passed.remove(0);
        }
        self.passed.push(place);
    }

    /// The place looked back at has been read to its end again.
    fn return_from_look_back(&mut self) {
        let Some((until, resume)) = self.looking_back.take() else {
            return;
        };
        let file = self.current.replace(resume).expect("a file is read while looking back");
        if let Some(place) = self.for_later.take() {
            self.remember(place);
        }
        if until.is_none_or(|until| file.cursor < until) {
            self.remember_passed(&file, until);
        }
        self.window.forget();
        self.still = None;
    }

    /// Opens the file to start in. Some: there is none yet.
    fn open_start(&mut self, ask: &Ask<'_>) -> Result<Option<Wait>> {
        self.refresh_listing(ask)?;
        if self.return_to_file_before(ask)? {
            return Ok(None);
        }
        let wanted = if self.start == Lsn::NULL { 0 } else { self.start.file() };
        let Some(number) = self.listing.at_or_above(wanted) else {
            return Ok(Some(self.wait_for_a_file(wanted, ask)));
        };
        let is_newest = self.listing.newest() == Some(number);
        let (file, parsed) = match self.open_file(number)? {
            Some(opened) => opened,
            // Listed, and gone before it could be opened: the next look lists again.
            None => return Ok(Some(self.wait_for_a_file(number, ask))),
        };
        let header = match parsed {
            ParsedFileHeader::Header(header) => header,
            ParsedFileHeader::Fault(fault) if !fault.may_be_unfinished() => {
                return Err(Error::LogFileHeader { file: number, fault });
            }
            unfinished => {
                let len = file.len().map_err(|error| open_error(number, error))?;
                let fault = match unfinished {
                    ParsedFileHeader::Fault(fault) => fault,
                    _ => HeaderFault::Short(len),
                };
                let digest = self.digest_of_beginning(&*file, None).map_err(|error| open_error(number, error))?;
                let (wait, settled) =
                    self.wait_settling(WaitReason::UnfinishedHeader, Lsn::new(number, 0), len, digest, ask);
                // The newest file may stay shorter than its header for as long as it likes.
                if settled && !(is_newest && matches!(fault, HeaderFault::Short(_))) {
                    return Err(Error::LogFileHeader { file: number, fault });
                }
                return Ok(Some(wait));
            }
        };
        let mut current = open_at_first(number, file, &header)?;
        if number == wanted && self.start != Lsn::NULL {
            let offset = u64::from(self.start.offset());
            if offset > current.first_entry {
                current.cursor = offset;
                current.last = LastEntry::Unknown;
            }
        }
        self.still = None;
        self.zeros = None;
        self.current = Some(current);
        Ok(None)
    }

    /// The current file is gone, and nothing was read from it. After a crash the writer goes on in the highest file there
    /// is, or has made that one anew, too: what its name stands for now is judged with that file.
    fn return_to_file_before(&mut self, ask: &Ask<'_>) -> Result<bool> {
        for at in (0..self.passed.len()).rev() {
            let Passed { number, identity, was_read, until, .. } = self.passed[at];
            if until.is_some() {
                continue;
            }
            if self.name_of(number, identity)? == Name::Free {
                self.passed[at].is_gone = true;
                continue;
            }
            if let Some(file) = self.open_passed(at)? {
                self.passed.remove(at);
                self.current = Some(file);
                self.still = None;
                return Ok(true);
            }
            if was_read {
                return Err(Error::LogFileGone { file: number, expected_vlsn: ask.expected_vlsn, found_vlsn: None });
            }
            // Nothing is lost: what has its name is read from where this one was to be.
            self.start = self.passed.remove(at).begin();
        }
        Ok(false)
    }

    /// Opens a file and reads its header; `None` if it is not there.
    fn open_file(&mut self, number: u32) -> Result<Option<(Arc<dyn LogFile>, ParsedFileHeader)>> {
        let file = match self.files.open(number) {
            Ok(file) => file,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
                self.listing.outdate();
                return Ok(None);
            }
            Err(error) => return Err(open_error(number, error)),
        };
        let parsed = read_header(&*file, number)?;
        Ok(Some((file, parsed)))
    }

    /// Brings the listing up to date.
    fn refresh_listing(&mut self, ask: &Ask<'_>) -> Result<()> {
        self.listing.refresh(&*self.files, ask.now.get()).map_err(|error| Error::LogDirectory {
            path: self.files.path().map(std::path::Path::to_path_buf).unwrap_or_default(),
            os: error.into(),
        })
    }

    /// What the name of a file that was opened stands for now.
    fn name_of(&self, number: u32, identity: FileIdentity) -> Result<Name> {
        let named = self.files.identity(number).map_err(|error| open_error(number, error))?;
        Ok(match named {
            Some(named) if named == identity => Name::Its,
            Some(_) => Name::Anothers,
            None => Name::Free,
        })
    }

    /// Whether a file whose name stands for that is no part of the log any more. One that has lost its name and is not the
    /// highest was deleted by the cleaner, and is read to its end. But a name is given twice only by a recovery: what has
    /// it now is the log.
    fn is_dropped_by(&self, name: Name, number: u32) -> bool {
        let is_highest = self.listing.newest().is_none_or(|newest| newest <= number);
        name == Name::Anothers || name == Name::Free && is_highest
    }

    /// The same for the current file; one system call where it has its name. Whether it has, only the directory knows: a
    /// file that was deleted or moved aside may have another name, elsewhere.
    fn is_dropped(&mut self, ask: &Ask<'_>) -> Result<bool> {
        let current = self.current.as_ref().expect("only asked of a current file");
        let (name, number) = (self.name_of(current.number, current.identity)?, current.number);
        if name == Name::Free {
            // Which file is the highest now?
            self.listing.outdate();
            self.refresh_listing(ask)?;
        }
        Ok(self.is_dropped_by(name, number))
    }

    /// Decides what a look at the cursor means that showed no entry. The bytes were read just now.
    fn judge(&mut self, look: &Look, ask: &Ask<'_>) -> Searched<Verdict> {
        if self.looking_back.is_some() {
            self.return_from_look_back();
            return Ok(Verdict::Retry);
        }
        self.refresh_listing(ask)?;
        if self.is_dropped(ask)? {
            return Ok(self.judge_vanished(ask)?);
        }
        let current = self.current.as_ref().expect("only called with a current file");
        let at = lsn_of(current.number, current.cursor);
        let newest = self.listing.newest();
        let len = current.file.len().map_err(|error| read_error(current, error))?;
        let Some(present) = len.checked_sub(current.cursor) else {
            return Err(Error::LogTruncated { file: current.number, len, read: current.cursor }.into());
        };
        if matches!(look, Look::Short { needed } if *needed as u64 <= present) {
            // It has grown since the read.
            return Ok(Verdict::Retry);
        }
        let is_newest = newest == Some(current.number);
        if present > 0 {
            return self.judge_no_entry(look, at, present, is_newest, ask);
        }
        // Zeros that were cut away do not count as having stood.
        self.zeros = None;
        if is_newest {
            self.still = None;
            return Ok(Verdict::Wait(Wait::until_changed(WaitReason::End, at)));
        }
        self.judge_end_of_lower(at, len, ask)
    }

    /// There are bytes at the cursor, and they are no entry that could follow here.
    fn judge_no_entry(
        &mut self,
        look: &Look,
        at: Lsn,
        present: u64,
        is_newest: bool,
        ask: &Ask<'_>,
    ) -> Searched<Verdict> {
        let current = self.current.as_ref().expect("only called with a current file");
        // A read may bring more than it has to, or not: what is compared from look to look is always as much.
        let compared = usize::try_from(present).unwrap_or(usize::MAX).min(SCENE_BYTES);
        if self.window.from(current.cursor).len() < compared {
            self.window
                .read_at_most(&*current.file, current.cursor, compared, compared)
                .map_err(|error| read_error(current, error))?;
        }
        let bytes_crc = scene_digest(self.window.from(current.cursor), look);
        let (reason, fault) = describe(look, present, &current.last);
        let len = current.cursor + present;
        let (mut wait, settled) = self.wait_settling(reason, at, len, bytes_crc, ask);
        if reason == WaitReason::Hole {
            let (now, settle) = (ask.now.get(), self.options.settle);
            let Still { since, is_settled, .. } = *Still::see(&mut self.zeros, at, now, settle);
            if !is_settled {
                let look_again = Some(self.next_look(now, since + settle));
                return Ok(Verdict::Wait(Wait { look_again, ..wait }));
            }
            // Before an error the proof is looked for once more.
            let asked_since = self.settled_at().filter(|_| settled && !is_newest);
            if self.cross_hole(asked_since, ask)? {
                return Ok(Verdict::Retry);
            }
            wait.stalled = true;
            // The proof may come without the file growing.
            wait.look_again = Some(ask.now.get() + self.options.settle);
        }
        if !settled {
            return Ok(Verdict::Wait(wait));
        }
        if is_newest && matches!(reason, WaitReason::Hole | WaitReason::Torn) {
            wait.stalled = true;
            return Ok(Verdict::Wait(wait));
        }
        let vlsn = match look {
            Look::Checksum { vlsn, .. } => *vlsn,
            Look::Entry(entry) => entry.header.vlsn,
            _ => None,
        };
        let vlsn = vlsn.and_then(|vlsn| u64::try_from(vlsn).ok());
        Err(Error::LogDamaged { at, fault, vlsn, expected_vlsn: ask.expected_vlsn }.into())
    }

    /// The current file lost its name, and is no part of the log.
    fn judge_vanished(&mut self, ask: &Ask<'_>) -> Result<Verdict> {
        let current = self.current.as_ref().expect("only called with a current file");
        if !current.was_read {
            // Nothing was read from it, so nothing is lost. It may have been born again already.
            self.start = Lsn::new(current.number, low32(current.cursor));
            self.current = None;
            self.successor = None;
            self.listing.outdate();
            return Ok(Verdict::Retry);
        }
        Err(Error::LogFileGone { file: current.number, expected_vlsn: ask.expected_vlsn, found_vlsn: None })
    }

    /// A lower file was read to its end: the rule for leaving it.
    fn judge_end_of_lower(&mut self, at: Lsn, len: u64, ask: &Ask<'_>) -> Searched<Verdict> {
        let current_number = at.file();
        let Some(next) = self.listing.above(current_number) else {
            return Ok(Verdict::Wait(Wait::until_changed(WaitReason::End, at)));
        };
        let known = self.successor.take().filter(|known| known.number == next && known.has_entry);
        // Looked at anew: a recovery may have cut it meanwhile, or put another in its place.
        match self.look_at_successor(next, ask) {
            Ok(true) => {}
            Ok(false) => return Ok(Verdict::Wait(self.wait_settling(WaitReason::NextFileEmpty, at, len, 0, ask).0)),
            Err(halt) => {
                self.successor = known;
                return Err(halt);
            }
        }
        let successor = self.successor.as_ref().expect("it was just looked at");
        if !successor.has_entry {
            return Ok(self.judge_empty_successor(at, len, ask)?);
        }
        if known.is_none_or(|known| known.identity != successor.identity) {
            // What was written here before that entry may have come after the look: read to the end once more.
            return Ok(Verdict::Retry);
        }
        Ok(self.leave(at, len, 0, ask)?)
    }

    /// Goes on to the next file, if this one has the entry that the next one names as its last. `digest` of what the
    /// decision came from: while that stands still, time passes towards an error.
    fn leave(&mut self, at: Lsn, len: u64, digest: u32, ask: &Ask<'_>) -> Result<Verdict> {
        let successor = self.successor.as_ref().expect("only called with a successor");
        let named = successor.header.map_or(0, |header| header.last_entry_in_previous);
        let adjacent = at.file().checked_add(1) == Some(successor.number);
        if adjacent && named != 0 && named >= at.offset() {
            let (wait, settled) = self.wait_settling(WaitReason::LastEntryMissing, at, len, digest, ask);
            if settled {
                let fault = EntryFault::EndsEarly(named);
                return Err(Error::LogDamaged { at, fault, vlsn: None, expected_vlsn: ask.expected_vlsn });
            }
            return Ok(Verdict::Wait(wait));
        }
        self.enter_successor(adjacent)?;
        Ok(Verdict::Retry)
    }

    /// The next file has no entry. The newest may stay so while it has a header only, or not even that; anything else
    /// in it is judged when it stands still.
    fn judge_empty_successor(&mut self, at: Lsn, len: u64, ask: &Ask<'_>) -> Result<Verdict> {
        let successor = self.successor.as_ref().expect("only called with a successor");
        let (number, header, fault) = (successor.number, successor.header, successor.header_fault);
        let file = Arc::clone(&successor.file);
        let next_len = file.len().map_err(|error| open_error(number, error))?;
        let is_newest = self.listing.newest() == Some(number);
        if let Some(fault) = fault.filter(|fault| !fault.may_be_unfinished()) {
            return Err(Error::LogFileHeader { file: number, fault });
        }
        let beginning = self.digest_of_beginning(&*file, header).map_err(|error| open_error(number, error))?;
        let digest = beginning ^ low32(next_len);
        let (wait, settled) = self.wait_settling(WaitReason::NextFileEmpty, at, len, digest, ask);
        if !settled {
            return Ok(Verdict::Wait(wait));
        }
        let Some(header) = header else {
            let fault = fault.unwrap_or(HeaderFault::Short(next_len));
            return if is_newest && matches!(fault, HeaderFault::Short(_)) {
                Ok(Verdict::Wait(Wait { look_again: None, ..wait }))
            } else {
                Err(Error::LogFileHeader { file: number, fault })
            };
        };
        let first_entry = u64::from(header.first_entry());
        if !is_newest {
            // What it holds is judged like any lower file's content.
            return self.leave(at, len, digest, ask);
        }
        if next_len <= first_entry {
            return Ok(Verdict::Wait(Wait { look_again: None, ..wait }));
        }
        let probe = self.probe.get_or_insert_with(|| Probe::new(self.budget.clone()));
        let look = probe.look(&*file, first_entry).map_err(|error| open_error(number, error))?;
        let (reason, fault) = describe(&look, next_len - first_entry, &LastEntry::None);
        let first = lsn_of(number, first_entry);
        match reason {
            WaitReason::Hole | WaitReason::Torn => {
                Ok(Verdict::Wait(Wait { reason, at: first, stalled: true, look_again: None }))
            }
            _ if matches!(look, Look::Entry(_)) => Ok(Verdict::Retry),
            _ => Err(Error::LogDamaged { at: first, fault, vlsn: None, expected_vlsn: ask.expected_vlsn }),
        }
    }

    /// Tells two looks at the beginning of a file apart in which no entry was found.
    fn digest_of_beginning(&mut self, file: &dyn LogFile, header: Option<FileHeader>) -> io::Result<u32> {
        let mut bytes = [0; FILE_HEADER_LEN_V3];
        let read = file.read_at(&mut bytes, 0)?;
        let mut digest = crc32fast::hash(&bytes[..read]);
        if let Some(header) = header {
            let first_entry = u64::from(header.first_entry());
            let probe = self.probe.get_or_insert_with(|| Probe::new(self.budget.clone()));
            let look = probe.look(file, first_entry)?;
            digest ^= scene_digest(probe.bytes(file, first_entry, SCENE_BYTES)?, &look);
        }
        Ok(digest)
    }

    /// Opens and reads the beginning of file `number`, the next one. False: it is not there any more.
    fn look_at_successor(&mut self, number: u32, ask: &Ask<'_>) -> Searched<bool> {
        self.successor = None;
        let Some((file, parsed)) = self.open_file(number)? else {
            return Ok(false);
        };
        let (header, header_fault) = match parsed {
            ParsedFileHeader::Header(header) => (Some(header), None),
            ParsedFileHeader::Short => {
                let len = file.len().map_err(|error| open_error(number, error))?;
                (None, Some(HeaderFault::Short(len)))
            }
            ParsedFileHeader::Fault(fault) => (None, Some(fault)),
        };
        let identity = file.identity().map_err(|error| open_error(number, error))?;
        let has_entry = match header {
            Some(header) => self.begins_with_entry(number, &*file, identity, u64::from(header.first_entry()), ask)?,
            None => false,
        };
        self.successor = Some(Successor { number, file, identity, header, header_fault, has_entry });
        Ok(true)
    }

    /// Whether a file has an entry with nothing but zeros before it. Many zeros are looked through now and then; whether an
    /// entry stands where the first belongs is seen at once.
    fn begins_with_entry(
        &mut self,
        number: u32,
        file: &dyn LogFile,
        identity: FileIdentity,
        first: u64,
        ask: &Ask<'_>,
    ) -> Searched<bool> {
        let failed = |error| open_error(number, error);
        let probe = self.probe.get_or_insert_with(|| Probe::new(self.budget.clone()));
        let known = self.empty_beginning.take().filter(|known| (known.number, known.identity) == (number, identity));
        let mut next = first;
        if let Some(known) = known {
            if probe.entry(file, first).map_err(failed)?.is_some() {
                return Ok(true);
            }
            match known.again_at {
                None => next = known.next,
                Some(at) if ask.now.get() < at => {
                    self.empty_beginning = Some(known);
                    return Ok(false);
                }
                Some(_) => {}
            }
        }
        let behind = probe.behind_zeros(file, &mut next);
        let seen = |again_at| Some(EmptyBeginning { number, identity, next, again_at });
        match behind {
            Err(Halt::Busy) => {
                self.empty_beginning = seen(None);
                Err(Halt::Busy)
            }
            Ok(Behind::Entry(_)) => Ok(true),
            Ok(Behind::NoEntry | Behind::End) => {
                if next - first >= ZEROS_AT_EACH_LOOK {
                    self.empty_beginning = seen(Some(ask.now.get() + self.again_after(next - first)));
                }
                Ok(false)
            }
            Err(Halt::Failed(error)) => Err(failed(error).into()),
        }
    }

    /// Goes from the current file to the next.
    fn enter_successor(&mut self, adjacent: bool) -> Result<()> {
        let successor = self.successor.take().expect("only called with a successor");
        let header = successor.header.expect("a file without a header is not entered");
        let next = open_at_first(successor.number, successor.file, &header)?;
        let Some(left) = self.current.replace(next) else {
            return Ok(());
        };
        // Until what comes next is found, the first hole in the numbers is the one that counts.
        if !adjacent && self.missing_files.is_none() {
            self.missing_files = Some((left.number + 1, successor.number - 1));
        }
        self.remember_passed(&left, None);
        self.window.forget();
        self.still = None;
        Ok(())
    }

    /// Crosses the hole at the cursor if what stands behind it proves that nothing is missing that comes next. `asked_since`:
    /// a search that began before that does not count; `None` where any will do.
    fn cross_hole(&mut self, asked_since: Option<Instant>, ask: &Ask<'_>) -> Searched<bool> {
        let current = self.current.as_ref().expect("only called with a current file");
        let hole = current.clone();
        let of = Hole { at: lsn_of(hole.number, hole.cursor), expected_vlsn: ask.expected_vlsn };
        let now = ask.now.get();
        let is_new_enough = |began: Instant| asked_since.is_none_or(|since| began >= since);
        let mut search = match std::mem::replace(&mut self.proof, Proof::Unknown) {
            Proof::Sought(search) if search.of == of && is_new_enough(search.began) => search,
            Proof::NotFound { of: same, began, again_at } if same == of && is_new_enough(began) && now < again_at => {
                self.proof = Proof::NotFound { of, began, again_at };
                return Ok(false);
            }
            _ => ProofSearch {
                of,
                began: now,
                number: hole.number,
                file: Arc::clone(&hole.file),
                next: hole.cursor,
                hole_end: None,
                is_blank: false,
                passed: 0,
                passed_behind: 0,
            },
        };
        let is_proven = match self.search_proof(&mut search) {
            Err(Halt::Busy) => {
                self.proof = Proof::Sought(search);
                return Err(Halt::Busy);
            }
            other => other?,
        };
        if !is_proven {
            let again_at = now + self.again_after(search.passed);
            self.proof = Proof::NotFound { of, began: search.began, again_at };
            return Ok(false);
        }
        if let Some(behind) = search.hole_end {
            let current = self.current.as_mut().expect("it was there a moment ago");
            current.cursor = behind;
            current.last = LastEntry::Unknown;
            self.remember_passed(&OpenFile { last: LastEntry::Unknown, ..hole }, Some(behind));
        } else {
            let Some(next) = self.listing.above(hole.number) else { return Ok(false) };
            if !self.look_at_successor(next, ask)? {
                return Ok(false);
            }
            self.enter_successor(hole.number.checked_add(1) == Some(next))?;
        }
        self.crossed();
        Ok(true)
    }

    /// When zeros are to be looked through again that were `passed` bytes: the more, the later, so that they do not cost
    /// a core while nothing happens to them.
    fn again_after(&self, passed: u64) -> Duration {
        self.options.settle + Duration::from_secs(1) * u32::try_from(passed / ZEROS_PER_SECOND).unwrap_or(u32::MAX)
    }

    /// Looks for the expected VLSN, from the hole on: over zeros and whole entries, into the files behind. Bytes that are no
    /// entry are not passed over because what is looked for stands behind them. Without an expectation any entry is
    /// proof: nothing that was promised can be missing.
    fn search_proof(&mut self, search: &mut ProofSearch) -> Searched<bool> {
        let limit = self.options.proof_bytes_max;
        loop {
            let number = search.number;
            let failed = |error| open_error(number, error);
            let probe = self.probe.get_or_insert_with(|| Probe::new(self.budget.clone()));
            let from = search.next;
            let behind = probe.behind_zeros(&*search.file, &mut search.next);
            search.passed += search.next - from;
            match behind.map_err(|halt| halt.or_error(failed))? {
                Behind::NoEntry => return Ok(false),
                Behind::End if search.is_blank => return Ok(false),
                Behind::End => {
                    let Some(next) = self.listing.above(number) else { return Ok(false) };
                    let Some((file, ParsedFileHeader::Header(header))) = self.open_file(next)? else {
                        return Ok(false);
                    };
                    let first_entry = u64::from(header.first_entry());
                    search.is_blank = file.len().map_err(|error| open_error(next, error))? > first_entry;
                    (search.number, search.file, search.next) = (next, file, first_entry);
                }
                Behind::Entry(entry) => {
                    search.is_blank = false;
                    if number == search.of.at.file() {
                        search.hole_end.get_or_insert(entry);
                    }
                    let Some(expected) = search.of.expected_vlsn else { return Ok(true) };
                    let left = limit.saturating_sub(search.passed_behind);
                    let mut is_found = false;
                    search.next = probe
                        .walk(&*search.file, entry, |at, sighted| {
                            is_found = sighted.vlsn_to_send() == Some(expected);
                            is_found || at - entry >= left || at > entry && self.budget.is_spent()
                        })
                        .map_err(failed)?;
                    search.passed += search.next - entry;
                    search.passed_behind += search.next - entry;
                    if is_found {
                        return Ok(true);
                    }
                    if search.passed_behind >= limit {
                        return Ok(false);
                    }
                }
            }
            self.budget.check()?;
        }
    }

    fn crossed(&mut self) {
        self.holes_crossed += 1;
        self.still = None;
        self.zeros = None;
    }

    /// When what stands still now has done so, or will have done so, for the settle time.
    fn settled_at(&self) -> Option<Instant> {
        self.still.as_ref().map(|still| still.since + self.options.settle)
    }

    /// A wait for file `number`, or a higher one. That none comes may mean that this is not the log's directory.
    fn wait_for_a_file(&mut self, number: u32, ask: &Ask<'_>) -> Wait {
        let (wait, settled) = self.wait_settling(WaitReason::NoFile, Lsn::new(number, 0), 0, 0, ask);
        Wait { stalled: settled, ..wait }
    }

    /// A wait for `reason`, and whether all has stood still for the settle time.
    fn wait_settling(&mut self, reason: WaitReason, at: Lsn, len: u64, bytes_crc: u32, ask: &Ask<'_>) -> (Wait, bool) {
        let scene = Scene { at, len, bytes_crc, listing_epoch: self.listing.epoch() };
        let (now, settle) = (ask.now.get(), self.options.settle);
        let Still { since, is_settled, .. } = *Still::see(&mut self.still, scene, now, settle);
        let look_again = (!is_settled).then(|| self.next_look(now, since + settle));
        (Wait { reason, at, stalled: false, look_again }, is_settled)
    }
}

impl Wait {
    fn until_changed(reason: WaitReason, at: Lsn) -> Wait {
        Wait { reason, at, stalled: false, look_again: None }
    }
}

impl OpenFile {
    #[inline]
    fn consume(&mut self, entry: &Sighted) {
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
}

impl LastEntry {
    /// Whether `entry` names this one as the one before it, as far as that can be told. A writer that restarted, or
    /// goes on behind a backup, may not know it: it says 0.
    #[inline]
    fn precedes(&self, entry: &Sighted) -> bool {
        match *self {
            LastEntry::At { named: Some(named), .. } => {
                entry.header.prev_offset == named || entry.header.prev_offset == 0
            }
            LastEntry::None => entry.header.prev_offset == 0,
            LastEntry::At { named: None, .. } | LastEntry::Unknown => true,
        }
    }
}

/// Offsets in a log file fit 32 bits: an LSN has no room for more.
#[inline]
fn low32(offset: u64) -> u32 {
    offset as u32
}

#[inline]
fn lsn_of(file: u32, offset: u64) -> Lsn {
    Lsn::new(file, low32(offset))
}

fn open_error(file: u32, error: io::Error) -> Error {
    Error::log_read(file, 0, error)
}

fn read_error(current: &OpenFile, error: io::Error) -> Error {
    Error::log_read(current.number, current.cursor, error)
}

fn read_header(file: &dyn LogFile, number: u32) -> Result<ParsedFileHeader> {
    let mut bytes = [0; FILE_HEADER_LEN_V3];
    let read = file.read_at(&mut bytes, 0).map_err(|error| open_error(number, error))?;
    Ok(FileHeader::parse(&bytes[..read], number))
}

fn open_at_first(number: u32, file: Arc<dyn LogFile>, header: &FileHeader) -> Result<OpenFile> {
    let identity = file.identity().map_err(|error| open_error(number, error))?;
    let first_entry = u64::from(header.first_entry());
    Ok(OpenFile { number, file, identity, first_entry, cursor: first_entry, was_read: false, last: LastEntry::None })
}

/// Reads at the cursor and looks at what is there, with as much of it read as the file has. Confirms that the entry
/// before the cursor is still the one that was returned: the writer's recovery may have cut the log below it and
/// written it anew.
fn read_and_look(window: &mut Window, current: &OpenFile, most: usize) -> Result<Look> {
    let mut needed = ENTRY_HEADER_LEN;
    let look = loop {
        window
            .read_at_most(&*current.file, current.cursor, needed, most)
            .map_err(|error| read_error(current, error))?;
        match window.look(current.cursor) {
            // What the read before did not bring because it had what it was to bring at least.
            Look::Short { needed: more } if more > needed => needed = more,
            look => break look,
        }
    };
    if let LastEntry::At { offset, checksum, .. } = current.last {
        let mut stored = [0; 4];
        let read = current.file.read_at(&mut stored, u64::from(offset)).map_err(|e| read_error(current, e))?;
        if read == stored.len() && u32::from_le_bytes(stored) != checksum {
            return Err(Error::LogRewritten { at: Lsn::new(current.number, offset) });
        }
    }
    Ok(look)
}

/// What a look that is no entry is waited for as, and what it is if nothing comes.
fn describe(look: &Look, present: u64, last: &LastEntry) -> (WaitReason, EntryFault) {
    match look {
        Look::Zero => (WaitReason::Hole, EntryFault::Hole),
        Look::Short { needed } => (WaitReason::Torn, EntryFault::Torn { needed: *needed as u64, present }),
        Look::Oversize(size) => (WaitReason::Unreadable, EntryFault::Oversize(*size)),
        Look::Checksum { stored, computed, .. } => {
            (WaitReason::Unreadable, EntryFault::Checksum { stored: *stored, computed: *computed })
        }
        Look::Entry(entry) => {
            let expected = match last {
                LastEntry::At { named, .. } => named.unwrap_or(0),
                LastEntry::None | LastEntry::Unknown => 0,
            };
            (WaitReason::Unreadable, EntryFault::BrokenChain { expected, found: entry.header.prev_offset })
        }
    }
}

/// Tells two looks at what is no entry apart. Of a large entry the checksum covers what is not compared.
fn scene_digest(seen: &[u8], look: &Look) -> u32 {
    crc32fast::hash(&seen[..seen.len().min(SCENE_BYTES)])
        ^ match look {
            Look::Checksum { computed, .. } => *computed,
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory_disk::{MemoryDisk, Written};

    const SETTLE: Duration = Duration::from_secs(3);

    /// A tail whose clock the test moves.
    struct Reader {
        tail: Tail,
        now: Instant,
        expected_vlsn: Option<u64>,
    }

    impl Reader {
        fn over(disk: &Arc<MemoryDisk>) -> Reader {
            let options = TailOptions { settle: SETTLE, read_bytes: 4096, proof_bytes_max: 1_000_000 };
            let tail = Tail::new(Arc::clone(disk) as Arc<dyn Files>, Lsn::NULL, options);
            Reader { tail, now: Instant::now(), expected_vlsn: None }
        }

        fn step(&mut self) -> Result<Step> {
            let now = self.now.into();
            let ask = Ask { now: &now, expected_vlsn: self.expected_vlsn, send_limit: Lsn::NULL, recalls: false };
            loop {
                match self.tail.step(&ask) {
                    Err(Halt::Busy) => {}
                    Err(Halt::Failed(error)) => return Err(error),
                    Ok(step) => return Ok(step),
                }
            }
        }

        /// The VLSNs up to where there is nothing for now, and why.
        fn read(&mut self) -> (Vec<i64>, Wait) {
            let mut vlsns = Vec::new();
            loop {
                match self.step().unwrap() {
                    Step::Found(found) => vlsns.extend(found.entry.header.vlsn),
                    Step::Wait(wait) => return (vlsns, wait),
                }
            }
        }
    }

    fn disk(files: impl IntoIterator<Item = Written>) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::default();
        for (number, written) in (0..).zip(files) {
            disk.put(number, u64::from(number) + 1, written.bytes);
        }
        Arc::new(disk)
    }

    #[test]
    fn entries_come_in_the_order_of_the_disk_and_the_end_is_a_wait() {
        let disk = disk([Written::file(0).entries([2, 1]), Written::file(1).entries([5, 3])]);
        let (vlsns, wait) = Reader::over(&disk).read();
        assert_eq!((vlsns, wait.reason, wait.look_again), (vec![2, 1, 5, 3], WaitReason::End, None));
    }

    /// Both files get an entry at once: what stands in the lower one comes first.
    #[test]
    fn a_file_is_left_when_it_was_read_to_its_end_after_the_next_had_an_entry() {
        let disk = disk([Written::file(0).entries([1]), Written::file(1)]);
        let mut reader = Reader::over(&disk);
        let (vlsns, wait) = reader.read();
        assert_eq!((vlsns, wait.reason), (vec![1], WaitReason::NextFileEmpty));
        let both = Written::file(0).entries([1, 2]);
        disk.write_at(0, both.at[1], &both.bytes[both.at[1] as usize..]);
        disk.write_at(1, 36, &Written::file(1).entries([3]).bytes[36..]);
        assert_eq!(reader.read().0, [2, 3]);
    }

    #[test]
    fn an_entry_that_was_put_back_comes_again() {
        let mut reader = Reader::over(&disk([Written::file(0).entries([1, 2])]));
        let Ok(Step::Found(first)) = reader.step() else { panic!("it is there") };
        reader.tail.put_back(first.lsn);
        assert_eq!(reader.read().0, [1, 2]);
    }

    #[test]
    fn what_was_shown_last_is_recalled_and_after_a_wait_no_more() {
        let written = Written::file(0).entries([1, 2]);
        let at = written.at.clone();
        let mut reader = Reader::over(&disk([written]));
        reader.step().unwrap();
        let recalled = |reader: &Reader, at: u64| reader.tail.recall(lsn_of(0, at)).map(|entry| entry.header.vlsn);
        assert_eq!(recalled(&reader, at[0]), Some(Some(1)));
        assert_eq!(recalled(&reader, at[1]), None, "not shown yet");
        reader.read();
        assert_eq!(recalled(&reader, at[0]), None, "it may have been rewritten");
    }

    /// File 0 with a hole that was crossed, in which VLSN 2 fits, and that was left. Where the hole is.
    fn with_two_places_passed() -> (Arc<MemoryDisk>, Reader, u64) {
        let hole = Written::file(0).entries([1]).bytes.len() as u64;
        let disk = disk([Written::file(0).entries([1]).zeros(62).entries([3]), Written::file(1).entries([4])]);
        let mut reader = Reader::over(&disk);
        reader.expected_vlsn = Some(3);
        assert_eq!(reader.read().0, [1]);
        let mut vlsns = Vec::new();
        while vlsns.is_empty() {
            reader.now += SETTLE / 4;
            vlsns = reader.read().0;
        }
        assert_eq!((vlsns, reader.tail.holes_crossed(), reader.tail.passed.len()), (vec![3, 4], 1, 2));
        (disk, reader, hole)
    }

    /// What an entry of `vlsn` is in that hole.
    fn in_hole(vlsn: i64) -> Vec<u8> {
        let entry = Written::file(0).entries([1, vlsn]).bytes[98..].to_vec();
        assert_eq!(entry.len(), 62);
        entry
    }

    #[test]
    fn a_look_back_goes_to_what_was_written_late_and_returns() {
        let (disk, mut reader, hole) = with_two_places_passed();
        assert_eq!(reader.tail.look_back(true, 2), Ok(false));
        let end = reader.tail.position();
        disk.write_at(0, hole, &in_hole(2));
        assert_eq!(reader.tail.look_back(false, 2), Ok(true));
        assert!(reader.tail.is_looking_back());
        assert_eq!((reader.read().0, reader.tail.position()), (vec![2], end));
        assert!(!reader.tail.is_looking_back());
        assert_eq!(reader.tail.look_back(true, 2), Ok(false), "what was read is not gone back to");
    }

    #[test]
    fn what_was_left_for_later_is_gone_back_to_when_it_is_needed() {
        let (disk, mut reader, hole) = with_two_places_passed();
        disk.write_at(0, hole, &in_hole(9));
        assert_eq!(reader.tail.look_back(false, 2), Ok(true));
        let Ok(Step::Found(found)) = reader.step() else { panic!("it is there") };
        reader.tail.leave_for_later(found.lsn, 5);
        assert_eq!(reader.read().0, [0_i64; 0]);
        assert_eq!(reader.tail.look_back(true, 4), Ok(false));
        assert_eq!(reader.tail.look_back(true, 5), Ok(true));
        assert_eq!(reader.read().0, [9]);
    }

    /// Nobody holds the file, so the system can give its number again.
    #[test]
    fn a_place_in_a_file_whose_name_another_has_is_not_gone_back_to() {
        for (inode, vlsn_before) in [(7, 3), (1, 33)] {
            let (disk, mut reader, _) = with_two_places_passed();
            let other = Written::file(0).entries([1]).zeros(62).entries([vlsn_before]);
            let late = in_hole(2);
            disk.put(0, inode, [other.bytes, late].concat());
            assert_eq!(reader.tail.look_back(false, 2), Ok(false), "inode {inode}");
        }
        let (disk, mut reader, hole) = with_two_places_passed();
        disk.remove(0);
        reader.now += SETTLE;
        reader.read();
        assert_eq!(reader.tail.look_back(true, 2), Ok(false));
        disk.put(0, 1, Written::file(0).entries([1]).zeros(62).entries([3]).bytes);
        disk.write_at(0, hole, &in_hole(2));
        reader.now += SETTLE;
        reader.read();
        assert_eq!(reader.tail.look_back(true, 2), Ok(false), "what was gone does not come back");
    }

    #[test]
    fn an_overslept_look_begins_anew_what_has_not_settled() {
        let mut written = Written::file(0).entries([1]);
        written.bytes.extend([0x10; 50]);
        let mut reader = Reader::over(&disk([written]));
        let (_, wait) = reader.read();
        assert_eq!(wait.reason, WaitReason::Unreadable);
        reader.tail.sleeps(wait.look_again);
        reader.now += 100 * SETTLE;
        assert!(reader.tail.wakes(reader.now));
        assert!(matches!(reader.step(), Ok(Step::Wait(wait)) if wait.reason == WaitReason::Unreadable));
        reader.now += SETTLE;
        assert!(matches!(reader.step(), Err(Error::LogDamaged { .. })));
    }
}
