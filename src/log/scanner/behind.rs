//! What stands before the place where reading began: that place is chosen by samples, and may be too far up.

use std::sync::Arc;

use super::{held, not_held};
use crate::error::Result;
use crate::log::budget::{Budget, Halt, Searched};
use crate::log::files::Files;
use crate::log::format::Lsn;
use crate::log::order::Order;
use crate::log::probe::{Stop, Walk};
use crate::log::seek::{Seek, Start};

/// See the module's comment.
pub(super) struct Behind {
    files: Arc<dyn Files>,
    read_bytes: usize,
    budget: Budget,
    /// Whether the place to begin at is to be sought by the first VLSN asked for.
    pub(super) is_to_be_sought: bool,
    /// Where reading began, if that was sought.
    pub(super) began: Option<Start>,
    /// Before this place nobody has looked; `None` when nothing stands there.
    pub(super) unread: Option<Start>,
    hidden: Hidden,
    /// What was found out by the search for a place, and by the look that it is for, while they are not at their end.
    seek: Option<Seek>,
    look: Option<Look>,
}

/// What something that is no entry may hide, between the beginning of a file and the place where reading began.
#[derive(Clone, Copy)]
enum Hidden {
    Nothing,
    /// All behind this place, the beginning of the file.
    Behind(Start),
    /// Reading began anew there. Up to this position it reads for the second time.
    ReadAnew(Lsn),
}

/// A look before a place, and how far it has got.
struct Look {
    before: Start,
    beginning: Start,
    walk: Walk,
}

/// What a look before a place came to.
pub(super) struct Looked {
    /// Whether the next VLSN was found, and may be sent.
    pub(super) is_found: bool,
    /// Where the next look begins; `None` when nothing stands before.
    pub(super) next: Option<Start>,
    /// Whether something that is no entry stands between there and the place.
    is_hiding: bool,
}

impl Behind {
    pub(super) fn new(files: Arc<dyn Files>, start: Lsn, read_bytes: usize, budget: Budget) -> Behind {
        Behind {
            files,
            read_bytes,
            budget,
            is_to_be_sought: start == Lsn::NULL || start == Lsn(0),
            began: None,
            unread: None,
            hidden: Hidden::Nothing,
            seek: None,
            look: None,
        }
    }

    /// Seeks the place to begin at for `vlsn`; `None` if reading is to begin where the tail was told to.
    pub(super) fn seek(&mut self, vlsn: u64) -> Searched<Option<Lsn>> {
        if !self.is_to_be_sought {
            return Ok(None);
        }
        // Nothing there: everything that comes will be behind the beginning.
        let place = self.going_on()?.place_for(vlsn)?;
        self.seek = None;
        (self.is_to_be_sought, self.began, self.unread) = (false, place, place);
        Ok(place.map(|place| place.at))
    }

    /// The search for a place that was interrupted, or a new one.
    fn going_on(&mut self) -> Result<&mut Seek> {
        if self.seek.is_none() {
            self.seek = Some(Seek::new(Arc::clone(&self.files), self.read_bytes, self.budget.clone())?);
        }
        Ok(self.seek.as_mut().expect("it is there now"))
    }

    /// Looks before `place`, before which nobody has looked. True: the next VLSN was found, and may be sent.
    pub(super) fn look_on(&mut self, place: Start, order: &mut Order, send_limit: Lsn) -> Searched<bool> {
        let looked = self.look(place, order, send_limit)?;
        self.unread = looked.next;
        if let (Hidden::Nothing, true, Some(beginning)) = (self.hidden, looked.is_hiding, looked.next) {
            self.hidden = Hidden::Behind(beginning);
        }
        Ok(looked.is_found)
    }

    /// Looks at the beginning of the file that `before` is in, or into the file before, for what stands there early, and
    /// notes it in `order`.
    #[cold]
    pub(super) fn look(&mut self, before: Start, order: &mut Order, send_limit: Lsn) -> Searched<Looked> {
        if self.look.as_ref().is_some_and(|look| look.before != before) {
            self.give_up_look();
        }
        if self.look.is_none() {
            let seek = self.going_on()?;
            let (number, until) = match before.at.offset() {
                0 => (seek.file_below(Some(before.at.file())), u64::MAX),
                offset => (Some(before.at.file()), u64::from(offset)),
            };
            let mut looked = Looked { is_found: false, next: None, is_hiding: false };
            if let Some(number) = number {
                let beginning = seek.beginning_of(number)?;
                looked.next = Some(beginning);
                let walk = seek.entries(number, until)?;
                // Without a header nobody can tell what it has.
                looked.is_hiding = walk.is_none() && seek.can_have_entries(number)?;
                self.look = walk.map(|walk| Look { before, beginning, walk });
            }
            if self.look.is_none() {
                self.seek = None;
                return Ok(looked);
            }
        }
        let (Some(seek), Some(look)) = (&mut self.seek, &mut self.look) else { unreachable!("both are there now") };
        debug_assert!(look.beginning.at < before.at, "each look goes further down");
        // Also behind holes, and whatever the send limit is: what is found is looked at again before it is returned.
        let mut noted = Ok(());
        let walked = seek.each_entry(&mut look.walk, |lsn, entry| {
            if let Some(vlsn) = entry.vlsn_to_send().filter(|_| noted.is_ok()) {
                order.note(vlsn);
                let placed = order.note_held(vlsn, held(lsn, entry), send_limit);
                noted = placed.map(|_| ()).map_err(|none| not_held(none, vlsn, lsn));
            }
        });
        let beginning = look.beginning;
        // What there was no memory for is behind: the look begins anew.
        if noted.is_err() || !matches!(walked, Err(Halt::Busy)) {
            self.give_up_look();
        }
        noted?;
        let stop = walked?;
        // A file that ends hides nothing, unless it is said to go on up to a place in it.
        let is_hiding = stop == Stop::NoEntry || stop == Stop::End && before.at.offset() > 0;
        let is_found = order.ready().is_some_and(|held| held.lsn < send_limit);
        Ok(Looked { is_found, next: Some(beginning), is_hiding })
    }

    /// A look that was interrupted does not answer for now.
    pub(super) fn give_up_look(&mut self) {
        if self.look.take().is_some() {
            self.seek = None;
        }
    }

    /// Where reading is to begin anew, if something may hide what is missing before the place where it began: that is for
    /// the tail to judge. Reading has got to `front`. Once at most: from a file's beginning on, nothing hides.
    pub(super) fn begin_anew(&mut self, front: Lsn) -> Option<Lsn> {
        let Hidden::Behind(place) = self.hidden else { return None };
        debug_assert_eq!(place.at.offset(), 0);
        self.hidden = Hidden::ReadAnew(front);
        (self.began, self.unread) = (Some(place), Some(place));
        Some(place.at)
    }

    /// Up to where reading began anew, if it did.
    pub(super) fn read_anew_until(&self) -> Option<Lsn> {
        if let Hidden::ReadAnew(until) = self.hidden { Some(until) } else { None }
    }
}
