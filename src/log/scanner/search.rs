//! Where to look next for what comes next: all choices of it are made here.
//!
//! The tail reads on at the front. Where that has nothing, or what it has cannot be used yet, the VLSN that comes next
//! may stand in three other places: *behind* the place where reading began; in what was *passed*, which is zeros that were
//! crossed and the ends of files that were left; and before the place where reading began, *hidden* by what is no entry.
//! To go there is a detour.
//!
//! # Why a search ends
//!
//! Between two entries that are returned, each detour makes a [`Measure`] greater that cannot grow without end. Its parts,
//! the weightiest first:
//!
//! 1. The next VLSN rises when it is found out with which to begin, and when what was found behind is returned.
//! 2. Reading begins anew before what hides, once in a scanner's life.
//! 3. The place behind, before which nobody has looked, moves down to the log's beginning.
//! 4. The front moves up as the tail reads on; it passes what a later detour may go to. An entry that is put back for
//!    want of room is put back before the detour begins, so the front is never lower than before.
//! 5. What was passed and not read gets less. The tail goes back only where an entry stands that it can read, and reads
//!    that one at least. One that is too far ahead is left for when a higher VLSN is the next, and does not count before.
//! 6. Entries held back get fewer, when a rollback has taken them back.
//!
//! The second look at what stands behind has no part of its own: what it finds is returned, and the first rises. All that
//! holds while the log stands still. It may change between the look that finds an entry and the read that is to bring it:
//! then a detour is in vain, and [`Progress`] counts those.

use std::cmp::Reverse;
use std::sync::Arc;

use super::ScannerOptions;
use super::behind::Behind;
use super::progress::{Measure, Progress};
use crate::log::budget::{Halt, Searched};
use crate::log::files::Files;
use crate::log::format::Lsn;
use crate::log::order::Order;
use crate::log::seek::Start;
use crate::log::tail::{Searching, Tail};

/// How far ahead of a lower VLSN, in VLSNs, an entry can stand that nothing shows to be missing: as many as there are
/// threads that commit at once, each of which has a lower VLSN that it has not appended yet. (One that dawdles can be
/// late by any number.)
const EARLY_MAX: u64 = 4096;

/// See the module's comment.
pub(super) struct Search {
    pub(super) tail: Tail,
    pub(super) behind: Behind,
    /// How far apart VLSNs can be in the window of what is held back.
    far: u64,
    /// A look everywhere that was interrupted.
    pub(super) everywhere: Option<Everywhere>,
    progress: Progress,
}

/// A look for what is missing wherever it can be, and how far it has got.
#[derive(Clone, Copy)]
pub(super) struct Everywhere {
    cause: Cause,
    /// The VLSN that was missing.
    vlsn: u64,
    stage: Stage,
}

/// Why what is missing is looked for. A look for one reason does not answer for another: it may have begun too early.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
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
    /// What was passed, as far as it was searched.
    Back(Searching),
    /// What was looked at behind that place and may have been completed since, once more: the rest of its file, and the
    /// file before. Before this place.
    BehindAgain(Option<Start>),
}

impl Search {
    pub(super) fn new(files: &Arc<dyn Files>, start: Lsn, options: &ScannerOptions) -> Search {
        let tail = Tail::new(Arc::clone(files), start, options.tail);
        let behind = Behind::new(Arc::clone(files), start, options.tail.read_bytes, tail.budget().clone());
        let far = options.window.entries_max as u64;
        Search { tail, behind, far, everywhere: None, progress: Progress::default() }
    }

    /// Reading begins well below `vlsn`, unless it was told where.
    #[cold]
    pub(super) fn begin_at(&mut self, vlsn: u64) -> Searched<()> {
        if let Some(place) = self.behind.seek(vlsn)? {
            self.tail.begin_at(place);
        }
        Ok(())
    }

    /// A detour begins. Whether it gets on; what does not is a fault of this file.
    pub(super) fn gets_on(&mut self, order: &Order) -> bool {
        let next_vlsn = order.next();
        let gets_on = self.progress.gets_on(Measure {
            next_vlsn,
            has_begun_anew: self.behind.read_anew_until().is_some(),
            behind: Reverse(self.behind.unread.map(|place| place.at)),
            front: self.tail.front(),
            unread: Reverse(self.tail.unread(next_vlsn)),
            held: Reverse(order.held()),
        });
        debug_assert!(gets_on, "the search for VLSN {next_vlsn} leads round in a circle");
        gets_on
    }

    /// The search ends with *nothing yet*: a further one is another.
    pub(super) fn rest(&mut self) {
        self.progress = Progress::default();
    }

    /// Whether the entry at `lsn`, read just now, stands where reading has been before.
    pub(super) fn was_passed(&self, lsn: Lsn) -> bool {
        self.tail.is_looking_back() || self.behind.read_anew_until().is_some_and(|until| lsn < until)
    }

    /// The entry of `vlsn`, read just now at `lsn`, is too far ahead to be held back: leaves it for later, and goes on
    /// elsewhere. False as for [`go_on_elsewhere`](Self::go_on_elsewhere).
    pub(super) fn go_on_from_full(
        &mut self,
        vlsn: u64,
        lsn: Lsn,
        order: &mut Order,
        send_limit: Lsn,
    ) -> Searched<bool> {
        if self.tail.is_looking_back() {
            // What is missing may stand behind it.
            let useful_from = order.near_enough_from(vlsn);
            debug_assert!(useful_from > order.next(), "else it would have been held back");
            self.tail.leave_for_later(lsn, useful_from);
            return Ok(true);
        }
        self.tail.put_back(lsn);
        self.go_on_elsewhere(Cause::Full, order, send_limit)
    }

    /// Goes on elsewhere, before something is called an error. False: what is missing is to be found nowhere.
    pub(super) fn go_on_elsewhere(&mut self, cause: Cause, order: &mut Order, send_limit: Lsn) -> Searched<bool> {
        Ok(self.look_everywhere(cause, order, send_limit)? && self.gets_on(order) || self.begin_before_what_hides())
    }

    /// Looks at all before the place where reading began that can matter. True: the next VLSN was found, and may be sent.
    ///
    /// That a later VLSN is there shows that the next one is missing. Otherwise it would have to stand further ahead of
    /// others than it can.
    pub(super) fn look_behind(&mut self, order: &mut Order, send_limit: Lsn) -> Searched<bool> {
        if !order.has_begun() {
            return Ok(false);
        }
        let is_missing = order.held() > 0 && order.ready().is_none();
        let far = if is_missing { self.far } else { self.far.min(EARLY_MAX) };
        while let Some(place) = self.behind.unread.filter(|place| !place.is_below(order.next(), far)) {
            if self.behind.look_on(place, order, send_limit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks for what is missing wherever it can have been written since that was passed, as often and as long as that
    /// takes: to be done before something is called an error. True: something was found, or what comes next.
    #[cold]
    pub(super) fn look_everywhere(&mut self, cause: Cause, order: &mut Order, send_limit: Lsn) -> Searched<bool> {
        let vlsn = order.next();
        let same = self.everywhere.take().filter(|interrupted| (interrupted.cause, interrupted.vlsn) == (cause, vlsn));
        let mut look = same.unwrap_or_else(|| {
            // What was interrupted then does not answer for now.
            self.behind.give_up_look();
            Everywhere { cause, vlsn, stage: Stage::Behind }
        });
        let found = self.look_on_everywhere(&mut look.stage, order, send_limit);
        if matches!(found, Err(Halt::Busy)) {
            self.everywhere = Some(look);
        }
        found
    }

    fn look_on_everywhere(&mut self, stage: &mut Stage, order: &mut Order, send_limit: Lsn) -> Searched<bool> {
        loop {
            *stage = match stage {
                Stage::Behind if self.look_behind(order, send_limit)? => return Ok(true),
                Stage::Behind => Stage::Back(None),
                Stage::Back(all) => {
                    if self.tail.look_back(Some(all), order.next())? {
                        return Ok(true);
                    }
                    let began = self.behind.began;
                    Stage::BehindAgain(began.filter(|began| !began.is_below(order.next(), self.far)))
                }
                Stage::BehindAgain(Some(place)) => {
                    let looked = self.behind.look(*place, order, send_limit)?;
                    if looked.is_found {
                        return Ok(true);
                    }
                    Stage::BehindAgain(looked.next.filter(|_| place.at.offset() > 0))
                }
                Stage::BehindAgain(None) => return Ok(false),
            };
        }
    }

    /// Where what is missing may be hidden by what is no entry, that is for the tail to judge: reading begins before it.
    /// True: it does.
    pub(super) fn begin_before_what_hides(&mut self) -> bool {
        let Some(place) = self.behind.begin_anew(self.tail.position()) else { return false };
        self.tail.begin_at(place);
        true
    }
}
