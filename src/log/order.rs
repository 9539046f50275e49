//! From the order of the disk to the order of VLSNs.
//!
//! A writer takes a VLSN and then appends, with no lock over both: VLSN n+1 can stand in the log before n. So what
//! comes early is held back, by its position only, until what belongs before it has been found. The window of what
//! is held is bounded in entries and in bytes.
//!
//! *The first VLSN.* Where the lowest is asked for that the log holds without a hole, the first entries on disk may be out
//! of order, and after the cleaner deleted files there may be stragglers of older numbers among them. So a window's worth
//! of entries is seen before the choice is made.
//!
//! Deciding when to give up waiting for a VLSN needs the clock and the
//! state of the log, and is the [`scanner`](super::scanner)'s work.

use std::collections::VecDeque;

use super::format::Lsn;
use crate::memory::{self, NoMemory};

/// How much is held back at most.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// How far a VLSN may be ahead of the missing one.
    pub entries_max: usize,
    /// How many bytes of the log the entries held back may take.
    pub bytes_max: u64,
}

/// What becomes of an entry that was found on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// It is the next one: return it, then call [`Order::returned`].
    Next,
    /// It came early and is held back.
    Held,
    /// It is below the first VLSN asked for.
    Below,
    /// Its VLSN was returned before, with the same content as far as is known.
    Repeat,
    /// Its VLSN was returned before, with another content.
    Changed,
    /// It came early, and the window has no room for it.
    Full,
}

/// An entry that came early, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Where it stands; 0, where no entry can be, for one not found yet.
    pub lsn: Lsn,
    /// How long it is, header and payload.
    pub len: u32,
    /// Its [`digest`].
    pub digest: u32,
}

const NOT_FOUND: Held = Held { lsn: Lsn(0), len: 0, digest: 0 };
const _: () = assert!(size_of::<Held>() == 16);

impl Held {
    #[inline]
    fn is_found(&self) -> bool {
        self.lsn.0 != 0
    }
}

/// How many places for held entries are kept when none is held; those that more disorder needed are given back.
const PLACES_KEPT: usize = 4096;

/// How many of the last returned entries are remembered, to tell a repeat from a changed history.
const RECENT: usize = 16 * 1024;

/// The sequence of VLSNs: what was returned, what comes next, what waits.
#[derive(Debug)]
pub struct Order {
    limits: WindowLimits,
    /// What was seen, in the order of the disk, while it is not known with which VLSN to begin.
    seen: Vec<(u64, Held)>,
    seen_bytes: u64,
    /// The first VLSN asked for, or chosen; 0 until that is known.
    first: u64,
    /// The next VLSN to return.
    next: u64,
    /// The entry of VLSN `next + i`.
    held: VecDeque<Held>,
    held_count: usize,
    held_bytes: u64,
    /// Of what was seen when the first was chosen, what is too far ahead for `held` yet; the lowest VLSN last.
    far: Vec<(u64, Held)>,
    /// Digests of the entries returned last, by VLSN modulo [`RECENT`].
    recent: Box<[u32]>,
    /// The lowest VLSN in `recent`.
    recent_from: u64,
    /// The highest VLSN known to be in the log below the first asked for; 0 for none.
    below: u64,
    /// Whether the first was chosen among what was seen, and not asked for.
    is_chosen: bool,
}

impl Order {
    /// An order that begins with VLSN `first`; with 0 that is to be chosen among what is seen.
    pub fn new(first: u64, limits: WindowLimits) -> Order {
        Order {
            limits,
            seen: Vec::new(),
            seen_bytes: 0,
            first,
            next: first,
            held: VecDeque::new(),
            held_count: 0,
            held_bytes: 0,
            far: Vec::new(),
            recent: vec![0; RECENT].into_boxed_slice(),
            recent_from: first,
            below: 0,
            is_chosen: false,
        }
    }

    /// Whether it is known with which VLSN to begin.
    #[inline]
    pub fn has_begun(&self) -> bool {
        self.first > 0
    }

    /// The next VLSN to return; 0 while it is not known with which to begin.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether any VLSN was returned since the beginning or the last skip.
    pub fn has_returned(&self) -> bool {
        self.next > self.first
    }

    /// The highest VLSN known to be in the log below the first asked for; 0 for none.
    pub fn below(&self) -> u64 {
        self.below
    }

    /// Whether all that is known of the log ends more than one below the VLSN to begin with.
    pub fn begins_above_the_log(&self) -> bool {
        !self.has_returned() && self.held() == 0 && self.below + 1 < self.next
    }

    /// Notes that `vlsn` is in the log.
    #[inline]
    pub fn note(&mut self, vlsn: u64) {
        if vlsn < self.first {
            self.below = self.below.max(vlsn);
        }
    }

    /// How many entries are held back.
    pub fn held(&self) -> usize {
        self.held_count + self.far.len()
    }

    /// How many bytes of the log the entries held back take.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// The highest VLSN returned or held back; 0 for none.
    pub fn last(&self) -> u64 {
        match self.highest_held() {
            Some((highest, _)) => highest,
            None if self.has_returned() => self.next - 1,
            None => 0,
        }
    }

    /// The lowest VLSN held back, and where it stands.
    pub fn lowest_held(&self) -> Option<(u64, Lsn)> {
        match self.held.iter().position(Held::is_found) {
            Some(ahead) => Some((self.next + ahead as u64, self.held[ahead].lsn)),
            None => self.far.last().map(|&(vlsn, held)| (vlsn, held.lsn)),
        }
    }

    /// The highest VLSN held back, and where it stands.
    pub fn highest_held(&self) -> Option<(u64, Lsn)> {
        if let Some(&(vlsn, held)) = self.far.first() {
            return Some((vlsn, held.lsn));
        }
        let ahead = self.held.iter().rposition(Held::is_found)?;
        Some((self.next + ahead as u64, self.held[ahead].lsn))
    }

    /// The next entry, if it was held back.
    #[inline]
    pub fn ready(&self) -> Option<Held> {
        if self.held_count == 0 {
            return None;
        }
        self.held.front().copied().filter(Held::is_found)
    }

    /// Places the entry of `vlsn` found at `lsn`, `entry_len` bytes long and with this digest. An error: it would have
    /// to be held back, and there is no memory to do so.
    #[inline]
    pub fn place(&mut self, vlsn: u64, lsn: Lsn, entry_len: u32, digest: u32) -> Result<Placement, NoMemory> {
        Ok(if vlsn == self.next {
            Placement::Next
        } else if vlsn > self.next {
            self.hold(vlsn, Held { lsn, len: entry_len, digest })?
        } else if vlsn < self.first {
            self.note(vlsn);
            Placement::Below
        } else if vlsn >= self.recent_from && self.recent[slot(vlsn)] != digest {
            Placement::Changed
        } else {
            Placement::Repeat
        })
    }

    /// Notes where `vlsn` stands, if it is still to be returned and near enough; false: it is not. What is found out by
    /// looking for a missing VLSN where reading has been is taken however much is held already: it is what lets that go.
    pub fn note_held(&mut self, vlsn: u64, found: Held, send_limit: Lsn) -> Result<bool, NoMemory> {
        let ahead = vlsn.checked_sub(self.next).filter(|&ahead| ahead < self.limits.entries_max as u64);
        if let Some(ahead) = ahead {
            // What is held already stands further on in the log, and counts; unless it must not be sent, and this may.
            let known = self.held.get(ahead as usize).filter(|known| known.is_found());
            if known.is_none_or(|known| known.lsn >= send_limit && found.lsn < send_limit) {
                self.hold_at(ahead as usize, found)?;
            }
        }
        Ok(ahead.is_some())
    }

    /// The VLSN that has to be the next for `vlsn` not to be too far ahead.
    pub fn near_enough_from(&self, vlsn: u64) -> u64 {
        vlsn.saturating_sub(self.limits.entries_max as u64).saturating_add(1)
    }

    fn hold(&mut self, vlsn: u64, found: Held) -> Result<Placement, NoMemory> {
        let ahead = vlsn - self.next;
        if ahead >= self.limits.entries_max as u64 {
            return Ok(Placement::Full);
        }
        // One that a rollback took back, and that this one replaces, makes room for it.
        let replaced = self.held.get(ahead as usize).map_or(0, |held| u64::from(held.len));
        if self.held_bytes - replaced + u64::from(found.len) > self.limits.bytes_max {
            return Ok(Placement::Full);
        }
        self.hold_at(ahead as usize, found)?;
        Ok(Placement::Held)
    }

    fn hold_at(&mut self, ahead: usize, found: Held) -> Result<(), NoMemory> {
        debug_assert!(ahead < self.limits.entries_max && found.is_found());
        if self.held.len() <= ahead {
            let more = ahead + 1 - self.held.len();
            memory::reserve_queue(&mut self.held, more)?;
            self.held.resize(ahead + 1, NOT_FOUND);
        }
        // A VLSN found twice before it was returned: a rollback took the first back, so the later one counts.
        let before = std::mem::replace(&mut self.held[ahead], found);
        self.held_count += usize::from(!before.is_found());
        self.held_bytes = self.held_bytes - u64::from(before.len) + u64::from(found.len);
        Ok(())
    }

    /// Notes that the next VLSN was returned.
    #[inline]
    pub fn returned(&mut self, digest: u32) {
        self.recent[slot(self.next)] = digest;
        self.next += 1;
        if self.next - self.recent_from > RECENT as u64 {
            self.recent_from = self.next - RECENT as u64;
        }
        if !self.held.is_empty() || !self.far.is_empty() {
            self.drop_front();
            self.admit_far();
        }
    }

    fn drop_front(&mut self) {
        debug_assert!(self.held_count <= self.held.len());
        let Some(front) = self.held.pop_front() else {
            return;
        };
        self.held_count -= usize::from(front.is_found());
        self.held_bytes -= u64::from(front.len);
        if self.held_count == 0 && self.far.is_empty() && self.held.capacity() > PLACES_KEPT {
            // What much disorder needed is given back with it.
            self.held = VecDeque::new();
        }
    }

    /// Holds what has come near enough for it.
    fn admit_far(&mut self) {
        while let Some(&(vlsn, found)) = self.far.last()
            && vlsn - self.next < self.limits.entries_max as u64
        {
            self.far.pop();
            self.hold_at((vlsn - self.next) as usize, found).expect("there was room for all when the first was chosen");
        }
    }

    /// Forgets where `vlsn` stands, which is not returned yet: what was there does not count any more.
    fn forget(&mut self, vlsn: u64) {
        debug_assert!(vlsn >= self.next);
        self.far.retain(|&(far, _)| far != vlsn);
        let at = usize::try_from(vlsn - self.next).unwrap_or(usize::MAX);
        if let Some(place) = self.held.get_mut(at) {
            let forgotten = std::mem::replace(place, NOT_FOUND);
            self.held_count -= usize::from(forgotten.is_found());
            self.held_bytes -= u64::from(forgotten.len);
        }
    }

    /// Keeps these, which are too far ahead to be held back, until they are not. That they come early shows that others are
    /// missing.
    fn keep_far(&mut self, found: &[(u64, Held)]) -> Result<(), NoMemory> {
        if !found.is_empty() {
            memory::reserve(&mut self.far, found.len())?;
            memory::reserve_queue(&mut self.held, self.limits.entries_max)?;
            // Of two with one VLSN the one that stands later counts, and comes first.
            self.far.extend(found.iter().rev());
            self.far.dedup_by_key(|&mut (vlsn, _)| vlsn);
        }
        Ok(())
    }

    /// Goes on at `vlsn`, if that is above the next; what is below counts as not asked for.
    pub fn skip_to(&mut self, vlsn: u64) {
        if vlsn <= self.next {
            return;
        }
        if self.has_returned() {
            self.below = self.next - 1;
        }
        while self.next < vlsn && !self.held.is_empty() {
            if self.held[0].is_found() {
                self.below = self.next;
            }
            self.drop_front();
            self.next += 1;
        }
        while let Some((below, _)) = self.far.pop_if(|&mut (far, _)| far < vlsn) {
            self.below = below;
        }
        self.next = vlsn;
        self.first = vlsn;
        self.recent_from = vlsn;
        self.is_chosen = false;
        self.admit_far();
    }

    /// A rollback took the entry of `vlsn` back, which was held. Where the first was chosen, and is taken back before it was
    /// returned, another is to be chosen among what is held.
    pub fn take_back(&mut self, vlsn: u64) -> Result<(), NoMemory> {
        self.forget(vlsn);
        if self.is_chosen && !self.has_returned() && self.ready().is_none() {
            let mut anew = Order::new(0, self.limits);
            let held = (self.next..).zip(self.held.iter().copied()).filter(|(_, held)| held.is_found());
            for (vlsn, found) in held.chain(self.far.iter().rev().copied()) {
                anew.keep(vlsn, found)?;
            }
            *self = anew;
        }
        Ok(())
    }

    /// Holds an entry back that was found before, or notes it while it is not known with which to begin. True: enough was
    /// seen to choose.
    pub fn keep(&mut self, vlsn: u64, found: Held) -> Result<bool, NoMemory> {
        if self.has_begun() {
            return self.note_held(vlsn, found, Lsn::NULL).map(|_| false);
        }
        memory::reserve(&mut self.seen, 1)?;
        self.seen.push((vlsn, found));
        self.seen_bytes += u64::from(found.len);
        let WindowLimits { entries_max, bytes_max } = self.limits;
        // Nothing is lower than 1.
        Ok(vlsn == 1 || self.seen.len() >= entries_max / 2 || self.seen_bytes >= bytes_max / 2)
    }

    /// Begins with the lowest VLSN that was seen without a hole behind it; everything from there on is held back. False:
    /// none was seen, or it has begun.
    ///
    /// `complete`: the log ends here for now, so what is missing is missing. Otherwise a number missing among the
    /// later half of what was seen may still come. An error: there is no memory to hold it back, and all is as before.
    pub fn begin(&mut self, complete: bool) -> Result<bool, NoMemory> {
        if self.seen.is_empty() {
            return Ok(false);
        }
        let settled = if complete { self.seen.len() } else { self.seen.len().div_ceil(2) };
        let highest_settled = self.seen[..settled].iter().map(|&(vlsn, ..)| vlsn).max().unwrap_or(1);
        self.seen.sort_unstable_by_key(|&(vlsn, found)| (vlsn, found.lsn));
        let mut first = self.seen[0].0;
        for pair in self.seen.windows(2) {
            let (below, above) = (pair[0].0, pair[1].0);
            if above > below + 1 && below < highest_settled && self.seen[0].0 != 1 {
                first = above;
            }
        }
        let mut order = Order { is_chosen: true, ..Order::new(first, self.limits) };
        // It was found, whatever a rollback makes of it: this beginning is not above the log.
        order.note(first - 1);
        let place_of = |vlsn: u64| self.seen.partition_point(|&(seen, _)| seen < vlsn);
        let near = place_of(first)..place_of(first.saturating_add(self.limits.entries_max as u64));
        let far = near.end..;
        let mut held = self.seen[near].iter();
        let held = held.try_for_each(|&(vlsn, found)| order.hold_at((vlsn - first) as usize, found));
        if let Err(none) = held.and_then(|()| order.keep_far(&self.seen[far])) {
            // As it was seen: in the order of the disk.
            self.seen.sort_unstable_by_key(|&(_, found)| found.lsn);
            return Err(none);
        }
        *self = order;
        Ok(true)
    }

    /// Begins at `vlsn`, with what was seen held back.
    #[cold]
    pub fn begin_at(&mut self, vlsn: u64) -> Result<(), NoMemory> {
        if self.begin(true)? {
            self.skip_to(vlsn);
        } else {
            *self = Order::new(vlsn, self.limits);
        }
        Ok(())
    }
}

fn slot(vlsn: u64) -> usize {
    (vlsn % RECENT as u64) as usize
}

/// A number that differs, in all likelihood, between two entries that differ.
#[inline]
pub fn digest(entry_type: u8, payload_crc: u32) -> u32 {
    payload_crc ^ u32::from(entry_type).wrapping_mul(0x9E37_79B1)
}

/// The payload's CRC out of an entry's digest and type.
#[inline]
pub fn payload_crc(entry_type: u8, entry_digest: u32) -> u32 {
    digest(entry_type, entry_digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WindowLimits = WindowLimits { entries_max: 1000, bytes_max: 1_000_000 };

    fn lsn(n: u64) -> Lsn {
        Lsn(n + 100)
    }

    fn ready(order: &Order) -> Option<Lsn> {
        order.ready().map(|held| held.lsn)
    }

    #[test]
    fn a_digest_gives_the_checksum_back_and_tells_types_apart() {
        assert_eq!(payload_crc(13, digest(13, 0xaabb_ccdd)), 0xaabb_ccdd);
        assert_ne!(digest(13, 7), digest(14, 7));
    }

    #[test]
    fn a_first_that_is_taken_back_is_chosen_anew_and_one_that_was_asked_for_is_not() {
        let held = |n: u64| Held { lsn: lsn(n), len: 10, digest: 0 };
        let mut order = Order::new(0, LIMITS);
        for vlsn in [8, 9, 10, 12] {
            order.keep(vlsn, held(vlsn)).unwrap();
        }
        assert_eq!((order.begin(false), order.next()), (Ok(true), 8));
        order.take_back(9).unwrap();
        assert!(order.has_begun(), "the first is there");
        order.keep(9, held(9)).unwrap();
        order.take_back(8).unwrap();
        assert!(!order.has_begun());
        assert_eq!((order.begin(true), order.next(), order.held()), (Ok(true), 12, 1), "behind the last hole");
        order.take_back(12).unwrap();
        assert_eq!((order.begin(true), order.has_begun()), (Ok(false), false), "nothing is left to choose from");
        let mut asked = Order::new(8, LIMITS);
        asked.place(8, lsn(8), 10, 0).unwrap();
        asked.take_back(8).unwrap();
        assert!(asked.has_begun());
    }

    /// Feeds VLSNs in disk order; returns what comes out, in order.
    fn run(order: &mut Order, on_disk: &[u64]) -> Vec<u64> {
        let mut out = Vec::new();
        for &vlsn in on_disk {
            if order.place(vlsn, lsn(vlsn), 10, vlsn as u32) == Ok(Placement::Next) {
                out.push(order.next());
                order.returned(vlsn as u32);
                while order.ready().is_some() {
                    out.push(order.next());
                    order.returned(order.next() as u32);
                }
            }
        }
        out
    }

    #[test]
    fn what_comes_early_waits_for_what_belongs_before_it() {
        let mut order = Order::new(1, LIMITS);
        assert_eq!(run(&mut order, &[3, 2, 5, 1, 4, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!((order.held(), order.held_bytes()), (0, 0));
        assert_eq!(order.next(), 7);
    }

    #[test]
    fn the_window_is_bounded_in_distance_and_in_bytes() {
        let mut order = Order::new(1, WindowLimits { entries_max: 5, bytes_max: 25 });
        assert_eq!(order.place(6, lsn(6), 10, 0), Ok(Placement::Full));
        assert_eq!(order.place(5, lsn(5), 10, 0), Ok(Placement::Held));
        assert_eq!(order.place(4, lsn(4), 10, 0), Ok(Placement::Held));
        assert_eq!(order.place(3, lsn(3), 10, 0), Ok(Placement::Full));
        assert_eq!(order.lowest_held(), Some((4, lsn(4))));
        assert_eq!(order.place(u64::MAX, lsn(9), 10, 0), Ok(Placement::Full));
    }

    #[test]
    fn a_vlsn_that_was_returned_is_a_repeat_or_a_changed_history() {
        let mut order = Order::new(10, LIMITS);
        run(&mut order, &[10, 11]);
        assert_eq!(order.place(9, lsn(9), 10, 0), Ok(Placement::Below));
        assert_eq!(order.place(10, lsn(99), 10, 10), Ok(Placement::Repeat));
        assert_eq!(order.place(10, lsn(99), 10, 77), Ok(Placement::Changed));
        run(&mut order, &(12..12 + RECENT as u64).collect::<Vec<_>>());
        assert_eq!(order.place(10, lsn(99), 10, 77), Ok(Placement::Repeat), "too long ago to tell");
        assert_eq!(order.place(12, lsn(99), 10, 77), Ok(Placement::Changed));
    }

    #[test]
    fn skipping_drops_what_is_not_asked_for_any_more() {
        let mut order = Order::new(1, LIMITS);
        run(&mut order, &[3, 5, 9]);
        order.skip_to(5);
        assert_eq!((order.next(), ready(&order), order.held()), (5, Some(lsn(5)), 2));
        order.skip_to(20);
        assert_eq!((order.next(), ready(&order), order.held(), order.held_bytes()), (20, None, 0, 0));
        assert_eq!(order.place(9, lsn(9), 10, 0), Ok(Placement::Below));
    }

    #[test]
    fn a_held_entry_that_was_taken_back_is_waited_for_again() {
        let mut order = Order::new(1, LIMITS);
        assert_eq!(run(&mut order, &[2, 1]), [1, 2]);
        order.place(4, lsn(4), 10, 0).unwrap();
        order.place(3, lsn(3), 10, 0).unwrap();
        order.returned(0);
        assert_eq!(ready(&order), Some(lsn(4)));
        order.forget(4);
        assert_eq!((ready(&order), order.held(), order.held_bytes()), (None, 0, 0));
        assert_eq!(order.place(4, lsn(50), 10, 0), Ok(Placement::Next));
    }

    #[test]
    fn one_that_replaces_another_needs_only_the_room_for_what_it_has_more() {
        let mut order = Order::new(1, WindowLimits { entries_max: 5, bytes_max: 25 });
        assert_eq!(order.place(5, lsn(5), 10, 0), Ok(Placement::Held));
        assert_eq!(order.place(4, lsn(4), 10, 0), Ok(Placement::Held));
        assert_eq!(order.place(4, lsn(40), 16, 0), Ok(Placement::Full));
        assert_eq!(order.place(4, lsn(40), 15, 0), Ok(Placement::Held));
        assert_eq!((order.lowest_held(), order.held_bytes()), (Some((4, lsn(40))), 25));
    }

    #[test]
    fn what_was_seen_too_far_ahead_of_the_first_shows_that_others_are_missing_and_comes_in_its_turn() {
        let limits = WindowLimits { entries_max: 8, bytes_max: 1000 };
        let begun = || {
            let mut order = Order::new(0, limits);
            for (at, vlsn) in [(1, 49), (2, 50), (3, 51), (4, 57), (5, 60), (6, 60)] {
                order.keep(vlsn, Held { lsn: lsn(at), len: 10, digest: 0 }).unwrap();
            }
            assert_eq!(order.begin(false), Ok(true));
            order
        };
        let mut order = begun();
        assert_eq!((order.next(), order.last(), order.held()), (49, 60, 5));
        for _ in 49..=51 {
            assert!(order.ready().is_some());
            order.returned(0);
        }
        assert_eq!((ready(&order), order.lowest_held(), order.held()), (None, Some((57, lsn(4))), 2));
        for vlsn in 52..=56 {
            assert_eq!(order.place(vlsn, lsn(vlsn), 10, 0), Ok(Placement::Next));
            order.returned(0);
        }
        assert_eq!(ready(&order), Some(lsn(4)));
        order.returned(0);
        assert_eq!(order.lowest_held(), Some((60, lsn(6))), "of two the later one counts");
        order.forget(60);
        assert_eq!((order.lowest_held(), order.held(), order.last()), (None, 0, 57));

        let mut order = begun();
        order.skip_to(58);
        assert_eq!((order.below(), order.lowest_held(), order.held()), (57, Some((60, lsn(6))), 1));
        let mut order = begun();
        order.take_back(60).unwrap();
        order.take_back(49).unwrap();
        assert_eq!((order.begin(true), order.next(), order.held()), (Ok(true), 57, 1), "behind the last hole");
    }

    fn begin(on_disk: &[u64], complete: bool) -> u64 {
        let mut order = Order::new(0, LIMITS);
        for &vlsn in on_disk {
            if order.keep(vlsn, Held { lsn: lsn(vlsn), len: 10, digest: 0 }).unwrap() {
                break;
            }
        }
        assert_eq!(order.begin(complete), Ok(true));
        order.next()
    }

    #[test]
    fn the_beginning_is_the_lowest_vlsn_without_a_hole_behind_it() {
        assert_eq!(begin(&[52, 50, 51, 53], true), 50);
        assert_eq!(begin(&[47, 50, 51, 52], true), 50, "48 and 49 went with the cleaned files");
        assert_eq!(begin(&[2, 3, 1, 5], true), 1, "from 1 on nothing can be missing but what is late");
        assert_eq!(begin(&[50, 51, 52, 53, 54, 56], false), 50, "55 may still come");
    }
}
