//! A scanner: the replicated, visible entries of a log, each once, in VLSN order, with no number left out.
//!
//! It never guesses. What it returns was read whole, with its checksum checked, and is the successor of what it
//! returned before. When it cannot go on it says so, with an error that stays, or with *nothing yet* and the reason.

mod again;
mod ahead;
mod behind;
mod patience;
mod progress;
mod search;

use std::sync::Arc;
use std::time::Duration;

use self::again::Again;
use self::ahead::Ahead;
use self::patience::Patience;
use self::search::{Cause, Search};
use super::block::InBlock;
use super::budget::{Halt, Searched};
use super::files::Files;
use super::format::{EntryHeader, Lsn};
use super::order::{self, Held, Order, Placement, WindowLimits};
use super::tail::{Ask, Found, Skipped, Step, Tail, TailOptions, Wait, WaitReason};
use super::window::{Look, Sighted};
use crate::diagnostics::{Level, Logger, Replica, say};
use crate::error::{Error, Result};
use crate::memory::NoMemory;
use crate::now::Now;

/// An entry to send, borrowed from the scanner until its next call.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its VLSN, 1 or above.
    pub vlsn: u64,
    /// Where it stands.
    pub lsn: Lsn,
    /// Its type, as on disk.
    pub entry_type: u8,
    /// Its payload, as on disk.
    pub payload: &'a [u8],
    /// CRC-32 of the payload.
    pub payload_crc: u32,
    /// Where the payload stands, if it is in a block.
    pub block: Option<InBlock<'a>>,
}

/// What a scanner answers.
#[derive(Debug)]
pub enum Next<'a> {
    /// The next entry.
    Entry(Entry<'a>),
    /// Nothing yet.
    Nothing(Wait),
    /// Nothing so far, and more to look through: what might be read in this turn was read. To be asked again at once.
    Busy,
}

/// How a scanner works.
#[derive(Clone, Copy, Debug)]
pub struct ScannerOptions {
    /// How the log is read.
    pub tail: TailOptions,
    /// How much is held back for a late VLSN.
    pub window: WindowLimits,
    /// How long a VLSN may be missing at the live end of the log before that is a gap.
    pub gap_patience: Duration,
    /// Whether a log that ends below the VLSN asked for is waited for without end.
    pub waits_when_ahead: bool,
}

/// What a scanner has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ScannerCounts {
    /// Entries returned.
    pub returned: u64,
    /// Entries without a VLSN.
    pub untagged: u64,
    /// Entries below the VLSN asked for.
    pub below: u64,
    /// Entries that a rollback took back.
    pub invisible: u64,
    /// Entries whose VLSN had been returned before.
    pub repeats: u64,
    /// Entries whose VLSN field contradicts the flag that announces it.
    pub bad_vlsns: u64,
    /// Entries that came before one of a lower VLSN.
    pub early: u64,
}

/// The entry about to be returned.
struct Coming {
    vlsn: u64,
    lsn: Lsn,
    entry: Sighted,
    block: Of,
}

/// Which block its payload is in.
enum Of {
    /// The tail's, or the one that its window had before.
    Tail {
        is_before: bool,
    },
    Again,
}

/// What `find` came to.
enum Answer {
    Entry(Coming),
    Nothing(Wait),
}

/// How a call ended, as far as the next one has to know.
enum Ended {
    /// With an entry, or busy, or for want of memory: the next call goes on.
    GoingOn,
    /// With *nothing yet*: the next call looks how long it has slept.
    Paused,
    /// An entry was read, and there was no memory to hold it back: it comes first.
    Unplaced(u64, Held),
    /// With an error that stays, unless the log is cut back to `repaired_at`, or has a whole entry there.
    Failed { error: Error, repaired_at: Option<Lsn> },
}

/// See the module's comment. One thread at a time.
pub struct Scanner {
    files: Arc<dyn Files>,
    options: ScannerOptions,
    search: Search,
    order: Order,
    again: Again,
    patience: Patience,
    /// Looks whether the log reaches up to the VLSN to begin with, where that seems to be above it.
    ahead: Option<Box<Ahead>>,
    ended: Ended,
    counts: ScannerCounts,
    logger: Logger,
    /// Of the replica that is fed, if it is for one.
    replica_name: Option<String>,
}

impl Scanner {
    /// A scanner over `files` from `start` on; [`Lsn::NULL`] for the first entry there is.
    pub fn new(files: Arc<dyn Files>, start: Lsn, options: ScannerOptions) -> Scanner {
        let search = Search::new(&files, start, &options);
        Scanner {
            again: Again::new(Arc::clone(&files), search.tail.budget().clone()),
            files,
            options,
            search,
            order: Order::new(0, options.window),
            patience: Patience::new(&options),
            ahead: None,
            ended: Ended::GoingOn,
            counts: ScannerCounts::default(),
            logger: None,
            replica_name: None,
        }
    }

    /// Sends warnings to `logger` from now on.
    pub fn set_logger(&mut self, logger: Logger) {
        self.logger = logger;
    }

    /// Names this replica in warnings from now on.
    pub fn set_replica_name(&mut self, name: &str) {
        self.replica_name = Some(name.to_owned());
    }

    /// Has reading begin with the lowest VLSN among what was read so far, without looking further ahead. True if
    /// anything was, and it had not begun.
    pub fn begin_with_what_is_there(&mut self) -> Result<bool> {
        self.order.begin(true).map_err(no_room)
    }

    /// From now on, [`next`](Self::next) reads about `bytes` before it says that it is busy. Otherwise it reads until it has
    /// an answer.
    pub fn allow(&mut self, bytes: u64) {
        self.search.tail.budget().renew(bytes);
    }

    /// What it has done so far.
    pub fn counts(&self) -> ScannerCounts {
        self.counts
    }

    /// Whether the next entry may be had without reading.
    #[inline]
    pub fn has_more_at_hand(&self) -> bool {
        self.search.tail.has_more_at_hand() || self.order.ready().is_some()
    }

    /// What was returned, what comes next, and what is held back.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Something is said to have changed in the directory: it is listed anew soon, whatever its time stamp says.
    pub fn distrust(&mut self) {
        self.search.tail.distrust();
    }

    /// The reader below, for its counters.
    pub fn tail(&self) -> &Tail {
        &self.search.tail
    }

    /// The next entry whose VLSN is at least `from_vlsn`. `from_vlsn` 0 means the lowest that the log still holds
    /// without a hole. No entry at or behind `send_limit` is returned.
    ///
    /// An error is final: it comes again at each further call, but for a torn or unreadable end that the writer has
    /// cut off since, and for memory that could not be had: the next call tries again, and leaves nothing out.
    #[inline]
    pub fn next(&mut self, from_vlsn: u64, send_limit: Lsn, now: &Now) -> Result<Next<'_>> {
        if !matches!(self.ended, Ended::GoingOn) {
            self.begin_look(now)?;
        }
        match self.find(from_vlsn, send_limit, now) {
            Ok(Answer::Entry(Coming { vlsn, lsn, entry, block })) => {
                debug_assert!(vlsn >= from_vlsn.max(1) && lsn < send_limit);
                self.counts.returned += 1;
                let block = match block {
                    Of::Tail { is_before } => self.search.tail.block(is_before),
                    Of::Again => self.again.block(),
                };
                let begin = entry.payload.start;
                Ok(Next::Entry(Entry {
                    vlsn,
                    lsn,
                    entry_type: entry.header.entry_type,
                    payload: &block.bytes()[entry.payload],
                    payload_crc: entry.payload_crc,
                    block: Some(InBlock { block, begin }),
                }))
            }
            Ok(Answer::Nothing(pause)) => {
                self.ended = Ended::Paused;
                self.search.tail.stillness().attention.sleeps(pause.look_again);
                Ok(Next::Nothing(pause))
            }
            Err(Halt::Busy) => Ok(Next::Busy),
            Err(Halt::Failed(error)) => Err(self.note_failure(error)),
        }
    }

    #[cold]
    fn note_failure(&mut self, error: Error) -> Error {
        // What memory is wanted for is all there, and comes when there is some.
        if !matches!(error, Error::NoMemory { .. }) {
            let repaired_at = if let Error::LogDamaged { at, .. } = &error { Some(*at) } else { None };
            self.ended = Ended::Failed { error: error.clone(), repaired_at };
        }
        error
    }

    /// The first call after *nothing yet*, or after an error: gives the error again, unless the writer has cut off what
    /// caused it, or there is memory now.
    #[cold]
    #[inline(never)]
    fn begin_look(&mut self, now: &Now) -> Result<()> {
        match std::mem::replace(&mut self.ended, Ended::GoingOn) {
            Ended::GoingOn => {}
            Ended::Paused => {
                if self.search.tail.stillness().wakes(now.get()) {
                    self.patience.begin_anew(now.get());
                }
            }
            Ended::Unplaced(vlsn, held) => self.hold(vlsn, held)?,
            Ended::Failed { error, repaired_at } => {
                if !repaired_at.is_some_and(|at| self.again.is_repaired(at)) {
                    self.ended = Ended::Failed { error: error.clone(), repaired_at };
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn find(&mut self, from_vlsn: u64, send_limit: Lsn, now: &Now) -> Searched<Answer> {
        self.ask_from(from_vlsn)?;
        loop {
            if let Some(held) = self.order.ready() {
                if held.lsn >= send_limit {
                    // A log that holds it twice may have it below the limit, too.
                    if self.search.look_behind(&mut self.order, send_limit)? {
                        continue;
                    }
                    return Ok(Answer::Nothing(self.pause_at_send_limit(held.lsn)));
                }
                if let Some(coming) = self.take_held(held)? {
                    return Ok(Answer::Entry(coming));
                }
            }
            if let Some(found) = self.search.tail.at_hand(send_limit) {
                if let Some(coming) = self.place(found, send_limit, now)? {
                    return Ok(Answer::Entry(coming));
                }
            } else if let Some(answer) = self.find_reading(send_limit, now)? {
                return Ok(answer);
            }
        }
    }

    #[inline]
    fn ask_from(&mut self, from_vlsn: u64) -> Searched<()> {
        if self.order.has_begun() {
            self.order.skip_to(from_vlsn);
        } else if from_vlsn > 0 {
            self.search.begin_at(from_vlsn)?;
            // What was looked at to find a beginning is behind the cursor already: it counts as found.
            self.order.begin_at(from_vlsn).map_err(no_room)?;
        } else {
            self.search.behind.is_to_be_sought = false;
        }
        Ok(())
    }

    /// Reads on; some: there is an answer.
    #[cold]
    #[inline(never)]
    fn find_reading(&mut self, send_limit: Lsn, now: &Now) -> Searched<Option<Answer>> {
        let expected_vlsn = Some(self.order.next()).filter(|&next| next > 0);
        let recalls = self.order.held() > 0;
        match self.search.tail.step(&Ask { now, expected_vlsn, send_limit, recalls }) {
            Ok(Step::Found(found)) => Ok(self.place(found, send_limit, now)?.map(Answer::Entry)),
            Ok(Step::Wait(wait)) => {
                let pause = self.pause(wait, send_limit, now)?;
                if pause.is_none() && self.search.gets_on(&self.order) {
                    return Ok(None);
                }
                self.search.rest();
                Ok(Some(Answer::Nothing(pause.unwrap_or(wait))))
            }
            Err(Halt::Failed(error)) => {
                self.after_error(error, send_limit)?;
                Ok(None)
            }
            Err(Halt::Busy) => Err(Halt::Busy),
        }
    }

    /// Gives the error back, or goes on elsewhere.
    #[cold]
    #[inline(never)]
    fn after_error(&mut self, mut error: Error, send_limit: Lsn) -> Searched<()> {
        if let Error::NoMemory { vlsn, .. } = &mut error {
            *vlsn = vlsn.or(Some(self.order.next()).filter(|&next| next > 0));
            return Err(error.into());
        }
        // What stands before the damage, or before the place where reading began, is good, and comes first. The error
        // comes again.
        if self.begin_with_what_is_there()? {
            return Ok(());
        }
        match self.search.go_on_elsewhere(Cause::Error, &mut self.order, send_limit) {
            Ok(true) => Ok(()),
            Err(Halt::Busy) => Err(Halt::Busy),
            // Whether it is an error at all is not known then.
            Err(Halt::Failed(none @ Error::NoMemory { .. })) => Err(none.into()),
            // What failed first says what is wrong, also when looking there fails for the same reason.
            Ok(false) | Err(Halt::Failed(_)) => Err(error.into()),
        }
    }

    /// What to do with an entry found on disk; some: return it.
    #[inline]
    fn place(&mut self, found: Found, send_limit: Lsn, now: &Now) -> Searched<Option<Coming>> {
        let Found { lsn, entry } = found;
        let Some(vlsn) = entry.header.vlsn else {
            self.counts.untagged += 1;
            return Ok(None);
        };
        if entry.header.is_invisible() {
            self.counts.invisible += 1;
            return Ok(None);
        }
        let Some(vlsn) = u64::try_from(vlsn).ok().filter(|&vlsn| vlsn > 0) else {
            self.counts.bad_vlsns += 1;
            let number = entry.header.vlsn.unwrap_or(0);
            self.warn(format_args!("the entry at {lsn} has VLSN {number}, which is none; it is not sent"));
            return Ok(None);
        };
        let held = held(lsn, &entry);
        if self.order.next() == vlsn {
            self.order.returned(held.digest);
            *self.search.tail.skipped() = Skipped::default();
            return Ok(Some(Coming { vlsn, lsn, entry, block: Of::Tail { is_before: false } }));
        }
        self.place_out_of_order(vlsn, held, send_limit, now)?;
        Ok(None)
    }

    /// What to do with an entry that is not the next one.
    #[inline(never)]
    fn place_out_of_order(&mut self, vlsn: u64, found: Held, send_limit: Lsn, now: &Now) -> Searched<()> {
        if !self.order.has_begun() {
            return Ok(self.hold(vlsn, found)?);
        }
        let placement = self.order.place(vlsn, found.lsn, found.len, found.digest);
        match placement.map_err(|none| self.keep_unplaced(none, vlsn, found))? {
            Placement::Next => unreachable!("the next one is placed before"),
            Placement::Held => self.note_early(now),
            Placement::Below => self.counts.below += 1,
            Placement::Repeat => {
                self.counts.repeats += 1;
                if self.counts.repeats == 1 {
                    let at = found.lsn;
                    self.warn(format_args!("VLSN {vlsn} stands in the log again, at {at}; repeats are not sent"));
                }
            }
            Placement::Changed => return Err(Error::HistoryChanged { vlsn, at: found.lsn }.into()),
            Placement::Full => self.place_where_all_is_full(vlsn, found, send_limit, now)?,
        }
        Ok(())
    }

    /// An entry that came early, and that the window has no room for.
    #[cold]
    #[inline(never)]
    fn place_where_all_is_full(&mut self, vlsn: u64, found: Held, send_limit: Lsn, now: &Now) -> Searched<()> {
        if self.search.was_passed(found.lsn) {
            let noted = self.order.note_held(vlsn, found, send_limit);
            if noted.map_err(|none| self.keep_unplaced(none, vlsn, found))? {
                self.note_early(now);
                return Ok(());
            }
        }
        if self.search.go_on_from_full(vlsn, found.lsn, &mut self.order, send_limit)? {
            return Ok(());
        }
        // A rollback may have made room: what it took back is held until somebody looks. It takes the highest back first.
        for which in [Order::highest_held, Order::lowest_held] {
            if let Some((held, at)) = which(&self.order)
                && !self.is_still_held(held, at)?
            {
                return Ok(());
            }
        }
        Err(self.gap(vlsn, found.lsn).into())
    }

    /// An entry was held back: what comes next is missing from now on.
    #[inline]
    fn note_early(&mut self, now: &Now) {
        self.counts.early += 1;
        self.patience.note_missing(self.order.next(), now);
    }

    /// What comes next is held back and may not be sent. It is read anew when it may.
    fn pause_at_send_limit(&mut self, at: Lsn) -> Wait {
        self.search.tail.forget_window();
        self.again.forget();
        Wait::new(WaitReason::SendLimit, at, None)
    }

    /// Whether the entry held back as `vlsn` still counts; forgets it if not.
    fn is_still_held(&mut self, vlsn: u64, at: Lsn) -> Result<bool> {
        let counts = match self.again.look_anew(at, vlsn)? {
            Look::Entry(entry) => entry.vlsn_to_send() == Some(vlsn),
            _ => true,
        };
        if !counts {
            self.counts.invisible += 1;
            self.order.take_back(vlsn).map_err(no_room)?;
        }
        Ok(counts)
    }

    /// Holds an entry back that came early, or notes it while it is not known which one is the first.
    #[cold]
    fn hold(&mut self, vlsn: u64, held: Held) -> Result<()> {
        let is_early = self.order.has_begun();
        let is_enough = self.order.keep(vlsn, held).map_err(|none| self.keep_unplaced(none, vlsn, held))?;
        self.counts.early += u64::from(is_early);
        if is_enough {
            self.order.begin(false).map_err(no_room)?;
        }
        Ok(())
    }

    /// There was no memory to hold back an entry that was read: it comes first at the next call.
    #[cold]
    fn keep_unplaced(&mut self, none: NoMemory, vlsn: u64, held: Held) -> Error {
        self.ended = Ended::Unplaced(vlsn, held);
        not_held(none, vlsn, held.lsn)
    }

    /// The entry held back, as it was seen if its bytes are still there, and else read again and checked again; `None` if
    /// it does not count any more.
    fn take_held(&mut self, held: Held) -> Result<Option<Coming>> {
        let (lsn, vlsn) = (held.lsn, self.order.next());
        let is_its = |header: &EntryHeader| header.vlsn.and_then(|found| u64::try_from(found).ok()) == Some(vlsn);
        if let Some((header, payload, is_before)) = self.search.tail.recall(lsn)
            && header.entry_len() == held.len as usize
            && is_its(&header)
        {
            self.order.returned(held.digest);
            let payload_crc = order::payload_crc(header.entry_type, held.digest);
            return Ok(Some(Coming {
                vlsn,
                lsn,
                entry: Sighted { header, payload, payload_crc },
                block: Of::Tail { is_before },
            }));
        }
        let entry = match self.again.look(lsn, vlsn)? {
            Look::Entry(entry) if is_its(&entry.header) => entry,
            _ => return Err(Error::LogRewritten { at: lsn }),
        };
        if entry.header.is_invisible() {
            self.counts.invisible += 1;
            self.order.take_back(vlsn).map_err(no_room)?;
            return Ok(None);
        }
        self.order.returned(order::digest(entry.header.entry_type, entry.payload_crc));
        Ok(Some(Coming { vlsn, lsn, entry, block: Of::Again }))
    }

    /// What it means that the log has no more for now. `None`: reading goes on elsewhere.
    fn pause(&mut self, wait: Wait, send_limit: Lsn, now: &Now) -> Searched<Option<Wait>> {
        // What is read again later must not come from bytes of now.
        self.again.forget();
        // Elsewhere than at the end, what is missing may be what the reader is waiting for.
        let is_at_end = wait.reason == WaitReason::End
            // Unless something is to be found out about the next file yet.
            || wait.reason == WaitReason::NextFileEmpty && wait.look_again.is_none();
        let is_as_at_end = is_at_end || wait.stalled || wait.reason == WaitReason::SendLimit;
        if !self.order.has_begun() {
            let begins = is_as_at_end && self.begin_with_what_is_there()?;
            return Ok((!begins).then_some(wait));
        }
        // What comes next may stand before the place where reading began, also while a file is just being born.
        let may_be_behind = is_as_at_end || wait.reason == WaitReason::NextFileEmpty;
        if may_be_behind && self.search.look_behind(&mut self.order, send_limit)? {
            return Ok(None);
        }
        let order = &self.order;
        let (held, expected, has_returned) = (order.lowest_held(), order.next(), order.has_returned());
        let tail = &mut self.search.tail;
        // What was passed may have been completed since, and hold what comes next.
        let is_wanting = held.is_some() || wait.reason == WaitReason::Hole || tail.skipped().is_any;
        // The newest of all may have come there, and nothing shows it: that is looked at now and then.
        let is_due = is_at_end && self.patience.looks_back(now.get());
        if (is_wanting || is_due) && tail.look_back(None, expected)? {
            return Ok(None);
        }
        let Some((found, at)) = held else { return self.pause_with_nothing_held(wait, is_at_end, now) };
        // Of a number below all that this log holds, or in a file that is not there, nobody is just writing.
        // A log that begins with file 0 may have VLSN 1 still to come.
        let may_be_new = expected == 1 && tail.listing().first() == Some(0);
        let is_below_the_log = !has_returned && self.counts.below == 0 && !may_be_new;
        let is_sealed = is_below_the_log || tail.skipped().missing_file.is_some();
        let is_seeking = self.search.everywhere.is_some();
        let missing = self.patience.miss(expected, is_at_end, is_sealed, is_seeking, now.get());
        let cause = if missing.is_over { Cause::Gap } else { Cause::Due };
        if missing.is_sought && self.search.look_everywhere(cause, &mut self.order, send_limit)? {
            return Ok(None);
        }
        if missing.is_over {
            // What shows that something is missing may have been taken back by a rollback.
            if !self.is_still_held(found, at)? || self.search.begin_before_what_hides() {
                return Ok(None);
            }
            return Err(self.gap(found, at).into());
        }
        let look_again = [wait.look_again, missing.look_again].into_iter().flatten().min();
        let stalled = wait.stalled || missing.stalled_at.is_none();
        Ok(Some(Wait { missing_vlsn: Some(expected), look_again, stalled, ..wait }))
    }

    /// The log has no more for now, and nothing shows that something is missing. But a start may be above all of it.
    fn pause_with_nothing_held(&mut self, idle: Wait, is_at_end: bool, now: &Now) -> Searched<Option<Wait>> {
        let order = &mut self.order;
        let start = order.next();
        if is_at_end && order.begins_above_the_log() {
            let now = now.get();
            let ahead = match &mut self.ahead {
                Some(same) if same.start == start && same.again_at.is_none_or(|at| now < at) => same,
                other => {
                    let since = other.take().filter(|before| before.start == start).map_or(now, |before| before.since);
                    let budget = self.search.tail.budget().clone();
                    other.insert(Box::new(Ahead::new(start, since, &self.files, &self.options, budget)?))
                }
            };
            let Some(last) = ahead.search(now)? else {
                self.patience.forget();
                let look_again = idle.look_again.into_iter().chain(ahead.look_again()).min();
                return Ok(Some(Wait { look_again, ..idle }));
            };
            order.note(last);
        }
        if !order.begins_above_the_log() {
            self.patience.forget();
            self.ahead = None;
            return Ok(Some(idle));
        }
        let now = now.get();
        let Some(below) = self.patience.be_ahead(start, is_at_end, now) else { return Ok(Some(idle)) };
        if below.is_over {
            return Err(Error::AheadOfLog { start, last: order.below() }.into());
        }
        let stalled_at = below.stalled_at.map(|at| self.search.tail.stillness().attention.next_look(now, at));
        let look_again = stalled_at.into_iter().chain(below.look_again).min();
        let stalled = below.stalled_at.is_none();
        Ok(Some(Wait { reason: WaitReason::AheadOfLog, stalled, look_again, ..idle }))
    }

    fn gap(&mut self, found: u64, at: Lsn) -> Error {
        let expected = self.order.next();
        match self.search.tail.skipped().missing_file {
            Some(file) => Error::LogFileGone { file, expected_vlsn: Some(expected), found_vlsn: Some(found) },
            None => Error::LogGap { expected, found, at },
        }
    }

    fn warn(&self, text: std::fmt::Arguments<'_>) {
        let target = "noxu_feeder::log";
        match &self.replica_name {
            Some(name) => say(&self.logger, Level::Warn, target, format_args!("{}: {text}", Replica(name))),
            None => say(&self.logger, Level::Warn, target, text),
        }
    }
}

/// There is no memory to hold back what was seen.
fn no_room(none: NoMemory) -> Error {
    Error::no_memory(none, "entries out of order", None, None)
}

/// There is no memory to hold back the entry of `vlsn`, which stands at `lsn`.
fn not_held(none: NoMemory, vlsn: u64, lsn: Lsn) -> Error {
    Error::no_memory(none, "entries out of order", Some(lsn), Some(vlsn))
}

/// What is to be remembered of an entry that comes early.
#[inline]
fn held(lsn: Lsn, entry: &Sighted) -> Held {
    let digest = order::digest(entry.header.entry_type, entry.payload_crc);
    Held { lsn, len: entry.header.entry_len() as u32, digest }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::log::format::FLAG_INVISIBLE;
    use crate::log::test_disk::{MemoryDisk, Written};

    pub(super) const SETTLE: Duration = Duration::from_secs(3);
    pub(super) const PATIENCE: Duration = Duration::from_secs(60);

    pub(super) fn options() -> ScannerOptions {
        ScannerOptions {
            tail: TailOptions { settle: SETTLE, read_bytes: 4096, proof_bytes_max: 1_000_000 },
            window: WindowLimits { entries_max: 100, bytes_max: 100_000 },
            gap_patience: PATIENCE,
            waits_when_ahead: false,
        }
    }

    fn disk(files: impl IntoIterator<Item = Written>) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::default();
        for (number, written) in (0..).zip(files) {
            disk.put(number, u64::from(number) + 1, written.bytes);
        }
        Arc::new(disk)
    }

    fn scanner(disk: &Arc<MemoryDisk>) -> Scanner {
        Scanner::new(Arc::clone(disk) as Arc<dyn Files>, Lsn::NULL, options())
    }

    /// The VLSNs up to where there are none for now, however little may be read in one go, and why there are none.
    fn read(scanner: &mut Scanner, from: u64, now: Instant) -> Result<(Vec<u64>, Wait)> {
        let (mut vlsns, mut from) = (Vec::new(), from);
        loop {
            scanner.allow(1);
            match scanner.next(from, Lsn::NULL, &now.into())? {
                Next::Entry(entry) => {
                    from = entry.vlsn + 1;
                    vlsns.push(entry.vlsn);
                }
                Next::Busy => {}
                Next::Nothing(pause) => return Ok((vlsns, pause)),
            }
        }
    }

    #[test]
    fn entries_come_in_the_order_of_their_vlsns_each_once() {
        let file = Written::file(0).entries([2, 1, 3, 3]).entry(None, b"none");
        let mut scanner = scanner(&disk([file, Written::file(1).entries([5, 4])]));
        assert_eq!(read(&mut scanner, 1, Instant::now()).unwrap().0, [1, 2, 3, 4, 5]);
        let ScannerCounts { returned, untagged, repeats, early, .. } = scanner.counts();
        assert_eq!((returned, untagged, repeats, early), (5, 1, 1, 2));
    }

    #[test]
    fn a_gap_comes_when_the_patience_is_over_and_again_at_each_call() {
        let disk = disk([Written::file(0).entries([1, 3])]);
        let (mut scanner, begin) = (scanner(&disk), Instant::now());
        let (vlsns, mut pause) = read(&mut scanner, 1, begin).unwrap();
        assert_eq!((vlsns, pause.missing_vlsn), (vec![1], Some(2)));
        let (now, error) = loop {
            let now = pause.look_again.expect("it waits");
            match read(&mut scanner, 0, now) {
                Ok((_, again)) => pause = again,
                Err(error) => break (now, error),
            }
        };
        assert_eq!(now, begin + PATIENCE);
        assert!(matches!(error, Error::LogGap { expected: 2, found: 3, .. }), "{error}");
        disk.put(0, 1, Written::file(0).entries([1, 3, 2]).bytes);
        assert_eq!(read(&mut scanner, 0, now).unwrap_err(), error);
    }

    /// Reading begins with file 2, by its first VLSN. What is missing stands two files before, behind what cannot be read.
    #[test]
    fn damage_that_hides_what_is_missing_is_named_also_in_a_file_before_the_one_reading_began_in() {
        let error_with = |damaged_byte: usize| {
            let mut damaged = Written::file(0).entries([1, 3]);
            damaged.bytes[damaged_byte] ^= 1;
            let sound = [(1, &[5][..]), (2, &[2, 4]), (3, &[6])];
            let sound = sound.map(|(number, vlsns)| Written::file(number).entries(vlsns.iter().copied()));
            let (mut scanner, mut now) = (scanner(&disk([damaged].into_iter().chain(sound))), Instant::now());
            loop {
                match read(&mut scanner, 3, now) {
                    Ok((vlsns, _)) => assert_eq!(vlsns, [0; 0]),
                    Err(error) => break error,
                }
                now += SETTLE / 4;
            }
        };
        let (entry, header) = (error_with(60), error_with(27));
        assert!(matches!(entry, Error::LogDamaged { at, .. } if at == Lsn::new(0, 36)), "{entry}");
        assert!(matches!(header, Error::LogFileHeader { file: 0, .. }), "{header}");
    }

    /// Reading begins with file 1, by its first VLSN. File 2 is being born.
    #[test]
    fn what_stands_before_the_start_is_found_also_while_a_file_is_being_born() {
        let files = [Written::file(0).entries([3, 5, 2]), Written::file(1).entries([1, 4]), Written::file(2)];
        let (vlsns, pause) = read(&mut scanner(&disk(files)), 1, Instant::now()).unwrap();
        assert_eq!((vlsns, pause.reason), (vec![1, 2, 3, 4, 5], WaitReason::NextFileEmpty));
    }

    #[test]
    fn with_vlsn_0_the_lowest_without_a_hole_behind_it_is_the_first() {
        let mut scanner = scanner(&disk([Written::file(0).entries([47, 51, 50, 52])]));
        assert!(!scanner.begin_with_what_is_there().unwrap(), "nothing was read yet");
        assert_eq!(read(&mut scanner, 0, Instant::now()).unwrap().0, [50, 51, 52]);
        assert!(!scanner.begin_with_what_is_there().unwrap(), "it has begun");
    }

    /// Reads from VLSN `from` on until the time has come at which it would look again no more, or an error.
    fn read_patiently(scanner: &mut Scanner, from: u64, now: &mut Instant) -> Result<(Vec<u64>, Wait)> {
        let mut vlsns = Vec::new();
        loop {
            let (more, pause) = read(scanner, from, *now)?;
            vlsns.extend(more);
            let Some(look_again) = pause.look_again else { return Ok((vlsns, pause)) };
            *now = look_again;
        }
    }

    /// The first is chosen when half a window was seen, and what was seen last is further ahead of it than a window.
    #[test]
    fn what_was_seen_far_ahead_of_the_first_is_not_forgotten() {
        let window = WindowLimits { entries_max: 8, bytes_max: 100_000 };
        let disk = disk([Written::file(0).entries([1449, 1450, 1451, 1457])]);
        let mut scanner = Scanner::new(disk, Lsn::NULL, ScannerOptions { window, ..options() });
        let mut now = Instant::now();
        assert_eq!(read(&mut scanner, 0, now).unwrap().0, [1449, 1450, 1451]);
        let error = read_patiently(&mut scanner, 1452, &mut now).unwrap_err();
        assert!(matches!(error, Error::LogGap { expected: 1452, found: 1457, .. }), "{error}");
    }

    /// As a rollback does it: the entries' invisible bits are set, and their VLSNs are written once more.
    #[test]
    fn what_a_rollback_took_back_takes_no_room_from_what_comes_after_it() {
        let window = WindowLimits { entries_max: 100, bytes_max: 500 };
        let before = Written::file(0).entries(2..=9);
        let taken_back = before.at[3..].iter().map(|&at| (at + 5, before.bytes[at as usize + 5] | FLAG_INVISIBLE));
        let (len, taken_back) = (before.bytes.len(), taken_back.collect::<Vec<_>>());
        let disk = disk([before]);
        let options = ScannerOptions { window, ..options() };
        let mut scanner = Scanner::new(Arc::clone(&disk) as Arc<dyn Files>, Lsn::NULL, options);
        let now = Instant::now();
        assert_eq!(read(&mut scanner, 1, now).unwrap().1.missing_vlsn, Some(1));
        assert_eq!((scanner.order().held(), scanner.order().held_bytes()), (8, 496));
        for (at, flags) in taken_back {
            disk.write_at(0, at, &[flags]);
        }
        let after = Written::file(0).entries(2..=9).entry(Some(5), &[5; 150]).entries([6, 1]);
        disk.write_at(0, len as u64, &after.bytes[len..]);
        assert_eq!(read(&mut scanner, 1, now).unwrap().0, (1..=6).collect::<Vec<_>>());
    }

    /// Whether the log reaches up to the start cannot be told at first: an entry is half written.
    #[test]
    fn a_start_above_the_log_is_seen_also_if_that_could_not_be_told_at_first() {
        let mut torn = Written::file(0).entries([1, 2, 3]);
        let end = torn.bytes.split_off(torn.bytes.len() - 2);
        let torn_at = torn.bytes.len() as u64;
        let disk = disk([torn, Written::file(1).entries([4, 5])]);
        let (mut scanner, mut now) = (scanner(&disk), Instant::now());
        let pause = read(&mut scanner, 9, now).unwrap().1;
        assert_eq!((pause.reason, pause.look_again), (WaitReason::End, Some(now + SETTLE)));
        disk.write_at(0, torn_at, &end);
        let error = read_patiently(&mut scanner, 9, &mut now).unwrap_err();
        assert_eq!(error, Error::AheadOfLog { start: 9, last: 5 });
    }
}
