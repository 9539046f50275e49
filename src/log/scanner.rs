//! A scanner: the replicated, visible entries of a log, each once, in VLSN order, with no number left out.
//!
//! It never guesses. What it returns was read whole, with its checksum checked, and is the successor of what it
//! returned before. When it cannot go on it says so, with an error that stays, or with *nothing yet* and the reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::block::Block;
use super::budget::{Budget, Halt, Searched};
use super::files::{Files, LogFile};
use super::format::{ENTRY_HEADER_LEN, Lsn};
use super::last::LastVlsn;
use super::now::Now;
use super::order::{self, Beginning, Held, Order, Placement, WindowLimits};
use super::seek::{Place as Begun, Seek, Stretch};
use super::tail::{Ask, Found, Recalled, Step, Tail, TailOptions, Wait, WaitReason};
use super::window::{Look, Sighted, Window};
use crate::diagnostics::{Level, Logger, Replica, say};
use crate::error::{Error, Result};
use crate::memory::NoMemory;

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
    /// The block that the payload is part of, for who wants to keep it without copying.
    pub block: Option<&'a Arc<Block>>,
}

/// What a scanner answers.
#[derive(Debug)]
pub enum Next<'a> {
    /// The next entry.
    Entry(Entry<'a>),
    /// Nothing yet.
    Nothing(Pause),
    /// Nothing so far, and more to look through: what might be read in this turn was read. To be asked again at once.
    Busy,
}

/// Why there is nothing yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pause {
    /// What the reader of the log waits for, and where.
    pub wait: Wait,
    /// A VLSN that has not been found although later ones have.
    pub missing_vlsn: Option<u64>,
    /// When time alone will change the answer.
    pub look_again: Option<Instant>,
    /// Whether this has lasted so long that somebody should know.
    pub stalled: bool,
}

impl Pause {
    /// What a wait of the tail means where nothing is missing.
    fn of(wait: Wait) -> Pause {
        Pause { wait, missing_vlsn: None, look_again: wait.look_again, stalled: wait.stalled }
    }
}

/// A search for what is missing leads to an entry, or to nothing. Should it ever lead round in a circle, what was to come
/// next comes late, or not at all, but whoever asks gets an answer.
const DETOURS_MAX: u32 = 1000;

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

/// Where the payload of the entry about to be returned is.
enum Source {
    Tail,
    /// The block of the tail's that its window had before.
    Before,
    Again,
}

struct Place {
    vlsn: u64,
    lsn: Lsn,
    entry: Sighted,
    source: Source,
}

/// See the module's comment. One thread at a time.
pub struct Scanner {
    files: Arc<dyn Files>,
    options: ScannerOptions,
    tail: Tail,
    /// `None` until it is known with which VLSN to begin.
    order: Option<Order>,
    beginning: Beginning,
    /// Whether the place to begin is still to be found by the VLSN asked for.
    seeks: bool,
    /// Where reading began, if a VLSN said where, as long as that is near enough.
    began: Option<Begun>,
    /// Where reading began, or looking behind got to, as long as what is missed may stand before it.
    behind: Option<Begun>,
    /// The beginning of a file that reading began in the middle of, where something that is no entry stands between.
    obscured: Option<Begun>,
    /// Where reading had got to when it began anew before that.
    read_before: Lsn,
    again: Option<Again>,
    missing: Option<Awaited>,
    /// The VLSN to begin with, while the log does not reach up to it.
    ahead: Option<Awaited>,
    /// With which VLSN to begin the log's last was looked for everywhere; 0 if never.
    last_sought_for: u64,
    /// The search for it, if it was interrupted.
    last_search: Option<LastVlsn>,
    /// Since when it is waited elsewhere than at the end of the log.
    elsewhere_since: Option<Instant>,
    /// When the beginnings of what was passed were last looked at although nothing is missing.
    looked_back: Option<Instant>,
    /// When what is missing was last looked for everywhere.
    looked_everywhere: Option<Instant>,
    /// A search for the place to begin at that was interrupted.
    seek: Option<Seek>,
    /// A look behind the place where reading began that was interrupted.
    behind_look: Option<BehindLook>,
    /// A look for what is missing everywhere that was interrupted.
    everywhere: Option<Everywhere>,
    /// How often reading went on elsewhere since there was nothing last.
    detours: u32,
    /// Whether the last answer was *nothing yet*.
    has_paused: bool,
    failed: Option<Failure>,
    counts: ScannerCounts,
    logger: Logger,
    /// Of the replica that is fed, if it is for one.
    replica_name: Option<String>,
}

/// A VLSN that is waited for: later ones are there, or the log does not reach up to it.
#[derive(Clone, Copy)]
struct Awaited {
    vlsn: u64,
    since: Instant,
    /// Whether people were told.
    is_stalled: bool,
    /// Since when it is waited for at the end of the log, with the time spent elsewhere left out.
    awaited_since: Instant,
}

impl Awaited {
    fn new(vlsn: u64, now: Instant) -> Awaited {
        Awaited { vlsn, since: now, is_stalled: false, awaited_since: now }
    }

    fn begin_anew(&mut self, now: Instant) {
        self.awaited_since = now;
        if !self.is_stalled {
            self.since = now;
        }
    }
}

/// An error, and what to look at for whether what caused it is gone.
struct Failure {
    error: Error,
    /// The cut back to this position would repair it.
    repaired_at: Option<Lsn>,
    /// An entry that was read, and that there was no memory to hold back.
    unplaced: Option<(u64, Held)>,
}

/// A look behind the place where reading began, and how far it has got.
struct BehindLook {
    /// It looks before this place.
    before: Begun,
    seek: Seek,
    beginning: Begun,
    stretch: Stretch,
}

/// What a look behind a place came to.
struct LookedBehind {
    /// Whether the next VLSN was found, and may be sent.
    is_found: bool,
    /// Where the next look begins; `None` when nothing stands before.
    behind: Option<Begun>,
    /// The beginning of the place's file, where something that is no entry stands between.
    obscured: Option<Begun>,
}

/// A look for what is missing wherever it can be, and how far it has got.
#[derive(Clone, Copy)]
struct Everywhere {
    cause: Cause,
    /// The VLSN that was missing.
    vlsn: u64,
    stage: Stage,
}

/// Why what is missing is looked for. A look for one reason does not answer for another: it may have begun too early.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It is time to.
    Due,
    /// The patience is over.
    Gap,
    /// There is no room for what comes early.
    Full,
    /// Something is no entry, or cannot be read.
    Error,
}

#[derive(Clone, Copy)]
enum Stage {
    /// What stands before the place where reading began, as far as it was not looked at.
    Behind,
    /// What was passed.
    Back,
    /// The last of what was looked at behind that place, once more: so many files, from there on.
    BehindAgain(Option<Begun>, u32),
}

/// Reads held entries again.
struct Again {
    window: Window,
    file: Option<(u32, Arc<dyn LogFile>)>,
}

/// How far ahead of a lower VLSN, in VLSNs, an entry can stand that nothing shows to be missing: as many as there are
/// threads that commit at once, each of which has a lower VLSN that it has not appended yet. (One that dawdles can be
/// late by any number.)
const EARLY_MAX: u64 = 4096;

/// Held entries stand close together, so reads are large, but not as large as the tail's.
const AGAIN_BYTES: usize = 256 * 1024;

impl Scanner {
    /// A scanner over `files` from `start` on; [`Lsn::NULL`] for the first entry there is.
    pub fn new(files: Arc<dyn Files>, start: Lsn, options: ScannerOptions) -> Scanner {
        Scanner {
            tail: Tail::new(Arc::clone(&files), start, options.tail),
            files,
            options,
            order: None,
            beginning: Beginning::default(),
            seeks: start == Lsn::NULL || start == Lsn(0),
            began: None,
            behind: None,
            looked_everywhere: None,
            looked_back: None,
            seek: None,
            behind_look: None,
            everywhere: None,
            detours: 0,
            obscured: None,
            read_before: Lsn(0),
            again: None,
            missing: None,
            ahead: None,
            last_sought_for: 0,
            last_search: None,
            elsewhere_since: None,
            has_paused: false,
            failed: None,
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
        let begins = self.order.is_none() && !self.beginning.is_empty();
        if begins {
            self.begin(true)?;
        }
        Ok(begins)
    }

    /// From now on, [`next`](Self::next) reads about `bytes` before it says that it is busy. Otherwise it reads until it has
    /// an answer.
    pub fn allow(&mut self, bytes: u64) {
        self.tail.budget().renew(bytes);
    }

    /// What it has done so far.
    pub fn counts(&self) -> ScannerCounts {
        self.counts
    }

    /// Whether the next entry may be had without reading.
    #[inline]
    pub fn has_more_at_hand(&self) -> bool {
        self.tail.has_more_at_hand() || self.order.as_ref().is_some_and(|order| order.ready().is_some())
    }

    /// How many entries are held back for a late VLSN.
    pub fn held(&self) -> usize {
        self.order.as_ref().map_or(0, Order::held)
    }

    /// How many bytes of the log these take.
    pub fn held_bytes(&self) -> u64 {
        self.order.as_ref().map_or(0, Order::held_bytes)
    }

    /// The highest VLSN that was returned or is held back; 0 before the first.
    pub fn last_vlsn(&self) -> u64 {
        self.order.as_ref().map_or(0, Order::last)
    }

    /// Something is said to have changed in the directory: it is listed anew soon, whatever its time stamp says.
    pub fn distrust(&mut self) {
        self.tail.distrust();
    }

    /// The reader below, for its counters.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The next entry whose VLSN is at least `from_vlsn`. `from_vlsn` 0 means the lowest that the log still holds
    /// without a hole. No entry at or behind `send_limit` is returned.
    ///
    /// An error is final: it comes again at each further call, but for a torn or unreadable end that the writer has
    /// cut off since, and for memory that could not be had: the next call tries again, and leaves nothing out.
    #[inline]
    pub fn next(&mut self, from_vlsn: u64, send_limit: Lsn, now: &Now) -> Result<Next<'_>> {
        if self.has_paused || self.failed.is_some() {
            self.begin_look(now)?;
        }
        match self.find(from_vlsn, send_limit, now) {
            Ok(Ok(place)) => {
                self.counts.returned += 1;
                let block = match place.source {
                    Source::Tail => self.tail.block(),
                    Source::Before => self.tail.block_before().expect("it was just there"),
                    Source::Again => self.again.as_ref().expect("it was just read").window.block(),
                };
                Ok(Next::Entry(Entry {
                    vlsn: place.vlsn,
                    lsn: place.lsn,
                    entry_type: place.entry.header.entry_type,
                    payload: &block.bytes()[place.entry.payload],
                    payload_crc: place.entry.payload_crc,
                    block: Some(block),
                }))
            }
            Ok(Err(pause)) => {
                self.has_paused = true;
                self.tail.sleeps(pause.look_again);
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
            let repaired_at = match &error {
                Error::LogDamaged { at, .. } => Some(*at),
                _ => None,
            };
            self.failed = Some(Failure { error: error.clone(), repaired_at, unplaced: None });
        }
        error
    }

    /// The first call after *nothing yet*, or after an error.
    #[cold]
    #[inline(never)]
    fn begin_look(&mut self, now: &Now) -> Result<()> {
        if std::mem::take(&mut self.has_paused) && self.tail.wakes(now.get()) {
            self.missing.iter_mut().chain(&mut self.ahead).for_each(|awaited| awaited.begin_anew(now.get()));
            self.elsewhere_since = None;
        }
        self.recheck_failure()
    }

    /// Gives the error again, unless the writer has cut off what caused it, or there is memory now.
    fn recheck_failure(&mut self) -> Result<()> {
        let Some(failure) = &self.failed else {
            return Ok(());
        };
        if let Some((vlsn, held)) = failure.unplaced {
            self.failed = None;
            return self.hold(vlsn, held);
        }
        if let Some(at) = failure.repaired_at {
            let again = self.again.get_or_insert_with(|| Again::new(self.tail.budget().clone()));
            again.forget();
            let is_repaired = match again.look(&*self.files, at, 0) {
                Ok(Look::Entry(_)) => true,
                Ok(Look::Short { .. }) => again.window.from(u64::from(at.offset())).is_empty(),
                _ => false,
            };
            again.forget();
            if is_repaired {
                self.failed = None;
                return Ok(());
            }
        }
        Err(failure.error.clone())
    }

    #[inline]
    fn find(&mut self, from_vlsn: u64, send_limit: Lsn, now: &Now) -> Searched<Result<Place, Pause>> {
        self.ask_from(from_vlsn)?;
        loop {
            if let Some(held) = self.order.as_ref().and_then(Order::ready) {
                if held.lsn >= send_limit {
                    // A log that holds it twice may have it below the limit, too.
                    if self.look_behind_all(send_limit)? {
                        continue;
                    }
                    return Ok(Err(self.pause_at_send_limit(held.lsn)));
                }
                if let Some(place) = self.take_held(held)? {
                    return Ok(Ok(place));
                }
            }
            if let Some(found) = self.tail.at_hand(send_limit) {
                if let Some(place) = self.place(found, send_limit, now)? {
                    self.tail.note_next_was_found();
                    return Ok(Ok(place));
                }
            } else if let Some(answer) = self.find_reading(send_limit, now)? {
                return Ok(answer);
            }
        }
    }

    /// Reads on; some: there is an answer.
    #[cold]
    #[inline(never)]
    fn find_reading(&mut self, send_limit: Lsn, now: &Now) -> Searched<Option<Result<Place, Pause>>> {
        let expected_vlsn = self.order.as_ref().map(Order::next);
        let recalls = self.held() > 0;
        let step = match self.tail.step(&Ask { now, expected_vlsn, send_limit, recalls }) {
            Ok(step) => step,
            Err(Halt::Failed(error)) => {
                self.after_error(error, send_limit)?;
                return Ok(None);
            }
            Err(Halt::Busy) => return Err(Halt::Busy),
        };
        match step {
            Step::Found(found) => {
                let place = self.place(found, send_limit, now)?;
                if place.is_some() {
                    self.tail.note_next_was_found();
                }
                Ok(place.map(Ok))
            }
            Step::Wait(wait) => Ok(self.after_wait(wait, send_limit, now)?.map(Err)),
        }
    }

    /// Gives the error back, or goes on elsewhere.
    #[cold]
    #[inline(never)]
    fn after_error(&mut self, mut error: Error, send_limit: Lsn) -> Searched<()> {
        if let Error::NoMemory { vlsn, .. } = &mut error {
            *vlsn = vlsn.or(Some(self.next_vlsn()).filter(|&next| next > 0));
            return Err(error.into());
        }
        // What stands before the damage, or before the place where reading began, is good, and comes first. The error
        // comes again.
        if self.begin_with_what_is_there()? {
            return Ok(());
        }
        match self.look_everywhere(Cause::Error, send_limit) {
            Err(Halt::Busy) => Err(Halt::Busy),
            Ok(true) if self.detours < DETOURS_MAX => {
                self.detours += 1;
                Ok(())
            }
            Ok(false) if self.begins_before_what_hides() => Ok(()),
            // Whether it is an error at all is not known then.
            Err(Halt::Failed(none @ Error::NoMemory { .. })) => Err(none.into()),
            // What failed first says what is wrong, also when looking there fails for the same reason.
            Ok(_) | Err(Halt::Failed(_)) => Err(error.into()),
        }
    }

    /// Why there is nothing for now; after too many detours in any case. `None`: reading goes on elsewhere.
    #[cold]
    #[inline(never)]
    fn after_wait(&mut self, wait: Wait, send_limit: Lsn, now: &Now) -> Searched<Option<Pause>> {
        let pause = self.pause(wait, send_limit, now)?;
        if pause.is_none() && self.detours < DETOURS_MAX {
            self.detours += 1;
            return Ok(None);
        }
        self.detours = 0;
        Ok(Some(pause.unwrap_or(Pause::of(wait))))
    }

    #[inline]
    fn ask_from(&mut self, from_vlsn: u64) -> Searched<()> {
        match &mut self.order {
            Some(order) => order.skip_to(from_vlsn),
            None if from_vlsn > 0 => self.begin_at(from_vlsn)?,
            None => self.seeks = false,
        }
        Ok(())
    }

    /// The first call with a VLSN.
    #[cold]
    fn begin_at(&mut self, from_vlsn: u64) -> Searched<()> {
        if self.seeks {
            let mut seek = match self.seek.take() {
                Some(seek) => seek,
                None => self.new_seek()?,
            };
            let place = seek.place_for(from_vlsn).inspect_err(|_| self.seek = Some(seek))?;
            let Some(place) = place else {
                // Nothing there: everything that comes will be behind the beginning.
                self.order = Some(Order::new(from_vlsn, self.options.window));
                return Ok(());
            };
            self.tail.begin_at(place.at);
            self.began = Some(place);
            self.behind = Some(place);
            self.seeks = false;
        }
        // What was looked at to find a beginning is behind the cursor already: it counts as found.
        if !self.begin_with_what_is_there()? {
            self.order = Some(Order::new(from_vlsn, self.options.window));
        }
        if let Some(order) = &mut self.order {
            order.skip_to(from_vlsn);
        }
        Ok(())
    }

    fn new_seek(&self) -> Result<Seek> {
        Seek::new(Arc::clone(&self.files), self.options.tail.read_bytes, self.tail.budget().clone())
    }

    /// Looks at all before the place where reading began that can matter. True: the next VLSN was found, and may be sent.
    ///
    /// That a later VLSN is there shows that the next one is missing. Otherwise it would have to stand further ahead of
    /// others than it can.
    fn look_behind_all(&mut self, send_limit: Lsn) -> Searched<bool> {
        let is_missing = self.order.as_ref().is_some_and(|order| order.held() > 0 && order.ready().is_none());
        let far = self.options.window.entries_max as u64;
        let far = if is_missing { far } else { far.min(EARLY_MAX) };
        while let Some(behind) = self.behind {
            let next = self.next_vlsn();
            if behind.first_vlsn.is_some_and(|first| first.saturating_add(far) <= next) {
                if is_missing {
                    self.behind = None;
                }
                break;
            }
            let looked = self.look_behind(behind, send_limit)?;
            self.behind = looked.behind;
            self.obscured = self.obscured.or(looked.obscured);
            if looked.is_found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks for what is missing wherever it can have been written since that was passed, as often and as long as that
    /// takes: to be done before something is called an error. True: something was found, or what comes next.
    #[cold]
    fn look_everywhere(&mut self, cause: Cause, send_limit: Lsn) -> Searched<bool> {
        let vlsn = self.next_vlsn();
        let same = self.everywhere.take().filter(|interrupted| (interrupted.cause, interrupted.vlsn) == (cause, vlsn));
        let mut look = same.unwrap_or_else(|| {
            // What was interrupted then does not answer for now.
            self.behind_look = None;
            self.tail.begin_to_look_back();
            Everywhere { cause, vlsn, stage: Stage::Behind }
        });
        let found = self.look_on_everywhere(&mut look.stage, vlsn, send_limit);
        if matches!(found, Err(Halt::Busy)) {
            self.everywhere = Some(look);
        }
        found
    }

    fn look_on_everywhere(&mut self, stage: &mut Stage, vlsn: u64, send_limit: Lsn) -> Searched<bool> {
        loop {
            *stage = match stage {
                Stage::Behind if self.look_behind_all(send_limit)? => return Ok(true),
                Stage::Behind => Stage::Back,
                Stage::Back if self.tail.look_back(true, vlsn)? => return Ok(true),
                Stage::Back => self.behind_again(),
                Stage::BehindAgain(Some(place), files @ 1..) => {
                    let (place, files) = (*place, *files);
                    let looked = self.look_behind(place, send_limit)?;
                    if looked.is_found {
                        return Ok(true);
                    }
                    Stage::BehindAgain(looked.behind, files - 1)
                }
                Stage::BehindAgain(..) => return Ok(false),
            };
        }
    }

    /// What was looked at behind the place where reading began may have been completed since: the rest of that file, and
    /// the file before.
    fn behind_again(&mut self) -> Stage {
        let far = self.options.window.entries_max as u64;
        let next = self.next_vlsn();
        self.began = self.began.filter(|began| began.first_vlsn.is_none_or(|first| first.saturating_add(far) > next));
        let files = self.began.map_or(0, |began| if began.at.offset() > 0 { 2 } else { 1 });
        Stage::BehindAgain(self.began, files)
    }

    /// Looks at the beginning of the file that `before` is in, or into the file before, for what stands there early.
    #[cold]
    fn look_behind(&mut self, before: Begun, send_limit: Lsn) -> Searched<LookedBehind> {
        let nothing = |behind| LookedBehind { is_found: false, behind, obscured: None };
        let mut look = match self.behind_look.take().filter(|interrupted| interrupted.before == before) {
            Some(interrupted) => interrupted,
            None => {
                let mut seek = match self.seek.take() {
                    Some(seek) => seek,
                    None => self.new_seek()?,
                };
                let (number, until) = match before.at.offset() {
                    0 => (seek.file_below(before.at.file()), u64::MAX),
                    offset => (Some(before.at.file()), u64::from(offset)),
                };
                let Some(number) = number else { return Ok(nothing(None)) };
                let beginning = match seek.beginning_of(number) {
                    Ok(beginning) => beginning,
                    Err(halt) => {
                        self.seek = Some(seek);
                        return Err(halt);
                    }
                };
                let Some(stretch) = seek.stretch(number, until)? else { return Ok(nothing(Some(beginning))) };
                BehindLook { before, seek, beginning, stretch }
            }
        };
        let order = self.order.as_mut().expect("only called with an order");
        // Also behind holes, and whatever the send limit is: what is found is looked at again before it is returned.
        let BehindLook { seek, stretch, beginning, .. } = &mut look;
        let beginning = *beginning;
        let mut noted = Ok(());
        let walked = seek.each_entry(stretch, |lsn, entry| {
            if let Some(vlsn) = entry.vlsn_to_send().filter(|_| noted.is_ok()) {
                order.note(vlsn);
                let placed = order.note_held(vlsn, held(lsn, entry), send_limit);
                noted = placed.map(|_| ()).map_err(|none| not_held(none, vlsn, lsn));
            }
        });
        // What there was no memory for is behind: the look begins anew.
        noted?;
        let is_whole = match walked {
            Err(Halt::Busy) => {
                self.behind_look = Some(look);
                return Err(Halt::Busy);
            }
            walked => walked?,
        };
        let is_found = order.ready().is_some_and(|held| held.lsn < send_limit);
        let obscured = Some(beginning).filter(|_| before.at.offset() > 0 && !is_whole);
        Ok(LookedBehind { is_found, behind: Some(beginning), obscured })
    }

    /// Where what is missing may be hidden by what is no entry, that is for the tail to judge: reading begins before it.
    /// True: it does.
    fn begins_before_what_hides(&mut self) -> bool {
        let Some(place) = self.obscured.take() else { return false };
        self.read_before = self.tail.position();
        self.tail.begin_at(place.at);
        self.began = Some(place);
        self.behind = Some(place);
        true
    }

    /// What to do with an entry found on disk; some: return it.
    #[inline]
    fn place(&mut self, found: Found, send_limit: Lsn, now: &Now) -> Searched<Option<Place>> {
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
        if let Some(order) = self.order.as_mut().filter(|order| order.next() == vlsn) {
            order.returned(held.digest);
            return Ok(Some(Place { vlsn, lsn, entry, source: Source::Tail }));
        }
        self.place_out_of_order(vlsn, held, send_limit, now)?;
        Ok(None)
    }

    /// What to do with an entry that is not the next one.
    #[inline(never)]
    fn place_out_of_order(&mut self, vlsn: u64, found: Held, send_limit: Lsn, now: &Now) -> Searched<()> {
        let Some(order) = &mut self.order else {
            self.hold(vlsn, found)?;
            return Ok(());
        };
        let placement = match order.place(vlsn, found.lsn, found.len, found.digest) {
            Ok(placement) => placement,
            Err(none) => return Err(self.keep_unplaced(none, vlsn, found).into()),
        };
        match placement {
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
        let order = self.order.as_mut().expect("only called with an order");
        let was_passed = self.tail.is_looking_back() || found.lsn < self.read_before;
        if was_passed {
            match order.note_held(vlsn, found, send_limit) {
                Ok(true) => {
                    self.note_early(now);
                    return Ok(());
                }
                Ok(false) => {}
                Err(none) => return Err(self.keep_unplaced(none, vlsn, found).into()),
            }
        }
        if self.tail.is_looking_back() {
            // What is missing may stand behind it.
            self.tail.leave_for_later(found.lsn, order.near_enough_from(vlsn));
            return Ok(());
        }
        self.tail.put_back(found.lsn);
        if self.look_everywhere(Cause::Full, send_limit)? || self.begins_before_what_hides() {
            return Ok(());
        }
        Err(self.gap(vlsn, found.lsn).into())
    }

    /// An entry was held back: what comes next is missing from now on.
    #[inline]
    fn note_early(&mut self, now: &Now) {
        self.counts.early += 1;
        let expected = self.next_vlsn();
        if self.missing.is_none_or(|missing| missing.vlsn != expected) {
            self.missing = Some(Awaited::new(expected, now.get()));
        }
    }

    /// The next VLSN to return; 0 while it is not known with which to begin.
    #[inline]
    fn next_vlsn(&self) -> u64 {
        self.order.as_ref().map_or(0, Order::next)
    }

    /// What comes next is held back and may not be sent. It is read anew when it may.
    fn pause_at_send_limit(&mut self, at: Lsn) -> Pause {
        self.tail.forget_window();
        if let Some(again) = &mut self.again {
            again.forget();
        }
        Pause::of(Wait { reason: WaitReason::SendLimit, at, stalled: false, look_again: None })
    }

    /// Whether the entry held back as `vlsn` still counts; forgets it if not.
    fn is_still_held(&mut self, vlsn: u64, at: Lsn) -> Result<bool> {
        let again = self.again.get_or_insert_with(|| Again::new(self.tail.budget().clone()));
        again.forget();
        let counts = match again.look(&*self.files, at, vlsn)? {
            Look::Entry(entry) => entry.vlsn_to_send() == Some(vlsn),
            _ => true,
        };
        again.forget();
        if !counts && let Some(order) = &mut self.order {
            self.counts.invisible += 1;
            order.forget(vlsn);
        }
        Ok(counts)
    }

    /// Holds an entry back that came early, or notes it while it is not known which one is the first.
    #[cold]
    fn hold(&mut self, vlsn: u64, held: Held) -> Result<()> {
        let is_enough = match &mut self.order {
            Some(order) => order.note_held(vlsn, held, Lsn::NULL).map(|_| {
                self.counts.early += 1;
                false
            }),
            None => self.beginning.note(vlsn, held, &self.options.window),
        };
        match is_enough {
            Ok(true) => self.begin(false),
            Ok(false) => Ok(()),
            Err(none) => Err(self.keep_unplaced(none, vlsn, held)),
        }
    }

    /// There was no memory to hold back an entry that was read: it comes first at the next call.
    #[cold]
    fn keep_unplaced(&mut self, none: NoMemory, vlsn: u64, held: Held) -> Error {
        let error = not_held(none, vlsn, held.lsn);
        self.failed = Some(Failure { error: error.clone(), repaired_at: None, unplaced: Some((vlsn, held)) });
        error
    }

    fn begin(&mut self, complete: bool) -> Result<()> {
        let order = self.beginning.choose(complete, self.options.window);
        self.order = Some(order.map_err(|none| Error::no_memory(none, "entries out of order", None, None))?);
        Ok(())
    }

    /// The entry held back, as it was seen if its bytes are still there, and else read again and checked again; `None` if
    /// it does not count any more.
    fn take_held(&mut self, held: Held) -> Result<Option<Place>> {
        let order = self.order.as_mut().expect("only called with an order");
        let (lsn, vlsn) = (held.lsn, order.next());
        if let Some(Recalled { header, payload, block }) = self.tail.recall(lsn)
            && header.entry_len() == held.len as usize
            && header.vlsn.and_then(|found| u64::try_from(found).ok()) == Some(vlsn)
        {
            order.returned(held.digest);
            let payload_crc = order::payload_crc(header.entry_type, held.digest);
            let source = if std::ptr::eq(block, self.tail.block()) { Source::Tail } else { Source::Before };
            return Ok(Some(Place { vlsn, lsn, entry: Sighted { header, payload, payload_crc }, source }));
        }
        let again = self.again.get_or_insert_with(|| Again::new(self.tail.budget().clone()));
        let Look::Entry(entry) = again.look(&*self.files, lsn, vlsn)? else {
            return Err(Error::LogRewritten { at: lsn });
        };
        if entry.header.vlsn.and_then(|found| u64::try_from(found).ok()) != Some(vlsn) {
            return Err(Error::LogRewritten { at: lsn });
        }
        if entry.header.is_invisible() {
            self.counts.invisible += 1;
            order.forget_ready();
            return Ok(None);
        }
        order.returned(order::digest(entry.header.entry_type, entry.payload_crc));
        Ok(Some(Place { vlsn, lsn, entry, source: Source::Again }))
    }

    /// What it means that the log has no more for now. `None`: look again at once.
    fn pause(&mut self, wait: Wait, send_limit: Lsn, now: &Now) -> Searched<Option<Pause>> {
        // What is read again later must not come from bytes of now.
        if let Some(again) = &mut self.again {
            again.forget();
        }
        let idle = Pause::of(wait);
        // Elsewhere than at the end, what is missing may be what the reader is waiting for.
        let is_at_end = wait.reason == WaitReason::End
            // Unless something is to be found out about the next file yet.
            || wait.reason == WaitReason::NextFileEmpty && wait.look_again.is_none();
        let Some(_) = &self.order else {
            if !self.beginning.is_empty() && (is_at_end || wait.stalled || wait.reason == WaitReason::SendLimit) {
                self.begin(true)?;
                return Ok(None);
            }
            return Ok(Some(idle));
        };
        // What comes next may stand before the place where reading began.
        let may_be_behind = is_at_end || wait.stalled || wait.reason == WaitReason::SendLimit;
        if may_be_behind && self.look_behind_all(send_limit)? {
            return Ok(None);
        }
        let Some(order) = &self.order else { return Ok(Some(idle)) };
        let (held, expected, has_returned) = (order.lowest_held(), order.next(), order.has_returned());
        // What was passed may have been completed since, and hold what comes next.
        let is_wanting = held.is_some() || wait.reason == WaitReason::Hole || self.tail.is_next_due();
        // The newest of all may have come there, and nothing shows it: that is looked at now and then.
        let settle = self.options.tail.settle;
        let is_due = is_at_end && self.looked_back.is_none_or(|last| now.get() >= last + settle);
        if is_due {
            self.looked_back = Some(now.get());
        }
        if (is_wanting || is_due) && self.tail.look_back(false, self.next_vlsn())? {
            return Ok(None);
        }
        let Some((found, at)) = held else {
            self.missing = None;
            return self.pause_with_nothing_held(idle, is_at_end, now);
        };
        self.ahead = None;
        let now = now.get();
        let missing = self.note_awaited(self.missing, expected, is_at_end, now);
        self.missing = Some(missing);
        let Awaited { since, is_stalled, awaited_since, .. } = missing;
        // Of a number below all that this log holds, or in a file that is not there, nobody is just writing.
        // A log that begins with file 0 may have VLSN 1 still to come.
        let may_be_new = expected == 1 && self.tail.first_file() == Some(0);
        let is_below_the_log = !has_returned && self.counts.below == 0 && !may_be_new;
        let is_sealed = is_below_the_log || self.tail.missing_file().is_some();
        let settle = self.options.tail.settle;
        let patience = if is_sealed { settle } else { self.options.gap_patience };
        let is_over = is_at_end && now >= awaited_since + patience;
        // Not at every wake-up: the writer may be busy, and there may be much to read.
        let mut look_everywhere = self.looked_everywhere.map_or(since, |last| last.max(since)) + settle;
        if is_over || now >= look_everywhere || self.everywhere.is_some() {
            self.looked_everywhere = Some(now);
            look_everywhere = now + settle;
            let cause = if is_over { Cause::Gap } else { Cause::Due };
            if self.look_everywhere(cause, send_limit)? {
                return Ok(None);
            }
        }
        if is_over {
            // What shows that something is missing may have been taken back by a rollback.
            if !self.is_still_held(found, at)? || self.begins_before_what_hides() {
                return Ok(None);
            }
            return Err(self.gap(found, at).into());
        }
        // Elsewhere it is looked for when something changes.
        let missing_until = is_at_end.then_some(look_everywhere.min(awaited_since + patience));
        let look_again = [wait.look_again, missing_until].into_iter().flatten().min();
        let stalled = wait.stalled || is_at_end && is_stalled;
        Ok(Some(Pause { wait, missing_vlsn: Some(expected), look_again, stalled }))
    }

    /// The log has no more for now, and nothing shows that something is missing. But a start may be above all of it.
    fn pause_with_nothing_held(&mut self, idle: Pause, is_at_end: bool, now: &Now) -> Searched<Option<Pause>> {
        if is_at_end && self.is_ahead() {
            self.look_for_last()?;
        }
        // Who waits elsewhere than at the end has not seen yet where that is.
        if !self.is_ahead() || !is_at_end && self.ahead.is_none() {
            (self.ahead, self.elsewhere_since) = (None, None);
            return Ok(Some(idle));
        }
        let (now, start) = (now.get(), self.next_vlsn());
        let ahead = self.note_awaited(self.ahead, start, is_at_end, now);
        self.ahead = Some(ahead);
        if !is_at_end {
            return Ok(Some(idle));
        }
        let Awaited { since, is_stalled, awaited_since, .. } = ahead;
        let settle = self.options.tail.settle;
        let over_at = (!self.options.waits_when_ahead).then(|| awaited_since + self.options.gap_patience);
        if over_at.is_some_and(|over_at| now >= over_at) {
            let last = self.order.as_ref().map_or(0, Order::below);
            return Err(Error::AheadOfLog { start, last }.into());
        }
        let stalled_at = (!is_stalled).then(|| self.tail.next_look(now, since + settle));
        let look_again = stalled_at.into_iter().chain(over_at.map(|over_at| over_at.min(now + settle))).min();
        let wait = Wait { reason: WaitReason::AheadOfLog, stalled: is_stalled, look_again, ..idle.wait };
        Ok(Some(Pause::of(wait)))
    }

    /// Whether all that is known of the log ends more than one below the VLSN to begin with.
    fn is_ahead(&self) -> bool {
        let is_above = |order: &Order| !order.has_returned() && order.held() == 0 && order.below() + 1 < order.next();
        self.order.as_ref().is_some_and(is_above)
    }

    /// Looks whether the log reaches up to the VLSN to begin with somewhere else than at its end. In doubt it does.
    #[cold]
    fn look_for_last(&mut self) -> Searched<()> {
        let start = self.next_vlsn();
        if self.last_sought_for == start {
            return Ok(());
        }
        let tail = &self.options.tail;
        let mut search = match self.last_search.take() {
            Some(search) => search,
            None => {
                let budget = self.tail.budget().clone();
                LastVlsn::new(Arc::clone(&self.files), tail.read_bytes, tail.proof_bytes_max, budget)?
            }
        };
        let last = match search.search(start - 1) {
            Err(Halt::Busy) => {
                self.last_search = Some(search);
                return Err(Halt::Busy);
            }
            last => last?.unwrap_or(start).min(start - 1),
        };
        self.last_sought_for = start;
        let order = self.order.as_mut().expect("it is known with which VLSN to begin");
        order.note(last);
        Ok(())
    }

    /// `vlsn` is waited for, as it was `before`, and nothing was found at `now`, at the end of the log or elsewhere.
    fn note_awaited(&mut self, before: Option<Awaited>, vlsn: u64, is_at_end: bool, now: Instant) -> Awaited {
        let mut awaited = before.filter(|before| before.vlsn == vlsn).unwrap_or(Awaited::new(vlsn, now));
        // What is waited for may stand behind the place that is waited at: patience begins when all was read.
        if let Some(elsewhere_since) = self.elsewhere_since.take() {
            awaited.awaited_since += now - elsewhere_since.max(awaited.since);
        }
        self.elsewhere_since = (!is_at_end).then_some(now);
        awaited.is_stalled |= is_at_end && now >= awaited.since + self.options.tail.settle;
        awaited
    }

    fn gap(&self, found: u64, at: Lsn) -> Error {
        let expected = self.next_vlsn();
        match self.tail.missing_file() {
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

impl Again {
    fn new(budget: Budget) -> Again {
        Again { window: Window::new(AGAIN_BYTES, budget), file: None }
    }

    /// Drops what was read, and the file, which may be another one by the next time.
    fn forget(&mut self) {
        self.window.forget();
        self.file = None;
    }

    fn look(&mut self, files: &dyn Files, lsn: Lsn, vlsn: u64) -> Result<Look> {
        let gone = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Error::LogFileGone { file: lsn.file(), expected_vlsn: Some(vlsn), found_vlsn: None }
            } else {
                Error::log_read(lsn.file(), u64::from(lsn.offset()), error)
            }
        };
        if self.file.as_ref().is_none_or(|(number, _)| *number != lsn.file()) {
            self.window.forget();
            self.file = Some((lsn.file(), files.open(lsn.file()).map_err(gone)?));
        }
        let (_, file) = self.file.as_ref().expect("opened above");
        let offset = u64::from(lsn.offset());
        let mut look = self.window.look(offset);
        // Bytes of an earlier read may be from before this entry was written: only new ones are believed.
        if !matches!(look, Look::Entry(_)) {
            self.window.read(&**file, offset, ENTRY_HEADER_LEN).map_err(gone)?;
            look = self.window.look_reading(&**file, offset, ENTRY_HEADER_LEN).map_err(gone)?;
        }
        Ok(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory_disk::{MemoryDisk, Written};

    const SETTLE: Duration = Duration::from_secs(3);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn disk(files: impl IntoIterator<Item = Written>) -> Arc<MemoryDisk> {
        let disk = MemoryDisk::default();
        for (number, written) in (0..).zip(files) {
            disk.put(number, u64::from(number) + 1, written.bytes);
        }
        Arc::new(disk)
    }

    fn scanner(disk: &Arc<MemoryDisk>) -> Scanner {
        let options = ScannerOptions {
            tail: TailOptions { settle: SETTLE, read_bytes: 4096, proof_bytes_max: 1_000_000 },
            window: WindowLimits { entries_max: 100, bytes_max: 100_000 },
            gap_patience: PATIENCE,
            waits_when_ahead: false,
        };
        Scanner::new(Arc::clone(disk) as Arc<dyn Files>, Lsn::NULL, options)
    }

    /// The VLSNs up to where there are none for now, however little may be read in one go, and why there are none.
    fn read(scanner: &mut Scanner, from: u64, now: Instant) -> Result<(Vec<u64>, Pause)> {
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

    #[test]
    fn the_time_spent_elsewhere_than_at_the_end_does_not_count() {
        let (mut scanner, now) = (scanner(&Arc::default()), Instant::now());
        let first = scanner.note_awaited(None, 7, true, now);
        let later = scanner.note_awaited(Some(first), 7, true, now + SETTLE);
        assert_eq!((later.since, later.is_stalled, later.awaited_since), (now, true, now));
        // From here on elsewhere, for a while.
        let elsewhere = scanner.note_awaited(Some(later), 7, false, now + SETTLE);
        let back = scanner.note_awaited(Some(elsewhere), 7, true, now + 5 * SETTLE);
        assert_eq!((back.since, back.awaited_since), (now, now + 4 * SETTLE));
        let other = scanner.note_awaited(Some(back), 8, true, now + 6 * SETTLE);
        assert_eq!((other.since, other.is_stalled), (now + 6 * SETTLE, false));
    }

    #[test]
    fn what_was_frozen_is_waited_for_anew_and_what_was_told_stays_told() {
        let now = Instant::now();
        let mut awaited = Awaited::new(7, now);
        awaited.begin_anew(now + SETTLE);
        assert_eq!((awaited.since, awaited.awaited_since), (now + SETTLE, now + SETTLE));
        awaited.is_stalled = true;
        awaited.begin_anew(now + 2 * SETTLE);
        assert_eq!((awaited.since, awaited.awaited_since), (now + SETTLE, now + 2 * SETTLE));
    }

    #[test]
    fn with_vlsn_0_the_lowest_without_a_hole_behind_it_is_the_first() {
        let mut scanner = scanner(&disk([Written::file(0).entries([47, 51, 50, 52])]));
        assert!(!scanner.begin_with_what_is_there().unwrap(), "nothing was read yet");
        assert_eq!(read(&mut scanner, 0, Instant::now()).unwrap().0, [50, 51, 52]);
        assert!(!scanner.begin_with_what_is_there().unwrap(), "it has begun");
    }
}
