//! Which files there are, without listing the directory at each look.
//!
//! *A stamp proves by observation.* It may come from another machine's clock, and a clock that ticks slowly gives one
//! stamp to changes that are apart. So a listing is believed if it was begun at least a tick after its stamp was first
//! seen, and the stamp is still the same: a change since then would have brought another. Where the directory turns out
//! to have changed all the same, its stamps are not asked any more. No listing is believed for more than 5 seconds.
//!
//! *Large directories are listed seldom.* Where there are many files, the next listing keeps its distance from the one
//! before. In between the next file is looked for by its name: writers count on.

use std::io;
use std::time::{Duration, Instant};

use super::{DirectoryStamp, Files};

/// How far apart two changes can be and carry the same stamp, by clocks that know parts of a second: kernels take it from
/// one that ticks every 1 to 10 ms.
const TICK_FINE: Duration = Duration::from_millis(100);

/// The same by clocks that know whole seconds, or only every second one.
const TICK_COARSE: Duration = Duration::from_secs(2);

const SECOND_NS: i128 = 1_000_000_000;

/// From so many files on, listing them costs more than a look should.
const FILES_MANY: usize = 1000;

/// Of many files, how long to let the directory rest between two listings, for each of them: some forty times what it
/// takes to list one.
const REST_PER_FILE: Duration = Duration::from_micros(10);

/// How long what is said to have changed, without another stamp, is not listed again: it may be said with each entry.
const REST_OF_DISTRUST: Duration = Duration::from_millis(10);

/// How long a listing is believed at most, whatever proves it: as proofs go, a file system's word is not the best.
const BELIEVED_MAX: Duration = Duration::from_secs(5);

/// The file numbers of a directory, listed anew only when it may have changed.
#[derive(Debug, Default)]
pub struct Listing {
    numbers: Vec<u32>,
    seen: Option<Seen>,
    /// When the listing was begun that the numbers are from; `None`: list at the next look, whatever the stamp.
    begun: Option<Instant>,
    is_distrusted: bool,
    /// Whether the directory has changed without another stamp although it should have had one.
    is_stamp_useless: bool,
    /// When what may have changed is listed, if that was not done at the last look.
    deferred_until: Option<Instant>,
    listings: u64,
    epoch: u64,
}

/// The stamp seen last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: DirectoryStamp,
    /// The time of the look that saw it first, which may have been over long before.
    first_look: Instant,
    /// The time of the look after that: by then it had been seen for sure.
    since: Option<Instant>,
}

impl DirectoryStamp {
    /// How far apart two changes can be and carry the same stamp.
    fn tick(&self) -> Duration {
        let is_whole = |ns: i128| ns % SECOND_NS == 0;
        if is_whole(self.modified_ns) || is_whole(self.changed_ns) { TICK_COARSE } else { TICK_FINE }
    }
}

impl Listing {
    /// Brings the listing up to date. `now` is a time of this look: later than all that earlier looks have seen, but for
    /// those of the same `now`.
    pub fn refresh(&mut self, files: &dyn Files, now: Instant) -> io::Result<()> {
        let stamp = files.stamp()?;
        match &mut self.seen {
            Some(seen) if seen.stamp == stamp => {
                if now > seen.first_look {
                    seen.since.get_or_insert(now);
                }
            }
            seen => *seen = Some(Seen { stamp, first_look: now, since: None }),
        }
        self.deferred_until = None;
        let is_proven = self.is_proven();
        if is_proven && !self.is_distrusted && self.begun.is_some_and(|begun| now < begun + BELIEVED_MAX) {
            return Ok(());
        }
        let rest = match self.numbers.len() {
            many @ FILES_MANY.. => REST_PER_FILE * u32::try_from(many).unwrap_or(u32::MAX),
            _ => Duration::ZERO,
        };
        let rest = if is_proven { rest.max(REST_OF_DISTRUST) } else { rest };
        match self.begun.map(|begun| begun + rest) {
            Some(due) if now < due => {
                self.deferred_until = Some(due);
                self.look_for_next(files, is_proven)
            }
            _ => self.list(files, now, is_proven),
        }
    }

    /// Whether a change since the listing would have brought another stamp.
    fn is_proven(&self) -> bool {
        let Some((Seen { stamp, since: Some(since), .. }, begun)) = self.seen.zip(self.begun) else { return false };
        !self.is_stamp_useless && begun >= since + stamp.tick()
    }

    fn list(&mut self, files: &dyn Files, now: Instant, was_proven: bool) -> io::Result<()> {
        let numbers = files.list()?;
        self.listings += 1;
        self.begun = Some(now);
        self.is_distrusted = false;
        if numbers != self.numbers {
            self.numbers = numbers;
            self.has_changed(files, was_proven)?;
        }
        Ok(())
    }

    /// Adds the files that come next by number.
    fn look_for_next(&mut self, files: &dyn Files, was_proven: bool) -> io::Result<()> {
        let before = self.numbers.len();
        while let Some(next) = self.newest().and_then(|newest| newest.checked_add(1))
            && files.identity(next)?.is_some()
        {
            self.numbers.push(next);
        }
        if self.numbers.len() > before { self.has_changed(files, was_proven) } else { Ok(()) }
    }

    fn has_changed(&mut self, files: &dyn Files, was_proven: bool) -> io::Result<()> {
        self.epoch += 1;
        // The change may be younger than the look at the stamp.
        if was_proven && self.seen.map(|seen| seen.stamp) == Some(files.stamp()?) {
            self.is_stamp_useless = true;
        }
        Ok(())
    }

    /// How often the directory was listed: grows with its changes, not with the entries read.
    pub fn listings(&self) -> u64 {
        self.listings
    }

    /// Another number whenever the set of files has changed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Has the directory listed soon, whatever its stamp says: something is said to have changed.
    pub fn distrust(&mut self) {
        self.is_distrusted = true;
    }

    /// Has it listed at the next look: what it says is known to be wrong, or must not be.
    pub fn outdate(&mut self) {
        self.begun = None;
    }

    /// When to look again because it may have changed since it was listed, as of the look just made.
    pub fn deferred_until(&self) -> Option<Instant> {
        self.deferred_until
    }

    /// The lowest file there is.
    pub fn first(&self) -> Option<u32> {
        self.numbers.first().copied()
    }

    /// The highest file there is: the live one.
    pub fn newest(&self) -> Option<u32> {
        self.numbers.last().copied()
    }

    /// The lowest file at or above `number`.
    pub fn at_or_above(&self, number: u32) -> Option<u32> {
        let at = self.numbers.partition_point(|&n| n < number);
        self.numbers.get(at).copied()
    }

    /// The lowest file above `number`.
    pub fn above(&self, number: u32) -> Option<u32> {
        number.checked_add(1).and_then(|next| self.at_or_above(next))
    }

    /// All numbers, ascending.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::log::files::{FileIdentity, LogFile};

    const MS: Duration = Duration::from_millis(1);

    /// A directory in memory, and when it last changed by its own clock.
    struct Disk {
        /// The clock at the beginning, and how it ticks; `None`: its stamps are always the same.
        begin_ns: i128,
        tick_ns: Option<i128>,
        state: Mutex<State>,
    }

    #[derive(Default)]
    struct State {
        numbers: Vec<u32>,
        now: Duration,
        changed: Duration,
        lookups: u32,
    }

    /// A disk with a listing of it, and a clock that is moved by hand.
    struct Watched {
        disk: Disk,
        begin: Instant,
        listing: RefCell<Listing>,
    }

    impl Watched {
        fn new(begin_ns: i128, tick: Option<Duration>, numbers: impl IntoIterator<Item = u32>) -> Watched {
            let state = State { numbers: numbers.into_iter().collect(), ..State::default() };
            let tick_ns = tick.map(|tick| i128::try_from(tick.as_nanos()).unwrap());
            let disk = Disk { begin_ns, tick_ns, state: Mutex::new(state) };
            Watched { disk, begin: Instant::now(), listing: RefCell::default() }
        }

        fn pass(&self, time: Duration) {
            self.disk.state.lock().unwrap().now += time;
        }

        fn change(&self, change: impl FnOnce(&mut Vec<u32>)) {
            let mut state = self.disk.state.lock().unwrap();
            change(&mut state.numbers);
            state.changed = state.now;
        }

        /// Looks; says whether that took a listing.
        fn look(&self) -> bool {
            let mut listing = self.listing.borrow_mut();
            let before = listing.listings();
            listing.refresh(&self.disk, self.now()).unwrap();
            listing.listings() > before
        }

        fn now(&self) -> Instant {
            self.begin + self.disk.state.lock().unwrap().now
        }

        fn newest(&self) -> Option<u32> {
            self.listing.borrow().newest()
        }

        fn deferred(&self) -> Option<Duration> {
            self.listing.borrow().deferred_until().map(|until| until - self.begin)
        }
    }

    impl Files for Disk {
        fn list(&self) -> io::Result<Vec<u32>> {
            Ok(self.state.lock().unwrap().numbers.clone())
        }

        fn stamp(&self) -> io::Result<DirectoryStamp> {
            let changed_ns = i128::try_from(self.state.lock().unwrap().changed.as_nanos()).unwrap() + self.begin_ns;
            let changed_ns = self.tick_ns.map_or(1, |tick| changed_ns / tick * tick);
            Ok(DirectoryStamp { modified_ns: changed_ns, changed_ns })
        }

        fn open(&self, _: u32) -> io::Result<Arc<dyn LogFile>> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
            let mut state = self.state.lock().unwrap();
            state.lookups += 1;
            let is_there = state.numbers.binary_search(&number).is_ok();
            Ok(is_there.then_some(FileIdentity { device: 1, inode: number.into() }))
        }

        fn path(&self) -> Option<&Path> {
            None
        }
    }

    #[test]
    fn a_quiet_directory_is_listed_until_its_stamp_is_proof_and_then_no_more() {
        let watched = Watched::new(5, Some(Duration::from_nanos(1)), [1, 5]);
        assert!(watched.look());
        assert!(watched.look(), "its stamp was seen in this very look");
        watched.pass(MS);
        assert!(watched.look());
        watched.pass(99 * MS);
        assert!(watched.look(), "a tick may be as long");
        watched.pass(MS);
        assert!(watched.look());
        for _ in 0..4 {
            assert!(!watched.look());
            watched.pass(1249 * MS);
        }
        assert!(!watched.look());
        watched.pass(4 * MS);
        assert!(watched.look(), "for no more than 5 s");
        assert!(!watched.look());
        let listing = watched.listing.borrow();
        assert_eq!((listing.first(), listing.newest(), listing.epoch()), (Some(1), Some(5), 1));
        assert_eq!((listing.above(1), listing.above(5), listing.at_or_above(2)), (Some(5), None, Some(5)));
        assert_eq!(listing.above(u32::MAX), None);
    }

    /// Whichever way a clock ticks and whatever it says, a file is found however soon after another it was born.
    #[test]
    fn no_file_is_missed_however_slowly_the_directorys_clock_ticks() {
        let ticks = [1, 4, 10, 100, 1000, 2000];
        let begins: [i128; 4] = [0, 1_699_999_999_123_456_789, 4_102_444_800_000_000_000, -7];
        for (tick, begin_ns) in ticks.into_iter().flat_map(|tick| begins.map(|begin| (tick, begin))) {
            for pause in [1, 3, 9, 99, 150, 999, 1001, 1990, 2500] {
                let watched = Watched::new(begin_ns, Some(tick * MS), [0]);
                let mut listings = 0;
                for number in 1..20 {
                    for _ in 0..3 {
                        watched.pass(pause * MS / 3);
                        listings += u32::from(watched.look());
                        assert_eq!(watched.newest(), Some(number - 1), "tick {tick} ms, a file every {pause} ms");
                    }
                    watched.change(|numbers| numbers.push(number));
                }
                watched.look();
                assert_eq!(watched.newest(), Some(19));
                assert!(listings > 0);
            }
        }
    }

    #[test]
    fn what_is_said_to_have_changed_is_listed_but_not_with_each_entry() {
        let watched = Watched::new(5_000_000, Some(MS), [1]);
        for _ in 0..4 {
            watched.look();
            watched.pass(100 * MS);
        }
        assert!(!watched.look());
        let mut listings = 0;
        for _ in 0..1000 {
            watched.listing.borrow_mut().distrust();
            listings += u32::from(watched.look());
            watched.pass(MS / 10);
        }
        assert!((10..=11).contains(&listings), "{listings} listings in 100 ms");
        assert!(watched.deferred().is_some());
        watched.pass(10 * MS);
        assert!(watched.look(), "what was put off is made good");
        assert_eq!((watched.look(), watched.deferred()), (false, None));
    }

    #[test]
    fn stamps_that_tell_nothing_are_found_out() {
        let watched = Watched::new(5, None, [1]);
        for _ in 0..4 {
            watched.look();
            watched.pass(100 * MS);
        }
        watched.change(|numbers| numbers.push(7));
        assert_eq!((watched.look(), watched.newest()), (false, Some(1)), "it has no way to know");
        watched.listing.borrow_mut().distrust();
        assert_eq!((watched.look(), watched.newest()), (true, Some(7)));
        for number in 8..20 {
            watched.change(|numbers| numbers.push(number));
            watched.pass(300 * MS);
            assert_eq!((watched.look(), watched.newest()), (true, Some(number)), "not believed again");
        }
    }

    #[test]
    fn many_files_are_listed_seldom_and_the_next_one_is_found_at_once() {
        let watched = Watched::new(5, Some(4 * MS), 0..60_000);
        let (mut listings, mut looks) = (0, 0);
        for number in 60_000..60_100 {
            watched.change(|numbers| {
                numbers.push(number);
                numbers.remove(0);
            });
            for _ in 0..100 {
                listings += u32::from(watched.look());
                looks += 1;
                assert_eq!(watched.newest(), Some(number));
                watched.pass(MS);
            }
        }
        assert!((15..=18).contains(&listings), "{listings} listings in 10 s");
        assert!(watched.disk.state.lock().unwrap().lookups < 2 * looks);
        // One whose number does not come next waits for its turn, and that is told.
        watched.pass(1000 * MS);
        watched.look();
        watched.change(|numbers| numbers.push(70_000));
        assert_eq!((watched.look(), watched.newest()), (false, Some(60_099)));
        assert_eq!(watched.deferred(), Some(Duration::from_millis(11_600)));
        watched.pass(600 * MS);
        assert_eq!((watched.look(), watched.newest()), (true, Some(70_000)));
    }

    #[test]
    fn a_listing_that_is_outdated_is_made_anew_at_once() {
        let watched = Watched::new(5, Some(4 * MS), 0..60_000);
        watched.look();
        watched.change(|numbers| numbers.truncate(10));
        assert_eq!((watched.look(), watched.newest()), (false, Some(59_999)));
        watched.listing.borrow_mut().outdate();
        assert_eq!((watched.look(), watched.newest()), (true, Some(9)));
    }
}
