//! Reads the entries of a log in the order in which they stand on disk, while the log is being written.
//!
//! The tail decides where the log ends for now and where it is broken, and when to go from one file to the next: by the
//! table in [`judge`]. It guarantees that every entry it returns is whole, has a valid checksum and follows the one before
//! it, that it returns none twice, and that it passes over nothing that could be an entry.
//!
//! *Looking back.* A file that was left and a hole that was crossed may, against expectation, be written to later.
//! They are remembered, and [`Tail::look_back`] goes to them before a VLSN is called missing.
//!
//! The order of VLSNs and what a missing one means is [`order`](super::order)'s concern. There is no I/O but through
//! [`Files`], and no clock but the `now` of each call.

mod ask;
mod disk;
mod hole;
mod judge;
mod next_file;
mod place;
mod still;
mod view;
mod wait;

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::block::Block;
use super::budget::{Budget, Halt, Searched};
use super::files::{Files, Listing, NumberedFile};
use super::format::{EntryHeader, HeaderFault, Lsn};
use super::probe::Probe;
use super::window::{Look, Sighted};
use crate::error::{EntryFault, Error, Result};
pub use ask::{Ask, TailOptions};
use disk::{Disk, Opened};
use hole::{HoleEnd, Proof};
use judge::{Onward, Sight, Verdict, describe, judge, judge_header, judge_next};
use next_file::{NextFile, Seen, digest_of_header};
use place::{LastEntry, LookBack, OpenFile, Passed, PassedPlaces, Place, bytes_between};
pub use place::{Searching, Skipped};
pub use still::Stillness;
use still::{Scene, Settling};
use view::View;
pub use wait::{Wait, WaitReason};

/// An entry, by its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where its header begins.
    pub lsn: Lsn,
    /// The entry, in [`Tail::block`].
    pub entry: Sighted,
}

/// What a step brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The next entry on disk.
    Found(Found),
    /// Nothing for now.
    Wait(Wait),
}

/// What was read since reading began at a start, and what was not.
#[derive(Default)]
struct Course {
    /// The start, if it was found by looking for a VLSN.
    sought: Option<Lsn>,
    /// Where to begin, or to go on where the file that was read is to be found anew.
    start: Lsn,
    /// Where it is read that was never read before; `None` while the file to start in is to be found.
    front: Option<OpenFile>,
    /// A place that was passed, while that is read again.
    back: Option<LookBack>,
    next_file: NextFile,
    passed: PassedPlaces,
    proof: Proof,
}

impl Course {
    /// The file that is read.
    #[inline]
    fn file(&self) -> Option<&OpenFile> {
        self.back.as_ref().map(|back| &back.file).or(self.front.as_ref())
    }

    /// The same, where one is read.
    fn file_mut(&mut self) -> &mut OpenFile {
        let back = self.back.as_mut().map(|back| &mut back.file);
        back.or(self.front.as_mut()).expect("a file is read")
    }
}

/// See the module's comment.
pub struct Tail {
    /// Of all that is read here.
    budget: Budget,
    disk: Disk,
    view: View,
    course: Course,
    stillness: Stillness,
    /// Whether the last step was a wait.
    has_waited: bool,
    holes_crossed: u64,
}

impl Tail {
    /// A tail over `files` from `start`: an entry's position, or [`Lsn::NULL`] for the first entry there is.
    pub fn new(files: Arc<dyn Files>, start: Lsn, options: TailOptions) -> Tail {
        let budget = Budget::default();
        Tail {
            disk: Disk { options, files, listing: Listing::default(), probe: Probe::new(budget.clone()) },
            view: View::new(options.read_bytes, budget.clone()),
            budget,
            course: Course { start, ..Course::default() },
            stillness: Stillness::new(options.settle),
            has_waited: false,
            holes_crossed: 0,
        }
    }

    /// What all of this reader reads out of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Begins at `start`, an entry's position or offset 0 of a file, whatever was read before.
    pub fn begin_at(&mut self, start: Lsn) {
        self.course = Course { start, sought: Some(start), ..Course::default() };
        self.view.forget();
        self.stillness.moved();
        self.stillness.filled();
    }

    /// The block that holds the payload of the entry found last, or of those [recalled](Self::recall) from before.
    #[inline]
    pub fn block(&self, is_before: bool) -> &Arc<Block> {
        self.view.block(is_before)
    }

    /// Whether the window has a whole entry more, as far as its header tells.
    #[inline]
    pub fn has_more_at_hand(&self) -> bool {
        self.course.file().is_some_and(|current| self.view.window.has_entry_len(current.place.cursor))
    }

    /// The entry at `lsn`, which was returned before, as it was then: where its bytes are still in memory, it is neither
    /// read nor checked again. Its header, where its payload is, and whether that is in the block before.
    #[inline]
    pub fn recall(&self, lsn: Lsn) -> Option<(EntryHeader, Range<usize>, bool)> {
        self.view.recall(lsn, self.course.file())
    }

    /// Where the next entry is expected; [`Lsn::NULL`] before a file was opened.
    pub fn position(&self) -> Lsn {
        self.course.file().map_or(Lsn::NULL, |current| current.place.lsn())
    }

    /// Where what was not read yet begins, whatever is read again now.
    pub fn front(&self) -> Option<Lsn> {
        self.course.front.as_ref().map(|front| front.place.lsn())
    }

    /// Something is said to have changed in the directory: it is listed anew soon, whatever its time stamp says.
    pub fn distrust(&mut self) {
        self.disk.listing.distrust();
    }

    /// Whether what is waited for may be written elsewhere than in the directory: the current file or the newest is a
    /// link, or it cannot be told.
    pub fn is_behind_a_link(&self) -> bool {
        let current = self.course.file().map(|current| current.place.number);
        let newest = self.disk.listing.newest().filter(|&newest| current != Some(newest));
        current.into_iter().chain(newest).any(|number| self.disk.files.is_link(number).unwrap_or(true))
    }

    /// Which files there were when the directory was last looked at.
    pub fn listing(&self) -> &Listing {
        &self.disk.listing
    }

    /// How many holes were crossed because what stood behind them proved that nothing was missing.
    pub fn holes_crossed(&self) -> u64 {
        self.holes_crossed
    }

    /// What was passed since what comes next was found last; forgotten when that is found.
    #[inline]
    pub fn skipped(&mut self) -> &mut Skipped {
        &mut self.course.passed.skipped
    }

    /// How many bytes were passed and not read since, as far as they are of use when `next_vlsn` is the next. Of a file that
    /// was left, as many as it could have.
    pub fn unread(&self, next_vlsn: u64) -> u64 {
        let back = self.course.back.as_ref();
        self.course.passed.unread(next_vlsn) + back.map_or(0, |back| bytes_between(back.file.place.cursor, back.until))
    }

    /// The next entry on disk, if it was read before.
    #[inline]
    pub fn at_hand(&mut self, send_limit: Lsn) -> Option<Found> {
        let current = match &mut self.course.back {
            None => self.course.front.as_mut()?,
            Some(back) if back.is_over() => return None,
            Some(back) => &mut back.file,
        };
        if let Look::Entry(entry) = self.view.window.look(current.place.cursor)
            && current.place.last.precedes(&entry)
        {
            let lsn = current.place.lsn();
            if lsn < send_limit {
                current.place.consume(&entry);
                self.view.shown += 1;
                return Some(Found { lsn, entry });
            }
        }
        None
    }

    /// The next entry on disk, or why there is none, where nothing is [at hand](Self::at_hand). Whatever is concluded here
    /// comes from bytes read just now.
    #[cold]
    pub fn step(&mut self, ask: &Ask<'_>) -> Searched<Step> {
        let most = self.view.turn_over(self.course.file(), ask.recalls);
        let step = self.read_on(most, ask);
        if !matches!(step, Ok(Step::Found(_))) {
            self.has_waited |= !matches!(step, Err(Halt::Busy));
            // What is wanted again later must not come from bytes of now.
            self.view.forget();
        }
        step
    }

    fn read_on(&mut self, most: usize, ask: &Ask<'_>) -> Searched<Step> {
        loop {
            self.budget.check()?;
            let Some(current) = self.course.file() else {
                match self.open_start(ask)? {
                    Some(wait) => return Ok(self.waiting(wait)),
                    None => continue,
                }
            };
            if self.course.back.as_ref().is_some_and(LookBack::is_over) {
                self.return_from_look_back();
                continue;
            }
            let lsn = current.place.lsn();
            let look = self.view.read_and_look(current, most)?;
            if let Look::Entry(entry) = &look
                && current.place.last.precedes(entry)
            {
                if lsn >= ask.send_limit {
                    return Ok(Step::Wait(Wait::new(WaitReason::SendLimit, lsn, None)));
                }
                // What a recovery has deleted meanwhile is not sent: the replica would have what the log has not.
                let is_to_be_checked = std::mem::take(&mut self.has_waited) && !self.is_looking_back();
                if is_to_be_checked && !self.is_part(ask)? {
                    continue;
                }
                self.course.file_mut().place.consume(entry);
                self.view.shown = 1;
                self.stillness.moved();
                let Look::Entry(entry) = look else { unreachable!("matched above") };
                return Ok(Step::Found(Found { lsn, entry }));
            }
            match self.judge(&look, ask) {
                Ok(None) => {}
                Ok(Some(wait)) => return Ok(self.waiting(wait)),
                // Who reads up to the limit never comes here.
                Err(Halt::Failed(Error::LogDamaged { .. }))
                    if self.course.sought.is_some_and(|sought| sought >= ask.send_limit) =>
                {
                    return Ok(Step::Wait(Wait::new(WaitReason::SendLimit, lsn, None)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A wait after a look at the directory, which may have to be listed yet.
    fn waiting(&self, wait: Wait) -> Step {
        let look_again = wait.look_again.into_iter().chain(self.disk.listing.deferred_until()).min();
        Step::Wait(Wait { look_again, ..wait })
    }

    /// Looks again at what was passed: where it begins, or over all its zeros, which may take long: `all` is how far that
    /// has got. True if an entry stands now where there was none, and it comes next there; the tail returns to where it
    /// was by itself. `next_vlsn` is what is looked for; 0 for all that there is.
    pub fn look_back(&mut self, all: Option<&mut Searching>, next_vlsn: u64) -> Searched<bool> {
        let Course { front: Some(front), back: back @ None, passed, .. } = &mut self.course else { return Ok(false) };
        let Some((file, until)) = passed.find(all, next_vlsn, front, &mut self.disk)? else { return Ok(false) };
        *back = Some(LookBack { file, until, for_later: None });
        self.view.forget();
        self.stillness.moved();
        Ok(true)
    }

    /// Whether it reads what was passed before.
    #[inline]
    pub fn is_looking_back(&self) -> bool {
        self.course.back.is_some()
    }

    /// The entry found last, which stands at `lsn`, was found looking back and cannot be used yet: it is looked at again
    /// when `next_vlsn` is the next.
    pub fn leave_for_later(&mut self, lsn: Lsn, next_vlsn: u64) {
        let back = self.course.back.as_mut().expect("it was found looking back");
        let found = back.file.place;
        debug_assert_eq!(found.number, lsn.file());
        let place = Place { cursor: u64::from(lsn.offset()), last: LastEntry::Unknown, ..found };
        let left = back.for_later.get_or_insert_with(|| Passed::new(place, None, next_vlsn));
        left.until = Some(found.cursor);
        left.useful_from = left.useful_from.min(next_vlsn);
    }

    /// Takes back the entry found last, which stands at `lsn`: it comes again.
    pub fn put_back(&mut self, lsn: Lsn) {
        let place = &mut self.course.file_mut().place;
        debug_assert_eq!(place.number, lsn.file());
        (place.cursor, place.last) = (u64::from(lsn.offset()), LastEntry::Unknown);
        self.view.forget();
    }

    /// How long what is waited for has stood still: who waits says when it sleeps, and when it wakes.
    pub fn stillness(&mut self) -> &mut Stillness {
        &mut self.stillness
    }

    /// Drops what was read: the next step reads anew.
    pub fn forget_window(&mut self) {
        self.view.forget();
    }

    /// The place looked back at has been read to its end again.
    fn return_from_look_back(&mut self) {
        let back = self.course.back.take().expect("only called while looking back");
        let LookBack { file: OpenFile { place, .. }, until, for_later } = back;
        if let Some(later) = for_later {
            self.course.passed.remember(later);
        }
        if until.is_none_or(|until| place.cursor < until) {
            self.course.passed.pass(place, until);
        }
        self.view.window.forget();
        self.stillness.moved();
    }

    /// Opens the file to start in. Some: there is none yet.
    fn open_start(&mut self, ask: &Ask<'_>) -> Result<Option<Wait>> {
        let Tail { course: Course { start, front, passed, .. }, disk, stillness, .. } = self;
        disk.refresh(ask.now.get())?;
        if let Some(file) = passed.file_before(start, ask.expected_vlsn, disk)? {
            *front = Some(file);
            stillness.moved();
            return Ok(None);
        }
        let start = *start;
        let wanted = if start == Lsn::NULL { 0 } else { start.file() };
        let Some(number) = disk.listing.at_or_above(wanted) else {
            return Ok(Some(self.wait_for_a_file(wanted, ask)));
        };
        let Some(Opened { file, header }) = disk.open(number)? else {
            // Listed, and gone before it could be opened: the next look lists again.
            return Ok(Some(self.wait_for_a_file(number, ask)));
        };
        let header = match header {
            Ok(header) => header,
            Err(fault) => return self.judge_first_header(&file, fault, ask).map(Some),
        };
        let first = header.first_entry();
        let offset = u64::from(start.offset());
        let is_within = number == wanted && start != Lsn::NULL && offset > first;
        let (cursor, last) = if is_within { (offset, LastEntry::Unknown) } else { (first, LastEntry::None) };
        self.course.front = Some(OpenFile::at(file, cursor, last)?);
        self.stillness.moved();
        self.stillness.filled();
        Ok(None)
    }

    /// The file to start in has no header that can be read.
    fn judge_first_header(&mut self, file: &NumberedFile, fault: HeaderFault, ask: &Ask<'_>) -> Result<Wait> {
        let at = Lsn::new(file.number, 0);
        let Settling { has_settled, look_again } = self.see(at, file.len()?, digest_of_header(file)?, ask);
        match judge_header(fault, self.disk.is_newest(file.number), has_settled) {
            Onward::BadHeader(fault) => Err(Error::LogFileHeader { file: file.number, fault }),
            _ => Ok(Wait::new(WaitReason::UnfinishedHeader, at, look_again)),
        }
    }

    /// A wait for file `number`, or a higher one. That none comes may mean that this is not the log's directory.
    fn wait_for_a_file(&mut self, number: u32, ask: &Ask<'_>) -> Wait {
        let at = Lsn::new(number, 0);
        let Settling { has_settled, look_again } = self.see(at, 0, 0, ask);
        Wait { stalled: has_settled, ..Wait::new(WaitReason::NoFile, at, look_again) }
    }

    /// Sees that nothing can be read at `at`, for how long by now.
    fn see(&mut self, at: Lsn, len: u64, digest: u32, ask: &Ask<'_>) -> Settling {
        let scene = Scene { at, len, digest, listing_epoch: self.disk.listing.epoch() };
        self.stillness.see(scene, ask.now.get())
    }

    /// Whether the current file is a part of the log. Where it is not and nothing was read from it, what has its name is
    /// read instead: nothing is lost. An error if something was.
    fn is_part(&mut self, ask: &Ask<'_>) -> Result<bool> {
        let place = self.course.file_mut().place;
        if self.disk.has(place.number, place.identity, ask.now.get())? {
            return Ok(true);
        }
        if place.was_read {
            let expected_vlsn = ask.expected_vlsn;
            return Err(Error::LogFileGone { file: place.number, expected_vlsn, found_vlsn: None });
        }
        (self.course.start, self.course.front) = (place.lsn(), None);
        self.course.next_file = NextFile::default();
        self.disk.listing.outdate();
        Ok(false)
    }

    /// Decides what a look at the cursor means that showed no entry. The bytes were read just now. `None`: look again.
    fn judge(&mut self, look: &Look, ask: &Ask<'_>) -> Searched<Option<Wait>> {
        if self.is_looking_back() {
            self.return_from_look_back();
            return Ok(None);
        }
        let now = ask.now.get();
        self.disk.refresh(now)?;
        if !self.is_part(ask)? {
            return Ok(None);
        }
        let current = self.course.front.as_ref().expect("a file is read");
        let OpenFile { place, ref file } = *current;
        let (at, is_newest) = (place.lsn(), self.disk.is_newest(place.number));
        let len = file.len()?;
        let sight = Sight::of(look, place.cursor, len);
        let present = len.saturating_sub(place.cursor);
        let (mut settling, mut zeros) = (Settling::NEVER, Settling::NEVER);
        if matches!(sight, Sight::Hole | Sight::Torn | Sight::NoEntry) {
            let digest = self.view.digest(current, present, look)?;
            settling = self.see(at, len, digest, ask);
        }
        match sight {
            Sight::Hole => zeros = self.stillness.see_zeros(at, self.view.header_digest(place.cursor), now),
            // Also where there are as many zeros again at the next look.
            Sight::End | Sight::Torn | Sight::NoEntry => self.stillness.filled(),
            Sight::Grown | Sight::Truncated => {}
        }
        let (reason, fault) = describe(look, sight, present, place.last.named());
        let look_again = if sight == Sight::Hole { zeros.look_again } else { settling.look_again };
        let wait = Wait::new(reason, at, look_again);
        let damaged = || {
            let expected_vlsn = ask.expected_vlsn;
            Halt::Failed(Error::LogDamaged { at, fault, vlsn: look.vlsn(), expected_vlsn })
        };
        match judge(sight, is_newest, settling.has_settled, zeros.has_settled) {
            Verdict::LookAgain => Ok(None),
            Verdict::Wait if sight == Sight::End => {
                self.stillness.moved();
                Ok(Some(wait))
            }
            Verdict::Wait => Ok(Some(wait)),
            Verdict::Stalled => Ok(Some(Wait { stalled: true, ..wait })),
            Verdict::Cross { is_else_damaged } => {
                // Before an error the proof is looked for once more.
                let asked_since = self.stillness.settled_at().filter(|_| is_else_damaged);
                if self.cross_hole(asked_since, ask)? {
                    return Ok(None);
                }
                if is_else_damaged {
                    return Err(damaged());
                }
                // The proof may come without the file growing.
                Ok(Some(Wait { stalled: true, look_again: Some(now + self.disk.options.settle), ..wait }))
            }
            Verdict::Leave => self.leave(at, len, ask),
            Verdict::Damaged => Err(damaged()),
            Verdict::Truncated => Err(Error::LogTruncated { file: place.number, len, read: place.cursor }.into()),
        }
    }

    /// A lower file was read to its end: goes on to the next, by the rule for leaving.
    fn leave(&mut self, at: Lsn, len: u64, ask: &Ask<'_>) -> Searched<Option<Wait>> {
        let Some(number) = self.disk.listing.above(at.file()) else {
            return Ok(Some(Wait::new(WaitReason::End, at, None)));
        };
        let Some(seen) = self.course.next_file.look(number, ask.now.get(), &mut self.disk)? else {
            let look_again = self.see(at, len, 0, ask).look_again;
            return Ok(Some(Wait::new(WaitReason::NextFileEmpty, at, look_again)));
        };
        let named = seen.opened.header.map_or(0, |header| header.last_entry_in_previous);
        let is_adjacent = at.file().checked_add(1) == Some(number);
        let names_more = is_adjacent && named != 0 && named >= at.offset();
        let Settling { has_settled, look_again } = self.see(at, len, seen.digest, ask);
        let wait = |reason| Ok(Some(Wait::new(reason, at, look_again)));
        let damaged =
            |at, fault| Err(Error::LogDamaged { at, fault, vlsn: None, expected_vlsn: ask.expected_vlsn }.into());
        match judge_next(seen.content, self.disk.is_newest(number), names_more, has_settled) {
            Onward::ReadOn => Ok(None),
            Onward::AwaitEntry | Onward::Rest => wait(WaitReason::NextFileEmpty),
            Onward::AwaitLast => wait(WaitReason::LastEntryMissing),
            Onward::Enter => {
                self.enter(seen.opened)?;
                Ok(None)
            }
            Onward::EndsEarly => damaged(at, EntryFault::EndsEarly(named)),
            Onward::BadHeader(fault) => Err(Error::LogFileHeader { file: number, fault }.into()),
            onward @ (Onward::Stalled | Onward::Damaged) => {
                let (at, (reason, fault)) = (seen.first, seen.instead.expect("judged by it"));
                match onward {
                    Onward::Damaged => damaged(at, fault),
                    _ => Ok(Some(Wait { stalled: true, ..Wait::new(reason, at, None) })),
                }
            }
        }
    }

    /// Goes from the current file to the next.
    fn enter(&mut self, next: Opened) -> Result<()> {
        let header = next.header.expect("a file without a header is not entered");
        let number = next.file.number;
        let entered = OpenFile::at(next.file, header.first_entry(), LastEntry::None)?;
        let left = self.course.front.replace(entered).expect("only the front goes on");
        let passed = &mut self.course.passed;
        // Until what comes next is found, the first hole in the numbers is the one that counts.
        if left.place.number.checked_add(1) != Some(number) {
            passed.skipped.missing_file.get_or_insert(left.place.number + 1);
        }
        passed.pass(left.place, None);
        self.course.next_file = NextFile::default();
        self.view.window.forget();
        self.stillness.moved();
        Ok(())
    }

    /// Crosses the hole at the cursor if what stands behind it proves that nothing is missing that comes next. `asked_since`:
    /// a search that began before that does not count; `None` where any will do.
    fn cross_hole(&mut self, asked_since: Option<Instant>, ask: &Ask<'_>) -> Searched<bool> {
        let Tail { course, disk, .. } = self;
        let current = course.front.as_mut().expect("only called at the front");
        match course.proof.find(current, asked_since, ask, disk)? {
            None => return Ok(false),
            Some(HoleEnd::At(end)) => {
                let hole = Place { last: LastEntry::Unknown, ..current.place };
                current.place = Place { cursor: end, ..hole };
                course.passed.pass(hole, Some(end));
            }
            Some(HoleEnd::WithFile) => {
                let Some(next) = disk.listing.above(current.place.number) else { return Ok(false) };
                match course.next_file.look(next, ask.now.get(), disk)? {
                    Some(Seen { opened, .. }) if opened.header.is_ok() => self.enter(opened)?,
                    _ => return Ok(false),
                }
            }
        }
        self.holes_crossed += 1;
        self.stillness.moved();
        self.stillness.filled();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::test_disk::{MemoryDisk, Written};

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
        let recalled =
            |reader: &Reader, at: u64| reader.tail.recall(Lsn::new(0, at as u32)).map(|(header, ..)| header.vlsn);
        assert_eq!(recalled(&reader, at[0]), Some(Some(1)));
        assert_eq!(recalled(&reader, at[1]), None, "not shown yet");
        reader.read();
        assert_eq!(recalled(&reader, at[0]), None, "it may have been rewritten");
    }

    #[test]
    fn zeros_in_which_an_entry_is_begun_have_not_stood_still() {
        let disk = disk([Written::file(0).entries([1]).zeros(62)]);
        let hole = Written::file(0).entries([1]).bytes.len() as u64;
        let mut reader = Reader::over(&disk);
        let stalled = [0, 1, 2, 3, 4, 5, 6].map(|quarters| {
            if quarters == 2 {
                disk.write_at(0, hole, &in_hole(2)[..3]);
            }
            let wait = reader.read().1;
            assert_eq!(wait.reason, WaitReason::Hole);
            reader.now += SETTLE / 4;
            wait.stalled
        });
        assert_eq!(stalled, [false, false, false, false, false, false, true]);
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
        assert_eq!((vlsns, reader.tail.holes_crossed(), reader.tail.course.passed.len()), (vec![3, 4], 1, 2));
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
        assert_eq!(reader.tail.look_back(Some(&mut None), 2), Ok(false));
        let end = reader.tail.position();
        disk.write_at(0, hole, &in_hole(2));
        assert_eq!(reader.tail.look_back(None, 2), Ok(true));
        assert!(reader.tail.is_looking_back());
        assert_eq!((reader.read().0, reader.tail.position()), (vec![2], end));
        assert!(!reader.tail.is_looking_back());
        assert_eq!(reader.tail.look_back(Some(&mut None), 2), Ok(false), "what was read is not gone back to");
    }

    #[test]
    fn what_was_left_for_later_is_gone_back_to_when_it_is_needed() {
        let (disk, mut reader, hole) = with_two_places_passed();
        disk.write_at(0, hole, &in_hole(9));
        assert_eq!(reader.tail.look_back(None, 2), Ok(true));
        let Ok(Step::Found(found)) = reader.step() else { panic!("it is there") };
        reader.tail.leave_for_later(found.lsn, 5);
        assert_eq!(reader.read().0, [0_i64; 0]);
        assert_eq!(reader.tail.look_back(Some(&mut None), 4), Ok(false));
        assert_eq!(reader.tail.look_back(Some(&mut None), 5), Ok(true));
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
            assert_eq!(reader.tail.look_back(None, 2), Ok(false), "inode {inode}");
        }
        let (disk, mut reader, hole) = with_two_places_passed();
        disk.remove(0);
        reader.now += SETTLE;
        reader.read();
        assert_eq!(reader.tail.look_back(Some(&mut None), 2), Ok(false));
        disk.put(0, 1, Written::file(0).entries([1]).zeros(62).entries([3]).bytes);
        disk.write_at(0, hole, &in_hole(2));
        reader.now += SETTLE;
        reader.read();
        assert_eq!(reader.tail.look_back(Some(&mut None), 2), Ok(false), "what was gone does not come back");
    }

    /// The search for what proves the hole harmless takes many turns. What it is to find comes where it has been.
    #[test]
    fn a_long_search_is_done_once_more_before_a_hole_is_called_damage() {
        let next = Written::file(1).entries(100..200);
        let (first, proof) = (next.at[0], Written::file(1).entries([2]));
        let disk = disk([Written::file(0).entries([1]).zeros(62), next]);
        let mut reader = Reader::over(&disk);
        reader.expected_vlsn = Some(2);
        assert_eq!(reader.read().0, [1]);
        let (mut turns, mut is_written) = (0, false);
        let found = loop {
            let now = reader.now.into();
            let ask = Ask { now: &now, expected_vlsn: Some(2), send_limit: Lsn::NULL, recalls: false };
            reader.tail.budget().renew(1);
            match reader.tail.step(&ask) {
                Err(Halt::Busy) => turns += 1,
                Ok(Step::Wait(_)) => (turns, reader.now) = (0, reader.now + SETTLE / 4),
                found => break found,
            }
            // By then everything has settled, and it has passed some of the next file.
            if turns > 5 && reader.tail.stillness.settled_at().is_some_and(|at| reader.now >= at) && !is_written {
                disk.write_at(1, first, &proof.bytes[first as usize..]);
                is_written = true;
            }
        };
        assert!(is_written, "the search takes no turns");
        assert!(matches!(found, Ok(Step::Found(Found { entry, .. })) if entry.header.vlsn == Some(2)));
    }

    #[test]
    fn an_overslept_look_begins_anew_what_has_not_settled() {
        let mut written = Written::file(0).entries([1]);
        written.bytes.extend([0x10; 50]);
        let mut reader = Reader::over(&disk([written]));
        let (_, wait) = reader.read();
        assert_eq!(wait.reason, WaitReason::Unreadable);
        reader.tail.stillness.attention.sleeps(wait.look_again);
        reader.now += 100 * SETTLE;
        assert!(reader.tail.stillness.wakes(reader.now));
        assert!(matches!(reader.step(), Ok(Step::Wait(wait)) if wait.reason == WaitReason::Unreadable));
        reader.now += SETTLE;
        assert!(matches!(reader.step(), Err(Error::LogDamaged { .. })));
    }
}
